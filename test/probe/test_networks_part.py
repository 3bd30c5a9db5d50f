"""Nodes in network namespaces, whose links are cut, one way or both, slow or losing packets.

Requests end within their time limits, whatever is behind them; nothing that was acknowledged is lost; and when the links are back
the newest of what both sides wrote is what all have.
"""

import hashlib
import itertools
import json
import random
import threading
import time

import pytest

from swift.core import hashing
from swift.ring.lookup import Ring
from test import network
from test.cluster import Answer
from test.machines import Machines
from test.network import Rule

LIMIT = 30.0  # seconds: several times what the slowest request may take with these settings
OPTIONS = {"app:proxy-server": "node_timeout = 3\nerror_suppression_interval = 1"}
HALVES = (("node1", "node2", "front1"), ("node3", "node4", "front2"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    if why := network.why_not():
        pytest.skip(why)
    with Machines(
        tmp_path_factory.mktemp("parts") / "saio", "folder", options=OPTIONS, quick=True
    ) as machines:
        yield machines
        for path in sorted(machines.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path


@pytest.fixture
def machines(shared):
    yield shared
    shared.network.set_rules()
    for name in (*(f"node{node}" for node in (1, 2, 3, 4)), *shared.daemons, *shared.proxies):
        if name not in shared.running():
            shared.revive(name)


@pytest.fixture
def policy():
    return "gold"


@pytest.fixture
def container(machines, request, policy):
    path = "/" + request.node.name.replace("[", "-").replace("]", "").replace(" ", "-").replace("_", "-")
    answer = ask(machines, "proxy1", "PUT", path, headers={"X-Storage-Policy": policy})
    assert answer.status == 201
    return path


def ask(machines, proxy, method, path, body=None, headers=None) -> Answer:
    """One request, which must end in time."""
    began = time.monotonic()
    answer = machines.ask(proxy, method, path, body, headers, LIMIT)
    assert time.monotonic() - began < LIMIT
    return answer


class Users:
    """Who put and read objects through both proxies, until told to stop. `acknowledged`: name → body."""

    def __init__(self, machines, container):
        self.machines, self.container = machines, container
        self.acknowledged, self.refused, self.wrong = {}, [], []
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(proxy, number))
            for number, proxy in enumerate(machines.proxies)
        ]

    def _run(self, proxy, number):
        chance = random.Random(number)
        try:
            for count in itertools.count():
                if self.stopping.is_set():
                    return
                name = f"{number}-{count:04d}"
                body = chance.randbytes(chance.choice((0, 100, 5000, 200_000)))
                answer = ask(self.machines, proxy, "PUT", f"{self.container}/{name}", body)
                if answer.status == 201:
                    self.acknowledged[name] = body
                else:
                    assert answer.status == 503, answer
                    self.refused.append(name)
                name = chance.choice([*self.acknowledged, name])
                answer = ask(self.machines, proxy, "GET", f"{self.container}/{name}")
                if name in self.acknowledged:
                    assert (answer.status, answer.body == self.acknowledged[name]) == (200, True), name
        except BaseException as err:
            self.wrong.append(err)
            raise

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.wrong

    def go_on(self, count):
        """Returns when so many more uploads have come to an end."""
        wanted = len(self.acknowledged) + len(self.refused) + count
        end = time.monotonic() + count * LIMIT
        while len(self.acknowledged) + len(self.refused) < wanted:
            assert time.monotonic() < end and not self.wrong
            time.sleep(0.02)

    def check(self):
        for name, body in self.acknowledged.items():
            for proxy in self.machines.proxies:
                answer = ask(self.machines, proxy, "GET", f"{self.container}/{name}")
                assert (answer.status, answer.body == body) == (200, True), (name, answer)


CUTS = {
    "both ways": [Rule("*", "node2", loss=1), Rule("node2", "*", loss=1)],
    "to it": [Rule("*", "node2", loss=1)],
    "from it": [Rule("node2", "*", loss=1)],
}


@pytest.mark.parametrize(("policy", "cut"), [*(("gold", cut) for cut in CUTS), ("ec42", "both ways")])
def test_a_node_that_is_cut_off(machines, container, cut):
    """One of four: nobody is refused, and what was written meanwhile is readable before and after."""
    with Users(machines, container) as users:
        users.go_on(6)
        machines.network.set_rules(*CUTS[cut])
        users.go_on(8)
        machines.network.set_rules()
        users.go_on(4)
    assert len(users.refused) <= 2
    users.check()


def test_connections_of_which_one_end_is_gone(machines, container):
    """The node was restarted while nobody could be told: what the proxies have in their pools leads nowhere."""
    with Users(machines, container) as users:
        users.go_on(6)
        machines.network.set_rules(*CUTS["both ways"])
        machines.kill("node2")
        machines.revive("node2")
        machines.network.set_rules()
        users.go_on(10)
    assert len(users.refused) <= 2
    users.check()


@pytest.mark.parametrize("policy", ["gold", "ec42"])
def test_a_network_that_is_slow_and_loses_packets(machines, container):
    with Users(machines, container) as users:
        machines.network.set_rules(Rule("*", "*", loss=0.02, delay=0.01), Rule("*", "node3", delay=0.1))
        users.go_on(8)
        machines.network.set_rules()
    assert len(users.acknowledged) > 2
    users.check()


def test_two_halves_that_write_different_things(machines, container):
    """Each half is enough for a quorum. Joined, the newest of what was acknowledged wins, in listings too."""
    put = lambda proxy, name, body: ask(machines, proxy, "PUT", f"{container}/{name}", body).status  # noqa: E731
    expected = {}
    for name in ("both", "deleted", "kept"):
        assert put("proxy1", name, b"before") == 201
        expected[name] = {b"before"}
    rules = [
        Rule(source, target, loss=1)
        for half, other in (HALVES, reversed(HALVES))
        for source in half
        for target in other
    ]
    machines.network.set_rules(*rules)
    for count in range(2):
        for proxy in machines.proxies:
            body = f"{proxy} {count}".encode()
            for name in ("both", f"of-{proxy}-{count}"):
                status = put(proxy, name, body)
                assert status in (201, 503)
                # what was refused may be there all the same
                expected[name] = {body} if status == 201 else expected.get(name, {None}) | {body}
    status = ask(machines, "proxy2", "DELETE", f"{container}/deleted").status
    assert status in (204, 404, 503)
    expected["deleted"] = {None} if status != 503 else {None, b"before"}
    machines.network.set_rules()

    def wrong():
        listed = listings(machines, container)
        for name, may in expected.items():
            answers = [
                ask(machines, proxy, "GET", f"{container}/{name}", headers=headers)
                for proxy in machines.proxies
                for headers in ({}, {"X-Newest": "true"})
            ]
            bodies = {answer.body if answer.status == 200 else None for answer in answers}
            if len(bodies) > 1 or not bodies <= may:
                return name, bodies, may
            body = bodies.pop()
            etag = hashlib.md5(body).hexdigest() if body is not None else None
            for rows in listed:
                if rows.get(name) != etag:
                    return name, rows.get(name), etag
        return None

    end = time.monotonic() + 90
    while (found := wrong()) is not None:
        assert time.monotonic() < end, found
        time.sleep(1)


def listings(machines, container):
    """name → ETag, of each replica of the container."""
    etc = str(machines.layout.etc)
    hashing.load_hash_config(etc)
    part, nodes = Ring(f"{etc}/container.ring.gz").get_nodes("AUTH_test", container.strip("/"))
    found = []
    for node in nodes:
        port = machines.layout.storage_address("container", node["zone"])[1]
        connection = machines.storage_connection(node["zone"], port)
        connection.request("GET", f"/{node['device']}/{part}/AUTH_test{container}?format=json")
        answer = Answer(connection.getresponse())
        connection.close()
        found.append({row["name"]: row["hash"] for row in json.loads(answer.body or b"[]")})
    return found
