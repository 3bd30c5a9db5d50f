"""Signatures that act for whoever set a temp-url key: of URLs (`tempurl`) and of forms (`formpost`). Spec middleware 4.9, 4.10.

Lives here: which digests are taken, in which forms a signature is written, whose keys count for a path, and the comparison. Never
here: what is signed, and what a good signature allows. Neither keys nor signatures are put into messages.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from swift.middleware.info import get_account_info, get_container_info

DIGESTS = {"sha1": 40, "sha256": 64, "sha512": 128}  # by name: digits of its hexadecimal form
DEPRECATED = frozenset(("sha1",))
_BY_LENGTH = {length: name for name, length in DIGESTS.items()}
_LONGEST = 256  # characters of a signature, with room to spare
_URL_SAFE = str.maketrans("-_", "+/")
_KEY_NAMES = ("temp-url-key", "temp-url-key-2")


def allowed_digests(conf: Mapping[str, Any], logger: Any = None) -> frozenset[str]:
    """The option `allowed_digests`; the logger is told of those that are not taken, or not for long. Raises ValueError if it leaves none."""
    wanted = set(str(conf.get("allowed_digests", "sha1 sha256 sha512")).split())
    unknown = wanted - DIGESTS.keys()
    if unknown and logger is not None:
        logger.warning("allowed_digests: unknown digests are left out: %s", ", ".join(sorted(unknown)))
    allowed = frozenset(wanted & DIGESTS.keys())
    if not allowed:
        raise ValueError(f"allowed_digests names none of {', '.join(DIGESTS)}")
    deprecated = allowed & DEPRECATED
    if deprecated and "allowed_digests" in conf and logger is not None:
        logger.warning("allowed_digests: deprecated: %s", ", ".join(sorted(deprecated)))
    return allowed


def digests_told(allowed: Iterable[str]) -> dict[str, list[str]]:
    """What /info tells of them."""
    told = {"allowed_digests": sorted(allowed)}
    deprecated = sorted(DEPRECATED & set(allowed))
    return {**told, "deprecated_digests": deprecated} if deprecated else told


class Signature(NamedTuple):
    """A signature as it was given: the digest's name, and the value in hexadecimal digits."""

    digest: str
    value: str

    def __repr__(self) -> str:
        return f"Signature({self.digest})"


def parse_signature(text: str, allowed: Iterable[str]) -> Signature | None:
    """Hexadecimal digits, whose number tells the digest, or `digest:base64` of either alphabet, padded or not. None for anything else."""
    if len(text) > _LONGEST or not text.isascii():
        return None
    digest, colon, encoded = text.partition(":")
    if not colon:
        digest, value = _BY_LENGTH.get(len(text), ""), text
    elif digest in DIGESTS:
        try:
            padded = encoded.translate(_URL_SAFE).rstrip("=")
            value = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True).hex()
        except (binascii.Error, ValueError):
            return None
    if digest not in allowed or len(value) != DIGESTS[digest]:
        return None
    return Signature(digest, value)


class Key(NamedTuple):
    """A secret and what it opens: its account, or one container of it (WSGI strings)."""

    secret: bytes
    account: str
    container: str | None

    def __repr__(self) -> str:
        return f"Key({self.account}/{self.container or ''})"

    def opens(self, account: str | None, container: str | None) -> bool:
        """Returns True if a request for this account and container is within what the key opens."""
        return account == self.account and self.container in (None, container)


def keys_of(environ: dict[str, Any], app: Any, account: str, container: str) -> list[Key]:
    """The keys that may sign for a container (WSGI strings): those of its account come first."""
    of_account = get_account_info(environ, app, account)["meta"]
    of_container = get_container_info(environ, app, account, container)["meta"]
    keys = [Key(_secret(of_account[name]), account, None) for name in _KEY_NAMES if of_account.get(name)]
    keys += [
        Key(_secret(of_container[name]), account, container) for name in _KEY_NAMES if of_container.get(name)
    ]
    return keys


def _secret(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def signing_key(keys: Iterable[Key], signature: Signature, texts: Iterable[bytes]) -> Key | None:
    """The first key with which one of `texts` has this signature. All are tried, so that the time taken tells nothing."""
    given = signature.value.encode("ascii")
    texts = list(texts)
    found = None
    for key in keys:
        for text in texts:
            made = hmac.new(key.secret, text, signature.digest).hexdigest().encode("ascii")
            if hmac.compare_digest(made, given) and found is None:
                found = key
    return found
