"""One row of a container brought to another cluster: an object as it is here, or its deletion (database.md 19.3).

Lives here: the requests for a row, and who signs them how. Which rows are sent, and what becomes of those that fail, is decided by `sync`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from swift.core import clock
from swift.core.concurrency import Timeout
from swift.core.names import str_to_wsgi
from swift.core.timestamp import Timestamp, decode_timestamps
from swift.wire.body_input import BodyInput
from swift.wire.client import BackendError, BackendTimeout, ConnectError
from swift.wire.errors import ClientError
from swift.wire.internal import InternalClient, UnexpectedResponse
from swift.wire.message import normalize_etag
from swift.wire.remote import Remote, RemoteAnswer

from .sync_realms import SyncTarget, signature

# Of the answer, or of this cluster's inside.
_NOT_SENT = frozenset(
    (
        "accept-ranges", "connection", "content-length", "content-location", "date", "etag", "keep-alive", "last-modified", "server",
        "transfer-encoding", "vary", "x-openstack-request-id", "x-timestamp", "x-trans-id",
    )
)  # fmt: skip
_INSIDE = ("x-backend-", "x-object-sysmeta-", "x-object-transient-sysmeta-")
VERSION_LINK = "x-object-sysmeta-versions-symlink"
CUSTOMER_SEAL = "x-object-sysmeta-s3api-ssec"
# Links go on as such, also where the pipeline has no filter that shows them as clients see them.
_LINK = "x-object-sysmeta-symlink-target"


class Failed(Exception):
    """A row that did not get there; `is_expected`: for a reason that users bring about; `is_away`: the target can't be reached at all;
    `is_late`: it did not answer in time, to this row at least."""

    def __init__(
        self, text: str, is_expected: bool = False, is_away: bool = False, is_late: bool = False
    ) -> None:
        super().__init__(text)
        self.is_expected = is_expected
        self.is_away = is_away
        self.is_late = is_late


class Source(NamedTuple):
    """The container here: its names, where it goes to and its user's key."""

    account: str
    container: str
    target: SyncTarget
    user_key: str


class RowSender:
    """`count(what)` is told of puts and deletes, `timing(what, since)` how long they took."""

    def __init__(self, client: InternalClient, remote: Remote, count: Any, timing: Any) -> None:
        self.client = client
        self.remote = remote
        self.count = count
        self.timing = timing

    def send(self, source: Source, row: Mapping[str, Any]) -> None:
        """Bring the row to the target, unless it is there. Raises Failed."""
        try:
            data, _, meta = decode_timestamps(row["created_at"])
            if row["deleted"]:
                self._delete(source, row["name"], data)
            else:
                assert meta is not None
                self._put(source, row, meta)
        except (BackendError, ClientError, OSError, ValueError, Timeout) as err:
            text = f"{row['name']}: {err or type(err).__name__}"
            is_away, is_late = isinstance(err, ConnectError), isinstance(err, BackendTimeout)
            raise Failed(text, is_away=is_away, is_late=is_late) from None

    def _delete(self, source: Source, name: str, when: Timestamp) -> None:
        started = clock.time()
        answer = self._ask(source, "DELETE", name, {"X-Timestamp": when.internal})
        if answer.status not in (404, 409):
            _check(answer, "DELETE", name)
        self.count("deletes")
        self.timing("deletes.timing", started)

    def _put(self, source: Source, row: Mapping[str, Any], when: Timestamp) -> None:
        started = clock.time()
        name = row["name"]
        # Clients are told times without the offset that an object gets which was brought into its container's policy.
        when = Timestamp(when.normal)
        there = self._ask(source, "HEAD", name, {"X-Timestamp": when.internal})
        if not 400 <= there.status < 500:  # who comes with a plain key may write, and not look
            _check(there, "HEAD", name)
            if Timestamp(there.headers.get("x-timestamp") or 0) >= when:
                return
        headers = {"X-Newest": "true", "X-Backend-Storage-Policy-Index": str(row["storage_policy_index"])}
        try:
            _, found, body = self.client.get_object(
                source.account, source.container, name, headers, params={"symlink": "get"}
            )
        except UnexpectedResponse as err:
            raise Failed(f"{name}: {err}", err.resp.status_int in (401, 404)) from None
        length = int(found.get("Content-Length") or 0)
        read = BodyInput(body, length)
        try:
            if found.get(VERSION_LINK):
                return  # what is versioned here is not sent; its container may have become that lately
            if found.get(CUSTOMER_SEAL):
                return  # without its owner's key there is nothing to send but ciphertext
            sent = str(found.get("X-Timestamp") or 0)
            if Timestamp(sent) < when:
                raise Failed(f"{name}: only an older one was found than the one that is listed")
            answer = self._ask(source, "PUT", name, _sent(found, sent), read, length)
            _check(answer, "PUT", name)
        finally:
            read.close()
        self.count("puts")
        self.timing("puts.timing", started)

    def _ask(
        self,
        source: Source,
        method: str,
        name: str,
        headers: dict[str, str],
        body: BodyInput | None = None,
        length: int = 0,
    ) -> RemoteAnswer:
        target = source.target
        url = f"{target.endpoint.rstrip('/')}/{quote(name, errors='surrogateescape')}"
        if target.realm is None:
            headers["X-Container-Sync-Key"] = str_to_wsgi(source.user_key)
        else:
            nonce = clock.uuid4().hex
            signed = signature(
                method,
                urlsplit(url).path,
                headers["X-Timestamp"],
                nonce,
                target.realm_key or "",
                source.user_key,
            )
            headers["X-Container-Sync-Auth"] = f"{target.realm} {nonce} {signed}"
        headers["User-Agent"] = "Swift Container Sync"
        return self.remote.request(method, url, headers, body, length)


def _check(answer: RemoteAnswer, method: str, name: str) -> None:
    """Raises Failed for anything but success."""
    if not 200 <= answer.status < 300:
        raise Failed(f"{method} {name}: {answer.status}", answer.status in (401, 404))


def _sent(found: Mapping[str, Any], timestamp: str) -> dict[str, str]:
    """The headers of an object as it goes on: what is this cluster's own stays here."""
    sent = {name: value for name, value in _pairs(found) if _is_sent(name)}
    etag = normalize_etag(found.get("Etag"))
    if etag:
        sent["Etag"] = etag
    kind, _, last = str(found.get("Content-Type") or "application/octet-stream").rpartition(";")
    sent["Content-Type"] = (
        kind if kind and last.strip().startswith("swift_bytes=") else (f"{kind};{last}" if kind else last)
    )
    for name, value in _pairs(found):
        if name.lower().startswith(_LINK):
            sent.setdefault(f"X-Symlink-Target{name[len(_LINK) :]}", value)
    sent["X-Timestamp"] = timestamp
    return sent


def _pairs(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    return ((name, str(value)) for name, value in found.items())


def _is_sent(name: str) -> bool:
    lower = name.lower()
    return lower not in _NOT_SENT and not lower.startswith(_INSIDE)
