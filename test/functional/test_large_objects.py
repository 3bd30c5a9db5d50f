"""Large objects over the whole stack: both kinds, all policies, clients that leave, and the commands of the usual client."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest

from swift.core import swift_dir
from swift.wire.internal import InternalClient
from test.cluster import Cluster

PUT = "?multipart-manifest=put"
SECRET = "c2VjcmV0IG9mIDMyIGJ5dGVzIG9yIGEgbGl0dGxlIG1vcmU="


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def large(request, tmp_path_factory):
    """A cluster of its own, in which small segments are not slowed down; once with everything encrypted."""
    cluster = Cluster(tmp_path_factory.mktemp("large") / "saio")
    cluster.write()
    conf = cluster.layout.proxy_conf
    text = conf.read_text()
    for name in ("dlo", "slo"):
        text = re.sub(rf"\[filter:{name}\]\n(.+\n)*", "", text)
        text += f"\n[filter:{name}]\nuse = egg:swift#{name}\nrate_limit_segments_per_sec = 0\n"
    if request.param == "encrypted":
        text = text.replace(
            " proxy-logging proxy-server\n", " keymaster encryption proxy-logging proxy-server\n", 1
        )
        text += f"\n[filter:encryption]\nuse = egg:swift#encryption\n\n[filter:keymaster]\nuse = egg:swift#keymaster\nencryption_root_secret = {SECRET}\n"
    conf.write_text(text)
    with cluster as running:
        assert running.request("PUT", "/manifests").status == 201
        yield running
        for path in running.layout.log.iterdir():
            assert "Traceback" not in path.read_text(errors="replace"), path


def md5(data):
    return hashlib.md5(data).hexdigest()


def data_of(number, size):
    return hashlib.sha256(b"%d" % number).digest() * (size // 32)


@pytest.fixture(scope="module", params=["gold", "ec42"])
def segments(large, request):
    """(container, what is in its objects 000, 001 …): small ones, ones that the proxy waits for, and ones that pass it."""
    policy = request.param
    container = f"/segments-{policy}"
    assert large.request("PUT", container, headers={"X-Storage-Policy": policy}).status == 201
    sizes = [32, 4096, 65536, 300_000 // 32 * 32, 2 * 1024 * 1024, 4096]
    bodies = [data_of(number, size) for number, size in enumerate(sizes)]
    for number, body in enumerate(bodies):
        assert large.request("PUT", f"{container}/{number:03}", body).status == 201
    return container, bodies


def test_a_static_one(large, segments):
    container, bodies = segments
    items = [
        {"path": f"{container}/{n:03}", "etag": md5(body), "size_bytes": len(body)}
        for n, body in enumerate(bodies)
    ]
    made = large.request("PUT", f"/manifests/slo{PUT}", json.dumps(items))
    assert made.status == 201
    whole = b"".join(bodies)
    for headers, expected in (
        ({}, whole),
        ({"Range": "bytes=100-400000"}, whole[100:400001]),
        ({"Range": "bytes=-5000"}, whole[-5000:]),
    ):
        answer = large.request("GET", "/manifests/slo", headers=headers)
        assert answer.status == (206 if headers else 200)
        assert md5(answer.body) == md5(expected)
        assert answer.headers["etag"] == made.headers["etag"]
    parts = large.request("GET", "/manifests/slo", headers={"Range": "bytes=0-9,70000-70009,-3"})
    assert parts.status == 206 and parts.headers["content-type"].startswith("multipart/byteranges")
    assert whole[70000:70010] in parts.body and len(parts.body) == int(parts.headers["content-length"])
    row = json.loads(large.request("GET", "/manifests?format=json&prefix=slo").body)[0]
    assert (row["bytes"], row["slo_etag"]) == (len(whole), made.headers["etag"])


def test_a_dynamic_one(large, segments):
    container, bodies = segments
    whole = b"".join(bodies)
    headers = {"X-Object-Manifest": f"{container[1:]}/0"}
    assert large.request("PUT", "/manifests/dlo", b"", headers).status == 201
    answer = large.request("GET", "/manifests/dlo")
    assert (md5(answer.body), answer.headers["content-length"]) == (md5(whole), str(len(whole)))
    assert answer.headers["etag"] == f'"{md5("".join(map(md5, bodies)).encode())}"'
    answer = large.request("GET", "/manifests/dlo", headers={"Range": "bytes=4000-70000"})
    assert (answer.status, md5(answer.body)) == (206, md5(whole[4000:70001]))
    assert large.request("POST", "/manifests/dlo", headers={"X-Object-Meta-A": "b"}).status == 202
    assert large.request("GET", "/manifests/dlo").body == b""


def test_a_segment_that_is_gone_breaks_the_connection(large, segments):
    container, bodies = segments
    extra = data_of(99, 500_000 // 32 * 32)
    large.request("PUT", "/manifests/extra", extra)
    items = [{"path": f"{container}/004"}, {"path": "/manifests/extra"}]
    assert large.request("PUT", f"/manifests/broken{PUT}", json.dumps(items)).status == 201
    assert large.request("DELETE", "/manifests/extra").status == 204
    with pytest.raises(Exception, match="IncompleteRead"):
        large.request("GET", "/manifests/broken")


def connections(cluster):
    """Established connections of the proxy's processes to storage servers whose input nobody has read."""
    found = 0
    inodes = set()
    for pid in cluster.pids("proxy"):
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(fd)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        unread = int(fields[4].split(":")[1], 16)
        if fields[9] in inodes and fields[3] == "01" and unread:
            found += 1
    return found


def test_clients_that_leave_in_the_middle_leave_no_connections(large, segments):
    container, _ = segments
    items = [{"path": f"{container}/004"}] * 20
    assert large.request("PUT", f"/manifests/left{PUT}", json.dumps(items)).status == 201
    for _ in range(10):
        with socket.create_connection(large.address) as client:
            head = (
                f"GET /v1/AUTH_test/manifests/left HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {large.token}\r\n\r\n"
            )
            client.sendall(head.encode())
            assert client.recv(100_000).startswith(b"HTTP/1.1 200")
    end = time.monotonic() + 60
    while connections(large) and time.monotonic() < end:
        time.sleep(0.1)
    assert connections(large) == 0
    assert len(large.request("GET", "/manifests/left").body) == 20 * 2 * 1024 * 1024


def test_who_may_read_a_manifest_may_not_read_segments_by_it(large):
    for name, acl in (("/public", ".r:*,.rlistings"), ("/private", "")):
        assert large.request("PUT", name, headers={"X-Container-Read": acl}).status == 201
    large.request("PUT", "/private/one", b"secret")
    assert large.request("PUT", f"/public/slo{PUT}", json.dumps([{"path": "/private/one"}])).status == 201
    assert large.request("PUT", "/public/dlo", b"", {"X-Object-Manifest": "private/o"}).status == 201
    for name, refused in (("slo", (409,)), ("dlo", (401, 403))):
        answer = large.raw("GET", f"/v1/AUTH_test/public/{name}")
        assert answer.status in refused
        assert b"secret" not in answer.body
        assert large.request("GET", f"/public/{name}").body == b"secret"
    other = {"X-Auth-Token": large.authenticate("test:tester3", "testing3")}
    manifest = b'[{"path": "/private/one"}]'
    assert large.raw("PUT", f"/v1/AUTH_test/public/mine{PUT}", manifest, other).status == 403
    assert large.request("PUT", "/theirs", headers={"X-Container-Write": "test:tester3"}).status in (201, 202)
    answer = large.raw("PUT", f"/v1/AUTH_test/theirs/mine{PUT}", manifest, other)
    assert answer.status == 400 and b"403 Forbidden" in answer.body
    answer = large.raw("DELETE", "/v1/AUTH_test/public/slo?multipart-manifest=delete", headers=other)
    assert b"Number Deleted: 0" in answer.body
    answer = large.raw("DELETE", "/v1/AUTH_test/public/slo?multipart-manifest=delete&async=on", headers=other)
    assert answer.status in (403, 409)
    assert large.request("GET", "/private/one").body == b"secret"


@pytest.fixture(scope="module")
def plain(large):
    """What is in three small segments, and the ETags of a static and a dynamic object of them: /whole/slo, /whole/dlo."""
    for name in ("/whole", "/whole-segments"):
        assert large.request("PUT", name).status in (201, 202)
    bodies = [data_of(number, 300_000 // 32 * 32) for number in range(3)]
    for number, body in enumerate(bodies):
        large.request("PUT", f"/whole-segments/s{number}", body)
    items = [{"path": f"/whole-segments/s{number}"} for number in range(3)]
    assert large.request("PUT", f"/whole/slo{PUT}", json.dumps(items), {"X-Object-Meta-A": "b"}).status == 201
    assert large.request("PUT", "/whole/dlo", b"", {"X-Object-Manifest": "whole-segments/s"}).status == 201
    return b"".join(bodies)


@pytest.mark.parametrize("kind", ["slo", "dlo"])
def test_copied_whole_or_as_a_manifest(large, plain, kind):
    """By COPY: the bytes as one plain object; with multipart-manifest=get the manifest, with the same segments."""
    source = f"/whole/{kind}"
    assert large.request("COPY", source, headers={"Destination": f"whole/{kind}-plain"}).status == 201
    copied = large.request("GET", f"/whole/{kind}-plain")
    assert md5(copied.body) == md5(plain) == copied.headers["etag"]
    assert not {"x-static-large-object", "x-object-manifest"} & copied.headers.keys()
    part = {"Destination": "whole/part", "Range": "bytes=299000-301000"}
    assert large.request("COPY", source, headers=part).status == 201
    assert large.request("GET", "/whole/part").body == plain[299000:301001]
    again = {"Destination": f"whole/{kind}-again"}
    assert large.request("COPY", f"{source}?multipart-manifest=get", headers=again).status == 201
    copied = large.request("GET", f"/whole/{kind}-again")
    assert md5(copied.body) == md5(plain)
    assert copied.headers["etag"] == large.request("HEAD", source).headers["etag"]
    assert {"x-static-large-object", "x-object-manifest"} & copied.headers.keys()


def test_links_and_versions_of_a_static_one(large, plain):
    link = large.request("PUT", "/whole/link", b"", {"X-Symlink-Target": "whole/slo"})
    assert link.status == 201
    for headers, expected in (({}, plain), ({"Range": "bytes=299000-301000"}, plain[299000:301001])):
        assert md5(large.request("GET", "/whole/link", headers=headers).body) == md5(expected)
    segment = {"X-Symlink-Target": "whole-segments/s0"}
    assert large.request("PUT", "/whole/linked-segment", b"", segment).status == 201
    items = [{"path": "/whole/linked-segment", "range": "5-"}, {"path": "/whole-segments/s1"}]
    assert large.request("PUT", f"/whole/through{PUT}", json.dumps(items)).status == 201
    size = len(plain) // 3
    assert md5(large.request("GET", "/whole/through").body) == md5(plain[5 : 2 * size])
    assert large.request("PUT", "/kept", headers={"X-Versions-Enabled": "true"}).status == 201
    first = large.request("PUT", f"/kept/o{PUT}", json.dumps([{"path": "/whole-segments/s0"}]))
    assert first.status == 201
    assert large.request("PUT", f"/kept/o{PUT}", json.dumps([{"path": "/whole-segments/s1"}])).status == 201
    assert large.request("PUT", "/kept/o", b"plain").status == 201
    rows = json.loads(large.request("GET", "/kept?versions&format=json").body)
    assert len(rows) == 3
    oldest = rows[-1]
    assert oldest["bytes"] == size and oldest["slo_etag"] == first.headers["etag"]
    version = oldest["version_id"]
    answer = large.request("GET", f"/kept/o?version-id={version}")
    assert (md5(answer.body), answer.headers["etag"]) == (md5(plain[:size]), first.headers["etag"])
    part = large.request("GET", f"/kept/o?version-id={version}", headers={"Range": "bytes=5-9"})
    assert (part.status, part.body) == (206, plain[5:10])
    numbered = large.request("GET", f"/kept/o?version-id={version}&part-number=1")
    assert (numbered.status, md5(numbered.body)) == (206, md5(plain[:size]))
    manifest = large.request("GET", f"/kept/o?version-id={version}&multipart-manifest=get")
    assert json.loads(manifest.body)[0]["name"] == "/whole-segments/s0"


def test_deleted_later(large):
    before = int(time.time())
    large.request("PUT", "/later")
    for name in "ab":
        large.request("PUT", f"/later/{name}", b"x")
    items = [{"path": "/later/a"}, {"path": "/later/b"}]
    assert large.request("PUT", f"/manifests/later{PUT}", json.dumps(items)).status == 201
    assert large.request("DELETE", "/manifests/later?multipart-manifest=delete&async=on").status == 204
    assert large.request("GET", "/manifests/later").status == 404
    swift_dir.use(str(large.layout.etc))
    client = InternalClient(str(large.layout.internal_client_conf), "test", 1)
    queued = set()
    for moment in range(before, int(time.time()) + 1):
        rows = client.iter_objects(".expiring_objects", f"{moment:010}")
        queued |= {row["name"].partition("-")[2] for row in rows}
    assert queued == {"AUTH_test/later/a", "AUTH_test/later/b"}


# -- the usual client


@pytest.fixture
def client(large, tmp_path):
    """Runs the swift command; returns what it printed."""
    environ = {
        **os.environ,
        "ST_AUTH": f"{large.layout.endpoint}/auth/v1.0", "ST_USER": "test:tester", "ST_KEY": "testing",
    }  # fmt: skip

    def run(*arguments):
        command = [str(pathlib.Path(sys.executable).parent / "swift"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("kind", ["--use-slo", "--use-dlo"])
def test_with_swift(large, client, tmp_path, kind):
    body = data_of(7, 3_000_000 // 32 * 32)
    (tmp_path / "image").write_bytes(body)
    container = f"images{kind}"
    arguments = ["upload", container, "image", "-S", "700000"]
    usage = client("upload", "--help")
    if kind in usage:
        arguments.insert(1, kind)
    elif kind == "--use-dlo":
        pass  # what older clients do without being asked
    client(*arguments)
    told = client("stat", container, "image")
    assert f"Content Length: {len(body)}" in told
    client("download", container, "image", "-o", "back")
    assert (tmp_path / "back").read_bytes() == body
    assert len(client("list", f"{container}_segments").splitlines()) == 5
    client(*arguments, "--changed")
    client("delete", container, "image")
    assert client("list", f"{container}_segments") == ""
    assert client("list", container) == ""
