"""A part that is uploaded once more."""

import io

import pytest

from swift.s3.multipart import marker, parts
from swift.s3.options import Options
from swift.s3.payload import Payload
from swift.s3.request import S3Request


@pytest.mark.parametrize("sizes", [(100,), (3, 3)])
def test_a_small_part_can_be_uploaded_again(monkeypatch, sizes):
    monkeypatch.setattr(marker, "opened", lambda *_: None)
    stored = []

    def app(environ, start_response):
        body = b"".join(environ["wsgi.input"].read(size) for size in sizes)  # before anything is asked
        if "HTTP_IF_NONE_MATCH" in environ:
            start_response("412 Precondition Failed", [])
        else:
            stored.append(body)
            start_response("201 Created", [])
        return [b""]

    environ = {
        "REQUEST_METHOD": "PUT", "PATH_INFO": "/bucket/key", "CONTENT_LENGTH": "6", "wsgi.input": io.BytesIO(b"abcdef"),
    }  # fmt: skip
    request = S3Request(environ, app, Options(), None, None)
    monkeypatch.setattr(parts.layout, "split_name", lambda _name: ("key", "upload", 1))
    parts._stored(request, Payload(request), "bucket+segments", "key/upload/1")
    assert stored == [b"abcdef"]
