"""The server with cert_file and key_file (spec operations.md 2.1)."""

import datetime
import os
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from running_server import read_all, wait_for

from swift.wire.body import FileBody


@pytest.fixture
def certificate(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(cert_file), str(key_file)


def test_requests_over_tls(start, certificate, tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "data").write_bytes(data)
    fd = os.open(tmp_path / "data", os.O_RDONLY)

    def app(environ, start_response):
        assert environ["wsgi.url_scheme"] == "https"
        length = len(environ["wsgi.input"].read()) or len(data)
        start_response("200 OK", [("Content-Length", str(length))])
        return [b"x" * length] if environ["REQUEST_METHOD"] == "PUT" else FileBody(fd, 0, length)

    server = start(app, cert_file=certificate[0], key_file=certificate[1])
    context = ssl.create_default_context(cafile=certificate[0])
    with context.wrap_socket(server.connect(), server_hostname="localhost") as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"y" * 300_000)
        answer = b""
        while len(answer) < 300_000:
            answer += sock.recv(65536)
        assert answer.endswith(b"\r\n\r\n" + b"x" * 300_000)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert read_all(sock).partition(b"\r\n\r\n")[2] == data
    os.close(fd)


def test_plain_http_to_a_tls_port_ends_quietly(start, certificate):
    server = start(lambda *args: [], cert_file=certificate[0], key_file=certificate[1])
    server.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert wait_for(lambda: server.server.active == 0)
    assert not server.records


def test_a_missing_certificate_is_said_at_the_start(start, tmp_path):
    from swift.wire.tls import server_context

    with pytest.raises(OSError, match=".+"):
        server_context(str(tmp_path / "none"), None)
