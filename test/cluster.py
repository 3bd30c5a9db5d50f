"""A real cluster for tests: four nodes in processes of their own, on free loopback ports, under one folder.

What lives here: starting, killing and reviving its processes, and a small HTTP client. What never does: assertions.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import os
import pathlib
import re
import signal
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from swift.cli import saio, saio_layout
from swift.cli.saio_layout import NODES, Layout
from swift.core import backend_security
from test.ports import free_port, free_ports

# All clusters of tests have the same, so that tests may ask storage servers themselves.
BACKEND_KEY = "0123456789abcdef" * 4


class Answer:
    """status: int; headers: by lower-case name; body: bytes."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.body[:200]!r}"


# A slow machine alone is no reason for copies elsewhere, for rows that come later, or for answers before all copies are there.
PATIENCE = "node_timeout = 60\nconn_timeout = 10\n"
PATIENCE_OF_OBJECT_SERVERS = "container_update_timeout = 30\n"
PATIENCE_OF_PROXIES = "post_quorum_timeout = 30\n"


of_sessions: list[Cluster] = []  # those that last until a run of pytest ends


class Cluster:
    """A running all-in-one cluster; use as a context manager.

    is_patient: who hangs or is slow is waited for, so that what is looked at after an answer is what all servers have. Who is dead is not.
    """

    is_patient = True

    def __init__(self, home: pathlib.Path, memcache: str = "") -> None:
        port, base = free_ports()
        self.layout = Layout(home, port=port, base_port=base, memcache=memcache)
        self.token = ""
        self._written = False

    def write(self) -> None:
        """Folders, rings and configuration, for tests that change them before the start."""
        self.layout.etc.mkdir(parents=True, exist_ok=True)
        keys = self.layout.etc / "backend-keys"
        keys.touch(0o600)
        keys.write_text(f"tests {BACKEND_KEY}\n")
        saio_layout.write(self.layout)
        if self.is_patient:
            for path in self.layout.etc.glob("*-server/*.conf"):
                _add(path, PATIENCE + (PATIENCE_OF_OBJECT_SERVERS if "object" in path.parent.name else ""))
            _add(self.layout.proxy_conf, PATIENCE + PATIENCE_OF_PROXIES)
        self._written = True

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) of the proxy."""
        return self.layout.ip, self.layout.port

    def configure(self, filter_name: str, *, alone: bool = False, **options: str) -> None:
        """Options of a filter of the proxy, in the place of those of the same names, or of all (`alone`); before the start, after `write`."""
        conf = self.layout.proxy_conf
        conf.write_text(_with_options(conf.read_text(), filter_name, alone, options))

    def start_proxy(self, name: str, filter_name: str = "s3api", **options: str) -> tuple[str, int]:
        """Another proxy, with other options of a filter: its address. It ends with the cluster."""
        port = free_port()
        text = _with_options(self.layout.proxy_conf.read_text(), filter_name, False, options)
        text, count = re.subn(r"(?m)^bind_port = .*$", f"bind_port = {port}", text)
        assert count == 1
        conf = self.layout.etc / f"{name}.conf"
        conf.write_text(text)
        saio._spawn(self.layout, name, [conf])
        wait_for_port(self.layout.ip, port)
        return self.layout.ip, port

    def leave_out(self, server: str, *sections: str) -> None:
        """Daemons that are none of this cluster's: sections of all configuration files of `server`; before the start, after `write`."""
        for path in self.layout.etc.glob(f"{server}-server/*.conf"):
            text = path.read_text()
            for section in sections:
                text = re.sub(rf"(?ms)^\[{re.escape(section)}\]\n.*?(?=^\[|\Z)", "", text)
            path.write_text(text)

    def trust_everybody(self) -> None:
        """Storage servers look at no signatures; before the start, after `write`."""
        conf = self.layout.etc / "swift.conf"
        conf.write_text(conf.read_text().replace("signing = require", "signing = off"))

    def __enter__(self) -> Cluster:
        if not self._written:
            self.write()
        saio._start(self.layout)
        try:
            saio._wait_until_it_answers(self.layout)
        except BaseException:
            self.__exit__()
            raise
        self.token = self.authenticate()
        return self

    def __exit__(self, *exc: object) -> None:
        for pid in saio._running(self.layout).values():
            saio._signal(pid, signal.SIGKILL)
        while saio._running(self.layout):
            time.sleep(0.01)
        saio._signal_leftovers(self.layout, signal.SIGKILL)
        saio._take_away_tables(self.layout, unreported=True)

    def authenticate(self, user: str = "test:tester", key: str = "testing") -> str:
        answer = self.raw("GET", "/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": key})
        return answer.headers["x-auth-token"]

    def raw(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request without credentials."""
        connection = http.client.HTTPConnection(self.layout.ip, self.layout.port, timeout=120)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request of test:tester; path is below /v1/AUTH_test."""
        return self.raw(method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.token, **(headers or {})})

    def pids(self, name: str) -> list[int]:
        """The process (tree) of node1 .. node4 or proxy."""
        leader = saio._running(self.layout).get(name)
        if leader is None:
            return []
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                    found.append(int(entry.name))
        return found

    def kill(self, name: str) -> None:
        """kill -9 of a whole node (or the proxy); returns when it is gone."""
        leader = saio._running(self.layout).get(name)
        # again and again: a parent that sees a worker die may have started another one before it dies itself
        while leader and (left := saio._members({leader})):
            for pid in sorted(left, key=lambda pid: pid != leader):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def revive(self, name: str, servers: Iterable[str] = saio_layout.SERVERS) -> None:
        """Starts a killed node (only these of its servers) or the proxy again and waits until it listens."""
        if name == "proxy":
            saio._spawn(self.layout, name, [self.layout.proxy_conf])
            addresses = [self.address]
        else:
            node = int(name[4:])
            confs = [self.layout.etc / f"{server}-server" / f"{node}.conf" for server in servers]
            saio._spawn(self.layout, name, confs)
            addresses = [self.layout.storage_address(server, node) for server in servers]
        for address in addresses:
            wait_for_port(*address)

    def make_whole(self) -> None:
        """Everything runs, and the proxy has forgotten which nodes failed it."""
        self.kill("proxy")
        running = saio._running(self.layout)
        missing = [name for name in ("proxy", *(f"node{node}" for node in NODES)) if name not in running]
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(self.revive, missing))

    def device(self, node: int) -> pathlib.Path:
        """Where a node keeps its data."""
        return self.layout.disks / str(node) / f"sdb{node}"

    def reset_quietly(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            saio._reset(self.layout.home, argparse.Namespace(yes=True))


def _with_options(text: str, filter_name: str, alone: bool, options: dict[str, str]) -> str:
    before, head, rest = text.partition(f"\n[filter:{filter_name}]\n")
    assert head, f"no [filter:{filter_name}]"
    end = rest.find("\n[")
    section, after = (rest, "") if end < 0 else (rest[:end], rest[end:])
    lines = [
        line
        for line in section.splitlines()
        if line.partition("=")[0].strip() not in options and (line.startswith("use") or not alone)
    ]
    lines += [f"{name} = {value}" for name, value in options.items()]
    return f"{before}{head}" + "\n".join(lines) + f"\n{after}"


def _add(path: pathlib.Path, lines: str) -> None:
    path.write_text(path.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\n{lines}", 1))


def sign_requests(key_id: str = "tests", secret: str = BACKEND_KEY) -> None:
    """From now on this process signs what it sends to storage servers, by default as clusters of tests want it."""
    backend_security.use(
        backend_security.Settings(signing=backend_security.REQUIRE, keys={key_id: secret.encode()})
    )


def wait_for_port(ip: str, port: int) -> None:
    """Returns when something accepts connections there (an error after 60 s)."""
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((ip, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
