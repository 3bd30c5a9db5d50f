"""S3's signatures, of both versions, in headers and in the query: right ones, and everything that may be wrong with one."""

from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, presigned, s3, v2
from test.side_by_side.table import Known, Step

FILTERS = {"s3api": ""}
WORDS = OWN_WORDS
KNOWN = (
    *OWN_KNOWN,
    Known("body", "requires three components", "is not valid", "one text for headers that can't be taken apart"),
    Known("body", "valid Date or x-amz-date|Access Denied", "AccessDenied|InvalidAccessKeyId", "of two things that are wrong another one is told"),
    Known("body", "Bad Request", "Unknown API version", "no request of S3's: the native API says what it serves"),
    Known("status", "403", "200", "a token beside a signature means nothing"),
    Known("status", "200", "403", "a URL that is dated ahead is not valid yet"),
    Known("body", "SignatureProvided", "SignatureProvided", "another parameter, another signature"),
)  # fmt: skip
B = "/signed-bucket"
O = f"{B}/o"  # noqa: E741


def changed(**values: str | None):
    """Parts of the Authorization header in place of the right ones; None: without it."""

    def change(parts: dict[str, str]) -> None:
        for name, value in values.items():
            if value is None:
                del parts[name]
            else:
                parts[name] = value

    return {"change": change}


RAW = (
    "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 junk", "AWS4-HMAC-SHA256 Credential=a", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=b",
    "AWS4-HMAC-SHA512 Credential=a", "AWS", "AWS ", "AWS a", "AWS a:", "AWS :b", "AWS a:b", "AWS a:b:c", "aws a:b", "Basic YTpi", "Bearer x", "", "Digest x", "AWS signed:owner:AAAA",
)  # fmt: skip

STEPS = [
    s3("PUT", B), s3("PUT", O, body="signed"), s3("GET", O),
    # -- version 4, in headers
    *(s3("GET", O, signing=changed(**parts)) for parts in (
        {"Signature": "0" * 64}, {"Signature": ""}, {"Signature": None}, {"SignedHeaders": "host"}, {"SignedHeaders": ""}, {"SignedHeaders": None}, {"Credential": "a"}, {"Credential": None}, {"Credential": ""},
        {"Credential": "nobody/20260101/us-east-1/s3/aws4_request"}, {"Credential": "a/b/c/d/e"}, {"Credential": "a/20260101/us-east-1/s3/aws4"}, {"Signature": "ü"}, {"SignedHeaders": "host;x-amz-date"},
        {"Extra": "x"},
    )),
    *(s3("GET", O, signing={"region": region}) for region in ("eu-west-1", "US-EAST-1", "", "us")), *(s3("GET", O, signing={"service": service}) for service in ("ec2", "S3", "")),
    *(s3("GET", O, signing={"age": age}) for age in (600, 1000, 100000, -600, -1000, -100000)), *(s3("GET", O, unsigned={"x-amz-date": date}) for date in ("junk", "", "20260101T000000Z", "20260101", "Thu, 01 Jan 2026 00:00:00 GMT")),
    s3("GET", O, unsigned={"x-amz-date": None}), s3("GET", O, unsigned={"x-amz-content-sha256": None}), s3("GET", O, unsigned={"x-amz-content-sha256": "0" * 64}), s3("GET", O, unsigned={"Host": "example.com"}), s3("GET", O, payload="UNSIGNED-PAYLOAD"),
    *(s3("GET", O, unsigned={"Authorization": text}) for text in RAW), s3("GET", O, unsigned={"Authorization": None}), s3("GET", O, user=""), s3("GET", B, user=""),
    s3("GET", O, {"x-custom": "a   b"}), s3("GET", O, {"x-custom": " a "}), s3("GET", f"{O}?b=2&a=1"), s3("GET", f"{O}?a=%20&b=+"), s3("GET", f"{O}?a"), s3("GET", f"{O}?a="), s3("GET", f"{O}?a=1&a=0"), s3("GET", f"{O}?%C3%BC=%E2%98%83"),
    s3("GET", O, unsigned={"x-amz-meta-evil": "1"}), s3("PUT", O, body="x", unsigned={"x-amz-acl": "public-read"}), s3("GET", O, unsigned={"X-Auth-Token": "junk"}), s3("GET", O, unsigned={"X-Auth-Token": "{token_owner}"}),
    s3("GET", O, user="friend"), s3("GET", O, user="other"), s3("GET", O, user="admin"), s3("GET", f"{B}/./o"), s3("GET", f"{B}/../signed-bucket/o"), s3("GET", f"{B}//o"),
    # -- version 4, in the query
    presigned("GET", O), presigned("HEAD", O), presigned("PUT", f"{B}/p", body="by url"), presigned("GET", f"{B}/p"), presigned("DELETE", f"{B}/p"), presigned("GET", B), presigned("GET", "/"),
    *(presigned("GET", O, expires=expires) for expires in ("0", "1", "604800", "604801", "-1", "x", "", "1.5")), presigned("GET", O, expires="10", age=60), presigned("GET", O, expires="100", age=60), presigned("GET", O, age=-600),
    presigned("GET", O, age=-5000), presigned("GET", O, extra="&response-content-type=a%2Fb"), presigned("GET", O, tail="&response-content-type=a%2Fb"), presigned("GET", O, tail="0"), presigned("GET", O, tail="&x=y"),
    presigned("GET", O, region="eu-west-1"), presigned("GET", O, user="other"), presigned("PUT", f"{B}/h", headers={"x-amz-meta-a": "b"}, body="x"), presigned("GET", O, headers={"x-custom": "y"}),
    *(Step("GET", f"{O}?{query}", user="", whole=True) for query in (
        "X-Amz-Credential=a", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20260101/us-east-1/s3/aws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=100&X-Amz-SignedHeaders=host&X-Amz-Signature=b",
        "X-Amz-Algorithm=junk&X-Amz-Credential=a/20260101/us-east-1/s3/aws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=100&X-Amz-SignedHeaders=host&X-Amz-Signature=b", "AWSAccessKeyId=a", "AWSAccessKeyId=a&Signature=b",
        "AWSAccessKeyId=a&Signature=b&Expires=5", "AWSAccessKeyId=a&Signature=b&Expires=x", "AWSAccessKeyId=a&Signature=b&Expires=99999999999", "AWSAccessKeyId=&Signature=&Expires=", "Signature=a&Expires=1",
    )),
    # -- version 2
    v2("GET", O), v2("HEAD", O), v2("GET", B), v2("PUT", f"{B}/two", {"Content-Type": "a/b", "x-amz-meta-b": "c"}, "two"), v2("GET", f"{B}/two"), v2("DELETE", f"{B}/two"), v2("GET", f"{B}?location"), v2("GET", f"{B}?prefix=o", resource=B),
    v2("GET", f"{B}?prefix=o"), v2("GET", O, resource="/other"), v2("GET", O, user="other"), v2("GET", O, user="member"), v2("GET", f"{O}?response-content-type=a/b"), v2("GET", f"{B}?versioning"), v2("GET", f"{B}?acl"), v2("GET", "/"),
    v2("PUT", f"{B}/u", {"x-amz-meta-a": "b", "x-amz-acl": "private"}, "u"), v2("GET", f"{B}/none"), v2("GET", "/none-such"),
]  # fmt: skip
