"""Files go from this builder to the reference's and back; the reference runs as a black box from REFERENCE_BIN."""

import os
import shutil
import subprocess

import pytest

from swift.ring.builder import RingBuilder
from swift.ring.format import RingData
from swift.ring.lookup import Ring

BIN = os.environ.get("REFERENCE_BIN", "")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(
        not os.path.exists(os.path.join(BIN, "swift-ring-builder")),
        reason="REFERENCE_BIN has no swift-ring-builder",
    ),
]


# the reference's packages have the names of ours
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def run(program, *arguments, directory):
    return subprocess.run(
        [os.path.join(BIN, program), *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=directory,
    )


def reference(path, *arguments, codes=(0,)):
    done = run("swift-ring-builder", path, *arguments, directory=os.path.dirname(path))
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


def make(path, replicas, part_power=8):
    builder = RingBuilder(part_power, replicas, 1)
    for zone in range(4):
        for server in range(3):
            for disk in range(2):
                builder.add_dev(
                    {"region": 1 + zone // 3, "zone": zone, "ip": f"10.0.{zone}.{server}", "port": 6200, "device": f"d{disk}",
                     "weight": 100.0 + 10 * disk, "meta": "größe ☃"}
                )  # fmt: skip
    builder.rebalance("1")
    builder.save(path)
    return builder


@pytest.mark.parametrize("replicas", [3, 2.5, 6])
@pytest.mark.parametrize("format_version", [1, 2])
def test_the_reference_goes_on_with_our_files(tmp_path, replicas, format_version):
    path, ring_path = str(tmp_path / "object.builder"), str(tmp_path / "object.ring.gz")
    builder = make(path, replicas)
    builder.get_ring().save(ring_path, format_version)
    assert f"Ring file {ring_path} is up-to-date" in reference(path)
    reference(path, "validate")
    assert f"Serialization version: {format_version} (2-byte IDs), build version: 25" in reference(
        path, "version"
    )
    told = reference(path, "dispersion", codes=(0, 1))
    assert f"Dispersion is {builder.dispersion:.6f}, Balance is {builder.get_balance():.6f}" in told
    assert f"Required overload is {100 * builder.get_required_overload():.6f}%" in told
    reference(path, "pretend_min_part_hours_passed")
    reference(path, "remove", "d3")
    reference(path, "add", "r2z3-10.0.3.9:6200/new", "100")
    told = reference(path, "rebalance", "--seed", "2", f"--format-version={format_version}", codes=(0, 1))
    assert "Reassigned" in told
    theirs = RingBuilder.load(path)
    theirs.validate()
    assert theirs.devs[3] is None and theirs.devs[24]["device"] == "new"
    ring = RingData.load(ring_path)
    assert theirs.same_as_ring(ring)
    theirs.pretend_min_part_hours_passed()
    theirs.set_dev_weight(5, 0)
    theirs.rebalance()
    theirs.save(path)
    reference(path, "validate")


def test_we_go_on_with_the_references_files(tmp_path):
    path = str(tmp_path / "object.builder")
    reference(path, "create", "7", "3", "1")
    for zone in range(4):
        reference(path, "add", f"r1z{zone}-[::{zone}]:6200R10.0.0.{zone}:6300/sda_mé", "100")
    reference(path, "rebalance", "--seed", "1")
    builder = RingBuilder.load(path)
    builder.validate()
    assert builder.same_as_ring(RingData.load(str(tmp_path / "object.ring.gz")))
    builder.pretend_min_part_hours_passed()
    builder.add_dev(
        {"region": 1, "zone": 5, "ip": "10.0.0.5", "port": 6200, "device": "sda", "weight": 100.0}
    )
    builder.rebalance()
    builder.save(path)
    builder.get_ring().save(str(tmp_path / "object.ring.gz"))
    assert "is up-to-date" in reference(path)


@pytest.mark.parametrize("format_version", [1, 2])
def test_same_lookups_from_our_ring(data, tmp_path, format_version):
    builder = make(str(tmp_path / "object.builder"), 3)
    ring_path = str(tmp_path / "object.ring.gz")
    builder.get_ring().save(ring_path, format_version)
    shutil.copy(data / "swift.conf", tmp_path)
    ring = Ring(ring_path)
    for name in ("o", "größe", "a/b"):
        part, nodes = ring.get_nodes("AUTH_test", "c", name)
        done = run(
            "swift-get-nodes",
            "-a",
            "-d",
            str(tmp_path),
            ring_path,
            "AUTH_test",
            "c",
            name,
            directory=str(tmp_path),
        )
        listed = [
            line.split("\t")[1] for line in done.stdout.splitlines() if line.startswith("Server:Port Device")
        ]
        assert f"Partition\t{part}" in done.stdout
        ours = [
            f"{node['ip']}:{node['port']} {node['device']}" for node in (*nodes, *ring.get_more_nodes(part))
        ]
        assert listed == ours


def test_partition_power_on_our_builder(tmp_path):
    path = str(tmp_path / "object.builder")
    builder = make(path, 3)
    builder.prepare_increase_partition_power()
    builder.save(path)
    reference(path, "increase_partition_power")
    theirs = RingBuilder.load(path)
    theirs.validate()
    assert theirs.finish_increase_partition_power()
    theirs.save(path)
    reference(path, "validate")
    builder.increase_partition_power()
    builder.save(path)
    reference(path, "finish_increase_partition_power")
    assert RingBuilder.load(path).rows == theirs.rows
