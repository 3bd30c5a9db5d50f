"""swift-account-info and swift-container-info: what a database says about itself (operations 12.2).

What lives here: the command lines and the order of the report. The database is read through sqlite-utils on a
read-only connection; only its pending file is merged beforehand, by the broker. What the rows mean is known by
``swift.account`` and ``swift.container``.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from swift.account.broker import AccountBroker
from swift.account.broker import is_deleted as account_is_deleted
from swift.cli.inspection import (
    EXIT_ERROR,
    EXIT_SUCCESS,
    InfoError,
    check_place,
    info_parser,
    open_ring,
    run_report,
    use_swift_dir,
)
from swift.cli.ring_locations import Target, print_locations
from swift.container import shard_ranges
from swift.container.broker import ContainerBroker
from swift.container.broker import is_deleted as container_is_deleted
from swift.container.sharded import SHARDED, SHARDING, database_files, is_root, single_file_state
from swift.core.hashing import hash_path
from swift.core.policy import PolicyCollection
from swift.core.timestamp import Timestamp
from swift.db.broker import Broker, parse_metadata
from swift.db.errors import DatabaseBusy, DatabaseError

EXIT_STALE = 2
_LOCK_SECONDS = 5.0


class DatabaseReport(ABC):
    """One database, opened for reading. Subclasses know what kind it is; ``name``: how options and messages call it."""

    name: str
    stat_table: str
    broker_class: type[Broker]

    def __init__(self, path: str, options: Any, policies: PolicyCollection) -> None:
        self.path = path
        self.options = options
        self.policies = policies
        self.metadata: Mapping[str, tuple[str, str]] = {}
        self.info: dict[str, Any] = {}
        self.syncs: dict[str, list[dict[str, Any]]] = {}

    def read(self) -> None:
        """Read everything that the report shows. Raises sqlite3.Error, InfoError."""
        with _read_only(self.path) as db:
            for table in ("incoming_sync", "outgoing_sync"):
                self.syncs[table] = list(db[table].rows) if table in db.table_names() else []
            self.info = self.read_info(db)
        self.metadata = parse_metadata(self.info.get("metadata"))

    # ---- what differs between the kinds

    @abstractmethod
    def read_info(self, db: Database) -> dict[str, Any]:
        """The stat row of the open database, with the counts that the outside sees."""

    @abstractmethod
    def target(self) -> Target: ...

    @abstractmethod
    def is_deleted(self) -> bool: ...

    @abstractmethod
    def count_lines(self) -> Iterable[str]:
        """Lines between the timestamps and the row hash."""

    def own_lines(self) -> Iterable[str]:
        """Lines of the kind's own columns behind the UUID."""
        return ()

    def print_tail(self) -> None:
        """What follows the metadata."""
        return

    # ---- the report

    def show(self) -> None:
        target, info = self.target(), self.info
        print(f"Path: /{'/'.join(filter(None, target))}")
        print(f"  Account: {target.account}")
        if target.container:
            print(f"  Container: {target.container}")
        print(f"  Deleted: {self.is_deleted()}")
        print(f"  {self.name.title()} Hash: {hash_path(str(target.account), target.container)}")
        print("Metadata:")
        for label, key in (
            ("Created at", "created_at"),
            ("Put Timestamp", "put_timestamp"),
            ("Delete Timestamp", "delete_timestamp"),
            ("Status Timestamp", "status_changed_at"),
        ):
            print(f"  {label}: {time_text(info[key])}")
        for line in self.count_lines():
            print(f"  {line}")
        print(f"  Chexor: {info['hash']}")
        print(f"  UUID: {info['id']}")
        for line in self.own_lines():
            print(f"  {line}")
        self._print_metadata()
        self.print_tail()
        if self.options.sync:
            self._print_syncs("Incoming", "incoming_sync")
            self._print_syncs("Outgoing", "outgoing_sync")

    def _print_metadata(self) -> None:
        sections: dict[str, dict[str, str]] = {"sysmeta": {}, "meta": {}, "": {}}
        for key, (value, _timestamp) in self.metadata.items():
            for section in sections:
                prefix = f"x-{self.name}-{section}-" if section else ""
                if key.lower().startswith(prefix):
                    dropped = len(prefix) if self.options.drop_prefixes else 0
                    sections[section][key[dropped:]] = value
                    break
        for key, value in sections[""].items():
            print(f"  {key}: {value}")
        for title, section in (("System", "sysmeta"), ("User", "meta")):
            if not sections[section]:
                print(f"No {title.lower()} metadata found in db file")
                continue
            print(f"  {title} Metadata:")
            for key, value in sections[section].items():
                print(f"    {key}: {value}")

    def _print_syncs(self, title: str, table: str) -> None:
        rows = [
            (str(row["sync_point"]), str(row["remote_id"]), time_text(row["updated_at"]))
            for row in self.syncs[table]
        ]
        rows.insert(0, ("Sync Point", "Remote ID", "Updated At"))
        point, remote = (max(len(row[column]) for row in rows) for column in (0, 1))
        print(f"{title} Syncs:")
        for row in rows:
            print(f"  {row[0]:<{point}}\t{row[1]:<{remote}}\t{row[2]}")

    def show_locations(self) -> None:
        ring = open_ring(os.path.join(self.options.swift_dir, f"{self.name}.ring.gz"))
        if ring is not None:
            print_locations(ring, self.target(), f"{self.name}s")


@contextmanager
def _read_only(path: str) -> Iterator[Database]:
    uri = f"{Path(path).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS)) as conn:
        yield Database(conn)


def _only_row(db: Database, table: str) -> dict[str, Any]:
    for row in db[table].rows:
        return dict(row)
    raise InfoError(f"{table} has no row")


def time_text(stored: Any) -> str:
    """``<ISO form> (<as stored>)``."""
    text = str(stored)
    try:
        return f"{Timestamp(text).isoformat} ({text})"
    except ValueError:
        return f"not a timestamp ({text})"


class AccountReport(DatabaseReport):
    name = "account"
    stat_table = "account_stat"
    broker_class = AccountBroker

    def read_info(self, db: Database) -> dict[str, Any]:
        return _only_row(db, self.stat_table)

    def target(self) -> Target:
        return Target(self.info["account"])

    def is_deleted(self) -> bool:
        return account_is_deleted(self.info)

    def count_lines(self) -> Iterable[str]:
        yield f"Container Count: {self.info['container_count']}"
        yield f"Object Count: {self.info['object_count']}"
        yield f"Bytes Used: {self.info['bytes_used']}"


class ContainerReport(DatabaseReport):
    """The counts are those of the container as a whole, whichever of its files was named."""

    name = "container"
    stat_table = "container_info"
    broker_class = ContainerBroker

    def read_info(self, db: Database) -> dict[str, Any]:
        files = _component_files(self.path)
        with _read_only(files[-1]) as newest:
            row = _container_row(newest)
            self.ranges = list(newest["shard_range"].rows) if "shard_range" in newest.table_names() else []
        self.own_name = f"{row['account']}/{row['container']}"
        self.root = is_root(parse_metadata(row.get("metadata")), self.own_name, self._own_range())
        self.state = _state(files, self.ranges, self.own_name)
        if self.state == SHARDING:
            with _read_only(files[0]) as retiring:
                counted = _container_row(retiring)
            row.update(object_count=counted["object_count"], bytes_used=counted["bytes_used"])
        elif self.state == SHARDED and self.root:
            row["object_count"], row["bytes_used"] = shard_ranges.usage(self.ranges, self.own_name)
        return row

    def _own_range(self) -> dict[str, Any] | None:
        return next((found for found in self.ranges if found["name"] == self.own_name), None)

    def target(self) -> Target:
        return Target(self.info["account"], self.info["container"])

    def is_deleted(self) -> bool:
        return container_is_deleted(self.info)

    def count_lines(self) -> Iterable[str]:
        info = self.info
        yield f"Object Count: {info['object_count']}"
        yield f"Bytes Used: {info['bytes_used']}"
        index = info["storage_policy_index"]
        policy = self.policies.get_by_index(index)
        yield f"Storage Policy: {policy.name if policy else 'Unknown'} ({index})"
        yield f"Reported Put Timestamp: {time_text(info['reported_put_timestamp'])}"
        yield f"Reported Delete Timestamp: {time_text(info['reported_delete_timestamp'])}"
        yield f"Reported Object Count: {info['reported_object_count']}"
        yield f"Reported Bytes Used: {info['reported_bytes_used']}"

    def own_lines(self) -> Iterable[str]:
        for key in ("x_container_sync_point1", "x_container_sync_point2"):
            yield f"{key.replace('_', '-').title()}: {self.info[key]}"

    def print_tail(self) -> None:
        print("Sharding Metadata:")
        print(f"  Type: {'root' if self.root else 'shard'}")
        print(f"  State: {self.state}")
        others = [found for found in self.ranges if not found["deleted"] and found["name"] != self.own_name]
        if others:
            self._print_ranges(sorted(others, key=shard_ranges.sort_key))

    def _print_ranges(self, others: Sequence[dict[str, Any]]) -> None:
        print(f"Shard Ranges ({len(others)}):")
        print("  States:")
        for state, count in sorted(Counter(found["state"] for found in others).items()):
            print(f"    {shard_ranges.STATES.get(state, 'unknown'):>9}: {count}")
        if not self.options.verbose:
            print("(Use -v/--verbose to show more Shard Ranges details)")
            return
        for found in others:
            state = shard_ranges.STATES.get(found["state"], "unknown")
            print(f"  Name: {found['name']}")
            print(f"    lower: {found['lower']!r}, upper: {found['upper']!r}")
            print(
                f"    Object Count: {found['object_count']}, Bytes Used: {found['bytes_used']}, "
                f"State: {state} ({found['state']})"
            )
            print(f"    Created at: {time_text(found['timestamp'])}")
            print(f"    Meta Timestamp: {time_text(found['meta_timestamp'])}")


def _component_files(path: str) -> list[str]:
    """The files that the container's rows are in, oldest first; just the named one if it stands alone."""
    return database_files(_canonical(path))[-2:] or [path]


def _canonical(path: str) -> str:
    """``<hash>.db`` for any file of a container (``<hash>_<epoch>.db`` too)."""
    directory, name = os.path.split(path)
    return os.path.join(directory, name.split("_", 1)[0].removesuffix(".db") + ".db")


def _container_row(db: Database) -> dict[str, Any]:
    """container_info with the counts of the container's own policy."""
    row = {**_only_row(db, "container_info"), "object_count": 0, "bytes_used": 0}
    for stat in db["policy_stat"].rows_where("storage_policy_index = ?", [row["storage_policy_index"]]):
        row.update(object_count=stat["object_count"], bytes_used=stat["bytes_used"])
    return row


def _state(files: Sequence[str], ranges: Iterable[Any], own_name: str) -> str:
    if len(files) > 1:
        return SHARDING
    return single_file_state(files[0], ranges, own_name)


# ---- the command


def _merge_pending(kind: type[DatabaseReport], path: str) -> bool:
    """Merge the pending file, as opening a database does; False when somebody else holds it."""
    broker = kind.broker_class(_canonical(path), timeout=_LOCK_SECONDS, lock_timeout=_LOCK_SECONDS)
    try:
        broker.commit_pending()
    except DatabaseBusy:
        print("WARNING: Possibly Stale Data")
        return False
    return True


def _check_kind(kind: type[DatabaseReport], path: str) -> None:
    with _read_only(path) as db:
        if kind.stat_table in db.table_names():
            return
    shown = path if os.path.isabs(path) else os.path.join(".", path)
    raise InfoError(f'Does not appear to be a DB of type "{kind.name}": {shown}')


def _report(kind: type[DatabaseReport], path: str, options: Any) -> int:
    if not path.endswith(".db") or not os.path.exists(path):
        raise InfoError("DB file doesn't exist")
    report = kind(path, options, use_swift_dir(options.swift_dir))
    try:
        _check_kind(kind, path)
        fresh = _merge_pending(kind, path)
        report.read()
    except (DatabaseError, sqlite3.Error, ValueError) as error:
        raise InfoError(f"{kind.name.title()} info failed: {error}")
    report.show()
    report.show_locations()
    target = report.target()
    if not check_place(path, hash_path(str(target.account), target.container)):
        return EXIT_ERROR
    return EXIT_SUCCESS if fresh else EXIT_STALE


def _main(kind: type[DatabaseReport], argv: list[str] | None) -> int:
    argv = sys.argv if argv is None else argv
    parser = info_parser(os.path.basename(argv[0]), f"{kind.name.upper()}_DB_FILE")
    if kind is ContainerReport:
        parser.add_option(
            "-v", "--verbose", action="store_true", default=False, help="show every shard range"
        )
    parser.add_option(
        "-s", "--sync", action="store_true", default=False, help="show how far replication with each peer is"
    )
    return run_report(parser, argv[1:], lambda path, options: _report(kind, path, options))


def account_main(argv: list[str] | None = None) -> int:
    return _main(AccountReport, argv)


def container_main(argv: list[str] | None = None) -> int:
    return _main(ContainerReport, argv)
