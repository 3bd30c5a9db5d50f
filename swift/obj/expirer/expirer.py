"""The daemon: passes over the queue, whose rows are whose, and what becomes of each (object-disk 21.2).

The queue as servers hold it is in `queue`, its forms in `tasks`, the check before a deletion in `versions`. Requests for objects go through a
pipeline of the daemon's own. Every step may be made twice: whatever was half done is done in the next pass, by whoever comes first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout, sleep
from swift.core.policy import policies
from swift.core.swift_dir import use as use_swift_dir
from swift.obj.expirer.figures import Figures
from swift.obj.expirer.nodes import Nodes
from swift.obj.expirer.options import ExpirerOptions
from swift.obj.expirer.queue import TaskQueue, open_ring
from swift.obj.expirer.tasks import Row, Task, end_of, in_turn, parse_row, parse_task, period_of, share_of
from swift.obj.expirer.versions import NewestVersions, Unknown
from swift.run.daemon import Daemon
from swift.run.rate import RateLimiter
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.units import unit_of_work
from swift.wire.internal import InternalClient, UnexpectedResponse

LOOK_AGAIN_SECONDS = 3600.0  # that late rows may stand unseen among those that are delayed


class _Delayed(NamedTuple):
    """The rows at the beginning of a container, all of which are delayed."""

    marker: str  # the last of them
    rows: int
    ready_at: float  # when the first of them may be deleted
    look_at: float  # when they are looked at again


class _Later(Exception):
    """The task stays in the queue; the reason is its text."""


class ObjectExpirer(Daemon):
    """The daemon. `conf`: section object-expirer; object-disk 23.6. Raises ValueError, ConfigError."""

    def __init__(
        self, conf: Mapping[str, Any], logger: Any = None, client: Any = None, ring: Any = None
    ) -> None:
        super().__init__(conf, logger or get_logger(conf, "object-expirer"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.options = ExpirerOptions(conf)
        log_name = conf.get("log_name") or "object-expirer"
        self.metrics = get_metrics(conf, log_name, self.logger)
        self._delayed: dict[str, _Delayed] = {}
        self._swift_dir = swift_dir
        self._rings: dict[str, Any] = {}
        if not self.options.is_wanted:
            self.logger.warning("dequeue_from_legacy is not set in [object-expirer]: nothing is expired here")
            return
        self.client = client or InternalClient(
            self.options.client_conf,
            "Swift Object Expirer",
            self.options.request_tries,
            use_replication_network=True,
            global_conf={"log_name": f"{log_name}-ic"},
        )
        nodes = Nodes(self.options.conn_timeout, self.options.node_timeout)
        self.queue = TaskQueue(self.client, ring or self._ring("container"), nodes, self.options.account)
        self.versions = NewestVersions(self.client, self._object_ring, nodes)

    def _object_ring(self, policy_index: int) -> Any:
        policy = policies().get_by_index(policy_index)
        assert policy is not None
        return self._ring(policy.ring_name)

    def _ring(self, name: str) -> Any:
        if name not in self._rings:
            self._rings[name] = open_ring(self._swift_dir, name, self.logger)
        return self._rings[name]

    # ------------------------------------------------------------ passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, one in `interval` seconds or less, the first at a random moment of the first interval."""
        interval = self.options.interval
        sleep(clock.random() * interval)
        while True:
            started = clock.monotonic()
            self._pass(2 * interval, **options)
            left = interval - (clock.monotonic() - started)
            if left > 0:
                sleep(clock.random() * left)

    def run_once(self, **options: Any) -> None:
        """One pass over all of the queue that is this process's."""
        self._pass(0.0, **options)

    def _pass(self, patience: float, processes: Any = None, process: Any = None, **_: Any) -> None:
        """`patience`: seconds that rows are left to the process that has their container."""
        if processes is not None or process is not None:
            self.options.divide(
                self.options.processes if processes is None else processes,
                self.options.process if process is None else process,
            )
        if not self.options.is_wanted:
            return
        try:
            _Pass(self, patience).run()
        except UnexpectedResponse as err:
            self.logger.error("The queue in %s can't be read: %s", self.options.account, err)
        except (Exception, Timeout):
            self.logger.exception("Unhandled exception")


class _Pass:
    """One pass."""

    def __init__(self, daemon: ObjectExpirer, patience: float) -> None:
        self.daemon = daemon
        self.options = daemon.options
        self.logger = daemon.logger
        self.metrics = daemon.metrics
        self.queue = daemon.queue
        self.patience = patience
        self.now = clock.time()
        self.delayed: dict[str, _Delayed] = {}
        self.emptied: dict[
            str, bool
        ] = {}  # containers that were gone through; True as long as all of it went
        self.figures = Figures(0, 0)
        self._report_at = clock.monotonic() + self.options.report_interval

    def run(self) -> None:
        """Do all that is due; returns when it is done."""
        options = self.options
        self.figures = Figures(*self.queue.totals())
        self.logger.info(
            "Pass beginning for task account %s; %s possible containers; %s possible objects",
            options.account,
            self.figures.containers,
            self.figures.rows,
        )
        pool = GreenPool(options.concurrency)
        rate = RateLimiter(options.tasks_per_second)
        for row in in_turn(self._rows(), _target, options.cache_size):
            rate.wait()
            pool.spawn_n(self._work_on, row)
            self._report(is_final=False)
        pool.waitall()
        for container, is_empty in self.emptied.items():
            if is_empty:
                self._remove(container)
        self.daemon._delayed = self.delayed
        self._report(is_final=True)

    def _report(self, is_final: bool) -> None:
        if not is_final and clock.monotonic() < self._report_at:
            return
        self._report_at = clock.monotonic() + self.options.report_interval
        figures = self.figures
        text = (
            "Pass completed in %ds; %d objects expired" if is_final else "Pass so far %ds; %d objects expired"
        )
        self.logger.info(text, figures.seconds, figures.deleted)
        recon_cache.dump(figures.recon(is_final), self.options.recon_file, self.logger)

    # ------------------------------------------------------------ what there is to do

    def _rows(self) -> Iterator[Row]:
        """Rows that are due and this process's to do: first those of containers that are its own.

        Each container is all one process's, by its name, so that nobody lists what others do. And each row is one process's, by its own name, as
        the reference divides them: whichever process is missing or of the other kind, what it leaves undone is found there.
        """
        own: list[str] = []
        others: list[str] = []
        for name in self._containers():
            is_own = share_of(name, self.options.processes) == self.options.process
            (own if is_own else others).append(name)
        for name in own:
            yield from self._rows_of(name, self.now, True)
        for name in others:
            yield from self._rows_of(name, self.now - self.patience, False)

    def _containers(self) -> list[str]:
        """Names of those that may hold what is due."""
        due = []
        for listed in self.queue.containers():
            name = listed["name"]
            try:
                is_expected = period_of(name, self.options.divisor)[1]
            except ValueError as err:
                self.logger.error("%s/%s: %s", self.options.account, name, err)
                continue
            self.figures.queued(listed, self.options.divisor)
            if int(name) > self.now:
                continue
            if not is_expected:
                self.logger.debug("%s/%s is not where object expiry is queued", self.options.account, name)
            due.append(name)
        return due

    def _rows_of(self, container: str, until: float, is_own: bool) -> Iterator[Row]:
        """Those of a container that were due then. What is delayed at its beginning is remembered, so that the next pass begins behind it."""
        known = self.daemon._delayed.get(container)
        if known is not None and self.now >= min(known.ready_at, known.look_at):
            known = None
        last = known or _Delayed("", 0, math.inf, self.now + LOOK_AGAIN_SECONDS)
        self.figures.delayed += last.rows
        in_front, is_empty = True, known is None
        try:
            for listed in self.queue.rows(container, end_of(until), last.marker):
                is_empty = False
                found = self._look(container, listed, until)
                if isinstance(found, float):
                    self.figures.delayed += 1
                    if in_front:
                        last = last._replace(
                            marker=listed["name"], rows=last.rows + 1, ready_at=min(last.ready_at, found)
                        )
                    continue
                in_front = False
                if found is None or not (is_own or self._is_ours(found)):
                    self.emptied[container] = False
                    continue
                self.emptied.setdefault(container, True)
                self.metrics.increment("tasks.assigned")
                self.figures.found(found.size)
                yield found
        except (Exception, Timeout) as err:
            self.metrics.increment("errors")
            self.logger.error("%s/%s can't be listed to its end: %r", self.options.account, container, err)
            return
        if last.rows:
            self.delayed[container] = last
            self.emptied[container] = False
        elif is_empty and is_own:
            self._remove(container)

    def _look(self, container: str, listed: Mapping[str, Any], until: float) -> Row | float | None:
        """A row to work on; when it will be one, if it is delayed; None for what is none."""
        try:
            row = parse_row(container, listed)
            task = parse_task(row)
        except ValueError as err:
            self.metrics.increment("tasks.parse_errors")
            self.logger.error("%s/%s: %s", self.options.account, container, err)
            return None
        due = float(task.due)
        if due > until:
            return None
        ready_at = due + self.options.delays.of(task)
        if ready_at > self.now:
            self.metrics.increment("tasks.delayed")
            return ready_at
        return row

    def _is_ours(self, row: Row) -> bool:
        if share_of(f"{row.container}/{row.name}", self.options.processes) == self.options.process:
            return True
        self.metrics.increment("tasks.skipped")
        return False

    def _remove(self, container: str) -> None:
        try:
            self.queue.remove_if_empty(container)
        except (Exception, Timeout) as err:
            self.logger.error("%s/%s could not be removed: %s", self.options.account, container, err)

    # ------------------------------------------------------------ one row

    @unit_of_work
    def _work_on(self, row: Row) -> None:
        started = clock.time()
        task = parse_task(row)
        try:
            deleted = self._delete_queued(task) if task.is_async else self._delete_expired(task)
            for error in self.queue.take_away(row.container, row.name):
                self.logger.error("%s could not be taken from the queue: %s", task.path, error)
        except (_Later, Unknown) as err:
            self._leave(row, task)
            self.logger.debug("%s stays in the queue: %s", task.path, err)
        except UnexpectedResponse as err:
            self._leave(row, task)
            self.logger.error("Unexpected response while deleting object %s: %s", task.path, err)
        except (Exception, Timeout):
            self._leave(row, task)
            self.logger.exception("Exception while deleting object %s", task.path)
        else:
            self.figures.done(row.size)
            if deleted:
                self.figures.deleted += 1
                self.metrics.increment("objects")
        self.metrics.timing_since("timing", started)

    def _leave(self, row: Row, task: Task) -> None:
        self.emptied[row.container] = False
        self.metrics.increment("errors")
        self.figures.left(float(task.due))

    def _delete_queued(self, task: Task) -> bool:
        """Delete what is not newer than the task. Raises what the client raises."""
        headers = {"X-Timestamp": task.due.normal}
        self._delete(task, headers, (2, 404, 409))
        return True

    def _delete_expired(self, task: Task) -> bool:
        """Delete the object if it is this task's; returns True unless a newer one is there. Raises _Later, Unknown, what the client raises."""
        newest = self.daemon.versions.of(task.account, task.container, task.obj, float(task.due))
        if newest is not None and not newest.is_deleted:
            if newest.timestamp >= task.due:
                return False
            if newest.delete_at != int(task.due):
                return self._give_up(task, "its time is another one")
        due = task.due.normal
        headers = {
            "X-Timestamp": due,
            "X-If-Delete-At": due,
            "X-Backend-Clean-Expiring-Object-Queue": "no",
        }
        status = self._delete(task, headers, (2, 404, 409, 412))
        if status in (404, 412):
            return self._give_up(task, f"its servers say {status}")
        return status != 409

    def _give_up(self, task: Task, reason: str) -> bool:
        """Returns False once there is no hope any more that the object which the task is about appears. Raises _Later."""
        if float(task.due) > self.now - self.options.reclaim_age:
            raise _Later(reason)
        return False

    def _delete(self, task: Task, headers: Mapping[str, str], acceptable: tuple[int, ...]) -> int:
        response = self.daemon.client.delete_object(
            task.account, task.container, task.obj, headers, acceptable
        )
        status: int = response.status_int
        return status


def _target(row: Row) -> str:
    """Whose turn a row belongs to: the objects' account and container."""
    return "/".join(row.name.partition("-")[2].split("/", 2)[:2])
