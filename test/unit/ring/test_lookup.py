import os
import shutil
import time
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_golden import golden_rings, load_json

from swift.core.hashing import md5
from swift.ring import handoffs, lookup
from swift.ring.errors import RingFileError, RingLoadError
from swift.ring.format import RingData
from swift.ring.lookup import LoadedRing, Ring


def ids(nodes):
    return [node["id"] for node in nodes]


@pytest.mark.parametrize("name", golden_rings())
@pytest.mark.parametrize("patience", [1024, 0])
def test_same_primaries_and_handoffs_as_the_reference(data, monkeypatch, name, patience):
    # without patience every pass asks the postings: they must give the same order as the walk
    monkeypatch.setattr(handoffs, "_PATIENCE", patience)
    expected = load_json("expected", name + ".json")
    ring = Ring(str(data / "rings" / name))
    for case in expected["placement"]:
        primaries = ring.get_part_nodes(case["part"])
        assert ids(primaries) == case["primaries"]
        assert [node["index"] for node in primaries] == list(range(len(primaries)))
        others = list(ring.get_more_nodes(case["part"]))
        assert ids(others) == case["handoffs"], case["part"]
        assert [node["handoff_index"] for node in others] == list(range(len(others)))
    for case in expected["paths"]:
        part, nodes = ring.get_nodes(case["account"], case["container"], case["object"])
        assert (part, ids(nodes)) == (case["part"], case["primaries"])
        assert part == ring.get_part(case["account"], case["container"], case["object"])
        first6 = [node["id"] for node, _ in zip(ring.get_more_nodes(part), range(6), strict=False)]
        assert first6 == case["handoffs_first6"]
    assert list(ring.get_part_nodes(expected["partition_count"])) == expected["part_beyond_end"]["primaries"]
    for key in (
        "replica_count", "partition_count", "device_count", "weighted_device_count", "assigned_device_count",
        "dev_id_bytes", "part_power", "part_shift", "next_part_power", "version", "size", "raw_size",
    ):  # fmt: skip
        assert getattr(ring, key) == expected[key], key


def test_whole_node_dicts(data):
    expected = load_json("expected", "multi.ring.gz.json")
    ring = Ring(str(data / "rings"), "multi")
    case = expected["placement"][0]
    assert dict(ring.get_part_nodes(case["part"])[0]) == expected["sample_primary_dict"]
    assert dict(next(ring.get_more_nodes(case["part"]))) == expected["sample_handoff_dict"]


def test_partitions_of_names(data):
    golden = load_json("paths.json")
    ring = Ring(str(data / "rings"), "pp18")
    for case in golden["paths"]:
        assert (
            ring.get_part(case["account"], case["container"], case["object"]) == case["parts_by_power"]["18"]
        )


def test_object_without_container(data):
    with pytest.raises(ValueError, match="container is required if object is provided"):
        Ring(str(data / "rings"), "saio").get_part("a", None, "o")


def test_nodes_are_shared_and_refuse_changes(data):
    ring = Ring(str(data / "rings"), "saio")
    node = ring.get_part_nodes(0)[0]
    assert ring.get_part_nodes(0)[0] is node
    for change in (
        lambda: node.__setitem__("ip", "x"), lambda: node.update(ip="x"), lambda: node.pop("ip"), node.clear,
        lambda: node.setdefault("x", 1), lambda: node.__delitem__("ip"), lambda: node.__ior__({"ip": "x"}), node.popitem,
    ):  # fmt: skip
        with pytest.raises(TypeError, match="read-only"):
            change()
    copy = dict(node)
    copy["ip"] = "x"
    assert node["ip"] != "x"


# ---- the order of handoffs against the rule as the specification words it


def handoffs_by_the_book(rows, devs, shift, part):
    parts = len(rows[0])
    start = int.from_bytes(md5(b"%d" % part).digest()[:4], "big") >> shift
    step = max(1, parts // 65536)
    first2 = step - ((parts - start) % step)
    walk = [*range(start, parts, step), *range(first2, start, step)]
    keys = [
        lambda d: d["region"], lambda d: (d["region"], d["zone"]), lambda d: (d["region"], d["zone"], d["ip"]),
        lambda d: d["id"],
    ]  # fmt: skip
    assigned = {d for row in rows for d in row}
    primaries = {row[part] for row in rows if len(row) > part}
    seen = [{key(devs[d]) for d in primaries} for key in keys]
    result = []
    for k, key in enumerate(keys):
        total = len({key(devs[d]) for d in assigned})
        if len(seen[k]) == total:
            continue
        for p in walk:
            for row in rows:
                if len(row) <= p or len(seen[k]) == total:
                    continue
                dev = devs[row[p]]
                if dev["id"] in seen[3] or key(dev) in seen[k]:
                    continue
                result.append(dev["id"])
                for i in range(4):
                    seen[i].add(keys[i](dev))
    return result


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_handoffs_follow_the_rule(data):
    power = data.draw(st.integers(0, 7))
    parts = 1 << power
    devs = [
        {"id": i, "region": data.draw(st.integers(0, 2)), "zone": data.draw(st.integers(0, 2)),
         "ip": data.draw(st.sampled_from("abc")), "port": 1, "device": str(i), "weight": 1.0}
        for i in range(data.draw(st.integers(1, 12)))
    ]  # fmt: skip
    lengths = [parts] * data.draw(st.integers(1, 3))
    if len(lengths) > 1:
        lengths[-1] = data.draw(st.integers(0, parts))
    # few devices often, others seldom: postings and walk both have work
    choice = st.integers(0, len(devs) - 1) | st.integers(0, min(1, len(devs) - 1))
    rows = [array("H", data.draw(st.lists(choice, min_size=n, max_size=n))) for n in lengths]
    ring = RingData(devs, rows, 32 - power)
    ring.assigned = {d for row in rows for d in row}
    loaded = LoadedRing(ring)
    patience = handoffs._PATIENCE
    try:
        for handoffs._PATIENCE in (0, patience):
            for part in {0, parts - 1, data.draw(st.integers(0, parts - 1))}:
                assert ids(loaded.more_nodes(part)) == handoffs_by_the_book(rows, devs, ring.part_shift, part)
    finally:
        handoffs._PATIENCE = patience


@pytest.mark.parametrize("patience", [0, 1024])
def test_handoffs_with_a_rare_region_in_a_large_ring(monkeypatch, patience):
    monkeypatch.setattr(handoffs, "_PATIENCE", patience)
    parts = 1 << 17
    devs = [
        {"id": i, "region": 1, "zone": i % 4, "ip": str(i // 2), "port": 1, "device": "d"} for i in range(40)
    ]
    devs.append({"id": 40, "region": 2, "zone": 0, "ip": "far", "port": 1, "device": "d"})
    rows = [array("H", [(p * 7 + 13 * r + p // 64) % 40 for p in range(parts)]) for r in range(2)]
    for p in range(4, parts, 4001):
        rows[1][p] = 40
    ring = RingData(devs, rows, 32 - 17)
    ring.assigned = set(range(41))
    loaded = LoadedRing(ring)
    for part in (0, 3, 77777, parts - 1):
        assert ids(loaded.more_nodes(part)) == handoffs_by_the_book(rows, devs, ring.part_shift, part)


# ---- reload


@pytest.fixture
def served(data, tmp_path):
    """A ring file that can be replaced, looked at on each lookup."""
    path = tmp_path / "object.ring.gz"
    shutil.copy(data / "rings" / "saio.ring.gz", path)

    def replace(name):
        shutil.copy(data / name, tmp_path / "new")
        os.rename(tmp_path / "new", path)

    return path, replace


class Log:
    def __init__(self):
        self.errors = []

    def error(self, message, *args):
        self.errors.append(message % args)


def test_a_new_file_is_taken_up(served):
    path, replace = served
    ring = Ring(str(path), reload_time=-1)
    version = ring.version
    assert not ring.has_changed()
    replace("rings/multi.ring.gz")
    assert ring.has_changed()
    assert ring.get_part_nodes(0)
    assert len(ring.devs) == 18
    assert ring.version != version
    assert not ring.has_changed()


def test_nothing_is_looked_at_before_the_deadline(served):
    path, replace = served
    ring = Ring(str(path), reload_time=3600)
    replace("rings/multi.ring.gz")
    ring.get_part_nodes(0)
    assert len(ring.devs) == 4
    assert ring.has_changed()


@pytest.mark.parametrize("name", ["v1-truncated-file", "v2-bad-checksum", "not-gzip", "empty", "v1-badjson"])
def test_a_broken_file_never_reaches_a_request(served, name):
    path, replace = served
    log = Log()
    ring = Ring(str(path), reload_time=-1, logger=log)
    before = [ids(ring.get_part_nodes(part)) for part in range(16)]
    replace(f"bad/{name}.ring.gz")
    for _ in range(3):
        assert [ids(ring.get_part_nodes(part)) for part in range(16)] == before
        assert ring.get_nodes("a")[1]
        assert list(ring.get_more_nodes(0))
    assert len(log.errors) == 1
    assert str(path) in log.errors[0]
    replace("rings/multi.ring.gz")
    ring.get_part_nodes(0)
    assert len(ring.devs) == 18


def test_a_missing_file_is_logged_once(served):
    path, replace = served
    log = Log()
    ring = Ring(str(path), reload_time=-1, logger=log)
    os.unlink(path)
    for _ in range(3):
        assert ring.get_part_nodes(0)
    assert len(log.errors) == 1
    assert ring.load_failures == 3
    assert not ring.has_changed()


def test_the_first_load_must_succeed(data, tmp_path):
    with pytest.raises(FileNotFoundError):
        Ring(str(tmp_path), "object")
    with pytest.raises(RingFileError):
        Ring(str(data / "bad" / "v1-truncated-file.ring.gz"))


def test_the_hook_refuses_a_ring(served):
    path, replace = served

    def hook(ring):
        if ring.replica_count != 3:
            raise RingLoadError(f"needs 3 replicas, got {ring.replica_count}")

    log = Log()
    ring = Ring(str(path), reload_time=-1, validation_hook=hook, logger=log)
    replace("rings/object.ring.gz")
    for _ in range(2):
        assert len(ring.get_part_nodes(0)) == 3
    assert "refused" in log.errors[0]
    assert len(log.errors) == 1
    with pytest.raises(RingLoadError):
        Ring(str(path), validation_hook=hook)


def test_an_iterator_stays_with_its_ring(served):
    path, replace = served
    ring = Ring(str(path), reload_time=-1)
    expected = ids(ring.get_more_nodes(3))
    iterator = ring.get_more_nodes(3)
    found = [next(iterator)["id"]]
    replace("rings/multi.ring.gz")
    ring.get_part_nodes(0)
    assert found + ids(iterator) == expected


def test_two_rings_of_one_file_share_it(data):
    one, two = (Ring(str(data / "rings"), "saio") for _ in range(2))
    assert one.get_part_nodes(0)[0] is two.get_part_nodes(0)[0]


def test_a_file_changed_in_place_backwards_in_time(served):
    path, replace = served
    ring = Ring(str(path))
    os.utime(path, (time.time() - 9999, time.time() - 9999))
    assert ring.has_changed()


def test_lookups_do_not_load_numpy():
    import subprocess
    import sys

    code = "import sys, swift.ring.lookup; assert 'numpy' not in sys.modules; assert 'eventlet' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_others_are_served_while_one_caller_waits_for_the_new_file(served, monkeypatch):
    from swift.core import concurrency

    path, replace = served
    ring = Ring(str(path), reload_time=-1)
    old = ids(ring.get_part_nodes(0))
    replace("rings/multi.ring.gz")
    go_on = concurrency.raw_threading.Event()
    load = lookup._load
    monkeypatch.setattr(lookup, "_load", lambda *a: go_on.wait(60) and load(*a))
    waiting = concurrency.spawn(ring.get_part_nodes, 0)
    concurrency.sleep(0.01)
    assert ids(ring.get_part_nodes(0)) == old
    go_on.set()
    assert len(waiting.wait()) == 3
    assert len(ring.devs) == 18
