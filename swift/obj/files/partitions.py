"""Partitions as a whole: what replication does with one beside hashing its suffixes (object-disk 12, 16, 18).

Everything here blocks. Objects are never removed here: what goes is what is left when none is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from swift.engine.durable import make_directories
from swift.engine.fault_points import fault_point
from swift.engine.locks import acquire_lock
from swift.obj.directories import is_suffix
from swift.obj.files import calls, walker
from swift.obj.files.suffixes import HASHES_FILE, INVALID_FILE, LOCK_TIMEOUT, invalidate_all
from swift.obj.files.witness import is_past
from swift.obj.store import PartitionLock
from swift.obj.tmpfiles import remove_old

REPLICATION = "replication"  # the lock `.lock-replication`
_OWN = frozenset((HASHES_FILE, INVALID_FILE, ".lock", f".lock-{REPLICATION}"))


def _is_own(name: str) -> bool:
    """True for what holds nothing of an object: our own files, and what a crash left of a new hashes.pkl."""
    return name in _OWN or (name.startswith("tmp") and name.endswith(".tmp"))


def begin_pass(device_path: str, datadir: str, reclaim_age: float) -> list[str]:
    """The partitions of a device, after old temporary files were removed. The datadir is made; a partition that is a file goes away.

    Raises OSError.
    """
    remove_old(device_path, reclaim_age)
    found = walker.list_partitions(datadir)
    if not found:
        make_room(datadir)
    stray = [name for name in found if os.path.isfile(f"{datadir}/{name}")]
    for name in stray:
        os.unlink(f"{datadir}/{name}")
    return [name for name in found if name not in stray] if stray else found


def make_room(datadir: str) -> None:
    """Make the directory of all partitions if it is missing: rsync, with which a peer may fill an empty disk, does not. Raises OSError."""
    if not os.path.isdir(datadir):
        with contextlib.suppress(FileExistsError):
            os.mkdir(datadir)


def lock(partition_dir: str, device_path: str) -> PartitionLock:
    """The partition's replication lock, without waiting. Raises LockTimeout, OSError."""
    try:
        return PartitionLock(acquire_lock(partition_dir, 0, name=REPLICATION))
    except FileNotFoundError:
        make_directories(partition_dir, device_path)
        return PartitionLock(acquire_lock(partition_dir, 0, name=REPLICATION))


def drop(partition_dir: str) -> bool:
    """Remove a partition that holds no object; True if it is gone, False if something is (or has just been put) there.

    The lock files go with it: whoever waits for one notices that (`engine.locks`). Raises LockTimeout, OSError.
    """
    try:
        held = acquire_lock(partition_dir, LOCK_TIMEOUT)
    except FileNotFoundError:
        return True
    try:
        names = os.listdir(partition_dir)
        for name in names:
            if is_suffix(name):
                with contextlib.suppress(OSError):
                    _remove_empty(f"{partition_dir}/{name}")
        names = os.listdir(partition_dir)
        if not all(map(_is_own, names)):
            return False
        # the locks last: as long as they are there nobody links a file without them
        for name in sorted(names, key=lambda name: name.startswith(".lock")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{partition_dir}/{name}")
        fault_point("drop:emptied")
        with contextlib.suppress(OSError):
            os.rmdir(partition_dir)
        return not os.path.isdir(partition_dir)
    finally:
        os.close(held)


def _remove_empty(suffix_dir: str) -> None:
    """Remove a suffix with its empty hash directories: who was killed between a file and its directory leaves one. Raises OSError."""
    for name in os.listdir(suffix_dir):
        os.rmdir(f"{suffix_dir}/{name}")
    os.rmdir(suffix_dir)


def take_over(partition_dir: str, suffixes: list[str]) -> None:
    """Files were put into these suffixes without us: have them on the disk for good, and hashed again. Raises LockTimeout, OSError.

    Whoever put them there may remove his own once he hears that they are seen here.
    """
    try:
        fd = os.open(partition_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        calls.sync_file_system(fd)
    finally:
        os.close(fd)
    invalidate_all(partition_dir, suffixes)


def sign_of(partition_dir: str) -> tuple[int, int, int] | None:
    """Changes with the remembered hashes; None where something is to be hashed, or there are none, or they were written a moment ago.

    Written twice more within a tick of the clock, the file would look the same: it has an inode that was free again.
    """
    try:
        remembered = os.stat(f"{partition_dir}/{HASHES_FILE}")
    except OSError:
        return None
    if not is_past(remembered.st_mtime_ns):
        return None
    try:
        if os.stat(f"{partition_dir}/{INVALID_FILE}").st_size:
            return None
    except FileNotFoundError:
        pass
    except OSError:
        return None
    return remembered.st_ino, remembered.st_mtime_ns, remembered.st_size


def digest(hashes: Mapping[str, Any]) -> str | None:
    """One value for all suffix hashes of a partition; None if one of them can't be told."""
    whole = blake2b(digest_size=16)
    for suffix in sorted(hashes):
        value = hashes[suffix]
        if value is None:
            return None
        if isinstance(value, dict):
            value = ",".join(
                f"{key}={value[key]}" for key in sorted(value, key=lambda key: (key is not None, key))
            )
        whole.update(f"{suffix}:{value}\n".encode())
    return whole.hexdigest()


def fragment_digests(hashes: Mapping[str, Any]) -> dict[int | None, str]:
    """For each fragment index that occurs one value for its hashes and those of what is no fragment; None: for the latter alone.

    All suffix hashes must be known.
    """
    indexes: set[int | None] = {None}
    for value in hashes.values():
        indexes.update(value)
    digests: dict[int | None, Any] = {index: blake2b(digest_size=16) for index in indexes}
    for suffix in sorted(hashes):
        value = hashes[suffix]
        shared = value.get(None)
        for index, whole in digests.items():
            own = None if index is None else value.get(index)
            if shared is not None or own is not None:
                whole.update(f"{suffix}:{shared}:{own}\n".encode())
    return {index: whole.hexdigest() for index, whole in digests.items()}
