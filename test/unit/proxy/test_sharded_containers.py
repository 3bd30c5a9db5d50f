"""Containers in shards: their listings are those of one container with all rows, and writes are told to the shard that has the name."""

import json
from urllib.parse import parse_qs, quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy_backends import CONTAINER_HEADERS, Cluster, Reply

from swift.cache.local_cache import LocalCache
from swift.middleware.info import PROCESS_CACHE, container_key
from swift.proxy.namespaces import BoundList, Namespace, arranged, parse, select
from swift.proxy.reader import Reader
from swift.proxy.routing import Timings

# -- bound lists -----------------------------------------------------------------------------------------------------------


def test_the_form_that_caches_hold():
    stored = [["", "a/s0"], ["m", "a/s1"], ["t", "a/s2"]]
    found = BoundList.of_cache(stored)
    names = ("a", "m", "m\0", "n", "t", "u")
    assert [found.path_of(name) for name in names] == ["a/s0", "a/s0", "a/s1", "a/s1", "a/s1", "a/s2"]
    assert found.for_cache() == stored
    ranges = [
        Namespace("", "b", "a/1"),
        Namespace("b", "c", "a/2"),
        Namespace("", "c", "a/p"),
        Namespace("d", "", "a/3"),
    ]
    assert BoundList.of(ranges).for_cache() == [["", "a/1"], ["b", "a/2"], ["d", "a/3"]]
    assert BoundList.of_cache([["m", "a/s"]]).path_of("a") is None


@pytest.mark.parametrize(
    "stored", [None, [], {}, [["a"]], [[1, "a/b"]], [["", "ab"]], [["b", "a/1"], ["a", "a/2"]], "x"]
)
def test_what_is_no_such_form(stored):
    with pytest.raises(ValueError):
        BoundList.of_cache(stored)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b'[{"name": "a/b", "lower": ""}]', b'[{"name": "ab", "lower": "", "upper": ""}]'],
)
def test_bad_namespaces(body):
    with pytest.raises(ValueError):
        parse(body)


def test_which_of_them_a_listing_needs():
    parts = [Namespace("", "f", "a/1"), Namespace("f", "p", "a/2"), Namespace("p", "", "a/3")]
    assert select(parts, "f") == parts[1:]
    assert select(parts, "", "f") == parts[:1]
    assert select(parts, "g", "c", True) == [parts[1], parts[0]]
    assert select(parts, "g", "b") == []
    assert parts[1].may_start_with("fa") and parts[0].may_start_with("f") and not parts[0].may_start_with("g")


BOUND = st.text("abc", max_size=3)


@given(st.sets(BOUND, min_size=1, max_size=9), BOUND, BOUND, st.booleans())
def test_parts_of_a_bound_list_are_those_that_are_selected(lowers, marker, end_marker, reverse):
    found = BoundList.of_cache([[lower, f"a/{number}"] for number, lower in enumerate(sorted(lowers))])
    part = found.between(marker, end_marker, reverse)
    assert list(part) == select(found.namespaces(), marker, end_marker, reverse)
    assert len(part) == len(list(part)) and list(part[1:]) == list(part)[1:]


def test_a_page_looks_at_no_more_shards_than_it_needs(monkeypatch):
    found = BoundList.of_cache([[f"{number:05d}", f"a/{number}"] for number in range(5000)])
    made = []
    monkeypatch.setattr(BoundList, "at", lambda self, number: made.append(number))
    part = found.between("02500x")
    assert len(part) == 2500 and part[0] is None and made == [2500]


# -- a model of container servers ------------------------------------------------------------------------------------------


def listed(names, params):
    """What one container with these names lists (spec database 9)."""
    prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
    low, high = params.get("marker", ""), params.get("end_marker", "")
    reverse = params.get("reverse") == "true"
    if reverse:
        low, high = high, low
    entries, skip = [], None
    for name in sorted(names, reverse=reverse):
        if (low and name <= low) or (high and name >= high) or not name.startswith(prefix):
            continue
        if skip is not None and name.startswith(skip):
            continue
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        if at >= 0:
            skip = name[: at + len(delimiter)]
            if skip == low:
                continue
            entries.append({"subdir": skip})
        else:
            entries.append({"bytes": len(name), "hash": "x" * 32, "name": name, "content_type": "text/plain"})
        if len(entries) >= int(params.get("limit", 10000)):
            break
    return entries[: int(params.get("limit", 10000))]


class Shards:
    """Plays the container servers. `rows`: names by container; `parts`: the namespaces of those that are split."""

    def __init__(self, cluster, root="a/c"):
        self.cluster = cluster
        self.root = root
        self.rows = {}
        self.parts = {}
        self.states = {}
        self.away = set()
        self.counted = None  # rows that the root is said to have
        self.form = json.dumps
        cluster.on("container", "GET", self.answer)
        cluster.on("container", "HEAD", lambda seen: Reply(204, self.headers(unquote(seen.entity)[1:])))

    def headers(self, path):
        default = "sharded" if path in self.parts else "unsharded"
        headers = {**CONTAINER_HEADERS, "X-Backend-Sharding-State": self.states.get(path, default)}
        if path == self.root and self.counted is not None:
            headers["X-Container-Object-Count"] = str(self.counted)
        return headers

    def answer(self, seen):
        path = unquote(seen.entity)[1:]
        params = {name: values[0] for name, values in parse_qs(seen.query, keep_blank_values=True).items()}
        if path in self.away:
            return Reply(404)
        headers = self.headers(path)
        kind = seen.headers.get("x-backend-record-type")
        if kind == "shard" or kind == "auto" and headers["X-Backend-Sharding-State"] != "unsharded":
            found = [Namespace(*part) for part in self.parts[path]]
            headers["X-Backend-Record-Type"] = "shard"
            if params.get("includes"):
                found = [part for part in found if part.holds(params["includes"])][:1]
            elif (
                seen.headers.get("x-backend-override-shard-name-filter")
                and headers["X-Backend-Sharding-State"] == "sharded"
            ):
                headers["X-Backend-Override-Shard-Name-Filter"] = "true"
            else:
                reverse = params.get("reverse") == "true"
                found = select(found, params.get("marker", ""), params.get("end_marker", ""), reverse)
            body = [{"name": part.path, "lower": part.lower, "upper": part.upper} for part in found]
        else:
            headers["X-Backend-Record-Type"] = "object"
            headers["X-Backend-Record-Storage-Policy-Index"] = "0"
            body = listed(self.rows.get(path, ()), params)
        return Reply(200, headers, self.form(body).encode())

    def split(self, names, bounds):
        """Distribute names over shards that end at the bounds."""
        edges = ["", *bounds, ""]
        self.parts[self.root] = []
        for at in range(len(edges) - 1):
            part = Namespace(edges[at], edges[at + 1], f".shards_a/c-{at}")
            self.parts[self.root].append(part)
            self.rows[part.path] = {name for name in names if part.holds(name)}

    def list(self, environ=None, **params):
        query = "&".join(f"{name}={quote(str(value))}" for name, value in params.items())
        return self.cluster.request("GET", f"/v1/a/c?{query}", environ=environ)


def entries(answer):
    status, headers, body = answer
    assert status == 200, body
    assert headers["content-type"].startswith("application/json") and int(headers["content-length"]) == len(
        body
    )
    return json.loads(body)


TEXT = st.lists(
    st.sampled_from([*'ab/{"},é', '{"bytes": ', '{"subdir":', '"}, {']), min_size=1, max_size=5
).map("".join)
# How JSON may be written: as we and the reference do, without spaces, with the keys in another order, on lines of their own.
FORMS = (
    json.dumps,
    lambda body: json.dumps(body, separators=(",", ":")),
    lambda body: json.dumps(body, sort_keys=True, ensure_ascii=False),
    lambda body: json.dumps([dict(reversed(entry.items())) for entry in body]) + "\n",
    lambda body: json.dumps(body, indent=1),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.sets(TEXT, max_size=40),
    bounds=st.sets(TEXT, max_size=9),
    params=st.fixed_dictionaries(
        {},
        optional={
            "prefix": TEXT,
            "delimiter": st.sampled_from(["/", "a", "//"]),
            "marker": TEXT,
            "end_marker": TEXT,
            "reverse": st.just("true"),
            "limit": st.integers(0, 12),
        },
    ),
    caching=st.booleans(),
    nested=st.booleans(),
    overlapping=st.booleans(),
    counted=st.none() | st.integers(0, 80),
    form=st.sampled_from(FORMS),
)
def test_the_listing_of_shards_is_that_of_one_container(
    shared, names, bounds, params, caching, nested, overlapping, counted, form
):
    PROCESS_CACHE.changed(container_key("a", "c"))  # nobody knows of the example before
    shards = Shards(shared)
    shards.counted, shards.form = counted, form
    shards.split(names, sorted(bounds))
    parts = shards.parts["a/c"]
    if nested and len(parts) > 2:
        # one of them is split itself, and one has rows that are no longer its own
        inner = parts[1]
        middle = Namespace(inner.lower, inner.upper, ".shards_a/c-inner")
        shards.parts[inner.path] = [middle]
        shards.rows[middle.path] = shards.rows[inner.path]
        shards.rows[parts[0].path] = shards.rows[parts[0].path] | {
            name + "b" for name in list(names)[:1] if not parts[0].holds(name + "b")
        }
    if overlapping and len(parts) > 2:
        # one is being split: the half that is ready is listed before it
        whole = Namespace(parts[0].lower, parts[1].upper, ".shards_a/c-whole")
        shards.rows[whole.path] = {name for name in names if whole.holds(name)}
        parts[1] = whole
    environ = {"swift.cache": LocalCache()} if caching else {}
    expected = listed(names, params)
    shared.request("HEAD", "/v1/a/c", environ=environ)
    for _ in range(2):
        assert entries(shards.list(environ, **params)) == expected


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.sets(TEXT, min_size=3, max_size=30),
    bounds=st.sets(TEXT, min_size=2, max_size=6),
    moved=st.lists(st.none() | st.integers(0, 9), min_size=2, max_size=4),
    params=st.fixed_dictionaries(
        {},
        optional={
            "delimiter": st.just("/"),
            "marker": TEXT,
            "end_marker": TEXT,
            "reverse": st.just("true"),
            "limit": st.integers(1, 12),
        },
    ),
    whole=st.booleans(),
    inner=st.booleans(),
)
def test_the_listing_while_shards_are_merged(shared, names, bounds, moved, params, whole, inner):
    """Several give their rows to the one behind them: `moved` says how many each has given, None: all, so that it is gone."""
    PROCESS_CACHE.changed(container_key("a", "c"))
    shards = Shards(shared)
    shards.split(names, sorted(bounds))
    parts = shards.parts["a/c"]
    donors = parts[: min(len(moved), len(parts) - 1)]
    taker = parts[len(donors)]
    parts[len(donors)] = Namespace("", taker.upper, taker.path)
    for donor, count in zip(donors, moved, strict=False):
        given = sorted(shards.rows[donor.path])[:count]
        shards.rows[taker.path] = shards.rows[taker.path] | set(given)
        if count is None:
            parts.remove(donor)
    if inner:
        shards.parts[".shards_a/c-split"] = parts
        shards.parts["a/c"] = [Namespace("", "", ".shards_a/c-split")]
    if not whole:
        shards.states["a/c"] = "sharding"
    assert entries(shards.list(**params)) == listed(names, params)


def test_names_of_several_are_of_the_first():
    parts = [
        Namespace("b", "d", "a/2"),
        Namespace("", "f", "a/3"),
        Namespace("f", "h", "a/4"),
        Namespace("i", "", "a/5"),
    ]
    wanted = [("", "b", "a/3"), ("b", "d", "a/2"), ("d", "f", "a/3"), ("f", "h", "a/4"), ("i", "", "a/5")]
    assert [tuple(part) for part in arranged(parts)] == wanted
    assert [tuple(part) for part in arranged(parts[::-1], reverse=True)] == wanted[::-1]
    assert arranged([]) == [] and arranged(parts[1:2]) == parts[1:2]


@pytest.fixture(scope="module")
def shared():
    made = Cluster()
    yield made
    made.close()


# -- listings --------------------------------------------------------------------------------------------------------------


def test_many_short_shards_are_asked_beside_each_other(cluster):
    shards = Shards(cluster)
    names = [f"{i:04d}" for i in range(600)]
    shards.split(names, names[9:590:10])
    assert [entry["name"] for entry in entries(shards.list(limit=500))] == names[:500]
    assert entries(shards.list(marker="0123", limit=300))[-1]["name"] == "0423"


def test_how_many_are_asked_at_first_follows_the_rows_that_they_have(cluster):
    shards = Shards(cluster)
    names = [f"{i:04d}" for i in range(600)]
    shards.split(names, names[9:590:10])
    headers = shards.headers
    shards.headers = lambda path: {**headers(path), "X-Container-Object-Count": "600"}
    cluster.seen.clear()
    assert len(entries(shards.list(limit=40))) == 40
    assert 4 <= len([seen for seen in cluster.of("container", "GET") if ".shards_a" in seen.path]) <= 6
    shards.headers = lambda path: {**headers(path), "X-Container-Object-Count": "6000000"}
    cluster.seen.clear()
    assert len(entries(shards.list(limit=9))) == 9
    assert len([seen for seen in cluster.of("container", "GET") if ".shards_a" in seen.path]) == 1


def test_what_was_asked_ahead_and_fails_is_asked_elsewhere(cluster):
    shards = Shards(cluster)
    names = [f"{i:04d}" for i in range(60)]
    shards.split(names, names[9:55:10])
    shards.counted = 60
    assert len(entries(shards.list())) == 60  # from now on there are connections
    for trouble in (Reply(507), Reply(drop=True), Reply(503), Reply(404)):
        failed = []

        def answer(seen, trouble=trouble, failed=failed):
            if ".shards_a" in seen.path and seen.entity not in failed:
                failed.append(seen.entity)
                return trouble
            return shards.answer(seen)

        cluster.on("container", "GET", answer)
        assert [entry["name"] for entry in entries(shards.list())] == names
        assert len(failed) == 6


def test_what_was_asked_ahead_in_vain_leaves_no_connection_in_use(cluster, monkeypatch):
    dropped = []
    abandon = Reader.abandon

    def watched(reader):
        conn = None if reader._begun is None else reader._begun[1].conn
        abandon(reader)
        if conn is not None:
            dropped.append(conn.stream.fd)

    monkeypatch.setattr(Reader, "abandon", watched)
    shards = Shards(cluster)
    names = [f"{i:04d}" for i in range(60)]
    shards.split(names, names[9:55:10])
    shards.counted = 6  # a row in each, it seems
    for limit in (60, 5, 9, 31, 5):
        assert [entry["name"] for entry in entries(shards.list(limit=limit))] == names[:limit]
    assert dropped and all(fd < 0 for fd in dropped)


def test_how_long_an_answer_waits_for_its_turn_says_nothing_of_its_node(monkeypatch):
    cluster = Cluster(sorting_method="timing")
    try:
        shards = Shards(cluster)
        names = [f"{i:04d}" for i in range(60)]
        shards.split(names, names[9:55:10])
        shards.counted = 60
        assert len(entries(shards.list())) == 60  # from now on there are connections
        recorded, begun, begin = [], [], Reader.begin
        monkeypatch.setattr(Reader, "begin", lambda self: begun.append(begin(self)) or begun[-1])
        monkeypatch.setattr(Timings, "record", lambda self, ip, seconds: recorded.append(ip))
        cluster.seen.clear()
        assert len(entries(shards.list())) == 60
        assert begun.count(True) and len(recorded) + begun.count(True) == len(cluster.seen)
    finally:
        cluster.close()


def test_pages_end_where_the_next_begin(cluster):
    shards = Shards(cluster)
    names = {f"{letter}/{i}" for letter in "abcdef" for i in range(7)}
    shards.split(names, ["a/3", "b/", "c/2", "c/5", "e"])
    for params in ({}, {"delimiter": "/"}, {"reverse": "true"}, {"delimiter": "/", "reverse": "true"}):
        for limit in (1, 2, 3, 5):
            seen, marker = [], ""
            while page := entries(shards.list(limit=limit, marker=marker, **params)):
                seen += page
                marker = page[-1].get("subdir") or page[-1]["name"]
            assert seen == listed(names, params)


def test_the_figures_are_those_of_the_rows(cluster):
    shards = Shards(cluster)
    shards.split({"a", "bb", "ccc"}, ["b"])
    headers = shards.list()[1]
    assert (headers["x-container-object-count"], headers["x-container-bytes-used"]) == ("3", "6")
    assert shards.list(prefix="a")[1]["x-container-object-count"] == "0"
    assert "x-backend-record-type" not in headers and headers["x-storage-policy"] == "gold"


def test_a_shard_that_is_away_is_no_hole(cluster):
    shards = Shards(cluster)
    shards.split({"a", "c"}, ["b"])
    shards.away.add(".shards_a/c-1")
    assert shards.list()[0] == 503
    assert entries(shards.list(prefix="a"))[0]["name"] == "a"


def test_a_shard_of_another_policy_is_no_part(cluster):
    shards = Shards(cluster)
    shards.split({"a", "c"}, ["b"])
    headers = shards.headers
    shards.headers = lambda path: {
        **headers(path),
        "X-Backend-Storage-Policy-Index": "0" if path == "a/c" else "1",
    }
    assert shards.list()[0] == 200
    answer = shards.answer

    def other(seen):
        reply = answer(seen)
        if "X-Backend-Record-Storage-Policy-Index" in reply.headers:
            reply.headers["X-Backend-Record-Storage-Policy-Index"] = "1"
        return reply

    cluster.on("container", "GET", other)
    assert shards.list()[0] == 503


def test_what_is_not_cleaved_yet_is_listed_from_the_root(cluster):
    shards = Shards(cluster)
    names = {"a", "b", "x", "y"}
    shards.states["a/c"] = "sharding"
    shards.parts["a/c"] = [Namespace("", "m", ".shards_a/c-0"), Namespace("m", "", "a/c")]
    shards.rows = {".shards_a/c-0": {"a", "b"}, "a/c": names}
    assert entries(shards.list()) == listed(names, {})
    assert entries(shards.list(reverse="true")) == listed(names, {"reverse": "true"})


def in_turn(shards, before):
    """Calls before(0), before(1), … for each request to the root."""
    asked = []

    def answer(seen):
        if seen.entity == "/a/c":
            if not any(seen is other for other in asked):
                asked.append(seen)
            before(len(asked) - 1)
        return Shards.answer(shards, seen)

    shards.cluster.on("container", "GET", answer)
    return asked


def test_a_copy_that_has_finished_meanwhile_hides_no_rows(cluster):
    """The first answer is of a replica that still cleaves, the next one of another whose rows are all in shards."""
    shards = Shards(cluster)
    cleaving = [Namespace("", "m", ".shards_a/c-0"), Namespace("m", "", "a/c")]
    done = [Namespace("", "m", ".shards_a/c-0"), Namespace("m", "", ".shards_a/c-1")]
    shards.rows = {".shards_a/c-0": {"a"}, ".shards_a/c-1": {"x"}, "a/c": set()}

    def before(at):
        shards.parts["a/c"] = done if at else cleaving
        shards.states["a/c"] = "sharded" if at else "sharding"

    in_turn(shards, before)
    assert [entry["name"] for entry in entries(shards.list())] == ["a", "x"]


@pytest.mark.parametrize("lags", ["sharding", "unsharded"])
def test_copies_that_lag_behind_hide_no_rows(cluster, lags):
    """The copy that is asked for the rows has moved all of them, and those that are asked why don't know of that yet."""
    shards = Shards(cluster)
    shards.parts["a/c"] = [Namespace("", "m", ".shards_a/c-0"), Namespace("m", "", "a/c")]
    shards.rows[".shards_a/c-0"] = {"a"}
    states = ["sharding", "sharded", lags, "sharding"]

    def before(at):
        shards.states["a/c"] = states[at]
        shards.rows["a/c"] = set() if states[at] == "sharded" else {"a", "x", "y"}

    in_turn(shards, before)
    assert [entry["name"] for entry in entries(shards.list())] == ["a", "x", "y"]


def test_copies_that_never_agree_are_no_listing(cluster):
    shards = Shards(cluster)
    shards.parts["a/c"] = [Namespace("m", "", "a/c")]
    asked = in_turn(shards, lambda at: shards.states.update({"a/c": "sharded" if at % 2 else "sharding"}))
    assert shards.list()[0] == 503 and len(asked) < 20


def test_names_that_no_shard_has_are_those_of_the_container_itself(cluster):
    shards = Shards(cluster)
    shards.parts["a/c"] = [Namespace("", "m", ".shards_a/c-0"), Namespace("m", "", "a/c")]
    shards.rows = {".shards_a/c-0": {"a"}, "a/c": {"x"}}
    assert [entry["name"] for entry in entries(shards.list())] == ["a", "x"]


@pytest.mark.parametrize(
    "names, bounds, stale, params",
    [
        ({"b/1", "b/5"}, ["b/3"], {}, {"delimiter": "/", "end_marker": "b/", "reverse": "true"}),
        ({"b", "c", "d/1"}, ["a", "bb"], {2: {"b!/x"}}, {"delimiter": "/", "marker": "b"}),
        ({"a/1", "b/5", "b/7"}, ["b/5"], {1: {"b/2", "a/x"}}, {"delimiter": "/", "marker": "b/"}),
    ],
)
def test_groups_at_the_borders_of_shards(cluster, names, bounds, stale, params):
    """`stale`: names that are no longer its own, by shard."""
    shards = Shards(cluster)
    shards.split(names, bounds)
    for at, some in stale.items():
        shards.rows[f".shards_a/c-{at}"] |= some
    assert entries(shards.list(**params)) == listed(names, params)


def test_a_parameter_of_lists_of_shards_means_nothing_to_a_listing(cluster):
    shards = Shards(cluster)
    shards.split({"a", "x"}, ["m"])
    shards.states["a/c"] = "sharding"
    assert len(entries(shards.list(includes="x"))) == 2


def test_shards_that_point_at_each_other_end(cluster):
    shards = Shards(cluster)
    shards.parts["a/c"] = [Namespace("", "", ".shards_a/c-0")]
    for at in range(20):
        shards.parts[f".shards_a/c-{at}"] = [Namespace("", "", f".shards_a/c-{at + 1}")]
    assert shards.list()[0] == 503


def test_an_empty_sharded_container(cluster):
    shards = Shards(cluster)
    shards.parts["a/c"] = []
    shards.states["a/c"] = "sharded"
    assert shards.list()[2] == b"[]"


def test_the_root_is_not_asked_again_for_what_is_known(cluster):
    shards = Shards(cluster)
    shards.split({"a", "c"}, ["b"])
    cache = {"swift.cache": LocalCache()}
    cluster.request("HEAD", "/v1/a/c", environ=cache)
    for _ in range(3):
        answer = shards.list(cache)
        assert len(entries(answer)) == 2
    assert [seen.entity for seen in cluster.of("container", "GET")].count("/a/c") == 1
    assert answer[1]["x-backend-cached-results"] == "true"
    assert shards.list(cache)[1]["x-container-object-count"] == "2"
    assert len(entries(cluster.request("GET", "/v1/a/c", {"X-Newest": "true"}, environ=cache))) == 2


def test_old_versions_are_not_counted_with_what_is_listed(cluster):
    shards = Shards(cluster)
    shards.split({"a", "c"}, ["b"])
    headers = shards.headers
    sizes = {"a/c": "5", "a/hidden": "70"}
    shards.headers = lambda path: {
        **headers(path),
        "X-Container-Bytes-Used": sizes.get(path, "0"),
        **({"X-Container-Sysmeta-Versions-Container": "hidden"} if path == "a/c" else {}),
    }
    cache = {"swift.cache": LocalCache()}
    cluster.request("HEAD", "/v1/a/c", environ=cache)
    for _ in range(2):
        assert shards.list(cache, limit=1)[1]["x-container-bytes-used"] == "5"
    assert not [seen for seen in cluster.of("container") if seen.entity == "/a/hidden"]


def test_outdated_shards_are_asked_for_again(cluster):
    shards = Shards(cluster)
    shards.split({"a", "c"}, ["b"])
    cache = {"swift.cache": LocalCache()}
    cluster.request("HEAD", "/v1/a/c", environ=cache)
    assert len(entries(shards.list(cache))) == 2
    shards.away.update(part.path for part in shards.parts["a/c"])
    shards.parts["a/c"] = [Namespace("", "", ".shards_a/c-new")]
    shards.rows[".shards_a/c-new"] = {"a", "c"}
    assert len(entries(shards.list(cache))) == 2


# -- updates ---------------------------------------------------------------------------------------------------------------


def put(cluster, name, environ=None, method="PUT"):
    cluster.on("object", "PUT", Reply(201, {"Etag": '"d41d8cd98f00b204e9800998ecf8427e"'}))
    cluster.on("object", "DELETE", Reply(204))
    cluster.on("object", "POST", Reply(202))
    cluster.seen.clear()
    status, _, body = cluster.request(method, f"/v1/a/c/{quote(name)}", environ=environ)
    assert status in (201, 202, 204), body
    sent = cluster.of("object", method)
    assert len(sent) == 3
    assert len({seen.headers.get("x-backend-quoted-container-path") for seen in sent}) == 1
    return sent[0].headers


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize("conf", [{}, {"recheck_updating_shard_ranges": "0"}])
def test_writes_are_told_to_the_shard(make_cluster, method, conf):
    cluster = make_cluster(**conf)
    shards = Shards(cluster)
    shards.split((), ["m", "té"])
    for name, at in (("a", 0), ("m", 0), ("m0", 1), ("té", 1), ("z", 2)):
        headers = put(cluster, name, method=method)
        assert headers["x-backend-quoted-container-path"] == f".shards_a/c-{at}"
        assert headers["x-container-root-db-state"] == "sharded"
        assert headers["x-container-partition"] == "7" and headers["x-container-host"]
        for seen in cluster.of("container", "GET"):
            assert seen.headers["x-backend-record-type"] == "shard"
            assert seen.headers["x-backend-record-shard-format"] == "namespace"
            assert "states=updating" in seen.query and ("includes=" in seen.query) == bool(conf)
            assert "x-backend-storage-policy-index" not in seen.headers


def test_shards_are_looked_up_once(cluster):
    shards = Shards(cluster)
    shards.split((), ["m"])
    asked = 0
    for _ in range(4):
        put(cluster, "a")
        asked += len(cluster.of("container", "GET"))
    assert asked == 1


def test_unsharded_and_unknown_go_to_the_container_itself(cluster):
    assert "x-backend-quoted-container-path" not in put(cluster, "a")
    shards = Shards(cluster)
    cluster.request("POST", "/v1/a/c")  # what is known of it is forgotten
    shards.states["a/c"] = "sharding"
    shards.parts["a/c"] = [Namespace("", "m", ".shards_a/c-0"), Namespace("m", "", "a/c")]
    assert put(cluster, "a")["x-backend-quoted-container-path"] == ".shards_a/c-0"
    headers = put(cluster, "z")
    assert "x-backend-quoted-container-path" not in headers
    assert headers["x-container-root-db-state"] == "sharding"


def test_who_cannot_be_asked_does_not_hold_up_writes(cluster):
    shards = Shards(cluster)
    shards.split((), ["m"])
    cluster.on("container", "GET", Reply(503))
    assert "x-backend-quoted-container-path" not in put(cluster, "a")


def test_a_lost_row_is_reported_to_the_shard(cluster):
    shards = Shards(cluster)
    shards.split((), ["m"])
    cluster.on("container", "PUT", Reply(201))
    cluster.on(
        "object", "PUT", [Reply(201), Reply(drop=True), Reply(201), Reply(507), Reply(507), Reply(507)]
    )
    cluster.seen.clear()
    assert cluster.request("PUT", "/v1/a/c/a b")[0] == 201
    rows = cluster.of("container", "PUT")
    assert rows and {seen.entity for seen in rows} == {"/.shards_a/c-0/a%20b"}


class Shared(dict):
    """A memcached that all see."""

    def get(self, key, raise_on_error=False):
        return dict.get(self, key)

    def set(self, key, value, time=0, **options):
        self[key] = json.loads(json.dumps(value))

    def delete(self, key, server_key=None):
        self.pop(key, None)

    def incr(self, key, delta=1, time=0):
        self[key] = dict.get(self, key, 0) + delta
        return self[key]


def test_memcached_is_not_asked_about_containers_that_never_were_sharded(cluster):
    class Counted(Shared):
        def get(self, key, raise_on_error=False):
            looks.append(key)
            return dict.get(self, key)

    looks = []
    shards = Shards(cluster)
    shards.rows["a/c"] = {"a"}
    environ = {"swift.cache": Counted()}
    for _ in range(2):
        assert len(json.loads(shards.list(environ)[2])) == 1
    assert not [key for key in looks if "a/c" in key]
    cluster.request("POST", "/v1/a/c", environ=environ)
    shards.split({"a", "x"}, ["m"])
    for _ in range(3):
        assert len(entries(shards.list(environ))) == 2
    assert shards.list(environ)[1]["x-backend-cached-results"] == "true"


def test_what_memcached_holds_is_the_common_form(cluster):
    shards = Shards(cluster)
    shards.split({"a"}, ["m"])
    shared = Shared()
    environ = {"swift.cache": shared}
    put(cluster, "a", environ)
    bounds = [["", ".shards_a/c-0"], ["m", ".shards_a/c-1"]]
    assert shared["shard-updating-v2/a/c"] == bounds
    assert "_cache_token/shard-updating-v2/a/c" not in shared
    shards.list(environ)
    assert shared["shard-listing-v2/a/c"] == bounds


@pytest.mark.parametrize(
    "change", [{"created_at": "x"}, {"put_timestamp": []}, {"meta": {"a": 5}}, {"read_acl": 5}]
)
def test_nonsense_in_memcached_is_no_error(cluster, change):
    shards = Shards(cluster)
    shards.split({"a", "x"}, ["m"])
    shared = Shared()
    environ = {"swift.cache": shared}
    shards.list(environ)
    assert shards.list(environ)[1]["x-backend-cached-results"] == "true"
    stored = {**shared["container/a/c"], **change}
    stored.pop("changes", None)
    shared["container/a/c"] = stored
    PROCESS_CACHE.clear()
    cluster.seen.clear()
    answer = shards.list(environ)
    assert len(entries(answer)) == 2 and "x-backend-cached-results" not in answer[1]


def test_what_others_put_into_memcached_is_believed(cluster):
    shards = Shards(cluster)
    shards.split({"a"}, ["m"])
    shared = Shared({"shard-updating-v2/a/c": [["", ".shards_a/other"]]})
    headers = put(cluster, "a", {"swift.cache": shared})
    assert headers["x-backend-quoted-container-path"] == ".shards_a/other"
    assert not cluster.of("container", "GET")


def test_who_gets_no_token_waits_for_what_others_find(make_cluster):
    cluster = make_cluster(namespace_avg_backend_fetch_time="0.01")
    shards = Shards(cluster)
    shards.split({"a"}, ["m"])

    class Filling(Shared):
        looks = 0

        def get(self, key, raise_on_error=False):
            if key.startswith("shard-updating"):
                self.looks += 1
                if self.looks == 3:
                    self[key] = [["", ".shards_a/found"]]
            return dict.get(self, key)

    shared = Filling({"_cache_token/shard-updating-v2/a/c": 3})
    headers = put(cluster, "a", {"swift.cache": shared})
    assert headers["x-backend-quoted-container-path"] == ".shards_a/found"


def test_a_full_share_of_requests_looks_past_the_caches(make_cluster):
    cluster = make_cluster(container_updating_shard_ranges_skip_cache_pct="100")
    shards = Shards(cluster)
    shards.split({"a"}, ["m"])
    for _ in range(2):
        put(cluster, "a")
        assert len(cluster.of("container", "GET")) == 1


def test_rows_in_bulk_go_to_their_shards(cluster):
    shards = Shards(cluster)
    shards.split((), ["m"])
    cluster.on("container", "UPDATE", lambda seen: Reply(404 if seen.entity == "/.shards_a/c-1" else 202))
    headers = {"X-Backend-Allow-Private-Methods": "true", "X-Backend-Storage-Policy-Index": "0"}
    body = json.dumps([{"name": "a"}, {"name": "z"}, {"name": "b"}]).encode()
    assert cluster.request("UPDATE", "/v1/a/c", {**headers, "Content-Length": str(len(body))}, body)[0] == 202
    told = {}
    for seen in cluster.of("container", "UPDATE"):
        told.setdefault(seen.entity, []).append([row["name"] for row in json.loads(seen.body)])
    assert told["/.shards_a/c-0"] == [["a", "b"]] * 3
    assert told["/a/c"] == [["z"]] * 3  # nobody has its shard
    assert cluster.request("UPDATE", "/v1/a/c", {**headers, "Content-Length": "1"}, b"{")[0] == 202
