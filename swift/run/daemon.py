"""The life of a background daemon: from its configuration section to its passes, in one process or several.

What a pass does is each daemon's own business. Servers are `swift.run.process`'s.

Spec: operations.md section 5.
"""

from __future__ import annotations

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from optparse import OptionParser
from typing import Any, NoReturn

from swift.core import backend_security, clock, hashing, swift_dir
from swift.core.concurrency import fork, spawn_after
from swift.core.config import csv_list, one_line, read_conf, truthy
from swift.core.errors import ConfigError, SwiftError
from swift.engine.arenas import share_arenas
from swift.engine.threads import run_in_thread
from swift.run import command_line, notify, seamless
from swift.run.known_options import unknown_options
from swift.run.option_values import blamed, odd_switches, refuse_impossible
from swift.run.privileges import become, detach, end_with_parent, set_priorities, use_utc, wanted_user
from swift.telemetry import line_writer, self_watch, shared_tables
from swift.telemetry.log import capture_stdio, get_logger
from swift.telemetry.metric_table import TABLE

HEALTH_CHECK_SECONDS = 5.0
# Daemons whose work may take all of a processor for hours, and that nobody waits for unless he has asked for one pass.
YIELDING = frozenset(
    f"{kind}-{what}" for kind in ("account", "container", "object") for what in ("replicator", "auditor")
) | {"object-reconstructor", "container-sharder"}
END_SECONDS = 10.0  # for workers that were told to
_RELOADING = (signal.SIGHUP, signal.SIGUSR1)
_SIGNALS = frozenset((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, *_RELOADING))


class Daemon(ABC):
    """Base of all daemons. `conf`: its section (`swift.core.config.read_conf`)."""

    def __init__(self, conf: Mapping[str, Any], logger: Any = None) -> None:
        self.conf = conf
        self.logger = logger or get_logger(conf, log_route="daemon")

    @abstractmethod
    def run_once(self, **options: Any) -> None:
        """One pass over everything this process is responsible for; returns when all of it is done."""

    @abstractmethod
    def run_forever(self, **options: Any) -> None:
        """Passes without end."""

    def run(self, once: bool = False, **options: Any) -> None:
        if once:
            self.run_once(**options)
        else:
            self.run_forever(**options)

    def get_worker_args(self, once: bool = False, **options: Any) -> Sequence[Mapping[str, Any]]:
        """The options of each worker to be forked; none of them: the daemon runs in this process."""
        return ()

    def is_healthy(self) -> bool:
        """Asked every few seconds while workers run; False has them ended and planned anew."""
        return True

    def post_multiprocess_run(self) -> None:  # noqa: B027  most have nothing to do
        """Called in the parent after a `once` run with workers."""


@dataclass(frozen=True)
class Overrides:
    """What a `once` run is restricted to; empty lists restrict nothing."""

    devices: list[str] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    policies: list[int] = field(default_factory=list)


def parse_overrides(once: bool = False, **options: Any) -> Overrides:
    """`devices`, `partitions` and `policies` as comma-separated text. Outside of `once` they count for nothing.

    Raises ConfigError for partitions or policies that aren't numbers.
    """
    if not once:
        return Overrides()
    try:
        return Overrides(
            csv_list(options.get("devices")),
            [int(word) for word in csv_list(options.get("partitions"))],
            [int(word) for word in csv_list(options.get("policies"))],
        )
    except ValueError as err:
        raise ConfigError(f"Partitions and policies must be numbers: {err}") from None


def distribute(items: Sequence[Any], workers: int) -> list[list[Any]]:
    """The items dealt round-robin over at most `workers` hands, none of them empty."""
    hands = min(workers, len(items))
    return [list(items[number::hands]) for number in range(hands)]


# -- processes


class _Runner:
    """Runs one daemon until it ends or is told to."""

    def __init__(
        self, daemon: Daemon, logger: Any, once: bool, options: Mapping[str, Any], command: seamless.Command
    ) -> None:
        self.command = command
        self.daemon = daemon
        self.logger = logger
        self.once = once
        self.options = dict(options)
        self.workers: dict[int, Mapping[str, Any]] = {}

    def run(self) -> None:
        plan = list(self.daemon.get_worker_args(once=self.once, **self.options))
        if not plan:
            signal.signal(signal.SIGTERM, self._on_term)
            self._listen_for_reload()
            notify.notify(notify.READY, self.logger)
            self_watch.watch(TABLE.process)
            self.daemon.run(once=self.once, **self.options)
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        notify.notify(notify.READY, self.logger)
        try:
            self._run_workers(plan)
        finally:
            self._end_workers()
        if self.once:
            self.logger.notice("Finished %s", os.getpid())
            self.daemon.post_multiprocess_run()

    def _run_workers(self, plan: Sequence[Mapping[str, Any]]) -> None:
        for options in plan:
            self._start(options)
        check_at = clock.monotonic() + HEALTH_CHECK_SECONDS
        while self.workers:
            received = signal.sigtimedwait(_SIGNALS, max(check_at - clock.monotonic(), 0))
            if received and received.si_signo == signal.SIGTERM:
                self._on_term(signal.SIGTERM, None)
            if received and received.si_signo == signal.SIGINT:
                raise KeyboardInterrupt
            if received and received.si_signo in _RELOADING and not self.once:
                self._become_new(self._fault())
            self._reap()
            if clock.monotonic() < check_at:
                continue
            check_at = clock.monotonic() + HEALTH_CHECK_SECONDS
            if not self.daemon.is_healthy():
                self._end_workers()
                for options in self.daemon.get_worker_args(once=self.once, **self.options):
                    self._start(options)

    def _start(self, options: Mapping[str, Any]) -> None:
        parent = os.getpid()
        pid = fork()
        if pid == 0:
            end_with_parent(signal.SIGTERM, parent)
            self._become_worker(options)
        self.workers[pid] = options
        self.logger.debug("Spawned worker %s with %r", pid, options)

    def _become_worker(self, options: Mapping[str, Any]) -> NoReturn:
        code = 1
        try:
            for number in (signal.SIGTERM, *_RELOADING):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.environ.pop("NOTIFY_SOCKET", None)
            TABLE.forget()
            self_watch.watch(TABLE.process)
            self.daemon.run(once=self.once, **options)
            self.logger.debug("Forked worker %s finished", os.getpid())
            code = 0
        except KeyboardInterrupt:
            self.logger.notice("User quit")
        except BaseException:
            self.logger.critical("UNCAUGHT EXCEPTION", exc_info=True)
        finally:
            TABLE.write()
            line_writer.flush_all()
            os._exit(code)

    def _reap(self) -> None:
        while self.workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.workers.clear()
                return
            if pid == 0:
                return
            shared_tables.retire(pid)
            options = self.workers.pop(pid, None)
            if options is None:
                continue
            if self.once:
                if status:
                    self.logger.error("Worker %s failed (status %s)", pid, status)
            else:
                self.logger.debug("Worker %s exited", pid)
                self._start(options)

    def _end_workers(self) -> None:
        """Within END_SECONDS: one that hangs in its disk is left there, to end when it comes back, so that the others' disks need not wait."""
        for pid in self.workers:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        give_up = clock.monotonic() + END_SECONDS
        while self.workers and clock.monotonic() < give_up:
            for pid in [pid for pid in self.workers if _has_ended(pid)]:
                shared_tables.retire(pid)
                del self.workers[pid]
            if self.workers:
                signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        for pid in self.workers:
            self.logger.error("Worker %s does not end: going on without it", pid)
            os.kill(pid, signal.SIGKILL)
        self.workers.clear()

    def _listen_for_reload(self) -> None:
        if not self.once:
            for number in _RELOADING:
                signal.signal(number, self._on_reload)

    def _on_reload(self, number: int, frame: Any) -> None:
        # from the hub, not from amid whatever the signal has interrupted
        spawn_after(0, lambda: self._become_new(run_in_thread(self._fault)))

    def _fault(self) -> str | None:
        """What is wrong with the configuration as it is now, or None."""
        self.logger.notice("Reloading (%s)", os.getpid())
        notify.notify(notify.RELOADING, self.logger)
        return self.command.check()

    def _become_new(self, fault: str | None) -> None:
        """Start a new image of this daemon in this process. Returns only if that can't be, with all as it was, workers apart.

        Whatever is under way may break off at any moment, and is done by a later pass: there is no half of anything to lose.
        """
        if fault is not None:
            self.logger.error("Not reloading, the configuration is not valid: %s", fault)
            notify.notify(notify.READY, self.logger)
            return
        plan = list(self.workers.values())
        self._end_workers()
        TABLE.write()
        line_writer.flush_all()
        try:
            self.command.execute()
        except OSError as err:
            self.logger.error("Could not re-execute %s: %s", self.command.path, err)
        if not plan:
            self._listen_for_reload()
        for options in plan:
            self._start(options)

    def _on_term(self, number: int, frame: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.logger.notice("SIGTERM received (%s)", os.getpid())
        notify.notify(notify.STOPPING, self.logger)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGTERM)
        for pid in self.workers:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.logger.notice("Exited %s", os.getpid())
        TABLE.write()
        line_writer.flush_all()
        os._exit(0)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def run_daemon(
    make_daemon: Callable[[Mapping[str, Any]], Daemon],
    path: str,
    section: str,
    once: bool = False,
    verbose: bool = False,
    test_config: bool = False,
    **options: Any,
) -> int:
    """Runs the daemon of a configuration section in this process; returns the exit status.

    `test_config`: only see whether it could. HUP and USR1 start it anew, in the same process, with the configuration as it is then.
    `options` go to `run_once`, `run_forever` and `get_worker_args`. To be called after `swift.core.concurrency.patch`.
    """
    share_arenas()
    command = seamless.Command()
    try:
        conf = read_conf(path, section)
        refuse_impossible(path, section)
        if conf.get("swift_dir"):
            swift_dir.use(conf["swift_dir"])
        once = once or not truthy(conf.get("daemonize", "true"))
        logger = get_logger(conf, section, log_to_console=verbose, log_route=section)
        set_priorities(conf, logger, section in YIELDING and not once)
        account = wanted_user(conf, logger)
        use_utc()
        if not test_config:
            logger.notice("Starting %s", os.getpid())
        for entry in (*unknown_options(path, section), *odd_switches(path, section)):
            logger.warning("%s: %s", path, entry)
        daemon = make_daemon({**conf, "log_to_console": str(verbose), shared_tables.COMPONENT: section})
        hashing.hash_config()
        backend_security.current()
        if test_config:
            return 0
        become(account)
        shared_tables.NODE_TABLES.leave(conf, section)
    except SwiftError as err:
        print(err, file=sys.stderr)
        return 1
    except ValueError as err:
        print(
            f"Error trying to load config from {path}: {one_line(err)}{blamed(path, err, section)}",
            file=sys.stderr,
        )
        return 1
    detach()
    capture_stdio(logger)
    line_writer.write_beside_the_loop()
    try:
        _Runner(daemon, logger, once, options, command).run()
    except KeyboardInterrupt:
        logger.notice("User quit")
    except Exception:
        logger.critical("UNCAUGHT EXCEPTION", exc_info=True)
        return 1
    TABLE.write()
    notify.notify(notify.STOPPING, logger)
    logger.notice("Exited %s", os.getpid())
    return 0


def run_daemon_command(
    argv: Sequence[str],
    section: str,
    make_daemon: Callable[[Mapping[str, Any]], Daemon],
    add_options: Callable[[OptionParser], None] | None = None,
) -> int:
    """A daemon command: `swift-<section> CONFIG [options] [words]`. Returns the exit status."""
    parser = command_line.make_parser(f"swift-{section}")
    if add_options is not None:
        add_options(parser)
    path, options = command_line.parse(parser, list(argv), once=True, test_config=True)
    del options["extra_args"]
    return run_daemon(make_daemon, path, section, **options)
