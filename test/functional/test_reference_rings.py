"""Rings and builders travel between this store's commands and the reference's, which runs as a black box."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = os.environ.get("REFERENCE_BIN", "")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference"),
]


class Commands:
    """The commands of both sides in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _run(self, command: list[str], env: dict[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=self.directory, env=env, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    def ours(self, command: str, *args: str) -> tuple[int, str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return self._run([sys.executable, str(ROOT / "bin" / command), *args], env)

    def theirs(self, command: str, *args: str) -> tuple[int, str]:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return self._run([str(Path(REFERENCE) / command), *args], env)

    def same(self, command: str, *args: str) -> tuple[int, str]:
        """Run on both sides: status and output must be the same but for the clock."""
        ours, theirs = self.ours(command, *args), self.theirs(command, *args)
        without_clock = [
            (code, re.sub(r"(\d+ days?, )?\d+:\d\d:\d\d", "T", text)) for code, text in (ours, theirs)
        ]
        assert without_clock[0] == without_clock[1]
        return ours


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path)


def devices(zones: int, servers: int, disks: int) -> list[str]:
    found = []
    for zone in range(1, zones + 1):
        for server in range(1, servers + 1):
            for disk in range(disks):
                found += [
                    f"r{1 + zone % 2}z{zone}-10.0.{zone}.{server}:6200/d{disk}_über",
                    str(100 + 50 * disk),
                ]
    return found


@pytest.mark.parametrize("replicas", ["3", "2.5", "1", "6"])
@pytest.mark.parametrize("maker", ["ours", "theirs"])
def test_what_one_side_makes_the_other_reads_the_same(maker, replicas, commands):
    make = getattr(commands, maker)
    make("swift-ring-builder", "x.builder", "create", "7", replicas, "1")
    make("swift-ring-builder", "x.builder", "add", *devices(3, 2, 3))
    for version in ("1", "2"):
        make("swift-ring-builder", "x.builder", "rebalance", "7", "-f", "--format-version", version)
        assert commands.same("swift-ring-builder", "x.ring.gz", "version")[0] == 0
        assert "is up-to-date" in commands.same("swift-ring-builder", "x.builder")[1]
        commands.same("swift-ring-builder", "x.builder", "dispersion", "-v")
        assert commands.same("swift-ring-builder", "x.builder", "validate") == (0, "")
        commands.same("swift-ring-builder", "x.builder", "list_parts", "z1", "z2")
        commands.same("swift-ring-builder", "x.builder", "search", "/d1")


def test_both_sides_take_turns_on_one_builder(commands):
    commands.ours("swift-ring-builder", "x.builder", "create", "6", "3", "0")
    commands.theirs("swift-ring-builder", "x.builder", "add", *devices(4, 2, 2))
    sides = [commands.ours, commands.theirs]
    for turn, change in enumerate(
        (
            ["rebalance", "1", "--format-version", "1"],
            ["set_weight", "d3", "10"],
            ["rebalance", "1", "--format-version", "2"],
            ["remove", "d5"],
            ["add", "r1z9-[fd00::9]:6200/d0", "100"],
            ["rebalance", "1", "--format-version", "1"],
            ["set_replicas", "3.5"],
            ["set_overload", "10%"],
            ["rebalance", "1", "--format-version", "1"],
            ["set_info", "d1", ":6299/moved"],
            ["write_ring", "--format-version", "2"],
        )
    ):
        code, text = sides[turn % 2]("swift-ring-builder", "x.builder", *change)
        assert code in (0, 1), (change, text)
        commands.same("swift-ring-builder", "x.builder")
    assert commands.same("swift-ring-builder", "x.builder", "validate") == (0, "")


def test_part_power_increase_with_changing_hands(commands):
    commands.theirs("swift-ring-builder", "object.builder", "create", "5", "3", "1")
    commands.theirs("swift-ring-builder", "object.builder", "add", *devices(3, 1, 2))
    commands.ours("swift-ring-builder", "object.builder", "rebalance", "1", "--format-version", "1")
    for turn, step in enumerate(("prepare_increase", "increase", "finish_increase")):
        side = (commands.ours, commands.theirs)[turn % 2]
        assert side("swift-ring-builder", "object.builder", f"{step}_partition_power")[0] == 0
        assert side("swift-ring-builder", "object.builder", "write_ring", "--format-version", "1")[0] == 0
        assert "is up-to-date" in commands.same("swift-ring-builder", "object.builder")[1]
    assert commands.same("swift-ring-builder", "object.builder", "validate") == (0, "")


def test_composite_rings(commands):
    for number, zone in ((1, 1), (2, 2)):
        side = (commands.ours, commands.theirs)[number - 1]
        name = f"{number}.builder"
        side("swift-ring-builder", name, "create", "5", str(number), "1")
        side("swift-ring-builder", name, "add", *[
            text for disk in "abc" for text in (f"r{number}z{zone}-10.{number}.0.1:6200/sd{disk}", "1")
        ])  # fmt: skip
        side("swift-ring-builder", name, "rebalance", "1", "--format-version", "1")
    composed = ("compose", "1.builder", "2.builder", "--output", "c.ring.gz")
    assert commands.theirs("swift-ring-composer", "c.json", *composed)[0] == 0
    shown = commands.same("swift-ring-composer", "c.json", "show")
    (commands.directory / "c.ring.gz").rename(commands.directory / "theirs.ring.gz")
    assert commands.ours("swift-ring-composer", "c.json", *composed, "--force")[0] == 0
    assert commands.same("swift-ring-composer", "c.json", "show")[1] == shown[1].replace(
        '"version": 1\n', '"version": 2\n'
    )
    assert commands.ours("swift-ring-builder", "diff", "theirs.ring.gz", "c.ring.gz")[0] == 0


def test_get_nodes(commands):
    (commands.directory / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = s\n[storage-policy:0]\nname = a\ndefault = yes\n"
        "[storage-policy:1]\nname = b\n"
    )
    for ring in ("account", "container", "object", "object-1"):
        commands.ours("swift-ring-builder", f"{ring}.builder", "create", "6", "3", "1")
        commands.ours("swift-ring-builder", f"{ring}.builder", "add", *devices(3, 2, 2))
        commands.ours("swift-ring-builder", f"{ring}.builder", "rebalance", ring, "--format-version", "1")
    for args in (
        ["account.ring.gz", "AUTH_test"],
        ["-a", "object-1.ring.gz", "AUTH_test/c/ö o"],
        ["-P", "b", "AUTH_test", "c", "o"],
        ["-P", "A", "-p", "17"],
        ["-P", "b", "AUTH_test", "c"],
        ["container.ring.gz", "AUTH_test"],
    ):
        assert commands.same("swift-get-nodes", "-d", ".", *args)[0] == 0
