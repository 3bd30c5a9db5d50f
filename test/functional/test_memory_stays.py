"""Names that never come again: each is worked for once, and none is kept for good. Twice as many requests as those that made all workers warm
leave them as large as they were."""

import os
import pathlib
import threading

import pytest

from test.cluster import Cluster

WARM = 60  # rounds, of ten requests each
CLIENTS = 4
GROWTH = (
    12 * 1024 * 1024
)  # bytes of a process: what is in hand at the moment, and what the C library has free


@pytest.fixture
def own(tmp_path):
    with Cluster(tmp_path / "saio") as cluster:
        yield cluster


def own_memory(cluster):
    """pid → bytes that are its own, of all servers."""
    found = {}
    for name in ("proxy", "node1", "node2", "node3", "node4"):
        for pid in cluster.pids(name):
            words = pathlib.Path(f"/proc/{pid}/statm").read_text().split()
            found[pid] = (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")
    return found


def one_round(cluster, number):
    """Everything with names, headers, tokens and queries of its own."""
    container, name = f"/round-{number}", f"/round-{number}/object-{number}"
    mark = {f"X-Container-Meta-Mark-{number}": str(number)}
    assert cluster.request("PUT", container, headers=mark).status == 201
    assert cluster.request("PUT", name, os.urandom(100), {f"X-Object-Meta-Mark-{number}": "a"}).status == 201
    assert cluster.request("GET", name, headers={"Range": f"bytes=0-{number}"}).status == 206
    assert cluster.request("GET", f"{container}?format=json&prefix=o&marker=a{number}").status == 200
    assert cluster.request("HEAD", f"/nowhere-{number}").status == 404
    assert cluster.request("GET", f"/nowhere-{number}/x").status == 404
    stranger = {"X-Auth-Token": f"AUTH_tk{number:032x}"}
    assert cluster.raw("GET", f"/v1/AUTH_test{container}", headers=stranger).status == 401
    assert cluster.raw("GET", f"/v1/AUTH_{number}/c", headers={"X-Auth-Token": cluster.token}).status == 403
    assert cluster.request("DELETE", name).status == 204
    assert cluster.request("DELETE", container).status == 204


def drive(cluster, numbers):
    numbers, failures = iter(numbers), []
    turn = threading.Lock()

    def work():
        while not failures:
            with turn:
                number = next(numbers, None)
            if number is None:
                return
            try:
                one_round(cluster, number)
            except BaseException as err:
                failures.append(err)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_twice_as_many_requests_take_no_more_memory(own):
    drive(own, range(WARM))
    warm = own_memory(own)
    drive(own, range(WARM, 3 * WARM))
    now = own_memory(own)
    assert set(now) == set(warm)
    grown = {pid: (warm[pid] >> 20, now[pid] >> 20) for pid in now if now[pid] - warm[pid] > GROWTH}
    assert grown == {}
