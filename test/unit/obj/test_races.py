"""What happens to an object while something else happens to its directory: nothing acknowledged may go with it."""

import os

import pytest
from obj_app import App, Input

from swift.obj import reader

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
LARGE = b"0123456789abcdef" * 20000


class PausedInput(Input):
    """A request body in the middle of which something else happens."""

    def __init__(self, data, meanwhile):
        super().__init__(data)
        self.meanwhile = meanwhile

    def recv_into(self, buffer):
        if self.meanwhile and self.tell() > len(self.getvalue()) // 2:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().recv_into(buffer)


@pytest.fixture
def app(root):
    return App(root)


def damage(app, timestamp):
    """Flip a byte of the data file, whose metadata stays."""
    with open(f"{app.where().hash_dir}/{timestamp}.data", "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))


def slow_put(app, timestamp, body, meanwhile, monkeypatch):
    monkeypatch.setattr("obj_app.Input", lambda data, error: PausedInput(data, meanwhile))
    try:
        return app.put(timestamp, body)
    finally:
        monkeypatch.undo()


def test_an_upload_does_not_end_in_a_directory_that_was_quarantined_meanwhile(app, monkeypatch):
    app.put(T1, b"old")
    damage(app, T1)

    def meanwhile():
        assert app.get().status == 404
        assert not os.path.exists(app.where().hash_dir)

    assert slow_put(app, T2, LARGE, meanwhile, monkeypatch).status == 201
    got = app.get()
    assert (got.status, got.body) == (200, LARGE)
    assert app.files() == [f"{T2}.data"]


def test_nor_in_one_that_was_made_anew(app, monkeypatch):
    app.put(T1, b"old")
    damage(app, T1)

    def meanwhile():
        assert app.get().status == 404
        assert app.put(T3, b"newest").status == 201

    assert slow_put(app, T2, LARGE, meanwhile, monkeypatch).status == 201
    assert app.get().body == b"newest"
    assert app.files() == [f"{T3}.data"]


def test_the_same_again_is_not_found_in_a_quarantined_directory(app, monkeypatch):
    """The file of the same name is in the directory that was moved away: it does not count."""
    app.put(T2, LARGE)

    def meanwhile():
        reader.quarantine(app.where(), "by hand")

    assert slow_put(app, T2, LARGE, meanwhile, monkeypatch).status == 201
    assert app.get().body == LARGE


@pytest.mark.parametrize("newer", ["put", "delete"])
def test_damage_found_late_does_not_take_newer_files_away(app, newer):
    """A reader that is slow to find the damage of what it opened must not set aside what was written since."""
    app.put(T1, LARGE * 8)
    damage(app, T1)
    environ = {}

    def start_response(status, headers, exc_info=None):
        assert status == "200 OK"

    request = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/sda/7/a/c/o", "wsgi.input": Input(b""), "QUERY_STRING": "", "CONTENT_TYPE": "",
    }  # fmt: skip
    body = app.server({**request, **environ}, start_response)
    if newer == "put":
        assert app.put(T2, b"new").status == 201
    else:
        assert app.request("DELETE", X_Timestamp=T2).status == 204
    with pytest.raises(Exception, match="checksum"):
        for _ in body:
            pass
    got = app.get()
    if newer == "put":
        assert (got.status, got.body) == (200, b"new")
    else:
        assert (got.status, got.headers["x-backend-timestamp"]) == (404, T2)


def test_damaged_data_beside_newer_data_is_set_aside_alone(app):
    """As a crash before the cleanup leaves it."""
    app.put(T1, LARGE)
    old = f"{app.where().hash_dir}/{T1}.data"
    os.link(old, f"{app.device}/kept")
    app.put(T2, b"new")
    os.link(f"{app.device}/kept", old)
    reader.quarantine(app.where(), "by hand", data=f"{T1}.data")
    assert app.files() == [f"{T2}.data"]
    assert app.get().body == b"new"
    # and what is gone already is not set aside again
    reader.quarantine(app.where(), "by hand", data=f"{T1}.data")
    assert app.get().body == b"new"


def test_small_damage_that_was_replaced_meanwhile_is_no_404(app, monkeypatch):
    """Between reading a damaged object and setting it aside a new one is written: that one is the answer."""
    app.put(T1, b"old")
    damage(app, T1)
    real = reader.quarantine

    def quarantine(*args, **kwargs):
        monkeypatch.setattr(reader, "quarantine", real)
        assert app.put(T2, b"new").status == 201
        return real(*args, **kwargs)

    monkeypatch.setattr(reader, "quarantine", quarantine)
    got = app.get()
    assert (got.status, got.body) == (200, b"new")
