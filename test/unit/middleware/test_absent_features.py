"""What nobody in the pipeline would understand is refused, where saying yes would lose or expose data."""

import re

import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.absent_features import HEADERS, PARAMETERS, AbsentFeatures
from swift.middleware.gatekeeper import GatekeeperMiddleware

BARE = frozenset(("catch_errors", "gatekeeper", "memcache", "tempauth", "proxy"))
EVERYTHING = BARE | {feature.filters[0] for feature in (*HEADERS, *PARAMETERS)} | {"s3api"}


def ask(path, method="GET", headers=None, filters=BARE, query=""):
    """(status or None if it came through, body, response)"""
    gatekeeper = GatekeeperMiddleware(App(), {}, memory_logger()[0])
    gatekeeper._pipeline_names = filters
    answer = call(gatekeeper, path, method, headers or {}, {"QUERY_STRING": query})
    came_through = gatekeeper.app.environ is not None
    return None if came_through else answer.status_int, answer.body, answer


REFUSED = [
    ("PUT", "/v1/a/c/o", {"X-Object-Manifest": "c/segments"}, "", "dlo"),
    ("POST", "/v1/a/c/o", {"X-Object-Manifest": "c/segments"}, "", "dlo"),
    ("PUT", "/v1/a/c/o", {}, "multipart-manifest=put", "slo"),
    ("PUT", "/v1/a/c/o", {}, "heartbeat=on&%6dultipart-manifest=put", "slo"),
    ("DELETE", "/v1/a/c/o", {}, "multipart-manifest=delete&async=on", "slo"),
    ("PUT", "/v1/a/c/o", {"X-Static-Large-Object": "True"}, "", "slo"),
    ("PUT", "/v1/a/c/o", {"X-Symlink-Target": "c/other"}, "", "symlink"),
    ("PUT", "/v1/a/c/o", {"X-Copy-From": "c/other"}, "", "copy"),
    ("PUT", "/v1/a/c", {}, "extract-archive=tar.gz", "bulk"),
    ("PUT", "/v1/a", {}, "extract-archive=tar", "bulk"),
    ("POST", "/v1/a", {}, "bulk-delete", "bulk"),
    ("DELETE", "/v1/a/c", {}, "bulk-delete=true", "bulk"),
    ("PUT", "/v1/a/c", {"X-Versions-Enabled": "true"}, "", "versioned_writes"),
    ("POST", "/v1/a/c", {"X-Versions-Location": "old"}, "", "versioned_writes"),
    ("PUT", "/v1/a/c", {"X-History-Location": "old"}, "", "versioned_writes"),
    ("DELETE", "/v1/a/c/o", {}, "version-id=1234.5", "versioned_writes"),
    ("GET", "/v1/a/c/o", {}, "version-id=null", "versioned_writes"),
]


@pytest.mark.parametrize("method, path, headers, query, name", REFUSED)
def test_without_its_filter_it_is_refused_by_name(method, path, headers, query, name):
    status, body, answer = ask(path, method, headers, query=query)
    assert status == 400
    assert answer.headers["Content-Type"].startswith("text/plain") and re.search(
        rf"filter {name} is not in", body.decode()
    )


@pytest.mark.parametrize("method, path, headers, query, name", REFUSED)
def test_with_its_filter_it_comes_through(method, path, headers, query, name):
    assert ask(path, method, headers, BARE | {name}, query)[0] is None
    assert ask(path, method, headers, EVERYTHING, query)[0] is None


@pytest.mark.parametrize("method, path, headers, query, name", REFUSED)
def test_a_gatekeeper_on_its_own_refuses_nothing(method, path, headers, query, name):
    assert ask(path, method, headers, frozenset(), query)[0] is None


@pytest.mark.parametrize(
    "method, path, headers, query",
    [
        ("GET", "/v1/a/c/o", {}, ""),
        ("GET", "/v1/a/c", {}, "format=json&prefix=%20bulk"),
        ("GET", "/v1/a/c/bulk-delete", {}, ""),
        ("GET", "/v1/a/c", {}, "prefix=multipart-manifest"),
        ("GET", "/v1/a/c/o", {}, "multipart-manifest=get"),
        ("GET", "/v1/a/c/o", {"X-Object-Manifest": "c/segments"}, ""),
        ("PUT", "/v1/a/c", {"X-Versions-Enabled": "false"}, ""),
        ("POST", "/v1/a/c", {"X-Versions-Location": ""}, ""),
        ("POST", "/v1/a/c", {"X-Remove-Versions-Location": "x"}, ""),
        ("PUT", "/v1/a/c", {"X-Container-Meta-Quota-Bytes": "5"}, ""),
        ("POST", "/v1/a", {"X-Account-Meta-Temp-Url-Key": "k"}, ""),
        ("PUT", "/v1/a/c/o", {"X-Object-Meta-X-Object-Manifest": "c/x"}, ""),
        ("GET", "/v1/a/c/o", {"X-Auth-Token": "t", "X-Amz-Date": "now"}, ""),
        ("GET", "/v1/a/c/o", {"X-Amz-Cf-Id": "from-a-proxy-on-the-way"}, ""),
        ("GET", "/v1/a/c/o", {"Authorization": "Basic xyz"}, ""),
    ],
)
def test_what_harms_nobody_comes_through(method, path, headers, query):
    assert ask(path, method, headers, query=query)[0] is None


def test_names_from_the_host_are_looked_at_too():
    filters = BARE | {"domain_remap"}
    assert ask("/o", "PUT", {"X-Object-Manifest": "c/x"}, filters)[0] == 400
    assert ask("/o", "PUT", {"X-Object-Manifest": "c/x"})[0] is None


@pytest.mark.parametrize(
    "path, headers, query",
    [
        (
            "/",
            {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260102/r/s3/aws4_request"},
            "",
        ),
        ("/bucket", {"Authorization": "AWS test:tester:c2ln"}, ""),
        ("/bucket/key", {}, "AWSAccessKeyId=a&Expires=1&Signature=s"),
        ("/bucket/key", {}, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"),
        ("/bucket", {"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, ""),
    ],
)
def test_s3_requests_are_answered_as_s3_clients_read_it(path, headers, query):
    for method in ("GET", "PUT"):
        status, body, answer = ask(path, method, headers, query=query)
        assert (status, answer.headers["Content-Type"][:15]) == (501, "application/xml")
        assert b"<Code>NotImplemented</Code>" in body and b"s3api" in body
    status, body, _ = ask(path, "HEAD", headers, query=query)
    assert (status, body) == (501, b"")
    assert ask(path, "GET", headers, BARE | {"s3api"}, query)[0] is None


def test_what_came_through_before_hides_nothing_that_comes_later():
    signed = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260102/r/s3/aws4_request",
        "X-Amz-Date": "now",
    }
    later = [
        ("PUT", "/b/k", {**signed, "X-Amz-Meta-A": "b"}, ""),
        ("GET", "/b", signed, "list-type=2&prefix=%41"),
        ("PUT", "/v1/a/c/o", {}, ""),
    ]
    refused = [
        ("PUT", "/v1/a/c/o", {}, "multipart-manifest=put"),
        ("PUT", "/v1/a/c/o", signed, "%6dultipart-manifest=put"),
        ("PUT", "/v1/a/c/o", {**signed, "X-Object-Manifest": "c/segments"}, ""),
    ]
    with_s3 = GatekeeperMiddleware(App(), {}, memory_logger()[0])
    with_s3._pipeline_names = BARE | {"s3api"}
    without = GatekeeperMiddleware(App(), {}, memory_logger()[0])
    without._pipeline_names = BARE
    for _ in range(2):
        for method, path, headers, query in later + refused:
            for gatekeeper in (with_s3, without):
                gatekeeper.app = App()
                answer = call(gatekeeper, path, method, headers, {"QUERY_STRING": query})
                is_refused = (method, path, headers, query) in refused or (gatekeeper is without and headers)
                assert (gatekeeper.app.environ is None) == bool(is_refused), (method, path, query)
                if is_refused:
                    assert answer.status_int in (400, 501)


def read(headers, filters=BARE, method="GET", query="", status="200 OK"):
    """(answer, the body that the proxy had)"""
    body = Body()
    gatekeeper = GatekeeperMiddleware(App(status, [("Etag", "e"), *headers], body), {}, memory_logger()[0])
    gatekeeper._pipeline_names = filters
    for _ in range(2):  # a name is looked at each time that it comes
        answer = call(gatekeeper, "/v1/a/c/o", method, {}, {"QUERY_STRING": query})
    return answer, body


class Body:
    closed = 0

    def __iter__(self):
        return iter((b"what is stored",))

    def close(self):
        self.closed += 1


STORED = [
    ("X-Static-Large-Object", "True", "slo", "multipart-manifest=get"),
    ("X-Object-Manifest", "c/segments", "dlo", "multipart-manifest=get"),
    ("X-Object-Sysmeta-Symlink-Target", "c/other", "symlink", "symlink=get"),
    ("X-Object-Sysmeta-Crypto-Body-Meta", "%7B%7D", "encryption", ""),
]


@pytest.mark.parametrize("name, value, missing, raw", STORED)
def test_what_only_a_missing_filter_can_read_is_not_served_as_the_object(name, value, missing, raw):
    for method in ("GET", "HEAD"):
        answer, body = read([(name, value)], method=method)
        assert answer.status_int == 400 and body.closed == 2
        assert "Etag" not in answer.headers
        assert method == "HEAD" or f"filter {missing}," in answer.body.decode()
        assert read([(name, value)], BARE | {missing}, method)[0].status_int == 200
    assert read([(name, value)], query="symlink=put&multipart-manifest=put")[0].status_int == 400
    if raw:
        answer, _ = read([(name, value)], query=f"format=raw&{raw}")
        assert answer.status_int == 200 and answer.body == b"what is stored"


@pytest.mark.parametrize(
    "headers, method, status",
    [
        ([("X-Static-Large-Object", "False")], "GET", "200 OK"),
        ([("X-Object-Manifest", "")], "GET", "200 OK"),
        ([("X-Object-Meta-X-Object-Manifest", "c/x")], "GET", "200 OK"),
        ([("X-Object-Manifest", "c/x")], "GET", "404 Not Found"),
        ([("X-Object-Manifest", "c/x")], "POST", "202 Accepted"),
    ],
)
def test_other_answers_pass(headers, method, status):
    assert read(headers, method=method, status=status)[0].status == status


@given(st.text(st.characters(max_codepoint=255)), st.sampled_from(["GET", "PUT", "POST", "DELETE", "LOL"]))
def test_any_query_is_looked_at(query, method):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/v1/a/c/o", "QUERY_STRING": query}
    AbsentFeatures(BARE).refusal(environ, "\n".join(environ))
