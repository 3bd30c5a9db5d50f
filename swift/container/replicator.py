"""The container-replicator (database.md 14): policies, shard ranges, and rows of objects that lie in another policy than the container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swift.core.policy import policies
from swift.db.broker import Broker
from swift.db.connection import Connection
from swift.db.replication.exchange import Exchange
from swift.db.replication.figures import Figures
from swift.db.replication.peer_state import PeerState
from swift.db.replication.replica import Replica
from swift.db.replication.replicator import DatabaseReplicator
from swift.telemetry import recon_cache

from . import misplaced, shard_ranges, sync_store
from .broker import ContainerBroker
from .enqueuer import LocalQueues, enqueue
from .sharded import UNSHARDED

_REPORTED = ("put_timestamp", "delete_timestamp", "bytes_used")


class ContainerExchange(Exchange):
    """With shard ranges beside rows. Where a container is being sharded, each replica moves its own rows."""

    broker: ContainerBroker

    def meet(self, document: Mapping[str, Any]) -> tuple[bool, bool]:
        met = self._exchange_ranges(document)
        if self.replica.info["shard_max_row"] < 0 and not self.replica.ranges_changed:
            return met, False  # without ranges nobody has asked for sharding
        if not self.replica.run(self.broker.sharding_initiated):
            return met, False
        if self._both_hold_all_rows(document):
            return met, False
        self.figures.count("deferred")
        return met, True

    def _both_hold_all_rows(self, document: Mapping[str, Any]) -> bool:
        """Sharding was asked for, but neither replica has begun: rows that only one of them has are not to be lost with it."""
        return document.get("db_state") == UNSHARDED and self.replica.info["db_state"] == UNSHARDED

    def may_send_whole(self, state: PeerState) -> bool:
        return not self.replica.run(self.broker.sharding_initiated)

    def _exchange_ranges(self, document: Mapping[str, Any]) -> bool:
        """Ranges of both become known to both; returns False if the peer did not take ours."""
        there = document.get("shard_max_row")
        if type(there) is int and there >= 0:
            answer = self.peer.call("get_shard_ranges")
            if not answer.is_good:
                return self._refused("get_shard_ranges", answer)
            ranges = [shard_ranges.from_wire(item) for item in answer.document()]
            if ranges and self.replica.run(self._merge_ranges, ranges):
                self.replica.ranges_changed = True
        if self.replica.info["shard_max_row"] < 0 and not self.replica.ranges_changed:
            return True
        ours = self.replica.run(self.broker.all_shard_ranges)
        if not ours:
            return True
        if there is None:
            self.logger.warning(
                "%s is unable to replicate shard ranges to peer %s; peer may need upgrading",
                self.broker.path,
                self.peer,
            )
            return False
        answer = self.peer.call("merge_shard_ranges", ours, self.replica.info["id"])
        return answer.is_good or self._refused("merge_shard_ranges", answer)

    def _merge_ranges(self, ranges: list[shard_ranges.ShardRange]) -> bool:
        before = self.broker.max_row("shard_range")
        self.broker.merge_ranges_of_peer(ranges)
        return self.broker.max_row("shard_range") != before


class RowsExchange(ContainerExchange):
    """For who is about to give up rows elsewhere: a peer that was brought none, because the container is being sharded, does not have them."""

    def meet(self, document: Mapping[str, Any]) -> tuple[bool, bool]:
        met, only_that = super().meet(document)
        if only_that and self.replica.run(self.broker.has_rows):
            return False, True
        return met, only_that


class ContainerReplicator(DatabaseReplicator):
    """The daemon; see DatabaseReplicator for its options."""

    kind = "container"
    broker_class = ContainerBroker
    exchange_class = ContainerExchange
    recon_name = recon_cache.CONTAINER
    default_port = 6201

    def with_policy(self) -> bool:
        return len(policies()) > 1

    def may_be_reclaimed(self, info: Mapping[str, Any]) -> bool:
        return info["reported_object_count"] == info["count"] and all(
            info[f"reported_{key}"] == info[key] for key in _REPORTED
        )

    def begin_pass(self) -> None:
        self.queues = LocalQueues(self.root, self.ring, self.local_devices(), self.logger, self.metrics)

    def after_exchanges(self, replica: Replica, results: Sequence[bool], figures: Figures) -> None:
        """Rows of another policy than the container's go to the reconciler (14.7)."""
        if replica.info["account"] == misplaced.ACCOUNT:
            return
        broker = replica.broker
        assert isinstance(broker, ContainerBroker)
        if replica.beside == replica.info["max_row"]:
            return  # all rows were looked at
        point = enqueue(broker, self.queues, replica.info, self.terms.per_diff, replica.run)
        if point is not None and 2 * sum(results) > len(results):
            replica.run(broker.update_reconciler_sync, point)

    def end_pass(self, figures: Figures) -> None:
        """The queue's databases go to where they belong."""
        for path, device in self.queues.touched.items():
            self.work(device, figures).replicate(path)

    def read_beside(self, broker: ContainerBroker, conn: Connection) -> int:
        return broker.read_reconciler_sync(conn)

    def looked_at(self, broker: Broker, info: Mapping[str, Any]) -> None:
        if sync_store.MARK in info["metadata"]:
            assert isinstance(broker, ContainerBroker)
            sync_store.refresh(broker)

    def has_removed(self, broker: Broker, info: Mapping[str, Any]) -> None:
        assert isinstance(broker, ContainerBroker)
        if sync_store.MARK in info["metadata"]:
            sync_store.forget(broker)

    def must_stay(self, broker: Broker) -> bool:
        assert isinstance(broker, ContainerBroker)
        if broker.sharding_required():
            return True
        # rows of a container with shards go to these, by the sharder; nobody was told of them here
        return broker.sharding_initiated() and broker.has_rows()
