"""What a write's verb decides once it is seen what is there: callables that stores call where the disk's work is done.

That may be another thread or another process: they are plain values that can be sent, and change nothing. Never here: HTTP, disks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from swift.core.object_lock import (
    KEPT_PREFIX,
    PROTECTED,
    Word,
    drops,
    forbids_change,
    forbids_removal,
    forgotten,
    lock_in,
)
from swift.obj.errors import Refused
from swift.obj.replaced import is_large
from swift.obj.store import OpenObject, State

if TYPE_CHECKING:
    from swift.wire.message import Match


class Locking(NamedTuple):
    """What locks of objects are judged by. `now`: seconds, the earlier one of the request's time and this server's: a clock that is ahead
    ends no lock. `word`: see `core.object_lock`. `is_replication`: it was decided on another node. `keeps`: metadata of S3's that a
    POST does not name is not to be lost. The default is that of a time at which no lock has ended."""

    now: float = 0.0
    word: Word | None = None
    is_replication: bool = False
    keeps: bool = False


NO_LOCKING = Locking()


def _newest(state: State) -> str:
    return state.found.timestamp if state.found is not None else state.timestamp


def _is_locked(state: State, locking: Locking) -> bool:
    """Returns True if what is there must neither go nor be replaced."""
    return bool(state.metadata) and forbids_removal(state.metadata, _newest(state), locking.word, locking.now)


@dataclass(slots=True)
class PutCheck:
    """Raises Refused when a PUT may not go on. `if_current`: the time of what its sender has seen, internal form.

    Data with the very timestamp does not stop it here: the same content again is no conflict, which shows at the end.
    """

    timestamp: str
    if_none_match: Match | None = None
    if_current: str | None = None
    locking: Locking = NO_LOCKING

    @property
    def is_conditional(self) -> bool:
        """What it finds must still be there when the object gets its name."""
        return self.if_none_match is not None or self.if_current is not None

    def __call__(self, state: State) -> None:
        condition = self.if_none_match
        if self.if_current is not None:
            # what is older than what was seen has missed something, and so is no reason against it
            if state.timestamp > self.if_current:
                raise Refused(412, state.timestamp)
        elif condition is not None and state.found is not None and state.metadata.get("ETag") in condition:
            raise Refused(412)
        if state.timestamp > self.timestamp or (state.timestamp == self.timestamp and state.found is None):
            raise Refused(409, state.timestamp)
        # What another node has stored was decided there.
        locking = self.locking
        if state.timestamp < self.timestamp and not locking.is_replication and _is_locked(state, locking):
            raise Refused(403, state.timestamp, PROTECTED)


@dataclass(slots=True)
class PostChange:
    """What the new .meta says. Raises Refused.

    `content_type` and `ctype_timestamp` are empty when it doesn't change that. `headers`: what else it says.
    """

    timestamp: str
    content_type: str
    ctype_timestamp: str
    headers: dict[str, str]
    locking: Locking = NO_LOCKING

    def __call__(self, found: OpenObject) -> dict[str, str]:
        return self._stored_already(found) or self._new_metadata(found)

    def _stored_already(self, found: OpenObject) -> dict[str, str] | None:
        """What the .meta says if it is this very request's, sent again because its answer got lost; else None."""
        meta = found.meta_metadata
        if meta is None or self.timestamp != found.timestamp:
            return None
        metadata = {key: value for key, value in meta.items() if key != "name"}
        content_type = metadata.get("Content-Type"), metadata.get("Content-Type-Timestamp")
        if self.content_type and content_type != (self.content_type, self.ctype_timestamp):
            return None
        own = {key: value for key, value in metadata.items() if not key.startswith("Content-Type")}
        return metadata if own == self.headers else None

    def _new_metadata(self, found: OpenObject) -> dict[str, str]:
        """Raises Refused (409) when all that is known is as new as the request."""
        is_newer = self.timestamp > found.timestamp
        if not is_newer and self.ctype_timestamp <= found.ctype_timestamp:
            raise Refused(409, found.timestamp)
        if is_newer:
            self._check_lock(found)
            metadata = dict(self.headers)
        else:
            # an older POST with a newer content type: only that is taken from it
            metadata = dict(found.meta_metadata or {"X-Timestamp": found.timestamp})
            metadata.pop("name", None)
            metadata.pop("Content-Type", None)
            metadata.pop("Content-Type-Timestamp", None)
        if self.ctype_timestamp > found.ctype_timestamp:
            metadata["Content-Type"] = self.content_type
            metadata["Content-Type-Timestamp"] = self.ctype_timestamp
        elif found.ctype_timestamp != found.data_timestamp:
            metadata["Content-Type"] = found.metadata["Content-Type"]
            metadata["Content-Type-Timestamp"] = found.ctype_timestamp
        return metadata

    def _check_lock(self, found: OpenObject) -> None:
        """Raises Refused for what would lose, or weaken, a lock, or what S3 keeps with an object."""
        old, new = found.metadata, self.headers
        now, word, is_replication, keeps = self.locking
        if is_replication:
            if drops(old, new, now):
                raise Refused(403, found.timestamp, PROTECTED)
            return
        if word is not None and word.seen and found.timestamp > word.seen:
            raise Refused(409, found.timestamp)
        if keeps and any(name.startswith(KEPT_PREFIX) for name in old):
            lost = forgotten(old, new)
            if lost:
                raise Refused(412, found.timestamp, "Metadata of S3's would be lost", lost)
        if forbids_change(old, found.timestamp, new, word, now):
            raise Refused(403, found.timestamp, PROTECTED)
        lock = lock_in(new)
        if lock is not None and lock.holds(now) and "X-Delete-At" in new:
            raise Refused(400, found.timestamp, "What is locked can't have an X-Delete-At")


class Verdict(NamedTuple):
    """`writes`: a tombstone is to be written. `status`, `text`: of the answer."""

    writes: bool
    status: int
    text: str | None = None


@dataclass(slots=True)
class DeleteCheck:
    """True if a DELETE is to write a tombstone. `if_delete_at`: the expirer's condition; `unless_large`: a static large object stays."""

    timestamp: str
    if_delete_at: int | None = None
    unless_large: bool = False
    if_current: str | None = None
    locking: Locking = NO_LOCKING

    @property
    def is_conditional(self) -> bool:
        """What it finds must still be there when the tombstone gets its name."""
        return self.if_current is not None

    def __call__(self, state: State) -> bool:
        return self.verdict(state).writes

    def note(self, state: State) -> str:
        """What the tombstone says of the object's lock (`core.object_lock`), "" for nothing."""
        if self.locking.word is not None:
            return self.locking.word.text()
        return Word(_newest(state)).text() if state.metadata and lock_in(state.metadata) is not None else ""

    def verdict(self, state: State) -> Verdict:
        """What becomes of it, given what is or was there."""
        timestamp = self.timestamp
        # Or this very DELETE came before, and nobody heard of what became of it: its tombstone may not be synced, its
        # container not told.
        again = state.timestamp == timestamp and state.found is None and not state.expired
        status = 404 if state.found is None else 204 if state.timestamp < timestamp else 409
        if self.if_delete_at is not None:
            refusal = self._refusal(state, self.if_delete_at)
            if refusal is not None:
                return refusal
            status = 204
        if self.if_current is not None and state.timestamp > self.if_current and not again:
            return Verdict(False, 412, "There is something newer")
        if self.unless_large and state.found is not None and status == 204 and is_large(state):
            return Verdict(False, 412, "It is a large object")
        writes = state.timestamp < timestamp
        if writes and _is_locked(state, self.locking):
            return Verdict(False, 403, PROTECTED)
        return Verdict(writes or again, status)

    def _refusal(self, state: State, if_delete_at: int) -> Verdict | None:
        if not state.timestamp:
            return Verdict(False, 404)
        if state.timestamp >= self.timestamp:
            return Verdict(False, 409)
        stored = state.metadata.get("X-Delete-At")
        if stored is None or int(stored) != if_delete_at:
            return Verdict(False, 412, "X-If-Delete-At and X-Delete-At do not match")
        return None
