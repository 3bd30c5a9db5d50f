"""The public keys of a provider of identities (a JWK set), out of a file or from an https address, fetched when they are needed.

They are kept for a while and fetched anew for a key that is not among them, not more often than `least_pause`: so a provider may change its keys at any
time, and tokens with made-up key ids make nobody ask it all the time. Never here: what a token says (`web_identity`).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from swift.core import clock
from swift.core.concurrency import Semaphore, Timeout
from swift.engine.threads import run_in_thread
from swift.wire.client import BackendError
from swift.wire.remote import Remote

MOST_BYTES = 256 * 1024
MOST_KEYS = 100
FILE_SECONDS, URL_SECONDS = 10.0, 3600.0  # for which a set is kept
STALE_SECONDS = 86_400.0  # for which it counts while it can't be had anew
_TIMEOUT = 10.0
LEAST_RSA_BITS = 2048
# algorithm: what a key for it says of itself; nothing that is signed with a shared secret
ALGORITHMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    **{name: {"kty": ("RSA",)} for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": {"kty": ("EC",), "crv": ("P-256",)},
    "ES384": {"kty": ("EC",), "crv": ("P-384",)},
    "ES512": {"kty": ("EC",), "crv": ("P-521",)},
    "EdDSA": {"kty": ("OKP",), "crv": ("Ed25519", "Ed448")},
}

Fetch = Callable[[], bytes]


class Away(Exception):
    """The keys can't be had."""


class NoKey(Exception):
    """None of the keys is the one that a token names, and for what it is signed with."""


class KeySet:
    """`fetch`: gives the document, at most MOST_BYTES and one of it, without holding up others; `seconds`: for which it is kept. `told(message,
    *args)`: of what goes wrong."""

    def __init__(
        self,
        fetch: Fetch,
        seconds: float,
        least_pause: float,
        told: Callable[..., None],
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._least_pause = least_pause
        self._told = told
        self._now = now
        self._keys: list[dict[str, Any]] = []
        self._fetched = self._tried = float("-inf")
        self._fetching = Semaphore(1)

    def jwk(self, kid: str | None, algorithm: str) -> dict[str, Any]:
        """The key that a token names; where it names none, the only one for its algorithm. Raises Away, NoKey."""
        if self._now() >= self._fetched + self._seconds:
            self._refresh()
        if self._now() >= self._fetched + max(self._seconds, STALE_SECONDS):
            raise Away("the keys of the provider can't be had")
        found = self._found(kid, algorithm)
        if found is None:
            self._refresh()
            found = self._found(kid, algorithm)
        if found is None:
            raise NoKey("it is signed with a key that its provider does not have")
        return found

    def _found(self, kid: str | None, algorithm: str) -> dict[str, Any] | None:
        fitting = [jwk for jwk in self._keys if _is_for(jwk, algorithm) and kid in (None, jwk.get("kid"))]
        if not fitting or (kid is None and len(fitting) > 1):
            return None
        return fitting[0]

    def _refresh(self) -> None:
        """Fetch them, unless somebody has tried a moment ago."""
        with self._fetching:
            if self._now() < self._tried + self._least_pause:
                return
            self._tried = self._now()
            try:
                self._keys = parsed(self._fetch())
                self._fetched = self._now()
            except (OSError, ValueError, BackendError) as error:
                self._told("ERROR The keys of a provider of identities can't be had: %s", error)


def _is_for(jwk: Mapping[str, Any], algorithm: str) -> bool:
    wanted = ALGORITHMS[algorithm]
    if any(jwk.get(name) not in values for name, values in wanted.items()):
        return False
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return False
    return "key_ops" not in jwk or "verify" in jwk["key_ops"]


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The keys of a document. Raises ValueError for what is no set of keys."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise ValueError("no set of keys")
    return [key for key in keys if isinstance(key, dict)]


def key_set(place: str, ca_file: str | None, told: Callable[..., None]) -> KeySet:
    """`place`: an https address, or the absolute path of a file. Raises ValueError, OSError."""
    if place.startswith("/"):
        return KeySet(lambda: run_in_thread(_read_file, place), FILE_SECONDS, 1.0, told)
    parts = urlsplit(place)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError(f"jwks must be an https address or the path of a file, not {place[:200]!r}")
    remote = Remote(_TIMEOUT / 2, _TIMEOUT / 2, context=ssl.create_default_context(cafile=ca_file))
    remote.check(place)
    return KeySet(lambda: _asked(remote, place), URL_SECONDS, 30.0, told)


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MOST_BYTES + 1)


def _asked(remote: Remote, url: str) -> bytes:
    """Redirections are not followed. Raises ValueError, OSError, BackendError."""
    limit = Timeout(_TIMEOUT)
    try:
        answer, data = remote.whole("GET", url, {"Accept": "application/json", "User-Agent": "swift-s3"})
    except Timeout as reached:
        if reached is not limit:
            raise
        raise OSError(f"{url}: no answer within {_TIMEOUT:g} s") from None
    finally:
        limit.cancel()
    if answer.status != 200:
        raise ValueError(f"{url}: status {answer.status}")
    return data
