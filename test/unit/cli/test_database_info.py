"""swift-account-info and swift-container-info against recorded outputs of the reference, on copies of the same databases."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from swift.cli import database_info

TEST = Path(__file__).parents[2]
CASES = json.loads((TEST / "golden" / "info" / "db_cases.json").read_text())
ETC = TEST / "golden" / "info" / "db-etc"
PENDING = "devices/sda1/containers/4/daa/479a5977466967057340a4b060eabdaa/479a5977466967057340a4b060eabdaa.db"


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A working directory with a copy of the golden databases in ``devices``."""
    shutil.copytree(TEST / "golden" / "db" / "devices", tmp_path / "devices")
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "devices"


def recorded(*args):
    return next(case for case in CASES if case["args"] == list(args))


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case['prog']}" for number, case in enumerate(CASES)])
def test_recorded_report(case, devices, run):
    result = run(case["prog"], "-d", str(ETC), *case["args"])
    assert result.rc == case["rc"], result
    if case["stdout"].startswith("Usage:"):
        assert result.stdout.startswith(case["stdout"].splitlines()[0])
    else:
        assert result.stdout == case["stdout"]
    assert bool(result.stderr) == bool(case["stderr"])


def test_looking_at_a_database_changes_nothing_but_its_pending_file(devices, run):
    files = list(devices.rglob("*.db"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    for path in files:
        run(
            "swift-account-info" if "accounts" in str(path) else "swift-container-info",
            "-d",
            str(ETC),
            str(path),
        )
    changed = {path for path in files if before[path] != (path.read_bytes(), path.stat().st_mtime_ns)}
    assert changed == {devices.parent / PENDING}
    assert not [path for path in devices.rglob("*") if path.name.endswith(("-journal", "-wal", "-shm"))]


def test_a_directory_in_use_is_reported_as_it_is_with_a_warning(devices, run, monkeypatch):
    monkeypatch.setattr(database_info, "_LOCK_SECONDS", 0.05)
    with open(Path(PENDING).parent / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run("swift-container-info", "-d", str(ETC), PENDING)
    assert result.rc == 2
    assert result.stdout.startswith("WARNING: Possibly Stale Data\nPath: /AUTH_golden/pending\n")
    assert "  Object Count: 2\n" in result.stdout
    assert run("swift-container-info", "-d", str(ETC), PENDING).rc == 0


def test_a_locked_database_is_a_failure(devices, run, monkeypatch):
    monkeypatch.setattr(database_info, "_LOCK_SECONDS", 0.05)
    conn = sqlite3.connect(PENDING)
    conn.execute("BEGIN EXCLUSIVE")
    result = run("swift-container-info", "-d", str(ETC), PENDING)
    conn.close()
    assert result.rc == 1
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("Container info failed: ")


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 4096, b"text"])
def test_damaged_files_end_in_one_line_and_stay_where_they_are(content, tmp_path, run):
    path = tmp_path / "0123456789abcdef0123456789abcdef.db"
    path.write_bytes(content)
    for program in ("swift-account-info", "swift-container-info"):
        result = run(program, "-d", str(ETC), str(path))
        assert result.rc == 1
        assert len(result.stdout.splitlines()) == 1, result
    assert path.read_bytes() == content


def test_without_a_swift_dir_the_report_still_comes(devices, run):
    case = recorded(PENDING)
    result = run("swift-container-info", "-d", "/nonexistent", PENDING)
    assert result.rc == 1  # locations of another cluster are worse than none
    assert "without prefix and suffix" in result.stderr
    assert "hash and locations are another cluster's" in result.stderr
    shown, expected = result.stdout.splitlines(), case["stdout"].splitlines()
    differing = [line for line, other in zip(shown, expected, strict=False) if line != other]
    assert [line.split(":")[0].strip() for line in differing] == ["Container Hash", "Storage Policy"]
    assert len(shown) < len(expected)


def test_a_container_older_than_sharding(devices, run):
    conn = sqlite3.connect(PENDING)
    conn.execute("DROP TABLE shard_range")
    conn.commit()
    conn.close()
    result = run("swift-container-info", "-d", str(ETC), PENDING)
    assert result.rc == 0
    assert "  Type: root\n  State: unsharded\n" in result.stdout
    assert os.path.exists(PENDING)


@pytest.mark.parametrize(("containers", "shown"), [("18", "False"), ("0", "True")])
def test_an_account_with_containers_is_not_deleted_by_its_times(containers, shown, devices, run):
    path = next(devices.glob("sda1/accounts/4/142/*/*.db"))
    conn = sqlite3.connect(path)
    conn.execute(
        f"UPDATE account_stat SET delete_timestamp = '1800000000.00000', container_count = {containers}"
    )
    conn.commit()
    conn.close()
    assert f"  Deleted: {shown}\n" in run("swift-account-info", "-d", str(ETC), str(path)).stdout
