"""Archives that become objects, and lists of names that are deleted."""

import bz2
import gzip
import io
import tarfile

from test.side_by_side.names import LONGEST, ODD, TOO_LONG, quoted
from test.side_by_side.table import Step

ACCEPTS = (
    "application/json",
    "application/xml",
    "text/xml",
    "text/plain",
    "text/*",
    "image/png",
    "x",
    "",
    "application/xml;q=0.5, application/json",
)


def tar(*members, form=tarfile.PAX_FORMAT, end=True) -> bytes:
    """An archive of (name, data[, attributes]); attributes are those of TarInfo, `pax` its headers."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data, *more in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in (more[0] if more else {}).items():
                setattr(info, "pax_headers" if key == "pax" else key, value)
            archive.addfile(info, io.BytesIO(data))
    data = file.getvalue()
    return data if end else data.rstrip(b"\0").ljust((len(data.rstrip(b"\0")) + 511) // 512 * 512, b"\0")


def packed(kind: str, data: bytes) -> bytes:
    return {"tar": lambda x: x, "tar.gz": lambda x: gzip.compress(x, mtime=0), "tar.bz2": bz2.compress}[kind](
        data
    )


def put(path: str, body, kind: str = "tar", **more) -> Step:
    headers = {"Accept": "application/json", **more.pop("headers", {})}
    return Step("PUT", f"{path}?extract-archive={kind}", headers, body, **more)


def delete(lines: str | bytes, method: str = "POST", path: str = "", **more) -> Step:
    headers = {"Content-Type": "text/plain", "Accept": "application/json", **more.pop("headers", {})}
    return Step(method, f"{path}?bulk-delete", headers, lines, **more)


SMALL = (("c/one", b"1"), ("c/dir/two", b"22"), ("./c/three", b""), ("/c/four", b"4444"), ("d/five", b"5"))
LONG = b"0123456789abcdef" * 10000
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
PAX = {
    "SCHILY.xattr.user.mime_type": "text/x-pax",
    "SCHILY.xattr.user.meta.color": "blue",
    "SCHILY.xattr.user.meta.ünï": "☃",
    "SCHILY.xattr.user.other": "x",
    "LIBARCHIVE.xattr.user.meta.shape": "round",
}
WHOLE = tar(*SMALL)
PACKED = {kind: packed(kind, tar(*SMALL, ("c/long", LONG))) for kind in ("tar", "tar.gz", "tar.bz2")}
EARLY_END = {"body": "an archive that breaks off, or goes on with what is no header, is never told as whole"}
WHOSE_FAULT = {"body": "a file that breaks off is the archive's fault, 400; there it is a 500"}
AFTER = (Step("GET", "/c?format=json"), Step("GET", "/d?format=json"))

STEPS = [
    # -- extract
    *(step for kind in PACKED for step in (put("", PACKED[kind], kind), *AFTER)),
    Step("GET", "/c/long"),
    Step("HEAD", "/c/dir/two"),
    *(put("", WHOLE, kind) for kind in ("TAR", ".tar.", "tgz", "zip", "", "tar.xz", "Tar.Gz")),
    *(Step("PUT", "/acc?extract-archive=tar", {"Accept": accept}, tar(("o", b"x"))) for accept in ACCEPTS),
    Step("PUT", "/acc?extract-archive=tar", {}, tar(("o", b"x"))),
    put("/c", tar(("x/y", b"1"), ("z", b"2"))),
    put("/c/", tar(("x/y", b"1"), ("z", b"2"))),
    put("/c/prefix", tar(("x/y", b"1"), ("z", b"2"))),
    put("/c/prefix/", tar(("x/y", b"1"), ("z", b"2"))),
    put("/c/prefix//deep/", tar(("x/y", b"1"), ("/z", b"2"))),
    put("/", tar(("x/y", b"1"), ("z", b"2"))),
    Step("GET", "/c?format=json"),
    Step("PUT", "/v1?extract-archive=tar", {}, WHOLE, whole=True),
    Step("PUT", "/v1/?extract-archive=tar", {}, WHOLE, whole=True),
    Step("PUT", "/?extract-archive=tar", {}, WHOLE, whole=True),
    Step("PUT", "/v2/{account}/c?extract-archive=tar", {"Accept": "application/json"}, tar(("x", b"1")), whole=True),
    Step("POST", "?extract-archive=tar", {}, WHOLE),
    Step("GET", "/c/one?extract-archive=tar"),
    Step("PUT", "?extract%2Darchive=tar", {"Accept": "application/json"}, WHOLE),
    put("", [WHOLE[:700], WHOLE[700:]]),
    put("", WHOLE, headers={"Content-Length": None}),
    put("", b""),
    put("", b"no archive at all" * 100),
    put("", b"short"),
    put("", b"\0" * 10240),
    put("", b"\0" * 512),
    put("", tar()),
    put("", tar(("base", b"x"))),
    put("", tar(("base", b"x"), ("c/fine", b"x"))),
    put("", b"no archive at all" * 100, "tar.gz"),
    put("", b"no archive at all" * 100, "tar.bz2"),
    put("", b"", "tar.gz"),
    put("", b"", "tar.bz2"),
    put("", WHOLE, "tar.gz"),
    put("", WHOLE, "tar.bz2"),
    put("", PACKED["tar.gz"], "tar"),
    put("", PACKED["tar.gz"][:100], "tar.gz", differs=EARLY_END),
    put("", PACKED["tar.gz"][:60] + b"\xff" * 40, "tar.gz"),
    put("", PACKED["tar.bz2"][:100], "tar.bz2", differs=EARLY_END),
    put("", tar(*SMALL, ("c/long", LONG))[:6000], differs=WHOSE_FAULT),
    put("", tar(*SMALL, ("c/long", LONG), ("c/after", b"x"))[:100000], differs=WHOSE_FAULT),
    put("", tar(("t/a", b"1"), end=False)),
    put("", tar(("t/a", b"1" * 600), end=False)[:1000], differs=WHOSE_FAULT),
    put("", tar(("t/a", b"1"), ("t/b", b"2"), end=False)[:1200], differs=EARLY_END),
    put("", tar(("t/a", b"1"), end=False) + b"garbage!" * 64, differs=EARLY_END),
    Step("GET", "/t?format=json"),
    put("", WHOLE + b"trailing garbage"),
    # -- members that are no files, odd names
    put("", tar(("c/link", b"", LINK), ("c/hard", b"", {"type": tarfile.LNKTYPE, "linkname": "c/one"}))),
    put("", tar(("l/dir/", b"", {"type": tarfile.DIRTYPE}), ("l/fifo", b"", {"type": tarfile.FIFOTYPE}), ("l/dev", b"", {"type": tarfile.BLKTYPE}), ("l/file", b"x"))),
    put("", tar(("l/cont", b"x", {"type": tarfile.CONTTYPE}), ("l/old", b"x", {"type": tarfile.AREGTYPE}), ("l/odd", b"x", {"type": b"Z"}))),
    Step("GET", "/l?format=json"),
    put("", tar(("../up/x", b"1"), ("up/../../../etc/passwd", b"2"), ("//up//y", b"3"), ("./../x", b"4"), ("up/.", b"5"), ("up/..", b"6"))),
    Step("GET", "/up?format=json"),
    Step("GET", "/..?format=json"),
    *(step for name in ODD for step in (
        put("", tar((f"odd/{name}", b"x"))),
        Step("HEAD", f"/odd/{quoted(name)}"),
    )),
    put("/odd", tar(*((name, b"y") for name in ODD))),
    Step("GET", "/odd?format=json"),
    put("/odd", tar((LONGEST, b"x"), (TOO_LONG, b"x"), ("n" * 3000, b"x"))),
    put("", tar(("c" * 256 + "/x", b"1"), ("c" * 257 + "/x", b"1"))),
    put("/odd", tar(("latin-\udce9", b"x"), form=tarfile.GNU_FORMAT)),
    put("/" + quoted("ünï ©"), tar(("ö/ä", b"x"))),
    Step("GET", "/" + quoted("ünï ©") + "?format=json"),
    *(put("/odd", tar(("deep/" * 60 + "x", b"1"), form=form)) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
    put("/twice", tar(("x", b"first"), ("y", b"1"), ("x", b"second"))),
    Step("GET", "/twice/x"),
    # -- headers
    put("/h", tar(("x", b"1", {"pax": PAX})), headers={"X-Object-Meta-All": "yes", "X-Delete-At": "9999999999", "Content-Type": "application/x-tar", "X-Object-Sysmeta-No": "x"}),
    Step("HEAD", "/h/x"),
    put("/h", tar(("y.png", b"1"), ("z", b"1", {"pax": {"SCHILY.xattr.user.mime_type": ""}}))),
    Step("HEAD", "/h/y.png"),
    Step("HEAD", "/h/z"),
    put("/h", tar(("x", b"1")), headers={"X-Delete-After": "x"}),
    put("/h", tar(("x", b"1")), headers={"X-Delete-At": "1"}),
    put("/h", tar(("x", b"1", {"pax": {"SCHILY.xattr.user.meta.n": "v" * 257}}), ("y", b"2"))),
    put("/h", tar(("x", b"1")), headers={"Etag": "0" * 32}),
    # -- who may
    *(put("/c", tar(("o", b"1")), user=user) for user in ("member", "other", "")),
    *(put("/new-of-nobody", tar(("o", b"1")), user=user) for user in ("member", "other", "")),
    put("/c", tar(("o", b"1"), ("p", b"1")), headers={"X-Auth-Token": "bogus"}, user=""),
    Step("POST", "/c", {"X-Container-Write": "{name}:member"}),
    put("/c", tar(("by-member", b"1")), user="member"),
    put("", tar(("c/by-member", b"1"), ("d/by-member", b"1"), ("new/by-member", b"1"), ("new/again", b"1")), user="member"),
    put("", tar(*((f"c/{n}", b"x") for n in range(300)))),
    Step("HEAD", "/c"),
    # -- delete
    delete("/c/one\n/c/dir/two\nc/three\n"),
    delete("c/one\nc/none\nnone/x\n"),
    delete("c/1", "DELETE"),
    delete("/c/2\r\n\r\n  /c/3  \n\n\n/c/4"),
    delete("\n\n\n"),
    delete(""),
    delete("", headers={"Content-Length": None}),
    delete([b"c/5\nc/", b"6\nc/7\n"]),
    delete("c"),
    delete("/c/"),
    delete("/", differs={"body": "no name is not the account"}),
    delete("//c/8"),
    delete("c//8"),
    delete("d/five\nd/none\nd\n"),
    delete("d\n"),
    delete("l/file\nl/cont\nl/old\nl/odd\nl\nl/file\n"),
    delete("twice/x\ntwice/x\ntwice/y\ntwice\ntwice\n"),
    *(delete("acc/o\nc\n", headers={"Accept": accept}) for accept in ACCEPTS),
    delete("acc/o\n", headers={"Accept": None}),
    delete("%FF/a\nc/%FF\nok%2Fx\nc/%00x\nc/%zz\n"),
    delete("%FF/a\nc\n", headers={"Accept": "application/xml"}),
    delete("%FF/a\nc\n", headers={"Accept": "text/plain"}),
    delete("".join(f"odd/{quoted(name)}\n" for name in ODD)),
    delete("".join(f"odd/{name}\n" for name in ODD if "\n" not in name and "%" not in name)),
    delete(f"odd/{quoted(LONGEST)}\nodd/{TOO_LONG}\n"),
    delete("x" * 2564),
    delete("x" * 2565),
    delete("c/" + "x" * 3000 + "\nc/9\n"),
    Step("GET", "/odd?format=json"),
    *(delete("c/9\n", headers={"Content-Type": kind}) for kind in ("text/plain; charset=utf-8", "text/plainish", "text/html", "application/json", "", None)),
    delete("c/10\n", path="/c"),
    delete("c/11\n", path="/c/o"),
    delete("c/12\n", path="/", method="DELETE"),
    Step("POST", "/v1?bulk-delete", {"Content-Type": "text/plain"}, "c/1", whole=True),
    Step("POST", "?bulk%2Ddelete", {"Content-Type": "text/plain", "Accept": "application/json"}, "c/13"),
    Step("POST", "?bulk-delete=1", {"Content-Type": "text/plain", "Accept": "application/json"}, "c/14"),
    Step("PUT", "/c/kept?bulk-delete", {"Content-Type": "text/plain"}, "c/15"),
    Step("GET", "/c/kept?bulk-delete"),
    *(delete("c/20\nc\n", user=user) for user in ("member", "other", "")),
    *(delete("none/x\n", user=user) for user in ("member", "other", "")),
    delete("c/21", headers={"X-Auth-Token": "bogus"}, user=""),
    delete("".join(f"c/{n}\n" for n in range(300))),
    delete("\n" * 10000),
    delete("c/x\n" * 10001),
    delete("\n" * 10001),
    delete("c/a?b\nc/a#b\nc/a&b\nc/a+b\nc/a;b\n"),
    Step("GET", "/c?format=json"),
]  # fmt: skip
