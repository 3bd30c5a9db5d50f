"""Temporary credentials for who brings a token of OpenID Connect: whose tokens count, for whom, and what attackers make of them (spec s3.md 28)."""

import base64
import hashlib
import hmac
import json
import time
from types import SimpleNamespace
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from swift.core.errors import ConfigError
from swift.s3.options import parse_options
from swift.s3.sts import key_sets, web_identity
from swift.s3.sts.key_sets import Away, KeySet, NoKey
from swift.wire.client import BackendError
from test.unit.s3.test_s3_sts import OLD, Site

DAY = 86_400  # seconds; what is made here is looked at much later
ISSUER, AUDIENCE = "https://issuer.example", "swift"
RSA = rsa.generate_private_key(65537, 2048)
OTHERS = rsa.generate_private_key(65537, 2048)
SHORT = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key, kid, **more):
    of = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
    }
    algorithm = next(
        (made for kind, made in of.items() if isinstance(key, kind)), jwt.algorithms.OKPAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more}


KEYS = [
    jwk(RSA, "rsa", alg="RS256", use="sig"),
    jwk(EC, "ec"),
    jwk(ED, "ed"),
    jwk(SHORT, "short"),
    jwk(OTHERS, "for-encryption", use="enc"),
    jwk(OTHERS, "of-512", alg="RS512"),
]
USERS = [
    {"user": "test:tester", "claims": {"sub": "system:serviceaccount:prod:backup"}},
    {"user": "test:absent", "claims": {"groups": "readers"}},
    {"user": "test:tester", "claims": {"email": "*@example.com", "email_verified": "true"}},
]


def claims(**more):
    now = int(time.time())
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "system:serviceaccount:prod:backup",
        "iat": now,
        "exp": now + DAY,
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def token(key=RSA, algorithm="RS256", kid="rsa", headers=None, **more):
    named = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**more), key, algorithm, {**named, **(headers or {})})


@pytest.fixture
def files(tmp_path):
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": KEYS}))
    providers = tmp_path / "providers.json"
    one = {
        "issuer": ISSUER,
        "audience": [AUDIENCE, "other"],
        "jwks": str(keys),
        "users": USERS,
        "algorithms": ["RS256", "ES256", "EdDSA"],
    }
    providers.write_text(json.dumps({"kubernetes": one}))
    return SimpleNamespace(keys=keys, providers=providers, one=one, path=str(providers))


@pytest.fixture
def site(tmp_path, files):
    return Site(tmp_path, web_identity_providers=files.path)


def asked(site, made, more="", **params):
    params = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": made, "RoleArn": "arn:aws:iam::test:role/r", "RoleSessionName": "me", **params}  # fmt: skip
    return site.raw(
        "POST", "/", urlencode(params).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    )


def code(answer):
    return answer[1].partition("<Code>")[2].partition("</Code>")[0]


def credentials(text):
    from botocore.credentials import Credentials

    return Credentials(
        *(
            text.partition(f"<{name}>")[2].partition("<")[0]
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
    )


# -- who gets in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        token(),
        token(EC, "ES256", "ec"),
        token(ED, "EdDSA", "ed"),
        token(EC, "ES256", None),  # the only one for it
        token(aud=["else", "other"]),
        token(sub="x", email="me@example.com", email_verified=True),
    ],
)
def test_a_right_token_gets_credentials(site, made):
    status, text = asked(site, made)
    assert status == 200, text
    assert (
        "<Arn>arn:aws:sts::test:assumed-role/r/me</Arn>" in text and f"<Provider>{ISSUER}</Provider>" in text
    )
    assert "<SubjectFromWebIdentityToken>" in text and "<Audience>" in text
    assert site.read(credentials(text)) == (200, "")
    assert site.bottom.seen[-1] == ("GET", "/v1/AUTH_test/bucket/key")


def test_clocks_differ_a_little(site):
    assert asked(site, token(exp=int(time.time()) - 1))[0] == 200


def test_what_was_asked_for_holds(site):
    status, text = asked(site, token(), Policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}')  # fmt: skip
    assert status == 200 and site.read(credentials(text)) == (403, "AccessDenied")
    assert code(asked(site, token(), Policy="{")) == "MalformedPolicyDocument"
    assert code(asked(site, token(), DurationSeconds="1")) == "ValidationError"
    status, text = asked(site, token())
    caller = site.asked("Action=GetCallerIdentity&Version=2011-06-15", credentials(text))
    assert "assumed-role/r/me" in caller[1]
    again = site.asked("Action=GetSessionToken&Version=2011-06-15", credentials(text))
    assert again[0] == 403  # no session begets another one


def test_parameters_may_stand_in_the_address_of_a_post(site):
    query = urlencode(
        {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": token()}
    )
    assert site.raw("POST", f"/?{query}")[0] == 200


def test_a_session_ends_with_who_vouched_for_it(tmp_path, files):
    site = Site(tmp_path, web_identity_providers=files.path)
    found = credentials(asked(site, token())[1])
    files.one["users"] = [{"user": "test:else", "claims": {"sub": "x"}}]
    files.providers.write_text(json.dumps({"kubernetes": files.one}))
    assert Site(tmp_path, web_identity_providers=files.path).read(found) == (400, "InvalidToken")
    files.providers.write_text(json.dumps({"renamed": {**files.one, "users": USERS}}))
    assert Site(tmp_path, web_identity_providers=files.path).read(found) == (400, "InvalidToken")
    assert Site(tmp_path).read(found) == (400, "InvalidToken")


def test_without_providers_there_is_nothing(tmp_path):
    assert code(asked(Site(tmp_path), token())) == "NotImplemented"


# -- who does not ---------------------------------------------------------------------------------------------------------


def part(found):
    return base64.urlsafe_b64encode(json.dumps(found).encode()).rstrip(b"=").decode()


def signed_with_public_key(form):
    """As if the public key, which everybody knows, were a shared secret."""
    secret = RSA.public_key().public_bytes(serialization.Encoding.PEM, form)
    text = f"{part({'alg': 'HS256', 'kid': 'rsa', 'typ': 'JWT'})}.{part(claims())}"
    digest = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def unsigned(algorithm):
    return f"{part({'alg': algorithm, 'kid': 'rsa'})}.{part(claims())}."


RIGHT = token()
ATTACKS = {
    "alg none": unsigned("none"),
    "alg NONE, with something for a signature": unsigned("nOnE") + "AAAA",
    "no alg": f"{part({'kid': 'rsa'})}.{part(claims())}.AAAA",
    "alg that is no text": f"{part({'alg': ['RS256'], 'kid': 'rsa'})}.{part(claims())}.AAAA",
    "the public key as a secret": signed_with_public_key(serialization.PublicFormat.SubjectPublicKeyInfo),
    "the public key as a secret, in another form": signed_with_public_key(serialization.PublicFormat.PKCS1),
    "an algorithm that is not taken": token(RSA, "RS384"),
    "somebody else's key under a right name": token(OTHERS),
    "an unknown key": token(OTHERS, kid="unknown"),
    "no name, and several keys": token(RSA, kid=None),
    "a key for another algorithm": token(EC, "ES256", "rsa"),
    "a key for encryption": token(OTHERS, kid="for-encryption"),
    "a key for another hash": token(OTHERS, kid="of-512"),
    "a key that is too short": token(SHORT, kid="short"),
    "a key that it brings along": token(OTHERS, kid="mine", headers={"jwk": jwk(OTHERS, "mine")}),
    "an address that it brings along": token(OTHERS, kid="mine", headers={"jku": "http://127.0.0.1:1/"}),
    "a file for a key's name": token(OTHERS, kid="../../../../dev/null"),
    "what must be understood and is not": token(headers={"crit": ["b64"], "b64": False}),
    "another audience": token(aud="else"),
    "no audience": token(aud=None),
    "another issuer": token(iss="https://else.example"),
    "no issuer": token(iss=None),
    "not yet": token(nbf=int(time.time()) + DAY),
    "made in the future": token(iat=int(time.time()) + DAY),
    "no end": token(exp=None),
    "an end that is none": token(exp="soon"),
    "nobody": token(sub=None),
    "changed claims": RIGHT.replace(RIGHT.split(".")[1], part(claims(sub="admin"))),
    "no signature": RIGHT.rpartition(".")[0] + ".",
    "another signature": RIGHT.rpartition(".")[0] + "." + token(sub="x").rpartition(".")[2],
    "more parts": RIGHT + ".AAAA",
    "too long": token(pad="x" * 20_000),
    "not base64": "é.é.é",
    "no claims": f"{part({'alg': 'RS256', 'kid': 'rsa'})}.{part([1])}.AAAA",
    "deep claims": f"{part({'alg': 'RS256', 'kid': 'rsa'})}.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.AAAA",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_what_attackers_send(site, name):
    answer = asked(site, ATTACKS[name])
    assert answer[0] == 400 and code(answer) == "InvalidIdentityToken", answer
    assert "SessionToken" not in answer[1] and not site.bottom.seen


def test_what_has_expired(site):
    answer = asked(site, token(exp=int(time.time()) - 600))
    assert answer[0] == 400 and code(answer) == "ExpiredTokenException"


@pytest.mark.parametrize(
    "more",
    [
        {"sub": "somebody"},
        {"sub": "xsystem:serviceaccount:prod:backup"},
        {"sub": "x", "email": "me@example.com"},  # nobody says it is his
        {"sub": "x", "email": "me@example.com", "email_verified": False},
        {"sub": "x", "email": "me@example.com.evil", "email_verified": True},
        {"sub": "x", "groups": ["else", "readers"]},  # a user whom the auth filter does not know
    ],
)
def test_somebody_who_is_nobody_here(site, more):
    answer = asked(site, token(**more))
    assert answer[0] == 403 and code(answer) == "AccessDenied"


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    one = web_identity.WebIdentities([], jwt)
    with pytest.raises(web_identity.BadIdentity):
        one.verified(text)


# -- keys -----------------------------------------------------------------------------------------------------------------


class Fetched:
    def __init__(self, keys=KEYS):
        self.keys, self.count, self.error, self.now, self.told = keys, 0, None, 0.0, []
        self.set = KeySet(self.fetch, 3600.0, 30.0, lambda *args: self.told.append(args), lambda: self.now)

    def fetch(self):
        self.count += 1
        if self.error:
            raise self.error
        return json.dumps({"keys": self.keys}).encode()


def test_keys_are_fetched_once_and_anew_when_one_is_new():
    fetched = Fetched(KEYS[:1])
    for _ in range(5):
        assert fetched.set.jwk("rsa", "RS256")["kid"] == "rsa"
    assert fetched.count == 1
    fetched.now = 100.0
    fetched.keys = KEYS
    assert fetched.set.jwk("ec", "ES256")["kid"] == "ec"  # it has changed
    assert fetched.count == 2
    for _ in range(20):
        with pytest.raises(NoKey):
            fetched.set.jwk("made-up", "RS256")  # which makes nobody ask again and again
    assert fetched.count == 2
    fetched.now = 4000.0
    fetched.keys = KEYS[1:]
    with pytest.raises(NoKey):
        fetched.set.jwk("rsa", "RS256")  # taken back


@pytest.mark.parametrize("error", [OSError("away"), BackendError("away"), ValueError("status 302")])
def test_keys_that_cannot_be_had_count_for_a_day(error):
    fetched = Fetched()
    fetched.error = error
    with pytest.raises(Away):
        fetched.set.jwk("rsa", "RS256")
    fetched.error, fetched.now = None, 60.0
    fetched.set.jwk("rsa", "RS256")
    fetched.error, fetched.now = error, 4000.0
    assert fetched.set.jwk("rsa", "RS256")["kid"] == "rsa" and fetched.told
    fetched.now = 100_000.0
    with pytest.raises(Away):
        fetched.set.jwk("rsa", "RS256")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"keys": {}}',
        b"[]",
        b"[" * 200_000,
        b"x" * 300_000,
        json.dumps({"keys": [{}] * 101}).encode(),
    ],
)
def test_what_is_no_set_of_keys(data):
    with pytest.raises(ValueError):
        key_sets.parsed(data)


def test_an_address_is_asked_within_bounds():
    answers = [(302, b""), (200, b"{}")]
    remote = SimpleNamespace(
        whole=lambda method, url, headers: (SimpleNamespace(status=answers[0][0]), answers.pop(0)[1])
    )
    with pytest.raises(ValueError):
        key_sets._asked(remote, "https://issuer.example/keys")  # nobody leads us elsewhere
    assert key_sets._asked(remote, "https://issuer.example/keys") == b"{}"


def test_a_file_of_keys_is_read_again(site, files, monkeypatch):
    files.keys.write_text(json.dumps({"keys": [jwk(OTHERS, "new")]}))
    assert code(asked(site, token())) == "InvalidIdentityToken"
    assert asked(site, token(OTHERS, kid="new"))[0] == 200


def test_an_issuer_whose_keys_are_away(tmp_path, files):
    files.keys.unlink()
    answer = asked(Site(tmp_path, web_identity_providers=files.path), token())
    assert answer[0] == 400 and code(answer) == "IDPCommunicationError"


# -- the file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": None}, {"audience": None}, {"audience": []}, {"jwks": "http://issuer.example/keys"}, {"jwks": "keys.json"},
        {"jwks": "https://user@issuer.example/"}, {"algorithms": ["HS256"]}, {"algorithms": ["none"]}, {"algorithms": []}, {"users": []},
        {"users": [{"user": "test:tester"}]}, {"users": [{"user": "test:tester", "claims": {}}]}, {"users": [{"user": "tester", "claims": {"sub": "x"}}]},
        {"users": [{"user": "test:tester", "claims": {"sub": ""}}]}, {"users": [{"user": "test:tester", "claims": {"sub": ["x"]}}]},
        {"clams": {}}, {"ca_file": "/absent", "jwks": "https://issuer.example/keys"},
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_told_at_the_start(files, changes):
    changed = {name: value for name, value in {**files.one, **changes}.items() if value is not None}
    files.providers.write_text(json.dumps({"one": changed}))
    with pytest.raises(ConfigError):
        parse_options({"sts_key": OLD, "web_identity_providers": files.path})


def test_what_else_is_wrong_at_the_start(files, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="sts_key"):
        parse_options({"web_identity_providers": files.path})
    with pytest.raises(ConfigError):
        parse_options({"sts_key": OLD, "web_identity_providers": str(tmp_path / "absent")})
    files.providers.write_text(json.dumps({"a": files.one, "b": files.one}))
    with pytest.raises(ConfigError, match="same issuer"):
        parse_options({"sts_key": OLD, "web_identity_providers": files.path})
    monkeypatch.setitem(__import__("sys").modules, "jwt", None)
    with pytest.raises(ConfigError, match="pip install"):
        parse_options({"sts_key": OLD, "web_identity_providers": files.path})
