"""What is known of an object before it is changed (object-disk 13.3 to 13.5).

Blocks; runs on the device's pool as part of a write's one trip.
"""

from __future__ import annotations

from swift.obj.errors import Deleted, Expired
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.reader import look
from swift.obj.store import HEAD, State


class FileState(State):
    """`names`: what is in the hash directory."""

    __slots__ = ("names",)

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names


def read_state(
    where: ObjectLocation, now: float | None, frag_index: int | None = None, hasty: bool = False
) -> FileState:
    """Look at an object as of `now` (seconds). `hasty`: see `look`. Raises Collision, StateChanged, Elsewhere, OSError."""
    listed = look(where, now, frag_index=frag_index, want=HEAD, hasty=hasty)
    state = FileState(listed.names)
    found, missing = listed.found, listed.missing
    if found is not None:
        state.found = found
        state.timestamp = found.data_timestamp
        state.metadata = found.metadata
    elif isinstance(missing, Expired):
        state.timestamp = missing.timestamp
        state.metadata = missing.metadata
        state.expired = True
    elif isinstance(missing, Deleted):
        state.timestamp = missing.timestamp
    return state
