import pytest
from filter_stand_ins import App, call

from swift.middleware.healthcheck import filter_factory


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
