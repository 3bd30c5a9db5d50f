"""Who may write to what is closed."""

import pytest
from filter_stand_ins import App, call

from swift.core import capabilities
from swift.middleware import read_only
from swift.middleware.read_only import ReadOnly, filter_factory


@pytest.fixture
def accounts(monkeypatch):
    """Account → its own word."""
    known = {}

    def get(environ, app, account):
        word = known.get(account)
        return {"status": 200, "sysmeta": {} if word is None else {"read-only": word}}

    monkeypatch.setattr(read_only, "get_account_info", get)
    return known


def status(conf, method, path="/v1/a/c/o", headers=None):
    app = App("201 Created")
    answer = call(ReadOnly(app, conf), path, method, headers)
    assert (answer.status_int == 405) == (app.calls == 0)
    if answer.status_int == 405:
        assert answer.body == b"Writes are disabled for this account."
    return answer.status_int


CLOSED = {"read_only": "yes"}


def test_a_closed_cluster_takes_no_writes(accounts):
    for method in ("PUT", "POST", "DELETE", "COPY"):
        assert status(CLOSED, method) == 405
        assert status({}, method) == 201
    for method in ("GET", "HEAD", "OPTIONS"):
        assert status(CLOSED, method) == 201
    assert status({**CLOSED, "allow_deletes": "yes"}, "DELETE") == 201
    assert status({**CLOSED, "allow_deletes": "yes"}, "PUT") == 405


def test_an_accounts_own_word_counts_first(accounts):
    accounts.update(closed="true", opened="false", silent="")
    for path in ("/v1/%s", "/v1/%s/c", "/v1.0/%s/c/o"):
        assert status({}, "PUT", path % "closed") == 405
        assert status(CLOSED, "PUT", path % "opened") == 201
        assert status(CLOSED, "PUT", path % "silent") == 405
        assert status({}, "PUT", path % "silent") == 201


def test_a_copy_is_written_to_where_it_goes(accounts):
    accounts["closed"] = "true"
    assert status({}, "COPY", headers={"Destination-Account": "closed"}) == 405
    assert status({}, "COPY", headers={"Destination-Account": "%63losed"}) == 405
    assert status({}, "COPY", "/v1/closed/c/o", {"Destination-Account": "a"}) == 201
    assert status({}, "PUT", "/v1/closed/c/o", {"Destination-Account": "a"}) == 405


def test_what_is_no_account_is_not_looked_at(accounts):
    for path in ("/v1", "/info", "/auth/v1.0", "/v2/a/c"):
        assert status(CLOSED, "PUT", path) == 201


def test_only_a_closed_cluster_says_so():
    capabilities.forget_all()
    filter_factory({})
    assert "read_only" not in capabilities.disclosed()
    filter_factory({}, read_only="yes")
    assert capabilities.disclosed()["read_only"] == {}
