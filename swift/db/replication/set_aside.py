"""Databases in quarantine: whether one proves whole after all, and bringing it back (database.md 10.6). Everything blocks; nothing is deleted."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

from swift.core.errors import BadRequest
from swift.core.hashing import hash_path
from swift.engine.durable import mkdirs_durable, rename_durable

from ..connection import CONNECTIONS
from ..metadata import parse_metadata
from .spots import Spot

_ENTRY = re.compile(r"([0-9a-f]{32})(-[0-9a-f]{32})?", re.ASCII).fullmatch
_STAT = {
    "accounts": ("account_stat", "account, metadata"),
    "containers": ("container_info", "account, container, metadata"),
}
MOST = 100


def quarantine_of(spot: Spot, data_directory: str) -> str:
    """Where damaged databases of this kind are."""
    return f"{spot.device_path}/quarantined/{data_directory}"


def entries(spot: Spot, data_directory: str) -> list[tuple[str, str]]:
    """(entry, why it does not prove whole, or '') of what is in quarantine of one database. Raises OSError."""
    directory = quarantine_of(spot, data_directory)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    own = [name for name in names if (match := _ENTRY(name)) and match[1] == spot.name_hash]
    return [(name, fault_of(f"{directory}/{name}", spot.name_hash, data_directory)) for name in own[:MOST]]


def fault_of(directory: str, name_hash: str, data_directory: str) -> str:
    """Why the database in a directory is not whole; '' if it is."""
    try:
        names = os.listdir(directory)
        files = [name for name in names if name.endswith(".db")]
        if not files:
            return "there is no database in it"
        for name in files:
            path = f"{directory}/{name}"
            journal = f"{path}-journal"
            if os.path.exists(journal) and os.path.getsize(journal):
                return f"{name} was left in the middle of a transaction"
            _read_through(path, name_hash, data_directory)
    except (OSError, sqlite3.Error, ValueError, TypeError) as error:
        return str(error) or type(error).__name__
    return ""


def _read_through(path: str, name_hash: str, data_directory: str) -> None:
    """Raises sqlite3.Error, ValueError."""
    table, columns = _STAT[data_directory]
    uri = f"file://{quote(str(Path(path).absolute()))}?mode=ro&immutable=1"
    conn = sqlite3.connect(uri, uri=True)
    try:
        found = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise ValueError(found)
        row = conn.execute(f"SELECT {columns} FROM {table}").fetchone()
        if row is None:
            raise ValueError("it has no stat row")
        parse_metadata(row[-1])
        if hash_path(*row[:-1]) != name_hash:
            raise ValueError("it is the database of another name")
    finally:
        conn.close()


def take_back(spot: Spot, data_directory: str, entry: str) -> str:
    """Bring a quarantined database back if it proves whole and there is none by now; '' or why it stays. Raises BadRequest, OSError."""
    match = _ENTRY(entry)
    if match is None or match[1] != spot.name_hash:
        raise BadRequest(f"no entry of this database: {entry[:80]!a}")
    source = f"{quarantine_of(spot, data_directory)}/{entry}"
    if not os.path.isdir(source):
        return f"{entry} is not in quarantine"
    fault = fault_of(source, spot.name_hash, data_directory)
    if fault:
        return f"it does not prove whole: {fault}"
    there = [name for name in _names(spot.directory) if name.endswith(".db")]
    if there:
        return "there is a replica by now: replication brings what it lacks"
    mkdirs_durable(os.path.dirname(spot.directory), spot.device_path, remember=False)
    CONNECTIONS.forget(spot.directory)
    try:
        # never over one that has come meanwhile: a directory that is not empty is no target of a rename
        for name in _names(spot.directory):
            if name == ".lock":
                os.unlink(f"{spot.directory}/{name}")
        rename_durable(source, spot.directory)
    except OSError as error:
        return f"it can't be moved back: {error}"
    return ""


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
