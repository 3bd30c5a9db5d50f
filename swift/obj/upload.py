"""How the body of a PUT arrives: as it is, or as a MIME document with the object's data and a footer (object-disk 8.1).

Only framing: what is done with the bytes and the footers is in `server_put`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import md5
from typing import Any

from swift.core.object_headers import COMMIT_CONFIRMATION
from swift.obj.errors import Refused
from swift.obj.request import Malformed
from swift.wire.message import title_case
from swift.wire.storage import Environ, is_true

MAX_FOOTER = 1 << 20
MAX_PART_HEADERS = 32
MAX_DRAIN = 65536

Footers = dict[str, str]

# Beside what the specification asks for, that the short form of a two-phase write is understood here.
COMMIT_ANNOUNCED = [("X-Obj-Multiphase-Commit", "yes"), ("X-Backend-Obj-Confirmed-Upload", "yes")]

_STORED = ("X-Object-Meta-", "X-Object-Sysmeta-", "X-Object-Transient-Sysmeta-")


class PlainUpload:
    """The request body is the object. `length`: its bytes, or None when chunked."""

    has_footers = False
    is_two_phase = False  # the sender says later whether what it sent counts

    def __init__(self, source: Any, length: int | None) -> None:
        self.source = source
        self.length = length

    def recv_into(self, buffer: memoryview) -> int:
        """The next bytes of the object; 0 at the end."""
        return self.source.recv_into(buffer)

    def footers(self) -> Footers:
        """What followed the object, by title-cased name."""
        return {}

    def stored_footers(self) -> Footers:
        """Those of the footers that are kept with the object."""
        return {}

    def await_commit(self) -> None:
        """Tell the sender that all is stored, and wait for its word that it counts. Raises Malformed, ClientError."""

    def drain(self) -> None:
        """Read what is left of the request."""


class ConfirmedUpload(PlainUpload):
    """The request body is the object, and behind it, sent once the server has said that it is stored, the confirmation.

    The short form of a two-phase write, for bodies in hand (doc/architecture.md); servers that don't know it miss a boundary, and refuse.
    """

    is_two_phase = True

    def __init__(self, source: Any, length: int) -> None:
        super().__init__(source, length)
        self._left = length

    def recv_into(self, buffer: memoryview) -> int:
        if not self._left:
            return 0
        count: int = self.source.recv_into(buffer[: self._left])
        if not count:
            raise Refused(499)
        self._left -= count
        return count

    def await_commit(self) -> None:
        self.source.send_hundred_continue_response()
        word = self.source.read(len(COMMIT_CONFIRMATION))
        if word != COMMIT_CONFIRMATION:
            raise Malformed("no PUT commit confirmation")


class MimeUpload(PlainUpload):
    """The request body is a MIME document: the object and, if announced, a JSON object of headers and a word that commits it."""

    def __init__(
        self, source: Any, length: int | None, boundary: str, has_footers: bool, is_two_phase: bool = False
    ) -> None:
        super().__init__(source, length)
        self.has_footers = has_footers
        self.is_two_phase = is_two_phase
        self._line = b"--" + boundary.encode("latin-1")
        self._mark = b"\r\n" + self._line
        self._buffer = b""  # received, not handed out
        self._left = length  # of the object, when its length is known
        self._started = False
        self._ended = False  # the object's data is complete
        self._found: Footers = {}

    # ------------------------------------------------------------ parts

    def _more(self) -> bool:
        data = self.source.read_available(65536)
        self._buffer += data
        return bool(data)

    def _read_line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
                return line.rstrip(b"\r")
            if len(self._buffer) > 65536 or not self._more():
                raise Malformed("malformed MIME document")

    def _part_headers(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        for _ in range(MAX_PART_HEADERS):
            line = self._read_line()
            if not line:
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                break
            headers[title_case(name.strip())] = value.strip()
        raise Malformed("malformed headers in a MIME document")

    def _start(self) -> None:
        self._started = True
        line = self._read_line()
        if not line:
            line = self._read_line()  # a blank line may come before the first boundary
        if line != self._line:
            raise Malformed("malformed MIME document")
        self._part_headers()

    # ------------------------------------------------------------ the object

    def recv_into(self, buffer: memoryview) -> int:
        if not self._started:
            self._start()
        if self._ended:
            return 0
        if self._left is not None:
            return self._counted(buffer)
        return self._searched(buffer)

    def _counted(self, buffer: memoryview) -> int:
        left = self._left
        assert left is not None
        if left == 0:
            self._end_of_data()
            return 0
        if self._buffer:
            data = self._buffer[: min(len(buffer), left)]
            self._buffer = self._buffer[len(data) :]
            buffer[: len(data)] = data
            count = len(data)
        else:
            count = self.source.recv_into(buffer[:left])
            if not count:
                raise Refused(499)
        self._left = left - count
        return count

    def _end_of_data(self) -> None:
        self._ended = True
        while len(self._buffer) < len(self._mark) and self._more():
            pass
        if not self._buffer.startswith(self._mark):
            # another length than announced
            raise Refused(499)

    def _searched(self, buffer: memoryview) -> int:
        """Up to the boundary, wherever it is; the bytes that might be its beginning are held back."""
        keep = len(self._mark) - 1
        while len(self._buffer) <= keep and self._more():
            pass
        at = self._buffer.find(self._mark)
        if at < 0:
            at = len(self._buffer) - keep
            if at <= 0:
                raise Refused(499)
        elif at == 0:
            self._ended = True
            return 0
        count = min(at, len(buffer))
        buffer[:count] = self._buffer[:count]
        self._buffer = self._buffer[count:]
        return count

    # ------------------------------------------------------------ the footer

    def footers(self) -> Footers:
        """Read and check the footer. Raises Malformed, Refused (422)."""
        if not self.has_footers:
            return {}
        self._buffer = self._buffer[2:]  # the line end before the boundary belongs to it
        while len(self._buffer) < len(self._line) + 2 and self._more():
            pass
        if self._buffer.startswith(self._line + b"--") or self._read_line() != self._line:
            raise Malformed("couldn't find footer MIME doc")
        headers = self._part_headers()
        if headers.get("X-Document", "").lower() != "object metadata":
            raise Malformed("couldn't find footer MIME doc")
        while self._mark not in self._buffer:
            if len(self._buffer) > MAX_FOOTER or not self._more():
                raise Malformed("malformed footer MIME doc")
        text, _, self._buffer = self._buffer.partition(self._mark)
        digest = headers.get("Content-Md5")
        if not digest:
            raise Malformed("no Content-MD5 in footer")
        if digest.lower() != md5(text, usedforsecurity=False).hexdigest():
            raise Refused(422, text="footer MD5 mismatch")
        try:
            loaded = json.loads(text)
        except (ValueError, RecursionError):
            raise Malformed("invalid JSON for footer doc") from None
        if not isinstance(loaded, dict) or not all(isinstance(v, str) for v in loaded.values()):
            raise Malformed("invalid JSON for footer doc")
        try:
            self._found = {title_case(name): _header_value(value) for name, value in loaded.items()}
        except UnicodeError:
            raise Malformed("invalid JSON for footer doc") from None
        return self._found

    def stored_footers(self) -> Footers:
        return {
            name: value
            for name, value in self._found.items()
            if any(name.startswith(prefix) and len(name) > len(prefix) for prefix in _STORED)
        }

    # ------------------------------------------------------------ the commit

    def await_commit(self) -> None:
        if not self.has_footers:
            self._buffer = self._buffer[len(self._mark) :]
        while len(self._buffer) < 2 and self._more():
            pass
        if not self._buffer.startswith(b"\r\n"):
            raise Malformed("couldn't find PUT commit MIME doc")
        self._buffer = self._buffer[2:]
        self.source.send_hundred_continue_response()
        if not self._buffer and not self._more():
            raise Malformed("couldn't find PUT commit MIME doc")
        if self._part_headers().get("X-Document", "").lower() != "put commit":
            raise Malformed("couldn't find PUT commit MIME doc")
        while self._mark not in self._buffer:
            if len(self._buffer) > MAX_DRAIN or not self._more():
                raise Malformed("couldn't find PUT commit MIME doc")

    def drain(self) -> None:
        left = MAX_DRAIN
        while left > 0:
            data = self.source.read_available(65536)
            if not data:
                return
            left -= len(data)


def _header_value(value: str) -> str:
    if any(c in value for c in "\r\n\0"):
        raise Malformed("invalid value in footer doc")
    value.encode("latin-1")
    return value


def open_upload(environ: Environ, length: int | None, takes_commit: bool = False) -> PlainUpload:
    """The upload that a PUT's headers announce. `length`: of the request body. Raises Malformed.

    `takes_commit`: of a fragment, whose writes have two phases.
    """
    source = environ["wsgi.input"]
    is_two_phase = is_true(environ, "HTTP_X_BACKEND_OBJ_MULTIPHASE_COMMIT")
    if is_two_phase and not takes_commit:
        raise Malformed("multiphase commit is for erasure-coded policies")
    wants_footers = is_true(environ, "HTTP_X_BACKEND_OBJ_METADATA_FOOTER")
    if not wants_footers and not is_two_phase:
        return PlainUpload(source, length)
    text = environ.get("HTTP_X_BACKEND_OBJ_CONTENT_LENGTH")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Malformed("Invalid X-Backend-Obj-Content-Length")
    body_length = int(text) if text else None
    announced = [("X-Obj-Metadata-Footer", "yes")] if wants_footers else []
    if is_two_phase:
        announced += COMMIT_ANNOUNCED
    source.set_hundred_continue_response_headers(announced)
    boundary = environ.get("HTTP_X_BACKEND_OBJ_MULTIPART_MIME_BOUNDARY")
    is_short = boundary is None and is_two_phase and not wants_footers
    if is_short and body_length is not None and length == body_length + len(COMMIT_CONFIRMATION):
        return ConfirmedUpload(source, body_length)
    if not boundary or len(boundary) > 256:
        raise Malformed("no MIME boundary")
    return MimeUpload(source, body_length, boundary, wants_footers, is_two_phase)
