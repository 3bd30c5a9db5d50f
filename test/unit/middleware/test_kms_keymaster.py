"""Root secrets out of key stores, by the real libraries: Castellan with its own stand-in and with a Barbican that we play, PyKMIP with its own server."""

import base64
import hashlib
import hmac
import http.server
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from filter_stand_ins import App, call

from swift.core.errors import ConfigError
from swift.middleware import kmip_keymaster, kms_keymaster
from swift.middleware.keymaster.keys import CALLBACK
from test.certificate import make
from test.ports import free_port

CASTELLAN, PYKMIP = (importlib.util.find_spec(name) is not None for name in ("castellan", "kmip"))
needs_castellan = pytest.mark.skipif(not CASTELLAN, reason="castellan is not installed: the extra kms")
needs_pykmip = pytest.mark.skipif(not PYKMIP, reason="PyKMIP is not installed: the extra kmip")
SECRETS = {"first": b"1" * 32, "second": b"2" * 32, "long": b"3" * 64, "short": b"4" * 16}


def keys_of(made):
    app = App()
    call(made(app), "/v1/AUTH_test/c/o", "PUT")
    return app.arrived[CALLBACK]


# -- Castellan -------------------------------------------------------------------------------------------------------------

if CASTELLAN:
    from castellan.common.objects.opaque_data import OpaqueData
    from castellan.common.objects.symmetric_key import SymmetricKey
    from castellan.tests.unit.key_manager.mock_key_manager import MockKeyManager

    class Prepared(MockKeyManager):
        """Castellan's stand-in for a store, with keys in it."""

        asked = []

        def __init__(self, configuration=None):
            super().__init__(configuration)
            for name, secret in SECRETS.items():
                self.keys[name] = SymmetricKey("AES", len(secret) * 8, secret, name)
            self.keys["des"] = SymmetricKey("DES", 256, b"5" * 32, "des")
            self.keys["opaque"] = OpaqueData(b"6" * 32, "opaque")
            self.keys["cut"] = SymmetricKey("AES", 256, b"7" * 8, "cut")

        def get(self, context, managed_object_id, metadata_only=False):
            self.asked.append(managed_object_id)
            return super().get(context, managed_object_id, metadata_only)


STORE = {"api_class": "test_kms_keymaster.Prepared", "username": "swift", "password": "sesame"}


@needs_castellan
def test_secrets_from_a_store():
    made = kms_keymaster.filter_factory(
        {}, **STORE, key_id="first", key_id_b="second", key_id_c="long", active_root_secret_id="b"
    )
    keys = keys_of(made)
    assert keys()["id"] == {"v": "2", "path": "/AUTH_test/c/o", "secret_id": "b"}
    assert len(keys()["all_ids"]) == 3
    for key_id, name in (({}, "first"), ({"secret_id": "b"}, "second"), ({"secret_id": "c"}, "long")):
        wanted = hmac.digest(SECRETS[name], b"/AUTH_test/c/o", hashlib.sha256)
        assert keys(key_id={"v": "2", "path": "/AUTH_test/c/o", **key_id})["object"] == wanted


@needs_castellan
def test_each_key_is_fetched_once():
    del Prepared.asked[:]
    kms_keymaster.filter_factory({}, **STORE, key_id="first", key_id_b="first")
    assert Prepared.asked == ["first"]


@needs_castellan
@pytest.mark.parametrize(
    "conf, told",
    [
        ({**STORE}, "no key_id"),
        ({**STORE, "key_id": "short"}, "key short must be an AES key"),
        ({**STORE, "key_id": "des"}, "key des must be an AES key"),
        ({**STORE, "key_id": "opaque"}, "key opaque must be an AES key"),
        ({**STORE, "key_id": "cut"}, "key cut has less than 256 bits"),
        ({**STORE, "key_id": "none"}, "key none could not be fetched"),
        ({**STORE, "key_id": "first", "active_root_secret_id": "x"}, "active_root_secret_id x"),
        ({**STORE, "key_id_a": "first"}, r"active_root_secret_id \(none\)"),
        ({**STORE, "api_class": "no.such.Class", "key_id": "first"}, "no key store"),
        ({**STORE, "keymaster_config_path": "/x"}, "must stand in /x"),
    ],
)
def test_what_ends_the_start(conf, told):
    with pytest.raises(ConfigError, match=told) as raised:
        kms_keymaster.filter_factory(conf)
    assert "sesame" not in str(raised.value) and "555" not in str(raised.value)


class Barbican(http.server.BaseHTTPRequestHandler):
    """As much of Keystone and Barbican as is asked for."""

    seen: list = []

    def log_message(self, *_args):
        pass

    def _answer(self, status, body, content_type="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(data)),
            **headers,
        }.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(asked)
        endpoints = [
            {"id": region, "interface": "public", "region": region, "region_id": region, "url": url}
            for region, url in (("north", "http://127.0.0.1:1"), ("south", self.url))
        ]
        token = {
            "methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2020-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "swift", "domain": {"id": "d", "name": "d"}}, "audit_ids": ["a"],
            "project": {"id": "p", "name": "service", "domain": {"id": "d", "name": "d"}}, "roles": [],
            "catalog": [{"id": "k", "type": "key-manager", "name": "barbican", "endpoints": endpoints}],
        }  # fmt: skip
        self._answer(201, {"token": token}, X_Subject_Token="token")

    def do_GET(self):
        self.seen.append(self.path)
        if self.path.endswith("/payload"):
            self._answer(200, SECRETS["first"], "application/octet-stream")
        elif "/secrets/" in self.path:
            ref = self.url + self.path
            self._answer(
                200,
                {
                    "secret_ref": ref, "name": "root", "status": "ACTIVE", "algorithm": "aes", "bit_length": 256, "mode": None,
                    "secret_type": "symmetric", "content_types": {"default": "application/octet-stream"}, "expiration": None,
                    "created": "2020-01-01T00:00:00", "updated": "2020-01-01T00:00:00", "creator_id": "u",
                },
            )  # fmt: skip
        elif self.path.startswith("/v3"):
            link = [{"rel": "self", "href": f"{self.url}/v3/"}]
            self._answer(200, {"version": {"id": "v3.14", "status": "stable", "links": link}})
        else:
            link = [{"rel": "self", "href": f"{self.url}/v1/"}]
            self._answer(200, {"versions": {"values": [{"id": "v1", "status": "stable", "links": link}]}})


@pytest.fixture
def barbican():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Barbican)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    del Barbican.seen[:]
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@needs_castellan
@pytest.mark.parametrize("endpoint", ["barbican_endpoint", "barbican_region_name"])
def test_secrets_from_barbican(barbican, endpoint, tmp_path):
    path = tmp_path / "kms.conf"
    where = barbican if endpoint == "barbican_endpoint" else "south"
    path.write_text(
        f"[kms_keymaster]\nauth_endpoint = {barbican}/v3\nusername = swift\npassword = sesame\nproject_name = service\n"
        f"user_domain_name = d\nproject_domain_name = d\n{endpoint} = {where}\nkey_id = 7b1e2d2c-6a9a-4f7c-9d0c-0c8f5b6ad3b2\n"
    )
    keys = keys_of(kms_keymaster.filter_factory({}, keymaster_config_path=str(path)))()
    assert keys["object"] == hmac.digest(SECRETS["first"], b"/AUTH_test/c/o", hashlib.sha256)
    auth = next(seen for seen in Barbican.seen if isinstance(seen, dict))["auth"]
    assert auth["identity"]["password"]["user"]["password"] == "sesame"
    assert auth["scope"]["project"]["name"] == "service"


# -- KMIP ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kmip(tmp_path_factory):
    """PyKMIP's server with keys in it: (lines that lead to it, id by name)."""
    folder = tmp_path_factory.mktemp("kmip")
    certificate, key = make(folder)
    port = free_port()
    conf = folder / "server.conf"
    conf.write_text(
        f"[server]\nhostname = 127.0.0.1\nport = {port}\ncertificate_path = {certificate}\nkey_path = {key}\n"
        f"ca_path = {certificate}\nauth_suite = TLS1.2\nenable_tls_client_auth = False\ndatabase_path = {folder}/db\n"
        f"policy_path = {folder}\n"
    )
    start = "from kmip.services.server.server import main; main()"
    command = [sys.executable, "-c", start, "-f", str(conf), "-l", str(folder / "log")]
    with open(folder / "out", "wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, start_new_session=True)
    lines = f"host = 127.0.0.1\nport = {port}\ncertfile = {certificate}\nkeyfile = {key}\nca_certs = {certificate}\n"
    try:
        _wait(port, server, folder)
        yield lines, _registered(folder, lines)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # it has a process of its own beside it
        server.wait()


def _wait(port, server, folder):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert server.poll() is None, (folder / "out").read_text()
            time.sleep(0.1)
    raise AssertionError((folder / "out").read_text())


def _registered(folder, lines):
    from kmip.core import enums
    from kmip.pie.client import ProxyKmipClient
    from kmip.pie.objects import SymmetricKey

    path = folder / "client.conf"
    path.write_text(f"[client]\n{lines}")
    with ProxyKmipClient(config_file=str(path)) as client:
        return {
            name: client.register(SymmetricKey(enums.CryptographicAlgorithm.AES, len(secret) * 8, secret))
            for name, secret in SECRETS.items()
            if len(secret) <= 32
        }


@needs_pykmip
@pytest.mark.parametrize("own_file", [True, False])
def test_secrets_by_kmip(kmip, own_file, tmp_path, caplog):
    lines, ids = kmip
    path = tmp_path / "some.conf"
    section = "kmip_keymaster" if own_file else "filter:keys"
    options = {
        "key_id": ids["first"],
        "key_id_b": ids["second"],
        "key_id_c": ids["second"],
        "active_root_secret_id": "b",
    }
    path.write_text(
        f"[{section}]\n{lines}" + "".join(f"{name} = {value}\n" for name, value in options.items())
    )
    with caplog.at_level(logging.DEBUG):
        if own_file:
            made = kmip_keymaster.filter_factory({}, keymaster_config_path=str(path))
        else:
            made = kmip_keymaster.filter_factory({"__file__": str(path)}, __name__="keys", **options)
    keys = keys_of(made)
    assert keys()["object"] == hmac.digest(SECRETS["second"], b"/AUTH_test/c/o", hashlib.sha256)
    assert len(keys()["all_ids"]) == 3
    told = caplog.text
    for secret in (SECRETS["first"], SECRETS["second"]):
        assert (
            repr(secret) not in told
            and secret.hex() not in told
            and base64.b64encode(secret).decode() not in told
        )


@needs_pykmip
def test_keys_that_will_not_do_by_kmip(kmip, tmp_path):
    lines, ids = kmip
    path = tmp_path / "some.conf"
    for options, told in (
        (f"key_id = {ids['short']}\n", "must be an AES key of 256 bits"),
        ("key_id = 9999\n", "could not be fetched by KMIP"),
        ("", "no key_id"),
        (f"key_id = {ids['first']}\nactive_root_secret_id = x\n", "active_root_secret_id x"),
    ):
        path.write_text(f"[kmip_keymaster]\n{lines}{options}")
        with pytest.raises(ConfigError, match=told):
            kmip_keymaster.filter_factory({}, keymaster_config_path=str(path))
    os.mkdir(tmp_path / "conf.d")
    with pytest.raises(ConfigError, match="directory"):
        kmip_keymaster.filter_factory({"__file__": str(tmp_path / "conf.d")}, __name__="keys", key_id="1")


@pytest.mark.parametrize(
    "filters, missing, conf",
    [(kms_keymaster, "castellan", {}), (kmip_keymaster, "kmip.pie.client", {"__file__": "/none"})],
)
def test_without_the_library_it_says_what_to_install(filters, missing, conf, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match="pip install"):
        filters.filter_factory(conf, key_id="first")
