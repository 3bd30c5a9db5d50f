"""The account server (database.md 12): accounts, their listings, and the reports of their containers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.constraints import ACCOUNT_LISTING_PARAMS, limits
from swift.core.errors import BadRequest
from swift.core.names import check_account_name, check_container_name, wsgi_to_str
from swift.core.timestamp import Timestamp, normalize_timestamp
from swift.db.errors import DatabaseMissing
from swift.db.listing import Listing, query_params
from swift.db.reader import Source
from swift.db.request import (
    FORMAT_PARAM,
    Place,
    check_metadata_limits,
    media_type,
    metadata_headers,
    native_header,
    shown_metadata,
)
from swift.db.server import LOCK_TIMEOUT, DatabaseServer
from swift.db.snapshots import Snapshots
from swift.telemetry.log import get_logger
from swift.wire.storage import Environ, Handler, StartResponse, answer, is_true, timestamp_of

from .broker import AccountBroker, StatusDeleted, container_record, is_deleted, is_status_deleted
from .listing import container_listing
from .snapshot import AccountReader, AccountSnapshot

UPDATE_LOCK_TIMEOUT = 3.0  # a container server waits for us within a client's request
_METADATA = ("HTTP_X_ACCOUNT_META_", "HTTP_X_ACCOUNT_SYSMETA_")
_DELETED_TYPE = "text/html; charset=utf-8"
_check_limits = check_metadata_limits("account")


class _AccountDeleted(DatabaseMissing):
    """There is a database, of an account that has been deleted."""


class AccountServer(DatabaseServer[AccountBroker]):
    """The WSGI application; see DatabaseServer for its options."""

    server_type = "account-server"
    bad_utf8 = "Invalid UTF8"
    data_directory = "accounts"
    broker_class = AccountBroker

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        super().__init__(conf, logger)
        self.snapshots: Snapshots[AccountSnapshot] = Snapshots(self._reader)

    def verbs(self) -> dict[str, Handler]:
        return {
            "HEAD": self.get,
            "GET": self.get,
            "PUT": self.put,
            "POST": self.post,
            "DELETE": self.delete,
        }

    def _reader(self, path: str) -> AccountReader:
        return AccountReader(self.reading_broker(path))

    def _account(self, environ: Environ, with_room: bool = False) -> Place:
        device, partition, account, container = self.segments(environ, 3, 4)
        if container:
            raise BadRequest(f"Invalid path: {quote(environ['PATH_INFO'][:1024].encode('latin-1'))}")
        check_account_name(account)
        return self.place(device, partition, wsgi_to_str(account), with_room=with_room)

    def _policy_name(self, index: int) -> str | None:
        policy = self.policies.get_by_index(index)
        return None if policy is None else policy.name

    # -- HEAD, GET

    def get(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """HEAD and GET: totals and metadata, and a listing of containers (12.2, 12.3)."""
        place = self._account(environ)
        reading = environ["REQUEST_METHOD"] == "GET"
        wanted = ACCOUNT_LISTING_PARAMS if reading else FORMAT_PARAM
        params = query_params(environ.get("QUERY_STRING", ""), wanted)
        kind = media_type(environ, params)
        if reading:
            allow_reserved = is_true(environ, "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")
            listing = Listing.from_params(params, limits().account_listing_limit, allow_reserved, paths=False)
        content_type = f"{kind}; charset=utf-8"

        def shown(source: Source[AccountSnapshot]) -> tuple[AccountSnapshot, bytes]:
            snapshot = source.snapshot
            if is_deleted(snapshot.info):
                return snapshot, b""
            return snapshot, container_listing(source, listing, kind, self._policy_name)

        try:
            if reading:
                snapshot, body = self.snapshots.answer(place.path, shown)
            else:
                snapshot, body = self.snapshots.current(place.path), b""
        except DatabaseMissing:
            return answer(environ, start_response, 404, b"", content_type=_DELETED_TYPE)
        if is_deleted(snapshot.info):
            return self._gone(environ, start_response, is_status_deleted(snapshot.info))
        return answer(
            environ, start_response, 200 if body else 204, body, self._headers(snapshot), content_type
        )

    def _gone(self, environ: Environ, start_response: StartResponse, by_status: bool) -> Iterable[bytes]:
        headers = [("X-Account-Status", "Deleted")] if by_status else []
        return answer(environ, start_response, 404, b"", headers, _DELETED_TYPE)

    def _headers(self, snapshot: AccountSnapshot) -> list[tuple[str, str]]:
        if snapshot.headers is not None:
            return list(snapshot.headers)
        info = snapshot.info
        headers = [
            ("X-Account-Container-Count", str(info["container_count"])),
            ("X-Account-Object-Count", str(info["object_count"])),
            ("X-Account-Bytes-Used", str(info["bytes_used"])),
            ("X-Timestamp", normalize_timestamp(info["created_at"])),
            ("X-Put-Timestamp", normalize_timestamp(info["put_timestamp"])),
        ]
        for index, numbers in sorted(snapshot.totals.items()):
            name = self._policy_name(index)
            if name is None:
                continue
            prefix = f"X-Account-Storage-Policy-{name.title()}"
            for what, number in zip(("Container-Count", "Object-Count", "Bytes-Used"), numbers, strict=True):
                headers.append((f"{prefix}-{what}", str(number)))
        headers += shown_metadata(snapshot.metadata)
        snapshot.headers = headers
        return list(headers)

    # -- PUT

    def put(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """PUT of an account, or of a container's report (12.2, 12.4)."""
        parts = self.segments(environ, 3, 4)
        if parts[3]:
            return self._put_container(environ, start_response, parts)
        place = self._account(environ, with_room=True)
        timestamp = timestamp_of(environ)
        updates = metadata_headers(environ, timestamp, _METADATA)
        try:
            status = self.run_to_create(place, self._store, place, timestamp, updates)
        except StatusDeleted:
            headers = [("X-Account-Status", "Deleted")]
            return answer(environ, start_response, 403, "Recently deleted", headers, _DELETED_TYPE)
        return answer(environ, start_response, status)

    def _store(self, place: Place, timestamp: str, updates: Mapping[str, tuple[str, str]]) -> int:
        """Create or update an account; the status. Raises StatusDeleted."""
        broker = self.broker(place)
        if not broker.exists():
            _check_limits(updates)
            if self._create(place, timestamp):
                broker.touch(None, updates, _check_limits)
                return 201
        broker.touch(timestamp, updates, _check_limits, broker.check_status)
        return 409 if broker.is_deleted() else 202

    def _put_container(
        self, environ: Environ, start_response: StartResponse, parts: list[str]
    ) -> Iterable[bytes]:
        device, partition, account, container = parts
        if "/" in container:
            raise BadRequest(f"Invalid path: {quote(environ['PATH_INFO'][:1024].encode('latin-1'))}")
        check_container_name(account, container)
        account, container = wsgi_to_str(account), wsgi_to_str(container)
        place = self.place(device, partition, account, with_room=True)
        record = self._record(environ, container)
        try:
            self._add_report(environ, place, record)
        except _AccountDeleted:
            return answer(environ, start_response, 404)
        except DatabaseMissing:
            if not account.startswith(limits().auto_create_account_prefix):
                raise
            given = environ.get("HTTP_X_TIMESTAMP")
            timestamp = timestamp_of(environ) if given else normalize_timestamp(clock.time())
            self.run_to_create(place, self._create, place, timestamp)
            self._add_report(environ, place, record)
        return answer(environ, start_response, 204 if record[2] > record[1] else 201, b"")

    def _add_report(self, environ: Environ, place: Place, record: tuple[Any, ...]) -> None:
        override = environ.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "no").lower() == "yes"
        if not override and is_deleted(self.snapshots.current(place.path).info):
            raise _AccountDeleted(place.path)
        timeout = UPDATE_LOCK_TIMEOUT if environ.get("HTTP_X_TRANS_ID") else LOCK_TIMEOUT
        self.append(place, record, timeout)

    @staticmethod
    def _record(environ: Environ, container: str) -> tuple[Any, ...]:
        """The pending record of a report. Raises BadRequest."""
        values = []
        for key in ("HTTP_X_PUT_TIMESTAMP", "HTTP_X_DELETE_TIMESTAMP"):
            value = native_header(environ, key)
            try:
                Timestamp(value)
            except ValueError:
                raise BadRequest(f"Invalid {key[5:].replace('_', '-').title()} header") from None
            values.append(value)
        for key in ("HTTP_X_OBJECT_COUNT", "HTTP_X_BYTES_USED", "HTTP_X_BACKEND_STORAGE_POLICY_INDEX"):
            value = environ.get(key, "0") if key.endswith("INDEX") else native_header(environ, key)
            try:
                if not -(2**63) <= int(value) < 2**63:
                    raise ValueError
            except ValueError:
                raise BadRequest(f"Invalid {key[5:].replace('_', '-').title()} header") from None
            values.append(value)
        return container_record(container, *values)

    # -- POST, DELETE

    def post(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """POST: metadata only."""
        place = self._account(environ, with_room=True)
        timestamp = timestamp_of(environ)
        updates = metadata_headers(environ, timestamp, _METADATA)
        try:
            self.run(place, self._post, place, updates)
        except DatabaseMissing as error:
            return self._gone(environ, start_response, isinstance(error, StatusDeleted))
        return answer(environ, start_response, 204, b"")

    def _post(self, place: Place, updates: Mapping[str, tuple[str, str]]) -> None:
        broker = self.broker(place)
        broker.commit_pending()
        broker.touch(None, updates, _check_limits, broker.check_alive)

    def delete(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """DELETE: marks the account deleted; the reaper does the rest."""
        place = self._account(environ)
        timestamp = timestamp_of(environ)
        try:
            status_deleted = self.run(place, self._delete, place, timestamp)
        except DatabaseMissing as error:
            return self._gone(environ, start_response, isinstance(error, StatusDeleted))
        headers = [("X-Account-Status", "Deleted")] if status_deleted else []
        return answer(environ, start_response, 204, b"", headers, _DELETED_TYPE)

    def _delete(self, place: Place, timestamp: str) -> bool:
        broker = self.broker(place)
        broker.commit_pending()
        broker.delete_db(timestamp, broker.check_alive)
        return broker.is_status_deleted()


def app_factory(global_conf: Mapping[str, Any], **local_conf: Any) -> AccountServer:
    """PasteDeploy's entry point for `egg:swift#account`."""
    conf = {**global_conf, **local_conf}
    return AccountServer(conf, get_logger(conf, AccountServer.server_type))
