"""Keystone with its people, and a cluster whose proxy knows it. KEYSTONE_BIN: where Keystone is installed (test/keystone/run does it)."""

from __future__ import annotations

import dataclasses
import http.client
import importlib.metadata
import os
import pathlib
import re
import time
import urllib.parse
from typing import Any

import pytest
from identity import DEFAULT, Keystone

from swift.cli import saio
from test.cluster import Cluster, wait_for_port
from test.ports import free_port

KEYSTONE_BIN = os.environ.get("KEYSTONE_BIN", "")
TOKEN_CACHE_TIME = 3  # seconds
# As the reference's sample has them, as far as they are there.
FILTERS = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl authtoken s3api s3token keystoneauth copy "
    "container-quotas account-quotas slo dlo versioned_writes symlink customer_keys object_lock proxy-logging"
)
ROLES = ("member", "operator", "observer", "service", "ResellerAdmin")
# user: (project, roles, domain)
PEOPLE = {
    "ann": ("red", "member operator", DEFAULT),
    "ben": ("red", "member", DEFAULT),
    "eve": ("red", "observer", DEFAULT),
    "dan": ("blue", "member operator", DEFAULT),
    "max": ("admin", "ResellerAdmin", DEFAULT),
    "swift": ("service", "service", DEFAULT),  # the store's own
    "s3": (
        "service",
        "service admin",
        DEFAULT,
    ),  # the store's own, for s3token: admin, so that it may read secrets
    "glance": ("service", "service operator", DEFAULT),
    "worker": ("service", "member", DEFAULT),
    "ann2": ("red", "member operator", "second"),  # another ann of another red
}
AUTHTOKEN = """\
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {url}
auth_url = {url}
auth_type = password
username = swift
password = swift-secret
project_name = service
user_domain_id = default
project_domain_id = default
delay_auth_decision = True
cache = swift.cache
token_cache_time = {cache_time}
include_service_catalog = False
service_token_roles = service
service_token_roles_required = True

[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = AUTH, SERVICE
operator_roles = admin, operator
SERVICE_service_roles = service
project_reader_roles = observer
"""
S3TOKEN = """
[filter:s3token]
use = egg:swift#s3token
auth_uri = {url}/v3
auth_url = {url}/v3
auth_type = password
username = {user}
password = {user}-secret
project_name = service
user_domain_id = default
project_domain_id = default
secret_cache_duration = {cache_time}
http_timeout = 60
"""


def pytest_collection_modifyitems(items: list[Any]) -> None:
    folder = pathlib.Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.keystone)
            if not KEYSTONE_BIN:
                reason = "KEYSTONE_BIN names no installation of Keystone (test/keystone/run makes one)"
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclasses.dataclass
class Person:
    """Somebody with a token for a project, and the account that Keystone's catalog names for it."""

    keystone: Keystone
    user: str
    project: str | None
    domain: str = DEFAULT
    token: str = ""
    user_id: str = ""
    project_id: str = ""
    url: str = ""

    def log_in(self) -> Person:
        """Takes a fresh token."""
        self.token, told = self.keystone.token(self.user, self.project, self.domain)
        self.user_id = told["user"]["id"]
        if self.project is not None:
            self.project_id = told["project"]["id"]
            (service,) = [service for service in told["catalog"] if service["type"] == "object-store"]
            self.url = next(end["url"] for end in service["endpoints"] if end["interface"] == "public")
        return self

    def anew(self) -> Person:
        """The same person with another token."""
        return Person(self.keystone, self.user, self.project, self.domain).log_in()

    def __call__(
        self,
        method: str,
        path: str = "",
        body: Any = None,
        url: str = "",
        token: str | None = "",
        **headers: str,
    ) -> Reply:
        """A request below the account's URL, or `url`; with one's own token, another, or none (None)."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["X-Auth-Token"] = token or self.token
        return ask(method, (url or self.url) + path, body, given)


class Reply:
    """status: int; headers: [(lower-case name, value)]; body: bytes."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = [(name.lower(), value) for name, value in answer.getheaders()]
        self.body = answer.read()

    def header(self, name: str) -> str | None:
        return next((value for have, value in self.headers if have == name), None)


def ask(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, headers or {})
        return Reply(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture(scope="session")
def ports() -> tuple[int, int]:
    """(Keystone's, the store's)"""
    return free_port(), free_port()


@pytest.fixture(scope="session")
def keystone(tmp_path_factory, ports):
    """It runs, and knows the PEOPLE and the store."""
    service = Keystone(tmp_path_factory.mktemp("identity") / "keystone", pathlib.Path(KEYSTONE_BIN), ports[0])
    try:
        service.start()
        populate(service, f"http://127.0.0.1:{ports[1]}")
        yield service
    finally:
        service.stop()


def populate(keystone: Keystone, store: str) -> None:
    domains = {DEFAULT: DEFAULT, "second": keystone.make("domain", name="second")}
    roles = {name: keystone.id_of("role", name=name) for name in ("admin", "member", "service")}
    roles |= {name: keystone.make("role", name=name) for name in ROLES if name not in roles}
    projects = {(DEFAULT, "admin"): keystone.id_of("project", name="admin")}
    for name, (project, held, domain) in PEOPLE.items():
        if (domain, project) not in projects:
            projects[domain, project] = keystone.make("project", name=project, domain_id=domains[domain])
        plain = name.rstrip("2")
        user = keystone.make("user", name=plain, domain_id=domains[domain], password=f"{plain}-secret")
        for role in held.split():
            keystone.grant(roles[role], user, projects[domain, project])
    service = keystone.make("service", name="swift", type="object-store")
    for interface in ("public", "internal"):
        keystone.make(
            "endpoint",
            service_id=service,
            interface=interface,
            region="RegionOne",
            url=f"{store}/v1/AUTH_%(project_id)s",
        )


class Store(Cluster):
    """A cluster whose users are Keystone's."""

    def __init__(self, home: pathlib.Path, port: int) -> None:
        super().__init__(home)
        self.layout = dataclasses.replace(self.layout, port=port)

    def serve(self, keystone: Keystone, cache_time: int) -> None:
        """Write the proxy's configuration and start everything."""
        self.write()
        conf = self.layout.proxy_conf.read_text()
        known = {entry.name for entry in importlib.metadata.entry_points(group="paste.filter_factory")}
        there = [
            name
            for name in FILTERS.split()
            if name == "authtoken" or name.replace("-", "_") in known | {"cache"}
        ]
        conf = re.sub("(?m)^pipeline = .*$", f"pipeline = {' '.join(there)} proxy-server", conf)
        conf = conf.replace("account_autocreate = true", "account_autocreate = true\nclient_timeout = 5")
        for name in there:
            if f"[filter:{name}]" not in conf and name not in ("authtoken", "keystoneauth"):
                conf += f"\n[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n"
        self.layout.proxy_conf.write_text(
            f"{conf}\n{AUTHTOKEN.format(url=keystone.url, cache_time=cache_time)}"
            f"{S3TOKEN.format(url=keystone.url, cache_time=cache_time, user='s3')}"
        )
        saio._start(self.layout)
        for address in self.layout.addresses():
            wait_for_port(*address)


@pytest.fixture(scope="session")
def store(tmp_path_factory, keystone, ports):
    cluster = Store(tmp_path_factory.mktemp("store") / "saio", ports[1])
    try:
        cluster.serve(keystone, TOKEN_CACHE_TIME)
        yield cluster
        log = (cluster.layout.log / "proxy.log").read_text(errors="replace")
        assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    finally:
        cluster.__exit__()


@pytest.fixture(scope="session")
def people(keystone, store):
    """PEOPLE by name, logged in; `people.nobody` brings no token."""
    second = keystone.id_of("domain", name="second")
    found = {}
    for name, (project, _, domain) in PEOPLE.items():
        where = DEFAULT if domain == DEFAULT else second
        found[name] = Person(keystone, name.rstrip("2"), project, where).log_in()
    return found


@pytest.fixture
def box(people, request):
    """A container of ann's with an object o: its path."""
    path = "/" + re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:80] + f"-{time.time_ns()}"
    assert people["ann"]("PUT", path).status == 201
    assert people["ann"]("PUT", f"{path}/o", b"hello").status == 201
    return path
