"""What proves damage: over all errors that a system call can give, at each call that reads what is stored."""

import errno
import os

import pytest
from obj_app import App

from swift.obj import async_pending, damage
from swift.obj.errors import Corrupt
from swift.obj.files import metadata

T1, T2 = "1700000001.00000", "1700000002.00000"
ALL = sorted(errno.errorcode)
# what the house takes for a proof, said a second time on purpose; EIO only at a second look
PROOF = {errno.ENODATA, errno.EUCLEAN, errno.EBADMSG}
LARGE = b"x" * 100_000


@pytest.fixture
def app(root):
    app = App(root)
    app.server.devices.get("sda").inline = True
    return app


def quarantined(app):
    try:
        return os.listdir(f"{app.device}/quarantined/objects")
    except FileNotFoundError:
        return []


def failing(monkeypatch, owner, name, wanted, code, times=10**9):
    """`owner.name` fails with `code` for arguments that are `wanted`, so many times."""
    real = getattr(owner, name)
    left = [times]

    def fail(*args, **kwargs):
        if wanted(*args) and left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize("code", ALL, ids=errno.errorcode.get)
def test_the_table(code):
    err = OSError(code, "")
    assert damage.is_proof(err) == (code in PROOF)
    assert damage.is_proof(err, 2) == (code in PROOF or code == errno.EIO)


def test_a_second_look_that_is_good():
    looks = []

    def read():
        looks.append(1)
        if len(looks) == 1:
            raise OSError(errno.EIO, "")
        return "good"

    assert damage.read_or_judge(read) == "good"
    with pytest.raises(Corrupt):
        damage.read_or_judge(lambda: (_ for _ in ()).throw(OSError(errno.EIO, "")))


# which answers an error of these gets says nothing of the object
NOT_AN_ERROR = {
    "list": {errno.ENOENT, errno.ENOTDIR},
    "open": {errno.ENOENT},
    "xattr": {errno.ENODATA, errno.ENOENT},
    "read": set(),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize("call", ["list", "open", "xattr", "read"])
def test_only_a_proof_sets_an_object_aside(app, monkeypatch, call, method):
    """A healthy object, and each error in turn: it stays unless the error says that it is damaged, and is served again afterwards."""
    if call == "read" and method != "GET":
        return
    where = app.where()
    for code in ALL:
        if code in NOT_AN_ERROR[call]:
            continue
        app.put(T1, b"body")
        before = len(quarantined(app))
        with monkeypatch.context() as patch:
            if call == "list":
                looks = 3 if method in ("GET", "HEAD") else 5  # writes look in haste first
                failing(patch, os, "listdir", lambda path: path == where.hash_dir, code, looks)
            elif call == "open":
                failing(patch, os, "open", lambda path, *a: str(path).endswith(".data"), code)
            elif call == "xattr":
                failing(patch, metadata, "get_xattr", lambda fd, name: name == metadata.XATTR, code)
            else:
                failing(patch, os, "pread", lambda *a: True, code)
            status = app.request(method, X_Timestamp=T2, body=b"").status
        moved = len(quarantined(app)) - before
        proven = code in PROOF or code == errno.EIO
        assert bool(moved) == proven, errno.errorcode[code]
        if not proven:
            assert status >= 500, errno.errorcode[code]
            got = app.get()
            assert (got.status, got.body) == (200, b"body"), errno.errorcode[code]
        else:
            assert status in (404, 201), errno.errorcode[code]
        for name in app.files():
            os.unlink(f"{where.hash_dir}/{name}")


@pytest.mark.parametrize("code", [c for c in ALL if c != errno.EINTR], ids=errno.errorcode.get)
def test_errors_while_a_large_body_is_read(app, monkeypatch, code):
    """EINTR aside: the interpreter asks again by itself."""
    app.put(T1, LARGE)
    with monkeypatch.context() as patch:
        failing(patch, os, "preadv", lambda *a: True, code)
        with pytest.raises(Exception) as caught:  # noqa: PT011  what matters is what is left
            app.get()
    assert not isinstance(caught.value, AssertionError)
    assert bool(quarantined(app)) == (code in PROOF or code == errno.EIO)
    if code not in PROOF and code != errno.EIO:
        assert app.get().body == LARGE


def test_a_read_that_fails_once_is_no_damage(app, monkeypatch):
    for body, name in ((LARGE, "preadv"), (b"small", "pread")):
        app.put(T1 if body is LARGE else T2, body)
        with monkeypatch.context() as patch:
            failing(patch, os, name, lambda *a: True, errno.EIO, 1)
            got = app.get()
        assert (got.status, got.body) == (200, body)
    assert not quarantined(app)


@pytest.mark.parametrize("code", ALL, ids=errno.errorcode.get)
def test_a_suffix_whose_entry_cannot_be_listed(app, monkeypatch, code):
    app.put(T1)
    where = app.where()
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies.legacy)
    with monkeypatch.context() as patch:
        failing(patch, os, "listdir", lambda path: path == where.hash_dir, code, 2)
        hashes = store.suffix_hashes("7").hashes
    proven = code in PROOF or code in (errno.EIO, errno.ENOTDIR)  # a file in the place of a directory
    assert bool(quarantined(app)) == proven
    if not proven and code != errno.ENOENT:
        assert hashes == {where.suffix: None}


@pytest.mark.parametrize("code", ALL, ids=errno.errorcode.get)
def test_pending_updates(app, monkeypatch, code):
    """The file of an update that nobody took is bad only if it is proven to be."""
    path = async_pending.write_update(
        app.device, 0, app.where().name_hash, T1,
        {"op": "PUT", "account": "a", "container": "c", "obj": "o", "headers": {}},
    )  # fmt: skip
    with monkeypatch.context() as patch:
        failing(patch, async_pending, "_read", lambda name: name == path, code)
        with pytest.raises((OSError, async_pending.BadUpdate)) as caught:
            async_pending.read_update(path)
    assert isinstance(caught.value, async_pending.BadUpdate) == (code in PROOF or code == errno.EIO)
    assert async_pending.read_update(path)["obj"] == "o"
