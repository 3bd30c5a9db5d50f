"""swift-recon-cron: what it counts, and that there are never two at once."""

from __future__ import annotations

import fcntl
import json

import pytest

from swift.cli import recon_cron


@pytest.fixture
def node(tmp_path):
    for name in (
        "node/sdb1/async_pending/abc",
        "node/sdb1/async_pending-1/ab1",
        "node/sdb1/async_pendings/abc",
        "node/sdb2",
        "cache",
        "lock",
    ):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "async_pending/abc/1",
        "async_pending/abc/2",
        "async_pending-1/ab1/3",
        "async_pending/stray",
        "async_pendings/abc/4",
    ):
        (tmp_path / "node/sdb1" / name).touch()
    (tmp_path / "node/file").touch()
    (tmp_path / "o.conf").write_text(
        f"[DEFAULT]\ndevices = {tmp_path}/node\n[filter:recon]\nrecon_cache_path = {tmp_path}/cache\nrecon_lock_path = {tmp_path}/lock\n"
    )
    return tmp_path


def test_updates_of_all_disks_and_policies_are_counted(node):
    (node / "cache/object.recon").write_text('{"expired_last_pass": 3}\n')
    assert recon_cron.main([str(node / "o.conf")]) == 0
    found = json.loads((node / "cache/object.recon").read_text())
    assert (
        found["async_pending"] == 3 and found["async_pending_last"] > 1e9 and found["expired_last_pass"] == 3
    )


def test_one_at_a_time_the_references_among_them(node, monkeypatch, capsys):
    monkeypatch.setattr(recon_cron, "LOCK_SECONDS", 0.01)
    folder = node / "lock/swift-recon-object-cron"
    folder.mkdir()
    with open(folder / ".lock", "w") as lock:  # where the reference has it
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert recon_cron.main([str(node / "o.conf")]) == 1
    assert capsys.readouterr().out.startswith(
        "Exception during recon-cron while accessing devices: no lock on "
    )
    assert not (node / "cache/object.recon").exists()
    assert recon_cron.main([str(node / "o.conf")]) == 0


@pytest.mark.parametrize("what", ["node", "cache"])
def test_nothing_is_told_of_what_could_not_be_counted(node, what, capsys):
    (node / what).rename(node / "away")
    assert recon_cron.main([str(node / "o.conf")]) == 1
    told = capsys.readouterr().out
    assert told.startswith("Exception during recon-cron while accessing devices: ") and told.count("\n") == 1


def test_bad_use(node, capsys):
    assert recon_cron.main([]) == 1
    assert (
        capsys.readouterr().out
        == "Usage: swift-recon-cron CONF_FILE\nex: swift-recon-cron /etc/swift/object-server.conf\n"
    )
    assert recon_cron.main(["--help"]) == 0
    assert "Exit status" in capsys.readouterr().out
    (node / "p.conf").write_text("[DEFAULT]\n")
    for words, line in (
        ([str(node / "none.conf")], "Unable to read config from "),
        ([str(node / "p.conf")], "Unable to find filter:recon config section in "),
        (["--frob"], "swift-recon-cron: error: what is --frob?"),
        (["a", "b"], "swift-recon-cron: error: what is b?"),
    ):
        assert recon_cron.main(words) == 1
        told = capsys.readouterr().err
        assert told.startswith(line) and told.count("\n") == 1
