"""Signed forms: signatures, paths, fields, files, redirects, and bodies that are no forms."""

from urllib.parse import quote, unquote

from test.side_by_side.features.tempurl import EXPIRES, sign
from test.side_by_side.table import Step

ROOT = "/v1/AUTH_formpost"
END = b"--XbX--\r\n"
TYPE = "multipart/form-data; boundary=XbX"
HOME = "http://example.com/done"


def part(value: bytes | str, disposition: str, more: str = "") -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return f"--XbX\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode() + data + b"\r\n"


def file(name: str = "f.txt", data: bytes = b"hello", more: str = "Content-Type: text/x\r\n") -> bytes:
    return part(data, f'name="f"; filename="{name}"', more)


def form(
    path: str = "/c/pre_", files=None, *, sig=None, key="mykey", digest="sha256", form="hex", redirect="", size="1000", count="10", expires=str(EXPIRES),
    without=(), more=(), late=(), end=END, raw=None, kind=TYPE, headers=None, method="POST", user="", root=ROOT, differs=None,
) -> Step:  # fmt: skip
    """A form with a signature for it; files: their parts; more and late: fields before and behind them."""
    text = "\n".join([root + unquote(path), redirect, size, count, expires])
    fields = {"redirect": redirect, "max_file_size": size, "max_file_count": count, "expires": expires}
    fields["signature"] = sign(text, key, digest, form) if sig is None else sig
    pairs = [pair for pair in fields.items() if pair[0] not in without]
    body = b"".join(part(value, f'name="{name}"') for name, value in [*pairs, *more])
    body += (
        b"".join([file()] if files is None else files)
        + b"".join(part(value, f'name="{name}"') for name, value in late)
        + end
    )
    return Step(
        method,
        root + path,
        {"Content-Type": kind, **(headers or {})},
        body if raw is None else raw,
        user,
        whole=True,
        differs=differs or {},
    )


def stored(*names: str) -> list[Step]:
    """What became of files."""
    return [
        step
        for name in names
        for step in (Step("HEAD", f"/c/{quote(name)}"), Step("DELETE", f"/c/{quote(name)}"))
    ]


BROKEN = {"*": "a form that breaks off stores nothing of the file that it was in"}
NO_FORM = {"*": "malformed parts are named as such"}
UNSIGNED = {"*": "a redirect that is not signed is not followed"}

STEPS = [
    Step("POST", "", {"X-Account-Meta-Temp-URL-Key": "mykey", "X-Account-Meta-Temp-URL-Key-2": "mykey2"}),
    Step("PUT", "/c", {"X-Container-Meta-Temp-URL-Key": "ckey", "X-Container-Meta-Access-Control-Allow-Origin": "*"}),
    Step("PUT", "/d"),
    form(), *stored("pre_f.txt"),
    *(form(digest=digest, form=kind) for digest in ("sha1", "sha256", "sha512", "md5") for kind in ("hex", "HEX", "base64", "url", "unpadded")),
    *(form(key=key) for key in ("mykey2", "ckey", "nokey")),
    form("/d/x", key="ckey"), form("/d/x"),
    *(form(sig=sig) for sig in ("", "ab" * 32, "zz")), form(without=("signature",)),
    # -- paths
    *(form(path) for path in ("/c", "/c/", "", "/none/p", "/c/%C3%BC%20%3F/")), *stored("f.txt", "ü ?/f.txt"),
    form(root="/v1.0/AUTH_formpost"), form(root="/v2/AUTH_formpost"), form(root="/v1/AUTH_nobody"), form(root="", path="/"),
    # -- redirects
    *(form(redirect=url) for url in (HOME, HOME + "?a=b&c=d", "/rel", "javascript:alert(1)", HOME + "?" + "r" * 3900)),
    form(redirect='http://e/"><script>', differs={"body": "markup in a redirect is escaped"}),
    form(redirect="http://e/ü ä", differs={"header location": "it stays in UTF-8"}),
    form(redirect=HOME + "#top", differs={"*": "the status stands in front of the fragment"}),
    form(redirect=HOME + "--", differs={"*": "dashes at the end are kept"}),
    form(redirect="http://e/\r\nX-Evil: 1", differs={"*": "a redirect is one line"}),
    form(redirect=HOME, sig="ab" * 32), form(redirect=HOME, expires="5"), form(redirect=HOME, files=[]), form(redirect=HOME, count="1", files=[file("a"), file("b")]),
    form(redirect=HOME, size="3"), form("/none/p", redirect=HOME),
    form(redirect=HOME, files=[], sig="00", differs=UNSIGNED), form(late=[("redirect", HOME)], differs=UNSIGNED),
    # -- fields
    form(expires="5"), form(without=("expires",)), form(without=("max_file_size",)), form(without=("max_file_count",)), form(without=("redirect",)),
    form(size="0", without=("max_file_size",), files=[file("e", b"")]), form(count="0", without=("max_file_count",)), form(expires="0", without=("expires",)),
    *(form(size=size) for size in ("x", "-1", "10.5", " 1000", "5", "4", "9" * 40)), *(form(count=count) for count in ("x", "0", "-1", "1")),
    *(form(expires=text) for text in ("x", "2030-03-17T17:46:40Z", "9" * 40, "1_900_000_000")),
    form(more=[("x_delete_at", "2000000000")]), *stored("pre_f.txt"), form(more=[("x_delete_after", "86400")]), form(more=[("X_Delete_After", "86400")]),
    *(form(more=[("x_delete_at", text)]) for text in ("x", "5", "", "2000000000\r\n")), *(form(more=[("x_delete_after", text)]) for text in ("2 days", "-5")),
    form(more=[("x_delete_at", "2000000000"), ("x_delete_after", "100")]), form(more=[("x_delete_at", "5"), ("x_delete_after", "100")]),
    form(more=[("content-type", "image/png")]), *stored("pre_f.txt"), form(more=[("Content-Encoding", "gzip")]), *stored("pre_f.txt"),
    form(files=[file(more="")]), *stored("pre_f.txt"), form(files=[file(more="Content-Type: a/b; c=d\r\nContent-Encoding: br\r\nX-Object-Meta-A: b\r\n")]), *stored("pre_f.txt"),
    form(late=[("content-type", "x/y")]), form(without=("signature",), late=[("signature", "x")]), form(more=[("expires", "5")]), form(more=[("junk", "x" * 9000)]),
    # -- files
    form(files=[file("a", b"one"), file("b", b"two")]), *stored("pre_a", "pre_b"), form(count="1", files=[file("a", b"one"), file("b", b"two")]), *stored("pre_a", "pre_b"),
    form(size="3", files=[file("a", b"one"), file("b", b"four")]), *stored("pre_a", "pre_b"), form(files=[]), form(files=[file("", b"")]), form(count="1", files=[file("", b""), file("g")]),
    *(form(files=[file(name)]) for name in ("../../x", "C:\\dir\\f", 'a\\"b', "a;b=c", "%22", "n" * 1100, "ü ä", "a\0b", "tr ", "a\tb")),
    Step("GET", "/c"), *stored("pre_../../x", "pre_C:\\dir\\f", 'pre_a\\"b', "pre_a;b=c", "pre_%22", "pre_ü ä", "pre_tr ", "pre_a\tb"),
    form(size="1000000", files=[file("large", b"z" * 300_000)]), *stored("pre_large"), form(size="200000", files=[file("large", b"z" * 300_000)]), *stored("pre_large"),
    form(files=[file("like", b"a\r\n--XbY\r\n--Xb\r\n-")]), *stored("pre_like"), form(files=[file("dashes", b"--\r\n--")]), *stored("pre_dashes"),
    *(form(files=[f'--XbX\r\nContent-Disposition: {text}\r\n\r\nv\r\n'.encode()]) for text in (
        "form-data; name=f; filename=bare.txt", 'form-data;name="f";filename="tight"', 'form-data; filename="alone"', 'form-data; name="f"; filename="one"; filename="two"',
        "form-data; name=\"f\"; filename=\"plain\"; filename*=UTF-8''star", "form-data; name=f; filename=a b", 'attachment; filename="a"', 'FORM-DATA; FILENAME="a"',
        'form-data; name="f"; filename="open', "form-data", "form-data; filename*=UTF-8''x",
    )),
    Step("GET", "/c"),
    # -- bodies
    *(form(raw=raw) for raw in (b"junk\r\n--XbX\r\n", b"--XbY\r\n", END)), form(raw=b"--XbX", differs=NO_FORM),
    form(raw=b"--XbX\r\nnonsense\r\n\r\nv\r\n" + END, differs=NO_FORM), form(raw=b"--XbX\r\nX: " + b"y" * 100_000 + b"\r\n\r\nv\r\n" + END, differs=NO_FORM),
    form(end=b"", differs=BROKEN), Step("DELETE", "/c/pre_f.txt"), form(end=b"--XbX--"), form(end=END + b"epilogue"),
    *(form(kind=kind) for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=zzz", 'multipart/form-data; boundary="XbX"',
      "multipart/form-data; charset=utf-8; boundary=XbX", "Multipart/Form-Data; Boundary=XbX", "multipart/mixed; boundary=XbX", "text/plain")),
    # -- headers and methods
    form(user="owner"), form(method="PUT"), form(headers={"Origin": "http://x"}), form(headers={"ETag": "abc"}), form(headers={"If-None-Match": "*"}), form(headers={"X-Object-Meta-A": "b"}),
    Step("HEAD", "/c/pre_f.txt"),
]  # fmt: skip
