"""Deleting a container of a deleted account, with all of its objects (database.md 17).

Lives here: the requests to container and object servers, and what their answers come to. Never here: which accounts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPile, GreenPool
from swift.core.timestamp import Timestamp
from swift.wire import direct
from swift.wire.direct import DirectError

Node = Mapping[str, Any]
_KINDS = ("deleted", "remaining", "possibly_remaining")


class Rings(NamedTuple):
    """`objects`: by policy index, those that are there."""

    account: Any
    container: Any
    objects: Mapping[int, Any]


class Figures:
    """What a pass over an account came to."""

    def __init__(self, metrics: Any) -> None:
        self.metrics = metrics
        self.counts = {f"{what}_{kind}": 0 for what in ("containers", "objects") for kind in _KINDS}
        self.codes: dict[int, int] = {}

    def count(self, name: str) -> None:
        """One more, such as `objects_deleted`."""
        self.counts[name] += 1
        self.metrics.increment(name)

    def failed(self, name: str, status: int | None) -> None:
        """A server refused; `name` such as `objects_failures`."""
        self.metrics.increment(name)
        self.answered(status)

    def answered(self, status: int | None) -> None:
        """A server answered, or did not (None)."""
        digit = (status or 0) // 100
        self.codes[digit] = self.codes.get(digit, 0) + 1
        self.metrics.increment(f"return_codes.{digit}")

    def settle(self, what: str, successes: int, failures: int) -> None:
        """What became of one container or object, by the answers of its nodes."""
        if successes > failures:
            self.count(f"{what}_deleted")
        elif not successes:
            self.count(f"{what}_remaining")
        else:
            self.count(f"{what}_possibly_remaining")

    def __str__(self) -> str:
        told = [f", {number} {name.replace('_', ' ')}" for name, number in self.counts.items() if number]
        if self.codes:
            codes = ", ".join(f"{number} {digit}xxs" for digit, number in sorted(self.codes.items()))
            told.append(f", return codes: {codes}")
        return "".join(told)


class Reaping:
    """One pass over one account. `options`: conn_timeout, node_timeout, side, rings, logger."""

    def __init__(
        self, options: Any, account: str, partition: int, nodes: Sequence[Node], figures: Figures
    ) -> None:
        self.options = options
        self.account = account
        self.partition = partition
        self.nodes = nodes
        self.figures = figures
        self.logger = options.logger
        self.times = {"conn_timeout": options.conn_timeout, "response_timeout": options.node_timeout}

    def reap_container_logged(self, container: str) -> None:
        """Never raises."""
        try:
            self.reap_container(container)
        except Exception:
            self.logger.exception("ERROR reaping container %s of account %s", container, self.account)
            self.options.metrics.increment("errors")

    def reap_container(self, container: str) -> None:
        """Delete all objects that the container lists, then the container."""
        ring = self.options.rings.container
        partition, nodes = ring.get_nodes(self.account, container)
        marker = ""
        pool = GreenPool(self.options.side)
        while True:
            found = self._list(partition, nodes, container, marker)
            if found is None:
                return
            policy, names = found
            if not names:
                break
            for name in names:
                pool.spawn_n(self._reap_object_logged, container, partition, nodes, name, policy)
            pool.waitall()
            if names[-1] <= marker:
                raise ValueError(f"the listing of {self.account}/{container} does not advance")
            marker = names[-1]
        headers = {"X-Account-Partition": str(self.partition), "X-Account-Override-Deleted": "yes"}

        def delete(node: Node, number: int, timestamp: str) -> None:
            account_node = self.nodes[number % len(self.nodes)]
            host = f"{_bracketed(account_node['ip'])}:{account_node['port']}"
            given = {**headers, "X-Account-Host": host, "X-Account-Device": account_node["device"]}
            given["X-Timestamp"] = timestamp
            direct.delete_container(node, partition, self.account, container, given, **self.times)

        self.figures.settle("containers", *self._on_all(nodes, delete, "containers"))

    def _list(
        self, partition: int, nodes: Sequence[Node], container: str, marker: str
    ) -> tuple[int, list[str]] | None:
        """(policy index, names behind the marker) as the first server says that answers; None if none does."""
        for node in reversed(nodes):
            try:
                headers, listed = direct.get_container(
                    node,
                    partition,
                    self.account,
                    container,
                    marker=marker,
                    headers={"X-Backend-Use-Replication-Network": "true"},
                    **self.times,
                )
            except DirectError as err:
                self.figures.failed("containers_failures", err.http_status)
                self.logger.info("Exception listing %s/%s: %s", self.account, container, err)
                continue
            self.figures.answered(200)
            return int(headers.get("X-Backend-Storage-Policy-Index") or 0), [item["name"] for item in listed]
        return None

    def _reap_object_logged(self, container: str, *args: Any) -> None:
        try:
            self._reap_object(container, *args)
        except Exception:
            self.logger.exception("ERROR reaping an object of %s/%s", self.account, container)
            self.options.metrics.increment("errors")

    def _reap_object(
        self, container: str, partition: int, container_nodes: Sequence[Node], name: str, policy: int
    ) -> None:
        ring = self.options.rings.objects.get(policy)
        if ring is None:
            self.logger.error("ERROR: invalid storage policy index: %r", policy)
            self.figures.count("objects_remaining")
            return
        object_partition, nodes = ring.get_nodes(self.account, container, name)

        def delete(node: Node, number: int, timestamp: str) -> None:
            container_node = container_nodes[number % len(container_nodes)]
            given = {
                "X-Container-Host": f"{_bracketed(container_node['ip'])}:{container_node['port']}",
                "X-Container-Partition": str(partition),
                "X-Container-Device": container_node["device"],
                "X-Backend-Storage-Policy-Index": str(policy),
                "X-Timestamp": timestamp,
            }
            direct.delete_object(node, object_partition, self.account, container, name, given, **self.times)

        self.figures.settle("objects", *self._on_all(nodes, delete, "objects"))

    def _on_all(
        self, nodes: Sequence[Node], delete: Callable[[Node, int, str], None], what: str
    ) -> tuple[int, int]:
        """(successes, failures) of a deletion on all nodes at once. Nothing to delete is a success, too."""
        timestamp = Timestamp(clock.time()).internal

        def one(node: Node, number: int) -> bool:
            try:
                delete(node, number, timestamp)
                self.figures.answered(200)
                return True
            except DirectError as err:
                if err.http_status == 404:
                    self.figures.answered(404)
                    return True
                self.figures.failed(f"{what}_failures", err.http_status)
                self.logger.info("Exception deleting: %s", err)
                return False

        pile = GreenPile(GreenPool(max(1, len(nodes))))
        for number, node in zip(itertools.count(), nodes):
            pile.spawn(one, node, number)
        results = list(pile)
        return sum(results), len(results) - sum(results)


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
