"""Tokens: issued and recognised, either kept in the cache under a random name or sealed with a Fernet key.

Token forms and cache keys are shared with reference nodes (spec middleware 4.14). What a token may do is decided elsewhere.
Groups are native text, joined by commas.

A cache that is away, or that lost its memory, takes no good token with it: what this process found good stays so until the
token's end, and is written back when the cache answers again. Only a cache that was there all the time and has no such token any
more, or has something else, takes it back.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swift.cache.memcache import MemcacheConnectionError
from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import multi_key_options

BELIEVED_FOR = 5.0  # seconds that a token from the cache is not asked for again
# Seconds after which a cache that forgot everything has been told again, by all processes, what they know.
TOLD_AGAIN = 2 * BELIEVED_FOR
_MAX_KNOWN = 20_000
_LARGEST_GROUPS = 64 * 1024


class NoTokenCache(Exception):
    """Tokens can neither be sealed (no active key) nor kept (no cache filter in the pipeline)."""


class TokensAway(Exception):
    """Nothing is known of a token, and the cache that may know it doesn't answer."""


@dataclass(slots=True)
class _Known:
    """A token that was found good: until when it is believed (`clock.monotonic`), when it ends (`clock.time`)."""

    groups: str
    believed_until: float
    ends: float
    asked_at: float
    is_kept: bool  # in the cache, else sealed
    is_asked: bool = False


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
        self._known: dict[str, _Known] = {}
        self._told_by: Any = None  # the cache that says when it answers again

    @property
    def sealed(self) -> bool:
        """True if new tokens need no cache."""
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
        token = cache.get(user_key)
        if isinstance(token, str):
            stored = _stored(cache.get(self._cache_key(token)))
            if (
                stored is not None
                and stored[0] > clock.time()
                and set(stored[1].split(",")) == set(groups.split(","))
            ):
                self._keep_issued(token, groups, stored[0])
                return token, stored[0] - clock.time()
        token = f"{self.prefix}tk{secrets.token_hex(16)}"
        expires = clock.time() + self.life
        cache.set(self._cache_key(token), [expires, groups], time=self.life, raise_on_error=True)
        cache.set(user_key, token, time=self.life, raise_on_error=True)
        self._keep_issued(token, groups, expires)
        return token, expires - clock.time()

    def groups(self, cache: Any, token: str) -> str | None:
        """The groups that a token stands for, None if it is not (or no longer) good. Raises TokensAway."""
        known = self._known.get(token)
        now = clock.monotonic()
        if known is not None:
            if known.believed_until > now:
                return known.groups
            if not known.is_kept or known.ends <= clock.time():
                del self._known[token]
                known = None
            elif known.is_asked and known.believed_until + BELIEVED_FOR > now:
                return known.groups  # somebody is asking; it isn't worth a queue
        if known is None and (found := self._unseal(token)) is not None:
            left, groups = found
            self._keep(token, _Known(groups, now + left, clock.time() + left, now, is_kept=False))
            return groups
        if cache is None or not token.startswith(f"{self.prefix}tk"):
            return None
        return self._ask(cache, token, known, now)

    def _ask(self, cache: Any, token: str, known: _Known | None, now: float) -> str | None:
        self._listen_to(cache)
        if known is not None:
            known.is_asked = True
        try:
            value = cache.get(self._cache_key(token), raise_on_error=True)
        except MemcacheConnectionError:
            if known is not None:
                return self._believe_on(known)
            raise TokensAway from None
        finally:
            if known is not None:
                known.is_asked = False
        if value is None:
            if known is not None and _was_away(cache, known.asked_at):
                # It has lost its memory since it knew this token.
                cache.add(self._cache_key(token), [known.ends, known.groups], time=known.ends - clock.time())
                return self._believe_on(known)
            if known is None and _was_away(cache, now - TOLD_AGAIN, self._cache_key(token)):
                raise TokensAway  # it may have lost it, and another process may know it yet
        stored = _stored(value)
        if stored is None or stored[0] <= clock.time():
            self._known.pop(token, None)
            return None
        believed_until = now + min(stored[0] - clock.time(), BELIEVED_FOR)
        self._keep(token, _Known(stored[1], believed_until, stored[0], now, is_kept=True))
        return stored[1]

    def _believe_on(self, known: _Known) -> str | None:
        left = known.ends - clock.time()
        known.believed_until = clock.monotonic() + min(left, BELIEVED_FOR)
        return known.groups if left > 0 else None

    def _keep(self, token: str, known: _Known) -> None:
        if len(self._known) >= _MAX_KNOWN:
            for oldest in list(self._known)[: _MAX_KNOWN // 16]:
                self._known.pop(oldest, None)
        self._known[token] = known

    def _keep_issued(self, token: str, groups: str, ends: float) -> None:
        now = clock.monotonic()
        left = ends - clock.time()
        self._keep(token, _Known(groups, now + min(left, BELIEVED_FOR), ends, now, is_kept=True))

    def _listen_to(self, cache: Any) -> None:
        """Be told when the cache answers again: it may have forgotten what is known here."""
        if cache is not self._told_by:
            self._told_by = cache
            when_back = getattr(cache, "when_back", None)
            if when_back is not None:
                when_back(lambda: self._tell_again(cache))

    def _tell_again(self, cache: Any) -> None:
        for token, known in list(self._known.items()):
            left = known.ends - clock.time()
            if known.is_kept and left > 0:
                cache.add(self._cache_key(token), [known.ends, known.groups], time=left)
                sleep(0)

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


def _was_away(cache: Any, since: float, key: str | None = None) -> bool:
    """Returns True if the cache may have lost what it had at that time. One inside of this process never does."""
    was_away = getattr(cache, "was_away", None)
    return was_away is not None and was_away(since, key)


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
