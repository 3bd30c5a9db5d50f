"""Signatures of both versions: known ones, those that botocore makes, and what is refused."""

import hashlib
import hmac
import io
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from swift.core import clock
from swift.s3 import signature
from swift.s3.errors import S3Error
from swift.s3.operations import SUBRESOURCES
from swift.s3.options import parse_options
from swift.s3.signature import v2, v4
from swift.wire.parser import HeadLimits, parse_head

EMPTY = hashlib.sha256(b"").hexdigest()
NOW = 1767323045  # 2026-01-02T03:04:05Z
OPTIONS = parse_options({"storage_domain": "s3.example.com"})
OFTEN = {"X-Amz-Date": "20260102T030405Z", "x-amz-content-sha256": EMPTY}


@pytest.fixture(autouse=True)
def at_that_time(monkeypatch):
    monkeypatch.setattr(clock, "time", lambda: NOW)


def environ(line, headers):
    lines = [f"{name}: {value}" for name, value in headers]
    head = f"{line} HTTP/1.1\r\n" + "".join(f"{text}\r\n" for text in lines) + "\r\n"
    return parse_head(head.encode("latin-1"), {"wsgi.input": io.BytesIO()}, HeadLimits())


def read(line, headers, host_bucket=None, options=OPTIONS):
    pairs = headers.items() if isinstance(headers, dict) else headers
    made = environ(line, pairs)
    assert signature.is_signed(made)
    return signature.read(made, options, host_bucket)


def authorization(names, signed, access="test:tester", scope="20260102/us-east-1/s3/aws4_request"):
    return f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signed}"


def test_a_known_signature_in_a_header():
    names = "host;x-amz-content-sha256;x-amz-date;x-amz-meta-two"
    credential = read(
        "GET /bucket/a%20b/c%2Bd?prefix=x%20y&list-type=2&acl",
        [
            ("Host", "s3.example.com"),
            *OFTEN.items(),
            ("X-Amz-Meta-Two", "  a   b  "),
            ("X-Amz-Meta-Two", "c"),
            (
                "Authorization",
                authorization(names, "6ffe065b7e25426a4bb0dc8d7d1a7b83807ae49e38196b147127fefbee637b1b"),
            ),
        ],
    )
    assert credential.canonical_request.decode().splitlines()[:3] == [
        "GET",
        "/bucket/a%20b/c%2Bd",
        "acl=&list-type=2&prefix=x%20y",
    ]
    assert credential.access_key == "test:tester"
    assert credential.check_signature("testing")
    assert credential.signing_key.hex() == "e1a181a289a82461e0bd6012f89fcb57e1128dab6c4f250c38c84e0e7f5b6f6a"
    assert credential.check_signature("testing")
    assert not credential.check_signature("testinG")


def test_a_known_presigned_url():
    credential = read(
        "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%3Atester%2F20260102%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=6dc117b53700fe72ed00fde96e1bef64721ec168ff7abc47f6f3809543a82a1e",
        {"Host": "s3.example.com"},
    )
    assert credential.check_signature("testing")
    assert credential.is_query


def test_a_known_signature_of_a_virtual_host():
    credential = read(
        "GET /a%20b",
        {
            "Host": "bucket.s3.example.com",
            **OFTEN,
            "Authorization": authorization(
                "host;x-amz-content-sha256;x-amz-date",
                "5fd10262a00ac510af2d76c7213d150eb3643c279f3075caecd273f01fcd1988",
            ),
        },
        "bucket",
    )
    assert credential.check_signature("testing")


@pytest.mark.parametrize(
    "line, headers, bucket, signed",
    [
        (
            "PUT /bucket/key?acl&uploadId=3&foo=bar",
            [
                ("Date", "Fri, 02 Jan 2026 03:04:05 GMT"),
                ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="),
                ("Content-Type", "text/plain"),
                ("X-Amz-Meta-B", "v2"),
                ("X-Amz-Meta-A", "v1"),
                ("X-Amz-Meta-A", "v1b"),
            ],
            None,
            "yqenBWS73+ZkZ5+41t9Wm3EHDPY=",
        ),
        (
            "GET /bucket/key",
            [("X-Amz-Date", "Fri, 02 Jan 2026 03:04:05 GMT")],
            None,
            "NnRZGcZjwcrDA3+hJuOOuEG1Lz4=",
        ),
    ],
)
def test_known_signatures_of_version_2(line, headers, bucket, signed):
    credential = read(line, [*headers, ("Authorization", f"AWS test:tester:{signed}")], bucket)
    assert credential.access_key == "test:tester"
    assert credential.check_signature("testing")
    assert not credential.check_signature("testing2")


def test_a_known_string_of_version_2_of_a_virtual_host():
    credential = read(
        "GET /a%20b?versionId=5&response-content-type=a%2Fb",
        {"Date": "Fri, 02 Jan 2026 03:04:05 GMT", "Authorization": "AWS test:tester:x"},
        "bucket",
    )
    assert credential.string_to_sign.endswith(b"\n/bucket/a%20b?response-content-type=a/b&versionId=5")


def test_a_known_presigned_url_of_version_2():
    signed = quote("wTeu9dt8itKbKrVcKKprJdSzuCM=", safe="")
    credential = read(f"GET /bucket/key?AWSAccessKeyId=test:tester&Expires=1767323645&Signature={signed}", {})
    assert credential.check_signature("testing")


# -- what botocore makes ---------------------------------------------------------------------------------------------------

KEYS = Credentials("test:tester", "testing")
NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20)
VALUES = st.text(st.sampled_from("ab  %=,;\xe4"), max_size=10)
PARAMETERS = NAMES.filter(
    lambda name: not name.startswith(("X-Amz-", "AWSAccessKeyId", "Signature"))
)  # which signers set


def line_of(request):
    parts = urlsplit(request.url)
    return f"{request.method} {parts.path}" + (f"?{parts.query}" if parts.query else "")


@given(
    key=NAMES,
    params=st.dictionaries(PARAMETERS, NAMES, max_size=4),
    meta=st.dictionaries(st.text(st.sampled_from("ab-c_"), min_size=1, max_size=5), VALUES, max_size=3),
    presigned=st.booleans(),
)
def test_what_botocore_signs_is_right(key, params, meta, presigned):
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params.items())
    url = f"http://s3.example.com/bucket/{quote(key, safe='/~')}" + (f"?{query}" if query else "")
    request = AWSRequest(
        "PUT", url, headers={f"x-amz-meta-{name}": value.strip() for name, value in meta.items()}
    )
    if presigned:
        S3SigV4QueryAuth(KEYS, "s3", "us-east-1", expires=60).add_auth(request)
    else:
        S3SigV4Auth(KEYS, "s3", "us-east-1").add_auth(request)
    prepared = request.prepare()
    headers = [
        (name, value.decode("latin-1") if isinstance(value, bytes) else value.encode().decode("latin-1"))
        for name, value in prepared.headers.items()
        if name.lower() != "host"
    ]
    made = environ(line_of(prepared), [("Host", "s3.example.com"), *headers])
    signed_at = made.get("HTTP_X_AMZ_DATE") or prepared.url.partition("X-Amz-Date=")[2][:16]
    real_time = signature.canonical.time_of(signed_at)
    time, clock.time = clock.time, lambda: real_time
    try:
        credential = signature.read(made, OPTIONS, None)
    finally:
        clock.time = time
    assert credential.check_signature("testing")
    assert not credential.check_signature("other")


@pytest.mark.parametrize("presigned", [False, True])
def test_what_botocore_signs_in_version_2_is_right(presigned, monkeypatch):
    monkeypatch.undo()
    request = AWSRequest("GET", "http://s3.example.com/bucket/k?acl", headers={"x-amz-meta-a": "b"})
    auth = HmacV1QueryAuth(KEYS, expires=600) if presigned else HmacV1Auth(KEYS)
    auth.add_auth(request)
    prepared = request.prepare()
    headers = {
        name: value for name, value in prepared.headers.items() if not presigned or name != "x-amz-meta-a"
    }
    if presigned:
        headers["x-amz-meta-a"] = "b"
    assert read(line_of(prepared), headers).check_signature("testing")


# -- what is refused -------------------------------------------------------------------------------------------------------

GOOD = {
    "Host": "h",
    **OFTEN,
    "Authorization": authorization("host;x-amz-content-sha256;x-amz-date", "00"),
}
SIGNED = "host;x-amz-content-sha256;x-amz-date"


@pytest.mark.parametrize(
    "change, code",
    [
        ({"Authorization": "Basic eDp5"}, "AccessDenied"),
        ({"Authorization": "AWS x"}, "AccessDenied"),
        ({"X-Amz-Date": None}, "AccessDenied"),
        ({"X-Amz-Date": "yesterday"}, "AccessDenied"),
        ({"X-Amz-Date": "20260199T030405Z"}, "AccessDenied"),
        ({"X-Amz-Date": "19600102T030405Z"}, "AccessDenied"),
        ({"X-Amz-Date": "20260102T040405Z"}, "RequestTimeTooSkewed"),
        ({"X-Amz-Date": "20260102T024904Z"}, "RequestTimeTooSkewed"),
        ({"Authorization": authorization(SIGNED, "00", scope="20260103/us-east-1/s3/aws4_request")}, "AuthorizationHeaderMalformed"),
        ({"Authorization": authorization(SIGNED, "00", scope="20260102/eu/s3/aws4_request")}, "AuthorizationHeaderMalformed"),
        ({"Authorization": authorization(SIGNED, "00", scope="20260102/us-east-1/ec2/aws4_request")}, "AuthorizationHeaderMalformed"),
        ({"Authorization": authorization(SIGNED, "00", scope="20260102/us-east-1/s3/aws5")}, "AuthorizationHeaderMalformed"),
        ({"Authorization": authorization(SIGNED, "00", scope="20260102")}, "AccessDenied"),
        ({"Authorization": authorization(SIGNED, "00", access="")}, "AccessDenied"),
        ({"Authorization": authorization(SIGNED, "")}, "AccessDenied"),
        ({"Authorization": authorization(SIGNED, "00", access="\xbfest:tester")}, "InvalidAccessKeyId"),
        ({"Authorization": authorization(SIGNED, "00", access="test:\x01")}, "InvalidAccessKeyId"),
        ({"Authorization": authorization("", "00")}, "AuthorizationHeaderMalformed"),
        ({"x-amz-content-sha256": None}, "InvalidRequest"),
        ({"Authorization": authorization(SIGNED + ";x-amz-acl", "00")}, "SignatureDoesNotMatch"),
        ({"x-amz-acl": "public-read"}, "AccessDenied"),
        ({"x-amz-copy-source": "/b/k"}, "AccessDenied"),
        ({"x-amz-meta-a_b": "v"}, "AccessDenied"),
        ({"x-amz-security-token": "v"}, "AccessDenied"),
        ({"Authorization": authorization("x-amz-content-sha256;x-amz-date", "00")}, "AccessDenied"),
    ],
)  # fmt: skip
def test_bad_headers(change, code):
    headers = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(S3Error) as raised:
        read("GET /bucket/key", headers)
    assert raised.value.code == code


URL = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": "test:tester/20260102/us-east-1/s3/aws4_request",
    "X-Amz-Date": "20260102T030405Z",
    "X-Amz-Expires": "60",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "00",
}


@pytest.mark.parametrize(
    "change, headers, code",
    [
        ({"X-Amz-Expires": None}, {}, "AccessDenied"),
        ({"X-Amz-Expires": "soon"}, {}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "9" * 5000}, {}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "-1"}, {}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "604801"}, {}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Date": "20260102T030204Z"}, {}, "AccessDenied"),
        ({"X-Amz-Date": "20260102T040405Z"}, {}, "AccessDenied"),
        ({"X-Amz-Date": None}, {}, "AccessDenied"),
        ({"X-Amz-Algorithm": "AWS4"}, {}, "InvalidArgument"),
        ({"X-Amz-Signature": None}, {}, "AccessDenied"),
        ({"X-Amz-SignedHeaders": None}, {}, "AuthorizationHeaderMalformed"),
        ({"X-Amz-Credential": "a/20260102/eu/s3/aws4_request"}, {}, "AuthorizationQueryParametersError"),
        ({}, {"x-amz-copy-source": "/b/k"}, "AccessDenied"),
        ({}, {"x-amz-meta-a": "v"}, "AccessDenied"),
        ({}, {"Authorization": "AWS a:b"}, "InvalidArgument"),
        ({"X-Amz-SignedHeaders": "x-amz-date"}, {"x-amz-date": "20260102T030405Z"}, "AccessDenied"),
        ({"X-Amz-SignedHeaders": "host;\u0100"}, {}, "SignatureDoesNotMatch"),
        ({"X-Amz-Date": "00000102T030405Z"}, {}, "AccessDenied"),
    ],
)
def test_bad_presigned_urls(change, headers, code):
    params = {name: value for name, value in {**URL, **change}.items() if value is not None}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())
    with pytest.raises(S3Error) as raised:
        read(f"GET /bucket/key?{query}", {"Host": "h", **headers})
    assert raised.value.code == code


@pytest.mark.parametrize(
    "expires", ["1767323044", "2147483648", "x", "", "9" * 30, quote("１７６７３２３６４５")]
)
def test_bad_presigned_urls_of_version_2(expires):
    with pytest.raises(S3Error) as raised:
        read(f"GET /b/k?AWSAccessKeyId=a&Expires={expires}&Signature=x", {})
    assert raised.value.code == "AccessDenied"


@pytest.mark.parametrize("name", sorted(set(SUBRESOURCES) - v2._SUBRESOURCES))
def test_an_address_of_version_2_is_turned_into_no_other_operation(name):
    signed = quote("wTeu9dt8itKbKrVcKKprJdSzuCM=", safe="")
    query = f"AWSAccessKeyId=test:tester&Expires=1767323645&Signature={signed}"
    with pytest.raises(S3Error) as raised:
        read(f"GET /bucket/key?{query}&{name}", {})
    assert raised.value.code == "AccessDenied"


def test_version_2_can_be_switched_off():
    options = parse_options({"signature_v2": "no"})
    headers = {"Date": "Fri, 02 Jan 2026 03:04:05 GMT", "Authorization": "AWS a:b"}
    with pytest.raises(S3Error) as raised:
        read("GET /b", headers, options=options)
    assert raised.value.code == "InvalidRequest"


def test_who_does_not_sign_is_not_S3s():
    assert not signature.is_signed({})
    assert not signature.is_signed({"QUERY_STRING": "prefix=X-Amz-Credential"})
    assert signature.is_signed({"QUERY_STRING": "a=b&X-Amz-Credential=c"})


def test_what_was_guessed_right_of_a_signature_is_not_told_by_the_time(compared):
    credential = read("GET /bucket/key", GOOD)
    assert not credential.check_signature("wrong")
    assert [given for _, given in compared] == [credential.signature.encode()]


def test_a_mismatch_tells_what_was_expected():
    error = read("GET /bucket/key", GOOD).mismatch()
    assert error.status == 403
    assert error.elements["StringToSign"].startswith("AWS4-HMAC-SHA256\n20260102T030405Z\n")
    assert error.elements["CanonicalRequest"].startswith("GET\n/bucket/key\n")
    assert (
        bytes.fromhex(error.elements["StringToSignBytes"].replace(" ", "")).decode()
        == error.elements["StringToSign"]
    )


@given(
    st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=60),
    st.text(max_size=40),
)
def test_nothing_that_is_sent_ends_in_anything_but_an_error(header, query):
    for made in (
        {"HTTP_AUTHORIZATION": header, "HTTP_X_AMZ_DATE": "20260102T030405Z"},
        {"HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 {header}", "HTTP_DATE": header},
        {
            "QUERY_STRING": f"X-Amz-Credential={quote(query)}&X-Amz-Date={quote(query)}&X-Amz-Expires={quote(query)}"
        },
    ):
        made.update(REQUEST_METHOD="GET", PATH_INFO="/b/k")
        try:
            signature.read(made, OPTIONS, None)
        except S3Error as error:
            assert error.status in (400, 403)


def _plainly(authorization, name):
    return authorization.partition(name)[2].partition(",")[0].strip()


WORDS = st.lists(
    st.sampled_from(("Credential=", "SignedHeaders=", "Signature=", ",", ", ", " ", "a:b/20260102/r/s3/aws4_request", "host;x-amz-date", "0f", "AWS4-HMAC-SHA256 ")),
    max_size=14,
)  # fmt: skip


@given(WORDS, WORDS)
def test_what_is_remembered_of_a_header_says_nothing_of_another_one(first, second):
    """Each part is what follows its name up to a comma, whatever came before and in whichever order."""
    start = "".join(first)
    for text in (start, start + "".join(second), start + "Signature=" + "".join(second), start):
        wanted = tuple(_plainly(text, name) for name in ("Credential=", "SignedHeaders=", "Signature="))
        assert v4._parts(text) == wanted


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_a_key_that_is_kept_signs_as_hmac_does(key, data):
    kept = v4.SigningKey(key)
    for text in (data, b"", data):
        assert kept.sign(text) == hmac.new(key, text, "sha256").hexdigest()


def test_what_is_remembered_of_a_day_is_held_against_the_clock_each_time(monkeypatch):
    for seconds in (0, 899, 901, 0):
        monkeypatch.setattr(clock, "time", lambda now=NOW + seconds: now)
        if seconds < 900:
            read("GET /bucket/key", GOOD)
            continue
        with pytest.raises(S3Error, match="RequestTimeTooSkewed"):
            read("GET /bucket/key", GOOD)


def test_one_request_remembered_covers_no_header_of_the_next():
    names = "host;x-amz-content-sha256;x-amz-date"
    signed = [("Host", "s3.example.com"), *OFTEN.items(), ("Authorization", authorization(names, "0" * 64))]
    for more in ([], [("X-Amz-Acl", "public-read")], [("X-Amz-Meta-New", "1")], []):
        if not more:
            assert read("PUT /bucket/key", signed).signed_headers == frozenset(names.split(";"))
            continue
        with pytest.raises(S3Error, match="AccessDenied") as found:
            read("PUT /bucket/key", signed + more)
        assert found.value.elements["HeadersNotSigned"] == more[0][0].lower()
