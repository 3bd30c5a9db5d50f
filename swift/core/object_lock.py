"""Object lock in words: what is kept with an object that must not go, and who may change that (spec s3.md 18).

Two values of transient system metadata say it. They are never dropped once they are there: what is released says so ("OFF", or a time
that is over), so that who lacks it and who has released it can be told apart. Pure: no disk, no request. What enforces it are the object
servers (`swift.obj.verdicts`), under the lock in which they change an object; everything in front of them only asks earlier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

RETENTION = "X-Object-Transient-Sysmeta-S3Api-Retention"
LEGAL_HOLD = "X-Object-Transient-Sysmeta-S3Api-Legal-Hold"
KEPT_PREFIX = "X-Object-Transient-Sysmeta-S3Api-"
"""What of an object's metadata S3 keeps with it, and who changes other metadata does not mean."""

WORD = "X-Backend-Object-Lock"
"""What the sender of a change knew of the object; a tombstone has it, too, so that other nodes can judge by it."""

CONFIGURED = "s3api-conf-object-lock"
"""The key of a container's system metadata by which its objects can be locked."""

GOVERNANCE, COMPLIANCE = "GOVERNANCE", "COMPLIANCE"
PROTECTED = "Access Denied because object protected by object lock."
_LINKS = ("X-Object-Sysmeta-Symlink-Target",)
_BYPASS, _KEPT = "bypass", "kept"
_LONGEST = 128


class Lock(NamedTuple):
    """`until`: when the retention ends, in seconds since the epoch, 0 for none or a released one."""

    mode: str
    until: float
    hold: bool

    def holds(self, now: float) -> bool:
        return self.hold or self.until > now


def lock_of(retention: str | None, hold: str | None) -> Lock | None:
    """The lock that two stored values say, None if neither is there. What can't be read holds for ever: it was a lock."""
    if not retention and not hold:
        return None
    mode, until = GOVERNANCE, 0.0
    if retention:
        mode, _, text = retention.partition(";")
        try:
            until = float(text)
        except ValueError:
            until = math.inf
        if mode not in (GOVERNANCE, COMPLIANCE) or not math.isfinite(until):
            mode, until = COMPLIANCE, math.inf
    return Lock(mode, until, bool(hold) and hold != "OFF")


def lock_in(metadata: Mapping[str, str]) -> Lock | None:
    """The lock in an object's metadata (title-cased names); a link is never locked, what it leads to may be."""
    retention, hold = metadata.get(RETENTION), metadata.get(LEGAL_HOLD)
    if (retention is None and hold is None) or any(name in metadata for name in _LINKS):
        return None
    return lock_of(retention, hold)


def stored_retention(mode: str, until: int) -> str:
    return f"{mode};{until}"


class Word(NamedTuple):
    """What the sender of a change says of what it has seen. `seen`: the newest time of the object, internal form, "" for none;
    `may_bypass`: it has the right to end a retention of GOVERNANCE; `is_kept`: the object has been kept elsewhere as it was then."""

    seen: str = ""
    may_bypass: bool = False
    is_kept: bool = False

    def text(self) -> str:
        return ";".join((self.seen, *(_BYPASS,) * self.may_bypass, *(_KEPT,) * self.is_kept))


def word_of(text: str | None) -> Word | None:
    """What a header says, None without one. Raises ValueError."""
    if text is None:
        return None
    seen, *flags = text.split(";")
    if len(text) > _LONGEST or not set(flags) <= {_BYPASS, _KEPT}:
        raise ValueError(f"Invalid {WORD}")
    return Word(seen, _BYPASS in flags, _KEPT in flags)


def forbids_removal(metadata: Mapping[str, str], newest: str, word: Word | None, now: float) -> bool:
    """Returns True if what has this metadata must neither go nor be replaced. `newest`: its newest time, internal form."""
    lock = lock_in(metadata)
    if lock is None or not lock.holds(now):
        return False
    if word is None or not word.seen or newest > word.seen:
        return True
    if newest < word.seen or word.is_kept:
        return False  # the sender knows what has become of the lock since
    return not (word.may_bypass and lock.mode == GOVERNANCE and not lock.hold)


def forbids_change(
    metadata: Mapping[str, str], newest: str, new: Mapping[str, str], word: Word | None, now: float
) -> bool:
    """Returns True if metadata must not be replaced by `new`, because a lock would be gone, or weaker."""
    old = lock_in(metadata)
    if old is None or not old.holds(now) or (word is not None and newest < word.seen):
        return False
    if old.hold and LEGAL_HOLD not in new:
        return True
    if old.until <= now:
        return False
    changed = lock_of(new.get(RETENTION), None)
    if changed is None:
        return True
    is_weaker = changed.until < old.until or (old.mode, changed.mode) == (COMPLIANCE, GOVERNANCE)
    if not is_weaker:
        return False
    return old.mode == COMPLIANCE or word is None or not word.may_bypass


def drops(metadata: Mapping[str, str], new: Mapping[str, str], now: float) -> bool:
    """Returns True if `new`, which comes from another node, says nothing of a lock that holds here: whoever made it knew of none."""
    old = lock_in(metadata)
    if old is None or not old.holds(now):
        return False
    return (old.hold and LEGAL_HOLD not in new) or (old.until > now and RETENTION not in new)


def forgotten(metadata: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """What S3 keeps with an object and `new` does not name; nothing of a link, for what it leads to has it."""
    if any(name in metadata for name in _LINKS):
        return {}
    return {
        name: value for name, value in metadata.items() if name.startswith(KEPT_PREFIX) and name not in new
    }


def told_of(headers: Mapping[str, str]) -> dict[str, str]:
    """What an answer's headers (lower-case names) say of the lock of what is at a name, in the names of metadata."""
    names = (RETENTION, LEGAL_HOLD, *_LINKS)
    return {name: headers[name.lower()] for name in names if headers.get(name.lower())}
