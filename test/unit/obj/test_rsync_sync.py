"""rsync as it is called, and what is made of what it says."""

import stat

import pytest
from obj_app import Log

from swift.core.concurrency import sleep, spawn
from swift.core.errors import ConfigError
from swift.obj.replication.rsync_sync import RsyncOptions, command, module_of, run

NODE = {
    "ip": "10.0.0.1",
    "port": 6200,
    "replication_ip": "10.1.0.1",
    "replication_port": 6210,
    "region": 2,
    "zone": 3,
    "device": "sdb1",
    "meta": "",
}


@pytest.mark.parametrize(
    "template, module",
    [
        ("{replication_ip}::object", "10.1.0.1::object"),
        ("{ip}::object_{device}", "10.0.0.1::object_sdb1"),
        ("rsync://{replication_ip}/object{replication_port}", "rsync://10.1.0.1/object6210"),
        ("{region}-{zone}::{meta}", "2-3::"),
    ],
)
def test_modules(template, module):
    assert module_of(template, NODE) == module


def test_addresses_of_version_6_stand_in_brackets():
    assert module_of("{replication_ip}::object", {**NODE, "replication_ip": "fe80::1"}) == "[fe80::1]::object"


@pytest.mark.parametrize(
    "template, named",
    [("{x}::object", "'x'"), ("{}::object", "''"), ("{device.__class__}", "device.__class__"), ("{", "")],
)
def test_bad_modules(template, named):
    with pytest.raises(ConfigError, match=f"Cannot interpolate rsync_module.*({named})"):
        RsyncOptions({"rsync_module": template})


def test_the_command_line():
    options = RsyncOptions({"rsync_io_timeout": "7", "rsync_bwlimit": "100", "rsync_module": "{ip}::object/"})
    args = command(options, "/srv/node/sda/objects-1/17", ["abc", "def"], NODE, False)
    assert args == [
        "rsync", "--recursive", "--whole-file", "--human-readable", "--xattrs", "--itemize-changes", "--ignore-existing",
        "--timeout=7", "--contimeout=7", "--bwlimit=100", "--exclude=.*.[0-9a-zA-Z][0-9a-zA-Z][0-9a-zA-Z][0-9a-zA-Z][0-9a-zA-Z][0-9a-zA-Z]",
        "/srv/node/sda/objects-1/17/abc", "/srv/node/sda/objects-1/17/def", "10.0.0.1::object/sdb1/objects-1/17",
    ]  # fmt: skip
    assert "--compress" in command(options, "/srv/node/sda/objects/17", ["abc"], NODE, True)


@pytest.fixture
def program(tmp_path):
    """Write a script that stands for rsync; returns its command line."""

    def make(text):
        path = tmp_path / "rsync"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return [str(path), "SOURCE", "TARGET"]

    return make


def test_success(program):
    log = Log()
    assert run(RsyncOptions({}), program("echo 'cd+++++++++ abc'; echo '<f+++++++++ abc/x'"), log)
    assert "debug: <f+++++++++ abc/x" in log.lines
    assert not any("cd++" in line for line in log.lines)
    assert any(line.startswith("info: Successful rsync of SOURCE to TARGET (") for line in log.lines)


def test_transfers_need_not_be_logged(program):
    log = Log()
    assert run(RsyncOptions({"log_rsync_transfers": "no"}), program("echo '<f+++++++++ abc/x'"), log)
    assert [line.split(":")[0] for line in log.lines] == ["debug"]


def test_failure(program):
    log = Log()
    options = RsyncOptions({"rsync_error_log_line_length": "20"})
    assert not run(options, program("echo 'rsync: something very long went wrong'; exit 23"), log)
    assert log.lines == ["error: rsync: something ver", "error: Bad rsync return cod"]


def test_one_that_takes_too_long_is_killed(program):
    log = Log()
    assert not run(RsyncOptions({"rsync_timeout": "0.3"}), program("exec sleep 60"), log)
    assert any("Killing long-running rsync after 0.3s" in line for line in log.lines)


def test_none_at_all():
    log = Log()
    assert not run(RsyncOptions({}), ["/nonexistent/rsync"], log)
    assert len(log.lines) == 1


def test_others_go_on_meanwhile(program):
    ticks = []

    def tick():
        while True:
            ticks.append(1)
            sleep(0.01)

    ticking = spawn(tick)
    run(RsyncOptions({}), program("sleep 0.3"), Log())
    ticking.kill()
    assert len(ticks) > 3


def test_a_talkative_one_fills_no_memory(program):
    log = Log()
    assert run(RsyncOptions({}), program("yes '<f+++++++++ abc/x' | head -c 3000000"), log)
    assert len(log.lines) < 5000
