"""What lies in hash directories, told for inventories: what counts, and beside it what was never finished.

Everything here blocks, and changes nothing. What can't be listed is an error, never left out: whoever asks wants to know what would be lost.
"""

from __future__ import annotations

import os

from swift.obj.directories import is_hash
from swift.obj.errors import ObjectError
from swift.obj.files import metadata as _metadata
from swift.obj.files.decide import decide
from swift.obj.store import Item, Times


def suffix_items(suffix_dir: str, ec: bool, fragments: int | None) -> list[Item]:
    """The objects in a suffix, in order. Raises OSError."""
    try:
        names = sorted(filter(is_hash, os.listdir(suffix_dir)))
    except FileNotFoundError:
        return []
    found = []
    for name_hash in names:
        try:
            item = item_of(name_hash, f"{suffix_dir}/{name_hash}", ec, fragments)
        except FileNotFoundError:
            continue
        if item is not None:
            found.append(item)
    return found


def item_of(name_hash: str, directory: str, ec: bool, fragments: int | None) -> Item | None:
    """What a hash directory, also one in quarantine, holds; None for nothing. Raises OSError."""
    names = os.listdir(directory)
    decision = decide(names, ec, fragments)
    times: Times | None = None
    if decision.data is not None:
        meta, ctype = decision.meta, decision.ctype
        times = Times(
            decision.data.timestamp,
            meta.timestamp if meta is not None else None,
            ctype.ctype_timestamp if ctype is not None else None,
        )
    elif decision.ts is not None:
        times = Times(decision.ts.timestamp, deleted=True)
    durable = decision.frag_sets.get(decision.durable_set, []) if decision.durable_set else []
    unfinished = [
        file
        for time, frag_set in decision.frag_sets.items()
        if time != decision.durable_set
        for file in frag_set
    ]
    if times is None and not unfinished:
        return None
    return Item(
        name_hash,
        times,
        tuple(_indexes(durable)),
        tuple((file.timestamp, index) for file in unfinished for index in _indexes([file])),
        _name(f"{directory}/{unfinished[0].name}") if unfinished else None,
    )


def _indexes(files: list) -> list[int]:
    return [file.fragment for file in files if file.fragment is not None]


def _name(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return _metadata.read(file.fileno()).get("name")
    except (ObjectError, OSError):
        return None
