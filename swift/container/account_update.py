"""Telling the account servers about a container: within the request that changed it, or later (database.md 13.8, 16).

All of them at once, over pooled connections. What is done about failures is the callers' business.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core.concurrency import GreenPile, GreenPool
from swift.core.errors import BadRequest
from swift.core.names import quote_name
from swift.db.request import Environ
from swift.telemetry.log import set_transaction, transaction
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, header_block
from swift.wire.message import host_url, wsgi_quote

MAX_ACCOUNTS = 64
_ANSWER_LIMIT = 65536


class AccountNode(NamedTuple):
    """One account server's device that is to be told."""

    ip: str
    port: int
    device: str

    @classmethod
    def from_header(cls, host: str, device: str) -> AccountNode:
        """`host`: ip:port. Raises BadRequest."""
        ip, _, port = host.rpartition(":")
        if not ip or not port.isdecimal() or not device:
            raise BadRequest()
        return cls(ip.strip("[]"), int(port), device)


def wanted(environ: Environ) -> tuple[str, list[AccountNode]]:
    """(partition, nodes) of the request's X-Account headers; no nodes if it has no partition. Raises BadRequest."""
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
    return partition, [AccountNode.from_header(*pair) for pair in zip(hosts, devices, strict=True)]


def request_headers(environ: Environ) -> list[tuple[str, str]]:
    """What a report within a client's request says beside the container's numbers."""
    url = host_url(environ) + wsgi_quote(environ["PATH_INFO"])
    headers = [
        ("X-Trans-Id", environ.get("HTTP_X_TRANS_ID", "-")),
        ("User-Agent", f"container-server {os.getpid()}"),
        ("Referer", f"{environ['REQUEST_METHOD']} {url}"),
    ]
    if environ.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "no").lower() == "yes":
        headers.append(("X-Account-Override-Deleted", "yes"))
    return headers


class AccountReports:
    """Sends container reports. `conf`: conn_timeout, node_timeout."""

    def __init__(self, conf: Mapping[str, Any], logger: Any) -> None:
        self.conn_timeout = float(conf.get("conn_timeout", 0.5))
        self.node_timeout = float(conf.get("node_timeout", 3))
        self.logger = logger

    def send(
        self,
        partition: str | int,
        nodes: Sequence[AccountNode],
        info: Mapping[str, Any],
        more_headers: Iterable[tuple[str, str]],
    ) -> list[int]:
        """The statuses that `nodes` answer to what `info` says, 0 for none."""
        if not nodes:
            return []
        headers = header_block(
            [
                ("X-Put-Timestamp", str(info["put_timestamp"])),
                ("X-Delete-Timestamp", str(info["delete_timestamp"])),
                ("X-Object-Count", str(info["object_count"])),
                ("X-Bytes-Used", str(info["bytes_used"])),
                ("X-Backend-Storage-Policy-Index", str(info["storage_policy_index"])),
                *more_headers,
            ]
        )
        path = f"/{partition}/{quote_name(info['account'])}/{quote_name(info['container'])}"
        if len(nodes) == 1:
            return [self._put(nodes[0], path, headers)]
        pile = GreenPile(GreenPool(len(nodes)))
        for node in nodes:
            pile.spawn(self._put_for, transaction(), node, path, headers)
        return list(pile)

    def _put_for(self, txn: Any, node: AccountNode, path: str, headers: bytes) -> int:
        set_transaction(*txn)
        return self._put(node, path, headers)

    def _put(self, node: AccountNode, path: str, headers: bytes) -> int:
        target = f"/{quote_name(node.device)}{path}"
        where = f"{node.ip}:{node.port}/{node.device}"
        call = BackendCall(
            node.ip,
            node.port,
            "PUT",
            target,
            headers,
            conn_timeout=self.conn_timeout,
            timeout=self.node_timeout,
        )
        try:
            response = call.answer()
            response.drain(_ANSWER_LIMIT)
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
