"""Every recorded run of the reference's ring commands, against ours: exit status, output, files, builder's state.

Where ours differs on purpose (doc/compatibility.md), the step is named in DIFFERENT with what ours does instead.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "ring"
SEQUENCES = json.loads((GOLDEN / "cli.json").read_text())["sequences"]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
PLACEHOLDERS = {
    re.escape("<TS>"): r"\d+",
    re.escape("<LEFT>"): r"(?:\d+ days?, )?\d+:\d\d:\d\d",
}

# (sequence, arguments) → (exit status, pattern of all of stdout); None: as in the recording
DIFFERENT = {
    # a port that no socket can have
    ("add positional", "x.builder add r1z1-10.0.0.3:99999/sdq 1"): (
        2,
        r"Invalid port :99999 in add value\nThe on-disk .*",
    ),
    # weights that no placement can use
    (
        "add options",
        "x.builder add -r 1 -z 2 -i 10.0.0.1 -p 6200 -d sdneg -w -1",
    ): (2, r"Invalid weight value: -1\.0\nThe on-disk ring builder is unchanged\.\n"),
    ("set_weight", "x.builder set_weight d0 nan"): (2, "Invalid weight value: nan\n"),
    ("set_weight", "x.builder set_weight d0 inf"): (2, "Invalid weight value: inf\n"),
    # --yes is understood wherever it stands
    ("set_weight", "x.builder set_weight --yes z7 12"): (
        0,
        r"Matched more than one device:\n(.*\n)+.* weight set to 12\.0\n",
    ),
    # each pair changes its own devices only
    ("set_region and set_zone", "x.builder set_zone d1 7 d2 8"): (
        0,
        r"d1r1z7-\S+ zone set to 7\nd2r1z8-\S+ zone set to 8\n",
    ),
    ("set_region and set_zone", "x.builder set_region d3 4 d4 3 --yes"): (
        0,
        r"d3r4z1-\S+ region set to 4\nd4r3z2-\S+ region set to 3\n",
    ),
    # an age below zero means nothing
    ("small setters", "x.builder set_min_part_hours -1"): (
        2,
        r"min_part_hours must be non-negative \(was -1\)\n",
    ),
    # lines instead of tracebacks
    ("composer", "c.ring.gz version"): (
        0,
        r"c\.ring\.gz: Serialization version: 1 \(2-byte IDs\), build version: None\n",
    ),
    ("composer", "c.json"): (2, ""),
}
# sequences in which the builder's state is another one from the named step on
STATE_DIFFERS_FROM = {
    "set_weight": "x.builder set_weight --yes z7 12",
    "set_region and set_zone": "x.builder set_zone d1 7 d2 8",
    "small setters": "x.builder set_min_part_hours -1",
    "add options": "x.builder add -r 1 -z 2 -i 10.0.0.1 -p 6200 -d sdneg -w -1",
    "add positional": "x.builder add r1z1-10.0.0.3:99999/sdq 1",
    "set_info": "x.builder set_info d2 ''",
}
# steps whose numbers depend on the placement
LOOSE_NUMBERS = ("rebalance dispersion warning", "swift-ring-builder-analyzer")


def pattern_of(text: str, cwd: str, loose: bool) -> str:
    pattern = re.escape(text.replace("<CWD>", cwd))
    if loose:
        pattern = re.sub(r"(?:\\-)?\d+(?:\\\.\d+)?", lambda found: NUMBER.pattern, pattern)
    for placeholder, expression in PLACEHOLDERS.items():
        pattern = pattern.replace(placeholder, expression)
    return pattern


def file_names(directory: Path) -> list[str]:
    """As in the recording: base names, time stamps masked; files of our locks are nobody's business."""
    names = [path.name for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return sorted({re.sub(r"^\d{9,}\.", "<TS>.", name) for name in names})


def builder_state(path: Path) -> dict:
    """The state that the recording shows, read from the file as an older tool would."""
    state = pickle.loads(path.read_bytes())
    moves = state["_last_part_moves"]
    rows = state["_replica2part2dev"] or []
    keys = (
        "version",
        "devs_changed",
        "replicas",
        "overload",
        "min_part_hours",
        "part_power",
        "next_part_power",
        "parts",
    )
    devs = [
        dev and {key: value for key, value in dev.items() if key != "parts_wanted"} for dev in state["devs"]
    ]
    return {
        **{key: state[key] for key in keys},
        "last_part_moves_epoch_zero": not state["_last_part_moves_epoch"],
        "last_part_moves_values": sorted(set(moves)) if moves is not None else [0],
        "remove_devs": sorted(dev["id"] for dev in state["_remove_devs"]),
        "row_lengths": [len(row) for row in rows],
        "dispersion": state["dispersion"],
        "devs": devs,
    }


def expected_state(recorded: dict) -> dict:
    devs = [
        dev and {key: value for key, value in dev.items() if key != "parts_wanted"}
        for dev in recorded["devs"]
    ]
    return {**recorded, "devs": devs, "remove_devs": sorted(set(recorded["remove_devs"]))}


@pytest.mark.parametrize("sequence", SEQUENCES, ids=[sequence["title"] for sequence in SEQUENCES])
def test_recorded_sequence(sequence, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    for name, source in sequence["files"].items():
        shutil.copy(GOLDEN / source, tmp_path / name)
    if sequence["title"] != "swift-get-nodes":
        # what the reference needed for opening rings, ours does not
        assert not (tmp_path / "swift.conf").exists()
    compares_state = True
    for step in sequence["steps"]:
        key = (sequence["title"], " ".join(step["args"]))
        result = run(step["prog"], *step["args"], stdin=step.get("stdin", ""))
        context = f"{step['prog']} {key[1]}\n{result}"
        if key[1] == STATE_DIFFERS_FROM.get(sequence["title"]):
            compares_state = False
        if key in DIFFERENT:
            rc, stdout = DIFFERENT[key]
            assert result.rc == rc, context
            assert re.fullmatch(stdout, result.stdout, re.DOTALL), context
            continue
        check_step(step, result, str(tmp_path), sequence["title"] in LOOSE_NUMBERS, context)
        if "builder_after" in step and compares_state:
            state, expected = (
                builder_state(tmp_path / written_builder(step)),
                expected_state(step["builder_after"]),
            )
            if step.get("loose") == "last_part_moves":
                for loose in ("last_part_moves_values", "last_part_moves_epoch_zero"):
                    state.pop(loose), expected.pop(loose)
            assert state == expected, context
        if "files_after" in step:
            assert file_names(tmp_path) == sorted(set(step["files_after"])), context


def written_builder(step: dict) -> str:
    name = step["args"][0]
    return name.removesuffix(".ring.gz") + ".builder" if name.endswith(".ring.gz") else name


def check_step(step: dict, result, cwd: str, loose: bool, context: str) -> None:
    assert result.rc == step["rc"], context
    if "uncaught_exception_last_line" in step:
        # one line that says what was wrong
        assert len((result.stdout + result.stderr).strip().splitlines()) == 1, context
        return
    if "prints" in step:
        assert len(result.stdout + result.stderr) > 20, context
        if "last_line" in step:
            assert result.stdout.splitlines()[-1] == step["last_line"], context
        if step["stderr"]:
            assert result.stderr == step["stderr"], context
        return
    if step.get("loose") == "builder id":
        result = result._replace(stdout=re.sub(r"id [0-9a-f]{32}", "id #", result.stdout))
        step = {**step, "stdout": re.sub(r"id [0-9a-f]{32}", "id #", step["stdout"])}
    for name in ("stdout", "stderr"):
        pattern = pattern_of(step[name], cwd, loose)
        if step.get("loose", "").startswith("numbers") and name == "stdout":
            pattern = r"(Round \d+\n(\tRebalance \d+: moved \d+ parts, balance is \d+\.\d{6}, \d+ removed devs\n){2,})+"
        assert re.fullmatch(pattern, getattr(result, name)), context
