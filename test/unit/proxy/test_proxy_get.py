"""Reads of objects: what the storage servers are asked, and what the client gets."""

import pytest
from proxy_backends import CONTAINER_HEADERS, T0, Reply

from swift.core import concurrency
from swift.proxy.relay import BodyBroken

T1 = "1700000001.00000"
T2 = "1700000002.00000"
OLD = {"Etag": '"e1"', "X-Backend-Timestamp": T0, "X-Timestamp": T0, "X-Backend-Data-Timestamp": T0}
NEW = {"Etag": '"e2"', "X-Backend-Timestamp": T2, "X-Timestamp": T2, "X-Backend-Data-Timestamp": T2}


def test_an_answer_is_handed_on(cluster):
    headers = {
        "Content-Type": "text/plain",
        "Etag": '"5eb63bbbe01eeed093cb22bb8f5acdc3"',
        "X-Timestamp": T0,
        "X-Backend-Timestamp": T0,
        "X-Object-Meta-Color": "red",
        "Last-Modified": "Sat, 21 Nov 2026 04:58:19 GMT",
        "Date": "Sat, 21 Nov 2026 04:58:19 GMT",
    }
    cluster.on("object", "GET", Reply(200, headers, b"hello world"))
    status, headers, body = cluster.request("GET", "/v1/AUTH_test/c/o?x=y")
    assert (status, body) == (200, b"hello world")
    assert headers["etag"] == "5eb63bbbe01eeed093cb22bb8f5acdc3"
    assert headers["content-length"] == "11"
    assert headers["content-type"] == "text/plain"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-object-meta-color"] == "red"
    assert "date" not in headers
    (seen,) = cluster.of("object")
    assert seen.path in [f"/o{i}/7/AUTH_test/c/o" for i in range(3)]
    assert seen.query == ""
    assert seen.headers["x-backend-storage-policy-index"] == "0"
    assert seen.headers["x-timestamp"]
    assert seen.headers["x-trans-id"].startswith("tx")
    assert seen.headers["user-agent"].startswith("proxy-server ")
    assert seen.headers["referer"] == "GET http://localhost/v1/AUTH_test/c/o?x=y"
    assert "connection" not in seen.headers


def test_client_headers_pass_secrets_and_addresses_do_not(cluster):
    cluster.on("object", "GET", Reply(206, {"Content-Range": "bytes 2-4/11", **OLD}, b"llo"))
    sent = {
        "Range": "bytes=2-4",
        "If-Match": '"e1"',
        "Accept": "*/*",
        "X-Auth-Token": "secret1",
        "Cookie": "secret2",
        "Authorization": "secret3",
        "X-Storage-Token": "secret4",
        "X-Container-Host": "10.0.0.1:80",
        "X-Backend-Etag-Is-At": "x-object-sysmeta-slo-etag",
    }
    status, headers, body = cluster.request("GET", "/v1/a/c/o", sent)
    assert (status, body, headers["content-range"]) == (206, b"llo", "bytes 2-4/11")
    (seen,) = cluster.of("object")
    assert seen.headers["range"] == "bytes=2-4"
    assert seen.headers["if-match"] == '"e1"'
    assert seen.headers["x-backend-etag-is-at"] == "x-object-sysmeta-slo-etag"
    assert seen.headers["x-auth-token"] == "-"
    assert not any("secret" in value for value in seen.headers.values())
    assert "x-container-host" not in seen.headers


def test_odd_names_are_quoted_as_a_whole(cluster):
    cluster.on("object", "GET", Reply(200, OLD, b"x"))
    assert cluster.request("GET", "/v1/a/%C3%A9%20c/d%2F/e%3Ff%25")[0] == 200
    (seen,) = cluster.of("object")
    assert seen.entity == "/a/%C3%A9%20c/d//e%3Ff%25"
    # a ring hashes what is on the wire
    assert cluster.rings["o"].names == [(b"a", "é c".encode(), b"d//e?f%")]


def test_head_has_no_body_but_its_length(cluster):
    cluster.on("object", "HEAD", Reply(200, {**OLD, "Content-Length": "11"}))
    status, headers, body = cluster.request("HEAD", "/v1/a/c/o")
    assert (status, body, headers["content-length"]) == (200, b"", "11")


def test_swift_bytes_is_cut_off_only_at_the_end(cluster):
    cluster.on("object", "HEAD", Reply(200, {**OLD, "Content-Type": "a/b;charset=x;swift_bytes=7"}))
    assert cluster.request("HEAD", "/v1/a/c/o")[1]["content-type"] == "a/b;charset=x"
    cluster.on("object", "HEAD", Reply(200, {**OLD, "Content-Type": "a/b;swift_bytes=7;charset=x"}))
    assert cluster.request("HEAD", "/v1/a/c/o")[1]["content-type"] == "a/b;swift_bytes=7;charset=x"


@pytest.mark.parametrize("status", [304, 416])
def test_a_condition_met_or_an_impossible_range_is_good_at_once(cluster, status):
    cluster.on("object", "GET", Reply(status, OLD))
    assert cluster.request("GET", "/v1/a/c/o")[0] == status
    assert len(cluster.of("object")) == 1


def test_a_412_is_asked_of_all(cluster):
    cluster.on("object", "GET", Reply(412, OLD))
    assert cluster.request("GET", "/v1/a/c/o")[0] == 412
    assert len(cluster.of("object")) == 6


def test_missing_everywhere(cluster):
    cluster.on("object", "GET", Reply(404, body=b"nothing here"))
    status, headers, body = cluster.request("GET", "/v1/a/c/o")
    assert (status, body) == (404, b"nothing here")
    assert headers["content-type"] == "text/html; charset=UTF-8"
    assert sorted(seen.node for seen in cluster.of("object")) == [0, 1, 2, 3, 4, 5]


def test_a_copy_on_a_handoff_is_found(cluster):
    cluster.on("object", "GET", [Reply(404)] * 4 + [Reply(200, OLD, b"here")] + [Reply(404)])
    assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, b"here")


def test_a_failing_node_is_passed_over(cluster):
    cluster.on("object", "GET", [Reply(503), Reply(drop=True), Reply(200, OLD, b"here")] + [Reply(404)] * 3)
    for _ in range(6):
        assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, b"here")


def test_nodes_that_are_down_are_passed_over(cluster):
    cluster.on("object", "GET", Reply(200, OLD, b"here"))
    cluster.backends[0].stop()
    cluster.backends[1].stop()
    for _ in range(6):
        assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, b"here")


def test_all_broken_is_503(cluster):
    cluster.on("object", "GET", Reply(500))
    status, headers, body = cluster.request("GET", "/v1/a/c/o")
    assert status == 503
    assert any("Object GET returning 503 for" in line for line in cluster.logger.lines)


def test_404_and_503_is_404(make_cluster):
    cluster = make_cluster(nodes=3, rebalance_missing_suppression_count="0")
    cluster.on("object", "GET", [Reply(404), Reply(503), Reply(503)])
    assert cluster.request("GET", "/v1/a/c/o")[0] == 503
    cluster.on("object", "GET", [Reply(404), Reply(404), Reply(503)])
    assert cluster.request("GET", "/v1/a/c/o")[0] == 404


def test_one_primary_that_never_knew_is_suppressed(make_cluster):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "GET", [Reply(404), Reply(503), Reply(503)])
    # The 404 of a rebalanced partition says nothing, so nobody said anything that counts but the failures.
    assert cluster.request("GET", "/v1/a/c/o")[0] == 503


def test_507_limits_a_node_at_once(cluster):
    cluster.on("object", "GET", [Reply(507), Reply(200, OLD, b"x"), Reply(200, OLD, b"x")])
    for _ in range(20):
        assert cluster.request("GET", "/v1/a/c/o")[0] == 200
    assert len([seen for seen in cluster.of("object") if seen.node == 0]) <= 1


def test_many_errors_limit_a_node(make_cluster):
    cluster = make_cluster(error_suppression_limit="3")
    cluster.on("object", "GET", [Reply(500), Reply(200, OLD, b"x"), Reply(200, OLD, b"x")])
    for _ in range(60):
        assert cluster.request("GET", "/v1/a/c/o")[0] == 200
    assert len([seen for seen in cluster.of("object") if seen.node == 0]) == 4


def test_a_node_that_keeps_to_its_limit_has_not_failed(make_cluster):
    """529 of backend_ratelimit: another one is asked, and this one again the next time."""
    cluster = make_cluster(error_suppression_limit="3")
    cluster.on("object", "GET", [Reply(529), Reply(200, OLD, b"x"), Reply(200, OLD, b"x")])
    for _ in range(60):
        assert cluster.request("GET", "/v1/a/c/o")[0] == 200
    assert len([seen for seen in cluster.of("object") if seen.node == 0]) > 4
    assert not any("ERROR" in line for line in cluster.logger.lines)


def test_a_node_left_alone_may_have_what_others_lack(cluster):
    """They were away during the write: their 404 would deny what was acknowledged."""
    cluster.app.limiter.limit_now(cluster.rings["o"].primaries[2])
    cluster.on("object", "GET", [Reply(404), Reply(404), Reply(200, OLD, b"x"), *[Reply(404)] * 3])
    assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, b"x")
    assert not cluster.app.limiter.is_limited(cluster.rings["o"].primaries[2])


def test_nobody_who_was_left_alone_is_asked_for_what_was_deleted(cluster):
    cluster.app.limiter.limit_now(cluster.rings["o"].primaries[2])
    said = [Reply(404, {"X-Backend-Timestamp": T2}), Reply(404), Reply(200, OLD, b"x")]
    cluster.on("object", "GET", [*said, *[Reply(404)] * 3])
    assert cluster.request("GET", "/v1/a/c/o")[0] == 404
    assert 2 not in {seen.node for seen in cluster.of("object")}


# -- newest ----------------------------------------------------------------------------------------------------------------


def test_newest_asks_all_and_takes_the_newest(cluster):
    cluster.on("object", "GET", [Reply(200, OLD, b"old"), Reply(200, NEW, b"new"), Reply(200, OLD, b"old")])
    assert cluster.request("GET", "/v1/a/c/o", {"X-Newest": "true"})[::2] == (200, b"new")
    assert sorted(seen.node for seen in cluster.of("object")) == [0, 1, 2, 3, 4, 5]


def test_newest_shows_the_last_post_of_the_same_content(cluster):
    """Not all copies have heard of it: they were moved meanwhile, or a node was away."""
    posted = {**OLD, "X-Backend-Timestamp": T2, "X-Timestamp": T2, "X-Object-Meta-Color": "red"}
    cluster.on(
        "object", "GET", [Reply(200, OLD, b"same"), Reply(200, posted, b"same"), Reply(200, OLD, b"same")]
    )
    status, headers, body = cluster.request("GET", "/v1/a/c/o", {"X-Newest": "true"})
    assert (status, headers["x-object-meta-color"], body) == (200, "red", b"same")


def test_newest_believes_a_newer_deletion(cluster):
    gone = Reply(404, {"X-Backend-Timestamp": T1})
    cluster.on("object", "GET", [Reply(200, OLD, b"old"), gone, Reply(200, OLD, b"old")])
    status, headers, body = cluster.request("GET", "/v1/a/c/o", {"X-Newest": "true"})
    assert status == 404


def test_newest_survives_an_older_deletion(cluster):
    gone = Reply(404, {"X-Backend-Timestamp": T1})
    cluster.on("object", "GET", [Reply(200, NEW, b"new"), gone, gone])
    assert cluster.request("GET", "/v1/a/c/o", {"X-Newest": "true"})[::2] == (200, b"new")


# -- hedging ---------------------------------------------------------------------------------------------------------------


def test_concurrent_gets_do_not_wait_for_a_slow_node(make_cluster):
    cluster = make_cluster(nodes=3, concurrent_gets="on", concurrency_timeout="0.02", node_timeout="90")
    slow = Reply(200, OLD, b"slow", hang=60)
    cluster.on("object", "GET", [slow, slow, Reply(200, OLD, b"fast")])
    with concurrency.Timeout(30):
        assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, b"fast")


def test_a_silent_node_is_given_up_after_the_timeout(make_cluster):
    cluster = make_cluster(nodes=3, node_timeout="90", recoverable_node_timeout="0.2")
    slow = Reply(200, OLD, b"slow", hang=60)
    cluster.on("object", "GET", [slow, Reply(200, OLD, b"fast"), Reply(200, OLD, b"fast")])
    with concurrency.Timeout(30):
        for _ in range(3):
            assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, b"fast")


# -- bodies that break off -------------------------------------------------------------------------------------------------

BIG = bytes(range(256)) * 2000


def ranged(etag='"e1"', cut_at=None):
    def reply(seen):
        headers = {"Etag": etag, "X-Backend-Timestamp": T0}
        text = seen.headers.get("range")
        if text is None:
            return Reply(200, headers, BIG, cut=cut_at)
        first, _, last = text.removeprefix("bytes=").partition("-")
        first, last = int(first), min(int(last or len(BIG) - 1), len(BIG) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(BIG)}"
        return Reply(206, headers, BIG[first : last + 1], cut=cut_at)

    return reply


def per_node(*replies):
    return lambda seen: replies[seen.node](seen) if callable(replies[seen.node]) else replies[seen.node]


def test_a_body_that_breaks_off_is_continued_elsewhere(make_cluster):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "GET", per_node(ranged(cut_at=100_000), ranged(cut_at=70_000), ranged()))
    for _ in range(6):
        assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, BIG)


@pytest.mark.parametrize("conf", [{}, {"concurrent_gets": "true", "concurrency_timeout": "0"}])
def test_a_body_is_continued_by_nodes_that_were_asked_at_the_same_time(make_cluster, conf):
    """The first node has nothing, so the two others were both asked: the one not chosen must still be there to go on."""
    cluster = make_cluster(nodes=3, **conf)
    for broken in (1, 2):
        answers = [Reply(404), ranged(), ranged()]
        answers[broken] = ranged(cut_at=100_000)
        cluster.on("object", "GET", per_node(*answers))
        for _ in range(6):
            assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, BIG)


def test_a_range_that_breaks_off_is_continued_elsewhere(make_cluster):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "GET", per_node(ranged(cut_at=100_000), ranged(cut_at=70_000), ranged()))
    for _ in range(6):
        status, headers, body = cluster.request("GET", "/v1/a/c/o", {"Range": "bytes=1000-400000"})
        assert (status, body) == (206, BIG[1000:400001])


def test_other_content_never_continues_a_body(make_cluster):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "GET", per_node(*[ranged(f'"{i}"', cut_at=100_000) for i in range(3)]))
    with pytest.raises(BodyBroken):
        cluster.request("GET", "/v1/a/c/o")


def test_a_short_body_that_cannot_be_brought_is_503(cluster):
    short = b"x" * 100_000
    cluster.on("object", "GET", lambda seen: Reply(200, {"Etag": f'"{seen.node}"'}, short, cut=70_000))
    assert cluster.request("GET", "/v1/a/c/o")[0] == 503


def test_newest_is_not_continued(make_cluster):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "GET", per_node(*[ranged(cut_at=100_000)] * 3))
    with pytest.raises(BodyBroken):
        cluster.request("GET", "/v1/a/c/o", {"X-Newest": "t"})
    assert len(cluster.of("object")) == 3


def test_a_silent_source_is_left_for_another(make_cluster):
    cluster = make_cluster(nodes=2, replicas=2, recoverable_node_timeout="0.2")

    def stalls(seen):
        reply = ranged()(seen)
        return Reply(
            reply.status, {**reply.headers, "Content-Length": str(len(reply.body))}, reply.body[:90_000]
        )

    cluster.on("object", "GET", per_node(stalls, ranged()))
    with concurrency.Timeout(60):
        for _ in range(4):
            assert cluster.request("GET", "/v1/a/c/o")[::2] == (200, BIG)


def multipart(cut_at=None, content=BIG):
    from swift.wire.multipart import byteranges_body

    def reply(seen):
        specs = seen.headers["range"].removeprefix("bytes=").split(",")
        if len(specs) == 1:
            return ranged()(seen)
        ranges = [(int(a), int(b) + 1) for a, b in (spec.split("-") for spec in specs)]
        boundary = f"{seen.node}" * 32
        body = b"".join(byteranges_body(ranges, len(content), "a/b", boundary, lambda s, e: (content[s:e],)))
        headers = {"Etag": '"e1"', "Content-Type": f"multipart/byteranges;boundary={boundary}"}
        return Reply(206, headers, body, cut=cut_at)

    return reply


@pytest.mark.parametrize("cut_at", [0, 10, 120, 70_000, 100_090, 100_150, 100_300, 150_000, 201_000])
def test_a_multipart_body_is_continued_with_the_same_boundary(make_cluster, cut_at):
    cluster = make_cluster(nodes=2, replicas=2)
    seen_boundaries = set()
    wanted = {"Range": "bytes=0-99999,150000-250999,7-9"}
    cluster.on("object", "GET", per_node(multipart(), multipart()))
    whole = cluster.request("GET", "/v1/a/c/o", wanted)
    size = len(whole[2])
    cluster.on("object", "GET", per_node(multipart(cut_at), multipart()))
    for _ in range(6):
        try:
            status, headers, body = cluster.request("GET", "/v1/a/c/o", wanted)
        except BodyBroken:
            # What kind of parts it was to have, nobody told before it broke off.
            assert cut_at < 100
            continue
        boundary = headers["content-type"].partition("boundary=")[2]
        seen_boundaries.add(boundary)
        assert status == 206
        assert len(body) == size == int(headers["content-length"])
        expected = b"".join(
            b"--%s\r\nContent-Type: a/b\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%s\r\n"
            % (boundary.encode(), a, b, len(BIG), BIG[a : b + 1])
            for a, b in ((0, 99999), (150000, 250999), (7, 9))
        )
        assert body == expected + b"--" + boundary.encode() + b"--"


def test_a_client_that_leaves_closes_the_source(cluster):
    cluster.on("object", "GET", Reply(200, OLD, BIG))
    from swift.wire.message import Request

    status, headers, body = Request.blank("/v1/a/c/o").call_application(cluster.app)
    next(iter(body))
    body.close()
    assert body.source.response.conn.stream.fd == -1


def test_connections_are_used_again(cluster):
    cluster.on("object", "GET", Reply(200, OLD, b"x"))
    cluster.request("GET", "/v1/a/c/o")
    for _ in range(20):
        cluster.request("GET", "/v1/a/c/o")
    assert sum(len(backend.streams) for backend in cluster.backends) <= 3


def test_a_pooled_connection_that_died_is_replaced(cluster):
    cluster.on("object", "GET", Reply(200, OLD, b"x"))
    for _ in range(10):
        cluster.request("GET", "/v1/a/c/o")
    for backend in cluster.backends:
        for stream in backend.streams:
            stream.close()
    for _ in range(10):
        assert cluster.request("GET", "/v1/a/c/o")[0] == 200


# -- policies and containers -----------------------------------------------------------------------------------------------


def test_a_missing_container_is_a_missing_object(cluster):
    cluster.on("container", "HEAD", Reply(404))
    assert cluster.request("GET", "/v1/a/c/o")[0] == 404


def test_a_container_that_cannot_be_asked_is_503(cluster):
    cluster.on("container", "HEAD", Reply(500))
    assert cluster.request("GET", "/v1/a/c/o")[0] == 503
    assert cluster.of("object") == []


def test_the_container_says_which_policy(make_cluster):
    from swift.core.policy import PolicyCollection, ReplicatedPolicy

    both = PolicyCollection([ReplicatedPolicy(0, "gold", is_default=True), ReplicatedPolicy(1, "silver")])
    cluster = make_cluster(policies=both)
    cluster.on("container", "HEAD", Reply(204, {**CONTAINER_HEADERS, "X-Backend-Storage-Policy-Index": "1"}))
    cluster.on("object", "GET", Reply(200, OLD, b"x"))
    cluster.request("GET", "/v1/a/c/o")
    cluster.request("GET", "/v1/a/c/o", {"X-Backend-Storage-Policy-Index": "0"})
    assert [seen.headers["x-backend-storage-policy-index"] for seen in cluster.of("object")] == ["1", "0"]
    assert cluster.request("GET", "/v1/a/c/o", {"X-Backend-Storage-Policy-Index": "9"})[0] == 503


@pytest.mark.parametrize(("allowed", "seen_value"), [("true", "true"), ("false", None)])
def test_open_expired_only_where_it_is_allowed(make_cluster, allowed, seen_value):
    cluster = make_cluster(allow_open_expired=allowed)
    cluster.on("object", "GET", Reply(200, OLD, b"x"))
    cluster.request("GET", "/v1/a/c/o", {"X-Open-Expired": "true"})
    assert cluster.of("object")[0].headers.get("x-backend-open-expired") == seen_value


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_nodes_that_all_failed_lately_are_tried_all_the_same(cluster, method):
    for node in cluster.rings["o"].primaries + tuple(cluster.rings["o"].handoffs):
        cluster.app.limiter.limit_now(node)
    cluster.on("object", method, Reply({"PUT": 201, "DELETE": 204}.get(method, 200), body=b""))
    body = b"x" if method == "PUT" else b""
    assert cluster.request(method, "/v1/a/c/o", {"Content-Type": "a/b"}, body)[0] < 300
