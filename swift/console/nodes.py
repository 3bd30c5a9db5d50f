"""What the storage nodes say of themselves: their recon, asked by this proxy of all hosts that the rings name.

What lives here: which checks are asked, of whom, within which bounds, and the answers as plain data for the operator's view. What never
does: judging them (`survey`), and any address, path or verb that comes from a request.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPool, Semaphore, Timeout
from swift.core.hashing import md5
from swift.engine.threads import run_in_thread
from swift.survey.answers import Answer, Host
from swift.survey.failures import failed
from swift.survey.figures import clock_off
from swift.survey.findings import findings, why
from swift.survey.rings import ClusterRings
from swift.survey.state import QUESTIONS, state
from swift.telemetry import families
from swift.telemetry.metric_table import TABLE
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
MOST_FINDINGS = 100

KINDS = ("object", "container", "account")
# Asked of one server of a host: all of them see the same machine.
OF_THE_HOST = (
    "load", "mem", "diskusage", "unmounted", "quarantined", "driveaudit", "time", "ringmd5", "swiftconfmd5", "relinker",
)  # fmt: skip
# Shown of a server of that kind: its daemons' recon files may be others. All are asked what is judged.
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

    @property
    def host(self) -> Host:
        return Host(self.ip, self.port)


class Nodes:
    def __init__(self, rings: ClusterRings, swift_dir: str, logger: Any) -> None:
        self._rings = rings
        self._swift_dir = swift_dir
        self._logger = logger
        self._told: dict[str, Any] = {}
        self._waits = Waits()
        self._asked = float("-inf")
        self._turn = Semaphore(1)

    def told(self) -> dict[str, Any]:
        """As JSON: `{"time", "seconds", "findings", "hosts": [{"ip", "servers", "checks", "devices", "offset"}], "hosts_left_out"}`."""
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
        answers: dict[str, list[Answer]] = {kind: [] for kind in QUESTIONS}
        for _, heard in found:
            for kind, answer in heard:
                answers[kind].append(answer)
        return {
            "time": clock.time(),
            "seconds": round(clock.monotonic() - began, 3),
            "hosts": [host for host, _ in found],
            "hosts_left_out": len(hosts) - len(asked),
            "findings": self._judged(answers),
        }

    def _judged(self, answers: dict[str, list[Answer]]) -> list[dict[str, str]]:
        rings = self._rings.told()["rings"]
        here = {f"{ring['name']}.ring.gz": ring["md5"] for ring in rings if not ring.get("missing")}
        conf = run_in_thread(_digest, os.path.join(self._swift_dir, "swift.conf"))
        if conf:
            here["swift.conf"] = conf
        seen = state(answers, here, clock.time(), rings, self._waits.told())
        return [found._asdict() for found in findings(seen, self._swift_dir)[:MOST_FINDINGS]]

    def _host(
        self, ip: str, devices: list[tuple[Server, dict[str, Any]]], end: float
    ) -> tuple[dict[str, Any], list[tuple[str, Answer]]]:
        """(what the page draws, the answers by kind of server)."""
        told: dict[str, Any] = {
            "ip": ip,
            "servers": [],
            "checks": {},
            "devices": _places(devices),
            "offset": None,
        }
        servers = sorted({server for server, _ in devices}, key=lambda s: (KINDS.index(s.kind), s.port))
        told["servers_left_out"] = max(0, len(servers) - MOST_SERVERS)
        servers = servers[:MOST_SERVERS]
        if clock.monotonic() > end:
            late = [
                Answer(server.host, "version", error="not asked, as others took too long")
                for server in servers
            ]
            told["servers"] = [_told(servers[0], late[0])]
            return told, [(server.kind, answer) for server, answer in zip(servers, late, strict=True)]
        # Side by side: one that is silent takes nobody's time.
        lives = list(GreenPool(MOST_SERVERS).imap(self._life, servers))
        told["servers"] = [_told(server, life) for server, life in zip(servers, lives, strict=True)]
        heard = [(server.kind, life) for server, life in zip(servers, lives, strict=True)]
        living = [server for server, life in zip(servers, lives, strict=True) if life.came]
        asked = [
            (server, _questions(server.kind, at == 0, server == _first(living, server.kind)))
            for at, server in enumerate(living)
        ]
        for (server, _), answers in zip(asked, GreenPool(MOST_SERVERS).imap(self._heard, asked), strict=True):
            heard += [(server.kind, answer) for answer in answers]
        self._show(told, living, [answer for _, answer in heard])
        return told, heard

    def _life(self, server: Server) -> Answer:
        began = clock.time()
        with Timeout(LIFE_SECONDS, False):
            return self._recon(server, "version")
        return Answer(server.host, "version", error="no answer in time", began=began, ended=clock.time())

    def _heard(self, asked: tuple[Server, list[str]]) -> list[Answer]:
        server, questions = asked
        answers: list[Answer] = []
        with Timeout(HOST_SECONDS, False):  # what was heard by then is told
            for question in questions:
                answers.append(self._recon(server, question))
        return answers

    @staticmethod
    def _show(told: dict[str, Any], living: list[Server], answers: list[Answer]) -> None:
        """The checks of a host, as the page draws them."""
        by_question: dict[tuple[Host, str], Answer] = {(one.host, one.question): one for one in answers}

        def look(server: Server, checks: Iterable[str]) -> None:
            for check in checks:
                answer = by_question.get((server.host, check))
                if answer is not None:
                    told["checks"][check] = _needed(check, answer)

        if living:
            look(living[0], OF_THE_HOST)
        for kind, checks in OF_A_KIND.items():
            server = _first(living, kind)
            if server is not None:
                look(server, checks)
        if isinstance(told["checks"].get("diskusage"), list):
            # Several storage servers with folders of their own may share an address: disks that the first one does not have.
            usage = told["checks"]["diskusage"] = [*told["checks"]["diskusage"]]
            missing = {device["device"] for device in told["devices"]} - _names(usage)
            for server in living[1:]:
                answer = by_question.get((server.host, "diskusage"))
                more = answer.document if answer is not None and isinstance(answer.document, list) else []
                usage += [one for one in more if _names([one]) & missing]
                missing -= _names(more)
        clocks = [answer for answer in answers if answer.question == "time" and clock_off(answer) is not None]
        if clocks:
            off = clock_off(clocks[0]) or 0.0
            told["offset"] = off if clocks[0].document > clocks[0].ended else -off

    def _recon(self, server: Server, check: str) -> Answer:
        node = {"ip": server.ip, "port": server.port, "device": ""}
        began = clock.time()
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
            document = json.loads(response.read_all(MOST_BYTES), parse_constant=lambda _: None)
            answer = Answer(server.host, check, document, status=200)
        except direct.DirectError as error:
            answer, _ = failed(server.host, check, error)
            if not answer.error:
                answer = answer._replace(error="no answer")
        except (BackendError, ValueError, RecursionError) as error:
            answer = Answer(server.host, check, error=str(error)[:200] or type(error).__name__)
        return answer._replace(began=began, ended=clock.time())


class Waits:
    """How long this proxy, with all its workers, waits for each node to begin its answers, and what failed, since it was asked last."""

    def __init__(self) -> None:
        self._before: dict[str, list[float]] = {}

    def told(self) -> dict[str, dict[str, Any]]:
        """Address → `{"milliseconds": of an answer or None, "errors": how many}`."""
        now: dict[str, list[float]] = {}
        for key, value in run_in_thread(TABLE.merged, TABLE.as_json()).values.items():
            at = _COUNTED.get(key[0])
            if at is not None and len(key) > 2:
                now.setdefault(key[2].rpartition(":")[0].strip("[]"), [0.0, 0.0, 0.0])[at] += value
        before, self._before = self._before, now
        found = {}
        for ip, (answers, seconds, errors) in now.items():
            old = before.get(ip, [0.0, 0.0, errors])
            if answers <= old[0]:  # nothing new: what is known in all
                old = [0.0, 0.0, old[2]]
            mean = 1000 * (seconds - old[1]) / (answers - old[0]) if answers else None
            found[ip] = {"milliseconds": mean, "errors": max(0, int(errors - old[2]))}
        return found


_COUNTED = {families.NODE_WAITS: 0, families.NODE_SECONDS: 1, families.BACKEND_ERRORS: 2}


def _first(servers: list[Server], kind: str) -> Server | None:
    return next((server for server in servers if server.kind == kind), None)


def _questions(kind: str, is_first: bool, is_first_of_its_kind: bool) -> list[str]:
    """What a living server is asked beside `version`: what is judged of each, and what is shown of its host."""
    shown = (*(OF_THE_HOST if is_first else ()), *(OF_A_KIND[kind] if is_first_of_its_kind else ()))
    return [one for one in dict.fromkeys((*shown, *QUESTIONS[kind])) if one != "version"]


def _told(server: Server, life: Answer) -> dict[str, Any]:
    version = life.document.get("version") if isinstance(life.document, dict) else ""
    return {
        "kind": server.kind,
        "port": server.port,
        "milliseconds": round(1000 * (life.ended - life.began), 1),
        "version": str(version or ""),
        "error": _words(life),
    }


def _words(answer: Answer) -> str:
    """Why there is no answer, for people."""
    if answer.status == 404:
        return "its pipeline has no recon filter, or an older one"
    return why([answer.error]) if answer.error else ""


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


def _needed(check: str, answer: Answer) -> Any:
    """What the page is told; of dozens of lines on memory the two that are shown."""
    if not answer.came:
        return {"error": _words(answer)}
    if check == "mem" and isinstance(answer.document, dict):
        return {name: answer.document.get(name) for name in ("MemTotal", "MemAvailable")}
    return answer.document


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
