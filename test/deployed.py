"""Machines for a described cluster, each in a network namespace, and a place from which they are deployed.

What lives here: the places, shells in them, requests, and the end of all processes there. What never does: what is to be true.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from test.cluster import Answer
from test.network import Network

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(sys.executable).parent


class Deployed:
    """Nodes s1, s2, …, and a place `desk`, whose folder holds the description. Use as a context manager."""

    def __init__(self, home: pathlib.Path, nodes: int) -> None:
        self.home = home
        self.nodes = tuple(f"s{n}" for n in range(1, nodes + 1))
        self.desk = home / "desk"
        self.network = Network({**{name: n for n, name in enumerate(self.nodes, 1)}, "desk": 100})
        self.token = ""

    def __enter__(self) -> Deployed:
        self.desk.mkdir()
        for node in self.nodes:
            for name in ("etc", "run", "cache", "disks/sdb1"):
                (self.home / node / name).mkdir(parents=True)
        self.network.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        for node in self.nodes:
            name = pathlib.Path(self.network._path(node)).name
            end = time.monotonic() + 30
            while time.monotonic() < end:
                pids = subprocess.run(
                    ["ip", "netns", "pids", name], capture_output=True, text=True
                ).stdout.split()
                if not pids:
                    break
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.05)
        self.network.__exit__()

    def ip(self, node: str) -> str:
        return self.network.address(node)

    def disk(self, node: str) -> pathlib.Path:
        return self.home / node / "disks/sdb1"

    def options(self, more: str = "") -> tuple[str, str]:
        """What these machines need in [cluster] and in [defaults]: lines for each."""
        cluster = f'manager = "swift-init"\ncommands = "{BIN}"\nuser = "root"\nmin_part_hours = 0\n{more}'
        places = {"swift_dir": "etc", "run_dir": "run", "cache_dir": "cache", "devices": "disks"}
        return cluster, "".join(
            f'{name} = "{self.home}/{{node}}/{folder}"\n' for name, folder in places.items()
        )

    def way(self) -> str:
        """How commands come to nodes, as --ssh takes it."""
        return f"nsenter --net={self.network._path('{node}')} -- sh -c"

    def shell(self, script: str) -> str:
        """A script at the desk; what it said. AssertionError if any command of it fails."""
        done = subprocess.run(
            self.network.command("desk", ["bash", "-e", "-o", "pipefail", "-c", script]),
            cwd=self.desk,
            env={
                **os.environ,
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "SWIFT_CLUSTER_SSH": self.way(),
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"== {path}\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.home.glob("*/run/*.log"))
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        node: str = "s1",
    ) -> Answer:
        """One request of test:tester, from the desk to a node's proxy; path is below /v1/AUTH_test."""
        return self.raw(
            method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.token, **(headers or {})}, node
        )

    def raw(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], node: str = "s1"
    ) -> Answer:
        connection = http.client.HTTPConnection(self.ip(node), 8080, timeout=60)
        end = time.monotonic() + 60
        while True:
            try:
                connection.sock = self.network.connect("desk", (self.ip(node), 8080), 60)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        try:
            connection.request(method, path, body=body, headers=headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def authenticate(self, key: str) -> None:
        answer = self.raw("GET", "/auth/v1.0", None, {"X-Auth-User": "test:tester", "X-Auth-Key": key})
        self.token = answer.headers["x-auth-token"]


def blocks() -> list[str]:
    """The blocks of doc/deploy.md that are marked as tested, in their order."""
    text = (ROOT / "doc/deploy.md").read_text()
    return re.findall(r"^◆\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
