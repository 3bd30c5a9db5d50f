"""What a machine gets besides the code: units of systemd, as they are made and as it understands them; a compose file; completion."""

import fnmatch
import http.server
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import threading

import pytest
import yaml

from swift.deploy import described, services
from swift.run.daemon import YIELDING

ROOT = pathlib.Path(__file__).resolve().parents[3]
UNITS = ROOT / "etc/systemd"
MADE = runpy.run_path(str(ROOT / "packaging/units.py"))


def test_units_are_those_that_are_made():
    """packaging/units.py was run after its last change, and nobody has edited what it writes."""
    made = MADE["files"]()
    assert {name: (UNITS / name).read_text() for name in made} == made
    assert {path.name for path in UNITS.iterdir()} == set(made)


def test_the_description_of_a_cluster_knows_the_same_daemons():
    assert set(MADE["DAEMONS"]) == set(described.DAEMONS)
    assert set(MADE["SERVERS"]) == set(services.SERVERS)


def test_what_processes_share_outlives_a_unit():
    """A unit that stops must not take away what the others of its user have in /dev/shm, or have a /dev/shm of its own."""
    for path in UNITS.glob("*.service"):
        assert not re.search("RemoveIPC=yes|PrivateIPC=yes|^DynamicUser", path.read_text(), re.MULTILINE), (
            path
        )


def test_units_leave_clients_the_processors_where_their_daemons_do():
    """Else systemd gives what repairs a share as large as that of the servers, whatever its own priority is."""
    yielding = {
        path.name for path in UNITS.glob("*.service") if "\nCPUWeight=20\nIOWeight=20\n" in path.read_text()
    }
    assert yielding == {f"swift-{name}{ending}.service" for name in YIELDING for ending in ("", "@")}
    assert set(MADE["DAEMONS"]) > YIELDING > {"container-sharder", "object-replicator"}


def test_no_sandbox_takes_away_what_makes_it_fast():
    """systemd's RestrictSUIDSGID has openat2 fail, LogsDirectory gives all logs to the group of the service at each start."""
    for path in UNITS.glob("*.service"):
        assert not re.search("^(RestrictSUIDSGID|LogsDirectory)=", path.read_text(), re.MULTILINE), path


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
def test_systemd_takes_them(tmp_path):
    for path in UNITS.iterdir():
        text = re.sub(r"(?m)^(Exec\w+)=swift-\S+", r"\1=/bin/true", path.read_text())
        (tmp_path / path.name).write_text(re.sub("(?m)^(Documentation|User)=.*\n", "", text))
    units = [str(path).replace("@.", "@1.") for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    about_ours = [line for line in done.stderr.splitlines() if "swift" in line]
    assert (done.returncode, about_ours) == (0, []), done.stderr


def test_nobody_is_told_to_disable_by_a_pattern():
    """systemctl takes patterns for units that run, and not for those that are enabled: they would be there again."""
    for path in (*ROOT.glob("doc/*.md"), *ROOT.glob("packaging/**/*"), *ROOT.glob("swift/deploy/*.py")):
        if path.is_file():
            assert "systemctl start swift.target" not in path.read_text(), (
                path
            )  # nothing is enabled that it would start
            assert not re.search(r"systemctl (?:disable|enable)(?: --now)? [^\n;&|(]*\*", path.read_text()), (
                path
            )


def test_the_pattern_of_an_upgrade_is_that_of_daemons():
    """Servers are reloaded and not started anew, which would cut off what they do."""
    line = next(
        line for line in (ROOT / "doc/deploy.md").read_text().splitlines() if "try-reload-or-restart" in line
    )
    reloaded, restarted = (re.findall(r'"([^"]+)"', part) for part in line.split("try-restart"))

    def meant(patterns):
        return {
            name
            for name in (*MADE["SERVERS"], *MADE["DAEMONS"])
            if any(fnmatch.fnmatchcase(f"swift-{name}.service", pattern) for pattern in patterns)
        }

    assert meant(reloaded) == set(MADE["SERVERS"]) and meant(restarted) == set(MADE["DAEMONS"])


def compose():
    return yaml.safe_load((ROOT / "packaging/oci/compose.yaml").read_text())["services"]


def test_containers_stop_by_the_signal_that_they_take_for_an_end():
    found = compose()
    assert set(found) == {*MADE["SERVERS"], *MADE["DAEMONS"]}
    for name, service in found.items():
        assert (service.get("stop_signal") == "SIGTERM") == (name in MADE["DAEMONS"]), name


def test_containers_run_what_is_installed_with_files_that_nodes_have():
    """The command of a unit, word for word, and a file that the description of a cluster makes for the service."""
    for name, service in compose().items():
        command, conf = service["command"].split()
        assert (ROOT / "bin" / command).exists()
        assert f"\nExecStart={command} {conf}\n" in (UNITS / f"swift-{name}.service").read_text(), name
        assert conf.removeprefix("/etc/swift/") in services.files_of(name)


def test_containers_of_a_node_are_no_strangers_to_one_another():
    """What they have in common in memory and beside recon files is told apart by numbers of processes: those of one namespace."""
    for name, service in compose().items():
        assert (service["pid"], service["ipc"], service["network_mode"]) == ("host", "host", "host"), name
        assert not service.get("init"), f"{name}: its main process is the container's, as swift-reload has it"
        assert "cache:/var/cache/swift" in service["volumes"]
        assert any(volume.endswith(":/srv/node:rslave") for volume in service["volumes"]), (
            f"{name} would not see disks that are mounted later, and would hold those that are unmounted"
        )


def test_containers_leave_clients_the_processors_where_units_do():
    assert {name for name, service in compose().items() if "cpu_shares" in service} == YIELDING


@pytest.mark.parametrize("conf", ["bind_ip = 127.0.0.1\n", "bind_ip = 0.0.0.0\n", ""])
def test_a_container_is_asked_where_it_listens(tmp_path, conf):
    found = compose()
    _, program, option, script = found["proxy-server"]["healthcheck"]["test"]
    assert (program, option) == ("python3", "-c")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        path = tmp_path / "proxy-server.conf"
        path.write_text(f"[DEFAULT]\n{conf}bind_port = {server.server_port}\n[app:x]\nkey = 100%\n")
        server.timeout = 30
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-c", script.replace("/etc/swift/proxy-server.conf", str(path))],
            capture_output=True,
            text=True,
        )
        thread.join()
    assert "HTTP Error 404" in done.stderr  # it was asked


def test_bash_completes_every_command():
    names = sorted(path.name for path in (ROOT / "bin").glob("swift-*"))
    script = f"source {ROOT}/etc/completions/swift.bash; complete -p {' '.join(names)}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stderr == ""
    assert set((ROOT / "etc/completions/_swift").read_text().split("\n")[0].split()[1:]) == set(names)
