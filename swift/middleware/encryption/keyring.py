"""The keys of a request as the filter `encryption` asks for them: fetched through the environ, checked, and what clients get if there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.middleware.encryption.ciphers import KEY_LENGTH, CryptoError
from swift.middleware.keymaster.keys import CALLBACK, NoKeys
from swift.wire.message import HTTPException, HTTPInternalServerError, Request

OVERRIDE = "swift.crypto.override"


def server_error(environ: dict[str, Any], text: str) -> Exception:
    """A 500 with a short body."""
    return HTTPInternalServerError(body=text, request=Request(environ), content_type="text/plain")


class Keyring:
    """Fetches the keys of one request."""

    __slots__ = ("_environ", "_key_id", "_keys", "_logger")

    def __init__(self, environ: dict[str, Any], logger: Any) -> None:
        self._environ = environ
        self._logger = logger
        self._key_id: Mapping[str, Any] | None = None  # of the last keys
        self._keys: dict[str, Any] = {}

    def own(self, *wanted: str) -> dict[str, Any]:
        """The keys to encrypt with, those `wanted` among them. Raises HTTPException 500."""
        try:
            return self._fetch(None, wanted)
        except (CryptoError, NoKeys) as error:
            raise self._unavailable(str(error)) from None

    def of(self, key_id: Mapping[str, Any] | None, *wanted: str) -> dict[str, Any]:
        """The keys that something was encrypted with. Raises CryptoError, NoKeys, and HTTPException 500 where there is no keymaster."""
        if key_id is None:
            raise CryptoError("crypto-meta without a key id")
        keys = self._keys
        if key_id != self._key_id or any(name not in keys for name in wanted):
            keys = self._keys = self._fetch(key_id, wanted)
            self._key_id = key_id
        return keys

    def _fetch(self, key_id: Mapping[str, Any] | None, wanted: tuple[str, ...]) -> dict[str, Any]:
        fetch = self._environ.get(CALLBACK)
        if fetch is None:
            raise self._unavailable(
                f"{CALLBACK} is not in the request: no keymaster to the left of encryption"
            )
        try:
            keys: dict[str, Any] = fetch(key_id=key_id)
        except (NoKeys, HTTPException):
            raise
        except Exception as error:  # a keymaster from elsewhere
            raise self._unavailable(f"the keymaster failed: {type(error).__name__}") from None
        for name in wanted:
            key = keys.get(name) if isinstance(keys, dict) else None
            if not isinstance(key, bytes) or len(key) != KEY_LENGTH:
                raise self._unavailable(f"the keymaster gave no {name} key of {KEY_LENGTH} bytes")
        return keys

    def _unavailable(self, why: str) -> Exception:
        self._logger.error("no encryption keys for %s: %s", self._environ.get("PATH_INFO", "")[:1100], why)
        return server_error(self._environ, "Unable to retrieve encryption keys.")
