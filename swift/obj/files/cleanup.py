"""Removing the files of a hash directory that no longer count (object-disk 3.4)."""

from __future__ import annotations

import contextlib
import os

from swift.core import clock
from swift.obj.files import late_close
from swift.obj.files.decide import Decision, decide
from swift.obj.files.layout import FileName, is_plain
from swift.obj.store import COMMIT_WINDOW, RECLAIM_AGE


def _age(file: FileName, now: float) -> float:
    return now - float(file.timestamp[:16])


def _reclaimable(
    directory: str, file: FileName, now: float, reclaim_age: float, commit_window: float
) -> bool:
    if _age(file, now) <= reclaim_age:
        return False
    if file.fragment is None or file.durable or commit_window <= 0:
        return True
    try:
        return now - os.stat(f"{directory}/{file.name}").st_mtime > commit_window
    except OSError:
        return False


def is_superseded(older: str, newest: str, reclaim_age: float) -> bool:
    """True if of these two names in a hash directory without fragments `older` alone is garbage: the usual case, told at once.

    False says nothing.
    """
    return (
        older[:16] < newest[:16]
        and is_plain(older)
        and is_plain(newest)
        and (
            newest.endswith(".data")
            or (newest.endswith(".ts") and clock.time() - float(newest[:16]) <= reclaim_age)
        )
    )


def unlink_quietly(directory: str, name: str) -> None:
    """Remove a file; who can't leaves it to the next who comes by."""
    with contextlib.suppress(OSError):
        late_close.unlink(f"{directory}/{name}")


def garbage(
    directory: str,
    names: list[str],
    ec: bool,
    fragments: int | None,
    reclaim_age: float,
    commit_window: float,
    now: float,
) -> set[str]:
    """Which of the names in a hash directory no longer count. Ages and `now` in seconds."""
    return _garbage(directory, decide(names, ec, fragments), reclaim_age, commit_window, now)


def _garbage(
    directory: str, decision: Decision, reclaim_age: float, commit_window: float, now: float
) -> set[str]:
    gone = {file.name for file in decision.obsolete}
    if decision.ts is not None and _age(decision.ts, now) > reclaim_age:
        gone.add(decision.ts.name)
    for file in decision.possible_reclaim:
        if _reclaimable(directory, file, now, reclaim_age, commit_window):
            gone.add(file.name)
    return gone


def _remove_last(directory: str, tombstone: str, others_went: bool) -> None:
    """A tombstone goes when what it hides is gone for good: a crash in between must not bring that back."""
    with contextlib.suppress(OSError):
        if others_went:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        late_close.unlink(f"{directory}/{tombstone}")


def cleanup(
    directory: str,
    ec: bool = False,
    fragments: int | None = None,
    reclaim_age: float = RECLAIM_AGE,
    commit_window: float = COMMIT_WINDOW,
    now: float | None = None,
    names: list[str] | None = None,
) -> tuple[Decision, list[str]]:
    """Clean up one hash directory; an empty one is removed. Ages in seconds. `names`: what is in it, if just listed.

    Returns the decision over what was there and the names that remain, sorted descending; a missing directory is an
    empty one. Raises OSError when it can't be listed (ENOTDIR, ENODATA, EUCLEAN, EIO).
    """
    if names is None:
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return Decision(), []
    decision = decide(names, ec, fragments)
    gone = _garbage(directory, decision, reclaim_age, commit_window, clock.time() if now is None else now)
    tombstone = decision.ts.name if decision.ts is not None and decision.ts.name in gone else None
    for name in gone:
        if name != tombstone:
            unlink_quietly(directory, name)
    if tombstone is not None:
        decision.ts = None
        _remove_last(directory, tombstone, len(gone) > 1)
    remaining = sorted((name for name in names if name not in gone), reverse=True)
    if not remaining:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return decision, remaining
