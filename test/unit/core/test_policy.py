import pytest

from swift.core import policy
from swift.core.errors import ConfigError
from swift.core.policy import PolicyError, parse_policies, quorum_size


def section(idx, **options):
    return {f"storage-policy:{idx}": {"name": f"p{idx}", **options}}


def test_none_defined_means_one_legacy_policy():
    found = parse_policies({"swift-hash": {}})
    assert [(p.idx, p.name, p.is_default, p.ring_name) for p in found] == [(0, "Policy-0", True, "object")]
    assert found.default is found.legacy is found[0]


def test_lookups_and_names():
    found = parse_policies(
        {
            **section(1, name="silver", aliases="second, Two", default="yes"),
            **section(0),
            **section(10, deprecated="on"),
        }
    )
    assert [p.idx for p in found] == [0, 1, 10]
    silver = found.get_by_name("TWO")
    assert silver is found.get_by_index("1") is found.get_by_index(1) is found.default
    assert silver.aliases == ["silver", "second", "Two"]
    assert found.get_by_index("") is found.get_by_index(None) is found.legacy
    assert found.get_by_index("x") is None and found.get_by_index("2") is None
    assert found.get_by_name_or_index("10").ring_name == "object-10"
    assert found.info() == [
        {"name": "p0", "aliases": "p0"},
        {"name": "silver", "aliases": "silver, second, Two", "default": True},
    ]


def test_directories():
    found = parse_policies({**section(0, default="yes"), **section(1)})
    assert found[1].directory("objects") == "objects-1"
    assert found.split_directory("objects-1") == ("objects", found[1])
    assert found.split_directory("objects") == ("objects", found[0])
    for bad in ("objects-2", "objects-0", "objects-01", "objects-", "objects-x"):
        with pytest.raises(PolicyError):
            found.split_directory(bad)


@pytest.mark.parametrize(
    "sections",
    [
        section(1),
        {**section(0), **section(1)},
        {**section(0, default="yes"), **section(1, default="yes")},
        {**section(0, default="yes"), **section(1, name="P0")},
        {**section(0, default="yes"), **section(1, aliases="p0")},
        {**section(0, default="yes"), **section(1, name="policy-0")},
        section(0, name="a b"),
        section(0, name=""),
        section(0, aliases="p0"),
        section(0, deprecated="yes"),
        section(0, deprecated="yes", default="yes"),
        section(0, colour="blue"),
        {"storage-policy:x": {"name": "p"}},
        {"storage-policy:-1": {"name": "p"}},
        {"storage-policy:0": {}},
        {**section(0), "storage-policy:00": {"name": "again"}},
    ],
)
def test_rules(sections):
    with pytest.raises(PolicyError):
        parse_policies(sections)


def test_errors_name_the_file_in_one_line(tmp_path):
    (tmp_path / "swift.conf").write_text("[storage-policy:1]\nname = x\n")
    with pytest.raises(ConfigError) as caught:
        policy.load_policies(str(tmp_path))
    assert str(caught.value).startswith(
        f"ERROR: Invalid Storage Policy Configuration in {tmp_path}/swift.conf ("
    )
    assert "\n" not in str(caught.value)


def test_kinds_register_themselves(monkeypatch):
    monkeypatch.setattr(policy, "_registry", dict(policy._registry))

    @policy.register_policy_type("striped")
    class Striped(policy.StoragePolicy):
        OWN_OPTIONS = frozenset(("width",))

    found = parse_policies(section(0, policy_type="striped", width="3"))
    assert type(found[0]) is Striped and found[0].policy_type == "striped"


def test_quorum():
    assert [quorum_size(n) for n in range(1, 7)] == [1, 1, 2, 2, 3, 3]
    assert parse_policies({})[0].quorum(3) == 2


@pytest.mark.parametrize("policy_type", ["striped", "magic"])
def test_a_type_that_nothing_here_knows_stops_nobody(policy_type):
    sections = {**section(0, default="yes"), **section(1, policy_type=policy_type, ec_num_data_fragments="4")}
    found = parse_policies(sections)
    assert [policy.is_served for policy in found] == [True, False]
    other = found[1]
    assert (other.policy_type, other.ring_name, other.directory("objects")) == (
        policy_type,
        "object-1",
        "objects-1",
    )
    assert found.get_by_name("p1") is other and found.split_directory("objects-1") == ("objects", other)
    assert policy_type in other.unserved
    with pytest.raises(PolicyError):
        other.quorum(6)
    with pytest.raises(PolicyError):  # the rules for names hold for it, too
        parse_policies({**section(0), **section(1, name="p0", policy_type=policy_type)})


EC = {
    "policy_type": "erasure_coding",
    "ec_type": "liberasurecode_rs_vand",
    "ec_num_data_fragments": "4",
    "ec_num_parity_fragments": "2",
}


def erasure(**options):
    return parse_policies({**section(0, default="yes"), **section(1, **{**EC, **options})})[1]


def test_an_erasure_coded_policy():
    found = erasure()
    assert (found.codec.scheme, found.codec.total, found.segment_size) == (
        "liberasurecode_rs_vand 4+2",
        6,
        1 << 20,
    )
    assert (found.replicas, found.quorum(6), found.delete_quorum(6)) == (6, 5, 3)
    assert found.diskfile_module == "egg:swift#erasure_coding.fs"
    assert [found.fragment_of(position) for position in (0, 5)] == [0, 5]
    assert found.is_served


def test_duplicated_fragments():
    found = erasure(ec_duplication_factor="2", ec_object_segment_size="1024")
    assert (found.replicas, found.quorum(12), found.segment_size) == (12, 10, 1024)
    assert [found.fragment_of(position) for position in (5, 6, 11)] == [5, 0, 5]
    found.check_replicas(12.0)
    with pytest.raises(ConfigError) as error:
        found.check_replicas(6.0)
    assert str(error.value) == (
        "EC ring for policy p1 needs to be configured with exactly 12 replicas. Got 6."
    )


@pytest.mark.parametrize(
    "options",
    [
        {"ec_type": ""},
        {"ec_type": "magic"},
        {"ec_type": "flat_xor_hd_3"},  # which can't do 4+2
        {"ec_type": "isa_l_rs_lrc"},
        {"ec_num_data_fragments": "0"},
        {"ec_num_data_fragments": ""},
        {"ec_num_data_fragments": "-1"},
        {"ec_num_parity_fragments": "x"},
        {"ec_num_parity_fragments": "2.5"},
        {"ec_object_segment_size": "0"},
        {"ec_object_segment_size": "99999999999"},
        {"ec_duplication_factor": "0"},
        {"ec_magic": "1"},
        {"ec_type": "isa_l_rs_vand", "ec_num_parity_fragments": "5"},
    ],
)
def test_bad_erasure_coded_policies(options):
    with pytest.raises(PolicyError):
        erasure(**options)


def test_five_parities_of_isa_l_only_for_what_is_deprecated():
    assert erasure(ec_type="isa_l_rs_vand", ec_num_parity_fragments="5", deprecated="yes").codec.parity == 5
    assert erasure(ec_type="isa_l_rs_cauchy", ec_num_parity_fragments="5").codec.parity == 5
