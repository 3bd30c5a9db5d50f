"""Access lines and metrics. Lines marked `recorded` are the reference's own, for the same request."""

import re

import pytest
from filter_stand_ins import App, Metrics, call, memory_logger

from swift.middleware.proxy_logging import ProxyLoggingMiddleware, filter_factory
from swift.middleware.request_metrics import RequestMetrics
from swift.telemetry import redaction
from swift.telemetry.metrics import LabeledMetrics
from swift.telemetry.served import Served
from swift.wire.errors import ClientDisconnected
from swift.wire.message import Request

START, END = 1795259604.941771269, 1795259604.962484598


@pytest.fixture(autouse=True)
def _fresh_registry(monkeypatch):
    monkeypatch.setattr(redaction, "_headers", set())
    monkeypatch.setattr(redaction, "_parameters", set())


def build(app, conf=None, level=20, metrics=None):
    logger, lines = memory_logger(level)
    return ProxyLoggingMiddleware(app, conf or {}, logger, metrics), lines


def served(filter_, status=200, sent=0, received=0, error=None, start=START, end=END, **request):
    """One request as the server loop runs it: the body is not touched, callbacks are called at the end."""
    environ = {"swift.on_response_done": [], "SERVER_PROTOCOL": "HTTP/1.0", "REMOTE_ADDR": "127.0.0.1"}
    environ.update(request.pop("environ", {}))
    environ["swift.on_response_done"] = callbacks = []
    if "headers" in request:
        request["headers"] = {k: v for k, v in request["headers"].items() if v is not None}
    answer = call(filter_, environ=environ, read=False, **request)
    for callback in callbacks:
        callback(Served(environ_of(filter_), status, answer.header_list, sent, received, error, start, end))
    return answer


def environ_of(filter_):
    app = filter_.app
    while not isinstance(app, App):
        app = app.app
    return app.environ


def test_a_head_tells_a_length_though_nothing_is_logged():
    filter_, lines = build(App("401 Unauthorized", []), level=30)
    assert served(filter_, 401, method="HEAD").headers == {"Content-Length": "0"}
    assert not served(filter_, 401, method="GET").headers
    assert lines == []


def test_a_recorded_put():
    app = App("201 Created", [("X-Backend-Storage-Policy-Index", "0")])
    filter_, lines = build(app)
    served(
        filter_,
        201,
        received=5,
        path="/v1/AUTH_test/c/o%201%3Cx",
        method="PUT",
        headers={
            "X-Auth-Token": "AUTH_tkbce0b1e5f6024f79b65c0a8becf9d784",
            "Referer": "http://r/x y",
            "User-Agent": "agent \u00c3\u00a9 x",
        },
        environ={
            "swift.trans_id": "tx88125d12b0394c25abade-006b017cd4-my%20extra%20id/%C3%83%C2%A9%20that%20is%20longer%20th",
            "swift.log_info": ["x-delete-at:1795260604"],
            "swift.access_logging": {"user_id": "test:tester"},
        },
    )
    assert lines == [
        "127.0.0.1 127.0.0.1 21/Nov/2026/11/13/24 PUT /v1/AUTH_test/c/o%25201%253Cx HTTP/1.0 201 http://r/x%20y"
        " agent%20%C3%83%C2%A9%20x AUTH_tkbce0b1e5f... 5 - -"
        " tx88125d12b0394c25abade-006b017cd4-my%2520extra%2520id/%25C3%2583%25C2%25A9%2520that%2520is%2520longer%2520th"
        " - 0.0207 - x-delete-at:1795260604 1795259604.941771269 1795259604.962484598 0 test:tester"
    ]


def test_a_recorded_listing():
    filter_, lines = build(App())
    environ = {
        "swift.trans_id": "txc4687b2968a14bf9b2436-006b017cd5",
        "QUERY_STRING": "format=json&delimiter=%2F",
    }
    served(
        filter_, 200, sent=335, start=1795259605.066169262, end=1795259605.070993900, path="/v1/AUTH_test/c",
        headers={"X-Auth-Token": "AUTH_tkbce0b1e5f6024f79b65c0a8becf9d784", "User-Agent": "curl/7.88.1"},
        environ={**environ, "HTTP_X_BACKEND_STORAGE_POLICY_INDEX": "0", "swift.access_logging": {"user_id": "test:tester"}},
    )  # fmt: skip
    assert lines == [
        "127.0.0.1 127.0.0.1 21/Nov/2026/11/13/25 GET /v1/AUTH_test/c%3Fformat%3Djson%26delimiter%3D%252F HTTP/1.0 200 -"
        " curl/7.88.1 AUTH_tkbce0b1e5f... - 335 - txc4687b2968a14bf9b2436-006b017cd5 - 0.0048 - -"
        " 1795259605.066169262 1795259605.070993900 0 test:tester"
    ]


def test_a_recorded_subrequest():
    filter_, lines = build(App("204 No Content"))
    environ = {"swift.trans_id": "tx1", "swift.source": "GET_ACCOUNT_INFO", "QUERY_STRING": "format=json"}
    call(filter_, "/v1/AUTH_test", "HEAD", {"User-Agent": "Swift"}, environ)
    pattern = (
        r"- - \d\d/\w{3}/\d{4}/\d\d/\d\d/\d\d HEAD /v1/AUTH_test%3Fformat%3Djson HTTP/1.0 204 - Swift - - - - tx1 - "
        r"0\.\d{4} GET_ACCOUNT_INFO - \d+\.\d{9} \d+\.\d{9} - -"
    )
    assert re.fullmatch(pattern, lines[0])


def test_all_further_fields():
    template = (
        "{domain} {account} {container} {object} {wire_status_int} {start_time.iso8601} {start_time.s} {start_time.ms}"
        " {end_time.Y} {path.anonymized} {object.anonymized} {client_ip.anonymized} {domain.anonymized}"
        " {referer.anonymized} {method}-{status_int}"
    )
    filter_, lines = build(App(), {"log_msg_template": template, "log_anonymization_salt": "salt"})
    headers = {"Host": "127.0.0.1:26210", "Referer": "r \u00c3\u00a9", "X-Cluster-Client-Ip": "9.9.9.9"}
    served(
        filter_, 201, path="/v1/AUTH_t%C3%A9st/c/o%20%C3%A9%3A:x?a=b%20c&temp_url_sig=0123456789abcdef0123456789",
        method="PUT", headers=headers, start=1795260212.230699539, end=1795260212.3,
    )  # fmt: skip
    # recorded
    assert lines == [
        "127.0.0.1 AUTH_t%25C3%25A9st c o%2520%25C3%25A9%253A%253Ax 201 2026-11-21T11:23:32 1795260212 230 2026"
        " {SMD5}8f2fd19d9f5e733d4c5c854b2a9c1e02 {SMD5}8d0be227ddaddfcd474ee2a02bf9ba1e"
        " {SMD5}03c86518f33b84173b620589a6260062 {SMD5}f51fcb790de41edf817536c2a639050f"
        " {SMD5}eaa01a6a149b2449f3b4ee562a45cffa PUT-201"
    ]


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/v1/AUTH_a/c/o//x", "AUTH_a c o//x"),
        ("/v1/AUTH_a", "AUTH_a - -"),
        ("/v2/a/c/o", "- - -"),
        ("/auth/v1.0", "- - -"),
        ("/v1", "- - -"),
    ],
)
def test_path_parts_are_those_of_the_api(path, expected):
    filter_, lines = build(App(), {"log_msg_template": "{account} {container} {object}"})
    served(filter_, path=path)
    assert lines == [expected]


def test_who_the_client_is():
    filter_, lines = build(App(), {"log_msg_template": "{client_ip}"})
    served(filter_, headers={"X-Forwarded-For": "1.1.1.1, 2.2.2.2"})
    served(filter_, headers={"X-Forwarded-For": " 1.1.1.1 ", "X-Cluster-Client-Ip": "3.3.3.3"})
    served(filter_, headers={"X-Forwarded-For": ""})
    assert lines == ["1.1.1.1", "3.3.3.3", "127.0.0.1"]


def test_sensitive_values_are_cut():
    redaction.register_sensitive_parameter("temp_url_sig")
    redaction.register_sensitive_header("X-Secret")
    conf = {
        "log_msg_template": "{auth_token} {path} {headers}",
        "access_log_headers": "yes",
        "access_log_headers_only": "x-secret, x-auth-token, x-storage-token, x-plain",
        "reveal_sensitive_prefix": "4",
    }
    filter_, lines = build(App(), conf)
    secret = "0123456789"
    headers = {
        "X-Auth-Token": secret,
        "X-Storage-Token": secret,
        "X-Secret": secret,
        "X-Plain": secret,
        "X-Other": "1",
    }
    served(
        filter_,
        path=f"/v1/a?temp_url_sig={secret}&xtemp_url_sig={secret}&Temp_url_sig={secret}",
        headers=headers,
    )
    token, path, shown = lines[0].split(" ")
    assert token == "0123..."
    assert path == ("/v1/a%3Ftemp_url_sig%3D0123...%26xtemp_url_sig%3D0123456789%26Temp_url_sig%3D0123456789")
    assert sorted(shown.split("%0A")) == [
        "X-Auth-Token:%200123...",
        "X-Plain:%200123456789",
        "X-Secret:%200123...",
        "X-Storage-Token:%200123...",
    ]


def test_a_page_that_links_to_signed_urls_does_not_tell_them():
    """Browsers send the address of the page that a link stands on."""
    redaction.register_sensitive_parameter("temp_url_sig")
    conf = {
        "log_msg_template": "{referer} {headers}",
        "log_headers": "yes",
        "access_log_headers_only": "referer",
    }
    filter_, lines = build(App(), {**conf, "reveal_sensitive_prefix": "4"})
    served(filter_, headers={"Referer": "http://h/v1/a/c/?temp_url_sig=0123456789&temp_url_expires=5"})
    served(filter_, headers={"Referer": "http://h/?%74emp_url_sig=0123456789"})
    shown = [
        "http://h/v1/a/c/%3Ftemp_url_sig%3D0123...%26temp_url_expires%3D5",
        "http://h/%3F%2574emp_url_sig%3D0123...",
    ]
    assert len(lines) == 2 and not any("456789" in line for line in lines)
    assert lines[0].startswith("http://h/v1/a/c/?temp_url_sig=0123...&temp_url_expires=5 ") or lines[
        0
    ].startswith(shown[0])


def test_a_prefix_of_zero_hides_all():
    filter_, lines = build(App(), {"log_msg_template": "{auth_token}", "reveal_sensitive_prefix": "0"})
    served(filter_, headers={"X-Auth-Token": "abc"})
    assert lines == ["..."]


def test_headers_are_not_logged_unless_asked_for():
    filter_, lines = build(App(), {"log_msg_template": "{headers}"})
    served(filter_, headers={"X-Foo": "1"})
    assert lines == ["-"]


def test_the_method_is_the_clients():
    filter_, lines = build(App(), {"log_msg_template": "{method}"})
    served(filter_, method="PUT", environ={"swift.orig_req_method": "COPY"})
    assert lines == ["COPY"]


@pytest.mark.parametrize(
    "status, error, environ, logged",
    [
        (200, None, {}, "200 200"),
        (200, ClientDisconnected("x"), {}, "499 200"),
        (200, OSError("disk"), {}, "500 200"),
        (404, ClientDisconnected("x"), {}, "404 404"),
        (200, None, {"swift.proxy_logging_status": 408}, "408 200"),
    ],
)
def test_which_status_is_logged(status, error, environ, logged):
    filter_, lines = build(App(), {"log_msg_template": "{status_int} {wire_status_int}"})
    served(filter_, status, error=error, environ=environ)
    assert lines == [logged]


def test_one_line_per_environ_by_the_left_instance():
    app = App()
    right, right_lines = build(app)
    left, left_lines = build(right)
    served(left)
    assert len(left_lines) == 1
    assert right_lines == []
    call(right, environ={"swift.source": "SLO"})
    assert len(right_lines) == 1


def test_in_the_server_loop_the_body_passes_untouched():
    body = iter([b"abc"])
    filter_, _ = build(App(body=body))
    assert served(filter_).raw_body is body


def test_without_listeners_nothing_is_done():
    logger, lines = memory_logger(30)
    filter_ = ProxyLoggingMiddleware(App(), {}, logger)
    environ = {"swift.on_response_done": []}
    call(filter_, environ=environ, read=False)
    assert filter_.app.environ["swift.on_response_done"] == []
    assert filter_.app.environ["swift.proxy_access_log_made"]


@pytest.mark.parametrize("template", ["{nope}", "{path.nope}", "{method.anonymized}", "{", "{end_time.Q}"])
def test_a_bad_template_stops_the_start(template):
    with pytest.raises(ValueError, match="log_msg_template|template"):
        build(App(), {"log_msg_template": template})


def test_an_unknown_hash_stops_the_start():
    with pytest.raises(ValueError, match="Unsupported hashing method"):
        build(App(), {"log_anonymization_method": "crc"})


# -- without the server loop -----------------------------------------------------------------------------------------------

SHORT = {"log_msg_template": "{status_int} {bytes_recvd} {bytes_sent}"}


def test_a_list_gets_a_length_and_is_logged_at_once():
    filter_, lines = build(App(body=[b"abc", b"de"], headers=[("Etag", "x")]), SHORT)
    answer = call(filter_, read=False)
    assert answer.header_list == [("Etag", "x"), ("Content-Length", "5")]
    assert lines == ["200 - 5"]
    filter_, lines = build(App(body=[b"abc"], headers=[("content-length", "3")]), SHORT)
    assert call(filter_).header_list == [("content-length", "3")]


def test_bytes_are_counted_both_ways():
    def app(environ, start_response):
        environ["wsgi.input"].read(2)
        environ["wsgi.input"].readline()
        assert environ["wsgi.input"].readlines() == [b"789"]
        start_response("200 OK", [])
        return iter([b"abc", b"", b"de"])

    import io

    filter_, lines = build(app, SHORT)
    assert call(filter_, environ={"wsgi.input": io.BytesIO(b"12345\n789")}).body == b"abcde"
    assert lines == ["200 9 5"]


def test_a_body_closed_early_is_a_client_that_left():
    for environ, logged in (({}, "499 - 3"), ({"swift.non_client_disconnect": True}, "200 - 3")):
        filter_, lines = build(App(body=iter([b"abc", b"def"])), SHORT)
        body = call(filter_, environ=environ, read=False).raw_body
        assert next(iter(body)) == b"abc"
        body.close()
        body.close()
        assert lines == [logged]


def test_a_body_never_read_is_logged_when_closed():
    class Body:
        closed = False

        def __iter__(self):
            return iter([b"abc"])

        def close(self):
            self.closed = True

    inner = Body()
    filter_, lines = build(App(body=inner), SHORT)
    body = call(filter_, read=False).raw_body
    body.close()
    assert inner.closed
    assert lines == ["499 - -"]


def test_errors_are_logged_and_passed_on():
    filter_, lines = build(App(error=KeyError("x")), SHORT)
    with pytest.raises(KeyError):
        call(filter_)
    assert lines == ["500 - -"]

    def broken():
        yield b"abc"
        raise OSError("disk")

    filter_, lines = build(App(body=broken()), SHORT)
    body = call(filter_, read=False).raw_body
    with pytest.raises(OSError):
        list(body)
    body.close()
    assert lines == ["500 - 3"]


def test_an_application_that_starts_late():
    def app(environ, start_response):
        start_response("202 Accepted", [])
        yield b"abc"

    filter_, lines = build(app, SHORT)
    answer = call(filter_)
    assert (answer.status_int, answer.body) == (202, b"abc")
    assert lines == ["202 - 3"]


# -- metrics ---------------------------------------------------------------------------------------------------------------


def test_statsd_names_of_an_object_request():
    metrics = Metrics()
    filter_, _ = build(App(headers=[("X-Backend-Storage-Policy-Index", "1")]), metrics=metrics)
    served(filter_, 200, sent=5, received=2)
    assert metrics.events == [
        "object.GET.200.first-byte.timing",
        "object.policy.1.GET.200.first-byte.timing",
        "object.GET.200.timing",
        ("object.GET.200.xfer", 7),
        "object.policy.1.GET.200.timing",
        ("object.policy.1.GET.200.xfer", 7),
    ]


@pytest.mark.parametrize(
    "path, method, environ, stem",
    [
        ("/v1/a/c", "PUT", {}, "container.PUT.200"),
        ("/v1.0/a/", "HEAD", {}, "account.HEAD.200"),
        ("/v2/a/c/o", "PUT", {}, "UNKNOWN.PUT.200"),
        ("/auth/v1.0", "PUT", {"swift.source": "TA"}, "TA.PUT.200"),
        ("/v1/a/c/o", "BREW", {}, "object.BAD_METHOD.200"),
        ("/bucket/key", "PUT", {"swift.backend_path": "/v1/a/c/o"}, "object.PUT.200"),
        ("/v1/a/c/o", "PUT", {"swift.proxy_logging_status": 499}, "object.PUT.499"),
        ("/v1/a/c/o", "PUT", {"swift.orig_req_method": "COPY"}, "object.COPY.200"),
    ],
)
def test_statsd_stems(path, method, environ, stem):
    metrics = Metrics()
    filter_, _ = build(App(), metrics=metrics)
    served(filter_, path=path, method=method, environ=environ)
    assert metrics.events == [f"{stem}.timing", (f"{stem}.xfer", 0)]


def test_valid_methods_are_the_operators():
    metrics = Metrics()
    filter_, _ = build(App(), {"log_statsd_valid_http_methods": "get, brew"}, metrics=metrics)
    served(filter_, method="BREW")
    served(filter_, method="PUT")
    assert metrics.events[0] == "object.BREW.200.timing"
    assert metrics.events[2] == "object.BAD_METHOD.200.timing"


class Client:
    def __init__(self):
        self.sent = []

    def send(self, text):
        self.sent.append(text)


def with_labels(app, conf=None):
    filter_, lines = build(app, conf)
    client = Client()
    labeled = LabeledMetrics(client, "dogstatsd", {"reqctx": "sub"})
    filter_.metrics = RequestMetrics(conf or {}, labeled=labeled)
    return filter_, client.sent


def test_labelled_metrics():
    filter_, sent = with_labels(App(headers=[("X-Backend-Storage-Policy-Index", "1")]))
    served(filter_, 201, sent=5, received=2, method="PUT")
    labels = "account:AUTH_test,api:swift,container:c,method:PUT,policy:1,resource:object,status:201,user_reqctx:sub"
    assert [re.sub(r":[\d.]+\|ms", ":T|ms", text) for text in sent] == [
        f"swift_proxy_server_request_timing:T|ms|#{labels}",
        f"swift_proxy_server_request_body_bytes:2|c|#{labels}",
        f"swift_proxy_server_response_body_bytes:5|c|#{labels}",
    ]
    assert filter_.app.environ["swift.base_labels"] == {
        "account": "AUTH_test",
        "container": "c",
        "api": "swift",
    }


@pytest.mark.parametrize(
    ("path", "method", "base", "labels"),
    [  # recorded
        ("/v1/AUTH_test", "GET", None, "account:AUTH_test,api:swift,method:GET,resource:account,status:200"),
        ("/info", "GET", None, "account:,api:swift,method:GET,resource:,status:200"),
        ("/v1/a/c/o", "BREW", None, "account:a,api:swift,container:c,method:BAD_METHOD,resource:object,status:200"),
        ("/v1/a", "HEAD", {"account": "a", "container": "c", "api": "swift"}, "account:a,api:swift,container:c,method:HEAD,resource:account,status:200"),
        ("/v1/a/c/o", "DELETE", {"account": "a", "api": "S3"}, "account:a,api:S3,container:c,method:DELETE,resource:object,status:200"),
    ],
)  # fmt: skip
def test_no_label_for_what_there_is_not_and_those_of_the_client_for_all(path, method, base, labels):
    filter_, sent = with_labels(App())
    served(filter_, path=path, method=method, environ={"swift.base_labels": base} if base else {})
    assert sent
    assert {text.rpartition("#")[2] for text in sent} == {f"{labels},user_reqctx:sub"}


@pytest.mark.parametrize(
    "path, host, expected",
    [
        ("/bucket/key/x", "s3.example.com", ("object", "bucket")),
        ("/key/x", "bucket.s3.example.com:80", ("object", "bucket")),
        ("/", "bucket.s3.example.com", ("container", "bucket")),
        ("/", "s3.example.com", ("", None)),
    ],
)
def test_labels_of_s3_requests(path, host, expected):
    filter_, sent = with_labels(App(), {"storage_domain": "s3.example.com"})
    served(filter_, path=path, headers={"Host": host, "Authorization": "AWS4-HMAC-SHA256 x"})
    labels = filter_.app.environ["swift.base_labels"]
    assert labels.get("container") == expected[1]
    assert all(f"resource:{expected[0]}," in text for text in sent)
    assert labels["api"] == "S3"


def test_streamed_bytes_are_counted_while_they_pass():
    conf = {"statsd_emit_buffer_xfer_bytes_seconds": "0"}
    filter_, sent = with_labels(App(body=iter([b"abc", b"de"])), conf)
    assert call(filter_, environ={"swift.on_response_done": []}).body == b"abcde"
    streamed = [text for text in sent if "response_body_streaming" in text]
    assert [text.split("|")[0] for text in streamed] == [
        "swift_proxy_server_response_body_streaming_bytes:3",
        "swift_proxy_server_response_body_streaming_bytes:2",
    ]


def test_bytes_of_what_is_no_resource_are_not_streamed():
    conf = {"statsd_emit_buffer_xfer_bytes_seconds": "0"}
    filter_, sent = with_labels(App(body=iter([b"abc"])), conf)
    call(filter_, "/info", environ={"swift.on_response_done": []})
    assert sent
    assert not [text for text in sent if "streaming" in text]


def test_options_for_the_access_log_alone():
    filter_ = filter_factory(
        {"log_name": "proxy", "log_to": "stderr"}, access_log_name="access", access_log_level="ERROR"
    )(App())
    assert filter_.logger.name == "access"
    assert filter_.logger.level == 40


def test_a_head_without_a_length_says_zero():
    filter_, _ = build(App("404 Not Found"))
    assert served(filter_, method="HEAD").headers == {"Content-Length": "0"}
    assert served(filter_, method="GET").headers == {}
    filter_, _ = build(App(headers=[("content-length", "7")]))
    assert served(filter_, method="HEAD").headers == {"content-length": "7"}


def test_keys_are_not_logged_even_when_all_headers_are():
    """They may be shorter than what is shown of a token."""
    filter_, lines = build(App(), {"log_msg_template": "{headers}", "access_log_headers": "yes"})
    secrets = {
        "X-Auth-Key": "testing",
        "X-Storage-Pass": "testing",
        "Authorization": "testing",
        "Cookie": "testing",
        "X-Container-Sync-Key": "testing",
        "X-Account-Meta-Temp-Url-Key": "testing",
        "X-Container-Meta-Temp-Url-Key-2": "testing",
        "X-Service-Token": "AUTH_tk" + "testing" * 5,
    }
    served(filter_, headers={**secrets, "X-Plain": "shown"})
    assert "shown" in lines[0] and "X-Auth-Key" in lines[0]
    assert "testing" not in lines[0].replace("AUTH_tktesting", "")


@pytest.mark.parametrize("how", ["read", "read_all", "recv_into", "read_available", "readline", "iterate"])
def test_what_a_client_sends_is_counted_however_it_is_read(how):
    data = b"0123456789\n" * 1000

    def app(environ, start_response):
        body = environ["wsgi.input"]
        if how == "read":
            got = b"".join(iter(lambda: body.read(4096), b""))
        elif how == "read_all":
            got = body.read()
        elif how == "iterate":
            got = b"".join(body)
        elif how == "recv_into":
            buffer = bytearray(4096)
            got = b"".join(iter(lambda: bytes(buffer[: body.recv_into(buffer)]), b""))
        else:
            got = b"".join(iter(lambda: getattr(body, how)(4096), b""))
        assert got == data
        start_response("201 Created", [("Content-Length", "0")])
        return []

    filter_, lines = build(app, {"log_msg_template": "{method} {status_int} {bytes_recvd}"})
    request = Request.blank("/v1/a/c/o", method="PUT", body=data)
    request.call_application(filter_)
    assert lines == ["PUT 201 11000"]
