"""Files of an object that count for nothing: which of them may lie about, and which are a fault.

Two kinds may. Metadata newer than the tombstone beside them: of a POST to a copy that did not know yet that the object was deleted,
kept in case of one that was written in between. And fragments that were never committed, newer than all that was: nobody
was told that they are stored, and in time they are reclaimed.

What lives here: that rule, of names alone. What never does: disks, comparing what counts (`replicas`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swift.obj.files.layout import FileName, parse_name


def sort_out(places: Mapping[str, Iterable[str]], ec: bool) -> tuple[dict[str, list[str]], list[str]]:
    """(device → the names that count, sorted; what is wrong with the others). `places`: device → names of one object's files there.

    A device of which nothing counts is not in the first.
    """
    files = {device: [parse_name(name, ec) for name in sorted(names)] for device, names in places.items()}
    newest = max(
        (
            file.timestamp
            for some in files.values()
            for file in some
            if file.extension == ".ts" or (file.extension == ".data" and _is_whole(file))
        ),
        default="",
    )
    counting: dict[str, list[str]] = {}
    wrong = []
    for device, some in files.items():
        whole = any(file.extension == ".data" and _is_whole(file) for file in some)
        hidden = any(file.extension == ".ts" for file in some)
        kept = []
        for file in some:
            if file.extension == ".meta" and not whole:
                if not hidden:
                    wrong.append(f"{file.name} on {device} are metadata of nothing")
                elif file.timestamp <= newest:
                    wrong.append(f"{file.name} on {device} are metadata of what was deleted")
            elif not _is_whole(file):
                if file.timestamp < newest:
                    wrong.append(f"{file.name} on {device} was never committed, and there is a newer one")
                elif file.timestamp == newest:
                    kept.append(file.name)  # committed elsewhere: it is not as it must be
            else:
                kept.append(file.name)
        if kept:
            counting[device] = kept
    return counting, wrong


def _is_whole(file: FileName) -> bool:
    return file.fragment is None or file.durable
