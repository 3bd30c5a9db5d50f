"""Containers synchronised between two accounts: with a realm and with a plain key; what goes along, and who is let in."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import time

import pytest

from test.filtered import Filtered
from test.users import Client, assert_logs_are_clean

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REALM_KEY, SECOND_KEY, USER_KEY = "realm key", "second key", "user k\u00e9y"
LONG = bytes(range(256)) * 3000


@pytest.fixture(scope="module")
def synced(tmp_path_factory):
    cluster = Filtered(tmp_path_factory.mktemp("sync") / "saio")
    cluster.write()
    cluster.add("container_sync", "tempauth", "current = //realm/here")
    cluster.add("symlink", "proxy-logging")
    etc = cluster.layout.etc
    (etc / "container-sync-realms.conf").write_text(
        f"[REALM]\nkey = {REALM_KEY}\nkey2 = {SECOND_KEY}\ncluster_here = {cluster.layout.endpoint}/v1/\n"
        "cluster_away = http://127.0.0.1:1/v1/\n"
    )
    for node in range(1, 5):
        conf = etc / "container-server" / f"{node}.conf"
        conf.write_text(conf.read_text() + "\n[container-sync]\nconn_timeout = 1\n")
    with cluster:
        yield cluster
        assert_logs_are_clean(cluster)


def sync(cluster, passes=2):
    """Let all nodes send what they have, and make sure of it."""
    for _ in range(passes):
        for node in range(1, 5):
            conf = cluster.layout.etc / "container-server" / f"{node}.conf"
            done = subprocess.run(
                [sys.executable, os.path.join(ROOT, "bin/swift-container-sync"), str(conf), "once", "-v"],
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def users(synced):
    address = synced.address
    return {name: Client(address, name) for name in ("test:tester", "test2:tester2", None)}


def pair(users, name, target="//realm/here/AUTH_test2/{}"):
    """(source client, its container, target client, its container)"""
    here, there = users["test:tester"], users["test2:tester2"]
    key = USER_KEY.encode().decode("latin-1")
    assert there("PUT", f"/{name}", X_Container_Sync_Key=key).status == 201
    to = target.format(name)
    assert here("PUT", f"/{name}", X_Container_Sync_To=to, X_Container_Sync_Key=key).status == 201
    return here, f"/{name}", there, f"/{name}"


def test_objects_and_deletions_arrive(synced, users, name):
    here, source, there, target = pair(users, name)
    objects = {"o": b"0123456789", "%C3%A9%20%2541/x": b"odd", "empty": b"", "long": LONG}
    for path, body in objects.items():
        answer = here("PUT", f"{source}/{path}", body, X_Object_Meta_Color="red", Content_Type="a/b; c=d")
        assert answer.status == 201
    assert here("PUT", f"{source}/gone", b"x").status == 201
    assert here("PUT", f"{source}/l", b"", X_Symlink_Target=f"{source[1:]}/o").status == 201
    sync(synced)
    for path, body in objects.items():
        sent, found = here("GET", f"{source}/{path}"), there("GET", f"{target}/{path}")
        assert found.body == body
        for header in ("etag", "content-type", "x-timestamp", "x-object-meta-color", "last-modified"):
            assert found.headers[header] == sent.headers[header], header
    assert there("HEAD", f"{target}/l?symlink=get").headers["x-symlink-target"] == f"{source[1:]}/o"
    assert there("GET", f"{target}/gone").body == b"x"
    assert here("DELETE", f"{source}/gone").status == 204
    assert here("POST", f"{source}/o", X_Object_Meta_Color="blue").status == 202
    assert here("PUT", f"{source}/empty", b"no more").status == 201
    sync(synced)
    assert there("GET", f"{target}/gone").status == 404
    assert there("HEAD", f"{target}/o").headers["x-object-meta-color"] == "blue"
    assert there("GET", f"{target}/empty").body == b"no more"
    listing = json.loads(there("GET", f"{target}?format=json").body)
    assert {row["name"] for row in listing} == {"o", "\u00e9 %41/x", "empty", "long", "l"}
    said = sync(synced, passes=1)
    assert "0 deletes, 0 puts" in said and "0 failed" in said  # all of it is there


def test_both_ways(synced, users, name):
    """Each is the other's target: the newer one counts, and nothing goes round and round."""
    here, source, there, target = pair(users, name)
    key = USER_KEY.encode().decode("latin-1")
    back = f"//REALM/HERE/AUTH_test{source}"
    assert there("POST", target, X_Container_Sync_To=back, X_Container_Sync_Key=key).status == 204
    assert here("PUT", f"{source}/a", b"from here").status == 201
    assert there("PUT", f"{target}/b", b"from there").status == 201
    assert here("PUT", f"{source}/c", b"older").status == 201
    assert there("PUT", f"{target}/c", b"newer").status == 201
    sync(synced)
    for client, box in ((here, source), (there, target)):
        assert [client("GET", f"{box}/{x}").body for x in "abc"] == [b"from here", b"from there", b"newer"]
    assert "0 deletes, 0 puts" in sync(synced, passes=1)


def test_with_a_plain_key(synced, users, name):
    """The old way, without a realm: the target is a URL, and tempauth takes the container's key."""
    here, source, there, target = pair(users, name, f"{synced.layout.endpoint}/v1/AUTH_test2/{{}}")
    assert here("PUT", f"{source}/o", b"plain").status == 201
    assert here("PUT", f"{source}/long", LONG).status == 201
    sync(synced)
    assert there("GET", f"{target}/o").body == b"plain" and there("GET", f"{target}/long").body == LONG
    assert here("DELETE", f"{source}/o").status == 204
    sync(synced)
    assert there("GET", f"{target}/o").status == 404


def test_what_fails_is_sent_later(synced, users, name):
    here, source, there, target = pair(users, name)
    assert there("POST", target, X_Container_Sync_Key="another").status == 204
    assert here("PUT", f"{source}/o", b"late").status == 201
    sync(synced)
    assert there("GET", f"{target}/o").status == 404
    key = USER_KEY.encode().decode("latin-1")
    assert there("POST", target, X_Container_Sync_Key=key).status == 204
    end = time.monotonic() + 90  # what proxies and the daemon remember of a container ages
    while there("GET", f"{target}/o").status == 404 and time.monotonic() < end:
        sync(synced, passes=1)
    assert there("GET", f"{target}/o").body == b"late"


def test_a_target_that_is_away_and_one_that_is_none(synced, users, name):
    here, source, _, _ = pair(users, name, "//realm/away/AUTH_test2/{}")
    assert here("PUT", f"{source}/o", b"x").status == 201
    sync(synced, passes=1)  # ends, and says so in the log
    for target in (
        "//realm/nowhere/a/c",
        "//none/here/a/c",
        "ftp://x/v1/a/c",
        "http://elsewhere/v1/a/c",
        "//realm/here/a",
    ):
        assert here("POST", source, X_Container_Sync_To=target).status == 400


def signed(
    method, path, key=REALM_KEY, user_key=USER_KEY, timestamp="1700000000.00000", realm="realm", nonce="n"
):
    text = f"{method}\n{path}\n{timestamp}\n{nonce}\n{user_key}".encode()
    given = hmac.new(key.encode(), text, hashlib.sha1).hexdigest()
    return {"X-Container-Sync-Auth": f"{realm} {nonce} {given}", "X-Timestamp": timestamp}


def test_who_is_let_in(users, name):
    here, source, there, target = pair(users, name)
    path = f"/v1/AUTH_test2{target}/o"
    anybody = users[None]

    def put(headers, to=path):
        answer = anybody.raw("PUT", to, b"x", headers)
        if answer.status == 401:
            assert b"X-Container-Sync-Auth header not valid" in answer.body
            assert answer.headers["www-authenticate"].startswith('SwiftContainerSync realm="AUTH_test')
        return answer.status

    assert put(signed("PUT", path)) == 201
    assert there("HEAD", f"{target}/o").headers["x-timestamp"] == "1700000000.00000"
    assert put(signed("PUT", path, key=SECOND_KEY, timestamp="1700000001.00000")) == 201
    for wrong in (
        signed("DELETE", path), signed("PUT", path + "x"), signed("PUT", path, key="other"), signed("PUT", path, user_key="other"),
        signed("PUT", path, realm="none"), {**signed("PUT", path), "X-Timestamp": "1700000009.00000"},
        {"X-Container-Sync-Auth": "realm n"}, {"X-Container-Sync-Auth": "a b c d"},
        {"X-Container-Sync-Auth": "realm n \u00e9"},
    ):  # fmt: skip
        assert put(wrong) == 401, wrong
    # the source has a key as well, and whoever knows it and the realm's writes there, too; a container without one takes nothing
    assert here("PUT", f"{source}-plain").status == 201
    other = f"/v1/AUTH_test{source}-plain/o"
    assert put(signed("PUT", other), other) == put(signed("PUT", other, user_key=""), other) == 401


def test_a_signature_is_for_its_container_alone(users, name):
    """It says nothing of other headers: they lead nowhere else with it."""
    here, source, there, target = pair(users, name)
    assert there("PUT", f"/{name}-secret").status == 201
    assert there("PUT", f"/{name}-secret/s", b"secret").status == 201
    path = f"/v1/AUTH_test2{target}/o"
    leak = {**signed("PUT", path), "X-Copy-From": f"{name}-secret/s"}
    assert users[None].raw("PUT", path, b"", leak).status == 403
    move = {**signed("COPY", path), "Destination": f"{name}-secret/s"}
    assert there("PUT", f"{target}/o", b"mine").status == 201
    assert users[None].raw("COPY", path, None, move).status == 403
    assert there("GET", f"/{name}-secret/s").body == b"secret"
    link = {**signed("PUT", path, timestamp="1900000000.00000"), "X-Symlink-Target": f"{name}-secret/s"}
    assert (
        users[None].raw("PUT", path, b"", link).status == 201
    )  # as it was there; whoever follows it needs the right to
    assert users[None].raw("GET", path, None, signed("GET", path)).status == 403


def test_info_names_realms_and_clusters(synced):
    told = json.loads(synced.raw("GET", "/info").body)["container_sync"]
    assert told == {"realms": {"REALM": {"clusters": {"HERE": {"current": True}, "AWAY": {}}}}}
