"""The storage ports of a running cluster: who is let in, how signing comes into a cluster that is in use, and how keys are replaced."""

import os
import time

import pytest

from swift.cli import saio
from swift.cli.saio_layout import NODES, SERVERS
from swift.core import backend_security
from swift.wire import direct
from test.cluster import BACKEND_KEY, Cluster, sign_requests
from test.intruder import DEEDS, Intruder, try_all
from test.load import Load


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A cluster in the midst of a roll-out: all sign, nobody has to, and intruders are where they were without."""
    cluster = Cluster(tmp_path_factory.mktemp("trust") / "saio")
    cluster.write()
    set_mode(cluster, "sign")
    with cluster:
        yield cluster
        for path in cluster.layout.log.iterdir():
            text = path.read_text(errors="replace")
            assert "Traceback" not in text, path
            assert BACKEND_KEY not in text and NEW_KEY not in text, path


NEW_KEY = "fedcba9876543210" * 4


def set_mode(cluster, mode, paths="/healthcheck"):
    conf = cluster.layout.etc / "swift.conf"
    text = conf.read_text().partition("\n[backend-security]")[0]
    conf.write_text(f"{text}\n[backend-security]\nsigning = {mode}\nopen_paths = {paths}\n")


def require_signatures(cluster):
    """Node by node, if it is not so already."""
    if "signing = require" not in (cluster.layout.etc / "swift.conf").read_text():
        set_mode(cluster, "require")
        for number in NODES:
            saio._reload_now(
                cluster.layout, {f"node{number}": saio._running(cluster.layout)[f"node{number}"]}
            )


def set_keys(cluster, **keys):
    path = cluster.layout.etc / "backend-keys"
    new = path.with_name("backend-keys.new")
    new.touch(0o600)
    new.write_text("".join(f"{name} {secret}\n" for name, secret in keys.items()))
    os.replace(new, path)


def make_object(cluster, account, container):
    """By its owner."""
    user, key = ("test:tester", "testing") if account == "AUTH_test" else ("test2:tester2", "testing2")
    headers = {"X-Auth-Token": cluster.authenticate(user, key)}
    for path, body in ((container, None), (f"{container}/o", b"mine")):
        assert cluster.raw("PUT", f"/v1/{account}/{path}", body, headers).status == 201
    return account, container, "o"


def test_an_intruder_before_and_after(own):
    """All that is tried comes to something as long as nothing is signed, and nothing once it must be; clients notice neither change."""
    after = Intruder(str(own.layout.etc), make_object(own, "AUTH_test", "after"))
    intruder = Intruder(str(own.layout.etc), make_object(own, "AUTH_test2", "before"))
    assert own.request("PUT", "/load").status == 201
    try:
        assert set(DEEDS) - try_all(intruder) == set()
        assert intruder.listener.heard[0].startswith(b"PUT /sda/1/AUTH_test2/before/o-sent ")
        load = Load([own.address], own.token, ["/load"])
        with load.running():
            load.rest(5)
            require_signatures(own)
            load.rest(5)
        load.check()
        for kind in ("account", "container", "object"):
            assert after.ask(kind, "GET", "/healthcheck")[0] == 200
        assert try_all(after) == set()
        assert own.request("GET", "/after/o").body == b"mine"
    finally:
        intruder.close()
        after.close()
    log = "".join(path.read_text(errors="replace") for path in own.layout.log.glob("node*.log"))
    assert "it is not signed" in log


def test_keys_are_replaced_without_a_pause(own):
    """The new one is known everywhere before anybody signs with it; the old one goes when nobody does any more."""
    nodes = [
        dict(zip(("ip", "port", "device"), (*own.layout.storage_address(server, number), "sda"), strict=True))
        for server in SERVERS
        for number in NODES
    ]
    require_signatures(own)
    assert own.request("PUT", "/keys").status == 201
    load = Load([own.address], own.token, ["/keys"])
    with load.running():
        set_keys(own, tests=BACKEND_KEY, new=NEW_KEY)
        wait_until(lambda: all(is_taken(node, "new", NEW_KEY) for node in nodes))
        set_keys(own, new=NEW_KEY, tests=BACKEND_KEY)
        time.sleep(backend_security.LOOK_SECONDS + 1)  # nobody says by which key he signs
        load.rest(5)
        set_keys(own, new=NEW_KEY)
        wait_until(lambda: not any(is_taken(node, "tests", BACKEND_KEY) for node in nodes))
        load.rest(5)
    load.check()


def is_taken(node, key_id, secret):
    sign_requests(key_id, secret)
    try:
        direct.call(node, "OPTIONS", "/").drain()
    except direct.DirectError as err:
        assert "does not take our signature" in str(err)
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
