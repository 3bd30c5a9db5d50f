"""The fields of a form, read up to its file, all of it bounded: what comes behind the file counts no more (spec s3.md 24).

Never here: what fields mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.core.concurrency import Timeout
from swift.s3.errors import S3Error
from swift.wire import form_data
from swift.wire.message import wsgi_to_str
from swift.wire.multipart import BadMultipart, Document, MultipartReader

MOST_BYTES = 20 * 1024  # of all before the file, as S3 has it
MOST_SECONDS = 60.0  # that they may take
FILE = "file"
_WRONG_FILES = "POST requires exactly one file upload per request."


class Fields(NamedTuple):
    """`values`: text by lower-case name; `file`: the part that is the file, unread; `filename`: text, without directories."""

    values: dict[str, str]
    file: Document
    filename: str


def read(environ: dict[str, Any]) -> Fields:
    """Raises S3Error, and what reading the body raises."""
    boundary = form_data.boundary_of(environ.get("CONTENT_TYPE"))
    if boundary is None or len(boundary) > 70:
        raise S3Error("MalformedPOSTRequest")
    source = environ["wsgi.input"]
    reader = MultipartReader(getattr(source, "read_available", None) or source.read, boundary)
    limit = Timeout(MOST_SECONDS)
    try:
        return _until_file(reader)
    except BadMultipart:
        raise S3Error("MalformedPOSTRequest") from None
    except Timeout as reached:
        if reached is not limit:
            raise
        raise S3Error("RequestTimeout", headers=[("Connection", "close")]) from None
    finally:
        limit.cancel()


def _until_file(reader: MultipartReader) -> Fields:
    """Raises S3Error, BadMultipart."""
    values: dict[str, str] = {}
    left = MOST_BYTES
    while (document := reader.next_document()) is not None:
        name, filename = form_data.names_of(document)
        if not name:
            raise S3Error("MalformedPOSTRequest")
        left -= sum(len(key) + len(value) for key, value in document.headers.items())
        if name == FILE:
            if left < 0:
                raise S3Error("MaxPostPreDataLengthExceededError")
            return Fields(values, document, _base_name(filename))
        data = b""
        for piece in document:
            left -= len(piece)
            if left < 0:
                raise S3Error("MaxPostPreDataLengthExceededError")
            data += piece
        if name in values:
            # Which of them a policy is about, nobody could say.
            raise _invalid(name, "A field must not be given twice.")
        try:
            values[wsgi_to_str(name)] = data.decode()
        except UnicodeError:
            raise _invalid(name, "A field must be UTF-8.") from None
    raise S3Error("InvalidArgument", _WRONG_FILES, ArgumentName=FILE, ArgumentValue=0)


def _base_name(filename: str) -> str:
    """What a browser says of the file (WSGI string), as text: some tell its directories too."""
    return wsgi_to_str(filename).rpartition("/")[2].rpartition("\\")[2]


def _invalid(name: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=name)
