"""What the reference stored encrypted is read as the reference read it (test/golden/encryption/objects.json)."""

import json
import pathlib

import pytest
from filter_stand_ins import App, call, memory_logger

from swift.middleware import encryption, keymaster

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden/encryption/objects.json").read_text())
OBJECTS = GOLDEN["objects"]
NAMES = [f"{number}-{stored['version']}" for number, stored in enumerate(OBJECTS)]
NOT_SENT = ("name", "X-Timestamp", "Content-Length", "ETag", "Content-Type")


def pipeline(app, **conf):
    return keymaster.filter_factory(GOLDEN["keymaster"], **conf)(encryption.filter_factory({})(app))


def as_sent(stored):
    """The headers of a backend's answer."""
    kept = dict(stored["stored"])
    if stored["posted"]:
        kept = {n: v for n, v in kept.items() if not n.startswith(("X-Object-Meta", "X-Object-Transient"))}
        kept.update(stored["posted"])
    headers = [(name, value) for name, value in kept.items() if name not in NOT_SENT]
    content_type = stored["stored"]["Content-Type"].partition(";swift_bytes")[0]
    length = stored["stored"]["Content-Length"]
    return [
        *headers,
        ("Content-Type", content_type),
        ("Content-Length", length),
        ("Etag", stored["stored"]["ETag"]),
    ]


def wsgi(path):
    return path.encode().decode("latin-1")


@pytest.mark.parametrize("stored", OBJECTS, ids=NAMES)
def test_the_whole_object(stored):
    app = App("200 OK", as_sent(stored), [bytes.fromhex(stored["body"])])
    answer = call(pipeline(app), wsgi(stored["path"]))
    if "slo" in stored["path"]:  # the recorded answer is that of the large object
        assert json.loads(answer.body)[0]["name"] == "/c/seg"
        assert answer.headers["Etag"] == "043c81e3919f81dee465b7ebfd39f147"
        listed = answer.headers["X-Object-Sysmeta-Container-Update-Override-Etag"]
        assert listed == "043c81e3919f81dee465b7ebfd39f147; slo_etag=0d784c0cd98f1712d29f830e6d66eff5"
        return
    assert answer.status == "200 OK"
    assert answer.body == bytes.fromhex(stored["plain"])
    shown = {name.lower(): value for name, value in answer.headers.items()}
    assert {name: shown.get(name) for name in stored["answer"]} == stored["answer"]
    assert not any("crypto" in name and name != "x-backend-crypto-cipher" for name in shown)
    if stored["body"]:
        assert shown["x-object-sysmeta-container-update-override-etag"] == stored["answer"]["etag"]


@pytest.mark.parametrize("first", [0, 1, 15, 16, 17, 33, 4000])
def test_a_part_of_an_object(first):
    stored = next(entry for entry in OBJECTS if entry["path"].endswith("/copy"))
    body, plain = bytes.fromhex(stored["body"]), bytes.fromhex(stored["plain"])
    headers = [*as_sent(stored), ("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")]
    pieces = [body[at : at + 7] for at in range(first, len(body), 7)]
    answer = call(pipeline(App("206 Partial Content", headers, iter(pieces))), stored["path"])
    assert answer.body == plain[first:]


def test_a_listing():
    rows = [
        {
            "name": stored["path"].partition("/c/")[2],
            "bytes": 1,
            "hash": stored["stored"].get(
                "X-Object-Sysmeta-Container-Update-Override-Etag", stored["stored"]["ETag"]
            ),
        }
        for stored in OBJECTS
    ]
    data = json.dumps(rows).encode()
    headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(data)))]
    answer = call(pipeline(App("200 OK", headers, [data])), "/v1/AUTH_test/c")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    for row, stored in zip(json.loads(answer.body), OBJECTS, strict=True):
        if not stored["path"].endswith("/slo"):
            assert row["hash"] == stored["answer"]["etag"]
            assert row["name"] == stored["path"].partition("/c/")[2]


def test_a_secret_that_is_gone():
    stored = next(entry for entry in OBJECTS if entry["version"] == "v3")
    one = {"encryption_root_secret": GOLDEN["keymaster"]["encryption_root_secret"]}
    logger, _ = memory_logger()
    app = App("200 OK", as_sent(stored), [bytes.fromhex(stored["body"])])
    filters = keymaster.filter_factory(one)(
        encryption.Decrypter(encryption.Encrypter(app, True, logger), logger)
    )
    answer = call(filters, wsgi(stored["path"]))
    assert answer.status_int == 500
    assert answer.body == b"Error decrypting object"
