"""What is known of an object before it is changed, and whether the change may go on (object-disk 13.3 to 13.5).

Blocks; runs on the device's pool as part of a write's one trip. The errors say why not.
"""

from __future__ import annotations

from swift.obj.errors import Deleted, Expired, NotExist, ObjectError
from swift.obj.layout import ObjectLocation
from swift.obj.reader import OpenObject, open_object


class Refused(ObjectError):
    """The change must not be made. `status`: 404, 409 or 412; `timestamp`: what is known, internal form or ''."""

    def __init__(self, status: int, timestamp: str = "", text: str | None = None) -> None:
        super().__init__(text or str(status))
        self.status = status
        self.timestamp = timestamp
        self.text = text


class State:
    """`found`: the closed object or None. `timestamp`: of the data, the tombstone or the expired object; '' for nothing.

    `metadata`: of the object, also of an expired one. `names`: what is in the hash directory.
    """

    __slots__ = ("found", "timestamp", "metadata", "expired", "names")

    def __init__(self) -> None:
        self.found: OpenObject | None = None
        self.timestamp = ""
        self.metadata: dict[str, str] = {}
        self.expired = False
        self.names: list[str] = []


def read_state(where: ObjectLocation, now: float | None, frag_index: int | None = None) -> State:
    """Look at an object as of `now` (seconds). Raises Collision, StateChanged, OSError."""
    state = State()
    try:
        found = open_object(where, now, frag_index=frag_index, names=state.names)
    except Deleted as deleted:
        state.timestamp = deleted.timestamp
    except Expired as expired:
        state.timestamp = expired.timestamp
        state.metadata = expired.metadata
        state.expired = True
    except NotExist:
        pass
    else:
        found.close()
        state.found = found
        state.timestamp = found.data_timestamp
        state.metadata = found.metadata
    return state
