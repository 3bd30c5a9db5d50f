"""The expirer's queue, its shares and delays, and what becomes of a row whatever servers answer: nothing newer is ever deleted."""

import json
import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obj_golden import load

from swift.core import clock
from swift.core.concurrency import use_fast_hub
from swift.core.errors import ConfigError
from swift.core.object_headers import queue_container
from swift.core.timestamp import Timestamp, http_date
from swift.obj.expirer import queue as queue_module
from swift.obj.expirer import versions as versions_module
from swift.obj.expirer.expirer import ObjectExpirer
from swift.obj.expirer.nodes import Nodes as ExpirerNodes
from swift.obj.expirer.options import ExpirerOptions
from swift.obj.expirer.queue import TaskQueue
from swift.obj.expirer.tasks import (
    ASYNC_TYPE,
    Delays,
    Row,
    async_container,
    async_rows,
    end_of,
    in_turn,
    parse_row,
    parse_task,
    period_of,
    share_of,
)
from swift.obj.expirer.versions import NewestVersions, Unknown, Version
from swift.obj.updates import ExpirerQueue
from swift.telemetry.node_metrics import state_families
from swift.wire.direct import DirectError
from swift.wire.internal import UnexpectedResponse
from swift.wire.message import HeaderKeyDict
from test.databases import Logger, make_conf

use_fast_hub()

NOW = 1_700_000_200.0
DUE = 1_700_000_100
NAME = f"{DUE}-AUTH_a/c/o"
CONTAINER = "1699919932"


# -- forms


def test_golden_tasks():
    golden = load("expirer.json")
    queue = ExpirerQueue({})
    for task in golden["tasks"]:
        names = task["account"], task["container"], task["object"]
        assert (task["task_container"], task["task_object"]) == queue.row(task["x_delete_at"], *names)
        assert queue.account == task["task_account"]
        found = parse_task(Row(task["task_container"], task["task_object"], False, 0))
        assert (int(found.due), *found[1:4]) == (task["x_delete_at"], *names)
        row = json.loads(async_rows(Timestamp(task["x_delete_at"]), *names[:2], [names[2]]))[0]
        assert row["name"] == task["task_object_high_precision"]
        assert parse_task(Row("", row["name"], True, 0))[1:4] == names
    for case in golden["hash_mod"]:
        assert share_of(case["name"], case["divisor"]) == case["mod"]
    for case in golden["is_expected_task_container"]:
        assert period_of(str(case["container"]), 86400)[1] == case["expected"]


@given(st.integers(0, 9_999_999_998), st.text(min_size=1), st.sampled_from([101, 3600, 86400]))
def test_a_container_tells_the_period_of_its_rows(due, obj, divisor):
    container = queue_container(divisor, due, "a", "c", obj)
    start, is_expected = period_of(container, divisor)
    assert is_expected
    if int(container):
        assert start <= due < start + divisor
    assert container < end_of(due) and f"{due:010d}-a/c/{obj}" < end_of(due)
    assert not f"{due + 1:010d}-a/c/{obj}" < end_of(due)


@pytest.mark.parametrize("name", ["", "x", "-5", "1_0", "٣", "12345678901", "1.5"])
def test_containers_that_are_none(name):
    with pytest.raises(ValueError):
        period_of(name, 86400)


@pytest.mark.parametrize(
    "listed",
    [
        {},
        {"subdir": "x"},
        {"name": "nothing", "content_type": "x"},
        {"name": "x-a/c/o", "content_type": "x"},
        {"name": "1700000000-a/c", "content_type": "x"},
        {"name": "1700000000-a//o", "content_type": "x"},
        {"name": "-1700000000-a/c/o", "content_type": "x"},
        {"name": "nan-a/c/o", "content_type": "x"},
        {"name": "1700000000-a/c/o", "content_type": None},
    ],
)
def test_rows_that_are_none(listed):
    with pytest.raises(ValueError):
        parse_task(parse_row("1699999932", listed))


def test_rows_tell_their_size():
    for content_type, size in (
        ("text/plain;swift_expirer_bytes=11", 11),
        ("text/plain; swift_expirer_bytes=12; x=y", 12),
        ("text/plain", 0),
        ("text/plain;swift_expirer_bytes=" + "9" * 40, 0),
    ):
        assert parse_row("1", {"name": "1-a/c/o", "content_type": content_type}).size == size
    assert parse_row("1", {"name": "1-a/c/o", "content_type": ASYNC_TYPE}).is_async


@given(st.lists(st.integers(0, 5)), st.integers(1, 30))
def test_taking_turns(keys, size):
    rows = [Row(str(key), str(number), False, 0) for number, key in enumerate(keys)]
    turns = list(in_turn(iter(rows), lambda row: row.container, size))
    assert sorted(turns) == sorted(rows)
    for start in range(0, len(rows), size):  # within what is held, nobody comes twice while another waits
        part = turns[start : start + size]
        left = Counter(row.container for row in part)
        seen = Counter()
        for row in part:
            assert all(seen[row.container] <= seen[other] for other in left if left[other] > seen[other])
            seen[row.container] += 1
    for key in set(keys):
        assert [int(row.name) for row in turns if row.container == str(key)] == sorted(
            int(row.name) for row in turns if row.container == str(key)
        )


def test_delays():
    delays = Delays(
        {
            "delay_reaping": "7",  # another daemon's
            "delay_reaping_AUTH_a": "100",
            "delay_reaping_AUTH_a/c": "0",
            "delay_reaping_AUTH_%E2%98%83/with%20blank": "1.5",
        }
    )

    def of(account, container, is_async=False):
        name = f"1700000000-{account}/{container}/o"
        return delays.of(parse_task(Row("1", name, is_async, 0)))

    assert [of("AUTH_a", "x"), of("AUTH_a", "c"), of("AUTH_b", "c"), of("AUTH_☃", "with blank")] == [
        100,
        0,
        0,
        1.5,
    ]
    assert of("AUTH_a", "x", is_async=True) == 0
    for option, value in (
        ("delay_reaping_a", "-1"),
        ("delay_reaping_a", "x"),
        ("delay_reaping_", "1"),
        ("delay_reaping_/a", "1"),
        ("delay_reaping_a/c/o", "1"),
        ("delay_reaping_a//c", "1"),
    ):
        with pytest.raises(ConfigError):
            Delays({option: value})


def test_options():
    options = ExpirerOptions({"__file__": "/x/test_expirer0/object-server/1.conf"})
    assert not options.is_wanted and options.client_conf == "/etc/swift/internal-client.conf"
    assert ExpirerOptions(
        {"__file__": "/etc/swift/object-server.conf", "dequeue_from_legacy": "yes"}
    ).is_wanted
    for path in (
        "/etc/swift/object-expirer.conf",
        "/etc/swift/object-expirer/2.conf",
        "/x/object-expirer.conf.d",
    ):
        options = ExpirerOptions({"__file__": path, "internal_client_conf_path": "/x"})
        assert options.is_wanted and options.client_conf == path
    for bad in (
        {"processes": "2", "process": "2"},
        {"processes": "-1"},
        {"concurrency": "0"},
        {"request_tries": "0"},
        {"tasks_per_second": "x"},
        {"expiring_objects_container_divisor": "100"},
    ):
        with pytest.raises((ConfigError, ValueError)):
            ExpirerOptions(bad)


# -- rows


class Answer:
    def __init__(self, status):
        self.status_int = status
        self.status = f"{status} x"


class Client:
    """A pipeline: `listed[container]` is the queue, `statuses[(account, container, obj)]` what a DELETE is answered with."""

    def __init__(self):
        self.listed = {}
        self.statuses = {}
        self.deleted = []
        self.removed = []

    def get_account_info(self, account):
        return len(self.listed), sum(map(len, self.listed.values()))

    def iter_containers(self, account):
        return iter([{"name": name, "count": len(self.listed[name])} for name in sorted(self.listed)])

    def iter_objects(self, account, container, marker, end_marker):
        self.marker = marker
        for name in sorted(self.listed[container]):
            if marker < name < end_marker:
                kind = ASYNC_TYPE if "." in name.partition("-")[0] else "text/plain;swift_expirer_bytes=5"
                yield {"name": name, "content_type": kind}

    def delete_object(self, account, container, obj, headers, acceptable):
        self.deleted.append((f"{account}/{container}/{obj}", headers))
        status = self.statuses.get(obj, 204)
        if status not in acceptable and status // 100 not in acceptable:
            raise UnexpectedResponse("503", Answer(status))
        return Answer(status)


class Queue(TaskQueue):
    def __init__(self, client):
        super().__init__(client, None, ExpirerNodes(1, 1), ".expiring_objects")
        self.client = client
        self.taken = []

    def take_away(self, container, name):
        self.taken.append(name)
        self.client.listed[container].remove(name)
        return []

    def remove_if_empty(self, container):
        if self.client.listed[container]:
            return False
        del self.client.listed[container]
        self.client.removed.append(container)
        return True


class Versions:
    """What all nodes together know, by object."""

    def __init__(self):
        self.known = {}

    def of(self, account, container, obj, due):
        found = self.known.get(obj, Version(Timestamp(DUE - 50), False, DUE))
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "time", lambda: NOW)

    def made(**options):
        (tmp_path / "swift.conf").exists() or make_conf(tmp_path)
        conf = {
            "swift_dir": str(tmp_path),
            "dequeue_from_legacy": "true",
            "recon_cache_path": str(tmp_path),
            "tasks_per_second": "0",
            **options,
        }
        logger = Logger()
        logger.debug = logger.error
        daemon = ObjectExpirer(conf, logger, Client(), ring=object())
        if daemon.options.is_wanted:
            daemon.queue = Queue(daemon.client)
            daemon.versions = Versions()
        return daemon

    return made


@pytest.fixture
def daemon(make):
    return make()


def listed(daemon, *names, container=CONTAINER):
    daemon.client.listed[container] = set(names)


def test_an_object_is_deleted_as_of_its_time(daemon):
    listed(daemon, NAME, f"{DUE}-AUTH_a/\0versions\0c/\0o\0v")
    daemon.run_once()
    time = f"{DUE}.00000"
    headers = {"X-Timestamp": time, "X-If-Delete-At": time, "X-Backend-Clean-Expiring-Object-Queue": "no"}
    assert sorted(daemon.client.deleted, key=str) == sorted(
        [("AUTH_a/c/o", headers), ("AUTH_a/\0versions\0c/\0o\0v", headers)], key=str
    )
    assert daemon.queue.taken and not daemon.client.listed and daemon.client.removed == [CONTAINER]
    assert (
        "Pass beginning for task account .expiring_objects; 1 possible containers; 2 possible objects"
        in daemon.logger.lines
    )
    assert "Pass completed in 0s; 2 objects expired" in daemon.logger.lines


def test_what_is_queued_for_deletion_goes_whatever_its_time(daemon):
    name = f"{DUE}.12345-AUTH_a/c/o"
    listed(daemon, name, container=str(DUE))
    daemon.versions.known["o"] = Version(Timestamp(DUE + 50), False, DUE + 99)
    daemon.run_once()
    assert daemon.client.deleted == [("AUTH_a/c/o", {"X-Timestamp": f"{DUE}.12345"})]
    assert daemon.queue.taken == [name]


@pytest.mark.parametrize("status", [409, 404])
def test_what_is_queued_and_newer_or_gone_is_done(daemon, status):
    listed(daemon, f"{DUE}.12345-AUTH_a/c/o", container=str(DUE))
    daemon.client.statuses["o"] = status
    daemon.run_once()
    assert daemon.queue.taken


@pytest.mark.parametrize(
    ("newest", "is_asked", "is_taken"),
    [
        (Version(Timestamp(DUE - 10), False, DUE), True, True),
        (Version(Timestamp(DUE - 10), False, DUE + 500), False, False),  # a POST that some may have missed
        (Version(Timestamp(DUE - 10), False, None), False, False),
        (Version(Timestamp(DUE), False, None), False, True),
        (Version(Timestamp(DUE + 10), False, DUE + 500), False, True),  # an object written since
        (Version(Timestamp(DUE + 10), False, DUE), False, True),
        (Version(Timestamp(DUE), True, None), True, True),  # half done in an earlier pass
        (None, True, True),
        (Unknown("2 of 6 nodes have answered"), False, False),
        (UnexpectedResponse("503", Answer(503)), False, False),
    ],
)
def test_nothing_newer_is_deleted(daemon, newest, is_asked, is_taken):
    listed(daemon, NAME)
    daemon.versions.known["o"] = newest
    daemon.run_once()
    assert bool(daemon.client.deleted) is is_asked
    assert bool(daemon.queue.taken) is is_taken
    assert bool(daemon.client.removed) is is_taken


@pytest.mark.parametrize(
    ("status", "is_taken", "is_given_up"),
    [
        (204, True, True),
        (409, True, True),
        (404, False, True),
        (412, False, True),
        (503, False, False),
        (507, False, False),
        (400, False, False),
    ],
)
def test_rows_stay_until_they_are_done(make, status, is_taken, is_given_up):
    for reclaim_age, expected in (("1000", is_taken), ("50", is_given_up)):
        daemon = make(reclaim_age=reclaim_age)
        listed(daemon, NAME)
        daemon.client.statuses["o"] = status
        daemon.run_once()
        assert bool(daemon.queue.taken) is expected
        daemon.client.statuses.clear()
        daemon.run_once()
        assert daemon.queue.taken == [NAME]


def test_one_bad_row_holds_up_nobody(daemon):
    listed(daemon, "rubbish", f"{DUE}-AUTH_a/c/one", f"{DUE}-AUTH_a/c/two", "0-")
    daemon.client.listed["not-a-time"] = set()
    daemon.client.statuses["one"] = 503
    daemon.run_once()
    assert daemon.queue.taken == [f"{DUE}-AUTH_a/c/two"]
    assert not daemon.client.removed


def test_what_is_not_due_stays(daemon):
    listed(daemon, f"{int(NOW) + 1}-AUTH_a/c/o", f"{int(NOW)}-AUTH_a/c/now")
    listed(daemon, f"{int(NOW) + 9000}-AUTH_a/c/o", container=str(int(NOW) + 10))
    daemon.versions.known["now"] = None
    daemon.run_once()
    assert daemon.queue.taken == [f"{int(NOW)}-AUTH_a/c/now"]


def test_a_server_that_fails_ends_no_daemon(daemon):
    daemon.client.get_account_info = lambda account: 1 / 0
    daemon.run_once()
    listed(daemon, NAME)
    del daemon.client.get_account_info
    whole = daemon.client.iter_objects

    def broken(account, container, **words):
        yield from whole(account, container, **words)
        raise UnexpectedResponse("503", Answer(503))

    daemon.client.iter_objects = broken
    daemon.run_once()
    assert daemon.queue.taken == [NAME]


# -- whose and when


def test_each_row_is_somebodys_and_nobody_lists_what_others_do(make):
    names = {str(1699919910 + k): {f"{DUE}-AUTH_a/c/{k}-{n}" for n in range(9)} for k in range(20)}
    taken = Counter()
    for process in range(3):
        daemon = make(processes="3", process=str(process))
        daemon.client.listed = {container: set(rows) for container, rows in names.items()}
        daemon._pass(600)  # a pass of many: others have had no time yet
        own = {container for container in names if share_of(container, 3) == process}
        assert set(daemon.queue.taken) == {name for container in own for name in names[container]}
        taken.update(daemon.queue.taken)
    assert set(taken.values()) == {1} and len(taken) == 180
    for process in range(3):  # when the others leave it undone for long, or do it the reference's way
        daemon = make(processes="3", process=str(process))
        daemon.client.listed = {container: set(rows) for container, rows in names.items()}
        daemon._pass(50)
        for container, rows in names.items():
            for name in rows:
                if share_of(f"{container}/{name}", 3) == process or share_of(container, 3) == process:
                    assert name in daemon.queue.taken
                else:
                    assert name not in daemon.queue.taken


def test_what_is_delayed_is_not_listed_in_each_pass(make, monkeypatch):
    daemon = make(delay_reaping_AUTH_slow="300")
    slow = [f"{DUE + n}-AUTH_slow/c/o" for n in range(5)]
    listed(daemon, *slow)
    daemon.run_once()
    assert not daemon.queue.taken and daemon.client.marker == ""
    daemon.client.listed[CONTAINER].add(f"{DUE + 50}-AUTH_a/c/new")
    daemon.versions.known["new"] = None
    daemon.run_once()
    assert daemon.client.marker == slow[-1] and daemon.queue.taken == [f"{DUE + 50}-AUTH_a/c/new"]
    shown = json.loads(open(daemon.options.recon_file).read())["object_expirer_queue"]
    assert (shown["delayed"], shown["waiting"]) == (5, 0)
    daemon.versions.known["o"] = None
    monkeypatch.setattr(clock, "time", lambda: DUE + 302.5)
    daemon.run_once()
    assert sorted(daemon.queue.taken[1:]) == slow[:3]
    daemon.run_once()
    late = f"{DUE - 5}-AUTH_a/c/late"
    daemon.client.listed[CONTAINER].add(late)
    daemon.versions.known["late"] = None
    monkeypatch.setattr(clock, "time", lambda: DUE + 302.6)
    daemon.run_once()
    assert late not in daemon.queue.taken
    daemon._delayed = {name: kept._replace(look_at=0) for name, kept in daemon._delayed.items()}
    daemon.run_once()
    assert late in daemon.queue.taken


def test_figures(make, tmp_path):
    daemon = make()
    listed(daemon, NAME, f"{DUE - 7}-AUTH_a/c/fails")
    listed(daemon, "1800000000-AUTH_a/c/o", container="1799971180")
    daemon.client.statuses["fails"] = 503
    daemon.versions.known["fails"] = None
    daemon.run_once()
    recorded = json.loads((tmp_path / "object.recon").read_text())
    assert recorded["expired_last_pass"] == 1 and recorded["object_expiration_pass"] == 0
    assert recorded["object_expirer_queue"] == {
        "checked": NOW,
        "containers": 2,
        "queued": 3,
        "waiting": 1,
        "waiting_bytes": 5,
        "oldest_left": DUE - 7,
        "delayed": 0,
        "queued_by_day": {"2023-11-14": 2, "2027-01-15": 1},
    }
    conf = {"recon_cache_path": str(tmp_path), "devices": str(tmp_path / "node")}
    families = {family.name: family for family in state_families("object-server", conf)()}
    assert families["swift_object_expirer_waiting"].samples[0].value == 1
    assert families["swift_object_expirer_oldest_left"].samples[0].value == DUE - 7


def test_nothing_is_done_unless_asked_for(make):
    daemon = make(dequeue_from_legacy="false")
    assert any("dequeue_from_legacy" in line for line in daemon.logger.lines)
    daemon.run_once()


# -- what all nodes know


class Nodes:
    """Six nodes of a policy, three of them primaries; `state[id]` is a status and headers, or None: no answer."""

    def __init__(self, policy_index="0"):
        self.state = {}
        self.asked = Counter()
        self.index = policy_index

    def get_nodes(self, *names):
        return 7, [self.node(number) for number in range(3)]

    def get_more_nodes(self, part):
        return iter([self.node(number) for number in range(3, 9)])

    @staticmethod
    def node(number):
        return {"id": number, "replication_ip": "10.0.0.1", "replication_port": number, "device": "sda"}

    def get_container_metadata(self, account, container, acceptable_statuses):
        return {} if self.index is None else {"x-backend-storage-policy-index": self.index}

    def head(self, node, part, account, container, obj, headers, **options):
        assert (
            headers["X-Backend-Open-Expired"] == "true"
            and headers["X-Backend-Storage-Policy-Index"] == self.index
        )
        self.asked[node["id"]] += 1
        status, found = self.state.get(node["id"], (404, {}))
        if status == 200:
            return HeaderKeyDict(found)
        raise DirectError("HEAD", node, "/x", status=status, headers=HeaderKeyDict(found))


@pytest.fixture
def nodes(monkeypatch, tmp_path):
    from swift.core import swift_dir

    make_conf(tmp_path)
    swift_dir.use(str(tmp_path))
    made = Nodes()
    monkeypatch.setattr(versions_module.direct, "head_object", made.head)
    return made


def at(time, delete_at=None, status=200):
    found = {"X-Backend-Timestamp": Timestamp(time).internal}
    if delete_at is not None:
        found["X-Delete-At"] = str(delete_at)
    return status, found


def test_the_newest_version_counts(nodes):
    newest = NewestVersions(nodes, lambda index: nodes, ExpirerNodes(1, 1))
    assert newest.of("a", "c", "o", 50.0) is None
    assert set(nodes.asked) == set(range(6))
    nodes.state = {0: at(5, 99), 1: at(7, 200), 2: at(5, 99)}
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(7), False, 200)
    nodes.state[4] = at(8)  # on a handoff
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(8), False, None)
    nodes.state[5] = at(8, status=404)
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(8), True, None)


def test_too_few_answers_tell_nothing(nodes, monkeypatch):
    """A write is acknowledged when two have it: with one away, one of the five others must be among them."""
    newest = NewestVersions(nodes, lambda index: nodes, ExpirerNodes(1, 1))
    nodes.state = {number: at(5, 99) for number in range(3)}
    nodes.state[1] = (None, {})
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(5), False, 99)
    nodes.state[2] = (503, {})
    with pytest.raises(Unknown):
        newest.of("a", "c", "o", 50.0)
    nodes.state[2] = nodes.state[1] = at(6, 100)
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(6), False, 100)
    assert nodes.asked[1] < nodes.asked[2]  # one that did not answer is left alone for a while
    started = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: started + 60)
    before = nodes.asked[1]
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(6), False, 100)
    assert nodes.asked[1] == before + 1


def test_a_row_is_taken_from_the_shard_that_has_it(nodes, monkeypatch):
    asked = []

    def delete(node, part, account, container, name, headers, **options):
        asked.append((node["id"], account, container, name))
        assert headers["X-Backend-Accept-Redirect"] == headers["X-Backend-Accept-Quoted-Location"] == "true"
        if account == ".expiring_objects" and node["id"]:
            where = HeaderKeyDict(
                {"Location": "/.shards_.expiring_objects/s%201/x", "X-Backend-Location-Is-Quoted": "true"}
            )
            raise DirectError("DELETE", node, "/x", status=301, headers=where)

    monkeypatch.setattr(queue_module.direct, "delete_container_object", delete)
    queue = TaskQueue(nodes, nodes, ExpirerNodes(1, 1), ".expiring_objects")
    assert queue.take_away("1", "1-a/c/o") == []
    told = [(0, ".shards_.expiring_objects", "s 1", "1-a/c/o")]
    assert [entry for entry in asked if entry[1] != ".expiring_objects"][:1] == told
    assert len(asked) == 6


def test_a_row_is_taken_from_all_that_answer(nodes, monkeypatch):
    asked = Counter()
    answers = {0: 204, 1: None, 2: 404}

    def delete(node, part, account, container, name, headers, **options):
        asked[node["id"]] += 1
        status = answers[node["id"]]
        if status != 204:
            raise DirectError("DELETE", node, "/x", status=status)

    monkeypatch.setattr(queue_module.direct, "delete_container_object", delete)
    queue = TaskQueue(nodes, nodes, ExpirerNodes(1, 1), ".expiring_objects")
    assert [error.http_status for error in queue.take_away("1", "1-a/c/o")] == [None]
    assert queue.take_away("1", "2-a/c/o") == []
    assert asked == {0: 2, 1: 1, 2: 2}


def test_most_clocks_must_have_come_to_the_time(nodes):
    """An expirer whose clock is an hour ahead takes nothing from anybody."""
    newest = NewestVersions(nodes, lambda index: nodes, ExpirerNodes(1, 1))
    early, late = {"Date": http_date(40)}, {"Date": http_date(50)}
    version = {"X-Backend-Timestamp": Timestamp(5).internal, "X-Delete-At": "50"}
    nodes.state = {n: (200, {**version, **(late if n < 2 else early)}) for n in range(3)}
    nodes.state.update({n: (404, early if n == 3 else late) for n in range(3, 6)})
    assert newest.of("a", "c", "o", 50.0) == Version(Timestamp(5), False, 50)
    nodes.state[4] = nodes.state[5] = (404, early)
    with pytest.raises(Unknown):
        newest.of("a", "c", "o", 50.0)


@pytest.mark.parametrize("index", [None, "77"])
def test_containers_that_are_gone(nodes, index):
    nodes.index = index
    assert NewestVersions(nodes, lambda number: nodes, ExpirerNodes(1, 1)).of("a", "c", "o", 50.0) is None
    assert not nodes.asked


def test_names_of_rows_sort_by_time():
    when = Timestamp(DUE + 0.5)
    assert async_container(when) == str(DUE)
    assert async_rows(when, "a", "c", ["☃"]).isascii()
    assert os.path.basename(async_container(Timestamp(5))) == "0000000005"
