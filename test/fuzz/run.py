"""Sending changed requests to a cluster, and what must hold of it meanwhile and in the end.

What must hold: each connection is answered or closed in time; no answer is 500; no traceback in a log; processes stay, and have no more
memory or descriptors than before.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from swift.core.hashing import load_hash_config
from swift.ring.lookup import Ring
from swift.wire import signing
from test.cluster import Cluster, sign_requests
from test.fuzz.changes import Changes, framed
from test.fuzz.traffic import (
    ACCOUNT,
    CODED,
    CONTAINER,
    OBJECT,
    UPLOAD_ID,
    Sent,
    all_kinds,
    s3_in_address,
    s3_signed,
)

AT_A_TIME = 24
PATIENCE = 120.0  # seconds for one request; a busy machine takes its time
MAX_SHOWN = 20
PING = b"GET /healthcheck HTTP/1.1\r\nHost: fuzz\r\n\r\n"
# What clients are told by 500, as by the reference: who deletes the container behind a versioned one has to switch versions on anew.
KNOWN = (b"The versions container does not exist",)
# One of the requests may have set a quota, after which nothing is let in.
NO_QUOTA = {f"X-Remove-Container-Meta-Quota-{what}": "x" for what in ("Bytes", "Count")}


@dataclass
class Found:
    """What came of a run."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if len(self.faults) < MAX_SHOWN:
            self.faults.append(text)


class Fuzz:
    """Against a running cluster of `test.cluster`."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.layout = cluster.layout
        load_hash_config(str(self.layout.etc))
        sign_requests()
        self.changes = Changes(all_kinds(str(self.layout.etc)), seed)
        self.addresses = {"proxy": (self.layout.ip, self.layout.port)}
        for node in self._first_nodes():
            self.addresses[node[0]] = node[1]
        self.found = Found()
        self.upload_id = UPLOAD_ID

    def make_ready(self) -> None:
        """What the requests ask for is there."""
        for path, body, headers in (
            ("", None, {"X-Account-Meta-Temp-URL-Key": "fuzz-key"}), ("/fuzz", None, NO_QUOTA), ("/fuzz/o", b"0123456789", {}), ("/fuzz-s3", None, NO_QUOTA), ("/fuzz-s3/o", b"hello", {}),
        ):  # fmt: skip
            answer = self.cluster.request("PUT" if path else "POST", path, body, headers)
            assert answer.status in (201, 202, 204), answer
        begun = next(kind for kind in self.changes.kinds if kind.way == "s3" and kind.query == "uploads")
        answered = asyncio.run(
            self._talk(self.addresses["proxy"], self.bytes_of(begun.copy(), random.Random(0)))
        )
        found = re.search(rb"<UploadId>([^<]+)</UploadId>", answered)
        assert found is not None, answered
        self.upload_id = found[1].decode()

    def _first_nodes(self) -> Iterable[tuple[str, tuple[str, int]]]:
        names = ("AUTH_node", "fuzz", "o")
        for count, kind in ((1, ACCOUNT), (2, CONTAINER), (3, OBJECT), (3, CODED)):
            node = Ring(str(self.layout.etc), kind).get_nodes(*names[:count])[1][0]
            yield kind, (node["ip"], node["port"])

    # -- sending

    def run(self, numbers: Iterable[int]) -> Found:
        """The requests of these numbers."""
        self.make_ready()
        asyncio.run(self._run(iter(numbers)))
        return self.found

    async def _run(self, numbers: Iterable[int]) -> None:
        async def work() -> None:
            for number in numbers:
                await self._one(number)

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))

    async def _one(self, number: int) -> None:
        sent, chance = self.changes.request(number)
        data = self.bytes_of(sent, chance)
        try:
            answer = await asyncio.wait_for(self._talk(self.addresses[sent.to], data), PATIENCE)
        except asyncio.TimeoutError:
            self.found.fault(f"{number}: no answer in {PATIENCE} s: {shown(sent)}")
            return
        statuses = re.findall(rb"(?:\A|\r\n\r\n)HTTP/1\.[01] ([0-9]{3})", answer[:4096])
        status = statuses[-1].decode() if statuses else "none"
        self.found.statuses[f"{sent.to} {status}"] += 1
        if status == "500" and not any(text in answer for text in KNOWN):
            self.found.fault(f"{number}: 500 for {shown(sent)}")

    def bytes_of(self, sent: Sent, chance: random.Random) -> bytes:
        """Now and then between two others on one connection."""
        data = self._alone(sent, chance)
        return PING + data + PING if chance.random() < 0.03 else data

    def _alone(self, sent: Sent, chance: random.Random) -> bytes:
        headers = sent.headers
        sent.query = sent.query.replace(UPLOAD_ID, self.upload_id)
        if sent.way == "token":
            headers = [*headers, ("X-Auth-Token", self.cluster.token)]
        elif sent.way == "s3":
            headers = s3_signed(sent, f"{self.layout.ip}:{self.layout.port}")
        elif sent.way == "s3 in the address":
            host = f"{self.layout.ip}:{self.layout.port}"
            sent.query = s3_in_address(sent, host)
            headers = [*(pair for pair in headers if pair[0].lower() != "host"), ("Host", host)]
        head, body = framed(sent, headers, chance)
        if sent.way == "node":
            return signing.finished(head, body if chance.random() < 0.9 else b"") + body
        return head + b"\r\n" + body

    @staticmethod
    async def _talk(address: tuple[str, int], data: bytes) -> bytes:
        """What comes back, up to the first 64 KiB, until the server closes or says no more."""
        reader, writer = await asyncio.open_connection(*address)
        parts, size = [], 0
        try:
            writer.write(data)
            writer.write_eof()
            while size < 65536:
                part = await reader.read(65536)
                if not part:
                    break
                parts.append(part)
                size += len(part)
        except OSError:
            pass
        finally:
            writer.close()
        return b"".join(parts)

    # -- what the cluster says

    def processes(self) -> dict[int, tuple[int, int]]:
        """pid → (resident bytes, descriptors)."""
        found = {}
        for name in ("proxy", "node1", "node2", "node3", "node4"):
            for pid in self.cluster.pids(name):
                try:
                    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
                    found[pid] = pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd"))
                except OSError:
                    continue
        return found

    def tracebacks(self) -> list[str]:
        """The first one of each log."""
        found = []
        for path in sorted(self.layout.log.iterdir()):
            text = path.read_text(errors="replace")
            at = text.find("Traceback")
            if at >= 0:
                found.append(f"{path.name}: {text[max(0, at - 600) : at + 3000]}")
        return found


def shown(sent: Sent) -> str:
    """In one line, not too long a one."""
    target = sent.path + (f"?{sent.query}" if sent.query else "")
    text = f"{sent.to} {sent.way} {sent.method} {target} {sent.headers} {sent.body[:200]!r}{' chunked' if sent.chunked else ''}"
    return ascii(text)[1:1500]
