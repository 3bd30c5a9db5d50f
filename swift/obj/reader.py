"""Opening an object: its files found, merged and verified (object-disk 5).

Everything here blocks and is meant to run as one trip to the device's pool. What is damaged is moved away before the
caller hears of it. Sending the bytes is in `body`; HTTP is in `server`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from hashlib import md5
from typing import Any

from swift.core import clock
from swift.core.checksum import crc32
from swift.core.hashing import hash_path
from swift.core.timestamp import internal_timestamp
from swift.obj import metadata as _metadata
from swift.obj.decide import Decision, decide
from swift.obj.errors import Collision, Corrupt, Deleted, Expired, NotExist, Quarantined, StateChanged
from swift.obj.layout import FileName, ObjectLocation, parse_name
from swift.obj.quarantine import quarantine_file, quarantine_hash_dir, quarantine_suffix_dir

OPEN_TRIES = 5
INLINE_LIMIT = 65536  # bytes; bodies up to this size are read with the metadata and sent with the head

_MERGE_FROM_DATA = frozenset(("content-length", "deleted", "etag", "x-static-large-object"))
_SYSMETA = "x-object-sysmeta-"


class OpenObject:
    """An open, verified object. `close()` it, or hand `fd` to a body that does.

    `metadata`: merged; `data_metadata`, `meta_metadata`: of the single files (the latter None without a .meta).
    All times in internal form. `body`: all the bytes, checked, if asked for and small; the file is then closed.
    """

    __slots__ = (
        "fd",
        "path",
        "size",
        "metadata",
        "data_metadata",
        "meta_metadata",
        "timestamp",
        "data_timestamp",
        "ctype_timestamp",
        "durable_timestamp",
        "decision",
        "body",
    )

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.body: bytes | None = None
        self.size = 0
        self.metadata: dict[str, str] = {}
        self.data_metadata: dict[str, str] = {}
        self.meta_metadata: dict[str, str] | None = None
        self.timestamp = self.data_timestamp = self.ctype_timestamp = ""
        self.durable_timestamp: str | None = None
        self.decision: Decision | None = None

    def close(self) -> None:
        """Close the data file. Safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        # whoever asked for it may have been told to stop while a thread still opened it
        self.close()

    @property
    def fragments(self) -> dict[str, list[int | None]] | None:
        """EC: {timestamp: [fragment indexes here]} over all recorded sets; None for a replicated object."""
        if self.decision is None or not self.decision.frag_sets:
            return None
        return {time_: [f.fragment for f in files] for time_, files in self.decision.frag_sets.items()}


class _Damaged(Exception):
    """Internal: `path` (the hash directory, or one file in it) must be quarantined; `data`: name of the bad .data."""

    def __init__(self, reason: str, path: str | None = None, data: str | None = None) -> None:
        super().__init__(reason)
        self.path = path
        self.data = data


def quarantine(where: ObjectLocation, reason: str, file: str | None = None, data: str | None = None) -> None:
    """Move the hash directory, or just `file` in it, away and note it. Raises OSError.

    `data`: the name of the .data that was found damaged; whatever is newer than that stays.
    """
    try:
        if file is not None:
            target = quarantine_file(where.device_path, file)
        else:
            try:
                target = quarantine_hash_dir(where.device_path, where.hash_dir, data)
            except OSError as err:
                if err.errno not in (errno.ENODATA, errno.EUCLEAN, errno.EIO):
                    raise
                target = quarantine_suffix_dir(where.device_path, os.path.dirname(where.hash_dir))
    except FileNotFoundError:
        return  # another reader was faster
    where.note(f"Quarantined object {file or where.hash_dir}: {reason} (moved to {target})")


def open_object(
    where: ObjectLocation,
    now: float | None = None,
    open_expired: bool = False,
    frag_index: int | None = None,
    frag_prefs: Sequence[dict[str, Any]] | None = None,
    with_body: bool = False,
    names: list[str] | None = None,
) -> OpenObject:
    """Open the object at `where`.

    `now`: seconds, for the expiry test. `with_body`: read and check a body of up to INLINE_LIMIT bytes as well.
    `names`: a list to put the names in the hash directory into. Raises NotExist (Deleted, Expired, Quarantined), Collision, StateChanged, XattrUnsupported, OSError.
    """
    tries = 0
    while True:
        try:
            return _open(where, now, open_expired, frag_index, frag_prefs, with_body, names)
        except StateChanged:
            # another writer replaced what we had listed: its file is there by now
            tries += 1
            if tries == OPEN_TRIES:
                raise
        except _Damaged as damage:
            quarantine(where, str(damage), damage.path, damage.data)
            tries += 1
            if tries == OPEN_TRIES or (damage.path is None and not os.path.isdir(where.hash_dir)):
                raise Quarantined(str(damage)) from None
            # one file is out of the way, or somebody has written a new one: look at what the others say


def _list(hash_dir: str) -> list[str]:
    try:
        return os.listdir(hash_dir)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise _Damaged("a file where a hash directory should be") from None
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.EUCLEAN):
            raise _Damaged(f"can't be listed: {err}") from None
        raise


def _open(
    where: ObjectLocation,
    now: float | None,
    open_expired: bool,
    frag_index: int | None,
    frag_prefs: Sequence[dict[str, Any]] | None,
    with_body: bool,
    seen: list[str] | None,
) -> OpenObject:
    names = _list(where.hash_dir)
    if seen is not None:
        seen[:] = names
    decision = None
    data: FileName | None
    if len(names) == 1 and not where.ec and names[0].endswith(".data"):
        # by far the most common directory: nothing to decide
        try:
            data = parse_name(names[0])
        except ValueError:
            data = None
    else:
        decision = decide(names, where.ec, where.fragments, frag_index, frag_prefs)
        data = decision.data
        if data is None and decision.ts is not None:
            raise Deleted(_tombstone_time(where, decision.ts))
    if data is None:
        raise NotExist(where.hash_dir)

    path = f"{where.hash_dir}/{data.name}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StateChanged(path) from None
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.EUCLEAN):
            raise _Damaged(f"can't be opened: {err}", None, data.name) from None
        raise
    found = OpenObject(fd, path)
    try:
        try:
            merged = found.data_metadata = _metadata.read(fd)
        except Corrupt as err:
            raise _Damaged(str(err)) from None
        if decision is not None and decision.meta is not None:
            found.meta_metadata = _read_file(f"{where.hash_dir}/{decision.meta.name}")
            ctype_metadata = None
            if decision.ctype is not None and decision.ctype is not decision.meta:
                ctype_metadata = _read_file(f"{where.hash_dir}/{decision.ctype.name}")
            merged = merge(merged, found.meta_metadata, ctype_metadata)
        found.metadata = merged
        found.decision = decision
        _set_times(found, data, where.ec, decision)
        _verify(where, found, now, open_expired, with_body)
    except _Damaged as damage:
        found.close()
        if damage.path is None:
            damage.data = data.name
        raise
    except BaseException:
        found.close()
        raise
    return found


def _tombstone_time(where: ObjectLocation, tombstone: FileName) -> str:
    path = f"{where.hash_dir}/{tombstone.name}"
    try:
        return internal_timestamp(_read_file(path)["X-Timestamp"])
    except (KeyError, ValueError):
        raise _Damaged("tombstone without a good X-Timestamp", path) from None


def _read_file(path: str) -> dict[str, str]:
    """Metadata of a `.meta` or `.ts`. Raises _Damaged for that file alone, StateChanged."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StateChanged(path) from None
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.EUCLEAN):
            raise _Damaged(f"can't be opened: {err}", path) from None
        raise
    try:
        return _metadata.read(fd)
    except Corrupt as err:
        raise _Damaged(str(err), path) from None
    finally:
        os.close(fd)


def merge(data: dict[str, str], meta: dict[str, str], ctype: dict[str, str] | None = None) -> dict[str, str]:
    """What an object's metadata is after POSTs: of the .data, the .meta and a separate .meta with the content type."""
    result = dict(meta)
    data_time = data.get("X-Timestamp", "")
    if ctype is not None and "Content-Type" in ctype:
        ctype_time = ctype.get("Content-Type-Timestamp", "")
        if ctype_time > meta.get("Content-Type-Timestamp", "") and ctype_time > data_time:
            result["Content-Type"] = ctype["Content-Type"]
            result["Content-Type-Timestamp"] = ctype_time
    for key, value in data.items():
        lower = key.lower()
        if lower in _MERGE_FROM_DATA or (lower.startswith(_SYSMETA) and len(lower) > len(_SYSMETA)):
            result[key] = value
    if "Content-Type" in data and data_time > result.get("Content-Type-Timestamp", ""):
        result["Content-Type"] = data["Content-Type"]
        result.pop("Content-Type-Timestamp", None)
    return result


def _set_times(found: OpenObject, data: FileName, ec: bool, decision: Decision | None) -> None:
    metadata = found.metadata
    try:
        if metadata is found.data_metadata:
            found.timestamp = found.data_timestamp = internal_timestamp(metadata["X-Timestamp"])
        else:
            found.timestamp = internal_timestamp(metadata["X-Timestamp"])
            found.data_timestamp = internal_timestamp(found.data_metadata["X-Timestamp"])
        ctype_time = metadata.get("Content-Type-Timestamp")
        found.ctype_timestamp = internal_timestamp(ctype_time) if ctype_time else found.data_timestamp
    except (KeyError, ValueError):
        raise _Damaged("no good X-Timestamp in the metadata") from None
    if ec:
        found.durable_timestamp = decision.durable_set if decision is not None else None
    else:
        found.durable_timestamp = data.timestamp


def _verify(
    where: ObjectLocation, found: OpenObject, now: float | None, open_expired: bool, with_body: bool
) -> None:
    metadata = found.metadata
    name = metadata.get("name")
    if name != where.name:
        if name is None:
            raise _Damaged("missing name in metadata")
        if where.name is not None:
            raise Collision(f"{where.hash_dir} belongs to {name}")
        if hash_path(name[1:].encode("utf-8", "surrogateescape")) != os.path.basename(where.hash_dir):
            raise _Damaged("the hash of the name is not the name of the directory")
    delete_at = metadata.get("X-Delete-At")
    if delete_at is not None:
        try:
            expired = int(delete_at) <= (clock.time() if now is None else now)
        except ValueError:
            raise _Damaged(f"bad X-Delete-At {delete_at!r}") from None
        if expired and not open_expired:
            raise Expired(metadata)
    try:
        length = int(metadata["Content-Length"])
    except (KeyError, ValueError):
        raise _Damaged("no good Content-Length in the metadata") from None
    if with_body and length <= INLINE_LIMIT:
        body = _read_all(found.fd, length)
        if len(body) != length:
            raise _Damaged(f"metadata says {length} bytes, the file has {os.fstat(found.fd).st_size}")
        if not body_is_good(body, metadata, where.etag_validate_pct):
            raise _Damaged("checksum differs")
        found.body = body
        found.close()
    else:
        size = os.fstat(found.fd).st_size
        if size != length:
            raise _Damaged(f"metadata says {length} bytes, the file has {size}")
    found.size = length


def _read_all(fd: int, length: int) -> bytes:
    """`length` bytes, or one more if there are more."""
    try:
        body = os.pread(fd, length + 1, 0)
        while len(body) < length:
            more = os.pread(fd, length + 1 - len(body), len(body))
            if not more:
                break
            body += more
    except OSError as err:
        if err.errno == errno.EIO:
            raise _Damaged(f"can't be read: {err}") from None
        raise
    return body


def body_is_good(body: bytes, metadata: dict[str, str], validate_pct: float) -> bool:
    """Whether a whole small body fits its checksums: the block CRC if there is one, else the ETag as MD5."""
    if validate_pct < 100 and clock.uniform(0, 100) >= validate_pct:
        return True
    etag = metadata.get("ETag", "")
    stored = metadata.get(_metadata.BLOCK_CRC32)
    if stored is not None:
        blocks = _metadata.parse_block_crcs(stored, etag, len(body))
        if blocks is not None:
            size, crcs = blocks
            return all(crc32(body[n * size : (n + 1) * size]) == crc for n, crc in enumerate(crcs))
    return md5(body, usedforsecurity=False).hexdigest() == etag
