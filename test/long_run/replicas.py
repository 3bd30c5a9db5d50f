"""What is on the disks and in the databases once all is quiet, compared.

What lives here: the comparison of all copies with each other, and with what clients read. Each function returns what is wrong, in
words; nothing for all is well. What never does: waiting for it, and what clients had written (`history`).
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from swift.core import hashing
from swift.obj.files import metadata
from swift.ring.lookup import Ring
from test.cluster import Answer
from test.long_run.clients import Notes, read_answer
from test.long_run.history import Seen
from test.long_run.leftovers import sort_out
from test.long_run.schedule import KEYS
from test.long_run.sharded import Sharded
from test.machines import Machines

ACCOUNT = "AUTH_test"


@dataclass(frozen=True)
class Found:
    """What all readers got of an object. `size`, `etag`: of its content."""

    seen: Seen
    size: int = 0
    etag: str = ""


class Replicas:
    """`policies`: container → index of its policy; `rebuilds`: lost fragments come back, so that all must be there."""

    def __init__(self, machines: Machines, policies: dict[str, int], rebuilds: bool) -> None:
        self.machines = machines
        self.sharded: Sharded | None = None  # who looks at containers that may be in shards
        self.policies = policies
        self.rebuilds = rebuilds
        etc = str(machines.layout.etc)
        hashing.load_hash_config(etc)
        self.rings = {
            "account": Ring(f"{etc}/account.ring.gz"),
            "container": Ring(f"{etc}/container.ring.gz"),
            0: Ring(f"{etc}/object.ring.gz"),
            2: Ring(f"{etc}/object-2.ring.gz"),
        }

    # -- disks

    def unsent(self) -> list[str]:
        """Updates of listings that nobody has taken yet."""
        found = []
        for node, device in self.machines.devices():
            for top in _below(self.machines.path_of(device)):
                if top.name.startswith("async_pending"):
                    for file in (file for suffix in _below(top) for file in _below(suffix)):
                        found.append(f"node {node}: {top.name}/{file.name} was not delivered")
        return found

    def objects(self) -> list[str]:
        """Whole copies that differ, are missing, or are where they do not belong; with `rebuilds` fragments too."""
        wrong = self._copies("objects", self.rings[0])
        return wrong + (self._fragments() if self.rebuilds else [])

    def _files(self, top: str) -> dict[tuple[int, str], dict[str, list[pathlib.Path]]]:
        """(partition, hash) → device → files."""
        found: dict[tuple[int, str], dict[str, list[pathlib.Path]]] = defaultdict(dict)
        for _, device in self.machines.devices():
            for partition in _below(self.machines.path_of(device) / top):
                for suffix in _below(partition):
                    if len(suffix.name) != 3:
                        continue
                    for directory in _below(suffix):
                        files = _below(directory)
                        if files:
                            found[int(partition.name), directory.name][device] = files
        return found

    def _copies(self, top: str, ring: Ring) -> list[str]:
        wrong = []
        for (part, name), places in self._files(top).items():
            counting, left = sort_out(_names(places), ec=False)
            wrong += [f"{top}/{part}/{name}: {text}" for text in left]
            primaries = {node["device"] for node in ring.get_part_nodes(part)}
            if set(counting) != primaries:
                wrong.append(f"{top}/{part}/{name} is on {_names(places)}, not on {sorted(primaries)}")
                continue
            contents = {
                device: [_content(file) for file in places[device] if file.name in names]
                for device, names in counting.items()
            }
            if any(content != contents[min(contents)] for content in contents.values()):
                wrong.append(f"the copies of {top}/{part}/{name} differ: {contents}")
        return wrong

    def _fragments(self) -> list[str]:
        wrong = []
        for (part, name), places in self._files("objects-2").items():
            there, left = sort_out(_names(places), ec=True)
            wrong += [f"objects-2/{part}/{name}: {text}" for text in left]
            if not there:
                continue
            some = there[min(there)]
            expected = {
                node["device"]: sorted(
                    f"{one.partition('#')[0]}#{index}#d.data" if "#" in one else one for one in some
                )
                for index, node in enumerate(self.rings[2].get_part_nodes(part))
            }
            if there != expected:
                wrong.append(f"objects-2/{part}/{name}: {there}, not {expected}")
        return wrong

    def touch_all(self) -> None:
        """Read each whole copy where it lies, so that its server finds what has rotted."""
        names = {
            hashing.hash_path(ACCOUNT, container.strip("/"), f"o{number:03d}"): f"{container}/o{number:03d}"
            for container in self.policies
            for number in range(KEYS)
        }
        jobs = [
            (part, device, names[name_hash])
            for (part, name_hash), places in self._files("objects").items()
            for device in places
        ]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda job: self._touch(*job), jobs))

    def _touch(self, part: int, device: str, path: str) -> None:
        node = next(node for node, other in self.machines.devices() if other == device)
        with contextlib.suppress(http.client.HTTPException, OSError):  # a body that ends early is the sign
            self._ask(node, "object", device, part, f"/{ACCOUNT}{path}")

    # -- requests

    def _ask(self, node: int, server: str, device: str, part: int, path: str, method: str = "GET") -> Answer:
        port = self.machines.layout.storage_address(server, node)[1]
        connection = self.machines.storage_connection(node, port)
        try:
            connection.request(method, f"/{device}/{part}{path}")
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def read(self, notes: Notes) -> tuple[dict[tuple[int, str], Found], list[str]]:
        """What of each key is read through each proxy, and what of that must not be."""
        containers = list(self.policies)
        wrong: list[str] = []
        found: dict[tuple[int, str], Found] = {}

        def look(item: tuple[int, str]) -> None:
            key = notes.keys[item]
            path = f"{containers[item[0]]}/{item[1]}"
            results = []
            for proxy, headers in zip(self.machines.proxies, ({}, {"X-Newest": "true"}), strict=True):
                answer = self.machines.ask(proxy, "GET", path, headers=headers)
                if answer.status not in (200, 404):
                    wrong.append(f"GET {path}: {answer}")
                    return
                seen, problem = read_answer(answer, True)
                problem = problem or key.judge(seen)
                if problem:
                    wrong.append(f"GET {path} {headers}: {problem}; it had {key.writes}")
                    return
                results.append(Found(seen, len(answer.body), answer.headers.get("etag", "")))
            if results[0] != (results[1] if seen.data else Found(Seen(), results[1].size)) and seen.data:
                wrong.append(f"GET {path}: the proxies do not agree: {results}")
            found[item] = results[0]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(look, list(notes.keys)))
        return found, wrong

    def listings(self, notes: Notes, found: dict[tuple[int, str], Found]) -> list[str]:
        """Rows and counters of each replica of each container and of the account that are not those of the objects."""
        wrong = []
        totals = {}
        for index, container in enumerate(self.policies):
            rows = {
                name: [there.size, there.etag, f"application/x-{there.seen.data}"]
                for (number, name), there in sorted(found.items())
                if number == index and there.seen.data
            }
            size = sum(int(row[0]) for row in rows.values())
            totals[container.strip("/")] = [len(rows), size]
            if self.sharded is not None:
                wrong += self.sharded.listing(container, rows, [len(rows), size])
                continue
            part, nodes = self.rings["container"].get_nodes(ACCOUNT, container.strip("/"))
            for node in nodes:
                wrong += self._listing(node, part, container, rows, [len(rows), size])
        part, nodes = self.rings["account"].get_nodes(ACCOUNT)
        for node in nodes:
            wrong += self._account(node, part, totals)
        return wrong

    def _listing(
        self,
        node: dict[str, object],
        part: int,
        container: str,
        rows: dict[str, list[object]],
        totals: list[int],
    ) -> list[str]:
        number, device = int(str(node["zone"])), str(node["device"])
        answer = self._ask(
            number, "container", device, part, f"/{ACCOUNT}{container}?format=json&limit=10000"
        )
        where = f"{container} on node {number}"
        if answer.status not in (200, 204):
            return [f"{where}: {answer}"]
        listed = {
            row["name"]: [row["bytes"], row["hash"], row["content_type"]]
            for row in json.loads(answer.body or b"[]")
        }
        wrong = []
        for name in sorted({*rows, *listed}):
            if rows.get(name) != listed.get(name):
                wrong.append(f"{where}: {name} is {rows.get(name)}, listed as {listed.get(name)}")
        counted = [int(answer.headers[f"x-container-{what}"]) for what in ("object-count", "bytes-used")]
        if counted != totals:
            wrong.append(f"{where}: counts {counted}, there are {totals}")
        return wrong

    def _account(self, node: dict[str, object], part: int, totals: dict[str, list[int]]) -> list[str]:
        number, device = int(str(node["zone"])), str(node["device"])
        answer = self._ask(number, "account", device, part, f"/{ACCOUNT}?format=json")
        if answer.status not in (200, 204):
            return [f"the account on node {number}: {answer}"]
        listed = {row["name"]: [row["count"], row["bytes"]] for row in json.loads(answer.body or b"[]")}
        wrong = []
        if listed != totals:
            wrong.append(f"the account on node {number} lists {listed}, there are {totals}")
        counted = [
            int(answer.headers[f"x-account-{what}"])
            for what in ("container-count", "object-count", "bytes-used")
        ]
        expected = [len(totals), sum(n for n, _ in totals.values()), sum(size for _, size in totals.values())]
        if counted != expected:
            wrong.append(f"the account on node {number}: counts {counted}, there are {expected}")
        return wrong


def _below(directory: pathlib.Path) -> list[pathlib.Path]:
    """Sorted; nothing of what is removed while we look, or is no directory."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _names(places: dict[str, list[pathlib.Path]]) -> dict[str, list[str]]:
    return {device: [file.name for file in files] for device, files in places.items()}


def _content(file: pathlib.Path) -> tuple[str, str, object]:
    """Name, digest of the bytes, and metadata of a file."""
    try:
        fd = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return file.name, "", "gone"
    try:
        with os.fdopen(os.dup(fd), "rb") as opened:
            digest = hashlib.md5(opened.read()).hexdigest()
        return file.name, digest, metadata.read(fd)
    except Exception as err:
        return file.name, "", repr(err)
    finally:
        os.close(fd)
