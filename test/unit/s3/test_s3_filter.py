"""The filter: which rights a request comes with."""

import io
import time
from datetime import UTC, datetime

import pytest

from swift.s3.filter import filter_factory

EARLIER = {
    "REMOTE_USER": ".wsgi.tempurl",
    "swift.authorize": lambda _request: None,
    "swift.authorize_override": True,
    "swift_owner": True,
}


@pytest.mark.parametrize("s3_acl", ["no", "yes"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_rights_that_something_else_gave_are_not_those_of_who_signs(method, s3_acl):
    seen = []

    def app(environ, start_response):
        seen.append({key for key in EARLIER if key in environ})
        start_response("401 Unauthorized", [])
        return [b""]

    told = []
    now = datetime.fromtimestamp(time.time(), UTC)
    scope = f"AUTH_victim/{now:%Y%m%d}/us-east-1/s3/aws4_request"
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": "/bucket/key", "QUERY_STRING": "", "wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0",
        "HTTP_X_AMZ_DATE": f"{now:%Y%m%dT%H%M%SZ}", "HTTP_X_AMZ_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=x-amz-date, Signature=x", **EARLIER,
    }  # fmt: skip
    answer = filter_factory({"s3_acl": s3_acl})(app)(
        environ, lambda status, _headers, _info=None: told.append(status)
    )
    assert b"SignatureDoesNotMatch" in b"".join(answer)
    assert told[0].startswith("403")
    assert seen and not any(seen)


def test_what_is_stored_is_no_service_worker():
    """A page that somebody stored, and a bucket of the console's name: what is signed in the address would hear all of the console."""

    def app(environ, start_response):
        raise AssertionError("nothing is to be read")

    told = []
    now = datetime.fromtimestamp(time.time(), UTC)
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%3Ab%2F{now:%Y%m%d}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={now:%Y%m%dT%H%M%SZ}"
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/console/worker.js", "QUERY_STRING": f"{query}&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=x",
        "wsgi.input": io.BytesIO(), "HTTP_HOST": "swift.example", "HTTP_SERVICE_WORKER": "script",
    }  # fmt: skip
    answer = filter_factory({})(app)(environ, lambda status, _headers, _info=None: told.append(status))
    assert b"<Code>AccessDenied</Code>" in b"".join(answer)
    assert told[0].startswith("403")
