"""Databases change hands: what ours writes the reference reads and goes on with, and the other way round."""

import getpass
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from swift.account.broker import AccountBroker
from swift.account.server import AccountServer
from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.core.hashing import hash_path
from test.databases import Logger, call, make_conf
from test.ports import free_port

REFERENCE = os.environ.get("REFERENCE_BIN", "")
# its package has the name of ours
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
]

NAMES = ["a", "photos/me.jpg", "日本", 'x"&<', "d/e/f", "\N{PILE OF POO}", "o o"]


def info(tool, conf, path, *options):
    command = [pathlib.Path(REFERENCE, tool), "-d", conf["swift_dir"], *options, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip()
        for line in done.stdout.splitlines()
        if ":" in line
    }


@pytest.fixture
def conf(tmp_path):
    return make_conf(tmp_path)


def container_path(conf):
    digest = hash_path("AUTH_a", "c")
    return f"{conf['devices']}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"


def account_path(conf):
    digest = hash_path("AUTH_a")
    return f"{conf['devices']}/sda1/accounts/1/{digest[-3:]}/{digest}/{digest}.db"


def fill(app):
    call(
        app,
        "PUT",
        "/sda1/1/AUTH_a/c",
        "",
        {"X-Timestamp": "1700000000.00000", "X-Container-Meta-Color": "blau", "X-Container-Sysmeta-X": "y"},
    )
    for at, name in enumerate(NAMES):
        headers = {
            "X-Timestamp": f"17000000{at:02d}.00000",
            "X-Size": str(at),
            "X-Content-Type": 'text/plain; charset="utf-8"',
            "X-Etag": "e" * 32,
            "X-Meta-Timestamp": "1700000099.00000",
        }
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        assert call(app, "PUT", f"/sda1/1/AUTH_a/c/{quoted}", "", headers)[0] == 201


def test_the_reference_reads_our_container_with_its_pending_rows(conf):
    app = ContainerServer(conf, Logger())
    fill(app)
    path = container_path(conf)
    assert os.path.getsize(path + ".pending")
    shown = info("swift-container-info", conf, path)
    assert os.path.getsize(path + ".pending") == 0, "the reference has merged our records"
    assert shown["Object Count"] == str(len(NAMES))
    assert shown["Bytes Used"] == str(sum(range(len(NAMES))))
    assert shown["Container"] == "c"
    assert shown["X-Container-Sysmeta-X"] == "y"
    assert shown["State"] == "unsharded"
    broker = ContainerBroker(path)
    assert shown["Chexor"] == broker.info()["hash"]
    assert shown["UUID"] == broker.info()["id"]
    status, _, body = call(app, "GET", "/sda1/1/AUTH_a/c", "format=json")
    assert [entry["name"] for entry in json.loads(body)] == sorted(NAMES)


def test_the_reference_reads_our_account_with_its_pending_rows(conf):
    app = AccountServer(conf, Logger())
    call(app, "PUT", "/sda1/1/AUTH_a", "", {"X-Timestamp": "1700000000.00000", "X-Account-Meta-A": "b"})
    report = {
        "X-Put-Timestamp": "1700000001.00000",
        "X-Delete-Timestamp": "0",
        "X-Object-Count": "3",
        "X-Bytes-Used": "30",
        "X-Backend-Storage-Policy-Index": "1",
    }
    for name in ("c", "d"):
        assert call(app, "PUT", f"/sda1/1/AUTH_a/{name}", "", report)[0] == 201
    path = account_path(conf)
    shown = info("swift-account-info", conf, path)
    assert (shown["Container Count"], shown["Object Count"], shown["Bytes Used"]) == ("2", "6", "60")
    assert shown["Chexor"] == AccountBroker(path).info()["hash"]
    assert call(app, "HEAD", "/sda1/1/AUTH_a")[1]["X-Account-Container-Count"] == "2"


def serve(tool, conf_text, tmp_path, name):
    path = tmp_path / f"{name}.conf"
    path.write_text(conf_text)
    log = open(tmp_path / f"{name}.log", "w")
    return subprocess.Popen(
        [pathlib.Path(REFERENCE, tool), path, "-v"], stdout=log, stderr=log, env=ENVIRONMENT
    )


def test_a_container_is_written_by_both_in_turn(conf, tmp_path):
    """The reference's container server works on the files that ours has made, and ours goes on after it."""
    import http.client
    import time

    app = ContainerServer(conf, Logger())
    fill(app)
    port = free_port()
    text = f"""
[DEFAULT]
swift_dir = {conf["swift_dir"]}
devices = {conf["devices"]}
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
fallocate_reserve = 0
user = {os.environ.get("USER", "root")}
log_udp_host = 127.0.0.1
log_udp_port = 9
[pipeline:main]
pipeline = container-server
[app:container-server]
use = egg:swift#container
"""
    process = serve("swift-container-server", text, tmp_path, "container-server")
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.connect()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)

        def ask(method, path, headers=None):
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, dict(response.headers.items()), response.read()

        ours = call(app, "GET", "/sda1/1/AUTH_a/c", "format=json")
        status, headers, body = ask("GET", "/sda1/1/AUTH_a/c?format=json")
        assert (status, json.loads(body)) == (ours[0], json.loads(ours[2]))
        assert {k: v for k, v in headers.items() if k.startswith("X-")} == {
            k: v for k, v in ours[1].items() if k.startswith("X-")
        }
        row = {"X-Timestamp": "1700000200.00000", "X-Size": "7", "X-Content-Type": "t", "X-Etag": "e"}
        for n in range(30):
            stamp = {"X-Timestamp": f"17000002{n:02d}.00000"}
            if n % 2:
                assert ask("PUT", f"/sda1/1/AUTH_a/c/n{n // 4}", {**row, **stamp})[0] == 201
            else:
                assert call(app, "PUT", f"/sda1/1/AUTH_a/c/n{n // 4}", "", {**row, **stamp})[0] == 201
            if n % 5 == 0:
                assert (
                    ask("DELETE", "/sda1/1/AUTH_a/c/n0", {"X-Timestamp": f"17000002{n:02d}.50000"})[0] == 204
                )
            ours = call(app, "GET", "/sda1/1/AUTH_a/c", "format=json")
            if n % 7 == 0:
                theirs = ask("GET", "/sda1/1/AUTH_a/c?format=json")
                assert json.loads(ours[2]) == json.loads(theirs[2])
                assert ours[1]["X-Container-Object-Count"] == theirs[1]["X-Container-Object-Count"]
            else:
                assert f"n{n // 4}" in ours[2] or n // 4 == 0
    finally:
        process.terminate()
        process.wait()


REPLACE = """
import json, os, sqlite3, sys, urllib.error, urllib.request
port, path, device, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
os.makedirs(device + "/tmp", exist_ok=True)
name = os.path.basename(path)[:-3]
for n in range(count):
    copy = sqlite3.connect(device + f"/tmp/replica{n}")
    source = sqlite3.connect(path)
    source.backup(copy)
    copy.close(), source.close()
    body = json.dumps(["rsync_then_merge", f"replica{n}"]).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/sda1/1/{name}", body, {"Content-Type": "application/json"}, method="REPLICATE"
    )
    try:
        print(urllib.request.urlopen(request, timeout=60).status, flush=True)
    except urllib.error.HTTPError as err:
        print(err.code, err.read()[-600:], file=sys.stderr, flush=True)
"""


def test_the_reference_replaces_databases_under_our_hands(conf, tmp_path):
    """Its rsync_then_merge renames a file over the live one without any lock, while we write."""
    app = ContainerServer(conf, Logger())
    fill(app)
    path = container_path(conf)
    broker = ContainerBroker(path)
    broker.commit_pending()
    port = free_port()
    server_conf = tmp_path / "reference.conf"
    server_conf.write_text(
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nuser = {getpass.getuser()}\n"
        f"swift_dir = {conf['swift_dir']}\ndevices = {conf['devices']}\nmount_check = false\nfallocate_reserve = 0\n"
        "[pipeline:main]\npipeline = container-server\n[app:container-server]\nuse = egg:swift#container\n"
    )
    server = subprocess.Popen(
        [pathlib.Path(REFERENCE, "swift-container-server"), server_conf],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        replacer = subprocess.Popen(
            [sys.executable, "-c", REPLACE, str(port), path, f"{conf['devices']}/sda1", "6"],
            stdout=subprocess.PIPE,
            text=True,
        )
        written = 0
        while replacer.poll() is None:
            items = [
                broker.item_from_record(
                    (f"w{written + n:06d}", "1700000002.00000", 1, "t" * 50, "e" * 32, 0, 0)
                )
                for n in range(200)
            ]
            broker.merge_items(items)
            written += 200
            time.sleep(0.05)  # it asks for SQLite's lock now and then, and would never get it
            broker.update_metadata({"X-Container-Meta-Last": (str(written), f"17{written:08d}.00000")})
        statuses = replacer.stdout.read().split()
    finally:
        server.terminate()
        server.wait(60)
    assert len(statuses) > 2 and set(statuses) == {"204"}, "it was to replace the file now and then"
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()
    assert written and broker.info()["object_count"] > 0
    assert not os.path.exists(f"{conf['devices']}/sda1/quarantined")
