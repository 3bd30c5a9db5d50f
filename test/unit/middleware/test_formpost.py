"""Signed forms. Statuses, bodies and headers are those that the reference gave to the same forms, where nothing else is said."""

import io
import urllib.parse

import pytest
from filter_stand_ins import App, Metrics, call, memory_logger
from hypothesis import given as holds_for
from hypothesis import strategies as st
from signed_requests import EXPIRES, infos, sign

from swift.core import capabilities, clock
from swift.middleware.formpost import MAX_FIELDS, SMALL_FILE, FormPost, filter_factory
from swift.wire.errors import ClientError, ClientTimeout
from swift.wire.form_data import names_of
from swift.wire.message import HeaderKeyDict, parsed_path
from swift.wire.multipart import Document

PATH = "/v1/AUTH_test/c/pre_"
HOME = "http://example.com/done"


class Store:
    """Keeps what is put; a body that breaks off is answered with 499 and not kept."""

    def __init__(self, status="201 Created", headers=(("Etag", "e"),)):
        self.status = status
        self.headers = list(headers)
        self.kept = {}
        self.environs = []

    def __call__(self, environ, start_response):
        self.environs.append(environ)
        body = environ["wsgi.input"]
        data = b""
        try:
            while piece := body.read(10_000):
                data += piece
        except ClientError:
            start_response("499 Client Disconnect", [])
            return [b""]
        if environ.get("CONTENT_LENGTH"):
            assert int(environ["CONTENT_LENGTH"]) == len(data)
        else:
            assert environ["HTTP_TRANSFER_ENCODING"] == "chunked"
        if self.status[0] == "2":
            self.kept[environ["PATH_INFO"]] = data
        start_response(self.status, self.headers)
        return [b"whatever the answer says"]


def build(store=None, **conf):
    store = store or Store()
    return FormPost(store, conf, memory_logger()[0], Metrics()), store


def part(value, disposition, more=""):
    head = f"--XbX\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n"
    return head.encode("latin-1") + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"


def a_file(name="f.txt", data=b"hello", more="Content-Type: text/x\r\n"):
    return part(data, f'name="file"; filename="{name}"', more)


def fields(path=PATH, key="of account", digest="sha256", sig=None, extra=(), without=(), **given):
    """The signed beginning of a form; `given`: redirect, max_file_size …"""
    form = {"redirect": "", "max_file_size": "1000", "max_file_count": "10", "expires": str(EXPIRES), **given}
    text = "\n".join(
        [path, form["redirect"], *(form[name] for name in ("max_file_size", "max_file_count", "expires"))]
    )
    form["signature"] = sign(text, key, digest) if sig is None else sig
    pairs = [(name, value) for name, value in form.items() if name not in without]
    return b"".join(part(value, f'name="{name}"') for name, value in [*pairs, *extra])


END = b"--XbX--\r\n"


def post(
    filtered, body, path=PATH, content_type="multipart/form-data; boundary=XbX", method="POST", **environ
):
    base = {
        "wsgi.input": io.BytesIO(body),
        "swift.infocache": infos(),
        "CONTENT_TYPE": content_type,
        **environ,
    }
    return call(filtered, path, method, {"User-Agent": "browser", "X-Object-Meta-A": "b"}, base)


def assert_answer(answer, status, body):
    assert (answer.status_int, answer.body) == (status, body)
    assert answer.headers["Content-Length"] == str(len(body))


def refused(answer, text):
    assert_answer(answer, 400, f"FormPost: {text}".encode())
    assert answer.headers["Content-Type"] == "text/plain"


def unauthorized(answer, text):
    assert_answer(answer, 401, f"FormPost: {text}".encode())
    assert answer.headers["Www-Authenticate"] == 'Swift realm="unknown"'


# -- good forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("key", ["of account", "second", "of container"])
def test_a_signed_form_stores_its_files(digest, key):
    filtered, store = build()
    answer = post(filtered, fields(digest=digest, key=key) + a_file() + a_file("g", b"") + END)
    assert_answer(answer, 201, b"201 Created")
    assert store.kept == {"/v1/AUTH_test/c/pre_f.txt": b"hello", "/v1/AUTH_test/c/pre_g": b""}
    for environ in store.environs:
        assert environ["REQUEST_METHOD"] == "PUT" and environ["QUERY_STRING"] == ""
        assert environ["swift.authorize_override"] is True and environ["swift.authorize"](None) is None
        assert environ["REMOTE_USER"] == ".wsgi.pre_authed" and environ["swift.source"] == "FP"
        assert environ["HTTP_USER_AGENT"] == "browser FormPost" and environ["CONTENT_TYPE"] == "text/x"
        assert "HTTP_X_OBJECT_META_A" not in environ
    assert filtered.metrics.events == [f"digests.{digest}"] * 2


@pytest.mark.parametrize(
    "disposition, names",
    [
        ('name="file"; filename="f"', ("file", "f")),
        ('name="file" ; filename="f"  ', ("file", "f")),
        ("name=File;filename=f", ("file", "f")),
        ('name=file ; filename="a;b\\"c" x; filename=g', ("file ", "g")),
        ('name="fi\\"le"; filename=f"', ('fi\\"le', "")),
        (";name=;filename", ("", "")),
    ],
)
def test_names_in_the_head_of_a_part(disposition, names):
    assert (
        names_of(Document(None, HeaderKeyDict({"Content-Disposition": f"form-data; {disposition}"}))) == names
    )


@pytest.mark.parametrize("value", [" ", "\t", "; x=", '; x="', '; x="\\', "\\", '; "', ';x="y" ', "x"])
def test_long_heads_of_parts_take_no_time(value):
    filtered, store = build()
    for end in ('"', "", '"x', "\\", ";"):
        disposition = "x=" + value * (60000 // len(value)) + end
        started = clock.monotonic()
        assert post(filtered, part("", disposition) + END).status_int == 400
        assert clock.monotonic() - started < 5  # it was half a minute, in which nobody else got anything
    assert not store.kept


def test_a_signature_of_the_reference():
    filtered, store = build()
    sig = "357e69a208391147dbab47af97c3354560528e7bb8b509eb5ca92d3108af3eb5"
    form = fields(sig=sig, max_file_size="104857600") + a_file() + END
    answer = post(filtered, form, **{"swift.infocache": infos({"X-Account-Meta-Temp-Url-Key": "mykey"})})
    assert answer.status_int == 201


@pytest.mark.parametrize(
    "path, stored",
    [
        ("/v1/AUTH_test/c", "/v1/AUTH_test/c/f.txt"),
        ("/v1/AUTH_test/c/", "/v1/AUTH_test/c/f.txt"),
        ("/v1.0/AUTH_test/c/a/b", "/v1.0/AUTH_test/c/a/bf.txt"),
        ("/v1/AUTH_test/c/ü ?%/", "/v1/AUTH_test/c/ü ?%/f.txt"),
    ],
)
def test_where_files_go(path, stored):
    filtered, store = build()
    assert post(filtered, fields(path) + a_file() + END, urllib.parse.quote(path)).status_int == 201
    assert {name.encode("latin-1").decode() for name in store.kept} == {stored}


@pytest.mark.parametrize(
    "given, kept",
    [
        ("a;b=c", "a;b=c"), ("../../x", "../../x"), ("/abs", "/abs"), ("C:\\dir\\f", "C:\\dir\\f"), ('a\\"b', 'a\\"b'), ("%22", "%22"),
        ("\u00c3\u00bc", "\u00c3\u00bc"), ("\u00ff", "\u00c3\u00bf"), ("a b ", "a b "),
    ],
)  # fmt: skip
def test_names_of_files(given, kept):
    """As browsers write them, as WSGI strings; whatever they hold, they stay below the path that was signed."""
    filtered, store = build()
    assert post(filtered, fields() + a_file(given) + END).status_int == 201
    assert list(store.kept) == [PATH + kept]
    assert parsed_path(store.environs[0])[:3] == ("v1", "AUTH_test", "c")


@pytest.mark.parametrize("size", [SMALL_FILE - 1, SMALL_FILE, SMALL_FILE + 1, 300_000])
def test_large_files_go_on_as_they_come(size):
    filtered, store = build()
    data = bytes(range(256)) * (size // 256) + b"\r\n--Xb" * (size % 256 // 6) + b"-" * (size % 256 % 6)
    assert post(filtered, fields(max_file_size=str(len(data))) + a_file(data=data) + END).status_int == 201
    assert store.kept == {PATH + "f.txt": data}
    assert ("CONTENT_LENGTH" in store.environs[0]) == (len(data) < SMALL_FILE)


def test_headers_that_a_form_may_set():
    filtered, store = build()
    more = [
        ("x_delete_at", "2000000000\r\n"),
        ("X_Delete_After", "60"),
        ("Content-Encoding", "gzip"),
        ("junk", "x" * 9000),
    ]
    file = a_file(more="Content-Type: a/b\r\nContent-Encoding: br\r\nX-Object-Manifest: d/o\r\n")
    assert post(filtered, fields(extra=more) + file + END).status_int == 201
    environ = store.environs[0]
    assert (environ["HTTP_X_DELETE_AT"], environ["HTTP_X_DELETE_AFTER"]) == ("2000000000", "60")
    assert (environ["CONTENT_TYPE"], environ["HTTP_CONTENT_ENCODING"]) == ("a/b", "gzip")
    assert "HTTP_X_OBJECT_MANIFEST" not in environ
    filtered, store = build()
    post(
        filtered,
        fields(extra=[("content-type", "x/y")])
        + a_file()
        + part("late", 'name="content-type"')
        + a_file()
        + END,
    )
    assert [environ["CONTENT_TYPE"] for environ in store.environs] == ["x/y", "late"]


def test_cors_headers_of_the_last_answer_go_along():
    filtered, _ = build(Store(headers=[("Access-Control-Allow-Origin", "*"), ("Etag", "e")]))
    answer = post(filtered, fields() + a_file() + END, HTTP_ORIGIN="http://x")
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and "Etag" not in answer.headers


# -- where the browser goes next -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "redirect, location",
    [
        (HOME, HOME + "?status=201&message="),
        (HOME + "?a=b", HOME + "?a=b&status=201&message="),
        (HOME + "#top", HOME + "?status=201&message=#top"),
        ("/here", "/here?status=201&message="),
        (HOME + "--", HOME + "--?status=201&message="),
    ],
)
def test_redirect(redirect, location):
    """The reference puts the status behind the fragment, and forgets dashes at the end."""
    answer = post(build()[0], fields(redirect=redirect) + a_file() + END)
    assert (answer.status_int, answer.headers["Location"]) == (303, location)
    page = f'<html><body><p><a href="{location}">Click to continue...</a></p></body></html>'
    assert answer.body == page.encode()


def test_the_page_of_a_redirect_holds_no_markup_of_others():
    answer = post(build()[0], fields(redirect='http://e/"><script>') + a_file() + END)
    assert b"<script" not in answer.body and b'"><' not in answer.body


@pytest.mark.parametrize("redirect", ["http://e/\r\nX-Evil: 1", "http://e/a\nb", "http://e/\0"])
def test_a_redirect_is_one_line(redirect):
    filtered, store = build()
    refused(post(filtered, fields(redirect=redirect) + a_file() + END), "redirect is no address")
    assert store.kept == {}


@pytest.mark.parametrize(
    "form, message",
    [
        (fields(redirect=HOME) + END, "no%20files%20to%20process"),
        (fields(redirect=HOME, max_file_count="0") + a_file() + END, "max%20file%20count%20exceeded"),
    ],
)
def test_messages_on_the_way(form, message):
    answer = post(build()[0], form)
    assert (answer.status_int, answer.headers["Location"]) == (303, f"{HOME}?status=400&message={message}")


def test_a_failure_is_told_by_its_status():
    filtered, _ = build(Store("413 Request Entity Too Large"))
    answer = post(filtered, fields(redirect=HOME) + a_file() + a_file("g") + END)
    assert answer.headers["Location"] == HOME + "?status=413&message="
    assert_answer(post(filtered, fields() + a_file() + END), 413, b"413 Request Entity Too Large")


@pytest.mark.parametrize(
    "form",
    [
        fields(redirect=HOME, sig="ab" * 32) + END,
        fields(redirect=HOME, sig="ab" * 32) + a_file() + END,
        fields(redirect=HOME, sig="ab" * 32, max_file_count="0") + a_file() + END,
        fields(redirect=HOME, expires="5") + a_file() + END,
        fields() + a_file() + part(HOME, 'name="redirect"') + END,
        part(HOME, 'name="redirect"') + END,
    ],
)
def test_nobody_is_sent_anywhere_by_a_form_that_is_not_signed(form):
    """The reference follows any redirect as long as there is no file, and one behind the last file."""
    answer = post(build()[0], form)
    assert answer.status_int in (201, 400, 401) and "Location" not in answer.headers


# -- bad forms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, text",
    [
        ({"sig": "ab" * 32}, "Invalid Signature"),
        ({"sig": ""}, "Invalid Signature"),
        ({"without": ("signature",)}, "Invalid Signature"),
        ({"key": "third"}, "Invalid Signature"),
        ({"digest": "md5"}, "Invalid Signature"),
        ({"path": "/v1/AUTH_test/c/other"}, "Invalid Signature"),
        ({"without": ("max_file_size",)}, "Invalid Signature"),
        ({"extra": [("max_file_size", "2000")]}, "Invalid Signature"),
        ({"extra": [("redirect", HOME)]}, "Invalid Signature"),
        ({"expires": "5"}, "Form Expired"),
        ({"without": ("expires",)}, "Form Expired"),
        ({"extra": [("expires", "5")]}, "Form Expired"),
    ],
)  # fmt: skip
def test_forms_of_which_nothing_is_stored(change, text):
    filtered, store = build()
    unauthorized(post(filtered, fields(**change) + a_file() + END), text)
    assert store.environs == []


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/AUTH_test", "/v1/AUTH_test/d/x", "/v2/AUTH_test/c/x", "/v1/AUTH_other/c/x", "/v1//c/x"],
)
@pytest.mark.parametrize("key", ["of account", "of container"])
def test_paths_without_that_key(path, key):
    environ = {
        "swift.infocache": {**infos(), "container/AUTH_other/c": infos({}, {})["container/AUTH_test/c"]}
    }
    filtered, store = build()
    answer = post(filtered, fields(path, key) + a_file() + END, path, **environ)
    if (path, key) == ("/v1/AUTH_test/d/x", "of account"):
        assert answer.status_int == 201
    else:
        unauthorized(answer, "Invalid Signature")
        assert store.environs == []


@pytest.mark.parametrize(
    "change, text",
    [
        ({"max_file_size": "x"}, "max_file_size not an integer"),
        ({"max_file_size": "1.5"}, "max_file_size not an integer"),
        ({"max_file_count": "x"}, "max_file_count not an integer"),
        ({"expires": "soon"}, "expired not an integer"),
        ({"expires": "2030-03-17T17:46:40Z"}, "expired not an integer"),
        ({"extra": [("x_delete_at", "x")]}, "x_delete_at not an integer: Unix timestamp required."),
        ({"extra": [("x_delete_at", "")]}, "x_delete_at not an integer: Unix timestamp required."),
        (
            {"extra": [("x_delete_after", "2 days")]},
            "x_delete_after not an integer: Number of seconds required.",
        ),
        ({"extra": [("content-type", "a/b\r\nX-Object-Manifest: d/o")]}, "control characters in a header"),
        ({"max_file_size": "4"}, "max_file_size exceeded"),
        ({"max_file_size": "-1"}, "max_file_size exceeded"),
        ({"max_file_size": "4", "redirect": HOME}, "max_file_size exceeded"),
    ],
)
def test_values_that_cannot_be_meant(change, text):
    filtered, store = build()
    refused(post(filtered, fields(**change) + a_file() + END), text)
    assert store.kept == {}


def test_a_large_file_that_is_too_large_is_not_kept():
    filtered, store = build()
    form = (
        fields(max_file_size="100000") + a_file("one") + a_file("two", b"x" * 100_001) + a_file("three") + END
    )
    refused(post(filtered, form), "max_file_size exceeded")
    assert store.kept == {PATH + "one": b"hello"} and len(store.environs) == 2


def test_no_more_files_than_allowed():
    filtered, store = build()
    form = fields(max_file_count="1") + a_file("one") + a_file("", b"") + a_file("two") + END
    assert_answer(post(filtered, form), 400, b"400 Bad Request\r\nFormPost: Max File Count Exceeded")
    assert store.kept == {PATH + "one": b"hello"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"junk\r\n--XbX\r\n",
        END,
        b"--XbY\r\n",
        b"--XbX",
        b"--XbX\n",
        b"-",
        b"x" * 300_000,
        b"\r\n" * 100_000,
    ],
)
def test_what_does_not_begin_as_a_form(body):
    refused(post(build()[0], body), "invalid starting boundary")


@pytest.mark.parametrize(
    "form", [part("v", 'name="x"') + END, part("", 'name="f"; filename=""') + END, part("x", "x") + END]
)
def test_forms_without_files(form):
    assert_answer(post(build()[0], form), 400, b"400 Bad Request\r\nFormPost: No Files To Process")


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_form_that_breaks_off_stores_nothing(size):
    """The reference keeps what came, with the end of the line behind it."""
    form = fields(max_file_size="1000000") + a_file(data=b"x" * size) + END
    start = len(fields(max_file_size="1000000"))
    for cut in (1, 20, start - 1, start + 5, start + 90, len(form) - 12, len(form) - 5):
        filtered, store = build()
        answer = post(filtered, form[:cut])
        assert answer.status_int == 400 and store.kept == {}, cut
    assert post(build()[0], form[:-2]).status_int == 201


@pytest.mark.parametrize(
    "head",
    [
        "nonsense\r\n",
        "X: " + "y" * 100_000 + "\r\n",
        ": v\r\n",
        'Content-Disposition: form-data;\r\n filename="folded"\r\n',
    ],
)
def test_odd_heads(head):
    filtered, store = build()
    form = fields() + f"--XbX\r\n{head}\r\nv\r\n".encode() + END
    assert post(filtered, form).status_int == 400 and store.kept == {}


@pytest.mark.parametrize(
    "disposition, kept",
    [
        ('form-data; name="f"; filename=bare.txt', "bare.txt"), ('form-data;name="f";filename="tight"', "tight"),
        ('form-data; name="f"; filename="one"; filename="two"', "two"), ('form-data; filename="alone"', "alone"),
        ('form-data; name="f"; filename="plain"; filename*=UTF-8\'\'star', "plain"), ("form-data; name=f; filename=a b", "a b"),
        ('attachment; filename="a"', None), ('FORM-DATA; FILENAME="a"', None), ('form-data; name="f"; filename="open', None),
        ("form-data", None), ("", None), ("form-data; filename*=UTF-8''x", None),
    ],
)  # fmt: skip
def test_dispositions(disposition, kept):
    filtered, store = build()
    form = fields() + f"--XbX\r\nContent-Disposition: {disposition}\r\n\r\nv\r\n".encode() + END
    assert post(filtered, form).status_int == (400 if kept is None else 201)
    assert list(store.kept) == ([] if kept is None else [PATH + kept])


def test_fields_without_end():
    filtered, store = build()
    form = fields() + part("x", 'name="junk"') * (MAX_FIELDS + 1) + a_file() + END
    refused(post(filtered, form), "too many fields")
    assert store.kept == {}


@holds_for(st.binary(max_size=400), st.integers(0, 2000))
def test_whatever_comes_is_answered(junk, at):
    form = fields() + a_file() + END
    filtered, _ = build()
    answer = post(filtered, form[:at] + junk + form[at:])
    assert answer.status_int in (201, 303, 400, 401)


def test_a_client_that_goes_quiet_gets_the_servers_answer():
    class Quiet:
        def read_available(self, size):
            raise ClientTimeout("quiet")

    with pytest.raises(ClientTimeout):
        call(
            build()[0],
            PATH,
            "POST",
            environ={"wsgi.input": Quiet(), "CONTENT_TYPE": "multipart/form-data; boundary=XbX"},
        )


def test_it_ends_with_its_time(monkeypatch):
    for now, status in ((EXPIRES, 201), (EXPIRES + 1, 401)):
        monkeypatch.setattr(clock, "time", lambda now=now: float(now))
        assert post(build()[0], fields() + a_file() + END).status_int == status


# -- beside it -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, content_type",
    [
        ("PUT", "multipart/form-data; boundary=XbX"),
        ("POST", "multipart/form-data"),
        ("POST", "multipart/form-data; boundary="),
        ("POST", "multipart/mixed; boundary=XbX"),
        ("POST", "Multipart/Form-Data; Boundary=XbX"),
        ("POST", "text/plain"),
        ("POST", ""),
        ("POST", None),
    ],
)
def test_what_is_no_form_is_none_of_its_business(method, content_type):
    app = App()
    environ = {"CONTENT_TYPE": content_type} if content_type is not None else {}
    call(FormPost(app, {}, memory_logger()[0]), PATH, method, {"User-Agent": "ua"}, environ)
    assert app.calls == 1 and app.arrived["HTTP_USER_AGENT"] == "ua"


@pytest.mark.parametrize(
    "content_type",
    ['multipart/form-data; boundary="XbX"', "multipart/form-data; charset=utf-8; boundary=XbX"],
)
def test_forms_of_boundaries(content_type):
    assert post(build()[0], fields() + a_file() + END, content_type=content_type).status_int == 201


def test_info():
    capabilities.forget_all()
    filter_factory({"allowed_digests": "sha512 sha256"})(App())
    assert capabilities.disclosed()["formpost"] == {"allowed_digests": ["sha256", "sha512"]}
    with pytest.raises(ValueError, match="allowed_digests"):
        filter_factory({"allowed_digests": "x"})
    capabilities.forget_all()


@pytest.mark.parametrize(
    "path, is_s3s", [("/bucket", True), ("/", True), ("/v1/AUTH_test/c", False), ("/v1/AUTH_test/c/o", False)]
)
def test_forms_that_are_sent_to_a_bucket_are_s3s(path, is_s3s):
    filtered, store = build()
    filtered._pipeline_names = frozenset(("formpost", "s3api"))
    body = part("x", 'name="key"') + END
    answer = post(filtered, body, path=path, CONTENT_LENGTH=str(len(body)))
    assert (bool(store.environs), answer.body == b"whatever the answer says") == (is_s3s, is_s3s)
    filtered._pipeline_names = frozenset(("formpost",))
    assert_answer(post(filtered, body, path=path), 400, b"400 Bad Request\r\nFormPost: No Files To Process")
