"""Listings of a container: markers, prefixes, delimiters, paths, formats, and what is not a query."""

from itertools import product

from test.side_by_side.names import quoted
from test.side_by_side.table import Step

NAMES = (
    "a", "a/", "a/b", "a/b/", "a/b/c", "a/b/d", "a0", "aa", "b//c", "b/c", "c-d-e", "c-d-f", "c-x", "d e", "ä", "ä/ö", "日/本/語", "z%2Fz", "z&z", "z<z>", "z\nz", "photos/1", "photos/10", "photos/2",
)  # fmt: skip
QUERIES = (
    "limit=3", "limit=0", "limit=10001", "limit=10000", "limit=-1", "limit=x", "limit=3.5", "limit=+3", "limit=%203", "limit=", "marker=a/b", "marker=a/b/", "marker=zzzz",
    "marker=%C3%A4", "end_marker=b", "marker=a&end_marker=c", "marker=c&end_marker=a", "marker=", "end_marker=", "prefix=a", "prefix=a/", "prefix=a/b", "prefix=none", "prefix=%C3%A4", "prefix=/",
    "delimiter=/", "delimiter=-", "delimiter=//", "delimiter=d-", "delimiter=%E6%97%A5", "delimiter=", "prefix=a/&delimiter=/", "prefix=a&delimiter=/", "prefix=c-&delimiter=-",
    "prefix=b/&delimiter=/", "delimiter=/&limit=2", "delimiter=/&marker=a/", "delimiter=/&marker=a/b&limit=3", "delimiter=/&end_marker=c", "path=", "path=a", "path=a/", "path=/", "path=photos",
    "path=none", "path=a/b", "path=a&delimiter=/", "path=a&prefix=a/", "path=a&limit=1", "reverse=true", "reverse=1", "reverse=false", "reverse=", "reverse=true&limit=3", "reverse=true&marker=c",
    "reverse=true&marker=c&end_marker=a", "reverse=true&delimiter=/", "reverse=true&delimiter=/&marker=b", "reverse=true&prefix=a&delimiter=/", "delimiter=%00", "prefix=%ff", "marker=%00",
    "delimiter=%ff", "delimiter=/&delimiter=-", "states=listing", "unknown=x", "versions", "versions=false", "limit=3&limit=5", "prefix=a%2Fb", "prefix=d+e", "prefix=d%20e", "prefix=z%252F",
)  # fmt: skip
# What a query is answered differently with, and why.
KNOWN = {"path=": {"body": "a name that sorts right behind a pseudo-directory is listed"}}
ACCEPTS = (
    "application/json",
    "text/xml",
    "application/xml;q=0.9, text/plain;q=0.1",
    "image/*",
    "*/*;q=0.1",
    "x",
    "application/json, */*",
)

STEPS = [
    Step("PUT", "/c"),
    *(Step("PUT", f"/c/{quoted(name)}", {"Content-Type": "text/plain; a=\"<&>\""}, name.replace("{", "")) for name in NAMES),
    Step("GET", "/c"),
    Step("HEAD", "/c"),
    *(Step("GET", f"/c?{query}{'&' * bool(shape)}{shape}", differs=KNOWN.get(query, {})) for query, shape in product(QUERIES, ("", "format=json"))),
    *(Step("GET", f"/c?{query}&format=xml", differs=KNOWN.get(query, {})) for query in QUERIES[::3]),
    *(Step("GET", f"/c?{query}") for query in ("format=bogus", "format=%ff", "format=", "format=XML", "format=json&format=xml", "format=application/json")),
    *(Step(method, "/c", {"Accept": accept}) for accept in ACCEPTS for method in ("GET", "HEAD")),
    *(Step("HEAD", f"/c?{query}") for query in ("format=json", "format=xml", "limit=1", "limit=10001", "delimiter=/")),
    Step("GET", "/c/?format=json"),
    Step("GET", "/c/", {"Accept": "application/json"}),
    Step("GET", "/c?format=json", {"Range": "bytes=0-10"}),
    Step("GET", "/c?format=json", {"If-None-Match": "*"}),
    Step("GET", "/c?format=json", {"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}),
    Step("GET", "/c", {"X-Newest": "true"}),
    Step("GET", "/none?format=json"),
    Step("GET", "/none?limit=10001"),
    Step("GET", "/c?limit=10001", user="", differs={"*": "the limit is looked at before who asks, as in the reference without staticweb"}),
    Step("PUT", "/c/late", body=b"1"),
    Step("GET", "/c?prefix=late&format=json"),
    Step("POST", "/c/late", {"Content-Type": "image/png"}),
    Step("GET", "/c?prefix=late&format=json"),
    Step("DELETE", "/c/late"),
    Step("GET", "/c?prefix=late&format=json"),
    Step("GET", "/c?prefix=late&format=xml"),
    Step("GET", "/c?prefix=late"),
    Step("HEAD", "/c"),
]  # fmt: skip
