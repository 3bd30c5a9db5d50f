"""The copies of one object: asked of its devices by HEAD, so that it does not matter whose servers they are; what is newest, and who lacks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import md5
from itertools import islice
from typing import Any, NamedTuple

from swift.cli import copy_states as states
from swift.cli.cluster import Cluster
from swift.cli.copy_states import Aside, Copy, Place
from swift.core import clock
from swift.core.concurrency import GreenPile
from swift.core.hashing import hash_path
from swift.core.object_headers import EC_ETAG, EC_INDEX, EC_LENGTH
from swift.core.policy import ErasurePolicy, StoragePolicy
from swift.obj.device_view import DeviceView, Unanswered
from swift.obj.store import RECLAIM_AGE
from swift.wire.direct import DirectError, get_object, head_container, head_object
from swift.wire.message import HeaderKeyDict

AT_ONCE = 16
CHUNK = 1 << 20
BASE = {"X-Backend-Open-Expired": "true", "X-Backend-Replication": "true"}


class Name(NamedTuple):
    """An object's name, native text."""

    account: str
    container: str
    obj: str

    def __str__(self) -> str:
        return "/" + "/".join(self)


class Newest(NamedTuple):
    """What all primaries should have. `meta`: of the last POST, or ''."""

    timestamp: str
    deleted: bool
    meta: str = ""


class Timeouts(NamedTuple):
    """Seconds."""

    connect: float
    answer: float

    def options(self) -> dict[str, Any]:
        """For the direct client."""
        return {"conn_timeout": self.connect, "response_timeout": self.answer}


def policy_of(cluster: Cluster, name: Name, timeouts: Timeouts) -> StoragePolicy | None:
    """The policy of the object's container, as the first of its servers that knows it says; None if none does."""
    ring = cluster.rings["container"]
    partition, nodes = ring.get_nodes(name.account, name.container)
    for node in nodes:
        try:
            found = head_container(node, partition, name.account, name.container, **timeouts.options())
        except DirectError as error:
            found = error.http_headers
            if not (found.get("X-Backend-Timestamp") or "").strip("0."):
                continue  # it has never had such a container
        index = found.get("X-Backend-Storage-Policy-Index")
        if index is not None and index.isdecimal():
            return next((policy for policy in cluster.policies if policy.idx == int(index)), None)
    return None


class ObjectCopies:
    """One object. `handoffs`: how many of them are asked beside the primaries; None for all. `verify`: all bytes are read."""

    def __init__(
        self,
        cluster: Cluster,
        name: Name,
        policy: StoragePolicy,
        timeouts: Timeouts,
        handoffs: int | None,
        verify: bool = False,
    ) -> None:
        self.name = name
        self.policy = policy
        self.timeouts = timeouts
        self.verify = verify
        self.name_hash: str = hash_path(*name)
        self.ring = cluster.rings[policy.ring_name]
        self.partition, primaries = self.ring.get_nodes(*name)
        more = islice(self.ring.get_more_nodes(self.partition), handoffs)
        self.places = [
            *(Place(node, "primary", number) for number, node in enumerate(primaries)),
            *(Place(node, "handoff", number) for number, node in enumerate(more)),
        ]
        self.copies: list[Copy] = []

    def headers(self, **more: str) -> dict[str, str]:
        """Of all requests to object servers."""
        return {"X-Backend-Storage-Policy-Index": str(self.policy.idx), **BASE, **more}

    def fragment_of(self, place: Place) -> int | None:
        """The index that a primary should have; None for whole copies."""
        return (
            self.policy.fragment_of(place.position)
            if isinstance(self.policy, ErasurePolicy) and place.is_primary
            else None
        )

    # ------------------------------------------------------------ asking

    def look(self) -> None:
        """Ask all devices."""
        pile = GreenPile(AT_ONCE)
        for place in self.places:
            pile.spawn(self._ask, place)
        self.copies = [copy for found in pile for copy in found]

    def _ask(self, place: Place) -> list[Copy]:
        headers = self.headers()
        if isinstance(self.policy, ErasurePolicy):
            headers["X-Backend-Fragment-Preferences"] = "[]"
        try:
            found = head_object(place.node, self.partition, *self.name, headers, **self.timeouts.options())
        except DirectError as error:
            return [self._failed(place, error)]
        copies = self._found(place, found)
        if self.verify:
            copies = [self._verified(copy) for copy in copies]
        return copies

    @staticmethod
    def _failed(place: Place, error: DirectError) -> Copy:
        status = error.http_status
        if status == 404:
            time = error.http_headers.get("X-Backend-Timestamp") or ""
            return Copy(place, states.TOMBSTONE if time else states.MISSING, time)
        if status is None:
            return Copy(place, states.UNREACHABLE, note=error.http_reason)
        state = states.UNMOUNTED if status == 507 else states.ERROR
        return Copy(place, state, note="" if status == 507 else f"status {status}")

    def _found(self, place: Place, found: HeaderKeyDict) -> list[Copy]:
        data = found.get("X-Backend-Data-Timestamp") or found.get("X-Backend-Timestamp") or ""
        newest = found.get("X-Backend-Timestamp") or ""
        meta = newest if newest > data else ""
        if not isinstance(self.policy, ErasurePolicy):
            etag = (found.get("Etag") or "").strip('"')
            return [Copy(place, states.DATA, data, meta, None, etag, _number(found.get("Content-Length")))]
        durable = found.get("X-Backend-Durable-Timestamp") or ""
        indexes = _fragments(found.get("X-Backend-Fragments")) or {data: [_number(found.get(EC_INDEX)) or 0]}
        copies = []
        for time in sorted(indexes, reverse=True):
            state = states.DATA if time == durable else states.NONDURABLE
            for index in indexes[time]:
                copy = Copy(place, state, time, "", index)
                if time == data:
                    copy = copy._replace(
                        meta=meta, checksum=found.get(EC_ETAG) or "", size=_number(found.get(EC_LENGTH))
                    )
                copies.append(copy)
        return copies

    def _verified(self, copy: Copy) -> Copy:
        """Its bytes are read and compared with its ETag."""
        headers = self.headers()
        if copy.fragment is not None:
            headers["X-Backend-Fragment-Preferences"] = self.preferring(copy)
        try:
            found, pieces = get_object(
                copy.place.node, self.partition, *self.name, CHUNK, headers, **self.timeouts.options()
            )
            digest = md5(usedforsecurity=False)
            for piece in pieces:
                digest.update(piece)
        except DirectError as error:
            return copy._replace(state=states.DAMAGED, note=f"can't be read: {error.http_reason or error}")
        etag = (found.get("Etag") or "").strip('"')
        if digest.hexdigest() != etag:
            return copy._replace(
                state=states.DAMAGED, note=f"its bytes have the checksum {digest.hexdigest()}"
            )
        return copy._replace(note="verified")

    def preferring(self, copy: Copy) -> str:
        """The header by which a node gives just this fragment."""
        others = [
            other.fragment
            for other in self.copies
            if other.place == copy.place
            and other.timestamp == copy.timestamp
            and other.fragment not in (None, copy.fragment)
        ]
        return json.dumps([{"timestamp": copy.timestamp, "exclude": others}])

    # ------------------------------------------------------------ judging

    @property
    def newest(self) -> Newest | None:
        """What counts; None if there is nothing anywhere. A deletion wins over data of the same time."""
        deleted = max((c.timestamp for c in self.copies if c.state == states.TOMBSTONE), default="")
        data = max((c.timestamp for c in self.copies if c.state == states.DATA), default="")
        if not deleted and not data:
            return None
        if deleted >= data:
            return Newest(deleted, True)
        metas = (copy.meta for copy in self.having(data))
        return Newest(data, False, max(metas, default=""))

    def having(self, timestamp: str) -> list[Copy]:
        """The good copies of that time, fragments that are not known durable too."""
        good = (states.DATA, states.NONDURABLE)
        return [copy for copy in self.copies if copy.timestamp == timestamp and copy.state in good]

    def is_good(self, place: Place, newest: Newest) -> bool:
        """Returns True if a primary has what it should."""
        for copy in self.copies:
            if copy.place != place:
                continue
            if newest.deleted:
                if copy.state == states.TOMBSTONE and copy.timestamp == newest.timestamp:
                    return True
                if copy.state == states.MISSING and _age(newest.timestamp) > RECLAIM_AGE:
                    return True
            elif (
                copy.state == states.DATA
                and copy.timestamp == newest.timestamp
                and copy.meta == newest.meta
                and copy.fragment == self.fragment_of(place)
            ):
                return True
        return False

    @property
    def lacking(self) -> list[Place]:
        """The primaries that have not what they should."""
        newest = self.newest
        if newest is None:
            return []
        return [place for place in self.places if place.is_primary and not self.is_good(place, newest)]

    # ------------------------------------------------------------ quarantine

    def aside(self, views: Mapping[int, DeviceView]) -> tuple[list[Aside], list[Place]]:
        """(what is in quarantine of it, devices that could not be asked). `views`: by device id."""
        found: list[Aside] = []
        silent = []
        for place in self.places:
            try:
                view = views[place.node["id"]]
                path, entries = view.set_aside(self.policy, self.partition, self.name_hash)
            except (KeyError, Unanswered):
                silent.append(place)
                continue
            for entry in entries:
                times = entry.item.times if entry.item is not None else None
                found.append(Aside(place, path, entry.entry, times.data if times else "", entry.fault))
        return found, silent


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def _fragments(text: str | None) -> dict[str, list[int]]:
    """{timestamp: indexes}; {} for what makes no sense."""
    try:
        document: Any = json.loads(text or "")
        return {
            str(time): [index for index in indexes if type(index) is int]
            for time, indexes in document.items()
        }
    except (ValueError, AttributeError, TypeError):
        return {}


def _age(timestamp: str) -> float:
    return clock.time() - float(timestamp[:16])


def stored(found: HeaderKeyDict, leaving: Sequence[str] = ()) -> dict[str, str]:
    """What an answer tells of an object that is kept with it: what a request to write it needs."""
    left = {name.lower() for name in leaving}
    return {
        name: value
        for name, value in found.items()
        if value is not None
        and name.lower() not in _OF_ANSWERS
        and name.lower() not in left
        and not name.lower().startswith("x-backend-")
    }


_OF_ANSWERS = frozenset(
    (
        "accept-ranges", "connection", "content-length", "content-type", "date", "etag", "keep-alive", "last-modified",
        "server", "transfer-encoding", "vary", "x-openstack-request-id", "x-timestamp", "x-trans-id",
    )
)  # fmt: skip
