"""S3's service and buckets: names, creation, locations, versioning, the configurations that aren't there, and what can't be meant."""

from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, md5, s3
from test.side_by_side.table import Known, Step

FILTERS = {"s3api": ""}
WORDS = OWN_WORDS
KNOWN = (
    *OWN_KNOWN,
    Known("body", "MethodNotAllowed.*SERVICE", "NotImplemented", "what POST means is not known"),
    Known("body", "Uri>/a%00b", "InvalidURI", "the same"),
    Known("body", "is not valid", "LocationConstraint>", "the one that was sent is told"),
    Known("status", "^400$", "^200$", "a configuration without a location is legal with AWS"),
    Known("status", "^404$", "^20[04]$", "it was made then"),
    Known("status", "^400$", "^409$", "it was made then"),
    Known("header location", "^-$", ".", "the same"),
    Known("status", "^40[05]$", "^(501|405)$", "other texts for what there is not"),
    Known("status", "^501$", "^(40[05]|204)$", "it is there"),
    Known("body", "NotImplemented", "NotImplemented", "what is not supported is named"),
    Known("body", "NotImplemented", "MissingRequestBody|MethodNotAllowed", "it is there"),
    Known("body", "AccessControlPolicy", "AccessControlPolicy", "public-read is told"),
    Known("status", "^200$", "^404$", "a bucket without tags, or none at all"),
    Known("reason", "Not found", "Not Found", "the usual text"),
    Known("body", "ObjectLockConfigurationNotFound", "NoSuchBucket", "there is none"),
    Known("status", "^200$", "^501$", "what HEAD of that means is not known"),
    Known("status", "^200$", "^400$", "Content-MD5 is looked at"),
    Known("header x-account-", r"^\d+$", r"^\d+$", "buckets that the reference has refused"),
)  # fmt: skip

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def configuration(inner: str) -> str:
    return f"<CreateBucketConfiguration {XMLNS}>{inner}</CreateBucketConfiguration>"


def versioning(inner: str) -> str:
    return f"<VersioningConfiguration {XMLNS}>{inner}</VersioningConfiguration>"


NAMES = (
    "ab", "abc", "a" * 63, "a" * 64, "Abc", "a_b", "a-b", "a.b", "a..b", "a.-b", "a-.b", "-abc", "abc-", ".abc", "abc.", "1.2.3.4", "1.2.3.4.5", "a+b", "b%C3%BC", "%ff%fe%fd",
    "a%20b", "1abc", "xn--abc", "abc%2f", "a:bc", "...", "a%00b",
)  # fmt: skip
SUBRESOURCES = ("acl", "location", "logging", "versioning", "versions", "uploads", "tagging", "object-lock")
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
LOCATIONS = (
    "<LocationConstraint>us-east-1</LocationConstraint>", "<LocationConstraint>eu-west-1</LocationConstraint>", "<LocationConstraint/>",
    "<LocationConstraint>US-EAST-1</LocationConstraint>", "<LocationConstraint> us-east-1 </LocationConstraint>", "<Other/>",
    "<LocationConstraint>a</LocationConstraint><LocationConstraint>b</LocationConstraint>",
)  # fmt: skip

STEPS = [
    s3("GET", "/"), s3("HEAD", "/"), s3("POST", "/"), s3("PUT", "/"), s3("DELETE", "/"), s3("GET", "/?max-keys=1"), s3("GET", "/", user="other"), s3("GET", "/", user="member"),
    # -- making
    *(s3("PUT", f"/{name}") for name in NAMES), *(s3("HEAD", f"/{name}") for name in NAMES), *(s3("DELETE", f"/{name}") for name in NAMES),
    s3("PUT", "/first"), s3("PUT", "/first"), s3("PUT", "/first", user="other"), s3("PUT", "/second", user="member"), s3("GET", "/"),
    *(step for number, inner in enumerate(LOCATIONS) for step in (s3("PUT", f"/located{number}", body=configuration(inner)), s3("HEAD", f"/located{number}"), s3("DELETE", f"/located{number}"))),
    *(s3("PUT", "/shaped", body=body) for body in ("<a>", "junk", "<a/>", "<CreateBucketConfiguration/>", "x" * 20000, '<!DOCTYPE a [<!ENTITY b "c">]><CreateBucketConfiguration>&b;</CreateBucketConfiguration>', "\xff")),
    s3("DELETE", "/shaped"),
    *(step for acl in ("private", "public-read", "public-read-write", "authenticated-read", "log-delivery-write", "bucket-owner-read", "nonsense", "")
      for step in (s3("PUT", "/canned", {"x-amz-acl": acl}), s3("GET", "/canned?acl"), s3("DELETE", "/canned"))),
    s3("PUT", "/policies", {"X-Storage-Policy": "silver"}), s3("HEAD", "/policies"), s3("DELETE", "/policies"),
    # -- reading
    s3("HEAD", "/first"), s3("HEAD", "/none-such"), s3("GET", "/none-such"), s3("DELETE", "/none-such"), s3("HEAD", "/first", user="other"), s3("HEAD", "/first", user="member"),
    s3("GET", "/first", user="member"), s3("GET", "/first/"), s3("HEAD", "/first/"), s3("PUT", "/first/"), s3("GET", "//"), s3("GET", "//first"),
    *(s3("GET", f"/first?{word}") for word in SUBRESOURCES), *(s3("GET", f"/none-such?{word}") for word in SUBRESOURCES), *(s3("HEAD", f"/first?{word}") for word in SUBRESOURCES),
    *(s3(method, f"/first?{word}") for word in ("location", "logging", "object-lock", "tagging", "uploads") for method in ("PUT", "POST", "DELETE")),
    *(s3(method, "/first") for method in ("POST", "PATCH", "OPTIONS")),
    # -- versioning
    s3("GET", "/first?versioning"),
    *(step for body in (versioning("<Status>Enabled</Status>"), versioning("<Status>Suspended</Status>"), versioning("<Status>On</Status>"), versioning(""), versioning("<MfaDelete>Enabled</MfaDelete>"),
                        versioning("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>"), "<a/>", "", "junk")
      for step in (s3("PUT", "/first?versioning", body=body), s3("GET", "/first?versioning"))),
    s3("PUT", "/first?versioning", {"Content-MD5": md5("other")}, versioning("<Status>Enabled</Status>")), s3("PUT", "/none-such?versioning", body=versioning("<Status>Enabled</Status>")),
    s3("PUT", "/first?versioning", body=versioning("<Status>Enabled</Status>"), user="member"), s3("POST", "/first?versioning"), s3("DELETE", "/first?versioning"),
    # -- removing
    s3("PUT", "/full"), s3("PUT", "/full/o", body="x"), s3("DELETE", "/full"), s3("DELETE", "/full/o"), s3("DELETE", "/full"), s3("DELETE", "/full"), s3("HEAD", "/full"),
    s3("PUT", "/theirs"), s3("DELETE", "/theirs", user="member"), s3("DELETE", "/theirs", user="other"), s3("DELETE", "/theirs"),
    # -- seen by the native API
    Step("GET", "?format=json"), Step("GET", "/first?format=json"), Step("HEAD", "/first"), Step("PUT", "/native"), s3("HEAD", "/native"), s3("GET", "/native"), s3("DELETE", "/native"),
    Step("PUT", "/Not_A_Bucket"), s3("GET", "/"), s3("GET", "/Not_A_Bucket"), Step("PUT", "/parts%2Bsegments"), s3("GET", "/"), s3("GET", "/parts+segments"),
]  # fmt: skip
