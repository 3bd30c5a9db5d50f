"""The registry of bucket names: which account a name belongs to (doc/s3.md, "Names of the whole cluster"; spec s3.md 13.4).

A name is an object without content in a hidden account, under a reserved name that no native client can write. It changes hands by a
compare-and-swap only (doc/durability.md, "Writes under a condition"): of several who claim a name at once one gets it. The name is claimed
before the container is made, and said to be made behind it; who removes a bucket writes the name anew first and takes it away behind the
container, if nobody has written it meanwhile, and if nobody was making that bucket: what is claimed and not yet made is left as it is. So
there is no container that was made so without its name, whoever dies; at worst a name is left without a container. Its owner goes on with
it at once, others may have it once it has been left alone for `LEFT_AFTER` seconds and the container is known not to be there.
Never here: who may make a bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

import orjson

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.constraints import limits
from swift.core.timestamp import Timestamp
from swift.s3.write_conditions import IF_CURRENT_KEY, instead_of

PREFIX = "\0s3buckets\0"
OWNER, MADE = "x-object-sysmeta-s3api-account", "x-object-sysmeta-s3api-made"
_OWNER_KEY, _MADE_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_ACCOUNT", "HTTP_X_OBJECT_SYSMETA_S3API_MADE"
LEFT_AFTER = 600.0  # seconds; far longer than the making of a container takes
_TRIES = 6
_PAUSE = (
    0.05  # seconds before the second try, twice as long before each further one, and as much again by chance
)
_NEWEST = {"HTTP_X_NEWEST": "true"}
_MOST_BYTES = 1024 * 1024


class Unknown(Exception):
    """The servers do not say whose a name is; what was asked for may or may not have been done."""


class Taken(Exception):
    """The name belongs to another account."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account


class Busy(Exception):
    """Others change the same name all the time."""


class Entry(NamedTuple):
    """What the registry has of a name. `account`: storage account (text), None for nobody's; `time`: of that, internal form, "0" for never;
    `is_made`: so was its container, and nobody is about to make it again; `is_new`: it was not the account's before this claim."""

    account: str | None
    time: str
    is_made: bool = False
    is_new: bool = False


class Answer(Protocol):
    """Of a native request; `read` and `close` end it."""

    @property
    def status(self) -> int: ...
    def get(self, lower_name: str) -> str | None: ...
    def read(self, limit: int) -> bytes: ...
    def close(self) -> None: ...


class Ask(Protocol):
    """A native request that nobody's rights are asked for, which may name what is reserved. Names are text; `headers`: environ keys."""

    def __call__(
        self,
        method: str,
        account: str,
        container: str | None = None,
        obj: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer: ...


def account() -> str:
    """The hidden account that the registry is in."""
    return f"{limits().auto_create_account_prefix}s3"


def place_of(name: str) -> tuple[str, str]:
    """(container, object) of a name."""
    digest = md5(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return PREFIX + digest[:2], f"\0{name}"


def _is_old(seen: Entry) -> bool:
    return clock.time() - float(Timestamp(seen.time)) >= LEFT_AFTER


def _pause(turn: int) -> None:
    if turn:
        sleep(_PAUSE * (1 << (turn - 1)) * (1 + clock.random()))


class Registry:
    """All methods raise Unknown where servers do not answer."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def look(self, name: str, newest: bool = True) -> Entry:
        """Whose a name is. `newest` False: as one of the servers knows it."""
        container, obj = place_of(name)
        answer = self._ask("HEAD", account(), container, obj, headers=_NEWEST if newest else None)
        answer.close()
        if answer.status == 404:
            return Entry(None, answer.get("x-backend-timestamp") or "0")
        if not 200 <= answer.status < 300:
            raise Unknown(f"status {answer.status}")
        when = answer.get("x-backend-data-timestamp") or answer.get("x-timestamp") or "0"
        owner = unquote(answer.get(OWNER) or "")
        if not owner:
            raise Unknown("an entry that names nobody")
        return Entry(owner, when, bool(answer.get(MADE)))

    def claim(self, name: str, owner: str) -> Entry:
        """Have a name for an account. What was its own already is claimed anew: so a removal that is under way does not take it away again,
        and nobody takes it for left. Raises Taken, Busy."""
        for turn in range(_TRIES):
            _pause(turn)
            seen = self.look(name)
            if seen.account not in (None, owner) and not self.is_left(name, seen):
                raise Taken(seen.account or "")
            claimed = self._put(name, owner, seen)
            if claimed is not None:
                return claimed
        raise Busy(name)

    def say_made(self, name: str, claimed: Entry) -> bool:
        """The container of a claim is made; returns False if the name was written meanwhile."""
        assert claimed.account is not None
        return self._put(name, claimed.account, claimed, is_made=True) is not None

    def before_removal(self, name: str, owner: str) -> Entry | None:
        """Write a name anew before its container is removed: so a claim that comes meanwhile is seen by `release`. None for a name that is not to
        be released behind it: another's, nobody's, or one whose container somebody makes now. Raises Busy."""
        for turn in range(_TRIES):
            _pause(turn)
            seen = self.look(name)
            if seen.account != owner:
                return None
            if not seen.is_made and not _is_old(seen):
                return None
            written = self._put(name, owner, seen, is_made=True)
            if written is not None:
                return written
        raise Busy(name)

    def release(self, name: str, seen: Entry) -> bool:
        """Make a name nobody's if it still is as it was seen; returns False if it is not."""
        container, obj = place_of(name)
        headers = {
            IF_CURRENT_KEY: seen.time,
            "HTTP_X_TIMESTAMP": Timestamp(Timestamp(seen.time).internal, offset=1).internal,
        }
        answer = self._ask("DELETE", account(), container, obj, headers=headers)
        answer.close()
        if answer.status in (409, 412):
            return False
        if not (200 <= answer.status < 300 or answer.status == 404):
            raise Unknown(f"status {answer.status}")
        return True

    def is_left(self, name: str, seen: Entry) -> bool:
        """Returns True if a name's container is not there, and nobody is about to make it."""
        if not _is_old(seen):
            return False
        return seen.account is None or not self.has_container(seen.account, name)

    def has_container(self, owner: str, name: str) -> bool:
        """Returns False only if both the container's servers and the account's listing say that it is not there."""
        answer = self._ask("HEAD", owner, name, headers=_NEWEST)
        answer.close()
        if 200 <= answer.status < 300:
            return True
        if answer.status != 404:
            raise Unknown(f"status {answer.status}")
        query = {"format": "json", "prefix": name, "limit": "1"}
        answer = self._ask("GET", owner, query=query, headers=_NEWEST)
        if answer.status == 404:
            answer.close()
            return False
        if answer.status not in (200, 204):
            answer.close()
            raise Unknown(f"status {answer.status}")
        data = answer.read(_MOST_BYTES)
        return any(row.get("name") == name for row in (orjson.loads(data) if data else ()))

    def _put(self, name: str, owner: str, seen: Entry, is_made: bool = False) -> Entry | None:
        """None if somebody was faster."""
        container, obj = place_of(name)
        now = Timestamp.now()
        if Timestamp(seen.time) >= now:
            now = Timestamp(Timestamp(seen.time).normal, delta=1)
        headers = {
            **instead_of(seen.time),
            _OWNER_KEY: quote(owner),
            _MADE_KEY: "yes" if is_made else "",
            "CONTENT_TYPE": "application/octet-stream",
            "HTTP_X_TIMESTAMP": now.internal,
        }
        if seen.account is None:
            headers["HTTP_IF_NONE_MATCH"] = "*"  # for servers that don't know the other one
        answer = self._ask("PUT", account(), container, obj, headers=headers, body=b"")
        answer.close()
        if answer.status == 404:
            made = self._ask("PUT", account(), container, headers={})
            made.close()
            if not 200 <= made.status < 300:
                raise Unknown(f"status {made.status}")
            answer = self._ask("PUT", account(), container, obj, headers=headers, body=b"")
            answer.close()
        if answer.status in (409, 412):
            return None
        if not 200 <= answer.status < 300:
            raise Unknown(f"status {answer.status}")
        return Entry(owner, now.internal, is_made, seen.account != owner)
