"""swift-object-relinker as a command: options, configuration, exit status."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from swift.ring.builder import RingBuilder

DIGEST = "2f" + "0" * 30  # partition 2 of 16, 5 of 32
LINKED = f"d/sda/objects/5/000/{DIGEST}/1700000000.00000.data"
BIN = pathlib.Path(__file__).parents[3] / "bin"


@pytest.fixture
def node(tmp_path):
    (tmp_path / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = x\n[storage-policy:0]\nname = gold\ndefault = yes\n"
        "[storage-policy:1]\nname = silver\n"
    )
    (tmp_path / "d" / "sda").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "relinker.conf").write_text(
        f"[object-relinker]\nswift_dir = {tmp_path}\ndevices = {tmp_path}/d\nmount_check = false\n"
        f"recon_cache_path = {tmp_path}/cache\nlog_file = {tmp_path}/log\nworkers = 0\n"
    )
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(
        {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": 6200, "device": "sda", "weight": 1.0,
         "replication_ip": "127.0.0.1", "replication_port": 6200, "meta": ""}
    )  # fmt: skip
    builder.rebalance()
    for name in "object", "object-1":
        builder.get_ring().save(str(tmp_path / f"{name}.ring.gz"))
    builder.prepare_increase_partition_power()
    builder.get_ring().save(str(tmp_path / "object.ring.gz"))
    (tmp_path / "d/sda/objects/2/000" / DIGEST).mkdir(parents=True)
    (tmp_path / "d/sda/objects/2/000" / DIGEST / "1700000000.00000.data").write_text("x")
    return tmp_path


@pytest.fixture
def command(node):
    def run(*words):
        return subprocess.run(
            [sys.executable, str(BIN / "swift-object-relinker"), *words],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(BIN.parent)},
        )

    return run


def test_without_a_configuration(node, command):
    words = ["--swift-dir", str(node), "--devices", str(node / "d"), "--skip-mount-check", "--workers", "0"]
    done = command("relink", *words)
    assert (done.returncode, done.stdout) == (0, "")
    assert "[step=relink] Starting relinker using 0 workers: " in done.stderr
    assert "[step=relink] Device: sda Policy: gold Partitions: 1/1\n" in done.stderr
    assert "[step=relink] 1 hash dirs processed (1 files, 1 linked, 0 removed, 0 errors)\n" in done.stderr
    assert (node / LINKED).exists()
    log = node / "plain.log"
    done = command("relink", *words, "--logfile", str(log), "--policy", "GOLD", "--policy", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 hash dirs processed" in log.read_text()
    assert command("cleanup", *words).returncode == 2
    assert command("relink", *words, "--policy", "silver").returncode == 2
    assert command("relink", *words[:4]).returncode == 1  # not mounted


def test_with_a_configuration(node, command):
    done = command("relink", str(node / "relinker.conf"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (node / LINKED).exists()
    assert "object-relinker: [step=relink] Finished relinker" in (node / "log").read_text()
    recon = json.loads((node / "cache" / "relinker.recon").read_text())
    assert recon["devices"]["sda"]["stats"]["linked"] == 1


def test_the_command_line_counts_for_more(node, command):
    done = command("relink", str(node / "relinker.conf"), "--devices", str(node / "nowhere"))
    assert done.returncode == 1
    assert "Error listing" in (node / "log").read_text()
    assert not (node / LINKED).exists()


@pytest.mark.parametrize(
    "words",
    [[], ["up"], ["relink", "-p", "x"], ["relink", "-p", "-1"], ["relink", "--files-per-second", "-1"],
     ["relink", "--workers", "-1"], ["relink", "--workers", "many"], ["relink", "--policy", "lead"],
     ["relink", "--stats-interval", "0"], ["relink", "--nonsense"]],
)  # fmt: skip
def test_what_is_no_option(node, command, words):
    done = command(*words, *(["--swift-dir", str(node)] if words else []))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_no_such_configuration(node, command):
    done = command("relink", str(node / "missing.conf"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    done = command("relink", "--swift-dir", str(node / "missing"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
