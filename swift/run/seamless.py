"""Handing a running server over to a new image of itself, without a moment in which nobody listens.

The parent process re-executes itself (same PID). Two pipes and a temporary child carry the talk between the
generations, as in the reference, so that either may be replaced by the other in place. Between two images of ours the
listening sockets themselves go along: connections that wait in their queues are answered by the new workers.

Spec: operations.md 4.3; proxy-and-backend 25.3.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from swift.core import clock
from swift.core.concurrency import raw_socket
from swift.run import notify

NOTIFY_FD = "__SWIFT_SERVER_NOTIFY_FD"
STATE_FD = "__SWIFT_SERVER_CHILD_STATE_FD"
LISTEN_FDS = "__SWIFT_SERVER_LISTEN_FDS"  # ours: [[ip, port, descriptor], ...]
ADOPTED = b" adopted"
MAX_STATE_BYTES = 1024 * 1024
CHECK_SECONDS = 60
_NOT_TO_DIE_OF = (signal.SIGHUP, signal.SIGUSR1)

Address = tuple[str, int]


class Inherited:
    """What the old image left for this one; everything is empty after an ordinary start."""

    def __init__(self, environ: Any = os.environ) -> None:
        self.sockets: dict[Address, list[Any]] = {}
        self._notify_fd = _fd_number(environ.pop(NOTIFY_FD, "").partition(",")[0])
        self._state_fd = _fd_number(environ.pop(STATE_FD, ""))
        listening = environ.pop(LISTEN_FDS, "")
        entries = _checked_entries(listening) if self._notify_fd is not None else []
        self._adopts = bool(entries)
        for address, sock in entries:
            self.sockets.setdefault(address, []).append(sock)
        for fd in (self._notify_fd, self._state_fd):
            if fd is not None:
                os.set_inheritable(fd, False)

    @property
    def reloading(self) -> bool:
        """Returns True if an old generation waits for us."""
        return self._notify_fd is not None

    def take(self, address: Address) -> Any:
        """A listening socket of the old generation, or None."""
        waiting = self.sockets.get(address)
        return waiting.pop() if waiting else None

    def leave_to_parent(self) -> None:
        """For a forked worker: the old generation must not wait for it too, nor may it keep unwanted sockets open."""
        self._close_unwanted()
        for fd in (self._notify_fd, self._state_fd):
            if fd is not None:
                os.close(fd)
        self._notify_fd = self._state_fd = None

    def finish(self, logger: Any) -> dict[int, float]:
        """Tells the old generation to let go, now that we serve. Returns its processes: {pid: time of first reload}."""
        self._close_unwanted()
        old: dict[int, float] = {}
        try:
            if self._notify_fd is not None:
                os.write(self._notify_fd, str(os.getpid()).encode() + (ADOPTED if self._adopts else b""))
                os.close(self._notify_fd)
            if self._state_fd is not None:
                old = _read_state(self._state_fd)
                os.close(self._state_fd)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as err:
            logger.warning("Failed to receive the state of the old server: %s", err)
        self._notify_fd = self._state_fd = None
        return old

    def _close_unwanted(self) -> None:
        for sockets in self.sockets.values():
            for sock in sockets:
                sock.close()
        self.sockets.clear()


def _checked_entries(text: str) -> list[tuple[Address, Any]]:
    """The sockets named by LISTEN_FDS; none at all if one of them isn't what it says.

    An image of the reference between two of ours hands the variable on, but not the sockets.
    """
    entries: list[tuple[Address, Any]] = []
    try:
        for ip, port, fd in json.loads(text or "[]"):
            sock = raw_socket.socket(fileno=os.dup(fd))
            entries.append(((ip, port), sock))
            sock.setblocking(False)
            listens = sock.getsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_ACCEPTCONN)
            if not listens or sock.getsockname()[1] != port:
                raise ValueError(f"descriptor {fd} does not listen at port {port}")
            os.close(fd)
    except (OSError, ValueError, TypeError):
        for _, sock in entries:
            sock.close()
        return []
    return entries


def _fd_number(text: str) -> int | None:
    try:
        fd = int(text)
        os.fstat(fd)
        return fd
    except (ValueError, OSError):
        return None


def _read_exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = os.read(fd, count - len(data))
        if not piece:
            raise ValueError("it ended early")
        data += piece
    return data


def _read_state(fd: int) -> dict[int, float]:
    (size,) = struct.unpack("!I", _read_exactly(fd, 4))
    if size > MAX_STATE_BYTES:
        raise ValueError(f"{size} bytes are too many")
    state = json.loads(_read_exactly(fd, size))
    return {int(pid): float(since) for pid, since in state["old_pids"].items()}


class Command:
    """How this process was started: what a new image of it is started with. To be made before the directory changes."""

    def __init__(self) -> None:
        self.cwd = os.getcwd()
        script = os.path.realpath(sys.argv[0])
        if _is_script(script):
            self.path, self.argv = script, [os.path.abspath(sys.argv[0]), *sys.argv[1:]]
        else:
            self.path, self.argv = sys.executable, list(sys.orig_argv)

    def check(self) -> str | None:
        """Runs the same command with --test-config; its last line if that fails, else None."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])

        def unblock() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, mask)

        try:
            done = subprocess.run(
                [self.path, *self.argv[1:], "--test-config"],
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=CHECK_SECONDS,
                preexec_fn=unblock if mask else None,  # noqa: PLW1509  with threads nothing is blocked
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            return str(err)
        if done.returncode == 0:
            return None
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {done.returncode}"

    def execute(self) -> NoReturn:
        """Replaces this process. Raises OSError.

        The new image may be the reference, which expects no signal to be blocked. What comes before it has installed its
        handlers must not end it, except for TERM.
        """
        os.chdir(self.cwd)
        for number in _NOT_TO_DIE_OF:
            signal.signal(number, signal.SIG_IGN)
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, [])
        try:
            os.execv(self.path, self.argv)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for number in _NOT_TO_DIE_OF:
                signal.signal(number, signal.SIG_DFL)


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            return stat.S_ISREG(mode) and bool(mode & 0o111) and file.read(2) == b"#!"
    except OSError:
        return False


def reexecute(
    command: Command,
    listening: Iterable[tuple[Address, Any]],
    workers: Iterable[int],
    old_pids: Mapping[int, float],
    logger: Any,
) -> None:
    """Starts a new image of this server in this process. Returns only if that fails, with all as it was.

    `listening`: our sockets; `workers`: pids that are to finish; `old_pids`: workers of earlier generations.
    """
    fault = command.check()
    if fault is not None:
        logger.error("Not reloading, the configuration is not valid: %s", fault)
        notify.notify(notify.READY, logger)
        return
    if signal.sigpending() & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
        return  # told to stop meanwhile; a HUP would be lost on the way
    listening = list(listening)
    notify_read, notify_write = os.pipe()
    state_read, state_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(notify_write)
        os.close(state_read)
        _let_go(notify_read, state_write, listening, list(workers), dict(old_pids))
    os.close(notify_read)
    os.close(state_write)
    entries = [[address[0], address[1], sock.fileno()] for address, sock in listening]
    inherited = [notify_write, state_read, *(entry[2] for entry in entries)]
    for fd in inherited:
        os.set_inheritable(fd, True)
    os.environ[NOTIFY_FD], os.environ[STATE_FD] = str(notify_write), str(state_read)
    os.environ[LISTEN_FDS] = json.dumps(entries)
    logger.notice("Old server PID=%d re'execing as: %r", os.getpid(), command.argv)
    try:
        command.execute()
    except OSError as err:
        logger.error("Could not re-execute %s: %s", command.path, err)
    for name in (NOTIFY_FD, STATE_FD, LISTEN_FDS):
        os.environ.pop(name, None)
    for fd in inherited:
        os.set_inheritable(fd, False)
    os.close(notify_write)  # the temporary child sees that and ends
    os.close(state_read)
    os.chdir("/")


def _let_go(
    notify_fd: int,
    state_fd: int,
    listening: list[tuple[Address, Any]],
    workers: list[int],
    old_pids: dict[int, float],
) -> NoReturn:
    """The temporary child: once the new image serves, ends the old workers' listening and goes."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        # one write, and maybe no end: workers of the reference keep the pipe open
        answer = os.read(notify_fd, 64)
        if answer:
            now = clock.time()
            pids = {str(pid): since for pid, since in old_pids.items()}
            pids.update((str(pid), now) for pid in (*workers, os.getpid()))
            state = json.dumps({"old_pids": pids}).encode()
            try:
                os.write(state_fd, struct.pack("!I", len(state)) + state)
            except OSError:  # the new image can do without
                pass
            if not answer.endswith(ADOPTED):
                for _, sock in listening:
                    try:
                        sock.shutdown(raw_socket.SHUT_RDWR)
                    except OSError:
                        pass
            for pid in workers:
                try:
                    os.kill(pid, signal.SIGHUP)
                except OSError:
                    pass
            code = 0
    finally:
        os._exit(code)
