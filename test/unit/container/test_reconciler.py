"""What becomes of an entry of the reconciler's queue, whatever servers answer: nothing is thrown away before it is where it belongs."""

import time

import pytest

from swift.container import reconciler as reconciler_module
from swift.container.misplaced import parse_entry
from swift.container.reconciler import ContainerReconciler, _with_size_of_segments
from swift.core.concurrency import use_fast_hub
from swift.core.timestamp import Timestamp
from swift.wire.internal import UnexpectedResponse
from swift.wire.message import HeaderKeyDict
from test.databases import Logger, make_conf

use_fast_hub()

T = [f"17000000{n:02d}.00000" for n in range(100)]


class Answer:
    def __init__(self, status, headers):
        self.status_int = status
        self.status = f"{status} x"
        self.headers = HeaderKeyDict(headers)
        self.app_iter = [b""]


class Client:
    """A pipeline: `objects[policy]` is (status, timestamp, body) or None; notes what is asked."""

    def __init__(self):
        self.objects = {}
        self.asked = []
        self.failing = set()
        self.queue = {}
        self.deleted_containers = []

    def make_path(self, *names):
        return "/v1/" + "/".join(names)

    def _found(self, method, headers, acceptable):
        policy = int(headers["X-Backend-Storage-Policy-Index"])
        self.asked.append((method, policy, headers.get("X-Timestamp")))
        if (method, policy) in self.failing:
            raise UnexpectedResponse("503", Answer(503, {}))
        status, timestamp, body = self.objects.get(policy) or (404, None, b"")
        return status, {"X-Backend-Timestamp": timestamp} if timestamp else {}, body

    def make_request(self, method, path, headers, acceptable):
        status, found, _ = self._found(method, headers, acceptable)
        return Answer(status, found)

    def get_object(self, account, container, obj, headers, acceptable):
        status, found, body = self._found("GET", headers, acceptable)
        return status, HeaderKeyDict({**found, "Content-Type": "t/x", "Etag": "e", "Date": "x"}), iter([body])

    def upload_object(self, source, account, container, obj, headers):
        self._found("PUT", headers, ())
        assert not {"Date", "X-Backend-Timestamp"} & set(headers) and headers["Etag"] == "e"
        self.uploaded = source.read(5), headers["Content-Type"]

    def delete_object(self, account, container, obj, headers, acceptable):
        self._found("DELETE", headers, acceptable)

    def iter_objects(self, account, container):
        return iter(self.queue.get(container, []))

    def iter_containers(self, account):
        return iter([{"name": name} for name in sorted(self.queue)])

    def delete_container(self, account, container, acceptable_statuses):
        self.deleted_containers.append(container)


class Ring:
    next_part_power = None


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    monkeypatch.setattr(reconciler_module, "_ring", lambda *args: Ring())
    popped = []
    monkeypatch.setattr(
        reconciler_module,
        "take_entry_away",
        lambda ring, queue, name, when: popped.append((queue, name, when.internal)) or [],
    )
    logger = Logger()
    logger.debug = logger.critical = logger.error
    made = ContainerReconciler(make_conf(tmp_path), logger, Client())
    made.popped = popped
    made.target = 0
    monkeypatch.setattr(made.policies, "get", lambda account, container: made.target)
    return made


def listed(name="1:/AUTH_a/c/o", timestamp=T[5], operation="put", recorded=None):
    return {
        "name": name,
        "hash": timestamp,
        "content_type": f"application/x-{operation}",
        "last_modified": Timestamp(recorded or timestamp).isoformat,
    }


def at(timestamp, offset):
    return f"{timestamp}_{offset:016x}"


def run(daemon, **entry):
    daemon.client.queue = {"1699999200": [listed(**entry)]}
    daemon.reconcile()
    return dict(daemon.stats)


def test_an_object_is_moved_and_its_old_copy_thrown_away(daemon):
    daemon.client.objects[1] = (200, T[5], b"hello")
    assert run(daemon)["copy_success"] == 1
    assert daemon.client.asked == [
        ("HEAD", 0, None),
        ("GET", 1, None),
        ("PUT", 0, at(T[5], 3)),
        ("DELETE", 1, at(T[5], 1)),
    ]
    assert daemon.client.uploaded == (b"hello", "t/x")
    assert daemon.popped == [("1699999200", "1:/AUTH_a/c/o", at(T[5], 2))]


def test_a_newer_one_in_the_wrong_policy_goes_as_of_its_own_time(daemon):
    """The reference deletes as of the entry's time, which is refused, and tries again in each pass."""
    daemon.client.objects[1] = (200, T[7], b"newer")
    run(daemon)
    assert daemon.client.asked[2:] == [("PUT", 0, at(T[7], 3)), ("DELETE", 1, at(T[7], 1))]


def test_what_is_newer_where_it_belongs_stays(daemon):
    daemon.client.objects = {0: (404, T[5], b""), 1: (200, T[5], b"old")}  # a tombstone
    assert run(daemon)["found_object"] == 1
    assert daemon.client.asked == [("HEAD", 0, None), ("DELETE", 1, at(T[5], 1))]
    assert daemon.popped


def test_a_deletion_is_moved(daemon):
    daemon.client.objects[1] = (404, T[5], b"")
    assert run(daemon, operation="delete")["tombstone"] == 1
    assert daemon.client.asked[2:] == [("DELETE", 0, at(T[5], 3)), ("DELETE", 1, at(T[5], 1))]
    assert daemon.popped


def test_an_entry_whose_policy_won_is_done(daemon):
    daemon.target = 1
    assert run(daemon)["noop_object"] == 1
    assert not daemon.client.asked and daemon.popped


@pytest.mark.parametrize("failing", [("HEAD", 0), ("GET", 1), ("PUT", 0), ("DELETE", 1)])
def test_nothing_goes_on_after_a_failure(daemon, failing):
    daemon.client.objects[1] = (200, T[5], b"hello")
    daemon.client.failing.add(failing)
    assert run(daemon)["retry"] == 1
    assert daemon.client.asked[-1][:2] == failing and not daemon.popped
    daemon.client.failing.clear()
    daemon.client.asked.clear()
    daemon.stats.clear()
    assert run(daemon)["success"] == 1


def test_unknown_containers_policies_and_rings_on_the_move_wait(daemon):
    daemon.target = None
    assert run(daemon)["unavailable_container"] == 1
    daemon.target = 7
    assert run(daemon)["unknown_policy"] == 1
    daemon.target = 0
    daemon.object_rings[1].next_part_power = 11
    assert run(daemon)["part_power_increase"] == 1
    assert not daemon.client.asked and not daemon.popped


def test_a_source_that_is_not_there_is_waited_for_and_given_up_in_the_end(daemon):
    now = f"{time.time():.5f}"
    assert run(daemon, timestamp=now)["unavailable_source"] == 1
    assert not daemon.popped
    daemon.client.objects[1] = (200, T[4], b"too old")
    assert run(daemon)["lost_source"] == 1
    assert daemon.popped and any("Giving up" in line for line in daemon.logger.lines)
    assert not [asked for asked in daemon.client.asked if asked[0] in ("PUT", "DELETE")]


def test_old_containers_of_the_queue_are_removed(daemon):
    young = str(int(time.time()) // 3600 * 3600 - 3600)
    daemon.client.queue = {"1699999200": [], young: [], "odd": []}
    daemon.reconcile()
    assert daemon.client.deleted_containers == ["1699999200"]


def test_processes_share_the_work(daemon):
    entries = [parse_entry(listed(f"1:/AUTH_a/c/o{n}")) for n in range(40)]
    daemon.processes = 3
    taken = []
    for daemon.process in range(3):
        taken += [entry.obj for entry in entries if daemon._is_ours(entry)]
    assert sorted(taken) == sorted(entry.obj for entry in entries)


def test_rubbish_in_the_queue_is_left_alone(daemon):
    assert run(daemon, name="rubbish") == {"invalid_record": 1}
    assert not daemon.popped


def test_types():
    manifest = HeaderKeyDict({"Content-Type": "a/b", "X-Object-Sysmeta-Slo-Size": "77"})
    assert _with_size_of_segments(manifest) == "a/b;swift_bytes=77"
    assert _with_size_of_segments(HeaderKeyDict({})) == "application/octet-stream"
