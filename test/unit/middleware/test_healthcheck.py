import weakref

import pytest
from filter_stand_ins import App, call

from swift.middleware.healthcheck import filter_factory
from swift.wire import serving


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_healthy(method):
    app = App()
    answer = call(filter_factory({})(app), "/healthcheck", method)
    assert answer.status == "200 OK"
    assert answer.header_list == [("Content-Type", "text/plain"), ("Content-Length", "2")]
    assert answer.body == b"OK"
    assert not app.calls


def test_head_has_no_body():
    answer = call(filter_factory({})(App()), "/healthcheck", "HEAD")
    assert answer.body == b""
    assert answer.headers["Content-Length"] == "2"


@pytest.mark.parametrize("path", ["/", "/healthcheck/", "/healthcheckx", "/v1/healthcheck"])
def test_other_paths_pass(path):
    body = [b"x"]
    answer = call(filter_factory({})(App(body=body)), path, read=False)
    assert answer.raw_body is body


def test_a_file_takes_the_server_out_of_service(tmp_path):
    switch = tmp_path / "disabled"
    health = filter_factory({}, disable_path=str(switch))(App())
    assert call(health, "/healthcheck").status_int == 200
    switch.touch()
    answer = call(health, "/healthcheck")
    assert answer.status == "503 Service Unavailable"
    assert answer.body == b"DISABLED BY FILE"
    assert answer.headers["Content-Length"] == "16"
    switch.unlink()
    assert call(health, "/healthcheck").status_int == 200


# -- ready


@pytest.fixture(autouse=True)
def no_servers_of_other_tests(monkeypatch):
    monkeypatch.setattr(serving, "_servers", weakref.WeakSet())


class Server(App):
    reasons = ()

    def not_ready(self):
        return list(self.reasons)


def ready(health, query="ready", **options):
    return call(health, f"/healthcheck?{query}", **options)


def test_ready_is_what_the_server_says_and_health_is_not():
    server = Server()
    health = filter_factory({})(server)
    assert (ready(health).status_int, ready(health).body) == (200, b"READY")
    server.reasons = ["no disks: sdb1 is read-only", "and more"]
    answer = ready(health)
    assert answer.status == "503 Service Unavailable"
    assert answer.body == b"no disks: sdb1 is read-only\nand more\n"
    assert answer.headers["Content-Type"] == "text/plain"
    assert ready(health, method="HEAD").body == b""
    for query in ("", "ready=1", "x"):
        assert ready(health, query).body == b"OK"
    assert not server.calls


def test_a_server_that_has_nothing_to_say_is_ready_and_the_file_counts_first(tmp_path):
    switch = tmp_path / "disabled"
    health = filter_factory({}, disable_path=str(switch))(App())
    assert ready(health).body == b"READY"
    switch.touch()
    assert ready(health).body == b"DISABLED BY FILE"


def test_a_server_that_was_told_to_stop_is_not_ready():
    class Stopping:
        draining = True

    stopping = Stopping()
    serving._servers.add(stopping)
    try:
        health = filter_factory({})(Server())
        assert ready(health).body == b"stopping: what is begun is finished\n"
        assert call(health, "/healthcheck").body == b"OK"
    finally:
        serving._servers.discard(stopping)
