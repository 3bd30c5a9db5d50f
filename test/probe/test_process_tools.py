"""swift-reload, swift-oldies and swift-orphans on real processes."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from servers import ROOT, Server, environment, wait_until


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    yield made
    made.stop()


def run(name, *words):
    return subprocess.run(
        [sys.executable, str(ROOT / f"bin/swift-{name}"), *words],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_reload(server):
    server.start()
    server.write_conf(generation="2")
    done = run("reload", str(server.pid), "-v")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Checking config for swift-proxy-server", "Sending USR1 signal", "Process is RELOADING", "Process is READY",
        "Reloaded swift-proxy-server",
    ]  # fmt: skip
    wait_until(lambda: server.generation() == "2")  # old workers answer the connections that they still have
    server.write_conf(generation="3")
    done = run("reload", str(server.pid), "--no-wait")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_until(lambda: server.generation() == "3")


def test_reload_refuses_a_bad_configuration(server):
    server.start()
    server.write_conf(refuse="yes")
    done = run("reload", str(server.pid))
    assert done.returncode == 1 and done.stderr == "Failed to validate config\n"
    assert server.generation() == "1"


def test_reload_refuses_other_processes(server):
    server.start()
    worker = server.workers()[0]
    for pid, text in (
        (2**22 + 1, "Failed to get process information for "),
        (os.getpid(), "Non-swift process: "),
        (
            worker,
            f"Process appears to be a swift-proxy-server worker, not a manager. Did you mean {server.pid}?",
        ),
    ):
        done = run("reload", str(pid))
        assert done.returncode == 2 and done.stderr.startswith(text)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"\0swift-notifications\0{server.pid}")
        done = run("reload", str(server.pid))
        assert done.returncode == 1 and done.stderr.startswith("Could not bind notification socket: ")


def test_reload_gives_up(server):
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        done = run("reload", str(server.pid), "-t", "0.2")
        assert (done.returncode, done.stderr) == (238, "Timed out reloading swift-proxy-server\n")
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def toy(tmp_path):
    """A process that looks like one of ours."""
    path = tmp_path / "swift-toy-daemon"
    path.write_text("import time\ntime.sleep(600)\n")
    with subprocess.Popen([sys.executable, str(path), "x" * 100]) as process:
        yield process
        process.kill()


def test_oldies(toy):
    assert str(toy.pid) in run("oldies", "-a", "0", "-p").stdout.split()
    lines = run("oldies", "-a", "0").stdout.splitlines()
    assert lines[0].split() == ["Hours", "PID", "Command"]
    line = next(line for line in lines if line.split()[1] == str(toy.pid))
    assert line.split()[:3:2] == ["0", "toy-daemon"] and len(line) == 80
    assert str(toy.pid) not in run("oldies").stdout.split()


def test_orphans(toy, tmp_path):
    def listed(*words):
        return str(toy.pid) in run("orphans", "-a", "0", "-r", str(tmp_path), *words).stdout.split()

    assert listed()
    assert "x" * 100 in run("orphans", "-a", "0", "-r", str(tmp_path), "-w").stdout
    (tmp_path / "sub").mkdir()
    for pid in (toy.pid, os.getpid()):
        (tmp_path / "sub" / "1.pid.d").write_text(str(pid))
        assert not listed()
    (tmp_path / "sub" / "1.pid.d").write_text("rubbish")
    assert listed()
    done = run("orphans", "-a", "0", "-r", str(tmp_path), "-k", "FOO")
    assert done.returncode == 1 and done.stdout.endswith("\nCould not translate 'FOO' to a signal number.\n")
    assert not listed("-a", "1")


def test_orphans_are_signalled(tmp_path, monkeypatch, capsys):
    """In this process, restricted to one victim: nobody else's processes are to be hit."""
    from swift.cli import orphans

    path = tmp_path / "swift-toy-daemon"
    path.write_text("import time\ntime.sleep(600)\n")
    with subprocess.Popen([sys.executable, str(path)]) as victim:
        every = orphans.all_processes
        monkeypatch.setattr(orphans, "all_processes", lambda: [p for p in every() if p.pid == victim.pid])
        assert orphans.main(["-a", "0", "-r", str(tmp_path), "-k", "sigterm"]) == 0
        assert victim.wait(60) == -signal.SIGTERM
    assert capsys.readouterr().out.endswith("Sending processes sigterm (15) signal...Done.\n")
