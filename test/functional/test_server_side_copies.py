"""Server-side copies over the whole stack: between containers, policies and accounts; who may; the client's `swift copy`."""

import hashlib
import os
import random
import subprocess
import sys

import pytest

LONG = random.Random(11).randbytes(3_000_000)


@pytest.fixture
def target(user, name):
    assert user("PUT", f"/{name}-to").status == 201
    return f"/{name}-to"


@pytest.fixture
def other(clients, name):
    """(test2:tester2, a container of its own)"""
    client = clients["test2:tester2"]
    assert client("PUT", f"/{name}").status == 201
    return client, f"/{name}"


def test_both_verbs(user, obj, target):
    user("POST", obj, X_Object_Meta_Color="red", Content_Type="a/b")
    answer = user("COPY", obj, Destination=f"{target}/n")
    assert answer.status == 201 and answer.headers["x-copied-from"] == obj[1:]
    assert answer.headers["x-object-meta-color"] == "red" and answer.headers["etag"]
    again = user("PUT", f"{target}/m", b"", X_Copy_From=obj, Range="bytes=3-5", X_Object_Meta_Color="blue")
    assert again.status == 201
    found = user("GET", f"{target}/n")
    assert (found.body, found.headers["content-type"]) == (b"0123456789", "a/b")
    found = user("GET", f"{target}/m")
    assert (found.body, found.headers["x-object-meta-color"]) == (b"345", "blue")
    assert "COPY" in user("OPTIONS", obj).headers["allow"]


@pytest.mark.parametrize("there, back", [("gold", "ec42"), ("ec42", "silver")])
def test_between_policies(user, name, there, back):
    for policy in {there, back}:
        assert user("PUT", f"/{name}-{policy}", X_Storage_Policy=policy).status == 201
    assert user("PUT", f"/{name}-{there}/o", LONG, X_Object_Meta_A="b").status == 201
    assert user("COPY", f"/{name}-{there}/o", Destination=f"{name}-{back}/o").status == 201
    found = user("GET", f"/{name}-{back}/o")
    assert found.body == LONG and found.headers["x-object-meta-a"] == "b"
    assert found.headers["etag"] == hashlib.md5(LONG).hexdigest()
    assert user("COPY", f"/{name}-{back}/o", Destination=f"{name}-{back}/o", Content_Type="c/d").status == 201
    found = user("GET", f"/{name}-{back}/o")
    assert found.body == LONG and found.headers["content-type"] == "c/d"


def test_odd_names(user, container, target):
    for quoted in ("%C3%A9%20%2541", "a%2Fb//c", "%E2%98%83%3Fx=y%23"):
        assert user("PUT", f"{container}/{quoted}", b"x").status == 201
        answer = user("COPY", f"{container}/{quoted}", Destination=f"{target}/{quoted}")
        assert answer.status == 201
        assert user("GET", f"{target}/{quoted}").body == b"x"


def test_who_may(user, obj, container, other):
    """To read the one and to write the other are two rights, wherever the request is sent to."""
    stranger, theirs = other
    mine = {"X-Copy-From": obj, "X-Copy-From-Account": "AUTH_test"}
    to_them = {"Destination": f"{theirs}/n", "Destination-Account": "AUTH_test2"}

    def pulls():
        return stranger("PUT", f"{theirs}/n", b"", headers=mine).status

    def copies(client):
        return client("COPY", obj, account="AUTH_test", headers=to_them).status

    assert (pulls(), copies(stranger), copies(user)) == (403, 403, 403)
    assert stranger("COPY", obj, account="AUTH_test", Destination=f"{container}/n").status == 403
    user("POST", container, X_Container_Read="test2:tester2")
    assert (pulls(), copies(stranger), copies(user)) == (201, 201, 403)
    # who may read here may not write here
    assert stranger("COPY", obj, account="AUTH_test", Destination=f"{container}/n").status == 403
    user("POST", container, X_Container_Read="", X_Container_Write="test2:tester2")
    assert (pulls(), copies(stranger)) == (403, 403)
    assert user("HEAD", f"{container}/n").status == 404
    push = {"X-Copy-From": f"{theirs}/n", "X-Copy-From-Account": "AUTH_test2"}
    assert stranger("PUT", f"{container}/n", b"", account="AUTH_test", headers=push).status == 201


def test_nobody_copies_without_a_token(anybody, user, obj, container):
    assert anybody("COPY", obj, account="AUTH_test", Destination=f"{container}/n").status == 401
    user("POST", container, X_Container_Read=".r:*")
    answer = anybody("COPY", obj, account="AUTH_test", Destination=f"{container}/n")
    assert answer.status == 401
    answer = anybody("PUT", f"{container}/n", b"", account="AUTH_test", X_Copy_From=obj)
    assert answer.status == 401
    assert user("HEAD", f"{container}/n").status == 404


def test_internal_headers_do_not_come_by_a_copy(user, obj, target):
    """Neither made up by the client nor taken from elsewhere."""
    for name in (
        "X-Object-Sysmeta-Evil",
        "X-Backend-Storage-Policy-Index",
        "X-Timestamp",
        "X-Backend-Allow-Reserved-Names",
    ):
        assert user("COPY", obj, headers={"Destination": f"{target}/n", name: "1"}).status == 201
    assert user("GET", f"{target}/n").body == b"0123456789"
    for path in ("%00versions%00c/%00o", "c%00/o"):
        assert user("COPY", obj, Destination=path).status == 412
        assert user("PUT", f"{target}/x", b"", X_Copy_From=path).status == 412


def test_the_swift_command(user, address, obj, target):
    words = [
        "-A",
        f"http://{address[0]}:{address[1]}/auth/v1.0",
        "-U",
        "test:tester",
        "-K",
        "testing",
        "copy",
    ]
    container, _, name = obj[1:].partition("/")
    done = subprocess.run(
        [sys.executable, "-m", "swiftclient.shell", *words, "--destination", f"{target}/named", "-H", "X-Object-Meta-By:swift", container, name],
        env={**os.environ, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = user("GET", f"{target}/named")
    assert found.body == b"0123456789" and found.headers["x-object-meta-by"] == "swift"
