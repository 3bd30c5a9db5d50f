"""Values of options from files and from the environment."""

import configparser
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.config import read_conf, read_ini
from swift.core.errors import ConfigError
from swift.core.outside_values import left_as_written
from swift.run.pipeline import app_conf


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"s3cr%t%%(x)s\n")
    path.chmod(0o640)
    return path


def conf(tmp_path, value, section="app:main"):
    path = tmp_path / "x.conf"
    path.write_text(f"[DEFAULT]\nname = joe\n[{section}]\nuse = egg:swift#proxy\nword = {value}\n")
    return str(path)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("%(file:{path})s", "s3cr%t%%(x)s"),
        ("amqp://u:%(file:{path})s@h", "amqp://u:s3cr%t%%(x)s@h"),
        ("%(file:{path})s of %(name)s", "s3cr%t%%(x)s of joe"),
        ("%(env:SOME_WORD)s", "50% of %(name)s"),
        ("%(env:SOME_WORD)s %(file:{path})s", "50% of %(name)s s3cr%t%%(x)s"),
        ("50%", "50%"),
    ],
)
def test_daemons_and_pipelines_see_what_stands_there(tmp_path, secret, monkeypatch, value, read):
    monkeypatch.setenv("SOME_WORD", "50% of %(name)s")
    path = conf(tmp_path, value.format(path=secret))
    assert read_conf(path, "app:main")["word"] == read
    assert app_conf(path, "main")["word"] == read


def test_in_default_and_in_swift_conf(tmp_path, secret):
    path = tmp_path / "swift.conf"
    path.write_text(
        f"[DEFAULT]\na = %(file:{secret})s\n[swift-hash]\nswift_hash_path_suffix = %(file:{secret})s\ndoubled = 100%%\n"
    )
    found = read_ini(str(path))["swift-hash"]
    assert found["swift_hash_path_suffix"] == found["a"] == "s3cr%t%%(x)s"
    assert found["doubled"] == "100%"


def test_bytes_are_those_that_would_stand_in_the_file_itself(tmp_path):
    secret = tmp_path / "bytes"
    secret.write_bytes("für".encode())
    secret.chmod(0o600)
    for name, value in (("a", f"%(file:{secret})s"), ("b", "für")):
        (tmp_path / name).write_bytes(f"[s]\nx = {value}\n".encode())
    for encoding in ("latin-1", "utf-8"):
        assert read_ini(str(tmp_path / "a"), encoding) == read_ini(str(tmp_path / "b"), encoding)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.chmod(0o644), "others may read or change it (mode 0644): chmod 0640 or less"),
        (lambda path: path.chmod(0o660), "others may read or change it (mode 0660): chmod 0640 or less"),
        (lambda path: path.write_bytes(b"hush-hush\nmore\n"), "more than one line"),
        (lambda path: path.write_bytes(b"hush" * 20000), "more than 65536 bytes"),
        (lambda path: (path.unlink(), os.mkfifo(path, 0o600)), "not a file"),
        (lambda path: (path.unlink(), path.mkdir(0o700)), "Is a directory"),
    ],
)
def test_what_is_refused_and_that_it_is_not_told(tmp_path, secret, change, why):
    change(secret)
    path = conf(tmp_path, f"%(file:{secret})s")
    line = f"the value of word in [app:main] is to come from file:{secret}: {why}"
    for read in (lambda: read_conf(path, "app:main"), lambda: app_conf(path, "main")):
        with pytest.raises(ConfigError) as error:
            read()
        assert line in str(error.value) and "\n" not in str(error.value)
        assert "hush" not in str(error.value) and "s3cr" not in str(error.value)


def test_only_absolute_paths_and_variables_that_are_there(tmp_path):
    for value, why in (
        ("%(file:x)s", "not an absolute path"),
        ("%(env:NOT_THERE)s", "there is no such variable"),
    ):
        with pytest.raises(ConfigError, match=why):
            read_conf(conf(tmp_path, value), "app:main")


def test_whoever_shows_a_configuration_shows_where_a_secret_lies(tmp_path, secret):
    path = conf(tmp_path, f"%(file:{secret})s")
    with left_as_written():
        assert read_conf(path, "app:main")["word"] == f"%(file:{secret})s"
        assert app_conf(path, "main")["word"] == f"%(file:{secret})s"
    assert read_conf(path, "app:main")["word"] == "s3cr%t%%(x)s"


def test_to_the_references_parser_the_form_means_nothing(secret):
    parser = configparser.ConfigParser()
    parser.read_string(f"[s]\nx = %(file:{secret})s\n")
    with pytest.raises(configparser.InterpolationError):
        parser.get("s", "x")


@given(
    text=st.text(
        st.characters(
            exclude_characters="\n\r\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"]
        ),
        max_size=30,
    )
)
def test_any_content_comes_as_it_is(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    secret = folder / "s"
    secret.write_text(text)
    secret.chmod(0o600)
    (folder / "x.conf").write_text(
        f"[s]\nname = joe\na = %(file:{secret})s\nb = %(name)s:%(file:{secret})s\n"
    )
    found = read_conf(str(folder / "x.conf"), "s")
    assert (found["a"], found["b"]) == (text, f"joe:{text}")
    assert read_ini(str(folder / "x.conf"))["s"]["b"] == f"joe:{text}"
