"""Bodies in aws-chunked coding: in chunks, which may be signed each, with trailers behind them (spec s3.md 4.1, 4.3).

`Unpacker` takes them apart over large buffers; what it hands out last, it hands out once all that follows has been found right.
Never here: checksums of the whole (`payload`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from swift.core import clock
from swift.s3.checksums import PREFIX
from swift.s3.digests import Check
from swift.s3.errors import S3Error
from swift.s3.signature import Credential

_READ = 65536
_LONGEST_LINE = 1024
_LONGEST_TRAILERS = 16 * 1024
_LEAST_CHUNK = 8192
_LARGEST_CHUNK = 5 * 1024**3
_EMPTY = hashlib.sha256(b"").hexdigest()
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_SIGNED = re.compile(rb"([0-9A-Fa-f]{1,16});([^=;]*)=([^;=]*)")
TRAILER_SIGNATURE = "x-amz-trailer-signature"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_FORMS = (UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER)
_NO_ECDSA = ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER")


class Form(NamedTuple):
    """How the chunks come. `credential`: whose key has signed them, None for unsigned ones; `has_trailers`: by its name."""

    credential: Credential | None
    has_trailers: bool


def form_of(environ: dict[str, Any], credential: Credential | None, sha256: str | None) -> Form | None:
    """How a body comes that says `sha256` of itself; None if not in chunks. Raises S3Error."""
    if sha256 is None or not sha256.startswith("STREAMING-"):
        return None
    if sha256 in _NO_ECDSA:
        raise S3Error("NotImplemented", f"Don't know how to validate {sha256} streams")
    if sha256 not in _FORMS or credential is None or not credential.is_v4 or credential.is_query:
        return None
    return Form(None if sha256 == UNSIGNED_TRAILER else credential, sha256 != SIGNED)


def bad_sha256(credential: Credential | None, sha256: str) -> S3Error:
    """The error of an x-amz-content-sha256 that is none of those there are."""
    if sha256.startswith("STREAMING-") and (
        credential is None or not credential.is_v4 or credential.is_query
    ):
        return S3Error("XAmzContentSHA256Mismatch", ClientComputedContentSHA256=sha256)
    return S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be UNSIGNED-PAYLOAD, {', '.join(_FORMS)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=sha256,
    )


def decoded_length(environ: dict[str, Any]) -> int:
    """Bytes of the body without its chunks. Raises S3Error."""
    text = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise S3Error("MissingContentLength")
    if text != digits:
        raise S3Error("InvalidArgument", ArgumentName="x-amz-decoded-content-length", ArgumentValue=text)
    return int(text)


def without_coding(content_encoding: str | None) -> str | None:
    """A Content-Encoding without aws-chunked; None if nothing is left."""
    if content_encoding is None:
        return None
    codings = [part.strip() for part in content_encoding.split(",")]
    return ", ".join(part for part in codings if part and part != "aws-chunked") or None


def _incomplete(**elements: int) -> S3Error:
    return S3Error("IncompleteBody", **elements)  # type: ignore[arg-type]


class Unpacker:
    """`next()` hands out the body in pieces, b"" at its end. `below`: the body as it comes; `trailer`: the one that must follow."""

    def __init__(self, below: Any, form: Form, length: int, trailer: str | None, check: Check) -> None:
        self._read: Callable[[int], bytes] = getattr(below, "read_available", None) or below.read
        self._recv: Callable[[memoryview], int] | None = getattr(below, "recv_into", None)
        self._form = form
        self._length = length
        self._trailer = trailer
        self._check = check
        self._buffer = b""
        self._left = 0  # of the current chunk
        self._given = 0
        self._done = False
        self._number = 0  # of the current chunk, from 1
        self._size = _LEAST_CHUNK
        self._signature = b""
        self._hash: Any = None
        credential = form.credential
        self._previous = credential.signature if credential is not None else ""

    def next(self) -> bytes:
        """Raises S3Error, and what reading the body raises."""
        if not self._is_in_chunk():
            return b""
        data = self._some(min(self._left, _READ))
        self._seen(data)
        return data

    def next_into(self, buffer: memoryview) -> int:
        """As `next`, received where it is wanted, which nothing that is to be digested may lie in any more. Returns how many bytes, 0 at the end."""
        if not self._is_in_chunk():
            return 0
        size = min(self._left, len(buffer))
        if self._buffer or self._recv is None:
            data = self._some(min(size, _READ))
            size = len(data)
            buffer[:size] = data
        else:
            size = self._recv(buffer[:size])
            if not size:
                raise _incomplete()
        self._seen(buffer[:size])
        return size

    def _is_in_chunk(self) -> bool:
        """Returns False at the end of the body."""
        while not self._left:
            if self._done:
                return False
            self._begin_chunk()
        return True

    def _seen(self, data: bytes | memoryview) -> None:
        """The next bytes of a chunk; what is behind them is looked at where they are the body's last. Raises S3Error."""
        self._left -= len(data)
        self._given += len(data)
        if self._given > self._length:
            raise _incomplete(NumberBytesExpected=self._length, NumberBytesProvided=self._given + self._left)
        self._check.update(data)
        if self._hash is not None:
            self._hash.update(data)
        if not self._left:
            self._end_chunk()
            while self._given == self._length and not self._done:
                self._begin_chunk()
                if self._left:
                    raise _incomplete(
                        NumberBytesExpected=self._length, NumberBytesProvided=self._given + self._left
                    )

    # -- bytes -------------------------------------------------------------------------------------------------------------

    def _some(self, size: int) -> bytes:
        if not self._buffer:
            self._buffer = self._read(_READ)
            if not self._buffer:
                raise _incomplete()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _line(self, limit: int, may_end: bool = False) -> bytes | None:
        """The next line without its end; None at the end of the body, where it may be."""
        while True:
            at = self._buffer.find(b"\r\n", 0, limit + 2)
            if at >= 0:
                line, self._buffer = self._buffer[:at], self._buffer[at + 2 :]
                return line
            if len(self._buffer) > limit + 1:
                raise _incomplete()
            more = self._read(_READ)
            if not more:
                if may_end and not self._buffer:
                    return None
                raise _incomplete()
            self._buffer += more

    # -- chunks ------------------------------------------------------------------------------------------------------------

    def _begin_chunk(self) -> None:
        line = self._line(_LONGEST_LINE)
        assert line is not None
        if self._form.credential is None:
            match = _SIZE.match(line)
            if match is None or line[match.end() :][:1] not in (b"", b";"):
                raise _incomplete()
            size = int(match.group(), 16)
        else:
            match = _SIGNED.fullmatch(line)
            if match is None:
                raise _incomplete()
            size = int(match.group(1), 16)
            self._signature = match.group(3)
            self._hash = hashlib.sha256()
            if match.group(2) != b"chunk-signature":
                raise self._mismatch(self._string_to_sign())
        if size > _LARGEST_CHUNK:
            raise _incomplete()
        self._number += 1
        if size and self._size < _LEAST_CHUNK:
            raise S3Error("InvalidChunkSizeError", Chunk=self._number, BadChunkSize=self._size)
        self._size = self._left = size
        if not size:
            if self._form.credential is not None:
                self._check_signature(self._signature, self._string_to_sign())
            self._finish()

    def _end_chunk(self) -> None:
        if self._line(0) != b"":
            raise _incomplete()
        if self._form.credential is not None:
            self._check_signature(self._signature, self._string_to_sign())

    def _finish(self) -> None:
        """The last chunk has come: trailers, and what they promise."""
        if self._given != self._length:
            raise _incomplete(NumberBytesExpected=self._length, NumberBytesProvided=self._given)
        self._read_trailers()
        if self._buffer or self._read(1):
            raise _incomplete()
        self._check.end()
        self._done = True

    def _read_trailers(self) -> None:
        expected = {self._trailer} if self._trailer else set()
        is_signed = self._form.credential is not None and self._form.has_trailers
        found: dict[str, str] = {}
        room = _LONGEST_TRAILERS
        while True:
            line = self._line(min(room, _LONGEST_LINE * 8), may_end=not expected and not found)
            if not line:
                break
            room -= len(line) + 2
            name, colon, value = line.decode("latin-1").partition(":")
            if not expected and not is_signed:
                raise _incomplete()
            name = name.strip().lower()
            if not colon or room <= 0 or name in found or name not in {*expected, TRAILER_SIGNATURE}:
                raise S3Error("MalformedTrailerError")
            found[name] = value.strip()
        signature = found.pop(TRAILER_SIGNATURE, None)
        if is_signed:
            if signature is None or not (found or expected):
                raise _incomplete()
            self._check_signature(signature.encode("latin-1"), self._trailers_to_sign(found))
        if expected - found.keys():
            raise S3Error("MalformedTrailerError")
        if self._trailer and self._check.algorithm is not None:
            value = self._check.algorithm.parsed(found[self._trailer])  # type: ignore[assignment]
            if value is None:
                raise S3Error(
                    "InvalidRequest",
                    f"Value for {PREFIX}{self._check.algorithm.name} trailing header is invalid.",
                )
            self._check.value = value  # type: ignore[assignment]

    # -- signatures --------------------------------------------------------------------------------------------------------

    def _string_to_sign(self) -> bytes:
        digest = self._hash.hexdigest() if self._hash is not None else _EMPTY
        return self._signed("PAYLOAD", f"{_EMPTY}\n{digest}")

    def _trailers_to_sign(self, trailers: dict[str, str]) -> bytes:
        text = "".join(f"{name}:{trailers[name]}\n" for name in sorted(trailers)) or "\n"
        return self._signed("TRAILER", hashlib.sha256(text.encode("latin-1")).hexdigest())

    def _signed(self, kind: str, rest: str) -> bytes:
        credential = self._form.credential
        assert credential is not None
        moment = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime(credential.signed_at or 0))
        return f"AWS4-HMAC-SHA256-{kind}\n{moment}\n{credential.scope}\n{self._previous}\n{rest}".encode()

    def _check_signature(self, given: bytes, string_to_sign: bytes) -> None:
        credential = self._form.credential
        assert credential is not None
        if credential.signing_key is None:
            raise S3Error(
                "NotImplemented",
                "Transferring payloads in multiple chunks using aws-chunked is not supported.",
            )
        right = hmac.digest(credential.signing_key, string_to_sign, "sha256").hex()
        if not hmac.compare_digest(right.encode(), given):
            raise self._mismatch(string_to_sign)
        self._previous = right

    def _mismatch(self, string_to_sign: bytes) -> S3Error:
        credential = self._form.credential
        assert credential is not None
        elements: dict[str, Any] = {
            "AWSAccessKeyId": credential.access_key,
            "StringToSign": string_to_sign.decode("utf-8", "replace"),
            "SignatureProvided": self._signature.decode("latin-1"),
            "StringToSignBytes": string_to_sign.hex(" "),
        }
        return S3Error("SignatureDoesNotMatch", **elements)
