"""swift-manage-shard-ranges against what the reference says and does in the same place."""

import io
import json
import pathlib
import sys

import pytest

from swift.cli import manage_shard_ranges
from swift.container.broker import ContainerBroker
from swift.core.hashing import set_hash_config
from test import shard_tool_cases as cases

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden/db/shard_tool.json").read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path):
    set_hash_config("", "changeme")
    cases.write_files(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """run(file, arguments, input) → (exit status, stdout, stderr), as cases.run."""

    def run_command(path, text, given=""):
        words = text.format(dir=folder).split()
        before = [word[1:] for word in words if word.startswith("^")]
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        monkeypatch.setenv("COLUMNS", "80")
        capsys.readouterr()
        try:
            status = manage_shard_ranges.main(
                [*before, str(path), *(word for word in words if not word.startswith("^"))]
            )
        except SystemExit as left:
            status = left.code
        said = capsys.readouterr()
        return status, cases.same(said.out, folder), cases.same(said.err, folder)

    return run_command


@pytest.mark.parametrize(
    "at", range(len(cases.CASES)), ids=[f"{n}-{b.__name__}" for n, (b, _) in enumerate(cases.CASES)]
)
def test_says_and_does_what_the_reference_does(run, folder, at):
    build, steps = cases.CASES[at]
    golden = GOLDEN["cases"][at]
    assert golden["database"] == build.__name__ and len(golden["steps"]) == len(steps)
    path = build(folder)
    for text, given, *expected in golden["steps"]:
        status, out, err = run(path, text, given)
        if expected[2].startswith("usage: "):  # argparse words it in its own way in each version
            assert (status, out, err.startswith("usage: ")) == (*expected[:2], True)
        else:
            assert [text, status, out, err] == [text, *expected]


@pytest.mark.parametrize("case", GOLDEN["analyses"], ids=lambda case: f"{case[0]}-{case[1]}")
def test_analyses(run, folder, case):
    name, text, *expected = case
    assert list(run(folder / name, text)) == expected


def test_without_a_command(run, folder):
    path = cases.plain(folder)
    status, out, err = run(path, "")
    assert status == 2 and out.startswith("usage: ") and err == "\nA sub-command is required.\n"


def test_replace_may_enable_too(run, folder):
    """The reference dies of an option that it forgot, when all is replaced already."""
    path = cases.plain(folder)
    status, out, _ = run(path, "replace {dir}/found.json --enable")
    assert status == 0
    assert "Container moved to state 'sharding' with epoch" in out
    assert '"state": "sharding"' in run(path, "info")[1]


@pytest.mark.parametrize("text", ["merge {dir}/found.json -y", "compact --shrink-threshold"])
def test_bad_input_ends_in_a_line(run, folder, text):
    path = cases.whole(folder)
    status, _, err = run(path, text)
    assert status == 2 and "Traceback" not in err and err.splitlines()[-1]
    assert run(folder / "found.json", "analyze")[0] == 2


def test_rows_that_wait_stay_where_they_are_if_asked_to(run, folder):
    path = cases.plain(folder)
    broker = ContainerBroker(path, account="AUTH_t", container="c")
    broker.put_object("p", "1700000200.00000", 1, "text/plain", "e" * 32)
    assert "object_count = 40" in run(path, "^--skip-commits info")[1]
    assert "object_count = 41" in run(path, "info")[1]


@pytest.mark.parametrize("text", ["find 99999999999999999999", "repair -n --min-shard-age 1" + "0" * 400])
def test_numbers_of_any_size(run, folder, text):
    status, _, err = run(cases.whole(folder), text)
    assert status in (0, 1) and "Traceback" not in err


@pytest.mark.parametrize("value", ["Infinity", "1" + "0" * 30])
def test_ranges_that_no_database_can_hold(run, folder, value):
    path = cases.whole(folder)
    ranges = json.loads(run(path, "show")[1])
    (folder / "bad.json").write_text(
        json.dumps(ranges).replace(
            f'"object_count": {ranges[0]["object_count"]}', f'"object_count": {value}', 1
        )
    )
    for command, of in (("merge {dir}/bad.json -y", path), ("analyze", folder / "bad.json")):
        status, _, err = run(of, command)
        assert status == 2 and err.splitlines()[-1].startswith("Failed to load valid shard range data: ")


@pytest.mark.parametrize("name", ["none.db", "found.json"])
def test_what_is_no_database(run, folder, name):
    status, out, err = run(folder / name, "show")
    assert (status, out) == (1, "")
    assert err.startswith(f"Error opening container DB <dir>/{name}: ")
