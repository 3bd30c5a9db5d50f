"""A proxy with cert_file beside the cluster's own: every download is the same over TLS (operations 2.1)."""

import http.client
import os
import re
import signal
import ssl
import subprocess
import sys

import pytest

from test import certificate
from test.cluster import Answer, wait_for_port
from test.ports import free_ports

CONTENT = b"SECRETsecret" * 200_000


@pytest.fixture(scope="module")
def secure(cluster, tmp_path_factory):
    """secure(method, path, headers) → Answer of the TLS proxy, over one connection for all."""
    folder = tmp_path_factory.mktemp("tls")
    cert_file, key_file = certificate.make(folder)
    port, _ = free_ports()
    text = cluster.layout.proxy_conf.read_text()
    text = re.sub(r"(?m)^bind_port *=.*$", f"bind_port = {port}", text)
    text = text.replace("[DEFAULT]", f"[DEFAULT]\ncert_file = {cert_file}\nkey_file = {key_file}", 1)
    conf = folder / "proxy-server.conf"
    conf.write_text(text)
    command = os.path.join(os.path.dirname(sys.executable), "swift-proxy-server")
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([command, str(conf)], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for_port(cluster.layout.ip, port)
        context = ssl.create_default_context(cafile=cert_file)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)

        def ask(method, path, headers=None, body=None):
            given = {"X-Auth-Token": cluster.token, **(headers or {})}
            connection.request(method, f"/v1/AUTH_test{path}", body, given)
            return Answer(connection.getresponse())

        yield ask
        connection.close()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    assert "Traceback" not in (folder / "log").read_text()


def without_boundary(answer):
    """(status, body), whatever the boundary of its parts is."""
    boundary = answer.headers.get("content-type", "").partition("boundary=")[2].encode()
    return answer.status, answer.body.replace(boundary, b"") if boundary else answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=7-2000000"},
        {"Range": "bytes=0-9,1000000-2000000"},
        {"Range": "bytes=99999999-"},
        {"Range": "bytes=7-2000000", "If-Range": '"another"'},
        {"If-None-Match": "*"},
        {"X-Newest": "true"},
    ],
)
def test_downloads(cluster, secure, headers):
    assert cluster.request("PUT", "/tls").status in (201, 202)
    assert secure("PUT", "/tls/big", body=CONTENT).status == 201
    over_tls, plain = secure("GET", "/tls/big", headers), cluster.request("GET", "/tls/big", headers=headers)
    assert without_boundary(over_tls) == without_boundary(plain)
    assert over_tls.headers["content-length"] == plain.headers["content-length"]
    if "If-Range" in headers or not headers:
        assert (over_tls.status, over_tls.body) == (200, CONTENT)


def test_a_long_listing(cluster, secure):
    assert cluster.request("PUT", "/tls-names").status in (201, 202)
    for number in range(200):
        assert secure("PUT", f"/tls-names/{'n' * 900}{number}", body=b"").status == 201
    over_tls = secure("GET", "/tls-names?format=json")
    assert over_tls.body == cluster.request("GET", "/tls-names?format=json").body
    assert len(over_tls.body) > 180_000
