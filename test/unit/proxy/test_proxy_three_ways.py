"""Every kind of GET gives the same answer however its body travels: iterated, spliced, over TLS (spec proxy 10.4)."""

import pytest
from proxy_backends import CONTAINER_HEADERS, T0, Reply, none_left_connected

from swift.engine import stream
from swift.wire.multipart import byteranges_body
from test import certificate
from test.three_ways import WAYS, Front

MARK = b"SECRETsecret"
BIG = MARK * 200_000
SHORT = 100_000  # gathered before the answer begins
LISTING = b'[{"name": "' + b"n" * 400_000 + b'"}]'


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return certificate.make(tmp_path_factory.mktemp("cert"))


@pytest.fixture(params=WAYS)
def start(request, make_cluster, cert):
    """start(**options of the cluster) → (cluster, front)"""
    made = []

    def begin(**options):
        cluster = make_cluster(**options)
        made.append(Front(cluster.app, request.param, cert, cluster.logger))
        return cluster, made[-1]

    yield begin
    for front in made:
        front.stop()


def answers(content, cut=None, cuts=(), etag='"e1"', boundary=None):
    """A node's reply to whole, ranged and multi-ranged requests. `cut`: where its bodies break off; `cuts`: by node."""

    def reply(seen):
        headers = {"Etag": etag, "X-Backend-Timestamp": T0, "Content-Type": "a/b"}
        where = cuts[seen.node] if seen.node < len(cuts) else cut
        text = seen.headers.get("range")
        if text is None:
            return Reply(200, headers, content, cut=where)
        ranges = []
        for spec in text.removeprefix("bytes=").split(","):
            first, _, last = spec.partition("-")
            ranges.append((int(first), min(int(last or len(content) - 1), len(content) - 1) + 1))
        if len(ranges) == 1:
            start, stop = ranges[0]
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            return Reply(206, headers, content[start:stop], cut=where)
        limit = boundary or f"{seen.node}" * 32
        body = b"".join(byteranges_body(ranges, len(content), "a/b", limit, lambda a, b: (content[a:b],)))
        headers["Content-Type"] = f"multipart/byteranges;boundary={limit}"
        return Reply(206, headers, body, cut=where)

    return reply


@pytest.mark.parametrize("size", [0, 1, SHORT, 128 * 1024, 128 * 1024 + 1, len(BIG)])
def test_whole(start, size):
    cluster, front = start()
    content = BIG[:size]
    cluster.on("object", "GET", answers(content))
    got = front.get("/v1/a/c/o")
    assert (got.status, got.body, got.broken) == (200, content, False)
    assert got.headers["content-length"] == str(size) and got.headers["etag"] == "e1"


@pytest.mark.parametrize("first,last", [(5, 5), (7, SHORT), (1000, len(BIG) - 1)])
def test_a_range(start, first, last):
    cluster, front = start()
    cluster.on("object", "GET", answers(BIG))
    got = front.get("/v1/a/c/o", {"Range": f"bytes={first}-{last}"})
    assert (got.status, got.body, got.broken) == (206, BIG[first : last + 1], False)
    assert got.headers["content-range"] == f"bytes {first}-{last}/{len(BIG)}"


@pytest.mark.parametrize("sizes", [(10, 20), (300_000, 10)])
def test_several_ranges(start, sizes):
    cluster, front = start()
    cluster.on("object", "GET", answers(BIG))
    wanted = ",".join(f"{at * 500_000}-{at * 500_000 + size - 1}" for at, size in enumerate(sizes))
    got = front.get("/v1/a/c/o", {"Range": f"bytes={wanted}"})
    boundary = got.headers["content-type"].partition("boundary=")[2]
    ranges = [(at * 500_000, at * 500_000 + size) for at, size in enumerate(sizes)]
    expected = b"".join(byteranges_body(ranges, len(BIG), "a/b", boundary, lambda a, b: (BIG[a:b],)))
    assert (got.status, got.body, got.broken) == (206, expected, False)
    assert got.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("method,status", [("HEAD", 200), ("GET", 404), ("GET", 416)])
def test_answers_without_an_object(start, method, status):
    cluster, front = start()
    page = b"" if status == 200 else b"<html>no</html>"
    cluster.on("object", method, Reply(status, {"X-Backend-Timestamp": T0, "Etag": '"e"'}, page))
    got = front.get("/v1/a/c/o", method=method)
    assert got.status == status and not got.broken
    assert got.body == (b"" if method == "HEAD" else page)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1000-2000000"}, {"Range": "bytes=0-1,9-1500000"}])
def test_broken_off_and_continued(start, headers):
    """By the second node, which breaks off too, and by the third."""
    cluster, front = start(nodes=3)
    cluster.on("object", "GET", answers(BIG, boundary="b" * 32))
    whole = front.get("/v1/a/c/o", headers)
    assert not whole.broken and len(whole.body) > 1_000_000
    cluster.on("object", "GET", answers(BIG, cuts=(400_000, 300_000, None), boundary="b" * 32))
    for _ in range(4):
        assert front.get("/v1/a/c/o", headers).body == whole.body


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1000-2000000"}, {"Range": "bytes=0-1,9-1500000"}])
def test_broken_off_for_good(start, headers):
    """Less than was announced, and then the end: no client takes it for the whole."""
    cluster, front = start(nodes=3)
    cluster.on("object", "GET", lambda seen: answers(BIG, cut=400_000, etag=f'"{seen.node}"')(seen))
    got = front.get("/v1/a/c/o", headers)
    assert got.broken and len(got.body) == 400_000


def test_a_source_that_stalls_is_left_for_another(start):
    cluster, front = start(nodes=2, replicas=2, recoverable_node_timeout="0.2")

    def stalls(seen):
        reply = answers(BIG)(seen)
        if seen.node == 1:
            return reply
        headers = {**reply.headers, "Content-Length": str(len(reply.body))}
        return Reply(reply.status, headers, reply.body[:300_000])

    cluster.on("object", "GET", stalls)
    for _ in range(4):
        got = front.get("/v1/a/c/o")
        assert (got.body, got.broken) == (BIG, False)


def test_a_long_listing(start):
    cluster, front = start()
    headers = {**CONTAINER_HEADERS, "Content-Type": "application/json; charset=utf-8"}
    cluster.on("container", "GET", Reply(200, headers, LISTING))
    got = front.get("/v1/a/c?format=json")
    assert (got.status, got.body, got.broken) == (200, LISTING, False)


@pytest.mark.parametrize("cut", [None, 300_000])
def test_a_body_of_unknown_length(start, cut):
    cluster, front = start()
    chunk = BIG[:50_000]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for _ in range(20)) + b"0\r\n\r\n"
    headers = {"Content-Length": None, "Transfer-Encoding": "chunked", "X-Backend-Timestamp": T0}
    cluster.on("object", "GET", Reply(200, headers, body, cut=cut))
    got = front.get("/v1/a/c/o")
    assert got.broken == (cut is not None)
    assert got.body == chunk * 20 if cut is None else 200_000 < len(got.body) < 300_000
    assert not any("Traceback" in line for line in cluster.logger.lines)


# -- If-Range --------------------------------------------------------------------------------------------------------------

MODIFIED = "Wed, 15 Nov 2023 22:13:20 GMT"


def honest(content, cuts=(), etag='"e1"', knows_if_range=True):
    """Nodes that answer conditions, or older ones that take no notice of If-Range."""
    plain = answers(content, cuts=cuts, etag=etag, boundary="b" * 32)

    def reply(seen):
        wanted = seen.headers.get("if-range")
        if knows_if_range and wanted not in (None, etag, etag.strip('"'), MODIFIED):
            seen.headers.pop("range", None)
        text = seen.headers.get("range", "")
        if text.startswith("bytes=9999999-"):
            given = {"Etag": etag, "Content-Range": f"bytes */{len(content)}"}
            made = Reply(416, given, b"<html>no</html>")
        else:
            made = plain(seen)
        made.headers["Last-Modified"] = MODIFIED
        return made

    return reply


@pytest.mark.parametrize("knows", [True, False], ids=["", "older nodes"])
@pytest.mark.parametrize("ranges", ["1000-2000000", "0-1,9-1500000", "5-9", "9999999-"])
@pytest.mark.parametrize(
    "validator,is_same",
    [('"e1"', True), ("e1", True), (MODIFIED, True), ('"e0"', False), ('W/"e1"', False), ("rubbish", False)],
)
def test_a_download_is_resumed_only_of_the_same_version(start, validator, is_same, ranges, knows):
    cluster, front = start()
    cluster.on("object", "GET", honest(BIG, knows_if_range=knows))
    got = front.get("/v1/a/c/o", {"Range": f"bytes={ranges}", "If-Range": validator})
    if not is_same:
        assert (got.status, got.body, got.broken) == (200, BIG, False)
        assert "content-range" not in got.headers
    else:
        without = front.get("/v1/a/c/o", {"Range": f"bytes={ranges}"})
        assert (got.status, got.body) == (without.status, without.body)
        assert got.status == (416 if ranges.startswith("9999999") else 206)


@pytest.mark.parametrize("validator", ['"e1"', '"e0"', MODIFIED])
@pytest.mark.parametrize("ranges", ["1000-2000000", "0-1,9-1500000"])
def test_a_conditional_answer_that_breaks_off_is_continued(start, validator, ranges):
    """The rest is asked for without the conditions: they have been answered, and the ETag says what is wanted."""
    cluster, front = start(nodes=3)
    headers = {"Range": f"bytes={ranges}", "If-Range": validator, "If-None-Match": '"x"'}
    cluster.on("object", "GET", honest(BIG))
    whole = front.get("/v1/a/c/o", headers)
    assert whole.status == (200 if validator == '"e0"' else 206)
    cluster.on("object", "GET", honest(BIG, cuts=(400_000, 300_000, None)))
    for _ in range(3):
        del cluster.seen[:]
        got = front.get("/v1/a/c/o", headers)
        assert (got.status, got.body, got.broken) == (whole.status, whole.body, False)
        for seen in cluster.of("object")[1:]:
            assert not any(name.startswith("if-") for name in seen.headers)


def test_dates_that_do_not_count_are_not_passed_on(start):
    """A node that lets each condition stand alone would answer 304 for new content of the same second."""
    cluster, front = start()
    cluster.on("object", "GET", answers(b"abc"))
    dates = {"If-Modified-Since": MODIFIED, "If-Unmodified-Since": MODIFIED}
    front.get("/v1/a/c/o", {**dates, "If-None-Match": "x", "If-Match": "*"})
    front.get("/v1/a/c/o", dates)
    first, second = cluster.of("object")
    assert {name for name in first.headers if name.startswith("if-")} == {"if-none-match", "if-match"}
    assert {name for name in second.headers if name.startswith("if-")} == {
        "if-modified-since",
        "if-unmodified-since",
    }


# -- what may travel which way ---------------------------------------------------------------------------------------------


def test_only_a_plain_socket_is_spliced_to(start, monkeypatch):
    """All that a client of TLS receives is encrypted, whichever body asks to send itself."""
    cluster, front = start()
    spliced = []
    real = stream.Stream.splice_to
    monkeypatch.setattr(stream.Stream, "splice_to", lambda *args: spliced.append(args) or real(*args))
    cluster.on("object", "GET", answers(BIG))
    headers = {**CONTAINER_HEADERS, "Content-Type": "application/json; charset=utf-8"}
    cluster.on("container", "GET", Reply(200, headers, BIG))
    for path, wanted in (
        ("/v1/a/c/o", {}),
        ("/v1/a/c/o", {"Range": "bytes=0-999999"}),
        ("/v1/a/c/o", {"Range": "bytes=0-999999,5-8"}),
        ("/v1/a/c", {}),
    ):
        got = front.get(path, wanted)
        assert MARK in got.body and not got.broken
        if front.way == "tls":
            assert MARK not in got.wire and len(got.wire) > len(got.body)
    assert bool(spliced) == (front.way == "spliced")


@pytest.mark.parametrize("kind", ["whole", "ranges", "unsized", "listing"])
def test_a_body_that_is_dropped_without_a_word_leaves_no_connection(make_cluster, kind):
    """A filter forgot to close it, or an error came between finding the source and handing its body on."""
    from swift.wire.message import Request

    cluster = make_cluster()
    headers = {**CONTAINER_HEADERS, "Content-Type": "application/json; charset=utf-8"}
    cluster.on("container", "GET", Reply(200, headers, BIG))
    cluster.on("object", "GET", answers(BIG))
    if kind == "unsized":
        chunk = b"%x\r\n%s\r\n" % (len(BIG), BIG)
        cluster.on(
            "object", "GET", Reply(200, {"Content-Length": None, "Transfer-Encoding": "chunked"}, chunk)
        )
    path = "/v1/a/c" if kind == "listing" else "/v1/a/c/o"
    wanted = {"Range": "bytes=0-999999,5-8"} if kind == "ranges" else {}

    def ask():
        return Request.blank(path, headers=wanted).call_application(cluster.app)[2]

    for close in (lambda body: body.close(), lambda body: next(iter(body)) and None, lambda body: None):
        body = ask()
        body.close()
        with none_left_connected():
            for _ in range(3):
                body = ask()
                close(body)
                del body


def test_an_error_between_a_source_and_its_body_leaves_no_connection(make_cluster, monkeypatch):
    from swift.proxy import listings as listings_module
    from swift.proxy import object as object_module

    cluster = make_cluster()
    cluster.on("object", "GET", answers(BIG))
    headers = {**CONTAINER_HEADERS, "Content-Type": "application/json; charset=utf-8"}
    cluster.on("container", "GET", Reply(200, headers, BIG))
    cluster.request("GET", "/v1/a/c/o")

    split = object_module.split_headers

    def fails(headers):
        headers = list(headers)
        if ("content-length", str(len(BIG))) in [(name.lower(), value) for name, value in headers]:
            raise ValueError("no such header")
        return split(headers)  # what is known of the container is asked anew in between, after a second

    for module in (object_module, listings_module):
        monkeypatch.setattr(module, "split_headers", fails)
    with none_left_connected():
        for path in ("/v1/a/c/o", "/v1/a/c") * 3:
            assert cluster.request("GET", path)[0] == 500
