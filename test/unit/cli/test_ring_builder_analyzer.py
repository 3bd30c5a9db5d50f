"""Scenarios of swift-ring-builder-analyzer: what is refused, and that a scenario is checked before it is played."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli.ring_builder_analyzer import InvalidScenario, parse_scenario

GOOD = {
    "part_power": 4,
    "replicas": 3,
    "overload": 0,
    "random_seed": 7,
    "rounds": [[["add", f"r1z{zone}-10.0.0.{zone}:6200/sda", 100] for zone in range(1, 5)], [["remove", 3]]],
}


def changed(**changes):
    document = {**GOOD, **changes}
    return {key: value for key, value in document.items() if value is not ...}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "Scenario must be a JSON object, not array or string"),
        ("text", "Scenario must be a JSON object, not array or string"),
        (changed(part_power=...), "part_power missing"),
        (changed(part_power=0), "part_power must be between 1 and 32, but was 0"),
        (changed(part_power=33), "part_power must be between 1 and 32, but was 33"),
        (changed(part_power="x"), "part_power was not a number: 'x'"),
        (changed(replicas=...), "replicas missing"),
        (changed(replicas=0.5), "replicas must be at least 1, but was 0.5"),
        (changed(overload=...), "overload missing"),
        (changed(overload=-1), "overload must be non-negative, but was -1"),
        (changed(random_seed=...), "random_seed missing"),
        (changed(rounds=...), "rounds missing"),
        (changed(rounds={}), "rounds must be an array"),
        (changed(rounds=[1]), "round 0 not an array"),
        (changed(rounds=[[], ["add"]]), "Command was not an array that begins with a name (round 1, command 0): 'add'"),
        (changed(rounds=[[["juggle", 1]]]), "Unknown command (round 0, command 0): juggle"),
        (changed(rounds=[[["add", "r1z1-10.0.0.1:6200/sda"]]]), "Wrong number of arguments (round 0, command 0): add takes 2"),
        (changed(rounds=[[["add", "r1-x", 1]]]), "Invalid device specifier (round 0, command 0): Invalid add value: r1-x"),
        (changed(rounds=[[["set_weight", 1, -1]]]), "Invalid weight (round 0, command 0): cannot be negative"),
        (changed(rounds=[[["set_weight", 1, "heavy"]]]), "Invalid weight (round 0, command 0): 'heavy'"),
        (changed(rounds=[[["remove", "x"]]]), "Invalid device ID (round 0, command 0): 'x'"),
        (changed(rounds=[[["save", 5]]]), "Invalid file name (round 0, command 0): 5"),
    ],
)  # fmt: skip
def test_reasons(document, reason, tmp_path, run):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(document))
    result = run("swift-ring-builder-analyzer", "--check", str(path))
    assert (result.rc, result.stdout, result.stderr) == (1, "", f"Invalid scenario {path}: {reason}\n")


def test_not_json(tmp_path, run):
    path = tmp_path / "s.json"
    path.write_text("{")
    result = run("swift-ring-builder-analyzer", str(path))
    assert result.rc == 1
    assert result.stderr.startswith(f"Invalid scenario {path}: Invalid JSON in scenario file: ")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_any_document_is_either_a_scenario_or_refused(document):
    for text in (json.dumps(document), json.dumps({**GOOD, "rounds": document})):
        try:
            parse_scenario(text)
        except InvalidScenario as error:
            assert str(error)


def test_a_scenario_plays_until_it_settles(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    scenario = {**GOOD, "rounds": [*GOOD["rounds"], [["save", "out.builder"]]]}
    (tmp_path / "s.json").write_text(json.dumps(scenario))
    result = run("swift-ring-builder-analyzer", "s.json")
    assert result.rc == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "Round 1",
        "\tRebalance 1: moved 48 parts, balance is 0.000000, 0 removed devs",
        "\tRebalance 2: moved 0 parts, balance is 0.000000, 0 removed devs",
    ]
    assert lines[3] == "Round 2"
    assert lines[4].endswith("1 removed devs")
    assert run("swift-ring-builder", "out.builder").rc == 0


def test_devices_that_are_not_there_end_the_scenario_in_one_line(tmp_path, run):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(changed(rounds=[[["remove", 77]]])))
    result = run("swift-ring-builder-analyzer", str(path))
    assert result.rc == 1
    assert len(result.stderr.splitlines()) == 1
