"""The expirer's queue in words: names of its containers and rows, what a row asks for, and whose work it is (object-disk 21).

Forms only: nothing here asks a server. Which container a new X-Delete-At goes to is said in `core.object_headers`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import md5
from typing import Any, NamedTuple
from urllib.parse import unquote

from swift.core.config import non_negative_float
from swift.core.errors import ConfigError
from swift.core.names import split_path
from swift.core.timestamp import Timestamp, normalize_delete_at

ASYNC_TYPE = "application/async-deleted"
SPREAD = 100  # containers over which the objects of one period are spread
DELAY_PREFIX = "delay_reaping_"
_EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
_BYTES = re.compile(r";\s*swift_expirer_bytes=(\d{1,18})\s*(?:;|$)", re.ASCII).search


class Row(NamedTuple):
    """A row of the queue as it waits for its turn. `container`: of the queue."""

    container: str
    name: str
    is_async: bool
    size: int


class Task(NamedTuple):
    """What a row asks for: that the object be deleted as of `due`; unless `is_async`, only if it expires then."""

    due: Timestamp
    account: str
    container: str
    obj: str
    is_async: bool

    @property
    def path(self) -> str:
        return f"/{self.account}/{self.container}/{self.obj}"


def parse_row(container: str, listed: Mapping[str, Any]) -> Row:
    """A row as a listing shows it. Raises ValueError for what is none."""
    name, content_type = listed.get("name"), listed.get("content_type")
    if not isinstance(name, str) or not isinstance(content_type, str):
        raise ValueError(f"no row of the queue: {listed!r:.200}")
    size = _BYTES(content_type)
    return Row(container, name, content_type == ASYNC_TYPE, int(size[1]) if size else 0)


def parse_task(row: Row) -> Task:
    """Raises ValueError."""
    due, dash, path = row.name.partition("-")
    if not dash:
        raise ValueError(f"no row of the queue: {row.name!r:.200}")
    account, container, obj = split_path(f"/{path}", 3, 3, True)
    return Task(Timestamp(due), account, container, obj, row.is_async)


def period_of(container: str, divisor: int) -> tuple[int, bool]:
    """(the beginning of the period whose objects a container of the queue lists, True if it is one of that period's).

    Those of asynchronous deletions are wherever their time is. Raises ValueError if the name is no time.
    """
    if not (container.isascii() and container.isdecimal() and len(container) <= 10):
        raise ValueError(f"no container of the queue: {container!r:.200}")
    at = int(container)
    ahead = -at % divisor
    return (at + ahead, True) if ahead < SPREAD or not at else (at - at % divisor, False)


def share_of(text: str, processes: int) -> int:
    """Which of so many processes a text belongs to."""
    return int(md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest(), 16) % max(
        processes, 1
    )


def end_of(due: float) -> str:
    """The end marker of a listing of what is due by then."""
    return normalize_delete_at(int(due) + 1)


# -- asynchronous deletions


def async_container(timestamp: Timestamp) -> str:
    """The container of the queue for deletions as of then."""
    return normalize_delete_at(int(timestamp))


def async_rows(timestamp: Timestamp, account: str, container: str, names: Iterable[str]) -> bytes:
    """The body of an UPDATE that queues objects for deletion as of `timestamp`."""
    when = normalize_delete_at(float(timestamp), high_precision=True)
    return json.dumps(
        [
            {
                "name": f"{when}-{account}/{container}/{name}",
                "deleted": 0,
                "created_at": timestamp.internal,
                "etag": _EMPTY_MD5,
                "size": 0,
                "storage_policy_index": 0,
                "content_type": ASYNC_TYPE,
            }
            for name in names
        ]
    ).encode()


# -- delays


class Delays:
    """How long expired objects stay on the disks, by account and container. `conf`: its options `delay_reaping_…`.

    Raises ConfigError.
    """

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self._seconds: dict[tuple[str, str | None], float] = {}
        for option, value in conf.items():
            if option.startswith(DELAY_PREFIX):
                self._seconds[_delayed(option)] = _delay(option, value)

    def of(self, task: Task) -> float:
        """Seconds."""
        if not self._seconds or task.is_async:
            return 0.0
        found = self._seconds.get((task.account, task.container))
        return self._seconds.get((task.account, None), 0.0) if found is None else found


def _delayed(option: str) -> tuple[str, str | None]:
    try:
        account, container = split_path("/" + unquote(option.removeprefix(DELAY_PREFIX)), 1, 2)
    except ValueError:
        account = container = None
    if not account:
        raise ConfigError(f"{option} must be delay_reaping_<account> or delay_reaping_<account>/<container>")
    return account, container


def _delay(option: str, value: Any) -> float:
    try:
        return non_negative_float(value)
    except ValueError as err:
        raise ConfigError(f"{option}: {err}") from None


# -- order


def in_turn(rows: Iterable[Row], key: Callable[[Row], str], size: int) -> Iterator[Row]:
    """The rows such that those with different keys take turns; `size` of them are held at a time."""
    waiting: dict[str, deque[Row]] = {}
    count = 0
    for row in rows:
        waiting.setdefault(key(row), deque()).append(row)
        count += 1
        if count >= size:
            yield from _drained(waiting)
            count = 0
    yield from _drained(waiting)


def _drained(waiting: dict[str, deque[Row]]) -> Iterator[Row]:
    while waiting:
        for key in list(waiting):
            rows = waiting[key]
            row = rows.popleft()
            if not rows:
                del waiting[key]
            yield row
