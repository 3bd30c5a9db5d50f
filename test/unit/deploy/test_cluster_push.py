"""swift-cluster push, check and run: nodes that are folders of this machine, behind a command that stands for ssh."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import threading

import pytest

from swift.cli.cluster_command import main
from swift.deploy import receiver
from swift.deploy.nodes import NodeFailed, on_all

SERVERS = ("account-server", "container-server", "object-server", "proxy-server")
# What stands for ssh: the node's name, then one text for a shell. Nodes with a file "down" can't be reached.
WAY = """#!/bin/sh
echo "$2" >> {home}/commands
if [ -e {home}/$1/down ]; then echo "ssh: connect to host $1: refused" >&2; exit 255; fi
exec sh -c "$2"
"""
# What stands for swift-init: a service runs while there is a file of its name.
INIT = """#!/bin/sh
names=
while [ $2 != --run-dir ]; do names="$names $1"; shift; done
verb=$1 dir=$3
for name in $names; do
  case $verb in
  status) [ -e $dir/$name ] && echo "$name running (1 - x.conf)" || echo "No $name running"; continue;;
  start) [ -e $dir/broken ] && {{ echo "cannot start $name"; exit 1; }}; touch $dir/$name;;
  stop) rm -f $dir/$name;;
  esac
  echo "$verb $name" >> $dir/calls
done
"""


def without_our_commands(path):
    """A PATH less the folders in which this project's commands stand."""
    return os.pathsep.join(
        folder for folder in path.split(os.pathsep) if not any(pathlib.Path(folder).glob("swift-*-server"))
    )


@pytest.fixture
def store(tmp_path, capsys, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("PATH", f"{tmp_path}/python:{without_our_commands(os.environ['PATH'])}")

    class Store:
        nodes = ("s1", "s2", "s3")

        def describe(self, more="", **changes):
            text = f'[cluster]\nname = "store"\npart_power = 4\nmanager = "swift-init"\ncommands = "{tmp_path}/bin"\n'
            text += '[policies.gold]\nindex = 0\ndefault = true\n[users]\n"test:tester" = { key = "a-known-key" }\n'
            for n, name in enumerate(self.nodes, 1):
                text += f'[nodes.{name}]\naddress = "10.0.0.{n}"\nzone = {n}\nswift_dir = "{home}/{name}/etc"\nrun_dir = "{home}/{name}/run"\n'
                text += changes.get(name, "disks = { sdb1 = 1 }\n")
            (tmp_path / "cluster.toml").write_text(text + more)

        def run(self, command, *words, expect=0):
            far = ("--ssh", f"{tmp_path}/way {{node}}") if command in ("push", "check", "run") else ()
            code = main(["-d", str(tmp_path / "cluster.toml"), command, *far, *words])
            said = capsys.readouterr()
            assert code == expect, said
            return (said.out + said.err).splitlines()

        def etc(self, node):
            return home / node / "etc"

        def calls(self, node):
            path = home / node / "run/calls"
            found = path.read_text().splitlines() if path.exists() else []
            path.unlink(missing_ok=True)
            return found

        def commands(self):
            return (home / "commands").read_text()

    (tmp_path / "bin").mkdir()
    (tmp_path / "python").mkdir()
    (tmp_path / "python/python3").symlink_to(sys.executable)
    for name, text in (
        ("way", WAY),
        ("bin/swift-init", INIT),
        *((f"bin/swift-{name}", "#!/bin/sh\n") for name in SERVERS),
    ):
        (tmp_path / name).write_text(text.format(home=home))
        (tmp_path / name).chmod(0o755)
    made = Store()
    for name in ("s1", "s2", "s3", "s4"):
        (home / name / "run").mkdir(parents=True)
    made.describe()
    made.run("apply")
    return made


def tell(lines, node):
    return next(line.partition(": ")[2] for line in lines if line.startswith(f"{node}: "))


def test_all_nodes_have_what_was_applied_and_a_second_time_nothing_is_done(store, tmp_path):
    lines = store.run("push")
    assert lines[-1] == "3 of 3 nodes pushed" and "wrote object.ring.gz" in tell(lines, "s2")
    for node in store.nodes:
        applied = tmp_path / "out" / node / str(store.etc(node)).lstrip("/")
        for path in applied.iterdir():
            assert (store.etc(node) / path.name).read_bytes() == path.read_bytes()
            assert (store.etc(node) / path.name).stat().st_mode & 0o137 == 0, path  # 0640 at most
    before = {path: path.stat().st_mtime_ns for path in store.etc("s1").iterdir()}
    assert tell(store.run("push"), "s1") == "nothing was to be done"
    assert {path: path.stat().st_mtime_ns for path in store.etc("s1").iterdir()} == before


def test_no_secret_is_told_or_on_a_command_line(store, tmp_path):
    secrets = json.loads((tmp_path / "state/secrets.json").read_text())["secrets"].values()
    told = "\n".join(store.run("push") + store.run("check", expect=1) + store.run("push")) + store.commands()
    for secret in (*secrets, "a-known-key"):
        assert secret not in told


def test_a_node_that_is_away_stops_nobody_else(store):
    down = store.etc("s2").parent / "down"
    down.touch()
    lines = store.run("push", expect=1)
    assert tell(lines, "s2") == "FAILED: ssh: connect to host s2: refused"
    assert (
        lines[-1]
        == "swift-cluster: 2 of 3 nodes pushed; not: s2. Mend that and say it again: what is done stays as it is."
    )
    assert not store.etc("s2").exists() and (store.etc("s3") / "object.ring.gz").exists()
    down.unlink()
    assert tell(store.run("push"), "s3") == "nothing was to be done"
    assert (store.etc("s2") / "object.ring.gz").exists()


def test_careful_begins_with_no_other(store):
    (store.etc("s1").parent / "down").touch()
    lines = store.run("push", "--careful", "--at-once", "1", expect=1)
    assert "0 of 3 nodes pushed; not: s1; not begun with 2." in lines[-1]
    assert not store.etc("s2").exists()


def test_what_a_person_changed_there_is_not_overwritten_silently(store):
    store.run("push")
    path = store.etc("s1") / "object-server.conf"
    path.write_text(path.read_text() + "# mine\n")
    kept = path.read_text()
    store.describe("[options.object-server.DEFAULT]\nworkers = 3\n")
    store.run("apply")
    lines = store.run("push", expect=1)
    assert tell(lines, "s1").startswith("FAILED: changed there since the last push: object-server.conf")
    assert path.read_text() == kept and "workers = 3" in (store.etc("s2") / "object-server.conf").read_text()
    store.run("push", "--overwrite")
    assert "workers = 3" in path.read_text()
    assert path.with_name("object-server.conf.replaced").read_text() == kept


def test_what_is_kept_of_a_changed_file_is_written_nowhere_else(store, tmp_path):
    """The folder may belong to the user of the servers, who may not lead root to other files."""
    store.run("push")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    path = store.etc("s1") / "object-server.conf"
    path.write_text("[DEFAULT]\n")
    path.with_name("object-server.conf.replaced").symlink_to(elsewhere)
    path.with_name(".activated.json").symlink_to(elsewhere)
    store.describe("[options.object-server.DEFAULT]\nworkers = 3\n")
    store.run("apply")
    store.run("push", "--overwrite", "--activate")
    assert elsewhere.read_text() == "mine"
    assert path.with_name("object-server.conf.replaced").read_text() == "[DEFAULT]\n"
    assert not path.with_name(".activated.json").is_symlink()


def test_a_machine_with_another_cluster_is_left_alone(store):
    store.etc("s1").mkdir()
    conf = store.etc("s1") / "swift.conf"
    conf.write_text("[swift-hash]\nswift_hash_path_suffix = changeme\n")
    for words in ((), ("--overwrite",)):
        lines = store.run("push", *words, expect=1)
        assert "its swift.conf has other hash settings: data that is there would not be found" in tell(
            lines, "s1"
        )
        assert os.listdir(store.etc("s1")) == [".pushing", "swift.conf"] or sorted(
            os.listdir(store.etc("s1"))
        ) == [".pushing", "swift.conf"]
        assert "changeme" in conf.read_text()


def test_a_node_is_not_taken_for_another_one(store):
    store.run("push")
    text = store.etc("s1") / "cluster.json"
    text.write_text(text.read_text().replace('"node": "s1"', '"node": "s9"'))
    assert "it is the node s9" in tell(store.run("push", expect=1), "s1")


def test_what_is_here_and_was_changed_by_hand_is_not_pushed(store, tmp_path):
    path = tmp_path / "out/s1" / str(store.etc("s1")).lstrip("/") / "swift.conf"
    path.write_text("x")
    assert "is not what was applied" in store.run("push", expect=1)[0]
    store.run("apply")
    store.run("push")


def test_check_tells_what_differs(store):
    store.run("push", "--activate")
    for node in store.nodes:
        for path in (tmp := pathlib.Path(store.etc(node)).parent / "run").iterdir():
            assert path.name == "calls" or path.parent == tmp
    (store.etc("s2") / "object.ring.gz").unlink()
    (store.etc("s3") / "swift.conf").write_text("x")
    (store.etc("s3").parent / "run/object-server").unlink()
    lines = store.run("check", expect=1)
    assert "object.ring.gz is missing" in tell(lines, "s2")
    assert "swift.conf differs" in tell(lines, "s3") and "swift-object-server does not run" in tell(
        lines, "s3"
    )
    # of the daemons only the servers' commands are there
    assert "swift-object-updater is not installed" in tell(lines, "s1") and "differs" not in tell(lines, "s1")


def test_services_are_started_reloaded_and_stopped_as_the_description_says(store):
    store.run("push", "--activate")
    assert {f"start {name}" for name in SERVERS} < set(store.calls("s1"))
    store.run("push", "--activate")
    assert store.calls("s1") == []
    store.describe(
        "[options.object-server.DEFAULT]\nworkers = 3\n",
        s2='roles = ["proxy", "storage"]\ndisks = { sdb1 = 1 }\n',
    )
    store.run("apply")
    store.run("push", "--activate")
    calls = store.calls("s1")
    assert "reload-seamless object-server" in calls and "restart object-updater" in calls
    assert not [call for call in calls if "account" in call or "container" in call or "proxy" in call]
    store.nodes = ("s1", "s2", "s3", "s4")
    store.describe(s4="disks = { sdb1 = 1 }\n", s1='roles = ["storage"]\ndisks = { sdb1 = 1 }\n')
    store.run("apply")
    lines = store.run("push", "--activate")
    assert "removed proxy-server.conf" in tell(lines, "s1")
    assert "stop proxy-server" in store.calls("s1") and "start proxy-server" in store.calls("s4")
    assert not (store.etc("s1") / "proxy-server.conf").exists()


def test_an_activation_that_failed_is_made_up_for(store):
    store.run("push", "--activate")
    store.calls("s1")
    store.describe("[options.object-server.DEFAULT]\nworkers = 3\n")
    store.run("apply")
    store.run("push")  # the files are there, and nobody has read them
    broken = store.etc("s1").parent / "run/broken"
    broken.touch()
    (store.etc("s1").parent / "run/proxy-server").unlink()
    lines = store.run("push", "--activate", expect=1)
    assert tell(lines, "s1") == "FAILED: start proxy-server: cannot start proxy-server"
    assert "reload-seamless object-server" in store.calls("s1")
    broken.unlink()
    store.run("push", "--activate")
    assert store.calls("s1") == ["start proxy-server"]


def test_an_older_copy_of_the_builders_is_not_brought(store, tmp_path):
    """Data has moved by the rings since."""
    store.run("push")
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    store.describe(s1="disks = { sdb1 = 5 }\n")
    store.run("apply")
    store.run("push")
    newest = (store.etc("s1") / "object.ring.gz").read_bytes()
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "backup").rename(tmp_path / "state")
    store.describe()
    store.run("apply")
    assert "it has a newer account.ring.gz" in tell(store.run("push", expect=1), "s1")
    assert (store.etc("s1") / "object.ring.gz").read_bytes() == newest
    store.run("push", "--overwrite")
    assert (store.etc("s1") / "object.ring.gz").read_bytes() != newest


# What stands for systemctl: `is-active` is told of what was started.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {calls}
[ $1 != is-active ] || {{ shift; for unit; do grep -q "enable --now.* $unit" {calls} && echo active || echo inactive; done; }}
"""


def test_by_systemd_what_is_to_run_is_there_again_with_the_machine(store, tmp_path):
    calls = tmp_path / "calls"
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL.format(calls=calls))
    (tmp_path / "bin/systemctl").chmod(0o755)
    description = tmp_path / "cluster.toml"
    text = description.read_text().replace('manager = "swift-init"', 'manager = "systemd"')
    description.write_text(text)
    store.run("apply")
    store.run("push", "--nodes", "s1", "--activate")
    assert "enable swift.target" in calls.read_text().splitlines()
    # and what is not, is not: also what has ended meanwhile
    calls.write_text("")
    description.write_text(text.replace("[policies.gold]", 'without = ["object-updater"]\n[policies.gold]'))
    store.run("apply")
    store.run("push", "--nodes", "s1", "--activate")
    assert "disable --now swift-object-updater.service" in calls.read_text().splitlines()


def test_files_that_came_before_their_user_are_given_to_it(tmp_path, monkeypatch):
    if os.geteuid():
        pytest.skip("only root can")
    path = tmp_path / "swift.conf"
    path.write_text("x")
    path.chmod(0o600)
    (tmp_path / "own.conf").write_text("x")
    (tmp_path / "own.conf").chmod(0o600)
    (tmp_path / "cluster.json").write_text('{"files": {"swift.conf": "", "../x": ""}}')
    receiver.hand_over(str(tmp_path), "no-such-user-here")
    assert path.stat().st_mode & 0o777 == 0o600
    receiver.hand_over(str(tmp_path), "nobody")
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o640, 0)
    assert path.stat().st_gid == receiver.pwd.getpwnam("nobody").pw_gid
    assert (tmp_path / "own.conf").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "there, comes",
    [
        ("swift_hash_path_suffix = abc\n", "swift_hash_path_prefix =\nswift_hash_path_suffix = abc\n"),
        ("swift_hash_path_prefix: abc\r\n", "swift_hash_path_prefix = abc\nswift_hash_path_suffix =\n"),
    ],
)
def test_hash_settings_that_are_empty_are_none(tmp_path, there, comes):
    (tmp_path / "there").write_text("[swift-hash]\n" + there)
    (tmp_path / "comes").write_text("[swift-hash]\n" + comes + "\n[storage-policy:0]\nname = gold\n")
    found = receiver.hash_settings(str(tmp_path / "there"))
    assert found and list(found.values()) == ["abc"]
    assert receiver.hash_settings(str(tmp_path / "comes")) == found


def test_commands_on_nodes(store):
    lines = store.run("run", "--", "echo", "{node} at {address}", "$HOME")
    assert tell(lines, "s2") == "s2 at 10.0.0.2 $HOME"
    assert tell(store.run("run", "--nodes", "s2", "basename $(which swift-init)"), "s2") == "swift-init"
    lines = store.run("run", "--zone", "3", "echo out; echo err >&2; exit 3", expect=1)
    assert lines[:3] == ["s3: FAILED: exit status 3", "s3: out", "s3: err"]
    assert store.run("run", "--nodes", "s9", "true", expect=1) == ["swift-cluster: there is no node s9"]
    assert store.run("run", "--at-once", "0", "true", expect=1) == [
        "swift-cluster: --at-once is to be 1 or more"
    ]


def test_a_node_that_does_not_answer_is_given_up(store):
    lines = store.run("run", "--nodes", "s1", "--timeout", "0.3", "exec sleep 60", expect=1)
    assert tell(lines, "s1") == "FAILED: no answer within 0.3 s"


def test_never_more_at_once_than_said():
    going, most, lock = set(), [], threading.Lock()
    together = threading.Barrier(4, timeout=30)

    def work(number):
        with lock:
            going.add(number)
            most.append(len(going))
        if number < 4:
            together.wait()
        with lock:
            going.discard(number)
        if number == 50:
            raise NodeFailed("no")
        return number

    outcomes = dict(on_all(list(range(100)), work, 4))
    assert max(most) == 4 and len(outcomes) == 100
    assert [number for number, outcome in outcomes.items() if isinstance(outcome, NodeFailed)] == [50]


# -- the other side, for what no sender of ours sends


def receive(request, files=(), member=None):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, body in files:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        if member:
            archive.addfile(member)
    done = subprocess.run(
        [sys.executable, "-S", receiver.__file__],
        input=json.dumps(request).encode() + b"\n" + data.getvalue(),
        capture_output=True,
    )
    assert done.stderr == b""
    return json.loads(done.stdout)


def link(name, target):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "files, member",
    [
        ([("../x", b"x")], None),
        ([("/tmp/x", b"x")], None),
        ([("swift.conf", b"other")], None),
        ([("unasked.conf", b"x")], None),
        ([], link("swift.conf", "/etc/passwd")),
        ([("swift.conf", b"x"), ("swift.conf", b"x")], None),
    ],
)
def test_only_what_was_announced_is_taken(tmp_path, files, member):
    manifest = {
        "cluster": "c",
        "node": "n",
        "files": {"swift.conf": receiver.hashlib.sha256(b"x").hexdigest()},
        "services": {},
    }
    request = {
        "do": "put",
        "swift_dir": str(tmp_path / "etc"),
        "manifest": manifest,
        "overwrite": False,
        "user": "root",
    }
    assert "refused" in receive(request, files, member)
    assert os.listdir(tmp_path / "etc") == [".pushing"]
    assert receive(request, [("swift.conf", b"x")])["changed"] == ["swift.conf"]


@pytest.mark.parametrize("request_", [{"do": "format"}, {}, {"do": "look"}])
def test_senseless_requests_are_refused(request_):
    assert "refused" in receive(request_)


def test_where_services_are_somebody_else_s_files_are_all_that_is_looked_at(store, tmp_path):
    """As in containers: neither a service manager nor our commands are there."""
    described = tmp_path / "cluster.toml"
    described.write_text(described.read_text().replace('manager = "swift-init"', 'manager = "none"'))
    store.run("apply")
    shutil.rmtree(tmp_path / "bin")
    assert store.run("push")[-1] == "3 of 3 nodes pushed"
    assert tell(store.run("check"), "s1") == "as it should be"
    (store.etc("s2") / "object-server.conf").unlink()
    assert tell(store.run("check", expect=1), "s2") == "FAILED: object-server.conf is missing"
    assert 'manager = "none"' in store.run("push", "--activate", expect=1)[-1]
    assert not (store.etc("s2") / "object-server.conf").exists()
