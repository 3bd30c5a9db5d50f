"""What a description can say, and what is refused, a line each."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli.cluster_steps import EXAMPLE
from swift.deploy import description
from swift.deploy.described import DescriptionError
from swift.deploy.description import parse

GOOD = {
    "cluster": {"part_power": 6},
    "policies": {"gold": {"index": 0, "default": True}},
    "users": {"test:tester": {"groups": ".admin"}},
    "defaults": {"disks": {"sdb1": 100}},
    "nodes": {f"s{n}": {"address": f"10.0.0.{n}", "zone": n} for n in (1, 2, 3)},
}


def changed(path, value):
    """GOOD with one value put in (None: taken out)."""
    table = copy.deepcopy(GOOD)
    *above, last = path.split("/")
    at = table
    for key in above:
        at = at.setdefault(key, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return table


def faults(table):
    with pytest.raises(DescriptionError) as refused:
        parse(table)
    assert all("\n" not in line for line in refused.value.lines)
    return refused.value.lines


def test_the_example_is_a_description(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text(EXAMPLE)
    found = description.load(str(path))
    assert [node.name for node in found.nodes] == ["s1", "s2", "s3"]
    assert found.settings["object"].part_power == 12


def test_what_the_example_shows_as_defaults_are_the_defaults(tmp_path):
    shown = "\n".join(
        line.removeprefix("# ") if " = " in line and "#" in line[:2] else line
        for line in EXAMPLE.split("# What differs")[0].splitlines()
    )
    shown = (
        shown.replace("[policies.ec42]", "")
        .replace('replication_address = "10.1.0.1"', "")
        .replace('ssh = "root@10.0.0.1"', "")
    )
    lines = [
        line
        for line in shown.splitlines()
        if not line.startswith(("index = 1", "type", "ec_type", "data", "parity", "memcached", "without"))
    ]
    path = tmp_path / "cluster.toml"
    path.write_text(EXAMPLE)
    plain = description.load(str(path))
    path.write_text("\n".join(lines))
    assert description.load(str(path)) == plain


@pytest.mark.parametrize(
    "path, value, said",
    [
        ("nodes/s2/address", "10.0.0.1", "would have the address of s1's proxy server, 10.0.0.1:8080"),
        ("nodes/s2/address", "not an address", "is no address"),
        ("nodes/s2/address", None, "has no address"),
        ("nodes/s2/zone", 1, "2 zones: the loss of one zone takes 2, of which 1 can be spared"),
        ("nodes/s2/zone", None, "has no zone"),
        ("nodes/s2/zone", -1, "zone is to be a whole number"),
        ("nodes/s2/roles", ["storagee"], "there is no role storagee"),
        ("nodes/s2/roles", ["proxy"], "need 3 disks with a weight, there are 2"),
        ("nodes/s2/disks", {"sdb1": -1}, "its weight is to be a number from 0 on"),
        ("nodes/s2/disks", {"sdb1": float("nan")}, "its weight is to be a number from 0 on"),
        ("nodes/s2/disks", {"sdb1": "big"}, "its weight is to be a number from 0 on"),
        ("nodes/s2/disks", {"../etc": 1}, "its name is that of its folder"),
        ("nodes/s2/disks", {}, "has no disks"),
        ("nodes/s2/disks", {"sdb1": {"weight": 1, "holds": ["silver"]}}, "holds silver: there are accounts, containers, gold"),
        ("nodes/s2/adress", "10.0.0.9", "nothing is called adress (did you mean address?)"),
        ("nodes/s2/swift_dir", "etc", "swift_dir is to be an absolute path"),
        ("nodes/s2/swift_dir", "/../..", "swift_dir is to be an absolute path"),  # below `out` it would be the folder of the description
        ("nodes/s2/ssh", "-oProxyCommand=reboot", "ssh can't be '-oProxyCommand=reboot'"),
        ("cluster/user", "swift; reboot", "user can't be 'swift; reboot'"),
        ("nodes/s2/disks", {"..": 1}, "its name is that of its folder"),
        ("nodes/s 2", {"address": "10.0.0.9", "zone": 9}, "names of nodes"),
        ("nodes", {}, "there is no node"),
        ("policies", {}, "there is no policy"),
        ("policies/gold/index", 1, "no policy has the index 0"),
        ("policies/gold/replicas", 0, "replicas is to be a number from 1 on"),
        ("policies/silver", {"index": 0}, "two policies have the index 0"),
        ("policies/silver", {"index": 1, "default": True}, "default"),
        ("policies/cold", {"index": 1, "type": "erasure_coding"}, "policy cold: 6 copies or fragments need 6 disks"),
        ("policies/cold", {"index": 1, "type": "erasure_coding", "data": 2, "parity": 1, "replicas": 5}, "need 3 replicas"),
        ("policies/cold", {"index": 1, "type": "erasure_coding", "ec_type": "none"}, "ec_type"),
        ("cluster/part_power", None, "[cluster] has no part_power"),
        ("cluster/part_power", 40, "part_power is to be a whole number from 1 to 24"),
        ("cluster/manager", "upstart", "manager is to be one of systemd, swift-init"),
        ("cluster/signing_keys", ["a", "a"], "signing_keys is to be a list of names"),
        ("cluster/signing", True, "signing is to be one of off, sign, require"),
        ("users/tester", {}, "is to be ACCOUNT:USER"),
        ("users/test:tester/key", "two words", "is to be one word"),
        ("options/swift/swift-hash", {"swift_hash_path_suffix": "x"}, "hash settings are kept as secrets"),
        ("options/rsyncd/x", {"a": 1}, "there is no rsyncd.conf here"),
        ("options/proxy-server/DEFAULT", {"workers": "1\n[x]"}, "is to be a text in one line"),
        ("nodez", {}, "nothing is called nodez (did you mean nodes?)"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_refused(path, value, said):
    lines = faults(changed(path, value))
    assert any(said in line for line in lines), lines


def test_all_faults_are_told_at_once():
    table = changed("nodes/s2/address", "?")
    table["cluster"]["manager"] = "x"
    assert len(faults(table)) == 2


def test_few_zones_may_be_wanted():
    table = changed("cluster/few_zones", True)
    for node in table["nodes"].values():
        node["zone"] = 1
    assert len(parse(table).nodes) == 3


def test_several_nodes_on_one_machine_differ_by_ports():
    ports = {"proxy": 8081, "object": 6210, "container": 6211, "account": 6212}
    table = changed("nodes/s2/ports", ports)
    table["nodes"]["s2"]["address"] = "10.0.0.1"
    assert [node.ports["object"] for node in parse(table).nodes] == [6200, 6210, 6200]


@pytest.mark.parametrize("text", ["x = ", "[nodes\n", "\xff", "x = " + "[" * 5000])
def test_what_is_no_toml_is_one_line(tmp_path, text):
    path = tmp_path / "cluster.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DescriptionError) as refused:
        description.load(str(path))
    assert len(refused.value.lines) == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["s1", "index", "type", "disks", "weight", "DEFAULT"]) | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(
    st.sampled_from(
        ["cluster", "cluster/name", "rings", "rings/object", "policies", "policies/gold", "policies/x", "users", "users/a:b", "defaults",
         "defaults/disks", "nodes", "nodes/s1", "nodes/s1/roles", "nodes/s1/ports", "options", "options/swift", "options/swift/x"]
    ),
    anything,
)  # fmt: skip
def test_whatever_stands_there_ends_in_lines(path, value):
    table = changed(path, value if value is not None else "")
    try:
        parse(table)
    except DescriptionError as err:
        assert err.lines
