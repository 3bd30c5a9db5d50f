"""What a grant reaches, who nobody is, and where requests come from (spec s3.md 13.4, 13.7, 16.2)."""

import base64
import ipaddress
import json
import zlib
from types import SimpleNamespace

import pytest

from swift.middleware.info import PROCESS_CACHE
from swift.s3 import access, anonymous, operations
from swift.s3.errors import S3Error
from swift.s3.identity import Identity
from swift.s3.names import qualified
from swift.s3.options import Options
from swift.s3.policy.context import client_address, is_secure
from swift.s3.rights import Granted, KnownUsers, without_referrers
from test.unit.s3.test_s3_access import Below, made

UPLOAD = "A" * 48


@pytest.fixture(autouse=True)
def _nothing_known():
    PROCESS_CACHE.clear()
    yield
    PROCESS_CACHE.clear()


def test_a_granted_object_is_its_name_its_versions_and_its_parts():
    granted = Granted()
    granted.add("AUTH_test", "b", "k/é")
    key = "k/é".encode().decode("latin-1")
    for path in (
        f"/v1/AUTH_test/b/{key}",
        "/v1/AUTH_test/b",
        "/v1/AUTH_test/b+segments",
        f"/v1/AUTH_test/b+segments/{key}/{UPLOAD}",
        f"/v1/AUTH_test/b+segments/{key}/{UPLOAD}/12",
        f"/v1/AUTH_test/\0versions\0b/\0{key}\x001234567890.12345",
    ):
        assert granted.covers(path), path
    for path in (
        "/v1/AUTH_test",
        "/v1/AUTH_test/",
        f"/v1/AUTH_test/b/{key}2",
        "/v1/AUTH_test/b/k",
        f"/v1/AUTH_test/c/{key}",
        f"/v1/AUTH_other/b/{key}",
        f"/v1/AUTH_test/b+segments/{key}",
        f"/v1/AUTH_test/b+segments/{key}/else/{UPLOAD}/1",
        f"/v1/AUTH_test/b+segments/{key}2/{UPLOAD}/1",
        f"/v1/AUTH_test/b+segments/k/{UPLOAD}/1",
        f"/v1/AUTH_test/\0versions\0b/\0{key}2\x001234567890.12345",
        f"/v1/AUTH_test/\0s3conf\0b/{key}",
    ):
        assert not granted.covers(path), path
    assert granted.has("AUTH_test", "b", "k/é") and not granted.has("AUTH_test", "b", None)


def test_a_granted_bucket_is_not_its_objects():
    granted = Granted()
    granted.add("AUTH_test", "b", None)
    assert granted.covers("/v1/AUTH_test/b")
    assert not granted.covers("/v1/AUTH_test/b/k")
    assert not granted.covers(f"/v1/AUTH_test/b+segments/k/{UPLOAD}/1")
    granted.add("AUTH_test", "b", None, with_parts=True)
    assert granted.covers(f"/v1/AUTH_test/b+segments/k/{UPLOAD}/1")


def test_what_everybody_may_is_taken_out_of_an_acl():
    assert without_referrers(".r:*,.rlistings,test:tester3") == "test:tester3"
    assert without_referrers(".r:-.bad.com") == ""
    assert without_referrers(None) is None


def test_access_keys_are_known_for_a_while():
    now = [0.0]
    known = KnownUsers(60.0, 2, lambda: now[0])
    known.put("a", Identity("a"), "AUTH_a")
    assert known.get("a") == (Identity("a"), "AUTH_a") and known.get("b") is None
    now[0] = 61.0
    assert known.get("a") is None
    for key in "abcd":
        known.put(key, Identity(key), "AUTH_x")
    assert sum(known.get(key) is not None for key in "abcd") <= 2


@pytest.mark.parametrize(
    "path, options, more, is_s3",
    [
        ("/test:b/k", {}, {}, True),
        ("/AUTH_test%3Ab/k", {}, {}, True),
        ("/b/k", {}, {}, False),
        ("/k", {"storage_domains": (".s3.example.com",)}, {"HTTP_HOST": "b.s3.example.com"}, True),
        ("/test:b/k", {"allow_anonymous": False}, {}, False),
        ("/test:b/k", {}, {"HTTP_X_AUTH_TOKEN": "t"}, False),
        ("/test:b/k", {}, {"QUERY_STRING": "temp_url_sig=x&temp_url_expires=1"}, False),
        ("/test:b/k", {}, {"swift.authorize_override": True}, False),
    ],
)
def test_which_unsigned_requests_are_s3s(path, options, more, is_s3):
    environ = {"PATH_INFO": path, "QUERY_STRING": "", "HTTP_HOST": "h", **more}
    assert anonymous.is_s3(environ, Options(**{"allow_anonymous": True, **options})) is is_s3


def test_names_that_say_whose_bucket_they_mean():
    options = Options(reseller_prefixes=("AUTH_", "SERVICE_"))
    assert qualified("test:b", options) == ("AUTH_test", "b")
    assert qualified("AUTH_test:b", options) == ("AUTH_test", "b")
    assert qualified("SERVICE_x:b", options) == ("SERVICE_x", "b")
    assert qualified("b", options) == (None, "b")
    assert qualified(":b", options) == (None, ":b")
    assert qualified("a/b:c", options) == (None, "a/b:c")


@pytest.mark.parametrize(
    "peer, forwarded, address",
    [
        ("1.2.3.4", "10.9.9.9", "1.2.3.4"),  # whose word is nobody's
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1:4711", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, [2001:db8::1]:80", "2001:db8::1"),
        ("10.0.0.1", "6.6.6.6, unknown", "10.0.0.1"),
    ],
)
def test_where_a_request_comes_from(peer, forwarded, address):
    options = Options(trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),))
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded, "HTTP_X_FORWARDED_PROTO": "https"}
    request = SimpleNamespace(environ=environ, options=options)
    assert client_address(request) == address
    assert is_secure(request) is peer.startswith("10.")


def stored(policy):
    data = json.dumps({"text": json.dumps({"Version": "2012-10-17", "Statement": policy})}).encode()
    return "1:i:" + base64.b64encode(zlib.compress(data)).decode()


def test_a_wrong_signature_gets_nothing_from_a_policy():
    """Who says to be somebody is taken at his word only to find out what there is to be decided."""

    class Unbelieving(Below):
        def __call__(self, environ, start_response):
            environ.pop("s3api.auth_details", None)
            return super().__call__(environ, start_response)

    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    for effect in ("Allow", "Deny"):
        PROCESS_CACHE.clear()
        below = Unbelieving(owned="AUTH_test")
        below.known = {"X-Container-Sysmeta-S3api-Conf-Policy": stored([{**statement, "Effect": effect}])}
        request = made(below, "GET", "/bucket/key", options=Options())
        known = KnownUsers(60.0, 10, lambda: 0.0)
        known.put("test:other", Identity("test:other", "AUTH_test", "test", ("other",)), "AUTH_test")
        request._known_users = known
        with pytest.raises(S3Error) as caught:
            access.decide(request, operations.find(request))
        assert caught.value.code == "SignatureDoesNotMatch"
        assert not request.granted


def test_a_policy_that_cannot_be_read_lets_nobody_in():
    below = Below(owned="AUTH_test")
    for broken in (stored([{"Effect": "Allow"}]), "2:x:future"):
        below.known = {"X-Container-Sysmeta-S3api-Conf-Policy": broken}
        request = made(below, "GET", "/bucket/key", options=Options())
        with pytest.raises(S3Error):
            access.decide(request, operations.find(request))


def test_a_bucket_that_nothing_is_known_of_lets_nobody_in():
    class Away(Below):
        def __call__(self, environ, start_response):
            if (environ.get("swift.source") or "").startswith("GET_"):
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return [b""]
            return super().__call__(environ, start_response)

    request = made(Away(), "GET", "/bucket/key", options=Options())
    with pytest.raises(S3Error) as caught:
        access.decide(request, operations.find(request))
    assert caught.value.status == 503


def test_a_policy_costs_an_owner_no_second_native_request():
    """Who may anyway is let by the native request, which looks at the signature; somebody else's is looked at before a grant."""
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    for owned, asked in (("AUTH_test", 0), ("AUTH_else", 1)):
        PROCESS_CACHE.clear()
        below = Below(owned=owned)
        below.known = {"X-Container-Sysmeta-S3api-Conf-Policy": stored([statement])}
        known = KnownUsers(60.0, 10, lambda: 0.0)
        for _ in range(2):
            request = made(below, "GET", "/bucket/key", options=Options())
            request._known_users = known
            below.seen.clear()
            access.decide(request, operations.find(request))
            assert bool(request.granted) is (owned == "AUTH_else")
        assert len(below.seen) == asked
