"""The server with cert_file and key_file (spec operations.md 2.1)."""

import os
import ssl

import pytest
from running_server import read_all, wait_for

from swift.core.concurrency import raw_socket, sleep
from swift.engine.stream import Stream
from swift.wire import server
from swift.wire.body import FileBody, FileTooShort
from swift.wire.tls import FrontTls, TlsStream
from test import certificate
from test.certificate import Authority


@pytest.fixture
def made(tmp_path):
    return certificate.make(tmp_path)


def test_requests_over_tls(start, made, tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "data").write_bytes(data)
    fd = os.open(tmp_path / "data", os.O_RDONLY)

    def app(environ, start_response):
        assert environ["wsgi.url_scheme"] == "https"
        length = len(environ["wsgi.input"].read()) or len(data)
        start_response("200 OK", [("Content-Length", str(length))])
        return [b"x" * length] if environ["REQUEST_METHOD"] == "PUT" else FileBody(fd, 0, length)

    running = start(app, cert_file=made[0], key_file=made[1])
    context = ssl.create_default_context(cafile=made[0])
    with context.wrap_socket(running.connect(), server_hostname="localhost") as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"y" * 300_000)
        answer = b""
        while len(answer) < 300_000:
            answer += sock.recv(65536)
        assert answer.endswith(b"\r\n\r\n" + b"x" * 300_000)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert read_all(sock).partition(b"\r\n\r\n")[2] == data
    os.close(fd)


def test_a_tls_stream_has_no_descriptor_to_write_to():
    """Nobody can send past the encryption: there is no socket, no number of one, and nothing that says it could be spliced."""
    left, right = raw_socket.socketpair()
    stream = TlsStream(Stream(left), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert not stream.zero_copy
    for name in ("fd", "sock", "fileno", "stream", "sendfile_all", "splice_to"):
        assert not hasattr(stream, name)
    with pytest.raises(TypeError):
        os.sendfile(stream, 0, 0, 1)
    stream.close()
    right.close()


def body_until_close(start, made, app, version=ssl.TLSVersion.TLSv1_3):
    running = start(app, cert_file=made[0], key_file=made[1])
    context = ssl.create_default_context(cafile=made[0])
    context.minimum_version = context.maximum_version = version
    data = b""
    with context.wrap_socket(
        running.connect(), server_hostname="localhost", suppress_ragged_eofs=False
    ) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        try:
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return data.partition(b"\r\n\r\n")[2], True
                data += piece
        except ssl.SSLEOFError:
            return data.partition(b"\r\n\r\n")[2], False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_body_that_ends_with_the_connection_is_said_to_be_whole(start, made, version):
    def app(environ, start_response):
        start_response("200 OK", [])
        return iter([b"a" * 100_000, b"b"])

    assert body_until_close(start, made, app, version) == (b"a" * 100_000 + b"b", True)


def test_one_that_breaks_off_is_not(start, made):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"abc"
        raise FileTooShort("gone")

    assert body_until_close(start, made, app) == (b"abc", False)


def test_plain_http_to_a_tls_port_ends_quietly(start, made):
    running = start(lambda *args: [], cert_file=made[0], key_file=made[1])
    running.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert wait_for(lambda: running.server.active == 0)
    assert not running.records


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_client_that_speaks_no_common_version_is_told(start, made):
    running = start(lambda *args: [], cert_file=made[0], key_file=made[1])
    context = ssl.create_default_context(cafile=made[0])
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)alert.protocol.version|no.protocols"):
        context.wrap_socket(running.connect(), server_hostname="localhost")
    assert wait_for(lambda: running.server.active == 0) and not running.records


def test_a_missing_certificate_is_said_at_the_start(start, tmp_path):
    with pytest.raises(OSError, match=".+"):
        FrontTls(str(tmp_path / "none"), None)


def test_clients_may_have_to_show_a_certificate(start, tmp_path):
    authority = Authority(tmp_path / "ca")
    cert = authority.issue("localhost")

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    running = start(app, cert_file=cert, client_ca_file=str(authority.ca_file))
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    answers = []
    for shown in (None, authority.issue("client", file_name="client.pem")):
        if shown:
            context.load_cert_chain(shown)
        try:
            with context.wrap_socket(running.connect(), server_hostname="localhost") as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                answers.append(read_all(sock)[-2:])
        except OSError:
            answers.append(b"")
    assert answers == [b"", b"ok"]


def test_whoever_finds_no_place_hears_503_over_tls_too(start, made, monkeypatch):
    """And those who don't even begin their handshake hold up nobody."""
    monkeypatch.setattr(server, "_MOST_TLS_TURNED_AWAY", 3)
    release = []

    def app(environ, start_response):
        while not release:
            sleep(0.01)
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]

    running = start(app, cert_file=made[0], key_file=made[1], max_clients="1", queue_timeout="0.1")
    context = ssl.create_default_context(cafile=made[0])
    with context.wrap_socket(running.connect(), server_hostname="localhost") as held:
        held.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        wait_for(lambda: running.server.clients.taken == 1)
        for _ in range(2):
            silent = [running.connect() for _ in range(2)]
            with context.wrap_socket(running.connect(), server_hostname="localhost") as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                answer = read_all(sock)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: " in answer
            for sock in silent:
                assert read_all(sock) == b""
                sock.close()
        silent = [running.connect() for _ in range(20)]
        for sock in silent:
            assert read_all(sock) == b""
            sock.close()
        release.append(1)
        assert read_all(held).endswith(b"hello")
    wait_for(lambda: running.server.active == 0)
    with context.wrap_socket(running.connect(), server_hostname="localhost") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert read_all(sock).endswith(b"hello")
