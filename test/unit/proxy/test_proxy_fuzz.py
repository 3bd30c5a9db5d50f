"""Whatever a client sends, it gets an answer that blames it or serves it, never a 500."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy_backends import CONTAINER_HEADERS, T0, Cluster, Reply

from swift.wire.message import Request

OBJECT = {"Etag": '"e"', "X-Backend-Timestamp": T0, "X-Timestamp": T0}


@pytest.fixture(scope="module")
def served():
    cluster = Cluster(
        nodes=3, allow_account_management="yes", account_autocreate="yes", allow_open_expired="yes"
    )
    for kind in ("account", "container", "object"):
        for method, status in (("GET", 200), ("HEAD", 204), ("PUT", 201), ("POST", 202), ("DELETE", 204)):
            headers = {"account": {}, "container": CONTAINER_HEADERS, "object": OBJECT}[kind]
            cluster.on(kind, method, Reply(status, headers, b"[]" if status == 200 else b""))
    yield cluster
    cluster.close()


wire_text = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=30)
segments = st.one_of(
    wire_text, st.sampled_from(["", "v1", "a", "AUTH_test", ".", "..", "c", "é".encode().decode("latin-1")])
)
paths = st.one_of(
    st.builds(lambda parts: "/" + "/".join(parts), st.lists(segments, max_size=6)),
    st.builds(lambda parts: "/v1/" + "/".join(parts), st.lists(segments, min_size=1, max_size=5)),
)
names = st.sampled_from(
    [
        "RANGE", "IF_MATCH", "IF_NONE_MATCH", "IF_MODIFIED_SINCE", "X_TIMESTAMP", "X_NEWEST", "X_DELETE_AT", "X_DELETE_AFTER", "ETAG",
        "X_OBJECT_META_A", "X_CONTAINER_META_", "X_CONTAINER_META_B", "X_REMOVE_CONTAINER_META_B", "X_ACCOUNT_META_C", "X_STORAGE_POLICY",
        "X_CONTAINER_READ", "X_DETECT_CONTENT_TYPE", "X_OPEN_EXPIRED", "ORIGIN", "ACCESS_CONTROL_REQUEST_METHOD", "HOST", "ACCEPT",
        "TRANSFER_ENCODING", "X_BACKEND_STORAGE_POLICY_INDEX", "X_BACKEND_ALLOW_RESERVED_NAMES", "X_BACKEND_RECORD_TYPE", "REFERER",
        "X_BACKEND_ALLOW_PRIVATE_METHODS", "X_IF_DELETE_AT",
    ]
)  # fmt: skip
values = st.one_of(
    wire_text,
    st.sampled_from(["true", "1", "-1", "*", "bytes=0-1", "chunked", "nan", "inf", "9" * 400, "1_1"]),
)
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "UPDATE", "BREW"])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=methods,
    path=paths,
    query=wire_text,
    headers=st.dictionaries(names, values, max_size=4),
    content_type=st.one_of(st.just(""), wire_text),
    body=st.binary(max_size=20),
)
def test_no_request_is_our_fault(served, method, path, query, headers, content_type, body):
    environ = {f"HTTP_{name}": value for name, value in headers.items()}
    request = Request.blank(
        "/", environ={"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, **environ}
    )
    request.environ["CONTENT_TYPE"] = content_type
    request.body = body
    served.logger.lines.clear()
    status, answer, chunks = request.call_application(served.app)
    data = b"".join(chunks)
    assert not status.startswith("500"), (status, served.logger.lines)
    assert b"Traceback" not in data
    for seen in served.seen:
        assert "\n" not in seen.path
    served.seen.clear()
