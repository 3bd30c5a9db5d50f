"""Going over the hash directories of a store: the one walker (object-disk 16 to 20 need it).

Everything here blocks, in steps of bounded size, so that a caller can run each step on the device's pool. Whatever lies on the disk, a
step holds one partition's suffixes, or STEP names of one suffix.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

from swift.core.names import is_partition
from swift.obj.directories import is_hash, is_suffix
from swift.obj.files.decide import decide
from swift.obj.store import Times

STEP = 1000  # names


def list_partitions(datadir: str) -> list[str]:
    """The partition directories, in numeric order; a missing datadir has none. Raises OSError."""
    try:
        names = os.listdir(datadir)
    except FileNotFoundError:
        return []
    return sorted((name for name in names if is_partition(name)), key=int)


def list_suffixes(partition_dir: str) -> list[str]:
    """The suffix directories of a partition, sorted. Raises OSError."""
    try:
        return sorted(name for name in os.listdir(partition_dir) if is_suffix(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


class SuffixScan:
    """The hash directories of one suffix, some at a time, in the order of the disk. `close` it."""

    __slots__ = ("_entries",)

    def __init__(self, suffix_dir: str) -> None:
        """Raises OSError."""
        self._entries: Any = None
        try:
            self._entries = os.scandir(suffix_dir)
        except (FileNotFoundError, NotADirectoryError):
            pass

    def next(self, most: int = STEP) -> list[str]:
        """The next name hashes; none at the end. Raises OSError."""
        if self._entries is None:
            return []
        for entries in iter(lambda: list(islice(self._entries, most)), []):
            names = [entry.name for entry in entries if is_hash(entry.name)]
            if names:
                return names
        return []

    def close(self) -> None:
        """Give the descriptor back."""
        if self._entries is not None:
            self._entries.close()


class PartitionScan:
    """The hash directories of a whole partition, some at a time, suffix by suffix. `close` it."""

    __slots__ = ("_failed", "_left", "_partition_dir", "_scan")

    def __init__(self, partition_dir: str) -> None:
        self._partition_dir = partition_dir
        self._left: list[str] | None = None
        self._scan: SuffixScan | None = None
        self._failed: OSError | None = None

    def next(self) -> list[str]:
        """The next name hashes, STEP of them at most; none at the end. Raises OSError, for suffixes at the end, after what the others have."""
        if self._left is None:
            self._left = list_suffixes(self._partition_dir)[::-1]
        found: list[str] = []
        while len(found) < STEP:
            try:
                if self._scan is None:
                    if not self._left:
                        break
                    self._scan = SuffixScan(f"{self._partition_dir}/{self._left.pop()}")
                names = self._scan.next(STEP - len(found))
            except OSError as err:
                self._failed, names = err, []
            found += names
            if not names:
                self.close()
        if not found and self._failed is not None:
            raise self._failed
        return found

    def close(self) -> None:
        """Give the descriptor back."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None


def changed_since(suffix_dir: str, names: list[str], since: float) -> list[str]:
    """Those of the hash directories in which a file came or went since then (seconds). What can't be looked at counts as changed."""
    found = []
    for name in names:
        try:
            if os.stat(f"{suffix_dir}/{name}").st_mtime >= since:
                found.append(name)
        except FileNotFoundError:
            continue
        except OSError:
            found.append(name)
    return found


def suffix_times(
    suffix_dir: str,
    ec: bool,
    fragments: int | None,
    fragment: int | None = None,
    only_durable: bool = False,
) -> list[tuple[str, Times]]:
    """(name hash, its times) of what is in a suffix, in order; what can't be listed is left out. See `times_of`. Raises OSError."""
    try:
        names = sorted(name for name in os.listdir(suffix_dir) if is_hash(name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for name in names:
        try:
            times = times_of(os.listdir(f"{suffix_dir}/{name}"), ec, fragments, fragment, only_durable)
        except OSError:
            continue
        if times is not None:
            found.append((name, times))
    return found


def times_of(
    names: list[str],
    ec: bool = False,
    fragments: int | None = None,
    fragment: int | None = None,
    only_durable: bool = False,
) -> Times | None:
    """What the names of a hash directory say of its object; None when that is nothing.

    `fragment`: only this one counts. `only_durable`: fragments that are not known to be durable don't.
    """
    prefs: list[dict[str, Any]] | None = [] if ec and not only_durable else None
    decision = decide(names, ec, fragments, fragment, prefs)
    data = decision.data
    if data is not None:
        meta, ctype = decision.meta, decision.ctype
        return Times(
            data.timestamp,
            meta.timestamp if meta is not None else None,
            ctype.ctype_timestamp if ctype is not None else None,
            data.durable,
        )
    return Times(decision.ts.timestamp, deleted=True) if decision.ts is not None else None
