"""What native requests of one S3 request may touch: that which a decision of our own has let it, beside what the auth filter allows.

A policy that lets somebody read an object lets nobody read the container: what is granted is named. What a link or a manifest leads to is asked
about apart. Paths are WSGI strings here. Never here: the decision (`access`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any

from swift.s3.identity import Identity
from swift.wire.message import Request, str_to_wsgi

_OF_OTHERS = ("swift.authorize", "swift.authorize_override", "swift_owner", "REMOTE_USER", "reseller_request")
_CARRIED = ("REMOTE_USER", "reseller_request")
_PART = re.compile(r"(.+)/[A-Za-z0-9_-]{48}(?:/[0-9]{1,5})?", re.DOTALL)
# the user, its account, the user's and the project's ids, how it may be called there, too
Named = tuple[str | None, str, str, str, str]
SEGMENTS, VERSIONS = "+segments", "\0versions\0"


class Native:
    """What the auth filter makes of who asks: the authorization that it has left in a request's environ, to be asked about others."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        self._authorize: Callable[[Request], Any] | None = made.get("swift.authorize")
        self._carried = {key: made[key] for key in _CARRIED if key in made}

    def refusal(self, environ: dict[str, Any]) -> Any:
        """None or the refusal, of a native request; an owner of the account is told in its environ."""
        if self._authorize is None:
            return None
        asked = dict(environ)
        for key in _OF_OTHERS:
            asked.pop(key, None)
        asked.update(self._carried)
        refusal = self._authorize(Request(asked))
        if refusal is None and asked.get("swift_owner"):
            environ["swift_owner"] = True
        else:
            environ.pop("swift_owner", None)
        return refusal


class Granted:
    """What is granted, by names (text)."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], set[str]] = {}  # by account and bucket, as WSGI strings all
        self._whole: Set[tuple[str, str]] = frozenset()
        self._checked: Set[tuple[str, str, str | None]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(
        self,
        account: str,
        bucket: str,
        key: str | None,
        with_parts: bool = False,
        is_checked: bool = True,
    ) -> None:
        """`key` None: the bucket itself, without its objects; `with_parts`: all parts of uploads go with it; `is_checked` False: what an answer
        tells of the object has the last word."""
        place = str_to_wsgi(account), str_to_wsgi(bucket)
        keys = self._keys.setdefault(place, set())
        if key is not None:
            keys.add(str_to_wsgi(key))
        if is_checked:
            self._checked |= {(account, bucket, key)}
        if with_parts:
            self._whole |= {place}

    def has(self, account: str, bucket: str, key: str | None) -> bool:
        """Returns True if it is granted by its name, with nothing left to be checked."""
        return (account, bucket, key) in self._checked

    def covers(self, path: str) -> bool:
        """Returns True if a native path is part of what is granted: the object, its versions and its parts, and the containers of these,
        which handlers ask about."""
        parts = path.split("/", 4)
        if len(parts) < 4:
            return False
        account, container = parts[2], parts[3]
        place = account, container.removesuffix(SEGMENTS).removeprefix(VERSIONS)
        keys = self._keys.get(place)
        if keys is None:
            return False
        if len(parts) < 5 or not parts[4]:
            return True
        obj = parts[4]
        if container == place[1]:
            return obj in keys
        if container.startswith(VERSIONS):
            return obj.startswith("\0") and obj[1:].rpartition("\0")[0] in keys
        if place in self._whole:
            return True
        found = _PART.fullmatch(obj)
        return found is not None and found.group(1) in keys


def without_referrers(acl: str | None) -> str | None:
    """A container's ACL without what it lets everybody."""
    if not acl:
        return acl
    return ",".join(part for part in acl.split(",") if not part.strip().startswith((".r", "*")))


class KnownUsers:
    """Who access keys are of, as the auth filter has said lately; whether a signature is right is another question.

    `get` gives (identity, account that the key leads to); `owns`: whether who has the key owns that account, None if nobody has asked lately.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._found: dict[str, tuple[float, Identity, str]] = {}
        self._identities: dict[Named, Identity] = {}
        self._owns: dict[str, tuple[float, bool]] = {}

    def get(self, access_key: str) -> tuple[Identity, str] | None:
        found = self._found.get(access_key)
        if found is None or found[0] < self._clock():
            return None
        return found[1], found[2]

    def put(self, access_key: str, identity: Identity, account: str, named: Named | None = None) -> None:
        """`named`: what the identity was made of."""
        if len(self._found) >= self._most:
            self._found.clear()
        self._found[access_key] = self._clock() + self._seconds, identity, account
        if named is not None and identity.session is None and named not in self._identities:
            if len(self._identities) >= self._most:
                self._identities.clear()
            self._identities[named] = identity

    def identity(self, named: Named) -> Identity | None:
        """That which is made of these names, if it was made lately: a matter of form, nothing that is looked up anywhere."""
        return self._identities.get(named)

    def owns(self, access_key: str) -> bool | None:
        found = self._owns.get(access_key)
        return None if found is None or found[0] < self._clock() else found[1]

    def put_owns(self, access_key: str, owns: bool) -> None:
        if len(self._owns) >= self._most:
            self._owns.clear()
        self._owns[access_key] = self._clock() + self._seconds, owns
