"""swift-recon and swift-status against running servers."""

import json
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = os.environ.get("REFERENCE_BIN", "")


def run(command, *words):
    done = subprocess.run(
        [sys.executable, ROOT / "bin" / command, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_cluster_on_one_screen(cluster):
    etc = cluster.layout.etc
    found = json.loads(run("swift-status", "-d", etc, "--timeout=30", "--within=100", "--json").stdout)
    for kind, servers in found["servers"].items():
        assert servers["hosts"] and not servers["away"] and not servers["without_recon"], kind
    assert len(found["versions"]) == 1
    assert not found["rings"]["other"] and not found["swift_conf"]["other"]
    assert found["disks"]["counted"] and not found["disks"]["not_mounted"]
    assert not [
        one
        for one in found["findings"]
        if one["level"] == "danger" and "full" not in one["text"] and "above" not in one["text"]
    ]
    screen = run("swift-status", "-d", etc, "--timeout=30", "--within=100")
    assert screen.returncode in (0, 1, 2) and screen.stdout.startswith(f"Cluster of {etc} at ")


def test_the_command_and_the_console_judge_alike(cluster):
    """They ask at different times, so what goes by and figures in what is said may differ."""
    spoilt = cluster.device(1) / "quarantined" / "objects" / "0123456789abcdef0123456789abcdef"
    spoilt.mkdir(parents=True)
    token = {"X-Auth-Token": cluster.authenticate("admin:admin", "admin")}
    try:
        end = time.monotonic() + 90
        while True:
            words = ("-d", cluster.layout.etc, "--timeout=30", "--within=100", "--json")
            command = _sayings(json.loads(run("swift-status", *words).stdout))
            console = _sayings(json.loads(cluster.raw("GET", "/console/operator/nodes", headers=token).body))
            if command == console or time.monotonic() > end:
                break
            time.sleep(6)
    finally:
        spoilt.rmdir()
    assert command == console
    assert any("in quarantine" in text for _, text, _ in command)


def _sayings(told):
    """(level, text, what to do) of each finding; what only one of them can know is left out."""
    texts = [
        (one["level"], re.sub(r"[0-9.]+[a-z]*", "N", one["text"]), one["do"]) for one in told["findings"]
    ]
    return [text for text in texts if "this proxy" not in text[1] and "slow to answer" not in text[1]]


def test_every_check_of_swift_recon_is_answered(cluster):
    for kind in ("account", "container", "object"):
        done = run("swift-recon", kind, "--all", "-v", "--timeout=30", f"--swiftdir={cluster.layout.etc}")
        assert done.returncode == 0 and not done.stderr
        for word in ("HTTP Error", "urlopen error", "timed out", "!!", "Invalid"):
            assert word not in done.stdout, done.stdout


def test_limits_for_monitoring(cluster):
    words = ("--timeout=30", f"--swiftdir={cluster.layout.etc}")
    well = run("swift-recon", "--check", "ringmd5,swiftconf,servers,versions,time=60", *words)
    assert (well.returncode, well.stdout.partition(" - ")[0]) == (0, "SWIFT OK"), well.stdout
    ill = run("swift-recon", "--check", "diskusage=0", *words)
    assert (ill.returncode, ill.stdout.partition(" - ")[0]) == (2, "SWIFT CRITICAL"), ill.stdout


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference")
@pytest.mark.parametrize("kind", ["account", "container", "object"])
def test_the_reference_asks_ours_and_says_the_same(cluster, kind):
    checks = (
        "-r",
        "-R",
        "--auditor",
        "--updater",
        "--expirer",
        "--sharding",
        "-u",
        "-q",
        "--driveaudit",
        "--swift-versions",
        "--validate-servers",
    )
    for check in checks:
        told = []
        for bin in (REFERENCE, sysconfig.get_path("scripts")):
            done = subprocess.run(
                [os.path.join(bin, "swift-recon"), kind, check, f"--swiftdir={cluster.layout.etc}"],
                capture_output=True,
                text=True,
                timeout=120,
            )
            told.append(
                [
                    line.partition(":")[0]
                    for line in sorted(done.stdout.splitlines())
                    if not line.startswith("[2")
                ]
            )
        assert told[0] == told[1], check
