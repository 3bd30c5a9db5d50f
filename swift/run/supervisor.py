"""The parent of a server's workers: keeps as many running as are wanted, and turns signals into what they ask for.

It serves nothing itself and never waits on anything but signals. What a worker does is handed in; how a new image
takes over is in `swift.run.seamless`.

Spec: operations.md 4.1, 4.2; proxy-and-backend 25.2, 25.3.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from swift.core import clock
from swift.core.concurrency import fork, raw_select, raw_socket
from swift.core.config import truthy
from swift.core.errors import SwiftError
from swift.run import notify, seamless
from swift.telemetry import line_writer, shared_tables
from swift.telemetry.metric_table import TABLE

SIGNALS = frozenset((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1))
MAX_RESTART_DELAY = 5.0
STOP_SECONDS = 2.0
WAIT_FOR_WORKERS = "SWIFT_WAIT_FOR_WORKERS"
"""Environment: after HUP this process ends when its last worker has. For containers, where all others end with it."""
READY = b"ready"
LONGEST_REASON = 1024  # bytes


class Endpoint(NamedTuple):
    """An address at which one of the parent's services (by its number) listens."""

    service: int
    ip: str
    port: int


class SlotKey(NamedTuple):
    """A place for one worker: the endpoints it serves, and which of several like it it is."""

    endpoints: tuple[Endpoint, ...]
    number: int


class StartError(SwiftError):
    """A worker that can't be brought up; the text is for the operator."""


@dataclass
class Slot:
    """A worker's place: its listening sockets outlive it, so that its successor finds what waits in their queues."""

    key: SlotKey
    sockets: list[Any]
    pid: int = 0
    ready: Any = None  # descriptor, until the worker has said that it serves
    started: float = 0.0
    failures: int = 0
    retry_at: float = 0.0


@dataclass
class ProcessPlan:
    """What a Supervisor is to do.

    `wanted()`: the workers there should be now. `bind(endpoint)`: a listening socket; raises OSError. `serve(sockets with
    their endpoints, ready)`: a worker's life, in the forked child; it calls `ready()` once it accepts requests, or raises
    StartError before that.
    """

    wanted: Callable[[], Sequence[SlotKey]]
    bind: Callable[[Endpoint], Any]
    serve: Callable[[list[tuple[Endpoint, Any]], Callable[[], None]], None]
    on_ready: Callable[[], None]
    logger: Any
    per_port: bool = False
    check_interval: float = 0.5
    stale_worker_timeout: float = 86400.0
    command: seamless.Command = field(default_factory=seamless.Command)


class Supervisor:
    """Runs one ProcessPlan until told to stop."""

    def __init__(self, plan: ProcessPlan, inherited: seamless.Inherited) -> None:
        self._plan = plan
        self._inherited = inherited
        self._logger = plan.logger
        self._slots: dict[SlotKey, Slot] = {}
        self._draining: set[int] = set()  # workers whose place is gone
        self._old: dict[int, float] = {}  # workers of earlier generations

    def run(self) -> int:
        """Returns the exit status. Raises StartError if the first workers don't come up."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for known in SIGNALS:
            signal.signal(known, signal.SIG_DFL)
        try:
            self._start_first()
        except BaseException:
            self._kill_workers()
            raise
        self._plan.on_ready()
        self._old = self._inherited.finish(self._logger)
        notify.notify(notify.READY, self._logger)
        while True:
            received = signal.sigtimedwait(SIGNALS, self._plan.check_interval)
            number = received.si_signo if received else None
            if number in (signal.SIGTERM, signal.SIGINT):
                return self._terminate(number)
            if number == signal.SIGHUP:
                return self._stop_gracefully()
            if number == signal.SIGUSR1:
                self._reload()
            self._reap()
            self._end_stale()
            self._adjust()

    # -- workers

    def _start_first(self) -> None:
        for key in self._plan.wanted():
            self._open(key, first=True)
        for slot in self._slots.values():
            self._start(slot)
        for slot in self._slots.values():
            while slot.ready is not None:
                # a wish to reload stays pending until we can follow it
                received = signal.sigtimedwait(SIGNALS - {signal.SIGCHLD, signal.SIGUSR1}, 0)
                if received:
                    raise StartError(f"stopped by signal {received.si_signo} while starting")
                trouble = self._look_for_ready(slot, 100)
                if trouble:
                    raise StartError(trouble)

    def _open(self, key: SlotKey, first: bool = False) -> None:
        """Makes a place for a worker, with its sockets. Raises StartError if that fails at the `first` start."""
        sockets: list[Any] = []
        for endpoint in key.endpoints:
            sock = self._inherited.take((endpoint.ip, endpoint.port))
            if sock is None:
                try:
                    sock = self._plan.bind(endpoint)
                except OSError as err:
                    for opened in sockets:
                        opened.close()
                    if first and not self._plan.per_port:
                        raise StartError(err.strerror or str(err)) from None
                    self._logger.critical("Unable to bind to port %d: %s", endpoint.port, err.strerror or err)
                    return
            sockets.append(sock)
        self._slots[key] = Slot(key, sockets)

    def _start(self, slot: Slot) -> None:
        read_fd, write_fd = os.pipe()
        slot.started = clock.monotonic()
        slot.pid = fork()
        if slot.pid == 0:
            os.close(read_fd)
            self._become_worker(slot, write_fd)
        os.close(write_fd)
        slot.ready = read_fd
        if self._plan.per_port:
            port = slot.key.endpoints[0].port
            self._logger.notice("Started child %d (PID %d) for port %d", slot.key.number, slot.pid, port)
        else:
            self._logger.notice("Started child %d from parent %d", slot.pid, os.getpid())

    def _become_worker(self, slot: Slot, write_fd: int) -> NoReturn:
        code = 1
        try:
            self._inherited.leave_to_parent()
            for other in self._slots.values():
                if other is not slot:
                    for sock in other.sockets:
                        sock.close()
                if other.ready is not None:
                    os.close(other.ready)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.environ.pop("NOTIFY_SOCKET", None)
            TABLE.forget()

            def ready() -> None:
                try:
                    os.write(write_fd, READY)
                except BrokenPipeError:
                    raise StartError("the parent was killed while its worker started") from None
                os.close(write_fd)

            self._plan.serve(list(zip(slot.key.endpoints, slot.sockets, strict=True)), ready)
            TABLE.write()
            self._logger.notice("Child %d exiting normally", os.getpid())
            code = 0
        except StartError as err:
            self._logger.critical("%s", err)
            with contextlib.suppress(BrokenPipeError):
                os.write(write_fd, str(err).encode()[:LONGEST_REASON])
        except BaseException:
            self._logger.critical("UNCAUGHT EXCEPTION", exc_info=True)
        finally:
            line_writer.flush_all()
            os._exit(code)

    def _look_for_ready(self, slot: Slot, milliseconds: int) -> str:
        """What keeps the worker from starting; nothing while it is up or still on its way."""
        poll = raw_select.poll()
        poll.register(slot.ready, raw_select.POLLIN)
        if not poll.poll(milliseconds):
            return ""
        said = os.read(slot.ready, LONGEST_REASON)
        os.close(slot.ready)
        slot.ready = None
        if said == READY:
            return ""
        return said.decode(errors="replace") or f"worker {slot.pid} did not start normally"

    def _reap(self) -> None:
        by_pid = {slot.pid: slot for slot in self._slots.values() if slot.pid}
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            slot = by_pid.get(pid)
            if slot is not None:
                self._logger.error("Removing dead child %d from parent %d", pid, os.getpid())
                self._bury(slot)
            elif self._old.pop(pid, None) is not None:
                self._logger.notice("Removing stale child %d from parent %d", pid, os.getpid())
            self._draining.discard(pid)
            shared_tables.retire(pid)

    def _bury(self, slot: Slot) -> None:
        slot.pid = 0
        if slot.ready is not None:
            os.close(slot.ready)
            slot.ready = None
        now = clock.monotonic()
        slot.failures = slot.failures + 1 if now - slot.started < MAX_RESTART_DELAY else 0
        # the first successor comes at once; what keeps dying young is given time
        slot.retry_at = now + min(0.1 * 2**slot.failures, MAX_RESTART_DELAY) if slot.failures > 1 else now

    def _adjust(self) -> None:
        """Closes places that aren't wanted any more, opens new ones, and fills all of them."""
        wanted = self._plan.wanted()
        for key in [key for key in self._slots if key not in wanted]:
            slot = self._slots.pop(key)
            for endpoint, sock in zip(key.endpoints, slot.sockets, strict=True):
                self._logger.notice(
                    "Closing unnecessary sock for port %d (child pid %d)", endpoint.port, slot.pid
                )
                try:
                    sock.shutdown(raw_socket.SHUT_RDWR)
                except OSError:
                    pass
                sock.close()
            if slot.pid:
                self._draining.add(slot.pid)
        for key in wanted:
            if key not in self._slots:
                self._open(key)
        now = clock.monotonic()
        for slot in self._slots.values():
            if not slot.pid and now >= slot.retry_at:
                self._start(slot)
            elif slot.ready is not None and (trouble := self._look_for_ready(slot, 0)):
                self._logger.error("%s", trouble)

    def _end_stale(self) -> None:
        limit = self._plan.stale_worker_timeout
        if not self._old or limit <= 0:
            return
        now = clock.time()
        for pid, since in list(self._old.items()):
            if now - since < limit:
                continue
            del self._old[pid]
            try:
                # a process that isn't our child any more isn't ours to kill
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    self._logger.notice(
                        "Killing long-running stale worker %d after %ds", pid, int(now - since)
                    )
                    os.kill(pid, signal.SIGKILL)
            except (ChildProcessError, ProcessLookupError):
                pass

    def _worker_pids(self) -> list[int]:
        return [slot.pid for slot in self._slots.values() if slot.pid] + list(self._draining)

    # -- signals

    def _terminate(self, number: int) -> int:
        if number == signal.SIGINT:
            self._logger.notice("User quit")
        else:
            self._logger.notice("SIGTERM received (%d)", os.getpid())
        notify.notify(notify.STOPPING, self._logger)
        self._kill_workers()
        self._logger.notice("Exited (%d)", os.getpid())
        return 0

    def _kill_workers(self) -> None:
        """TERM to the whole group if it is ours, and a moment for it to die."""
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGTERM)  # blocked here
        for pid in [*self._worker_pids(), *self._old]:
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        give_up = clock.monotonic() + STOP_SECONDS
        while clock.monotonic() < give_up:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            except ChildProcessError:
                return

    def _stop_gracefully(self) -> int:
        self._logger.notice("SIGHUP received (%d)", os.getpid())
        notify.notify(notify.STOPPING, self._logger)
        # closed here first: a socket that only we held would take connections that nobody answers
        for slot in self._slots.values():
            for sock in slot.sockets:
                sock.close()
        for pid in self._worker_pids():
            try:
                os.kill(pid, signal.SIGHUP)
            except OSError:
                pass
        if os.getpid() == 1 or truthy(os.environ.get(WAIT_FOR_WORKERS, "")):
            return self._wait_for_workers()
        self._logger.notice("Exited (%d)", os.getpid())
        return 0

    def _wait_for_workers(self) -> int:
        """In a container everything ends with this process: not before the last worker has done what it was doing, or TERM."""
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            except ChildProcessError:
                self._logger.notice("Exited (%d)", os.getpid())
                return 0
            received = signal.sigtimedwait(SIGNALS, 1.0)
            if received and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._terminate(received.si_signo)

    def _reload(self) -> None:
        self._logger.notice("SIGUSR1 received (%d)", os.getpid())
        notify.notify(notify.RELOADING, self._logger)
        listening = [
            ((endpoint.ip, endpoint.port), sock)
            for slot in self._slots.values()
            for endpoint, sock in zip(slot.key.endpoints, slot.sockets, strict=True)
        ]
        seamless.reexecute(self._plan.command, listening, self._worker_pids(), self._old, self._logger)
