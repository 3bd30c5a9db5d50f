"""Looking at objects for the auditor: all that counts in a hash directory, many directories in one trip (object-disk 20.2).

Everything here blocks. Reading large objects, limits and what is done with the outcome are the auditor's (`swift.obj.auditing`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from swift.coding.fragments import Codec
from swift.core import clock
from swift.core.errors import LockTimeout
from swift.core.hashing import hash_path
from swift.core.object_headers import EC_ETAG, EC_INDEX
from swift.obj.errors import Deleted, ObjectError, StateChanged
from swift.obj.files import metadata as _metadata
from swift.obj.files.decide import decide
from swift.obj.files.layout import RSYNC_TEMPFILE, ObjectLocation, parse_name
from swift.obj.files.quarantine import quarantine
from swift.obj.files.reader import INLINE_LIMIT, look
from swift.obj.files.suffixes import invalidate
from swift.obj.proof import Proof, look_at_once
from swift.obj.store import EXTENT, Examination, Examined, FragmentPreferences, OpenObject, StoreOptions

TRIP_SECONDS = 0.25  # then others have their turn at the disk, and a slow one is not taken for one that hangs


def examine(
    places: Iterable[ObjectLocation], wanted: Examination, options: StoreOptions, codec: Codec | None
) -> list[Examined]:
    """See `ObjectStore.examine`. `codec`: of an erasure-coded policy."""
    examination = _Examination(wanted, options, codec)
    until = clock.monotonic() + TRIP_SECONDS
    found: list[Examined] = []
    for where in places:
        found += examination.of(where)
        if clock.monotonic() >= until:
            break
    return found


def misplaced(places: Iterable[ObjectLocation]) -> tuple[int, int]:
    """See `ObjectStore.misplaced`."""
    right = wrong = 0
    for where in places:
        try:
            names = sorted(os.listdir(where.hash_dir))
            fd = os.open(f"{where.hash_dir}/{names[-1]}", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, IndexError):
            continue
        try:
            name = _metadata.read(fd)["name"]
        except (ObjectError, KeyError, OSError):
            continue
        finally:
            os.close(fd)
        if hash_path(name[1:].encode("utf-8", "surrogateescape")) == where.name_hash:
            right += 1
        else:
            wrong += 1
    return right, wrong


class _Examination:
    def __init__(self, wanted: Examination, options: StoreOptions, codec: Codec | None) -> None:
        self.wanted = wanted
        self.options = options
        self.codec = codec
        self._buffer = memoryview(bytearray(INLINE_LIMIT)) if wanted.read else memoryview(b"")

    def of(self, where: ObjectLocation) -> Iterator[Examined]:
        first = Examined(where)
        names = self._look(first, None)
        yield first
        if not where.ec:
            return
        # all fragments, also those that are not known durable: one of them may be all that there is of an object
        for prefs in _others(names, where.fragments, os.path.basename(first.path)):
            other = Examined(where)
            other.counts = False
            self._look(other, prefs)
            if other.found is not None or other.quarantined or other.error:
                yield other

    def _look(self, examined: Examined, prefs: FragmentPreferences | None) -> list[str]:
        """Returns the names of the files that are there."""
        where = examined.place
        assert isinstance(where, ObjectLocation)
        noted = len(where.notes or ())
        names: list[str] = []
        try:
            listed = look(where, frag_prefs=prefs, want=EXTENT)
            names = listed.names
            if prefs is None and any(name.startswith(".") for name in names):
                self._remove_tempfiles(where, names)
            if listed.found is not None:
                self._object(examined, where, listed.found)
            elif isinstance(listed.missing, Deleted):
                self._tombstone(examined, where, listed.missing)
        except StateChanged:
            pass  # somebody writes it all the time: there will be another pass
        except (ObjectError, LockTimeout, OSError) as err:
            _drop(examined)
            examined.error = f"{where.hash_dir}: {str(err) or type(err).__name__}"
        # by our notes: what another reader moved away at the same time is his
        examined.quarantined = any(note.startswith("Quarantined") for note in (where.notes or ())[noted:])
        return names

    def _object(self, examined: Examined, where: ObjectLocation, found: OpenObject) -> None:
        examined.found = found
        examined.path = f"{where.hash_dir}/{found.version}"
        reason = None
        if where.ec:
            examined.fragment = parse_name(found.version, True, where.fragments).fragment
            reason = _incomplete(found, examined.fragment)
        if reason is None and self.wanted.read and found.size <= INLINE_LIMIT:
            reason = self._small(where, examined, found)
        if reason is not None:
            _drop(examined)
            quarantine(where, reason, None, found.version, found.inode)
            return
        _metadata.add_checksum(found.fd)
        if not self.wanted.read or found.size <= INLINE_LIMIT:
            found.close()

    def _small(self, where: ObjectLocation, examined: Examined, found: OpenObject) -> str | None:
        good = None
        if self.codec is None and not self.wanted.by_checksums:
            good = look_at_once(found, self._buffer)
            if good:
                return None
        proof = Proof(found, self.wanted.by_checksums, self.codec, examined.fragment)
        if good is False:
            proof.differs("checksum differs")
        while proof.step(self._buffer):
            pass
        if proof.damage is None and proof.once is not None:
            where.note(proof.doubt(examined.path))
        return proof.damage

    def _tombstone(self, examined: Examined, where: ObjectLocation, deleted: Deleted) -> None:
        examined.deleted = deleted.timestamp, deleted.name
        if self.wanted.read and clock.time() - float(deleted.timestamp[:16]) > self.options.reclaim_age:
            # whoever hashes the suffix next removes it
            invalidate(where.partition_dir, where.suffix)

    def _remove_tempfiles(self, where: ObjectLocation, names: list[str]) -> None:
        oldest = clock.time() - self.wanted.tempfile_age
        for name in filter(RSYNC_TEMPFILE.match, names):
            path = f"{where.hash_dir}/{name}"
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest:
                    os.unlink(path)


def _others(names: list[str], fragments: int | None, seen: str) -> Iterator[FragmentPreferences]:
    """By which preferences each fragment is found but the one of the file `seen`."""
    for time, files in decide(names, True, fragments, None, []).frag_sets.items():
        for file in files:
            if file.name != seen:
                yield [
                    {"timestamp": time, "exclude": [o.fragment for o in files if o.fragment != file.fragment]}
                ]


def _incomplete(found: OpenObject, fragment: int | None) -> str | None:
    """Why this is no fragment archive that can be used, or None (object-disk 8)."""
    metadata = found.data_metadata
    for key in (EC_INDEX, EC_ETAG):
        if not metadata.get(key):
            return f"no {key} in the metadata"
    if metadata[EC_INDEX] != str(fragment):
        return f"the metadata says fragment {metadata[EC_INDEX][:16]!a}, its name {fragment}"
    return None


def _drop(examined: Examined) -> None:
    if examined.found is not None:
        examined.found.close()
        examined.found = None
