"""When ETags get quotes, and who pays for it."""

import pytest
from filter_stand_ins import App, call

from swift.middleware import etag_quoter
from swift.middleware.etag_quoter import EtagQuoter


@pytest.fixture
def told(monkeypatch):
    """What is known of account and container: their system metadata, None where nothing is. Counts the questions."""
    known = {"account": {}, "container": {}, "asked": 0}

    def answer(level):
        def get(*args):
            known["asked"] += 1
            found = known[level]
            return {"status": 404 if found is None else 200, "sysmeta": found or {}}

        return get

    monkeypatch.setattr(etag_quoter, "get_account_info", answer("account"))
    monkeypatch.setattr(etag_quoter, "get_container_info", answer("container"))
    return known


def etag(value, conf=None, path="/v1/a/c/o", method="GET"):
    app = App(headers=[("Etag", value), ("X-Object-Meta-Etag", value)])
    answer = call(EtagQuoter(app, conf or {}), path, method)
    assert answer.headers["X-Object-Meta-Etag"] == value
    return answer.headers["Etag"]


YES = {"rfc-compliant-etags": "True"}
NO = {"rfc-compliant-etags": "False"}


@pytest.mark.parametrize(
    ("account", "container", "default", "quoted"),
    [
        ({}, {}, "no", False), ({}, {}, "yes", True), (YES, {}, "no", True), (NO, {}, "yes", False), (NO, YES, "no", True),
        (YES, NO, "yes", False), (YES, None, "yes", False), (None, {}, "yes", True),
    ],
)  # fmt: skip
def test_the_nearest_word_counts(told, account, container, default, quoted):
    told.update(account=account, container=container)
    for method in ("GET", "HEAD", "PUT"):
        assert etag("abc", {"enable_by_default": default}, method=method) == ('"abc"' if quoted else "abc")


@pytest.mark.parametrize("value", ['"abc"', 'W/"abc"'])
def test_what_has_quotes_is_left_and_nothing_is_asked(told, value):
    assert etag(value, {"enable_by_default": "yes"}) == value
    answer = call(EtagQuoter(App(headers=[("X-A", "b")]), {"enable_by_default": "yes"}))
    assert answer.headers == {"X-A": "b"}
    assert told["asked"] == 0


def test_bodies_pass_untouched(told):
    body = [b"x"]
    for path in ("/v1/a/c/o", "/v1/a/c", "/v1/a", "/v1", "/info", "/v2/a/c/o"):
        app = App(headers=[("Etag", "abc")], body=body)
        assert call(EtagQuoter(app, {}), path, read=False).raw_body is body


@pytest.mark.parametrize(("level", "path"), [("Account", "/v1/a"), ("Container", "/v1/a/c")])
@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"X-%s-Rfc-Compliant-Etags": "yes"}, "True"),
        ({"X-%s-Rfc-Compliant-Etags": "bogus"}, "False"),
        ({"X-%s-Rfc-Compliant-Etags": ""}, ""),
        ({"X-Remove-%s-Rfc-Compliant-Etags": "x"}, ""),
        ({"X-Remove-%s-Rfc-Compliant-Etags": "x", "X-%s-Rfc-Compliant-Etags": "yes"}, ""),
        ({"X-Remove-%s-Rfc-Compliant-Etags": ""}, None),
        ({}, None),
    ],
)
def test_the_wish_becomes_system_metadata(told, level, path, headers, kept):
    app = App()
    sent = {name % level: value for name, value in headers.items()}
    call(EtagQuoter(app, {}), path, "POST", sent)
    key = f"HTTP_X_{level.upper()}_SYSMETA_RFC_COMPLIANT_ETAGS"
    assert app.environ.get(key) == kept
    assert not [key for key in app.environ if key.startswith(("HTTP_X_ACCOUNT_RFC", "HTTP_X_REMOVE"))]
    app = App(headers=[(f"X-{level}-Sysmeta-Rfc-Compliant-Etags", "True")])
    assert call(EtagQuoter(app, {}), path).headers[f"X-{level}-Rfc-Compliant-Etags"] == "True"
