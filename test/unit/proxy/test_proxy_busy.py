"""Storage servers that have too much to do say 503 and when to come back: the next node is asked, and nobody is taken for broken."""

import hashlib

import pytest
from proxy_backends import T0, Reply, mime_parts

OLD = {"X-Backend-Timestamp": T0, "X-Timestamp": T0, "Etag": hashlib.md5(b"x").hexdigest()}
BUSY = Reply(503, {"Retry-After": "1"})


def does_well(seen):
    """An answer of success to whatever was asked."""
    if seen.method != "PUT":
        return Reply({"GET": 200, "HEAD": 200, "DELETE": 204, "POST": 202}[seen.method], OLD, b"x")
    if not seen.complete:
        return Reply(100)
    body = mime_parts(seen)[0] if "x-backend-obj-metadata-footer" in seen.headers else seen.body
    return Reply(201, {"Etag": f'"{hashlib.md5(body).hexdigest()}"'})


@pytest.mark.parametrize(
    "verb, body", [("GET", b""), ("HEAD", b""), ("DELETE", b""), ("POST", b""), ("PUT", b"x" * 100), ("PUT", b"x" * 200_000)]
)  # fmt: skip
def test_a_busy_node_is_not_taken_for_broken(make_cluster, verb, body):
    cluster = make_cluster(error_suppression_limit="0")
    cluster.on("object", verb, lambda seen: BUSY if seen.node == 0 else does_well(seen))
    headers = {"Content-Type": "a/b"} if verb in ("PUT", "POST") else {}
    for _ in range(100):  # readers ask in any order
        assert 200 <= cluster.request(verb, "/v1/a/c/o", headers, body)[0] < 300
        if len([seen for seen in cluster.of("object") if seen.node == 0]) > 1:
            break
    else:
        pytest.fail("the busy node is left alone")
    assert not cluster.app.limiter.is_limited(cluster.rings["o"].primaries[0])


VERBS = [
    ("GET", b""),
    ("HEAD", b""),
    ("DELETE", b""),
    ("POST", b""),
    ("PUT", b"x" * 100),
    ("PUT", b"x" * 200_000),
]


@pytest.mark.parametrize(
    "said, told", [("3", range(2, 4)), ("Fri, 31 Dec 1999", (1,)), ("86400", range(59, 61))]
)
@pytest.mark.parametrize("verb, body", VERBS)
def test_where_all_are_busy_the_client_hears_when_to_come_again(make_cluster, verb, body, said, told):
    cluster = make_cluster()
    cluster.on("object", verb, Reply(503, {"Retry-After": said}))
    headers = {"Content-Type": "a/b"} if verb in ("PUT", "POST") else {}
    status, answer, _ = cluster.request(verb, "/v1/a/c/o", headers, body)
    assert status == 503 and int(answer["retry-after"]) in told


@pytest.mark.parametrize("kind", ["account", "container"])
def test_listings_and_what_is_asked_beforehand_too(make_cluster, kind):
    cluster = make_cluster()
    cluster.on(kind, "HEAD", BUSY)
    cluster.on(kind, "GET", BUSY)
    for path in {"account": ("/v1/a", "/v1/a/c", "/v1/a/c/o"), "container": ("/v1/a/c", "/v1/a/c/o")}[kind]:
        status, answer, _ = cluster.request("GET", path)
        assert (status, answer.get("retry-after")) == (503, "1")


@pytest.mark.parametrize("verb, body", VERBS)
def test_nobody_is_told_to_come_again_where_nobody_is_busy(make_cluster, verb, body):
    cluster = make_cluster()
    cluster.on("object", verb, Reply(500))
    headers = {"Content-Type": "a/b"} if verb in ("PUT", "POST") else {}
    status, answer, _ = cluster.request(verb, "/v1/a/c/o", headers, body)
    assert status == 503 and "retry-after" not in answer
