"""Temporary credentials: how they are asked for, what they are good for, and what ends them (spec s3.md 28)."""

import base64
import io
import json
import re
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from swift.core import clock
from swift.core.errors import ConfigError
from swift.middleware.tempauth import TempAuth, s3_keys
from swift.s3.filter import filter_factory
from swift.s3.options import parse_options
from swift.s3.sts import tokens
from swift.s3.sts.keys import parse_keys
from swift.s3.sts.tokens import BadToken, Session
from swift.s3.token import S3Token
from swift.s3.token.keystone import Refused
from swift.s3.token.options import parse_options as token_options

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
PERMANENT = Credentials("test:tester", "testing")
SESSION = Session(
    "ASIA", 2**31, "me", "", None, "test:tester", "20260102/us-east-1/sts/aws4_request", "text", "sig"
)


class Bottom:
    """Keeps what comes through the auth filter, and asks it."""

    def __init__(self):
        self.seen = []

    def __call__(self, environ, start_response):
        refusal = None
        authorize = environ.get("swift.authorize")
        if authorize is not None and not environ.get("swift.authorize_override"):
            from swift.wire.message import Request

            refusal = authorize(Request(environ))
        if refusal is not None:
            return refusal(environ, start_response)
        self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        start_response("200 OK", [("Content-Length", "0"), ("Etag", "e")])
        return [b""]


class Site:
    """s3api with tempauth, whose users are test:tester and, by a key of his own, SKKEY's."""

    def __init__(self, tmp_path, sts_key=OLD, below=None, **conf):
        self.keys_file = tmp_path / "keys.json"
        s3_keys.change(
            str(self.keys_file), lambda keys: keys.update(SKKEY=s3_keys.S3Key("test:tester", ("own secret",)))
        )
        self.bottom = Bottom()
        auth = {"user_test_tester": "testing .admin", "s3_keys_file": str(self.keys_file)}
        self.auth = below or TempAuth(self.bottom, auth)
        self.filter = filter_factory({"sts_key": sts_key, **conf})(self.auth)

    def sent(self, method, url, signer, data=b"", **headers):
        """(status, document) of a request that botocore has signed."""
        request = AWSRequest(
            method,
            f"http://s3.example.com{url}",
            {name.replace("_", "-"): value for name, value in headers.items()},
            data,
        )
        signer.add_auth(request)
        return self.raw(
            method, request.prepare().url.partition(".com")[2], data, dict(request.headers.items())
        )

    def raw(self, method, url, data=b"", headers=None):
        path, _, query = url.partition("?")
        environ = {
            "REQUEST_METHOD": method, "PATH_INFO": path, "RAW_PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": "s3.example.com",
            "wsgi.url_scheme": "http", "SERVER_NAME": "s", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.errors": None,
            "wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data)),
        }  # fmt: skip
        for name, value in (headers or {}).items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        told = []
        body = self.filter(environ, lambda status, headers, _info=None: told.append(status))
        return int(told[0][:3]), b"".join(body).decode()

    def asked(self, text, credentials=PERMANENT, service="sts"):
        return self.sent(
            "POST", "/", SigV4Auth(credentials, service, "us-east-1"), text.encode(),
            Content_Type="application/x-www-form-urlencoded; charset=utf-8",
        )  # fmt: skip

    def session(self, credentials=PERMANENT, more=""):
        status, text = self.asked(
            f"Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::test:role/r&RoleSessionName=me{more}",
            credentials,
        )
        assert status == 200, text
        found = {
            name: re.search(f"<{name}>(.*?)</{name}>", text).group(1)
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        }
        return Credentials(*found.values())

    def read(self, credentials, signer=S3SigV4Auth):
        """(status, code) of a GET of an object."""
        made = (
            signer(credentials, "s3", "us-east-1")
            if signer is S3SigV4Auth or signer is S3SigV4QueryAuth
            else signer(credentials)
        )
        status, text = self.sent("GET", "/bucket/key", made)
        return status, text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


# -- asking ----------------------------------------------------------------------------------------------------------------


def test_what_is_answered(site):
    status, text = site.asked(
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3Atest%3Arole%2Fr&RoleSessionName=me&DurationSeconds=900"
    )
    root = ElementTree.fromstring(text)
    space = "{https://sts.amazonaws.com/doc/2011-06-15/}"
    assert (status, root.tag) == (200, f"{space}AssumeRoleResponse")
    found = {element.tag.removeprefix(space): element.text for element in root.iter()}
    assert found["AccessKeyId"].startswith("ASIA") and len(found["AccessKeyId"]) == 20
    assert len(found["SecretAccessKey"]) == 40
    assert found["Arn"] == "arn:aws:sts::test:assumed-role/r/me"
    assert found["Expiration"] > "2026"
    status, text = site.asked("Action=GetSessionToken&Version=2011-06-15")
    assert status == 200 and "<GetSessionTokenResult><Credentials><AccessKeyId>ASIA" in text
    status, text = site.asked("Action=GetCallerIdentity&Version=2011-06-15", site.session())
    assert (
        status,
        "<Arn>arn:aws:sts::test:assumed-role/r/me</Arn>" in text,
        "<Account>test</Account>" in text,
    ) == (200, True, True)
    status, text = site.asked(
        "Action=GetCallerIdentity&Version=2011-06-15", Credentials("SKKEY", "own secret")
    )
    assert (status, "<Arn>arn:aws:iam::test:user/tester</Arn>" in text) == (200, True)


@pytest.mark.parametrize(
    "text, status, code",
    [
        ("Action=AssumeRole&RoleSessionName=x", 400, "ValidationError"),
        ("Action=AssumeRole&RoleSessionName=a%20b", 400, "ValidationError"),
        ("Action=AssumeRole&RoleArn=%0A", 400, "ValidationError"),
        ("Action=AssumeRole&DurationSeconds=899", 400, "ValidationError"),
        ("Action=AssumeRole&DurationSeconds=43201", 400, "ValidationError"),
        ("Action=AssumeRole&DurationSeconds=" + "9" * 5000, 400, "ValidationError"),
        ("Action=AssumeRole&DurationSeconds=-1", 400, "ValidationError"),
        ("Action=AssumeRole&Policy=", 400, "MalformedPolicyDocument"),
        ("Action=AssumeRole&Policy=[1]", 400, "MalformedPolicyDocument"),
        ("Action=AssumeRole&Policy=" + "[" * 2000, 400, "MalformedPolicyDocument"),
        ("Action=AssumeRole&Policy=" + "x" * 2049, 400, "PackedPolicyTooLarge"),
        ("Action=AssumeRole&PolicyArns.member.1.arn=x", 501, "NotImplemented"),
        ("Action=AssumeRoleWithWebIdentity&WebIdentityToken=x", 501, "NotImplemented"),
        ("Action=AssumeRoleWithSAML", 501, "NotImplemented"),
        ("Action=Nonsense", 400, "InvalidAction"),
        ("Action=AssumeRole&Version=2010-01-01", 400, "InvalidAction"),
        ("Action=GetSessionToken&Action=AssumeRole", 400, "MalformedQueryString"),
        ("Action=%FF", 400, "MalformedQueryString"),
        ("&".join(f"a{number}=" for number in range(200)), 400, "MalformedQueryString"),
        ("", 400, "InvalidAction"),
        ("x" * 40_000, 400, "ValidationError"),
    ],
)
def test_what_is_refused(site, text, status, code):
    found, told = site.asked(text)
    assert (found, f"<Code>{code}</Code>" in told) == (status, True), told
    assert "<ErrorResponse" in told and "<RequestId" in told


@pytest.mark.parametrize(
    "credentials, service, status, code",
    [
        (Credentials("test:tester", "wrong"), "sts", 403, "SignatureDoesNotMatch"),
        (Credentials("test:nobody", "testing"), "sts", 403, "InvalidClientTokenId"),
        (PERMANENT, "s3", 400, "AuthorizationHeaderMalformed"),
        (Credentials("test:tester", "testing", "a token"), "sts", 400, "InvalidClientTokenId"),
    ],
)
def test_who_may_ask(site, credentials, service, status, code):
    found, told = site.asked("Action=AssumeRole", credentials, service)
    assert (found, f"<Code>{code}</Code>" in told) == (status, True), told


def test_a_session_may_what_its_own_policy_lets_it(site):
    policy = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/k*"},
    }
    session = site.session(more="&" + urlencode({"Policy": json.dumps(policy)}))
    signer = S3SigV4Auth(session, "s3", "us-east-1")
    for method, url, status in (
        ("GET", "/bucket/key", 200), ("HEAD", "/bucket/key", 200), ("GET", "/bucket/other", 403), ("GET", "/other/key", 403),
        ("PUT", "/bucket/key", 403), ("DELETE", "/bucket/key", 403), ("GET", "/bucket", 403), ("GET", "/", 403), ("PUT", "/bucket", 403),
        ("GET", "/bucket?policy", 403), ("POST", "/bucket/key?uploads", 403), ("GET", "/bucket/key?tagging", 403),
    ):  # fmt: skip
        assert site.sent(method, url, signer)[0] == status, (method, url)
    assert not {method for method, _ in site.bottom.seen} - {"GET", "HEAD", "TEST"}


def test_who_does_not_sign(site):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, text = site.raw("POST", "/", b"Action=AssumeRole", kind)
    assert (status, "MissingAuthenticationToken" in text) == (403, True)
    status, text = site.raw("POST", "/", b"Action=AssumeRoleWithWebIdentity&WebIdentityToken=e30.e30.", kind)
    assert (status, "NotImplemented" in text) == (501, True)


def test_a_body_that_was_changed_on_the_way(site):
    request = AWSRequest(
        "POST",
        "http://s3.example.com/",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"Action=AssumeRole",
    )
    SigV4Auth(PERMANENT, "sts", "us-east-1").add_auth(request)
    status, text = site.raw("POST", "/", b"Action=GetSessionToken", dict(request.headers.items()))
    assert (status, "SignatureDoesNotMatch" in text) == (403, True)


def test_a_token_that_no_request_could_bring_is_not_given(site):
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/" + "\xe4" * 900}
    policy = quote(json.dumps({"Statement": statement}, ensure_ascii=False))
    role = "arn:aws:iam::test:role/" + "r" * 1000
    status, text = site.asked(f"Action=AssumeRole&Version=2011-06-15&RoleArn={role}&Policy={policy}")
    assert (status, "PackedPolicyTooLarge" in text) == (400, True)


def test_a_session_begets_no_other(site):
    status, text = site.asked("Action=AssumeRole", site.session())
    assert (status, "AccessDenied" in text) == (403, True)


def test_without_a_key_there_are_none(tmp_path):
    site = Site(tmp_path, sts_key="")
    status, text = site.asked("Action=AssumeRole")
    assert (status, "NotImplemented" in text) == (501, True)
    assert site.read(Credentials("ASIA", "x", "token")) == (400, "InvalidToken")
    assert site.raw("POST", "/", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"})[1] != text


# -- using ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth, HmacV1Auth, HmacV1QueryAuth])
@pytest.mark.parametrize("parent", [PERMANENT, Credentials("SKKEY", "own secret")])
def test_a_session_may_what_its_parent_may(site, signer, parent):
    session = site.session(parent)
    assert site.read(session, signer) == (200, "")
    assert ("GET", "/v1/AUTH_test/bucket/key") in site.bottom.seen
    assert site.read(Credentials(session.access_key, "wrong", session.token), signer) == (
        403,
        "SignatureDoesNotMatch",
    )


def test_what_belongs_together(site):
    one, other = site.session(), site.session()
    assert site.read(Credentials(one.access_key, one.secret_key)) == (403, "InvalidAccessKeyId")
    assert site.read(Credentials(one.access_key, one.secret_key, other.token)) == (400, "InvalidToken")
    assert site.read(Credentials("test:tester", "testing", one.token)) == (400, "InvalidToken")
    assert site.read(Credentials(one.access_key, one.secret_key, one.token[:-4] + "AAAA")) == (
        400,
        "InvalidToken",
    )
    assert site.read(Credentials(one.access_key, one.secret_key, "é")) == (400, "InvalidToken")


def test_it_ends(tmp_path, monkeypatch):
    site = Site(tmp_path, allowable_clock_skew="9999")
    session = site.session(more="&DurationSeconds=900")
    now = clock.time()
    monkeypatch.setattr(clock, "time", lambda: now + 899)
    assert site.read(session) == (200, "")
    monkeypatch.setattr(clock, "time", lambda: now + 901)
    assert site.read(session, S3SigV4Auth) == (400, "ExpiredToken")


@pytest.mark.parametrize("end", ["remove", "switch off", "new secret", "retire"])
def test_it_ends_with_its_parents_key(site, end):
    session = site.session(Credentials("SKKEY", "own secret"))
    assert site.read(session)[0] == 200
    work = {
        "remove": lambda keys: keys.pop("SKKEY"),
        "switch off": lambda keys: s3_keys.switch(keys, "SKKEY", True),
        "new secret": lambda keys: keys.update(SKKEY=s3_keys.S3Key("test:tester", ("another",))),
        "retire": lambda keys: s3_keys.rotate(keys, "SKKEY"),
    }[end]
    s3_keys.change(str(site.keys_file), work)
    site.auth.s3_keys._look_at = 0
    if end == "retire":
        assert site.read(session)[0] == 200  # the one before it counts, too
        s3_keys.change(str(site.keys_file), lambda keys: s3_keys.retire(keys, "SKKEY"))
        site.auth.s3_keys._look_at = 0
    assert site.read(session) in ((403, "InvalidAccessKeyId"), (400, "InvalidToken"))


def test_keys_are_replaced_without_ending_sessions(tmp_path):
    session = Site(tmp_path, sts_key=OLD).session()
    both = Site(tmp_path, sts_key=f"{NEW}, {OLD}")
    assert both.read(session)[0] == 200
    newer = both.session()
    only_new = Site(tmp_path, sts_key=NEW)
    assert only_new.read(newer)[0] == 200
    assert only_new.read(session) == (400, "InvalidToken")


def test_keystones_users(tmp_path):
    """Keystone is asked about the parent's request anew, so a session ends when it says no."""
    answers = [
        {
            "token": {
                "user": {"id": "u1", "name": "ann"}, "roles": [{"name": "member"}], "project": {"id": "p1", "name": "red"},
            }
        }
    ]  # fmt: skip
    asked = []

    class Keystone:
        def whose(self, access_key, string_to_sign, signature):
            asked.append((access_key, string_to_sign, signature))
            if answers[0] is None:
                raise Refused(401)
            return answers[0]

    def bottom(environ, start_response):
        known = environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed"
        known = known or (environ.get("swift.source") or "").startswith("GET_")
        if known:
            environ["REMOTE_USER"] = environ.get("HTTP_X_USER_ID")
        start_response(
            "200 OK" if known or environ.get("swift.authorize_override") else "401 Unauthorized",
            [("Content-Length", "0"), ("Etag", environ["PATH_INFO"])],
        )
        return [b""]

    options = token_options({"auth_uri": "http://keystone:5000/v3"})
    site = Site(tmp_path, below=S3Token(bottom, options, None, Keystone()))
    session = site.session(Credentials("ec2key", "known to Keystone only"))
    first = asked[0]
    assert first[0] == "ec2key" and first[1].split(b"\n")[2].endswith(b"/us-east-1/sts/aws4_request")
    assert site.read(session)[0] == 200
    assert set(asked) == {first}
    answers[0] = None
    assert site.read(session) == (400, "InvalidToken")


# -- tokens ----------------------------------------------------------------------------------------------------------------


@given(st.integers(0), st.integers(1, 255))
def test_no_token_that_was_changed_is_taken(at, by):
    keys = parse_keys([OLD])
    sealed = bytearray(base64.urlsafe_b64decode(tokens.issue(keys[0], SESSION)))
    sealed[at % len(sealed)] ^= by
    with pytest.raises(BadToken):
        tokens.opened(keys, base64.urlsafe_b64encode(bytes(sealed)).decode())


@given(
    st.text(max_size=200) | st.binary(max_size=100).map(lambda data: base64.urlsafe_b64encode(data).decode())
)
def test_nothing_else_is_a_token(text):
    with pytest.raises(BadToken):
        tokens.opened(parse_keys([OLD, NEW]), text)


def test_tokens_tell_nothing():
    session = SESSION._replace(policy=json.dumps({"x": "y" * 2000}))
    first, second = (tokens.issue(parse_keys([OLD])[0], session) for _ in range(2))
    assert first != second and len(first) < tokens.LONGEST
    assert b"tester" not in base64.urlsafe_b64decode(first)
    assert tokens.opened(parse_keys([NEW, OLD]), first)[0] == session


@pytest.mark.parametrize(
    "value", ["short", base64.b64encode(bytes(31)).decode(), "not base64 at all!", f"{OLD},{OLD}"]
)
def test_keys_that_are_none(value):
    with pytest.raises(ConfigError) as raised:
        parse_options({"sts_key": value})
    assert value not in str(raised.value)
