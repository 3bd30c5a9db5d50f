"""The keys of temporary credentials: the option `sts_key`, and what is made with one of them.

Of several the first one seals, all of them open: so one is replaced by putting the new one in front, on all proxies, and taking the old
one away half a day later. Never here: what is in a token.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LEAST_BYTES = 32
_NONCE = 12
_ID = 4
_VERSION = b"\x01"


class BadSeal(ValueError):
    """Not sealed by any of these keys."""


class Key:
    """One secret of LEAST_BYTES or more."""

    __slots__ = ("_aead", "_secret", "id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) < LEAST_BYTES:
            raise ValueError(f"a key of sts_key must have {LEAST_BYTES} bytes or more")
        self.id = hmac.digest(secret, b"s3 session id", "sha256")[:_ID]
        self._aead = AESGCM(hmac.digest(secret, b"s3 session seal", "sha256"))
        self._secret = hmac.digest(secret, b"s3 session secret", "sha256")

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"

    def seal(self, data: bytes) -> bytes:
        """Encrypted and authenticated."""
        head, nonce = _VERSION + self.id, secrets.token_bytes(_NONCE)
        return head + nonce + self._aead.encrypt(nonce, data, head)

    def open(self, sealed: bytes) -> bytes:
        """Raises BadSeal."""
        head = sealed[: 1 + _ID]
        nonce, data = sealed[1 + _ID : 1 + _ID + _NONCE], sealed[1 + _ID + _NONCE :]
        if head != _VERSION + self.id or len(data) < 16:
            raise BadSeal("sealed by another key")
        try:
            return self._aead.decrypt(nonce, data, head)
        except InvalidTag:
            raise BadSeal("changed on the way") from None

    def secret_of(self, access_key: str) -> str:
        """The secret of a temporary access key, which is made of the key and not kept anywhere."""
        return base64.b64encode(hmac.digest(self._secret, access_key.encode(), "sha256")).decode()[:40]


def parse_keys(values: Iterable[str]) -> tuple[Key, ...]:
    """Keys in base64. Raises ValueError, without what stands there."""
    found = []
    for value in values:
        try:
            secret = base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError("a key of sts_key must be base64") from None
        found.append(Key(secret))
    if len({key.id for key in found}) != len(found):
        raise ValueError("two keys of sts_key are the same")
    return tuple(found)
