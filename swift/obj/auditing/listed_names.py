"""Asking container servers whether objects are listed: many names in a few requests, of all servers that keep the container.

Names of one container are asked for in ranges of its listing, whose length follows how many of them are ours. Who was cut into shards is followed
to those. What follows from an answer is others' business.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPile
from swift.core.timestamp import Timestamp
from swift.telemetry.units import handed_on, unit_of_work
from swift.wire import direct

REST_SECONDS = 30.0  # a server that did not answer is not asked again sooner
MOST, FEWEST = 1000, 16  # rows of one request
DEPTH = 4  # of shards within shards
AUTO, OBJECTS = "auto", "object"  # what is asked for: rows, or shards where there are some; rows in any case
_LAST = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)


@dataclass
class Listed:
    """`times`: {name: when it was last changed, seconds}, the newest that any server has. `unknown`: names that none has of those that answered,
    where not all did. `exists`: one of them has the container. `answered`: one of them did.
    """

    times: dict[str, float] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    exists: bool = False
    answered: bool = False

    def add(self, other: Listed) -> None:
        """What another place says of (some of) the same names."""
        for name, time in other.times.items():
            self.times[name] = max(time, self.times.get(name, 0.0))
        self.unknown |= other.unknown
        self.exists = self.exists or other.exists
        self.answered = self.answered or other.answered


class ListedNames:
    """`ring`: of containers; times in seconds. `agent`: how we name ourselves."""

    def __init__(self, ring: Any, conn_timeout: float, node_timeout: float, agent: str) -> None:
        self.ring = ring
        self._options: dict[str, Any] = {"conn_timeout": conn_timeout, "response_timeout": node_timeout}
        self._agent = agent
        self._away: dict[tuple[str, int], float] = {}

    @unit_of_work
    def ask(
        self,
        account: str,
        container: str,
        names: Iterable[str],
        policy_index: int | None = None,
        depth: int = 0,
        kind: str = AUTO,
    ) -> Listed:
        """Which of these objects are listed, as objects of that policy (None: of the container's). Raises nothing."""
        wanted = sorted(set(names))
        part, nodes = self.ring.get_nodes(account, container)
        pile = GreenPile(len(nodes))
        for node in nodes:
            headers = {"X-Backend-Record-Type": kind}
            if policy_index is not None:
                headers["X-Backend-Storage-Policy-Index"] = str(policy_index)
            pile.spawn(handed_on(_Question(self, (node, part, account, container), wanted, headers).run))
        answers = list(pile)
        whole = Listed()
        for answer in answers:
            whole.add(answer.listed)
        silent = not all(answer.listed.answered for answer in answers)
        if silent:
            whole.unknown.update(wanted)
        for shard, its in _shards(answers, wanted).items():
            if not shard or depth == DEPTH:
                whole.unknown.update(its)
            else:
                # what has not been cut off yet is still in the container itself
                own = shard == (account, container)
                whole.add(
                    self.ask(shard[0], shard[1], its, policy_index, depth + 1, OBJECTS if own else AUTO)
                )
        whole.unknown -= whole.times.keys()
        return whole

    def rests(self, node: Mapping[str, Any]) -> bool:
        """True if it is not to be asked now."""
        return self._away.get(_address(node), 0.0) > clock.monotonic()

    def get(
        self,
        node: Mapping[str, Any],
        part: int,
        account: str,
        container: str,
        headers: dict[str, str],
        **query: Any,
    ) -> tuple[Any, list[Any]]:
        """(headers, rows) of a listing. Raises DirectError."""
        headers = {
            "User-Agent": self._agent,
            "X-Backend-Use-Replication-Network": "true",
            **headers,
        }
        try:
            return direct.get_container(
                node,
                part,
                account,
                container,
                headers=headers,
                extra_params={"states": "listing"},
                **query,
                **self._options,
            )
        except direct.DirectError as error:
            if error.http_status is None or error.http_status == 507:
                self._away[_address(node)] = clock.monotonic() + REST_SECONDS
            raise


def _address(node: Mapping[str, Any]) -> tuple[str, int]:
    return node["replication_ip"], int(node["replication_port"])


class _Question:
    """What one server says. `ranges`: (lower, upper, account, container) of the shards that it names."""

    def __init__(
        self, asking: ListedNames, where: tuple[Any, int, str, str], names: list[str], headers: dict[str, str]
    ) -> None:
        self.listed = Listed()
        self.ranges: list[tuple[str, str, str, str]] | None = None
        self._asking = asking
        self._where = where
        self._names = names
        self._headers = headers

    def run(self) -> _Question:
        if self._asking.rests(self._where[0]):
            return self
        try:
            self._look()
            self.listed.exists = True
        except direct.DirectError as error:
            if (
                error.http_status != 404
            ):  # 404 is an answer: there is no such container, so nothing in it is listed
                self.listed = Listed()
                return self
        except (ValueError, KeyError, TypeError):
            self.listed = Listed()  # not what a container server says
            return self
        self.listed.answered = True
        return self

    def _look(self) -> None:
        names, at, limit = self._names, 0, min(MOST, max(FEWEST, len(self._names)))
        wanted = frozenset(names)
        while at < len(names):
            headers, rows = self._asking.get(
                *self._where,
                self._headers,
                marker=just_before(names[at]),
                end_marker=names[-1] + "\x01",
                limit=limit,
            )
            if headers.get("X-Backend-Record-Type") == "shard":
                self.ranges = [_range(row) for row in rows]
                return
            last = names[-1]
            for row in rows:
                last = row["name"]
                if last in wanted:
                    self.listed.times[last] = float(Timestamp.from_isoformat(row["last_modified"]))
            if len(rows) < limit:
                return
            seen = max(bisect_right(names, last, at), at + 1) - at
            at += seen
            if seen * 32 < limit:
                limit = max(FEWEST, limit // 2)
            elif seen * 4 > limit:
                limit = min(MOST, limit * 2)


def just_before(name: str) -> str:
    """A marker less than a name, with next to nothing in between."""
    head, last = name[:-1], ord(name[-1])
    if not last:
        return head
    below = last - 1
    if below in _SURROGATES:
        below = _SURROGATES.start - 1
    return head + chr(below) + _LAST


def _range(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    account, _, container = row["name"].partition("/")
    return row["lower"], row["upper"], account, container


def _shards(answers: Sequence[_Question], names: list[str]) -> dict[Any, set[str]]:
    """{(account, container) of a shard: the names in it}; under None those that are in none where there are some."""
    found: dict[Any, set[str]] = {}
    for answer in answers:
        for name in names if answer.ranges is not None else ():
            shards = [
                (a, c) for low, high, a, c in answer.ranges or () if name > low and (not high or name <= high)
            ]
            found.setdefault(shards[0] if shards else None, set()).add(name)
    return found
