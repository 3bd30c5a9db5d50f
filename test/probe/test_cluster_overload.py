"""Far more clients than a cluster takes at a time: what they hear, what is left of them, and what nodes are thought of afterwards."""

import asyncio
import contextlib
import pathlib
import re
import resource
import time

import pytest

from test.cluster import Cluster

CLIENTS = 600
REQUESTS = 4  # of each client
BODY = b"x" * 4096
# Few at a time and little patience, so that some must be refused.
PROXY = "max_clients = 400\nmax_requests = 8\nqueue_timeout = 0.5\nbacklog = 4096\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    cluster = Cluster(tmp_path_factory.mktemp("overload") / "saio")
    cluster.write()
    conf = cluster.layout.proxy_conf
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\n{PROXY}"))
    with cluster:
        assert cluster.request("PUT", "/c").status in (201, 202)
        for n in range(10):
            assert cluster.request("PUT", f"/c/known-{n}", BODY).status == 201
        yield cluster
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients that all ask at once, again and again; statuses: how often each was heard."""

    def __init__(self, cluster, verb):
        self.address = cluster.address
        self.token = cluster.token
        self.verb = verb
        self.statuses = {}
        self.missing = 0  # refusals that don't say when to come back
        self.stored = []

    def run(self):
        async def all_of_them():
            await asyncio.gather(*(self.client(number) for number in range(CLIENTS)))

        asyncio.run(all_of_them())

    async def client(self, number):
        stream = None
        for n in range(REQUESTS):
            name = f"{self.verb}-{number}-{n}" if self.verb == "PUT" else f"known-{number % 10}"
            body = BODY if self.verb == "PUT" else b""
            request = (
                f"{self.verb} /v1/AUTH_test/c/{name} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {self.token}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode() + body
            # A connection that is silent may be closed for the sake of others just when it is used, a new one too if we are slow to send what
            # we want: then it is asked for anew.
            for _ in range(40):
                stream = stream or await asyncio.open_connection(*self.address)
                try:
                    stream[1].write(request)
                    head = (await stream[0].readuntil(b"\r\n\r\n")).decode()
                    await stream[0].readexactly(int(re.search(r"Content-Length: (\d+)", head).group(1)))
                except (asyncio.IncompleteReadError, ConnectionError):
                    stream[1].close()
                    stream = None
                    continue
                break
            else:
                head = "HTTP/1.1 000 "
            status = int(head[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.missing += status == 503 and not re.search(r"^Retry-After: [1-9]\d*\r$", head, re.MULTILINE)
            if status == 201:
                self.stored.append(name)
            if stream and "Connection: close" in head:
                stream[1].close()
                stream = None
        if stream:
            stream[1].close()


def proxy_memory(cluster):
    """Resident kilobytes of all processes of the proxy."""
    texts = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in cluster.pids("proxy")]
    return sum(int(text.split("VmRSS:")[1].split()[0]) for text in texts if "VmRSS:" in text)


def client_sockets(cluster):
    """Connections that the proxy has open at its own address."""
    wanted = f":{cluster.layout.port:04X}"
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    states = [fields[3] for fields in map(str.split, lines) if fields[1].endswith(wanted)]
    return sum(state in ("01", "08") for state in states)  # ESTABLISHED, CLOSE_WAIT


@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_a_crowd_hears_nothing_but_success_and_503(cluster, verb):
    good = 200 if verb == "GET" else 201
    sizes = []
    for _ in range(3):
        crowd = Crowd(cluster, verb)
        crowd.run()
        assert sum(crowd.statuses.values()) == CLIENTS * REQUESTS
        assert crowd.statuses[good] and set(crowd.statuses) <= {good, 503} and crowd.missing == 0, (
            crowd.statuses
        )
        sizes.append(proxy_memory(cluster))
    end = time.monotonic() + 60
    while client_sockets(cluster) and time.monotonic() < end:
        time.sleep(0.1)
    assert client_sockets(cluster) == 0
    # What was said to be stored is there, and whoever comes now is served: all places have come back.
    for name in crowd.stored[:20]:
        assert cluster.request("GET", f"/c/{name}").body == BODY
    for n in range(20):
        assert cluster.request("PUT", f"/c/after-{n}", BODY).status == 201
    # A third crowd needs no more than the second had needed (some megabytes are the allocator's business).
    assert sizes[2] <= sizes[1] + 8192, sizes


def test_no_node_is_taken_for_broken_because_there_is_much_to_do(cluster):
    crowd = Crowd(cluster, "PUT")
    crowd.run()
    log = (cluster.layout.log / "proxy.log").read_text()
    assert "error limited" not in log and "ERROR with" not in log and "too busy" in log


def test_clients_that_leave_amid_everything_leave_no_places_taken(cluster):
    async def leave():
        for _ in range(300):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(cluster.layout.ip, cluster.layout.port)
                head = f"PUT /v1/AUTH_test/c/x HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cluster.token}\r\nContent-Length: 4096\r\n\r\n"
                writer.write(head.encode() + BODY[:1000])
                await writer.drain()
                writer.close()

    asyncio.run(leave())
    end = time.monotonic() + 60
    while cluster.request("PUT", "/c/after", BODY).status != 201:
        assert time.monotonic() < end, "the proxy lets nobody in any more"
    for n in range(20):
        assert cluster.request("PUT", f"/c/after-{n}", BODY).status == 201
