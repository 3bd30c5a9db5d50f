"""S3's objects: names, metadata, ranges, conditions, copies, many at once, bodies that are not what they say, and what can't be meant."""

import base64
import hashlib
import zlib
from urllib.parse import quote

from test.side_by_side.names import LONGEST, ODD, TOO_LONG
from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, UNSIGNED, md5, s3
from test.side_by_side.table import Known, Step

FILTERS = {"s3api": ""}
WORDS = OWN_WORDS
KNOWN = (
    *OWN_KNOWN,
    Known("status", "^200$", "^40[034]$", "unsigned headers, ranges of copies and words that are neither true nor false are refused, and so there is nothing"),
    Known("body", "ArgumentName>X-Delete", "ArgumentName>X-Delete", "the value is not told"),
    Known("body", "ArgumentName>", "ArgumentName>x-amz-copy-source", "the value is not told, names in small letters"),
    Known("body", "Missing required header", "must be UNSIGNED-PAYLOAD", "an empty header is a wrong one"),
    Known("status", "^411$", "^501$", "of two things that are wrong the other one is told"),
    Known("status", "^(412|304)$", "^200$", "a later condition does not count, by RFC 9110"),
    Known("status", "^404$", "^400$", "what can't be a version's id is said to be none"),
    Known("body", "DeleteResult|UserKeyMustBe", "DeleteResult|MalformedXML", "doubled keys once, versions named, documents strictly"),
    Known("header x-container-", r"^\d+$", r"^\d+$", "what was refused is not there"),
    Known("body", "last_modified", "last_modified", "what was refused is not there"),
    Known("header etag", ".", ".", "of a large object whose segments are others here"),
)  # fmt: skip
B = "/objects-bucket"
BODY = "0123456789"
ETAG = hashlib.md5(BODY.encode(), usedforsecurity=False).hexdigest()
CRC32 = base64.b64encode(zlib.crc32(BODY.encode()).to_bytes(4, "big")).decode()
SHA1 = base64.b64encode(hashlib.sha1(BODY.encode(), usedforsecurity=False).digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(BODY.encode()).digest()).decode()


def deletion(*keys: str, inner: str = "") -> str:
    return f"<Delete>{inner}" + "".join(f"<Object><Key>{key}</Key></Object>" for key in keys) + "</Delete>"


def many(body: str, headers: dict[str, str] | None = None, **more: object) -> Step:
    return s3("POST", f"{B}?delete", {"Content-MD5": md5(body), **(headers or {})}, body, **more)  # type: ignore[arg-type]


def put(key: str, headers: dict[str, str] | None = None, body: str = BODY, **more: object) -> Step:
    return s3("PUT", f"{B}/{key}", headers, body, **more)  # type: ignore[arg-type]


def get(key: str, headers: dict[str, str] | None = None, **more: object) -> Step:
    return s3("GET", f"{B}/{key}", headers, **more)  # type: ignore[arg-type]


def head(key: str, headers: dict[str, str] | None = None, **more: object) -> Step:
    return s3("HEAD", f"{B}/{key}", headers, **more)  # type: ignore[arg-type]


PAST, FUTURE = "Fri, 01 Jan 1999 00:00:00 GMT", "Fri, 01 Jan 2038 00:00:00 GMT"
META = (
    {"x-amz-meta-color": "red", "x-amz-meta-Size": "XL"}, {"x-amz-meta-a_b": "c"}, {"x-amz-meta-empty": ""}, {"x-amz-meta-long": "x" * 257}, {"x-amz-meta-" + "n" * 129: "x"},
    {"x-amz-meta-a(b": "c"}, {"x-amz-meta-a.b": "c"}, {"Content-Type": "text/x; charset=utf-8", "Cache-Control": "no-cache", "Content-Disposition": "attachment", "Content-Language": "de", "Expires": FUTURE},
    {"Content-Encoding": "gzip"}, {"X-Robots-Tag": "noindex"}, {"X-Delete-After": "100000"}, {"X-Delete-At": "5"}, {"X-Delete-At": "soon"}, {"Content-Type": ""},
    {"x-amz-storage-class": "STANDARD"}, {"x-amz-storage-class": "GLACIER_NOT"}, {"x-amz-storage-class": "standard"}, {"x-amz-server-side-encryption": "nonsense"}, {"x-amz-server-side-encryption": "AES256"},
    {"x-amz-server-side-encryption": "aws:kms"}, {"x-amz-mfa": "1"}, {"x-amz-metadata-directive": "NEITHER"}, {"x-amz-acl": "private"}, {"x-amz-acl": "nonsense"}, {"x-amz-acl": "public-read"},
    {"X-Copy-From": "objects-bucket/o"}, {"X-Symlink-Target": "objects-bucket/o"}, {"X-Object-Manifest": "objects-bucket/o"}, {"X-Static-Large-Object": "True"}, {"X-Object-Sysmeta-S3api-Etag": "x"},
)  # fmt: skip
CHECKSUMS = (
    {"Content-MD5": md5(BODY)}, {"Content-MD5": md5("other")}, {"Content-MD5": "junk"}, {"Content-MD5": "AAAA"}, {"Content-MD5": ""},
    {"x-amz-checksum-crc32": CRC32}, {"x-amz-checksum-sha1": SHA1}, {"x-amz-checksum-sha256": SHA256}, {"x-amz-checksum-crc32": "AAAAAA=="}, {"x-amz-checksum-crc32": "junk"}, {"x-amz-checksum-crc32": ""},
    {"x-amz-checksum-md4": "AAAA"}, {"x-amz-checksum-crc32": CRC32, "x-amz-checksum-sha1": SHA1}, {"x-amz-sdk-checksum-algorithm": "CRC32"}, {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": CRC32},
    {"x-amz-sdk-checksum-algorithm": "crc32", "x-amz-checksum-crc32": CRC32}, {"x-amz-trailer": "x-amz-checksum-crc32"}, {"x-amz-trailer": "junk"}, {"x-amz-checksum-crc32c": "AAAAAA=="}, {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="},
)  # fmt: skip
PAYLOADS = (
    "0" * 64,
    hashlib.sha256(BODY.encode()).hexdigest().upper(),
    UNSIGNED,
    "junk",
    "",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-OTHER",
    "f" * 63,
)
RANGES = (
    "bytes=0-4",
    "bytes=5-",
    "bytes=-3",
    "bytes=9-9",
    "bytes=10-",
    "bytes=100-200",
    "bytes=5-3",
    "junk",
    "bytes=0-1,3-4",
    "bytes=-0",
    "bytes=-100",
    "bytes=0-",
    "bytes=",
    "Bytes=0-1",
)
CONDITIONS = (
    {"If-Match": ETAG}, {"If-Match": f'"{ETAG}"'}, {"If-Match": "*"}, {"If-Match": '"other"'}, {"If-None-Match": f'"{ETAG}"'}, {"If-None-Match": "*"}, {"If-None-Match": '"other"'},
    {"If-Modified-Since": PAST}, {"If-Modified-Since": FUTURE}, {"If-Unmodified-Since": PAST}, {"If-Unmodified-Since": FUTURE}, {"If-Modified-Since": "junk"},
    {"If-Match": f'"{ETAG}"', "If-Unmodified-Since": PAST}, {"If-None-Match": '"other"', "If-Modified-Since": FUTURE}, {"If-Match": f'"{ETAG}", "b"'}, {"If-None-Match": f'"b", "{ETAG}"'},
)  # fmt: skip
SOURCES = (
    f"{B}/o", f"{B[1:]}/o", f"{B}/none", "/none-such/o", "objects-bucket", "/objects-bucket/", "", "/", f"{B}/o?versionId=null", f"{B}/o?versionId=junk", f"{B}/o?x=y", "%2Fobjects-bucket%2Fo", f"{B}/%FF", f"{B}//o",
)  # fmt: skip
RESPONSES = (
    "content-type=a/b",
    "content-language=fr",
    "expires=" + quote(FUTURE),
    "cache-control=max-age%3D1",
    "content-disposition=inline",
    "content-encoding=br",
    "junk=x",
    "content-type=",
)

STEPS = [
    s3("PUT", B), put("o"), get("o"), head("o"), get("none"), head("none"), s3("DELETE", f"{B}/none"), s3("PUT", "/none-such/o", body="x"), s3("GET", "/none-such/o"), s3("HEAD", "/none-such/o"),
    s3("DELETE", "/none-such/o"), put("empty", body=""), get("empty"), head("empty"), *(s3(method, f"{B}/o") for method in ("POST", "PATCH", "OPTIONS", "COPY")),
    *(s3(method, f"{B}/o", body="x" if method == "PUT" else "", user=user) for user in ("member", "other") for method in ("GET", "HEAD", "PUT", "DELETE")),
    # -- names
    *(put(quote(key, safe="/~")) for key in ODD), *(get(quote(key, safe="/~")) for key in ODD), s3("GET", B), s3("GET", f"{B}?encoding-type=url"),
    *(s3("DELETE", f"{B}/{quote(key, safe='/~')}") for key in ODD), put(quote(LONGEST)), head(quote(LONGEST)), s3("DELETE", f"{B}/{quote(LONGEST)}"), put(quote(TOO_LONG)), get(quote(TOO_LONG)),
    put("%ff"), get("%ff"), put("a%00b"), get("a%00b"), put("%F0%9F%98%80%20x"), s3("DELETE", f"{B}/%F0%9F%98%80%20x"),
    # -- metadata and headers
    *(step for number, headers in enumerate(META) for step in (put(f"m{number}", headers), head(f"m{number}"), s3("DELETE", f"{B}/m{number}"))),
    *(put("headers", {}, unsigned=headers) for headers in ({"x-amz-acl": "private"}, {"x-amz-meta-a": "b"}, {"x-amz-copy-source": f"{B}/o"}, {"x-amz-storage-class": "STANDARD"}, {"Cache-Control": "no-cache"}, {"X-Amz-User-Agent": "x"})),
    *(get("o", {"x-amz-meta-x": "y"}) for _ in range(1)), *(get(f"o?response-{query}") for query in RESPONSES), *(head(f"o?response-{query}") for query in RESPONSES),
    # -- checksums and bodies
    *(step for headers in CHECKSUMS for step in (put("sum", headers), head("sum"))), *(put("payload", payload=payload) for payload in PAYLOADS), head("payload"),
    s3("PUT", f"{B}/length", body=BODY, unsigned={"Content-Length": "-5"}), s3("PUT", f"{B}/length", body="", unsigned={"Content-Length": None}), s3("PUT", f"{B}/length", body=BODY, unsigned={"Content-Length": "x"}),
    # -- ranges and conditions
    *(get("o", {"Range": value}) for value in RANGES), *(head("o", {"Range": value}) for value in RANGES), get("empty", {"Range": "bytes=0-0"}), get("empty", {"Range": "bytes=-1"}),
    *(get("o", headers) for headers in CONDITIONS), *(head("o", headers) for headers in CONDITIONS), *(get("none", headers) for headers in CONDITIONS[:6]),
    put("once", {"If-None-Match": "*"}), put("once", {"If-None-Match": "*"}), s3("DELETE", f"{B}/once"), put("once", {"If-None-Match": "*"}), get("o?partNumber=1"), get("o?partNumber=2"), head("o?partNumber=1"), get("o?partNumber=0"),
    get("o?partNumber=x"), get("o?versionId=null"), get("o?versionId=junk"), head("o?versionId=null"),
    # -- copies
    *(put(f"copy{number}", {"x-amz-copy-source": source}, "") for number, source in enumerate(SOURCES)), head("copy0"), get("copy1"),
    put("source", {"x-amz-meta-color": "red", "Content-Type": "text/red", "Cache-Control": "no-cache"}),
    *(step for number, headers in enumerate((
        {}, {"x-amz-metadata-directive": "COPY", "x-amz-meta-color": "blue"}, {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-color": "blue", "Content-Type": "text/blue"},
        {"x-amz-metadata-directive": "REPLACE"}, {"Range": "bytes=0-1"}, {"x-amz-acl": "private"},
        *({f"x-amz-copy-source-{name}": value} for name, value in (
            ("if-match", ETAG), ("if-match", "other"), ("if-none-match", ETAG), ("if-none-match", "other"), ("if-modified-since", PAST), ("if-modified-since", FUTURE),
            ("if-unmodified-since", PAST), ("if-unmodified-since", FUTURE), ("if-match", f'"{ETAG}"'), ("range", "bytes=0-1"),
        )),
    )) for step in (put(f"to{number}", {"x-amz-copy-source": f"{B}/source", **headers}, ""), head(f"to{number}"))),
    put("source", {"x-amz-copy-source": f"{B}/source"}, ""), put("source", {"x-amz-copy-source": f"{B}/source", "x-amz-metadata-directive": "REPLACE", "x-amz-meta-new": "1"}, ""), head("source"),
    put("body", {"x-amz-copy-source": f"{B}/source"}, "body"), s3("PUT", "/none-such/x", {"x-amz-copy-source": f"{B}/source"}), put("theirs", {"x-amz-copy-source": f"{B}/source"}, "", user="member"),
    # -- many at once
    *(put(f"d{number}") for number in range(6)), many(deletion("d0", "d1")), many(deletion("d2", "none")), many(deletion("d3", inner="<Quiet>true</Quiet>")), many(deletion("d4", inner="<Quiet>false</Quiet>")),
    many(deletion("d5", inner="<Quiet>junk</Quiet>")), many(deletion()), many(deletion("")), many(deletion("x", "x")), many("<Delete/>"), many("junk"), many("<Other/>"), many(deletion("&lt;&amp;", "ü")),
    many('<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>'), many(deletion(*(f"k{number}" for number in range(1001)))), many(deletion(*(f"k{number}" for number in range(100)))),
    s3("POST", f"{B}?delete", body=deletion("o")), s3("POST", f"{B}?delete", {"Content-MD5": md5("other")}, deletion("o")), s3("POST", f"{B}?delete", {"Content-MD5": md5("")}, ""),
    s3("POST", "/none-such?delete", {"Content-MD5": md5(deletion("o"))}, deletion("o")), many(deletion("o"), user="member"), many(deletion("o"), user="other"), many("<Delete><Object><Key>o</Key><VersionId>null</VersionId></Object></Delete>"),
    many("<Delete><Object><VersionId>x</VersionId></Object></Delete>"), many("<Delete><Object/></Delete>"), many(deletion("k" * 1025)), s3("GET", f"{B}?delete"), s3("DELETE", f"{B}?delete"),
    # -- the native side of it
    Step("GET", f"{B}?format=json"), Step("HEAD", f"{B}/source"), Step("PUT", f"{B}/native", {"X-Object-Meta-Color": "green", "X-Object-Meta-A_b": "c"}, body="native"), get("native"), head("native"),
    Step("PUT", f"{B}/dlo", {"X-Object-Manifest": "objects-bucket/d"}), head("dlo"), Step("POST", f"{B}/native", {"X-Object-Meta-Color": "ünï"}), head("native"),
]  # fmt: skip
