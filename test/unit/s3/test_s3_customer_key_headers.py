"""Which requests may bring keys of their customers, and what is told of them."""

import base64
import hashlib
import io

import pytest

from swift.middleware import customer_keys as native
from swift.s3 import customer_keys, metadata
from swift.s3.errors import S3Error
from swift.s3.filter import filter_factory
from swift.s3.options import parse_options
from swift.s3.request import S3Request
from swift.telemetry import redaction

SECRET = bytes(range(32))
PREFIX = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_"
KEY = {
    PREFIX + "ALGORITHM": "AES256",
    PREFIX + "KEY": base64.b64encode(SECRET).decode(),
    PREFIX + "KEY_MD5": base64.b64encode(hashlib.md5(SECRET).digest()).decode(),
}


def request_of(environ, **options):
    made = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/bucket/key", "QUERY_STRING": "", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "192.0.2.7", **environ,
    }  # fmt: skip
    conf = {name: str(value) for name, value in options.items()}
    return S3Request(made, None, parse_options(conf), None, None)


def refusal(call, *arguments):
    with pytest.raises(S3Error) as raised:
        call(*arguments)
    return raised.value


def test_keys_come_by_tls_or_not_at_all():
    error = refusal(customer_keys.sent, request_of(KEY))
    assert (error.code, error.status) == ("InvalidRequest", 400)
    assert "secure connection" in error.message
    assert customer_keys.sent(request_of({**KEY, "wsgi.url_scheme": "https"})).secret == SECRET
    assert customer_keys.sent(request_of(KEY, allow_insecure_ssec="yes")).secret == SECRET
    behind = {**KEY, "HTTP_X_FORWARDED_PROTO": "https"}
    refusal(customer_keys.sent, request_of(behind))
    assert customer_keys.sent(request_of(behind, trusted_proxies="192.0.2.0/24")).secret == SECRET
    assert customer_keys.sent(request_of({})) is None


@pytest.mark.parametrize(
    "changed, code",
    [
        ({"ALGORITHM": None}, "InvalidArgument"),
        ({"ALGORITHM": "aes256"}, "InvalidEncryptionAlgorithmError"),
        ({"KEY": None}, "InvalidArgument"),
        ({"KEY": ""}, "InvalidArgument"),
        ({"KEY": "\xff\xff"}, "InvalidArgument"),
        ({"KEY_MD5": None}, "InvalidArgument"),
        ({"KEY_MD5": "\xff"}, "InvalidArgument"),
        ({"ALGORITHM": None, "KEY": None}, "InvalidArgument"),
    ],
)
@pytest.mark.parametrize(
    "prefix, sent",
    [
        (PREFIX, customer_keys.sent),
        ("HTTP_X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_", customer_keys.sent_for_source),
    ],
)
def test_what_is_no_key_is_refused_without_a_word_of_it(prefix, sent, changed, code):
    said = {prefix + name[len(PREFIX) :]: value for name, value in KEY.items()}
    said.update({prefix + name: value for name, value in changed.items()})
    environ = {name: value for name, value in said.items() if value is not None}
    error = refusal(sent, request_of({**environ, "wsgi.url_scheme": "https"}))
    assert (error.code, error.status) == (code, 400)
    text = error.document("tx", "/bucket/key").decode() + error.logged
    assert not any(value and value in text for name, value in said.items() if name.endswith(("KEY", "MD5")))


def test_without_the_filter_they_are_refused_before_anything():
    for name, value in KEY.items():
        assert refusal(metadata.check_headers, {name: value}).code == "NotImplemented"
        metadata.check_headers({name: value}, takes_customer_keys=True)


def test_parts_bring_the_key_of_their_upload():
    key = customer_keys.CustomerKey(SECRET, "")
    seal = customer_keys.seal_headers(key)[native.STORED_KEY]
    customer_keys.check_part(seal, key)
    customer_keys.check_part("", None)
    assert refusal(customer_keys.check_part, seal, None).code == "InvalidRequest"
    assert refusal(customer_keys.check_part, "", key).code == "InvalidRequest"
    assert (
        refusal(customer_keys.check_part, seal, customer_keys.CustomerKey(b"x" * 32, "")).code
        == "InvalidRequest"
    )
    assert refusal(customer_keys.check_part, "damaged", key).status == 500


def test_their_headers_are_no_matter_for_logs():
    filter_factory({})
    for name in ("", "copy-source-"):
        key = f"x-amz-{name}server-side-encryption-customer-key"
        assert {key, f"{key}-md5"} <= redaction.sensitive_headers()
        assert {
            key,
            f"X-Amz-{name.title()}Server-Side-Encryption-Customer-Key",
        } <= redaction.sensitive_parameters()
