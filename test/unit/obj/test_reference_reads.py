"""The reference's own tool reads what we write, and ours what it wrote (golden)."""

import os
import subprocess

import pytest
from obj_app import App

REFERENCE = os.environ.get("REFERENCE_BIN", "")

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
]

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))


def object_info(app, path):
    done = subprocess.run(
        [f"{REFERENCE}/swift-object-info", "--swift-dir", f"{app.root}/etc", path],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("size", [0, 4096, 300_000])
def test_data(root, size):
    app = App(root)
    body = os.urandom(size)
    app.request(
        "PUT",
        "/sda/7/a/c/\u00c3\u00bc",
        body,
        X_Timestamp=T1,
        X_Object_Meta_Color="r\u00c3\u00b6d",
        X_Object_Sysmeta_Thing="s",
        X_Object_Transient_Sysmeta_Other="t",
        Content_Encoding="gzip",
        Content_Type="text/plain; charset=utf-8",
    )
    where = app.where("/a/c/\u00fc")
    got = object_info(app, f"{where.hash_dir}/{T1}.data")
    assert "Path: /a/c/\u00fc" in got
    assert f"Object hash: {where.name_hash}" in got
    assert "Content-Type: text/plain; charset=utf-8" in got
    assert f"({T1})" in got
    assert "Content-Length: " in got and "(valid)" in got
    assert "ETag: " in got and "invalid" not in got
    assert "Color: " in got and "Thing: s" in got and "Other: t" in got
    assert "Content-Encoding: gzip" in got


def test_meta_and_tombstone(root):
    app = App(root)
    app.put(T1)
    app.request("POST", X_Timestamp=T2, X_Object_Meta_Color="blue", Content_Type="image/png")
    got = object_info(app, f"{app.where().hash_dir}/{T2}+0.meta")
    assert "Path: /a/c/o" in got and "Color: blue" in got and f"({T2})" in got
    app.request("DELETE", X_Timestamp=T3)
    got = object_info(app, f"{app.where().hash_dir}/{T3}.ts")
    assert "Path: /a/c/o" in got and f"({T3})" in got
