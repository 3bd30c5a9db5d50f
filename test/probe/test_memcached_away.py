"""Clients at work while memcached hangs, dies and comes back empty: nobody with a good token is sent to the log-in."""

import collections
import http.client
import re
import threading
import time

import pytest

from test.cluster import Cluster
from test.memcacheds import best_memcached

CLIENTS = 40


@pytest.fixture(params=[1, 3], ids=["1 worker", "3 workers"])
def cluster(request, tmp_path):
    memcached = best_memcached()
    made = Cluster(tmp_path / "saio", memcache=memcached.name)
    made.write()
    conf = made.layout.proxy_conf
    text = re.sub(r"(active_fernet_key_id|fernet_key_saio).*\n", "", conf.read_text())  # tokens in the cache
    conf.write_text(text.replace("workers = 1", f"workers = {request.param}"))
    try:
        with made:
            made.memcached = memcached
            yield made
    finally:
        memcached.go_on()
        memcached.kill()


class Client(threading.Thread):
    def __init__(self, cluster, number):
        super().__init__()
        self.cluster, self.number = cluster, number
        self.statuses = collections.Counter()
        self.stopping = False

    def run(self):
        layout = self.cluster.layout
        connection = http.client.HTTPConnection(layout.ip, layout.port, timeout=60)
        headers = {"X-Auth-Token": self.cluster.token}
        while not self.stopping:
            for method, body in (("PUT", b"x" * 100), ("GET", None)):
                connection.request(method, f"/v1/AUTH_test/c/o{self.number}", body, headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1


def test_no_good_token_is_refused(cluster):
    assert cluster.request("PUT", "/c").status in (201, 202)
    for _ in range(40):  # all workers have met the token
        assert cluster.request("HEAD", "/c").status == 204
    clients = [Client(cluster, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(1)
    cluster.memcached.freeze()
    time.sleep(4)
    answer = cluster.raw("GET", "/v1/AUTH_test", headers={"X-Auth-Token": "AUTH_tk" + "0" * 32})
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    cluster.memcached.go_on()
    time.sleep(2)
    cluster.memcached.kill()
    time.sleep(4)
    cluster.memcached.start_again()
    time.sleep(4)
    for client in clients:
        client.stopping = True
    for client in clients:
        client.join()
    statuses = sum((client.statuses for client in clients), collections.Counter())
    assert set(statuses) <= {200, 201, 202, 503} and statuses[201] > CLIENTS
    assert all(client.statuses[200] for client in clients)
    assert cluster.request("GET", "/c").status == 200
    assert "Traceback" not in (cluster.layout.log / "proxy.log").read_text()
