"""Who may do what: what is asked of whom, where S3's own ACLs count, and what the pipeline must have (spec s3.md 1.1, 8.2, 13.7)."""

import io
import json
from dataclasses import replace

import pytest

from swift.core.errors import ConfigError
from swift.s3 import access, bucket_documents, bucket_owner, bucket_rules, buckets, copying, operations
from swift.s3.access_logging import handlers as access_logging
from swift.s3.acl import native, own
from swift.s3.errors import S3Error
from swift.s3.filter import S3Api, _done
from swift.s3.identity import Identity
from swift.s3.options import Options
from swift.s3.policy.context import Values
from swift.s3.request import S3Request
from swift.wire.message import HTTPForbidden

OWN = Options(s3_acl=True)


class Signed:
    token = None

    def __init__(self, access_key):
        self.access_key = access_key

    def details(self):
        return {"access_key": self.access_key}

    def mismatch(self):
        return S3Error("SignatureDoesNotMatch")


class Below:
    """An auth filter and all behind it: `answers` by method, each (status, headers)."""

    def __init__(self, account="AUTH_test", user="test:other", project=None, owned=None, names="", **answers):
        self.account = account
        self.owned = owned
        self.known = {}
        self.user = user
        self.project = project
        self.names = names
        self.answers = answers
        self.seen = []

    def __call__(self, environ, start_response):
        method = environ["REQUEST_METHOD"]
        if "s3api.auth_details" in environ and not environ.get("swift.authorize_override"):
            parts = environ["PATH_INFO"].split("/", 3)
            parts[2] = self.account
            environ["PATH_INFO"] = "/".join(parts)
            environ["REMOTE_USER"] = self.user
            environ["s3api.user_id"] = self.user
            environ["s3api.user_names"] = self.names
            if self.owned is not None:
                environ["swift.authorize"] = self.authorize
            if self.project:
                environ["HTTP_X_PROJECT_ID"] = self.project
        if (environ.get("swift.source") or "").startswith("GET_"):  # what is known of containers and accounts
            start_response("204 No Content", [("Content-Length", "0"), *self.known.items()])
            return [b""]
        self.seen.append(dict(environ))
        found = self.answers.get(method, [(405, {})])
        status, headers = found.pop(0) if len(found) > 1 else found[0]
        start_response(f"{status} X", [*headers.items(), ("Content-Length", "0")])
        return [b""]

    def authorize(self, request):
        """All is allowed to the owner of an account, nothing to others."""
        if request.environ["PATH_INFO"].split("/")[2] != self.owned:
            return HTTPForbidden(request=request)
        request.environ["swift_owner"] = True
        return None


def made(below, method, path, query="", options=OWN, access_key="test:other", **more):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "RAW_PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "s3.example.com",
        "SERVER_NAME": "s",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": None,
        **more,
    }
    return S3Request(environ, below, options, None, Signed(access_key))


def owned(user):
    return {"X-Object-Sysmeta-S3api-Acl": json.dumps({"Owner": user, "Grant": []})}


@pytest.mark.parametrize("query", ["tagging", "acl"])
def test_an_object_that_could_not_be_looked_at_lets_nobody(query):
    request = made(Below(HEAD=[(503, {}), (200, owned("test:owner"))]), "GET", "/bucket/key", query)
    with pytest.raises(S3Error) as caught:
        access.decide(request, operations.find(request))
    assert caught.value.status == 503


def test_names_that_are_somebody_elses_in_other_domains_count_at_home_only():
    """What the reference has written there calls users of all domains by their names."""
    for account, status in (("AUTH_p1", None), ("AUTH_p2", 403)):
        below = Below(
            account=account,
            user="p1:u1",
            project="p1",
            names="red:ann",
            HEAD=[(200, owned("red:ann"))],
        )
        request = made(below, "PUT", "/bucket/key", "acl", access_key="key")
        if status is None:
            access.decide(request, operations.find(request))
        else:
            with pytest.raises(S3Error) as caught:
                access.decide(request, operations.find(request))
            assert caught.value.status == status


def test_the_object_that_is_changed_is_the_one_that_was_decided_on():
    below = Below(HEAD=[(200, owned("test:other")), (200, owned("test:owner"))])
    request = made(below, "PUT", "/bucket/key", "acl", HTTP_X_AMZ_ACL="public-read")
    access.decide(request, operations.find(request))
    with pytest.raises(S3Error) as caught:
        own.put_object(request)
    assert caught.value.code == "AccessDenied"
    assert "PUT" not in [environ["REQUEST_METHOD"] for environ in below.seen]


def test_what_is_decided_holds_in_the_account_only():
    below = Below(HEAD=[(200, owned("test:other"))])
    request = made(below, "GET", "/bucket/key", "tagging")
    access.decide(request, operations.find(request))
    environ = below.seen[-1]
    authorize = environ["swift.authorize"]

    class Other:
        def __init__(self, path):
            self.environ = {"PATH_INFO": path, "REQUEST_METHOD": "HEAD"}

    assert environ["PATH_INFO"] == "/v1/AUTH_test/bucket/key"
    assert authorize(Other("/v1/AUTH_test/else/key")) is None
    assert authorize(Other("/v1/AUTH_victim/bucket/key")).status_int == 403


def test_buckets_of_an_account_that_the_access_key_only_names_are_not_told():
    for account, is_decided in (("AUTH_p1", True), ("AUTH_p2", False)):
        request = made(Below(account, project="p1"), "GET", "/", access_key=f"key:{account[5:]}")
        access.decide(request, operations.find(request))
        assert request.is_decided is is_decided


@pytest.mark.parametrize("status, code", [(403, "AccessDenied"), (409, "BucketNotEmpty")])
def test_a_bucket_that_stays_keeps_all_parts(status, code):
    """Who may write objects could remove parts, but no bucket; or an upload was completed a moment ago."""
    empty = {"X-Container-Object-Count": "0"}
    below = Below(HEAD=[(204, empty)], GET=[(200, {})], DELETE=[(status, {})])
    with pytest.raises(S3Error) as caught:
        buckets.delete(made(below, "DELETE", "/bucket", options=Options()))
    assert caught.value.code == code
    paths = [environ["PATH_INFO"] for environ in below.seen if environ["REQUEST_METHOD"] == "DELETE"]
    assert [path.rpartition("/")[2] for path in paths] == ["bucket"]


def test_what_was_allowed_for_another_path_is_no_signature():
    below = Below()
    request = made(
        below,
        "GET",
        "/bucket/key",
        **{
            "swift.authorize_override": True,
            "swift.authorize": lambda _request: None,
            "REMOTE_USER": ".wsgi.tempurl",
        },
    )
    request.authenticate()
    assert "swift.authorize_override" not in below.seen[0] and "swift.authorize" not in below.seen[0]
    assert request.account == "AUTH_test"


class Logger:
    def warning(self, *_words):
        pass


def test_without_slo_there_are_no_multipart_uploads():
    api = S3Api(None, Options(), Logger(), None)
    api._pipeline_names = frozenset(("s3api", "tempauth", "slo"))
    assert api.options.allow_multipart_uploads
    api._pipeline_names = frozenset(("s3api", "tempauth"))
    assert not api.options.allow_multipart_uploads


def test_keystone_needs_who_knows_its_keys():
    names = frozenset(("s3api", "keystoneauth", "slo"))
    api = S3Api(None, Options(), Logger(), None)
    with pytest.raises(ConfigError):
        api._pipeline_names = names
    api._pipeline_names = names | {"s3token"}
    S3Api(None, replace(Options(), auth_pipeline_check=False), Logger(), None)._pipeline_names = names


def test_who_asks():
    request = made(Below(user="test:other"), "GET", "/bucket/key")
    who = request.identity
    assert (who.user_id, who.account, who.account_id) == ("test:other", "AUTH_test", "test")
    assert who.arn == "arn:aws:iam::test:user/other" and who.arn in who.arns
    assert not who.is_anonymous and who.session is None


def test_a_signature_that_nobody_can_look_at_now_is_not_a_wrong_one():
    """Keystone is away: clients try again."""

    def away(environ, start_response):
        start_response("503 Service Unavailable", [("Content-Length", "0")])
        return [b""]

    request = made(away, "PUT", "/bucket")
    for ask in (request.authenticate, request.native_rights, lambda: request.identity):
        with pytest.raises(S3Error) as caught:
            ask()
        assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)


def test_nobody_says_himself_who_he_is():
    """These headers are Keystone's word, and where there is no Keystone nobody takes them away."""
    said = {"HTTP_X_PROJECT_ID": "victim", "HTTP_X_TENANT_ID": "victim", "HTTP_X_USER_ID": "admin"}
    for ask in (S3Request.authenticate, lambda request: request.given("GET", "bucket", "key").close()):
        request = made(Below(user="test:other"), "GET", "/bucket/key", **said)
        ask(request)
        assert request.identity == Identity("test:other", "AUTH_test", "test", ("other",))
        assert request.is_at_home


def test_nobody_asks_nobody():
    below = Below()
    request = S3Request({**made(below, "GET", "/bucket").environ}, below, OWN, None, None)
    assert request.identity.is_anonymous and request.identity.arn == "" and below.seen == []


def test_what_only_an_owner_may_is_asked_of_the_auth_filter():
    for account, allowed in (("AUTH_test", True), ("AUTH_other", False)):
        below = Below(account, owned="AUTH_test")
        request = made(below, "PUT", "/bucket/key", options=Options())
        if allowed:
            access.require(request, "s3:BypassGovernanceRetention", "bucket", "key", permission="OWNER")
            continue
        with pytest.raises(S3Error) as caught:
            access.require(request, "s3:BypassGovernanceRetention", "bucket", "key", permission="OWNER")
        assert caught.value.code == "AccessDenied"


# -- what a request says to policies ----------------------------------------------------------------------------------------


def value_of(name, action, method, path, query="", key="key", is_form=False, is_query=False, **more):
    request = made(Below(), method, path, query, **more)
    request.account = "AUTH_test"
    request.is_known = True
    request.credential.is_form, request.credential.is_query = is_form, is_query
    return Values(request, Identity("test:other"), "AUTH_test", action, "bucket", key, None)(name)


def test_how_a_request_is_signed_is_not_for_its_content_type_to_say():
    def kind(**more):
        return value_of("s3:authtype", "s3:GetObject", "GET", "/bucket/key", **more)

    form = "multipart/form-data; boundary=x"
    assert kind(is_query=True, CONTENT_TYPE=form) == ("REST-QUERY-STRING",)
    assert kind(CONTENT_TYPE=form) == ("REST-HEADER",)
    assert kind(is_query=True, is_form=True, CONTENT_TYPE="image/png") == ("POST",)


@pytest.mark.parametrize(
    "source",
    ["b/secret/a", "/b/secret/a", "b/%73ecret/a", "b/secret/a?versionId=null", "test:b/secret/a", "AUTH_test%3Ab/secret/a"],
)  # fmt: skip
def test_a_source_is_the_same_however_it_is_written(source):
    found = value_of(
        "s3:x-amz-copy-source", "s3:PutObject", "PUT", "/bucket/key", HTTP_X_AMZ_COPY_SOURCE=source
    )
    assert found == ("b/secret/a", "/b/secret/a")


def test_tags_that_a_copy_does_not_get_say_nothing():
    sent = {"HTTP_X_AMZ_TAGGING": "env=prod", "HTTP_X_AMZ_COPY_SOURCE": "b/k"}
    for name, value in (("s3:requestobjecttag/env", ("prod",)), ("s3:requestobjecttagkeys", ("env",))):
        asked = (name, "s3:PutObject", "PUT", "/bucket/key")
        assert value_of(*asked, **sent) is None
        assert value_of(*asked, **sent, HTTP_X_AMZ_TAGGING_DIRECTIVE="REPLACE") == value


def test_an_object_that_is_asked_for_is_no_listing():
    path, query = "/bucket/key", "prefix=home/"
    assert value_of("s3:prefix", "s3:ListBucket", "GET", path, query) is None
    assert value_of("s3:prefix", "s3:ListBucket", "GET", "/bucket", query, key=None) == ("home/",)


@pytest.mark.parametrize(
    "subresource, body, name, value",
    [
        ("retention", "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>",
         "s3:object-lock-mode", "COMPLIANCE"),
        ("retention", "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>",
         "s3:object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
        ("legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>", "s3:object-lock-legal-hold", "OFF"),
    ],
)  # fmt: skip
def test_a_lock_is_what_its_document_says(subresource, body, name, value):
    """A header beside it that says something better counts for nothing."""
    action = {"retention": "s3:PutObjectRetention", "legal-hold": "s3:PutObjectLegalHold"}[subresource]
    sent = {
        "HTTP_X_AMZ_OBJECT_LOCK_MODE": "GOVERNANCE",
        "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE": "2030-01-01T00:00:00Z",
        "HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD": "ON",
    }
    more = {"wsgi.input": io.BytesIO(body.encode()), "CONTENT_LENGTH": str(len(body)), **sent}
    assert value_of(name, action, "PUT", "/bucket/key", subresource, **more) == (value,)
    # a form's file is no such document, whatever its address says
    assert value_of(name, action, "POST", "/bucket", subresource, **more) == (
        sent[f"HTTP_X_AMZ_{name[3:].upper().replace('-', '_')}"],
    )


# -- whose bucket -----------------------------------------------------------------------------------------------------------


def test_the_owner_that_is_expected_of_a_source_is_that_of_the_source():
    for source, expected, is_right in (
        ("other:bucket/key", "other", True),
        ("other:bucket/key", "AUTH_other", True),
        ("other:bucket/key", "test", False),
        ("bucket/key", "test", True),
    ):
        more = {"HTTP_X_AMZ_COPY_SOURCE": source, "HTTP_X_AMZ_SOURCE_EXPECTED_BUCKET_OWNER": expected}
        request = made(Below(), "PUT", "/bucket/key", **more)
        if is_right:
            assert copying.source_of(request).key == "key"
            continue
        with pytest.raises(S3Error) as caught:
            copying.source_of(request)
        assert caught.value.code == "AccessDenied"


def test_a_part_of_an_accounts_name_is_not_its_owner():
    request = made(Below("my_own"), "GET", "/bucket", HTTP_X_AMZ_EXPECTED_BUCKET_OWNER="own")
    with pytest.raises(S3Error) as caught:
        bucket_owner.check(request)
    assert caught.value.code == "AccessDenied"


@pytest.mark.parametrize(
    "source", ["bucket+segments/key/upload/1", "%00versions%00bucket/%00key%001", "bucket/%00key"]
)
def test_what_is_no_bucket_is_no_source(source):
    with pytest.raises(S3Error) as caught:
        copying.source_of(made(Below(), "PUT", "/bucket/key", HTTP_X_AMZ_COPY_SOURCE=source))
    assert caught.value.code == "InvalidBucketName"


@pytest.mark.parametrize("target", ["bucket+segments", "other/key", ""])
def test_logs_are_written_to_buckets(target):
    below = Below(HEAD=[(204, {})], POST=[(204, {})], owned="AUTH_test")
    body = (
        f"<BucketLoggingStatus><LoggingEnabled><TargetBucket>{target}</TargetBucket>"
        "<TargetPrefix/></LoggingEnabled></BucketLoggingStatus>"
    ).encode()
    more = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    with pytest.raises(S3Error) as caught:
        access_logging.put(made(below, "PUT", "/bucket", "logging", options=Options(), **more))
    assert caught.value.code == "InvalidTargetBucketForLogging"


@pytest.mark.parametrize("acl, read", [("private", "."), ("public-read", ".r:*,.rlistings")])
@pytest.mark.parametrize("status, code", [(204, None), (404, None), (503, "ServiceUnavailable")])
def test_parts_have_the_rights_of_their_bucket(acl, read, status, code):
    below = Below(POST=[(204, {}), (status, {})])
    request = made(below, "PUT", "/bucket", "acl", options=Options(), HTTP_X_AMZ_ACL=acl)
    if code is None:
        assert native.put_bucket(request).status == 200
    else:
        with pytest.raises(S3Error) as caught:
            native.put_bucket(request)
        assert caught.value.code == code
    changed = {
        environ["PATH_INFO"]: environ["HTTP_X_CONTAINER_READ"]
        for environ in below.seen
        if environ["REQUEST_METHOD"] == "POST"
    }
    assert changed == {"/v1/AUTH_test/bucket": read, "/v1/AUTH_test/bucket+segments": read}


def test_what_nobody_has_made_is_the_bucket_owners_with_any_acl():
    below = Below()
    below.known = {"X-Container-Sysmeta-S3api-Acl": json.dumps({"Owner": "test:owner", "Grant": []})}
    environ = made(below, "PUT", "/of-nobody/key", HTTP_X_AMZ_ACL="public-read").environ
    request = S3Request(environ, below, OWN, None, None)
    request.account = "AUTH_test"
    found = json.loads(access.new_acl(request))
    assert found["Owner"] == "test:owner"
    assert {"Permission": "FULL_CONTROL", "Grantee": "test:owner"} in found["Grant"]


# -- policies ---------------------------------------------------------------------------------------------------------------


def with_rules(below, block=None, **statement):
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::ruled/*",
        **statement,
    }
    kept = {bucket_rules.POLICY: {"text": json.dumps({"Statement": statement})}}
    if block is not None:
        kept[bucket_rules.BLOCK] = {block: "true"}
    below.known = {
        bucket_documents.HEADER + name: next(iter(bucket_documents.headers_of(name, value).values()))
        for name, value in kept.items()
    }  # fmt: skip
    return below


def test_a_public_policy_shuts_others_out_of_all_where_that_is_restricted():
    """Also of what an ACL would let them."""
    for account, refused in (("AUTH_test", False), ("AUTH_other", True)):
        below = with_rules(Below(account), bucket_rules.RESTRICT)
        request = made(below, "PUT", "/test:ruled/key", options=Options())
        if not refused:
            access.decide(request, operations.find(request))
            continue
        with pytest.raises(S3Error) as caught:
            access.decide(request, operations.find(request))
        assert caught.value.code == "AccessDenied"


@pytest.mark.parametrize("denied", ["s3:PutObjectTagging", "s3:GetObjectTagging"])
def test_tags_come_with_no_copy_that_may_not_give_them(denied):
    tagged = {"X-Object-Transient-Sysmeta-S3api-Tagging": "public=yes", "Etag": "e"}
    for effect, code in (("Deny", "AccessDenied"), ("Allow", "EntityTooLarge")):  # so the store says
        bucket = f"{effect.lower()}-{denied[3:].lower()}"
        below = with_rules(
            Below(HEAD=[(200, tagged)], PUT=[(413, {})], owned="AUTH_test"),
            Effect=effect, Action=denied, Resource=f"arn:aws:s3:::{bucket}/*",
        )  # fmt: skip
        request = made(
            below, "PUT", f"/{bucket}/key", options=Options(), HTTP_X_AMZ_COPY_SOURCE=f"{bucket}/tagged"
        )
        with pytest.raises(S3Error) as caught:
            for _ in iter(copying.copy_object(request).body):
                pass
        assert caught.value.code == code


def test_whom_a_policy_grants_an_action_it_does_not_tell_what_is_absent():
    for action, code in (
        ("s3:GetObjectTagging", "AccessDenied"),
        (["s3:GetObjectTagging", "s3:ListBucket"], "NoSuchKey"),
    ):
        bucket = f"absent-{len(action)}"
        below = with_rules(
            Below("AUTH_other", HEAD=[(404, {})], owned="AUTH_other"),
            Action=action, Resource=[f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"],
        )  # fmt: skip
        request = made(below, "GET", f"/test:{bucket}/key", "tagging", options=Options())
        with pytest.raises(S3Error) as caught:
            _done(request, operations.find(request))
        assert caught.value.code == code


def test_a_key_that_nothing_is_called_is_compared_with_nothing():
    below = with_rules(Below(), Resource="arn:aws:s3:::compared/*?a?a*")
    request = made(below, "GET", "/compared/" + "a" * 1025, options=Options())
    with pytest.raises(S3Error) as caught:
        access.decide(request, operations.find(request))
    assert caught.value.code == "KeyTooLongError"


def test_the_policy_of_a_session_knows_whose_bucket_a_source_is():
    class Session:
        name = "s"
        policy = json.dumps(
            {
                "Statement": {
                    "Effect": "Allow",
                    "Action": "s3:*",
                    "Resource": "*",
                    "Condition": {"StringEquals": {"aws:ResourceAccount": "test"}},
                }
            }
        )

    for account, is_allowed in ((None, True), ("AUTH_other", False)):
        request = made(Below(), "PUT", "/bucket/key", options=Options())
        request.session = Session()
        if is_allowed:
            access.require(request, "s3:GetObject", "bucket", "key", account=account)
            continue
        with pytest.raises(S3Error) as caught:
            access.require(request, "s3:GetObject", "bucket", "key", account=account)
        assert caught.value.code == "AccessDenied"
