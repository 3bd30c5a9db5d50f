"""How far replication with each peer has come (database.md 4.1, 14).

Lives here: the tables of sync points, and what makes a received copy a replica of its own. Never here: the talking to peers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from .connection import Connection, Identity
from .errors import DatabaseReplaced
from .merger import MERGE_BATCH

Result = TypeVar("Result")
ATTEMPTS = 5  # at merging into a database that is being replaced


class _OtherFile(Exception):
    """The database is another file than it was."""


class SyncPoints(ABC):
    """The part of a broker that replication asks."""

    stat_table: str
    row_table: str

    @abstractmethod
    def connection(self, path: str | None = None) -> AbstractContextManager[Connection]:
        """See Broker."""

    @abstractmethod
    def change(self, function: Callable[[Connection], Result], sync: bool = False) -> Result:
        """See Broker."""

    @abstractmethod
    def new_id(self) -> str:
        """See Broker."""

    @abstractmethod
    def current_file(self) -> tuple[str, Identity]:
        """See Broker."""

    # -- what peers ask

    @abstractmethod
    def glance(self, function: Callable[[Connection], Result]) -> Result:
        """See Broker."""

    @abstractmethod
    def commit_pending(self) -> None:
        """See Broker."""

    def replication_info(self) -> dict[str, Any]:
        """What a peer is told: info, raw metadata, and `max_row`, all of one moment (7.1, 8.1)."""
        self.commit_pending()
        return self.told(self.glance(self.read_replication_info))

    def info_for_peer(self, remote_id: str) -> tuple[dict[str, Any], int]:
        """(replication_info, how far we are with this peer)."""
        self.commit_pending()
        info, point = self.glance(
            lambda conn: (self.read_replication_info(conn), self._read_sync_point(conn, remote_id, True))
        )
        return self.told(info), point

    @abstractmethod
    def read_replication_info(self, conn: Connection) -> dict[str, Any]:
        """What is stored of replication_info, on a connection."""

    @abstractmethod
    def told(self, info: dict[str, Any]) -> dict[str, Any]:
        """replication_info of what is stored of it."""

    @staticmethod
    @abstractmethod
    def item_from_peer(row: Mapping[str, Any]) -> Any:
        """The row item that a row of a peer's table stands for. Raises ValueError, KeyError."""

    def may_be_replaced(self) -> bool:
        """Returns True if a copy of a peer's replica, with our rows merged in, may take this one's place (14.5)."""
        return True

    def carry_over_other(self, conn: Connection, arrived: Any) -> None:
        """What a subclass has beside rows and its stat row, of which `conn` is, goes into the copy that takes its place."""
        return

    @abstractmethod
    def merge_peer_rows(self, conn: Connection, items: list[Any]) -> None:
        """Merge rows of another replica in the transaction of `conn`."""

    def merge_from_peer(self, items: Sequence[Any], source: str, point: int) -> None:
        """Merge what the peer `source` has had up to row id `point`, durably: it will not send these rows again.

        Raises DatabaseBusy, DatabaseMissing, ValueError, sqlite3.Error.
        """
        if not items:
            self.merge_syncs([{"remote_id": source, "sync_point": point}])
            return
        for _ in range(ATTEMPTS):
            _, identity = self.current_file()
            try:
                for start in range(0, len(items), MERGE_BATCH):
                    batch = items[start : start + MERGE_BATCH]
                    is_last = start + MERGE_BATCH >= len(items)
                    self._merge_batch(identity, batch, (source, point) if is_last else None)
                return
            except _OtherFile:
                continue  # what went into the old one is to be merged again, before the point is set
        raise DatabaseReplaced("a database is being replaced all the time")

    def _merge_batch(self, identity: Identity, items: Sequence[Any], reached: tuple[str, int] | None) -> None:
        def merge(conn: Connection) -> None:
            if conn.identity != identity:
                raise _OtherFile
            if items:
                self.merge_peer_rows(conn, list(items))
            if reached is not None:
                self._raise_sync_point(conn, *reached)

        self.change(merge, sync=reached is not None)

    # -- points

    def sync_table(self, incoming: bool) -> list[dict[str, Any]]:
        """The sync points with peers: [{remote_id, sync_point, updated_at}] (4.1)."""
        with self.connection() as conn:
            cursor = conn.execute(f"SELECT remote_id, sync_point, updated_at FROM {_sync_table(incoming)}")
            return [{"remote_id": row[0], "sync_point": row[1], "updated_at": row[2]} for row in cursor]

    def sync_point(self, remote_id: str, incoming: bool) -> int:
        """How far we are with a peer, -1 if we have never met.

        incoming: its highest row id that has been merged here; else: our highest row id known to be merged there.
        """
        with self.connection() as conn:
            return self._read_sync_point(conn, remote_id, incoming)

    @staticmethod
    def _read_sync_point(conn: Connection, remote_id: str, incoming: bool) -> int:
        found = conn.execute(
            f"SELECT sync_point FROM {_sync_table(incoming)} WHERE remote_id = ?", (remote_id,)
        ).fetchone()
        return found[0] if found else -1

    def merge_syncs(self, points: Iterable[Mapping[str, Any]], incoming: bool = True) -> None:
        """Raise sync points: of each {remote_id, sync_point} the higher of what is stored and what is given (14.1).

        Raises ValueError for anything else.
        """
        wanted = [_checked_point(item) for item in points]

        def raise_points(conn: Connection) -> None:
            for remote_id, point in wanted:
                self._raise_sync_point(conn, remote_id, point, incoming)

        if wanted:
            self.change(raise_points)

    @staticmethod
    def _raise_sync_point(conn: Connection, remote_id: str, point: int, incoming: bool = True) -> None:
        table = _sync_table(incoming)
        cursor = conn.execute(
            f"UPDATE {table} SET sync_point = max(?, sync_point) WHERE remote_id = ?", (point, remote_id)
        )
        if not cursor.rowcount:
            conn.execute(f"INSERT INTO {table} (sync_point, remote_id) VALUES (?, ?)", (point, remote_id))

    def new_identity(self, remote_id: str, new_id: str | None = None) -> None:
        """Become a replica of our own: a copy of the database `remote_id` that has just been received (14.5, `newid`).

        A new id, and all of the peer's rows count as merged here. `new_id`: for a file that isn't in its place yet, whose
        device its path does not tell.
        """

        def renew(conn: Connection) -> None:
            conn.execute(f"UPDATE {self.stat_table} SET id = ?", (new_id or self.new_id(),))
            highest = conn.execute(f"SELECT max(ROWID) FROM {self.row_table}").fetchone()[0]
            self._raise_sync_point(conn, remote_id, -1 if highest is None else highest)
            self._renew_other(conn)

        self.change(renew)

    def _renew_other(self, conn: Connection) -> None:
        """What a subclass has to forget of the replica that it was copied from."""
        return


def _sync_table(incoming: bool) -> str:
    return "incoming_sync" if incoming else "outgoing_sync"


def _checked_point(item: Mapping[str, Any]) -> tuple[str, int]:
    """(remote id, sync point) of what a peer says. Raises ValueError."""
    try:
        remote_id, point = item["remote_id"], int(item["sync_point"])
    except (KeyError, TypeError, OverflowError) as err:
        raise ValueError(f"no sync point: {err!r:.100}") from None
    if not isinstance(remote_id, str) or not remote_id or not -1 <= point < 2**63:
        raise ValueError(f"no sync point: {remote_id!r:.100}, {point}")
    return remote_id, point
