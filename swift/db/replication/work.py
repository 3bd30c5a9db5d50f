"""The replicas of one device in one pass of a replicator (database.md 14.3, 14.4).

Lives here: looking at several of them at a time, asking their peers about all of these at once where peers can be asked so, bringing those up
to date that lack something, and removing what does not belong here. What is said to one peer of one replica is in `exchange`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPool
from swift.engine.threads import DeviceBusy, DevicePool
from swift.telemetry.units import handed_on, unit_of_work

from ..connection import CONNECTIONS, Connection
from ..errors import DatabaseError, DatabaseMissing
from . import peer
from .exchange import Terms
from .figures import Figures
from .known import look
from .peer import Answer
from .peer_state import sync_arguments
from .replica import Replica

Node = Mapping[str, Any]

_EXPECTED = (DatabaseError, sqlite3.Error, OSError, DeviceBusy, ValueError)


class Job(NamedTuple):
    """A replica and whom to bring up to date. `answers`: of peers that were asked already, by node id."""

    path: str
    replica: Replica
    partition: int
    targets: list[Node]
    is_handoff: bool
    answers: dict[int, Answer]


class DeviceWork:
    """See the module. `daemon`: a DatabaseReplicator."""

    def __init__(self, daemon: Any, device: Node, disk: DevicePool, path: str, figures: Figures) -> None:
        self.daemon = daemon
        self.device = device
        self.disk = disk
        self.path = path
        self.figures = figures
        self.logger = daemon.logger
        self.exchange_class = daemon.exchange_class
        self.terms = Terms(**{**vars(daemon.terms), "region": device.get("region")})

    @unit_of_work
    def replicate_all(self, paths: Sequence[str], pool: GreenPool) -> None:
        """Several replicas, each in a green thread of `pool`; never raises for what disks or servers do."""
        jobs = [job for job in map(self._job_logged, paths, self._look_at_all(paths)) if job is not None]
        self._ask_about(jobs)
        for job in jobs:
            pool.spawn_n(self._work_logged, job)

    def replicate(self, path: str) -> list[bool]:
        """One replica; for each node that it was to be brought to whether that has all now. Never raises for what disks or servers do."""
        job = self._job_logged(path, self._look_at_all([path])[0])
        return [] if job is None else self._work_logged(job)

    # -- looking

    def _look_at_all(self, paths: Sequence[str]) -> list[Any]:
        """For each path what _look returns, or what it raises."""
        if not paths:
            return []
        try:
            found: list[Any] = self.disk.run_long(lambda: list(map(self._look_caught, paths)))
        except DeviceBusy as err:
            return [err] * len(paths)
        return found

    def _look_caught(self, path: str) -> Any:
        try:
            return self._look(path)
        except Exception as err:
            return err
        finally:
            CONNECTIONS.forget(os.path.dirname(path))  # it won't be needed if nothing is missing anywhere

    def _look(self, path: str) -> tuple[Replica, bool] | None:
        """(the replica, True if it is deleted for good), None if there is none. Blocks."""
        broker = self.daemon.broker(path)
        seen = look(path)
        kept = self.daemon.known.get(path, seen)
        if kept is not None:
            info, beside = kept
            return Replica(broker, self.disk, self.path, dict(info), beside), False
        if not broker.exists():
            _remove_empty(os.path.dirname(path))
            return None
        now = clock.time()
        age = self.daemon.reclaim_age
        oldest, oldest_sync = max(now - age, 0), max(now - 2 * age, 0)

        def read(conn: Connection) -> tuple[dict[str, Any], bool, Any]:
            info = broker.read_replication_info(conn)
            is_due = broker.is_reclaim_due(conn, info, str(oldest), str(oldest_sync))
            return info, is_due, self.daemon.read_beside(broker, conn)

        broker.commit_pending()
        info, is_due, beside = broker.glance(read)
        if is_due:
            broker.reclaim(oldest, oldest_sync)
            info, _, beside = broker.glance(read)
        info = broker.told(info)
        self.daemon.looked_at(broker, info)
        is_gone = info["delete_timestamp"] > info["put_timestamp"] and broker.is_reclaimable(now, age)
        if not is_gone:
            self.daemon.known.keep(path, seen, (dict(info), beside), info)
        return Replica(broker, self.disk, self.path, info, beside), is_gone

    def _job_logged(self, path: str, found: Any) -> Job | None:
        """What is to be done with a replica that was looked at; None if nothing is, or nothing more."""
        if found is None:
            return None
        self.figures.count("attempted")
        self.figures.at_device(self.device["device"], "databases")
        try:
            if isinstance(found, Exception):
                raise found
            return self._job(path, *found)
        except DatabaseMissing:
            return None  # removed meanwhile
        except _EXPECTED as err:
            self._failed(path, str(err))
        except Exception:
            self._failed(path, "")
            self.logger.exception("ERROR replicating %s", path)
        return None

    def _job(self, path: str, replica: Replica, is_reclaimable: bool) -> Job | None:
        daemon, info = self.daemon, replica.info
        if is_reclaimable:
            if daemon.may_be_reclaimed(info):
                self._remove(replica)
            self.figures.count("success")
            return None
        partition = daemon.ring.get_part(info["account"], info.get("container"))
        primaries = daemon.ring.get_part_nodes(partition)
        is_handoff = not is_among(self.device, primaries)
        if int(path.split("/")[-4]) != partition:
            self.logger.error("Found %s for %s when it should be on partition %s; will replicate out and remove.", path, _name(info), partition)  # fmt: skip
            is_handoff = True
        return Job(path, replica, partition, _targets(self.device, primaries, is_handoff), is_handoff, {})

    # -- asking

    def _ask_about(self, jobs: Sequence[Job]) -> None:
        """Ask each server that can be asked about many replicas at once about all of them."""
        by_node: dict[int, list[Job]] = {}
        nodes: dict[int, Node] = {}
        for job in jobs:
            for node in job.targets:
                by_node.setdefault(node["id"], []).append(job)
                nodes[node["id"]] = node
        pool = GreenPool(max(1, len(nodes)))
        for node_id, asked in by_node.items():
            if len(asked) > 1 and peer.can_be_asked_about_many(nodes[node_id]):
                pool.spawn_n(handed_on(self._ask_logged), nodes[node_id], asked)
        pool.waitall()

    def _ask_logged(self, node: Node, jobs: Sequence[Job]) -> None:
        """Who was not answered is asked by himself."""
        try:
            self._ask(node, jobs)
        except Exception:
            self.logger.exception("ERROR asking %s about many databases", node["device"])

    def _ask(self, node: Node, jobs: Sequence[Job]) -> None:
        questions = [
            [job.partition, job.replica.name_hash, *sync_arguments(job.replica.info, self.terms.with_policy)]
            for job in jobs
        ]
        answers = peer.ask_about_many(node, questions, self.terms.timeouts, self.terms.agent)
        for job, answer in zip(jobs, answers, strict=False):
            job.answers[node["id"]] = answer

    # -- bringing up to date

    @unit_of_work
    def _work_logged(self, job: Job) -> list[bool]:
        started = clock.time()
        results: list[bool] = []
        try:
            self._work(job, results)
        except DatabaseMissing:
            return results  # removed meanwhile
        except _EXPECTED as err:
            self._failed(job.path, str(err))
        except Exception:
            self._failed(job.path, "")
            self.logger.exception("ERROR replicating %s", job.path)
        finally:
            if job.replica.was_used:
                self.disk.leave(CONNECTIONS.forget, os.path.dirname(job.path))
        self.daemon.metrics.timing_since("timing", started)
        return results

    def _failed(self, path: str, why: str) -> None:
        self.figures.count("failure")
        self.figures.failed_at(self.device)
        self.figures.at_device(self.device["device"], "failures")
        if why:
            self.logger.error("ERROR reading db %s: %s", path, why)

    def _work(self, job: Job, results: list[bool]) -> None:
        results += self._replicate(job)
        if not all(results):
            self.figures.at_device(self.device["device"], "failures")
        self.daemon.after_exchanges(job.replica, results, self.figures)
        if job.is_handoff and not self._clean_up(job.replica, results):
            self.figures.at_device(self.device["device"], "handoffs")

    def _replicate(self, job: Job) -> list[bool]:
        """Whether each of the targets has all now; one whose device is missing gets a handoff as its substitute."""
        daemon, replica, results = self.daemon, job.replica, []
        handoffs: Iterable[Node] | None = None
        targets = list(job.targets)
        for node in targets:
            exchange = self.exchange_class(
                replica, node, job.partition, self.terms, self.figures, self.logger
            )
            # who was told of what we knew before another told us more is told again
            success = exchange.run(None if replica.has_learned else job.answers.get(node["id"]))
            if exchange.is_unmounted:
                if handoffs is None:
                    handoffs = iter(daemon.ring.get_more_nodes(job.partition))
                substitute = next((n for n in handoffs if n["id"] != self.device["id"]), None)
                if substitute is not None:
                    targets.append(substitute)
            self.figures.count("success" if success else "failure")
            if not success:
                self.figures.failed_at(node)
            results.append(success)
        return results

    # -- what does not stay

    def _clean_up(self, replica: Replica, results: list[bool]) -> bool:
        """Remove a replica that does not belong here, once it is where it belongs (14.4); returns True if it is gone."""
        wanted = self.daemon.handoff_delete
        enough = sum(results) >= wanted if wanted else bool(results) and all(results)
        if not enough:
            self.logger.debug("Not deleting db %s: %s", replica.broker.path, results)
            return False
        return not replica.run(self.daemon.must_stay, replica.broker) and self._remove(replica)

    def _remove(self, replica: Replica) -> bool:
        """Remove a replica unless it has changed since it was looked at; returns True if it is gone."""
        gone: bool = replica.run(replica.broker.remove, replica.is_untouched)
        if gone:
            self.figures.removed(self.device["device"])
            replica.run(self.daemon.has_removed, replica.broker, replica.info)
        return gone


def _targets(device: Node, primaries: Sequence[Node], is_handoff: bool) -> list[Node]:
    """Primaries behind the device's own place first, then those before it."""
    if is_handoff:
        return list(primaries)
    own = next(index for index, node in enumerate(primaries) if node["id"] == device["id"])
    return [*primaries[own + 1 :], *primaries[:own]]


def is_among(device: Node, nodes: Sequence[Node]) -> bool:
    """Returns True if a device is one of these."""
    return any(node["id"] == device["id"] for node in nodes)


def _name(info: Mapping[str, Any]) -> str:
    return f"{info['account']}/{info['container']}" if "container" in info else str(info["account"])


def _remove_empty(directory: str) -> None:
    """Remove a hash directory, and its parents, as far as they are empty. Blocks."""
    for level in (directory, os.path.dirname(directory), os.path.dirname(os.path.dirname(directory))):
        try:
            os.rmdir(level)
        except OSError:
            return
