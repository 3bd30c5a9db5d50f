"""Links over the whole stack: what is stored and shown, in which policies, who may follow them, and copies of them."""

import json
import os
import subprocess
import sys

import pytest

from test.filtered import Filtered
from test.users import Client, assert_logs_are_clean

TEXT = b"0123456789"
MD5 = "781e5e245d69b566979b86e28d23f2c7"


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    cluster = Filtered(tmp_path_factory.mktemp("symlinks") / "saio")
    cluster.write()
    cluster.add("symlink", "proxy-logging")
    with cluster:
        yield cluster
        assert_logs_are_clean(cluster)


@pytest.fixture(scope="module")
def users(linked):
    address = linked.address
    return {name: Client(address, name) for name in ("test:tester", "test2:tester2", None)}


@pytest.fixture
def owner(users):
    return users["test:tester"]


@pytest.fixture(params=["gold", "ec42"])
def box(owner, name, request):
    """A container with an object `o`, of either kind of policy."""
    assert owner("PUT", f"/{name}", X_Storage_Policy=request.param).status == 201
    assert (
        owner("PUT", f"/{name}/o", TEXT, Content_Type="text/plain", X_Object_Meta_Color="red").status == 201
    )
    return f"/{name}"


def test_links_are_followed_shown_and_deleted(owner, box):
    target = f"{box[1:]}/o"
    assert owner("PUT", f"{box}/l", b"", X_Symlink_Target=target, X_Object_Meta_Mine="1").status == 201
    assert owner("PUT", f"{box}/s", b"", X_Symlink_Target=target, X_Symlink_Target_Etag=MD5).status == 201
    for link in ("l", "s"):
        found = owner("GET", f"{box}/{link}")
        assert (found.body, found.headers["content-location"]) == (TEXT, f"/v1/AUTH_test/{target}")
        assert found.headers["x-object-meta-color"] == "red" and "x-object-meta-mine" not in found.headers
        part = owner("GET", f"{box}/{link}", Range="bytes=2-4")
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        assert owner("GET", f"{box}/{link}", If_None_Match=MD5).status == 304
        head = owner("HEAD", f"{box}/{link}")
        assert (head.headers["etag"], head.headers["content-length"]) == (MD5, "10")
        itself = owner("HEAD", f"{box}/{link}?symlink=get").headers
        assert itself["x-symlink-target"] == target and itself["content-length"] == "0"
        assert not any("sysmeta" in header for header in itself)
    rows = {row["name"]: row for row in json.loads(owner("GET", f"{box}?format=json").body)}
    path = f"/v1/AUTH_test/{target}"
    assert rows["l"]["symlink_path"] == rows["s"]["symlink_path"] == path
    assert (rows["s"]["symlink_etag"], rows["s"]["symlink_bytes"], rows["s"]["content_type"]) == (
        MD5,
        10,
        "text/plain",
    )
    assert {row["hash"] for row in rows.values()} == {MD5, "d41d8cd98f00b204e9800998ecf8427e"}
    assert b"symlink" not in owner("GET", f"{box}?format=xml").body.replace(b"application/symlink", b"")
    assert owner("PUT", f"{box}/o", b"other").status == 201
    assert owner("GET", f"{box}/l").body == b"other"
    assert owner("GET", f"{box}/s").status == 409
    assert owner("DELETE", f"{box}/l").status == 204
    assert owner("GET", f"{box}/o").status == 200


def test_what_is_posted_to_a_link(owner, box):
    assert owner("PUT", f"{box}/l", b"", X_Symlink_Target=f"{box[1:]}/o").status == 201
    answer = owner("POST", f"{box}/l", X_Object_Meta_Mine="2")
    assert (answer.status, answer.headers["location"]) == (307, f"/v1/AUTH_test{box}/o")
    assert owner("HEAD", f"{box}/l?symlink=get").headers["x-object-meta-mine"] == "2"
    assert "x-object-meta-mine" not in owner("HEAD", f"{box}/o").headers
    assert owner("GET", f"{box}/l").body == TEXT  # it still is one
    rows = json.loads(owner("GET", f"{box}?format=json&prefix=l").body)
    assert rows[0]["symlink_path"] == f"/v1/AUTH_test{box}/o"


def test_copies_of_links(owner, box):
    """Of what they lead to, or of themselves."""
    target = f"{box[1:]}/o"
    for name, more in (("l", {}), ("s", {"X-Symlink-Target-Etag": MD5})):
        assert owner("PUT", f"{box}/{name}", b"", headers={"X-Symlink-Target": target, **more}).status == 201
        assert owner("COPY", f"{box}/{name}", Destination=f"{box}/{name}-data").status == 201
        assert owner("COPY", f"{box}/{name}?symlink=get", Destination=f"{box}/{name}-link").status == 201
        data = owner("HEAD", f"{box}/{name}-data?symlink=get").headers
        assert data["content-length"] == "10" and "x-symlink-target" not in data
        assert owner("HEAD", f"{box}/{name}-link?symlink=get").headers["x-symlink-target"] == target
        assert owner("GET", f"{box}/{name}-link").body == TEXT


def test_who_may_follow(users, owner, box, name):
    """Links show nothing to anybody who may not read what they lead to, and are made to nothing that may not be read."""
    stranger, anybody = users["test2:tester2"], users[None]
    assert stranger("PUT", f"/{name}-s").status == 201
    theirs = {"X-Symlink-Target": f"{box[1:]}/o", "X-Symlink-Target-Account": "AUTH_test"}
    assert stranger("PUT", f"/{name}-s/l", b"", headers=theirs).status == 201
    static = {**theirs, "X-Symlink-Target-Etag": MD5}
    assert stranger("PUT", f"/{name}-s/s", b"", headers=static).status == 403
    for method in ("GET", "HEAD"):
        answer = stranger(method, f"/{name}-s/l")
        assert answer.status == 403 and answer.headers["content-location"] == f"/v1/AUTH_test{box}/o"
    # the owner may read the target and not the stranger's link
    assert owner("GET", f"/{name}-s/l", account="AUTH_test2").status == 403
    # who may read the link, and not its target
    assert owner("PUT", f"/{name}-open", X_Container_Read=".r:*").status == 201
    assert owner("PUT", f"/{name}-open/l", b"", X_Symlink_Target=f"{box[1:]}/o").status == 201
    assert anybody("GET", f"/{name}-open/l", account="AUTH_test").status == 401
    assert anybody("HEAD", f"/{name}-open/l?symlink=get", account="AUTH_test").status == 200
    assert owner("POST", box, X_Container_Read=".r:*").status == 204
    assert anybody("GET", f"/{name}-open/l", account="AUTH_test").body == TEXT
    assert stranger("GET", f"/{name}-s/l").body == TEXT
    assert stranger("PUT", f"/{name}-s/s", b"", headers=static).status == 201
    assert stranger("GET", f"/{name}-s/s").body == TEXT
    # and nobody writes through one
    assert stranger("POST", f"/{name}-s/l", X_Object_Meta_Evil="1").status == 307
    assert stranger("PUT", f"/{name}-s/l", b"mine").status == 201
    assert owner("GET", f"{box}/o").body == TEXT
    assert "x-object-meta-evil" not in owner("HEAD", f"{box}/o").headers


@pytest.mark.parametrize(
    "header",
    [
        "X-Object-Sysmeta-Symlink-Target",
        "X-Object-Sysmeta-Symloop-Extend",
        "X-Object-Sysmeta-Allow-Reserved-Names",
    ],
)
def test_what_is_internal_is_not_made_up(owner, box, header):
    assert owner("PUT", f"{box}/x", b"x", headers={header: f"{box[1:]}/o"}).status == 201
    assert owner("GET", f"{box}/x").body == b"x"
    more = {header: "true", "X-Symlink-Target": "%00versions%00c/%00o"}
    assert owner("PUT", f"{box}/y", b"", headers=more).status == 412
    assert owner("HEAD", f"{box}/y").status == 404


def test_circles_and_long_ways_end(owner, box):
    for name, target in (("a", "b"), ("b", "a"), ("1", "o"), ("2", "1"), ("3", "2")):
        assert owner("PUT", f"{box}/{name}", b"", X_Symlink_Target=f"{box[1:]}/{target}").status == 201
    assert owner("GET", f"{box}/a").status == owner("GET", f"{box}/3").status == 409
    assert owner("GET", f"{box}/2").body == TEXT


def test_the_swift_command(linked, box, tmp_path):
    words = ["-A", f"{linked.layout.endpoint}/auth/v1.0", "-U", "test:tester", "-K", "testing"]

    def swift(*more):
        done = subprocess.run(
            [sys.executable, "-m", "swiftclient.shell", *words, *more],
            env={**os.environ, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "empty").touch()
    swift(
        "upload",
        box[1:],
        str(tmp_path / "empty"),
        "--object-name",
        "l",
        "-H",
        f"X-Symlink-Target: {box[1:]}/o",
    )
    assert swift("download", box[1:], "l", "-o", "-") == TEXT.decode()


def test_info_names_it(linked):
    assert json.loads(linked.raw("GET", "/info").body)["symlink"] == {"symloop_max": 2, "static_links": True}
