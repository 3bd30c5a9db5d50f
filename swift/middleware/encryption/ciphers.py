"""AES-256 in counter mode, and the crypto-meta that says how something was encrypted (spec middleware 4.27).

Values are short and have one key for many: `ValueCipher`. Bodies are long and have a key each: `keystream`. What is stored here by
one release must be readable by all others and by the reference. Never here: where keys come from, and which header holds what.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
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


def new_key() -> bytes:
    return clock.random_bytes(KEY_LENGTH)


def new_iv() -> bytes:
    return clock.random_bytes(IV_LENGTH)


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

    def sealed(self, value: bytes, key_id: str = "") -> str:
        """The value as it is stored, with its crypto-meta; `key_id`: of `key_id_text`, where that is to stand in it."""
        iv = new_iv()
        return f"{b64(self.apply(iv, value))}; {_MARK}{_value_meta(iv, key_id)}"

    def opened(self, value: Sealed) -> bytes:
        """Raises CryptoError."""
        return self.apply(value.meta["iv"], value.data)

    def mac(self, text: str) -> str:
        """What stands for an ETag where conditions are compared: it tells nothing to who has not the key."""
        return b64(hmac.digest(self.key, text.encode("latin-1"), hashlib.sha256))


class Sealed(NamedTuple):
    """A stored value: what is encrypted, and its crypto-meta with everything in base64 decoded."""

    data: bytes
    meta: dict[str, Any]


def is_sealed(text: str) -> bool:
    """Returns True if a stored value has crypto-meta."""
    return _MARK in text


def parse_sealed(text: str) -> Sealed:
    """Takes a stored value apart. Raises CryptoError."""
    value, mark, meta = text.partition(_MARK)
    value = value.rstrip()
    if not mark or not value.endswith(";"):
        raise CryptoError("no crypto-meta beside a value")
    return Sealed(_unb64(value[:-1].rstrip()), parse_meta(meta.strip()))


# -- crypto-meta -----------------------------------------------------------------------------------------------------------

# Its parts as `quote_plus(json.dumps(..., sort_keys=True))` makes them.
_NAMED = quote_plus(f'{{"cipher": "{CIPHER}"')
_NEXT_IV, _NEXT_KEY_ID = quote_plus(', "iv": "'), quote_plus(', "key_id": ')
_BODY_IV, _BODY_KEY = quote_plus('{"body_key": {"iv": "'), quote_plus('", "key": "')
_BODY_CIPHER = quote_plus(f'"}}, "cipher": "{CIPHER}"')
_QUOTE, _END = quote_plus('"'), quote_plus("}")


def key_id_text(key_id: Mapping[str, str]) -> str:
    """A key id in the form in which it is part of crypto-meta."""
    return quote_plus(json.dumps(key_id, sort_keys=True))


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


def parse_meta(text: str) -> dict[str, Any]:
    """Crypto-meta with its IVs and wrapped key as bytes. Raises CryptoError for what makes no sense, and for unknown ciphers."""
    try:
        meta = json.loads(unquote_plus(text))
        if meta["cipher"] != CIPHER:
            raise CryptoError("encrypted with a cipher that is not known here")
        if "iv" in meta:
            meta["iv"] = _unb64(meta["iv"])
        if "body_key" in meta:
            wrapped = meta["body_key"]
            meta["body_key"] = {"iv": _unb64(wrapped["iv"]), "key": _unb64(wrapped["key"])}
        if not isinstance(meta.get("key_id", {}), dict):
            raise CryptoError("a key id that is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CryptoError("crypto-meta that makes no sense") from None
    return meta


def b64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _quoted(data: bytes) -> str:
    """base64, quoted as by quote_plus."""
    return b64(data).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def _unb64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise CryptoError("something that is not base64") from None
