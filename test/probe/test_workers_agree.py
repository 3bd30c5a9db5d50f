"""Several workers, and several proxies: what one acknowledged, no other contradicts. Real processes, requests over 16 connections."""

import http.client
import os
import pathlib
import random
import re
import signal
import subprocess
import sys

import pytest

from test.cluster import Cluster, wait_for_port
from test.memcacheds import best_memcached
from test.ports import free_port

ROUNDS = 192
CONNECTIONS = 16
SECOND_NODE = (
    "import sys; from swift.cache import changes; changes.DIRECTORY = sys.argv[1]; "
    "from swift.cli.node import main; sys.argv[1:] = sys.argv[2:]; sys.exit(main())"
)


class Front:
    """A cluster with its proxies, and connections to all of them that stay open."""

    def __init__(self, cluster, addresses):
        self.cluster = cluster
        self.random = random.Random(18)
        self.connections = [
            http.client.HTTPConnection(*addresses[i % len(addresses)], timeout=30) for i in range(CONNECTIONS)
        ]
        self.other = cluster.authenticate("test2:tester2", "testing2")

    def __call__(self, method, path, token=None, connection=None, **headers):
        connection = connection or self.random.choice(self.connections)
        given = {"X-Auth-Token": token or self.cluster.token, "Content-Length": "0"}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection.request(method, f"/v1/AUTH_test{path}", headers=given)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def everybody(self, method, path, token=None):
        return [self(method, path, token, connection) for connection in self.connections]


def second_proxy(cluster, directory=None):
    """Another proxy of the same cluster: of this node, or (with a directory for its table of changes) of another."""
    layout = cluster.layout
    port = free_port()
    conf = layout.etc / "proxy-2.conf"
    text = layout.proxy_conf.read_text().replace(f"bind_port = {layout.port}", f"bind_port = {port}")
    conf.write_text(text.replace("/proxy.log", "/proxy-2.log"))
    command = ["-c", SECOND_NODE, str(directory)] if directory else ["-m", "swift.cli.node"]
    process = subprocess.Popen([sys.executable, *command, str(conf)], cwd="/", start_new_session=True)
    wait_for_port(layout.ip, port)
    return process, (layout.ip, port)


@pytest.fixture(
    scope="module", params=["4 workers", "4 workers, memcached", "2 proxies, memcached", "2 nodes, memcached"]
)
def front(request, tmp_path_factory):
    memcached = best_memcached() if "memcached" in request.param else None
    home = tmp_path_factory.mktemp("agree")
    cluster = Cluster(home / "saio", memcache=memcached.name if memcached else "")
    cluster.write()
    conf = cluster.layout.proxy_conf
    if "4 workers" in request.param:
        conf.write_text(conf.read_text().replace("workers = 1", "workers = 4"))
    second = None
    try:
        with cluster:
            addresses = [cluster.address]
            if "2 " in request.param:
                elsewhere = tmp_path_factory.mktemp("node2") if "nodes" in request.param else None
                second, address = second_proxy(cluster, elsewhere)
                addresses.append(address)
            made = Front(cluster, addresses)
            made.is_one_node = "nodes" not in request.param
            yield made
            for path in sorted(cluster.layout.log.iterdir()):
                assert "Traceback" not in path.read_text(errors="replace"), path
    finally:
        if second is not None:
            os.killpg(second.pid, signal.SIGKILL)
            second.wait()
        if memcached:
            memcached.kill()


def test_a_container_that_was_made_is_there_for_all(front):
    wrong = []
    for number in range(ROUNDS):
        name = f"/made-{number}"
        assert front("GET", name) == 404
        assert front("PUT", f"{name}/o") == 404
        assert front("PUT", name) == 201
        wrong += [status for status in [front("PUT", f"{name}/o")] if status != 201]
    assert wrong == []


def test_who_may_no_longer_read_does_not(front):
    if not front.is_one_node:
        return  # other nodes are told through memcached, and look there ten times a second
    wrong = []
    for number in range(ROUNDS // CONNECTIONS):
        name = f"/acl-{number}"
        assert front("PUT", name, X_Container_Read="test2:tester2") == 201
        assert front("PUT", f"{name}/o") == 201
        assert set(front.everybody("GET", f"{name}/o", front.other)) == {200}
        assert front("POST", name, X_Container_Read="test:tester") == 204
        wrong += [status for status in front.everybody("GET", f"{name}/o", front.other) if status != 403]
    assert wrong == []


def test_a_container_that_was_deleted_stays_so(front):
    if not front.is_one_node:
        return
    wrong = []
    for number in range(ROUNDS):
        name = f"/gone-{number}"
        assert front("PUT", name) == 201
        assert front("PUT", f"{name}/o") == 201
        assert front("DELETE", f"{name}/o") == 204
        assert front("DELETE", name) == 204
        statuses = front("PUT", f"{name}/o"), front("GET", name)
        wrong += [statuses] if statuses != (404, 404) else []
    assert wrong == []


def test_the_table_of_changes_is_the_processes_own(front):
    assert set(front.everybody("HEAD", "")) == {204}  # whoever answers has it
    maps = "".join(pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in front.cluster.pids("proxy"))
    tables = set(re.findall(rf"/dev/shm/swift-changes-{os.geteuid()}-\S+", maps))
    assert tables and all(os.stat(path).st_mode & 0o077 == 0 for path in tables)
