"""Where tables of counts lie so that one process can answer for others: the workers of a server, the daemons of a node.

Workers of one parent share a directory in memory that goes with them. Daemons have no port: each leaves its table in `metrics` below
its recon_cache_path, and the server of the same kind that has the same recon_cache_path (so the one that answers /recon for them) shows it
with its own. A process that has ended is added to the table of all that ended, so that counts never go back.
What never lives here: what a table is (`swift.telemetry.metric_table`), and how it is shown (`swift.telemetry.prometheus`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from swift.telemetry import metric_table, recon_cache
from swift.telemetry.metric_table import TABLE, Table, names_in, read_table

DAEMONS = "metrics"  # below recon_cache_path
COMPONENT = "__component__"
"""In the options that a daemon or server is made with: what its counts are called, whatever its log_name is."""
SHOWN_DAEMONS = 1000  # files; more are not looked at
_PREFIX = "swift-metrics-"
_DEAD = "dead"


# -- workers


def _remove_abandoned(parent: str) -> None:
    """Removes what servers left there that were killed."""
    for entry in os.scandir(parent):
        if not entry.name.startswith(_PREFIX) or entry.stat(follow_symlinks=False).st_uid != os.getuid():
            continue
        pid = entry.name[len(_PREFIX) :].partition("-")[0]
        # our own pid: the image before a reload
        if pid.isdecimal() and (int(pid) == os.getpid() or not os.path.exists(f"/proc/{pid}")):
            shutil.rmtree(entry.path, ignore_errors=True)


def share_between_workers(uid: int = -1, gid: int = -1) -> str | None:
    """Makes the directory that workers forked from now on share; returns it. None if there is no place for it.

    `uid`, `gid`: whom the workers will run as, if not as this process.
    """
    for parent in ("/dev/shm", None):
        try:
            _remove_abandoned(parent or tempfile.gettempdir())
            TABLE.directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent)
            if uid >= 0:
                os.chown(TABLE.directory, uid, gid)
        except OSError:
            continue
        return TABLE.directory
    return None


def stop_sharing() -> None:
    """Removes the directory."""
    if TABLE.directory is not None:
        shutil.rmtree(TABLE.directory, ignore_errors=True)
        TABLE.directory = None


def retire(pid: int) -> None:
    """A worker has ended."""
    if TABLE.directory is not None:
        with _turn(TABLE.directory):
            path = os.path.join(TABLE.directory, f"{TABLE.prefix}{pid}")
            metric_table.retire(TABLE.directory, path, TABLE.prefix + _DEAD)


class _turn:  # noqa: N801
    """One at a time adds to the dead of a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd = -1

    def __enter__(self) -> None:
        try:
            self._fd = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # gone, or somebody else does it: what is lost then are counts

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


# -- daemons


class NodeTables:
    """The tables of a process of daemons; of several nodes' daemons in one process (an all-in-one cluster), a table each."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.are_apart = False

    def of(self, conf: Mapping[str, Any]) -> Table:
        """The table that a component with these options counts in."""
        path = conf.get("recon_cache_path")
        return self.tables.get(str(path), TABLE) if self.are_apart else TABLE

    def leave(self, conf: Mapping[str, Any], process: str) -> None:
        """From now on the counts of this process, and of those forked from it, are left for the node's servers. Raises nothing."""
        path = str(conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH)
        table = TABLE if TABLE.directory is None else Table(process)
        if path in self.tables:
            return
        if table is not TABLE:
            table.looks = []  # what the process itself is like is told once
        directory = os.path.join(path, DAEMONS)
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            pass
        except OSError:
            return  # nobody can answer for us; what writes recon files there says so
        self.tables[path] = table
        self.are_apart = len(self.tables) > 1
        table.directory, table.prefix, table.process = directory, f"{process}~", process
        with _turn(directory):
            for name in names_in(directory):
                # of our own number: what was here before us, as before a reload
                if name.startswith(table.prefix) and name.endswith(".tmp"):
                    if not _is_alive(name.removesuffix(".tmp")):  # killed while it wrote
                        with contextlib.suppress(OSError):
                            os.unlink(os.path.join(directory, name))
                elif name.startswith(table.prefix) and (name == table.file_name or not _is_alive(name)):
                    metric_table.retire(directory, os.path.join(directory, name), table.prefix + _DEAD)
        table.write()

    def write(self) -> None:
        """Before this process ends."""
        for table in self.tables.values():
            table.write()


NODE_TABLES = NodeTables()


def left_by_daemons(recon_cache_path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(name of the process, table, True if it is over) of all that daemons have left."""
    directory = os.path.join(recon_cache_path, DAEMONS)
    for name in names_in(directory)[:SHOWN_DAEMONS]:
        process, separator, pid = name.partition("~")
        if separator and (pid == _DEAD or pid.isdecimal()):
            table = read_table(os.path.join(directory, name))
            if table is not None:
                yield process, table, pid == _DEAD or not _is_alive(name)


def living_daemons(recon_cache_path: str) -> Iterator[tuple[str, int]]:
    """(name of the process, pid) of the daemons that have left a table and run."""
    for name in names_in(os.path.join(recon_cache_path, DAEMONS))[:SHOWN_DAEMONS]:
        process, _, pid = name.partition("~")
        if pid.isdecimal() and _is_alive(name):
            yield process, int(pid)


def _is_alive(name: str) -> bool:
    """Returns True if the process that a file is of runs. One of the dead is none; a stranger with its number is none of ours."""
    process, _, pid = name.partition("~")
    if not pid.isdecimal() or pid == str(os.getpid()):
        return pid == str(os.getpid())
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096)
    except OSError:
        return False
    return b"swift" in words
