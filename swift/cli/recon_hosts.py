"""Which servers the rings have, and asking all of them for what they know of themselves, at once.

What lives here: rings, asking. What never does: what answers mean. Nobody who is silent is waited for more than twice, and
names are looked up beside the event loop.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout, sleep
from swift.core.policy import StoragePolicy, policies
from swift.engine.resolver import HostAddress
from swift.ring.lookup import Ring
from swift.survey.answers import OPTIONS, Answer, Host
from swift.survey.failures import failed
from swift.wire import direct
from swift.wire.client import BackendError, ConnectError
from swift.wire.message import HeaderKeyDict

AT_ONCE = 100
MOST_SILENCES = 2  # of one host, after which it is asked nothing more
MOST_WAITS = 4  # for one answer: the address, the connection, its head, its body
MAX_DOCUMENT = 16 * 1024 * 1024
_STREAM = 1  # SOCK_STREAM


class Rings:
    """The rings of one folder, opened as they are needed. Raises RingError, OSError from its methods."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._opened: dict[str, Ring] = {}

    def ring(self, name: str) -> Ring:
        if name not in self._opened:
            self._opened[name] = Ring(os.path.join(self.directory, f"{name}.ring.gz"))
        return self._opened[name]

    def devices(self, kind: str, policy: StoragePolicy | None = None) -> list[dict[str, Any]]:
        """The devices of all rings of a kind of server; of one policy's, if it is given and they are object servers."""
        names = [kind]
        if kind == "object":
            names = [one.ring_name for one in policies() if policy is None or one is policy]
        return [dict(device) for name in names for device in self.ring(name).devs if device is not None]

    def hosts(
        self,
        kind: str,
        policy: StoragePolicy | None = None,
        region: int | None = None,
        zone: int | None = None,
    ) -> list[Host]:
        found = {
            Host(device["ip"], device["port"])
            for device in self.devices(kind, policy)
            if region in (None, device["region"]) and zone in (None, device["zone"])
        }
        return sorted(found)


def one_port_each(hosts: Iterable[Host]) -> list[Host]:
    """One server of each machine."""
    found: dict[str, Host] = {}
    for host in hosts:
        found.setdefault(host.ip, host)
    return list(found.values())


def ask(
    questions: Iterable[tuple[Host, Sequence[str]]],
    seconds: float,
    at_once: int = AT_ONCE,
    within: float = float("inf"),
) -> list[Answer]:
    """The answers, those of a host in the order of its questions. `seconds`: for a connection, and for each answer; `within`: for all."""
    pool = GreenPool(at_once)
    end = clock.monotonic() + within
    found: list[Answer] = []
    for answers in pool.imap(lambda pair: _ask_host(pair[0], pair[1], seconds, end), list(questions)):
        found += answers
    return found


def _ask_host(host: Host, questions: Sequence[str], most_seconds: float, end: float) -> list[Answer]:
    answers: list[Answer] = []
    silences = 0
    given_up = ""
    address = ""
    for question in questions:
        if given_up:
            answers.append(Answer(host, question, error=given_up))
            continue
        seconds = min(most_seconds, end - clock.monotonic())
        if seconds <= 0:
            given_up = "not asked in time"
            answers.append(Answer(host, question, error=given_up))
            continue
        began = clock.time()
        try:
            # one that answers drop by drop is as good as silent
            answer = Answer(host, question, error="timed out")
            with Timeout(min(MOST_WAITS * most_seconds, end - clock.monotonic()), False):
                address = address or _address(host, seconds)
                answer = _one(host, address, question, seconds)
            silences += answer.status is None
            if silences >= MOST_SILENCES:
                given_up = answer.error
        except OSError as error:
            answer = Answer(host, question, error=f"<urlopen error {error}>")
            given_up = answer.error
        except direct.DirectError as error:
            answer, silent = failed(host, question, error)
            silences += silent
            if isinstance(error.__cause__, ConnectError) or silences >= MOST_SILENCES:
                given_up = answer.error
        answers.append(answer._replace(began=began, ended=clock.time()))
    return answers


def _one(host: Host, address: str, question: str, seconds: float) -> Answer:
    """Raises DirectError."""
    node = {"ip": address, "port": host.port, "device": ""}
    method, path = ("OPTIONS", "/") if question == OPTIONS else ("GET", f"/recon/{question}")
    response = direct.call(node, method, path, conn_timeout=seconds, response_timeout=seconds)
    try:
        data = response.read_all(MAX_DOCUMENT)
    except BackendError as error:
        response.close()
        raise direct.DirectError(method, node, path, reason=str(error)) from error
    if question == OPTIONS:
        server = HeaderKeyDict(response.headers).get("Server") or ""
        return Answer(host, question, server, status=response.status)
    try:
        return Answer(host, question, json.loads(data), status=response.status)
    except (ValueError, RecursionError) as error:
        return Answer(host, question, error=f"no JSON: {error}", status=response.status)


def _address(host: Host, seconds: float) -> str:
    """The numbers of a host. Raises OSError."""
    known = HostAddress(host.ip, host.port, _STREAM)
    end = clock.monotonic() + seconds
    while True:
        found = known.get()
        if found is not None:
            return str(found[1][0])
        if known.error is not None:
            raise OSError(f"{host.ip}: {known.error}")
        if clock.monotonic() >= end:
            raise OSError(f"{host.ip}: its address is not known in time")
        sleep(0.02)
