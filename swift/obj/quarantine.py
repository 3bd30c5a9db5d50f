"""Moving damaged files out of the way, where operators find them (object-disk 10). Nothing ever deletes them."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid

from swift.core.fs import fsync_dir
from swift.obj.layout import DATADIR, split_policy_dir
from swift.obj.suffixes import invalidate

QUARANTINE_DIR = "quarantined"


def datadir_of(path: str) -> str:
    """The last component of `path` that names an object data directory; `objects` when there is none."""
    for part in reversed(path.split("/")):
        if part.startswith(DATADIR):
            try:
                if split_policy_dir(part)[0] == DATADIR:
                    return part
            except ValueError:
                continue
    return DATADIR


def _move(source: str, directory: str, name: str) -> str:
    os.makedirs(directory, exist_ok=True)
    target = f"{directory}/{name}"
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "taken")
        os.rename(source, target)
    except OSError as err:
        if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        target = f"{target}-{uuid.uuid4().hex}"
        os.rename(source, target)
    return target


def _invalidate_above(hash_dir: str) -> None:
    # a suffix that can't be invalidated is no reason to go on serving damaged files
    with contextlib.suppress(OSError):
        suffix_dir = os.path.dirname(hash_dir)
        invalidate(os.path.dirname(suffix_dir), os.path.basename(suffix_dir))


def quarantine_hash_dir(device_path: str, hash_dir: str) -> str:
    """Move a whole hash directory (or the file found in its place) away; returns where to. Raises OSError."""
    _invalidate_above(hash_dir)
    return _move(
        hash_dir, f"{device_path}/{QUARANTINE_DIR}/{datadir_of(hash_dir)}", os.path.basename(hash_dir)
    )


def quarantine_suffix_dir(device_path: str, suffix_dir: str) -> str:
    """Move a whole suffix directory away, for when a hash directory in it can't be moved. Raises OSError."""
    with contextlib.suppress(OSError):
        invalidate(os.path.dirname(suffix_dir), os.path.basename(suffix_dir))
    return _move(
        suffix_dir, f"{device_path}/{QUARANTINE_DIR}/{datadir_of(suffix_dir)}", os.path.basename(suffix_dir)
    )


def quarantine_file(device_path: str, path: str) -> str:
    """Move one file of a hash directory away and leave the others; returns where to. Raises OSError.

    For a damaged `.meta`: the data beside it is good, and other replicas bring the `.meta` back.
    """
    hash_dir, name = os.path.split(path)
    _invalidate_above(hash_dir)
    directory = f"{device_path}/{QUARANTINE_DIR}/{datadir_of(hash_dir)}/{os.path.basename(hash_dir)}-{uuid.uuid4().hex}"
    target = _move(path, directory, name)
    fsync_dir(hash_dir)
    return target


def quarantine_stray(device_path: str, datadir: str, path: str) -> str:
    """Move a file that belongs to no hash directory to the quarantine of `datadir`; returns where to. Raises OSError."""
    return _move(path, f"{device_path}/{QUARANTINE_DIR}/{datadir}", os.path.basename(path))
