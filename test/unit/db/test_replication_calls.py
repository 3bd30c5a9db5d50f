"""What a server makes of calls that no sane peer makes: 400 and a short line, nothing stored, no path believed."""

import json
import os
import pathlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swift.container.server import ContainerServer
from swift.core.hashing import hash_path
from swift.db.replication.peer_state import from_answer, from_arguments
from test.databases import Logger, call, make_conf

T1 = "1700000001.00000"


@pytest.fixture
def server(tmp_path):
    conf = make_conf(tmp_path)
    app = ContainerServer(conf, Logger())
    headers = {"X-Timestamp": T1, "X-Backend-Storage-Policy-Index": "0"}
    assert call(app, "PUT", "/sda1/1/AUTH_a/c", "", headers)[0] == 201
    app.target = f"/sda1/1/{hash_path('AUTH_a', 'c')}"
    app.conf = conf
    app.device = f"{conf['devices']}/sda1"
    return app


def ask(server, body, path=None, **headers):
    text = body if isinstance(body, str) else json.dumps(body)
    status, _, answer = call(server, "REPLICATE", path or server.target, "", headers, text)
    return status, answer


def info(server):
    return json.loads(ask(server, ["sync", -1, "", "me", "9999999999", T1, "0", ""])[1])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "nonsense",
        {},
        [],
        [1],
        [["sync"]],
        ["__init__"],
        ["_sync", 1],
        ["sync"],
        ["sync", 1, 2],
        ["sync", "x", "h", "id", T1, T1, T1, ""],
        ["sync", 1, "h", "", T1, T1, T1, ""],
        ["sync", 1, "h", 5, T1, T1, T1, ""],
        ["sync", 1, "h", "id", "x", T1, T1, ""],
        ["sync", 1, "h", "id", [1], T1, T1, ""],
        ["sync", 2**70, "h", "id", T1, T1, T1, ""],
        ["sync", 1, "h", "id", T1, T1, T1, "", T1, "many", 0],
        ["merge_items"],
        ["merge_items", {}, "id"],
        ["merge_items", [], "id", 3],
        ["merge_items", [{"ROWID": 1}], ""],
        ["merge_items", [{"name": "no row id"}], "id"],
        ["merge_items", [{"ROWID": True}], "id"],
        ["merge_items", ["x"] * 100_001, "id"],
        ["sync_many"],
        ["sync_many", {}],
        ["sync_many", [[1]]],
        ["sync_many", [["1", "0" * 32]]],
        ["sync_many", [[-1, "0" * 32]]],
        ["sync_many", [[1, "../../x"]]],
        ["sync_many", [[1, "0" * 31]]],
        ["sync_many", [[1, "0" * 32]] * 1001],
        ["merge_syncs", 5],
        ["merge_syncs", [{"remote_id": "x"}]],
        ["merge_syncs", [{"remote_id": 7, "sync_point": 1}]],
        ["merge_syncs", [{"remote_id": "x", "sync_point": 2**63}]],
        ["merge_shard_ranges"],
        ["merge_shard_ranges", [{"name": "x"}]],
        ["merge_shard_ranges", "x"],
        ["complete_rsync"],
        ["complete_rsync", "../x"],
        ["complete_rsync", ".."],
        ["complete_rsync", "x", "../../x.db"],
        ["complete_rsync", "x", "other.db"],
        ["complete_rsync", "x", 7],
        ["complete_rsync", "x" * 256],
        ["complete_rsync", "x\0"],
        ["rsync_then_merge", None],
        ["rsync_then_merge", "x", "y", "z"],
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_nonsense_is_refused(server, body):
    before = info(server)
    status, answer = ask(server, body)
    assert status == 400 and len(answer) < 1200 and "Traceback" not in answer
    after = info(server)
    assert after == before


def test_paths_that_lead_nowhere(server):
    good = hash_path("AUTH_a", "c")
    for path in (
        "/sda1/1",
        "/sda1/1/x",
        f"/sda1/1/{good.upper()}",
        f"/sda1/x/{good}",
        f"/sda1/1/{good}/x",
        f"/../1/{good}",
    ):
        assert ask(server, ["sync"], path)[0] == 400, path
    assert ask(server, ["sync"], f"/sdz/1/{good}")[0] == 507
    assert ask(server, ["sync", 1, "h", "id", T1, T1, T1, ""], f"/sda1/2/{good}")[0] == 404
    assert not os.path.exists(f"{server.device}/containers/2")


def test_rows_that_cannot_be_stored_cost_only_themselves(server):
    good = {
        "ROWID": 5,
        "name": "good",
        "created_at": T1,
        "size": 1,
        "content_type": "t",
        "etag": "e",
        "deleted": 0,
        "storage_policy_index": 0,
    }
    rows = [
        {"ROWID": 4},
        {**good, "ROWID": 6, "size": "x"},
        good,
        {**good, "ROWID": 8, "created_at": "x"},
        {**good, "ROWID": 9, "name": 5},
    ]
    assert ask(server, ["merge_items", rows, "peer"])[0] == 202
    reply = json.loads(ask(server, ["sync", 20, "", "peer", T1, T1, "0", ""])[1])
    assert reply["point"] == 9 and reply["count"] == 1


def test_what_arrives_must_be_the_database_of_the_hash(server):
    tmp = f"{server.device}/tmp"
    headers = {"X-Timestamp": T1, "X-Backend-Storage-Policy-Index": "0"}
    call(server, "PUT", "/sda1/5/AUTH_a/other", "", headers)
    (path,) = pathlib.Path(f"{server.device}/containers/5").rglob("*.db")
    before = info(server)
    for name, data in (
        ("other", path.read_bytes()),
        ("rubbish", b"x" * 10000),
        ("empty", b""),
        ("short", path.read_bytes()[:9000]),
    ):
        with open(f"{tmp}/{name}", "wb") as file:
            file.write(data)
        assert ask(server, ["rsync_then_merge", name])[0] == 400
        assert os.listdir(tmp) == []
    os.symlink("/etc/hostname", f"{tmp}/link")
    os.mkdir(f"{tmp}/folder")
    for name in ("link", "folder"):
        assert ask(server, ["rsync_then_merge", name])[0] == 400
    assert info(server) == before
    assert not os.path.exists(f"{server.device}/quarantined")


def test_files_over_http_are_checked(server):
    name_hash = server.target.rsplit("/", 1)[1]
    whole = {
        "X-Backend-Database-Files": "join",
        "X-Backend-Database-Id": "peer",
        "X-Backend-Database-Crc32": "0",
    }
    for change in (
        {"X-Backend-Database-Files": "both"},
        {"X-Backend-Database-Id": ""},
        {"X-Backend-Database-Crc32": "x"},
        {"X-Backend-Database-Name": "../x.db"},
        {"X-Backend-Database-Crc32": "5"},
        {},
    ):
        assert ask(server, "not a database", **{**whole, **change})[0] == 400, change
    assert ask(server, "x", **{**whole, "X-Backend-Database-Files": "complete"})[0] == 404  # there is one
    assert ask(server, "x", f"/sda1/3/{name_hash}", **whole)[0] == 404  # there is none
    assert set(os.listdir(f"{server.device}/tmp")) <= set()


def test_many_are_answered_one_by_one(server):
    name_hash = server.target.rsplit("/", 1)[1]
    arguments = [-1, "", "me", T1, T1, "0", ""]
    questions = [[1, name_hash, *arguments], [2, name_hash, *arguments], [1, "0" * 32, *arguments]]
    status, answer = ask(server, ["sync_many", questions])
    found = json.loads(answer)
    assert status == 200 and found[1:] == [404, 404]
    assert found[0]["container"] == "c" and found[0]["point"] == -1
    assert not os.path.exists(f"{server.device}/containers/2")


def test_without_replication_server_there_is_no_such_verb(server):
    app = ContainerServer({**server.conf, "replication_server": "false"}, Logger())
    assert call(app, "REPLICATE", f"/sda1/1/{'0' * 32}", body="[]")[0] == 405


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(ANYTHING, max_size=11))
@settings(max_examples=200, deadline=None)
def test_any_arguments_make_a_state_or_a_value_error(arguments):
    try:
        state = from_arguments(arguments)
    except ValueError:
        return
    assert state.created_at == "0" or len(state.created_at) in (16, 33)
    json.dumps(state)


@given(
    ANYTHING
    | st.dictionaries(
        st.sampled_from(
            [
                "max_row",
                "hash",
                "id",
                "created_at",
                "put_timestamp",
                "delete_timestamp",
                "metadata",
                "storage_policy_index",
            ]
        ),
        ANYTHING,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_answer_makes_a_state_or_a_value_error(answer):
    try:
        from_answer(answer)
    except ValueError:
        pass


@given(
    st.sampled_from(
        [
            "sync",
            "sync_many",
            "merge_items",
            "merge_syncs",
            "merge_shard_ranges",
            "get_shard_ranges",
            "complete_rsync",
        ]
    ),
    st.lists(ANYTHING, max_size=4),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_call_is_answered(server, operation, arguments):
    status, answer = ask(server, [operation, *arguments])
    assert status in (200, 202, 400, 404)
