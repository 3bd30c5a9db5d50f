"""The account server: bad input changes nothing, and reports arrive whole."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swift.account.server import AccountServer
from swift.core.hashing import hash_path
from test.databases import Logger, call, make_conf

A = "/sda1/1/AUTH_a"
REPORT = {
    "X-Put-Timestamp": "1700000001.00000",
    "X-Delete-Timestamp": "0",
    "X-Object-Count": "3",
    "X-Bytes-Used": "30",
}


@pytest.fixture
def app(tmp_path):
    app = AccountServer(make_conf(tmp_path), Logger())
    assert call(app, "PUT", A, "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    return app


def names(app, query=""):
    return [e["name"] for e in json.loads(call(app, "GET", A, f"format=json&{query}")[2])]


@pytest.mark.parametrize("name", [*REPORT, "X-Backend-Storage-Policy-Index"])
@pytest.mark.parametrize("value", [None, "", "x", "9" * 40])
def test_a_bad_report_is_refused(app, name, value):
    headers = {**REPORT, name: value}
    if value is None:
        if name not in REPORT:
            return
        del headers[name]
    status, found, body = call(app, "PUT", f"{A}/c", "", headers)
    assert (status, found["Content-Type"]) == (400, "text/plain"), body
    assert body == f"{'Missing' if value is None else 'Invalid'} {name} header"
    assert names(app) == []


NASTY = st.sampled_from(["", "x", "0", "-1", "1e400", "9" * 30, "a\0b", "é", "1700000000.00000", "yes"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "REPLICATE", "X"]),
    st.sampled_from(
        [
            "/",
            "",
            "/sda1",
            "/sda1/1",
            "/sda1/x/a",
            "/sda1/1/a",
            "/sda1/1/AUTH_a",
            "/sda1/1/AUTH_a/c",
            "/sda1/1/AUTH_a/c/o",
        ]
        + ["/../1/a", "/sda1/../a/c", "/no/1/a/c", "/sda1/1/%00", "/sda1/1/%ff", "/sda1/1/.a/c"]
    ),
    st.dictionaries(
        st.sampled_from(["limit", "marker", "prefix", "delimiter", "reverse", "format", "end_marker"]),
        st.sampled_from(["", "1", "%ff", "%00", "json", "xml", "a/", "%F4%8F%BF%BF", "99999999"]),
        max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(
            [*REPORT, "X-Timestamp", "X-Backend-Storage-Policy-Index", "X-Account-Meta-A", "Accept"]
        ),
        NASTY,
    ),
)
def test_nothing_a_peer_sends_ends_in_a_500(app, method, path, query, headers):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    status, _, found = call(app, method, path, text, headers)
    assert status < 500 or (status == 507 and path.startswith("/no")), (status, found, app.logger.lines)
    assert "Traceback" not in found


def test_reports(app):
    assert call(app, "PUT", f"{A}/c", "", REPORT)[0] == 201
    assert call(app, "PUT", f"{A}/d", "", {**REPORT, "X-Delete-Timestamp": "1700000002.00000"})[0] == 204
    assert names(app) == ["c", "d"], "a container with objects is not deleted"
    gone = {**REPORT, "X-Delete-Timestamp": "1700000002.00000", "X-Object-Count": "0", "X-Bytes-Used": "0"}
    assert call(app, "PUT", f"{A}/d", "", gone)[0] == 204
    assert names(app) == ["c"]
    headers = call(app, "HEAD", A)[1]
    assert headers["X-Account-Container-Count"] == "1"
    assert headers["X-Account-Object-Count"] == "3"
    assert headers["X-Account-Storage-Policy-Gold-Bytes-Used"] == "30"


def test_only_listings_look_at_their_parameters(app):
    for query in ("marker=%ff", "limit=99999999", "delimiter=%ff"):
        assert call(app, "HEAD", A, query)[0] == 204
        assert call(app, "GET", A, query)[0] in (400, 412)
    for query in ("path=%ff", "states=%ff", "x=%ff"):
        assert call(app, "GET", A, query)[0] in (200, 204)
    assert call(app, "HEAD", A, "format=%ff")[0] == 400


def test_too_much_metadata_changes_nothing(app):
    before = call(app, "HEAD", A)
    many = {f"X-Account-Meta-{n}": "v" for n in range(91)}
    for method in ("PUT", "POST"):
        assert call(app, method, A, "", {"X-Timestamp": "1700000009.00000", **many})[0] == 400
    assert call(app, "HEAD", A) == before
    assert call(app, "PUT", "/sda1/1/AUTH_b", "", {"X-Timestamp": "1700000009.00000", **many})[0] == 400
    assert call(app, "HEAD", "/sda1/1/AUTH_b")[0] == 404


def test_an_account_deleted_through_replication(app, tmp_path):
    """Replication carries the times, not the status."""
    from swift.account.broker import AccountBroker

    digest = hash_path("AUTH_a")
    broker = AccountBroker(f"{tmp_path}/node/sda1/accounts/1/{digest[-3:]}/{digest}/{digest}.db")
    broker.merge_timestamps("1600000000.00000", "1700000000.00000", "1700000005.00000")
    status, headers, _ = call(app, "GET", A)
    assert (status, headers["X-Account-Status"]) == (404, "Deleted")
    assert call(app, "PUT", A, "", {"X-Timestamp": "1700000009.00000"})[0] == 403


def test_damage_is_answered_once_and_set_aside(app, tmp_path):
    digest = hash_path("AUTH_a")
    path = f"{tmp_path}/node/sda1/accounts/1/{digest[-3:]}/{digest}/{digest}.db"
    with open(path, "r+b") as file:
        file.write(b"\0" * 4096)
    os.utime(path)
    assert call(app, "HEAD", A)[0] == 500
    assert call(app, "HEAD", A)[0] == 404
    assert os.listdir(tmp_path / "node/sda1/quarantined/accounts") == [digest]
