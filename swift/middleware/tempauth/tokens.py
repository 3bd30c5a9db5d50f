"""Tokens: issued and recognised, either kept in the cache under a random name or sealed with a Fernet key.

Token forms and cache keys are shared with reference nodes (spec middleware 4.14). What a token may do is decided elsewhere.
Groups are native text, joined by commas.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import zlib
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.config import multi_key_options

BELIEVED_FOR = 5.0  # seconds that a token from the cache is not asked for again
_MAX_KNOWN = 20_000
_LARGEST_GROUPS = 64 * 1024


class NoTokenCache(Exception):
    """Tokens can neither be sealed (no active key) nor kept (no cache filter in the pipeline)."""


class Tokens:
    """``prefix``: the first reseller prefix; ``life``: seconds. Raises ValueError for bad key options in ``conf``."""

    def __init__(self, conf: Mapping[str, str], prefix: str, life: int) -> None:
        self.prefix = prefix
        self.life = life
        self._fernets = _fernets(conf)
        active = conf.get("active_fernet_key_id") or None
        if active is not None and active not in self._fernets:
            raise ValueError(f"key_id {active!r} not found; fernet_key_{active} is not set")
        self._active = None if active is None else self._fernets[active]
        self._known: dict[str, tuple[float, str]] = {}

    @property
    def sealed(self) -> bool:
        """Whether new tokens need no cache."""
        return self._active is not None

    def issue(self, cache: Any, user_id: str, groups: str) -> tuple[str, float]:
        """(token, seconds it is good for). A live cached token of a user whose groups did not change is issued again.

        Raises NoTokenCache, and MemcacheConnectionError when the cache does not answer.
        """
        if self._active is not None:
            return self._seal(groups), self.life
        if cache is None:
            raise NoTokenCache("tempauth needs the cache filter or an active Fernet key")
        user_key = f"{self.prefix}/user/{user_id}"
        token = cache.get(user_key, raise_on_error=True)
        if isinstance(token, str):
            stored = _stored(cache.get(self._cache_key(token), raise_on_error=True))
            if (
                stored is not None
                and stored[0] > clock.time()
                and set(stored[1].split(",")) == set(groups.split(","))
            ):
                return token, stored[0] - clock.time()
        token = f"{self.prefix}tk{secrets.token_hex(16)}"
        expires = clock.time() + self.life
        cache.set(self._cache_key(token), [expires, groups], time=self.life, raise_on_error=True)
        cache.set(user_key, token, time=self.life, raise_on_error=True)
        return token, expires - clock.time()

    def groups(self, cache: Any, token: str) -> str | None:
        """The groups that a token stands for, None if it is not (or no longer) good."""
        known = self._known.get(token)
        if known is not None:
            if known[0] > clock.monotonic():
                return known[1]
            del self._known[token]
        found = self._unseal(token)
        if found is None and cache is not None and token.startswith(f"{self.prefix}tk"):
            found = _kept(cache.get(self._cache_key(token)))
        if found is None:
            return None
        left, groups = found
        if len(self._known) >= _MAX_KNOWN:
            for oldest in list(self._known)[: _MAX_KNOWN // 16]:
                self._known.pop(oldest, None)
        self._known[token] = (clock.monotonic() + left, groups)
        return groups

    def _cache_key(self, token: str) -> str:
        return f"{self.prefix}/token/{token}"

    def _seal(self, groups: str) -> str:
        assert self._active is not None
        data = groups.encode("utf-8")
        packed = zlib.compress(data)
        if len(packed) < len(data):
            return f"{self.prefix}zftk{self._active.encrypt(packed).decode('ascii')}"
        return f"{self.prefix}ftk{self._active.encrypt(data).decode('ascii')}"

    def _unseal(self, token: str) -> tuple[float, str] | None:
        """(seconds left, groups) of a sealed token."""
        if not self._fernets:
            return None
        if token.startswith(f"{self.prefix}zftk"):
            packed, sealed = True, token[len(self.prefix) + 4 :].encode("latin-1")
        elif token.startswith(f"{self.prefix}ftk"):
            packed, sealed = False, token[len(self.prefix) + 3 :].encode("latin-1")
        else:
            return None
        from cryptography.fernet import InvalidToken

        if not _is_canonical(sealed):
            return None
        for fernet in self._fernets.values():
            try:
                data = fernet.decrypt(sealed, ttl=self.life)
                left = fernet.extract_timestamp(sealed) + self.life - clock.time()
                if packed:
                    data = zlib.decompressobj().decompress(data, _LARGEST_GROUPS)
                return left, data.decode("utf-8")
            except (InvalidToken, zlib.error, UnicodeDecodeError):
                continue
        return None


def _is_canonical(text: bytes) -> bool:
    """Base64 as an encoder writes it. Decoders pass over what follows the padding, and one token would have many names."""
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(text)) == text
    except ValueError:
        return False


def _stored(value: Any) -> tuple[float, str] | None:
    """(expiry, groups) of a cache entry, None for anything else."""
    if (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], int | float)
        and isinstance(value[1], str)
    ):
        return value[0], value[1]
    return None


def _kept(value: Any) -> tuple[float, str] | None:
    """(seconds to believe it, groups) of a live cache entry."""
    stored = _stored(value)
    if stored is None:
        return None
    left = stored[0] - clock.time()
    return (min(left, BELIEVED_FOR), stored[1]) if left > 0 else None


def _fernets(conf: Mapping[str, str]) -> dict[str | None, Any]:
    options = multi_key_options(conf, "fernet_key")
    if not options:
        return {}
    from cryptography.fernet import Fernet

    fernets: dict[str | None, Any] = {}
    for option, key_id, value in options:
        try:
            if len(base64.urlsafe_b64decode(value)) != 32:
                raise ValueError
            fernets[key_id] = Fernet(value)
        except (ValueError, binascii.Error):
            raise ValueError(f"{option} must be 32 url-safe base64-encoded bytes") from None
    return fernets
