"""Where an object's files are and how they are named (object-disk 1 and 2.3).

Paths and names only: nothing here touches a disk, and which of several files counts is said in `decide`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from swift.core.timestamp import Timestamp, decode_timestamps, encode_timestamps
from swift.obj.directories import DATADIR, TMPDIR, policy_dir
from swift.obj.store import Place

RSYNC_TEMPFILE = re.compile(r"^\..*\.([a-zA-Z0-9_]){6}$")
_CANONICAL = re.compile(r"[0-9]{10}\.[0-9]{5}(?:_(?!0{16})[0-9a-f]{16})?", re.ASCII).fullmatch
_PLAIN = re.compile(r"[0-9]{10}\.[0-9]{5}\.(?:data|meta|ts)", re.ASCII).fullmatch
_FRAGMENT_INDEX = re.compile(r"[0-9]{1,9}", re.ASCII).fullmatch


class ObjectLocation(Place):
    """Where one object's files are, and by which rules to read them.

    `ec`, `fragments` (k+m): of an erasure-coded policy. `etag_validate_pct`: share of whole reads whose checksum is verified.
    """

    __slots__ = (
        "device_path",
        "ec",
        "etag_validate_pct",
        "fragments",
        "hash_dir",
        "partition_dir",
        "policy_index",
    )

    def __init__(
        self,
        device_path: str,
        policy_index: int,
        partition: str,
        name_hash: str,
        name: str | None,
        ec: bool = False,
        fragments: int | None = None,
        etag_validate_pct: float = 100.0,
    ) -> None:
        # as Place.__init__, which is not worth a call in each request
        self.partition = partition
        self.name_hash = name_hash
        self.suffix = suffix = name_hash[-3:]
        self.name = name
        self.notes = None
        self.device_path = device_path
        self.policy_index = policy_index
        datadir = f"{DATADIR}-{policy_index}" if policy_index else DATADIR
        self.partition_dir = f"{device_path}/{datadir}/{partition}"
        self.hash_dir = f"{self.partition_dir}/{suffix}/{name_hash}"
        self.ec = ec
        self.fragments = fragments
        self.etag_validate_pct = etag_validate_pct

    @property
    def suffix_dir(self) -> str:
        """Parent of the hash directory."""
        return f"{self.partition_dir}/{self.suffix}"

    @property
    def tmp_dir(self) -> str:
        """Where the policy's temporary files go on this device."""
        return f"{self.device_path}/{policy_dir(TMPDIR, self.policy_index)}"

    def in_part_power(self, power: int) -> ObjectLocation:
        """The same object in a ring of 2**power partitions."""
        return ObjectLocation(
            self.device_path,
            self.policy_index,
            str(int(self.name_hash[:8], 16) >> (32 - power)),
            self.name_hash,
            self.name,
            self.ec,
            self.fragments,
            self.etag_validate_pct,
        )


class FileName(NamedTuple):
    """A parsed name in a hash directory. Times are in internal form, which sorts in time order."""

    name: str
    extension: str  # with its dot
    timestamp: str
    ctype_timestamp: str | None = None  # only .meta: the time of the content type it carries
    fragment: int | None = None  # only EC .data
    durable: bool = True  # only EC .data: the name says so


def is_plain(name: str) -> bool:
    """True for the usual names of files that are no fragments: a timestamp without an offset, of 16 characters, and an extension."""
    return _PLAIN(name) is not None


@lru_cache(maxsize=4096)
def parse_name(name: str, ec: bool = False, fragments: int | None = None) -> FileName:
    """Parse a file name of a hash directory.

    `ec`: by the rules of an erasure-coded policy; `fragments`: its k+m when known, the bound of a fragment index.
    Raises ValueError for an unexpected name.
    """
    stem, dot, extension = name.rpartition(".")
    if not dot:
        raise ValueError(f"unexpected file name {name!r}")
    extension = "." + extension
    if extension == ".data" and ec:
        stem, _, rest = stem.partition("#")
        index, _, flag = rest.partition("#")
        if not _FRAGMENT_INDEX(index) or (fragments is not None and int(index) >= fragments):
            raise ValueError(f"bad fragment index in {name!r}")
        timestamp = stem if _CANONICAL(stem) else Timestamp(stem).internal
        return FileName(name, extension, timestamp, None, int(index), flag == "d")
    if _CANONICAL(stem):
        return FileName(name, extension, stem)
    if extension == ".meta":
        time, ctype_time, _ = decode_timestamps(stem, explicit=True)
        return FileName(name, extension, time.internal, ctype_time.internal if ctype_time else None)
    return FileName(name, extension, Timestamp(stem).internal)


def file_name(
    timestamp: str,
    extension: str,
    ctype_timestamp: str | None = None,
    fragment: int | None = None,
    durable: bool = False,
) -> str:
    """The name of a file to write. `timestamp` and `ctype_timestamp` in internal form; the latter counts for .meta only."""
    if extension == ".meta" and ctype_timestamp is not None:
        stem = encode_timestamps(Timestamp(timestamp), Timestamp(ctype_timestamp), explicit=True)
    elif fragment is not None and extension == ".data":
        stem = f"{timestamp}#{fragment}#d" if durable else f"{timestamp}#{fragment}"
    else:
        stem = timestamp
    return stem + extension
