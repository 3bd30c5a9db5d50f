"""AES-256 in counter mode, and the crypto-meta that says how something was encrypted (spec middleware 4.27).

Values are short and have one key for many: `ValueCipher`. Bodies are long and have a key each: `keystream`. What is stored here by
one release must be readable by all others and by the reference. Never here: where keys come from, and which header holds what.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote_plus, unquote_plus

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from swift.core import clock
from swift.core.errors import SwiftError

CIPHER = "AES_CTR_256"
KEY_LENGTH = 32
IV_LENGTH = 16
_BLOCK = 16
_COUNTERS = 1 << 128
_MARK = "swift_meta="


class CryptoError(SwiftError):
    """Something can't be decrypted. The text names neither keys nor what was read."""


class Fresh:
    """Keys and IVs that nothing else has: what an object needs of them comes of one draw. Never kept beyond a request."""

    __slots__ = ("_at", "_bytes")

    def __init__(self, length: int) -> None:
        """`length`: bytes that will be asked for; more can be."""
        self._bytes = clock.random_bytes(length)
        self._at = 0

    def take(self, length: int = IV_LENGTH) -> bytes:
        """So many bytes that were not given out before."""
        at = self._at
        self._at = end = at + length
        if end > len(self._bytes):
            return clock.random_bytes(length)
        return self._bytes[at:end]


def keystream(key: bytes, iv: bytes, offset: int = 0) -> Any:
    """A cipher context whose `update` encrypts, or decrypts, from byte `offset` on. Raises CryptoError."""
    _check(key, iv)
    if offset:
        iv = _counter(iv, offset // _BLOCK)
    made = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    if offset % _BLOCK:
        made.update(bytes(offset % _BLOCK))
    return made


def _counter(iv: bytes, blocks: int) -> bytes:
    return ((int.from_bytes(iv, "big") + blocks) % _COUNTERS).to_bytes(IV_LENGTH, "big")


def _check(key: bytes, iv: bytes) -> None:
    if len(key) != KEY_LENGTH:
        raise CryptoError(f"a key of {len(key)} bytes")
    if len(iv) != IV_LENGTH:
        raise CryptoError(f"an IV of {len(iv)} bytes")


class ValueCipher:
    """Encrypts and decrypts short values, each with an IV of its own, under one key.

    Setting up a cipher costs ten times what a block does: the counter blocks of all values go through one, and are combined here.
    """

    __slots__ = ("_blocks", "key")

    def __init__(self, key: bytes) -> None:
        """Raises CryptoError for a key of another length."""
        _check(key, bytes(IV_LENGTH))
        self.key = key
        self._blocks = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305

    def apply(self, iv: bytes, value: bytes) -> bytes:
        """The value encrypted, or decrypted. Raises CryptoError for an IV of another length."""
        if len(iv) != IV_LENGTH:
            raise CryptoError(f"an IV of {len(iv)} bytes")
        size = len(value)
        counters = iv
        if size > _BLOCK:
            count = -(-size // _BLOCK)
            counters = b"".join([iv, *(_counter(iv, block) for block in range(1, count))])
        stream = self._blocks.update(counters)[:size]
        return (int.from_bytes(stream, "big") ^ int.from_bytes(value, "big")).to_bytes(size, "big")

    def sealed(self, value: bytes, iv: bytes, key_id: str = "") -> str:
        """The value as it is stored, with its crypto-meta. `iv`: fresh; `key_id`: of `key_id_text`, where that is to stand in it."""
        return f"{b64(self.apply(iv, value))}; {_MARK}{_value_meta(iv, key_id)}"

    def opened(self, value: Sealed) -> bytes:
        """Raises CryptoError."""
        return self.apply(value.meta["iv"], value.data)

    def mac(self, text: str) -> str:
        """What stands for an ETag where conditions are compared: it tells nothing to who has not the key."""
        return b64(hmac.digest(self.key, text.encode("latin-1"), hashlib.sha256))


@functools.lru_cache(512)
def value_cipher(key: bytes) -> ValueCipher:
    """One for this key; that of a container in use is there. Raises CryptoError for a key of another length."""
    return ValueCipher(key)


class Sealed(NamedTuple):
    """A stored value: what is encrypted, and its crypto-meta with everything in base64 decoded."""

    data: bytes
    meta: Mapping[str, Any]


def is_sealed(text: str) -> bool:
    """Returns True if a stored value has crypto-meta."""
    return _MARK in text


def parse_sealed(text: str) -> Sealed:
    """Takes a stored value apart. Raises CryptoError."""
    value, mark, meta = text.partition(_MARK)
    value = value.rstrip()
    if not mark or not value.endswith(";"):
        raise CryptoError("no crypto-meta beside a value")
    return Sealed(unb64(value[:-1].rstrip()), parse_meta(meta.strip()))


# -- crypto-meta -----------------------------------------------------------------------------------------------------------

# Its parts as `quote_plus(json.dumps(..., sort_keys=True))` makes them.
_NAMED = quote_plus(f'{{"cipher": "{CIPHER}"')
_NEXT_IV, _NEXT_KEY_ID = quote_plus(', "iv": "'), quote_plus(', "key_id": ')
_BODY_IV, _BODY_KEY = quote_plus('{"body_key": {"iv": "'), quote_plus('", "key": "')
_BODY_CIPHER = quote_plus(f'"}}, "cipher": "{CIPHER}"')
_QUOTE, _END = quote_plus('"'), quote_plus("}")


_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch
_PATH_IS, _VERSION_IS = quote_plus('{"path": "'), quote_plus('", "v": "')
_LAST = quote_plus('"}')
# What is quoted in nearly all crypto-meta; a chain of replacements takes a tenth of what looking at each letter does.
_QUOTED = tuple((quote_plus(letter), letter) for letter in ' "{}:,/+=')


def key_id_text(key_id: Mapping[str, str]) -> str:
    """A key id in the form in which it is part of crypto-meta."""
    if len(key_id) == 2 and _PLAIN_PATH(path := key_id["path"]):
        return f"{_PATH_IS}{path.replace('/', '%2F')}{_VERSION_IS}{key_id['v']}{_LAST}"
    return quote_plus(json.dumps(key_id, sort_keys=True))


def _unquoted(text: str) -> str:
    """As unquote_plus."""
    plain = text
    for quoted, letter in _QUOTED:
        plain = plain.replace(quoted, letter)
    return unquote_plus(text) if "%" in plain else plain


def _value_meta(iv: bytes, key_id: str) -> str:
    last = f"{_NEXT_KEY_ID}{key_id}" if key_id else ""
    return f"{_NAMED}{_NEXT_IV}{_quoted(iv)}{_QUOTE}{last}{_END}"


def set_meta(key_id: str) -> str:
    """The crypto-meta of a set of values that have the same key: which one."""
    return f"{_NAMED}{_NEXT_KEY_ID}{key_id}{_END}"


def body_meta(iv: bytes, wrap_iv: bytes, wrapped_key: bytes, key_id: str) -> str:
    """The crypto-meta of a body, with the wrapped key of that body."""
    return (
        f"{_BODY_IV}{_quoted(wrap_iv)}{_BODY_KEY}{_quoted(wrapped_key)}{_BODY_CIPHER}"
        f"{_NEXT_IV}{_quoted(iv)}{_QUOTE}{_NEXT_KEY_ID}{key_id}{_END}"
    )


# Crypto-meta as it is written here, and by the reference; what looks otherwise is read as JSON.
_B64 = r"([A-Za-z0-9%]+)"
_WRITTEN_VALUE = re.compile(
    f"{re.escape(_NAMED + _NEXT_IV)}{_B64}{_QUOTE}(?:{re.escape(_NEXT_KEY_ID)}(.+))?{_END}"
).fullmatch
_WRITTEN_BODY = re.compile(
    f"{re.escape(_BODY_IV)}{_B64}{re.escape(_BODY_KEY)}{_B64}{re.escape(_BODY_CIPHER + _NEXT_IV)}{_B64}{_QUOTE}"
    f"{re.escape(_NEXT_KEY_ID)}(.+){_END}"
).fullmatch


def parse_meta(text: str) -> Mapping[str, Any]:
    """Crypto-meta with its IVs and wrapped key as bytes. Raises CryptoError for what makes no sense, and for unknown ciphers."""
    written = _WRITTEN_VALUE(text)
    if written is not None:
        meta: dict[str, Any] = {"cipher": CIPHER, "iv": iv_of(written[1])}
        if written[2]:
            meta["key_id"] = _parse_key_id(written[2])
        return meta
    written = _WRITTEN_BODY(text)
    if written is not None:
        wrap_iv, key, iv = (unb64(_plain(written[group])) for group in (1, 2, 3))
        body_key = {"iv": wrap_iv, "key": key}
        return {"body_key": body_key, "cipher": CIPHER, "iv": iv, "key_id": _parse_key_id(written[4])}
    return _parse_any(text)


@functools.lru_cache(256)
def _parse_key_id(text: str) -> Mapping[str, Any]:
    """One of `key_id_text`; an object has it three times. Raises CryptoError."""
    try:
        key_id = json.loads(_unquoted(text))
    except (ValueError, RecursionError):
        raise CryptoError("crypto-meta that makes no sense") from None
    if not isinstance(key_id, dict):
        raise CryptoError("a key id that is none")
    return key_id


def _parse_any(text: str) -> dict[str, Any]:
    try:
        meta = json.loads(_unquoted(text))
        if meta["cipher"] != CIPHER:
            raise CryptoError("encrypted with a cipher that is not known here")
        if "iv" in meta:
            meta["iv"] = unb64(meta["iv"])
        if "body_key" in meta:
            wrapped = meta["body_key"]
            meta["body_key"] = {"iv": unb64(wrapped["iv"]), "key": unb64(wrapped["key"])}
        if not isinstance(meta.get("key_id", {}), dict):
            raise CryptoError("a key id that is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CryptoError("crypto-meta that makes no sense") from None
    return meta


VALUE_HEAD = f"; {_MARK}{_NAMED}{_NEXT_IV}"
"""What stands between a sealed value and its IV."""


def key_id_head(path: str) -> str | None:
    """What stands between the IV of a sealed value and the rest of its key id's path, which begins with `path`; None if that is not plain."""
    return f"{_QUOTE}{_NEXT_KEY_ID}{_PATH_IS}{path.replace('/', '%2F')}" if _PLAIN_PATH(path) else None


def b64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _quoted(data: bytes) -> str:
    """base64, quoted as by quote_plus."""
    return b64(data).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def _plain(text: str) -> str:
    """The base64 that `_quoted` made."""
    return text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")


def iv_of(text: str) -> bytes:
    """The IV that stands in crypto-meta. Raises CryptoError."""
    return unb64(_plain(text))


def unb64(text: Any) -> bytes:
    """Raises CryptoError."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise CryptoError("something that is not base64") from None
