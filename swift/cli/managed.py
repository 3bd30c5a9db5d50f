"""A server or daemon as swift-init sees it: its configuration files, its pid files, its processes.

What lives here: one service at a time. What never does: options and exit codes (init.py); imports beyond the standard
library and processes.py, since a test suite runs the command hundreds of times.
Spec: operations.md 6.3, 6.4.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError

from swift.cli.processes import Process, look, send_signal
from swift.core import clock

MAIN_SERVERS = ("proxy-server", "account-server", "container-server", "object-server")
REST_SERVERS = (
    "account-auditor",
    "account-reaper",
    "account-replicator",
    "container-auditor",
    "container-reconciler",
    "container-replicator",
    "container-sharder",
    "container-sync",
    "container-updater",
    "object-auditor",
    "object-expirer",
    "object-reconstructor",
    "object-replicator",
    "object-updater",
    "s3-lifecycle",
    "s3-notifier",
)
# With configurations of their own names.
_OWN_FILES = frozenset(("container-reconciler", "s3-lifecycle", "s3-notifier"))
ALL_SERVERS = MAIN_SERVERS + REST_SERVERS
# daemons whose main process understands HUP and USR1: those that serve HTTP
GRACEFUL_SERVERS = frozenset(MAIN_SERVERS)

DEFAULT_SWIFT_DIR = "/etc/swift"
DEFAULT_RUN_DIR = "/var/run/swift"
EXIT_WAIT = 3  # seconds that a child which has said something gets to end


class Service:
    """One service, e.g. `object-server`, or with `conf` one of its configurations, e.g. `object-server.1`."""

    def __init__(self, name: str, run_dir: str = DEFAULT_RUN_DIR, swift_dir: str = DEFAULT_SWIFT_DIR) -> None:
        name = name.lower()
        name, _, self.conf = name.partition(".")
        if "-" not in name:
            name += "-server"
        self.server = name
        self.type = name.rpartition("-")[0]
        self.command = f"swift-{name}"
        self.run_dir = run_dir
        self.swift_dir = swift_dir
        self.children: list[tuple[subprocess.Popen, bool]] = []  # and whether it runs one pass

    def __repr__(self) -> str:
        return f"{self.server}.{self.conf}" if self.conf else self.server

    # -- configuration files

    def conf_files(self, number: int = 0, quiet: bool = False, verbose: bool = False) -> list[str]:
        """The configurations, or the `number`th of them. Says so if there is none, unless `quiet`."""
        found = self._find_conf_files(quiet)
        if not number and found:
            return found
        if number and number <= len(found):
            return [found[number - 1]]
        if not quiet:
            wanted = f"number {number} " if number else ""
            print(f"Unable to locate config {wanted}for {self.server}")
            if verbose and found:
                print("Found configs:")
                for at, path in enumerate(found, 1):
                    print(f"  {at}) {path}")
        return []

    def _find_conf_files(self, quiet: bool) -> list[str]:
        if self.server == "object-expirer":
            return self._expirer_conf_files(quiet)
        if self.server in _OWN_FILES:
            return self._search(self.server)
        return self._search(f"{self.type}-server")

    def _search(self, base: str) -> list[str]:
        pattern = os.path.join(self.swift_dir, base)
        if self.conf:
            return _search_tree(pattern, f"{self.conf}.conf", f"{self.conf}.conf.d")
        return _search_tree(pattern + "*", ".conf", ".conf.d")

    def _expirer_conf_files(self, quiet: bool) -> list[str]:
        """Object server configurations with a section for it; without any, its own file of old."""
        found = [path for path in self._search("object-server") if _has_section(path, "object-expirer")]
        if found:
            return found
        found = self._search("object-expirer")
        if found and not quiet:
            print(
                "WARNING: object-expirer.conf is deprecated. "
                "Move object-expirers' configuration into object-server.conf."
            )
        return found

    # -- pid files

    def pid_file_of(self, conf_file: str) -> str:
        """Where the pid of the process for a configuration is noted."""
        path = os.path.relpath(conf_file, self.swift_dir)
        path = path.replace(f"{self.type}-server", self.server, 1).replace(".conf", ".pid", 1)
        return os.path.join(self.run_dir, path)

    def conf_file_of(self, pid_file: str) -> str:
        """The configuration that a pid file stands for, by its name alone."""
        path = os.path.relpath(pid_file, self.run_dir)
        if self.server not in _OWN_FILES:
            path = path.replace(self.server, f"{self.type}-server", 1)
        return os.path.join(self.swift_dir, path.replace(".pid", ".conf", 1))

    def _pid_files(self) -> list[str]:
        suffixes = (f"{self.conf}.pid", f"{self.conf}.pid.d") if self.conf else (".pid", ".pid.d")
        found = []
        for root in glob.glob(os.path.join(glob.escape(self.run_dir), self.server + "*")):
            if os.path.isdir(root):
                for directory, _, names in os.walk(root):
                    found += [os.path.join(directory, name) for name in names if name.endswith(suffixes)]
            elif root.endswith(suffixes):
                found.append(root)
        return sorted(found)

    def pids(self, number: int = 0) -> Iterator[tuple[str, int]]:
        """(pid file, pid) of what is noted; a pid of 0 or less stands for a file that holds none."""
        wanted = None
        if number:
            wanted = [self.pid_file_of(path) for path in self.conf_files(number, quiet=True)]
        for path in self._pid_files():
            if wanted is not None and path not in wanted:
                continue
            try:
                with open(path) as file:
                    yield path, int(file.read(64).strip())
            except ValueError:
                yield path, -1
            except OSError:
                continue

    def _process(self, pid_file: str, pid: int) -> Process | None:
        """The service's process with that pid; None if it is somebody else's by now."""
        process = look(pid) if pid > 0 else None
        if process is None or not any(self.command in word for word in process.argv):
            return None
        if any(word == self.conf_file_of(pid_file) for word in process.argv):
            return process
        try:
            # the file is written right after the start: who is younger has only the number in common
            return process if process.started <= os.stat(pid_file).st_mtime + 60 else None
        except OSError:
            return None

    def running(self, number: int = 0, verbose: bool = False) -> dict[int, str]:
        """{pid: pid file} of living processes; removes the pid files of others."""
        found = {}
        for path, pid in self.pids(number):
            if self._process(path, pid) is not None:
                found[pid] = path
            else:
                self._remove_pid_file(path, pid, verbose)
        return found

    def _remove_pid_file(self, path: str, pid: int, verbose: bool) -> None:
        if verbose:
            if pid <= 0:
                print(f"Removing pid file {path} with invalid pid")
            elif look(pid) is not None:
                print(f"Removing pid file {path} with wrong pid {pid}")
            else:
                print(f"Removing stale pid file {path}")
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    # -- signals

    def signal(self, number: int, conf_number: int = 0, verbose: bool = False) -> dict[int, str]:
        """Signals all noted processes; {pid: pid file} of those that were there."""
        reached = {}
        for path, pid in list(self.pids(conf_number)):
            process = self._process(path, pid)
            if process is None:
                self._remove_pid_file(path, pid, verbose)
                continue
            print(f"Signal {self.server}  pid: {pid}  signal: {number}")
            try:
                if send_signal(process, number):
                    reached[pid] = path
                else:
                    self._remove_pid_file(path, pid, verbose)
            except PermissionError:
                print(f"No permission to signal PID {pid}")
        return reached

    def stop(
        self, graceful: bool = False, seamless: bool = False, conf_number: int = 0, verbose: bool = False
    ) -> dict:
        """Signals the processes to end (or to hand over); {pid: pid file} of those reached."""
        number = signal.SIGTERM
        if seamless:
            number = signal.SIGUSR1  # daemons of the reference end of it, as of TERM, which it sends them
        elif graceful and self.server in GRACEFUL_SERVERS:
            number = signal.SIGHUP
        return self.signal(int(number), conf_number, verbose)

    def kill_group(self, pid: int, pid_file: str) -> None:
        """KILL for the process group of one of our processes."""
        process = self._process(pid_file, pid)
        if process is None:
            return
        print(f"Signal {self.server}  pid: {pid}  signal: {int(signal.SIGKILL)}")
        try:
            # a process that leads no group shares one with whoever started it
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                send_signal(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            print(f"No permission to signal PID {pid}")

    # -- what the commands ask for

    def status(self, number: int = 0, verbose: bool = False) -> int:
        """Prints what runs; 1 if nothing does."""
        found = self.running(number, verbose)
        if found:
            for pid, path in found.items():
                print(f"{self.server} running ({pid} - {self.conf_file_of(path)})")
            return 0
        if number:
            for path in self.conf_files(number, verbose=verbose):
                print(f"{self.server} #{number} not running ({path})")
        else:
            print(f"No {self.server} running")
        return 1

    def launch(
        self,
        once: bool = False,
        wait: bool = True,
        daemon: bool = True,
        number: int = 0,
        verbose: bool = False,
    ) -> int:
        """Starts a process for every configuration, unless one of them runs already; how many were started."""
        conf_files = self.conf_files(number, verbose=verbose)
        if not conf_files:
            return 0
        occupied = False
        for pid, path in self.running(verbose=verbose).items():
            conf_file = self.conf_file_of(path)
            if not number or conf_file in conf_files or self.pid_file_of(conf_files[0]) == path:
                print(f"{self.server} running ({pid} - {conf_file})")
                occupied = True
        if occupied:
            print(f"{self.server} already started...")
            return 0
        once = once and self.server not in MAIN_SERVERS
        return sum(self._spawn(path, once, wait, daemon) for path in conf_files)

    def _spawn(self, conf_file: str, once: bool, wait: bool, daemon: bool) -> bool:
        words = [self.command, conf_file]
        if once:
            words.append("once")
        output: int | None
        if not daemon:
            words.append("verbose")
            output = errors = None
        elif wait:
            output, errors = subprocess.PIPE, subprocess.STDOUT
        else:
            output = errors = subprocess.DEVNULL
        print(
            f"Running {self.server} once...({conf_file})"
            if once
            else f"Starting {self.server}...({conf_file})",
            flush=True,
        )
        try:
            child = subprocess.Popen(words, stdout=output, stderr=errors)
        except OSError as err:
            print(f"Unable to start {self.command}: {err.strerror}")
            return False
        self.children.append((child, once))
        return self._write_pid_file(self.pid_file_of(conf_file), child.pid)

    def _write_pid_file(self, path: str, pid: int) -> bool:
        directory = os.path.dirname(path)
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as err:
            if err.errno == errno.EACCES:
                print(f"Unable to create {directory}.  Running as non-root?")
                return True
            raise
        try:
            with open(path, "w") as file:
                file.write(str(pid))
        except PermissionError:
            print(f"Unable to write {path}.  Running as non-root?")
        return True

    def wait(self) -> int:
        """Waits until the children are ready, or have ended if they run one pass; the sum of their exit statuses."""
        status = 0
        for child, once in self.children:
            assert child.stdout is not None
            output = child.stdout.read().decode(errors="replace")
            child.stdout.close()
            if output:
                print(output, flush=True)
            try:
                if once:
                    status += child.wait()
                elif output:
                    status += child.wait(EXIT_WAIT)
                else:
                    status += child.poll() or 0
            except subprocess.TimeoutExpired:
                pass
        return 1 if status else 0

    def interact(self) -> int:
        """Waits for the end of children that share our terminal; the sum of their exit statuses."""
        status = 0
        for child, _ in self.children:
            status += abs(child.wait())
        return 1 if status else 0


def _search_tree(pattern: str, suffix: str, directory_suffix: str) -> list[str]:
    """Files and directories of those suffixes at or below what matches the pattern, sorted."""
    found = []
    for root in glob.glob(pattern):
        if os.path.isfile(root):
            if root.endswith(suffix):
                found.append(root)
        elif root.endswith(directory_suffix):
            found.append(root)
        else:
            found += _search_below(root, suffix, directory_suffix)
    return sorted(found)


def _search_below(root: str, suffix: str, directory_suffix: str) -> Iterator[str]:
    any_directory = directory_suffix[directory_suffix.rindex(".", 0, -2) :]  # .conf.d of 1.conf.d
    for directory, names, files in os.walk(root):
        for name in files:
            if name.endswith(suffix):
                yield os.path.join(directory, name)
        for name in list(names):
            if name.endswith(any_directory):
                names.remove(name)
                if name.endswith(directory_suffix):
                    yield os.path.join(directory, name)


def _has_section(path: str, section: str) -> bool:
    parser = ConfigParser(interpolation=None, strict=False)
    paths = sorted(glob.glob(os.path.join(glob.escape(path), "*.conf"))) if os.path.isdir(path) else [path]
    try:
        parser.read(paths)
    except (ConfigParserError, UnicodeDecodeError, OSError):
        return False
    return parser.has_section(section)


def wait_for_end(services: list[Service], seconds: float, waiting: dict[Service, dict[int, str]]) -> bool:
    """Waits for processes to end, naming each that has; returns True if all have. `waiting` keeps those that have not."""
    give_up = clock.monotonic() + seconds
    while True:
        for service in services:
            left = waiting.get(service, {})
            for pid, path in list(left.items()):
                if service._process(path, pid) is None:
                    print(f"{service.server} ({pid}) appears to have stopped", flush=True)
                    service._remove_pid_file(path, pid, False)
                    del left[pid]
        if not any(waiting.values()):
            return True
        if clock.monotonic() >= give_up:
            return False
        clock.sleep(0.05)


def expand(names: list[str]) -> list[str]:
    """The services that words of a command line stand for, without repetition. Patterns and aliases are case-insensitive."""
    aliases = {"all": ALL_SERVERS, "main": MAIN_SERVERS, "rest": REST_SERVERS}
    found: dict[str, None] = {}
    for name in names:
        lower = name.lower()
        if lower in aliases:
            found.update(dict.fromkeys(aliases[lower]))
        elif "*" in lower:
            pattern = re.compile(".*".join(map(re.escape, lower.split("*"))))
            found.update(dict.fromkeys(known for known in ALL_SERVERS if pattern.match(known)))
        else:
            found[name] = None
    return list(found)
