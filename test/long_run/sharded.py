"""Containers of the long run that are split, merged and put together again while clients write and things break.

What lives here: small thresholds, when containers are to be in shards, and what must be true of their rows then. What never does: the rows
of containers that are in one piece (`replicas`).
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from swift.ring.lookup import Ring
from test.cluster import Answer
from test.machines import Machines

# Of some twenty objects: that is three to five shards, of which some become too small or too large all the time.
OPTIONS = (
    "shard_container_threshold = 12\nrows_per_shard = 5\nminimum_shard_size = 2\nshrink_threshold = 2\nexpansion_limit = 9\n"
    "cleave_batch_size = 2\ncleave_row_batch_size = 3"
)
WHOLE_EVERY = 3  # of so many rounds one puts the containers together again
Rows = dict[str, list[object]]


class Sharded:
    """`ring`: of containers."""

    def __init__(self, machines: Machines, containers: list[str], ring: Ring) -> None:
        self.machines = machines
        self.containers = containers
        self.ring = ring
        self.states: dict[
            str, int
        ] = {}  # database state → replicas that were found in it at the end of a round

    def switch(self, number: int) -> None:
        """Before a round: containers are to be in shards, or in one piece."""
        wanted = "off" if number % WHOLE_EVERY == 0 else "on"
        token = self.machines.authenticate("admin:admin", "admin")
        for container in self.containers:
            headers = {"X-Container-Sharding": wanted, "X-Auth-Token": token}
            answer = self.machines.ask(self.machines.proxies[0], "POST", container, headers=headers)
            if answer.status != 204:
                raise OSError(f"POST {container}: {answer}")

    def note_states(self) -> None:
        """At the end of a round."""
        for container in self.containers:
            for node in self.ring.get_nodes("AUTH_test", container.strip("/"))[1]:
                headers = self._ask(node, f"AUTH_test{container}", "HEAD").headers
                state = headers.get("x-backend-sharding-state", "none")
                self.states[state] = self.states.get(state, 0) + 1

    def listing(self, container: str, rows: Rows, totals: list[int]) -> list[str]:
        """What clients are told of a container, and what its shards' replicas have, that is not what there is."""
        wrong = []
        for proxy in self.machines.proxies:
            for query in ("", "&reverse=true", "&limit=3"):
                listed, where = self._listed(proxy, container, query), f"{container} by {proxy} {query}"
                if isinstance(listed, str):
                    wrong.append(f"{where}: {listed}")
                    continue
                names = [str(row["name"]) for row in listed]
                if names != sorted(rows, reverse="reverse" in query):
                    wrong.append(f"{where}: lists {names}, there are {sorted(rows)}")
                wrong += _differences(where, rows, listed)
            answer = self.machines.ask(proxy, "HEAD", container)
            counted = [answer.headers.get(f"x-container-{what}") for what in ("object-count", "bytes-used")]
            if counted != [str(number) for number in totals]:
                wrong.append(f"{container} by {proxy}: counts {counted}, there are {totals}")
        for node in self.ring.get_nodes("AUTH_test", container.strip("/"))[1]:
            wrong += self._replica(node, container, rows)
        return wrong

    def _listed(self, proxy: str, container: str, query: str) -> list[dict[str, Any]] | str:
        """All rows, page by page; what went wrong."""
        found: list[dict[str, Any]] = []
        while True:
            marker = f"&marker={found[-1]['name']}" if found else ""
            answer = self.machines.ask(proxy, "GET", f"{container}?format=json{query}{marker}")
            if answer.status != 200:
                return str(answer)
            page = json.loads(answer.body)
            found += page
            if not page or len(found) > 1000:
                return found

    def _replica(self, node: dict[str, Any], container: str, rows: Rows) -> list[str]:
        """Of the shards that a replica of a container knows, all replicas have the rows."""
        answer = self._ask(
            node, f"AUTH_test{container}", "GET", "?format=json", {"X-Backend-Record-Type": "shard"}
        )
        if answer.status not in (200, 204):
            return [f"{container} on {node['device']}: {answer}"]
        if answer.headers.get("x-backend-sharding-state") != "sharded":
            return []
        wrong = []
        for item in json.loads(answer.body or b"[]"):
            inside = {
                name: row
                for name, row in rows.items()
                if item["lower"] < name and (not item["upper"] or name <= item["upper"])
            }
            nodes = self.ring.get_nodes(*item["name"].split("/", 1))[1]
            with ThreadPoolExecutor(3) as pool:
                for there, found in zip(
                    nodes, pool.map(lambda n, i=item: self._ask(n, i["name"]), nodes), strict=True
                ):
                    where = f"{item['name']} on {there['device']}"
                    if found.status not in (200, 204):
                        wrong.append(f"{where}: {found}")
                    elif found.headers.get("x-backend-sharding-state") in ("unsharded", "collapsed"):
                        wrong += _differences(where, inside, json.loads(found.body or b"[]"))
        return wrong

    def _ask(
        self,
        node: dict[str, Any],
        path: str,
        method: str = "GET",
        query: str = "?format=json&limit=10000",
        headers: dict[str, str] | None = None,
    ) -> Any:
        number = int(str(node["zone"]))
        port = self.machines.layout.storage_address("container", number)[1]
        part = self.ring.get_part(*path.split("/", 1))
        connection = self.machines.storage_connection(number, port)
        try:
            connection.request(method, f"/{node['device']}/{part}/{path}{query}", headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()


def _differences(where: str, rows: Rows, listed: list[dict[str, Any]]) -> list[str]:
    found = {row["name"]: [row["bytes"], row["hash"], row["content_type"]] for row in listed}
    return [
        f"{where}: {name} is {rows.get(name)}, listed as {found.get(name)}"
        for name in sorted({*rows, *found})
        if rows.get(name) != found.get(name)
    ]
