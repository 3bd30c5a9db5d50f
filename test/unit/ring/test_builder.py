import os
import pickle
import shutil
import signal
import subprocess
import sys
from array import array
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_golden import golden_builders, load_json

from swift.core.unpickle import loads
from swift.ring.builder import RingBuilder, builder_lock, ring_file_names
from swift.ring.errors import (
    BuilderFileError,
    BuilderLockedError,
    BuilderStateError,
    DuplicateDeviceError,
    EmptyRingError,
    RingBuilderError,
    RingValidationError,
)
from swift.ring.format import RingData
from swift.ring.integer_arrays import IntegerArrays


def plain(value):
    """Golden JSON's form of a pickled value."""
    if isinstance(value, array):
        return {"array": value.typecode, "values": value.tolist()}
    if isinstance(value, dict):
        if any(isinstance(key, tuple) for key in value):
            return [[list(key), plain(item)] for key, item in value.items()]
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def graph(value):
    return {tuple(key): line for key, line in value} if isinstance(value, list) else value


def dev(zone=1, ip="10.0.0.1", device="sda", weight=100.0, **other):
    return {"region": 1, "zone": zone, "ip": ip, "port": 6200, "device": device, "weight": weight, **other}


def small(part_power=4, replicas=3, zones=4, devices=1):
    builder = RingBuilder(part_power, replicas, 1)
    for zone in range(zones):
        for index in range(devices):
            builder.add_dev(dev(zone, f"10.0.0.{zone}", f"d{index}"))
    return builder


# ---- the file


@pytest.mark.parametrize("name", golden_builders())
def test_loads_what_the_reference_wrote(data, name):
    expected = load_json("expected", name + ".json")["loaded"]
    builder = RingBuilder.load(str(data / "rings" / name))
    for key in (
        "part_power", "parts", "replicas", "min_part_hours", "next_part_power", "overload", "devs", "devs_changed",
        "version", "dispersion", "id", "dev_id_bytes",
    ):  # fmt: skip
        assert getattr(builder, key) == expected[key], key
    rows = expected["_replica2part2dev"]
    assert plain(builder.rows) == rows or (not rows and builder.rows is None)
    assert [d["id"] for d in builder.removed_devs] == expected["_remove_devs"]
    assert all(builder.is_removed(d) for d in builder.removed_devs)
    assert builder.state.dispersion_graph == graph(expected["_dispersion_graph"])


@pytest.mark.parametrize("name", golden_builders())
def test_saves_exactly_what_the_reference_would(data, tmp_path, name):
    expected = load_json("expected", name + ".json")["loaded"]
    path = str(tmp_path / name)
    builder = RingBuilder.load(str(data / "rings" / name))
    builder.save(path)
    raw = (tmp_path / name).read_bytes()
    assert raw[:2] == b"\x80\x02"
    content = loads(raw, arrays=IntegerArrays())
    original = load_json("expected", name + ".json")["pickled_dict"]
    assert set(content) == set(original) | {
        "id",
        "next_part_power",
        "overload",
        "dispersion",
        "dev_id_bytes",
        "_dispersion_graph",
    }
    assert content["id"] and (expected["id"] is None or content["id"] == expected["id"])
    assert plain(content["devs"]) == expected["devs"]
    for removed in content["_remove_devs"]:
        assert any(removed is d for d in content["devs"])
    again = RingBuilder.load(path)
    assert again.state == builder.state
    assert again.get_ring().content_digest() == builder.get_ring().content_digest()


def test_builder_and_its_ring_belong_together(data):
    for name in ("multi", "frac", "removed", "object-increased"):
        builder = RingBuilder.load(str(data / "rings" / f"{name}.builder"))
        assert builder.same_as_ring(RingData.load(str(data / "rings" / f"{name}.ring.gz"))), name
    pending = RingBuilder.load(str(data / "rings" / "removepending.builder"))
    assert not pending.same_as_ring(RingData.load(str(data / "rings" / "removepending.ring.gz")))


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps(Evil()), pickle.dumps([1]), b"\x80\x02}q"]
)
def test_files_that_are_no_builders(tmp_path, content):
    path = tmp_path / "x.builder"
    path.write_bytes(content)
    with pytest.raises(BuilderFileError):
        RingBuilder.load(str(path))


@pytest.mark.parametrize(
    "change",
    [
        {"devs": None}, {"part_power": 40}, {"part_power": "4"}, {"parts": 3}, {"replicas": 0.5}, {"replicas": "x"},
        {"devs": [1]}, {"devs": [{"id": 0}]}, {"_last_part_moves": [1]}, {"_last_part_moves": [999] * 16},
        {"_replica2part2dev": [[1], [2]]}, {"_remove_devs": [{"id": 77}]}, {"version": "x"},
    ],
)  # fmt: skip
def test_senseless_builders(data, tmp_path, change):
    content = loads((data / "rings" / "saio.builder").read_bytes(), arrays=IntegerArrays())
    path = tmp_path / "x.builder"
    path.write_bytes(pickle.dumps({**content, **change}, protocol=2))
    with pytest.raises(BuilderStateError):
        RingBuilder.load(str(path))
    for key in ("devs", "part_power", "_remove_devs"):
        path.write_bytes(pickle.dumps({k: v for k, v in content.items() if k != key}, protocol=2))
        with pytest.raises(BuilderStateError, match=f"missing keys: {key}"):
            RingBuilder.load(str(path))


def test_a_failed_first_save_gives_no_id(tmp_path):
    builder = small()
    with pytest.raises(OSError):
        builder.save(str(tmp_path / "missing" / "x.builder"))
    assert builder.id is None
    builder.save(str(tmp_path / "x.builder"))
    given_id = builder.id
    assert len(given_id) == 32
    builder.save(str(tmp_path / "x.builder"))
    assert builder.id == given_id


def test_save_keeps_mode_and_follows_links(tmp_path):
    builder = small()
    path = tmp_path / "x.builder"
    builder.save(str(path))
    os.chmod(path, 0o640)
    os.symlink(path, tmp_path / "link.builder")
    builder.remove_dev(0)
    builder.save(str(tmp_path / "link.builder"))
    assert os.path.islink(tmp_path / "link.builder")
    assert path.stat().st_mode & 0o777 == 0o640
    assert RingBuilder.load(str(path)).version == builder.version


@pytest.mark.parametrize("point", ["written", "synced", "renamed"])
def test_killed_while_saving_the_file_is_old_or_new(tmp_path, point):
    path = str(tmp_path / "x.builder")
    small().save(path)
    code = (
        "import sys; from swift.ring.builder import RingBuilder\n"
        "b = RingBuilder.load(sys.argv[1]); b.remove_dev(0); b.save(sys.argv[1])"
    )
    env = {**os.environ, "SWIFT_FAULT_POINT": f"write_durable:{point}"}
    assert subprocess.run([sys.executable, "-c", code, path], env=env).returncode == -signal.SIGKILL
    assert RingBuilder.load(path).version == (5 if point == "renamed" else 4)
    with builder_lock(path, timeout=0):
        RingBuilder.load(path).save(path)


def test_the_lock_keeps_others_out(tmp_path):
    path = str(tmp_path / "x.builder")
    small().save(path)
    code = (
        "import sys; from swift.ring.builder import RingBuilder, builder_lock\n"
        "with builder_lock(sys.argv[1], timeout=0): pass"
    )
    with builder_lock(path):
        with builder_lock(path):
            small().save(path)
        failed = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert "Ring/builder dir currently locked." in failed.stderr
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == 0


def test_locked_in_another_thread(tmp_path):
    import threading

    path = str(tmp_path / "x.builder")
    problems = []

    def other():
        try:
            with builder_lock(path, timeout=0):
                pass
        except BuilderLockedError as error:
            problems.append(error)

    with builder_lock(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(problems) == 1


def test_file_names():
    for case in load_json("parse.json")["file_names"]:
        assert list(ring_file_names(case["in"])) == case["builder_and_ring"]


# ---- operations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((33, 3, 1), "part_power must be at most 32 (was 33)"),
        ((-1, 3, 1), "part_power must be at least 0 (was -1)"),
        ((4, 0.5, 1), "replicas must be at least 1 (was 0.500000)"),
        ((4, float("nan"), 1), "replicas must be at least 1 (was nan)"),
        ((4, 3, -1), "min_part_hours must be non-negative (was -1)"),
    ],
)
def test_limits_of_a_builder(arguments, message):
    with pytest.raises(RingBuilderError) as caught:
        RingBuilder(*arguments)
    assert str(caught.value) == message


def test_ids_fill_holes_first():
    builder = small()
    builder.remove_dev(1)
    builder.rebalance()
    assert builder.devs[1] is None
    assert builder.add_dev(dev(9, device="new")) == 1
    assert builder.add_dev(dev(9, device="newer")) == 4
    assert builder.add_dev(dev(9, device="far", id=7)) == 7
    assert builder.devs[5] is None
    with pytest.raises(DuplicateDeviceError, match="Duplicate device id: 7"):
        builder.add_dev(dev(9, device="again", id=7))


def test_add_fills_what_is_missing():
    builder = RingBuilder(4, 1, 1)
    builder.add_dev(dev(replication_ip=None, replication_port=None))
    own = builder.devs[0]
    assert (own["meta"], own["replication_ip"], own["replication_port"], own["parts"]) == (
        "",
        "10.0.0.1",
        6200,
        0,
    )
    assert isinstance(own["weight"], float)
    with pytest.raises(ValueError, match="region, weight"):
        builder.add_dev({"zone": 1, "ip": "x", "port": 1, "device": "d"})


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), 1e-300, 1e300, "heavy"])
def test_senseless_weights(weight):
    builder = small()
    before = builder.copy()
    with pytest.raises(ValueError):
        builder.add_dev(dev(weight=weight))
    with pytest.raises(ValueError):
        builder.set_dev_weight(0, weight)
    assert builder.state == before.state


def test_marked_devices_are_left_alone():
    builder = small()
    version = builder.version
    builder.remove_dev(0)
    builder.remove_dev(0)
    assert builder.version == version + 2  # as the reference counts
    assert len(builder.removed_devs) == 1
    with pytest.raises(ValueError, match="Can not set weight of dev_id 0 because it is marked for removal"):
        builder.set_dev_weight(0, 1)
    with pytest.raises(ValueError, match="Can not set region of dev_id 0"):
        builder.set_dev_region(0, 1)
    with pytest.raises(ValueError, match="Can not set zone of dev_id 0"):
        builder.set_dev_zone(0, 1)


def test_a_new_replica_count_leaves_the_ring_valid_until_the_rebalance():
    for replicas in (1, 2, 4, 3.5):
        builder = small()
        builder.rebalance()
        builder.set_replicas(replicas)
        builder.validate()


def test_version_counts_changes():
    builder = small()
    builder.rebalance()
    version = builder.version
    assert not builder.devs_changed

    def step(action, add, changed):
        nonlocal version
        builder.state.devs_changed = False
        action()
        version += add
        assert (builder.version, builder.devs_changed) == (version, changed)

    step(lambda: builder.set_dev_weight(0, 5), 1, True)
    step(lambda: builder.set_dev_region(0, 5), 1, True)
    step(lambda: builder.set_dev_zone(0, 5), 1, True)
    step(lambda: builder.set_dev_info(0, {"meta": "x"}), 0, False)
    step(lambda: builder.set_replicas(2.5), 0, True)
    step(lambda: builder.set_replicas(2.5), 0, False)
    step(lambda: builder.set_overload(0.5), 0, False)
    step(lambda: builder.change_min_part_hours(5), 0, False)
    step(builder.pretend_min_part_hours_passed, 0, False)
    step(lambda: builder.dispersion_report(), 0, False)
    step(lambda: builder.dispersion_report(recalculate=True), 1, False)
    step(builder.prepare_increase_partition_power, 1, False)
    step(builder.increase_partition_power, 1, False)
    step(builder.finish_increase_partition_power, 1, False)


def test_set_info_keeps_devices_apart():
    builder = small(devices=2)
    with pytest.raises(DuplicateDeviceError, match=r"Device 1 already uses 10.0.0.0:6200/d1\."):
        builder.set_dev_info(0, {"device": "d1"})
    builder.set_dev_info(0, {"device": "d0", "meta": "m"})
    with pytest.raises(ValueError):
        builder.set_dev_info(0, {"weight": 3})
    assert builder.devs[0]["meta"] == "m"


def test_ages_of_parts():
    with mock.patch("swift.core.clock.time", lambda: clock[0]):
        clock = [1_000_000_000.0]
        builder = small()
        builder.change_min_part_hours(2)
        builder.rebalance()
        assert builder.min_part_seconds_left == 7200
        clock[0] += 3600 * 1.99
        builder.update_ages()
        assert set(builder.state.ages) == {1}
        clock[0] += 3600 * 1000
        builder.update_ages()
        assert set(builder.state.ages) == {255}
        builder.pretend_min_part_hours_passed()
        assert builder.min_part_seconds_left == 0


def test_wide_ids():
    builder = small()
    builder.rebalance()
    builder.add_dev(dev(9, device="far", id=70000))
    assert builder.dev_id_bytes == 4
    assert {row.typecode for row in builder.rows} == {"I"}
    builder.pretend_min_part_hours_passed()
    builder.rebalance()
    assert 70000 in {d for row in builder.rows for d in row}
    with pytest.raises(ValueError):
        builder.get_ring().save("/nowhere/x", 1)
    builder.remove_dev(70000)
    builder.rebalance()
    assert builder.dev_id_bytes == 2
    assert len(builder.devs) == 4
    builder.validate()
    with pytest.raises(ValueError):
        builder.get_ring(3)
    assert builder.get_ring(4).rows[0].itemsize == 4


# ---- figures and reports


@pytest.mark.parametrize(
    "name", [n for n in golden_builders() if n not in ("fresh.builder", "frac.builder", "frac15.builder")]
)
def test_dispersion_report(data, name):
    computed = load_json("expected", name + ".json")["computed"]
    expected = computed["dispersion_report_recalculated"]
    builder = RingBuilder.load(str(data / "rings" / name))
    report = builder.dispersion_report(recalculate=True)
    assert report.rebuilt
    assert report.dispersion == pytest.approx(expected["dispersion"], abs=1e-9)
    assert (report.worst and report.worst.name) == expected["worst_tier"]
    lines = [
        [line.name, {"dispersion": line.percent, "max_replicas": line.max_replicas, "placed_parts": line.placed,
                     "replicas": line.counts}]
        for line in report.tiers
    ]  # fmt: skip
    assert [a for a, _ in lines] == [a for a, _ in expected["graph"]]
    for (_, ours), (_, theirs) in zip(lines, expected["graph"], strict=True):
        assert ours.pop("dispersion") == pytest.approx(theirs.pop("dispersion"))
        assert ours == theirs
    assert builder.get_balance() == pytest.approx(computed["balance"], abs=1e-9)
    assert builder.get_required_overload() == pytest.approx(computed["required_overload"], abs=1e-9)


def test_dispersion_filter():
    builder = small()
    with pytest.raises(RingBuilderError, match="rebalance first"):
        builder.dispersion_report()
    builder.rebalance()
    assert [line.name for line in builder.dispersion_report("r1z[12]$").tiers] == ["r1z1", "r1z2"]
    assert builder.dispersion_report("x").tiers == []
    assert builder.dispersion_report("x").worst is None


@pytest.mark.parametrize("name", [n for n in golden_builders() if n != "fresh.builder"])
def test_golden_builders_are_valid(data, name):
    expected = load_json("expected", name + ".json")["computed"]["validate"]
    builder = RingBuilder.load(str(data / "rings" / name))
    if expected == "ok":
        builder.validate()
    else:
        with pytest.raises(RingValidationError) as caught:
            builder.validate()
        assert str(caught.value) == expected["message"]


def test_validation_tells_what_is_wrong(data):
    builder = small()
    with pytest.raises(RingValidationError, match="_replica2part2dev empty; did you forget to rebalance?"):
        builder.validate()
    builder.rebalance()
    broken = builder.copy()
    broken.devs[0]["parts"] += 1
    with pytest.raises(RingValidationError, match="All partitions are not double accounted for: 49 != 48"):
        broken.validate()
    broken = builder.copy()
    broken.devs[0]["port"] = "6200"
    with pytest.raises(RingValidationError, match="Device 0 has port '6200', which is not an integer."):
        broken.validate()
    broken = builder.copy()
    broken.rows[1][5] = 65535
    with pytest.raises(RingValidationError, match="Partition 5, replica 1 was not allocated to a device."):
        broken.validate()
    broken = builder.copy()
    broken.rows[1][5] = broken.rows[0][5]
    with pytest.raises(RingValidationError, match="The partition 5 has been assigned to duplicate devices"):
        broken.validate()


def test_list_parts_order():
    builder = small(2, 3, 3)
    builder.state.rows = [array("H", row) for row in ([2, 0, 1, 0], [1, 1, 2, 2], [0, 2, 0, 1])]
    assert builder.list_parts([builder.devs[0]]) == [(1, 1), (3, 1), (0, 1), (2, 1)]
    assert builder.list_parts([builder.devs[0], builder.devs[1]]) == [(1, 2), (2, 2), (3, 2), (0, 2)]
    assert [d["id"] for d in builder.get_part_devices(3)] == [0, 2, 1]
    assert builder.list_parts([]) == []


def test_from_ring(data):
    ring = RingData.load(str(data / "rings" / "frac.ring.gz"))
    builder = RingBuilder.from_ring(ring, 24)
    assert (builder.replicas, builder.min_part_hours, builder.version, builder.devs_changed) == (
        3.25,
        24,
        ring.version,
        False,
    )
    assert len(builder.id) == 32
    builder.validate()
    assert builder.same_as_ring(ring)


def test_empty_builders():
    builder = RingBuilder(4, 3, 1)
    for action in (
        builder.get_balance,
        builder.rebalance,
        builder.weight_of_one_part,
        builder.get_required_overload,
    ):
        with pytest.raises(EmptyRingError):
            action()
    builder.add_dev(dev())
    before = builder.copy()
    with pytest.raises(RingBuilderError, match="Replica count of 3 requires more than 1 devices"):
        builder.rebalance()
    assert builder.state == before.state
    assert builder.get_balance() == 100.0


# ---- partition power


def test_partition_power_series(data):
    rings = data / "rings"
    builder = RingBuilder.load(str(rings / "object.builder"))
    assert not builder.increase_partition_power()
    assert not builder.cancel_increase_partition_power()
    assert not builder.finish_increase_partition_power()
    assert builder.prepare_increase_partition_power()
    assert not builder.prepare_increase_partition_power()
    assert builder.same_as_ring(RingData.load(str(rings / "object-prepared.ring.gz")))
    cancelled = builder.copy()
    assert cancelled.cancel_increase_partition_power()
    assert cancelled.same_as_ring(RingData.load(str(rings / "object-cancelled.ring.gz")))
    assert builder.increase_partition_power()
    assert not builder.increase_partition_power()
    assert builder.same_as_ring(RingData.load(str(rings / "object-increased.ring.gz")))
    builder.validate()
    assert builder.copy().dispersion_report(recalculate=True).tiers == builder.dispersion_report().tiers
    assert builder.finish_increase_partition_power()
    assert builder.same_as_ring(RingData.load(str(rings / "object-finished.ring.gz")))


def test_increase_without_partitions():
    builder = small()
    builder.prepare_increase_partition_power()
    with pytest.raises(RingBuilderError):
        builder.increase_partition_power()


def test_highest_power():
    builder = RingBuilder(32, 1, 1)
    with pytest.raises(RingBuilderError):
        builder.prepare_increase_partition_power()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.sampled_from(["add", "remove", "weight", "replicas", "rebalance", "power", "save"]), max_size=12
    ),
    st.randoms(),
)
def test_any_life_of_a_builder(tmp_path_factory, actions, random):
    builder = small(3, 2, 3, 2)
    path = str(tmp_path_factory.mktemp("builder") / "object.builder")
    for number, action in enumerate(actions):
        live = [d["id"] for d in builder.iter_devs() if not builder.is_removed(d)]
        if action == "add":
            builder.add_dev(
                dev(
                    random.randrange(5),
                    f"10.0.0.{random.randrange(9)}",
                    f"x{number}",
                    random.choice([0, 0.001, 7]),
                )
            )
        elif action == "remove" and len(live) > 5:
            builder.remove_dev(random.choice(live))
        elif action == "weight":
            builder.set_dev_weight(random.choice(live), random.choice([1, 50, 100, 100.5]))
        elif action == "replicas":
            builder.set_replicas(random.choice([1, 1.5, 2, 2.7, 3]))
        elif action == "power" and builder.rows and builder.part_power < 6:
            assert builder.prepare_increase_partition_power()
            assert builder.increase_partition_power()
            assert builder.finish_increase_partition_power()
            builder.validate() if not builder.devs_changed else None
        elif action == "save":
            builder.save(path)
            again = RingBuilder.load(path)
            assert again.state == builder.state
            builder = again
        elif action == "rebalance":
            if sum(d["weight"] > 0 for d in builder.iter_devs()) < builder.replicas:
                continue
            builder.rebalance()
            builder.validate()
            ring = builder.get_ring()
            ring.save(path + ".ring.gz")
            assert builder.same_as_ring(RingData.load(path + ".ring.gz"))


def test_golden_data_is_not_changed(data, tmp_path):
    shutil.copytree(data / "rings", tmp_path / "rings")
    RingBuilder.load(str(tmp_path / "rings" / "multi.builder"))
    assert sorted(os.listdir(tmp_path / "rings")) == sorted(os.listdir(data / "rings"))


def test_memory_is_asked_for_before_it_is_taken(tmp_path, monkeypatch):
    from swift.ring import memory

    monkeypatch.setattr(memory, "available", lambda: 20 * 10**9)
    builder = RingBuilder(32, 3, 1)
    with pytest.raises(RingBuilderError, match="takes about .* GB of memory, 20.0 GB are free"):
        builder.save(str(tmp_path / "x.builder"))
    assert not (tmp_path / "x.builder").exists()
    monkeypatch.setattr(memory, "available", lambda: None)
    RingBuilder(8, 3, 1).save(str(tmp_path / "x.builder"))
