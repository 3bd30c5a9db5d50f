"""Filter `customer_keys`: objects that their owners encrypt, each with a key of their own that is never stored (spec s3.md 20).

Who asks gives the key in the environ: `KEY`, 32 bytes. A PUT with one stores ciphertext and, in a system header, what the key can be told by; a
read opens what that key has closed. So whatever assembles or moves objects on the left (large objects, links, versions, copies) needs to
know nothing of it. Without the key nobody gets the ciphertext for the object. A manifest is stored as it is: what it names is encrypted.

Where several filters encrypt, `encryption` works on what this one gives. Never here: S3 requests, and what clients are told of their keys.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from swift.core import clock
from swift.core.hashing import md5
from swift.core.object_headers import UPDATE_FOOTERS
from swift.middleware.encryption.bodies import opened
from swift.middleware.encryption.ciphers import IV_LENGTH, KEY_LENGTH, CryptoError, keystream
from swift.telemetry.log import get_logger
from swift.wire.call import Application, Headers, StartResponse, call_application
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPInternalServerError,
    HTTPUnprocessableEntity,
    InputFilter,
    Request,
    close_if_possible,
    environ_key,
    normalize_etag,
    parsed_path,
)

# In the environ: the key; that what it does not open comes as it is, for who looks at `STORED` then; that ciphertext is wanted.
KEY, UNCHECKED, RAW = "swift.customer_key", "swift.customer_key.unchecked", "swift.customer_key.raw"
STORED = "X-Object-Sysmeta-S3Api-Ssec"  # what is kept with an object, as answers spell it
STORED_KEY = environ_key(STORED)
OPENED = "X-Backend-Customer-Key"  # in its place in an answer, once the key has fitted
_LARGE = "X-Static-Large-Object"
_READS = frozenset(("GET", "HEAD"))
_MOST_STORED = 512
_REFUSED = "This object is encrypted with a key of its owner's: it is read by S3 requests that bring the key (SSE-C).\n"


class Seal(NamedTuple):
    """What is kept of a key: `iv`, fresh for each object, and `mac`, which the key makes of it and nothing else does."""

    iv: bytes
    mac: bytes

    def text(self) -> str:
        """As it is stored."""
        found = {"v": 1, "iv": b64encode(self.iv).decode(), "mac": b64encode(self.mac).decode()}
        return json.dumps(found, separators=(",", ":"))

    def fits(self, secret: bytes) -> bool:
        """Returns True if it was made with this key; takes as long if it was not."""
        return hmac.compare_digest(_derived(secret, b"ssec", self.iv), self.mac)

    def body_key(self, secret: bytes) -> bytes:
        """Of the one body: the customer's key encrypts nothing itself."""
        return _derived(secret, b"body", self.iv)


def sealed(secret: bytes) -> Seal:
    """A new one, of a key of 32 bytes."""
    if len(secret) != KEY_LENGTH:
        raise ValueError(f"a key of {len(secret)} bytes")
    iv = clock.random_bytes(IV_LENGTH)
    return Seal(iv, _derived(secret, b"ssec", iv))


def parse(text: str) -> Seal:
    """What is stored, taken apart. Raises CryptoError."""
    try:
        found = json.loads(text) if len(text) <= _MOST_STORED else None
        if not isinstance(found, dict) or found.get("v") != 1:
            raise CryptoError("what is kept of a customer's key has an unknown form")
        seal = Seal(b64decode(found["iv"], validate=True), b64decode(found["mac"], validate=True))
    except (KeyError, TypeError, ValueError, RecursionError, binascii.Error):
        raise CryptoError("what is kept of a customer's key is damaged") from None
    if len(seal.iv) != IV_LENGTH or len(seal.mac) != KEY_LENGTH:
        raise CryptoError("what is kept of a customer's key is damaged")
    return seal


def _derived(secret: bytes, purpose: bytes, iv: bytes) -> bytes:
    return hmac.digest(secret, purpose + iv, hashlib.sha256)


class CustomerKeys:
    def __init__(self, app: Application, logger: Any) -> None:
        self.app = app
        self.logger = logger

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        try:
            if method in _READS and parsed_path(environ)[3] is not None:
                return self._read(environ, start_response)
            if method == "PUT" and KEY in environ and parsed_path(environ)[3] is not None:
                return self._put(environ, start_response)
        except HTTPException as error:
            return error(environ, start_response)
        return self.app(environ, start_response)

    # -- reads -------------------------------------------------------------------------------------------------------------

    def _read(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        status, headers, body, exc_info = call_application(self.app, environ)
        for name, value in headers:
            if name == STORED and value:
                try:
                    headers, body = self._seen(environ, status, headers, body, value)
                except BaseException:
                    close_if_possible(body)
                    raise
                break
        start_response(*((status, headers) if exc_info is None else (status, headers, exc_info)))
        return body

    def _seen(
        self, environ: dict[str, Any], status: str, headers: Headers, body: Iterable[bytes], stored: str
    ) -> tuple[Headers, Iterable[bytes]]:
        """(headers, body) of an answer about what a key has closed. Raises HTTPException."""
        has_bytes = environ["REQUEST_METHOD"] == "GET" and status[0] == "2"
        if environ.get(RAW):
            return headers, body
        found = dict(headers)
        is_manifest = found.get(_LARGE, "").lower() == "true"
        secret = environ.get(KEY)
        if secret:
            seal = self._parsed(environ, stored)
            if seal.fits(secret):
                if has_bytes and not is_manifest:
                    where = found.get("Content-Range")
                    key = seal.body_key(secret)
                    body = self._opened(environ, body, key, seal.iv, status[:3] == "206", where)
                headers = [(name, value) for name, value in headers if name != STORED]
                return [*headers, (OPENED, "true")], body
        if environ.get(UNCHECKED):
            # Whoever asked looks first: nobody on the way is to assemble what the parts would not be opened for.
            return [pair for pair in headers if pair[0] != _LARGE], body
        if has_bytes and not (is_manifest and _wants_manifest(environ)):
            raise HTTPBadRequest(request=Request(environ), body=_REFUSED, content_type="text/plain")
        return headers, body

    def _parsed(self, environ: dict[str, Any], stored: str) -> Seal:
        """Raises HTTPInternalServerError."""
        try:
            return parse(stored)
        except CryptoError as error:
            raise self._unreadable(environ, error) from None

    def _opened(
        self,
        environ: dict[str, Any],
        body: Iterable[bytes],
        key: bytes,
        iv: bytes,
        is_part: bool,
        where: str | None,
    ) -> Iterable[bytes]:
        """Raises HTTPInternalServerError."""
        try:
            return opened(body, key, iv, is_part, where)
        except CryptoError as error:
            raise self._unreadable(environ, error) from None

    def _unreadable(self, environ: dict[str, Any], error: CryptoError) -> HTTPException:
        self.logger.error("%r: %s", environ["PATH_INFO"][:1100], error)
        text = "Error decrypting object"
        return HTTPInternalServerError(body=text, request=Request(environ), content_type="text/plain")

    # -- writes ------------------------------------------------------------------------------------------------------------

    def _put(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """The proxy takes the ETag of what is stored, which is what it is from then on; one that the client promises is of its own bytes."""
        secret = environ[KEY]
        seal = sealed(secret)
        given = {name: environ.get(name) for name in ("wsgi.input", "HTTP_ETAG", UPDATE_FOOTERS, STORED_KEY)}
        environ[STORED_KEY] = seal.text()
        body = None
        if environ.get("CONTENT_LENGTH") != "0":
            body = _Closed(environ["wsgi.input"], seal.body_key(secret), seal.iv)
            environ["wsgi.input"] = body
            expected = normalize_etag(environ.pop("HTTP_ETAG", None))
            if expected:
                body.digest = md5()
                environ[UPDATE_FOOTERS] = _Footers(environ, body, expected, environ.get(UPDATE_FOOTERS))
        try:
            return self.app(environ, start_response)
        finally:
            for name, value in given.items():
                if value is None:
                    environ.pop(name, None)
                else:
                    environ[name] = value


def _wants_manifest(environ: dict[str, Any]) -> bool:
    query = environ.get("QUERY_STRING")
    return bool(query) and ("multipart-manifest", "get") in parse_qsl(query, encoding="latin-1")


class _Closed(InputFilter):
    """A body, encrypted as it is read. `digest`: of what came, where that is asked for."""

    def __init__(self, below: Any, key: bytes, iv: bytes) -> None:
        super().__init__(below)
        self._stream = keystream(key, iv)
        self.digest: Any = None

    def pull(self, size: int) -> bytes:
        data = self._read_below(size)
        if self.digest is not None:
            self.digest.update(data)
        closed: bytes = self._stream.update(data)
        return closed


class _Footers:
    """Called when a body was read: it must have been what was promised. Raises HTTPUnprocessableEntity."""

    def __init__(
        self,
        environ: dict[str, Any],
        body: _Closed,
        expected: str,
        earlier: Callable[[MutableMapping[str, Any]], None] | None,
    ) -> None:
        self._environ = environ
        self._body = body
        self._expected = expected
        self._earlier = earlier

    def __call__(self, footers: MutableMapping[str, Any]) -> None:
        if self._earlier is not None:
            self._earlier(footers)
        if self._expected.lower() != self._body.digest.hexdigest():
            raise HTTPUnprocessableEntity(request=Request(self._environ))


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], CustomerKeys]:
    logger = get_logger({**global_conf, **local_conf}, "proxy-server", log_route="customer_keys")

    def factory(app: Any) -> CustomerKeys:
        return CustomerKeys(app, logger)

    return factory
