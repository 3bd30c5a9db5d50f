"""Encryption at rest: clients are to notice nothing of it. Bodies, ETags, conditions, ranges, metadata, listings, and what other filters build on it."""

import hashlib
import json

from test.side_by_side.names import LONGEST, ODD, quoted
from test.side_by_side.table import Step

FILTERS = {
    "keymaster": "encryption_root_secret = Y2hhbmdlbWVjaGFuZ2VtZWNoYW5nZW1lY2hhbmdlbWU=\n"
    "encryption_root_secret_two = dHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdv\n",
    "encryption": "",
}
TEXT = b"It was a bright cold day in April, and the clocks were striking thirteen. "
BODIES = {"empty": b"", "one": b"1", "block": TEXT[:16], "text": TEXT, "long": TEXT * 2000}
LONG_PATH = "the key id is written as version 3, which is short enough"


def etag_of(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def put_and_get(container: str) -> list[Step]:
    steps = []
    for name, body in BODIES.items():
        path = f"/{container}/{name}"
        steps += [
            Step("PUT", path, {"Content-Type": "text/x-test", "X-Object-Meta-Color": "blue", "X-Object-Meta-None": ""}, body),
            Step("GET", path),
            Step("HEAD", path),
        ]  # fmt: skip
    return steps


def conditions(container: str) -> list[Step]:
    etag, other = etag_of(TEXT), "0" * 32
    path = f"/{container}/text"
    values = (
        etag,
        f'"{etag}"',
        other,
        f"{other},{etag}",
        f'"{other}", "{etag}"',
        f'W/"{etag}"',
        "*",
        "",
        '"',
        ",,",
        etag.upper(),
    )
    steps = [
        Step(method, path, {condition: value})
        for condition in ("If-Match", "If-None-Match")
        for value in values
        for method in ("GET", "HEAD")
    ]
    for value in values[:3]:
        steps.append(Step("GET", f"/{container}/empty", {"If-None-Match": value}))
        steps.append(Step("GET", f"/{container}/nothing", {"If-Match": value}))
        steps.append(Step("GET", path, {"If-Match": value, "Range": "bytes=1-3"}))
    return steps


def ranges(container: str) -> list[Step]:
    wanted = (
        "0-0",
        "0-15",
        "16-16",
        "15-33",
        "-1",
        "-74",
        "-75",
        "70-",
        "73-73",
        "74-",
        "5-3",
        "x",
        "0-3,10-12",
        "0-3,60-",
        "10-,0-3",
    )
    return [Step("GET", f"/{container}/text", {"Range": f"bytes={value}"}) for value in wanted]


def metadata() -> list[Step]:
    path = "/c/meta"
    sets: list[dict[str, str | None]] = [
        {"X-Object-Meta-A": "a", "X-Object-Meta-B": "b; swift_meta=x"},
        {"X-Object-Meta-A": "caf\u00e9 \u2603".encode().decode("latin-1")},
        {"X-Object-Meta-A": "x" * 256},
        {"X-Object-Meta-A": "x" * 257},
        {f"X-Object-Meta-{'a' * 128}": "x"},
        {f"X-Object-Meta-{'a' * 129}": "x"},
        {"X-Object-Meta-": "x"},
        {f"X-Object-Meta-{n}": "x" * 40 for n in range(90)},
        {f"X-Object-Meta-{n}": "x" for n in range(91)},
        {f"X-Object-Meta-{n}": "x" * 250 for n in range(17)},
        {"X-Object-Transient-Sysmeta-Crypto-Meta": "forged", "X-Object-Sysmeta-Crypto-Etag": "forged"},
        {},
    ]
    steps = []
    for headers in sets:
        for method in ("PUT", "POST"):
            steps += [Step(method, path, headers, TEXT if method == "PUT" else b""), Step("HEAD", path)]
    origin: dict[str, str | None] = {"Origin": "http://page.example.com"}
    steps += [
        Step("POST", "/c", {"X-Container-Meta-Access-Control-Allow-Origin": "*"}),
        Step("PUT", path, {"X-Object-Meta-A": "a", "X-Object-Meta-B": "b"}, TEXT),
        Step("GET", path, origin),
        Step("POST", "/c", {"X-Container-Meta-Access-Control-Allow-Origin": "http://other.example.com"}),
        Step("GET", path, origin),
    ]
    return steps


def etags() -> list[Step]:
    quoted = "quotes around a client's ETag are none of it, as without encryption"
    case = "an ETag in capitals is the same number, as without encryption"
    right = etag_of(TEXT)
    return [
        Step("PUT", "/c/etag", {"Etag": right}, TEXT),
        Step("PUT", "/c/etag", {"Etag": f'"{right}"'}, TEXT, differs={"*": quoted}),
        Step("PUT", "/c/etag", {"Etag": right.upper()}, TEXT, differs={"*": case}),
        Step("PUT", "/c/etag", {"Etag": "0" * 32}, TEXT),
        Step("PUT", "/c/etag", {"Etag": "x"}, TEXT),
        Step("PUT", "/c/etag", {"Etag": etag_of(b"")}),
        Step("PUT", "/c/etag", {"Etag": "0" * 32}),
        Step("PUT", "/c/etag", {"If-None-Match": "*"}, TEXT),
        Step("PUT", "/c/etag", {"If-None-Match": right}, TEXT),
        Step("PUT", "/c/chunked", {"Etag": right}, [TEXT[:10], TEXT[10:]]),
        Step("GET", "/c/chunked"),
    ]


def built_on_it() -> list[Step]:
    manifest = json.dumps(
        [{"path": "/c/text", "etag": etag_of(TEXT), "size_bytes": len(TEXT)}, {"path": "/c/block"}]
    )
    return [
        Step("PUT", "/c/slo?multipart-manifest=put", {}, manifest),
        Step(
            "GET", "/c/slo", keep={"manifest": "header:x-manifest-etag"}
        ),  # it tells when the segments were written
        Step("GET", "/c/slo", {"Range": "bytes=70-80"}),
        Step("HEAD", "/c/slo", keep={"slo": "header:etag"}),
        Step("GET", "/c/slo", {"If-None-Match": "{slo}"}),
        Step("GET", "/c/slo", {"If-Match": "{slo}"}),
        Step("HEAD", "/c/slo?multipart-manifest=get"),
        Step("PUT", "/c/dlo", {"X-Object-Manifest": "c/bl"}),
        Step("GET", "/c/dlo"),
        Step("PUT", "/c/link", {"X-Symlink-Target": "c/text"}),
        Step("GET", "/c/link"),
        Step("GET", "/c/link", {"If-None-Match": etag_of(TEXT)}),
        Step("HEAD", "/c/link?symlink=get"),
        Step("PUT", "/c/static", {"X-Symlink-Target": "c/text", "X-Symlink-Target-Etag": etag_of(TEXT)}),
        Step("GET", "/c/static"),
        Step("PUT", "/ec/copy", {"X-Copy-From": "/c/text", "X-Object-Meta-New": "n"}),
        Step("GET", "/ec/copy"),
        Step("PUT", "/c/text", {"X-Copy-From": "/c/text", "X-Fresh-Metadata": "yes"}),
        Step("COPY", "/c/text", {"Destination": "/c/copied"}),
        Step("GET", "/c/copied"),
        Step("COPY", "/c/slo?multipart-manifest=get", {"Destination": "/c/slo-copied"}),
        Step("GET", "/c/slo-copied", keep={"copied": "header:x-manifest-etag"}),
        Step("PUT", "/kept", {"X-Versions-Enabled": "true"}),
        Step("PUT", "/kept/o", {"X-Object-Meta-N": "1"}, b"one"),
        Step("PUT", "/kept/o", {"X-Object-Meta-N": "2"}, b"two"),
        Step("GET", "/kept/o"),
        Step("DELETE", "/kept/o"),
        Step("GET", "/kept/o"),
    ]


def names() -> list[Step]:
    long = {"*": LONG_PATH}
    steps = []
    for name in (*ODD, LONGEST, "\u4e2d" * 341, "n" * 1024):
        differs = long if name[:1] in "\u00e4\u4e2d" else {}
        path = f"/{'long' if differs else 'names'}/{quoted(name)}"
        steps.append(Step("PUT", path, {"X-Object-Meta-A": "a"}, TEXT, differs=differs))
        steps.append(Step("GET", path, differs=differs))
    return steps


def listings(container: str) -> list[Step]:
    paths = (
        "?format=json",
        "?format=xml",
        "",
        "?format=json&prefix=s",
        "?format=json&delimiter=o",
        "?format=json&limit=2",
        "?format=json&reverse=on",
    )
    return [Step("GET", f"/{container}{query}") for query in paths] + [Step("HEAD", f"/{container}")]


STEPS = [
    Step("PUT", "/c"),
    Step("PUT", "/names"),
    Step("PUT", "/long"),
    Step("PUT", "/ec", {"X-Storage-Policy": "ec21"}),
    *(
        step
        for container in ("c", "ec")
        for part in (put_and_get, conditions, ranges)
        for step in part(container)
    ),
    *metadata(),
    *etags(),
    *built_on_it(),
    *names(),
    *(step for container in ("c", "ec", "names") for step in listings(container)),
    Step("DELETE", "/c/text"),
    Step("GET", "/c/text"),
    Step("GET", "/c/link"),
]
