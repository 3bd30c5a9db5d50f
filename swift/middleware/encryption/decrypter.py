"""Answers with objects: headers and bodies are decrypted, so that what was stored encrypted and what was not look alike (spec middleware 4.27).

An answer without crypto-meta is passed on as it came. Never here: listings of containers (`listing`), requests (`encrypter`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.middleware.encryption import ciphers
from swift.middleware.encryption.bodies import opened
from swift.middleware.encryption.ciphers import CIPHER, CryptoError, ValueCipher, value_cipher
from swift.middleware.encryption.encrypter import BODY_META, ENCRYPTED, ETAG, LISTED_ETAG, META_SET
from swift.middleware.encryption.keyring import OVERRIDE, Keyring, server_error
from swift.middleware.encryption.listing import opened_listing
from swift.middleware.keymaster.keys import NoKeys
from swift.wire.call import call_application
from swift.wire.conditional import parse_http_date, range_applies
from swift.wire.message import (
    HTTPException,
    bytes_to_wsgi,
    close_if_possible,
    normalize_etag,
    parsed_path,
    title_case,
)

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]

_ETAG, _BODY_META, _LISTED_ETAG, _META_SET = (n.lower() for n in (ETAG, BODY_META, LISTED_ETAG, META_SET))
_OURS = ("x-object-sysmeta-crypto-", "x-object-transient-sysmeta-crypto-")
_META = f"{_META_SET}-"
_EXPOSE = "access-control-expose-headers"
_STATUSES = frozenset(("304", "412", "416"))
_MD5 = re.compile(rb"[0-9a-f]{32}")
_NO_HEADER_VALUE = re.compile(rb"[\r\n\0]")
_NO_HEADER, _NO_OBJECT = "Error decrypting header", "Error decrypting object"


class Decrypter:
    def __init__(self, app: Any, logger: Any) -> None:
        self.app = app
        self.logger = logger

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method != "GET" and method != "HEAD" or environ.get(OVERRIDE):
            return self.app(environ, start_response)
        _, _, container, obj = parsed_path(environ)
        if obj is None:
            if container is None or method == "HEAD":
                return self.app(environ, start_response)
            return opened_listing(self.app, environ, start_response, self.logger)
        if "HTTP_IF_RANGE" in environ and "HTTP_RANGE" in environ:
            return self._in_range(environ, start_response)
        status, headers, body, exc_info = self._answer(environ)
        start_response(*((status, headers) if exc_info is None else (status, headers, exc_info)))
        return body

    def _answer(self, environ: dict[str, Any]) -> tuple[str, Headers, Iterable[bytes], Any]:
        status, headers, body, exc_info = call_application(self.app, environ)
        if status[0] != "2" and status[:3] not in _STATUSES or not _is_encrypted(headers):
            return status, headers, body, exc_info
        try:
            status, headers, body = _Answer(environ, status, headers, self.logger).opened(body)
        except BaseException as error:
            close_if_possible(body)
            if not isinstance(error, HTTPException):
                raise
            return call_application(error, environ)
        return status, headers, body, exc_info

    def _in_range(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """A part, if the client has the rest of this very object: which ETag it means is known here only, once there is an answer."""
        condition, wanted = environ.pop("HTTP_IF_RANGE"), environ["HTTP_RANGE"]
        try:
            status, headers, body, exc_info = self._answer(environ)
            if status[:3] in ("206", "416") and not _may_be_partial(environ, condition, headers):
                close_if_possible(body)
                del environ["HTTP_RANGE"]
                status, headers, body, exc_info = self._answer(environ)
        finally:
            environ["HTTP_IF_RANGE"], environ["HTTP_RANGE"] = condition, wanted
        start_response(*((status, headers) if exc_info is None else (status, headers, exc_info)))
        return body


def _is_encrypted(headers: Headers) -> bool:
    for name, value in headers:
        if name[:9].lower() == "x-object-":
            lower = name.lower()
            if lower.startswith(_OURS) or lower == _LISTED_ETAG and ciphers.is_sealed(value):
                return True
    return False


def _may_be_partial(environ: dict[str, Any], condition: str, headers: Headers) -> bool:
    found = {name.lower(): value for name, value in headers}
    etag = found.get("etag")
    for name in environ.get("HTTP_X_BACKEND_ETAG_IS_AT", "").split(","):
        other = found.get(name.strip().lower())
        if other:
            etag = other
            break
    modified = parse_http_date(found.get("last-modified") or "")
    return range_applies({"HTTP_IF_RANGE": condition}, normalize_etag(etag), modified)


class _Answer:
    """One answer with something encrypted in it."""

    def __init__(self, environ: dict[str, Any], status: str, headers: Headers, logger: Any) -> None:
        self._environ = environ
        self._status = status
        self._headers = headers
        self._logger = logger
        self._found = {name.lower(): value for name, value in headers}
        self._keyring = Keyring(environ, logger)
        self._body_meta: Mapping[str, Any] | None = None

    def opened(self, body: Iterable[bytes]) -> tuple[str, Headers, Iterable[bytes]]:
        """(status, headers, body) with nothing encrypted left. Raises HTTPException 500."""
        body_key = self._try(_NO_OBJECT, self._unwrapped_key)
        headers = self._try(_NO_HEADER, self._opened_headers)
        if body_key is None or self._status[0] != "2":
            return self._status, headers, body
        headers.insert(0, (ENCRYPTED, CIPHER))
        if self._environ["REQUEST_METHOD"] == "GET":
            assert self._body_meta is not None
            key, iv = body_key, self._body_meta.get("iv", b"")
            is_part, where = self._status[:3] == "206", self._found.get("content-range")
            body = self._try(_NO_OBJECT, lambda: opened(body, key, iv, is_part, where))
        return self._status, headers, body

    def _try(self, text: str, attempt: Callable[[], Any]) -> Any:
        try:
            return attempt()
        except (CryptoError, NoKeys) as error:
            where = self._environ["PATH_INFO"][:1100]
            self._logger.error("%s of %r: %s", text, where, error)
            raise server_error(self._environ, text) from None

    def _unwrapped_key(self) -> bytes | None:
        """The key of the body; None if it is not encrypted."""
        text = self._found.get(_BODY_META)
        if text is None:
            return None
        self._body_meta = meta = ciphers.parse_meta(text)
        wrapped = meta.get("body_key")
        if wrapped is None:
            raise CryptoError("crypto-meta of a body without its key")
        keys = self._keyring.of(meta.get("key_id"), "object", "container")
        return value_cipher(keys["object"]).apply(wrapped["iv"], wrapped["key"])

    def _opened_headers(self) -> Headers:
        """As they were before they were encrypted; user metadata stands behind the others."""
        etag, listed = self._etag(), self._listed_etag()
        kept: Headers = []
        for name, value in self._headers:
            lower = name.lower()
            if lower.startswith(_OURS):
                continue
            if lower == "etag" and etag is not None:
                value = etag
            elif lower == _LISTED_ETAG and listed is not None:
                value = listed
            kept.append((name, value))
        metadata = self._metadata()
        if metadata and "HTTP_ORIGIN" in self._environ:
            kept = _exposing(kept, [name for name, _ in metadata])
        return kept + metadata

    def _etag(self) -> str | None:
        text = self._found.get(_ETAG)
        if text is None or self._body_meta is None:
            return None
        sealed = ciphers.parse_sealed(text)
        keys = self._keyring.of(sealed.meta.get("key_id") or self._body_meta.get("key_id"), "object")
        etag = _value(value_cipher(keys["object"]), sealed)
        if _MD5.fullmatch(etag) is None:
            # The cipher itself does not notice another key than it was encrypted with.
            raise CryptoError(
                "the ETag makes no sense: the root secret is not the one that it was encrypted with"
            )
        return etag.decode("ascii")

    def _listed_etag(self) -> str | None:
        text = self._found.get(_LISTED_ETAG)
        if text is None or not ciphers.is_sealed(text):
            return None
        sealed = ciphers.parse_sealed(text)
        key_id = sealed.meta.get("key_id") or (self._body_meta or {}).get("key_id")
        keys = self._keyring.of(key_id, "container")
        return _header_value(_value(value_cipher(keys["container"]), sealed))

    def _metadata(self) -> Headers:
        text = self._found.get(_META_SET)
        if text is None:
            return []
        key_id = ciphers.parse_meta(text).get("key_id")
        cipher = value_cipher(self._keyring.of(key_id, "object")["object"])
        metadata = []
        for name, value in self._headers:
            if name.lower().startswith(_META):
                name = "X-Object-Meta-" + title_case(name[len(_META) :])
                metadata.append((name, _header_value(_value(cipher, ciphers.parse_sealed(value)))))
        return metadata


def _value(cipher: ValueCipher, sealed: ciphers.Sealed) -> bytes:
    return cipher.apply(sealed.meta.get("iv", b""), sealed.data)


def _header_value(data: bytes) -> str:
    """As it is in a header. Raises CryptoError for what was never one."""
    if _NO_HEADER_VALUE.search(data):
        raise CryptoError("a value makes no sense: the root secret is not the one that it was encrypted with")
    return bytes_to_wsgi(data)


def _exposing(headers: Headers, names: list[str]) -> Headers:
    """With the names that pages of other origins may read, too."""
    added = ", ".join(sorted(name.lower() for name in names))
    for at, (name, value) in enumerate(headers):
        if name.lower() == _EXPOSE:
            headers[at] = (name, f"{value}, {added}" if value else added)
            return headers
    return [*headers, (title_case(_EXPOSE), added)]
