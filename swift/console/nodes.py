"""What the storage nodes say of themselves: their recon, asked by this proxy of all hosts that the rings name.

What lives here: which checks are asked, of whom, within which bounds, and the answers as plain data for the operator's view. What never
does: judging them (the page does), and any address, path or verb that comes from a request.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from swift.console.rings import ClusterRings
from swift.core import clock
from swift.core.concurrency import GreenPool, Semaphore, Timeout
from swift.core.hashing import md5
from swift.engine.threads import run_in_thread
from swift.wire import direct
from swift.wire.client import BackendError

KEPT_SECONDS = 5.0  # an answer, for all who look at the same time
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
LIFE_SECONDS = CONNECT_SECONDS + ANSWER_SECONDS
HOST_SECONDS = 15.0
ALL_SECONDS = 30.0  # in which hosts are begun with
AT_ONCE = 64
MOST_HOSTS = 1000
MOST_SERVERS = 16  # of a host, whose life is looked at
MOST_BYTES = 1024 * 1024  # of one answer

KINDS = ("object", "container", "account")
# Asked of one server of a host: all of them see the same machine.
OF_THE_HOST = (
    "load", "mem", "diskusage", "unmounted", "quarantined", "driveaudit", "time", "ringmd5", "swiftconfmd5", "relinker/",
)  # fmt: skip
# Asked of a server of that kind: its daemons' recon files may be others.
OF_A_KIND = {
    "object": (
        "async", "replication/object", "reconstruction/object", "standing/object", "updater/object", "auditor/object", "expirer/object",
    ),
    "container": ("replication/container", "updater/container", "auditor/container", "sharding"),
    "account": ("replication/account", "auditor/account"),
}  # fmt: skip


class Server(NamedTuple):
    kind: str
    ip: str
    port: int


class Nodes:
    def __init__(self, rings: ClusterRings, swift_dir: str, logger: Any) -> None:
        self._rings = rings
        self._swift_dir = swift_dir
        self._logger = logger
        self._told: dict[str, Any] = {}
        self._asked = float("-inf")
        self._turn = Semaphore(1)

    def told(self) -> dict[str, Any]:
        """As JSON: `{"time", "seconds", "swift_conf_md5", "hosts": [{"ip", "servers", "checks", "devices"}], "hosts_left_out"}`."""
        with self._turn:
            if clock.monotonic() - self._asked > KEPT_SECONDS:
                self._told = self._ask()
                self._asked = clock.monotonic()
            return self._told

    def _ask(self) -> dict[str, Any]:
        began = clock.monotonic()
        hosts = _hosts(self._rings.devices())
        asked = sorted(hosts)[:MOST_HOSTS]
        pool = GreenPool(AT_ONCE)
        end = began + ALL_SECONDS
        found = list(pool.imap(lambda ip: self._host(ip, hosts[ip], end), asked))
        return {
            "time": clock.time(),
            "seconds": round(clock.monotonic() - began, 3),
            "swift_conf_md5": run_in_thread(_digest, os.path.join(self._swift_dir, "swift.conf")),
            "hosts": found,
            "hosts_left_out": len(hosts) - len(asked),
        }

    def _host(self, ip: str, devices: list[tuple[Server, dict[str, Any]]], end: float) -> dict[str, Any]:
        told: dict[str, Any] = {"ip": ip, "servers": [], "checks": {}, "devices": _places(devices)}
        servers = sorted({server for server, _ in devices}, key=lambda s: (KINDS.index(s.kind), s.port))
        told["servers_left_out"] = max(0, len(servers) - MOST_SERVERS)
        if clock.monotonic() > end:
            told["servers"] = [_told(servers[0], 0.0, "", "not asked, as others took too long")]
            return told
        # Side by side: one that is silent takes nobody's time.
        told["servers"] = list(GreenPool(MOST_SERVERS).imap(self._life, servers[:MOST_SERVERS]))
        living = [server for server, life in zip(servers, told["servers"], strict=False) if not life["error"]]
        with Timeout(HOST_SECONDS, False):  # what was heard by then is told
            if living:
                self._look(living[0], OF_THE_HOST, told["checks"])
                self._look_at_other_disks(living[1:], told)
            for kind, checks in OF_A_KIND.items():
                server = next((server for server in living if server.kind == kind), None)
                if server is not None:
                    self._look(server, checks, told["checks"])
        return told

    def _life(self, server: Server) -> dict[str, Any]:
        began = clock.monotonic()
        answer, error = None, "no answer in time"
        with Timeout(LIFE_SECONDS, False):
            answer, error = self._recon(server, "version")
        version = str(answer.get("version", "")) if isinstance(answer, dict) else ""
        return _told(server, clock.monotonic() - began, version, error)

    def _look(self, server: Server, checks: Iterable[str], told: dict[str, Any]) -> None:
        for check in checks:
            answer, error = self._recon(server, check)
            told[check.rstrip("/")] = {"error": error} if error else _needed(check, answer)

    def _look_at_other_disks(self, servers: list[Server], told: dict[str, Any]) -> None:
        """Several storage servers with folders of their own may share an address: disks that the first one does not have."""
        usage = told["checks"].get("diskusage")
        if not isinstance(usage, list):
            return
        missing = {device["device"] for device in told["devices"]} - _names(usage)
        for server in servers:
            if not missing:
                return
            answer, _error = self._recon(server, "diskusage")
            more = [entry for entry in answer if isinstance(entry, dict)] if isinstance(answer, list) else []
            usage += [entry for entry in more if _names([entry]) & missing]
            missing -= _names(more)

    def _recon(self, server: Server, check: str) -> tuple[Any, str]:
        """(answer, '') or (None, what is wrong)."""
        node = {"ip": server.ip, "port": server.port, "device": ""}
        try:
            response = direct.call(
                node,
                "GET",
                f"/recon/{check}",
                conn_timeout=CONNECT_SECONDS,
                response_timeout=ANSWER_SECONDS,
                add_timestamp=False,
            )
            # What is no number in JSON would be no JSON in the page, either.
            return json.loads(response.read_all(MOST_BYTES), parse_constant=lambda _: None), ""
        except direct.DirectError as error:
            if error.http_status == 404:
                return None, "its pipeline has no recon filter, or an older one"
            return None, f"{error.http_status or ''} {error.http_reason}".strip() or "no answer"
        except (BackendError, ValueError, RecursionError) as error:
            return None, str(error)[:200] or type(error).__name__


def _told(server: Server, seconds: float, version: str, error: str) -> dict[str, Any]:
    return {
        "kind": server.kind,
        "port": server.port,
        "milliseconds": round(1000 * seconds, 1),
        "version": version,
        "error": error,
    }


def _hosts(
    devices: Iterable[tuple[str, dict[str, Any]]],
) -> dict[str, list[tuple[Server, dict[str, Any]]]]:
    """Address → (server, device) of what the rings have there."""
    hosts: dict[str, list[tuple[Server, dict[str, Any]]]] = {}
    for kind, device in devices:
        ip = str(device["ip"])
        hosts.setdefault(ip, []).append((Server(kind, ip, int(device["port"])), device))
    return hosts


def _places(devices: list[tuple[Server, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each disk of a host once: `{"device", "region", "zone", "weight": the heaviest in any ring, "kinds"}`."""
    places: dict[str, dict[str, Any]] = {}
    for server, device in devices:
        place = places.setdefault(
            device["device"],
            {
                "device": device["device"],
                "region": device.get("region", 1),
                "zone": device["zone"],
                "weight": 0,
                "kinds": [],
            },
        )
        place["weight"] = max(place["weight"], device["weight"])
        if server.kind not in place["kinds"]:
            place["kinds"].append(server.kind)
    return [places[name] for name in sorted(places)]


def _needed(check: str, answer: Any) -> Any:
    """Of dozens of lines on memory the two that are shown."""
    if check == "mem" and isinstance(answer, dict):
        return {name: answer.get(name) for name in ("MemTotal", "MemAvailable")}
    return answer


def _names(usage: list[Any]) -> set[str]:
    return {
        entry["device"] for entry in usage if isinstance(entry, dict) and isinstance(entry.get("device"), str)
    }


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return md5(file.read(MOST_BYTES)).hexdigest()
    except OSError:
        return ""
