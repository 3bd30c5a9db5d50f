"""The listing of a container in shards, put together of those of its shards (spec proxy 9.7, database 21.1).

Pages of shards are asked for ahead where the first ones turn out short, and their JSON is joined as it comes. A listing is whole or
there is none: a shard that nobody can list is a 503. Never here: caches, and what the client is told beside the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import orjson

from swift.core.concurrency import kill, spawn
from swift.proxy.listings import Fetch, Listing
from swift.proxy.namespaces import Namespace, arranged
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.proxy.shard_directory import MAX_BODY, read_namespaces, sub_environ
from swift.telemetry.log import set_transaction, transaction
from swift.wire.client import BackendError
from swift.wire.message import str_to_wsgi

_DEEPEST = 8  # shards of shards of …
_MOST_AHEAD = 8  # shards that are asked at the same time
_TRIES = 2  # for a body that breaks off
_MOST_COPIES = 4  # that are asked anew while they contradict each other
# How the rows of a listing begin. Nothing else looks so: in a string there is a backslash before a quote, and behind one that ends it no letter.
_OBJECT, _SUBDIR = b'{"bytes":', b'{"subdir":'
_BEGINNINGS = (_OBJECT, _SUBDIR)
_FIRST_KEYS = (b'{"b', b'{"n', b'{"h', b'{"s', b'{"c', b'{"l')  # of rows, in whatever order theirs are
_ANY_ROW = re.compile(rb'\{"(?:bytes|subdir)":')
_EMPTY = b"[]"


class Unavailable(Exception):
    """A shard can't be listed, or contradicts the others."""


class Query:
    """What a client asks for. Names are native text; `policy`: index of the storage policy whose rows are listed.

    `handed_on`: headers for all servers that are asked.
    """

    def __init__(
        self, params: Mapping[str, str], limit: int, reverse: bool, policy: str, handed_on: Mapping[str, str]
    ) -> None:
        self.limit = limit
        self.marker = params.get("marker", "")
        self.end_marker = params.get("end_marker", "")
        self.reverse = reverse
        self.policy = policy
        self.handed_on = handed_on
        self._kept = {
            name: value
            for name, value in params.items()
            if name in ("prefix", "delimiter", "path", "reverse") and value is not None
        }
        # names that come to be rows or subdirs of their own begin with this
        self.prefix = params.get("prefix", "")
        if "path" in params:
            path = params["path"].rstrip("/")
            self.prefix = f"{path}/" if path else ""
        self.groups = bool(params.get("delimiter")) or "path" in params
        self._delimiter = "" if "path" in params else params.get("delimiter", "")

    @property
    def is_everything(self) -> bool:
        """Returns True if only the limit can leave something out."""
        return not (self.marker or self.end_marker or self.prefix or self.groups)

    def is_subdir(self, text: str) -> bool:
        """Returns True if names that begin with the text, and are longer, are listed as just that."""
        if not (self._delimiter and text.startswith(self.prefix)):
            return False
        at = text.find(self._delimiter, len(self.prefix))
        return at >= 0 and at + len(self._delimiter) == len(text)

    def text(self, limit: int, marker: str, end_marker: str) -> str:
        """The query string for one shard."""
        params = {"format": "json", **self._kept, "limit": str(limit), "states": "listing"}
        if marker:
            params["marker"] = marker
        if end_marker:
            params["end_marker"] = end_marker
        return urlencode(params)


class Page:
    """Rows of one container. `rows`: their JSON without brackets; `last`: name or subdir of the last one.

    `groups`: there may be subdirs among them.
    """

    __slots__ = ("_beginnings", "count", "is_subdir", "last", "rows")

    def __init__(self, body: bytes, groups: bool = True) -> None:
        body = body.strip()
        if body[:1] != b"[" or body[-1:] != b"]":
            raise ValueError("not a list")
        self.rows = body[1:-1].strip()
        self._beginnings = _BEGINNINGS if groups else _BEGINNINGS[:1]
        if self.rows and not (self.rows.startswith(self._beginnings) and (not groups or self._is_known())):
            self._read()
        self.count = self._count()
        self.last = ""
        self.is_subdir = False
        self._note_last()

    def _count(self) -> int:
        return sum(map(self.rows.count, self._beginnings))

    def _is_known(self) -> bool:
        """Returns True if all rows begin as ours do: behind a subdir, that the first one does says nothing of the others."""
        return sum(map(self.rows.count, _FIRST_KEYS)) == self._count()

    def _read(self) -> None:
        """In the common form, however it was written. Raises ValueError, KeyError."""
        items = orjson.loads(b"[" + self.rows + b"]")
        ordered = [item if "subdir" in item else {"bytes": item["bytes"], **item} for item in items]
        self.rows = orjson.dumps(ordered)[1:-1]
        self._beginnings = _BEGINNINGS
        if self._count() != len(items):
            raise ValueError("rows of unknown form")

    def _note_last(self) -> None:
        if not self.count:
            return
        item = orjson.loads(self.rows[max(map(self.rows.rfind, self._beginnings)) :])
        self.is_subdir = "subdir" in item
        last = item["subdir"] if self.is_subdir else item.get("name")
        if not isinstance(last, str):
            raise ValueError("a row without a name")
        self.last = last

    def cut(self, count: int) -> None:
        """Only the first `count` rows."""
        if count < self.count:
            self.rows = self.rows[: self._start_of(count)].rstrip(b", \n")
            self.count = count
            self._note_last()

    def _start_of(self, number: int) -> int:
        """Where a row begins; `number`: from 0, of one that is there. It is looked for from the end that is nearer."""
        rows = self.rows
        if len(self._beginnings) > 1 or number < self.count // 2:
            return next(islice(_ANY_ROW.finditer(rows), number, None)).start()
        at = len(rows)
        for _ in range(self.count - number):
            at = rows.rfind(_OBJECT, 0, at)
        return at

    def skip_first(self, subdir: str) -> None:
        """Without the first row if that is a subdir which was listed before."""
        if not self.count:
            return
        end = self._start_of(1) if self.count > 1 else len(self.rows)
        if orjson.loads(self.rows[:end].rstrip(b", \n")).get("subdir") == subdir:
            self.rows = self.rows[end:]
            self.count -= 1


class _Answer:
    """What a shard said: a page of rows, or the namespaces that it is split into; and the state of its database."""

    __slots__ = ("namespaces", "page", "state")

    def __init__(self, page: Page | None, namespaces: list[Namespace] | None, state: str) -> None:
        self.page = page
        self.namespaces = namespaces
        self.state = state

    @property
    def has_moved(self) -> bool:
        """Returns True for rows of a container all of whose rows belong in shards."""
        return self.page is not None and self.state == "sharded"


class _Ahead:
    """A page that is asked for before its turn: on its way at once where there is a connection, else by a green thread of its own."""

    def __init__(self, listing: ShardListing, item: Namespace, record_type: str, limit: int) -> None:
        self.item = item
        self.limit = limit
        self._listing = listing
        self._failure: Exception | None = None
        self._answer: _Answer | None = None
        self._thread: Any = None
        self._asked = listing.prepare(item, record_type, limit)
        if not self._asked.send():
            self._thread = spawn(self._run, transaction())

    def _run(self, request: Any) -> None:
        set_transaction(*request)
        try:
            self._answer = self._listing.answer(self._asked)
        except Exception as error:
            self._failure = error

    def wait(self) -> _Answer:
        """The answer. Raises Unavailable, or whatever else went wrong."""
        if self._thread is None:
            return self._listing.answer(self._asked)
        self._thread.wait()
        if self._failure is not None:
            raise self._failure
        assert self._answer is not None
        return self._answer

    def drop(self) -> None:
        """Nobody wants it any more."""
        if self._thread is not None:
            kill(self._thread)
        else:
            self._asked.drop()


class ShardListing:
    """One listing. `rows()` once, then `count` and `last` say what became of it."""

    def __init__(
        self,
        services: Services,
        environ: Mapping[str, Any],
        query: Query,
        use_replication: bool,
        newest: bool,
        rows_each: float = 0.0,
    ) -> None:
        """`rows_each`: how many rows a shard has on average, 0 if nobody knows."""
        self._services = services
        self._query = query
        self._sub_environ = sub_environ(environ, "", use_replication)
        if newest:
            self._sub_environ["HTTP_X_NEWEST"] = "true"
        common = {**query.handed_on, "X-Backend-Storage-Policy-Index": query.policy}
        self._headers: dict[str, dict[str, str | None]] = {
            "object": {**common, "X-Backend-Record-Type": "object"},
            "auto": {
                **common,
                "X-Backend-Record-Type": "auto",
                "X-Backend-Record-Shard-Format": "namespace",
                "X-Backend-Include-Deleted": "false",
            },
        }
        self._rows_each = 0.0 if query.groups else rows_each
        self._left = query.limit
        self._pieces: list[bytes] = []
        self._pages = 0
        self._count_first = 0  # rows of the first page, which a marker may have made short
        self.count = 0
        self.last = ""
        self._is_subdir = False

    def body(self, root: str, items: Sequence[Namespace]) -> bytes:
        """The listing as JSON. `root`: the `account/container`, `items`: who lists it, in the listing's order. Raises Unavailable."""
        self._list(items, (root,))
        if self._pieces:
            self._pieces.append(b"]")
        return b"".join(self._pieces) or _EMPTY

    # -- in order ----------------------------------------------------------------------------------------------------------

    def _list(self, items: Sequence[Namespace], expanded: tuple[str, ...]) -> None:
        """`expanded`: the containers whose namespaces these are, the root first."""
        if len(expanded) > _DEEPEST:
            raise Unavailable(f"shards of {expanded[0]} are split more than {_DEEPEST} times")
        ahead: dict[Namespace, _Ahead] = {}
        try:
            for at, item in enumerate(items):
                if self._left <= 0 or self._is_over(item):
                    break
                if self._is_beside(item):
                    continue
                answer = self._answer_of(items, at, expanded, ahead)
                self._take(item, answer, expanded)
        finally:
            for page in ahead.values():
                page.drop()

    def _answer_of(
        self, items: Sequence[Namespace], at: int, expanded: tuple[str, ...], ahead: dict[Namespace, _Ahead]
    ) -> tuple[_Answer, int]:
        """(what the container of an item says, the limit that it was given)."""
        item = items[at]
        page = ahead.pop(item, None)
        if page is None:
            for other in self._worth_asking(items, at):
                if other not in ahead:
                    ahead[other] = _Ahead(self, other, _record_type(other, expanded), self._left)
            page = ahead.pop(item, None)
        if page is not None:
            return page.wait(), page.limit
        return self.ask(item, _record_type(item, expanded), self._left), self._left

    def _worth_asking(self, items: Sequence[Namespace], at: int) -> Iterator[Namespace]:
        """This item and those behind it that are likely to be needed too, as long as they don't overlap."""
        if self._pages >= 2:
            expected = max((self.count - self._count_first) / (self._pages - 1), 1)
            most = min(_MOST_AHEAD, 2 * (self._pages - 1), int(self._left / expected) + 1)
            if self._rows_each:
                most = max(most, min(_MOST_AHEAD, int(self._left / self._rows_each) + 1))
        elif self._rows_each:
            # A shard that has more than is wanted is likely to be enough.
            most = min(_MOST_AHEAD, int(self._left / max(self._rows_each, 1)) + 1)
        else:
            return
        if most < 2:
            return
        before: Namespace | None = None
        found = 0
        for number in range(at, len(items)):
            item = items[number]
            if found >= most or self._is_over(item):
                return
            if before is not None and not _follows(before, item, self._query.reverse):
                return
            before = item
            if not self._is_beside(item):
                found += 1
                yield item

    def _is_over(self, item: Namespace) -> bool:
        """Returns True if all that is listed there lies behind the end marker."""
        end = self._query.end_marker
        if not end:
            return False
        if self._query.reverse:
            return bool(item.upper) and item.upper <= end
        return item.lower >= end

    def _is_beside(self, item: Namespace) -> bool:
        """Returns True if nothing that is listed there can be new."""
        if self._query.prefix and not item.may_start_with(self._query.prefix):
            return True
        end = item.lower if self._query.reverse else item.upper
        return self._is_subdir and bool(end) and end.startswith(self.last)

    def _take(self, item: Namespace, answered: tuple[_Answer, int], expanded: tuple[str, ...]) -> None:
        answer, limit = answered
        while True:
            if item.path in expanded:
                answer, limit = self._not_in_shards(item, answer, limit)
            if answer.page is None:
                assert answer.namespaces is not None
                inner = arranged(answer.namespaces, self._query.reverse)
                self._list(_within(item, inner), (*expanded, item.path))
                return
            got = answer.page.count
            self._add(answer.page)
            if self._left <= 0 or got < limit:
                return
            limit = self._left
            answer = self.ask(item, _record_type(item, expanded), limit)

    def _not_in_shards(self, item: Namespace, answer: _Answer, limit: int) -> tuple[_Answer, int]:
        """The answer of a container that was asked for rows which are not in its shards yet, and its limit. Raises Unavailable.

        A copy of it that has moved all of them has none any more: then those of another copy, or the shards that have them.
        """
        for _ in range(_MOST_COPIES):
            if not answer.has_moved:
                return answer, limit
            others = self.ask(item, "auto", self._left)
            if others.page is not None or any(found.path != item.path for found in others.namespaces or ()):
                return others, self._left
            if others.state == "sharded":
                return answer, limit  # no shard has that part of the names
            limit = self._left
            answer = self.ask(item, "object", limit)
        if not answer.has_moved:
            return answer, limit
        raise Unavailable(f"copies of {item.path} contradict each other")

    def _add(self, page: Page) -> None:
        if self._is_subdir:
            page.skip_first(self.last)
        page.cut(self._left)
        self._pages += 1
        if self._pages == 1:
            self._count_first = page.count
        if not page.count:
            return
        self._pieces += (b", " if self._pieces else b"[", page.rows)
        self.count += page.count
        self._left -= page.count
        self.last, self._is_subdir = page.last, page.is_subdir

    # -- one container -----------------------------------------------------------------------------------------------------

    def ask(self, item: Namespace, record_type: str, limit: int) -> _Answer:
        """Up to `limit` of its rows behind what is listed already, or its namespaces. Raises Unavailable."""
        return self.answer(self.prepare(item, record_type, limit))

    def prepare(self, item: Namespace, record_type: str, limit: int) -> Fetch:
        """The request of `ask`, not sent yet."""
        query = self._query
        marker, end_marker = self._markers(item)
        account, _, container = str_to_wsgi(item.path).partition("/")
        text = query.text(limit, marker, end_marker)
        place = self._services.containers.place(account, container)
        environ = {**self._sub_environ, "QUERY_STRING": text}
        return Fetch(self._services, environ, place, text, self._headers[record_type])

    def answer(self, asked: Fetch) -> _Answer:
        """The answer to a prepared request. Raises Unavailable."""
        for _ in range(_TRIES):
            found = asked.result()
            if isinstance(found, list):
                statuses = [answer.status for answer in found]
                raise Unavailable(f"shard {asked.place.tail} answers {statuses or 'nothing'}")
            try:
                return self._read(found, asked.place)
            except BackendError:
                continue  # said in the log already
        raise Unavailable(f"the listing of shard {asked.place.tail} breaks off")

    def _markers(self, item: Namespace) -> tuple[str, str]:
        """Between which a container is listed, so that rows which are not its own stay out."""
        query = self._query
        marker, end_marker = self.last or query.marker, query.end_marker
        # A subdir that is a marker itself would be left out; no name goes on with NUL.
        lower = f"{item.lower}\0" if query.groups and item.lower else item.lower
        if query.reverse:
            if item.upper and (not marker or marker > item.end_marker):
                marker = item.end_marker
            hides = query.is_subdir(end_marker) and item.lower.startswith(end_marker)
            return marker, end_marker if hides or item.holds(end_marker) else lower
        if item.lower > marker and not (query.is_subdir(marker) and item.lower.startswith(marker)):
            marker = lower
        return marker, end_marker if item.holds(end_marker) else item.end_marker

    def _read(self, found: Listing, place: Place) -> _Answer:
        state = found.get("x-backend-sharding-state") or ""
        if found.get("x-backend-record-type", "object") == "shard":
            items = read_namespaces(self._services, found, place)
            if items is None:
                raise Unavailable(f"the namespaces of shard {place.tail} can't be read")
            return _Answer(None, items, state)
        policy = found.get("x-backend-record-storage-policy-index") or found.get(
            "x-backend-storage-policy-index"
        )
        if policy != self._query.policy:
            found.close()
            raise Unavailable(f"shard {place.tail} lists policy {policy}, not {self._query.policy}")
        body = found.whole(MAX_BODY)
        try:
            return _Answer(Page(body or _EMPTY, self._query.groups), None, state)
        except (ValueError, KeyError, AttributeError) as error:
            raise Unavailable(f"the listing of shard {place.tail} can't be read: {error}") from None


def _record_type(item: Namespace, expanded: Sequence[str]) -> str:
    return "object" if item.path in expanded else "auto"


def _within(item: Namespace, items: Sequence[Namespace]) -> list[Namespace]:
    """Namespaces of a part, cut to its bounds."""
    cut = []
    for found in items:
        lower = max(found.lower, item.lower)
        upper = min(found.upper or item.upper, item.upper or found.upper)
        if not upper or lower < upper:
            cut.append(Namespace(lower, upper, found.path))
    return cut


def _follows(before: Namespace, item: Namespace, reverse: bool) -> bool:
    """Returns True if no name is both in one and in the other, in the order of a listing."""
    if reverse:
        before, item = item, before
    return bool(before.upper) and before.upper <= item.lower


def sums(body: bytes) -> tuple[int, int]:
    """(rows, bytes) of a listing of objects as JSON."""
    items = orjson.loads(body)
    return len(items), sum(item.get("bytes", 0) for item in items)
