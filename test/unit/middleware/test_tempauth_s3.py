"""tempauth and S3: who signed, by the users' own keys and by those of a file, and that unknown access keys are told apart."""

import json
import os
import stat

import pytest
from filter_stand_ins import Metrics, call, memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.cli import s3_keys as command
from swift.core import clock
from swift.middleware.tempauth import TempAuth, s3_keys

USERS = {
    "user_test_tester": "testing .admin",
    "user64_dMOpc3Q_dXPDqXI": "testing .admin",
    "user_v1_v1": "key .admin",
}


class Seen:
    def __call__(self, environ, start_response):
        self.environ = environ
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]


def signed(access_key, secret, path=None, **conf):
    """The environ as it arrives behind tempauth."""
    seen = Seen()
    auth = conf.pop("auth", None) or TempAuth(seen, {**USERS, **conf}, memory_logger()[0], Metrics())
    auth.app = seen
    details = {
        "access_key": access_key,
        "signature": "x",
        "string_to_sign": b"x",
        "check_signature": lambda tried: tried == secret,
    }
    raw = access_key.encode().decode("latin-1")
    call(auth, path or f"/v1/{raw}/b/k", "GET", {}, {"s3api.auth_details": details})
    return seen.environ


def test_a_user_signs_with_its_own_key():
    environ = signed("test:tester", "testing")
    assert environ["PATH_INFO"] == "/v1/AUTH_test/b/k"
    assert environ["s3api.user_id"] == "test:tester"
    assert environ["REMOTE_USER"].startswith("test,test:tester")


def test_names_that_are_not_ascii_are_text():
    environ = signed("t\xe9st:us\xe9r", "testing")
    assert environ["PATH_INFO"] == "/v1/AUTH_t\xe9st/b/k".encode().decode("latin-1")
    assert "s3api.unknown_access_key" in signed("\u0416:\u4e2d", "testing")


def test_the_account_stands_where_the_access_key_was(tmp_path):
    path = str(tmp_path / "keys")
    s3_keys.change(path, lambda keys: s3_keys.add(keys, "v1:v1", "k1k"))
    secret = s3_keys.load(path)["k1k"].secrets[0]
    environ = signed("k1k", secret, "/v1/k1k/k1k/k1k", s3_keys_file=path)
    assert environ["PATH_INFO"] == "/v1/AUTH_v1/k1k/k1k"


@pytest.mark.parametrize(
    "access_key, is_unknown", [("test:tester", False), ("test:nobody", True), ("", True)]
)
def test_an_unknown_access_key_is_not_a_wrong_signature(access_key, is_unknown):
    environ = signed(access_key, "another")
    assert environ.get("s3api.unknown_access_key", False) is is_unknown
    assert "REMOTE_USER" not in environ


# -- keys of their own -----------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "s3-keys.json")


@pytest.fixture
def run(path, capsys):
    def run(*words, ok=True):
        assert (command.main(["-f", path, "-j", *words]) == 0) is ok
        out = capsys.readouterr().out
        return json.loads(out) if out else None

    return run


def test_a_key_of_ones_own(path, run):
    made = run("add", "test:tester")
    assert ":" not in made["access_key"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    environ = signed(made["access_key"], made["secret_key"], s3_keys_file=path)
    assert environ["PATH_INFO"] == "/v1/AUTH_test/b/k"
    assert environ["s3api.user_id"] == "test:tester"
    assert "REMOTE_USER" not in signed(made["access_key"], "testing", s3_keys_file=path)


def test_a_changed_file_keeps_its_group(path, run):
    run("add", "test:tester")
    os.chmod(path, 0o640)
    group = next((found for found in os.getgroups() if found != os.getegid()), 12345)
    try:
        os.chown(path, -1, group)
    except PermissionError:
        return  # neither root nor in a second group
    run("add", "test:tester")
    found = os.stat(path)
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, 0o640)


def test_a_secret_is_replaced_without_a_break(path, run):
    made = run("add", "test:tester", "--access-key", "mine")
    replaced = run("rotate", "mine")
    for secret in (made["secret_key"], replaced["secret_key"]):
        assert "REMOTE_USER" in signed("mine", secret, s3_keys_file=path)
    run("retire", "mine")
    assert "REMOTE_USER" not in signed("mine", made["secret_key"], s3_keys_file=path)
    assert "REMOTE_USER" in signed("mine", replaced["secret_key"], s3_keys_file=path)


def test_switched_off_and_removed(path, run):
    secret = run("add", "test:tester", "--access-key", "mine")["secret_key"]
    run("disable", "mine")
    assert signed("mine", secret, s3_keys_file=path)["s3api.unknown_access_key"]
    run("enable", "mine")
    assert "REMOTE_USER" in signed("mine", secret, s3_keys_file=path)
    run("remove", "mine")
    assert signed("mine", secret, s3_keys_file=path)["s3api.unknown_access_key"]


def test_a_list_shows_no_secrets(path, run):
    secret = run("add", "test:tester", "--access-key", "mine")["secret_key"]
    run("add", "a:b")
    listed = run("list", "test:tester")
    assert [entry["access_key"] for entry in listed] == ["mine"]
    assert secret not in json.dumps(run("list"))
    assert len(run("list")) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("add", "nobody"),
        ("add", "a:b", "--access-key", "a:b"),
        ("rotate", "x"),
        ("remove", "x"),
        ("disable", "x"),
    ],
)
def test_what_a_command_refuses_changes_nothing(path, run, words):
    run("add", "test:tester", "--access-key", "mine")
    before = open(path, "rb").read()
    run(*words, ok=False)
    run("add", "test:tester", "--access-key", "mine", ok=False)
    assert open(path, "rb").read() == before


def test_a_running_proxy_sees_changes_and_outlives_a_broken_file(path, run, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    auth = TempAuth(None, {**USERS, "s3_keys_file": path}, memory_logger()[0], Metrics())
    assert "REMOTE_USER" not in signed("mine", "x", auth=auth)
    secret = run("add", "test:tester", "--access-key", "mine")["secret_key"]
    assert "REMOTE_USER" not in signed("mine", secret, auth=auth)
    now[0] += 3
    assert "REMOTE_USER" in signed("mine", secret, auth=auth)
    with open(path, "w") as file:
        file.write("{")
    now[0] += 3
    assert "REMOTE_USER" in signed("mine", secret, auth=auth)
    run("add", "test:tester", ok=False)
    os.unlink(path)
    now[0] += 3
    assert "REMOTE_USER" not in signed("mine", secret, auth=auth)


def test_a_file_that_everybody_may_read_is_not_used(path, run):
    secret = run("add", "test:tester", "--access-key", "mine")["secret_key"]
    os.chmod(path, 0o644)
    assert "REMOTE_USER" not in signed("mine", secret, s3_keys_file=path)
    run("list", ok=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "keys", "abc", "user", "secrets", "created"]), below, max_size=4
            )
        ),
    )
)
def test_any_document_is_read_or_refused(document):
    for data in (document, {"version": 1, "keys": document}, {"version": 1, "keys": {"abc": document}}):
        try:
            s3_keys.parse(json.dumps(data).encode())
        except s3_keys.BadKeysFile:
            pass
