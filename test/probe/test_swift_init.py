"""swift-init against small scripts that stand for the servers: texts, pid files, exit codes."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from servers import ROOT, environment, wait_until

OBEDIENT = """#!/bin/bash
echo "$0 $@" >> {log}
[ "$2" = once ] && exit 0
exec 1>&- 2>&-
while :; do sleep 0.05; done
"""
STUBBORN = OBEDIENT.replace("exec", "trap '' TERM HUP\nexec")
TALKATIVE = "#!/bin/bash\necho it is wrong: $@\nexit 3\n"
SILENT = "#!/bin/bash\nexit 4\n"


class Init:
    def __init__(self, directory):
        self.etc = directory / "etc"
        self.run_dir = directory / "run"
        self.bin = directory / "bin"
        self.log = directory / "log"
        self.log.write_text("")
        for path in (self.etc, self.bin):
            path.mkdir()
        self.started = []

    def command(self, name, script=OBEDIENT):
        path = self.bin / f"swift-{name}"
        path.write_text(script.format(log=self.log))
        path.chmod(0o755)

    def conf(self, *names):
        for name in names:
            path = self.etc / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")

    def __call__(self, *words, expect=0):
        env = environment()
        env["PATH"] = f"{self.bin}:/usr/bin:/bin"
        done = subprocess.run(
            [sys.executable, str(ROOT / "bin/swift-init"), *words, "-r", str(self.run_dir), "--swift-dir", str(self.etc)],
            env=env, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        assert done.stderr == ""
        assert done.returncode == expect, done.stdout
        lines = [line for line in done.stdout.splitlines() if "Unable to modify" not in line]
        text = "\n".join(lines).replace(str(self.etc), "ETC").replace(str(self.run_dir), "RUN")
        for path in self.run_dir.rglob("*.pid*"):
            if path.read_text().strip().isdigit():
                self.started.append(int(path.read_text()))
        return re.sub(r"\b\d{3,}\b", "PID", text).rstrip("\n").splitlines()

    def pids(self):
        return {
            str(path.relative_to(self.run_dir)): int(path.read_text())
            for path in self.run_dir.rglob("*.pid*")
        }

    def clean_up(self):
        for pid in self.started:
            try:
                if b"swift-" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


@pytest.fixture
def init(tmp_path):
    made = Init(tmp_path)
    yield made
    made.clean_up()


def test_one_server_from_start_to_stop(init):
    init.command("object-server")
    init.conf(
        "object-server/1.conf",
        "object-server/2.conf",
        "object-server/x/3.conf",
        "object-server/4.conf.d/a.conf",
    )
    paths = ["1.conf", "2.conf", "4.conf.d", "x/3.conf"]
    assert init("object", "start") == [
        f"Starting object-server...(ETC/object-server/{path})" for path in paths
    ]
    assert sorted(init.pids()) == [
        f"object-server/{path}" for path in ("1.pid", "2.pid", "4.pid.d", "x/3.pid")
    ]
    running = [f"object-server running (PID - ETC/object-server/{path})" for path in paths]
    assert init("object-server", "status") == running
    assert init("object", "start", expect=1) == [*running, "object-server already started..."]
    assert init("object.1", "status") == running[:1]
    assert init("object", "status", "-c", "2") == running[1:2]
    assert init("object", "stop", "-c", "2") == [
        "Signal object-server  pid: PID  signal: 15", "object-server (PID) appears to have stopped",
    ]  # fmt: skip
    assert init("object", "status", "-c", "2", expect=1) == [
        "object-server #2 not running (ETC/object-server/2.conf)"
    ]
    assert init("object.1", "object.2", "status", expect=1) == [running[0], "No object-server running"]
    assert init("start", "object.2") == ["Starting object-server...(ETC/object-server/2.conf)"]
    assert len(init("object", "stop")) == 8
    assert init.pids() == {}
    assert init("object", "stop", expect=1) == ["No object-server running"]
    assert init("object", "kill") == ["No object-server running"] * 2
    started = sorted(line.rpartition("swift-object-server ")[2] for line in init.log.read_text().splitlines())
    assert started == [f"{init.etc}/object-server/{path}" for path in sorted([*paths, "2.conf"])]


def test_daemons_share_configurations_with_their_server(init):
    init.command("object-updater")
    init.command("object-server")
    init.conf("object-server.conf", "object-server.txt")
    assert init("object-updater", "start") == ["Starting object-updater...(ETC/object-server.conf)"]
    assert list(init.pids()) == ["object-updater.pid"]
    assert init("object-updater", "reload") == [
        "Signal object-updater  pid: PID  signal: 15", "object-updater (PID) appears to have stopped",
        "Starting object-updater...(ETC/object-server.conf)",
    ]  # fmt: skip
    assert init("object-updater", "kill")[0] == "Signal object-updater  pid: PID  signal: 15"
    assert init("object-updater", "once") == ["Running object-updater once...(ETC/object-server.conf)"]
    assert init.log.read_text().splitlines()[-1].endswith("object-server.conf once")
    assert init("object", "once") == ["Starting object-server...(ETC/object-server.conf)"]


def test_signals_of_servers(init):
    init.command("proxy-server")
    init.conf("proxy-server.conf")
    for command, number in (
        ("shutdown", 1),
        ("restart", 15),
        ("reload", 1),
        ("force-reload", 1),
        ("stop", 15),
    ):
        init("proxy", "start", expect=1 if command in ("reload", "force-reload", "stop") else 0)
        assert init("proxy", command)[0] == f"Signal proxy-server  pid: PID  signal: {number}"
    init("proxy", "start")
    assert init("proxy", "reload-seamless") == ["Signal proxy-server  pid: PID  signal: 10"]
    wait_until(lambda: not pathlib.Path(f"/proc/{init.started[-1]}").exists())
    assert init("proxy", "reload-seamless", expect=1) == ["No proxy-server running"]
    init("proxy", "start")
    assert init("proxy", "stop", "-g")[0].endswith("signal: 1")


def test_what_does_not_die(init):
    init.command("account-auditor", STUBBORN)
    init.conf("account-server/1.conf")
    init("account-auditor", "start")
    assert init("account-auditor", "stop", "-k", "1", expect=1) == [
        "Signal account-auditor  pid: PID  signal: 15", "Waited 1 seconds for account-auditor to die; giving up",
    ]  # fmt: skip
    assert init("account-auditor", "stop", "-k", "1", "--kill-after-timeout", expect=1) == [
        "Signal account-auditor  pid: PID  signal: 15", "Waited 1 seconds for account-auditor to die; killing",
        "Signal account-auditor  pid: PID  signal: 9",
    ]  # fmt: skip
    wait_until(lambda: init("account-auditor", "status", expect=1) == ["No account-auditor running"])


def test_children_that_fail(init):
    init.command("account-auditor", TALKATIVE)
    init.command("account-reaper", SILENT)
    init.conf("account-server/1.conf")
    conf = "ETC/account-server/1.conf"
    assert init("account-auditor", "start", expect=1) == [
        f"Starting account-auditor...({conf})", f"it is wrong: {conf}",
    ]  # fmt: skip
    assert init("account-auditor", "once", expect=1)[1:] == [f"it is wrong: {conf} once"]
    assert init("account-auditor", "no-daemon", expect=1)[1:] == [f"it is wrong: {conf} verbose"]
    init("account-reaper", "once", expect=1)
    assert init("account-auditor", "no-wait") == [f"Starting account-auditor...({conf})"]


def test_pid_files_of_others_never_get_anybody_killed(init):
    init.command("proxy-server")
    init.conf("proxy-server.conf")
    init.run_dir.mkdir()
    pid_file = init.run_dir / "proxy-server.pid"
    with subprocess.Popen(["sleep", "600"]) as stranger:
        for command in ("stop", "shutdown", "kill", "reload-seamless"):
            pid_file.write_text(str(stranger.pid))
            init("proxy", command, expect=0 if command == "kill" else 1)
            assert stranger.poll() is None and not pid_file.exists()
        pid_file.write_text(str(stranger.pid))
        assert init("-v", "proxy", "status", expect=1) == [
            "Removing pid file RUN/proxy-server.pid with wrong pid PID", "No proxy-server running",
        ]  # fmt: skip
        stranger.kill()
    pid_file.write_text("garbage")
    assert (
        init("-v", "proxy", "status", expect=1)[0]
        == "Removing pid file RUN/proxy-server.pid with invalid pid"
    )
    pid_file.write_text(str(stranger.pid))
    assert init("-v", "proxy", "status", expect=1)[0] == "Removing stale pid file RUN/proxy-server.pid"


def test_programs_that_are_not_on_the_path_are_named(init):
    said = ["ERROR: not found on the PATH: swift-account-server"]
    assert init("account", "status", expect=1) == said
    assert init("nonesuch", "account", "status", expect=1) == said


def test_missing_configurations(init):
    init.command("proxy-server")
    init.command("object-server")
    init.conf("object-server/1.conf")
    assert init("main", "start") == [
        "Unable to locate config for proxy-server", "Starting object-server...(ETC/object-server/1.conf)",
    ]  # fmt: skip
    assert init("main", "start", "--strict", expect=1)[0] == "Unable to locate config for proxy-server"
    assert init("proxy", "start", expect=1) == ["Unable to locate config for proxy-server"]
    assert init("proxy", "start", "--non-strict") == ["Unable to locate config for proxy-server"]
    assert init("-v", "object", "start", "-c", "9", expect=1) == [
        "Unable to locate config number 9 for object-server", "Found configs:", "  1) ETC/object-server/1.conf",
    ]  # fmt: skip
    assert init("object.2", "start", expect=1) == ["Unable to locate config for object-server"]
    assert init("nonesuch", "start", expect=1) == ["ERROR: there is no server named nonesuch"]
    assert init("obj*", "status") == ["object-server running (PID - ETC/object-server/1.conf)"]


def test_the_expirer_finds_its_section(init):
    init.command("object-expirer")
    init.conf("object-expirer.conf", "object-server/1.conf", "object-server/2.conf")
    assert init("object-expirer", "start") == [
        "WARNING: object-expirer.conf is deprecated. Move object-expirers' configuration into object-server.conf.",
        "Starting object-expirer...(ETC/object-expirer.conf)",
    ]  # fmt: skip
    assert list(init.pids()) == ["object-expirer.pid"]
    assert init("object-expirer", "stop")[-1] == "object-expirer (PID) appears to have stopped"
    (init.etc / "object-server/2.conf").write_text("[object-expirer]\n")
    assert init("object-expirer", "start") == ["Starting object-expirer...(ETC/object-server/2.conf)"]
    assert list(init.pids()) == ["object-expirer/2.pid"]


def test_the_reconciler_has_its_own_file(init):
    init.command("container-reconciler")
    init.conf("container-server.conf", "container-reconciler.conf")
    assert init("container-reconciler", "start") == [
        "Starting container-reconciler...(ETC/container-reconciler.conf)"
    ]
    assert init("container-reconciler", "status") == [
        "container-reconciler running (PID - ETC/container-reconciler.conf)"
    ]
    assert list(init.pids()) == ["container-reconciler.pid"]


def test_help_and_errors(init):
    assert init("-h")[0].startswith("Usage: swift-init <server>[.<config>]")
    assert init("foo", expect=1)[-1] == "ERROR: specify server(s) and command"
    assert init("proxy", "foo", expect=1)[-1] == "ERROR: unknown command, foo"


def test_only_the_standard_library_is_imported():
    script = "import sys; import swift.cli.init; print([m for m in sys.modules if m.startswith('eventlet') or m.startswith('swift.core') and m not in ('swift.core', 'swift.core.clock')])"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n"
