"""Bodies of uploads: known signatures of chunks, each kind of lie found out, and nothing else ever raised."""

import base64
import hashlib
import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.s3.checksums import ALGORITHMS, by_table, combined, composite, headers_of, shown, stored
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.payload import BadBody, Payload
from swift.s3.request import S3Request
from swift.s3.signature.credential import Credential
from swift.s3.signature.v4 import signing_key

SCOPE = "20260102/us-east-1/s3/aws4_request"
NOW = 1767323045  # 2026-01-02T03:04:05Z
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Below(io.BytesIO):
    """A body that comes in pieces of these sizes."""

    def __init__(self, data, sizes=(65536,)):
        super().__init__(data)
        self.sizes = list(sizes)

    def read_available(self, size=65536):
        some = self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]
        return super().read(min(size, some))


def credential(signature="", key=True):
    made = Credential(
        access_key="test:tester", signature=signature, string_to_sign=b"", sign=lambda *_: ("", None), is_query=False,
        is_v4=True, signed_at=NOW, scope=SCOPE,
    )  # fmt: skip
    if key:
        made.signing_key = signing_key("testing", "20260102", "us-east-1", "s3").key
    return made


def payload(data, headers, sizes=(65536,), who=None):
    environ = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/bucket/key",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": Below(data, sizes),
        **headers,
    }
    return Payload(S3Request(environ, None, Options(), None, who or credential()))


def read_all(made):
    try:
        return made.input.read()
    except BadBody:
        assert made.error is not None
        raise made.error from None


def found(data, headers, **options):
    """What becomes of a body: its bytes, or the code of the error."""
    try:
        return read_all(payload(data, headers, **options))
    except S3Error as error:
        return error.code


# -- checksums -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, data, value",
    [
        ("crc32", b"", "AAAAAA=="),
        ("crc32c", b"", "AAAAAA=="),
        ("crc64nvme", b"", "AAAAAAAAAAA="),
        ("crc32c", b"123456789", "4waSgw=="),
        ("crc64nvme", b"123456789", "rosUhgp5mIg="),
        ("crc32", b"hello world", "DUoRhQ=="),
        ("crc32c", b"hello world", "yZRlqg=="),
        ("crc64nvme", b"hello world", "jSnVw/bqjr4="),
    ],
)
def test_known_checksums(name, data, value):
    for pieces in ([data], [data[:4], data[4:]], [bytes([byte]) for byte in data]):
        digest = ALGORITHMS[name].make()
        for piece in pieces:
            digest.update(piece)
        assert shown(digest.digest()) == value
        assert ALGORITHMS[name].parsed(value) == digest.digest()


@given(st.sampled_from(sorted(ALGORITHMS)), st.text(max_size=50))
def test_only_values_of_an_algorithm_are_taken(name, text):
    value = ALGORITHMS[name].parsed(text)
    assert value is None or (len(value) == ALGORITHMS[name].size and shown(value) == text)


def test_what_is_kept_is_told():
    kept = stored(ALGORITHMS["crc32"], b"abcd")
    assert headers_of(kept) == [("x-amz-checksum-crc32", "YWJjZA=="), ("x-amz-checksum-type", "FULL_OBJECT")]
    for other in (None, "", "crc32", "md5:x:y", ":::"):
        assert headers_of(other) == []


# -- whole bodies ----------------------------------------------------------------------------------------------------------


def digest(name, data):
    made = ALGORITHMS[name].make()
    made.update(data)
    return shown(made.digest())


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_a_right_body_comes_through(data, sizes):
    headers = {
        "HTTP_X_AMZ_CONTENT_SHA256": hashlib.sha256(data).hexdigest(),
        "HTTP_X_AMZ_CHECKSUM_CRC32": digest("crc32", data),
    }
    made = payload(data, headers, sizes)
    assert made.input.read() == data
    assert made.length == len(data)
    assert made.told()[0] == ("x-amz-checksum-crc32", digest("crc32", data))


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 200_000])
@pytest.mark.parametrize(
    "headers, code",
    [
        ({"HTTP_X_AMZ_CONTENT_SHA256": "0" * 64}, "XAmzContentSHA256Mismatch"),
        ({"HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAQ=="}, "BadDigest"),
        ({"HTTP_X_AMZ_CHECKSUM_SHA1": base64.b64encode(b"0" * 20).decode()}, "BadDigest"),
    ],
)
def test_a_wrong_body_never_comes_to_its_end(data, headers, code):
    assert found(data, headers) == code
    if data:
        made = payload(data, headers, (1000,))
        taken = b""
        with pytest.raises(BadBody):
            while True:
                taken += made.input.read_available(700) or pytest.fail("it ended well")
        assert len(taken) < len(data)


@pytest.mark.parametrize(
    "headers, code",
    [
        ({"HTTP_X_AMZ_CHECKSUM_MD6": "x"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_CHECKSUM_CRC32": "x"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAA"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAA==", "HTTP_X_AMZ_CHECKSUM_SHA1": "x"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAA==", "HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc32"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc32"}, "MalformedTrailerError"),
        ({"HTTP_X_AMZ_TRAILER": "x-other"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM": "CRC32"}, "InvalidRequest"),
        ({"HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM": "SHA1", "HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAA=="}, "InvalidRequest"),
        ({"HTTP_CONTENT_MD5": "x"}, "InvalidDigest"),
        ({"HTTP_CONTENT_MD5": ""}, "InvalidDigest"),
        ({"HTTP_CONTENT_MD5": "AAAA"}, "InvalidDigest"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": "nonsense"}, "InvalidArgument"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": "STREAMING-OTHER"}, "InvalidArgument"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, "NotImplemented"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": SIGNED}, "MissingContentLength"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": SIGNED, "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": "x"}, "MissingContentLength"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": SIGNED, "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": "-1"}, "InvalidArgument"),
        ({"CONTENT_LENGTH": ""}, "MissingContentLength"),
    ],
)  # fmt: skip
def test_headers_that_promise_nothing_that_can_be_kept(headers, code):
    assert found(b"x", headers) == code


def test_content_md5_becomes_the_etag_that_servers_check():
    made = payload(b"x", {"HTTP_CONTENT_MD5": " XUFAKrxLKna5cZ2REBfFkg== "})
    assert made.headers() == {"HTTP_ETAG": "5d41402abc4b2a76b9719d911017c592"}


# -- chunks ----------------------------------------------------------------------------------------------------------------


def in_chunks(length, sha256=SIGNED, trailer=None):
    headers = {"HTTP_X_AMZ_CONTENT_SHA256": sha256, "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": str(length)}
    return headers | ({"HTTP_X_AMZ_TRAILER": trailer} if trailer else {})


def chunk(data, signature=None):
    end = f";chunk-signature={signature}" if signature else ""
    return f"{len(data):x}{end}\r\n".encode() + data + b"\r\n"


def last(signature):
    return f"0;chunk-signature={signature}\r\n\r\n".encode()


ONE = (
    chunk(b"hello world", "423077031adcf1543af5240c8f3df8831c7e8d7e2c84f48d5a9a0152b43958ee")
    + last("029d173ceb30c352736ba5bed1372824d199d920608f3bc7865e4ef1fea0c11b"),
    "75f827b758099fc857850d2711efb8262960a3128cd4312583951e2b4247c4b8",
    b"hello world",
)
TWO = (
    chunk(b"a" * 8192, "3e77be07b6024f18b3ce9f15890dfb76fd01f66179b1b786884fe85dbfec4d11")
    + chunk(b"tail", "76d54641c336e706b6b6cea852dae90633c64a809915443786c8396de820bdb1")
    + last("5bcad33f2bb6242c303e343461780c703df893542e2e992455df718cc57a2fb1"),
    "d4d6c4611b136a326b075851d251577431ae9332e2596448c31777bc9c132f2a",
    b"a" * 8192 + b"tail",
)


@pytest.mark.parametrize("wire, seed, data", [ONE, TWO])
@pytest.mark.parametrize("sizes", [(65536,), (1,), (7, 8192, 1)])
def test_known_signed_chunks(wire, seed, data, sizes):
    assert found(wire, in_chunks(len(data)), sizes=sizes, who=credential(seed)) == data
    # without the blank line at the end
    assert found(wire[:-2], in_chunks(len(data)), sizes=sizes, who=credential(seed)) == data


def test_known_signed_trailers():
    wire = (
        b"b;chunk-signature=785bea05e80a97460c5d1eda025d28584b7959a6a10ae8140e9bb261ccf4a7ac\r\nhello world\r\n"
        b"0;chunk-signature=d8890e1c98f02025eccdca1d5a9e5b76358d72735d788b42784cb2025dc95543\r\n"
        b"x-amz-checksum-crc32:DUoRhQ==\r\n"
        b"x-amz-trailer-signature:1d85b482e97587d33e11912986839268bd20cc753b9d42fbf498b1600d2e2ca2\r\n\r\n"
    )
    seed = credential("7d1db94100dd90a22d9a13e63f07502981d7149987862318b004199b36d69017")
    headers = in_chunks(11, SIGNED + "-TRAILER", "x-amz-checksum-crc32")
    made = payload(wire, headers, who=seed)
    assert read_all(made) == b"hello world"
    assert made.told()[0] == ("x-amz-checksum-crc32", "DUoRhQ==")
    for wrong, code in (
        (wire.replace(b"DUoRhQ", b"DUoRhA"), "SignatureDoesNotMatch"),
        (wire.replace(b":1d85", b":1d86"), "SignatureDoesNotMatch"),
        (wire.replace(b"=d889", b"=d888"), "SignatureDoesNotMatch"),
        (wire[: wire.index(b"x-amz-trailer-sig")] + b"\r\n", "IncompleteBody"),
    ):
        who = credential("7d1db94100dd90a22d9a13e63f07502981d7149987862318b004199b36d69017")
        assert found(wrong, headers, who=who) == code


def test_what_was_guessed_right_of_a_chunks_signature_is_not_told_by_the_time(compared):
    wire, seed, data = ONE
    first = wire.partition(b"=")[2].partition(b"\r\n")[0]
    wrong = wire.replace(first, b"0" * 64, 1)
    assert found(wrong, in_chunks(len(data)), who=credential(seed)) == "SignatureDoesNotMatch"
    assert [given for _, given in compared] == [b"0" * 64]


def test_unsigned_chunks_with_a_trailer():
    wire = b"b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
    headers = in_chunks(11, UNSIGNED, "x-amz-checksum-crc32")
    made = payload(wire, {**headers, "HTTP_CONTENT_ENCODING": "aws-chunked, gzip"})
    assert (made.length, made.content_encoding) == (11, "gzip")
    assert read_all(made) == b"hello world"
    footers = {}
    made._update_footers(footers)
    assert footers == {"X-Object-Sysmeta-S3Api-Checksum": "crc32:DUoRhQ==:FULL_OBJECT"}
    for wrong, code in (
        (wire.replace(b"DUoRhQ", b"DUoRhA"), "BadDigest"),
        (wire.replace(b"DUoRhQ==", b"x"), "InvalidRequest"),
        (wire.replace(b"x-amz-checksum-crc32", b"x-amz-checksum-sha1"), "MalformedTrailerError"),
        (wire[:-32], "IncompleteBody"),
        (wire.replace(b"x-amz", b"x-amz-checksum-crc32:DUoRhQ==\r\nx-amz", 1), "MalformedTrailerError"),
        (wire + b"more", "IncompleteBody"),
    ):
        assert found(wrong, headers) == code
    assert found(b"b\r\nhello world\r\n0\r\n\r\n", headers) == "MalformedTrailerError"


@pytest.mark.parametrize(
    "wire, length, code",
    [
        (b"", 5, "IncompleteBody"),
        (b"5\r\nhello", 5, "IncompleteBody"),
        (b"5\r\nhello\r\n", 5, "IncompleteBody"),
        (b"5\r\nhelloXX0\r\n\r\n", 5, "IncompleteBody"),
        (b"5\nhello\n0\n\n", 5, "IncompleteBody"),
        (b"-5\r\nhello\r\n0\r\n\r\n", 5, "IncompleteBody"),
        (b"0x5\r\nhello\r\n0\r\n\r\n", 5, "IncompleteBody"),
        (b"ffffffffffffffff\r\nhello", 5, "IncompleteBody"),
        (b"fffffffffffffffffff\r\nhello", 5, "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n\r\n", 6, "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n\r\n", 4, "IncompleteBody"),
        (b"5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n", 6, "InvalidChunkSizeError"),
        (b"5" * 100_000, 5, "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\nx-other:1\r\n\r\n", 5, "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", 5, "IncompleteBody"),
        (b"0\r\n\r\n", 0, b""),
        (b"", 0, "IncompleteBody"),
    ],
)
@pytest.mark.parametrize("sizes", [(65536,), (1,)])
def test_broken_chunks(wire, length, code, sizes):
    assert found(wire, in_chunks(length, UNSIGNED), sizes=sizes) == code


def test_chunks_whose_key_nobody_knows():
    wire, seed, data = ONE
    assert found(wire, in_chunks(len(data)), who=credential(seed, key=False)) == "NotImplemented"


def test_the_key_of_an_empty_body_in_chunks_is_asked_for(monkeypatch):
    who = credential(key=False)

    def authenticate(request):
        request.credential.signing_key = credential().signing_key

    monkeypatch.setattr(S3Request, "authenticate", authenticate)
    wire = b"0;chunk-signature=%s\r\n\r\n" % (b"0" * 64)
    assert found(wire, in_chunks(0), who=who) == "SignatureDoesNotMatch"


def test_what_is_signed_of_a_body_holds_without_a_length_too():
    headers = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    right = hashlib.sha256(b"abc").hexdigest()
    assert found(b"abc", {**headers, "HTTP_X_AMZ_CONTENT_SHA256": right}) == b"abc"
    assert found(b"abd", {**headers, "HTTP_X_AMZ_CONTENT_SHA256": right}) == "XAmzContentSHA256Mismatch"


def test_a_wrong_body_does_not_end_well_for_who_asks_again():
    headers = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    made = payload(b"abc", {**headers, "HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAQ=="})
    for _ in range(3):
        with pytest.raises(BadBody):
            made.input.read()


@settings(max_examples=300)
@given(
    st.sampled_from([ONE, TWO]),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), max_size=3),
    st.lists(st.integers(1, 9000), min_size=1, max_size=3),
    st.integers(0, 9000),
)
def test_what_is_changed_on_the_way_is_found_out(known, changes, sizes, cut):
    wire, seed, data = known
    changed = bytearray(wire[: len(wire) - cut] if cut < 50 else wire)
    for at, byte in changes:
        if at < len(changed):
            changed[at] = byte
    outcome = found(bytes(changed), in_chunks(len(data)), sizes=sizes, who=credential(seed))
    if bytes(changed) == wire:
        assert outcome == data
    # what is left of the truth: the size in other letters, and the blank line at the end
    assert outcome == data or outcome in (
        "IncompleteBody", "SignatureDoesNotMatch", "InvalidChunkSizeError", "MalformedTrailerError",
    )  # fmt: skip


@given(st.binary(max_size=200), st.integers(0, 20))
def test_no_stream_raises_anything_else(wire, length):
    outcome = found(wire, in_chunks(length, UNSIGNED))
    assert isinstance(outcome, bytes) or outcome in (
        "IncompleteBody",
        "InvalidChunkSizeError",
        "MalformedTrailerError",
    )


# -- documents -------------------------------------------------------------------------------------------------------------


def document(data, headers, limit=100, who=None, required=True):
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/bucket",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": Below(data),
        **headers,
    }
    try:
        request = S3Request(environ, None, Options(), None, who or credential())
        request.is_known = True
        return request.document_body(limit, required)
    except S3Error as error:
        return error.code


def test_documents_are_checked_as_bodies_are():
    md5 = base64.b64encode(hashlib.md5(b"<a/>").digest()).decode()
    assert document(b"<a/>", {"HTTP_CONTENT_MD5": md5}) == b"<a/>"
    assert document(b"<b/>", {"HTTP_CONTENT_MD5": md5}) == "BadDigest"
    assert document(b"<a/>", {"HTTP_X_AMZ_CHECKSUM_CRC32": digest("crc32", b"<a/>")}) == b"<a/>"
    assert document(b"<b/>", {"HTTP_X_AMZ_CHECKSUM_CRC32": digest("crc32", b"<a/>")}) == "BadDigest"
    assert document(b"<b/>", {"HTTP_X_AMZ_CONTENT_SHA256": "0" * 64}) == "XAmzContentSHA256Mismatch"
    assert document(b"x" * 101, {}) == "MalformedXML"
    assert document(b"x" * 101, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}) == "MalformedXML"
    assert document(b"", {}) == "MissingRequestBodyError"
    assert document(b"", {}, required=False) == b""


def test_documents_may_come_in_chunks():
    wire, seed, data = ONE
    assert document(wire, in_chunks(len(data)), limit=1000, who=credential(seed)) == data


def test_crc32_is_that_of_zlib():
    data = bytes(range(256)) * 40
    assert digest("crc32", data) == shown(zlib.crc32(data).to_bytes(4, "big"))


@pytest.mark.parametrize("name", ["crc32", "crc32c", "crc64nvme"])
@given(data=st.binary(max_size=2000))
def test_crcs_need_no_library(name, data):
    value = by_table(name)(data[:9], 0)
    value = by_table(name)(data[9:], value)
    assert shown(value.to_bytes(ALGORITHMS[name].size, "big")) == digest(name, data)


@pytest.mark.parametrize("name", ["crc32", "crc32c", "crc64nvme"])
@given(parts=st.lists(st.binary(max_size=300), max_size=6))
def test_crcs_of_parts_make_that_of_the_whole(name, parts):
    algorithm = ALGORITHMS[name]
    pieces = [(base64.b64decode(digest(name, part)), len(part)) for part in parts]
    assert shown(combined(algorithm, pieces)) == digest(name, b"".join(parts))


def test_checksum_of_checksums():
    parts = [hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()]
    expected = base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()
    assert composite(ALGORITHMS["sha256"], parts) == expected + "-2"
