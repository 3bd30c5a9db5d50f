"""A Keystone of its own for the tests, on SQLite and loopback, everything below one folder; and its API, as far as they need it.

What never lives here: assertions about the store.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import pathlib
import subprocess
import time
from collections.abc import Mapping
from typing import Any

# Keystone takes a server's arguments for its own; so it gets a starter without any. It ends with who started it, however that ends.
STARTER = """\
import os, sys, threading
import waitress

def end_with_starter():
    sys.stdin.buffer.read()
    os._exit(0)

threading.Thread(target=end_with_starter, daemon=True).start()
from keystone.wsgi.api import application
waitress.serve(application, host="127.0.0.1", port=int(os.environ["KEYSTONE_PORT"]), threads=4, ident=None)
"""
CONFIGURATION = """\
[DEFAULT]
log_file = {folder}/keystone.log
public_endpoint = {url}/
[database]
connection = sqlite:///{folder}/keystone.db
[fernet_tokens]
key_repository = {folder}/fernet-keys
[fernet_receipts]
key_repository = {folder}/receipt-keys
[credential]
key_repository = {folder}/credential-keys
[identity]
password_hash_rounds = 4
[oslo_policy]
policy_file = {folder}/policy.yaml
"""
DEFAULT = "default"
START_LIMIT = 120  # seconds


class KeystoneAnswer(Exception):
    """An answer that was not wanted: status and body."""


class Keystone:
    """Started and bootstrapped; `admin` has the role admin in the project admin."""

    def __init__(self, folder: pathlib.Path, bin_folder: pathlib.Path, port: int) -> None:
        self.folder = folder
        self.bin = bin_folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""

    def start(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "keystone.conf").write_text(CONFIGURATION.format(folder=self.folder, url=self.url))
        (self.folder / "policy.yaml").write_text("{}\n")
        (self.folder / "serve.py").write_text(STARTER)
        self._manage("db_sync")
        for kind in ("fernet", "receipt", "credential"):
            keys = self.folder / f"{kind}-keys"
            keys.mkdir(mode=0o700)
            for name in ("0", "1"):  # the next one, and the one in use
                (keys / name).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
        v3 = f"{self.url}/v3"
        self._manage(
            "bootstrap", "--bootstrap-password", "admin-secret", "--bootstrap-region-id", "RegionOne",
            "--bootstrap-public-url", v3, "--bootstrap-internal-url", v3, "--bootstrap-admin-url", v3,
        )  # fmt: skip
        environment = {
            **os.environ,
            "OS_KEYSTONE_CONFIG_FILES": str(self.folder / "keystone.conf"),
            "KEYSTONE_PORT": str(self.port),
        }
        with (self.folder / "serve.out").open("wb") as out:
            self._process = subprocess.Popen(
                [self.bin / "python", self.folder / "serve.py"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
            )
        self._wait()
        self._token = self.token("admin", "admin", password="admin-secret")[0]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _manage(self, *arguments: str) -> None:
        command = [self.bin / "keystone-manage", "--config-file", self.folder / "keystone.conf", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments[0]}: {done.stderr[-2000:]}"

    def _wait(self) -> None:
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            assert self._process is not None and self._process.poll() is None, self._said()
            try:
                self._call("GET", "/v3", {})
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"Keystone does not answer: {self._said()}")

    def _said(self) -> str:
        return (self.folder / "serve.out").read_text(errors="replace")[-2000:]

    # -- its API -----------------------------------------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            text = answer.read()
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                json.loads(text) if text else None,
            )
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """The JSON of an answer below /v3. Raises KeystoneAnswer for all but 2xx."""
        status, _, answer = self._call(method, f"/v3{path}", {"X-Auth-Token": token or self._token}, body)
        if status // 100 != 2:
            raise KeystoneAnswer(f"{method} {path}: {status} {answer}")
        return answer

    def make(self, kind: str, **values: Any) -> str:
        """The id of a new domain, project, role, user, service, endpoint …"""
        return self.call("POST", f"/{kind}s", {kind: values})[kind]["id"]

    def id_of(self, kind: str, **values: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in values.items())
        found = self.call("GET", f"/{kind}s?{query}")[f"{kind}s"]
        return found[0]["id"]

    def grant(self, role: str, user: str, project: str) -> None:
        """All by id."""
        self.call("PUT", f"/projects/{project}/users/{user}/roles/{role}")

    def revoke(self, token: str) -> None:
        status, _, answer = self._call(
            "DELETE", "/v3/auth/tokens", {"X-Auth-Token": token, "X-Subject-Token": token}
        )
        assert status == 204, answer

    def token(
        self, user: str, project: str | None, domain: str = DEFAULT, password: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """(a token, what Keystone tells of it); without a project one that is scoped to nothing. `domain`: an id."""
        who = {"name": user, "domain": {"id": domain}, "password": password or f"{user}-secret"}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}}}
        if project is not None:
            auth["scope"] = {"project": {"name": project, "domain": {"id": domain}}}
        else:
            auth["scope"] = "unscoped"
        return self._issued(auth)

    def token_of_credential(self, credential: str, secret: str) -> str:
        """A token of an application credential."""
        of_it = {"id": credential, "secret": secret}
        methods = ["application_credential"]
        return self._issued({"identity": {"methods": methods, "application_credential": of_it}})[0]

    def _issued(self, auth: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        status, headers, answer = self._call("POST", "/v3/auth/tokens", {}, {"auth": auth})
        if status != 201:
            raise KeystoneAnswer(f"no token: {status} {answer}")
        return headers["x-subject-token"], answer["token"]
