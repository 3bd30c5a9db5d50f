"""Small writes carried out together: one sync of each shared directory, and the disk has all data before it is asked to sync any.

What a batch leaves on disk at any step is, item by item, what `writer` leaves, in the same order: data and metadata into a file
without a name, synced; then, under the partition lock, the suffix marked and the file linked; then its directory and the new
directories above it synced; then older files removed; and only then the answer. Where `named_first` says so the file is written back before
it is linked, and synced after. Fault points bear the same names. So too what a commit of a fragment leaves is what `commit` does: it only
gives a file another name.

`write_batch` is a plain function. It waits for the disk and for nothing else: what would wait for a lock, or needs more than the
usual steps, comes back as Elsewhere, with nothing done. Who calls it is in `store`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from swift.core.errors import LockTimeout
from swift.engine import new_file
from swift.engine.durable import make_directories, sync_entries
from swift.engine.fault_points import fault_point
from swift.engine.locks import acquire_lock
from swift.engine.new_file import write_all
from swift.obj.errors import DeviceUnavailable, Elsewhere, SameTimeConflict
from swift.obj.files import metadata as _metadata
from swift.obj.files.calls import start_writing, write_back
from swift.obj.files.growing import second_place
from swift.obj.files.layout import ObjectLocation, file_name
from swift.obj.files.named_first import may_be_named_first
from swift.obj.files.suffixes import append_invalid
from swift.obj.files.writer import as_no_space, check_same, check_unchanged, clean_up, is_still
from swift.obj.store import StoreOptions

MAX_ITEMS = 64
MAX_BYTES = 2 << 20


class SmallFile:
    """What is to be written: a `.data` with its body, a `.meta` or a `.ts`.

    `names`: what is in the hash directory, as listed just now. `is_guarded`: nothing newer may be there when it gets its name (412);
    `is_exact`: see `Write`. `may_conflict`: another file of the same time is no error. `fragment`: of an EC `.data`, which is not cleaned up
    after: that is the commit's.
    """

    __slots__ = (
        "metadata",
        "extension",
        "body",
        "fragment",
        "names",
        "is_exact",
        "is_guarded",
        "may_conflict",
    )

    def __init__(
        self,
        metadata: dict[str, str],
        extension: str,
        body: bytes,
        names: list[str],
        may_conflict: bool = False,
        fragment: int | None = None,
        is_guarded: bool = False,
        is_exact: bool = False,
    ) -> None:
        self.is_guarded = is_guarded
        self.is_exact = is_exact
        self.metadata = metadata
        self.extension = extension
        self.body = body
        self.names = names
        self.may_conflict = may_conflict
        self.fragment = fragment


class Durable:
    """What is to become durable: the fragment of this time and with this index, by another name."""

    __slots__ = ("fragment", "timestamp")

    def __init__(self, timestamp: str, fragment: int) -> None:
        self.timestamp = timestamp
        self.fragment = fragment


Outcome = SmallFile | Durable


class SmallWrite:
    """One item. `plan`: a call that looks at the object in haste (see `look`) and decides: (result, what is to be written or None).

    It raises what the caller of the write is to see. `bytes`: of the body.
    """

    __slots__ = ("where", "plan", "bytes")

    def __init__(
        self, where: ObjectLocation, plan: Callable[[], tuple[Any, Outcome | None]], size: int = 0
    ) -> None:
        self.where = where
        self.plan = plan
        self.bytes = size


def write_batch(items: Sequence[SmallWrite], options: StoreOptions) -> list[Any]:
    """For each item its plan's result, once what that result promises is on disk, or the exception in its place; raises nothing.

    Elsewhere means that the item is to take a trip of its own: there is nothing of it, or nothing any more. Items of the same object are written one after the other.
    """
    steps = [_Step(item) for item in items]
    rest = steps
    while rest:
        seen: set[str] = set()
        now: list[_Step] = []
        later: list[_Step] = []
        for step in rest:
            (later if step.where.hash_dir in seen else now).append(step)
            seen.add(step.where.hash_dir)
        _write(now, options)
        rest = later
    return [step.value if step.error is None else step.error for step in steps]


class _Step:
    """How far an item has come."""

    __slots__ = (
        "item", "where", "value", "error", "file", "durable", "name", "fd", "dir_fd", "is_new", "is_linked",
    )  # fmt: skip

    def __init__(self, item: SmallWrite) -> None:
        self.item = item
        self.where = item.where
        self.value: Any = None
        self.error: Exception | None = None
        self.file: SmallFile | None = None
        self.durable: Durable | None = None
        self.name = ""
        self.fd = self.dir_fd = -1
        self.is_new = False  # we have made the hash directory
        self.is_linked = False  # the file has its name

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.dir_fd >= 0:
            os.close(self.dir_fd)
            self.dir_fd = -1
        if self.is_new and not self.is_linked:
            with contextlib.suppress(OSError):
                os.rmdir(self.where.hash_dir)


def _write(steps: list[_Step], options: StoreOptions) -> None:
    try:
        prepared = _each(steps, _prepare, options)
        writing = [step for step in prepared if step.file is not None]
        for step in writing[1:]:  # the first is waited for at once
            if step.item.bytes:
                start_writing(step.fd)
        named_first = bool(writing) and may_be_named_first(writing[0].fd)
        naming = _each(writing, _bring, named_first) + [step for step in prepared if step.durable is not None]
        named = _link_all(naming)
        if named_first:
            named = _each(named, _sync)
        named = _each(named, _sync_directory)
        _sync_above([step for step in named if step.file is not None])
        _each([step for step in named if step.error is None], _clean, options)
    finally:
        for step in steps:
            step.close()


def _each(steps: Iterable[_Step], function: Callable[..., None], *args: Any) -> list[_Step]:
    """Calls function(step, *args); who fails drops out. Returns those that are left."""
    left = []
    for step in steps:
        try:
            function(step, *args)
        except OSError as err:
            step.error = _told(err)
        except Exception as err:
            step.error = err
        else:
            left.append(step)
    return left


def _told(err: OSError) -> Exception:
    """One of its own for each item: exceptions that are raised twice keep what they met."""
    return as_no_space(OSError(err.errno, err.strerror, err.filename))


def _prepare(step: _Step, options: StoreOptions) -> None:
    """What is to be written, in a file that has no name yet."""
    step.value, file = step.item.plan()
    if isinstance(file, Durable):
        step.durable = file
    elif file is not None:
        _open(step, file)
        _fill(step, file, options)
        step.file = file


# ---------------------------------------------------------------- directories


def _open(step: _Step, file: SmallFile) -> None:
    """The hash directory, made if missing with those above it, and a file without a name in it."""
    where = step.where
    if new_file.no_tmpfile and where.tmp_dir in new_file.no_tmpfile:
        raise Elsewhere("no unnamed files")
    try:
        if not file.names:
            step.is_new = _make_hash_dir(where)
        step.fd = os.open(where.hash_dir, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as err:
        # removed as empty since it was made: ext4 says EPERM to that; the trip looks whether it was so
        if err.errno in (errno.ENOENT, errno.EPERM, errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise Elsewhere(str(err)) from None
        raise
    fault_point("write:opened")


def _make_hash_dir(where: ObjectLocation) -> bool:
    """False if somebody else has made it meanwhile. Raises DeviceUnavailable, OSError."""
    for attempt in (1, 2):
        try:
            os.mkdir(where.hash_dir)
            return True
        except FileExistsError:
            return False
        except FileNotFoundError:
            if attempt == 2:
                raise
        try:
            make_directories(where.suffix_dir, where.device_path)
        except FileNotFoundError:
            raise DeviceUnavailable(where.device_path) from None
    return False


def _sync_above(steps: list[_Step]) -> None:
    """Sync the entries of all directories above those of `steps`, once for each suffix; whose can't be synced fails."""
    for suffix_dir, group in _grouped(steps, [step.where.suffix_dir for step in steps]):
        try:
            # also of directories that were there: whoever made them may not have synced them yet
            sync_entries(suffix_dir, group[0].where.device_path, own_entries=True)
        except OSError as err:
            _fail(group, err)


def _grouped(steps: list[_Step], keys: list[str]) -> Iterable[tuple[str, list[_Step]]]:
    """(key, the steps that have it)."""
    if len(steps) == 1:
        return [(keys[0], steps)]
    groups: dict[str, list[_Step]] = {}
    for step, key in zip(steps, keys, strict=True):
        groups.setdefault(key, []).append(step)
    return groups.items()


# ---------------------------------------------------------------- files


def _fill(step: _Step, file: SmallFile, options: StoreOptions) -> None:
    where = step.where
    assert where.name is not None
    size = len(file.body)
    if file.extension != ".ts" and (options.preallocate or not size):
        options.reserve.check(step.fd, size, where.device_path)
    if size:
        write_all(step.fd, file.body)
    fault_point("write:written")
    metadata = file.metadata
    metadata["name"] = where.name
    _metadata.write(step.fd, metadata, options.metadata_overflow)
    ctype_time = metadata.get("Content-Type-Timestamp") if file.extension == ".meta" else None
    step.name = file_name(metadata["X-Timestamp"], file.extension, ctype_time, file.fragment)
    fault_point("write:attributes")


def _bring(step: _Step, named_first: bool) -> None:
    """Have the file on the disk, as far as that comes before its name."""
    # an error is final: the pages count as written afterwards
    if named_first:
        write_back(step.fd)
    else:
        os.fsync(step.fd)
    fault_point("write:synced")


def _sync(step: _Step) -> None:
    if step.durable is None and step.is_linked:
        os.fsync(step.fd)


def _link_all(steps: list[_Step]) -> list[_Step]:
    for partition_dir, group in _grouped(steps, [step.where.partition_dir for step in steps]):
        try:
            lock = acquire_lock(partition_dir, 0)
        except (LockTimeout, FileNotFoundError) as err:
            for step in group:
                step.error = Elsewhere(str(err))
            continue
        except OSError as err:
            _fail(group, err)
            continue
        try:
            group = _each(group, _has_one_place)
            if not group:
                continue
            append_invalid(partition_dir, *{step.where.suffix for step in group})
            fault_point("invalidate:appended")
            _each([step for step in group if step.durable is None], _link)
            _each([step for step in group if step.durable is not None], _rename)
        except OSError as err:
            _fail([step for step in group if not step.is_linked], err)
        finally:
            os.close(lock)
    _each([step for step in steps if step.error is None and not step.is_linked], _compare)
    return [step for step in steps if step.error is None]


def _fail(steps: list[_Step], err: OSError) -> None:
    for step in steps:
        step.error = _told(err)


def _has_one_place(step: _Step) -> None:
    if second_place(step.where) is not None:
        raise Elsewhere("it has two places")


def _link(step: _Step) -> None:
    file = step.file
    if file is not None and file.is_exact and not is_still(step.where.hash_dir, file.names):
        raise Elsewhere("something came meanwhile")
    if file is not None and file.is_guarded:
        check_unchanged(step.where, file.names)
    # by its path, under the lock that directories are moved away under: into whatever directory is there now
    try:
        # (the path is absolute: dst_dir_fd only has Python call linkat, which follows the link in /proc)
        os.link(
            f"/proc/self/fd/{step.fd}",
            f"{step.where.hash_dir}/{step.name}",
            dst_dir_fd=step.fd,
            follow_symlinks=True,
        )
    except FileExistsError:
        return  # see `_compare`
    except FileNotFoundError as err:
        raise Elsewhere(str(err)) from None
    step.is_linked = True
    fault_point("write:linked")


def _rename(step: _Step) -> None:
    durable, hash_dir = step.durable, step.where.hash_dir
    assert durable is not None
    step.name = file_name(durable.timestamp, ".data", None, durable.fragment, durable=True)
    try:
        os.rename(
            f"{hash_dir}/{file_name(durable.timestamp, '.data', None, durable.fragment)}",
            f"{hash_dir}/{step.name}",
        )
    except FileNotFoundError as err:  # done before, or overtaken: the trip finds out
        raise Elsewhere(str(err)) from None
    step.is_linked = True
    fault_point("commit:renamed")


def _compare(step: _Step) -> None:
    """A file of our name was there before us."""
    file = step.file
    assert file is not None
    try:
        check_same(f"{step.where.hash_dir}/{step.name}", file.metadata)
    except SameTimeConflict:
        if not file.may_conflict:
            raise


def _sync_directory(step: _Step) -> None:
    try:
        step.dir_fd = os.open(step.where.hash_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as err:
        raise Elsewhere(
            str(err)
        ) from None  # ours is gone as well: it was overtaken, or damage was found beside it
    os.fsync(step.dir_fd)


def _clean(step: _Step, options: StoreOptions) -> None:
    fault_point("write:durable" if step.durable is None else "commit:durable")
    if step.file is not None and step.file.fragment is not None:
        return
    # listed now, whatever was there before: a racing writer and its cleanup may have come in between
    try:
        names: list[str] | None = os.listdir(step.dir_fd)
    except OSError:  # the write has succeeded nevertheless
        names = None
    if names != [step.name]:
        clean_up(step.where, options, names, step.name)
    if step.durable is None:
        fault_point("write:cleaned")
