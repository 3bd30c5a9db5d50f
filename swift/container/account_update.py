"""Telling the account servers about a container, within the request that changed it (database.md 13.8).

All of them at once, over pooled connections; what fails is left to the container updater.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swift.core.concurrency import GreenPile, GreenPool
from swift.core.errors import BadRequest
from swift.core.log import set_transaction, transaction
from swift.core.names import quote_name
from swift.db.request import Environ
from swift.wire.client import POOL, BackendError, header_block
from swift.wire.message import host_url, wsgi_quote

MAX_ACCOUNTS = 64
_ANSWER_LIMIT = 65536


class AccountNode:
    """One account server's device that is to be told."""

    __slots__ = ("device", "ip", "port")

    def __init__(self, host: str, device: str) -> None:
        ip, _, port = host.rpartition(":")
        if not ip or not port.isdecimal() or not device:
            raise BadRequest()
        self.ip = ip.strip("[]")
        self.port = int(port)
        self.device = device


class AccountUpdates:
    """Sends container reports. `conf`: conn_timeout, node_timeout."""

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        self.conn_timeout = float(conf.get("conn_timeout", 0.5))
        self.node_timeout = float(conf.get("node_timeout", 3))
        self.logger = logger

    @staticmethod
    def wanted(environ: Environ) -> tuple[str, list[AccountNode]]:
        """(partition, servers) of the request's X-Account headers; no servers if it has no partition. Raises BadRequest."""
        partition = environ.get("HTTP_X_ACCOUNT_PARTITION")
        hosts = [part.strip() for part in environ.get("HTTP_X_ACCOUNT_HOST", "").split(",")]
        devices = [part.strip() for part in environ.get("HTTP_X_ACCOUNT_DEVICE", "").split(",")]
        if len(hosts) != len(devices) or len(hosts) > MAX_ACCOUNTS:
            raise BadRequest()
        if not partition:
            return "", []
        if not partition.isdecimal():
            raise BadRequest("Invalid X-Account-Partition header")
        if hosts == [""] and devices == [""]:
            return partition, []
        return partition, [AccountNode(*pair) for pair in zip(hosts, devices, strict=True)]

    def send(
        self, environ: Environ, partition: str, servers: list[AccountNode], info: Mapping[str, Any]
    ) -> bool:
        """Tell all `servers` what `info` says; whether every one of them knows of no such account."""
        if not servers:
            return False
        headers = self._headers(environ, info)
        path = f"/{partition}/{quote_name(info['account'])}/{quote_name(info['container'])}"
        if len(servers) == 1:
            return self._put(servers[0], path, headers) == 404
        pile = GreenPile(GreenPool(len(servers)))
        for server in servers:
            pile.spawn(self._put_for, transaction(), server, path, headers)
        statuses = list(pile)
        return all(status == 404 for status in statuses)

    def _headers(self, environ: Environ, info: Mapping[str, Any]) -> bytes:
        url = host_url(environ) + wsgi_quote(environ["PATH_INFO"])
        headers = [
            ("X-Put-Timestamp", str(info["put_timestamp"])),
            ("X-Delete-Timestamp", str(info["delete_timestamp"])),
            ("X-Object-Count", str(info["object_count"])),
            ("X-Bytes-Used", str(info["bytes_used"])),
            ("X-Trans-Id", environ.get("HTTP_X_TRANS_ID", "-")),
            ("X-Backend-Storage-Policy-Index", str(info["storage_policy_index"])),
            ("User-Agent", f"container-server {os.getpid()}"),
            ("Referer", f"{environ['REQUEST_METHOD']} {url}"),
        ]
        if environ.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "no").lower() == "yes":
            headers.append(("X-Account-Override-Deleted", "yes"))
        return header_block(headers)

    def _put_for(self, txn: Any, server: AccountNode, path: str, headers: bytes) -> int:
        set_transaction(*txn)
        return self._put(server, path, headers)

    def _put(self, server: AccountNode, path: str, headers: bytes) -> int:
        """The status that a server answers, 0 for none."""
        target = f"/{quote_name(server.device)}{path}"
        where = f"{server.ip}:{server.port}/{server.device}"
        try:
            conn = POOL.get(server.ip, server.port, self.conn_timeout)
            try:
                response = conn.request(
                    "PUT", target, headers, timeout=self.node_timeout, conn_timeout=self.conn_timeout
                )
                response.drain(_ANSWER_LIMIT)
            except BaseException:
                conn.close()
                raise
        except (BackendError, OSError) as err:
            self.logger.error("ERROR account update failed with %s (will retry later): %s", where, err)
            return 0
        if not 200 <= response.status < 300:
            self.logger.error(
                "ERROR Account update failed with %s (will retry later): Response %s %s",
                where,
                response.status,
                response.reason,
            )
        return int(response.status)
