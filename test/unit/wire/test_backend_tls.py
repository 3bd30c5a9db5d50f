"""TLS between nodes: who is let in and talked to, how it is rolled out, and certificates that are replaced."""

import ssl

import pytest
from running_server import Running, read_all

from swift.core import backend_security
from swift.core.backend_security import Settings, Tls
from swift.core.concurrency import raw_socket
from swift.wire import backend_tls, tls
from swift.wire import server as server_module
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, header_block, wait_any
from swift.wire.connection_pool import POOL
from test.certificate import Authority


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(server_module, "DRAIN_GRACE", 0.01)
    POOL.clear()
    yield
    POOL.clear()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


def settings_of(authority, way="require", cert=None, **more):
    cert = cert or authority.issue("node.example", "127.0.0.1")
    return Tls(way=way, cert_file=cert, ca_file=str(authority.ca_file), **more)


def use(settings):
    backend_security.use(Settings(tls=settings))


def app(environ, start_response):
    length = len(environ["wsgi.input"].read())
    body = environ["wsgi.url_scheme"].encode() + b"x" * length
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def serve():
    """serve(settings) → Running, a storage server of these settings."""
    running = []

    def start(settings):
        one = Running(app, {}, door=backend_tls.NodeTls(settings))
        running.append(one)
        return one

    yield start
    for one in running:
        one.stop()


def call(port, body=b""):
    block = header_block([("Content-Length", str(len(body)))])
    return BackendCall("127.0.0.1", port, "PUT", "/x", block, body, conn_timeout=5, timeout=5)


def ask(port, body=b""):
    return call(port, body).answer().read_all(10_000_000)


def test_nodes_of_one_authority_talk_to_each_other(authority, serve):
    settings = settings_of(authority)
    use(settings)
    running = serve(settings)
    assert ask(running.port) == b"https"
    assert ask(running.port, b"y" * 3_000_000) == b"https" + b"x" * 3_000_000
    assert len(POOL._idle["127.0.0.1", running.port]) == 1  # one connection for both


@pytest.mark.parametrize("who", ["plain", "nobody", "stranger", "other name"])
def test_who_is_not_let_in(authority, serve, tmp_path, who):
    running = serve(settings_of(authority, names=("node*.example",)))
    if who == "plain":
        assert running.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")[:4] != b"HTTP"
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if who != "nobody":
        of = authority if who == "other name" else Authority(tmp_path / "other")
        context.load_cert_chain(of.issue("visitor.example", "127.0.0.1", file_name="visitor.pem"))
    answer = b""
    try:
        with context.wrap_socket(running.connect(), server_hostname="127.0.0.1") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = read_all(sock)
    except OSError:
        pass
    assert answer == b"" and running.done == []


@pytest.mark.parametrize("who", ["plain", "stranger", "other address", "other name"])
def test_who_is_not_talked_to(authority, serve, tmp_path, who):
    other = Authority(tmp_path / "other")
    servers = {
        "plain": settings_of(authority, "accept"),
        "stranger": settings_of(other),
        "other address": settings_of(authority, cert=authority.issue("n", "127.0.0.9", file_name="a.pem")),
        "other name": settings_of(authority, cert=authority.issue("n", "127.0.0.1", file_name="b.pem")),
    }
    running = serve(servers[who])
    if who == "plain":
        running.server._door = None
    use(settings_of(authority, names=("node*.example", "127.0.0.9")))
    with pytest.raises(BackendError):
        ask(running.port)
    assert [method for method, *_ in running.done if method == "PUT"] == []


def test_an_address_need_not_be_in_a_certificate(authority, serve):
    cert = authority.issue("node.example", file_name="nameless.pem")
    settings = settings_of(authority, cert=cert, check_address=False)
    use(settings)
    assert ask(serve(settings).port) == b"https"


def test_it_is_rolled_out_while_plain_connections_are_in_use(authority, serve):
    """off → accept → use → require, server by server: at each step all can talk to those who are one step ahead or behind."""
    ways = ["off", "accept", "use", "require"]
    for mine, theirs in [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3)]:
        POOL.clear()
        running = serve(settings_of(authority, ways[theirs]))
        use(settings_of(authority, ways[mine]))
        assert ask(running.port) == (b"https" if mine >= 2 else b"http"), (mine, theirs)


def test_whichever_of_several_answers_first_is_heard(authority, serve):
    settings = settings_of(authority)
    use(settings)
    running = serve(settings)
    calls = [call(running.port) for _ in range(3)]
    for one in calls:
        one.send()
    waiting = {one.conn: one for one in calls}
    while waiting:
        ready = wait_any(list(waiting), 5)
        assert ready
        for conn in ready:
            assert waiting.pop(conn).response().read_all(100) == b"https"


def test_certificates_are_replaced_while_connections_stay(authority, serve, monkeypatch, caplog):
    monkeypatch.setattr(backend_security, "LOOK_SECONDS", 0.0)
    settings = settings_of(authority)
    use(settings)
    running = serve(settings)
    open_one = call(running.port)
    assert open_one.answer().read_all(100) == b"https"

    def serial():
        with context.wrap_socket(
            raw_socket.create_connection(("127.0.0.1", running.port)), server_hostname="127.0.0.1"
        ) as sock:
            return sock.getpeercert()["serialNumber"]

    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.load_cert_chain(settings.cert_file)
    before = serial()
    assert serial() == before
    authority.issue("node.example", "127.0.0.1")
    assert ask(running.port) == b"https"  # over the connection that is there
    assert POOL._count == 1
    assert serial() != before
    with open(settings.cert_file, "w") as f:
        f.write("no certificate\n")
    before = serial()
    assert serial() == before
    told = [record.getMessage() for record in caplog.records if record.name == "swift.wire.tls"]
    assert told and "used as they were" in told[0] and settings.cert_file in told[0]
    assert len(told) <= 2  # of the server's side and the client's, once


def test_a_door_is_shut_to_who_says_nothing(authority, serve, monkeypatch):
    """Who connects and begins no handshake, or does not end it, is not waited for as long as for a request."""
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.2)
    monkeypatch.setattr(backend_tls, "HANDSHAKE_SECONDS", 0.2)
    running = serve(settings_of(authority))
    for begin in (b"", b"\x16\x03\x01"):
        with running.connect() as sock:
            sock.sendall(begin)
            assert read_all(sock) == b""


def test_files_that_are_none_end_the_start(authority, tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(OSError):
        backend_tls.NodeTls(Tls(way="require", cert_file=str(tmp_path / "x"), ca_file=str(authority.ca_file)))
