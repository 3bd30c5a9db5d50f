"""What the auditor learns from listings: dark data, and rows that were lost. With real container servers, and the reference's forms of shards."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obj_app import Log
from obj_container import Quiet
from test_object_auditor import Disk

from swift.container.server import ContainerServer
from swift.core import clock
from swift.core.concurrency import spawn
from swift.core.errors import ConfigError
from swift.engine.sockets import listen
from swift.obj.auditing import dark_data, device_pass, listed_names, rows, status
from swift.obj.auditing.dark_data import DarkDataWatcher
from swift.obj.auditing.figures import ALL, ZBF
from swift.obj.auditing.listed_names import ListedNames, just_before
from swift.obj.auditing.rows import Rows
from swift.obj.auditing.watchers import QuarantineRequest, Watchers
from swift.wire import direct
from swift.wire.connection_pool import POOL
from swift.wire.server import Server

T1 = "1700000001.00000"


class Node:
    """One container server over a socket. `answer`: a WSGI application that stands in for it, or None."""

    def __init__(self, root, number):
        self.root = f"{root}/container{number}"
        os.makedirs(f"{self.root}/sdc")
        conf = {"devices": self.root, "mount_check": "false", "swift_dir": f"{root}/etc"}
        self.application = ContainerServer(conf, Log())
        self.answer = None
        self.requests = []
        self.sock = listen("127.0.0.1", 0)
        self.server = Server(self.sock, self, {}, Quiet())
        self.thread = spawn(self.server.run)
        port = self.sock.getsockname()[1]
        self.node = {
            "id": number,
            "index": number,
            "device": "sdc",
            "ip": "127.0.0.1",
            "port": port,
            "replication_ip": "127.0.0.1",
            "replication_port": port,
        }

    def __call__(self, environ, start_response):
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]))
        if self.answer is not None:
            return self.answer(environ, start_response)
        return self.application(environ, start_response)

    def row(self, name, timestamp, container="c", policy=0, method="PUT"):
        headers = {"X-Timestamp": timestamp, "X-Backend-Storage-Policy-Index": str(policy)}
        if method == "PUT":
            headers |= {"X-Size": "1", "X-Etag": "e", "X-Content-Type": "t"}
            direct.put_container_object(self.node, 7, "a", container, name, headers)
        else:
            direct.delete_container_object(self.node, 7, "a", container, name, headers)

    def names(self, container="c"):
        return [row["name"] for row in direct.get_container(self.node, 7, "a", container)[1]]

    def close(self):
        self.server.stop()
        self.thread.kill()


def refuse(line):
    def answer(environ, start_response):
        start_response(line, [("Content-Length", "0")])
        return [b""]

    return answer


class Containers:
    """A ring of three servers."""

    def __init__(self, root):
        self.nodes = [Node(root, number) for number in range(3)]
        self.places = {}

    def get_nodes(self, account, container):
        return 7, [node.node for node in self.nodes]

    def make(self, container="c", account="a", policy=0):
        for node in self.nodes:
            headers = {"X-Timestamp": T1, "X-Backend-Storage-Policy-Index": str(policy)}
            direct.put_container(node.node, 7, account, container, headers)


@pytest.fixture
def disk(root):
    return Disk(root)


@pytest.fixture
def containers(disk):
    found = Containers(disk.root)
    yield found
    POOL.clear()
    for node in found.nodes:
        node.close()


# -- asking


@pytest.fixture
def asking(containers):
    containers.make()
    return ListedNames(containers, 1, 5, "test")


def test_names_are_asked_for_in_ranges(asking, containers, monkeypatch):
    names = [f"o{n:04}" for n in range(400)]
    for name in names:
        containers.nodes[0].row(name, T1)
    containers.nodes[1].row("o0001", "1700000009.00001")
    containers.nodes[1].row("another", T1)
    for node in containers.nodes:
        node.requests.clear()
    listed = asking.ask("a", "c", names[::3] + ["another", "zzz", "o0003x"])
    assert listed.times == dict.fromkeys([*names[::3], "another"], 1700000001.0)
    assert (listed.unknown, listed.exists, listed.answered) == (set(), True, True)
    assert sum(len(node.requests) for node in containers.nodes) < 30
    assert asking.ask("a", "c", ["o0001"]).times == {"o0001": 1700000009.00001}


def test_few_names_of_a_long_listing_take_short_pages(asking, containers):
    names = [f"o{n:04}" for n in range(3000)]
    for name in names:
        containers.nodes[0].row(name, T1)
    containers.nodes[0].requests.clear()
    wanted = names[::500]
    assert set(asking.ask("a", "c", wanted).times) == set(wanted)
    asked = containers.nodes[0].requests
    assert len(asked) == len(wanted)
    assert all(int(query.partition("limit=")[2].partition("&")[0]) <= 16 for _, _, query in asked)


@pytest.mark.parametrize("name", ["ö", "a/b c?&=+%", "\U0010ffff", "\ue000", "x" * 1024, "\x01", "a\x7f"])
def test_odd_names(asking, containers, name):
    for node in containers.nodes:
        direct.put_container_object(
            node.node,
            7,
            "a",
            "c",
            name,
            {"X-Timestamp": T1, "X-Size": "1", "X-Etag": "e", "X-Content-Type": "t"},
        )
    listed = asking.ask("a", "c", [name])
    assert (set(listed.times), listed.unknown) == ({name}, set())
    assert listed.exists


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5))
def test_a_marker_is_before_its_name(name):
    marker = just_before(name)
    assert marker.encode() < name.encode()
    assert marker < name


def test_who_does_not_answer_leaves_it_unknown(asking, containers):
    containers.nodes[0].row("here", T1)
    for line in ("503 Busy", "507 Full", "400 Bad", "200 OK"):
        containers.nodes[2].answer = refuse(line)
        asking._away.clear()
        listed = asking.ask("a", "c", ["here", "gone"])
        assert (set(listed.times), listed.unknown, listed.exists) == ({"here"}, {"gone"}, True)
    asking._away.clear()
    containers.nodes[2].answer = refuse("404 Not Found")
    listed = asking.ask("a", "c", ["here", "gone"])
    assert (set(listed.times), listed.unknown) == ({"here"}, set())
    nobody = asking.ask("a", "other", ["gone"])
    assert (nobody.times, nobody.unknown, nobody.exists, nobody.answered) == ({}, set(), False, True)


def test_a_server_that_is_away_is_left_alone_for_a_while(asking, containers):
    containers.nodes[1].answer = refuse("507 Full")
    asking.ask("a", "c", ["o"])
    containers.nodes[1].requests.clear()
    assert asking.ask("a", "c", ["o"]).unknown == {"o"}
    assert containers.nodes[1].requests == []


def shards(*ranges):
    def answer(environ, start_response):
        body = json.dumps(
            [{"name": name, "lower": low, "upper": high} for low, high, name in ranges]
        ).encode()
        start_response("200 OK", [("Content-Length", str(len(body))), ("X-Backend-Record-Type", "shard")])
        return [body]

    return answer


def test_shards_are_followed(asking, containers):
    containers.make("s1", ".shards_a")
    containers.make("s2", ".shards_a")
    headers = {"X-Timestamp": T1, "X-Size": "1", "X-Etag": "e", "X-Content-Type": "t"}
    for container, name in (("s1", "a"), ("s2", "n"), ("s2", "z")):
        direct.put_container_object(containers.nodes[0].node, 7, ".shards_a", container, name, headers)
    containers.nodes[1].row("in the root", T1)
    shown = shards(("", "m", ".shards_a/s1"), ("m", "y", ".shards_a/s2"))

    def root(node):
        def answer(environ, start_response):
            if environ["PATH_INFO"] == "/sdc/7/a/c":
                return shown(environ, start_response)
            return node.application(environ, start_response)

        return answer

    containers.nodes[0].answer = root(containers.nodes[0])
    listed = asking.ask("a", "c", ["a", "b", "m", "n", "x", "z", "in the root"])
    assert set(listed.times) == {"a", "n", "in the root"}
    assert listed.unknown == {"z"}  # in no shard that is known


def test_a_container_that_is_being_cut_has_the_rest_itself(asking, containers):
    containers.nodes[0].row("z", T1)
    shown = shards(("", "", "a/c"))

    def answer(environ, start_response):
        if environ.get("HTTP_X_BACKEND_RECORD_TYPE") == "auto":
            return shown(environ, start_response)
        return containers.nodes[0].application(environ, start_response)

    containers.nodes[0].answer = answer
    listed = asking.ask("a", "c", ["y", "z"])
    assert (set(listed.times), listed.unknown) == ({"z"}, set())


# -- dark data


@pytest.fixture
def watch(disk, containers, monkeypatch):
    """watch(**options) → lines of a pass with that watcher."""
    monkeypatch.setattr(dark_data, "_container_ring", lambda swift_dir: containers)
    containers.make()

    def watch(audit_type=ALL, **options):
        auditor = disk.auditor(compare_listings="no")
        conf = {**auditor.conf, "grace_age": "0", **options}
        auditor.watchers = Watchers({"swift#dark_data": conf}, auditor.logger)
        auditor.run_once(audit_type=audit_type, devices="sda")
        return [line for line in auditor.logger.lines if "[audit-watcher swift#dark_data] " in line]

    return watch


def totals(lines):
    return [int(word) for word in lines[-1].split() if word.isdecimal()]


def test_what_no_container_lists_is_dark(disk, containers, watch):
    dark = disk.put("dark")
    disk.put("listed")
    containers.nodes[2].row("listed", T1)
    lines = watch()
    assert len([line for line in lines if f"reporting dark data {dark}" in line]) == 1
    assert lines[-1].endswith("total unknown 0 ok 1 dark 1")
    assert dark.exists()
    assert watch(ZBF) == []


def test_young_objects_have_their_grace(disk, watch):
    disk.put("dark", timestamp=f"{clock.time() - 50:.5f}")
    assert totals(watch(grace_age="100")) == [0, 0, 0]
    assert totals(watch(grace_age="10")) == [0, 0, 1]


@pytest.mark.parametrize("line", ["503 Busy", "507 Full"])
@pytest.mark.parametrize("action", ["delete", "quarantine"])
def test_nothing_happens_as_long_as_one_server_is_silent(disk, containers, watch, line, action):
    dark = disk.put("dark")
    containers.nodes[1].answer = refuse(line)
    assert totals(watch(action=action)) == [1, 0, 0]
    assert dark.exists()
    containers.nodes[1].answer = None
    assert totals(watch(action=action)) == [0, 0, 1]
    assert not dark.exists()
    assert bool(disk.quarantined()) == (action == "quarantine")


def test_a_container_that_is_nowhere(disk, containers, watch):
    for node in containers.nodes:
        direct.delete_container(node.node, 7, "a", "c", {"X-Timestamp": "1700000002.00000"})
    disk.put("dark")
    assert totals(watch()) == [0, 0, 1]


def test_what_waits_for_the_reconciler_is_not_dark(disk, containers, watch):
    path = disk.put("o", policy=1)
    containers.nodes[0].row("o", T1, policy=1)
    assert totals(watch(action="delete")) == [0, 1, 0]
    assert path.exists()


@pytest.mark.parametrize("action", ["delete", "quarantine"])
def test_what_was_written_meanwhile_stays(disk, watch, monkeypatch, action):
    disk.put("o")
    real = DarkDataWatcher._act

    def act(self, seen):
        disk.put("o", b"new", "1700000009.00000")
        real(self, seen)

    monkeypatch.setattr(DarkDataWatcher, "_act", act)
    assert totals(watch(action=action)) == [0, 0, 1]
    assert disk.path("o", 0, "1700000009.00000.data")


def test_many_are_asked_for_together(disk, containers, watch):
    for number in range(200):
        disk.put(f"o{number:03}")
        containers.nodes[0].row(f"o{number:03}", T1)
    for node in containers.nodes:
        node.requests.clear()
    assert totals(watch()) == [0, 200, 0]
    assert sum(len(node.requests) for node in containers.nodes) <= 6


@pytest.mark.parametrize("options", [{"action": "eat"}, {"grace_age": "-1"}])
def test_bad_options(disk, options, containers):
    with pytest.raises((ConfigError, ValueError)):
        DarkDataWatcher(options, Log(), containers)


# -- watchers of others


class Watcher:
    """Does what the test says."""

    made = []

    def __init__(self, conf, logger):
        if conf.get("fails") == "init":
            raise RuntimeError("init")
        self.conf, self.logger, self.seen, self.ended = conf, logger, [], False
        Watcher.made.append(self)

    def start(self, audit_type, **other):
        self.audit_type = audit_type
        if self.conf.get("fails") == "start":
            raise RuntimeError("start")

    def see_object(self, object_metadata, data_file_path, **other):
        self.seen.append((object_metadata["name"], data_file_path))
        if self.conf.get("fails") == "see":
            raise RuntimeError("see")
        if object_metadata["name"].endswith(self.conf.get("away", "?")):
            raise QuarantineRequest

    def end(self, **other):
        self.ended = True
        self.logger.info("100% done")


def test_watchers_see_what_is_healthy(disk, monkeypatch):
    monkeypatch.setattr("swift.obj.auditing.watchers._find", lambda name: Watcher)
    good, bad = disk.put("good"), disk.put("bad")
    disk.fragment("ec", 1)
    disk.fragment("ec", 3)
    bad.write_bytes(b"ydob")
    Watcher.made.clear()
    auditor = disk.auditor()
    names = {
        "one": {"away": "good"},
        "init": {"fails": "init"},
        "start": {"fails": "start"},
        "see": {"fails": "see"},
    }
    auditor.watchers = Watchers(names, auditor.logger)
    auditor.run_once(audit_type=ALL, devices="sda")
    assert [watcher.conf for watcher in Watcher.made] == [names["one"], names["start"], names["see"]]
    one, start, see = Watcher.made
    assert one.audit_type == ALL and one.ended and see.ended
    assert not start.ended and start.seen == []
    assert sorted(name for name, _ in one.seen) == ["/a/c/ec", "/a/c/good"]
    assert ("/a/c/good", str(good)) in one.seen
    assert not good.exists() and len(disk.quarantined()) == 2
    text = "\n".join(auditor.logger.lines)
    for words in (
        "[audit-watcher init] Error intializing watcher",
        "[audit-watcher see] Error in see_object",
        "[audit-watcher one] 100% done",
    ):
        assert words in text
    auditor.run_once(audit_type=ZBF, devices="sda")
    assert Watcher.made[3].audit_type == ZBF and Watcher.made[3] is not one


def test_plugins_of_the_reference_find_their_exception():
    found = Watchers({"dark_data": {}, "swift#dark_data": {}, "egg:swift#dark_data": {}}, Log())._found
    assert {factory for _, factory, _ in found} == {DarkDataWatcher}
    from swift.common.exceptions import QuarantineRequest as theirs  # type: ignore[import-not-found]

    assert theirs is QuarantineRequest
    with pytest.raises(ConfigError):
        Watchers({"nobody#nothing": {}}, Log())


def test_each_watcher_has_its_own_section(disk):
    path = f"{disk.root}/etc/object-server.conf"
    with open(path, "w") as file:
        file.write(
            "[object-auditor]\n[object-auditor:watcher:swift#dark_data]\naction = delete\ngrace_age = 5\n"
        )
    conf = disk.auditor(__file__=path, watchers="swift#dark_data").options.watchers["swift#dark_data"]
    assert (conf["action"], conf["grace_age"], conf["devices"]) == ("delete", "5", disk.root)


# -- rows that were lost


@pytest.fixture
def compare(disk, containers):
    """compare() → lines of a pass that compares with listings."""
    containers.make()

    def compare(**conf):
        auditor = disk.auditor(**conf)
        auditor.rows = Rows(
            auditor.conf, auditor.options, auditor.devices, auditor.stores, containers, auditor.logger
        )
        auditor.run_once(audit_type=ALL, devices="sda")
        return [line for line in auditor.logger.lines if "Reported" in line]

    return compare


def ago(seconds):
    return f"{time.time() - seconds:.5f}"


def test_a_lost_row_comes_back(disk, containers, compare):
    disk.put("lost", timestamp=ago(30))
    there = ago(20)
    disk.put("there", timestamp=there)
    containers.nodes[1].row("there", there)
    lines = compare()
    assert "Reported 1 objects" in lines[0]
    for node in containers.nodes:
        assert "lost" in node.names()
    assert compare() == []
    assert disk.app.pendings() == []


def test_an_older_row_is_brought_up_to_date(disk, containers, compare):
    new = ago(10)
    disk.put("o", b"new one", timestamp=new)
    for node in containers.nodes:
        node.row("o", ago(100))
    assert compare()
    for node in containers.nodes:
        assert direct.get_container(node.node, 7, "a", "c")[1][0]["bytes"] == 7
    disk.app.request("POST", "/sda/7/a/c/o", X_Timestamp=ago(5), X_Object_Meta_A="b")
    assert compare()
    assert compare() == []


def test_a_newer_row_is_left(disk, containers, compare):
    disk.put("o", timestamp=ago(100))
    for node in containers.nodes:
        node.row("o", ago(10))
    assert compare() == []


def test_a_lost_deletion_comes_back(disk, containers, compare):
    disk.app.request("DELETE", "/sda/7/a/c/o", X_Timestamp=ago(10))
    disk.app.request("DELETE", "/sda/7/a/c/unlisted", X_Timestamp=ago(10))
    containers.nodes[0].row("o", ago(100))
    assert "Reported 1 objects" in compare()[0]
    assert containers.nodes[0].names() == []


def test_old_objects_and_those_of_no_container_are_left(disk, containers, compare):
    disk.put("old", timestamp=ago(7 * 86400))
    for node in containers.nodes:
        node.requests.clear()
    assert compare() == []
    assert [node.requests for node in containers.nodes] == [[], [], []]
    disk.app.request("PUT", "/sda/7/a/nowhere/o", b"body", X_Timestamp=ago(10))
    assert compare() == []
    assert disk.app.pendings() == []


def test_what_could_not_be_compared_has_another_pass(disk, containers, compare, monkeypatch):
    monkeypatch.setattr(rows, "MARGIN", 0)
    monkeypatch.setattr(listed_names, "REST_SECONDS", 0)
    disk.put("o", timestamp=ago(10))
    for node in containers.nodes:
        node.answer = refuse("503 Busy")
    assert compare() == []
    for node in containers.nodes:
        node.answer = None
    assert compare()
    state = json.loads(open(f"{disk.root}/sda/auditor_rows.json").read())
    assert state["began"] is None and time.time() - state["before"] < 60
    # it was compared; what is lost from now on is none of the auditor's affairs
    for node in containers.nodes:
        node.row("o", ago(0), method="DELETE")
    assert compare() == []


def test_a_pass_that_is_stopped_loses_nothing(disk, containers, compare, monkeypatch):
    """What was seen of partitions that the status file has no more is compared before the file says so."""
    monkeypatch.setattr(device_pass, "WRITE_SECONDS", 0)
    monkeypatch.setattr(rows, "MARGIN", 0)
    for partition in range(20, 30):
        disk.app.request("PUT", f"/sda/{partition}/a/c/o{partition}", b"body", X_Timestamp=ago(10))
    real = status.StatusFile.write

    def write(self, partitions):
        real(self, partitions)
        done = {f"o{n}" for n in range(20, 30) if str(n) not in partitions}
        if self.path.endswith("/objects/auditor_status_ALL.json"):
            assert done <= set(containers.nodes[0].names())

    monkeypatch.setattr(status.StatusFile, "write", write)
    assert compare()
    assert len(containers.nodes[0].names()) == 10
