"""tempauth over WSGI: tokens at the auth endpoint, who is who, and who may do what."""

import base64
import json
import zlib

import pytest
from cryptography.fernet import Fernet
from filter_stand_ins import App, Metrics, call, memory_logger
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheConnectionError
from swift.core import capabilities
from swift.core import clock as source
from swift.middleware.info import PROCESS_CACHE
from swift.middleware.tempauth import TempAuth, filter_factory, tokens
from swift.middleware.tempauth.tokens import Tokens
from swift.middleware.tempauth.users import parse_users
from swift.wire.message import Request

USERS = {
    "user_admin_admin": "admin .admin .reseller_admin",
    "user_test_tester": "testing .admin",
    "user_test_tester3": "testing3",
    "user_test2_tester2": "testing2 .admin",
    "user_read_er": "reading .reseller_reader",
    "user_own_url": "key .admin extra https://other.example.com/v1/AUTH_elsewhere",
    "user_host_url": "key $HOST/v1/AUTH_hosted",
    # tést:usér
    "user64_dMOpc3Q_dXPDqXI": "testing .admin",
}
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
FERNET = {"fernet_key_a": KEY, "active_fernet_key_id": "a"}


class Asks:
    """Asks for authorization as the proxy does and answers 200 or what it was told; knows the account's ACL."""

    def __init__(self, acl=None, account_acl=None, **environ):
        self.acl = acl
        self.account_acl = account_acl
        self.more = environ
        self.environ = None

    def __call__(self, environ, start_response):
        if environ.get("swift.source") == "GET_ACCOUNT_INFO":
            headers = (
                [("X-Account-Sysmeta-Core-Access-Control", self.account_acl)] if self.account_acl else []
            )
            start_response("204 No Content", headers)
            return [b""]
        self.environ = environ
        environ.update(self.more)
        if self.acl is not None:
            environ["swob.ACL"] = self.acl
        denied = environ["swift.authorize"](Request(environ))
        if denied is not None:
            return denied(environ, start_response)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]


@pytest.fixture(autouse=True)
def _nothing_known():
    PROCESS_CACHE.clear()
    yield
    PROCESS_CACHE.clear()


def build(app=None, **conf):
    metrics = Metrics()
    auth = TempAuth(app or Asks(), {**USERS, **conf}, memory_logger()[0], metrics)
    auth.seen_metrics = metrics.events
    auth.cache = LocalCache()
    return auth


def send(auth, path="/v1/AUTH_test/c/o", method="GET", token=None, headers=None, **environ):
    headers = dict(headers or {})
    if token:
        headers["X-Auth-Token"] = token
    environ.setdefault("swift.cache", auth.cache)
    return call(auth, path, method, headers, environ)


def login(auth, user, key, path="/auth/v1.0"):
    return send(auth, path, headers={"X-Auth-User": user, "X-Auth-Key": key})


def token_of(auth, user="test:tester", key="testing"):
    answer = login(auth, user, key)
    assert answer.status_int == 200, answer.body
    return answer.headers["X-Auth-Token"]


# -- users -----------------------------------------------------------------------------------------------------------------


def test_users_and_their_groups():
    users = parse_users(USERS, "AUTH_")
    assert sorted(users) == sorted(
        [
            "admin:admin",
            "test:tester",
            "test:tester3",
            "test2:tester2",
            "read:er",
            "own:url",
            "host:url",
            "tést:usér",
        ]
    )
    prefixes = ["AUTH_", "SERVICE_", ""]
    assert users["test:tester"].group_list(prefixes) == ["test", "test:tester", "AUTH_test", "SERVICE_test"]
    assert users["test:tester3"].group_list(prefixes) == ["test", "test:tester3"]
    assert users["own:url"].group_list(["AUTH_"]) == ["own", "own:url", "extra", "AUTH_own", "AUTH_elsewhere"]
    assert users["admin:admin"].group_list(["AUTH_"]) == [
        "admin",
        "admin:admin",
        ".reseller_admin",
        "AUTH_admin",
    ]
    assert users["tést:usér"].storage_url == "$HOST/v1/AUTH_t%C3%A9st"
    assert users["tést:usér"].account_id == "AUTH_tést"


@pytest.mark.parametrize(
    "option, value",
    [
        ("user_test", "key"),
        ("user_a_b_c", "key"),
        ("user__b", "key"),
        ("user_a_", "key"),
        ("user_a_b", ""),
        ("user_a_b", "  "),
        ("user64_a_b", "key"),
        ("user64_!!_dGVzdA", "key"),
        ("user64__w_dGVzdA", "key"),
        ("user64_YTpi_dQ", "key"),  # a:b, u
        ("user64_YSxi_dQ", "key"),  # a,b
        ("user64_YQ_dSx2", "key"),  # u,v
    ],
)
def test_malformed_users_stop_the_start_with_the_options_name(option, value):
    with pytest.raises(ValueError, match=option):
        parse_users({option: value}, "AUTH_")


@pytest.mark.parametrize("value", ["key one,two", "key http://x/v1/AUTH_a%2CAUTH_b"])
def test_no_name_forges_a_second_group(value):
    with pytest.raises(ValueError, match="a:u"):
        parse_users({"user_a_u": value}, "AUTH_")


_WORDS = st.text(st.characters(blacklist_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=12)


@given(_WORDS, _WORDS)
def test_any_name_can_be_given_in_base64(account, name):
    def coded(word):
        return base64.b64encode(word.encode()).decode().rstrip("=")

    if "_" in coded(account) + coded(name) or ":" in account or "," in account + name:
        return
    (user,) = parse_users({f"user64_{coded(account)}_{coded(name)}": "key"}, "AUTH_").values()
    assert (user.account, user.name) == (account, name)


# -- the auth endpoint -----------------------------------------------------------------------------------------------------


def test_a_token_is_issued():
    auth = build()
    answer = login(auth, "test:tester", "testing")
    assert answer.status == "200 OK"
    names = [name for name, _ in answer.header_list]
    assert names[:5] == [
        "Content-Type",
        "X-Auth-Token",
        "X-Storage-Token",
        "X-Auth-Token-Expires",
        "X-Storage-Url",
    ]
    headers = answer.headers
    assert headers["X-Auth-Token"].startswith("AUTH_tk")
    assert len(headers["X-Auth-Token"]) == 39
    assert headers["X-Storage-Token"] == headers["X-Auth-Token"]
    assert headers["X-Auth-Token-Expires"] in ("86399", "86400")
    assert headers["X-Storage-Url"] == "http://localhost/v1/AUTH_test"
    assert headers["Content-Type"] == "text/html; charset=UTF-8"
    assert answer.body == b""
    assert auth.cache.get("AUTH_/user/test:tester") == headers["X-Auth-Token"]
    expires, groups = auth.cache.get("AUTH_/token/" + headers["X-Auth-Token"])
    assert isinstance(expires, float)
    assert groups == "test,test:tester,AUTH_test"


@pytest.mark.parametrize(
    "path, headers",
    [
        ("/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}),
        ("/auth/v1.0/", {"X-Storage-User": "test:tester", "X-Storage-Pass": "testing"}),
        ("/auth/v1.0/a/auth", {"X-Auth-User": "test:tester", "X-Storage-Pass": "testing"}),
        ("/auth/auth", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}),
        ("/auth/auth/x", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}),
        ("/auth/v1/test/auth", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}),
        ("/auth/v1/test/auth", {"X-Storage-User": "tester", "X-Storage-Pass": "testing"}),
        ("/auth/v1/test/auth", {"X-Storage-User": "tester", "X-Auth-Key": "testing"}),
    ],
)
def test_all_ways_to_ask(path, headers):
    auth = build()
    answer = send(auth, path, headers=headers)
    assert answer.status_int == 200
    assert answer.headers["X-Auth-Token"] == token_of(auth)


@pytest.mark.parametrize(
    "path, status",
    [
        ("/auth/", 404), ("/auth//", 404), ("/auth//v1.0", 404), ("/auth/v1//auth", 404), ("/auth/v1", 400),
        ("/auth/v1/", 400), ("/auth/v1/test", 400), ("/auth/v1/test/", 400), ("/auth/v1/test/foo", 400),
        ("/auth/v1/test/auth/", 400), ("/auth/v1/test/auth/x", 400), ("/auth/v2", 400), ("/auth/foo", 400),
        ("/auth/v1.0%00", 400),
    ],
)  # fmt: skip
def test_other_paths_under_the_prefix(path, status):
    auth = build()
    assert login(auth, "test:tester", "testing", path).status_int == status
    # recorded: which of them count as errors
    assert auth.seen_metrics == (
        [] if path.startswith("/auth/v1") and status == 400 and "%" not in path else ["errors"]
    )


@pytest.mark.parametrize("method", ["PUT", "POST", "HEAD", "DELETE", "OPTIONS"])
def test_only_get_issues_tokens(method):
    answer = send(
        build(), "/auth/v1.0", method, headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
    )
    assert answer.status_int == 405
    assert "X-Auth-Token" not in answer.headers


@pytest.mark.parametrize(
    "path, headers, realm",
    [
        ("/auth/v1.0", {}, "unknown"),
        ("/auth/v1.0", {"X-Auth-User": "test", "X-Auth-Key": "testing"}, "unknown"),
        ("/auth/v1.0", {"X-Auth-User": ":", "X-Auth-Key": "testing"}, "unknown"),
        ("/auth/v1.0", {"X-Auth-User": "test:", "X-Auth-Key": "testing"}, "test"),
        ("/auth/v1.0", {"X-Auth-User": "test:tester:x", "X-Auth-Key": "testing"}, "test"),
        ("/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "wrong"}, "test"),
        ("/auth/v1.0", {"X-Auth-User": "test:tester"}, "test"),
        ("/auth/v1.0", {"X-Auth-User": "nope:tester", "X-Auth-Key": "testing"}, "nope"),
        ("/auth/v1.0", {"X-Auth-User": 'a"b\u00c3\u00a9:x', "X-Auth-Key": "testing"}, "a%22b%C3%A9"),
        ("/auth/v1/other/auth", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, "other"),
        ("/auth/v1/test/auth", {"X-Auth-User": "tester", "X-Auth-Key": "testing"}, "test"),
        ("/auth/v1/test/auth", {"X-Storage-User": "nope", "X-Auth-Key": ""}, "test"),
    ],
)
def test_wrong_credentials(path, headers, realm):
    auth = build()
    answer = send(auth, path, headers=headers)
    assert answer.status_int == 401
    assert answer.headers["Www-Authenticate"] == f'Swift realm="{realm}"'
    assert auth.seen_metrics == ["token_denied"]


def test_nobody_is_no_user():
    assert login(build(), ":", "").status_int == 401


def test_a_live_token_is_issued_again_until_the_groups_change():
    auth = build()
    first = token_of(auth)
    assert token_of(auth) == first
    expires, groups = auth.cache.get(f"AUTH_/token/{first}")
    auth.cache.set(f"AUTH_/token/{first}", [expires, "AUTH_test,test:tester,test"])
    assert token_of(auth) == first
    auth.cache.set(f"AUTH_/token/{first}", [expires, groups + ",more"])
    second = token_of(auth)
    assert second != first
    auth.cache.set(f"AUTH_/token/{second}", [1.0, groups])
    assert token_of(auth) not in (first, second)


@pytest.mark.parametrize("rubbish", [5, "text", [1], [1, 2], ["x", "y"], {}, None])
def test_rubbish_in_the_cache_is_no_token(rubbish):
    auth = build()
    token = token_of(auth)
    auth.cache.set(f"AUTH_/token/{token}", rubbish)
    other = build()
    other.cache = auth.cache
    assert send(other, token=token).status_int == 401
    assert token_of(other) != token


@pytest.mark.parametrize(
    "user, key, scheme, expected",
    [
        ("own:url", "key", "default", "https://other.example.com/v1/AUTH_elsewhere"),
        ("host:url", "key", "default", "http://localhost/v1/AUTH_hosted"),
        ("host:url", "key", "https", "https://localhost/v1/AUTH_hosted"),
        ("t\u00c3\u00a9st:us\u00c3\u00a9r", "testing", "default", "http://localhost/v1/AUTH_t%C3%A9st"),
    ],
)
def test_storage_urls(user, key, scheme, expected):
    auth = build(storage_url_scheme=scheme)
    assert login(auth, user, key).headers["X-Storage-Url"] == expected


def test_the_storage_url_names_the_host_that_was_asked():
    answer = send(
        build(),
        "/auth/v1.0",
        headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing", "Host": "example.com:80"},
    )
    assert answer.headers["X-Storage-Url"] == "http://example.com/v1/AUTH_test"


@pytest.mark.parametrize("key, status", [("testing", 200), ("wrong", 401)])
def test_who_logs_in_or_tries_to_is_logged(key, status):
    auth = build()
    seen = {}

    def keep(environ, start_response):
        seen.update(environ=environ)
        return auth(environ, start_response)

    headers = {"X-Auth-User": "test:tester", "X-Auth-Key": key}
    assert call(keep, "/auth/v1.0", headers=headers, environ={"swift.cache": auth.cache}).status_int == status
    assert seen["environ"]["swift.access_logging"] == {"user_id": "test:tester"}


def test_without_a_cache_that_answers_no_token():
    class Down(LocalCache):
        def get(self, key, raise_on_error=False):
            if raise_on_error:
                raise MemcacheConnectionError("down")

        def set(self, key, value, time=0, raise_on_error=False):
            if raise_on_error:
                raise MemcacheConnectionError("down")

    auth = build()
    auth.cache = Down()
    answer = login(auth, "test:tester", "testing")
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "2")
    auth.cache = None
    answer = login(auth, "test:tester", "testing")
    assert (answer.status_int, answer.body) == (500, b"Internal server error.\n")
    assert send(auth, token="AUTH_tk" + "0" * 32).status_int == 401


def test_tokens_that_hold_in_one_worker_only_are_warned_about():
    def warnings(cache, **conf):
        logger, lines = memory_logger(30)
        auth = TempAuth(Asks(), {**USERS, **conf}, logger, Metrics())
        auth.cache = cache
        token_of(auth)
        token_of(auth)
        return lines

    class Memcached:
        def get(self, key, raise_on_error=False):
            return None

        def set(self, key, value, **options):
            pass

    assert len(warnings(LocalCache())) == 1
    assert "8 workers" in warnings(LocalCache(), workers="8")[0]
    assert warnings(LocalCache(), workers="1") == []
    assert warnings(LocalCache(), **FERNET) == []
    assert warnings(Memcached()) == []


@pytest.mark.parametrize(
    "prefix, path",
    [("auth", "/auth/v1.0"), ("/", "/auth/v1.0"), ("", "/auth/v1.0"), ("/my/login/", "/my/login/v1.0")],
)
def test_auth_prefix(prefix, path):
    assert login(build(auth_prefix=prefix), "test:tester", "testing", path).status_int == 200


# -- Fernet tokens ---------------------------------------------------------------------------------------------------------


def test_sealed_tokens_need_no_cache():
    auth = build(**FERNET)
    auth.cache = None
    token = token_of(auth, "admin:admin", "admin")
    sealed = Fernet(KEY)
    if token.startswith("AUTH_zftk"):
        assert zlib.decompress(sealed.decrypt(token[9:])) == b"admin,admin:admin,.reseller_admin,AUTH_admin"
    else:
        assert sealed.decrypt(token[8:]) == b"admin,admin:admin,.reseller_admin,AUTH_admin"
    assert send(auth, "/v1/AUTH_test", token=token).status_int == 200
    assert auth.app.environ["REMOTE_USER"] == "admin,admin:admin,.reseller_admin,AUTH_admin"


def test_the_shorter_form_is_chosen():
    auth = build(**FERNET)
    assert token_of(auth, "test:tester3", "testing3").startswith("AUTH_ftk")
    assert token_of(auth, "admin:admin", "admin").startswith("AUTH_zftk")


def test_a_recorded_token():
    auth = build(fernet_key_old=Fernet.generate_key().decode(), token_life=str(10**9), **FERNET)
    token = (
        "AUTH_zftkgAAAAABrAX8bvwiEKo1YsoUl5vX6i-jHra76gJKJT3xsmZltZXLcc_yPvvFz_FnpHkL_jQGHGVKZCi5pbhNH5YV4N0bvcyXMaEMTPv4"
        "mIOIez38vwxDK0MzhVp8APHE4W6PucgEQLawh"
    )
    assert send(auth, token=token).status_int == 200
    assert auth.app.environ["REMOTE_USER"] == "test,test:tester,AUTH_test,SERVICE_test"


def test_old_keys_still_open_tokens_and_strange_ones_do_not():
    other = Fernet.generate_key().decode()
    old = token_of(build(**FERNET))
    assert (
        send(build(fernet_key_a=KEY, fernet_key_b=other, active_fernet_key_id="b"), token=old).status_int
        == 200
    )
    assert send(build(fernet_key_b=other, active_fernet_key_id="b"), token=old).status_int == 401
    assert send(build(), token=old).status_int == 401


@pytest.mark.parametrize(
    "change", [lambda t: t + "x", lambda t: t + "=", lambda t: t[:-1], lambda t: t[:20] + "\n" + t[20:]]
)
def test_a_sealed_token_has_one_spelling(change):
    auth = build(**FERNET)
    for user, key in (("test:tester", "testing"), ("test:tester3", "testing3"), ("admin:admin", "admin")):
        token = token_of(auth, user, key)
        assert auth.tokens.groups(None, token)
        assert auth.tokens.groups(None, change(token)) is None


def test_sealed_tokens_end(monkeypatch):
    auth = build(token_life="10", **FERNET)
    token = token_of(auth)
    fresh = build(token_life="10", **FERNET)
    import time

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 11)
    monkeypatch.setattr(source, "time", lambda: now + 11)
    assert send(fresh, token=token).status_int == 401


def test_cached_tokens_work_beside_sealed_ones():
    cached = build()
    token = token_of(cached)
    sealed = build(**FERNET)
    sealed.cache = cached.cache
    assert send(sealed, token=token).status_int == 200


@pytest.mark.parametrize(
    "conf, text",
    [
        ({"active_fernet_key_id": "nope"}, "nope"),
        ({"fernet_key_a": "short"}, "fernet_key_a must be 32"),
        ({"fernet_key_a": "!" * 44}, "fernet_key_a must be 32"),
        ({"fernet_key_": KEY}, "fernet_key_"),
        ({"token_life": "soon"}, "soon"),
    ],
)
def test_bad_token_options_stop_the_start(conf, text):
    with pytest.raises(ValueError, match=text):
        build(**conf)


@settings(max_examples=200)
@given(
    st.sampled_from(["AUTH_zftk", "AUTH_ftk", "AUTH_tk", "AUTH_"]),
    st.text(st.characters(max_codepoint=255), max_size=60),
)
def test_no_made_up_token_is_good(form, rest):
    found = Tokens(FERNET, "AUTH_", 100)
    assert found.groups(LocalCache(), form + rest) is None


@given(st.lists(_WORDS.filter(lambda word: "," not in word), min_size=1, max_size=20))
def test_whatever_the_groups_they_come_out_as_they_went_in(groups):
    text = ",".join(groups)
    for conf in ({}, FERNET):
        issuer = Tokens(conf, "AUTH_", 100)
        cache = LocalCache()
        token, left = issuer.issue(cache, "a:b", text)
        assert 99 <= left <= 100
        assert issuer.groups(cache, token) == text
        assert Tokens(conf, "AUTH_", 100).groups(cache, token) == text


# -- who asks --------------------------------------------------------------------------------------------------------------


def test_a_token_makes_somebody_of_the_client():
    auth = build()
    send(auth, token=token_of(auth))
    environ = auth.app.environ
    assert environ["REMOTE_USER"] == "test,test:tester,AUTH_test"
    assert environ["swift.access_logging"] == {"user_id": "test:tester"}
    assert environ["swift.clean_acl"]("x-container-read", " .r : * ") == ".r:*"
    assert environ["swift_owner"] is True
    assert "reseller_request" not in environ
    send(auth, token=token_of(auth, "admin:admin", "admin"))
    assert auth.app.environ["reseller_request"] is True


def test_x_storage_token_works_too():
    auth = build()
    assert send(auth, headers={"X-Storage-Token": token_of(auth)}).status_int == 200


@pytest.mark.parametrize(
    "path, realm", [("/v1/AUTH_test/c", "AUTH_test"), ("/v1", "unknown"), ("/info", "unknown")]
)
def test_a_bad_token_is_refused_at_once(path, realm):
    auth = build(App())
    answer = send(auth, path, token="AUTH_tkbad")
    assert answer.status_int == 401
    assert answer.headers["Www-Authenticate"] == f'Swift realm="{realm}"'
    assert not auth.app.calls
    assert auth.seen_metrics == ["unauthorized"]


def test_somebody_elses_token_is_not_ours_to_judge():
    auth = build(App())
    send(auth, "/v1/OTHER_test/c", token="strange", **{"swift.authorize": len})
    assert auth.app.environ["swift.authorize"] is len
    send(auth, "/v1/OTHER_test/c", token="strange")
    assert auth.app.environ["swift.authorize"] == auth.deny


def test_authorization_by_others_is_honoured():
    auth = build(App())
    send(auth, token="AUTH_tkbad", **{"swift.authorize_override": True})
    assert auth.app.calls == 1
    assert "swift.authorize" not in auth.app.environ
    auth = build(App(), allow_overrides="false")
    assert send(auth, token="AUTH_tkbad", **{"swift.authorize_override": True}).status_int == 401


def test_tokens_are_believed_for_five_seconds_without_asking(monkeypatch):
    auth = build()
    clock = [1000.0]
    monkeypatch.setattr(source, "monotonic", lambda: clock[0])
    token = token_of(auth)
    assert send(auth, token=token).status_int == 200
    auth.cache.delete(f"AUTH_/token/{token}")
    clock[0] += 4.9
    assert send(auth, token=token).status_int == 200
    clock[0] += 0.2
    assert send(auth, token=token).status_int == 401


def test_known_tokens_are_bounded(monkeypatch):
    monkeypatch.setattr(tokens, "_MAX_KNOWN", 32)
    store = Tokens({}, "AUTH_", 100)
    cache = LocalCache()
    for number in range(200):
        cache.set(f"AUTH_/token/AUTH_tk{number}", [10**10, f"a,b:{number}"])
        assert store.groups(cache, f"AUTH_tk{number}") == f"a,b:{number}"
        assert len(store._known) <= 32


# -- what is allowed -------------------------------------------------------------------------------------------------------

ADMIN, OWNER, MEMBER, OTHER, READER = "admin:admin", "test:tester", "test:tester3", "test2:tester2", "read:er"
KEYS = {ADMIN: "admin", OWNER: "testing", MEMBER: "testing3", OTHER: "testing2", READER: "reading"}


def allowed(user, path="/v1/AUTH_test/c/o", method="GET", acl=None, headers=None, app=None, **conf):
    """(status, whether as owner)"""
    auth = build(app or Asks(acl), **conf)
    token = token_of(auth, user, KEYS[user]) if user else None
    answer = send(auth, path, method, token, headers)
    return answer.status_int, bool(auth.app.environ.get("swift_owner"))


@pytest.mark.parametrize(
    "user, path, method, expected",
    [
        (OWNER, "/v1/AUTH_test", "GET", (200, True)),
        (OWNER, "/v1/AUTH_test", "POST", (200, True)),
        (OWNER, "/v1/AUTH_test", "PUT", (403, False)),
        (OWNER, "/v1/AUTH_test", "DELETE", (403, False)),
        (OWNER, "/v1/AUTH_test/c", "PUT", (200, True)),
        (OWNER, "/v1/AUTH_test/c", "DELETE", (200, True)),
        (OWNER, "/v1/AUTH_other/c", "GET", (403, False)),
        (MEMBER, "/v1/AUTH_test/c", "GET", (403, False)),
        (OTHER, "/v1/AUTH_test/c", "GET", (403, False)),
        (None, "/v1/AUTH_test/c", "GET", (401, False)),
        (None, "/v1/AUTH_test/c/o", "OPTIONS", (200, False)),
        (ADMIN, "/v1/AUTH_other", "PUT", (200, True)),
        (ADMIN, "/v1/AUTH_other", "DELETE", (200, True)),
        (ADMIN, "/v1/AUTH_", "GET", (403, False)),
        (ADMIN, "/v1/AUTH_.x", "GET", (403, False)),
        (ADMIN, "/v1/FOO_x", "GET", (403, False)),
        (READER, "/v1/AUTH_other/c/o", "GET", (200, False)),
        (READER, "/v1/AUTH_other/c/o", "HEAD", (200, False)),
        (READER, "/v1/AUTH_other/c/o", "PUT", (403, False)),
        (READER, "/v1/AUTH_.x", "GET", (403, False)),
        (OWNER, "/v1", "GET", (404, False)),
        (None, "/v1/FOO_x", "GET", (401, False)),
    ],
)
def test_who_may_what(user, path, method, expected):
    assert allowed(user, path, method) == expected


@pytest.mark.parametrize(
    "user, acl, path, referer, status",
    [
        (MEMBER, "test", "/v1/AUTH_test/c/o", None, 200),
        (MEMBER, "test:tester3", "/v1/AUTH_test/c", None, 200),
        (MEMBER, "a,test:tester3,b", "/v1/AUTH_test/c", None, 200),
        (MEMBER, "test%3Atester3", "/v1/AUTH_test/c", None, 200),
        (MEMBER, "test:tester", "/v1/AUTH_test/c", None, 403),
        (None, "", "/v1/AUTH_test/c/o", None, 401),
        (None, "test", "/v1/AUTH_test/c/o", None, 401),
        (None, ".r:*", "/v1/AUTH_test/c/o", None, 200),
        (None, ".r:*", "/v1/AUTH_test/c", None, 401),
        (None, ".r:*,.rlistings", "/v1/AUTH_test/c", None, 200),
        (None, ".r:.example.com", "/v1/AUTH_test/c/o", "http://www.example.com/x", 200),
        (None, ".r:.example.com", "/v1/AUTH_test/c/o", "http://www.example.org/x", 401),
        (None, ".r:*,.r:-bad.com", "/v1/AUTH_test/c/o", "http://bad.com", 401),
        (None, ".rlistings", "/v1/AUTH_test/c", None, 401),
        (OTHER, ".r:*", "/v1/AUTH_test/c/o", None, 200),
    ],
)
def test_container_acls(user, acl, path, referer, status):
    assert allowed(user, path, acl=acl, headers={"Referer": referer} if referer else None) == (status, False)


def test_acls_are_native_text():
    """Else the user whose name in bytes looks like another's name could do what that one may."""
    auth = build(Asks("tÃ©st:usÃ©r"))
    token = token_of(auth, "t\u00c3\u00a9st:us\u00c3\u00a9r", "testing")
    assert send(auth, "/v1/AUTH_test/c", token=token).status_int == 403


def test_another_auth_filters_user_is_none_of_ours():
    app = Asks(".r:*", REMOTE_USER=("p1", "demo"))
    auth = build(app)
    assert send(auth, "/v1/AUTH_test/c/o").status_int == 200
    assert send(auth, "/v1/AUTH_test/c").status_int == 403


@pytest.mark.parametrize("acl", ["tést:usér", "t%C3%A9st:us%C3%A9r"])
def test_acls_name_users_beyond_ascii_in_any_form(acl):
    auth = build(Asks(acl))
    token = token_of(auth, "t\u00c3\u00a9st:us\u00c3\u00a9r", "testing")
    assert send(auth, "/v1/AUTH_test/c", token=token).status_int == 200
    assert send(auth, "/v1/AUTH_t%C3%A9st/c", "PUT", token=token).status_int == 200


@pytest.mark.parametrize(
    "key, given_key, timestamp, status",
    [
        ("secret", "secret", "123", 200),
        ("secret", "secret", None, 401),
        ("secret", "wrong", "123", 401),
        ("secret", None, "123", 401),
        (None, "secret", "123", 401),
        ("", "", "123", 401),
        ("gehéim", "geh\u00c3\u00a9im", "123", 200),
    ],
)
def test_container_sync_keys(key, given_key, timestamp, status):
    headers = {}
    if given_key is not None:
        headers["X-Container-Sync-Key"] = given_key
    if timestamp is not None:
        headers["X-Timestamp"] = timestamp
    assert allowed(None, method="PUT", headers=headers, app=Asks(swift_sync_key=key))[0] == status


def test_required_groups_come_with_either_token():
    conf = {
        "reseller_prefix": "AUTH, SERVICE",
        "SERVICE_require_group": ".service",
        "user_glance_service": "key .service",
    }
    auth = build(**conf)
    token = token_of(auth)
    service = token_of(auth, "glance:service", "key")
    assert send(auth, "/v1/AUTH_test/c", token=token).status_int == 200
    assert send(auth, "/v1/SERVICE_test/c", token=token).status_int == 403
    headers = {"X-Service-Token": service}
    assert send(auth, "/v1/SERVICE_test/c", token=token, headers=headers).status_int == 200
    assert send(auth, "/v1/SERVICE_other/c", token=token, headers=headers).status_int == 403
    assert (
        send(auth, "/v1/SERVICE_test/c", token=service, headers={"X-Service-Token": token}).status_int == 200
    )
    assert send(auth, "/v1/SERVICE_test/c", token="AUTH_tkbad", headers=headers).status_int == 401
    assert (
        send(auth, "/v1/SERVICE_test/c", token=token, headers={"X-Service-Token": "AUTH_tkbad"}).status_int
        == 403
    )


def test_the_empty_prefix():
    auth = build(reseller_prefix="''")
    token = token_of(auth)
    assert token.startswith("tk")
    assert send(auth, "/v1/test/c", token=token).status_int == 200
    assert send(auth, "/v1/other/c", token=token).status_int == 403
    assert send(auth, "/v1/test/c").status_int == 401
    assert send(auth, "/v1/test/c", token="strange").status_int == 401
    kept = build(App(), reseller_prefix="''")
    send(kept, "/v1/test/c", token="strange", **{"swift.authorize": len})
    assert kept.app.environ["swift.authorize"] is len
    send(kept, "/v1/test/c", **{"swift.authorize": len})
    assert kept.app.environ["swift.authorize"] is len


def test_named_prefixes_go_before_the_empty_one():
    auth = build(reseller_prefix="AUTH, ''", **{"''require_group": ".all"})
    token = token_of(auth)
    assert send(auth, "/v1/AUTH_test/c", token=token).status_int == 200
    assert send(auth, "/v1/test/c", token=token).status_int == 403
    assert auth.authorizer.prefix_of("AUTH_x") == "AUTH_"
    assert auth.authorizer.prefix_of("x") == ""
    assert auth.authorizer.prefix_of(None) is None


NAMESAKES = {
    "user_test_member": "key",
    "user_test_grouped": "key staff AUTH_test test",
    "user_test_poser": "key test2:tester2 AUTH_test2",
    "user_staff_boss": "key .admin",
    # AUTH_test, visitor
    "user64_QVVUSF90ZXN0_dmlzaXRvcg": "key",
    "user_svc_worker": "key .service",
}


@pytest.mark.parametrize(
    "prefix, user, path, status",
    [
        ("''", "test:tester", "/v1/test/c", 200),
        ("''", "test:member", "/v1/test/c", 403),  # the account is the first of anybody's groups
        ("''", "test:grouped", "/v1/test/c", 403),
        ("''", "test:grouped", "/v1/staff/c", 403),  # a group that is called like an account
        ("''", "staff:boss", "/v1/staff/c", 200),
        ("''", "test:member", "/v1/test:member/c", 403),
        ("AUTH", "AUTH_test:visitor", "/v1/AUTH_test/c", 403),
        ("AUTH", "test:grouped", "/v1/AUTH_test/c", 403),
        ("AUTH", "test:poser", "/v1/AUTH_test2/c", 403),  # a group that is called like a user
        ("AUTH, ''", "test:tester", "/v1/test/c", 200),
        ("AUTH, ''", "test:member", "/v1/test/c", 403),
        ("'', AUTH", "test:tester", "/v1/AUTH_test/c", 200),
        ("'', AUTH", "AUTH_test:visitor", "/v1/AUTH_test/c", 403),
    ],
)
def test_only_what_a_user_owns_makes_an_owner(prefix, user, path, status):
    auth = build(reseller_prefix=prefix, **NAMESAKES)
    token = token_of(auth, user, "testing" if user == "test:tester" else "key")
    for method in ("PUT", "GET", "DELETE"):
        assert send(auth, path, method, token).status_int == status
    assert bool(auth.app.environ.get("swift_owner")) == (status == 200)


def test_a_service_tokens_account_is_no_owner_by_its_name():
    auth = build(reseller_prefix="''", **NAMESAKES)
    member, worker = token_of(auth, "test:member", "key"), token_of(auth, "svc:worker", "key")
    for account in ("svc", "test"):
        assert send(auth, f"/v1/{account}/c", "PUT", member, {"X-Service-Token": worker}).status_int == 403


def test_who_is_no_admin_any_more_owns_nothing():
    auth = build()
    token = token_of(auth)
    assert send(auth, "/v1/AUTH_test/c", token=token).status_int == 200
    later = build(user_test_tester="testing")
    later.cache = auth.cache
    assert send(later, "/v1/AUTH_test/c", token=token).status_int == 403
    earlier = token_of(later)
    again = build()
    again.cache = auth.cache
    assert send(again, "/v1/AUTH_test/c", token=earlier).status_int == 403


def test_the_longer_prefix_rules():
    conf = {"reseller_prefix": "AUTH, AUTH_SVC", "AUTH_SVC_require_group": ".service"}
    auth = build(**conf)
    token = token_of(auth)
    assert send(auth, "/v1/AUTH_test/c", token=token).status_int == 200
    assert send(auth, "/v1/AUTH_SVC_test/c", token=token).status_int == 403


def test_a_group_that_only_sounds_like_the_resellers():
    app = App()
    auth = build(app, user_test_odd="key x.reseller_admin")
    token = token_of(auth, "test:odd", "key")
    send(auth, token=token)
    assert "reseller_request" not in app.environ


# -- account ACLs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, stored",
    [
        ('{"read-only":["test:tester3"], "admin":[]}', '{"admin":[],"read-only":["test:tester3"]}'),
        ("{}", "{}"),
        ("", ""),
        ('{"admin":["\u00c3\u00a9"]}', '{"admin":["\\u00e9"]}'),
    ],
)
def test_account_acls_are_stored_clean(text, stored):
    auth = build()
    answer = send(auth, "/v1/AUTH_test", "POST", token_of(auth), {"X-Account-Access-Control": text})
    assert answer.status_int == 200
    assert auth.app.environ["HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL"] == stored


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[", "Syntax error in input ('[')"),
        ("[]", "Syntax error in input ('[]')"),
        ("null", "Syntax error in input ('null')"),
        ("[" * 100_000, "Syntax error in input ("),
        ('{"foo":[]}', 'Key "foo" not recognized'),
        ('{"admin":1}', 'Value for key "admin" must be a list'),
        ('{"admin":{}}', 'Value for key "admin" must be a list'),
        ('{"admin":[1]}', 'Elements of "admin" list must be strings'),
    ],
)
@pytest.mark.parametrize("user", [OWNER, None])
def test_malformed_account_acls_are_refused(text, reason, user):
    auth = build()
    token = token_of(auth, user, KEYS[user]) if user else None
    answer = send(auth, "/v1/AUTH_test", "POST", token, {"X-Account-Access-Control": text})
    assert answer.status_int == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert answer.body.decode().startswith(f"X-Account-Access-Control invalid: {reason}")
    assert answer.body.decode().endswith(f"\n\nInput: {text}\n")
    assert "HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL" not in auth.app.environ


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["admin", "read-write", "read-only", "x"]), inner, max_size=3)
    ),
)


def test_an_account_acl_that_is_no_text_is_refused():
    auth = build()
    headers = {"X-Account-Access-Control": '{"admin":["\u00e9"]}'}  # one byte, not UTF-8
    answer = send(auth, "/v1/AUTH_test", "POST", token_of(auth), headers)
    assert (answer.status_int, b"Syntax error" in answer.body) == (400, True)


@given(_JSON.map(json.dumps) | st.text(st.characters(max_codepoint=255), max_size=20))
def test_any_account_acl_is_either_stored_or_a_400(text):
    auth = build(Asks())
    answer = send(auth, "/v1/AUTH_test", "POST", headers={"X-Account-Access-Control": text})
    stored = auth.app.environ.get("HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL")
    assert answer.status_int == (400 if stored is None else 401)
    if stored:
        acl = json.loads(stored)
        assert set(acl) <= {"admin", "read-write", "read-only"}
        assert all(isinstance(group, str) for groups in acl.values() for group in groups)


@pytest.mark.parametrize(
    "acl, method, path, expected",
    [
        ({"admin": ["test2:tester2"]}, "POST", "/v1/AUTH_test", (200, True)),
        ({"admin": ["test2"]}, "DELETE", "/v1/AUTH_test/c/o", (200, True)),
        ({"admin": ["test2"]}, "DELETE", "/v1/AUTH_test", (403, False)),
        ({"admin": ["test2"]}, "PUT", "/v1/AUTH_test", (403, False)),
        ({"read-write": ["test2:tester2"]}, "PUT", "/v1/AUTH_test/c", (200, False)),
        ({"read-write": ["test2:tester2"]}, "GET", "/v1/AUTH_test", (200, False)),
        ({"read-write": ["test2:tester2"]}, "POST", "/v1/AUTH_test", (403, False)),
        ({"read-only": ["test2:tester2"]}, "GET", "/v1/AUTH_test/c/o", (200, False)),
        ({"read-only": ["test2:tester2"]}, "HEAD", "/v1/AUTH_test", (200, False)),
        ({"read-only": ["test2:tester2"]}, "PUT", "/v1/AUTH_test/c/o", (403, False)),
        ({"read-only": ["test:tester3"], "admin": []}, "GET", "/v1/AUTH_test/c", (403, False)),
        ({"admin": "test2", "read-only": 5}, "GET", "/v1/AUTH_test/c", (403, False)),
        ({"admin": [[], {}, None, ""]}, "GET", "/v1/AUTH_test/c", (403, False)),
        (None, "GET", "/v1/AUTH_test/c", (403, False)),
    ],
)
def test_account_acls(acl, method, path, expected):
    app = Asks(account_acl=acl and json.dumps(acl))
    assert allowed(OTHER, path, method, app=app) == expected


def test_account_acls_do_not_let_in_strangers():
    assert allowed(None, app=Asks(account_acl='{"admin":[""]}')) == (401, False)


# -- S3 --------------------------------------------------------------------------------------------------------------------


def s3(auth, access_key, right=True, path=None):
    checked = []

    def check_signature(secret):
        checked.append(secret)
        return right

    details = {"access_key": access_key, "check_signature": check_signature}
    path = path or f"/v1/{access_key.replace(' ', '%20')}/bucket/{access_key}"
    return send(auth, path, **{"s3api.auth_details": details}), checked


def test_s3_requests_are_checked_against_the_users_key():
    auth = build()
    answer, checked = s3(auth, "test:tester")
    assert answer.status_int == 200
    assert checked == ["testing"]
    assert auth.app.environ["PATH_INFO"] == "/v1/AUTH_test/bucket/test:tester"
    assert auth.app.environ["REMOTE_USER"] == "test,test:tester,AUTH_test"
    answer, _ = s3(auth, "t\u00e9st:us\u00e9r", path="/v1/t%C3%A9st:us%C3%A9r/b")
    assert auth.app.environ["PATH_INFO"] == "/v1/AUTH_t\u00c3\u00a9st/b"


def test_s3_requests_with_a_wrong_signature_are_denied():
    auth = build()
    assert s3(auth, "test:tester", right=False)[0].status_int == 401
    answer, checked = s3(auth, "no:body")
    assert answer.status_int == 401
    assert checked == []


# -- the rest --------------------------------------------------------------------------------------------------------------


def test_denials_are_counted():
    auth = build()
    send(auth)
    send(auth, "/v1/AUTH_other/c", token=token_of(auth))
    assert auth.seen_metrics == ["unauthorized", "forbidden"]


def test_factory_registers_its_capability(monkeypatch):
    monkeypatch.setattr(capabilities, "_public", {})
    auth = filter_factory({"log_to": "stderr", **USERS})(App())
    assert capabilities.disclosed() == {"tempauth": {"account_acls": True}}
    assert auth.prefixes == ["AUTH_"]
