"""The body of an upload: what headers promise of it, checked while it is read (spec s3.md 4.1, 4.2).

A body that is not what was promised ends in an error before its last byte is handed on, so that no server can commit it. Bodies that
come in signed chunks are unpacked by `chunked`. Never here: where the body goes.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from swift.s3 import chunked, metadata
from swift.s3.checksums import (
    ALGORITHMS,
    FULL_OBJECT,
    PREFIX,
    ROW_TYPE,
    ROW_TYPE_KEY,
    SYSMETA,
    SYSMETA_KEY,
    Algorithm,
    in_row,
    shown,
    stored,
)
from swift.s3.digests import Check
from swift.s3.errors import S3Error
from swift.s3.signature import Credential
from swift.wire.errors import ClientError
from swift.wire.message import InputFilter
from swift.wire.parser import UNDERSCORED
from swift.wire.subanswer import Subanswer

_MD5 = re.compile("[A-Za-z0-9+/]+={0,2}")
_SHA256 = re.compile("[0-9A-Fa-f]{64}")
_CLIENT_TYPE = "binary/octet-stream"
_NO_CHECKSUMS = frozenset(("algorithm", "type", "mode"))
FOOTERS = "swift.callback.update_footers"


class BadBody(ClientError):
    """Raised to whoever reads a body that is not what its headers promise; `Payload.error` says why."""


class Sender(Protocol):
    """What of an S3Request is needed to send its body on."""

    environ: dict[str, Any]
    credential: Credential | None
    bucket: str | None
    key: str | None

    def given(
        self,
        method: str,
        container: str | None,
        obj: str | None,
        query: Any,
        headers: Any,
        input: Any,
        length: int | None,
    ) -> Subanswer: ...

    def error_of(self, answer: Subanswer, bucket: str | None, key: str | None) -> S3Error: ...

    def authenticate(self) -> None: ...


class Payload:
    """`input`, `length`: of the native request, length None for a body that ends where it ends. `error`: what was found while reading.

    `wanted`: what checksum is taken of a body that brings none; `is_described`: the checksum in its headers is the body's own. `row_type`:
    that of a part's row, which tells the checksum, too.
    """

    def __init__(self, request: Sender, wanted: Algorithm | None = None, is_described: bool = True) -> None:
        environ = request.environ
        self.environ = environ
        self.row_type: str | None = None
        self.error: S3Error | None = None
        self.etag = _content_md5(environ)
        text = environ.get("CONTENT_LENGTH")
        self.length = int(text) if text else None
        if self.length is None and "HTTP_TRANSFER_ENCODING" not in environ:
            raise S3Error("MissingContentLength")
        sha256 = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
        form = chunked.form_of(environ, request.credential, sha256)
        algorithm, value, trailer = (
            _checksum(environ, form is not None) if is_described else (None, None, None)
        )
        self.is_promised = algorithm is not None
        if algorithm is None:
            algorithm = wanted
        expected = sha256 if form is None and sha256 and _SHA256.fullmatch(sha256) else None
        if form is None and sha256 is not None and expected is None and sha256 != "UNSIGNED-PAYLOAD":
            raise chunked.bad_sha256(request.credential, sha256)
        self.check = Check(expected, algorithm, value)
        self.input: Any = environ["wsgi.input"]
        self.content_encoding = environ.get("HTTP_CONTENT_ENCODING")
        if form is not None:
            self.length = chunked.decoded_length(environ)
            self.content_encoding = chunked.without_coding(self.content_encoding)
            self.input = _Unpacked(self, chunked.Unpacker(self.input, form, self.length, trailer, self.check))
        elif self.check.is_needed:
            self.input = _Checked(self)
        if self.length == 0:
            if form is not None and form.credential is not None and form.credential.signing_key is None:
                request.authenticate()  # no native request has brought the key by now
            self._look_at_nothing()

    def _look_at_nothing(self) -> None:
        """Nobody reads an empty body: it is checked now."""
        try:
            self.input.read()
        except BadBody:
            pass
        if self.error is not None:
            raise self.error

    def failed(self, error: S3Error) -> BadBody:
        self.error = error
        return BadBody(str(error))

    def headers(self) -> dict[str, Any]:
        """For the native PUT, beside what an object is to keep: environ keys."""
        headers: dict[str, Any] = {}
        if self.etag is not None:
            headers["HTTP_ETAG"] = self.etag
        check = self.check
        if check.algorithm is not None:
            if check.value is not None:
                headers[SYSMETA_KEY] = stored(check.algorithm, check.value)
                if self.row_type is not None:
                    headers[ROW_TYPE_KEY] = self._told_in_row(check.algorithm, check.value)
            else:
                headers[FOOTERS] = self._update_footers
        return headers

    def object_headers(self) -> dict[str, Any]:
        """All headers of a native PUT of an object. Raises S3Error."""
        environ = self.environ
        headers = {
            **metadata.named_headers(environ, metadata.STORED_HEADERS),
            **metadata.user_metadata(environ),
            **{key: value for key, value in metadata.kept_sysmeta(environ).items() if value},
            **self.headers(),
        }
        headers["CONTENT_TYPE"] = headers.get("CONTENT_TYPE") or _CLIENT_TYPE
        headers.pop("HTTP_CONTENT_ENCODING", None)
        if self.content_encoding:
            headers["HTTP_CONTENT_ENCODING"] = self.content_encoding
        return headers

    def _update_footers(self, footers: MutableMapping[str, Any]) -> None:
        check = self.check
        if check.algorithm is not None and check.value is not None:
            footers[SYSMETA.title()] = stored(check.algorithm, check.value)
            if self.row_type is not None:
                footers[ROW_TYPE] = self._told_in_row(check.algorithm, check.value)

    def _told_in_row(self, algorithm: Algorithm, value: bytes) -> str:
        assert self.row_type is not None
        return in_row(self.row_type, algorithm.name, value.hex())

    def put(
        self, request: Sender, container: str, name: str, headers: dict[str, Any], query: Any = None
    ) -> Subanswer:
        """The native PUT of this body, acknowledged. Raises S3Error."""
        try:
            answer = request.given("PUT", container, name, query, headers, self.input, self.length)
        except BadBody:
            assert self.error is not None
            raise self.error from None
        if self.error is not None:
            answer.close()
            raise self.error
        if answer.status not in (201, 202):
            error = request.error_of(answer, request.bucket, request.key or name)
            if error.code == "BadDigest" and self.etag is not None:
                error.elements.setdefault("ExpectedDigest", self.etag)
            raise error
        answer.drain()
        self.input = None  # which knows us: who holds each other is found late
        return answer

    def told(self) -> list[tuple[str, str]]:
        """What the answer to an upload tells of its checksum."""
        check = self.check
        if check.algorithm is None or check.value is None:
            return []
        found = [(PREFIX + check.algorithm.name, shown(check.value))]
        return found if self.row_type is not None else [*found, (PREFIX + "type", FULL_OBJECT)]


def prepared(request: Sender, wanted: Algorithm | None = None, is_described: bool = True) -> Payload:
    """The body of a request. Raises S3Error for headers that contradict each other."""
    return Payload(request, wanted, is_described)


class _Checked(InputFilter):
    """A body with its digests taken; it ends well or not at all."""

    def __init__(self, payload: Payload) -> None:
        super().__init__(payload.input)
        self._payload = payload
        self._left = payload.length
        self._is_checked = False
        self._recv_below: Callable[[memoryview], int] | None = getattr(payload.input, "recv_into", None)

    def pull(self, size: int) -> bytes:
        self._check_again()
        data = super().pull(size)
        self._seen(data)
        return data

    def recv_into(self, buffer: memoryview) -> int:
        """Received where it is wanted, and digested there: whoever takes the buffer leaves it as it is until it is given here again."""
        self._payload.check.release(buffer)
        if self._ahead or self._ended or self._recv_below is None:
            return super().recv_into(buffer)
        self._check_again()
        size = self._recv_below(buffer)
        self._ended = not size
        self._seen(buffer[:size])
        return size

    def _check_again(self) -> None:
        if self._payload.error is not None:
            raise self._payload.failed(self._payload.error)

    def _seen(self, data: bytes | memoryview) -> None:
        """The next piece, empty at the end. Raises BadBody instead of handing out the last one of a body that is not what was promised."""
        if data:
            self._payload.check.update(data)
            if self._left is None:
                return
            self._left -= len(data)
            if self._left > 0:
                return
        if not self._is_checked:
            self._is_checked = True
            try:
                self._payload.check.end()
            except S3Error as error:
                raise self._payload.failed(error) from None


class _Unpacked(InputFilter):
    """A body without the chunks that it came in."""

    def __init__(self, payload: Payload, unpacker: chunked.Unpacker) -> None:
        super().__init__(payload.input)
        self._payload = payload
        self._unpacker = unpacker

    def pull(self, size: int) -> bytes:
        try:
            return self._unpacker.next()
        except S3Error as error:
            raise self._payload.failed(error) from None

    def recv_into(self, buffer: memoryview) -> int:
        """As of `_Checked`."""
        self._payload.check.release(buffer)
        if self._ahead or self._ended:
            return super().recv_into(buffer)
        try:
            size = self._unpacker.next_into(buffer)
        except S3Error as error:
            raise self._payload.failed(error) from None
        self._ended = not size
        return size


def _content_md5(environ: dict[str, Any]) -> str | None:
    """The hex digest that Content-MD5 promises. Raises S3Error."""
    given = environ.get("HTTP_CONTENT_MD5")
    if given is None:
        return None
    text = given.strip("".join(map(chr, range(33))))
    digest = b""
    if _MD5.fullmatch(text):
        try:
            digest = b64decode(text, validate=True)
        except ValueError:
            digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest", ContentMd5=given)
    return digest.hex()


def _checksum(
    environ: dict[str, Any], is_streaming: bool
) -> tuple[Algorithm | None, bytes | None, str | None]:
    """(algorithm, promised value, name of the trailer that will promise it). Raises S3Error."""
    names = [
        key[20:].replace("_", "-").lower()
        for key in metadata.amz_keys(environ)
        if key.startswith("HTTP_X_AMZ_CHECKSUM_")
    ]
    names += [name[len(PREFIX) :] for name, _ in environ.get(UNDERSCORED, ()) if name.startswith(PREFIX)]
    names = [name for name in names if name not in _NO_CHECKSUMS]
    trailers = [
        part.strip().lower() for part in environ.get("HTTP_X_AMZ_TRAILER", "").split(",") if part.strip()
    ]
    for name in names:
        if name not in ALGORITHMS:
            raise _invalid("The algorithm type you specified in x-amz-checksum- header is invalid.")
    if len(names) > 1:
        raise _invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    if names and trailers:
        raise _invalid("Expecting a single x-amz-checksum- header")
    algorithm, value, trailer = None, None, None
    if trailers:
        trailer = trailers[0]
        algorithm = ALGORITHMS.get(trailer.removeprefix(PREFIX)) if trailer.startswith(PREFIX) else None
        if len(trailers) > 1 or algorithm is None:
            raise _invalid("The value specified in the x-amz-trailer header is not supported")
        if not is_streaming:
            raise S3Error("MalformedTrailerError")
    elif names:
        algorithm = ALGORITHMS[names[0]]
        value = algorithm.parsed(environ["HTTP_X_AMZ_CHECKSUM_" + names[0].upper()])
        if value is None:
            raise _invalid(f"Value for {PREFIX}{names[0]} header is invalid.")
    announced = environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM")
    if announced is not None:
        if algorithm is None:
            raise _invalid(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
            )
        if announced.lower() != algorithm.name:
            raise _invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return algorithm, value, trailer


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidRequest", message)
