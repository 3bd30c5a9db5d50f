"""Databases are replaced, removed and set aside by identity, under their lock (database.md 10.5, 10.6, 14.5).

What is moved is the very file that was looked at, or nothing is; nobody of this house is inside of a file that is replaced or
removed, and who waited for one goes on with what is there then, or with none. Lives here: the renames. Never here: why.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable

from swift.core import clock
from swift.engine.durable import fsync_dir, mkdirs_durable, rename_durable
from swift.engine.fault_points import fault_point

from .connection import CONNECTIONS, Connection, Identity, identity_of, open_connection
from .errors import DatabaseMissing, DatabaseReplaced
from .pending import DirectoryLock

REMOVED = ".removed"  # the end of names of directories in a device's tmp that are on their way out


def replace_file(
    path: str, tmp: str, lock_timeout: float, timeout: float, carry_over: Callable[[Connection], None]
) -> None:
    """Put the complete database `tmp` (same file system, closed) in the place of the one at `path`, durably.

    `carry_over(conn)`: called with nobody else in the old file, and none to come; it brings into `tmp` what has come to the
    old one since its caller looked, and closes `tmp`. Raises DatabaseMissing, DatabaseBusy, OSError, what carry_over raises.
    """
    directory = os.path.dirname(path)
    with DirectoryLock(directory, lock_timeout):
        # a connection of its own: its lock must end only when the new file is there
        old = open_connection(path, timeout)
        try:
            old.prepare()
            with old.alone():
                carry_over(old)
                if os.path.exists(tmp + "-journal"):
                    raise DatabaseReplaced(f"{tmp} is still being written to")
                _sync(tmp)
                fault_point("db:replace:ready")
                old.check_place()
                os.rename(tmp, path)
                fault_point("db:replace:renamed")
                fsync_dir(directory)
        finally:
            old.close()
        CONNECTIONS.forget(directory)


def put_file(path: str, tmp: str, lock_timeout: float) -> bool:
    """Give the complete database `tmp` the name `path`, durably, if nothing has it; returns False if something has."""
    directory = os.path.dirname(path)
    with DirectoryLock(directory, lock_timeout):
        if os.path.exists(path):
            return False
        _sync(tmp)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + "-journal")  # of a file that is gone: it would be played back into this one
        os.rename(tmp, path)
        fsync_dir(directory)
        return True


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(
    path: str,
    device_path: str,
    lock_timeout: float,
    timeout: float,
    condition: Callable[[Connection], bool] | None = None,
) -> bool:
    """Remove the directory of the database at `path`, and its parents if they are empty then.

    `condition(conn)`: asked when nobody can add to the database any more; False leaves all as it is. Returns True if it is
    gone. Raises DatabaseMissing, DatabaseBusy, OSError.
    """
    directory = os.path.dirname(path)
    with DirectoryLock(directory, lock_timeout):
        if condition is None:
            trash = _take_away(directory, device_path)
        else:
            conn = open_connection(path, timeout)
            try:
                conn.prepare()
                with conn.alone():
                    if not condition(conn):
                        return False
                    trash = _take_away(directory, device_path)
            finally:
                conn.close()
    shutil.rmtree(trash, ignore_errors=True)
    parent = os.path.dirname(directory)
    for level in (parent, os.path.dirname(parent)):
        try:
            os.rmdir(level)
        except OSError:
            break
    return True


def _take_away(directory: str, device_path: str) -> str:
    """Rename a directory, whose lock we hold, out of everybody's sight; where to."""
    CONNECTIONS.forget(directory)
    tmp = os.path.join(device_path, "tmp")
    with contextlib.suppress(FileExistsError):
        os.mkdir(tmp)  # never the device above it
    trash = f"{tmp}/{os.path.basename(directory)}-{clock.uuid4().hex}{REMOVED}"
    try:
        os.rename(directory, trash)
    except FileNotFoundError as err:
        raise DatabaseMissing(directory) from err
    fault_point("db:remove:renamed")
    return trash


def set_aside(
    path: str, identity: Identity, device_path: str, data_directory: str, lock_timeout: float
) -> str | None:
    """Move the directory of a damaged database to quarantine if the file at `path` is the one that was found damaged.

    Returns where to, None if another file (or none) is there by now. Raises DatabaseBusy, OSError.
    """
    directory = os.path.dirname(path)
    try:
        with DirectoryLock(directory, lock_timeout):
            if identity_of(path) != identity:
                return None
            CONNECTIONS.forget(directory)
            root = os.path.join(device_path, "quarantined", os.path.basename(data_directory))
            target = os.path.join(root, os.path.basename(directory))
            mkdirs_durable(root, device_path)
            try:
                rename_durable(directory, target)
            except OSError as err:
                if err.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                target = f"{target}-{clock.uuid4().hex}"
                rename_durable(directory, target)
            fault_point("db:quarantine:renamed")
            return target
    except DatabaseMissing:
        return None


def sweep_leftovers(device_path: str) -> int:
    """Delete what removals that were killed have left in a device's tmp; returns how many. Never raises."""
    swept = 0
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(os.path.join(device_path, "tmp"))):
            if entry.name.endswith(REMOVED) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
                swept += 1
    return swept


def sweep_unfinished(directory: str, oldest: float) -> int:
    """Delete files that a killed creation left in a database directory, not changed since `oldest` (epoch seconds). Never raises."""
    swept = 0
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(directory)):
            if not entry.name.endswith(".tmp"):
                continue
            with contextlib.suppress(OSError):
                st = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(st.st_mode) and st.st_mtime < oldest:
                    os.unlink(entry.path)
                    swept += 1
    return swept
