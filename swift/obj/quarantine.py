"""Moving damaged files out of the way, where operators find them (object-disk 10). Nothing ever deletes them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from swift.core import clock
from swift.core.fs import fsync_dir
from swift.obj.layout import DATADIR, parse_name, split_policy_dir
from swift.obj.suffixes import invalidating

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
        target = f"{target}-{clock.uuid4().hex}"
        os.rename(source, target)
    return target


@contextlib.contextmanager
def _invalidating(hash_dir: str) -> Iterator[None]:
    """The lock that files are linked under, so that none gets into a directory while it is moved away."""
    suffix_dir = os.path.dirname(hash_dir)
    guard = invalidating(os.path.dirname(suffix_dir), os.path.basename(suffix_dir))
    try:
        guard.__enter__()
    except OSError:
        # a suffix that can't be invalidated is no reason to go on serving damaged files
        yield
        return
    try:
        yield
    finally:
        guard.__exit__()


def quarantine_hash_dir(device_path: str, hash_dir: str, damaged: str | None = None) -> str:
    """Move a whole hash directory (or the file found in its place) away; returns where to. Raises OSError.

    `damaged`: the name of the bad .data. If something newer stands beside it by now, it goes alone, and if it is gone
    itself, nothing does (FileNotFoundError): what was written since must not vanish with it.
    """
    with _invalidating(hash_dir):
        if damaged is not None and _is_outdated(damaged, os.listdir(hash_dir)):
            return _move_file(device_path, hash_dir, damaged)
        return _move(
            hash_dir, f"{device_path}/{QUARANTINE_DIR}/{datadir_of(hash_dir)}", os.path.basename(hash_dir)
        )


def _is_outdated(damaged: str, names: list[str]) -> bool:
    """Whether there is data or a tombstone newer than the file `damaged`. Raises FileNotFoundError when that is gone."""
    if damaged not in names:
        raise FileNotFoundError(errno.ENOENT, "replaced meanwhile", damaged)
    time = damaged.partition("#")[0].removesuffix(".data")
    for name in names:
        with contextlib.suppress(ValueError):
            file = parse_name(name, "#" in name)
            if file.extension in (".data", ".ts") and file.timestamp > time:
                return True
    return False


def quarantine_suffix_dir(device_path: str, suffix_dir: str) -> str:
    """Move a whole suffix directory away, for when a hash directory in it can't be moved. Raises OSError."""
    with _invalidating(f"{suffix_dir}/any"):
        return _move(
            suffix_dir,
            f"{device_path}/{QUARANTINE_DIR}/{datadir_of(suffix_dir)}",
            os.path.basename(suffix_dir),
        )


def quarantine_file(device_path: str, path: str) -> str:
    """Move one file of a hash directory away and leave the others; returns where to. Raises OSError.

    For a damaged `.meta`: the data beside it is good, and other replicas bring the `.meta` back.
    """
    hash_dir, name = os.path.split(path)
    with _invalidating(hash_dir):
        return _move_file(device_path, hash_dir, name)


def _move_file(device_path: str, hash_dir: str, name: str) -> str:
    directory = f"{device_path}/{QUARANTINE_DIR}/{datadir_of(hash_dir)}/{os.path.basename(hash_dir)}-{clock.uuid4().hex}"
    target = _move(f"{hash_dir}/{name}", directory, name)
    fsync_dir(hash_dir)
    return target


def quarantine_stray(device_path: str, datadir: str, path: str) -> str:
    """Move a file that belongs to no hash directory to the quarantine of `datadir`; returns where to. Raises OSError."""
    return _move(path, f"{device_path}/{QUARANTINE_DIR}/{datadir}", os.path.basename(path))
