"""POST object: forms with a policy, as they come, what they store and what they are refused for (spec s3.md 24)."""

import base64
import hashlib
import hmac
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core import clock
from swift.s3.errors import S3Error
from swift.s3.filter import filter_factory
from swift.s3.post_form import fields, policy_document
from swift.s3.post_form.upload import SMALL_FILE
from swift.wire.errors import ClientError, ClientTimeout

BOUNDARY = "XbX"
SECRET = "testing"


class Store:
    """An auth filter that knows test:tester, and a store that keeps what is put in one piece."""

    def __init__(self):
        self.kept = {}
        self.environs = []

    def __call__(self, environ, start_response):
        details = environ.get("s3api.auth_details")
        parts = environ["PATH_INFO"].split("/", 3)
        known = details and details["access_key"] == "test:tester" and details["check_signature"](SECRET)
        if not known and not environ.get("swift.authorize_override"):
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        if known:
            parts[2] = "AUTH_test"
            environ.update(
                {"PATH_INFO": "/".join(parts), "REMOTE_USER": "test:tester", "s3api.user_id": "test:tester"}
            )
        self.environs.append(environ)
        body, data = environ["wsgi.input"], b""
        try:
            while piece := body.read(10_000):
                data += piece
        except ClientError:
            start_response("499 Client Disconnect", [("Content-Length", "0")])
            return [b""]
        if environ["REQUEST_METHOD"] == "PUT":
            self.kept[environ["PATH_INFO"]] = data
        start_response("201 Created", [("Etag", hashlib.md5(data).hexdigest()), ("Content-Length", "0")])
        return [b""]


def policy(*conditions, seconds=86_400, **more):
    expiration = f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.000Z}"
    if not any(isinstance(condition, dict) and "bucket" in condition for condition in conditions):
        conditions = ({"bucket": "bucket"}, *conditions)
    return {"expiration": expiration, "conditions": list(conditions), **more}


def signed(form, document, secret=SECRET, user="test:tester", version=4, **changed):
    """The form with its policy and signature; what they add is in the policy too."""
    made = dict(form)
    now = datetime.now(UTC)
    if version == 4:
        made["x-amz-algorithm"] = "AWS4-HMAC-SHA256"
        made["x-amz-credential"] = f"{user}/{now:%Y%m%d}/us-east-1/s3/aws4_request"
        made["x-amz-date"] = f"{now:%Y%m%dT%H%M%SZ}"
    made.update(changed)
    if isinstance(document, dict):
        said = [{name: made[name]} for name in made if name.startswith("x-amz-") and name not in form]
        document = json.dumps({**document, "conditions": [*document["conditions"], *said]}).encode()
    text = base64.b64encode(document).decode()
    made["policy"] = text
    if version == 4:
        key = ("AWS4" + secret).encode()
        for part in (f"{now:%Y%m%d}", "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        made["x-amz-signature"] = hmac.digest(key, text.encode(), "sha256").hex()
    else:
        made["AWSAccessKeyId"] = user
        made["signature"] = base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()
    return made


def body_of(form, file=b"hello", filename="a.txt", end=True):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in form.items()
    ]
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + file + b"\r\n")
    return b"".join(parts) + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def send(body, path="/bucket", store=None, conf=None, **environ):
    """(status, headers, document) and the store."""
    store = store or Store()
    told = []
    asked = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "HTTP_HOST": "s3.example.com", "wsgi.url_scheme": "http",
        "SERVER_NAME": "s", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.errors": None,
        "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}", "wsgi.input": io.BytesIO(body) if isinstance(body, bytes) else body,
        **environ,
    }  # fmt: skip
    answer = filter_factory(conf or {})(store)(
        asked, lambda status, headers, _info=None: told.append((status, headers))
    )
    return (int(told[0][0][:3]), dict(told[0][1]), b"".join(answer).decode()), store


def code_of(answer):
    status, _, document = answer
    return status, document.partition("<Code>")[2].partition("</Code>")[0]


def message_of(answer):
    return answer[2].partition("<Message>")[2].partition("</Message>")[0]


# -- good ones -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("file", [b"", b"hello", b"x" * SMALL_FILE, b"\r\n--Xb" * 50_000])
def test_a_file_is_stored_as_it_is(version, file):
    form = {
        "key": "dir/${filename}",
        "Content-Type": "text/plain",
        "x-amz-meta-one": "1",
        "x-amz-meta-a_b": "2",
        "Cache-Control": "no-store",
    }
    document = policy(
        {"bucket": "bucket"}, ["starts-with", "$key", "dir/"], ["starts-with", "$Content-Type", ""], {"x-amz-meta-one": "1"},
        ["eq", "$X-Amz-Meta-A_B", "2"], {"Cache-Control": "no-store"}, ["content-length-range", 0, 10**6],
    )  # fmt: skip
    answer, store = send(
        body_of(signed(form, document, version=version), file, r"C:\fake/pictures\ü.png"),
        HTTP_X_AMZ_META_EVIL="1", HTTP_X_AMZ_ACL="public-read", HTTP_CACHE_CONTROL="max-age=0", HTTP_X_DELETE_AT="1",
    )  # fmt: skip
    assert answer[0] == 204
    assert store.kept == {"/v1/AUTH_test/bucket/dir/" + "ü.png".encode().decode("latin-1"): file}
    asked = store.environs[-1]
    assert asked["CONTENT_TYPE"] == "text/plain"
    assert asked["HTTP_X_OBJECT_META_ONE"] == "1"
    assert asked["HTTP_X_OBJECT_META_A=5FB"] == "2"
    assert asked["HTTP_CACHE_CONTROL"] == "no-store"
    assert "HTTP_X_OBJECT_META_EVIL" not in asked and "HTTP_X_DELETE_AT" not in asked
    assert answer[1]["ETag"] == f'"{hashlib.md5(file).hexdigest()}"'
    assert answer[1]["Location"] == "http://s3.example.com/bucket/dir/%C3%BC.png"


@pytest.mark.parametrize(
    "field, value, status, location",
    [
        ("success_action_status", "200", 200, "http://s3.example.com/bucket/k"),
        ("success_action_status", "201", 201, "http://s3.example.com/bucket/k"),
        ("success_action_status", "404", 204, "http://s3.example.com/bucket/k"),
        (
            "success_action_redirect",
            "http://x/done?a=1#here",
            303,
            "http://x/done?a=1&bucket=bucket&key=k&etag=%22{}%22#here",
        ),
        ("redirect", "https://x/done", 303, "https://x/done?bucket=bucket&key=k&etag=%22{}%22"),
        ("success_action_redirect", "javascript:alert(1)", 204, "http://s3.example.com/bucket/k"),
        ("success_action_redirect", "http://x/\r\nSet-Cookie: a=b", 204, "http://s3.example.com/bucket/k"),
        ("success_action_redirect", "http://[::1/", 204, "http://s3.example.com/bucket/k"),
    ],
)
def test_what_is_answered(field, value, status, location):
    document = policy({"bucket": "bucket"}, {"key": "k"}, ["starts-with", f"${field}", ""])
    answer, _ = send(body_of(signed({"key": "k", field: value}, document)))
    etag = hashlib.md5(b"hello").hexdigest()
    assert (answer[0], answer[1]["Location"]) == (status, location.format(etag))
    if status == 201:
        assert f'<Bucket>bucket</Bucket><Key>k</Key><ETag>"{etag}"</ETag></PostResponse>' in answer[
            2
        ].replace("&quot;", '"')


def test_a_bucket_that_the_host_names():
    body = body_of(signed({"key": "k"}, policy({"bucket": "bucket"}, {"key": "k"})))
    answer, store = send(
        body, "/", conf={"storage_domain": "s3.example.com"}, HTTP_HOST="bucket.s3.example.com"
    )
    assert (answer[0], answer[1]["Location"]) == (204, "http://bucket.s3.example.com/k")
    assert list(store.kept) == ["/v1/AUTH_test/bucket/k"]


def test_tags_and_checksums():
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>"
    good = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
    conditions = (
        {"key": "k"},
        ["starts-with", "$tagging", ""],
        ["starts-with", "$x-amz-checksum-sha256", ""],
    )
    form = signed({"key": "k", "tagging": tags, "x-amz-checksum-sha256": good}, policy(*conditions))
    answer, store = send(body_of(form))
    assert (answer[0], answer[1]["x-amz-checksum-sha256"]) == (204, good)
    assert store.environs[-1]["HTTP_X_OBJECT_TRANSIENT_SYSMETA_S3API_TAGGING"] == "a=b+c"
    for size in (1, 3 * SMALL_FILE):
        answer, store = send(body_of(form, b"x" * size))
        assert code_of(answer) == (400, "BadDigest")
        assert not store.kept


# -- bad ones --------------------------------------------------------------------------------------------------------------

KEY = {"key": "k"}


@pytest.mark.parametrize(
    "form, status, code",
    [
        ({}, 400, "InvalidArgument"),
        ({"key": ""}, 400, "InvalidArgument"),
        (signed(KEY, policy(KEY), secret="wrong"), 403, "SignatureDoesNotMatch"),
        (signed(KEY, policy(KEY), secret="wrong", version=2), 403, "SignatureDoesNotMatch"),
        (signed(KEY, policy(KEY, seconds=-1)), 403, "AccessDenied"),
        (signed(KEY, policy({"key": "other"})), 403, "AccessDenied"),
        (signed(KEY, policy()), 403, "AccessDenied"),
        (signed(KEY, {**policy(), "conditions": [KEY]}), 403, "AccessDenied"),
        (signed({"key": "k\0l"}, policy({"key": "k\0l"})), 400, "InvalidArgument"),
        (signed(KEY, policy(KEY, {"bucket": "other"})), 403, "AccessDenied"),
        (signed({**KEY, "bucket": "other"}, policy(KEY, {"bucket": "other"})), 403, "AccessDenied"),
        (signed({**KEY, "acl": "public-read"}, policy(KEY)), 403, "AccessDenied"),
        (signed({**KEY, "x-amz-meta-a": "\x01"}, policy(KEY, {"x-amz-meta-a": "\x01"})), 400, "InvalidArgument"),
        (signed({**KEY, "tagging": "<Tagging>"}, policy(KEY, {"tagging": "<Tagging>"})), 400, "MalformedXML"),
        (signed({**KEY, "x-amz-storage-class": "GLACIER"}, policy(KEY, {"x-amz-storage-class": "GLACIER"})), 400, "InvalidStorageClass"),
        (signed(KEY, policy(KEY), **{"x-amz-date": "now"}), 403, "AccessDenied"),
        (signed(KEY, policy(KEY), **{"x-amz-algorithm": "none"}), 400, "InvalidArgument"),
        (signed(KEY, policy(KEY), **{"x-amz-credential": "a/b"}), 403, "AccessDenied"),
        (signed(KEY, policy(KEY), **{"x-amz-credential": ""}), 403, "AccessDenied"),
        (signed(KEY, policy(KEY), **{"x-amz-security-token": "none"}), 400, "InvalidToken"),
        (signed(KEY, b"no json"), 400, "InvalidPolicyDocument"),
        (signed(KEY, b"[1]"), 400, "InvalidPolicyDocument"),
        (signed(KEY, b"[" * 9000), 400, "InvalidPolicyDocument"),
        (signed(KEY, b'{"expiration": 1, "conditions": []}'), 400, "InvalidPolicyDocument"),
        ({**KEY, "x-amz-credential": "x"}, 403, "AccessDenied"),
        ({**KEY, "policy": "e30="}, 400, "InvalidArgument"),
        (KEY, 403, "AccessDenied"),
        ({**KEY, "x-amz-meta-big": "x" * 21_000}, 400, "MaxPostPreDataLengthExceededError"),
        ({**KEY, **{f"f{number}": "" for number in range(1000)}}, 400, "MaxPostPreDataLengthExceededError"),
    ],
)  # fmt: skip
def test_what_a_form_is_refused_for(form, status, code):
    answer, store = send(body_of(form))
    assert code_of(answer) == (status, code)
    assert not store.kept


def test_a_policy_is_about_one_account_s_bucket():
    for said, status in (("bucket", 403), ("other:bucket", 204), ("AUTH_other:bucket", 403)):
        answer, store = send(body_of(signed(KEY, policy(KEY, {"bucket": said}))), "/other:bucket")
        assert answer[0] == status
        assert bool(store.kept) is (status == 204)


def test_fields_of_which_a_policy_need_say_nothing():
    answer, _ = send(body_of(signed({"key": "k", "x-ignore-me": "1"}, policy(KEY))))
    assert answer[0] == 204


@pytest.mark.parametrize("size", [0, 1, 9, 11, SMALL_FILE - 1, SMALL_FILE, 200_000])
@pytest.mark.parametrize(
    "least, most", [(10, 10), (SMALL_FILE + 5, SMALL_FILE + 5), (0, 5), (250_000, 10**9)]
)
def test_a_file_has_as_many_bytes_as_its_policy_says(size, least, most):
    form = signed(KEY, policy(KEY, ["content-length-range", least, most]))
    answer, store = send(body_of(form, b"x" * size))
    if size < least:
        assert code_of(answer) == (400, "EntityTooSmall")
    elif size > most:
        assert code_of(answer) == (400, "EntityTooLarge")
    else:
        assert answer[0] == 204
    assert len(store.kept) == (least <= size <= most)


@pytest.mark.parametrize("size", [10, 200_000])
@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_form_that_ends_early_stores_nothing(size, cut):
    body = body_of(signed(KEY, policy(KEY)), b"x" * size, end=False)[:-cut]
    answer, store = send(body)
    assert code_of(answer) == (400, "MalformedPOSTRequest")
    assert not store.kept


def test_a_client_that_leaves_in_the_middle_stores_nothing():
    class Leaves(io.BytesIO):
        def read(self, size=-1):
            data = super().read(size)
            if not data:
                raise ClientTimeout("gone")
            return data

    for size in (10, 200_000):
        store = Store()
        try:
            send(Leaves(body_of(signed(KEY, policy(KEY)), b"x" * size, end=False)), store=store)
        except ClientError:
            pass
        assert not store.kept


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--XbX",
        b"nonsense",
        b"--XbX\r\nno header\r\n\r\n",
        b"--XbX--\r\n",
        b"--XbX\r\n\r\nx\r\n--XbX--\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_form(body):
    assert code_of(send(body)[0])[1] in ("MalformedPOSTRequest", "InvalidArgument")
    assert send(body)[0][0] == 400


def test_the_same_field_twice():
    one = body_of({"key": "a"}, file=None, end=False)
    assert code_of(send(one + body_of({"key": "b"}))[0]) == (400, "InvalidArgument")


def test_a_boundary_must_be_said():
    for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 100):
        assert code_of(send(body_of(KEY), CONTENT_TYPE=kind)[0]) == (400, "MalformedPOSTRequest")


def test_fields_that_take_too_long(monkeypatch):
    from swift.core.concurrency import sleep

    monkeypatch.setattr(fields, "MOST_SECONDS", 0.05)

    class Slow(io.BytesIO):
        def read(self, size=-1):
            sleep(0.01)
            return super().read(1)

    answer, _ = send(Slow(body_of(KEY)))
    assert code_of(answer) == (400, "RequestTimeout")


@pytest.mark.parametrize("path", ["/v1/AUTH_test/c", "/bucket/key"])
def test_forms_of_others_go_on(path):
    answer, store = send(body_of(KEY), path)
    assert answer[0] == 401 and not answer[2]


@pytest.mark.parametrize("path", ["*", "*/", "bucket"])
def test_forms_to_no_path_at_all(path):
    """As the target of a request may be."""
    answer, store = send(body_of(KEY), path)
    assert code_of(answer) == (400, "InvalidURI")
    assert not store.kept


# -- policies --------------------------------------------------------------------------------------------------------------


def parsed(*conditions, expiration="2030-01-02T03:04:05Z"):
    conditions = ({"bucket": "b"}, *conditions)
    data = json.dumps({"expiration": expiration, "conditions": list(conditions)}).encode()
    return policy_document.parse(base64.b64encode(data).decode())


@pytest.mark.parametrize(
    "condition, value, holds",
    [
        ({"Key": "a"}, "a", True),
        ({"key": "a"}, "A", False),
        (["EQ", "$key", "a"], "a", True),
        (["starts-with", "$key", ""], "", True),
        (["starts-with", "$key", "a"], "ba", False),
        (["eq", "$key", "a*"], "ab", False),
    ],
)
def test_conditions(condition, value, holds):
    found = parsed(condition)
    if holds:
        found.check({"key": value}, "b", 0)
    else:
        with pytest.raises(S3Error, match="Policy Condition failed"):
            found.check({"key": value}, "b", 0)


def test_each_of_several_types_must_begin_as_the_policy_says():
    found = parsed(["starts-with", "$Content-Type", "image/"])
    found.check({"content-type": "image/png, image/gif"}, "b", 0)
    with pytest.raises(S3Error):
        found.check({"content-type": "image/png,text/html"}, "b", 0)


@pytest.mark.parametrize(
    "condition",
    [1, "x", [], ["eq", "$a"], ["eq", "a", "b"], ["like", "$a", "b"], ["eq", "$a", None], {"a": []}, ["content-length-range", -1, 2],
     ["content-length-range", "x", 2], [None, "$a", "b"], {"a": True}],
)  # fmt: skip
def test_conditions_that_are_none(condition):
    with pytest.raises(S3Error) as raised:
        parsed(condition)
    assert raised.value.code == "InvalidPolicyDocument"


@pytest.mark.parametrize(
    "moment",
    ["", "tomorrow", None, 5, "2030-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "٢٠٣٠-01-01T00:00:00Z"],
)
def test_times_that_are_none(moment):
    with pytest.raises(S3Error) as raised:
        parsed(expiration=moment)
    assert raised.value.code == "InvalidPolicyDocument"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["expiration", "conditions", "key", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON, st.dictionaries(st.sampled_from(["key", "acl", "x"]), st.text(max_size=5)))
def test_any_policy_is_read_or_refused(document, values):
    text = base64.b64encode(json.dumps(document).encode()).decode()
    try:
        policy_document.parse(text).check(values, "b", clock.time())
    except S3Error as error:
        assert 400 <= error.status < 500


@given(st.binary(max_size=300))
def test_any_body_is_read_or_refused(data):
    answer, store = send(b"--XbX\r\n" + data)
    assert 400 <= answer[0] < 500
    assert not store.kept
