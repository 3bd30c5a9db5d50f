"""Requests of objects: what a PUT or POST has to hide is encrypted, and conditions are put in terms of what is stored (spec middleware 4.27).

Which header holds what is said here and in `decrypter`. Never here: answers, except that a PUT's ETag is the client's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from swift.core.constraints import check_metadata
from swift.core.errors import BadRequest
from swift.core.object_headers import UPDATE_FOOTERS
from swift.middleware.encryption import ciphers
from swift.middleware.encryption.bodies import SealedInput
from swift.middleware.encryption.ciphers import (
    IV_LENGTH,
    KEY_LENGTH,
    CryptoError,
    Fresh,
    ValueCipher,
    value_cipher,
)
from swift.middleware.encryption.keyring import OVERRIDE, Keyring
from swift.middleware.keymaster.keys import NoKeys
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPUnprocessableEntity,
    Request,
    environ_key,
    normalize_etag,
    parsed_path,
    wsgi_to_bytes,
)

ETAG = "X-Object-Sysmeta-Crypto-Etag"
ETAG_MAC = "X-Object-Sysmeta-Crypto-Etag-Mac"
BODY_META = "X-Object-Sysmeta-Crypto-Body-Meta"
LISTED_ETAG = "X-Object-Sysmeta-Container-Update-Override-Etag"
META_SET = "X-Object-Transient-Sysmeta-Crypto-Meta"
ENCRYPTED = "X-Backend-Crypto-Cipher"  # of answers: what they are about is encrypted with this cipher

_META_KEY = "HTTP_X_OBJECT_META_"
_META_SET_KEY = environ_key(META_SET)
_LISTED_ETAG_KEY = environ_key(LISTED_ETAG)
_ETAG_IS_AT = "HTTP_X_BACKEND_ETAG_IS_AT"
_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
_MD5_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"

StartResponse = Callable[..., Any]


class Encrypter:
    """`enabled`: encrypt what is written."""

    def __init__(self, app: Any, enabled: bool, logger: Any) -> None:
        self.app = app
        self.enabled = enabled
        self.logger = logger

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        handler = self._HANDLERS.get(method)
        if handler is None or environ.get(OVERRIDE) or parsed_path(environ)[3] is None:
            return self.app(environ, start_response)
        try:
            return handler(self, environ, start_response)
        except HTTPException as error:
            return error(environ, start_response)

    # -- writes ------------------------------------------------------------------------------------------------------------

    def _put(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not self.enabled:
            return self.app(environ, start_response)
        keys = Keyring(environ, self.logger).own("container", "object")
        upload = _Upload(environ, keys)
        hidden = _hide_metadata(environ, upload.cipher, upload.key_id)
        upload.replace()
        try:
            return self.app(environ, upload.responding(start_response))
        finally:
            upload.restore()
            _show_metadata(environ, hidden)

    def _post(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not self.enabled:
            return self.app(environ, start_response)
        keys = Keyring(environ, self.logger).own("object")
        hidden = _hide_metadata(environ, value_cipher(keys["object"]), ciphers.key_id_text(keys["id"]))
        try:
            return self.app(environ, start_response)
        finally:
            _show_metadata(environ, hidden)

    # -- reads -------------------------------------------------------------------------------------------------------------

    def _get(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        conditions = [key for key in _CONDITIONS if key in environ]
        if not conditions:
            return self.app(environ, start_response)
        given = {key: environ.get(key) for key in (*conditions, _ETAG_IS_AT)}
        masks = self._masks(environ)
        masked = False
        for key in conditions:
            value = _masked(environ[key], masks)
            masked = masked or value != environ[key]
            environ[key] = value
        if masked:
            before = given[_ETAG_IS_AT]
            environ[_ETAG_IS_AT] = f"{before}, {ETAG_MAC}" if before else ETAG_MAC
        try:
            return self.app(environ, start_response)
        finally:
            _put_back(environ, given)

    def _masks(self, environ: dict[str, Any]) -> list[ValueCipher]:
        """What makes an ETag's MAC under each of the root secrets. Raises HTTPException."""
        keyring = Keyring(environ, self.logger)
        masks = []
        for key_id in keyring.own("object")["all_ids"]:
            try:
                masks.append(value_cipher(keyring.of(key_id, "object")["object"]))
            except (CryptoError, NoKeys) as error:
                self.logger.error("conditions for one of the root secrets are left out: %s", error)
        return masks

    _HANDLERS = {"GET": _get, "HEAD": _get, "PUT": _put, "POST": _post}


def _hide_metadata(environ: dict[str, Any], cipher: ValueCipher, key_id: str) -> dict[str, str]:
    """Put encrypted metadata in the place of the user's; what was there. Raises HTTPException for what would not have been taken as it was."""
    try:
        check_metadata(environ, "object")
    except BadRequest as error:
        raise HTTPBadRequest(body=error.body, request=Request(environ), content_type="text/plain") from None
    if _META_KEY not in "\n".join(environ):
        return {}
    hidden = {key: environ[key] for key in environ if key.startswith(_META_KEY) and environ[key]}
    fresh = Fresh(IV_LENGTH * len(hidden))
    for key, value in hidden.items():
        del environ[key]
        environ[f"{_META_SET_KEY}_{key[len(_META_KEY) :]}"] = cipher.sealed(
            wsgi_to_bytes(value), fresh.take()
        )
    if hidden:
        environ[_META_SET_KEY] = ciphers.set_meta(key_id)
    return hidden


def _show_metadata(environ: dict[str, Any], hidden: dict[str, str]) -> None:
    """Take `_hide_metadata` back: filters to the left tell clients what they have stored."""
    if hidden:
        for key in hidden:
            environ.pop(f"{_META_SET_KEY}_{key[len(_META_KEY) :]}", None)
        environ.pop(_META_SET_KEY, None)
        environ.update(hidden)


def _put_back(environ: dict[str, Any], given: dict[str, Any]) -> None:
    for key, value in given.items():
        if value is None:
            environ.pop(key, None)
        else:
            environ[key] = value


def _masked(condition: str, masks: list[ValueCipher]) -> str:
    """The tags of a condition, each followed by what stands for it at encrypted objects."""
    tags: list[str] = []
    for text in condition.split(","):
        tag = text.strip()
        if not tag:
            continue
        tags.append(tag)
        etag = normalize_etag(tag)
        if etag and etag != "*" and not tag.startswith("W/"):
            tags += [f'"{mask.mac(etag)}"' for mask in masks]
    return ", ".join(tags)


class _Upload:
    """One PUT: its encrypted body, and what is kept with it."""

    def __init__(self, environ: dict[str, Any], keys: dict[str, Any]) -> None:
        self.environ = environ
        self.cipher = value_cipher(keys["object"])
        self.key_id = ciphers.key_id_text(keys["id"])
        self.etag = ""  # of the plain body, when it was read and is not empty
        self._container_key: bytes = keys["container"]
        self._fresh = Fresh(KEY_LENGTH + 4 * IV_LENGTH)
        self._body_key, self._iv = self._fresh.take(KEY_LENGTH), self._fresh.take()
        self._wrap_iv = self._fresh.take()
        self._made: dict[tuple[str, str], str] = {}  # by header and plain value
        self.input = SealedInput(environ["wsgi.input"], self._body_key, self._iv)
        self._given = {
            key: environ.get(key) for key in ("wsgi.input", UPDATE_FOOTERS, "HTTP_ETAG", _LISTED_ETAG_KEY)
        }

    def replace(self) -> None:
        """Put the encrypted body in the place of the plain one, and take out what is true of that only."""
        environ = self.environ
        environ["wsgi.input"] = self.input
        environ[UPDATE_FOOTERS] = self.update_footers
        environ.pop("HTTP_ETAG", None)
        environ.pop(_LISTED_ETAG_KEY, None)

    def restore(self) -> None:
        """Take `replace` back, and let go of the buffers."""
        self.input.release()
        _put_back(self.environ, self._given)

    def update_footers(self, footers: MutableMapping[str, Any]) -> None:
        """Called when the body was read, perhaps twice: what is kept with the object. Raises HTTPException 422 for another ETag than expected."""
        earlier, expected = self._given[UPDATE_FOOTERS], self._given["HTTP_ETAG"]
        if earlier is not None:
            earlier(footers)
        listed = footers.get(LISTED_ETAG)
        if listed is None:
            listed = self._given[_LISTED_ETAG_KEY]
        if self.input.length:
            self._describe_body(footers)
            if listed is None:
                listed = self.etag
        elif expected is not None and footers.get("Etag") is None:
            footers["Etag"] = expected
        if listed and (self.etag or listed != _MD5_OF_NOTHING):
            listed = self._sealed(LISTED_ETAG, value_cipher(self._container_key), listed, self.key_id)
        if listed is not None:
            footers[LISTED_ETAG] = listed

    def _describe_body(self, footers: MutableMapping[str, Any]) -> None:
        self.etag = etag = self.input.etag()
        expected = footers.get("Etag")
        if expected is None:
            expected = self._given["HTTP_ETAG"]
        if expected is not None and (normalize_etag(expected) or "").lower() != etag:
            raise HTTPUnprocessableEntity(request=Request(self.environ))
        # What is stored has an ETag of its own, which the proxy knows.
        footers["Etag"] = None
        wrapped_key = self.cipher.apply(self._wrap_iv, self._body_key)
        footers[ETAG] = self._sealed(ETAG, self.cipher, etag)
        footers[ETAG_MAC] = self.cipher.mac(etag)
        footers[BODY_META] = ciphers.body_meta(self._iv, self._wrap_iv, wrapped_key, self.key_id)

    def _sealed(self, name: str, cipher: ValueCipher, value: str, key_id: str = "") -> str:
        """The same for the same value: who has to send an object a second time must send the very same, or servers take it for another."""
        text = self._made.get((name, value))
        if text is None:
            text = cipher.sealed(wsgi_to_bytes(value), self._fresh.take(), key_id)
            self._made[name, value] = text
        return text

    def responding(self, start_response: StartResponse) -> StartResponse:
        """A start_response that tells the client the ETag of what it sent, and filters that it is encrypted."""

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if self.etag and status[0] == "2":
                headers = [(n, self.etag if n.lower() == "etag" else value) for n, value in headers]
                headers.append((ENCRYPTED, ciphers.CIPHER))
            return (
                start_response(status, headers)
                if exc_info is None
                else start_response(status, headers, exc_info)
            )

        return respond
