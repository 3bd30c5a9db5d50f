"""The four plans of small writes (see `batch`): look in haste, have it decided, and say what is to be written.

They are values that can be sent to another process. What never lives here: what is decided (`swift.obj.verdicts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swift.obj.files.batch import Durable, SmallFile
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.reader import Listed, look
from swift.obj.files.state import read_state
from swift.obj.files.writer import tombstone_metadata
from swift.obj.store import HEAD, OpenObject, RemovalCheck, State, Write


@dataclass(slots=True)
class PutPlan:
    """`ObjectStore.put`. `fragment`: which one it is, of an EC object."""

    where: ObjectLocation
    metadata: dict[str, str]
    body: bytes
    check: Callable[[State], None]
    write: Write
    fragment: int | None = None

    def __call__(self) -> tuple[State, SmallFile]:
        state = read_state(self.where, self.write.now, self.write.fragment, True)
        self.check(state)
        return state, SmallFile(
            self.metadata,
            ".data",
            self.body,
            state.names,
            fragment=self.fragment,
            is_guarded=is_guarded(self.check),
            is_exact=self.write.is_exact,
        )


@dataclass(slots=True)
class PostPlan:
    """`ObjectStore.post`."""

    where: ObjectLocation
    change: Callable[[OpenObject], dict[str, str]]
    write: Write

    def __call__(self) -> tuple[tuple[OpenObject, dict[str, str]], SmallFile]:
        listed, found = look_at(self.where, self.write, True)
        metadata = self.change(found)
        file = SmallFile(dict(metadata), ".meta", b"", listed.names, is_exact=self.write.is_exact)
        return (found, metadata), file


@dataclass(slots=True)
class DeletePlan:
    """`ObjectStore.delete`."""

    where: ObjectLocation
    timestamp: str
    check: RemovalCheck
    write: Write

    def __call__(self) -> tuple[tuple[State, bool], SmallFile | None]:
        state = read_state(self.where, self.write.now, hasty=True)
        if not self.check(state):
            return (state, False), None
        again = state.timestamp == self.timestamp
        metadata, guarded = tombstone_metadata(self.timestamp, self.check.note(state)), is_guarded(self.check)
        file = SmallFile(metadata, ".ts", b"", state.names, again, None, guarded, self.write.is_exact)
        return (state, True), file


@dataclass(slots=True)
class CommitPlan:
    """`ObjectStore.commit`: nothing is looked at, as the name says what it was."""

    timestamp: str
    fragment: int

    def __call__(self) -> tuple[None, Durable]:
        return None, Durable(self.timestamp, self.fragment)


def is_guarded(check: Callable[[State], object]) -> bool:
    """Returns True if what a check finds must still be there when the write counts."""
    return bool(getattr(check, "is_conditional", False))


def look_at(where: ObjectLocation, write: Write, hasty: bool) -> tuple[Listed, OpenObject]:
    """What a POST finds. Raises NotExist, and as `look`."""
    listed = look(where, write.now, write.open_expired, want=HEAD, hasty=hasty)
    if listed.found is None:
        assert listed.missing is not None
        raise listed.missing
    return listed, listed.found
