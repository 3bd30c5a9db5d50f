"""swift-object-info against recorded outputs of the reference, on the same files."""

from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "info"
CASES = json.loads((GOLDEN / "object_cases.json").read_text())
ETC = GOLDEN / "object-etc"
# the reference ends in a traceback there; ours in one line
ONE_LINE = (
    "without name",
    "empty metadata",
    "garbage metadata",
    "container name",
    "odd name",
    "odd crypto meta",
)


def write_file(root: Path, file: dict) -> Path:
    path = root / file["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(file["content_b64"]))
    for name, value in file["xattrs_hex"].items():
        os.setxattr(path, name, bytes.fromhex(value))
    return path


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case['note']}" for number, case in enumerate(CASES)])
def test_recorded_report(case, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    for file in case["files"]:
        write_file(tmp_path, file)
    result = run("swift-object-info", "-d", str(ETC), *case["args"])
    assert result.rc == case["rc"], result
    if case["note"] in ONE_LINE:
        assert result.stdout.startswith(case["stdout"])
        assert len(result.stdout[len(case["stdout"]) :].splitlines()) == 1
    elif case["stdout"].startswith("Usage:"):
        assert result.stdout.startswith("Usage: swift-object-info [options] OBJECT_FILE")
    else:
        assert result.stdout == case["stdout"]
    assert result.stderr == ""


def test_without_rings_the_report_stands_alone(tmp_path, run):
    case = next(case for case in CASES if case["note"] == "plain")
    path = write_file(tmp_path, case["files"][0])
    (tmp_path / "swift.conf").write_text((ETC / "swift.conf").read_text())
    result = run("swift-object-info", "-d", str(tmp_path), str(path))
    assert result.rc == 0
    assert case["stdout"].startswith(result.stdout)
    assert result.stdout.endswith("Content-Length: 12 (valid)\n")
    assert "No ring locations" in result.stderr


def test_metadata_that_would_run_code_is_not_unpickled(tmp_path, run):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    path = tmp_path / "x.data"
    path.write_bytes(b"")
    os.setxattr(path, "user.swift.metadata", pickle.dumps(Attack(), 2))
    result = run("swift-object-info", "-d", str(ETC), str(path))
    assert (result.rc, result.stdout) == (1, "Invalid metadata\n")
    assert not (tmp_path / "owned").exists()


def test_nothing_on_disk_changes(tmp_path, run):
    case = next(case for case in CASES if case["note"] == "shorter")
    path = write_file(tmp_path, case["files"][0])
    before = path.stat(), path.read_bytes(), sorted(os.listdir(path.parent))
    assert run("swift-object-info", "-d", str(ETC), str(path)).rc == 0
    after = path.stat(), path.read_bytes(), sorted(os.listdir(path.parent))
    assert (before[0].st_mtime_ns, *before[1:]) == (after[0].st_mtime_ns, *after[1:])


def test_a_file_of_another_cluster_is_noticed(tmp_path, run):
    """By the directory that it lies in, which its name hashes to."""
    case = next(case for case in CASES if case["note"] == "plain")
    path = write_file(tmp_path, case["files"][0])
    name_hash = next(line for line in case["stdout"].splitlines() if "Object hash" in line).split()[-1]
    ours = tmp_path / name_hash / path.name
    ours.parent.mkdir()
    path.rename(ours)
    result = run("swift-object-info", "-d", str(ETC), str(ours))
    assert (result.rc, result.stderr) == (0, "")
    theirs = tmp_path / ("f" * 32) / path.name
    ours.parent.rename(theirs.parent)
    result = run("swift-object-info", "-d", str(ETC), str(theirs))
    assert result.rc == 1
    assert f"but its name hashes to {name_hash}" in result.stderr
