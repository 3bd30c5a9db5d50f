import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core import config
from swift.core.errors import ConfigError


@pytest.mark.parametrize("word", ["true", "1", "yes", "ON", "t", "Y", True])
def test_true_values(word):
    assert config.truthy(word)


@given(
    st.one_of(st.none(), st.integers(), st.text().filter(lambda text: text.lower() not in config.TRUE_VALUES))
)
def test_all_else_is_false(value):
    assert not config.truthy(value)


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (lambda v: config.auto_int(v, 7), "auto", 7),
        (lambda v: config.auto_int(v, 7), None, 7),
        (lambda v: config.auto_int(v, 7), "1_0", 10),
        (
            lambda v: config.auto_int(v, 7),
            "x",
            'Config option must be an integer or the string "auto", not "x".',
        ),
        (config.positive_int, "1", 1),
        (config.positive_int, "0", 'Config option must be an positive int number, not "0".'),
        (config.positive_float, "0.5", 0.5),
        (config.positive_float, "0", 'Config option must be a positive float number, not "0".'),
        (lambda v: config.bounded_float(v, 0, 9), "9", 9.0),
        (
            lambda v: config.bounded_float(v, 0),
            "-1",
            'Config option must be a number, greater than 0, not "-1".',
        ),
        (lambda v: config.bounded_float(v), "x", 'Config option must be a number, not "x".'),
        (config.percent, "50", 0.5),
        (
            config.percent,
            "101",
            'Config option must be a number, greater than 0, less than 100, not "101".: 101',
        ),
        (config.non_negative_int, "-1", 'Value must be a non-negative integer, not "-1".'),
        (config.non_negative_float, "x", 'Value must be a non-negative float number, not "x".'),
        (config.non_negative_float, "nan", 'Value must be a non-negative float number, not "nan".'),
        (config.fallocate_reserve, "1%", (1.0, True)),
        (config.fallocate_reserve, "1024", (1024, False)),
        (config.fallocate_reserve, "x%", "Error: x% is an invalid value for fallocate_reserve."),
        (config.csv_list, " a, ,b ", ["a", "b"]),
        (config.csv_list, None, []),
    ],
)
def test_values(parse, text, expected):
    if isinstance(expected, str):
        with pytest.raises(ValueError) as caught:
            parse(text)
        assert str(caught.value) == expected
    else:
        assert parse(text) == expected


def test_request_node_count():
    assert config.request_node_count("2 * REPLICAS")(3) == 6
    assert config.request_node_count(" 5 ")(3) == 5
    for bad in ("", "x", "2 * nodes", "2*replicas", "-1"):
        with pytest.raises(ValueError, match="^Invalid request_node_count value: "):
            config.request_node_count(bad)


def test_affinity():
    key = config.read_affinity("r1z2=200, r1=100, r2z1=50")
    devices = [{"region": r, "zone": z} for r, z in ((1, 1), (1, 2), (2, 1), (2, 2))]
    assert [key(device) for device in devices] == [100, 100, 50, 2**32]
    assert config.read_affinity("")(devices[0]) == 2**32
    local = config.write_affinity("r1z2, r2")
    assert [local(device) for device in devices] == [False, True, True, True]
    assert config.write_affinity(" ") is None
    for bad in ("r1", "r=1", "r1z=1", "z1=1", "r1=x"):
        with pytest.raises(ValueError, match="^Invalid affinity value: "):
            config.read_affinity(bad)
    for bad in ("r1=1", "x", "r1z"):
        with pytest.raises(ValueError, match="^Invalid write-affinity value: "):
            config.write_affinity(bad)


def test_multi_keys():
    conf = {"key_b": "2", "key": "0", "key_a": "1", "keys": "x"}
    assert config.multi_key_options(conf, "key") == [
        ("key", None, "0"),
        ("key_a", "a", "1"),
        ("key_b", "b", "2"),
    ]
    with pytest.raises(ValueError, match="Malformed multi-key option name key_"):
        config.multi_key_options({"key_": "x"}, "key")


def test_reseller_options():
    prefixes, options = config.reseller_options(
        {"reseller_prefix": "AUTH, '', SERVICE_", "roles": "Admin, b", "SERVICE_roles": "c", "''roles": "d"},
        {"roles": ["x"], "group": ""},
    )
    assert prefixes == ["AUTH_", "", "SERVICE_"]
    assert [options[prefix]["roles"] for prefix in prefixes] == [["admin", "b"], ["d"], ["c"]]
    assert options["AUTH_"]["group"] == ""
    assert config.reseller_options({}, {})[0] == ["AUTH_"]


P = """
[DEFAULT]
bind_port = 9999
log_level = INFO
fallocate_reserve = 1%
pct = %(bind_port)s

[app:proxy-server]
use = egg:swift#proxy
log_level = WARNING
Node_Timeout = 7 ; not a comment
set log_name = mine
get zz = bind_port
"""


def test_daemons_see_their_section_over_default(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text(P)
    conf = config.read_conf(str(path), "app:proxy-server")
    assert conf == {
        "bind_port": "9999", "log_level": "WARNING", "fallocate_reserve": "1%", "pct": "9999", "use": "egg:swift#proxy",
        "Node_Timeout": "7 ; not a comment", "set log_name": "mine", "get zz": "bind_port",
        "log_name": "app:proxy-server", "__file__": str(path),
    }  # fmt: skip
    assert config.read_conf(str(path), "app:proxy-server", log_name="x")["log_name"] == "x"


def test_missing_sections_and_files(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text(P)
    with pytest.raises(ConfigError, match=f"^Unable to find object-updater config section in {path}$"):
        config.read_conf(str(path), "object-updater")
    with pytest.raises(ConfigError, match="^Unable to read config from /nonexistent"):
        config.read_conf("/nonexistent", "x")
    path.write_text("no section = here\n")
    with pytest.raises(ConfigError) as caught:
        config.read_conf(str(path), "x")
    assert "\n" not in str(caught.value)


def test_directories_are_read_in_order(tmp_path):
    directory = tmp_path / "x.conf.d"
    directory.mkdir()
    with pytest.raises(ConfigError, match=f"^Unable to read config from {directory}$"):
        config.read_conf(str(directory), "a")
    (directory / "10.conf").write_text("[DEFAULT]\nx = 1\ny = 1\n[a]\nz = 1\n")
    (directory / "20.conf").write_text("[DEFAULT]\nx = 2\n[a]\nq = 2\n")
    (directory / ".hidden.conf").write_text("[a]\nz = 9\n")
    (directory / "30.txt").write_text("[a]\nz = 9\n")
    conf = config.read_conf(str(directory), "a")
    assert {key: conf[key] for key in "xyzq"} == {"x": "2", "y": "1", "z": "1", "q": "2"}


def test_prefixed_sections(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text("[DEFAULT]\na = 1\n[proxy-server:policy: 1]\nb = 2\n[other]\n")
    assert config.prefixed_sections(str(path), "proxy-server:policy:") == {"1": {"a": "1", "b": "2"}}
