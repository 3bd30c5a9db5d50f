"""Whole databases that have arrived in a device's tmp: they become our replica, or our rows are merged in first (database.md 14.5).

Lives here: what is looked at before a file of a peer is believed, and the steps to its place. At each of them the process may be
killed: either the old replica is there or the new one with all that the old one had. Never here: how files get into tmp.
Everything blocks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.errors import BadRequest
from swift.core.hashing import hash_path
from swift.engine.durable import mkdirs_durable
from swift.engine.fault_points import fault_point

from .. import moves
from ..broker import Broker
from ..connection import CONNECTIONS, Connection
from ..damage import read_whole
from ..errors import DatabaseError, DatabaseMissing
from ..merger import MERGE_BATCH
from ..metadata import parse_metadata
from ..migrate import migrate
from .spots import Spot

LOCK_TIMEOUT = 30.0
ATTEMPTS = 5

MakeBroker = Callable[..., Broker]
"""(path, **options of Broker)."""


def complete(
    spot: Spot, file: str, arrival: str, remote_id: str, make_broker: MakeBroker, logger: Any
) -> bool:
    """Make the file at `arrival` the replica's `file`, if there is none by that name; returns False if there is.

    Raises BadRequest for what is no database of this account or container, DatabaseMissing if nothing has arrived.
    """
    if os.path.exists(file):
        return False
    with _claimed(spot, arrival) as path:
        _check(spot, path, make_broker, logger)
        arrived = make_broker(path, skip_commits=True, logger=logger)
        arrived.new_identity(remote_id, make_broker(spot.path).new_id())
        CONNECTIONS.forget(spot.tmp)
        fault_point("db:complete:renewed")
        for attempt in range(ATTEMPTS):
            mkdirs_durable(spot.directory, spot.device_path, remember=False)
            try:
                return moves.put_file(file, path, LOCK_TIMEOUT)
            except (DatabaseMissing, FileNotFoundError):  # the directory was removed meanwhile
                if attempt == ATTEMPTS - 1 or not os.path.exists(path):
                    raise
    raise AssertionError("not reached")


def join(spot: Spot, file: str, arrival: str, remote_id: str, make_broker: MakeBroker, logger: Any) -> bool:
    """Merge our replica into the one at `arrival`, which then takes its place; returns False if that can't be done.

    Nothing that anybody was told is stored in ours is lost: rows, times, metadata, ranges. Raises as complete.
    """
    local = make_broker(spot.path, lock_timeout=LOCK_TIMEOUT, logger=logger)
    if not local.exists() or local.current_file()[0] != file or not local.may_be_replaced():
        return False
    with _claimed(spot, arrival) as path:
        _check(spot, path, make_broker, logger)
        arrived = make_broker(path, skip_commits=True, logger=logger)
        joining = _Joining(local, arrived, remote_id)
        joining.prepare()
        fault_point("db:join:merged")
        if local.current_file()[0] != file or not local.may_be_replaced():
            return False
        local.replace_file(path, joining.finish)
        return True


class _Joining:
    """One replica of ours on its way into a file that has arrived."""

    def __init__(self, local: Broker, arrived: Broker, remote_id: str) -> None:
        self.local = local
        self.arrived = arrived
        self.remote_id = remote_id
        self.reached = -1

    def prepare(self) -> None:
        """The long part, while ours goes on being used."""
        self.local.commit_pending()
        with self.local.connection() as conn:
            own = self.local.read_info(conn)["id"]
        if not self.local.rows_commute:
            # what the peer has seen of ours it may know better by now
            self.reached = self.arrived.sync_point(own, incoming=True)
        self.arrived.new_identity(self.remote_id, self.local.new_id())
        with self.local.connection() as conn:
            self._bring_rows(conn)

    def finish(self, conn: Connection) -> None:
        """What has come meanwhile, and all but rows. `conn`: to our file, in which nobody else is."""
        self._bring_rows(conn)
        row = self.local.read_info(conn)
        points = conn.execute("SELECT remote_id, sync_point FROM incoming_sync").fetchall()
        self.arrived.merge_syncs([{"remote_id": name, "sync_point": point} for name, point in points])
        metadata = parse_metadata(row["metadata"])

        def take_over(other: Connection) -> None:
            self.arrived.take_over(other, row, metadata, row if "storage_policy_index" in row else None)
            if row["status"]:
                other.execute(f"UPDATE {self.arrived.stat_table} SET status = ?", (row["status"],))

        self.arrived.change(take_over)
        self.local.carry_over_other(conn, self.arrived)
        CONNECTIONS.forget(os.path.dirname(self.arrived.path))

    def _bring_rows(self, conn: Connection) -> None:
        local = self.local
        while True:
            cursor = conn.execute(
                f"SELECT * FROM {local.row_table} WHERE ROWID > ? ORDER BY ROWID LIMIT ?",
                (self.reached, MERGE_BATCH),
            )
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            if not rows:
                return
            items = [local.item_from_peer(row) for row in rows]
            self.arrived.change(lambda other, items=items: self.arrived.merge_peer_rows(other, items))  # type: ignore[misc]
            self.reached = rows[-1]["ROWID"]


@contextlib.contextmanager
def _claimed(spot: Spot, arrival: str) -> Any:
    """The path under which a file that has arrived is ours alone, for the block; removed afterwards unless it has been moved."""
    path = f"{spot.tmp}/{spot.name_hash}-{clock.uuid4().hex}.db"
    try:
        if not stat.S_ISREG(os.lstat(arrival).st_mode):
            raise BadRequest("what has arrived is no file")
        os.rename(arrival, path)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise DatabaseMissing(arrival) from err
    try:
        yield path
    finally:
        CONNECTIONS.forget(spot.tmp)
        for name in (path, path + "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _check(spot: Spot, path: str, make_broker: MakeBroker, logger: Any) -> None:
    """Read the whole file and see whose database it is. Raises BadRequest."""
    broker = make_broker(path, skip_commits=True, logger=logger)
    try:
        with broker.connection() as conn:
            read_whole(conn)
            migrate(conn, broker.kind)
            info = broker.read_info(conn)
            parse_metadata(info["metadata"])
        found = hash_path(info["account"], info.get("container"))
    except (sqlite3.DatabaseError, DatabaseError, ValueError, TypeError) as err:
        logger.error("ERROR a damaged database has arrived for %s: %s", spot.path, err)
        raise BadRequest(f"not a whole database: {err!s:.200}") from None
    if found != spot.name_hash:
        logger.error("ERROR the database of another %s has arrived for %s", broker.kind, spot.path)
        raise BadRequest(f"the database of another {broker.kind}")
