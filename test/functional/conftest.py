"""One cluster for all functional tests, the users of it, and what must hold for its logs in the end.

FUNCTIONAL_ENDPOINT=http://host:port takes a running cluster instead (of either implementation, with the users of ./saio up):
so that answers can be compared.
"""

import http.client
import itertools
import os
import re
import urllib.parse

import pytest

from test.cluster import Answer, Cluster, sign_requests

ENDPOINT = os.environ.get("FUNCTIONAL_ENDPOINT", "")
USERS = {
    "test:tester": "testing",
    "test:tester2": "testing2",
    "test:tester3": "testing3",
    "test2:tester2": "testing2",
    "admin:admin": "admin",
}
http.client._MAXHEADERS = 1000
_numbers = itertools.count(1)


@pytest.fixture(autouse=True, scope="module")
def requests_to_storage_servers_are_signed(process_wide_settings_of_a_module_end_with_it):
    """As clusters of tests want it, by whichever way a test comes to them."""
    sign_requests()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The session's own cluster: for tests that look at its processes, disks or logs."""
    if ENDPOINT:
        pytest.skip("looks into the cluster, but FUNCTIONAL_ENDPOINT names a foreign one")
    with Cluster(tmp_path_factory.mktemp("functional") / "saio") as running:
        yield running
        assert_logs_are_clean(running)


def assert_logs_are_clean(cluster):
    """Whatever the clients did: no traceback, no 500, nobody's key or token in a log."""
    secrets = ["testing2", "testing3", cluster.token[30:]]
    for path in sorted(cluster.layout.log.iterdir()):
        text = path.read_text(errors="replace")
        assert "Traceback" not in text, path.name + text[text.index("Traceback") - 500 :][:4000]
        bad = re.search(r'^.*(HTTP/1\.[01] 500 |" 500 ).*$', text, re.MULTILINE)
        assert bad is None, f"{path.name}: {bad.group(0)[:500]}"
        for secret in secrets:
            assert secret not in text, f"{secret} in {path.name}"


class Client:
    """A user at the cluster, or nobody (user None); a path that begins with a slash is below the user's account."""

    def __init__(self, address, user=None):
        self.address = address
        self.user = user
        self.account = f"AUTH_{user.partition(':')[0]}" if user else None
        self.token = None
        if user:
            answer = self.raw("GET", "/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": USERS[user]})
            self.token = answer.headers["x-auth-token"]

    def raw(self, method, path, body=None, headers=None, **options):
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers or {}, **options)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def __call__(self, method, path="", body=None, account=None, **headers):
        """`headers`: names with _ for -, or a dictionary under `headers`."""
        given = dict(headers.pop("headers", {}))
        given.update({name.replace("_", "-"): str(value) for name, value in headers.items()})
        if self.token:
            given.setdefault("X-Auth-Token", self.token)
        return self.raw(method, f"/v1/{account or self.account}{path}", body, given)


@pytest.fixture(scope="session")
def address(request):
    """(host, port) of the proxy."""
    if ENDPOINT:
        parts = urllib.parse.urlsplit(ENDPOINT)
        return parts.hostname, parts.port
    layout = request.getfixturevalue("cluster").layout
    return layout.ip, layout.port


@pytest.fixture(scope="session")
def clients(address):
    """Clients by user name, made when asked for."""

    class Clients(dict):
        def __missing__(self, user):
            self[user] = Client(address, user)
            return self[user]

    return Clients()


@pytest.fixture
def user(clients):
    """test:tester, who owns AUTH_test."""
    return clients["test:tester"]


@pytest.fixture
def anybody(clients):
    return clients[None]


@pytest.fixture
def name(request):
    """A name that no other test has."""
    base = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.lower())[:40]
    return f"{base}-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def container(user, name):
    """A new container: its path below the account."""
    assert user("PUT", f"/{name}").status == 201
    return f"/{name}"


@pytest.fixture
def obj(user, container):
    """A new object with the body b'0123456789': its path."""
    assert user("PUT", f"{container}/o", b"0123456789", Content_Type="text/plain").status == 201
    return f"{container}/o"


def all_names(user, container):
    return user("GET", container).body.decode().splitlines()
