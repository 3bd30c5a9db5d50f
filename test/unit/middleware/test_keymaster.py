"""Root secrets from the configuration, and keys and key ids made of them (spec middleware 4.26, with its vectors)."""

import base64
import pathlib
import re

import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.core.errors import ConfigError
from swift.middleware import keymaster
from swift.middleware.encryption.ciphers import key_id_text, parse_meta, set_meta
from swift.middleware.keymaster.keys import (
    CALLBACK,
    NoKeys,
    RequestKeys,
    RootSecrets,
    UnknownSecret,
    secrets_of,
)
from swift.run import pipeline_order

SECRET = b"01234567890123456789012345678901"
OTHER = b"two" * 11


def encoded(secret):
    return base64.b64encode(secret).decode()


def keys_of(path="/AUTH_test/c/o", secrets=None, logger=None, before=None):
    _, account, container, *rest = path.encode().decode("latin-1").split("/", 3)
    secrets = secrets or RootSecrets({None: SECRET})
    return RequestKeys(
        secrets, account, container, rest[0] if rest else None, logger or memory_logger()[0], before
    )


# -- keys ------------------------------------------------------------------------------------------------------------------


def test_the_vectors():
    keys = keys_of()()
    assert keys["object"].hex() == "001afb93db19a2fc60c2424f2aad73da2b506bf59031a715809aad6c6cf7b9da"
    assert keys["container"].hex() == "9bd6fab2a68f528bd0b443f5b73ed4b9af80438a3259265726c727cddf50c32e"
    assert keys["id"] == {"v": "2", "path": "/AUTH_test/c/o"} and keys["all_ids"] == [keys["id"]]
    snow = "c06948974998a8b71dc26c0a1881aa455e44dae77f187c89c06e6c5732e4a790"
    keys = keys_of("/AUTH_test/c/\u2603")()
    assert keys["object"].hex() == snow
    assert (
        key_id_text(keys["id"])
        == "%7B%22path%22%3A+%22%2FAUTH_test%2Fc%2F%5Cu00e2%5Cu0098%5Cu0083%22%2C+%22v%22%3A+%222%22%7D"
    )
    keys = keys_of("/AUTH_test/c/\u2603", RootSecrets({None: SECRET}, version="3"))()
    assert keys["object"].hex() == snow
    assert (
        key_id_text(keys["id"])
        == "%7B%22path%22%3A+%22%2FAUTH_test%2Fc%2F%5Cu2603%22%2C+%22v%22%3A+%223%22%7D"
    )
    lead = keys_of("/AUTH_test/c//lead")
    assert lead()["object"].hex() == "f1d0e7852cf95e25c708141385ab437b18d423888f3bb58c831c2ac27937bc68"
    old = lead(key_id={"v": "1", "path": "/lead"})
    assert old["object"].hex() == "f5b0c19d2a43a85613836e80584aeb89ae973f7abd27d83e6cdf2598ecb6dbc6"
    assert old["container"] == lead()["container"]


def test_a_container_request_has_no_object_key():
    keys = keys_of("/AUTH_test/c")()
    assert "object" not in keys and keys["id"] == {"v": "2", "path": "/AUTH_test/c"}
    of_row = keys_of("/AUTH_test/c")(key_id={"v": "2", "path": "/AUTH_test/c/o"})
    assert of_row["container"] == keys["container"]


@pytest.mark.parametrize("version", ["1", "2", "3"])
@pytest.mark.parametrize(
    "name", ["o", "\u2603", "/lead", "a/b//c", "\u00e9", " ", "o" * 1024, "\u4e2d" * 341]
)
def test_what_is_written_is_read(version, name):
    keys = keys_of(f"/AUTH_test/c\u00e4/{name}", RootSecrets({None: SECRET, "two": OTHER}, "two", version))
    written = keys()
    assert written["id"]["v"] == version and written["id"]["secret_id"] == "two"
    stored = parse_meta(set_meta(key_id_text(written["id"])))["key_id"]
    read = keys(key_id=stored)
    assert (read["object"], read["container"]) == (written["object"], written["container"])


@pytest.mark.parametrize(
    "name, version",
    [
        ("o" * 1024, "2"),
        ("\u2603", "2"),
        ("\u2603" * 20, "2"),
        ("\u2603" * 22, "3"),
        ("\u4e2d" * 341, "3"),
        ("\U0001f600" * 256, "3"),
    ],
)
def test_long_names_get_the_short_form(name, version):
    """Three of it must fit beside an object, and one into a header line."""
    key_id = keys_of(f"/AUTH_test/c/{name}")()["id"]
    assert key_id["v"] == version
    assert len(key_id_text(key_id)) < 7000


@pytest.mark.parametrize(
    "path",
    ["/AUTH_test/c/\u00e2\u0098\u0083", "/AUTH_test/c/\u2603"],
    ids=["a WSGI string", "native, as some releases wrote it"],
)
def test_both_forms_of_version_2_are_read(path):
    keys = keys_of("/AUTH_test/c/\u2603")
    assert keys(key_id={"v": "2", "path": path})["object"] == keys()["object"]


def test_an_object_that_came_from_elsewhere_is_read_with_its_own_path():
    logger, lines = memory_logger()
    keys = keys_of(logger=logger)
    moved = {"v": "2", "path": "/AUTH_other/d/\u00e2\u0098\u0083"}
    assert keys(key_id=moved)["object"] == keys_of("/AUTH_other/d/\u2603")()["object"]
    assert keys(key_id=moved)["container"] == keys_of("/AUTH_other/d")()["container"]
    assert len(lines) == 1  # told once a request


@pytest.mark.parametrize(
    "key_id",
    [
        {},
        {"v": "2"},
        {"v": "4", "path": "/AUTH_test/c/o"},
        {"v": 2, "path": "/AUTH_test/c/o"},
        {"v": "2", "path": 7},
        {"v": "2", "path": "/"},
        {"v": "2", "path": "nothing"},
        {"v": "2", "path": "/a//"},
        {"v": ["2"], "path": "/AUTH_test/c/o"},
    ],
)
def test_key_ids_that_make_no_sense(key_id):
    with pytest.raises(NoKeys):
        keys_of()(key_id=key_id)


def test_unknown_secrets():
    with pytest.raises(UnknownSecret):
        keys_of()(key_id={"v": "2", "path": "/AUTH_test/c/o", "secret_id": "gone"})
    with pytest.raises(UnknownSecret):
        keys_of()(key_id={"v": "2", "path": "/AUTH_test/c/o", "secret_id": ["gone"]})


def test_a_keymaster_to_the_left_is_asked_for_what_is_not_known():
    left = keys_of(secrets=RootSecrets({"old": OTHER}, "old"))
    keys = keys_of(before=left)
    old_id = left()["id"]
    assert keys(key_id=old_id)["object"] == left()["object"]
    assert keys()["all_ids"] == [keys()["id"], old_id]
    with pytest.raises(UnknownSecret):
        keys(key_id={"v": "2", "path": "/AUTH_test/c/o", "secret_id": "gone"})


@given(st.text(min_size=1, max_size=60).filter(lambda name: "\0" not in name and name.isprintable()))
def test_any_name_is_read_as_it_was_written(name):
    keys = keys_of(f"/AUTH_test/c/{name}")
    written = keys()
    stored = parse_meta(set_meta(key_id_text(written["id"])))["key_id"]
    assert keys(key_id=stored)["object"] == written["object"]


# -- the configuration -----------------------------------------------------------------------------------------------------


def test_secrets_of_a_section():
    text = base64.encodebytes(SECRET * 3).decode()  # with line breaks
    secrets = secrets_of(
        {
            "encryption_root_secret": text,
            "encryption_root_secret_b": encoded(OTHER),
            "active_root_secret_id": "b",
        }
    )
    assert secrets.active == "b" and set(secrets.ids) == {None, "b"}
    assert encoded(OTHER) not in repr(secrets) and "two" not in repr(secrets)


@pytest.mark.parametrize(
    "conf, told",
    [
        ({}, "no encryption_root_secret"),
        (
            {"encryption_root_secret": encoded(b"short")},
            "encryption_root_secret must be base64 of at least 32",
        ),
        ({"encryption_root_secret": ""}, "at least 32"),
        ({"encryption_root_secret_a": "%%%"}, "encryption_root_secret_a must be"),
        ({"encryption_root_secret": encoded(SECRET)[:-3]}, "at least 32"),
        ({"encryption_root_secret_a": encoded(SECRET)}, "active_root_secret_id (none)"),
        (
            {"encryption_root_secret": encoded(SECRET), "active_root_secret_id": "b"},
            "active_root_secret_id b",
        ),
        ({"encryption_root_secret": encoded(SECRET), "meta_version_to_write": "4"}, "meta_version_to_write"),
    ],
)
def test_configurations_that_end_the_start(conf, told):
    with pytest.raises(ConfigError) as raised:
        keymaster.filter_factory(conf)
    assert told in str(raised.value)
    assert encoded(SECRET)[:20] not in str(raised.value)


def test_a_file_of_its_own(tmp_path):
    path = tmp_path / "keymaster.conf"
    path.write_text(
        f"[keymaster]\nencryption_root_secret_New = {encoded(OTHER)}\nactive_root_secret_id = New\n"
    )
    made = keymaster.filter_factory({}, keymaster_config_path=str(path))(App())
    assert made.secrets.active == "New"
    with pytest.raises(ConfigError, match="must stand in"):
        keymaster.filter_factory({}, keymaster_config_path=str(path), encryption_root_secret=encoded(SECRET))
    path.write_text("[other]\n")
    with pytest.raises(ConfigError, match="keymaster"):
        keymaster.filter_factory({}, keymaster_config_path=str(path))
    with pytest.raises(ConfigError):
        keymaster.filter_factory({}, keymaster_config_path=str(tmp_path / "none.conf"))


@pytest.mark.parametrize(
    "method, path, has_keys",
    [
        ("GET", "/v1/a/c/o", True),
        ("HEAD", "/v1/a/c/o", True),
        ("PUT", "/v1/a/c/o", True),
        ("POST", "/v1/a/c", True),
        ("GET", "/v1/a/c", True),
        ("DELETE", "/v1/a/c/o", False),
        ("OPTIONS", "/v1/a/c/o", False),
        ("GET", "/v1/a", False),
        ("GET", "/info", False),
        ("GET", "/v1//c/o", False),
    ],
)
def test_which_requests_get_keys(method, path, has_keys):
    app = App()
    call(keymaster.filter_factory({"encryption_root_secret": encoded(SECRET)})(app), path, method)
    assert (CALLBACK in app.arrived) == has_keys


@pytest.mark.parametrize(
    "text, told",
    [
        ("encryption_root_secret = {}\n", "line 1: before the first"),
        ("[keymaster]\nencryption_root_secret: {}\nsecret\n", "line 3: neither an option"),
        ("[keymaster]\nencryption_root_secret {}\n", "no encryption_root_secret is set"),
        (
            "[keymaster]\nencryption_root_secret = %(there)s {}\n",
            "encryption_root_secret in \\[keymaster\\] refers",
        ),
        ("[keymaster]\nencryption_root_secret = %( {}\n", "encryption_root_secret in \\[keymaster\\]"),
    ],
)
def test_a_file_with_a_mistake_is_not_shown_in_the_log(tmp_path, text, told):
    path = tmp_path / "keymaster.conf"
    path.write_text(text.format(encoded(SECRET)))
    with pytest.raises(ConfigError, match=told) as raised:
        keymaster.filter_factory({}, keymaster_config_path=str(path))
    assert encoded(SECRET)[:20] not in str(raised.value)


def test_the_page_s_examples_start(tmp_path):
    """doc/encryption.md: its files, pasted."""
    page = (pathlib.Path(__file__).parents[3] / "doc/encryption.md").read_text()
    blocks = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    for text in (blocks[0], blocks[2], blocks[2] + blocks[3]):
        path = tmp_path / "keymaster.conf"
        path.write_text(text)
        made = keymaster.filter_factory({}, keymaster_config_path=str(path))(App())
        assert made.secrets.active == ("2027" if blocks[3] in text else None)
    names = re.search(r"^pipeline = (.*) proxy-server$", blocks[1], re.MULTILINE)[1].split()
    names = [{"proxy-logging": "proxy_logging", "cache": "memcache"}.get(name, name) for name in names]
    assert pipeline_order.check(names) == ([], [])
