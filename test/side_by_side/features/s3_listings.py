"""S3's listings, of both versions: prefixes, delimiters, pages, encodings, and numbers that are none."""

from urllib.parse import quote

from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, s3
from test.side_by_side.table import Step

FILTERS = {"s3api": ""}
WORDS = OWN_WORDS
KNOWN = OWN_KNOWN
B = "/listings-bucket"
KEYS = ("a", "b/1", "b/2", "b/c/3", "b/c/4", "c d", "d+e", "e%f", "f&g", "ünï", "z", "~", "b", "c/", "日本")
NUMBERS = ("0", "1", "2", "1000", "1001", "99999999999", "-1", "x", "", "1.5")
QUERIES = (
    "", "prefix=b", "prefix=b/", "prefix=b/&delimiter=/", "delimiter=/", "delimiter=c", "delimiter=//", "delimiter=", "prefix=", "prefix=none", "prefix=%C3%BC", "delimiter=%C3%BC", "prefix=c%20", "prefix=d%2B",
    "encoding-type=url", "encoding-type=url&delimiter=/", "encoding-type=junk", "encoding-type=url&prefix=%C3%BC", "encoding-type=url&prefix=c%20d", "prefix=%ff", "delimiter=%ff", "prefix=" + "p" * 1025,
    "prefix=a&prefix=b", "junk=1", "fetch-owner=true", "versionId=x",
)  # fmt: skip

STEPS = [
    s3("GET", B), s3("PUT", B), s3("GET", B), s3("GET", f"{B}?list-type=2"), *(s3("PUT", f"{B}/{quote(key)}", body=key.encode()) for key in KEYS),
    *(s3("GET", f"{B}{'?' if query else ''}{query}") for query in QUERIES), *(s3("GET", f"{B}?list-type=2{'&' if query else ''}{query}") for query in QUERIES), *(s3("GET", f"{B}?versions{'&' if query else ''}{query}") for query in QUERIES),
    *(s3("GET", f"{B}?{kind}max-keys={number}") for kind in ("", "list-type=2&", "versions&") for number in NUMBERS), *(s3("GET", f"{B}?list-type={kind}") for kind in ("1", "3", "x", "")),
    *(s3("GET", f"{B}?marker={marker}") for marker in ("a", "b/", "b/c/3", "zz", "%C3%BC", "", "%ff", "c%20d")), *(s3("GET", f"{B}?marker={marker}&delimiter=/&max-keys=2") for marker in ("a", "b", "b/", "b/c/3")),
    *(s3("GET", f"{B}?list-type=2&start-after={marker}") for marker in ("a", "b/", "b/c/3", "zz", "%C3%BC", "")),
    s3("GET", f"{B}?list-type=2&max-keys=2", keep={"next": "body:<NextContinuationToken>([^<]+)<"}), s3("GET", f"{B}?list-type=2&max-keys=2&continuation-token={{next}}"),
    s3("GET", f"{B}?list-type=2&max-keys=2&continuation-token={{next}}&start-after=zz"), *(s3("GET", f"{B}?list-type=2&continuation-token={token}") for token in ("junk", "", "%ff", "YQ%3D%3D")),
    s3("GET", f"{B}?list-type=2&delimiter=/&max-keys=2", keep={"next": "body:<NextContinuationToken>([^<]+)<"}), s3("GET", f"{B}?list-type=2&delimiter=/&max-keys=2&continuation-token={{next}}"),
    s3("GET", f"{B}?list-type=2&fetch-owner=true"), s3("GET", f"{B}?list-type=2&fetch-owner=false"), s3("GET", f"{B}?list-type=2&fetch-owner=junk"),
    *(s3("GET", f"{B}?versions&key-marker={marker}") for marker in ("a", "b/c/3", "zz")), s3("GET", f"{B}?versions&version-id-marker=x"), s3("GET", f"{B}?versions&key-marker=a&version-id-marker=null"),
    s3("GET", B, user="member"), s3("GET", B, user="other"), s3("HEAD", B), s3("GET", f"{B}/"), s3("GET", "/none-such?list-type=2"), s3("GET", "/none-such?versions"),
    Step("GET", f"{B}?format=json"), Step("GET", f"{B}?delimiter=/"), *(s3("DELETE", f"{B}/{quote(key)}") for key in KEYS), s3("GET", B), s3("DELETE", B),
]  # fmt: skip
