"""The container-reconciler: objects that were written in another storage policy than the one that won are moved there (database.md 18).

Lives here: the passes over the queue, and what is done with an entry. Requests for objects go through a pipeline of the daemon's own.
A step is made only when the one before it has succeeded, and each may be made twice: what was half done is done in the next pass.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout, sleep
from swift.core.config import non_negative_float, non_negative_int, positive_float, positive_int
from swift.core.errors import ConfigError
from swift.core.hashing import hash_path
from swift.core.object_lock import WORD, Word
from swift.core.policy import policies
from swift.core.swift_dir import use as use_swift_dir
from swift.core.timestamp import Timestamp
from swift.engine.fault_points import fault_point
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.daemon import Daemon
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.units import unit_of_work
from swift.wire.body_input import BodyInput
from swift.wire.direct import DirectError
from swift.wire.internal import InternalClient, UnexpectedResponse

from . import misplaced
from .misplaced import Misplaced, parse_entry
from .reconciler_queue import ContainerPolicies, take_entry_away

TOMBSTONE, POP, COPY = 1, 2, 3
"""What is added to the offset of a timestamp: of the tombstone in the old policy, of the removal from the queue, of the moved object."""

# of an answer alone, not of the object in it
_NOT_STORED = frozenset(
    (
        "accept-ranges",
        "connection",
        "date",
        "keep-alive",
        "last-modified",
        "server",
        "transfer-encoding",
        "x-openstack-request-id",
        "x-timestamp",
        "x-trans-id",
        "vary",
    )
)


class _Later(Exception):
    """The entry stays in the queue; the reason is its text, as in the statistics."""


class ContainerReconciler(Daemon):
    """The daemon. `conf`: section container-reconciler of a file that has the pipeline, too; database.md 23.4.

    Raises ValueError, ConfigError.
    """

    def __init__(
        self, conf: Mapping[str, Any], logger: Any = None, client: Any = None, ring: Any = None
    ) -> None:
        super().__init__(conf, logger or get_logger(conf, "container-reconciler"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.reclaim_age = non_negative_float(conf.get("reclaim_age", 604800))
        self.interval = positive_float(conf.get("interval", 30))
        self.concurrency = positive_int(conf.get("concurrency", 1))
        self.processes = non_negative_int(conf.get("processes", 0))
        self.process = non_negative_int(conf.get("process", 0))
        if self.processes and self.process >= self.processes:
            raise ConfigError(f"process must be less than processes ({self.processes}), not {self.process}")
        self.client = client or InternalClient(
            conf["__file__"],
            "Swift Container Reconciler",
            positive_int(conf.get("request_tries", 3)),
            use_replication_network=True,
        )
        self.ring = ring or _ring(swift_dir, "container", conf, self.logger)
        self.object_rings = {
            int(policy): _ring(swift_dir, policy.ring_name, conf, self.logger) for policy in policies()
        }
        self.policies = ContainerPolicies(self.ring)
        self.metrics = get_metrics(conf, conf.get("log_name") or "container-reconciler", self.logger)
        self.stats: Counter[str] = Counter()
        self.recon_file = os.path.join(
            conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH, recon_cache.CONTAINER
        )

    # -- passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, each `interval` seconds after the end of the last one."""
        while True:
            self.run_once()
            self.stats.clear()
            sleep(self.interval)

    def run_once(self, **options: Any) -> None:
        """One pass over the queue."""
        self.logger.debug("pulling items from the queue")
        started = clock.time()
        try:
            self.reconcile()
            ended = clock.time()
            told = {"container_reconciler_last": ended, "container_reconciler_pass": ended - started}
            recon_cache.dump(told, self.recon_file, self.logger)
        except UnexpectedResponse as err:  # of the queue, whose servers are away
            self.logger.error("The queue can't be read: %s", err)
        except (Exception, Timeout):
            self.logger.exception("Unhandled Exception trying to reconcile")
        self._log_stats()

    def _log_stats(self) -> None:
        self.logger.info("Reconciler Stats: %r", dict(self.stats))

    def count(self, what: str, text: str, *args: Any) -> None:
        """One more of what the statistics call so."""
        self.stats[what] += 1
        self.metrics.increment(what)
        self.logger.debug(f"{what}: {text}", *args)

    def reconcile(self) -> None:
        """Work on all entries of all containers, the current hour's first, then the newest."""
        pool = GreenPool(self.concurrency)
        for container in self._containers():
            self.logger.debug("checking container %s", container)
            for listed in self.client.iter_objects(misplaced.ACCOUNT, container):
                try:
                    entry = parse_entry(listed)
                except ValueError as err:
                    self.count("invalid_record", "%s", err)
                    continue
                if self._is_ours(entry):
                    pool.spawn_n(self._process_logged, container, listed["name"], entry)
            pool.waitall()
            self._remove_if_old(container)

    def _containers(self) -> Iterable[str]:
        current = str(int(clock.time()) // misplaced.SECONDS * misplaced.SECONDS)
        yield current
        listed = [item["name"] for item in self.client.iter_containers(misplaced.ACCOUNT)]
        for name in reversed(listed):
            if name != current:
                yield name

    def _is_ours(self, entry: Misplaced) -> bool:
        if not self.processes:
            return True
        number = int(hash_path(entry.account, entry.container, entry.obj), 16)
        return number % self.processes == self.process

    def _remove_if_old(self, container: str) -> None:
        if not container.isdecimal() or float(container) >= clock.time() - self.reclaim_age:
            return
        self.client.delete_container(misplaced.ACCOUNT, container, acceptable_statuses=(2, 404, 409, 412))

    # -- one entry

    @unit_of_work
    def _process_logged(self, container: str, name: str, entry: Misplaced) -> None:
        self.count("misplaced_object", "%r (%s) in policy_index %s", entry.path, entry.timestamp.internal, entry.policy_index)  # fmt: skip
        try:
            try:
                self._process(entry)
            except _Later as err:
                self.count("retry", "%r: %s", entry.path, err)
                self.stats[str(err)] += 1
                return
            self.count("success", "%r (%s) in policy_index %s was handled successfully", entry.path, entry.timestamp.internal, entry.policy_index)  # fmt: skip
            fault_point("reconciler:handled")
            self._pop(container, name, entry)
        except (Exception, Timeout):
            self.count("unhandled_error", "%r", entry.path)
            self.logger.exception("Unhandled Exception trying to reconcile %r", entry.path)

    def _pop(self, container: str, name: str, entry: Misplaced) -> None:
        when = Timestamp(max(entry.recorded, entry.timestamp), offset=POP)
        for error in take_entry_away(self.ring, container, name, when):
            self.count("pop_queue", "%r could not be taken from %s: %s", entry.path, container, error)

    def _process(self, entry: Misplaced) -> None:
        """Bring an object to where it belongs. Raises _Later."""
        try:
            target = self.policies.get(entry.account, entry.container)
        except (DirectError, ValueError):
            target = None
        if target is None:
            raise _Later("unavailable_container")
        if target == entry.policy_index:
            self.count("noop_object", "%r is in its container's policy", entry.path)
            return
        for index in (entry.policy_index, target):
            ring = self.object_rings.get(index)
            if ring is None:
                raise _Later("unknown_policy")
            if ring.next_part_power is not None:
                raise _Later("part_power_increase")
        there = self._timestamp_in(entry, target)
        if there >= entry.timestamp:
            self.count(
                "found_object", "%r (%s) is newer in policy_index %s", entry.path, there.internal, target
            )
            self._throw_away(entry, entry.timestamp)
            return
        self._move(entry, target)

    def _timestamp_in(self, entry: Misplaced, policy_index: int) -> Timestamp:
        """Of the object, or of its tombstone, in a policy; zero if there is nothing. Raises _Later."""
        try:
            headers = self._headers_of("HEAD", entry, policy_index)[1]
        except (Exception, Timeout):
            raise _Later("unavailable_destination") from None
        return Timestamp(headers.get("X-Backend-Timestamp") or 0)

    def _headers_of(self, method: str, entry: Misplaced, policy_index: int) -> tuple[int, Mapping[str, Any]]:
        response = self.client.make_request(
            method,
            self.client.make_path(entry.account, entry.container, entry.obj),
            {"X-Backend-Storage-Policy-Index": str(policy_index), "X-Newest": "true"},
            (2, 4),
        )
        for _ in response.app_iter:
            pass
        return response.status_int, response.headers

    def _move(self, entry: Misplaced, target: int) -> None:
        """Copy the object into its container's policy, or its deletion. Raises _Later."""
        headers = {"X-Backend-Storage-Policy-Index": str(entry.policy_index), "X-Newest": "true"}
        try:
            status, found, body = self.client.get_object(
                entry.account, entry.container, entry.obj, headers, (2, 4)
            )
        except (Exception, Timeout):
            raise _Later("unavailable_source") from None
        source = BodyInput(body)
        try:
            when = Timestamp(found.get("X-Backend-Timestamp") or found.get("X-Timestamp") or 0)
            if status == 404 and entry.operation == "DELETE":
                self._delete(
                    entry, target, Timestamp(entry.timestamp, offset=COPY), "unavailable_destination"
                )
                self.count("tombstone", "%r was deleted in policy_index %s", entry.path, target)
                self._throw_away(entry, entry.timestamp)
                return
            if status // 100 != 2 or when < entry.timestamp:
                if float(entry.recorded) < clock.time() - self.reclaim_age:
                    self.stats["lost_source"] += 1
                    self.logger.critical(
                        "Giving up on %r (%s) which is not in policy_index %s",
                        entry.path,
                        entry.timestamp.internal,
                        entry.policy_index,
                    )
                    return
                raise _Later("unavailable_source")
            newest = max(when, entry.timestamp)
            self._copy(entry, target, found, source, Timestamp(newest, offset=COPY))
        finally:
            source.close()
        fault_point("reconciler:copied")
        self.count("copy_success", "%r was moved to policy_index %s", entry.path, target)
        self._throw_away(entry, newest)

    def _copy(
        self, entry: Misplaced, target: int, found: Mapping[str, Any], source: BodyInput, when: Timestamp
    ) -> None:
        given = {name: value for name, value in found.items() if _is_stored(name)}
        given["X-Timestamp"] = when.internal
        given["X-Backend-Storage-Policy-Index"] = str(target)
        given["Content-Type"] = _with_size_of_segments(found)
        try:
            self.client.upload_object(source, entry.account, entry.container, entry.obj, given)
        except (Exception, Timeout) as err:
            self.logger.warning("%r could not be copied to policy_index %s: %s", entry.path, target, err)
            raise _Later("copy_failed") from None

    def _throw_away(self, entry: Misplaced, timestamp: Timestamp) -> None:
        """Delete the copy in the wrong policy that is from `timestamp`, or older. Raises _Later."""
        when = Timestamp(timestamp, offset=TOMBSTONE)
        word = Word(
            timestamp.internal, is_kept=True
        )  # if it is locked, what it was copied to is locked as well
        self._delete(entry, entry.policy_index, when, "cleanup_failed", word)

    def _delete(
        self, entry: Misplaced, policy_index: int, when: Timestamp, failure: str, word: Word | None = None
    ) -> None:
        headers = {
            "X-Timestamp": when.internal,
            "X-Backend-Storage-Policy-Index": str(policy_index),
        }
        if word is not None:
            headers[WORD] = word.text()
        try:
            self.client.delete_object(entry.account, entry.container, entry.obj, headers, (2, 404))
        except (Exception, Timeout):
            raise _Later(failure) from None


def _is_stored(name: str) -> bool:
    lower = name.lower()
    return lower not in _NOT_STORED and not lower.startswith("x-backend-")


def _with_size_of_segments(found: Mapping[str, Any]) -> str:
    """The content type of the object, with what listings know of a large object from its manifest."""
    content_type = str(found.get("Content-Type") or "application/octet-stream")
    size = found.get("X-Object-Sysmeta-Slo-Size")
    if size and "swift_bytes=" not in content_type:
        return f"{content_type};swift_bytes={size}"
    return content_type


def _ring(swift_dir: str, name: str, conf: Mapping[str, Any], logger: Any) -> Ring:
    try:
        return Ring(
            swift_dir, name, reload_time=positive_float(conf.get("ring_check_interval", 15)), logger=logger
        )
    except (OSError, RingError) as err:
        raise ConfigError(f"The {name} ring in {swift_dir} can't be opened: {err}") from None
