"""The Debian package on a machine that systemd has booted: its units, their sandbox, reloads, logs; upgrade, removal, purge."""

import json
import os
import pathlib
import re
import subprocess
import threading
import time

import booted
import pytest

from test import deployed, network
from test.network import Network

pytestmark = pytest.mark.booted
DISKS = ("sdb1", "sdb2", "sdb3")
SERVERS = ("proxy", "account", "container", "object")
DESCRIPTION = """
[cluster]
name = "store"
part_power = 5
few_zones = true
signing = "require"
[policies.gold]
index = 0
default = true
[policies.ec21]
index = 1
type = "erasure_coding"
data = 2
parity = 1
[users]
"test:tester" = {{ groups = ".admin" }}
[defaults]
disks = {{ {disks} }}
[options.proxy-server.DEFAULT]
workers = 2
log_file = "/var/log/swift/proxy.log"
[options.account-server.DEFAULT]
workers = 1
[options.container-server.DEFAULT]
workers = 1
[options.object-server.DEFAULT]
workers = 1
[nodes.s1]
address = "{address}"
zone = 1
"""


class OneMachine(deployed.Deployed):
    """A machine that systemd has booted, with three disks, and the desk from which it is deployed."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home, self.desk, self.nodes, self.token = home, home / "desk", ("s1",), ""
        self.network = Network({"s1": 1, "desk": 100})
        self.machine = booted.Machine(home / "s1", "s1", self.network._path("s1"))

    def __enter__(self):
        self.desk.mkdir()
        self.network.__enter__()
        try:
            self.machine.__enter__()
        except BaseException:
            self.network.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.machine.__exit__()
        self.network.__exit__()

    def way(self) -> str:
        return " ".join(self.machine.command("env", "NODE={node}", "sh", "-c"))

    def logs(self) -> str:
        return self.machine.journal("--unit=swift*")

    def install(self, package: str) -> str:
        name = os.path.basename(package)
        with open(package, "rb") as file:
            subprocess.run(self.machine.command("sh", "-c", f"cat > /root/{name}"), stdin=file, check=True)
        apt = "DEBIAN_FRONTEND=noninteractive apt-get install -y --allow-downgrades"
        return self.machine.run(f"{apt} /root/{name} 2>&1; rm /root/{name}")

    def mount_disks(self) -> None:
        for name in DISKS:
            self.machine.add_disk(name, "/srv/node")

    def services(self) -> list[str]:
        manifest = json.loads(self.machine.run("cat /etc/swift/cluster.json"))
        return [f"swift-{name}.service" for name in manifest["services"]]

    def state(self, unit: str) -> tuple[str, str, str]:
        active, result, restarts = self.machine.shows(unit, "ActiveState", "Result", "NRestarts")
        return active, result, restarts

    def main(self, unit: str) -> int:
        return int(self.machine.shows(unit, "MainPID")[0])

    def wait_until(self, what, why=""):
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end, f"{why}\n{self.logs()}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    if why := booted.why_not() or network.why_not():
        pytest.skip(why)
    with OneMachine(tmp_path_factory.mktemp("package")) as made:
        made.told = made.install(os.environ["SWIFT_PACKAGE"])
        made.mount_disks()
        text = DESCRIPTION.format(disks=", ".join(f"{name} = 100" for name in DISKS), address=made.ip("s1"))
        (made.desk / "cluster.toml").write_text(text)
        made.pushed = made.shell(
            "swift-cluster apply && swift-cluster push --activate && swift-cluster check"
        )
        made.authenticate(made.shell("swift-cluster show-key test:tester").strip())
        for box, policy in (("gold", "gold"), ("ec", "ec21")):
            assert made.ask("PUT", f"/{box}", headers={"X-Storage-Policy": policy}).status == 201
        yield made


def test_everything_says_that_it_is_ready(store):
    assert "s1: as it should be" in store.pushed
    assert len(store.services()) > 15
    for unit in store.services():
        assert store.machine.shows(unit, "Type", "ActiveState", "SubState", "NRestarts") == [
            "notify",
            "active",
            "running",
            "0",
        ], unit
    assert "0 loaded units" in store.machine.run("systemctl list-units --failed")


def test_objects_of_both_kinds_come_back(store):
    for box in ("gold", "ec"):
        for size in (0, 100, 300_000):
            body = os.urandom(size)
            assert store.ask("PUT", f"/{box}/{size}", body).status == 201
            answer = store.ask("GET", f"/{box}/{size}")
            assert (answer.status, answer.body == body) == (200, True)
    assert store.machine.run("ls /srv/node/sdb1/objects /srv/node/sdb1/objects-1").count("\n") > 4


def test_a_server_that_is_started_answers(store):
    """systemctl returns when it does, and not before."""
    for _ in range(3):
        store.machine.run("systemctl restart swift-proxy-server")
        address = f"http://{store.ip('s1')}:8080/healthcheck"
        assert store.machine.run(f"curl -s -S -f {address}") == "OK"


def test_each_is_shut_in(store):
    """What it writes to, and nothing else; no capability, no new privilege."""
    inside = "nsenter --target {pid} --mount --wd=/ -- setpriv --reuid swift --regid swift --init-groups sh -c '{script}'"
    for unit in store.services():
        pid = store.main(unit)
        status = store.machine.run(f"cat /proc/{pid}/status")
        words = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (
            words["NoNewPrivs"],
            words["Seccomp"],
            int(words["CapBnd"], 16),
            int(words["CapEff"], 16),
        ) == ("1", "2", 0, 0), unit
        assert words["Uid"].split()[0] == store.machine.run("id -u swift").strip(), unit
        places = ["/var/cache/swift", "/var/log/swift", "/run/swift", "/tmp", "/dev/shm"]
        disks = [f"/srv/node/{name}" for name in DISKS]
        has_disks = unit not in ("swift-proxy-server.service", "swift-container-reconciler.service")
        script = "; ".join(f"touch {place}/.try && rm {place}/.try" for place in places + disks * has_disks)
        store.machine.run(inside.format(pid=pid, script=f"set -e; {script}"))
        for place in ["/usr/lib", "/etc/swift", "/var/lib", "/root", *(() if has_disks else disks)]:
            done = store.machine.call("bash", "-c", inside.format(pid=pid, script=f"touch {place}/.try"))
            assert done.returncode and re.search("Read-only file system|Permission denied", done.stderr), (
                unit,
                place,
                done,
            )


def test_nothing_that_it_needs_is_forbidden(store):
    told = store.machine.run("journalctl --no-pager -o cat -u 'swift-*'")
    told += store.machine.run("cat /var/log/swift/*.log")
    for word in (
        "Traceback",
        "Operation not permitted",
        "Read-only file system",
        "Permission denied",
        "EPERM",
        "SECCOMP",
    ):
        assert word not in told, [line for line in told.splitlines() if word in line][:5]


def test_fast_roads_are_open_in_it(store):
    """A ring of the kernel's, and openat2: without them databases are written and read by threads."""
    program = (
        "import os; from swift.db import uring; from swift.engine import openat2; uring._Ring(); "
        "print(openat2.open_cached(openat2.AT_FDCWD, b'/etc/hostname', os.O_RDONLY) > 0)"
    )
    told = store.machine.run("cat /usr/lib/systemd/system/swift-container-server.service")
    options = re.search(r"(?ms)^NoNewPrivileges=.*?^SystemCallErrorNumber=\w+", told)[0].splitlines()
    words = [word for option in options for word in ("-p", option)]
    run = ["systemd-run", "--pipe", "--wait", "--quiet", "-p", "User=swift", *words]
    done = store.machine.call(*run, "/opt/swift-store/bin/python3", "-c", program)
    assert done.stdout == "True\n", done


def test_a_reload_loses_no_request(store):
    """All servers one after the other, several times, while clients write and read."""
    stop, bad, good = threading.Event(), [], []

    def client(number):
        at = 0
        while not stop.is_set():
            at += 1
            path, body = f"/gold/reload-{number}-{at % 7}", b"%d-%d" % (number, at)
            put = store.ask("PUT", path, body)
            got = store.ask("GET", path)
            (good if (put.status, got.status, got.body) == (201, 200, body) else bad).append((put, got))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(3)]
    before = {server: store.main(f"swift-{server}-server") for server in SERVERS}
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            for server in SERVERS:
                store.machine.run(f"systemctl reload swift-{server}-server")
                assert store.state(f"swift-{server}-server")[0] == "active"
        done = len(good)
        store.wait_until(lambda: len(good) > done + 10 or bad)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not bad and good, bad[:3]
    assert {server: store.main(f"swift-{server}-server") for server in SERVERS} == before


def test_a_reload_takes_what_has_changed_and_refuses_what_is_wrong(store):
    conf = "/etc/swift/proxy-server.conf"
    store.machine.run(f"cp {conf} /root/proxy.conf && sed -i 's/^workers = .*/workers = many/' {conf}")
    assert store.machine.status("systemctl", "reload", "swift-proxy-server")
    assert store.state("swift-proxy-server")[0] == "active"
    assert store.ask("GET", "/gold/100").status == 200
    store.machine.run(f"cat /root/proxy.conf > {conf} && sed -i 's/^workers = .*/workers = 3/' {conf}")
    store.machine.run("systemctl reload swift-proxy-server")
    pid = store.main("swift-proxy-server")
    store.wait_until(lambda: len(store.machine.run(f"pgrep -P {pid}").split()) == 3)
    store.machine.run(f"cat /root/proxy.conf > {conf} && systemctl reload swift-proxy-server")
    store.machine.run("systemctl reload swift-object-replicator")  # a daemon: anew in the same process
    assert store.state("swift-object-replicator") == ("active", "success", "0")


@pytest.mark.parametrize(
    "unit", ["swift-object-server.service", "swift-proxy-server.service", "swift-object-updater.service"]
)
def test_what_is_killed_comes_back(store, unit):
    pid = store.main(unit)
    store.machine.run(f"kill -9 {pid}")
    store.wait_until(lambda: store.main(unit) not in (0, pid) and store.state(unit)[0] == "active", unit)
    assert store.state(unit)[2] == "1"
    group = store.machine.shows(unit, "ControlGroup")[0]
    processes = store.machine.run(f"cat /sys/fs/cgroup{group}/cgroup.procs").split()
    assert str(pid) not in processes
    assert store.ask("GET", "/gold/100").status == 200


def test_a_worker_that_is_killed_costs_no_restart(store):
    unit = "swift-proxy-server.service"
    pid, before = store.main(unit), store.state(unit)
    workers = store.machine.run(f"pgrep -P {pid}").split()
    store.machine.run(f"kill -9 {workers[0]}")
    store.wait_until(
        lambda: len(set(store.machine.run(f"pgrep -P {pid}").split()) - {workers[0]}) == len(workers)
    )
    assert (store.main(unit), store.state(unit)) == (pid, before)


def test_logs_go_on_in_a_new_file(store):
    store.ask("GET", "/gold/before-rotation")
    store.machine.run("logrotate --force /etc/logrotate.d/swift-store")
    old = store.machine.run("cat /var/log/swift/proxy.log.1")
    assert "before-rotation" in old

    def is_in_the_new_one():  # what is said in the moment of the change may still be in the old one
        store.ask("GET", "/gold/after-rotation")
        return "after-rotation" in store.machine.run("cat /var/log/swift/proxy.log")

    store.wait_until(is_in_the_new_one)
    assert store.machine.run("stat -c '%a %U %G' /var/log/swift /var/log/swift/proxy.log").split("\n")[
        :2
    ] == ["750 swift adm", "640 swift adm"]
    store.machine.run(
        "systemctl restart swift-proxy-server && logrotate --force /etc/logrotate.d/swift-store"
    )
    assert store.machine.run("stat -c '%a %U %G' /var/log/swift").strip() == "750 swift adm"


def test_counts_of_what_waits_come_from_the_timer(store):
    store.machine.run(
        "systemctl enable --now swift-recon-cron.timer && systemctl start swift-recon-cron.service"
    )
    assert store.state("swift-recon-cron.service")[1] == "success"
    assert '"async_pending"' in store.machine.run("cat /var/cache/swift/object.recon")


def test_a_disk_comes_and_goes_under_what_runs(store):
    """Their views of file systems follow that of the machine."""
    store.machine.run("umount /srv/node/sdb2")
    address = f"http://{store.ip('s1')}:6200/recon"
    assert '"sdb2"' in store.machine.run(f"curl -s -f {address}/unmounted")
    store.machine.run("mount /srv/node/sdb2")
    assert store.machine.run(f"curl -s -f {address}/unmounted").strip() == "[]"
    pid = store.main("swift-object-replicator.service")
    store.machine.run(
        f"nsenter --target {pid} --mount --wd=/ -- setpriv --reuid swift --regid swift --init-groups touch /srv/node/sdb2/.try"
    )
    store.machine.run("rm /srv/node/sdb2/.try")


def test_all_ends_in_time(store):
    units = store.services()
    store.machine.run("systemctl stop swift.target")
    # it waits for the target only
    for unit in units:
        store.wait_until(lambda unit=unit: store.state(unit)[0] not in ("active", "deactivating"), unit)
        assert store.state(unit)[:2] == ("inactive", "success"), unit
    assert not store.machine.call("pgrep", "-u", "swift").stdout
    assert "timed out" not in store.machine.run(
        "journalctl --no-pager -o cat -u 'swift-*' | grep -i stop- || true"
    )


def test_all_is_there_again_with_the_machine(store):
    store.machine.power_off()
    store.machine.boot()
    store.machine.mount_again()
    for unit in store.services():
        store.wait_until(lambda unit=unit: store.state(unit)[0] == "active", unit)
    for box in ("gold", "ec"):
        assert store.ask("GET", f"/{box}/300000").status == 200


def test_an_upgrade_interrupts_nothing(store, tmp_path):
    package = newer(os.environ["SWIFT_PACKAGE"], tmp_path)
    before = {unit: store.main(unit) for unit in store.services()}
    store.install(package)
    assert {unit: store.main(unit) for unit in store.services()} == before
    assert store.ask("GET", "/gold/100").status == 200
    lines = (deployed.ROOT / "doc/deploy.md").read_text().splitlines()
    line = next(line for line in lines if "try-reload-or-restart" in line)
    store.machine.run(re.search("&& (systemctl .*)'", line)[1])
    after = {unit: store.main(unit) for unit in store.services()}
    servers = {f"swift-{server}-server.service" for server in SERVERS}
    assert {unit for unit in after if after[unit] == before[unit]} == servers
    assert store.ask("GET", "/gold/100").status == 200
    assert "as it should be" in store.shell("swift-cluster check")
    store.install(os.environ["SWIFT_PACKAGE"])  # and back again
    store.machine.run(re.search("&& (systemctl .*)'", line)[1])
    assert store.ask("GET", "/gold/100").status == 200
    assert "as it should be" in store.shell("swift-cluster check")


def test_removed_it_leaves_what_is_not_its_own(store):
    before = store.machine.run("find /etc/swift -type f")
    told = store.machine.run("dpkg --remove swift-store 2>&1")
    assert "not empty" not in told
    assert not store.machine.call("pgrep", "-u", "swift").stdout
    assert not store.machine.call(
        "find", "/etc/systemd", "/usr/lib/systemd", "/usr/bin", "/opt", "-name", "*swift*"
    ).stdout
    assert store.machine.run("systemctl list-units --all --no-legend 'swift*' | grep -v srv- || true") == ""
    for name in DISKS:
        assert store.machine.run(f"ls /srv/node/{name}")
    assert set(before.split()) >= set(store.machine.run("find /etc/swift -type f").split())
    assert "/etc/swift/swift.conf" in store.machine.run("find /etc/swift -type f").split()
    assert store.machine.run("ls /var/log/swift /etc/logrotate.d/swift-store")


def test_installed_again_it_serves_what_was_there(store):
    store.install(os.environ["SWIFT_PACKAGE"])
    assert "as it should be" in store.shell("swift-cluster push --activate && swift-cluster check")
    assert store.ask("GET", "/gold/300000").status == 200


def test_purged_it_leaves_data_and_hash_settings(store):
    store.machine.run("dpkg --purge swift-store 2>&1")
    assert not store.machine.call("pgrep", "-u", "swift").stdout
    gone = "/var/log/swift /var/cache/swift /etc/logrotate.d/swift-store /opt/swift-store"
    assert "No such file" in store.machine.call("ls", *gone.split()).stderr
    assert not store.machine.call("ls", "-d", *gone.split()).stdout
    assert "swift_hash_path_suffix" in store.machine.run("cat /etc/swift/swift.conf")
    for name in DISKS:
        assert store.machine.run(f"ls /srv/node/{name}/objects")
    assert store.machine.run("id -u swift")


def newer(package: str, folder: pathlib.Path) -> str:
    """The same package under a later version."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", package, str(tree)], check=True)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    version = re.search("(?m)^Version: (.*)$", text)[1]
    control.write_text(text.replace(f"Version: {version}", f"Version: {version}+1"))
    made = folder / os.path.basename(package).replace(version, f"{version}+1")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", "-Zgzip", "-z1", str(tree), str(made)],
        check=True,
        capture_output=True,
    )
    return str(made)
