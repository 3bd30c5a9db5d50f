"""Clients by the thousand that never come to an end: silent, slow to ask, to send, to read, half gone. Others are answered meanwhile, and
nothing of them is left."""

import contextlib
import os
import pathlib
import resource
import socket
import time

import pytest

EACH = 200
GROWTH = EACH * 3 * 1024 * 1024  # bytes of one process, for all of them together


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def processes(cluster):
    """pid → (resident bytes, descriptors)."""
    found = {}
    for name in ("proxy", "node1"):
        for pid in cluster.pids(name):
            pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
            found[pid] = pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd"))
    return found


def begin(address, data, shut=False):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect(address)
    with contextlib.suppress(OSError):
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
    return sock


def test_slow_clients_by_the_thousand(cluster, container):
    proxy = cluster.address
    storage = cluster.layout.storage_address("object", 1)
    path, token = f"/v1/AUTH_test{container}", f"X-Auth-Token: {cluster.token}\r\n".encode()
    large = os.urandom(4 * 1024 * 1024)
    assert cluster.request("PUT", f"{container}/large", large).status == 201
    head = f"Host: h\r\n{token.decode()}".encode()
    kinds = [
        (proxy, b"", False),
        (proxy, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ", False),
        (proxy, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ", True),
        (proxy, b"PUT %s/slow HTTP/1.1\r\n%sContent-Length: 1000\r\n\r\nabc" % (path.encode(), head), False),
        (proxy, b"PUT %s/slow HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n3\r\nab" % (path.encode(), head), False),
        (proxy, b"PUT %s/gone HTTP/1.1\r\n%sContent-Length: 1000\r\n\r\nabc" % (path.encode(), head), True),
        (proxy, b"GET %s/large HTTP/1.1\r\n%s\r\n" % (path.encode(), head), False),
        (proxy, b"\x16\x03\x01\x02\x00\x01", False),
        (storage, b"", False),
        (storage, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ", False),
        (storage, b"PUT /sdb1/1/a/c/o HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc", False),
    ]  # fmt: skip
    before = processes(cluster)
    slow = []
    try:
        for number in range(EACH):
            for address, data, shut in kinds:
                slow.append(begin(address, data, shut))
            if number % 20 == 0:
                assert cluster.request("PUT", f"{container}/{number}", b"quick").status == 201
                assert cluster.request("GET", f"{container}/{number}").body == b"quick"
        answer = cluster.request("GET", f"{container}/large")
        assert (answer.status, answer.body) == (200, large)
        now = processes(cluster)
        assert set(before) <= set(now)
        assert all(now[pid][0] - before[pid][0] < GROWTH for pid in before), (before, now)
    finally:
        for sock in slow:
            sock.close()
    end = time.monotonic() + 60
    while any(processes(cluster)[pid][1] > before[pid][1] + 100 for pid in before):
        assert time.monotonic() < end, (before, processes(cluster))
        time.sleep(0.2)
    assert cluster.request("HEAD", f"{container}/slow").status == 404
    assert cluster.request("HEAD", f"{container}/gone").status == 404
