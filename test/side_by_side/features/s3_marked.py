"""S3's versions: made, listed, read, copied, deleted and restored, with delete markers, in buckets that have them, had them and never did."""

from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, md5, s3
from test.side_by_side.table import Known, Step

FILTERS = {"s3api": ""}
WORDS = OWN_WORDS
KNOWN = (
    *OWN_KNOWN,
    Known("status", "^(200|204|404|403)$", "^(400|405)$", "what can't be a version's id is said to be none, a delete marker can't be read"),
    Known("header allow", "^-$", "DELETE", "the one thing that can be done with a delete marker"),
)  # fmt: skip
B = "/marked-bucket"
ENABLED = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
SUSPENDED = ENABLED.replace("Enabled", "Suspended")
VERSION = "header:x-amz-version-id"


def put(key: str, body: str, keep: str, headers: dict[str, str] | None = None) -> Step:
    return s3("PUT", f"{B}/{key}", headers, body, keep={keep: VERSION})


def many(*keys: tuple[str, str]) -> Step:
    body = "<Delete>" + "".join(f"<Object><Key>{key}</Key><VersionId>{version}</VersionId></Object>" for key, version in keys) + "</Delete>"  # fmt: skip
    return s3("POST", f"{B}?delete", {"x-amz-checksum-crc32": "AAAAAA=="} if "{" in body else {"Content-MD5": md5(body)}, body)  # fmt: skip


STEPS = [
    s3("PUT", B), s3("PUT", f"{B}/before", body="before"), s3("GET", f"{B}?versions"), s3("PUT", f"{B}?versioning", body=ENABLED), s3("GET", f"{B}?versions"), s3("HEAD", f"{B}/before"), s3("GET", f"{B}/before?versionId=null"),
    put("k", "one", "v1"), put("k", "two", "v2"), s3("GET", f"{B}/k"), *(s3(method, f"{B}/k?versionId={version}") for version in ("{v1}", "{v2}", "null", "junk", "", "1.2", "%ff") for method in ("GET", "HEAD")),
    s3("GET", f"{B}/k?versionId={{v1}}", {"Range": "bytes=0-0"}), s3("GET", f"{B}/k?versionId={{v1}}", {"If-None-Match": "*"}), s3("PUT", f"{B}/k?versionId={{v1}}", body="x"), s3("GET", f"{B}?versions"), s3("GET", f"{B}"),
    *(s3("GET", f"{B}?versions&max-keys=1&key-marker=k&version-id-marker={marker}") for marker in ("{v2}", "{v1}", "junk")), s3("GET", f"{B}?versions&max-keys=2"), s3("GET", f"{B}?versions&prefix=k"), s3("GET", f"{B}?versions&delimiter=e"),
    s3("DELETE", f"{B}/k", keep={"marker": VERSION}), s3("GET", f"{B}/k"), s3("HEAD", f"{B}/k"), s3("GET", f"{B}/k?versionId={{marker}}"), s3("HEAD", f"{B}/k?versionId={{marker}}"), s3("GET", f"{B}"), s3("GET", f"{B}?versions"), s3("DELETE", f"{B}/k"),
    s3("DELETE", f"{B}/never"), s3("GET", f"{B}?versions"), s3("DELETE", f"{B}/k?versionId={{marker}}"), s3("GET", f"{B}/k"), s3("DELETE", f"{B}/k?versionId=junk"), s3("DELETE", f"{B}/k?versionId=1.2"),
    put("k", "three", "v3"), s3("DELETE", f"{B}/k?versionId={{v3}}"), s3("GET", f"{B}/k"), s3("DELETE", f"{B}/k?versionId={{v2}}"), s3("GET", f"{B}/k"), s3("GET", f"{B}?versions&prefix=k"),
    put("c", "source one", "c1", {"x-amz-meta-n": "1"}), put("c", "source two", "c2"), *(s3("PUT", f"{B}/to", {"x-amz-copy-source": f"{B}/c{tail}"}) for tail in ("", "?versionId={c1}", "?versionId=junk", "?versionId=null")), s3("HEAD", f"{B}/to"),
    s3("PUT", f"{B}/c", {"x-amz-copy-source": f"{B}/c?versionId={{c1}}"}), s3("GET", f"{B}/c"), s3("GET", f"{B}?versions&prefix=c"), many(("c", "{c1}")), s3("DELETE", B), s3("GET", f"{B}?acl"), s3("GET", f"{B}/c?acl"),
    s3("PUT", f"{B}?versioning", body=SUSPENDED), s3("GET", f"{B}?versioning"), put("s", "null one", "s1"), put("s", "null two", "s2"), s3("GET", f"{B}?versions&prefix=s"), s3("GET", f"{B}/s?versionId=null"), s3("DELETE", f"{B}/s"), s3("GET", f"{B}/s"),
    s3("DELETE", f"{B}/s?versionId=null"), put("c", "null over versions", "s3"), s3("GET", f"{B}?versions&prefix=c"), s3("DELETE", f"{B}/before?versionId=null"), s3("GET", f"{B}/before"),
    s3("GET", f"{B}?versions", user="member"), s3("GET", f"{B}/c?versionId={{c2}}", user="member"), s3("DELETE", f"{B}/c?versionId={{c2}}", user="other"),
    s3("PUT", "/plain-marked"), s3("PUT", "/plain-marked/o", body="x"), *(s3(method, f"/plain-marked/o?versionId={version}") for version in ("null", "junk") for method in ("GET", "HEAD", "DELETE")), s3("GET", "/plain-marked?versions"),
    Step("GET", f"{B}?format=json"), Step("GET", f"{B}?versions&format=json"), Step("HEAD", f"{B}"),
]  # fmt: skip
