"""What swift.conf and the file of keys say of who is trusted between nodes, and how mistakes in them are told."""

import os

import pytest

from swift.core import backend_security, clock
from swift.core.backend_security import Tls, parse, read_keys
from swift.core.errors import ConfigError

SECRET, OTHER = "s3cr3t-" * 6, "0ther-" * 7


def keys_file(tmp_path, text, mode=0o600):
    path = tmp_path / "backend-keys"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_without_anything_said_nothing_is_signed(tmp_path):
    (tmp_path / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = x\n")
    settings = backend_security.load(str(tmp_path))
    assert settings.signing == "off" and settings.tls.way == "off" and not settings.keys


def test_a_whole_section(tmp_path):
    keys_file(tmp_path, f"# two\nnew {SECRET}\n\n  old\t{OTHER}  \n")
    (tmp_path / "swift.conf").write_text(
        "[backend-security]\nsigning = Require\nsigning_window = 60\nopen_paths = /healthcheck /metrics/\n"
    )
    settings = backend_security.load(str(tmp_path))
    assert settings is backend_security.current()
    assert settings.signing == "require" and settings.window == 60
    assert settings.open_paths == ("/healthcheck", "/metrics")
    assert list(settings.keys.items()) == [("new", SECRET.encode()), ("old", OTHER.encode())]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"signing": "yes"}, "signing must be one of off, sign, require, not 'yes'"),
        ({"tls": "on"}, "tls must be one of off, accept, use, require, not 'on'"),
        ({"tls": "require"}, "tls = require needs tls_cert_file and tls_ca_file"),
        ({"signing_window": "0"}, "signing_window must be between 1 and 86400 seconds, not '0'"),
        ({"signing_window": "nan"}, "signing_window must be between"),
        ({"open_paths": "recon"}, "open_paths must be paths"),
        ({"open_paths": "/"}, "open_paths must be paths"),
        ({"signing": "sign"}, "cannot read the keys in"),
    ],
)
def test_mistakes_end_the_start(tmp_path, options, told):
    with pytest.raises(ConfigError, match=told):
        parse(options, str(tmp_path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"a {SECRET}\na {OTHER}\n", "line 2: a second key a"),
        (f"a {SECRET}\n{OTHER}\n", "line 2: must be a key's id and its secret"),
        ("a tooshort-tooshort-tooshort\n", "line 1: the secret must have 32 characters or more"),
        (f"a {SECRET} {OTHER}\n", "line 1: must be"),
        ("# none\n", "must hold 1 to 16 keys"),
        ("".join(f"k{n} {SECRET}\n" for n in range(17)), "must hold 1 to 16 keys"),
    ],
)
def test_mistakes_in_a_file_of_keys_are_told_without_secrets(tmp_path, text, told):
    with pytest.raises(ConfigError, match=told) as caught:
        read_keys(keys_file(tmp_path, text))
    assert not any(secret in str(caught.value) for secret in (SECRET, OTHER, "tooshort"))


def test_keys_that_everybody_may_read_are_no_secret(tmp_path):
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(keys_file(tmp_path, f"a {SECRET}\n", 0o644))
    assert read_keys(keys_file(tmp_path, f"a {SECRET}\n", 0o640))


def test_files_are_looked_at_now_and_then(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    path = tmp_path / "f"
    path.write_text("1")
    files = backend_security.WatchedFiles(str(path), str(tmp_path / "none"), "")
    other = tmp_path / "g"
    other.write_text("2")
    os.replace(other, path)
    assert not files.changed()
    now[0] += backend_security.LOOK_SECONDS
    assert files.changed()
    now[0] += backend_security.LOOK_SECONDS
    assert not files.changed()
    path.unlink()
    now[0] += backend_security.LOOK_SECONDS
    assert files.changed()


def test_names_of_certificates():
    tls = Tls(names=("*.storage.example", "10.0.0.*"))
    assert tls.lets_in(["x", "a.Storage.example"]) and tls.lets_in(["10.0.0.7"])
    assert not tls.lets_in(["a.example"]) and not tls.lets_in([])
