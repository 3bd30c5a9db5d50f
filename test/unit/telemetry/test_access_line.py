import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.telemetry import access_line
from swift.telemetry.access_line import Anonymizer, StorageAccessLog, Template, proxy_template
from swift.telemetry.served import Served

T = 1700000000.123456717


class Lines:
    def __init__(self, level=20):
        self.level = level
        self.lines = []

    def access(self, level, line):
        self.lines.append((level, line))


def environ(**changes):
    base = {
        "REQUEST_METHOD": "HEAD", "PATH_INFO": "/sdb1/15/AUTH_test/c1/h.txt", "REMOTE_ADDR": "127.0.0.1",
        "HTTP_REFERER": "HEAD http://127.0.0.1:8080/v1/AUTH_test/c1/h.txt", "HTTP_USER_AGENT": "proxy-server 16454",
        "HTTP_X_TRANS_ID": "txfc37de01229b48679ee4d-006b012781", "HTTP_X_BACKEND_STORAGE_POLICY_INDEX": "0",
    }  # fmt: skip
    return {**base, **changes}


def test_a_storage_line():
    log = StorageAccessLog({}, Lines())
    line = log.line(environ(), 200, [("Etag", "x"), ("Content-Length", "6")], T - 0.0009, T)
    assert line == (
        '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "HEAD /sdb1/15/AUTH_test/c1/h.txt" 200 6 '
        '"HEAD http://127.0.0.1:8080/v1/AUTH_test/c1/h.txt" "txfc37de01229b48679ee4d-006b012781" "proxy-server 16454" '
        f'0.0009 "-" {os.getpid()} 0'
    )


def test_blank_storage_fields():
    log = StorageAccessLog({}, Lines())
    bare = {"REQUEST_METHOD": "PUT", "PATH_INFO": "/a b"}
    headers = [("X-Container-Timestamp", "1"), ("Content-Length", "0")]
    assert log.line(bare, 201, headers, T, T) == (
        '- - - [14/Nov/2023:22:13:20 +0000] "PUT /a%20b" 201 - "-" "-" "-" - '
        f'"x-container-timestamp: 1" {os.getpid()} -'
    )
    headers = [("X-Backend-Storage-Policy-Index", "1")]
    assert log.line(environ(), 200, headers, T, T).endswith(" 1")


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_clients_cannot_forge_storage_lines(path, agent):
    log = StorageAccessLog({}, Lines())
    line = log.line(environ(PATH_INFO="/" + path, HTTP_USER_AGENT=agent), 200, [], T, T)
    assert line.count('"') == 10 and line.isprintable() or not line.isascii()
    assert "\n" not in line and "\r" not in line


def test_which_lines_are_written():
    lines = Lines()
    log = StorageAccessLog({}, lines, quiet=access_line.quiet_object_request)
    for changes in (
        {"REQUEST_METHOD": "REPLICATE"}, {"REQUEST_METHOD": "SSYNC"}, {"HTTP_X_BACKEND_REPLICATION": ""},
    ):  # fmt: skip
        log.on_done(Served(environ(**changes), 200, [], 0, 0, None, T, T))
    assert not lines.lines
    log.on_done(Served(environ(), 200, [], 0, 0, None, T, T))
    assert [level for level, _ in lines.lines] == [20]
    lines.level = 10
    log.on_done(Served(environ(REQUEST_METHOD="REPLICATE"), 200, [], 0, 0, None, T, T))
    assert [level for level, _ in lines.lines] == [20, 10]
    StorageAccessLog({"log_requests": "no"}, lines).on_done(Served(environ(), 200, [], 0, 0, None, T, T))
    assert len(lines.lines) == 2


PROXY = {
    "client_ip": "9.9.9.9", "remote_addr": "127.0.0.1", "end_time": 1795238500.979910851, "method": "PUT",
    "path": "/v1/AUTH_test/c1/sp%20ce%3Ax", "protocol": "HTTP/1.0", "status_int": 201, "referer": "http://r/x y",
    "user_agent": "curl/7.88.1", "auth_token": "AUTH_tk04b5c09ad...", "bytes_recvd": 3, "bytes_sent": 0,
    "client_etag": None, "transaction_id": "tx9683be5c3bf741a989e93-006b012a64", "headers": None, "request_time": 0.0156,
    "source": None, "log_info": "", "start_time": 1795238500.964318991, "policy_index": "0",
    "access_user_id": "test:tester",
}  # fmt: skip


def test_the_proxy_line_of_the_specification():
    assert proxy_template({}).render(PROXY) == (
        "9.9.9.9 127.0.0.1 21/Nov/2026/05/21/40 PUT /v1/AUTH_test/c1/sp%2520ce%253Ax HTTP/1.0 201 http://r/x%20y "
        "curl/7.88.1 AUTH_tk04b5c09ad... 3 - - tx9683be5c3bf741a989e93-006b012a64 - 0.0156 - - 1795238500.964318991 "
        "1795238500.979910851 0 test:tester"
    )


@given(
    st.fixed_dictionaries(
        {name: st.text() for name in PROXY if name not in ("start_time", "end_time", "request_time")}
    )
)
def test_split_parses_every_proxy_line(values):
    line = proxy_template({}).render({**PROXY, **values})
    assert line.isascii() and line.isprintable()
    assert len(line.split(" ")) == 22 and len(line.split()) == 22


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{start_time}", "1700000000.123456717"),
        ("{start_time.datetime}", "14/Nov/2023/22/13/20"),
        ("{start_time.iso8601}", "2023-11-14T22:13:20"),
        ("{start_time.asctime}", "Tue%20Nov%2014%2022:13:20%202023"),
        ("{start_time.s}.{start_time.ms}.{start_time.us}.{start_time.ns}", "1700000000.123.123456.123456717"),
        ("{start_time.Y}100%{start_time.m} {end_time.H}", "2023100%11 22"),
        ("{start_time.d}{end_time.d}", "1414"),
        ("{start_time.Z} {start_time.j} {start_time.p}", "UTC 318 PM"),
        ("{path.anonymized}|{referer.anonymized}", "{MD5}94fb04b86c62e22fe985611988320b6f|-"),
        ("{{{method}}}", "{GET}"),
        ("{bytes_sent}{ttfb}{request_time}", "-0.5000-"),
    ],
)
def test_pieces_of_templates(template, text):
    values = {
        "start_time": T, "end_time": T, "path": "/v1/a", "referer": "", "method": "GET", "bytes_sent": 0, "ttfb": 0.5,
        "request_time": None,
    }  # fmt: skip
    assert proxy_template({"log_msg_template": template}).render(values) == text


def test_salted_digests():
    conf = {
        "log_msg_template": "{path.anonymized}",
        "log_anonymization_method": "SHA256",
        "log_anonymization_salt": "salt",
    }
    assert proxy_template(conf).render({"path": "/v1/a"}) == (
        "{SSHA256}05b3cb0956838572f6a5a98f73a5cfd152df6772c1865286792d67177c8ff268"
    )
    assert Anonymizer()("☃").startswith("{MD5}")
    assert Anonymizer()("é") == "{MD5}" + hashlib.md5(b"\xe9").hexdigest()
    with pytest.raises(ValueError, match="^Unsupported hashing method: 'x'$"):
        Anonymizer("x")


@pytest.mark.parametrize(
    "template",
    ["{nonesuch}", "{path.nonesuch}", "{method.anonymized}", "{start_time.Q}", "{path", "{}", "{0}", "{path!r}",
     "{path:{method}}", "{path.__class__}", "{start_time.__class__}", "{path[0]}"],
)  # fmt: skip
def test_bad_templates_are_refused_at_start(template):
    with pytest.raises(ValueError, match="^Cannot interpolate log_msg_template: "):
        proxy_template({"log_msg_template": template})


def test_only_used_fields_are_asked_for():
    template = Template("{path} {method}", {"path", "method", "status"}, (), str, quoted=True)
    assert template.used == {"path", "method"}
    assert template.render({"path": "/", "method": "GET"}) == "/ GET"


def test_own_storage_format():
    conf = {"log_format": "{disk} {partition} {account} {container} {object.anonymized} {trans_time:.1f}"}
    log = StorageAccessLog(conf, Lines())
    digest = hashlib.md5(b"o/x").hexdigest()
    assert log.line(environ(PATH_INFO="/sdb1/15/a/c d/o"), 200, [], T, T).startswith("sdb1 15 a c%20d ")
    line = log.line(environ(PATH_INFO="/sdb1/15/a/c/o/x"), 200, [], T - 1.5, T)
    assert line == f"sdb1 15 a c {{MD5}}{digest} 1.5"
    assert log.line(environ(PATH_INFO="/sdb1/15"), 200, [], T, T) == "sdb1 15 - - - -"
    with pytest.raises(ValueError, match="^Cannot interpolate log_format: "):
        StorageAccessLog({"log_format": "{nonesuch}"}, Lines())
