"""Which answers belong together when the fragments of an object are gathered, and when there are enough (spec proxy 14.6).

Fragments of one PUT make a bucket. Pure bookkeeping: nothing here asks a node, waits, or decodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from swift.core.object_headers import EC_ETAG, EC_INDEX
from swift.core.timestamp import internal_timestamp
from swift.proxy.quorum import Answer
from swift.proxy.reader import Source
from swift.proxy.routing import Node
from swift.wire.client import BackendResponse

_EC_ETAG, _EC_INDEX = EC_ETAG.lower(), EC_INDEX.lower()
MAX_FRAGMENTS_HEADER = 65536  # characters


class Needs:
    """How many fragments make a segment (`data`), how many there may be of it (`total`), on how many nodes (`replicas`)."""

    __slots__ = ("data", "parity", "replicas", "total")

    def __init__(self, data: int, parity: int, replicas: int) -> None:
        self.data = data
        self.parity = parity
        self.total = data + parity
        self.replicas = replicas


class FragmentSource(Source):
    """A node's good answer: fragments with this `index`."""

    __slots__ = ("index",)

    def __init__(self, node: Node, response: BackendResponse, timestamp: str, index: int) -> None:
        super().__init__(node, response, timestamp)
        self.index = index


class Bucket:
    """What is known of the fragments of one PUT.

    `sources`: by index, those in hand; `alternates`: by index, nodes that say that they have others; `etag`: of the object.
    """

    __slots__ = ("alternates", "etag", "is_durable", "needs", "sources", "timestamp")

    def __init__(self, timestamp: str, needs: Needs) -> None:
        self.timestamp = timestamp
        self.needs = needs
        self.sources: dict[int, FragmentSource] = {}
        self.alternates: dict[int, list[Node]] = {}
        self.etag: str | None = None
        self.is_durable = False

    def is_same(self, source: FragmentSource) -> bool:
        """Return True if a fragment of this time is of the same object."""
        return source.response.get(_EC_ETAG) == self.etag

    def take(self, source: FragmentSource) -> bool:
        """Add a fragment; False if there is one with its index already, or if it is of another object."""
        if self.etag is None:
            self.etag = source.response.get(_EC_ETAG)
        if not self.is_same(source) or source.index in self.sources:
            return False
        self.sources[source.index] = source
        return True

    @property
    def shortfall(self) -> int:
        """How many more fragments are wanted; at least one as long as nobody has said that the PUT was acknowledged."""
        needs, have = self.needs, len(self.sources)
        if self.is_durable:
            return max(needs.data - have, 0)
        return max(1, needs.data - have, min(needs.replicas - have, needs.parity))

    @property
    def shortfall_with_alternates(self) -> int:
        """How many are missing even if all nodes that say so have theirs."""
        return max(0, self.needs.data - len(self.sources) - len(self.untried()))

    def untried(self) -> list[int]:
        """Indexes that are known to be somewhere and are not in hand."""
        return [index for index, nodes in self.alternates.items() if nodes and index not in self.sources]

    @property
    def is_complete(self) -> bool:
        """It can be read, and may be."""
        return self.is_durable and not self.shortfall

    @property
    def rank(self) -> tuple[Any, ...]:
        """The best bucket has the highest one."""
        short = self.shortfall
        return self.is_durable, short <= 0, -self.shortfall_with_alternates, self.timestamp


class Buckets:
    """All answers to one question."""

    __slots__ = ("_bad", "_buckets", "_newest_missing", "_refusals", "_told", "needs")

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self._buckets: dict[str, Bucket] = {}
        self._bad: dict[int, int] = {}  # how often each status came that is none of success
        self._newest_missing = ""
        self._told: list[tuple[Node, str]] = []  # X-Backend-Fragments that nobody has needed yet
        self._refusals: list[tuple[Answer, str]] = []

    def bucket(self, timestamp: str) -> Bucket:
        """The one of that time, made if it is not there."""
        bucket = self._buckets.get(timestamp)
        if bucket is None:
            bucket = self._buckets[timestamp] = Bucket(timestamp, self.needs)
        return bucket

    def learn(self, node: Node, response: BackendResponse, when: str) -> None:
        """What a good answer says beside its fragment: what else is there, and what was acknowledged. `when`: of its data."""
        durable = response.get("x-backend-durable-timestamp")
        if durable is None and response.get("x-backend-data-timestamp") is None:
            durable = when
        if durable:
            self.bucket(_internal(durable)).is_durable = True
        text = response.get("x-backend-fragments")
        if text:
            self._told.append((node, text))

    def consult(self) -> None:
        """Take in where nodes say that other fragments are: of no interest as long as all goes well."""
        told, self._told = self._told, []
        for node, text in told:
            for time, indexes in _fragments_of(text):
                alternates = self.bucket(time).alternates
                for index in indexes:
                    if 0 <= index < self.needs.total:
                        alternates.setdefault(index, []).append(node)

    def refused(self, answer: Answer, when: str) -> None:
        """Take an answer that is no success. `when`: of the deletion that it tells of, if it does."""
        self._refusals.append((answer, when))
        self._bad[answer.status] = self._bad.get(answer.status, 0) + 1
        if answer.status == 404 and when > self._newest_missing:
            self._newest_missing = when

    def count(self, status: int) -> int:
        """How often this refusal came."""
        return self._bad.get(status, 0)

    @property
    def best(self) -> Bucket | None:
        """The bucket to read from, complete or not: the best of those that no deletion has overtaken."""
        newest_missing = self._newest_missing
        live = [
            bucket
            for bucket in self._buckets.values()
            if bucket.timestamp >= newest_missing and (bucket.sources or bucket.alternates)
        ]
        return max(live, key=lambda bucket: bucket.rank) if live else None

    @property
    def acknowledged(self) -> int:
        """How many PUTs are known to have been acknowledged."""
        return sum(bucket.is_durable for bucket in self._buckets.values())

    @property
    def shortfall(self) -> int:
        """How many more good answers are wanted."""
        best = self.best
        return self.needs.data if best is None else best.shortfall

    def outcome(self, suppressed: int) -> list[Answer]:
        """The answers that count when nothing can be read. `suppressed`: so many 404 without a time say nothing.

        What is known to have been acknowledged is there, even if nobody is left who has some of it: only a later deletion says otherwise.
        """
        newest_missing = self._newest_missing
        acknowledged = [one.timestamp for one in self._buckets.values() if one.is_durable]
        newest = max((time for time in acknowledged if time >= newest_missing), default=None)
        kept = []
        missing = 0
        for answer, when in self._refusals:
            if newest is not None and when <= newest:
                continue
            if answer.status == 404 and not when:
                missing += 1
                if missing <= suppressed:
                    continue
            kept.append(answer)
        if newest is None and not newest_missing:
            if not self._is_enough_to_deny(missing, suppressed):
                return [answer for answer in kept if answer.status != 404]
            if not kept:
                kept.append(Answer(404, "Not Found"))
        return kept

    def _is_enough_to_deny(self, missing: int, suppressed: int) -> bool:
        """Returns True if so many primaries have nothing, or only what was never acknowledged, that no quorum can have something else.

        `missing`: those that know of nothing.
        """
        needs = self.needs
        quorum = (needs.data + 1) * max(needs.replicas // needs.total, 1)
        needed = max(needs.replicas - quorum, 0) + 1
        holders = {source.node["id"] for source in self.sources()}
        return missing >= needed or len(holders) + max(missing - suppressed, 0) >= needed

    def preferences(self) -> str:
        """The value of X-Backend-Fragment-Preferences: what is looked for, best first, and which of it is here."""
        if not self._buckets:
            return "[]"
        ranked = sorted(self._buckets.values(), key=lambda bucket: bucket.rank, reverse=True)
        return json.dumps(
            [
                {"timestamp": bucket.timestamp, "exclude": sorted(bucket.sources)}
                for bucket in ranked
                if bucket.timestamp >= self._newest_missing
            ]
        )

    def sources(self, other_than: Bucket | None = None) -> list[FragmentSource]:
        """All that are in hand, but those of one bucket."""
        return [
            source
            for bucket in self._buckets.values()
            if bucket is not other_than
            for source in bucket.sources.values()
        ]


def data_timestamp(response: BackendResponse) -> str:
    """When the fragment was written, in internal form; '' if the answer does not say."""
    for name in ("x-backend-data-timestamp", "x-backend-timestamp", "x-timestamp"):
        value = response.get(name)
        if value:
            return _internal(value)
    return ""


def fragment_index(response: BackendResponse, total: int) -> int | None:
    """Which fragments the answer brings; None if it does not say, or something impossible."""
    text = response.get(_EC_INDEX) or ""
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < total:
        return int(text)
    return None


def _internal(text: str) -> str:
    try:
        return internal_timestamp(text)
    except ValueError:
        return ""


def _fragments_of(text: str | None) -> Iterable[tuple[str, Sequence[int]]]:
    """{timestamp: [indexes]} of the header X-Backend-Fragments; nothing for what is none."""
    if not text or len(text) > MAX_FRAGMENTS_HEADER:
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(found, dict):
        return
    for time, indexes in found.items():
        when = _internal(time)
        if when and isinstance(indexes, list):
            yield when, [index for index in indexes if type(index) is int]
