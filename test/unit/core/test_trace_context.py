"""Trace contexts of clients: taken strictly, passed on with a part of our own, logged, believed in nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core import trace_context
from swift.core.trace_context import TraceContext, taken, trace_id_of
from swift.middleware.catch_errors import CatchErrorsMiddleware
from swift.proxy.backend_headers import closing_lines
from swift.telemetry.access_line import StorageAccessLog, proxy_template
from swift.telemetry.log import Logger, set_transaction
from swift.telemetry.log_sinks import json_line
from swift.wire.subrequest import make_environ

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_a_context_is_taken_and_goes_on_with_a_part_of_our_own():
    found = taken(PARENT, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert (found.trace_id, found.parent_id, found.flags) == (TRACE, "00f067aa0ba902b7", "01")
    assert found.state == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert found.traceparent == f"00-{TRACE}-{found.span_id}-01" and found.span_id != found.parent_id
    assert trace_id_of(found.traceparent) == TRACE
    assert taken(PARENT).span_id != taken(PARENT).span_id


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "x",
        PARENT[:-1],
        PARENT + "0",
        PARENT + "-more",
        PARENT.upper(),
        PARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        PARENT.replace("-", "_"),
        PARENT + "\r\nX-Evil: 1",
        "01" + PARENT[2:] + "-" + "x" * 300,
    ],
)
def test_what_is_none_is_dropped(bad):
    assert taken(bad) is None


def test_a_later_version_is_read_as_this_one():
    found = taken("cc" + PARENT[2:-2] + "ff-what-the-future-is-like")
    assert found.traceparent == f"00-{TRACE}-{found.span_id}-01"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("a=1, ,b=2", "a=1,b=2"),
        ("tenant@sys=x y", "tenant@sys=x y"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a=1\r\nX-Evil: 1", ""),
        ("a=b=c", ""),
        ("a" * 600 + "=1", ""),
        (",".join(f"k{n}=1" for n in range(33)), ""),
    ],
)
def test_a_state_that_is_no_good_is_dropped_alone(state, expected):
    found = taken(PARENT, state)
    assert found.trace_id == TRACE and found.state == expected


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_a_client_sends_breaks_no_header(parent, state):
    for text in (parent, PARENT[: len(parent)] + parent):
        found = taken(text, state)
        if found is not None:
            sent = found.traceparent + found.state
            assert sent.isprintable() and sent.isascii() and len(sent) < 600


# -- on its way


def asked(environ, **conf):
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [])
        return [b""]

    CatchErrorsMiddleware(app, conf, Logger("x", 50, []))(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/a", **environ}, lambda *args: None
    )
    return seen


def test_only_who_is_part_of_a_trace_is_told_to_storage_servers():
    plain = asked({})
    assert "swift.trace" not in plain and "swift.log_info" not in plain
    assert "swift.trace" not in asked({"HTTP_TRACEPARENT": "rubbish", "HTTP_TRACESTATE": "a=1"})
    seen = asked({"HTTP_TRACEPARENT": PARENT, "HTTP_TRACESTATE": "a=1"})
    assert seen["swift.trace"].trace_id == TRACE and seen["swift.log_info"] == [f"trace:{TRACE}"]
    for environ in (seen, make_environ(seen, path="/v1/a/c")):
        lines = closing_lines({"HTTP_HOST": "h", "wsgi.url_scheme": "http", **environ}, "proxy", "/v1/a")
        assert f"Traceparent: {seen['swift.trace'].traceparent}\r\n" in lines
        assert lines[-1] == "Tracestate: a=1\r\n"
    lines = closing_lines({"HTTP_HOST": "h", "wsgi.url_scheme": "http", **plain}, "proxy", "/v1/a")
    assert not any(line.startswith("Trace") for line in lines)


def test_traces_begin_by_chance_where_that_is_asked_for():
    assert asked({}, trace_sample_rate="1")["swift.trace"].parent_id == ""
    assert "swift.trace" not in asked({}, trace_sample_rate="0")
    # whoever sent one that is none is not given another
    assert "swift.trace" not in asked({"HTTP_TRACEPARENT": "x"}, trace_sample_rate="1")
    for bad in ("2", "-1", "often"):
        with pytest.raises(ValueError):
            CatchErrorsMiddleware(None, {"trace_sample_rate": bad}, Logger("x", 50, []))


def test_json_lines_and_templates_have_it_and_the_usual_lines_are_as_ever():
    set_transaction("tx1", None, TRACE)
    try:
        assert json.loads(json_line(0.0, [-1, ""], 20, "n", "text", None, None))["trace"] == TRACE
    finally:
        set_transaction(None)
    assert "trace" not in json.loads(json_line(0.0, [-1, ""], 20, "n", "text", None, None))
    template = proxy_template({"log_msg_template": "{trace_id} {span_id}"})
    assert template.render({"trace_id": TRACE, "span_id": None}) == f"{TRACE} -"
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/sdb1/1/a", "HTTP_TRACEPARENT": PARENT}
    lines = StorageAccessLog({"log_format": "{trace_id}"}, Logger("x", 20, []))
    assert lines.line(environ, 200, [], 0.0, 1.0) == TRACE
    assert lines.line({**environ, "HTTP_TRACEPARENT": 'x" 200'}, 200, [], 0.0, 1.0) == "-"
    usual = StorageAccessLog({}, Logger("x", 20, []))
    assert TRACE not in usual.line(environ, 200, [], 0.0, 1.0)


def test_a_trace_that_begins_here(monkeypatch):
    zeros = iter([b"\0" * 16, b"\1" * 16, b"\2" * 8])
    monkeypatch.setattr(trace_context.clock, "random_bytes", lambda size: next(zeros))
    assert trace_context.begun() == TraceContext("01" * 16, "02" * 8, "", "01", "")
