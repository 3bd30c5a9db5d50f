"""One cluster for all functional tests, the users of it, and what must hold for its logs in the end.

FUNCTIONAL_ENDPOINT=http://host:port takes a running cluster instead (of either implementation, with the users of ./saio up):
so that answers can be compared.
"""

import hashlib
import http.client
import itertools
import os
import re
import urllib.parse

import pytest

from test.cluster import Cluster, of_sessions, sign_requests
from test.s3_clients import s3_client
from test.users import Client, assert_logs_are_clean

ENDPOINT = os.environ.get("FUNCTIONAL_ENDPOINT", "")
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
        of_sessions.append(running)
        yield running
        assert_logs_are_clean(running)


@pytest.fixture(scope="session")
def address(request):
    """(host, port) of the proxy."""
    if ENDPOINT:
        parts = urllib.parse.urlsplit(ENDPOINT)
        return parts.hostname, parts.port
    return request.getfixturevalue("cluster").address


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


@pytest.fixture(scope="module")
def s3(address):
    """boto3's client of test:tester."""
    return s3_client(address, signature_version="s3v4")


@pytest.fixture
def bucket(s3, name):
    """A new bucket: its name."""
    bucket = f"s3-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket)
    return bucket
