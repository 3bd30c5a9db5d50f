"""Opening an object: its files found, merged and verified (object-disk 5).

Everything here blocks and is meant to run as one trip to the device's pool. What is damaged is moved away before the
caller hears of it. Sending the bytes is in `body`; HTTP is in `server`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from swift.core import clock
from swift.core.hashing import hash_path
from swift.core.object_lock import WORD
from swift.core.timestamp import internal_timestamp
from swift.obj.checks import is_good
from swift.obj.damage import judge, read_or_judge
from swift.obj.errors import (
    Collision,
    Corrupt,
    Deleted,
    Elsewhere,
    Expired,
    NotExist,
    Quarantined,
    StateChanged,
)
from swift.obj.files import metadata as _metadata
from swift.obj.files.decide import Decision, decide
from swift.obj.files.layout import FileName, ObjectLocation, parse_name
from swift.obj.files.quarantine import quarantine
from swift.obj.files.witness import Sign, settled
from swift.obj.store import BODY, EXTENT, HEAD, OpenObject

OPEN_TRIES = 5
INLINE_LIMIT = 65536  # bytes; bodies up to this size are read with the metadata and sent with the head

_MERGE_FROM_DATA = frozenset(("content-length", "deleted", "etag", "x-static-large-object"))
_SYSMETA = "x-object-sysmeta-"


class Listed:
    """A look at an object: `names` of the hash directory and what was found in it: `found`, or the `missing` that says why not."""

    __slots__ = ("found", "missing", "names")

    def __init__(self, names: list[str], found: OpenObject | None, missing: NotExist | None) -> None:
        self.names = names
        self.found = found
        self.missing = missing


class _Damaged(Exception):
    """Internal: `path` (the hash directory, or one file in it) must be quarantined; `data`, `inode`: of the bad .data."""

    def __init__(self, reason: str, path: str | None = None, data: str | None = None) -> None:
        super().__init__(reason)
        self.path = path
        self.data = data
        self.inode: int | None = None


def open_object(
    where: ObjectLocation,
    now: float | None = None,
    open_expired: bool = False,
    frag_index: int | None = None,
    frag_prefs: Sequence[dict[str, Any]] | None = None,
    want: int = EXTENT,
    signs: list[Sign | None] | None = None,
) -> OpenObject:
    """Open the object at `where`.

    `now`: seconds, for the expiry test. `want`: see `ObjectStore.open`; BODY reads and checks up to INLINE_LIMIT bytes. `signs`: see `look`.
    Raises NotExist (Deleted, Expired, Quarantined), Collision, StateChanged, XattrUnsupported, OSError.
    """
    listed = look(where, now, open_expired, frag_index, frag_prefs, want, signs=signs)
    found, missing = listed.found, listed.missing
    del listed
    if found is None:
        assert missing is not None
        try:
            raise missing
        finally:
            del missing  # it knows this frame: together they would be garbage that only a search finds
    return found


def look(
    where: ObjectLocation,
    now: float | None = None,
    open_expired: bool = False,
    frag_index: int | None = None,
    frag_prefs: Sequence[dict[str, Any]] | None = None,
    want: int = EXTENT,
    hasty: bool = False,
    signs: list[Sign | None] | None = None,
) -> Listed:
    """As `open_object`, for who wants to know what is in the hash directory as well. NotExist is returned, not raised.

    `hasty`: nothing is waited for and nothing set aside; where that would be needed, Elsewhere is raised.
    `signs`: a list to put the signs of the directory and, when all is as usual, of the one file in it into.
    """
    tries = 0
    while True:
        names: list[str] = []
        try:
            if signs is not None:
                signs[:] = [_sign_of(where.hash_dir)]
            names = _list(where.hash_dir)
            if not names:
                return Listed(names, None, NotExist(where.hash_dir))
            found = _open(where, names, now, open_expired, frag_index, frag_prefs, want, signs)
            return Listed(names, found, None)
        except NotExist as missing:
            return Listed(names, None, missing)
        except StateChanged as error:
            if hasty:
                raise Elsewhere(str(error)) from None
            # another writer replaced what we had listed: its file is there by now
            tries += 1
            if tries == OPEN_TRIES:
                raise
        except _Damaged as damage:
            if hasty:
                raise Elsewhere(str(damage)) from None
            quarantine(where, str(damage), damage.path, damage.data, damage.inode)
            tries += 1
            if tries == OPEN_TRIES or (damage.path is None and not os.path.isdir(where.hash_dir)):
                return Listed([], None, Quarantined(str(damage)))
            # one file is out of the way, or somebody has written a new one: look at what the others say


def _list(hash_dir: str) -> list[str]:
    try:
        return os.listdir(hash_dir)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise _Damaged("a file where a hash directory should be") from None
    except OSError as err:
        try:
            names: list[str] = judge(err, os.listdir, hash_dir)
            return names
        except Corrupt as damage:
            raise _Damaged(f"can't be listed: {damage}") from None


def _sign_of(hash_dir: str) -> Sign | None:
    try:
        return settled(hash_dir)
    except OSError:  # what is wrong shows in the listing
        return None


def _open_file(path: str, damaged: str | None, data: str | None) -> int:
    """A descriptor of the file. Raises StateChanged; _Damaged for `damaged` and `data`; OSError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StateChanged(path) from None
    except OSError as err:
        try:
            fd: int = judge(err, os.open, path, os.O_RDONLY | os.O_CLOEXEC)
            return fd
        except Corrupt as damage:
            raise _Damaged(f"can't be opened: {damage}", damaged, data) from None


def _alone(
    where: ObjectLocation,
    names: list[str],
    frag_index: int | None,
    frag_prefs: Sequence[dict[str, Any]] | None,
) -> FileName | None:
    """The one file of by far the most common directories, where there is nothing to decide."""
    if len(names) != 1 or not names[0].endswith("#d.data" if where.ec else ".data"):
        return None
    if where.ec and (frag_index is not None or frag_prefs):
        return None
    try:
        return parse_name(names[0], where.ec, where.fragments)
    except ValueError:
        return None


def _open(
    where: ObjectLocation,
    names: list[str],
    now: float | None,
    open_expired: bool,
    frag_index: int | None,
    frag_prefs: Sequence[dict[str, Any]] | None,
    want: int,
    signs: list[Sign | None] | None,
) -> OpenObject:
    decision = None
    data = _alone(where, names, frag_index, frag_prefs)
    if data is None:
        decision = decide(names, where.ec, where.fragments, frag_index, frag_prefs)
        data = decision.data
        if data is None and decision.ts is not None:
            raise Deleted(*_tombstone(where, decision.ts))
    if data is None:
        raise NotExist(where.hash_dir)

    fd = _open_file(f"{where.hash_dir}/{data.name}", None, data.name)
    found = OpenObject(fd, data.name)
    try:
        if signs is not None and decision is None:
            signs.append(settled(fd))
        try:
            merged, found.tail = _metadata.read_with_tail(fd)
            found.data_metadata = merged
        except Corrupt as err:
            raise _Damaged(str(err)) from None
        if decision is not None and decision.meta is not None:
            found.meta_metadata = _read_file(f"{where.hash_dir}/{decision.meta.name}")
            ctype_metadata = None
            if decision.ctype is not None and decision.ctype is not decision.meta:
                ctype_metadata = _read_file(f"{where.hash_dir}/{decision.ctype.name}")
            merged = merge(merged, found.meta_metadata, ctype_metadata)
        found.metadata = merged
        _set_times(found, data, where.ec, decision)
        if decision is None and where.ec:
            found.fragments = {data.timestamp: [data.fragment]}
        elif decision is not None and decision.frag_sets:
            found.fragments = {t: [f.fragment for f in files] for t, files in decision.frag_sets.items()}
        _verify(where, found, now, open_expired, want)
        if want == HEAD:
            found.close()
    except _Damaged as damage:
        if damage.path is None:
            damage.data = data.name
            damage.inode = os.fstat(fd).st_ino
        found.close()
        raise
    except BaseException:
        found.close()
        raise
    return found


def _tombstone(where: ObjectLocation, tombstone: FileName) -> tuple[str, str | None, str]:
    path = f"{where.hash_dir}/{tombstone.name}"
    try:
        metadata = _read_file(path)
        return internal_timestamp(metadata["X-Timestamp"]), metadata.get("name"), metadata.get(WORD, "")
    except (KeyError, ValueError):
        raise _Damaged("tombstone without a good X-Timestamp", path) from None


def _read_file(path: str) -> dict[str, str]:
    """Metadata of a `.meta` or `.ts`. Raises _Damaged for that file alone, StateChanged."""
    fd = _open_file(path, path, None)
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
    found.durable_timestamp = data.timestamp if decision is None or not ec else decision.durable_set


def _verify(
    where: ObjectLocation, found: OpenObject, now: float | None, open_expired: bool, want: int
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
    found.size = length
    if want == BODY and length <= INLINE_LIMIT:
        body = _read_all(found.fd, length + found.tail)
        if len(body) != length + found.tail:
            raise _Damaged(_says(found))
        if found.tail:
            body = body[:length]
        if not is_good(body, metadata, where.etag_validate_pct):
            raise _Damaged("checksum differs")
        found.body = body
        found.close()
        return
    st = os.fstat(found.fd)
    if st.st_size != length + found.tail:
        raise _Damaged(_says(found))
    found.identity = st.st_dev, st.st_ino, st.st_ctime_ns, st.st_size


def _says(found: OpenObject) -> str:
    behind = f" and {found.tail} of metadata" if found.tail else ""
    return f"metadata says {found.size} bytes{behind}, the file has {os.fstat(found.fd).st_size}"


def _read_all(fd: int, length: int) -> bytes:
    """`length` bytes, one more if there are more, or as many as there are."""
    try:
        body: bytes = read_or_judge(os.pread, fd, length + 1, 0)
        while len(body) < length:
            more = read_or_judge(os.pread, fd, length + 1 - len(body), len(body))
            if not more:
                break
            body += more
    except Corrupt as err:
        raise _Damaged(f"can't be read: {err}") from None
    return body
