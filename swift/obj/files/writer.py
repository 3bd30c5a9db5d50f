"""Writing the files of an object so that what was acknowledged stays (object-disk 6).

The order of every write: data and metadata into a file without a name, file synced, then, under the partition lock,
the suffix marked for rehashing and the file linked, then the directory and its new parents synced, and only then
anything older removed. A process that dies anywhere in between leaves the object whole or absent. Where `named_first` says so, the file
is written back before it is linked, and synced after.

Everything here blocks and is meant to run on the device's pool; `write_file` is one whole trip.
"""

from __future__ import annotations

import contextlib
import errno
import os

from swift.core.object_lock import WORD
from swift.engine import space
from swift.engine.durable import make_directories, sync_entries
from swift.engine.fault_points import fault_point
from swift.engine.new_file import NewFile, write_all
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.errors import (
    DeviceUnavailable,
    NoSpace,
    ObjectError,
    Overtaken,
    Refused,
    SameTimeConflict,
)
from swift.obj.files import late_close
from swift.obj.files import metadata as _metadata
from swift.obj.files.calls import write_back
from swift.obj.files.cleanup import cleanup, is_superseded, unlink_quietly
from swift.obj.files.decide import current_time
from swift.obj.files.growing import former_place, link_second, second_place
from swift.obj.files.layout import ObjectLocation, file_name
from swift.obj.files.named_first import may_be_named_first
from swift.obj.files.suffixes import Invalidation
from swift.obj.store import StoreOptions

LINK_TRIES = 3
PREALLOCATE_FROM = 65536  # bytes


def as_no_space(err: OSError) -> Exception:
    """NoSpace for an error that says so, else the error itself."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(str(err))
    return err


class NewObjectFile:
    """A file of an object being written; nothing can see it before `finish`. Ends with `close`.

    Methods are called one at a time, each on the device's pool.
    """

    __slots__ = (
        "_adds",
        "where",
        "options",
        "written",
        "lent",
        "_file",
        "_dir_fd",
        "_new_dir",
        "_linked",
        "_names",
        "_unsynced",
        "_synced_to",
        "only_with",
        "seen",
    )

    def __init__(
        self,
        where: ObjectLocation,
        options: StoreOptions,
        names: list[str] | None = None,
        adds: bool = False,
    ) -> None:
        """Make the hash directory and open the file. `names`: what is in the directory, if it was listed just now.

        `adds`: to what is there, and is nothing without it: FileNotFoundError, here or when it is given its name, if that has been
        removed meanwhile (it was given back to where it belongs). Raises DeviceUnavailable, NoSpace, OSError.
        """
        self.where = where
        self.options = options
        self.written = 0
        self.lent = False  # a call that nobody waits for any more still has it: see Device.run_on
        self._unsynced = 0
        self._synced_to = 0
        self._dir_fd = -1
        self._new_dir = False
        self._linked = False
        self._names = names
        self._adds = adds
        # what must be all that is there when it gets its name, if that matters
        self.only_with: list[str] | None = None
        # what was in the directory, if nothing newer may be there when the file gets its name (412)
        self.seen: list[str] | None = None
        try:
            self._open_file()
        except OSError as err:
            self.close()
            raise as_no_space(err) from None
        fault_point("write:opened")

    def _open_file(self) -> None:
        where = self.where
        for attempt in range(LINK_TRIES):
            self._open_directory()
            try:
                self._file = NewFile(where.hash_dir, where.tmp_dir, self._dir_fd)
                return
            except OSError as err:
                # removed as empty since it was opened? file systems tell that in ways of their own
                if os.fstat(self._dir_fd).st_nlink:
                    raise
                if self._adds or attempt == LINK_TRIES - 1:
                    raise FileNotFoundError(errno.ENOENT, str(err), where.hash_dir) from None
            self._close_directory()
            self._names = None

    def _open_directory(self) -> None:
        """Open the hash directory, made if missing with those above it; `_link` syncs them."""
        where = self.where
        for _ in range(LINK_TRIES):
            try:
                try:
                    if not self._names:
                        os.mkdir(where.hash_dir)
                        self._new_dir = True
                except FileExistsError:
                    pass
                except FileNotFoundError:
                    self._make_parents()
                    continue
                self._dir_fd = os.open(where.hash_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                return
            except FileNotFoundError:
                if self._adds:
                    raise
                self._names = None  # removed as empty by a cleanup just now
        raise OSError(errno.EAGAIN, "the hash directory keeps vanishing", where.hash_dir)

    def _make_parents(self) -> None:
        try:
            make_directories(self.where.suffix_dir, self.where.device_path)
        except FileNotFoundError:
            raise DeviceUnavailable(self.where.device_path) from None

    def reserve(self, size: int | None) -> None:
        """Check the free space and preallocate `size` bytes (None: not known). Raises NoSpace, OSError.

        A small body is written at once, which allocates as well: only the check is made for it.
        """
        options = self.options
        try:
            if not size:
                options.reserve.check(self._file.fd, 0, self.where.device_path)
            elif options.preallocate:
                options.reserve.check(self._file.fd, size, self.where.device_path)
                if size > PREALLOCATE_FROM:
                    space.fallocate(self._file.fd, size)
        except OSError as err:
            raise as_no_space(err) from None

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises NoSpace, OSError."""
        try:
            write_all(self._file.fd, data)
        except OSError as err:
            raise as_no_space(err) from None
        self.written += len(data)
        self._unsynced += len(data)
        if self._unsynced >= self.options.sync_every:
            os.fdatasync(self._file.fd)
            space.drop_cache(self._file.fd, self._synced_to, self._unsynced)
            self._synced_to += self._unsynced
            self._unsynced = 0

    def finish(
        self,
        metadata: dict[str, str],
        extension: str,
        fragment: int | None = None,
        next_part_power: int | None = None,
        drop_cache: bool = False,
    ) -> None:
        """Give the file its metadata and its name; on return it is on disk and older files are gone.

        `metadata` must hold X-Timestamp in internal form; the name is added. An EC `.data` (`fragment`) is not cleaned
        up after: that is the commit's. Raises NoSpace, MetadataTooLarge, XattrUnsupported, SameTimeConflict,
        LockTimeout, DeviceUnavailable, OSError.
        """
        where = self.where
        assert where.name is not None
        metadata["name"] = where.name
        fd = self._file.fd
        fault_point("write:written")
        _metadata.write(fd, metadata, self.options.metadata_overflow)
        fault_point("write:attributes")
        named_first = may_be_named_first(fd)
        try:
            if named_first:
                write_back(fd)
            else:
                os.fsync(fd)
        except OSError as err:
            raise as_no_space(err) from None
        fault_point("write:synced")
        if drop_cache and self.written:
            space.drop_cache(fd, 0, 0)
        ctype_time = metadata.get("Content-Type-Timestamp") if extension == ".meta" else None
        name = file_name(metadata["X-Timestamp"], extension, ctype_time, fragment)
        try:
            other = self._link(name, metadata, next_part_power, named_first)
            if other is not None:
                link_second(where, name, other, next_part_power)
        except OSError as err:
            raise as_no_space(err) from None
        fault_point("write:durable")
        if fragment is None:
            self._cleanup(where, name, other or former_place(where, next_part_power))
        fault_point("write:cleaned")

    def _link(
        self, name: str, metadata: dict[str, str], next_part_power: int | None, named_first: bool
    ) -> ObjectLocation | None:
        """Returns the second place that the file is to have."""
        where = self.where
        other: ObjectLocation | None = None
        for attempt in range(LINK_TRIES):
            try:
                with Invalidation(where.partition_dir, where.suffix, create=False):
                    other = second_place(where, next_part_power)
                    self._check_place()
                    if self.only_with is not None and not is_still(where.hash_dir, self.only_with):
                        raise Overtaken(where.hash_dir)
                    if self.seen is not None:
                        check_unchanged(where, self.seen)
                    self._file.link(where.hash_dir, name, self._dir_fd)
                    self._linked = True
                    fault_point("write:linked")
                break
            except FileExistsError:
                check_same(name, metadata, self._dir_fd)
                break
            except FileNotFoundError:
                if self._adds or attempt == LINK_TRIES - 1:
                    raise
                self._close_directory()
                self._open_directory()
        if named_first and self._linked:
            os.fsync(self._file.fd)
        os.fsync(self._dir_fd)
        # also of directories that were there: whoever made them may not have synced them yet. Ours is not empty now, so
        # that no other can come in their place.
        sync_entries(where.suffix_dir, where.device_path, own_entries=True)
        return other

    def _check_place(self) -> None:
        """Raises FileNotFoundError when the open directory is no longer the one at our path: it was quarantined.

        Whoever moves one away holds the lock that we hold now.
        """
        path = self.where.hash_dir
        there, ours = os.stat(path), os.fstat(self._dir_fd)
        if there.st_ino != ours.st_ino or there.st_dev != ours.st_dev:
            raise FileNotFoundError(errno.ENOENT, "the directory was replaced", path)

    def _cleanup(self, where: ObjectLocation, name: str, other: ObjectLocation | None) -> None:
        # listed now, whatever was there before: a racing writer and its cleanup may have come in between
        try:
            names: list[str] | None = os.listdir(self._dir_fd)
        except OSError:  # too many open files: the write has succeeded nevertheless
            names = None
        if names != [name]:
            clean_up(where, self.options, names)
        if other is not None:
            clean_up(other, self.options)

    def _close_directory(self) -> None:
        if self._dir_fd >= 0:
            os.close(self._dir_fd)
            self._dir_fd = -1

    def close(self) -> None:
        """Give back the descriptors; what was not finished is gone. Safe to call twice.

        While it is lent this does nothing: what has it now frees it in the end.
        """
        if self.lent:
            return
        file = getattr(self, "_file", None)  # not there when opening failed
        if file is not None:
            file.close(os.close if self._linked else late_close.close)
        self._close_directory()
        if self._new_dir and not self._linked:
            self._new_dir = False
            with contextlib.suppress(OSError):
                os.rmdir(self.where.hash_dir)

    def __del__(self) -> None:
        # whoever asked for it may have been told to stop while a thread still made it or wrote to it
        self.lent = False
        self.close()


def check_unchanged(where: ObjectLocation, seen: list[str]) -> None:
    """Under the partition lock: raises Refused (412) if something has come into the directory that is newer than what was `seen` there."""
    try:
        names = os.listdir(where.hash_dir)
    except FileNotFoundError:
        return
    now = current_time(names, where.ec, where.fragments)
    if now > current_time(seen, where.ec, where.fragments):
        raise Refused(412, now)


def check_same(path: str, metadata: dict[str, str], dir_fd: int | None = None) -> None:
    """A file of that name is there: fine if it says the same. Raises SameTimeConflict, OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    except FileNotFoundError:
        return  # removed as obsolete meanwhile: so would ours be
    try:
        theirs = _metadata.read(fd)
        # neither must what it acknowledges be lost because its writer has not come to its sync yet
        os.fsync(fd)
    except ObjectError as err:
        raise SameTimeConflict(f"{path} is there and can't be read: {err}") from None
    finally:
        os.close(fd)
    if without_checksums(theirs) != without_checksums(metadata):
        raise SameTimeConflict(f"{path} is there with other content")


def without_checksums(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata less what a server adds for itself."""
    return {key: value for key, value in metadata.items() if key != BLOCK_CRC32}


def clean_up(
    where: ObjectLocation, options: StoreOptions, names: list[str] | None = None, newest: str | None = None
) -> None:
    """Remove what no longer counts; errors are noted, not raised: the write itself has succeeded.

    `newest`: the name that was written just now.
    """
    if newest is not None and names is not None and len(names) == 2 and not where.ec:
        older = names[names[0] == newest]
        if is_superseded(older, newest, options.reclaim_age):
            unlink_quietly(where.hash_dir, older)
            return
    try:
        cleanup(where.hash_dir, where.ec, None, options.reclaim_age, options.commit_window, None, names)
    except OSError as err:
        where.note(f"Problem cleaning up {where.hash_dir}: {err}")


def write_file(
    where: ObjectLocation,
    options: StoreOptions,
    metadata: dict[str, str],
    extension: str,
    body: bytes = b"",
    next_part_power: int | None = None,
    drop_cache: bool = False,
    names: list[str] | None = None,
    fragment: int | None = None,
    is_guarded: bool = False,
    is_exact: bool = False,
) -> None:
    """A whole small write in one trip: a .data with its body, a .meta or a .ts. Raises as `NewObjectFile`, and Overtaken if `is_exact`.

    `names`: what is in the hash directory, if it was listed in the same trip: then it need not be made. `is_guarded`: nothing newer than
    these may be there when it gets its name: Refused. FileNotFoundError for a
    .meta whose object has gone since.
    """
    new = NewObjectFile(where, options, names, adds=extension == ".meta")
    if is_guarded:
        new.seen = names or []
    try:
        if extension != ".ts":
            new.reserve(len(body) or None)
        if body:
            new.write(body)
        if is_exact:
            new.only_with = names
        new.finish(metadata, extension, fragment, next_part_power, drop_cache)
    finally:
        new.close()


def tombstone(
    where: ObjectLocation,
    options: StoreOptions,
    timestamp: str,
    next_part_power: int | None = None,
    names: list[str] | None = None,
    word: str = "",
    is_guarded: bool = False,
    is_exact: bool = False,
) -> None:
    """Write a `.ts`. `timestamp` in internal form; `word`: of the object's lock. Raises as `write_file`."""
    write_file(
        where,
        options,
        tombstone_metadata(timestamp, word),
        ".ts",
        next_part_power=next_part_power,
        names=names,
        is_guarded=is_guarded,
        is_exact=is_exact,
    )


def tombstone_metadata(timestamp: str, word: str = "") -> dict[str, str]:
    """What a `.ts` says."""
    return {"X-Timestamp": timestamp, WORD: word} if word else {"X-Timestamp": timestamp}


def is_still(hash_dir: str, names: list[str]) -> bool:
    """Returns True if these are all that is in a hash directory. Under the partition's lock. Raises OSError."""
    try:
        return sorted(os.listdir(hash_dir)) == sorted(names)
    except FileNotFoundError:
        return not names
