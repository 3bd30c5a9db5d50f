"""A cluster whose nodes speak TLS to each other and sign what they send: all sizes and policies, and nobody hears or says anything else."""

import contextlib
import hashlib
import os
import socket
import ssl
import time

import pytest

from swift.core import backend_security, swift_dir
from test.certificate import Authority
from test.cluster import Cluster
from test.intruder import Intruder, try_all


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("tls") / "saio")
    cluster.write()
    etc = cluster.layout.etc
    authority = Authority(etc / "ca")
    cert = authority.issue("node.cluster", *(f"127.0.0.{number}" for number in range(1, 5)))
    conf = etc / "swift.conf"
    lines = f"tls = require\ntls_cert_file = {cert}\ntls_ca_file = ca/ca.pem\ntls_names = *.cluster\n"
    conf.write_text(conf.read_text().replace("signing = require\n", f"signing = require\n{lines}"))
    with cluster:
        swift_dir.use(str(etc))
        cluster.authority = authority
        yield cluster
        for path in cluster.layout.log.iterdir():
            assert "Traceback" not in path.read_text(errors="replace"), path


@pytest.mark.parametrize("policy", ["gold", "ec42"])
def test_all_sizes_go_through(own, policy):
    path = f"/{policy}"
    assert own.request("PUT", path, headers={"X-Storage-Policy": policy}).status == 201
    for size in (0, 4096, 100_000, 3_000_000):
        body = os.urandom(size)
        assert own.request("PUT", f"{path}/{size}", body).status == 201
        answer = own.request("GET", f"{path}/{size}")
        assert (answer.status, answer.body) == (200, body)
    part = own.request("GET", f"{path}/3000000", headers={"Range": "bytes=1000000-1999999"})
    assert (part.status, part.body) == (206, body[1_000_000:2_000_000])
    parts = own.request("GET", f"{path}/3000000", headers={"Range": "bytes=0-9,2999990-"})
    assert parts.status == 206 and body[:10] in parts.body and body[-10:] in parts.body
    copied = own.request("COPY", f"{path}/3000000", headers={"Destination": f"{policy}/copy"})
    assert copied.status == 201
    assert own.request("HEAD", f"{path}/copy").headers["etag"] == hashlib.md5(body).hexdigest()
    end = time.monotonic() + 30
    while own.request("GET", path).body.decode().splitlines() != ["0", "100000", "3000000", "4096", "copy"]:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_nobody_else_gets_a_word(own):
    assert own.request("PUT", "/mine").status == 201 and own.request("PUT", "/mine/o", b"x").status == 201
    intruder = Intruder(str(own.layout.etc), ("AUTH_test", "mine", "o"))
    assert try_all(intruder) == set()
    intruder.close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(own.authority.ca_file)
    for cert in (None, own.authority.issue("somebody.else", "127.0.0.1", file_name="other.pem")):
        if cert is not None:
            context.load_cert_chain(cert)
        assert said_to(context, own.layout.storage_address("object", 1)) == b""
    assert own.request("GET", "/mine/o").body == b"x"
    assert backend_security.current().tls.way == "require"


def said_to(context, address):
    """What /healthcheck says to who has such a certificate."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(address) as sock,
        context.wrap_socket(sock) as tls,
    ):
        tls.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: h\r\n\r\n")
        return tls.recv(100)
    return b""
