"""What proves that a database file is broken, so that it must be set aside (database.md 3, 10.6).

Nothing else proves it: no memory, no descriptors, no permission, a lock, a full or vanished disk pass, and what is moved aside
for them is lost to its readers. SQLite's error codes tell them apart; their texts don't. Never here: the moving.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

from swift.core import clock

from .connection import Connection, open_connection
from .errors import DatabaseBusy, DatabaseError

_CORRUPT, _NOTADB, _IOERR = 11, 26, 10
_READ_ERRORS = frozenset(_IOERR | (kind << 8) for kind in (1, 2, 32, 33))  # READ, SHORT_READ, DATA, CORRUPTFS
_PROVING_TEXTS = ("database disk image is malformed", "malformed database schema", "file is not a database")

EMPTY_SECONDS = 1.0  # a peer that opens a missing database makes an empty file and removes it at once


class ContentDamaged(sqlite3.DatabaseError):
    """A file that SQLite reads, with what no writer has written: no tables, no stat row, metadata that is no JSON."""


def proves_damage(error: sqlite3.Error) -> bool:
    """True for an error that proves by itself that the file is broken."""
    if isinstance(error, ContentDamaged):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python 3.10 doesn't tell
        return any(text in str(error) for text in _PROVING_TEXTS)
    return code & 0xFF in (_CORRUPT, _NOTADB)


def may_be_damage(error: sqlite3.Error) -> bool:
    """True for a failed read: the disk may have lost the page, or it was a passing fault. Worth a second look."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "disk I/O error" in str(error)
    return code in _READ_ERRORS


def read_whole(conn: Connection) -> None:
    """Look at every page. Raises ContentDamaged, sqlite3.Error."""
    found = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise ContentDamaged(found)


def may_lack_tables(error: sqlite3.Error) -> bool:
    """True if a table was not found. A file that was emptied under an open connection looks like that."""
    return str(error).startswith("no such table")


def second_look(path: str, timeout: float, check: Callable[[Connection], Any] = read_whole) -> bool:
    """True if what a new connection finds in the file that is at `path` now is damage, too. `check(conn)` raises then."""
    conn = None
    try:
        conn = open_connection(path, timeout)
        conn.prepare()
        check(conn)
        return False
    except sqlite3.Error as err:
        return proves_damage(err) or may_be_damage(err)
    except (OSError, MemoryError, DatabaseError):
        return False
    finally:
        if conn is not None:
            conn.close()


def check_not_empty(conn: Connection) -> None:
    """An empty file is a valid database to SQLite and none to us. Raises ContentDamaged; DatabaseBusy while it is brand new."""
    try:
        st = os.stat(conn.path)
    except OSError:
        return
    if st.st_size == 0 and (st.st_dev, st.st_ino) == conn.identity:
        if 0 <= clock.time() - st.st_mtime < EMPTY_SECONDS:
            raise DatabaseBusy(f"{conn.path} is empty, and has been made a moment ago")
        raise ContentDamaged("the file is empty")
