"""What a peer is told that we have of an object: only what can be opened here counts (object-disk 17.3).

Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterable

from swift.obj.errors import Collision, Deleted, NotExist, StateChanged
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.reader import open_object
from swift.obj.store import HEAD, Times


def verified_times(places: Iterable[ObjectLocation], fragment: int | None = None) -> list[Times | None]:
    """The times of each object; None for what is not here, is damaged (and set aside by now), or changes all the time.

    `fragment`: look for that fragment archive. Raises XattrUnsupported, OSError.
    """
    return [_times(place, fragment) for place in places]


def _times(place: ObjectLocation, fragment: int | None) -> Times | None:
    try:
        found = open_object(place, None, True, fragment, want=HEAD)
    except Deleted as deleted:
        return Times(deleted.timestamp, deleted=True)
    except (NotExist, StateChanged, Collision):
        return None
    return Times(found.data_timestamp, found.timestamp, found.ctype_timestamp)
