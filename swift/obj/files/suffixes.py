"""Suffix hashes of a partition: what replication compares (object-disk 11).

The value of a suffix, the cache `hashes.pkl`, the list `hashes.invalid` and their consolidation. Every change of a
hash directory must be followed by `invalidate`, or the change stays invisible to replication.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Collection, Iterable
from hashlib import md5
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.unpickle import UnpickleError, loads
from swift.engine.durable import make_directories, write_durable
from swift.engine.fault_points import fault_point
from swift.engine.locks import acquire_lock
from swift.engine.new_file import write_all
from swift.obj.damage import read_or_judge
from swift.obj.directories import is_hash, is_suffix
from swift.obj.errors import Corrupt
from swift.obj.files import cleanup as _cleanup
from swift.obj.files.decide import Decision, decide
from swift.obj.store import COMMIT_WINDOW, RECLAIM_AGE, SuffixHash

HASHES_FILE = "hashes.pkl"
INVALID_FILE = "hashes.invalid"
LOCK_TIMEOUT = 10.0  # seconds
MAX_LINE = 256  # bytes of a line of hashes.invalid, of which four are right
MAX_HASHES_SIZE = 64 << 20
_VANISHED_TRIES = 8


# ---------------------------------------------------------------- invalidation


class Invalidation:
    """Run the body, which changes the suffix, under the partition lock and with the invalidation already on file.

    Whoever dies before, in or after the body leaves the suffix marked; and nobody can take the mark and hash the
    suffix between the mark and the change, since consolidation needs the same lock. `create`: make the partition
    directory if missing (nothing syncs it), never the device. Raises LockTimeout, OSError.
    """

    __slots__ = ("_partition_dir", "_suffix", "_create", "_lock")

    def __init__(self, partition_dir: str, suffix: str, create: bool = True) -> None:
        self._partition_dir = partition_dir
        self._suffix = suffix
        self._create = create
        self._lock = -1

    def __enter__(self) -> None:
        self._lock = self._acquire()
        try:
            append_invalid(self._partition_dir, self._suffix)
        except BaseException:
            os.close(self._lock)
            raise
        fault_point("invalidate:appended")

    def _acquire(self) -> int:
        for _ in range(_VANISHED_TRIES if self._create else 0):
            try:
                return acquire_lock(self._partition_dir, LOCK_TIMEOUT)
            except FileNotFoundError:
                # or removed as empty, or with all that is on the disk, since it was made
                make_directories(self._partition_dir, os.path.dirname(os.path.dirname(self._partition_dir)))
        return acquire_lock(self._partition_dir, LOCK_TIMEOUT)

    def __exit__(self, *exc: object) -> None:
        os.close(self._lock)


def append_invalid(partition_dir: str, *suffixes: str) -> None:
    """Add lines to hashes.invalid. The caller holds the partition lock."""
    fd = os.open(
        f"{partition_dir}/{INVALID_FILE}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666
    )
    try:
        write_all(fd, "".join(f"{suffix}\n" for suffix in suffixes).encode())
    finally:
        os.close(fd)


def invalidate(partition_dir: str, suffix: str) -> None:
    """Mark one suffix to be hashed again, for a change that has been made. Raises LockTimeout, OSError."""
    with Invalidation(partition_dir, suffix):
        pass


def invalidate_all(partition_dir: str, suffixes: list[str]) -> None:
    """Mark suffixes to be hashed again; a partition that is not there has none. Raises LockTimeout, OSError."""
    try:
        lock = acquire_lock(partition_dir, LOCK_TIMEOUT)
    except FileNotFoundError:
        return
    try:
        append_invalid(partition_dir, *suffixes)
    finally:
        os.close(lock)


# ---------------------------------------------------------------- hashes.pkl


def read_hashes(partition_dir: str) -> dict[str, Any]:
    """The cached hashes with `valid` and `updated`; {'valid': False} when there are none or they can't be trusted."""
    try:
        with open(f"{partition_dir}/{HASHES_FILE}", "rb") as file:
            hashes = loads(file.read(MAX_HASHES_SIZE + 1), max_size=MAX_HASHES_SIZE)
    except (OSError, UnpickleError):
        return {"valid": False}
    if not isinstance(hashes, dict):
        return {"valid": False}
    for key in hashes:
        if key not in ("valid", "updated") and not (isinstance(key, str) and is_suffix(key)):
            return {"valid": False}
    hashes.setdefault("valid", True)
    hashes.setdefault("updated", -1)
    return hashes


def write_hashes(partition_dir: str, hashes: dict[str, Any]) -> None:
    """Replace hashes.pkl durably; sets `updated`. The caller holds the partition lock."""
    hashes.setdefault("valid", False)
    hashes["updated"] = clock.time()
    write_durable(f"{partition_dir}/{HASHES_FILE}", pickle.dumps(hashes, protocol=2))


def _locked_consolidate(partition_dir: str) -> dict[str, Any]:
    hashes = read_hashes(partition_dir)
    path = f"{partition_dir}/{INVALID_FILE}"
    suffixes: set[str] = set()
    anything = damaged = False
    try:
        with open(path, "rb") as file:
            # line by line: there is one for each write since the last time, which may be a year ago
            for line in iter(lambda: file.readline(MAX_LINE), b""):
                anything = True
                suffix = line.strip().decode("ascii", "replace")
                if is_suffix(suffix):
                    suffixes.add(suffix)
                else:
                    damaged = damaged or bool(suffix)
    except FileNotFoundError:
        return hashes
    if not anything:
        return hashes
    if damaged:
        # half a line, or zeros, as a power cut leaves them, and whatever was appended to that: nobody knows which suffixes it was about
        hashes = {"valid": False}
        write_hashes(partition_dir, hashes)
    elif suffixes:
        hashes.update(dict.fromkeys(suffixes))
        write_hashes(partition_dir, hashes)
    fault_point("consolidate:written")
    os.truncate(path, 0)
    return hashes


def consolidate(partition_dir: str) -> dict[str, Any]:
    """Move what hashes.invalid says into hashes.pkl and return the result; {'valid': False} without a partition.

    Raises LockTimeout, OSError.
    """
    try:
        lock = acquire_lock(partition_dir, LOCK_TIMEOUT)
    except FileNotFoundError:
        return {"valid": False}
    try:
        return _locked_consolidate(partition_dir)
    finally:
        os.close(lock)


# ---------------------------------------------------------------- hashing


class _Digests:
    """The md5 objects of a suffix: one for replicated policies; by fragment index, and None, for EC."""

    def __init__(self) -> None:
        self.by_key: dict[int | None, Any] = {}

    def feed(self, key: int | None, text: str) -> None:
        digest = self.by_key.get(key)
        if digest is None:
            digest = self.by_key[key] = md5(usedforsecurity=False)
        digest.update(text.encode())

    def feed_decision(self, decision: Decision, ec: bool) -> None:
        if decision.meta is not None:
            self.feed(None, f"{decision.meta.timestamp}.meta")
        if decision.ts is not None:
            self.feed(None, f"{decision.ts.timestamp}.ts")
        if ec:
            for time_, frag_set in decision.frag_sets.items():
                for file in frag_set:
                    self.feed(file.fragment, time_)
            if decision.durable_set is not None:
                self.feed(None, f"{decision.durable_set}.durable")
        elif decision.data is not None:
            self.feed(None, f"{decision.data.timestamp}.data")
        if decision.ctype is not None:
            self.feed(None, f"{decision.ctype.ctype_timestamp}_ctype")

    def result(self, ec: bool) -> SuffixHash:
        digests = {key: digest.hexdigest() for key, digest in self.by_key.items()}
        if ec:
            return digests
        return digests.get(None) or md5(usedforsecurity=False).hexdigest()


class SuffixDamaged(Exception):
    """A hash entry that is no directory, or can't be listed: `path` is to be quarantined and the suffix hashed again."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def hash_suffix(
    suffix_dir: str,
    ec: bool = False,
    fragments: int | None = None,
    reclaim_age: float = RECLAIM_AGE,
    commit_window: float = COMMIT_WINDOW,
) -> SuffixHash | None:
    """Clean up and hash one suffix directory; None when nothing is left of it (it is then removed).

    Raises SuffixDamaged, NotADirectoryError when the suffix itself is a file, OSError.
    """
    digests = _Digests()
    found = False
    try:
        names = sorted(os.listdir(suffix_dir))
    except FileNotFoundError:
        return None
    for name in names:
        hash_dir = f"{suffix_dir}/{name}"
        try:
            remaining: list[str]
            _, remaining = read_or_judge(
                _cleanup.cleanup, hash_dir, ec, fragments, reclaim_age, commit_window
            )
        except NotADirectoryError:
            if is_hash(name):
                raise SuffixDamaged(hash_dir, "hash entry is not a directory") from None
            found = True  # a stray file, not ours to move: it keeps the suffix alive
            continue
        except Corrupt as err:
            raise SuffixDamaged(hash_dir, f"can't be listed: {err}") from None
        if remaining:
            found = True
            digests.feed_decision(decide(remaining, ec, fragments), ec)
    if not found:
        try:
            os.rmdir(suffix_dir)
        except FileNotFoundError:
            pass
        except OSError:
            # something was put there meanwhile: it has invalidated the suffix, so this value won't live long
            return digests.result(ec)
        return None
    return digests.result(ec)


class Hashing(NamedTuple):
    """What one step of hashing a partition has come to. `hashed`: suffixes. `hashes`: {suffix: value; None: not known}.
    `failed`: suffixes that could not be hashed. `left`: those whose turn did not come.
    """

    hashed: int
    hashes: dict[str, SuffixHash | None]
    failed: list[str]
    left: list[str]


def get_hashes(
    partition_dir: str,
    ec: bool = False,
    fragments: int | None = None,
    recalculate: Iterable[str] = (),
    do_listdir: bool = False,
    reclaim_age: float = RECLAIM_AGE,
    commit_window: float = COMMIT_WINDOW,
    set_aside: Callable[[SuffixDamaged], None] | None = None,
) -> tuple[int, dict[str, SuffixHash | None]]:
    """`hash_some` to the end, however long that takes: (suffixes hashed, {suffix: value; None: could not be hashed})."""
    step = hash_some(
        partition_dir, ec, fragments, recalculate, do_listdir, reclaim_age, commit_window, set_aside
    )
    return step.hashed, step.hashes


def hash_some(
    partition_dir: str,
    ec: bool = False,
    fragments: int | None = None,
    recalculate: Iterable[str] = (),
    do_listdir: bool = False,
    reclaim_age: float = RECLAIM_AGE,
    commit_window: float = COMMIT_WINDOW,
    set_aside: Callable[[SuffixDamaged], None] | None = None,
    seconds: float | None = None,
    skip: Collection[str] = (),
) -> Hashing:
    """Bring the cached hashes of a partition up to date, for about so many `seconds`; what was hashed is kept on the disk.

    `set_aside`: moves what is damaged out of the way; the suffix is then hashed without it. A suffix that can't be
    hashed takes nothing from the others. `skip`: suffixes that are not to be tried.

    What others invalidate meanwhile is on file in hashes.invalid and stays there for the next call, so that what was
    found is kept even when somebody else wrote hashes.pkl in between. A missing partition gives {}.
    Raises LockTimeout, OSError.
    """
    deadline = None if seconds is None else clock.monotonic() + seconds
    known = _known(partition_dir, do_listdir)
    if known is None:
        return Hashing(0, {}, [], [])
    hashes, is_new = known
    hashes.update({suffix: None for suffix in recalculate if is_suffix(suffix)})
    todo = [s for s, v in hashes.items() if s not in ("valid", "updated") and not v and s not in skip]
    found: dict[str, SuffixHash | None] = {}
    failed: list[str] = []
    tried = 0
    for suffix in todo:
        if tried and deadline is not None and clock.monotonic() >= deadline:
            break
        tried += 1
        try:
            found[suffix] = _hash_without_damage(
                f"{partition_dir}/{suffix}", ec, fragments, reclaim_age, commit_window, set_aside
            )
        except NotADirectoryError:
            found[suffix] = None
        except (OSError, SuffixDamaged):
            failed.append(suffix)  # its value stays None, which the caller sees and may log
            continue
        if found[suffix] is None:
            del hashes[suffix]
        else:
            hashes[suffix] = found[suffix]
    if is_new or todo:
        _store(partition_dir, hashes, found)
    values = {s: v for s, v in hashes.items() if s not in ("valid", "updated")}
    return Hashing(len(found), values, failed, todo[tried:])


def _known(partition_dir: str, do_listdir: bool) -> tuple[dict[str, Any], bool] | None:
    """(what is remembered, with None for what is to be hashed; True if it is all new); None without a partition."""
    try:
        hashes = consolidate(partition_dir)
    except OSError:
        hashes = {"valid": False}
    is_new = not hashes["valid"]
    if is_new:
        hashes = {"valid": True, "updated": hashes.get("updated", -1)}
    if do_listdir or is_new:
        try:
            entries = os.listdir(partition_dir)
        except FileNotFoundError:
            return None
        there = set(filter(is_suffix, entries))
        for suffix in there:
            hashes.setdefault(suffix, None)
        # A suffix that was removed without us, by a repair of the file system or by hand: while it counts as being there, no peer
        # brings back what it held.
        for suffix in hashes.keys() - there - {"valid", "updated"}:
            hashes[suffix] = None
    return hashes, is_new


def _hash_without_damage(
    suffix_dir: str,
    ec: bool,
    fragments: int | None,
    reclaim_age: float,
    commit_window: float,
    set_aside: Callable[[SuffixDamaged], None] | None,
) -> SuffixHash | None:
    """`hash_suffix` once what is damaged has been set aside. Raises SuffixDamaged when that doesn't help, OSError."""
    last = ""
    while True:
        try:
            return hash_suffix(suffix_dir, ec, fragments, reclaim_age, commit_window)
        except SuffixDamaged as damage:
            # each round takes another entry away, in order of name
            if set_aside is None or damage.path <= last:
                raise
            last = damage.path
            set_aside(damage)


def _store(partition_dir: str, hashes: dict[str, Any], found: dict[str, SuffixHash | None]) -> None:
    """Write the hashes unless another process did meanwhile: then only add what we found to what it wrote."""
    try:
        lock = acquire_lock(partition_dir, LOCK_TIMEOUT)
    except FileNotFoundError:
        return
    try:
        current = read_hashes(partition_dir)
        if current.get("updated", -1) != hashes["updated"]:
            hashes = _merged(current, hashes, found)
        write_hashes(partition_dir, hashes)
    finally:
        os.close(lock)


def _merged(
    current: dict[str, Any], hashes: dict[str, Any], found: dict[str, SuffixHash | None]
) -> dict[str, Any]:
    # A None in `current` is an invalidation that may be younger than our look at the disk: it stays.
    if not current["valid"]:
        return {**hashes, **{suffix: None for suffix in current if is_suffix(suffix)}}
    for suffix, value in found.items():
        if value is not None:
            current.setdefault(suffix, value)
    return current
