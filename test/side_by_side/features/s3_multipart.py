"""S3's multipart uploads: begun, filled, listed, completed and aborted; parts that are not there, and documents that are none."""

import hashlib

from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, md5, s3
from test.side_by_side.table import Known, Step

FILTERS = {"s3api": "min_segment_size = 10\n"}
WORDS = OWN_WORDS
KNOWN = (
    *OWN_KNOWN,
    Known("status", "^400$", "^405$", "said of the method"),
    Known("status", "^(501|204|200)$", "^(40[045])$", "parts can't be deleted, ranges must lie in their source, uploads that are over take no parts"),
    Known("status", "^412$", "^200$", "conditions are no matter of parts"),
    Known("body", "A key must be specified", "NotImplemented", "said of the resource"),
    Known("body", "IsTruncated>true", "IsTruncated>false", "a page of nothing has no next one"),
    Known("header transfer-encoding", "chunked", "^-$", "answers come in one piece where that is possible"),
    Known("header content-length", "^-$", r"^\d+$", "answers come in one piece where that is possible"),
    Known("body", "InvalidPart|MalformedXML|preconditions|entity tag|ot supported", "InvalidPart|MalformedXML|at least one part|RequestId", "more is told, and of two things that are wrong another one"),
    Known("body", "NotImplemented", "NotImplemented", "the header is named"),
    Known("body", "NoSuchKey", "NoSuchUpload", "it is an upload that is not there"),
    Known("header x-amz-meta-a-b", ".", ".", "names with underscores stay what they are"),
    Known("header x-amz-meta-a_b", ".", ".", "names with underscores stay what they are"),
    Known("body", "ETag", "ETag", "a copy is an object of its own, with its own ETag"),
    Known("header etag", "-2", "^[^-]*$", "a copy is an object of its own, with its own ETag"),
    Known("header etag", "^[0-9a-f]{32}$", "^[0-9a-f]{32}$", "of a manifest, with the upload's id"),
    Known("header x-manifest-etag", ".", ".", "of a manifest, with the upload's id"),
    Known("body", "last_modified", "last_modified", "of a manifest, with the upload's id"),
)  # fmt: skip
B = "/multipart-bucket"
BIG, SMALL = "0123456789" * 2, "tail"


def etag(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def document(*parts: tuple[object, str], more: str = "") -> str:
    inner = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{value}</ETag>{more}</Part>" for number, value in parts
    )
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>"  # fmt: skip


WHOLE = document((1, etag(BIG)), (2, f'"{etag(SMALL)}"'))


def begin(key: str, headers: dict[str, str] | None = None, keep: str = "upload", **more: object) -> Step:
    return s3("POST", f"{B}/{key}?uploads", headers, keep={keep: "body:<UploadId>([^<]+)<"}, **more)  # type: ignore[arg-type]


def part(
    key: str,
    number: object,
    body: str,
    headers: dict[str, str] | None = None,
    upload: str = "{upload}",
    **more: object,
) -> Step:
    return s3("PUT", f"{B}/{key}?partNumber={number}&uploadId={upload}", headers, body, **more)  # type: ignore[arg-type]


def complete(
    key: str, body: str, headers: dict[str, str] | None = None, upload: str = "{upload}", **more: object
) -> Step:
    return s3("POST", f"{B}/{key}?uploadId={upload}", headers, body, **more)  # type: ignore[arg-type]


def ready(key: str, headers: dict[str, str] | None = None) -> list[Step]:
    return [begin(key, headers), part(key, 1, BIG), part(key, 2, SMALL)]


def look(key: str) -> list[Step]:
    return [s3("HEAD", f"{B}/{key}"), s3("GET", f"{B}/{key}")]


WRONG = (
    "", "junk", "<a/>", "<CompleteMultipartUpload/>", document((1, etag(BIG)), (1, etag(BIG))), document((2, etag(SMALL)), (1, etag(BIG))), document((1, "0" * 32), (2, etag(SMALL))), document((1, "junk")), document((1, "")),
    document((3, etag(BIG))), document((0, etag(BIG))), document(("x", etag(BIG))), document((-1, etag(BIG))), document((99999, etag(BIG))), document((1, etag(BIG).upper())), document((2, etag(SMALL)), (3, etag(SMALL))),
    '<!DOCTYPE a [<!ENTITY b "c">]><CompleteMultipartUpload>&b;</CompleteMultipartUpload>', "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>", "<CompleteMultipartUpload><Other/></CompleteMultipartUpload>",
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>", document((1, etag(BIG)), more="<Other/>"),
)  # fmt: skip
NUMBERS = ("0", "1", "2", "1001", "-1", "x", "")

STEPS = [
    s3("PUT", B), begin("k"), s3("POST", "/none-such/k?uploads"), s3("POST", f"{B}?uploads"), begin("k", user="member", keep="none"), begin("k", user="other", keep="none"), s3("GET", f"{B}/k?uploads"), s3("PUT", f"{B}/k?uploads"), s3("DELETE", f"{B}/k?uploads"),
    # -- parts
    part("k", 1, BIG), part("k", 2, SMALL), part("k", 2, SMALL), *(part("k", number, BIG) for number in ("0", "-1", "x", "", "10001", "999999999999")), part("k", 1, BIG, upload="junk"), part("k", 1, BIG, upload=""), part("other", 1, BIG),
    s3("PUT", f"{B}/k?partNumber=1", body=BIG), s3("PUT", f"{B}?partNumber=1&uploadId={{upload}}", body=BIG), part("k", 1, BIG, user="member"), part("k", 1, BIG, {"Content-MD5": md5("other")}), part("k", 1, BIG, {"Content-MD5": md5(BIG)}),
    part("k", 3, "", {"Content-MD5": md5("")}), part("k", 1, BIG, {"If-None-Match": "*"}), part("k", 1, BIG, payload="0" * 64), s3("POST", f"{B}/k?partNumber=1&uploadId={{upload}}", body=BIG), s3("DELETE", f"{B}/k?partNumber=1&uploadId={{upload}}"),
    # -- listings
    s3("GET", f"{B}/k?uploadId={{upload}}"), *(s3("GET", f"{B}/k?uploadId={{upload}}&max-parts={number}") for number in NUMBERS), *(s3("GET", f"{B}/k?uploadId={{upload}}&part-number-marker={number}") for number in NUMBERS),
    s3("GET", f"{B}/k?uploadId={{upload}}&encoding-type=url"), s3("GET", f"{B}/k?uploadId={{upload}}&encoding-type=junk"), s3("GET", f"{B}/k?uploadId=junk"), s3("GET", f"{B}/other?uploadId={{upload}}"), s3("HEAD", f"{B}/k?uploadId={{upload}}"),
    s3("GET", f"{B}/k?uploadId={{upload}}", user="member"), s3("GET", f"{B}?uploads"), *(s3("GET", f"{B}?uploads&{query}") for query in ("prefix=k", "prefix=none", "delimiter=/", "encoding-type=url", "encoding-type=junk", "max-uploads=0", "max-uploads=-1", "max-uploads=x", "max-uploads=1001")),
    s3("GET", "/none-such?uploads"), s3("GET", f"{B}?uploads", user="member"), s3("GET", f"{B}"),
    # -- completion
    *(complete("k", body) for body in WRONG), complete("k", WHOLE, upload="junk"), complete("other", WHOLE), complete("k", WHOLE, user="member"), complete("k", WHOLE, {"Content-MD5": md5("other")}), complete("k", WHOLE, {"If-None-Match": "junk"}),
    complete("k", WHOLE, {"If-Modified-Since": "Fri, 01 Jan 1999 00:00:00 GMT"}), complete("k", WHOLE), *look("k"), complete("k", WHOLE), complete("k", document((1, etag(BIG)))), s3("DELETE", f"{B}/k?uploadId={{upload}}"), part("k", 3, BIG),
    s3("GET", f"{B}/k?uploadId={{upload}}"), s3("GET", f"{B}?uploads"), s3("GET", f"{B}"), *(s3(method, f"{B}/k?partNumber={number}") for method in ("GET", "HEAD") for number in ("1", "2", "3", "0", "x")),
    *(s3("GET", f"{B}/k", {"Range": value}) for value in ("bytes=0-4", "bytes=18-21", "bytes=-2", "bytes=24-", "bytes=0-1,22-23")), s3("GET", f"{B}/k?partNumber=1", {"Range": "bytes=0-1"}),
    *(s3("GET", f"{B}/k", {name: value}) for name in ("If-Match", "If-None-Match") for value in ("*", '"junk"', f'"{hashlib.md5(bytes.fromhex(etag(BIG)) + bytes.fromhex(etag(SMALL)), usedforsecurity=False).hexdigest()}-2"')),
    # -- metadata
    *ready("meta", {"x-amz-meta-color": "red", "x-amz-meta-a_b": "c", "Content-Type": "text/x", "Cache-Control": "no-cache", "Content-Disposition": "inline", "Content-Encoding": "gzip", "Content-Language": "de"}), complete("meta", WHOLE), *look("meta"),
    *ready("pic.png"), complete("pic.png", WHOLE), *look("pic.png"), *(begin("bad", headers, keep="none") for headers in ({"x-amz-storage-class": "JUNK"}, {"x-amz-acl": "junk"}, {"x-amz-meta-long": "x" * 257}, {"x-amz-server-side-encryption": "junk"}, {"If-None-Match": "*"})),
    *ready("deep/er/%C3%BC%20%2B"), s3("GET", f"{B}?uploads&delimiter=/"), s3("GET", f"{B}?uploads&prefix=deep/&encoding-type=url"), complete("deep/er/%C3%BC%20%2B", WHOLE), *look("deep/er/%C3%BC%20%2B"),
    *ready("once"), complete("once", WHOLE, {"If-None-Match": "*"}), *ready("once"), complete("once", WHOLE, {"If-None-Match": "*"}), s3("DELETE", f"{B}/once?uploadId={{upload}}"),
    # -- copies
    s3("PUT", f"{B}/source", body=BIG), begin("copy"),
    *(part("copy", 1, "", {"x-amz-copy-source": source}) for source in (f"{B}/source", f"{B}/none", "/none-such/x", "junk", "", f"{B}/k")),
    *(part("copy", 2, "", {"x-amz-copy-source": f"{B}/source", "x-amz-copy-source-range": value}) for value in ("bytes=0-9", "bytes=0-19", "bytes=0-20", "bytes=5-", "bytes=-5", "junk", "bytes=9-3", "bytes=100-200", "")),
    part("copy", 1, "", {"x-amz-copy-source": f"{B}/source"}), s3("GET", f"{B}/copy?uploadId={{upload}}"), complete("copy", document((1, etag(BIG)))), *look("copy"),
    s3("PUT", f"{B}/flat", {"x-amz-copy-source": f"{B}/k"}), s3("GET", f"{B}/flat"),
    # -- aborted and overwritten
    *ready("gone"), s3("DELETE", f"{B}/gone?uploadId={{upload}}", user="member"), s3("DELETE", f"{B}/gone?uploadId={{upload}}"), s3("DELETE", f"{B}/gone?uploadId={{upload}}"), complete("gone", WHOLE), part("gone", 1, BIG), s3("GET", f"{B}/gone?uploadId={{upload}}"),
    s3("DELETE", f"{B}/gone?uploadId=junk"), s3("DELETE", f"{B}/gone?uploadId="), s3("PUT", f"{B}/k", body="plain"), *look("k"), s3("DELETE", f"{B}/k"), s3("HEAD", f"{B}/k"), s3("DELETE", f"{B}/meta"),
    Step("GET", f"{B}?format=json"), Step("GET", f"{B}/pic.png?multipart-manifest=get"), Step("HEAD", f"{B}/pic.png"), s3("DELETE", B),
]  # fmt: skip
