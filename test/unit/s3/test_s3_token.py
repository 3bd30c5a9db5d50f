"""s3token: who signed, by Keystone's word: what is asked, what becomes of the answer, the cache of secrets, what is refused."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cache.local_cache import LocalCache
from swift.core import clock
from swift.core.errors import ConfigError
from swift.s3.token import S3Token, identities
from swift.s3.token.identities import BadReply
from swift.s3.token.keystone import Away, Keystone, Refused
from swift.s3.token.options import parse_options
from swift.wire.client import BackendError
from swift.wire.remote import RemoteAnswer

URL = "http://keystone:5000/v3"
SERVICE = {"auth_url": URL, "username": "swift", "password": "pw", "project_name": "service"}
V3 = {
    "token": {
        "user": {"id": "u1", "name": "ann", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"name": "member"}, {"name": "operator"}],
        "project": {"id": "p1", "name": "red", "domain": {"id": "default", "name": "Default"}},
    }
}
V2 = {
    "access": {
        "token": {"tenant": {"id": "p1", "name": "red"}},
        "user": {"id": "u1", "name": "ann", "roles": [{"name": "member"}]},
    }
}


class Log:
    def __init__(self):
        self.lines = []

    def error(self, *args):
        self.lines.append(args)

    warning = error


class Wire:
    """Keystone as HTTP: answers by (method, end of the path)."""

    def __init__(self, **answers):
        self.asked = []
        self.answers = {
            "s3tokens": (200, V3),
            "tokens": (201, {}),
            "OS-EC2": (200, {"credential": {"secret": "sesame"}}),
            **answers,
        }

    def whole(self, method, url, headers, body=b""):
        self.asked.append((method, url, dict(headers), json.loads(body) if body else None))
        name = "OS-EC2" if "OS-EC2" in url else url.rpartition("/")[2]
        found = self.answers[name]
        if isinstance(found, list):
            found = found.pop(0)
        if isinstance(found, Exception):
            raise found
        status, reply = found
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        return RemoteAnswer(status, {"x-subject-token": f"t{len(self.asked)}"}), data

    def count(self, name):
        return sum(name in url for _, url, _, _ in self.asked)


class Stand:
    def __init__(self, wire=None, conf=None, cache=True):
        self.wire = wire or Wire()
        options = parse_options({"auth_uri": URL + "/", **(SERVICE if conf is None else conf)})
        self.log = Log()
        keystone = Keystone(options, self.log)
        keystone._remote = self.wire
        self.filter = S3Token(self.app, options, self.log, keystone)
        self.cache = LocalCache() if cache else None
        self.environ = None

    def app(self, environ, start_response):
        self.environ = environ
        start_response("200 OK", [])
        return [b""]

    def send(self, access_key="key", path=None, secret="sesame", signed=True, **more):
        """(status, body); `tried`: the secrets that were tried."""
        self.tried = []
        self.environ = None

        def check(tried):
            self.tried.append(tried)
            return tried == secret

        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path or f"/v1/{access_key}/b/k",
            "wsgi.input": io.BytesIO(),
            "swift.cache": self.cache,
            **more,
        }
        if signed:
            environ["s3api.auth_details"] = {
                "access_key": access_key,
                "signature": "sig",
                "string_to_sign": b"AWS4\nx",
                "check_signature": check,
            }
        seen = []
        body = b"".join(self.filter(environ, lambda status, headers: seen.append(status)))
        return int(seen[0][:3]), body


def test_what_keystone_is_asked_and_what_it_tells():
    stand = Stand(conf={})
    assert stand.send()[0] == 200
    (asked,) = stand.wire.asked
    assert asked[:2] == ("POST", "http://keystone:5000/v3/s3tokens")
    assert asked[3] == {"credentials": {"access": "key", "token": "QVdTNAp4", "signature": "sig"}}
    told = stand.environ
    assert told["PATH_INFO"] == "/v1/AUTH_p1/b/k"
    assert told["HTTP_X_IDENTITY_STATUS"] == "Confirmed"
    assert told["HTTP_X_ROLES"] == "member,operator"
    assert told["HTTP_X_TENANT_NAME"] == told["HTTP_X_PROJECT_NAME"] == "red"
    assert told["HTTP_X_USER_DOMAIN_ID"] == "default"
    assert told["keystone.token_info"] == V3
    assert told["s3api.user_id"] == "red:ann"


@pytest.mark.parametrize(
    ("user", "project", "user_id", "names"),
    [
        ("default", "default", "red:ann", "red:ann"),
        ("d2", "d2", "p1:u1", "red:ann"),  # the names of another one in the default domain
        ("d2", "default", "p1:u1", ""),  # who may be in the same project
        ("default", "d2", "p1:u1", ""),
    ],
)
def test_names_mean_one_user_in_one_domain_only(user, project, user_id, names):
    token = json.loads(json.dumps(V3))
    token["token"]["user"]["domain"]["id"] = user
    token["token"]["project"]["domain"]["id"] = project
    for conf in (SERVICE, {}):  # from the cache the second time, and never
        stand = Stand(Wire(s3tokens=(200, token)), conf)
        for _ in range(2):
            stand.send()
            assert (stand.environ["s3api.user_id"], stand.environ["s3api.user_names"]) == (user_id, names)


def test_which_domain_that_is_can_be_said():
    token = json.loads(json.dumps(V3))
    for of in ("user", "project"):
        token["token"][of]["domain"]["id"] = "d2"
    stand = Stand(Wire(s3tokens=(200, token)), {**SERVICE, "default_domain_id": "d2"})
    stand.send()
    assert stand.environ["s3api.user_id"] == "red:ann"
    stand = Stand(conf={**SERVICE, "default_domain_id": "d2"})
    stand.send()
    assert stand.environ["s3api.user_id"] == "p1:u1"


def test_version_2_of_keystone():
    stand = Stand(Wire(s3tokens=(200, V2)), {"auth_uri": "http://keystone:5000/v2.0"})
    stand.send()
    assert stand.environ["HTTP_X_TENANT_ID"] == "p1"
    assert "HTTP_X_USER_DOMAIN_ID" not in stand.environ


def test_a_reseller_names_the_account():
    stand = Stand(conf={"reseller_prefix": "KEY"})
    assert stand.send("key:other", "/v1/key:other/key:other/k")[0] == 200
    assert stand.environ["PATH_INFO"] == "/v1/KEY_other/key:other/k"
    assert stand.wire.asked[0][3]["credentials"]["access"] == "key"


@pytest.mark.parametrize("access_key", ["a:b:c", ":a", "a:", "::"])
def test_access_keys_that_are_none(access_key):
    stand = Stand()
    status, body = stand.send(access_key)
    assert status == 401
    assert b"<Code>AccessDenied</Code>" in body
    assert not stand.wire.asked


def test_an_account_that_is_known_stays():
    stand = Stand()
    stand.send(path="/v1/AUTH_p1/key/key")
    assert stand.environ["PATH_INFO"] == "/v1/AUTH_p1/key/key"


def test_what_clients_say_of_themselves_is_taken_away():
    made_up = {
        "HTTP_X_ROLES": "admin",
        "HTTP_X_SERVICE_ROLES": "admin",
        "HTTP_X_IDENTITY_STATUS": "Confirmed",
    }
    stand = Stand(conf={"delay_auth_decision": "yes"}, wire=Wire(s3tokens=(401, {})))
    for more in ({}, {"keystone.token_info": V3}):
        assert stand.send(**made_up, **more)[0] == 200
        assert not [key for key in stand.environ if key.startswith("HTTP_X_")]
        assert "keystone.token_info" not in stand.environ
    stand.send(signed=False, **made_up)
    assert "HTTP_X_ROLES" not in stand.environ


def test_tokens_of_others_stay():
    stand = Stand()
    stand.send(signed=False, **{"HTTP_X_ROLES": "admin", "keystone.token_info": V3})
    assert stand.environ["HTTP_X_ROLES"] == "admin"
    assert not stand.wire.asked


@pytest.mark.parametrize(
    "answer, status",
    [
        ((401, {}), 401),
        ((403, {}), 401),
        ((500, {}), 503),
        ((200, b"{"), 503),
        ((200, []), 503),
        ((200, {"token": {}}), 503),
        ((200, {"token": {**V3["token"], "roles": None}}), 503),
        ((200, {"token": {**V3["token"], "project": {"id": 3, "name": "x"}}}), 503),
        (BackendError("gone"), 503),
    ],
)
def test_no_answer_and_no(answer, status):
    stand = Stand(Wire(s3tokens=answer), {})
    assert stand.send()[0] == status
    assert stand.environ is None


# -- the secrets -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_learnt_and_then_keystone_is_not_asked():
    stand = Stand()
    stand.send()
    assert stand.tried == ["sesame"]
    assert stand.cache.get("s3secret/key")[2] == "sesame"
    assert stand.wire.count("s3tokens") == 1
    stand.send()
    assert stand.wire.count("s3tokens") == 1
    assert stand.environ["HTTP_X_USER_ID"] == "u1"
    assert stand.environ["s3api.user_id"] == "red:ann"
    assert "token" in stand.environ["keystone.token_info"]


def test_a_signature_that_the_kept_secret_does_not_make_is_keystones_matter():
    stand = Stand()
    stand.send()
    stand.send(secret="another")
    assert stand.wire.count("s3tokens") == 2
    assert stand.tried == ["sesame", "sesame"]
    assert stand.cache.get("s3secret/key")[2] == "sesame"


def test_the_form_of_old_is_read():
    stand = Stand()
    headers = {
        "X-Identity-Status": "Confirmed",
        "X-Project-Name": "red",
        "X-User-Name": "ann",
        "X-Roles": "r",
    }
    stand.cache.set("s3secret/key", [headers, "token", {"id": "p9"}, "sesame"])
    stand.send()
    assert not stand.wire.asked
    assert stand.environ["PATH_INFO"] == "/v1/AUTH_p9/b/k"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda below: (
            st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(["X-Roles", "id"]), below)
        ),
    )
)
def test_anything_else_in_the_cache_is_not_believed(value):
    assert identities.from_cache(value) is None
    try:
        identities.from_reply(value)
    except BadReply:
        pass


def test_one_question_for_all_native_requests_of_one():
    stand = Stand(conf={})
    known = {}
    for path in ("/v1/key/b", "/v1/AUTH_p1/b/k"):
        stand.send(path=path, **{"swift.infocache": known})
    assert stand.wire.count("s3tokens") == 1
    stand.send(**{"swift.infocache": {}})
    assert stand.wire.count("s3tokens") == 2


def test_nothing_is_kept_without_a_service_user_or_a_cache_or_seconds():
    for stand in (Stand(conf={}), Stand(cache=False), Stand(conf={**SERVICE, "secret_cache_duration": "0"})):
        assert stand.send()[0] == 200
        assert stand.wire.count("OS-EC2") == 0


def test_a_secret_that_keystone_keeps_to_itself_stops_nobody():
    for answer in ((403, {}), (500, {}), (200, {}), (200, {"credential": {"secret": 3}})):
        stand = Stand(Wire(**{"OS-EC2": answer}))
        assert stand.send()[0] == 200
        assert stand.cache.get("s3secret/key") is None
        assert stand.log.lines


def test_our_own_token_is_kept_and_replaced_when_it_counts_no_more(monkeypatch):
    stand = Stand(Wire(s3tokens=[(200, V3), (401, {}), (200, V3), (401, {}), (401, {}), (200, V3)]))
    stand.send()
    stand.send(secret="x")
    assert stand.wire.count("auth/tokens") == 2
    assert len({headers["X-Auth-Token"] for _, url, headers, _ in stand.wire.asked if "s3tokens" in url}) == 2
    assert stand.send(secret="x")[0] == 401  # a new one of ours doesn't help: it is theirs that is wrong
    before = stand.wire.count("auth/tokens")
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 3600)
    stand.send(secret="x")
    assert stand.wire.count("auth/tokens") == before + 1


def test_a_service_user_that_keystone_does_not_know_is_not_the_clients_fault():
    stand = Stand(Wire(tokens=(401, {})))
    assert stand.send()[0] == 503


# -- the options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"auth_uri": "keystone:5000"},
        {"auth_uri": "ftp://k/v3"},
        {"auth_uri": "http://"},
        {"auth_uri": "http://u:p@k/v3"},
        {"auth_uri": "http://k/v3?a=b"},
        {"auth_uri": "http://k/v3#a"},
        {"auth_uri": URL, "http_timeout": "0"},
        {"auth_uri": URL, "http_timeout": "61"},
        {"auth_uri": URL, "http_timeout": "x"},
        {"auth_uri": URL, "secret_cache_duration": "-1"},
        {"auth_uri": URL, "certfile": "/nowhere"},
        {"auth_uri": URL, "auth_url": URL, "auth_type": "magic"},
    ],
)
def test_options_that_cannot_be_meant(conf):
    with pytest.raises(ConfigError):
        parse_options(conf)


def test_how_the_service_user_shows_itself():
    by_name = parse_options({"auth_uri": URL, **SERVICE, "auth_url": "http://k:5000"}).service
    assert by_name.auth_url == "http://k:5000/v3"
    user = by_name.identity["auth"]["identity"]["password"]["user"]
    assert user == {"name": "swift", "domain": {"id": "default"}, "password": "pw"}
    assert by_name.identity["auth"]["scope"]["project"] == {"name": "service", "domain": {"id": "default"}}
    application = {
        "auth_type": "v3applicationcredential",
        "application_credential_id": "i",
        "application_credential_secret": "s",
    }
    methods = parse_options({"auth_uri": URL, "auth_url": URL, **application}).service.identity["auth"][
        "identity"
    ]
    assert methods["application_credential"] == {"id": "i", "secret": "s"}


def test_errors_are_told_apart():
    keystone = Stand(Wire(s3tokens=(404, {})), {}).filter.keystone
    with pytest.raises(Refused):
        keystone.whose("a", b"b", "c")
    keystone = Stand(Wire(s3tokens=(502, {})), {}).filter.keystone
    with pytest.raises(Away):
        keystone.whose("a", b"b", "c")
