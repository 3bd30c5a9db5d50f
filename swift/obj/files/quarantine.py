"""Moving damaged files out of the way, where operators find them (object-disk 10). Nothing ever deletes them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from swift.core import clock
from swift.engine.durable import fsync_dir
from swift.obj.damage import is_proof
from swift.obj.files.layout import FileName, ObjectLocation, file_name, parse_name
from swift.obj.files.suffixes import Invalidation
from swift.obj.quarantine import QUARANTINE_DIR, datadir_of, move_away


@contextlib.contextmanager
def _invalidating(hash_dir: str) -> Iterator[None]:
    """The lock that files are linked under, so that none gets into a directory while it is moved away."""
    suffix_dir = os.path.dirname(hash_dir)
    with contextlib.ExitStack() as stack:
        # a suffix that can't be invalidated is no reason to go on serving damaged files
        with contextlib.suppress(OSError):
            stack.enter_context(Invalidation(os.path.dirname(suffix_dir), os.path.basename(suffix_dir)))
        yield


def quarantine_hash_dir(
    device_path: str, hash_dir: str, damaged: str | None = None, inode: int | None = None
) -> str:
    """Move a whole hash directory (or the file found in its place) away; returns where to. Raises OSError.

    `damaged`: the name of the bad .data. If something newer or another fragment stands beside it, it goes alone, and if it is gone itself, or
    is another file (`inode`) by now, nothing does (FileNotFoundError): what is good must not vanish with it.
    """
    with _invalidating(hash_dir):
        if damaged is not None:
            names = _names(hash_dir)
            _check_still_there(hash_dir, damaged, names, inode)
            if names is not None and _has_company(damaged, names):
                _keep_durable(hash_dir, damaged, names)
                return _move_file(device_path, hash_dir, damaged)
        return move_away(
            device_path,
            hash_dir,
            f"{device_path}/{QUARANTINE_DIR}/{datadir_of(hash_dir)}",
            os.path.basename(hash_dir),
        )


def _names(hash_dir: str) -> list[str] | None:
    """What is in the directory; None when it is proven that it can't be told."""
    try:
        return os.listdir(hash_dir)
    except OSError as err:
        if is_proof(err):
            return None
        raise


def _check_still_there(hash_dir: str, damaged: str, names: list[str] | None, inode: int | None) -> None:
    """Raises FileNotFoundError if the file `damaged` is not that file any more."""
    if names is None:
        return
    if damaged not in names or (inode is not None and os.stat(f"{hash_dir}/{damaged}").st_ino != inode):
        raise FileNotFoundError(errno.ENOENT, "replaced meanwhile", damaged)


def _parsed(name: str) -> FileName | None:
    with contextlib.suppress(ValueError):
        return parse_name(name, "#" in name)
    return None


def _has_company(damaged: str, names: list[str]) -> bool:
    """True if there is data or a tombstone newer than the file `damaged`, or another fragment."""
    time = damaged.partition("#")[0].removesuffix(".data")
    for name in names:
        file = _parsed(name)
        if file is None or name == damaged:
            continue
        if file.extension in (".data", ".ts") and file.timestamp > time:
            return True
        if file.extension == ".data" and file.fragment is not None and "#" in damaged:
            return True
    return False


def _keep_durable(hash_dir: str, damaged: str, names: list[str]) -> None:
    """One name that says so makes all fragments of its time durable; if it goes, another has to say it."""
    bad = _parsed(damaged)
    if bad is None or bad.fragment is None or not bad.durable:
        return
    others = [
        file for name in names if name != damaged and (file := _parsed(name)) and file.fragment is not None
    ]
    same = [file for file in others if file.timestamp == bad.timestamp]
    if same and not any(file.durable for file in same):
        name = file_name(same[0].timestamp, ".data", fragment=same[0].fragment, durable=True)
        os.rename(f"{hash_dir}/{same[0].name}", f"{hash_dir}/{name}")


def quarantine_suffix_dir(device_path: str, suffix_dir: str) -> str:
    """Move a whole suffix directory away, for when a hash directory in it can't be moved. Raises OSError."""
    with _invalidating(f"{suffix_dir}/any"):
        return move_away(
            device_path,
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
    target = move_away(device_path, f"{hash_dir}/{name}", directory, name)
    fsync_dir(hash_dir)
    return target


def quarantine(
    where: ObjectLocation,
    reason: str,
    file: str | None = None,
    data: str | None = None,
    inode: int | None = None,
) -> None:
    """Move the hash directory, or just `file` in it, away and note it. Raises OSError.

    `data`, `inode`: of the .data that was found damaged; see `quarantine_hash_dir`.
    """
    try:
        if file is not None:
            target = quarantine_file(where.device_path, file)
        else:
            try:
                target = quarantine_hash_dir(where.device_path, where.hash_dir, data, inode)
            except OSError as err:
                # the directory above is damaged, too; EIO is no proof of that, and the others in it may be well
                if not is_proof(err):
                    raise
                target = quarantine_suffix_dir(where.device_path, os.path.dirname(where.hash_dir))
    except FileNotFoundError:
        return  # another reader was faster
    where.note(f"Quarantined object {file or where.hash_dir}: {reason} (moved to {target})")
