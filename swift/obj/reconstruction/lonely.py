"""Fragments that are all that is left of an object which is gone elsewhere, and are set aside if an operator wants it so (object-disk 19.5).

They come from nodes that were away while the object was deleted and its tombstones were reclaimed. Nothing can be made of them.
"""

from __future__ import annotations

from swift.core import clock
from swift.obj.reconstruction.gathering import Gathering, Said


def is_lonely(gathering: Gathering) -> bool:
    """True if our fragment is old, and everybody who might have others has answered and has nothing of the object, or too little.

    All nodes must have been asked for it.
    """
    options = gathering.work.options
    wanted = gathering.wanted
    if not options.quarantine_threshold:
        return False
    if clock.time() - float(wanted.timestamp[:16]) <= options.quarantine_age:
        return False
    indexes = {gathering.own_index}
    for said in gathering.said.values():
        if said.indexes:
            indexes |= said.indexes
        elif not _has_nothing(said):
            return False
    having = 1 + sum(bool(said.indexes) for said in gathering.said.values())
    return having <= options.quarantine_threshold and len(indexes) < gathering.data


def _has_nothing(said: Said) -> bool:
    """A node that knows of another time, be it that of a deletion, makes it a matter of replication."""
    return said.status == 404 and not said.timestamp
