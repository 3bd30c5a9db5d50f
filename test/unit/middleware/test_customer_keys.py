"""Objects that are encrypted with keys of their owners: what is stored of them, and what comes back with which key."""

import base64
import hashlib
import io
import json

import pytest
from filter_stand_ins import memory_logger
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.middleware import customer_keys, encryption, keymaster
from swift.middleware.customer_keys import KEY, OPENED, RAW, STORED, UNCHECKED, CustomerKeys
from swift.middleware.encryption.ciphers import CryptoError
from swift.wire.message import HeaderKeyDict, Request

ONE, OTHER = b"1" * 32, b"2" * 32
FOOTERS = "swift.callback.update_footers"


class Store:
    """Keeps one object as the proxy and its servers would."""

    def __init__(self):
        self.headers = HeaderKeyDict()
        self.body = b""

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT":
            parts = []
            while data := environ["wsgi.input"].read(1000):
                parts.append(data)
            body = b"".join(parts)
            footers = HeaderKeyDict()
            environ.get(FOOTERS, lambda _: None)(footers)
            kept = {n: v for n, v in Request(environ).headers.items() if n.startswith("X-")}
            footers.pop("Etag", None)
            self.headers, self.body = HeaderKeyDict({**kept, **footers}), body
            self.headers["Etag"] = hashlib.md5(body).hexdigest()
            start_response("201 Created", [("Etag", self.headers["Etag"])])
            return [b""]
        status, body, more = "200 OK", self.body, []
        if "HTTP_RANGE" in environ:
            first, last = map(int, environ["HTTP_RANGE"][6:].split("-"))
            status, body = "206 Partial Content", self.body[first : last + 1]
            more = [("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(self.body)}")]
        start_response(status, [*self.headers.items(), *more, ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


class Client:
    def __init__(self, app):
        self.app = app

    def __call__(self, method, body=b"", path="/v1/a/c/o", query="", **environ):
        told = []
        made = {
            "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)), **environ,
        }  # fmt: skip
        answer = b"".join(self.app(made, lambda *answer: told.append(answer)))
        return int(told[0][0][:3]), dict(told[0][1]), answer


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def client(store, lines):
    logger, written = memory_logger()
    lines.append(written)
    return Client(CustomerKeys(store, logger))


def test_what_goes_in_comes_out_with_the_key_and_only_so(store, client):
    assert client("PUT", b"a text", **{KEY: ONE})[0] == 201
    assert store.body != b"a text"
    assert len(store.body) == 6
    assert ONE not in str(store.headers).encode() and base64.b64encode(ONE) not in str(store.headers).encode()
    status, headers, body = client("GET", **{KEY: ONE})
    assert (status, body) == (200, b"a text")
    assert STORED not in headers and headers[OPENED]
    status, headers, body = client("GET")
    assert status == 400 and b"SSE-C" in body and store.body not in body
    assert client("GET", **{KEY: OTHER})[0] == 400
    # Who asks to look first sees that it is not opened, and gets nothing else for it.
    for key in ({}, {KEY: OTHER}):
        status, headers, body = client("GET", **{UNCHECKED: True, **key})
        assert (status, body) == (200, store.body)
        assert headers[STORED] and OPENED not in headers
    assert client("GET", **{RAW: True})[2] == store.body
    status, headers, _ = client("HEAD")
    assert status == 200 and headers[STORED]
    assert client("HEAD", **{KEY: ONE})[1][OPENED]


def test_the_same_is_never_encrypted_alike(store, client):
    bodies = set()
    for _ in range(3):
        client("PUT", b"the same text, always", **{KEY: ONE})
        bodies.add(store.body)
    assert len(bodies) == 3


@settings(deadline=None)
@given(st.binary(max_size=5000), st.integers(0, 5000), st.integers(0, 5000))
def test_ranges_are_those_of_the_plain_bytes(data, first, length):
    store = Store()
    client = Client(CustomerKeys(store, None))
    client("PUT", data, **{KEY: ONE})
    if first < len(data):
        status, _, body = client("GET", HTTP_RANGE=f"bytes={first}-{first + length}", **{KEY: ONE})
        assert (status, body) == (206, data[first : first + length + 1])
    assert client("GET", **{KEY: ONE})[2] == data


def test_a_promised_digest_is_of_the_plain_bytes(store, client):
    right = hashlib.md5(b"a text").hexdigest()
    said = []
    environ = {KEY: ONE, FOOTERS: lambda footers: said.append(footers.update({"X-Object-Sysmeta-More": "1"}))}
    assert client("PUT", b"a text", HTTP_ETAG=f'"{right.upper()}"', **environ)[0] == 201
    assert store.headers["X-Object-Sysmeta-More"] == "1"
    before = store.body
    status, _, body = client("PUT", b"another", HTTP_ETAG=right, **environ)
    assert status == 422
    assert store.body == before
    assert len(said) == 2
    assert client("PUT", b"", HTTP_ETAG=hashlib.md5(b"").hexdigest(), **{KEY: ONE})[0] == 201


def test_an_environ_is_left_as_it_was(store):
    environ = {
        "REQUEST_METHOD": "PUT", "PATH_INFO": "/v1/a/c/o", "wsgi.input": io.BytesIO(b"x"), "CONTENT_LENGTH": "1", KEY: ONE,
        "HTTP_ETAG": hashlib.md5(b"x").hexdigest(),
    }  # fmt: skip
    before = dict(environ)
    list(CustomerKeys(store, None)(environ, lambda *_: None))
    assert {name: environ.get(name) for name in before} == before
    assert FOOTERS not in environ and customer_keys.STORED_KEY not in environ


def test_manifests_are_stored_as_they_are(store, client):
    seal = customer_keys.sealed(ONE).text()
    manifest = {"HTTP_X_STATIC_LARGE_OBJECT": "True", customer_keys.STORED_KEY: seal}
    client("PUT", b"[]", **manifest)
    assert store.body == b"[]"
    assert client("GET", **{KEY: ONE})[::2] == (200, b"[]")
    assert client("GET")[0] == 400
    assert client("GET", query="multipart-manifest=get")[::2] == (200, b"[]")
    assert "X-Static-Large-Object" not in client("GET", **{UNCHECKED: True})[1]
    # But a query alone makes no manifest of what is none.
    client("PUT", b"secret", **{KEY: ONE})
    assert client("GET", query="multipart-manifest=get")[0] == 400


def test_objects_without_keys_and_listings_are_nothing_to_it(store, client):
    client("PUT", b"plain")
    assert client("GET")[2] == client("GET", **{KEY: ONE})[2] == b"plain"
    store.headers[STORED] = "x"
    assert client("GET", path="/v1/a/c")[::2] == (200, b"plain")


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"v":2}', '{"v":1,"iv":"AA==","mac":"AA=="}', '{"v":1,"iv":1,"mac":null}', "[" * 600, '{"v":1,"iv":"%","mac":"%"}'],
)  # fmt: skip
def test_what_is_damaged_is_said_so(store, client, lines, text):
    with pytest.raises(CryptoError):
        customer_keys.parse(text)
    client("PUT", b"a text", **{KEY: ONE})
    store.headers[STORED] = text
    status, _, body = client("GET", **{KEY: ONE})
    if text:
        assert (status, body) == (500, b"Error decrypting object")
        assert len(lines[0]) == 1
        assert client("GET")[0] == 400


@given(
    st.dictionaries(
        st.sampled_from(["v", "iv", "mac"]), st.none() | st.integers() | st.text() | st.lists(st.none())
    )
)
def test_nothing_else_than_an_error_comes_of_what_is_stored(found):
    try:
        customer_keys.parse(json.dumps(found))
    except CryptoError:
        pass


def test_what_is_encrypted_for_all_is_encrypted_twice(store):
    secret = base64.b64encode(b"s" * 32).decode()
    inner = encryption.filter_factory({})(store)
    app = CustomerKeys(inner, None)
    outer = keymaster.filter_factory({"encryption_root_secret": secret})(app)
    client = Client(outer)
    assert client("PUT", b"a text", **{KEY: ONE})[0] == 201
    once = client("GET", **{RAW: True})[2]
    assert len({b"a text", once, store.body}) == 3
    assert client("GET", **{KEY: ONE})[2] == b"a text"
    assert client("GET", HTTP_RANGE="bytes=2-3", **{KEY: ONE})[2] == b"te"
    assert client("GET")[0] == 400
