"""swift-cluster plan and apply: rings that are changed, never made anew; files of nodes; secrets that are made once."""

import json
import os
import re

import pytest

from swift.cli.cluster_command import main
from swift.core import clock
from swift.core.backend_security import read_keys
from swift.ring.builder import RingBuilder
from swift.ring.format import RingData

HEAD = """
[cluster]
name = "store"
part_power = 6
[policies.gold]
index = 0
default = true
[policies.ec21]
index = 1
type = "erasure_coding"
data = 2
parity = 1
[users]
"test:tester" = { groups = ".admin" }
"te_st:a" = { key = "known-key" }
[defaults]
disks = { sdb1 = 100 }
"""


def nodes(count, **more):
    """Nodes s1 and so on; `more`: name → lines of its table."""
    return "".join(
        f'[nodes.s{n}]\naddress = "10.0.0.{n}"\nzone = {n}\n{more.get(f"s{n}", "")}\n'
        for n in range(1, count + 1)
    )


@pytest.fixture
def store(tmp_path, capsys):
    class Store:
        folder = tmp_path
        state, out = tmp_path / "state", tmp_path / "out"

        def describe(self, text):
            (tmp_path / "cluster.toml").write_text(text)

        def run(self, *words, expect=0):
            code = main(["-d", str(tmp_path / "cluster.toml"), *words])
            self.said = capsys.readouterr()
            assert code == expect, self.said
            return self.said.out if expect == 0 else self.said.err

        def builder(self, name="object"):
            return RingBuilder.load(str(self.state / f"{name}.builder"))

        def file(self, node, name):
            return (self.out / node / "etc/swift" / name).read_text()

        def all_files(self):
            return {
                path: path.read_bytes()
                for path in sorted(tmp_path.rglob("*"))
                if path.is_file() and path.name != ".lock"
            }

        def hours_pass(self):
            for name in ("account", "container", "object", "object-1"):
                builder = self.builder(name)
                builder.pretend_min_part_hours_passed()
                builder.save(str(self.state / f"{name}.builder"))

    made = Store()
    made.describe(HEAD + nodes(3))
    return made


def test_plan_changes_nothing_and_apply_does_what_it_said(store):
    before = store.all_files()
    told = store.run("plan")
    assert store.all_files() == before
    assert store.run("apply").splitlines()[:-1] == told.splitlines()[:-1]
    ring = RingData.load(str(store.out / "s1/etc/swift/object-1.ring.gz"))
    assert (ring.replica_count, len([dev for dev in ring.devs if dev])) == (3, 3)
    after = store.all_files()
    assert store.run("apply") == "nothing was to be done\n"
    assert store.run("plan") == "nothing is to be done\n"
    assert store.all_files() == after


def test_files_say_what_differs_and_nobody_else_reads_them(store):
    store.run("apply")
    conf = store.file("s2", "object-server.conf")
    assert "bind_ip = 10.0.0.2\n" in conf and "processes = 3\nprocess = 1\n" in conf
    assert "devices" not in conf and "[object-reconstructor]" in conf
    assert "user_test_tester = " in store.file("s1", "proxy-server.conf")
    assert "user64_dGVfc3Q_YQ = known-key\n" in store.file("s1", "proxy-server.conf")
    assert store.file("s1", "swift.conf") == store.file("s3", "swift.conf")
    for path in (*(store.out / "s1/etc/swift").glob("*.conf"), store.state / "secrets.json"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (store.out / "s1/etc/swift").stat().st_mode & 0o077 == 0
    assert store.state.stat().st_mode & 0o077 == 0


def test_all_options_are_known_to_the_servers(store):
    store.run("apply")
    assert store.said.err == ""


def test_secrets_are_made_once_and_not_shown(store):
    store.run("apply")
    secrets = json.loads((store.state / "secrets.json").read_text())["secrets"]
    told = store.said.out
    store.describe(
        (HEAD + nodes(3)).replace(".admin", ".admin .reseller_admin").replace("known-key", "other-key")
    )
    told += store.run("plan") + store.run("apply")
    assert json.loads((store.state / "secrets.json").read_text())["secrets"] == secrets
    assert "~ proxy-server.conf: [filter:tempauth] user_test_tester" in told
    for secret in (*secrets.values(), "known-key", "other-key"):
        assert secret not in told
    assert store.run("show-key", "test:tester").strip() == secrets["user test:tester"]


def test_lost_secrets_are_not_made_anew(store):
    store.run("apply")
    (store.state / "secrets.json").unlink()
    assert "bring it back from a backup" in store.run("apply", expect=1)


def test_a_new_node_gets_its_share_when_partitions_may_move(store):
    store.run("apply")
    builder_id = store.builder().id
    store.describe(HEAD + nodes(4))
    assert "+ s4/sdb1 (region 1, zone 4), weight 100" in store.run("apply")
    held = {dev["meta"]: dev["parts"] for dev in store.builder().iter_devs()}
    assert held == {"s1": 64, "s2": 64, "s3": 64, "s4": 0}  # they were placed a moment ago
    assert "48 replicas more are to move: apply --rebalance, in " in store.run("plan")
    assert store.run("plan").endswith("nothing is to be done\n")
    store.hours_pass()
    assert "48 of 192 replicas of partitions are assigned anew" in store.run("apply", "--rebalance")
    assert {dev["parts"] for dev in store.builder().iter_devs()} == {48}
    assert store.builder().id == builder_id


def test_a_run_again_moves_nothing_by_itself(store):
    store.run("apply")
    store.describe(HEAD + nodes(4))
    store.hours_pass()
    store.run("apply")
    moved = store.builder().rows
    store.hours_pass()
    assert "nothing was to be done" in store.run("apply")
    assert store.builder().rows == moved


def test_weights_and_zones_follow_the_description(store):
    store.run("apply")
    store.hours_pass()
    store.describe(HEAD + nodes(4, s4="disks = { sdb1 = 50 }"))
    store.run("apply")
    store.hours_pass()
    store.describe(HEAD + nodes(4, s1="region = 2", s4="disks = { sdb1 = 200 }"))
    told = store.run("apply")
    assert "~ s4/sdb1: weight 50 becomes 200" in told and "~ s1/sdb1: region 1 becomes 2" in told
    assert {(dev["meta"], dev["region"], dev["weight"]) for dev in store.builder().iter_devs()} == {
        ("s1", 2, 100), ("s2", 1, 100), ("s3", 1, 100), ("s4", 1, 200)
    }  # fmt: skip


def test_nothing_is_removed_without_saying(store):
    store.describe(HEAD + nodes(4))
    store.run("apply")
    store.describe(HEAD + nodes(3))
    store.hours_pass()
    before = store.all_files()
    said = store.run("apply", expect=1)
    assert "ring object: s4/sdb1 is in it and holds 48 replicas" in said and "--remove s4/sdb1" in said
    assert len(said.splitlines()) == 4  # one for each ring
    assert store.all_files() == before
    assert "- s4/sdb1, which holds 48 replicas" in store.run("apply", "--remove", "s4/sdb1")
    assert {dev["meta"] for dev in store.builder().iter_devs()} == {"s1", "s2", "s3"}
    assert "s4 is not described any more" in store.said.out
    assert store.run("apply", "--remove", "s4/sdb1", expect=1) == (
        "swift-cluster: --remove s4/sdb1: no ring has a disk of that name that the description lacks\n"
    )


def test_not_so_many_at_once_that_copies_are_lost(store):
    store.describe(HEAD + nodes(6))
    store.run("apply")
    store.describe(HEAD + nodes(4))
    said = store.run("apply", "--remove", "s5/sdb1", "--remove", "s6/sdb1", expect=1)
    assert re.search(r"ring object: the disks to be removed hold 2 of 3 copies of partition \d+", said)
    # drained, it takes nothing with it
    store.describe(HEAD + nodes(6, s5="disks = { sdb1 = 0 }", s6="disks = { sdb1 = 0 }"))
    for _ in range(3):
        store.hours_pass()
        store.run("apply", "--rebalance")
    assert [dev["parts"] for dev in store.builder().iter_devs() if not dev["weight"]] == [0, 0]
    store.describe(HEAD + nodes(4))
    store.run("apply", "--remove", "s5/sdb1", "--remove", "s6/sdb1")
    assert len(list(store.builder().iter_devs())) == 4


def test_what_has_just_moved_counts_as_a_copy_that_is_not_there(store):
    """Disks that are removed one after the other would take all copies with them, too."""
    store.describe(HEAD + nodes(6))
    store.run("apply")
    store.hours_pass()
    store.describe(HEAD + nodes(5))
    store.run("apply", "--remove", "s6/sdb1")
    store.describe(HEAD + nodes(4))
    said = store.run("apply", "--remove", "s5/sdb1", expect=1)
    assert re.search(r"ring object: a copy of partition \d+ has moved within min_part_hours", said)
    store.describe(HEAD.replace("part_power", "min_part_hours = 0\npart_power") + nodes(4))
    store.run("apply", "--remove", "s5/sdb1")  # it is lost anyway


def test_nothing_moves_while_a_partition_power_is_raised(store):
    store.run("apply")
    builder = store.builder()
    builder.prepare_increase_partition_power()
    builder.save(str(store.state / "object.builder"))
    store.run("apply")  # brings the ring that says so
    before = store.all_files()
    for text, words in ((HEAD + nodes(4), ()), (HEAD + nodes(3), ("--rebalance",))):
        store.describe(text)
        assert "ring object: its partition power is being raised" in store.run("apply", *words, expect=1)
    assert {path: data for path, data in store.all_files().items() if path.name != "cluster.toml"} == {
        path: data for path, data in before.items() if path.name != "cluster.toml"
    }


def test_what_data_is_found_by_is_not_made_anew(store):
    store.run("apply")
    path = store.state / "secrets.json"
    kept = json.loads(path.read_text())
    del kept["secrets"]["swift_hash_path_suffix"]
    path.write_text(json.dumps(kept))
    assert "has no swift_hash_path_suffix, but builders are there" in store.run("apply", expect=1)


def test_names_stand_in_files_as_they_are_meant(store):
    more = '[users."a=b:c"]\nkey = "k"\n'
    text = HEAD + nodes(3, s1='replication_address = "fd00::1"')
    store.describe(text + more)
    store.run("apply")
    assert "a=b" not in store.file("s1", "proxy-server.conf")
    assert "user64_YT1i_Yw = k\n" in store.file("s1", "proxy-server.conf")
    assert "bind_ip = ::\n" in store.file("s1", "object-server.conf")


def test_disks_have_labels_of_their_own(store):
    store.describe(HEAD + nodes(3, s1='disks = { nvme0n1-slot-01 = 1, nvme0n1-slot-02 = 1, "a;b" = 1 }'))
    told = store.run("steps", "s1")
    labels = re.findall(r"-L (\S+) DEVICE", told)
    assert len(set(labels)) == 3 and max(map(len, labels)) <= 12
    for label in labels:
        assert told.count(f"LABEL={label} ") == 1
    assert "mount '/srv/node/a;b'" in told


def test_a_node_that_moves_keeps_its_partitions(store):
    store.run("apply")
    rows = store.builder().rows
    store.describe((HEAD + nodes(3)).replace("10.0.0.2", "10.0.0.22"))
    assert "~ s2/sdb1: ip 10.0.0.22, replication_ip 10.0.0.22" in store.run("apply")
    assert store.builder().rows == rows
    assert RingData.load(str(store.out / "s1/etc/swift/object.ring.gz")).devs[1]["ip"] == "10.0.0.22"


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("part_power = 6", "part_power = 7", "its partition power is 6, not 7"),
        ("parity = 1", "parity = 2", "ec_num_parity_fragments was 1 and can't become 2"),
        (
            '[policies.ec21]\nindex = 1\ntype = "erasure_coding"\ndata = 2\nparity = 1\n',
            "",
            "policy 1 is missing",
        ),
    ],
)
def test_what_is_decided_once_stays(store, old, new, said):
    store.describe(HEAD + nodes(4))
    store.run("apply")
    store.describe((HEAD + nodes(4)).replace(old, new))
    before = store.all_files()
    assert said in store.run("apply", expect=1)
    assert store.all_files() == before


def test_options_that_differ(store):
    more = '[options.proxy-server."filter:tempauth"]\ntoken_life = 60\n[options.object-server.DEFAULT]\nworkerz = 2\n[nodes.s1.options.object-server.DEFAULT]\nworkers = 3\n'
    store.describe(HEAD + nodes(3) + more)
    store.run("apply")
    assert (
        "object-server.conf: unknown option workerz in [DEFAULT] has no effect (did you mean workers?)"
        in store.said.err
    )
    assert "token_life = 60\n" in store.file("s3", "proxy-server.conf")
    assert "workers = 3\n" in store.file("s1", "object-server.conf")
    assert "workers = 3\n" not in store.file("s2", "object-server.conf")
    store.describe(HEAD + nodes(3) + '[options.proxy-server."filter:encryption"]\nx = 1\n')
    assert "is without effect: it is not in the pipeline" in store.run("apply", expect=1)


def test_a_secret_that_options_name(store, monkeypatch):
    import io

    more = '[options.proxy-server."filter:tempauth"]\nuser_a_b = { secret = "of-b" }\n'
    store.describe(HEAD + nodes(3) + more)
    assert "swift-cluster secret of-b < FILE" in store.run("apply", expect=1)
    monkeypatch.setattr("sys.stdin", io.StringIO("hidden\n"))
    store.run("secret", "of-b")
    assert "hidden" not in store.run("apply")
    assert "user_a_b = hidden\n" in store.file("s1", "proxy-server.conf")


def test_keystone_takes_the_place_of_users(store):
    text = HEAD.replace('name = "store"', 'auth = "keystone"')
    store.describe(text + nodes(3))
    assert 'filter:authtoken"] lacks auth_url, username, password' in store.run("apply", expect=1)
    more = (
        '[options.proxy-server."filter:authtoken"]\nauth_url = "http://k:5000"\nusername = "swift"\npassword = "p"\n'
        '[options.proxy-server."filter:s3token"]\nauth_uri = "http://k:5000/v3"\n'
    )
    store.describe(text + nodes(3) + more)
    store.run("apply")
    conf = store.file("s1", "proxy-server.conf")
    assert "authtoken s3api s3token keystoneauth" in conf and "tempauth" not in conf
    assert "paste.filter_factory = keystonemiddleware.auth_token:filter_factory" in conf


def test_keys_between_nodes_change_one_after_the_other(store):
    head = HEAD.replace('name = "store"', 'signing = "sign"\nsigning_keys = ["a"]')
    store.describe(head + nodes(3))
    store.run("apply")
    assert "[backend-security]\nsigning = sign\n" in store.file("s1", "swift.conf")
    first = store.file("s1", "backend-keys")
    assert re.fullmatch("a [0-9a-f]{64}\n", first) and store.file("s3", "backend-keys") == first
    store.describe(head.replace('["a"]', '["b", "a"]') + nodes(3))
    told = store.run("apply")
    assert "~ backend-keys" in told and first.split()[1] not in told
    assert re.fullmatch(f"b [0-9a-f]{{64}}\n{first}", store.file("s2", "backend-keys"))
    path = store.out / "s2/etc/swift/backend-keys"
    assert path.stat().st_mode & 0o077 == 0 and list(read_keys(str(path))) == ["b", "a"]
    store.describe(HEAD + nodes(3))
    assert "- backend-keys" in store.run("apply")
    assert not (store.out / "s2/etc/swift/backend-keys").exists()


def test_a_kill_in_between_is_made_up_for(store, monkeypatch):
    from swift.deploy.tree import NodeTree

    def killed(*words):
        raise KeyboardInterrupt

    write = NodeTree.write
    monkeypatch.setattr(
        NodeTree, "write", lambda self, *words: write(self, *words) if self.node.name == "s1" else killed()
    )
    store.run("apply", expect=130)
    monkeypatch.undo()
    rows = store.builder().rows
    store.run("apply")
    assert store.builder().rows == rows
    assert store.file("s3", "swift.conf") == store.file("s1", "swift.conf")


def test_a_cluster_that_is_there_is_taken_over(store, tmp_path):
    """Its builders, with what was placed, and its hash settings."""
    old = tmp_path / "old"
    old.mkdir()
    (old / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = abc\nswift_hash_path_suffix = def\n[storage-policy:0]\nname = gold\ndefault = yes\n"
    )
    for name, port in (("account", 6202), ("container", 6201), ("object", 6200)):
        builder = RingBuilder(6, 3, 1)
        for n in (1, 2, 3):
            builder.add_dev(
                {"region": 1, "zone": n, "ip": f"10.0.0.{n}", "port": port, "device": "sdb1", "weight": 100.0}
            )
        builder.rebalance()
        builder.save(str(old / f"{name}.builder"))
    rows = builder.rows
    store.run("adopt", str(old))
    store.describe(HEAD[: HEAD.index("[policies.ec21]")] + HEAD[HEAD.index("[users]") :] + nodes(3))
    told = store.run("apply")
    assert "is noted as a disk of s1" in told and "assigned anew" not in told
    assert store.builder().rows == rows
    assert "swift_hash_path_prefix = abc\n" in store.file("s1", "swift.conf")
    assert "holds a cluster already" in store.run("adopt", str(old), expect=1)


def test_one_at_a_time(store, monkeypatch):
    from swift.deploy import state
    from swift.ring.builder import builder_lock

    monkeypatch.setattr(state, "LOCK_SECONDS", 0.1)
    store.state.mkdir()
    with builder_lock(str(store.state / "x.builder")):
        import subprocess
        import sys

        done = subprocess.run(
            [sys.executable, "-c", "from swift.deploy import state; state.LOCK_SECONDS = 0.1; from swift.cli.cluster_command import main; raise SystemExit(main())",
             "-d", str(store.folder / "cluster.toml"), "apply"],
            capture_output=True, text=True,
        )  # fmt: skip
    assert (done.returncode, "currently locked" in done.stderr, done.stderr.count("\n")) == (1, True, 1)


def test_backups_of_builders_are_kept(store):
    store.run("apply")
    store.describe(HEAD + nodes(4))
    store.hours_pass()
    version = store.builder().version
    store.run("apply")
    assert RingBuilder.load(str(store.state / "backups" / f"{version}.object.builder")).version == version
    assert clock.time() and os.path.exists(store.state / "object.ring.gz")


def test_steps_are_told(store):
    told = store.run("steps", "s1")
    assert "mount /srv/node/sdb1" in told and "push --nodes s1 --activate" in told and "s2" not in told
