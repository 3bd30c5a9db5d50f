import hashlib
import json
import os
import time

import pytest
from filter_stand_ins import App, call, memory_logger

from swift import __version__
from swift.core.policy import PolicyCollection, policies, set_policies
from swift.middleware.recon import ReconMiddleware, filter_factory

NULL_ANSWERS = {
    "async": ["async_pending", "async_pending_last"],
    "replication": [
        "replication_time", "replication_stats", "replication_last", "object_replication_time", "object_replication_last",
    ],
    "replication/object": [
        "replication_time", "replication_stats", "replication_last", "object_replication_time", "object_replication_last",
    ],
    "replication/account": ["replication_time", "replication_stats", "replication_last"],
    "replication/container": ["replication_time", "replication_stats", "replication_last"],
    "reconstruction/object": ["object_reconstruction_last", "object_reconstruction_time"],
    "updater/container": ["container_updater_sweep"],
    "updater/object": ["object_updater_sweep", "object_updater_stats", "object_updater_last"],
    "auditor/account": [
        "account_audits_passed", "account_auditor_pass_completed", "account_audits_since", "account_audits_failed",
    ],
    "auditor/container": [
        "container_audits_passed", "container_auditor_pass_completed", "container_audits_since", "container_audits_failed",
    ],
    "auditor/object": ["object_auditor_stats_ALL", "object_auditor_stats_ZBF"],
    "expirer/object": ["object_expiration_pass", "expired_last_pass", "object_expirer_queue"],
    "driveaudit": ["drive_audit_errors"],
    "sharding": ["sharding_stats", "sharding_time", "sharding_last"],
    "relinker": ["devices", "workers"],
}  # fmt: skip


@pytest.fixture
def node(tmp_path):
    for name in ("node", "cache", "etc", "proc/net"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def build(node, app=None):
    conf = {
        "devices": str(node / "node"),
        "swift_dir": str(node / "etc"),
        "recon_cache_path": str(node / "cache"),
    }
    return ReconMiddleware(app or App(), conf, memory_logger()[0], proc=str(node / "proc"))


def ask(node, path, **options):
    answer = call(build(node), f"/recon/{path}", **options)
    assert answer.status_int == 200, answer.body
    assert answer.header_list == [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(answer.body))),
    ]
    return json.loads(answer.body)


@pytest.mark.parametrize("path", NULL_ANSWERS)
@pytest.mark.parametrize("content", [None, "garbage\n", "[1]\n", ""])
def test_without_figures_values_are_null(node, path, content):
    if content is not None:
        for name in ("account", "container", "object", "drive", "relinker"):
            (node / "cache" / f"{name}.recon").write_text(content)
    answer = call(build(node), f"/recon/{path}")
    # recorded from the reference: the keys in this order
    assert answer.body.decode() == "{" + ", ".join(f'"{key}": null' for key in NULL_ANSWERS[path]) + "}"


@pytest.mark.parametrize("path", NULL_ANSWERS)
def test_figures_are_those_of_the_daemons(node, path):
    values = {key: {"number": number, "nested": [1.5]} for number, key in enumerate(NULL_ANSWERS[path])}
    name, _, kind = path.partition("/")
    files = {"driveaudit": "drive", "relinker": "relinker", "sharding": "container"}
    file = files.get(name, kind or "object")
    (node / "cache" / f"{file}.recon").write_text(json.dumps({**values, "other": 1}) + "\n")
    assert ask(node, path) == values


@pytest.mark.parametrize(
    "path",
    [
        "", "foo", "reconstruction", "auditor", "updater/account", "expirer", "replication/foo", "replication/object/x",
        "auditor/object/", "../etc/passwd",
    ],
)  # fmt: skip
def test_unknown_checks(node, path):
    answer = call(build(node), f"/recon/{path}")
    assert answer.status == "404 Not Found"
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.body.decode() == f"Invalid path: /recon/{path}"


def test_further_path_parts_and_methods_do_not_matter(node):
    assert ask(node, "version/x/y") == {"version": __version__}
    assert ask(node, "version/", method="PUT") == {"version": __version__}
    answer = call(build(node), "/recon/version", "HEAD")
    assert answer.body == b""
    assert int(answer.headers["Content-Length"]) > 0


def test_other_paths_pass(node):
    body = [b"x"]
    assert call(build(node, App(body=body)), "/recon", read=False).raw_body is body
    assert call(build(node, App(body=body)), "/sdb1/0/a/c/o", read=False).raw_body is body


def test_time(node):
    before = time.time()
    assert before <= ask(node, "time") <= time.time()


def test_load_and_memory(node):
    (node / "proc/loadavg").write_text("5.62 6.36 5.85 16/309 22645\n")
    (node / "proc/meminfo").write_text("MemTotal:       24684084 kB\nHugePages_Total:       0\n")
    assert ask(node, "load") == {"1m": 5.62, "5m": 6.36, "15m": 5.85, "tasks": "16/309", "processes": 22645}
    assert ask(node, "mem") == {"MemTotal": "24684084 kB", "HugePages_Total": "0"}


def test_mounts(node):
    (node / "proc/mounts").write_text("proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n")
    assert ask(node, "mounted") == [{"device": "proc", "path": "/proc"}, {"device": "/dev/vda", "path": "/"}]


def test_sockets(node):
    (node / "proc/net/sockstat").write_text(
        "sockets: used 50\nTCP: inuse 12 orphan 1 tw 80 alloc 12 mem 327\nUDP: inuse 9 mem 0\n"
    )
    expected = {
        "tcp_in_use": 12, "orphan": 1, "time_wait": 80, "tcp_mem_allocated_bytes": 327 * os.sysconf("SC_PAGESIZE"),
    }  # fmt: skip
    assert ask(node, "sockstat") == expected
    (node / "proc/net/sockstat6").write_text("TCP6: inuse 3\nUDP6: inuse 0\n")
    assert ask(node, "sockstat") == {**expected, "tcp6_in_use": 3}


def test_what_cannot_be_read_is_a_500_without_details(node):
    answer = call(build(node), "/recon/load")
    assert answer.status_int == 500
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.body == b"Internal server error."
    (node / "proc/loadavg").write_text("nonsense")
    assert call(build(node), "/recon/load").status_int == 500


def test_devices(node):
    (node / "node/sdb1").mkdir()
    (node / "node/file").touch()
    devices = ask(node, "devices")
    assert {key: sorted(value) for key, value in devices.items()} == {str(node / "node"): ["file", "sdb1"]}
    assert ask(node, "unmounted") == [{"device": "sdb1", "mounted": False}]
    assert ask(node, "diskusage") == [
        {"device": "sdb1", "mounted": False, "size": "", "used": "", "avail": ""}
    ]
    os.rmdir(node / "node/sdb1")
    os.unlink(node / "node/file")
    os.rmdir(node / "node")
    assert ask(node, "devices") == {str(node / "node"): None}
    assert call(build(node), "/recon/unmounted").status_int == 500


def test_a_mounted_device_tells_its_size(node, monkeypatch):
    (node / "node/sdb1").mkdir()
    real = os.lstat

    class OtherDevice:
        st_dev = -1
        st_ino = 2

    monkeypatch.setattr(
        os, "lstat", lambda path, **kw: OtherDevice() if str(path).endswith("sdb1") else real(path, **kw)
    )
    assert ask(node, "unmounted") == []
    (usage,) = ask(node, "diskusage")
    disk = os.statvfs(node / "node/sdb1")
    assert usage["mounted"] is True
    assert usage["size"] == disk.f_bsize * disk.f_blocks
    assert usage["used"] == usage["size"] - usage["avail"]


def test_a_device_that_cannot_be_looked_at(node, monkeypatch):
    (node / "node/sdb1").mkdir()
    real = os.lstat

    def lstat(path, **options):
        if str(path).endswith("sdb1"):
            raise OSError(5, "Input/output error")
        return real(path, **options)

    monkeypatch.setattr(os, "lstat", lstat)
    assert ask(node, "unmounted") == [{"device": "sdb1", "mounted": "[Errno 5] Input/output error"}]
    assert ask(node, "diskusage")[0]["mounted"] == "[Errno 5] Input/output error"


def test_quarantine_is_counted_by_entries(node):
    assert ask(node, "quarantined") == {"objects": 0, "containers": 0, "accounts": 0, "policies": {}}
    sdb1, sdb2 = node / "node/sdb1/quarantined", node / "node/sdb2/quarantined"
    for path in (
        "objects/a",
        "objects/b",
        "objects-1/x",
        "objects-1/y",
        "objects-1/z",
        "containers/q",
        "junk/j",
        "objects-x/n",
    ):
        (sdb1 / path).mkdir(parents=True)
    (sdb1 / "objects/file").touch()
    (sdb2 / "objects/c").mkdir(parents=True)
    assert ask(node, "quarantined") == {
        "objects": 6, "containers": 1, "accounts": 0, "policies": {"0": {"objects": 3}, "1": {"objects": 3}},
    }  # fmt: skip


def test_md5_of_rings_and_swift_conf(node):
    etc = node / "etc"
    assert ask(node, "ringmd5") == {}
    assert ask(node, "swiftconfmd5") == {str(etc / "swift.conf"): None}
    for name in ("account.ring.gz", "object.ring.gz", "object-9.ring.gz", "swift.conf"):
        (etc / name).write_text(name)

    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    assert ask(node, "ringmd5") == {
        str(etc / name): md5(name) for name in ("account.ring.gz", "object.ring.gz")
    }
    assert ask(node, "swiftconfmd5") == {str(etc / "swift.conf"): md5("swift.conf")}


def test_a_replaced_ring_is_hashed_again(node):
    recon = build(node)
    ring = node / "etc/account.ring.gz"
    for text in ("one", "two", "two"):
        fresh = node / "etc/fresh"
        fresh.write_text(text)
        fresh.rename(ring)
        answer = json.loads(call(recon, "/recon/ringmd5").body)
        assert answer == {str(ring): hashlib.md5(text.encode()).hexdigest()}


def test_rings_of_all_policies(node):
    from swift.core.policy import StoragePolicy

    before = policies()
    set_policies(PolicyCollection([StoragePolicy(0, "gold", is_default=True), StoragePolicy(3, "thin")]))
    try:
        (node / "etc/object-3.ring.gz").touch()
        assert list(ask(node, "ringmd5")) == [str(node / "etc/object-3.ring.gz")]
    finally:
        set_policies(before)


def test_factory():
    recon = filter_factory({"devices": "/mnt", "log_to": "stderr"}, recon_cache_path="/tmp/x")(App())
    assert (recon.disks.root, recon.cache_path, recon.swift_dir) == ("/mnt", "/tmp/x", "/etc/swift")


def test_folders_that_stand_for_disks_have_sizes(tmp_path):
    (tmp_path / "sdb1").mkdir()
    disks = ReconMiddleware(None, {"devices": str(tmp_path), "mount_check": "false"}).disks
    (entry,) = disks.usage()
    assert entry["device"] == "sdb1" and entry["mounted"] is False
    assert entry["size"] >= entry["used"] + entry["avail"] > 0


def test_a_disk_that_hangs_stops_nobody(tmp_path, monkeypatch):
    import threading

    from swift.core import concurrency
    from swift.middleware import recon as module

    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    recon = ReconMiddleware(None, {"devices": str(tmp_path)})
    answers = threading.Event()
    recon._checks["time", None] = lambda: answers.wait(60)
    others = []
    ticking = concurrency.spawn(lambda: [concurrency.sleep(0.01) or others.append(1) for _ in range(5)])
    said = []
    body = recon(
        {"PATH_INFO": "/recon/time", "REQUEST_METHOD": "GET"}, lambda status, headers: said.append(status)
    )
    answers.set()
    ticking.wait()
    assert (said, body) == (["503 Service Unavailable"], [b"A disk does not answer."])
    assert len(others) == 5


def test_a_disk_that_hangs_keeps_one_thread_and_none_of_others(tmp_path, monkeypatch):
    import threading

    from swift.core.concurrency import spawn
    from swift.engine.threads import run_in_thread
    from swift.middleware import recon as module

    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    recon = ReconMiddleware(None, {"devices": str(tmp_path)})
    answers = threading.Event()
    hung = []
    for name in ("diskusage", "unmounted", "quarantined", "devices"):
        recon._checks[name, None] = lambda name=name: hung.append(name) or answers.wait(60)

    def asked(name):
        said = []
        recon({"PATH_INFO": f"/recon/{name}", "REQUEST_METHOD": "GET"}, lambda status, _: said.append(status))
        return said[0]

    try:
        for _ in range(3):
            asking = [spawn(asked, name) for name in ("diskusage", "unmounted", "quarantined", "devices") * 5]
            assert {one.wait() for one in asking} == {"503 Service Unavailable"}
        assert sorted(hung) == ["devices", "diskusage", "quarantined", "unmounted"]
        assert asked("version") == "200 OK"
        assert run_in_thread(lambda: 5) == 5
    finally:
        answers.set()
