import re

import pytest
from filter_stand_ins import App, call, memory_logger

from swift.core.concurrency import Timeout
from swift.middleware.catch_errors import BadResponseLength, CatchErrorsMiddleware, filter_factory
from swift.telemetry.log import transaction
from swift.wire.errors import ClientDisconnected

ID = r"tx[0-9a-f]{21}-[0-9a-f]{10}"


def build(app, conf=None):
    logger, lines = memory_logger()
    return CatchErrorsMiddleware(app, conf or {}, logger), lines


def test_every_response_names_its_transaction():
    app = App("404 Not Found", [("Content-Length", "0")])
    answer = call(build(app)[0])
    name = app.environ["swift.trans_id"]
    assert re.fullmatch(ID, name)
    assert answer.header_list == [
        ("X-Trans-Id", name),
        ("X-Openstack-Request-Id", name),
        ("Content-Length", "0"),
    ]
    assert app.headers == [("Content-Length", "0")]
    assert transaction()[0] == name


def test_suffix_is_the_operators_and_the_clients():
    app = App()
    catch, _ = build(app, {"trans_id_suffix": "-stöck"})
    call(catch, headers={"X-Trans-Id-Extra": "my extra id/é that is longer than thirty-two"})
    name = app.environ["swift.trans_id"]
    # recorded from the reference: the WSGI text is quoted, so what came as UTF-8 is coded twice
    assert re.fullmatch(ID + re.escape("-st%C3%B6ck-my%20extra%20id/%C3%A9%20that%20is%20longer%20tha"), name)


@pytest.mark.parametrize(
    "error", [ValueError("secret detail"), Timeout(None)]
)  # with a number it would go off in some other test
@pytest.mark.parametrize("method, body", [("GET", b"An error occurred"), ("HEAD", b"")])
def test_what_falls_through_becomes_a_plain_500(error, method, body):
    catch, lines = build(App(error=error))
    answer = call(catch, method=method)
    assert answer.status_int == 500
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Content-Length"] == "17"
    assert answer.body == body
    assert re.fullmatch(ID, answer.headers["X-Trans-Id"])
    assert "Error: An error occurred" in lines[0]
    assert b"secret" not in answer.body


def test_an_error_after_start_response_replaces_the_response():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        raise ValueError

    started = []

    def start_response(status, headers, exc_info=None):
        started.append((status, exc_info is not None))

    catch, _ = build(app)
    body = catch({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, start_response)
    assert started == [("200 OK", False), ("500 Internal Error", True)]
    assert list(body) == [b"An error occurred"]


def test_an_application_that_starts_late_is_caught_too():
    def app(environ, start_response):
        raise ValueError
        yield b""

    answer = call(build(app)[0])
    assert answer.status_int == 500

    def late(environ, start_response):
        start_response("200 OK", [("Content-Length", "4")])
        yield b"ab"
        yield b"cd"

    assert call(build(late)[0]).body == b"abcd"


def test_a_client_that_left_is_the_servers_matter():
    catch, lines = build(App(error=ClientDisconnected("gone")))
    with pytest.raises(ClientDisconnected):
        call(catch)
    assert not lines


def test_in_the_server_loop_bodies_pass_untouched():
    body = iter([b"x"])
    catch, _ = build(App(body=body, headers=[("Content-Length", "1")]))
    answer = call(catch, environ={"swift.on_response_done": []}, read=False)
    assert answer.raw_body is body


@pytest.mark.parametrize(
    "method, length, chunks, received",
    [
        ("GET", "5", [b"abc", b"defg"], b"abcde"),
        ("GET", "5", [b"ab", b"c"], b"abc"),
        ("HEAD", "5", [b"ab"], b""),
        ("GET", "0", [b"a"], b""),
    ],
)
def test_bodies_of_another_length_than_announced_break(method, length, chunks, received):
    catch, _ = build(App(body=chunks, headers=[("Content-Length", length)]))
    answer = call(catch, method=method, read=False)
    seen = b""
    with pytest.raises(BadResponseLength):
        for chunk in answer.raw_body:
            seen += chunk
    assert seen == received


def test_bodies_of_the_announced_length_pass():
    class Body(list):
        closed = False

        def close(self):
            self.closed = True

    body = Body([b"ab", b"", b"c"])
    catch, _ = build(App(body=body, headers=[("content-length", "3")]))
    answer = call(catch, read=False)
    assert len(answer.raw_body) == 3
    assert b"".join(answer.raw_body) == b"abc"
    answer.raw_body.close()
    assert body.closed


@pytest.mark.parametrize(
    "headers", [[], [("Content-Length", "x")], [("Content-Length", "1"), ("Content-Length", "2")]]
)
def test_without_one_numeric_length_nothing_is_enforced(headers):
    catch, _ = build(App(body=[b"abc"], headers=headers))
    assert call(catch).body == b"abc"


def test_factory_reads_the_defaults():
    catch = filter_factory({"trans_id_suffix": "-a", "log_to": "stderr"})(App())
    assert catch.trans_id_suffix == "-a"
