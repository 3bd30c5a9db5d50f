"""Deleting a container of a deleted account, with all of its objects (database.md 17).

Lives here: the requests to container and object servers, and what their answers come to. Never here: which accounts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPile, GreenPool
from swift.core.names import quote_name
from swift.core.timestamp import Timestamp
from swift.telemetry.units import handed_on
from swift.wire import direct
from swift.wire.direct import DirectError

Node = Mapping[str, Any]
MAX_DEPTH = 8  # of shards within shards
_KINDS = ("deleted", "remaining", "possibly_remaining")


class Rings(NamedTuple):
    """`objects`: by policy index, those that are there."""

    account: Any
    container: Any
    objects: Mapping[int, Any]


class Listing(NamedTuple):
    """A container that lists objects of the one that is deleted: itself, or a shard with the names lower < name <= upper."""

    account: str
    container: str
    partition: int
    nodes: Sequence[Node]
    lower: str = ""
    upper: str = ""

    @property
    def path(self) -> str:
        return f"{self.account}/{self.container}"


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
        """Delete all objects that the container or its shards list, then the container."""
        partition, nodes = self.options.rings.container.get_nodes(self.account, container)
        listing = Listing(self.account, container, partition, nodes)
        if not self._reap_listed(container, listing, None, ()):
            return
        headers = {"X-Account-Partition": str(self.partition), "X-Account-Override-Deleted": "yes"}

        def delete(node: Node, number: int, timestamp: str) -> None:
            account_node = self.nodes[number % len(self.nodes)]
            host = f"{_bracketed(account_node['ip'])}:{account_node['port']}"
            given = {**headers, "X-Account-Host": host, "X-Account-Device": account_node["device"]}
            given["X-Timestamp"] = timestamp
            direct.delete_container(node, partition, self.account, container, given, **self.times)

        self.figures.settle("containers", *self._on_all(nodes, delete, "containers"))

    def _reap_listed(
        self, container: str, listing: Listing, policy: int | None, above: tuple[str, ...]
    ) -> bool:
        """Delete what one container lists, or its shards do; False if it can't be listed. `above`: who named it, the root first."""
        if len(above) > MAX_DEPTH:
            raise ValueError(f"shards of {self.account}/{container} are split more than {MAX_DEPTH} times")
        marker = listing.lower
        pool = GreenPool(self.options.side)
        kind = "object" if listing.path in above else "auto"
        while True:
            found = self._list(listing, marker, policy, kind)
            if found is None:
                return False
            policy, names, shards = found
            if shards is not None:
                # All of them are tried, so that what can be deleted is, even if one of them can't be listed.
                done = [
                    self._reap_listed(container, self._shard(shard), policy, (*above, listing.path))
                    for shard in shards
                ]
                return all(done)
            if not names:
                return True
            for name in names:
                pool.spawn_n(handed_on(self._reap_object_logged), container, listing, name, policy)
            pool.waitall()
            if names[-1] <= marker:
                raise ValueError(f"the listing of {listing.path} does not advance")
            marker = names[-1]

    def _shard(self, found: Mapping[str, Any]) -> Listing:
        account, _, container = found["name"].partition("/")
        partition, nodes = self.options.rings.container.get_nodes(account, container)
        return Listing(account, container, partition, nodes, found["lower"], found["upper"])

    def _list(
        self, listing: Listing, marker: str, policy: int | None, kind: str
    ) -> tuple[int, list[str], list[Any] | None] | None:
        """(policy index, names behind the marker, or the namespaces of its shards) as the first server says that answers; None if
        none does."""
        headers = {
            "X-Backend-Use-Replication-Network": "true",
            "X-Backend-Record-Type": kind,
            "X-Backend-Record-Shard-Format": "namespace",
        }
        if policy is not None:
            headers["X-Backend-Storage-Policy-Index"] = str(policy)
        for node in reversed(listing.nodes):
            try:
                answered, listed = direct.get_container(
                    node,
                    listing.partition,
                    listing.account,
                    listing.container,
                    marker=marker,
                    end_marker=f"{listing.upper}\0" if listing.upper else None,
                    headers=headers,
                    extra_params={"states": "listing"},
                    **self.times,
                )
            except DirectError as err:
                self.figures.failed("containers_failures", err.http_status)
                self.logger.info("Exception listing %s: %s", listing.path, err)
                continue
            self.figures.answered(200)
            index = int(answered.get("X-Backend-Storage-Policy-Index") or 0) if policy is None else policy
            if answered.get("X-Backend-Record-Type") == "shard":
                return index, [], listed
            return index, [item["name"] for item in listed], None
        return None

    def _reap_object_logged(self, container: str, *args: Any) -> None:
        try:
            self._reap_object(container, *args)
        except Exception:
            self.logger.exception("ERROR reaping an object of %s/%s", self.account, container)
            self.options.metrics.increment("errors")

    def _reap_object(self, container: str, listing: Listing, name: str, policy: int) -> None:
        ring = self.options.rings.objects.get(policy)
        if ring is None:
            self.logger.error("ERROR: invalid storage policy index: %r", policy)
            self.figures.count("objects_remaining")
            return
        object_partition, nodes = ring.get_nodes(self.account, container, name)

        def delete(node: Node, number: int, timestamp: str) -> None:
            container_node = listing.nodes[number % len(listing.nodes)]
            given = {
                "X-Container-Host": f"{_bracketed(container_node['ip'])}:{container_node['port']}",
                "X-Container-Partition": str(listing.partition),
                "X-Container-Device": container_node["device"],
                "X-Backend-Storage-Policy-Index": str(policy),
                "X-Timestamp": timestamp,
            }
            if listing.path != f"{self.account}/{container}":
                given["X-Backend-Quoted-Container-Path"] = quote_name(listing.path)
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
            pile.spawn(handed_on(one), node, number)
        results = list(pile)
        return sum(results), len(results) - sum(results)


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
