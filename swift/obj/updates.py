"""Telling container servers about changed objects while the client waits (object-disk 14.1, 14.3).

Sends the updates that a request's headers ask for and keeps below async_pending, before the caller goes on, those that are not
known to have been taken. The format of async pending files is in `async_pending`; later delivery is the object-updater's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from swift.core import clock
from swift.core.concurrency import spawn, spawn_n
from swift.core.config import truthy
from swift.core.hashing import hash_path
from swift.core.names import quote_name, split_path, wsgi_quote, wsgi_to_str
from swift.core.object_headers import queue_container
from swift.core.remembered import Remembered
from swift.core.timestamp import normalize_delete_at
from swift.obj.async_pending import ContainerUpdate, write_update
from swift.obj.device import Device
from swift.telemetry.metrics import Metrics
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, header_block_of
from swift.wire.message import host_url
from swift.wire.redirects import redirect_of

EXPIRER_ACCOUNT = "expiring_objects"
EXPIRER_DIVISOR = 86400
MAX_TARGETS = 64
MAX_ADDRESSES = 4096  # of container servers, that are remembered
MAX_ANSWER = 65536

_EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
_user_agent = ""


def _name_ourselves() -> None:
    global _user_agent
    _user_agent = f"object-server {os.getpid()}"


_name_ourselves()
os.register_at_fork(after_in_child=_name_ourselves)


class UpdatedObject:
    """The object that an update is about, and the device that keeps the update if it can't be delivered.

    `name`: `/account/container/object`, native text. `name_hash`: of the object, whatever the update's own path is. `policy_index`: of
    the object.
    """

    __slots__ = ("device", "name", "name_hash", "policy_index")

    def __init__(self, device: Device, name: str, name_hash: str, policy_index: int) -> None:
        self.device = device
        self.name = name
        self.name_hash = name_hash
        self.policy_index = policy_index

    @property
    def parts(self) -> list[str]:
        """Account, container and object."""
        return self.name.split("/", 3)[1:]


class ExpirerQueue:
    """Where the expiry of an object is queued (object-disk 21.1). Options: expiring_objects_*. Raises ValueError."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        prefix = conf.get("auto_create_account_prefix", ".")
        self.account: str = prefix + conf.get("expiring_objects_account_name", EXPIRER_ACCOUNT)
        self.divisor = int(conf.get("expiring_objects_container_divisor", EXPIRER_DIVISOR))
        if self.divisor <= 100:
            raise ValueError("expiring_objects_container_divisor must be more than 100")

    def row(self, delete_at: int, account: str, container: str, obj: str) -> tuple[str, str]:
        """(container, name) of the row for an object that expires at `delete_at`, seconds."""
        name = f"{normalize_delete_at(delete_at)}-{account}/{container}/{obj}"
        return queue_container(self.divisor, delete_at, account, container, obj), name

    @staticmethod
    def fields() -> dict[str, str]:
        """What all rows say beside whose they are."""
        return {"X-Size": "0", "X-Etag": _EMPTY_MD5}


class ContainerUpdates:
    """Sends updates within the time limits of the server's options. Raises what storing an async pending file raises."""

    def __init__(self, conf: Mapping[str, Any], logger: Any, metrics: Metrics) -> None:
        """Options: conn_timeout, node_timeout, container_update_timeout, expiring_objects_*. Raises ValueError."""
        self.logger = logger
        self.metrics = metrics
        self.conn_timeout = float(conf.get("conn_timeout", 0.5))
        self.node_timeout = float(conf.get("node_timeout", 3))
        self.wait = float(conf.get("container_update_timeout", 1))
        self.queue = ExpirerQueue(conf)
        self._addresses: Remembered[str, tuple[str, int]] = Remembered(MAX_ADDRESSES)

    # ------------------------------------------------------------ the object's container

    def update_container(
        self, op: str, about: UpdatedObject, environ: Mapping[str, Any], fields: dict[str, str]
    ) -> None:
        """Report a PUT or DELETE of `about` to the container servers named in the request; `fields`: its headers."""
        partition = environ.get("HTTP_X_CONTAINER_PARTITION")
        if not partition:
            return
        pairs = self._pairs(environ.get("HTTP_X_CONTAINER_HOST"), environ.get("HTTP_X_CONTAINER_DEVICE"))
        if not pairs:
            return
        headers = {
            **fields,
            "X-Trans-Id": environ.get("HTTP_X_TRANS_ID", "-"),
            "Referer": referer(environ),
            "X-Backend-Storage-Policy-Index": str(about.policy_index),
            "User-Agent": _user_agent,
        }
        state = environ.get("HTTP_X_CONTAINER_ROOT_DB_STATE")
        self._update(about, op, headers, partition, pairs, state, self._container_path(environ))

    def _container_path(self, environ: Mapping[str, Any]) -> str | None:
        """`account/container` of the shard to update, native text; None for the object's own container."""
        path = environ.get("HTTP_X_BACKEND_QUOTED_CONTAINER_PATH")
        if path:
            path = unquote(path, errors="surrogateescape")
        else:
            path = environ.get("HTTP_X_BACKEND_CONTAINER_PATH")
            if not path:
                return None
            path = wsgi_to_str(path)
        try:
            split_path("/" + path, 2, 2)
        except ValueError:
            self.logger.error(
                "Invalid X-Container-Path, should be of the form 'account/container' but got %r.", path
            )
            return None
        return path

    def _pairs(self, host: str | None, device: str | None) -> list[tuple[str, str]]:
        """[(host, device)] of the servers that two headers name."""
        if host and device and "," not in host and "," not in device:
            return [(host.strip(), device.strip())]
        hosts, devices = _words(host), _words(device)
        if len(hosts) != len(devices):
            self.logger.error(
                "ERROR Container update failed: different numbers of hosts and devices in request: %r vs %r",
                hosts,
                devices,
            )
            return []
        return list(zip(hosts, devices, strict=True))[:MAX_TARGETS]

    # ------------------------------------------------------------ the expirer's queue

    def update_expirer(
        self,
        op: str,
        about: UpdatedObject,
        environ: Mapping[str, Any],
        delete_at: int,
        timestamp: str,
        fields: dict[str, str] | None = None,
    ) -> None:
        """Add (PUT) an object to the expirer's queue, or take (DELETE) it from it. `timestamp`: the request's."""
        if truthy(environ.get("HTTP_X_BACKEND_REPLICATION")):
            return
        delete_at = min(max(delete_at, 0), 9999999999)
        container, obj = self.queue.row(delete_at, *about.parts)
        headers = {
            "X-Backend-Storage-Policy-Index": "0",
            "X-Timestamp": timestamp,
            "X-Trans-Id": environ.get("HTTP_X_TRANS_ID", "-"),
            "Referer": referer(environ),
        }
        pairs: list[tuple[str, str]] = []
        partition = ""
        if op == "PUT":
            given = environ.get("HTTP_X_DELETE_AT_CONTAINER")
            if given:
                # it matches the nodes that come with it, whatever we would have chosen
                container = wsgi_to_str(given)
            if environ.get("HTTP_X_DELETE_AT_HOST") is None:
                return  # other object servers were told where to send it
            partition = environ.get("HTTP_X_DELETE_AT_PARTITION") or ""
            if partition:
                pairs = self._pairs(
                    environ.get("HTTP_X_DELETE_AT_HOST"), environ.get("HTTP_X_DELETE_AT_DEVICE")
                )
            headers.update(self.queue.fields())
            headers.update(fields or {})
        elif not truthy(environ.get("HTTP_X_BACKEND_CLEAN_EXPIRING_OBJECT_QUEUE", "t")):
            return
        headers["User-Agent"] = _user_agent
        queued = UpdatedObject(
            about.device,
            f"/{self.queue.account}/{container}/{obj}",
            hash_path(self.queue.account, container, obj),
            about.policy_index,
        )
        if pairs:
            self._update(queued, op, headers, partition, pairs)
        else:
            self._keep(queued, ContainerUpdate(op, self.queue.account, container, obj, headers))

    # ------------------------------------------------------------ sending

    def _update(
        self,
        about: UpdatedObject,
        op: str,
        headers: dict[str, str],
        partition: str,
        pairs: list[tuple[str, str]],
        db_state: str | None = None,
        container_path: str | None = None,
    ) -> None:
        name = about.name
        if container_path is not None:
            name = f"/{container_path}/{about.parts[2]}"
        block = header_block_of(headers)
        deadline = clock.monotonic() + self.wait
        sends = [
            _Send(self, host, device, op, quote_name(f"/{device}/{partition}{name}"), block)
            for host, device in pairs
        ]
        if len(sends) == 1:
            sends[0].run(deadline)
            if sends[0].done:
                return
        else:
            for thread in [spawn(send.run, deadline) for send in sends]:
                thread.wait()
            if all(send.done for send in sends):
                return
        redirect = next((send.redirect for send in sends if send.redirect), None)
        account, container, obj = about.parts
        update = ContainerUpdate(op, account, container, obj, headers, db_state, container_path)
        kept = self._keep(about, update, redirect)
        if len(sends) == 1 and sends[0].late is not None:
            spawn_n(sends[0].wait_late, kept, about.device)
            return
        for send in sends:
            if send.late is not None:
                send.late.close()

    def _keep(self, about: UpdatedObject, update: ContainerUpdate, redirect: str | None = None) -> str:
        self.metrics.increment("async_pendings")
        device = about.device
        kept: str = device.run(
            write_update,
            device.path,
            about.policy_index,
            about.name_hash,
            update.timestamp,
            update.stored(redirect),
        )
        return kept

    def address(self, host: str) -> tuple[str, int]:
        """The address and port that a `host` header names. Raises ValueError."""
        known = self._addresses.get(host)
        if known is None:
            ip, _, port = host.rpartition(":")
            known = ip, int(port)
            if not (ip and 0 < known[1] < 65536):
                raise ValueError(host)
            self._addresses.keep(host, known)
        return known


class _Send:
    """One update on its way to one container server."""

    __slots__ = ("updates", "host", "device", "op", "path", "block", "done", "redirect", "late")

    def __init__(
        self, updates: ContainerUpdates, host: str, device: str, op: str, path: str, block: bytes
    ) -> None:
        self.updates = updates
        self.host = host
        self.device = device
        self.op = op
        self.path = path
        self.block = block
        self.done = False
        self.redirect: str | None = None
        self.late: BackendCall | None = None

    def run(self, deadline: float) -> None:
        """Send and wait for the answer until `deadline`; never raises for what a server or the network does."""
        updates = self.updates
        try:
            ip, port = updates.address(self.host)
        except ValueError:
            updates.logger.error("ERROR Container update failed: bad host %r", self.host)
            return
        call = BackendCall(
            ip,
            port,
            self.op,
            self.path,
            self.block,
            conn_timeout=min(updates.conn_timeout, updates.wait),
            timeout=min(updates.node_timeout, max(deadline - clock.monotonic(), 0.01)),
        )
        try:
            call.send()
            left = max(deadline - clock.monotonic(), 0.01)
            self._take(call.response(left, keep=updates.node_timeout > updates.wait))
        except BackendError as err:
            if call.conn is not None:
                self.late = call
            self._log(err)

    def _log(self, err: Exception) -> None:
        self.updates.logger.error(
            "ERROR container update failed with %s/%s (saving for async update later): %s",
            self.host,
            self.device,
            err,
        )

    def _take(self, response: Any) -> None:
        status = response.status
        response.drain(MAX_ANSWER)
        if 200 <= status < 300:
            self.done = True
            return
        if status == 301 and response.get("location"):
            try:
                self.redirect = redirect_of(response)
            except ValueError:
                self.updates.logger.error(
                    "Container update: bad Location %r from %s", response.get("location"), self.host
                )
        else:
            self._log(BackendError(f"status {status}"))

    def wait_late(self, kept: str, device: Device) -> None:
        """An answer that comes after the client's: when the row was taken after all, nobody needs to send it again."""
        call = self.late
        assert call is not None
        try:
            self._take(call.response(self.updates.node_timeout - self.updates.wait))
            if self.done:
                device.run(_unlink, kept)
        except (BackendError, OSError):
            call.close()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _words(header: str | None) -> list[str]:
    return [word.strip() for word in header.split(",")] if header else []


def referer(environ: Mapping[str, Any]) -> str:
    """`<METHOD> <URL>` of a request, as the next server is told it."""
    raw = environ.get("RAW_PATH_INFO")
    if raw is None:
        raw = wsgi_quote(environ["PATH_INFO"])
    query = environ.get("QUERY_STRING")
    return f"{environ['REQUEST_METHOD']} {host_url(environ)}{raw}{'?' + query if query else ''}"
