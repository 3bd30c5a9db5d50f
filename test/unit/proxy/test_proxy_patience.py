"""What a slow, silent or resting node costs a client: nothing beyond the time limits that are its own."""

import hashlib

import pytest
from proxy_backends import T0, Reply

from swift.core import clock, concurrency
from swift.wire import connection_pool

BODY = b"hello world"
LONG = bytes(range(256)) * 1024
GOOD = {"Etag": '"e1"', "X-Timestamp": T0, "X-Backend-Timestamp": T0, "X-Backend-Data-Timestamp": T0}
TYPE = {"Content-Type": "a/b"}


def took(cluster, *args, **kwargs):
    """(seconds, answer) of a request."""
    start = clock.monotonic()
    answer = cluster.request(*args, **kwargs)
    return clock.monotonic() - start, answer


def stalling(status, headers=None):
    """The head comes, the announced body does not."""
    return Reply(status, {**(headers or {}), "Content-Length": "100"}, b"x")


# -- writes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", [0, 1, 2])
@pytest.mark.parametrize("length", [11, 200_000])
def test_an_answer_whose_body_stalls_holds_nobody_up(make_cluster, slow, length):
    cluster = make_cluster(node_timeout="5", post_quorum_timeout="0.1")
    etag = {"Etag": f'"{hashlib.md5(b"x" * length).hexdigest()}"'}
    replies = [Reply(201, etag) for _ in range(3)]
    replies[slow] = stalling(201, etag)
    cluster.on("object", "PUT", replies)
    seconds, answer = took(cluster, "PUT", "/v1/a/c/o", TYPE, b"x" * length)
    assert answer[0] == 201 and seconds < 2


def test_all_answers_may_stall_in_their_bodies(make_cluster):
    cluster = make_cluster(node_timeout="5", post_quorum_timeout="0.1")
    cluster.on("object", "POST", stalling(202))
    cluster.on("object", "DELETE", stalling(409, {"X-Backend-Timestamp": T0}))
    cluster.on("container", "POST", stalling(204))
    assert took(cluster, "POST", "/v1/a/c/o")[1][0] == 202
    assert took(cluster, "DELETE", "/v1/a/c/o")[1][0] == 409
    seconds, answer = took(cluster, "POST", "/v1/a/c")
    assert answer[0] == 204 and seconds < 2


def test_a_body_that_comes_a_little_later_than_its_head_is_taken(make_cluster):
    cluster = make_cluster(post_quorum_timeout="1")
    cluster.on("account", "POST", Reply(403, body=b"<html>no</html>", pause=(0, 0.05)))
    status, _, body = cluster.request("POST", "/v1/a", {"X-Account-Meta-A": "b"})
    assert (status, body) == (403, b"<html>no</html>")


def test_a_node_that_fails_after_the_quorum_is_replaced_behind_the_clients_back(make_cluster, monkeypatch):
    cluster = make_cluster(node_timeout="5", conn_timeout="3", post_quorum_timeout="0.1")
    cluster.on("object", "PUT", [Reply(201), Reply(201), Reply(503, hang=0.05), Reply(201)])
    real = connection_pool.connect
    reached = []

    def connect(ip, port, seconds):
        if port == cluster.backends[3].port:
            concurrency.sleep(1)
            reached.append(port)
        return real(ip, port, seconds)

    monkeypatch.setattr(connection_pool, "connect", connect)
    seconds, answer = took(cluster, "PUT", "/v1/a/c/o", TYPE, BODY)
    assert answer[0] == 201 and not reached
    for _ in range(300):
        if any(seen.node == 3 and seen.complete for seen in cluster.of("object")):
            break
        concurrency.sleep(0.02)
    assert [seen.body for seen in cluster.of("object") if seen.node == 3] == [BODY]


# -- reads -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest", ["true", "false"])
def test_a_body_has_its_own_time_limit(make_cluster, newest):
    """The head took most of the node's time: that is no reason to give up the body."""
    cluster = make_cluster(node_timeout="0.6", nodes=3)
    cluster.on("object", "GET", Reply(200, GOOD, LONG[:100_000], hang=0.4, pause=(50_000, 0.35)))
    status, _, body = cluster.request("GET", "/v1/a/c/o", {"X-Newest": newest})
    assert status == 200 and body == LONG[:100_000]
    assert len(cluster.of("object")) == (3 if newest == "true" else 1)


def unreachable(cluster, monkeypatch, nodes, seconds=0.3):
    """These nodes drop SYN packets: connecting takes the whole of conn_timeout."""
    real = connection_pool.connect
    ports = {cluster.backends[node].port for node in nodes}

    def connect(ip, port, limit):
        if port in ports:
            concurrency.sleep(seconds)
            raise TimeoutError("connect timed out")
        return real(ip, port, limit)

    connection_pool.POOL.clear()
    monkeypatch.setattr(connection_pool, "connect", connect)


@pytest.mark.parametrize("kind", ["object", "container", "account"])
def test_newest_connects_to_all_at_the_same_time(make_cluster, monkeypatch, kind):
    cluster = make_cluster(nodes=6)
    cluster.on(kind, "GET", Reply(200, GOOD, b"[]"))
    path = {"object": "/v1/a/c/o", "container": "/v1/a/c", "account": "/v1/a"}[kind]
    assert cluster.request("GET", path)[0] == 200
    unreachable(cluster, monkeypatch, range(5))
    seconds, answer = took(cluster, "GET", path, {"X-Newest": "true"})
    assert answer[0] == 200 and seconds < 0.9  # one after the other it is 1.5


def test_who_is_asked_after_a_404_is_connected_to_at_the_same_time(make_cluster, monkeypatch):
    cluster = make_cluster(nodes=6, replicas=5)
    order = []

    def reply(seen):
        order.append(seen.node)
        return Reply(404, {"X-Backend-Timestamp": T0})

    cluster.on("object", "GET", reply)
    assert cluster.request("GET", "/v1/a/c/o")[0] == 404
    monkeypatch.setattr("swift.proxy.routing.shuffled", list)
    unreachable(cluster, monkeypatch, (1, 2, 3))
    seconds, answer = took(cluster, "GET", "/v1/a/c/o")
    assert answer[0] == 404 and seconds < 0.8  # 0.9 one after the other


def test_a_concurrent_read_does_not_wait_for_a_connection(make_cluster, monkeypatch):
    cluster = make_cluster(nodes=3, concurrent_gets="yes", concurrency_timeout="0.01", conn_timeout="3")
    cluster.on("object", "GET", Reply(200, GOOD, BODY))
    assert cluster.request("GET", "/v1/a/c/o")[0] == 200
    unreachable(cluster, monkeypatch, (0, 1), seconds=3)
    monkeypatch.setattr("swift.proxy.routing.shuffled", list)
    seconds, answer = took(cluster, "GET", "/v1/a/c/o")
    assert answer[0] == 200 and answer[2] == BODY and seconds < 2


@pytest.mark.parametrize("newest", [{}, {"X-Newest": "true"}])
def test_a_copy_older_than_a_deletion_ends_no_search(make_cluster, monkeypatch, newest):
    """The first node knows of a deletion, the second has an older copy, the third a newer one, but takes longer."""
    cluster = make_cluster(nodes=3)
    monkeypatch.setattr("swift.proxy.routing.shuffled", list)

    def copy(time, body, hang=0.0):
        stamp = f"17000000{time:02}.00000"
        names = ("X-Timestamp", "X-Backend-Timestamp", "X-Backend-Data-Timestamp")
        return Reply(200, {"Etag": '"e"', **dict.fromkeys(names, stamp)}, body, hang=hang)

    gone = Reply(404, {"X-Backend-Timestamp": "1700000005.00000"})
    cluster.on("object", "GET", [gone, copy(1, b"old"), copy(9, b"new", hang=0.1)])
    status, _, body = cluster.request("GET", "/v1/a/c/o", newest)
    assert (status, body) == (200, b"new")


# -- nodes that are left alone ---------------------------------------------------------------------------------------------

REQUESTS = {
    "object GET": ("object", "GET", "/v1/a/c/o", Reply(200, GOOD, BODY), b""),
    "object HEAD": ("object", "HEAD", "/v1/a/c/o", Reply(200, GOOD), b""),
    "object PUT": ("object", "PUT", "/v1/a/c/o", Reply(201), BODY),
    "object PUT streamed": ("object", "PUT", "/v1/a/c/o", Reply(201), LONG),
    "object POST": ("object", "POST", "/v1/a/c/o", Reply(202), b""),
    "object DELETE": ("object", "DELETE", "/v1/a/c/o", Reply(204), b""),
    "container GET": ("container", "GET", "/v1/a/c", Reply(200, body=b"[]"), b""),
    "container PUT": ("container", "PUT", "/v1/a/c", Reply(201), b""),
    "container POST": ("container", "POST", "/v1/a/c", Reply(204), b""),
    "container DELETE": ("container", "DELETE", "/v1/a/c", Reply(204), b""),
    "account GET": ("account", "GET", "/v1/a", Reply(200, body=b"[]"), b""),
    "account POST": ("account", "POST", "/v1/a", Reply(204), b""),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_nodes_left_alone_are_asked_before_a_503(make_cluster, name):
    """Nodes 0 and 1 were away and are back, 2 and 3 are away now."""
    kind, method, path, good, body = REQUESTS[name]
    cluster = make_cluster(nodes=4)
    cluster.request("HEAD", "/v1/a/c")
    cluster.on(kind, method, lambda seen: good if seen.node < 2 else Reply(503, early=True))
    ring = cluster.rings[kind[0]]
    resting = [node for node in (*ring.primaries, *ring.handoffs) if node["id"] < 2]
    for node in resting:
        cluster.app.limiter.limit_now(node)
    status = cluster.request(method, path, TYPE if method == "PUT" else {}, body)[0]
    assert status == good.status
    done = {seen.node for seen in cluster.of(kind, method) if seen.node < 2}
    recovered = {node["id"] for node in resting if not cluster.app.limiter.is_limited(node)}
    # Who answered is a node like others again.
    if method in ("GET", "HEAD"):
        assert recovered and recovered <= done
    else:
        assert recovered == done == {0, 1}


def test_nodes_left_alone_are_not_asked_without_need(make_cluster):
    cluster = make_cluster(nodes=4)
    cluster.on("object", "GET", Reply(404, {"X-Backend-Timestamp": T0}))
    cluster.on("object", "PUT", Reply(201))
    cluster.app.limiter.limit_now(cluster.rings["o"].primaries[0])
    assert cluster.request("GET", "/v1/a/c/o")[0] == 404
    assert cluster.request("PUT", "/v1/a/c/o", TYPE, BODY)[0] == 201
    assert all(seen.node for seen in cluster.of("object"))


WRITES = [name for name in REQUESTS if "GET" not in name and "HEAD" not in name]


@pytest.mark.parametrize("name", WRITES)
def test_a_copy_that_nobody_would_take_goes_to_a_node_left_alone(make_cluster, name):
    """Two nodes are a quorum, but the third copy would be missing, though the other two are back."""
    kind, method, path, good, body = REQUESTS[name]
    cluster = make_cluster(nodes=4, error_suppression_limit="0")
    cluster.request("HEAD", "/v1/a/c")
    cluster.on(kind, method, good)
    ring = cluster.rings[kind[0]]
    resting = [node for node in (*ring.primaries, *ring.handoffs) if node["id"] < 2]
    for node in resting:
        cluster.app.limiter.increment(node, is_refusing=True)
    assert cluster.request(method, path, TYPE if method == "PUT" else {}, body)[0] == good.status
    assert len({seen.node for seen in cluster.of(kind, method)}) == 3
    recovered = [node["id"] for node in resting if not cluster.app.limiter.is_limited(node)]
    assert len(recovered) == 1  # a node like others again; of the other nobody knows anything new


@pytest.mark.parametrize("body", [BODY, LONG])
def test_a_node_that_refuses_each_time_is_told_of_once(make_cluster, body):
    cluster = make_cluster(nodes=3, error_suppression_limit="3")
    cluster.on("object", "PUT", Reply(201))
    cluster.request("HEAD", "/v1/a/c")
    cluster.backends[2].stop()
    for _ in range(12):
        assert cluster.request("PUT", "/v1/a/c/o", TYPE, body)[0] == 201
    told = [line for line in cluster.logger.lines if "trying to PUT" in line or "error limited" in line]
    assert 2 <= len(told) <= 6, told


@pytest.mark.parametrize("body", [BODY, LONG])
def test_a_node_that_took_long_to_fail_is_not_tried_each_time(make_cluster, body):
    cluster = make_cluster(nodes=3, error_suppression_limit="0")
    cluster.request("HEAD", "/v1/a/c")
    cluster.on("object", "PUT", Reply(201))
    cluster.app.limiter.increment(cluster.rings["o"].primaries[0])
    assert cluster.request("PUT", "/v1/a/c/o", TYPE, body)[0] == 201
    assert {seen.node for seen in cluster.of("object", "PUT")} == {1, 2}


def test_a_body_goes_on_from_a_node_left_alone(make_cluster, monkeypatch):
    cluster = make_cluster(nodes=2, replicas=2, error_suppression_limit="0")
    monkeypatch.setattr("swift.proxy.routing.shuffled", list)

    def reply(seen):
        if seen.node == 1:
            return Reply(200, GOOD, LONG, cut=100_000)
        first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
        headers = {**GOOD, "Content-Range": f"bytes {first}-{last}/{len(LONG)}"}
        return Reply(206, headers, LONG[first : last + 1])

    cluster.on("object", "GET", reply)
    cluster.app.limiter.limit_now(cluster.rings["o"].primaries[0])
    status, _, body = cluster.request("GET", "/v1/a/c/o")
    assert (status, body) == (200, LONG)
