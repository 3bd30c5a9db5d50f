"""Signed URLs: digests and forms of signatures, keys, times, networks, prefixes, methods, what headers and queries do, what a browser does with it."""

import base64
import hashlib
import hmac
import json
from urllib.parse import quote, unquote, urlencode

from test.side_by_side.table import Step

ROOT = "/v1/AUTH_tempurl"
EXPIRES = 1900000000
DIGITS = "１９０００"


def sign(text: str, key: str = "mykey", digest: str = "sha256", form: str = "hex") -> str:
    made = hmac.new(key.encode(), text.encode(), getattr(hashlib, digest))
    if form in ("hex", "HEX"):
        return made.hexdigest() if form == "hex" else made.hexdigest().upper()
    encode = base64.b64encode if form == "base64" else base64.urlsafe_b64encode
    text = encode(made.digest()).decode()
    return f"{digest}:{text.rstrip('=') if form == 'unpadded' else text}"


def signed(
    path: str = "/c/o", method: str = "GET", headers=None, body: bytes = b"", *, root=ROOT, by=None, expires=EXPIRES, number=None, key="mykey",
    digest="sha256", form="hex", prefix=None, ip=None, sig=None, more="", without=(), user="", meant=None, differs=None,
) -> Step:  # fmt: skip
    """A request for `path` with a signature for it (or for `meant`); by: the method that is signed, number: the time that is."""
    what = f"{root}{unquote(path) if meant is None else meant}"
    if prefix is not None:
        what = f"prefix:{root}/{unquote(path).split('/')[1]}/{prefix}"
    if sig is None:
        text = f"{by or method}\n{expires if number is None else number}\n{what}"
        sig = sign(f"ip={ip}\n{text}" if ip else text, key, digest, form)
    query = {
        "temp_url_sig": sig,
        "temp_url_expires": expires,
        "temp_url_prefix": prefix,
        "temp_url_ip_range": ip,
    }
    kept = {name: value for name, value in query.items() if value is not None and name not in without}
    target = f"{root}{path}?{urlencode(kept)}{more}"
    return Step(method, target, headers or {}, body, user, whole=True, differs=differs or {})


PUBLIC = {"Content-Type": "text/plain", "X-Object-Meta-Foo": "bar", "X-Object-Meta-Public-X": "pub"}
HTTP_DATE = {"header expires": "a year of five digits is no HTTP date"}
LINKS = {"body": "links keep the network that was signed"}

STEPS = [
    Step("POST", "", {"X-Account-Meta-Temp-URL-Key": "mykey", "X-Account-Meta-Temp-URL-Key-2": "mykey2"}),
    *(Step("PUT", path) for path in ("/c", "/d", "/site")),
    Step("POST", "/c", {"X-Container-Meta-Temp-URL-Key": "ckey", "X-Container-Meta-Temp-URL-Key-2": "ckey2"}),
    Step("POST", "/site", {"X-Container-Meta-Temp-URL-Key": "ckey", "X-Container-Meta-Web-Listings": "true"}),
    *(Step("PUT", f"/c/{quote(name)}", PUBLIC, b"0123456789") for name in ("o", "pre/a", "pre/b c", "sp ace", 'ü\n"x', "trail/")),
    Step("PUT", "/c/kept", {"Content-Disposition": "inline; filename=kept"}, b"0123456789"),
    Step("PUT", "/d/secret", body=b"secret"),
    *(Step("PUT", f"/site/{name}", {"Content-Type": "text/plain"}, b"x") for name in ("d/x.txt", "d/sub/y.txt", "index.html")),
    # -- signatures and keys
    *(signed(digest=digest, form=form, method=method, by="GET") for digest in ("sha1", "sha256", "sha512", "md5")
      for form in ("hex", "HEX", "base64", "url", "unpadded") for method in ("GET", "HEAD")),
    *(signed(key=key) for key in ("mykey", "mykey2", "ckey", "ckey2", "nokey", "")),
    *(signed("/d/secret", key=key) for key in ("mykey", "ckey")),
    *(signed(sig=sig) for sig in ("", "zz", "ab" * 19, "ab" * 32, "ab" * 64, ":", "md5:AAAA", "sha256:***", "sha256:QUJD", "sha512:" + sign("x", form="base64")[7:], "é" * 64, "x" * 500)),
    signed(without=("temp_url_sig",)), signed(without=("temp_url_expires",)), signed(without=("temp_url_sig", "temp_url_expires")),
    signed(more="&temp_url_sig=zz"), signed(more="&temp_url_expires=1"), signed(more=";inline"),
    signed(user="owner"), signed(user="owner", sig="ab" * 32), signed(headers={"X-Auth-Token": "AUTH_tkbad"}),
    # -- times
    *(signed(expires=text, number=number, method="HEAD") for text, number in (
        ("2030-03-17T17:46:40Z", EXPIRES), ("2030-3-17T17:46:40Z", EXPIRES), ("2030-03-17T17:46:40", EXPIRES), ("2030-03-17 17:46:40Z", EXPIRES),
        ("2030-03-17T17:46:40+00:00", EXPIRES), ("1900000000.5", EXPIRES), (" 1900000000", EXPIRES), ("+1900000000", EXPIRES), ("1_900_000_000", EXPIRES),
        ("0", 0), ("-5", -5), ("abc", EXPIRES), ("", EXPIRES), ("1e10", EXPIRES), (DIGITS, 19000), ("5", 5), ("253402300799", 253402300799),
    )),
    *(signed(expires=number, differs=HTTP_DATE) for number in (253402300800, 9999999999999)),
    signed(expires=10**20, differs={"*": "500 in the reference"}),
    # -- methods
    *(signed(method="HEAD", by=method) for method in ("HEAD", "GET", "PUT", "POST", "DELETE")),
    *(signed(by=method) for method in ("HEAD", "PUT", "get")),
    signed("/c/new", "PUT", {"X-Object-Meta-A": "b", "X-Timestamp": "1400000000"}, b"abc"), signed("/c/new", "POST", {"X-Object-Meta-C": "d"}), signed("/c/new"),
    Step("HEAD", "/c/new"), signed("/c/new", "DELETE"), signed("/c/new"), signed("/c/new", "HEAD"),
    signed(method="OPTIONS"), signed(method="OPTIONS", sig="zz"), signed(method="COPY", headers={"Destination": "c/copied"}), signed(method="UPDATE"), signed(method="FOO"),
    # -- what would lead elsewhere
    *(signed("/c/escape", method, {name: "d/secret"}) for name in ("X-Object-Manifest", "X-Symlink-Target", "x-copy-from") for method in ("PUT", "POST", "DELETE", "GET", "HEAD")),
    signed("/c/text", "PUT", body=json.dumps([{"path": "/d/secret"}]).encode(), more="&multipart-manifest=put"), signed("/c/text"),
    # -- paths
    signed(root="/v1.0/AUTH_tempurl"), signed(root="/v1/AUTH_nobody"), signed(root="/v2/AUTH_tempurl"),
    *(signed(path) for path in ("", "/", "/c", "/c/", "/c//", "/c//x", "/none/o", "/c/o%3Fx=1", "/c/%00", "/c/none")),
    signed("/c/%FF", meant="/c/ÿ", differs={"*": "500 in the reference"}),
    Step("GET", "/info?temp_url_sig=x&temp_url_expires=1", user="", whole=True), Step("GET", "/auth/v1.0?temp_url_sig=x", user="", whole=True),
    *(signed(path, method, body=b"") for path in ("/new", "/c") for method in ("PUT", "POST", "DELETE")),
    # -- networks
    *(signed(ip=ip) for ip in ("127.0.0.1", "127.0.0.0/8", "127.0.0.1/8", "10.0.0.0/8", "::1", "127.0.0", "0.0.0.0/0", "127.0.0.1/32", "127.0.0.0/255.0.0.0", "x")),
    signed(ip="10.0.0.0/8", headers={"X-Forwarded-For": "10.0.0.1"}), signed(more="&temp_url_ip_range=127.0.0.0/8"), signed(more="&temp_url_ip_range="),
    # -- prefixes
    *(signed("/c/pre/a", method, prefix=prefix) for prefix in ("pre", "pre/", "pre/a", "", "p%72e", "zzz") for method in ("GET", "HEAD")),
    *(signed("/c/pre/n", method, prefix="pre", body=b"x" if method == "PUT" else b"") for method in ("PUT", "POST", "DELETE")),
    signed("/c/pre/a", "HEAD", prefix="pre", by="GET"), signed("/c/pre/a", more="&temp_url_prefix=pre"),
    *(signed(path, method, prefix=prefix) for path in ("/c", "/c/", "/site", "/site/") for prefix in ("", "d") for method in ("GET", "HEAD", "PUT")),
    # -- listings
    signed("/site/", prefix="", more="&inline"), signed("/site/", prefix="", ip="127.0.0.0/8", differs=LINKS), signed("/none", prefix=""),
    *(signed(f"/site/{path}", prefix=prefix, key="ckey") for path in ("d/", "d", "d/sub/", "d/sub", "d/x.txt", "none/", "none") for prefix in ("d/", "d", "", "n")),
    signed("/site/d/"), signed("/site/d"), signed("/site/d/", method="HEAD"),
    # -- what a browser does with it
    *(signed(more=more) for more in (
        "&filename=foo.txt", "&filename=", "&inline", "&inline=", "&inline=1", "&inline&filename=foo%20b%22ar%C3%BC%0A.txt", "&filename=a/b%0D%0Ac;%25d.txt",
        "&filename=one&filename=two", "&filename=%FF", "&inline&inline=x", "&filename=" + "x" * 300,
    )),
    *(signed(path, "HEAD") for path in ("/c/sp%20ace", "/c/pre/b%20c", "/c/%C3%BC%0A%22x", "/c/trail/", "/c/kept")),
    signed("/c/kept", more="&inline"), signed("/c/kept", more="&filename=x"),
    # -- headers
    signed(headers={"Range": "bytes=2-4"}), signed(headers={"Range": "bytes=20-"}), signed(headers={"Range": "bytes=0-1,3-4"}), signed(headers={"If-None-Match": "*"}),
    signed(headers={"If-Match": "x"}), signed(headers={"X-Open-Expired": "true"}), signed(headers={"Origin": "http://x"}), signed(headers={"Origin": "http://x"}, sig="zz"),
    signed(more="&multipart-manifest=get&symlink=get&version-id=1&format=json"),
]  # fmt: skip
