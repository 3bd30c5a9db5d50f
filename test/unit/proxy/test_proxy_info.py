"""What is known about accounts and containers, how long, and when it is forgotten."""

import copy
import json

import pytest
from proxy_backends import ACCOUNT_HEADERS, CONTAINER_HEADERS, Reply

from swift.cache.changes import Changes
from swift.cache.local_cache import LocalCache
from swift.core import concurrency
from swift.middleware import info as infos
from swift.middleware.info import PROCESS_CACHE, get_account_info, get_container_info, get_object_info
from swift.middleware.info.forms import Info, container_info_from_headers, usable_container_info
from swift.middleware.info.process_cache import ProcessCache


class Shared:
    """A cache that other processes see, too."""

    def __init__(self):
        self.values = {}
        self.times = {}
        self.gets = 0

    def get(self, key, raise_on_error=False):
        self.gets += 1
        text = self.values.get(key)
        return None if text is None else json.loads(text)

    def set(self, key, value, time=0, **options):
        self.values[key] = json.dumps(value)
        self.times[key] = time

    def delete(self, key, server_key=None):
        self.values.pop(key, None)


@pytest.fixture
def env():
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/a/c", "SERVER_NAME": "x", "SERVER_PORT": "80"}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(PROCESS_CACHE, "clock", made)
    return made


FULL = {
    **CONTAINER_HEADERS,
    "X-Container-Read": ".r:*,.rlistings",
    "X-Container-Object-Count": "1",
    "X-Container-Bytes-Used": "3",
    "X-Container-Meta-Color": "red",
    "X-Container-Meta-Access-Control-Allow-Origin": "http://a http://b",
    "X-Container-Sysmeta-Thing": "t",
}


def test_the_form_that_all_proxies_share():
    stored = container_info_from_headers(200, FULL.items())
    assert stored["status"] == 200
    assert stored["read_acl"] == ".r:*,.rlistings"
    assert stored["write_acl"] is None
    assert (stored["object_count"], stored["bytes"], stored["storage_policy"]) == ("1", "3", "0")
    assert stored["cors"] == {"allow_origin": "http://a http://b", "expose_headers": None, "max_age": None}
    assert stored["meta"] == {"color": "red", "access-control-allow-origin": "http://a http://b"}
    assert stored["sysmeta"] == {"thing": "t"}
    assert stored["sharding_state"] == "unsharded"
    assert stored["delete_timestamp"] == "0000000000.00000"
    json.dumps(stored)


def test_infos_are_read_only(cluster, env):
    info = get_container_info(env, cluster.app, "a", "c")
    for part in (info, info["meta"], info["cors"], info["sysmeta"]):
        for change in (
            lambda part=part: part.update(a=1),
            lambda part=part: part.pop("status", None),
            lambda part=part: part.__setitem__("status", 1),
            lambda part=part: part.clear(),
        ):
            with pytest.raises(TypeError):
                change()
    mine = copy.deepcopy(info)
    mine["meta"]["color"] = "blue"
    mine["status"] = 1
    again = get_container_info({**env}, cluster.app, "a", "c")
    assert "color" not in again["meta"] and again["status"] == 204
    assert json.loads(json.dumps(info)) == {**info}
    account = get_account_info(env, cluster.app, "a")
    with pytest.raises(TypeError):
        account["storage_policies"][0]["bytes"] = 5


def test_a_container_is_asked_about_once_a_second(cluster, env, clock):
    for _ in range(5):
        assert get_container_info(dict(env), cluster.app, "a", "c")["storage_policy"] == 0
    assert len(cluster.of("container")) == len(cluster.of("account")) == 1
    seen = cluster.of("container")[0]
    assert (seen.method, seen.headers["x-backend-allow-reserved-names"]) == ("HEAD", "true")
    clock.now += 1.01
    get_container_info(dict(env), cluster.app, "a", "c")
    assert len(cluster.of("container")) == 2


def test_a_request_keeps_what_it_learnt(cluster, env, clock):
    get_container_info(env, cluster.app, "a", "c")
    clock.now += 100
    get_container_info(env, cluster.app, "a", "c")
    assert len(cluster.of("container")) == 1
    assert "container/a/c" in env["swift.infocache"] and "account/a" in env["swift.infocache"]


def test_the_shared_cache_is_filled_and_used(cluster, env, clock):
    shared = Shared()
    cluster.on("container", "HEAD", Reply(204, FULL))
    info = get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")
    assert (info["object_count"], info["bytes"]) == (1, 3)
    assert json.loads(shared.values["container/a/c"])["object_count"] == "1"
    assert json.loads(shared.values["account/a"])["container_count"] == "1"
    assert shared.times["container/a/c"] == 60
    clock.now += 2
    again = get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")
    assert again == info
    assert len(cluster.of("container")) == 1


def test_a_missing_container_is_believed_shorter(cluster, env):
    shared = Shared()
    cluster.on("container", "HEAD", Reply(404))
    assert get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")["status"] == 404
    assert shared.times["container/a/c"] == 6


def test_busy_containers_are_not_written_to_the_shared_cache_all_the_time(cluster, env, clock):
    shared = Shared()
    writes = []
    shared.set = lambda key, value, **options: writes.append(key)
    cluster.on("container", "GET", Reply(200, FULL, b"[]"))
    cluster.on("container", "POST", Reply(204))
    environ = {"swift.cache": shared}
    for _ in range(5):
        cluster.request("GET", "/v1/a/c", environ=environ)
    assert writes.count("container/a/c") == 1
    clock.now += 1
    cluster.request("GET", "/v1/a/c", environ=environ)
    cluster.request("GET", "/v1/a/c", environ=environ)
    assert writes.count("container/a/c") == 2
    cluster.request("POST", "/v1/a/c", environ=environ)
    clock.now += 0.01
    cluster.request("GET", "/v1/a/c", environ=environ)
    assert writes.count("container/a/c") == 3


def test_a_time_to_live_of_nothing_is_not_for_ever(make_cluster, env):
    cluster = make_cluster(recheck_container_existence="5")
    shared = Shared()
    cluster.on("container", "HEAD", Reply(404))
    get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")
    assert "container/a/c" not in shared.values


def test_failures_are_not_kept(cluster, env):
    shared = Shared()
    cluster.on("container", "HEAD", Reply(500))
    assert get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")["status"] == 503
    assert "container/a/c" not in shared.values
    cluster.on("container", "HEAD", Reply(204, FULL))
    assert get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")["status"] == 204


def test_a_local_cache_is_passed_over(cluster, env, clock):
    cache = LocalCache()
    get_container_info({**env, "swift.cache": cache}, cluster.app, "a", "c")
    clock.now += 1.01
    get_container_info({**env, "swift.cache": cache}, cluster.app, "a", "c")
    assert len(cluster.of("container")) == 2


@pytest.mark.parametrize(("method", "status"), [("POST", 204), ("PUT", 201), ("DELETE", 204)])
def test_a_change_made_here_is_seen_at_once(cluster, env, method, status):
    shared = Shared()
    environ = {"swift.cache": shared}
    cluster.on("container", method, Reply(status))
    get_container_info({**env, **environ}, cluster.app, "a", "c")
    cluster.on("container", "HEAD", Reply(204, {**FULL, "X-Container-Read": "changed"}))
    assert cluster.request(method, "/v1/a/c", environ=environ)[0] == status
    assert "container/a/c" not in shared.values
    assert get_container_info({**env, **environ}, cluster.app, "a", "c")["read_acl"] == "changed"


def test_an_answer_from_before_a_change_is_not_kept(cluster, env):
    """A HEAD that was under way while a POST went through must not bring the old state back."""
    shared = Shared()
    environ = {**env, "swift.cache": shared}
    cluster.on("container", "POST", Reply(204))
    get_account_info(dict(environ), cluster.app, "a")
    old = Reply(204, {**FULL, "X-Container-Read": "old"}, hang=0.1)
    cluster.on("container", "HEAD", old)
    lookup = concurrency.spawn(get_container_info, dict(environ), cluster.app, "a", "c")
    concurrency.sleep(0.03)
    assert cluster.request("POST", "/v1/a/c", environ={"swift.cache": shared})[0] == 204
    cluster.on("container", "HEAD", Reply(204, {**FULL, "X-Container-Read": "new"}))
    assert lookup.wait()["read_acl"] == "old"
    assert get_container_info(dict(environ), cluster.app, "a", "c")["read_acl"] == "new"


def test_those_who_ask_at_the_same_time_share_one_question(cluster, env):
    cluster.on("container", "HEAD", Reply(204, FULL, hang=0.05))
    threads = [concurrency.spawn(get_container_info, dict(env), cluster.app, "a", "c") for _ in range(8)]
    assert {thread.wait()["bytes"] for thread in threads} == {3}
    assert len(cluster.of("container")) == 1


def test_a_missing_account_ends_the_question(cluster, env):
    cluster.on("account", "HEAD", Reply(404))
    assert get_container_info(dict(env), cluster.app, "a", "c")["status"] == 0
    assert cluster.of("container") == []
    assert get_container_info(dict(env), cluster.app, ".a", "c")["status"] == 204


def test_an_account_that_cannot_be_asked(cluster, env):
    cluster.on("account", "HEAD", Reply(500))
    assert get_account_info(dict(env), cluster.app, "a")["status"] == 503
    assert get_container_info(dict(env), cluster.app, "a", "c")["status"] == 503


def test_account_infos_have_numbers(cluster, env):
    headers = {
        **ACCOUNT_HEADERS,
        "X-Account-Storage-Policy-Gold-Container-Count": "3",
        "X-Account-Storage-Policy-Gold-Bytes-Used": "5",
    }
    cluster.on("account", "HEAD", Reply(204, headers))
    info = get_account_info(env, cluster.app, "a")
    assert info["container_count"] == 1 and info["account_really_exists"] is True
    assert info["storage_policies"] == {0: {"container_count": 3, "object_count": 0, "bytes": 5}}


def test_nothing_is_asked_when_only_caches_may_be(cluster, env):
    assert get_container_info(dict(env), cluster.app, "a", "c", cache_only=True)["status"] == 0
    assert cluster.seen == []


def test_bytes_of_old_versions_count(cluster, env):
    def head(seen):
        if seen.path.endswith("/c"):
            return Reply(204, {**FULL, "X-Container-Sysmeta-Versions-Container": "%00old%00c"})
        return Reply(204, {**FULL, "X-Container-Bytes-Used": "40"})

    cluster.on("container", "HEAD", head)
    assert get_container_info(dict(env), cluster.app, "a", "c")["bytes"] == 43
    environ = {**env, "swift.infocache": {}}
    get_container_info(environ, cluster.app, "a", "c")
    del environ["swift.infocache"]["container/a/\0old\0c"]
    PROCESS_CACHE.changed("container/a/\0old\0c")
    cluster.seen.clear()
    assert get_container_info(environ, cluster.app, "a", "c", cache_only=True)["bytes"] == 3
    assert cluster.seen == []


def test_object_infos_are_for_one_request(cluster, env):
    cluster.on("object", "HEAD", Reply(200, {"Etag": '"e"', "X-Object-Meta-A": "b", "Content-Length": "7"}))
    for _ in range(2):
        info = get_object_info(env, cluster.app, "/v1/a/c/o")
        assert (info["status"], info["etag"], info["meta"], info["length"]) == (200, "e", {"a": "b"}, "7")
    assert len(cluster.of("object")) == 1


def test_old_names_of_cached_values_are_read():
    info = usable_container_info({"status": 200, "container_size": "7", "bytes": "1", "storage_policy": "2"})
    assert (info["object_count"], info["bytes"], info["storage_policy"]) == (7, 1, 2)


@pytest.fixture
def changes(tmp_path):
    return Changes(str(tmp_path / "changes"))


def test_the_cache_is_bounded(changes):
    cache = ProcessCache(max_entries=3, clock=lambda: 0.0, changes=changes)
    for i in range(10):
        cache.put(f"k{i}", Info(status=200, i=i), cache.asked(f"k{i}"), 60)
    assert [i for i in range(10) if cache.get(f"k{i}")] == [7, 8, 9]


def test_what_is_not_believed_any_more_takes_no_memory(changes):
    """Whoever asks for ever new names makes a proxy hold what came of late, not all there is room for."""
    now = 1000.0
    cache = ProcessCache(clock=lambda: now, changes=changes)
    for number in range(5000):
        now += 0.01
        key = f"container/a/{number}"
        asked = cache.asked(key)
        assert cache.shall_share(key, asked)
        cache.put(key, Info({"status": 200}), asked, 60)
        cache.put("container/a/busy", Info({"status": 200}), cache.asked("container/a/busy"), 60)
        assert cache.get(key) is not None and cache.get("container/a/busy") is not None
        assert len(cache) < 2 * 100 * cache.max_age


def test_what_another_process_changed_is_not_believed(tmp_path):
    path = str(tmp_path / "changes")
    here, there = ProcessCache(changes=Changes(path)), ProcessCache(changes=Changes(path))
    asked = here.asked("k")
    here.put("k", Info(status=200), asked, 60)
    assert here.get("k")
    there.changed("k")
    assert here.get("k") is None
    here.put("k", Info(status=200), asked, 60)  # the answer to a question from before
    assert here.get("k") is None and not here.shall_share("k", asked)
    here.put("k", Info(status=200), here.asked("k"), 60)
    there.changed("other")
    assert here.get("k")


def test_what_does_not_exist_is_not_remembered(changes):
    cache = ProcessCache(changes=changes)
    for info in (Info(status=404), Info(status=410), Info(status=200, account_really_exists=False)):
        cache.put("k", info, cache.asked("k"), 60)
        assert cache.get("k") is None


def test_without_the_nodes_table_nothing_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr("swift.cache.changes.DIRECTORY", str(tmp_path / "nowhere"))
    cache = ProcessCache()
    cache.put("k", Info(status=200), cache.asked("k"), 60)
    cache.changed("k")
    assert cache.get("k") is None and "nowhere" in cache.problem
    assert cache.once("k", lambda: Info(status=201))["status"] == 201


def test_nobody_waits_for_a_question_from_before_a_change(changes):
    cache = ProcessCache(changes=changes)
    answers = iter((Info(status=200, at="before"), Info(status=200, at="after")))

    def fetch():
        answer = next(answers)
        concurrency.sleep(0.05)
        return answer

    early = concurrency.spawn(cache.once, "k", fetch)
    concurrency.sleep(0.01)
    Changes(changes.path).set(changes.slot("k"))  # by another process
    assert cache.once("k", fetch)["at"] == "after"
    assert early.wait()["at"] == "before"


@pytest.mark.parametrize(
    "nonsense",
    [
        [],
        "text",
        {},
        {"status": "200"},
        {"status": True},
        {"status": 200, "meta": []},
        {"status": 200, "sysmeta": "x"},
        {"status": 200, "cors": 1},
        {"status": 200, "storage_policies": []},
        {"status": 200, "storage_policies": {"x": {}}},
    ],
)
def test_nonsense_in_the_shared_cache_is_passed_over(cluster, env, nonsense):
    """Whoever shares memcached with us may have another idea of these keys."""
    shared = Shared()
    shared.values = {key: json.dumps(nonsense) for key in ("account/a", "container/a/c")}
    cluster.on("container", "HEAD", Reply(204, FULL))
    found = {**env, "swift.cache": shared}
    assert get_account_info(found, cluster.app, "a")["status"] == 204
    assert get_container_info(found, cluster.app, "a", "c")["bytes"] == 3 or "storage_policies" in nonsense


def test_an_answer_that_took_long_is_not_shared(env, clock):
    """Another process may have changed the container meanwhile, and have deleted the shared copy for the last time."""
    shared = Shared()
    environ = {**env, "swift.cache": shared}
    asked = infos.asked_container("a", "c")
    clock.now += 0.3
    infos.remember_container(environ, "a", "c", 204, FULL.items(), asked)
    assert shared.values == {}
    assert PROCESS_CACHE.get("container/a/c")["bytes"] == 3  # here it is believed for the rest of its time
    asked = infos.asked_container("a", "d")
    clock.now += 0.1
    infos.remember_container(environ, "a", "d", 204, FULL.items(), asked)
    assert list(shared.values) == ["container/a/d"]


OLD = {**FULL, "X-Container-Read": "old"}


def _stored(headers, **more):
    return json.dumps({**container_info_from_headers(204, headers.items()), **more})


def test_a_slow_peers_old_idea_is_deleted_again(cluster, env, monkeypatch):
    """Its answer from before the change comes into memcached after the change deleted what stood there."""
    later = []
    monkeypatch.setattr("swift.middleware.info.asking.spawn_after", lambda *call: later.append(call))
    shared = Shared()
    cluster.on("container", "POST", Reply(204))
    cluster.on("container", "HEAD", Reply(204, {**FULL, "X-Container-Read": "new"}))
    assert cluster.request("POST", "/v1/a/c", environ={"swift.cache": shared})[0] == 204
    deletions = [call for call in later if call[1] == shared.delete and call[2] == "container/a/c"]
    assert len(deletions) >= 2 and all(0 < seconds < 10 for seconds, *_ in deletions)
    for _, function, *args in deletions:
        shared.values["container/a/c"] = _stored(OLD)
        found = get_container_info({**env, "swift.cache": shared}, cluster.app, "a", "c")
        assert found["read_acl"] == "new"
        shared.values["container/a/c"] = _stored(OLD)
        function(*args)
        assert "container/a/c" not in shared.values


def test_what_this_node_wrote_before_a_change_is_not_believed_however_late(cluster, env, monkeypatch):
    monkeypatch.setattr("swift.middleware.info.process_cache.SETTLED", -1)
    shared = Shared()
    environ = {"swift.cache": shared}
    cluster.on("container", "POST", Reply(204))
    cluster.on("container", "HEAD", Reply(204, OLD))
    get_container_info({**env, **environ}, cluster.app, "a", "c")
    late = shared.values["container/a/c"]
    cluster.request("POST", "/v1/a/c", environ=environ)
    shared.values["container/a/c"] = late  # memcached was stopped, and takes commands in the order it likes
    cluster.on("container", "HEAD", Reply(204, {**FULL, "X-Container-Read": "new"}))
    assert get_container_info({**env, **environ}, cluster.app, "a", "c")["read_acl"] == "new"
    PROCESS_CACHE.clear()
    shared.values["container/a/c"] = _stored({**FULL, "X-Container-Read": "theirs"})
    assert get_container_info({**env, **environ}, cluster.app, "a", "c")["read_acl"] == "theirs"


def test_other_nodes_changes_are_looked_for_in_memcached(cluster, env, clock):
    shared = Shared()
    environ = {"swift.cache": shared}
    cluster.on("container", "HEAD", Reply(204, OLD))
    get_container_info({**env, **environ}, cluster.app, "a", "c")
    del shared.values["container/a/c"]
    cluster.on("container", "HEAD", Reply(204, {**FULL, "X-Container-Read": "new"}))
    clock.now += 0.11
    assert get_container_info({**env, **environ}, cluster.app, "a", "c")["read_acl"] == "new"


@pytest.mark.parametrize("method, asked", [("GET", 1), ("HEAD", 1), ("PUT", 2), ("POST", 2), ("DELETE", 2)])
def test_who_changes_something_hardly_believes_what_is_remembered(cluster, env, clock, method, asked):
    get_container_info({**env, "REQUEST_METHOD": method}, cluster.app, "a", "c")
    clock.now += 0.06
    get_container_info({**env, "REQUEST_METHOD": method}, cluster.app, "a", "c")
    assert len(cluster.of("container")) == asked


def test_that_nothing_can_be_remembered_is_said_once(cluster, env, tmp_path, monkeypatch):
    PROCESS_CACHE.clear()
    monkeypatch.setattr("swift.cache.changes.DIRECTORY", str(tmp_path / "nowhere"))
    monkeypatch.setattr(PROCESS_CACHE, "told", "")
    for _ in range(3):
        assert get_container_info({**env}, cluster.app, "a", "c")["status"] == 204
    assert len(cluster.of("container")) == 3
    assert sum("is not remembered" in line for line in cluster.logger.lines) == 1
    PROCESS_CACHE.clear()
