"""swift-ring-builder beyond the recordings: refusals, locks, crash order, JSON, dry runs, diffs."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli import ring_builder_write
from swift.cli.ring_builder_args import parse_weight
from swift.cli.ring_builder_help import COMMANDS as HELP
from swift.ring.builder import RingBuilder
from swift.ring.format import RingData

GOLDEN = Path(__file__).parents[2] / "golden" / "ring"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working directory with a maker of copies of golden files."""
    monkeypatch.chdir(tmp_path)

    def copy(name: str, to: str | None = None) -> str:
        target = to or name
        shutil.copy(GOLDEN / "rings" / name, tmp_path / target)
        return target

    return copy


def stored(path: str) -> dict:
    return pickle.loads(Path(path).read_bytes())


def make_even_builder(run, name: str = "x.builder", part_power: int = 6) -> str:
    """Three zones of two servers of two disks; not rebalanced."""
    assert run("swift-ring-builder", name, "create", str(part_power), "3", "1").rc == 0
    devices = []
    for zone in (1, 2, 3):
        for server in (1, 2):
            for disk in ("a", "b"):
                devices += [f"r1z{zone}-10.0.{zone}.{server}:6200/sd{disk}", "100"]
    assert run("swift-ring-builder", name, "add", *devices).rc == 0
    return name


# ---- words


def test_without_arguments_every_command_is_explained(run):
    result = run("swift-ring-builder")
    assert result.rc == 0
    assert result.stdout.startswith("swift-ring-builder 1.3\n")
    for name in HELP:
        assert name == "show" or name in result.stdout
    assert "Exit codes: 0 = operation successful" in result.stdout


@pytest.mark.parametrize("command", sorted(set(HELP) - {"show", "diff"}))
def test_help_is_there_for_each_command(command, work, run):
    work("object.builder")
    work("object.ring.gz")
    result = run("swift-ring-builder", "object.builder", command, "--help")
    if command in ("rebalance", "dispersion", "write_ring"):
        assert result.rc == 0
        assert HELP[command].splitlines()[0] in result.stdout


# ---- refusals that the reference doesn't have


@pytest.mark.parametrize(
    "args",
    [
        ["remove", "", "--yes"],
        ["remove", "-y"],
        ["set_weight", "", "5", "-y"],
        ["set_zone", "R", "5", "-y"],
        ["set_info", "", "_m", "-y"],
    ],
)
def test_a_search_for_nothing_changes_nothing(args, work, run):
    builder = work("multi.builder")
    before = Path(builder).read_bytes()
    result = run("swift-ring-builder", builder, *args)
    assert result.rc == 2
    assert result.stdout
    assert Path(builder).read_bytes() == before


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e400"])
@pytest.mark.parametrize("form", ["pair", "option", "set_weight"])
def test_weights_are_finite(weight, form, work, run):
    builder = work("saio.builder")
    args = {
        "pair": ["add", "--", "r1z1-10.0.0.1:6200/sda", weight],
        "option": ["add", "-r1", "-z1", "-i10.0.0.1", "-p6200", "-dsda", f"-w{weight}"],
        "set_weight": ["set_weight", "--", "d0", weight],
    }[form]
    before = Path(builder).read_bytes()
    result = run("swift-ring-builder", builder, *args)
    assert result.rc == 2
    assert "Invalid weight value: " in result.stdout
    assert Path(builder).read_bytes() == before


@pytest.mark.parametrize("port", ["0", "-1", "65536", "62000000000"])
def test_new_ports_are_real_ones(port, work, run):
    builder = work("saio.builder")
    for args in (
        ["add", f"r1z1-10.0.0.1:{port}/sda", "1"],
        ["add", f"r1z1-10.0.0.1:6200R10.0.0.1:{port}/sda", "1"],
        ["add", "-r1", "-z1", "-i10.0.0.1", f"--port={port}", "-dsda", "-w1"],
        ["set_info", "-u0", f"--change-port={port}" if port != "0" else "--change-port=65537"],
    ):
        result = run("swift-ring-builder", builder, *args)
        assert (result.rc, "Invalid port" in result.stdout) == (2, True), result
    assert stored(builder)["version"] == 5


@pytest.mark.parametrize("text", ["nan", "inf", "", "x"])
def test_replicas_and_overload_are_finite(text, work, run):
    builder = work("saio.builder")
    for command in ("set_replicas", "set_overload"):
        result = run("swift-ring-builder", builder, command, text)
        assert result.rc == 2
        assert result.stdout.splitlines()[-1].endswith("is not a valid number.")
    assert run("swift-ring-builder", "y.builder", "create", "4", text, "1").rc == 2
    assert not os.path.exists("y.builder")


def test_negative_tiers_are_refused(work, run):
    builder = work("saio.builder")
    for command in ("set_region", "set_zone"):
        assert run("swift-ring-builder", builder, command, "--", "d0", "-1").rc == 2
    assert (
        run("swift-ring-builder", builder, "add", "-r-1", "-z1", "-i10.0.0.1", "-p1", "-dsda", "-w1").rc == 2
    )


def test_min_part_hours_beyond_the_counter_is_warned_of(work, run):
    builder = work("saio.builder")
    assert run("swift-ring-builder", builder, "set_min_part_hours", "255").stderr == ""
    result = run("swift-ring-builder", builder, "set_min_part_hours", "256")
    assert result.rc == 0
    assert "WARNING" in result.stderr


def test_yes_is_understood_anywhere(work, run):
    builder = work("multi.builder")
    for args in (["--yes", "z7", "1"], ["z7", "-y", "2"], ["z7", "3", "--yes"]):
        assert run("swift-ring-builder", builder, "set_weight", *args).rc == 0
    weights = {dev["weight"] for dev in stored(builder)["devs"] if dev["zone"] == 7}
    assert weights == {3.0}


@pytest.mark.parametrize(
    ("args", "last"),
    [
        (["set_weight", "d99", "x"], "could not convert string to float: 'x'"),
        (["set_zone", "d99", "x"], "invalid literal for int() with base 10: 'x'"),
        (["set_zone", "d0", "5", "bogus", "6"], "Invalid <search-value>: 'bogus'"),
        (["set_info", "d0", "_m", "d1", "bad"], "Invalid set info change value: 'bad'"),
    ],
)
def test_pairs_are_looked_at_in_their_order(args, last, work, run):
    builder = work("multi.builder")
    before = Path(builder).read_bytes()
    result = run("swift-ring-builder", builder, *args)
    assert result.rc == 2
    assert (
        len(result.stdout.splitlines()) == len(args) // 2
    )  # what the earlier pairs would have done is shown
    assert result.stdout.splitlines()[-1] == last
    assert Path(builder).read_bytes() == before


def test_ctrl_c_at_the_question_changes_nothing(work, run, monkeypatch):
    builder = work("multi.builder")
    before = Path(builder).read_bytes()

    class Interrupted:
        def readline(self):
            raise KeyboardInterrupt

    monkeypatch.setattr("swift.cli.ring_builder_devices.sys.stdin", Interrupted(), raising=False)
    import swift.cli.ring_builder_devices as module

    with pytest.raises(module.CommandError, match="Aborting"):
        module.confirm("sure? ", "Aborting device removals", yes=False)
    assert Path(builder).read_bytes() == before


def test_bad_filter_of_dispersion(work, run):
    builder = work("multi.builder")
    result = run("swift-ring-builder", builder, "dispersion", "(")
    assert result.rc == 2
    assert len(result.stdout.splitlines()) == 1


def test_devices_without_weight_can_be_looked_at(run, work):
    run("swift-ring-builder", "x.builder", "create", "2", "1", "1")
    run("swift-ring-builder", "x.builder", "add", "r1z1-10.0.0.1:6200/sda", "0")
    result = run("swift-ring-builder", "x.builder", "search", "d0")
    assert result.rc == 0
    assert re.search(r" 0\.00 +0 +0\.00 $", result.stdout.splitlines()[-1])
    assert run("swift-ring-builder", "x.builder").stdout.endswith(
        "There are no devices in this ring, or all devices have been deleted\n"
    )


def test_more_replicas_than_live_devices_is_an_error_line(run, work):
    make_even_builder(run)
    assert run("swift-ring-builder", "x.builder", "rebalance", "1").rc == 0
    run("swift-ring-builder", "x.builder", "set_weight", "_", "0", "d0", "5", "-y")
    result = run("swift-ring-builder", "x.builder", "dispersion")
    assert result.rc == 2
    assert len(result.stdout.splitlines()) == 1


# ---- broken files


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02.",
        b"\x80\x02}.",
        b"\x80\x02cos\nsystem\n(S'touch owned'\ntR.",
        b"(dp0\n.",
        b"not a pickle",
    ],
)
def test_broken_builders_end_in_one_line(content, work, run):
    Path("x.builder").write_bytes(content)
    for command in ("show", "rebalance", "search", "validate"):
        result = run("swift-ring-builder", "x.builder", command, *(["d0"] if command == "search" else []))
        assert result.rc == 2
        assert len(result.stdout.splitlines()) == 1, result
        assert "x.builder" in result.stdout
    assert not os.path.exists("owned")
    assert Path("x.builder").read_bytes() == content


@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "bad").glob("*.ring.gz")))
def test_show_survives_broken_rings(name, work, run):
    builder = work("saio.builder")
    shutil.copy(GOLDEN / "bad" / name, "saio.ring.gz")
    result = run("swift-ring-builder", builder)
    assert result.rc == 0
    line = result.stdout.splitlines()[4]
    assert line.startswith(
        (
            "Ring file saio.ring.gz is invalid: ",
            "Ring file saio.ring.gz is obsolete",
            "Ring file saio.ring.gz is up-to-date",
        )
    )
    assert run("swift-ring-builder", "saio.ring.gz", "version").rc in (0, 2)


# ---- files


def test_reading_commands_leave_the_directory_alone(work, run):
    builder = work("multi.builder")
    for args in ([], ["search", "d1"], ["list_parts", "d1"], ["dispersion"], ["validate"], ["--json"]):
        run("swift-ring-builder", builder, *args)
    assert [name for name in os.listdir() if name != ".lock"] == [builder]


def test_builder_is_on_disk_before_the_ring(run, work, monkeypatch):
    """A crash between the two leaves a ring that show calls obsolete, not one that its builder doesn't know."""
    make_even_builder(run)
    run("swift-ring-builder", "x.builder", "rebalance", "1", "--format-version", "1")
    before = Path("x.ring.gz").read_bytes()
    run("swift-ring-builder", "x.builder", "set_weight", "d0", "50")
    run("swift-ring-builder", "x.builder", "pretend_min_part_hours_passed")
    real = RingData.save

    def crash(self, path, format_version=1):
        if os.path.basename(path) == "x.ring.gz":
            raise OSError("power failure")
        real(self, path, format_version)

    with monkeypatch.context() as patch:
        patch.setattr(ring_builder_write.RingData, "save", crash)
        assert run("swift-ring-builder", "x.builder", "rebalance", "1", "-f").rc == 2
    assert Path("x.ring.gz").read_bytes() == before
    assert "is obsolete" in run("swift-ring-builder", "x.builder").stdout
    assert run("swift-ring-builder", "x.builder", "write_ring").rc == 0
    assert "is up-to-date" in run("swift-ring-builder", "x.builder").stdout


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("point", ["written", "synced", "renamed"])
def test_killed_at_any_step_of_a_rebalance(point, count, run, work):
    """Whole files at every moment: the old state or the new one, and the command can simply be given again."""
    make_even_builder(run)
    assert run("swift-ring-builder", "x.builder", "rebalance", "1", "--format-version", "1").rc == 0
    run("swift-ring-builder", "x.builder", "pretend_min_part_hours_passed")
    run("swift-ring-builder", "x.builder", "set_weight", "d0", "10")
    shutil.rmtree("backups")
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": str(root), "SWIFT_FAULT_POINT": f"write_durable:{point}:{count}"}
    script = [sys.executable, str(root / "bin" / "swift-ring-builder"), "x.builder", "rebalance", "1"]
    killed = subprocess.run(script, env=env, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    new = count == 4 or (count == 3 and point == "renamed")
    assert run("swift-ring-builder", "x.builder", "validate").rc == 0
    assert stored("x.builder")["version"] == (15 if new else 14)
    assert RingData.load("x.ring.gz").version == (15 if count == 4 and point == "renamed" else 13)
    for backup in Path("backups").glob("[0-9]*"):
        (RingBuilder if backup.suffix == ".builder" else RingData).load(str(backup))
    again = run(
        "swift-ring-builder", "x.builder", "rebalance" if not new else "write_ring", "--format-version", "1"
    )
    assert again.rc in (0, 1)  # 1: saved, with a warning
    assert "is up-to-date" in run("swift-ring-builder", "x.builder").stdout


def test_the_pickle_stays_readable_for_older_tools(run, work):
    make_even_builder(run)
    run("swift-ring-builder", "x.builder", "rebalance", "1")
    state = stored("x.builder")
    assert {"_replica2part2dev", "_last_part_moves", "_last_part_gather_start", "_remove_devs", "id"} <= set(
        state
    )
    assert state["_last_part_moves"].typecode == "B"
    assert {row.typecode for row in state["_replica2part2dev"]} == {"H"}


# ---- locks


@pytest.mark.parametrize("prog", ["swift-ring-builder", "swift-ring-builder-safe"])
def test_a_locked_directory_is_waited_for_and_then_refused(prog, work, run, monkeypatch):
    builder = work("saio.builder")
    monkeypatch.setattr("swift.cli.ring_builder.LOCK_SECONDS", 0.05)
    before = Path(builder).read_bytes()
    with open(".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(prog, builder, "set_min_part_hours", "9")
        assert (result.rc, result.stdout) == (2, "Ring/builder dir currently locked.\n")
        # only the safe variant locks to look
        assert run(prog, builder).rc == (2 if prog.endswith("-safe") else 0)
    assert Path(builder).read_bytes() == before
    assert run(prog, builder, "set_min_part_hours", "9").rc == 0


def test_changes_made_at_the_same_time_are_all_kept(run, work):
    """Each command reads under the lock that it writes under."""
    make_even_builder(run)
    from swift.cli.ring_builder import main

    def add(number: int) -> None:
        main(["swift-ring-builder", "x.builder", "set_weight", f"d{number}", str(number + 500)])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    weights = [dev["weight"] for dev in stored("x.builder")["devs"]]
    assert weights[:8] == [number + 500.0 for number in range(8)]


# ---- JSON


def test_show_json(work, run):
    work("multi.builder")
    work("multi.ring.gz")
    result = run("swift-ring-builder", "multi.ring.gz", "--json")
    assert result.stderr == "Note: using multi.builder instead of multi.ring.gz as builder file\n"
    document = json.loads(result.stdout)
    assert document["partitions"] == 256
    assert document["ring_file_state"] == "up-to-date"
    assert document["dispersion"] == 15.625
    assert len(document["devices"]) == 18
    assert document["devices"][12]["meta"] == "rack 7 / über"
    assert document["devices"][0]["balance"] == pytest.approx(1.07, abs=0.01)
    assert document == json.loads(run("swift-ring-builder", "multi.builder", "show", "--json").stdout)


def test_json_of_marked_devices_and_broken_rings(work, run):
    work("removepending.builder")
    shutil.copy(GOLDEN / "bad" / "magic.ring.gz", "removepending.ring.gz")
    document = json.loads(run("swift-ring-builder", "removepending.builder", "--json").stdout)
    assert [dev["id"] for dev in document["devices"] if dev["flags"] == "DEL"] == [2, 8]
    assert document["ring_file_state"] == "invalid"
    assert "Bad ring magic" in document["ring_file_error"]


def test_search_and_list_parts_json(work, run):
    builder = work("multi.builder")
    found = json.loads(run("swift-ring-builder", builder, "search", "z7", "--json").stdout)
    assert [dev["id"] for dev in found["devices"]] == [14, 15, 16, 17]
    nothing = run("swift-ring-builder", builder, "search", "d99", "--json")
    assert (nothing.rc, json.loads(nothing.stdout)) == (2, {"devices": []})
    parts = json.loads(run("swift-ring-builder", builder, "list_parts", "--json", "r1").stdout)["partitions"]
    text = run("swift-ring-builder", builder, "list_parts", "r1").stdout.splitlines()[1:]
    assert [(part["partition"], part["matches"]) for part in parts] == [
        tuple(map(int, row.split())) for row in text
    ]


def test_dispersion_json(work, run):
    builder = work("multi.builder")
    result = run("swift-ring-builder", builder, "dispersion", "--json", "r1")
    assert result.rc == 1
    document = json.loads(result.stdout)
    assert document["worst_tier"]["tier"] == "r1"
    assert document["required_overload"] == pytest.approx(0.47007576)
    assert document["tiers"][0]["partitions_by_replicas"] == [0, 136, 120, 0]


def test_rebalance_json_says_which_exit_1_it_was(run, work):
    make_even_builder(run)
    first = run("swift-ring-builder", "x.builder", "rebalance", "--json", "--seed", "1")
    document = json.loads(first.stdout)
    assert (first.rc, document["status"], document["reassigned"]) == (0, "saved", 192)
    assert document["warning"] is None
    too_soon = run("swift-ring-builder", "x.builder", "rebalance", "--json")
    assert (too_soon.rc, json.loads(too_soon.stdout)["status"]) == (1, "too-soon")
    run("swift-ring-builder", "x.builder", "pretend_min_part_hours_passed")
    nothing = run("swift-ring-builder", "x.builder", "rebalance", "--json")
    assert (nothing.rc, json.loads(nothing.stdout)["status"]) == (1, "nothing-to-do")
    work("lopsided.builder")
    warned = run("swift-ring-builder", "lopsided.builder", "rebalance", "-f", "--json")
    assert (warned.rc, json.loads(warned.stdout)["warning"]) == (1, "dispersion")


# ---- rebalance


def test_dry_run_saves_nothing_and_tells_what_would_move(run, work):
    make_even_builder(run)
    run("swift-ring-builder", "x.builder", "rebalance", "--seed", "1")
    run("swift-ring-builder", "x.builder", "pretend_min_part_hours_passed")
    run("swift-ring-builder", "x.builder", "add", "r1z3-10.0.3.3:6200/sda", "100")
    files = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"}
    dry = run("swift-ring-builder", "x.builder", "rebalance", "--seed", "1", "--dry-run", "--json")
    preview = json.loads(dry.stdout)
    assert (dry.rc, preview["status"]) == (0, "would-change")
    text = run("swift-ring-builder", "x.builder", "rebalance", "--seed", "1", "--dry-run")
    assert text.rc == 0
    assert text.stdout.startswith("Dry run: nothing is saved.\nWould reassign ")
    assert files == {
        path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"
    }
    made = run("swift-ring-builder", "x.builder", "rebalance", "--seed", "1", "--json")
    done = json.loads(made.stdout)
    assert (done["reassigned"], done["balance"]) == (preview["reassigned"], preview["balance"])
    new = next(flow for flow in preview["devices"] if flow["id"] == 12)
    assert (new["before"], new["out"], new["in"]) == (0, 0, new["after"])
    assert stored("x.builder")["devs"][12]["parts"] == new["after"]
    assert sum(flow["in"] for flow in preview["devices"]) == preview["reassigned"]
    assert sum(flow["replicas"] for flow in preview["between_zones"]) == preview["reassigned"]


def test_dry_run_with_nothing_to_do(work, run):
    builder = work("saio.builder")
    result = run("swift-ring-builder", builder, "rebalance", "--dry-run")
    assert result.rc == 1
    assert result.stdout.startswith("No partitions could be reassigned.\n")


def test_max_moves_bounds_what_moves_for_balance(run, work):
    make_even_builder(run)
    run("swift-ring-builder", "x.builder", "rebalance", "--seed", "1")
    run("swift-ring-builder", "x.builder", "pretend_min_part_hours_passed")
    run("swift-ring-builder", "x.builder", "add", "r1z3-10.0.3.3:6200/sda", "100")
    result = run("swift-ring-builder", "x.builder", "rebalance", "--max-moves", "3", "--json")
    assert 0 < json.loads(result.stdout)["reassigned"] <= 3
    assert run("swift-ring-builder", "x.builder", "rebalance", "--max-moves", "-3").rc == 2


def test_same_seed_same_ring(run, work):
    tables = []
    for name in ("a.builder", "b.builder"):
        make_even_builder(run, name)
        assert run("swift-ring-builder", name, "rebalance", "--seed", "any text").rc == 0
        tables.append(stored(name)["_replica2part2dev"])
    assert tables[0] == tables[1]


def test_debug_prints_only_debug_lines_before_the_outcome(run, work):
    make_even_builder(run)
    lines = run(
        "swift-ring-builder", "x.builder", "rebalance", "-d", "--format-version", "2"
    ).stdout.splitlines()
    assert all(line.startswith(("DEBUG: ", "Reassigned ")) for line in lines)


# ---- diff


def test_diff_of_equal_files(work, run):
    work("multi.builder")
    work("multi.ring.gz")
    work("multi-v2.ring.gz")
    for pair in (("multi.ring.gz", "multi-v2.ring.gz"), ("multi.builder", "multi.ring.gz")):
        result = run("swift-ring-builder", "diff", *pair)
        assert result.rc == 0
        assert result.stdout == "0 replicas of 0 partitions lie elsewhere (0.00%)\n"


def test_diff_tells_devices_settings_and_moves(run, work):
    make_even_builder(run)
    run("swift-ring-builder", "x.builder", "rebalance", "1")
    shutil.copy("x.ring.gz", "old.ring.gz")
    run("swift-ring-builder", "x.builder", "pretend_min_part_hours_passed")
    run("swift-ring-builder", "x.builder", "remove", "d11")
    run("swift-ring-builder", "x.builder", "set_info", "d0", "_moved")
    run("swift-ring-builder", "x.builder", "add", "r1z3-10.0.3.3:6200/sda", "100")
    moved = json.loads(run("swift-ring-builder", "x.builder", "rebalance", "1", "--json").stdout)[
        "reassigned"
    ]
    result = run("swift-ring-builder", "diff", "old.ring.gz", "x.ring.gz", "--json")
    assert result.rc == 1
    found = json.loads(result.stdout)
    assert found["moved"] == moved
    assert [dev["id"] for dev in found["removed_devices"]] == [11]
    assert [dev["id"] for dev in found["added_devices"]] == [12]
    assert found["changed_devices"] == {"0": {"meta": ["", "moved"]}}
    assert "version" in found["settings"]
    text = run("swift-ring-builder", "x.builder", "diff", "old.ring.gz")
    assert text.rc == 1
    assert "- d12r1z3" in text.stdout


def test_diff_refuses_what_is_neither(work, run):
    work("multi.ring.gz")
    Path("x").write_bytes(b"hello")
    assert run("swift-ring-builder", "diff", "multi.ring.gz", "x").rc == 2
    assert run("swift-ring-builder", "diff", "multi.ring.gz", "nope").rc == 2
    assert run("swift-ring-builder", "diff", "multi.ring.gz").rc == 2
    Path("y").write_bytes(gzip.compress(b"R1NG"))
    assert run("swift-ring-builder", "diff", "multi.ring.gz", "y").rc == 2


def test_rings_of_databases_keep_their_part_power(work, run):
    work("saio.builder")
    Path("saio.builder").rename("container.builder")
    before = Path("container.builder").read_bytes()
    result = run("swift-ring-builder", "container.builder", "prepare_increase_partition_power")
    assert (result.rc, result.stderr or result.stdout) == (
        2,
        "Partition power increase is only supported for object rings.\n",
    )
    assert Path("container.builder").read_bytes() == before


def test_diff_across_part_powers(work, run):
    work("object-prepared.ring.gz")
    work("object-increased.ring.gz")
    result = run("swift-ring-builder", "diff", "object-prepared.ring.gz", "object-increased.ring.gz")
    assert result.rc == 1
    assert "part_power: 7 -> 8" in result.stdout


@given(st.text())
def test_weights_of_any_text(text):
    try:
        weight = parse_weight(text)
    except ValueError:
        return
    assert 0 <= weight < float("inf")


@given(st.lists(st.text(max_size=20), max_size=6))
def test_no_arguments_end_in_a_traceback(tmp_path_factory, args):
    """Whatever follows the file's name: an exit status and text, nothing else."""
    from swift.cli.ring_builder import main

    path = tmp_path_factory.mktemp("any") / "saio.builder"
    shutil.copy(GOLDEN / "rings" / "saio.builder", path)
    try:
        assert main(["swift-ring-builder", str(path), *args]) in (0, 1, 2)
    except SystemExit as exit:
        assert exit.code in (0, 2)
