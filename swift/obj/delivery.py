"""Delivering one undelivered container update to the container servers that don't have it yet (object-disk 15).

The file's content is changed here, the file itself in `updater`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from swift.core.concurrency import spawn
from swift.core.names import quote_name, split_path
from swift.core.timestamp import internal_timestamp
from swift.obj.missing import MissingDatabases
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendTimeout, header_block
from swift.wire.redirects import redirect_of

MAX_ANSWER = 65536


class Attempt:
    """What the servers of one container said. `redirect`: the newest (timestamp, path) that any of them named.

    `resting`: servers that were not asked, see `missing`.
    """

    def __init__(self) -> None:
        self.successes: list[int] = []
        self.failures = 0
        self.resting = 0
        self.statuses: list[int] = []
        self.redirect: tuple[str, str] | None = None


class Delivery:
    """Sends undelivered updates. `ring`: the container ring; `missing`: whom not to ask; times in seconds."""

    def __init__(
        self, ring: Any, conn_timeout: float, node_timeout: float, missing: MissingDatabases, logger: Any
    ) -> None:
        self.missing = missing
        self.ring = ring
        self.conn_timeout = conn_timeout
        self.node_timeout = node_timeout
        self.logger = logger

    def deliver(self, update: dict[str, Any], policy_index: int) -> tuple[bool, bool, Attempt]:
        """Send an update; returns (all have it now, the update was changed and is to be stored again, last attempt).

        `policy_index`: of the directory it was found in. A redirect is followed at once, one time, and kept in the update
        whether or not that succeeds.
        """
        done, changed, attempt = self._try(update, policy_index)
        if done or attempt.redirect is None:
            return done, self._left_the_shard(update, attempt) or changed, attempt
        self._follow(update, attempt.redirect[1])
        done, _, attempt = self._try(update, policy_index)
        if attempt.redirect is not None:
            self._follow(update, attempt.redirect[1])
        self._left_the_shard(update, attempt)
        return done, True, attempt

    @staticmethod
    def _left_the_shard(update: dict[str, Any], attempt: Attempt) -> bool:
        """Where no server has the shard any more the object's own container knows what became of it: begin again there.

        Those that rest have said so before, for this update or for another one.
        """
        if not update.get("container_path") or update.get("successes"):
            return False
        if not (attempt.statuses or attempt.resting) or any(status != 404 for status in attempt.statuses):
            return False
        update["container_path"] = None
        update["redirect_history"] = []
        return True

    def all_rest(self, update: Mapping[str, Any]) -> bool:
        """True if nobody who lacks the update is to be asked yet. One for a shard that nobody has need not wait for that."""
        path = path_of(update)
        if not len(self.missing) or len(path) != 2:
            return False
        if update.get("container_path") and not update.get("successes"):
            return False
        account, container = path
        known = update.get("successes") or []
        nodes = [node for node in self.ring.get_nodes(account, container)[1] if node["id"] not in known]
        return bool(nodes) and all(self.missing.rests(node, account, container) for node in nodes)

    @staticmethod
    def _follow(update: dict[str, Any], path: str) -> None:
        update.pop("successes", None)
        history = update.setdefault("redirect_history", [])
        if path in history:
            # they point at each other: begin again at the root
            update["container_path"] = None
            update["redirect_history"] = []
        else:
            update["container_path"] = path
            history.append(path)

    def _try(self, update: dict[str, Any], policy_index: int) -> tuple[bool, bool, Attempt]:
        path = update.get("container_path")
        if path:
            account, container = split_path("/" + path, 2, 2)
        else:
            account, container = update["account"], update["container"]
        part, nodes = self.ring.get_nodes(account, container)
        known = list(update.get("successes") or [])
        targets = [node for node in nodes if node["id"] not in known]
        asked = [node for node in targets if not self.missing.rests(node, account, container)]
        full_path = quote_name(f"{account}/{container}/{update['obj']}")
        block = header_block(self._headers(update["headers"], policy_index).items())
        attempt = Attempt()
        attempt.resting = len(targets) - len(asked)
        threads = [
            spawn(self._send, node, update["op"], f"/{node['device']}/{part}/{full_path}", block, attempt)
            for node in asked
        ]
        for node, thread in zip(asked, threads, strict=True):
            status = thread.wait()
            if status == 404:
                self.missing.found(node, account, container, str(update["headers"].get("X-Timestamp")))
            elif 200 <= status < 300:
                self.missing.has_it(node, account, container)
        if attempt.successes:
            update["successes"] = known + sorted(attempt.successes)
        return len(attempt.successes) == len(targets), bool(attempt.successes), attempt

    def _headers(self, stored: Mapping[str, Any], policy_index: int) -> dict[str, str]:
        headers = {name.title(): str(value) for name, value in stored.items()}
        headers["User-Agent"] = f"object-updater {os.getpid()}"
        headers.setdefault("X-Backend-Storage-Policy-Index", str(policy_index))
        headers.setdefault("X-Backend-Accept-Redirect", "true")
        headers.setdefault("X-Backend-Accept-Quoted-Location", "true")
        return headers

    def _send(self, node: Mapping[str, Any], op: str, path: str, block: bytes, attempt: Attempt) -> int:
        call = BackendCall(
            node.get("replication_ip") or node["ip"],
            int(node.get("replication_port") or node["port"]),
            op,
            path,
            block,
            conn_timeout=self.conn_timeout,
            timeout=self.node_timeout,
        )
        try:
            response = call.answer()
            status = response.status
            attempt.statuses.append(status)
            if 200 <= status < 300:
                attempt.successes.append(node["id"])
            elif status == 301:
                self._redirected(response, attempt)
            else:
                attempt.failures += 1
                self.logger.debug("Update failed for %s %s: %s", op, path, status)
            response.drain(MAX_ANSWER)
        except BackendError as err:
            status = 499 if isinstance(err, BackendTimeout) else 500
            attempt.failures += 1
            attempt.statuses.append(status)
            self.logger.error("ERROR with remote server %s%s: %s", node.get("device"), path, err)
        return status

    def _redirected(self, response: Any, attempt: Attempt) -> None:
        try:
            found = (
                internal_timestamp(response.get("x-backend-redirect-timestamp") or ""),
                redirect_of(response),
            )
        except ValueError as err:
            attempt.failures += 1
            self.logger.error(
                "Container update failed: bad redirect to %r: %s", response.get("location"), err
            )
            return
        if attempt.redirect is None or found > attempt.redirect:
            attempt.redirect = found


def path_of(update: Mapping[str, Any]) -> Sequence[str]:
    """(account, container) that an update goes to."""
    path = update.get("container_path")
    return path.split("/", 1) if path else (update["account"], update["container"])
