"""What is in quarantine, and bringing back what turns out to be whole (object-disk 10).

Nothing is deleted here: what does not prove whole stays where it is. Everything blocks.
"""

from __future__ import annotations

import contextlib
import os
import re
from hashlib import md5
from typing import NamedTuple

from swift.core.hashing import hash_path
from swift.engine.durable import fsync_dir, mkdirs_durable
from swift.obj.directories import DATADIR, policy_dir
from swift.obj.errors import ObjectError, Refused
from swift.obj.files import metadata as _metadata
from swift.obj.files.cleanup import cleanup
from swift.obj.files.decide import decide
from swift.obj.files.inventory import item_of
from swift.obj.files.layout import FileName, ObjectLocation
from swift.obj.files.suffixes import Invalidation
from swift.obj.quarantine import QUARANTINE_DIR
from swift.obj.store import SetAside, StoreOptions

_ENTRY = re.compile(r"([0-9a-f]{32})(-[0-9a-f]{32})?", re.ASCII).fullmatch
_PIECE = 1 << 20


class _Verdict(NamedTuple):
    """Of one file. `fault`: '' if it is whole."""

    file: FileName
    fault: str
    size: int = 0
    etag: str = ""


def quarantine_of(device_path: str, policy_index: int) -> str:
    """Where a policy's damaged objects are."""
    return f"{device_path}/{QUARANTINE_DIR}/{policy_dir(DATADIR, policy_index)}"


def entries(
    directory: str, ec: bool, fragments: int | None, name_hash: str | None, most: int
) -> list[SetAside]:
    """At most `most` entries of a quarantine; of one object with the verdict on each. Raises OSError."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    found: list[SetAside] = []
    for name in names:
        match = _ENTRY(name)
        if name_hash is not None and (match is None or match[1] != name_hash):
            continue
        if len(found) == most:
            break
        found.append(_entry(directory, name, match[1] if match else "", ec, fragments, name_hash is not None))
    return found


def _entry(
    directory: str, name: str, name_hash: str, ec: bool, fragments: int | None, check: bool
) -> SetAside:
    path = f"{directory}/{name}"
    try:
        item = item_of(name_hash, path, ec, fragments) if name_hash else None
    except (NotADirectoryError, FileNotFoundError):
        item = None
    if not check:
        return SetAside(name, item)
    if item is None:
        return SetAside(name, None, fault="holds nothing of an object")
    verdicts = _verdicts(path, name_hash, ec, fragments)
    faults = [f"{verdict.file.name}: {verdict.fault}" for verdict in verdicts if verdict.fault]
    etag = next((verdict.etag for verdict in verdicts if verdict.etag), "")
    return SetAside(name, item, sum(verdict.size for verdict in verdicts), etag, "; ".join(faults))


def take_back(where: ObjectLocation, entry: str, options: StoreOptions) -> list[str]:
    """Bring the files of a quarantined directory back, if all that counts in it is whole and nothing newer is there; their names.

    Raises Refused, LockTimeout, OSError.
    """
    match = _ENTRY(entry)
    if match is None or match[1] != where.name_hash:
        raise Refused(404, text=f"{entry}: no entry of this object")
    source = f"{quarantine_of(where.device_path, where.policy_index)}/{entry}"
    try:
        verdicts = _verdicts(source, where.name_hash, where.ec, where.fragments)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(404, text=f"{entry} is not in quarantine") from None
    if not verdicts:
        raise Refused(422, text=f"{entry} holds nothing of an object")
    for verdict in verdicts:
        if verdict.fault:
            raise Refused(422, text=f"{verdict.file.name} does not prove whole: {verdict.fault}")
    files = [verdict.file for verdict in verdicts]
    mkdirs_durable(where.hash_dir, where.device_path, remember=False)
    try:
        with Invalidation(where.partition_dir, where.suffix):
            _refuse_what_is_older(where, files)
            back = [file.name for file in files if _link(source, where.hash_dir, file.name)]
            fsync_dir(where.hash_dir)
        # what was linked is the very file: only then does its other name go
        for name in back:
            os.unlink(f"{source}/{name}")
    finally:
        for directory in (source, where.hash_dir):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
    cleanup(where.hash_dir, where.ec, where.fragments, options.reclaim_age, options.commit_window)
    return back


def _link(source: str, hash_dir: str, name: str) -> bool:
    fd = os.open(f"{source}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(f"{source}/{name}", f"{hash_dir}/{name}")
    except FileExistsError:
        return False
    return True


def _refuse_what_is_older(where: ObjectLocation, files: list[FileName]) -> None:
    """Raises Refused unless what comes back counts beside what is there."""
    names = os.listdir(where.hash_dir)
    together = decide([*names, *(file.name for file in files)], where.ec, where.fragments)
    counting = {file.name for file in _counting(together)}
    for file in files:
        if file.name in names:
            raise Refused(409, text=f"{file.name} is there already")
        if file.name not in counting:
            raise Refused(409, text=f"something newer than {file.name} is there")


def _counting(decision) -> list[FileName]:  # type: ignore[no-untyped-def]
    chosen = [decision.data, decision.meta, decision.ctype, decision.ts]
    fragments = [file for frag_set in decision.frag_sets.values() for file in frag_set]
    return list({file.name: file for file in [*chosen, *fragments] if file is not None}.values())


def _verdicts(directory: str, name_hash: str, ec: bool, fragments: int | None) -> list[_Verdict]:
    decision = decide(os.listdir(directory), ec, fragments)
    files = _counting(decision)
    if not files:
        # a .meta that was set aside by itself
        files = [file for file in decision.possible_reclaim if file.extension == ".meta"]
    return [_verdict(directory, file, name_hash) for file in files]


def _verdict(directory: str, file: FileName, name_hash: str) -> _Verdict:
    """A file is whole if its metadata says so, is of this object, and its bytes fit its ETag."""
    try:
        with open(f"{directory}/{file.name}", "rb", buffering=0) as opened:
            metadata, tail = _metadata.read_with_tail(opened.fileno())
            name = metadata.get("name", "")
            if not name or hash_path(name[1:]) != name_hash:
                return _Verdict(file, "it is of another object" if name else "its metadata has no name")
            if file.extension != ".data":
                return _Verdict(file, "")
            size = os.fstat(opened.fileno()).st_size - tail
            etag = metadata.get("ETag", "")
            if metadata.get("Content-Length") != str(size):
                return _Verdict(file, f"{size} bytes instead of {metadata.get('Content-Length')}", size, etag)
            digest = md5(usedforsecurity=False)
            left = size
            while data := opened.read(min(_PIECE, left)):
                digest.update(data)
                left -= len(data)
    except (ObjectError, OSError) as error:
        return _Verdict(file, str(error) or type(error).__name__)
    if digest.hexdigest() != etag:
        return _Verdict(file, f"its bytes have the checksum {digest.hexdigest()}, not {etag}", size, etag)
    return _Verdict(file, "", size, etag)
