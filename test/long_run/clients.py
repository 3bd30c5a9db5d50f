"""Threads that do what the schedule says, and note what became of it.

What lives here: requests of clients, bodies that tell which write they are from. What never does: judging (`history`).
"""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from test.cluster import Answer
from test.long_run.history import DELETE, POST, PUT, Key, Seen, Write
from test.long_run.schedule import KEYS, Operation
from test.machines import Machines

LIMIT = 60.0  # seconds after which a request is given up, and noted as one that took too long
ALLOWED = {
    "PUT": {201, 202, 503, 507},
    "DELETE": {204, 404, 409, 503, 507},
    "POST": {202, 404, 409, 503, 507},
    "GET": {200, 404, 503},
    "HEAD": {200, 404, 503},
    "LIST": {200, 204, 503},
}
DONE = {"PUT": {201}, "DELETE": {204, 404}, "POST": {202}}


def body_of(number: int, size: int) -> bytes:
    """What the write of that number stores."""
    return random.Random(number).randbytes(size)


@dataclass
class Notes:
    """What all clients saw. `wrong`: what must never be; `counts`: by what happened; `longest`: seconds of a request."""

    keys: dict[tuple[int, str], Key] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def key(self, container: int, name: str) -> Key:
        with self.lock:
            return self.keys.setdefault((container, name), Key())

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def complain(self, text: str) -> None:
        with self.lock:
            self.wrong.append(text)

    def took(self, verb: str, seconds: float) -> None:
        with self.lock:
            self.longest[verb] = max(seconds, self.longest.get(verb, 0.0))


def read_answer(answer: Answer, with_body: bool) -> tuple[Seen, str]:
    """(what was read, what is wrong with it)"""
    if answer.status == 404:
        return Seen(), ""
    try:
        data = int(answer.headers["content-type"].removeprefix("application/x-"))
        metadata = int(answer.headers["x-object-meta-number"])
        size = int(answer.headers["content-length"])
    except (KeyError, ValueError):
        return Seen(), f"an answer without what was stored: {answer}"
    if with_body:
        body = body_of(data, size)
        if answer.body != body:
            return Seen(), f"{len(answer.body)} bytes that are not those of {data}"
        if answer.headers["etag"] != hashlib.md5(body).hexdigest():
            return Seen(), f"the ETag of another object with the content of {data}"
    return Seen(data, metadata), ""


class Client(threading.Thread):
    """Does operations until told to stop. `first`: its numbers of writes begin here."""

    def __init__(
        self,
        machines: Machines,
        notes: Notes,
        containers: list[str],
        stream: Iterator[Operation],
        first: int,
    ) -> None:
        super().__init__(daemon=True)
        self.machines, self.notes, self.containers, self.stream = machines, notes, containers, stream
        self.number = first
        self.stopping = threading.Event()
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def run(self) -> None:
        try:
            while not self.stopping.wait((operation := next(self.stream)).wait):
                self.do(operation)
        except BaseException as err:
            self.notes.complain(f"a client ended: {err!r}")
            raise
        finally:
            for connection in self._connections.values():
                connection.close()

    def do(self, operation: Operation) -> None:
        proxy = self.machines.proxies[operation.proxy]
        verb = operation.verb
        write = None
        headers: dict[str, str] = {}
        body = b""
        if verb in DONE:
            self.number += 1
            write = Write(self.number, {"PUT": PUT, "DELETE": DELETE, "POST": POST}[verb], operation.size)
            headers["X-Object-Meta-Number"] = str(self.number)
            if verb == "PUT":
                headers["Content-Type"] = f"application/x-{self.number}"
                body = body_of(self.number, operation.size)
        container = self.containers[operation.container]
        key = self.notes.key(operation.container, operation.name)
        path = container if verb == "LIST" else f"{container}/{operation.name}"
        before = self._skew(proxy)
        began = time.time()
        if write is not None:
            write.began = began
            write.low = began + before
            write.skewed = bool(before)
            key.add(write)
        answer = self.ask(proxy, "GET" if verb == "LIST" else verb, path, body, headers, verb)
        ended = time.time()
        self.notes.took(verb, ended - began)
        if write is not None:
            self._note_outcome(write, verb, answer, before, ended, proxy)
        elif answer is not None and answer.status in (200, 404) and verb != "LIST":
            self._note_reading(key, verb, path, answer, began, ended)
        elif answer is not None and verb == "LIST" and answer.status == 200:
            self._note_listing(operation, answer)

    def _note_outcome(
        self, write: Write, verb: str, answer: Answer | None, before: float, ended: float, proxy: str
    ) -> None:
        after = self._skew(proxy)
        write.ended = ended
        if before != after:  # which clock it had is not known
            write.low, write.skewed = write.began + min(before, after), True
        if answer is not None and answer.status in DONE[verb]:
            write.high = ended + max(before, after)
            write.acknowledged = True

    def _note_reading(
        self, key: Key, verb: str, path: str, answer: Answer, began: float, ended: float
    ) -> None:
        seen, wrong = read_answer(answer, verb == "GET")
        behind = ""
        if not wrong:
            wrong, behind = key.judge_early(seen, began, ended)
        if wrong:
            self.notes.complain(f"{verb} {path} at {began:.3f}: {wrong}")
        if behind:
            self.notes.count(behind)

    def _note_listing(self, operation: Operation, answer: Answer) -> None:
        for name in answer.body.decode().split():
            if not (name[:1] == "o" and name[1:].isdigit() and int(name[1:]) < KEYS):
                self.notes.complain(f"{name} is listed in {self.containers[operation.container]}")

    def _skew(self, proxy: str) -> float:
        skews: dict[str, float] = self.machines.__dict__.get("skews", {})
        return skews.get(proxy, 0.0)

    def ask(
        self, proxy: str, method: str, path: str, body: bytes, headers: dict[str, str], verb: str
    ) -> Answer | None:
        """None: no answer came."""
        began = time.monotonic()
        connection = self._connections.pop(proxy, None) or self.machines.connection(proxy, LIMIT)
        try:
            connection.request(
                method,
                f"/v1/AUTH_test{path}",
                body=body or (b"" if method == "PUT" else None),
                headers={"X-Auth-Token": self.machines.token, **headers},
            )
            answer = Answer(connection.getresponse())
        except TimeoutError:
            connection.close()
            self.notes.count(f"{verb} without an answer")
            if time.monotonic() - began > LIMIT - 1:
                self.notes.complain(f"{method} {path} was not answered in {LIMIT:.0f} s")
            return None
        except (OSError, http.client.HTTPException):
            connection.close()
            self.notes.count(f"{verb} without an answer")
            self.stopping.wait(0.1)
            return None
        self._connections[proxy] = connection
        self.notes.count(f"{verb} {answer.status}")
        if answer.status not in ALLOWED[verb] or b"Traceback" in answer.body[:2000]:
            self.notes.complain(f"{method} {path}: {answer}")
        return answer
