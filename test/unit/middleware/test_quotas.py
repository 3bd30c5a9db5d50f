"""Quotas of containers and accounts, by what is known of them."""

import io

import pytest
from filter_stand_ins import App, call

from swift.core import capabilities
from swift.core.object_headers import UNMETERED
from swift.core.policy import policies
from swift.middleware import account_quotas, container_quotas
from swift.middleware.account_quotas import AccountQuotas
from swift.middleware.container_quotas import ContainerQuotas
from swift.middleware.info.forms import usable_account_info, usable_container_info
from swift.wire.message import HTTPForbidden, Request

A = "/v1/AUTH_test"
POLICY = policies().default.name


class Reader(App):
    """Reads a request's body before it answers, asks for rights as the proxy does, and remembers what came."""

    def __call__(self, environ, start_response):
        self.body_read = b""
        authorize = environ.get("swift.authorize")
        denied = authorize(Request(environ)) if authorize is not None else None
        if denied is not None:
            return denied(environ, start_response)
        while data := environ["wsgi.input"].read(3):
            self.body_read += data
        return super().__call__(environ, start_response)


def container_info(**meta):
    counts = {
        name: meta.pop(name) for name in ("bytes", "object_count", "status", "write_acl") if name in meta
    }
    info = {
        "status": 200,
        "bytes": "0",
        "object_count": "0",
        "meta": {k.replace("_", "-"): v for k, v in meta.items()},
        **counts,
    }
    return usable_container_info({"write_acl": None, **info})


def upload(make, container=None, account=None, body=b"12345", chunked=False, **environ):
    app = Reader("201 Created")
    environ = {"wsgi.input": io.BytesIO(body), "swift.infocache": {}, **environ}
    if container is not None:
        environ["swift.infocache"]["container/AUTH_test/c"] = container
    if account is not None:
        environ["swift.infocache"]["account/AUTH_test"] = account
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ.setdefault("CONTENT_LENGTH", str(len(body)))
    answer = call(make(app), A + "/c/o", "PUT", environ=environ)
    answer.app = app
    return answer


# -- containers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known, status",
    [
        ({}, 201),
        ({"quota_bytes": "5"}, 201),
        ({"quota_bytes": "4"}, 413),
        ({"quota_bytes": "10", "bytes": "5"}, 201),
        ({"quota_bytes": "10", "bytes": "6"}, 413),
        ({"quota_count": "1"}, 201),
        ({"quota_count": "1", "object_count": "1"}, 413),
        ({"quota_count": "0"}, 413),
        ({"quota_bytes": "100", "quota_count": "1", "object_count": "1"}, 413),
        ({"quota_bytes": "", "quota_count": ""}, 201),
        ({"quota_bytes": "-1", "quota_count": "many"}, 201),
        ({"quota_bytes": "1", "status": 404}, 201),
    ],
)
def test_container_quota(known, status):
    answer = upload(ContainerQuotas, container_info(**known))
    assert answer.status_int == status
    assert status == 201 or answer.body == b"Upload exceeds quota."


@pytest.mark.parametrize("make", [ContainerQuotas, AccountQuotas])
@pytest.mark.parametrize("body, status", [(b"", 201), (b"1234", 201), (b"12345", 413), (b"1" * 100_000, 413)])
def test_an_upload_of_unknown_length_ends_where_there_is_no_room(make, body, status):
    answer = upload(
        make,
        container_info(quota_bytes="10", bytes="6"),
        account_info(bytes="6", sysmeta={"quota-bytes": "10"}),
        body,
        chunked=True,
    )
    assert answer.status_int == status
    assert len(answer.app.body_read) <= 4
    assert status == 201 or answer.body == b"Upload exceeds quota."


@pytest.mark.parametrize("length", ["x", "-1", "", "1e3", "\xb2"])
def test_a_length_that_is_none_is_the_proxys_to_refuse(length):
    assert upload(ContainerQuotas, container_info(quota_bytes="10"), CONTENT_LENGTH=length).status_int == 201


def test_who_may_not_upload_hears_that_first():
    seen = []

    def authorize(request):
        seen.append(request.acl)
        return HTTPForbidden(request=request)

    info = container_info(quota_bytes="1", write_acl="writers")
    answer = upload(ContainerQuotas, info, **{"swift.authorize": authorize})
    assert answer.status_int == 403 and seen == ["writers"]
    answer = upload(ContainerQuotas, info, **{"swift.authorize": lambda request: None})
    assert answer.status_int == 413


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("name", ["Bytes", "Count"])
@pytest.mark.parametrize(
    "value, status",
    [
        ("", 204),
        ("0", 204),
        ("12", 204),
        ("x", 400),
        ("-1", 400),
        ("1.5", 400),
        ("+5", 400),
        ("1 2", 400),
        ("\xb2", 400),
        ("\xd9\xa5", 400),
    ],
)
def test_settings_of_container_quotas(method, name, value, status):
    app = App("204 No Content")
    answer = call(ContainerQuotas(app), A + "/c", method, headers={f"X-Container-Meta-Quota-{name}": value})
    assert answer.status_int == status
    assert status == 204 or answer.body == f"Invalid {name.lower()} quota.".encode()
    assert app.calls == (status == 204)


# -- accounts ----------------------------------------------------------------------------------------------------------------


def account_info(sysmeta=None, meta=None, policy=None, **counts):
    info = {
        "status": 200,
        "bytes": "0",
        "total_object_count": "0",
        "sysmeta": sysmeta or {},
        "meta": meta or {},
        **counts,
    }
    return usable_account_info({**info, "storage_policies": {"0": policy or {"bytes": 0, "object_count": 0}}})


@pytest.mark.parametrize(
    "known, text",
    [
        ({}, None),
        ({"sysmeta": {"quota-bytes": "5"}}, None),
        ({"sysmeta": {"quota-bytes": "4"}}, "quota"),
        ({"meta": {"quota-bytes": "4"}}, "quota"),
        ({"meta": {"quota-bytes": "4"}, "sysmeta": {"quota-bytes": "50"}}, None),
        ({"sysmeta": {"quota-bytes": "10"}, "bytes": "6"}, "quota"),
        ({"sysmeta": {"quota-count": "3"}, "total_object_count": "3"}, "quota"),
        ({"sysmeta": {"quota-count": "3"}, "total_object_count": "2"}, None),
        ({"sysmeta": {"quota-bytes-policy-0": "10"}, "policy": {"bytes": 5, "object_count": 0}}, None),
        (
            {"sysmeta": {"quota-bytes-policy-0": "10"}, "policy": {"bytes": 6, "object_count": 0}},
            "policy quota",
        ),
        (
            {"sysmeta": {"quota-count-policy-0": "1"}, "policy": {"bytes": 0, "object_count": 1}},
            "policy quota",
        ),
        ({"sysmeta": {"quota-bytes-policy-1": "1"}, "policy": {"bytes": 6, "object_count": 9}}, None),
        ({"sysmeta": {"quota-bytes": "1", "quota-bytes-policy-0": "1"}}, "quota"),
        ({"sysmeta": {"quota-bytes": "x", "quota-count": "-1"}}, None),
        ({"sysmeta": {"quota-bytes": "1"}, "status": 404}, None),
    ],
)
def test_account_quota(known, text):
    answer = upload(AccountQuotas, container_info(), account_info(**known))
    assert answer.status_int == (413 if text else 201)
    assert not text or answer.body == f"Upload exceeds {text}.".encode()
    # asked with rights, the answer comes from there
    answer = upload(
        AccountQuotas, container_info(), account_info(**known), **{"swift.authorize": lambda request: None}
    )
    assert answer.status_int == (413 if text else 201)
    answer = upload(AccountQuotas, container_info(), account_info(**known), reseller_request=True)
    assert answer.status_int == 201


def test_usage_of_a_policy_counts_when_it_comes_from_a_cache():
    """The reference looks a number up in a table of strings, and finds nothing."""
    cached = {
        "status": 200,
        "sysmeta": {"quota-bytes-policy-0": "10"},
        "meta": {},
        "storage_policies": {"0": {"bytes": 9, "object_count": 1}},
    }
    assert upload(AccountQuotas, container_info(), usable_account_info(cached)).status_int == 413


def test_a_denial_wins_over_the_accounts_quota():
    answer = upload(
        AccountQuotas,
        container_info(),
        account_info(sysmeta={"quota-bytes": "1"}),
        **{"swift.authorize": lambda request: HTTPForbidden(request=request)},
    )
    assert answer.status_int == 403


SETTINGS = [
    ("X-Account-Quota-Bytes", "X-Account-Sysmeta-Quota-Bytes"),
    ("X-Account-Quota-Count", "X-Account-Sysmeta-Quota-Count"),
    ("X-Account-Meta-Quota-Bytes", "X-Account-Sysmeta-Quota-Bytes"),
    (f"X-Account-Quota-Bytes-Policy-{POLICY}", "X-Account-Sysmeta-Quota-Bytes-Policy-0"),
    (f"X-Account-Quota-Count-Policy-{POLICY}", "X-Account-Sysmeta-Quota-Count-Policy-0"),
]


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("name, stored", SETTINGS)
def test_only_resellers_set_account_quotas(method, name, stored):
    key = "HTTP_" + stored.upper().replace("-", "_")
    for header, value, expected in (
        (name, "17", "17"),
        (name, "", ""),
        (name.replace("X-", "X-Remove-", 1), "x", ""),
        (name.replace("X-", "X-Remove-", 1), "", ""),
    ):
        app = App("204 No Content")
        assert call(AccountQuotas(app), A, method, headers={header: value}).status_int == 403
        assert app.calls == 0
        answer = call(
            AccountQuotas(app), A, method, headers={header: value}, environ={"reseller_request": True}
        )
        assert answer.status_int == 204 and app.arrived[key] == expected
    for value in ("x", "-1", "1.5", "\xb2"):
        app = App("204 No Content")
        answer = call(
            AccountQuotas(app), A, method, headers={name: value}, environ={"reseller_request": True}
        )
        assert answer.status_int == 400 and app.calls == 0


def test_taking_away_wins_and_unknown_policies_are_nobodys():
    app = App("204 No Content")
    both = {"X-Account-Quota-Bytes": "5", "X-Remove-Account-Quota-Bytes": "x"}
    call(AccountQuotas(app), A, "POST", headers=both, environ={"reseller_request": True})
    assert app.arrived["HTTP_X_ACCOUNT_SYSMETA_QUOTA_BYTES"] == ""
    assert (
        call(AccountQuotas(app), A, "POST", headers={"X-Account-Quota-Bytes-Policy-nope": "5"}).status_int
        == 204
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_quotas_are_shown_to_everybody(method):
    stored = [
        ("X-Account-Sysmeta-Quota-Count-Policy-0", "4"), ("X-Account-Sysmeta-Quota-Bytes-Policy-0", "3"),
        ("X-Account-Sysmeta-Quota-Count", "2"), ("X-Account-Sysmeta-Quota-Bytes", "1"), ("X-Account-Sysmeta-Quota-Bytes-Policy-9", "7"),
    ]  # fmt: skip
    answer = call(AccountQuotas(App("204 No Content", stored)), A, method)
    assert answer.header_list[len(stored) :] == [
        ("X-Account-Quota-Bytes", "1"), ("X-Account-Quota-Count", "2"),
        (f"X-Account-Quota-Bytes-Policy-{POLICY}", "3"), (f"X-Account-Quota-Count-Policy-{POLICY}", "4"),
    ]  # fmt: skip
    assert (
        call(AccountQuotas(App(headers=[("X-Account-Sysmeta-Quota-Bytes", "")])), A, method).header_list[1:]
        == []
    )


@pytest.mark.parametrize("make", [ContainerQuotas, AccountQuotas])
def test_what_frees_room_is_not_kept_from_it(make):
    """The marker of an upload that is aborted is written anew, as the object that it was."""
    known = (
        container_info(quota_count="1", object_count="1"),
        account_info({"quota-count": "1"}, total_object_count="1"),
    )
    assert upload(make, *known, body=b"").status_int == 413
    assert upload(make, *known, body=b"", **{UNMETERED: "yes"}).status_int == 201


# -- those that it does not concern --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ContainerQuotas, AccountQuotas])
def test_others_pass_untouched(make):
    for method, path in (
        ("GET", "/c/o"),
        ("DELETE", "/c/o"),
        ("POST", "/c/o"),
        ("HEAD", "/c"),
        ("GET", "/c"),
        ("DELETE", "/c"),
    ):
        app = App(body=[b"x"])
        environ = {"wsgi.input": object(), "swift.infocache": {}}
        answer = call(make(app), A + path, method, environ=environ, read=False)
        assert answer.raw_body is app.body and app.calls == 1
        assert app.environ["swift.infocache"] == {}
    for path in ("/healthcheck", "/info", "/v1"):
        assert call(make(App()), path, "PUT").status_int == 200


def test_they_are_told_of():
    capabilities.forget_all()
    for module in (account_quotas, container_quotas):
        module.filter_factory({})
    assert capabilities.disclosed() == {"account_quotas": {}, "container_quotas": {}}
    capabilities.forget_all()
