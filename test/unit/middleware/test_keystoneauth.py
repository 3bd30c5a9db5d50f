"""keystoneauth over WSGI: who is who by what the token filter says, and who may do what."""

import pytest
from filter_stand_ins import App, call, memory_logger

from swift.core import capabilities
from swift.middleware.info import PROCESS_CACHE
from swift.middleware.keystoneauth import KeystoneAuth, filter_factory
from swift.run import pipeline_order
from swift.wire.message import Request

V3 = {"keystone.token_info": {"token": {}}}
V2 = {"keystone.token_info": {"access": {}}}
DOMAIN_KEPT = "HTTP_X_ACCOUNT_SYSMETA_PROJECT_DOMAIN_ID"


class Asks:
    """Asks for authorization as the proxy does and answers 200 or what it was told.

    `domain`: what is kept with the account, "" for nothing; None: there is no account.
    """

    def __init__(self, acl=None, domain="", sync_key=None, headers=()):
        self.acl = acl
        self.domain = domain
        self.sync_key = sync_key
        self.headers = list(headers)
        self.environ = None
        self.lookups = 0

    def __call__(self, environ, start_response):
        if environ.get("swift.source") == "GET_ACCOUNT_INFO":
            self.lookups += 1
            kept = [("X-Account-Sysmeta-Project-Domain-Id", self.domain)] if self.domain else []
            start_response("404 Not Found" if self.domain is None else "204 No Content", kept)
            return [b""]
        self.environ = environ
        if self.acl is not None:
            environ["swob.ACL"] = self.acl
        if self.sync_key is not None:
            environ["swift_sync_key"] = self.sync_key
        denied = environ["swift.authorize"](Request(environ))
        if denied is not None:
            return denied(environ, start_response)
        start_response("200 OK", [("Content-Length", "0"), *self.headers])
        return [b""]


@pytest.fixture(autouse=True)
def _nothing_known():
    PROCESS_CACHE.clear()
    yield
    PROCESS_CACHE.clear()


def identity(
    roles="",
    user=("u1", "alice"),
    project=("p1", "demo"),
    domain="default",
    project_domain=None,
    service_roles=None,
):
    headers = {"X-Identity-Status": "Confirmed", "X-User-Id": user[0], "X-User-Name": user[1]}
    if project:
        headers.update({"X-Project-Id": project[0], "X-Project-Name": project[1]})
    headers["X-Roles"] = roles
    headers["X-User-Domain-Id"] = domain
    headers["X-Project-Domain-Id"] = project_domain or domain
    if service_roles is not None:
        headers.update({"X-Service-Identity-Status": "Confirmed", "X-Service-Roles": service_roles})
    return headers


OPERATOR = identity("member, SwiftOperator")
MEMBER = identity("member")
OTHER = identity("swiftoperator", ("u2", "bob"), ("p2", "other"))
RESELLER = identity("reselleradmin", ("u3", "root"), ("p3", "admins"))


def ask(who, path="/v1/AUTH_p1/c/o", method="GET", app=None, environ=V3, referrer=None, **conf):
    """(status, whether owner) of a request; `who`: headers of the token filter."""
    PROCESS_CACHE.clear()
    app = app or Asks()
    filter_ = KeystoneAuth(app, conf, memory_logger()[0])
    headers = dict(who or {})
    if referrer:
        headers["Referer"] = referrer
    answer = call(filter_, path, method, headers, dict(environ))
    return answer.status_int, bool((app.environ or {}).get("swift_owner"))


# -- who asks --------------------------------------------------------------------------------------------------------------


def test_what_is_left_for_other_filters():
    app = Asks()
    assert ask(identity("admin, x,", service_roles="service"), app=app) == (200, True)
    assert app.environ["REMOTE_USER"] == ("p1", "demo")
    assert app.environ["keystone.identity"] == {
        "user": ("u1", "alice"),
        "tenant": ("p1", "demo"),
        "roles": ["admin", "x"],
        "service_roles": ["service"],
        "user_domain": ("default", None),
        "project_domain": ("default", None),
        "auth_version": 3,
    }
    assert app.environ["swift.access_logging"] == {"user_id": "u1"}
    assert "reseller_request" not in app.environ
    assert ask(RESELLER, app=app) == (200, True)
    assert app.environ["reseller_request"] is True


@pytest.mark.parametrize("environ, version", [(V3, 3), (V2, 2), ({}, 0), ({"keystone.token_info": None}, 0)])
def test_domains_are_told_by_tokens_of_version_3_alone(environ, version):
    app = Asks()
    ask(OPERATOR, app=app, environ=environ)
    told = app.environ["keystone.identity"]
    assert told["auth_version"] == version
    assert told["user_domain"] == (("default", None) if version == 3 else (None, None))


def test_older_names_of_the_headers():
    who = {
        **identity("admin", project=None),
        "X-Tenant-Id": "p1",
        "X-Tenant-Name": "demo",
    }
    assert ask(who) == (200, True)


@pytest.mark.parametrize(
    "who",
    [
        None,
        {"X-Roles": "admin", "X-Project-Id": "p1", "X-User-Id": "u1"},
        {**OPERATOR, "X-Identity-Status": "Invalid"},
        {**OPERATOR, "X-Identity-Status": "confirmed"},
        {**OPERATOR, "X-Service-Identity-Status": "Invalid"},
    ],
)
def test_whoever_is_not_confirmed_is_nobody(who):
    app = Asks()
    assert ask(who, app=app) == (401, False)
    assert "REMOTE_USER" not in app.environ
    assert "keystone.identity" not in app.environ


def test_a_decision_made_further_left_stands():
    def allow(request):
        return None

    override = {"swift.authorize": allow, "swift.authorize_override": True}
    assert ask(None, environ=override)[0] == 200
    assert ask(None, environ=override, allow_overrides="no")[0] == 401


def test_the_hook_goes_along_with_requests_that_filters_make():
    app = Asks()
    ask(OPERATOR, app=app)
    hook = app.environ["swift.authorize"]
    for path, status in (("/v1/AUTH_p1/segments/1", None), ("/v1/AUTH_p2/segments/1", 403)):
        made = Request.blank(path, environ={"REMOTE_USER": app.environ["REMOTE_USER"]})
        denied = hook(made)
        assert (denied and denied.status_int) == status


# -- who may do what -------------------------------------------------------------------------------------------------------

EVERYTHING = [
    (method, path)
    for path in ("/v1/AUTH_p1", "/v1/AUTH_p1/c", "/v1/AUTH_p1/c/o")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE")
    if (method, path) != ("DELETE", "/v1/AUTH_p1")
]


@pytest.mark.parametrize("method, path", EVERYTHING)
def test_each_role_for_each_verb(method, path):
    reads = method in ("GET", "HEAD")
    conf = {"project_reader_roles": "Observer", "system_reader_roles": "auditor"}
    for who, status, owner in (
        (OPERATOR, 200, True),
        (identity("Admin"), 200, True),
        (RESELLER, 200, True),
        (MEMBER, 403, False),
        (OTHER, 403, False),
        (identity("observer"), 200 if reads else 403, False),
        (identity("observer", project=("p2", "other")), 403, False),
        (identity("AUDITOR", project=("p2", "other")), 200 if reads else 403, False),
        (identity("auditor", project=None), 200 if reads else 403, False),
        (identity("admin", project=None), 403, False),
        (None, 401, False),
    ):
        assert ask(who, path, method, **conf) == (status, owner), who


def test_only_resellers_delete_accounts():
    assert ask(OPERATOR, "/v1/AUTH_p1", "DELETE") == (403, False)
    assert ask(RESELLER, "/v1/AUTH_p1", "DELETE") == (200, True)


def test_without_a_project_nothing_is_ones_own():
    """The reference takes a token without a project for one of the project None."""
    nobody = identity("admin", project=None)
    assert ask(nobody, "/v1/AUTH_None/c/o", "PUT") == (403, False)
    assert ask({**nobody, "X-Project-Id": ""}, "/v1/AUTH_/c/o", "PUT") == (403, False)
    app = Asks("None:u1,:u1")
    assert ask(nobody, app=app)[0] == 403


@pytest.mark.parametrize("path", ["/v1/AUTH_p2/c", "/v1/OTHER_p1/c", "/v1/p1/c", "/v1/AUTH_/c", "/v1/.p1/c"])
def test_only_the_account_of_the_project_is_ones_own(path):
    assert ask(OPERATOR, path) == (403, False)


def test_paths_without_an_account_are_404():
    assert ask(OPERATOR, "/v1//c")[0] == 404
    assert ask(None, "/v1//c")[0] == 404


def test_options_are_for_everybody():
    for who in (None, MEMBER, OTHER):
        assert ask(who, method="OPTIONS")[0] == 200


def test_several_prefixes_have_rules_of_their_own():
    conf = {
        "reseller_prefix": "AUTH, SERVICE",
        "SERVICE_service_roles": "service",
        "SERVICE_operator_roles": "swiftoperator",
    }
    with_service = identity("swiftoperator", service_roles="x,Service")
    for who, account, status in (
        (OPERATOR, "AUTH_p1", 200),
        (OPERATOR, "SERVICE_p1", 403),
        (with_service, "SERVICE_p1", 200),
        (with_service, "AUTH_p1", 200),
        (with_service, "SERVICE_p2", 403),
        (identity("swiftoperator", service_roles="x"), "SERVICE_p1", 403),
        (identity("member", service_roles="service"), "SERVICE_p1", 403),
        (identity("admin", service_roles="service"), "SERVICE_p1", 403),
        (identity("admin"), "AUTH_p1", 200),
    ):
        assert ask(who, f"/v1/{account}/c/o", "PUT", **conf)[0] == status, (who, account)


def test_an_account_is_under_the_longest_prefix():
    """Else the project SERVICE_p1 would reach the account that needs a service's token."""
    conf = {"reseller_prefix": "AUTH, AUTH_SERVICE, ''", "AUTH_SERVICE_service_roles": "service"}
    assert ask(OPERATOR, "/v1/AUTH_p1", **conf)[0] == 200
    assert ask(OPERATOR, "/v1/p1", **conf)[0] == 200
    assert ask(OPERATOR, "/v1/AUTH_SERVICE_p1", **conf)[0] == 403
    sly = identity("swiftoperator", project=("SERVICE_p1", "sly"))
    assert ask(sly, "/v1/AUTH_SERVICE_p1", **conf)[0] == 403


def test_options_have_their_defaults_and_others():
    assert ask(identity("boss"), operator_roles="BOSS, x") == (200, True)
    assert ask(OPERATOR, operator_roles="boss") == (403, False)
    assert ask(identity("ra", project=None), reseller_admin_role="RA") == (200, True)
    assert ask(RESELLER, reseller_admin_role="RA") == (403, False)
    logger, lines = memory_logger(30)
    KeystoneAuth(App(), {"is_admin": "true"}, logger)
    assert "is_admin" in lines[0]


# -- ACLs ------------------------------------------------------------------------------------------------------------------

STRANGER = identity("member, guest", ("u2", "bob"), ("p2", "other"))


@pytest.mark.parametrize(
    "acl, may",
    [
        ("p2:u2", True), ("p2:*", True), ("*:u2", True), ("*:*", True), ("x:y,p2:u2", True),
        ("other:bob", True), ("other:*", True), ("*:bob", True), ("p2:bob", True), ("other:u2", True),
        ("o%74her:b%6fb", True), ("p2%3Au2", True),
        ("p1:u2", False), ("p2:u1", False), ("p2", False), ("u2", False), ("other", False), ("bob", False), ("p2:", False),
        (":u2", False), (":", False), ("", False), ("member", False), ("guest", False), ("p2:u2:x", False), ("P2:U2", False),
        ("p2/u2", False), (".r:other.example.com", False), (".rlistings", False),
    ],
)  # fmt: skip
def test_items_of_an_acl_for_another_project(acl, may):
    for path in ("/v1/AUTH_p1/c", "/v1/AUTH_p1/c/o"):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            assert ask(STRANGER, path, method, Asks(acl)) == (200 if may else 403, False)
    assert ask(None, app=Asks(acl))[0] == 401


@pytest.mark.parametrize(
    "acl, may", [("member", True), ("MEMBER", True), ("x,member", True), ("guest", False)]
)
def test_roles_in_an_acl_are_those_of_the_own_project(acl, may):
    assert ask(MEMBER, app=Asks(acl)) == (200 if may else 403, False)
    assert ask(identity("member", project=("p2", "other")), app=Asks(acl))[0] == 403


def test_a_colon_in_a_name_is_not_that_between_names():
    sly = identity("", ("u9", "b"), ("p9", "other:a"))
    assert ask(sly, app=Asks("other:a:b"))[0] == 403
    assert ask(sly, app=Asks("other%3Aa:b"))[0] == 200
    assert ask(identity("", ("u9", "a:b"), ("p9", "other")), app=Asks("other:a:b"))[0] == 200


@pytest.mark.parametrize(
    "user_domain, project_domain, account_domain, may",
    [
        ("default", "default", "default", True),
        ("default", "default", "", True),
        ("default", "default", "_unknown", False),
        ("default", "default", "d2", False),
        ("default", "default", None, False),  # no account
        ("d2", "default", "default", False),
        ("default", "d2", "default", False),
    ],
)
def test_names_are_those_of_the_default_domain(user_domain, project_domain, account_domain, may):
    who = identity("", ("u2", "bob"), ("p2", "other"), user_domain, project_domain)
    assert ask(who, app=Asks("other:bob", account_domain))[0] == (200 if may else 403)
    assert ask(who, app=Asks("p2:u2", account_domain))[0] == 200
    assert ask(who, app=Asks("other:bob", account_domain), allow_names_in_acls="no")[0] == 403


def test_the_default_domain_can_be_another():
    who = identity("", ("u2", "bob"), ("p2", "other"), "d2")
    assert ask(who, app=Asks("other:bob", "d2"), default_domain_id="d2")[0] == 200
    assert ask(who, app=Asks("other:bob", "default"), default_domain_id="d2")[0] == 403


def test_an_account_is_asked_about_only_where_a_name_may_open_it():
    app = Asks("p2:u2,other:bob")
    assert ask(STRANGER, app=app)[0] == 200
    app.acl = "x:y,z"
    assert ask(STRANGER, app=app)[0] == 403
    assert app.lookups == 0


@pytest.mark.parametrize(
    "acl, referrer, obj, listing",
    [
        (".r:*", None, 200, 401),
        (".r:*,.rlistings", None, 200, 200),
        (".r:.example.com", "http://www.example.com/x", 200, 401),
        (".r:.example.com,.rlistings", "http://www.example.com/x", 200, 200),
        (".r:.example.com,.r:-bad.example.com", "http://bad.example.com/", 401, 401),
        (".r:.example.com", "http://example.org/", 401, 401),
        (".r:.example.com", None, 401, 401),
        (".r:*", "http://[bad", 200, 401),
        (".rlistings", None, 401, 401),
    ],
)
def test_referrers(acl, referrer, obj, listing):
    assert ask(None, app=Asks(acl), referrer=referrer)[0] == obj
    assert ask(None, "/v1/AUTH_p1/c", app=Asks(acl), referrer=referrer)[0] == listing
    forbidden = {401: 403}
    assert ask(OTHER, app=Asks(acl), referrer=referrer)[0] == forbidden.get(obj, obj)
    assert ask(OTHER, "/v1/AUTH_p1/c", app=Asks(acl), referrer=referrer)[0] == forbidden.get(listing, listing)
    assert ask(None, "/v1/OTHER_p1/c/o", app=Asks(acl), referrer=referrer)[0] == 401


def test_a_listing_that_is_not_open_to_the_referrer_is_not_opened_by_a_role():
    assert ask(MEMBER, "/v1/AUTH_p1/c", app=Asks(".r:*,member"))[0] == 403
    assert ask(OPERATOR, "/v1/AUTH_p1/c", app=Asks(".r:*,member")) == (200, True)


def test_names_in_any_script():
    who = identity("", ("u2", "bäb"), ("p2", "ötöer"))
    environ = {**V3, "HTTP_X_USER_NAME": "bäb", "HTTP_X_PROJECT_NAME": "ötöer"}
    who = {name: value for name, value in who.items() if name not in ("X-User-Name", "X-Project-Name")}
    assert ask(who, app=Asks("ötöer:bäb"), environ=environ)[0] == 200
    assert ask(who, app=Asks("%C3%B6t%C3%B6er:b%C3%A4b"), environ=environ)[0] == 200
    assert ask(who, app=Asks("ötöer:bÃ¤b"), environ=environ)[0] == 403


@pytest.mark.parametrize(
    "key, sent, timestamp, may",
    [("k", "k", True, 1), ("k", "x", True, 0), ("k", "k", False, 0), (None, "k", True, 0), ("", "", True, 0)],
)
def test_sync_keys(key, sent, timestamp, may):
    headers = {"X-Container-Sync-Key": sent, **({"X-Timestamp": "1"} if timestamp else {})}
    assert ask(headers, method="PUT", app=Asks(sync_key=key))[0] == (200 if may else 401)
    assert ask({**OTHER, **headers}, method="PUT", app=Asks(sync_key=key))[0] == (200 if may else 403)


# -- the domain of a project -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "who, kept, stored",
    [
        (OPERATOR, None, "default"),
        (identity("admin", domain="d2"), None, "d2"),
        (RESELLER, None, "_unknown"),
        (OPERATOR, "", "default"),
        (identity("admin", domain="d2"), "", None),
        (RESELLER, "", None),
        (OPERATOR, "_unknown", "default"),
        (RESELLER, "_unknown", None),
        (OPERATOR, "default", None),
        (OPERATOR, "d2", None),
    ],
)
def test_what_is_kept_with_an_account(who, kept, stored):
    for path, method in (("/v1/AUTH_p1", "PUT"), ("/v1/AUTH_p1", "POST"), ("/v1/AUTH_p1/c", "PUT")):
        app = Asks(domain=kept)
        assert ask(who, path, method, app) == (200, True)
        assert app.environ.get(DOMAIN_KEPT) == stored
    for path, method in (("/v1/AUTH_p1/c", "POST"), ("/v1/AUTH_p1/c/o", "PUT"), ("/v1/AUTH_p1", "GET")):
        app = Asks(domain=kept)
        assert ask(who, path, method, app) == (200, True)
        assert DOMAIN_KEPT not in app.environ
        assert app.lookups == 0


def test_tokens_of_version_2_know_no_domain():
    for kept, stored in ((None, None), ("", None), ("_unknown", "")):
        app = Asks(domain=kept)
        assert ask(OPERATOR, "/v1/AUTH_p1", "POST", app, V2)[0] == 200
        assert app.environ.get(DOMAIN_KEPT) == stored


def test_a_project_that_changed_its_domain_is_told():
    logger, lines = memory_logger(30)
    app = Asks(domain="d2")
    call(KeystoneAuth(app, {}, logger), "/v1/AUTH_p1", "POST", OPERATOR, dict(V3))
    assert "AUTH_p1" in lines[0] and "'d2'" in lines[0]


def test_the_domain_is_shown():
    kept = ("X-Account-Sysmeta-Project-Domain-Id", "d2")
    filter_ = KeystoneAuth(Asks(headers=[kept]), {}, memory_logger()[0])
    assert call(filter_, "/v1/AUTH_p1", "HEAD", OPERATOR).headers["X-Account-Project-Domain-Id"] == "d2"


def test_an_answer_about_anything_else_is_passed_on_as_it_is():
    app = App("200 OK", [("X-A", "b")], iter([b"x"]))
    answer = call(KeystoneAuth(app, {}, memory_logger()[0]), read=False)
    assert answer.raw_body is app.body


# -- the pipeline ----------------------------------------------------------------------------------------------------------


def test_factory(monkeypatch):
    monkeypatch.setattr(capabilities, "_public", {})
    assert isinstance(filter_factory({"log_to": "stderr"})(App()), KeystoneAuth)
    assert capabilities.disclosed() == {}


def test_without_a_token_filter_to_its_left_there_is_no_start():
    front = ["catch_errors", "gatekeeper", "proxy_logging", "memcache"]
    for names in ([*front, "keystoneauth"], [*front, "tempauth", "keystoneauth", "authtoken"]):
        refused, _ = pipeline_order.check(names)
        assert len(refused) == 1 and "recognises tokens" in refused[0]
    for name in ("authtoken", "auth_token"):
        assert pipeline_order.check([*front, name, "keystoneauth"]) == ([], [])
