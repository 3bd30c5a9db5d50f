"""The directories of a device and what they are called, whichever kind of store fills them (object-disk 1).

Names only: nothing here touches a disk. The files of an object are in the layout of its store.
"""

from __future__ import annotations

import re

DATADIR = "objects"
TMPDIR = "tmp"
ASYNCDIR = "async_pending"

_SUFFIX = re.compile(r"[0-9a-f]{3}", re.ASCII).fullmatch
_HASH = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch


def policy_dir(base: str, policy_index: int) -> str:
    """`objects` for policy 0, `objects-N` for policy N; likewise `tmp`, `async_pending`."""
    return f"{base}-{policy_index}" if policy_index else base


def split_policy_dir(name: str) -> tuple[str, int]:
    """(base, policy index) of a directory name. Raises ValueError for a spelling that we would not write."""
    base, dash, index = name.rpartition("-")
    if not dash:
        return name, 0
    try:
        number = int(index)
    except ValueError:
        raise ValueError(f"no policy index in {name!r}") from None
    if number < 1 or base.endswith("-") or policy_dir(base, number) != name:
        raise ValueError(f"no policy index in {name!r}")
    return base, number


def is_suffix(name: str) -> bool:
    """Returns True if a directory entry is named like a suffix directory: 3 lower-case hex digits."""
    return _SUFFIX(name) is not None


def is_hash(name: str) -> bool:
    """Returns True if a directory entry is named like a hash directory: 32 lower-case hex digits."""
    return _HASH(name) is not None
