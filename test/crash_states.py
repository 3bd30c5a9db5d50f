"""The states of a disk that a power cut may leave, made from the system calls of a real server.

A recording is what was done to the files below one directory, in order: changes of content, of attributes, of directory entries,
and the syncs. At any moment, what was changed before a sync of its file (or, for an entry, of its directory) that has ended is on
the disk; of all later changes any may be there and any may be lost, alone or together: that is more than any file system does,
which is why it holds on all of them. A write is taken apart, so that a part of it may be lost. A rename happens or does not.

What lives here: the recording, the choice of states (all where they are few, many of each sort where not), making them as
directories. What never does: what must be true of them.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from test.system_calls import Call, quoted

ALL_OF = 6  # so many changes that may be lost are tried in all combinations
AT_RANDOM = 24
PARTS = 3  # of a large write
LARGE = 4096


class Unknown(Exception):
    """A call changed files in a way that is not understood here."""


class File:
    """An inode: a file, or with `names` a directory."""

    def __init__(self, is_directory: bool = False) -> None:
        self.names: dict[str, File] | None = {} if is_directory else None
        self.size = 0
        self.syncs: list[tuple[int, int, bool]] = []  # began, ended, of the data only

    @property
    def children(self) -> dict[str, File]:
        assert self.names is not None
        return self.names


@dataclass(eq=False)
class Change:
    """`file`: whose sync makes it durable. `what`: "write", "size", "attribute", "link", "unlink" or "rename", with its `details`."""

    file: File
    what: str
    details: tuple[object, ...]
    began: int
    ended: int


@dataclass(eq=False)
class Crash:
    """A moment. `at`: its number; `durable`: the changes that are on disk whatever happens; `loose`: those that may be lost."""

    at: int
    durable: list[Change]
    loose: list[Change]


@dataclass
class Content:
    """What a state has of a file."""

    data: bytearray = field(default_factory=bytearray)
    attributes: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, File] = field(default_factory=dict)


class Recording:
    """What calls did to the files below `top`, an empty directory when they began."""

    def __init__(self, top: str, calls: list[Call]) -> None:
        self.top = top
        self.root = File(is_directory=True)
        self.changes: list[Change] = []
        self.sync_ends: list[int] = []
        self._nameless: dict[str, File] = {}
        self._paths: dict[tuple[str, str], str] = {}  # (thread, descriptor) → path, as last seen
        self._positions: dict[tuple[str, str], int | None] = {}  # None: at the end
        for call in sorted((c for c in calls if c.ended is not None), key=lambda c: c.ended or 0):
            if call.succeeded:
                self._take(call)

    # -- what a call does

    def _take(self, call: Call) -> None:
        first = re.match(r"(\d+)<((?:[^<>\\]|\\.|<[^>]*>)*)>", call.arguments)
        if first:
            self._paths[call.pid, first[1]] = first[2]
        action = getattr(self, f"_call_{call.name}", None)
        if action is not None:
            action(call, first[1] if first else "", first[2] if first else "")

    def _find(self, path: str) -> File | None:
        if path in self._nameless:
            return self._nameless[path]
        if path != self.top and not path.startswith(self.top + "/"):
            return None
        file: File | None = self.root
        for name in path[len(self.top) :].strip("/").split("/"):
            if name:
                file = file.names.get(name) if file is not None and file.names is not None else None
        return file

    def _entry(self, path: str) -> tuple[File | None, str]:
        """(the directory that a path is in, its last name)"""
        if not path.startswith(self.top + "/"):
            return None, ""
        return self._find(os.path.dirname(path)), os.path.basename(path)

    def _path(self, call: Call, directory: str, name: str) -> str:
        """The whole path of a name that may be below a directory, or a descriptor's."""
        if name.startswith("/proc/self/fd/") or name.startswith("/proc/thread-self/fd/"):
            number = name.rpartition("/")[2]
            return self._paths.get((call.pid, number), "")
        if name.startswith("/") or not directory:
            return name
        return f"{directory}/{name}" if name else directory

    def _add(self, call: Call, file: File, what: str, *details: object) -> None:
        self.changes.append(Change(file, what, details, call.began, call.ended or 0))

    def _paths_of(self, call: Call) -> list[str]:
        """Each name among the arguments with the directory that stands before it."""
        found = []
        for directory, name in re.findall(
            r'(?:(?:AT_FDCWD|\d+)(?:<((?:[^<>\\]|\\.)*)>)?, )?"((?:[^"\\]|\\.)*)"', call.arguments
        ):
            given = bytes(name, "latin-1").decode("unicode_escape")
            found.append(self._path(call, directory, given))
        return found

    def _call_openat(self, call: Call, *_: str) -> None:
        got = re.search(r"= (\d+)<(.*)>(?:\(deleted\))?\s*$", call.text)
        if not got:
            return
        number, path = got[1], got[2]
        self._paths[call.pid, number] = path
        flags = call.arguments
        if not path.startswith(self.top):
            return
        if "O_TMPFILE" in flags:
            self._nameless[path] = File()
        elif "O_CREAT" in flags and self._find(path) is None:
            directory, name = self._entry(path)
            if directory is not None:
                file = directory.children[name] = File()
                self._add(call, directory, "link", directory, name, file)
        file_here = self._find(path)
        if "O_TRUNC" in flags and file_here is not None and file_here.size:
            file_here.size = 0
            self._add(call, file_here, "size", 0)
        if ("O_DSYNC" in flags or "O_SYNC" in flags) and file_here is not None:
            raise Unknown(call.text[:200])
        self._positions[number, path] = None if "O_APPEND" in flags else 0

    _call_open = _call_openat2 = _call_creat = _call_openat

    def _call_lseek(self, call: Call, number: str, path: str) -> None:
        if self._positions.get((number, path), 0) is not None:
            self._positions[number, path] = call.result

    def _write(self, call: Call, path: str, data: bytes, offset: int) -> None:
        file = self._find(path)
        if file is None or not data:
            return
        step = max(LARGE, -(-len(data) // PARTS))
        for at in range(0, len(data), step):
            self._add(call, file, "write", offset + at, data[at : at + step])
        file.size = max(file.size, offset + len(data))

    def _data(self, call: Call) -> bytes:
        data = "".join(quoted(call.arguments)).encode("latin-1")[: call.result]
        if len(data) < call.result:
            raise Unknown(f"only {len(data)} of {call.result} bytes were written down: {call.text[:100]}")
        return data

    def _call_write(self, call: Call, number: str, path: str) -> None:
        file = self._find(path)
        if file is None or file.names is not None:
            return
        data = self._data(call)
        position = self._positions.get((number, path), 0)
        offset = file.size if position is None else position
        self._write(call, path, data, offset)
        if position is not None:
            self._positions[number, path] = offset + len(data)

    _call_writev = _call_write

    def _call_pwrite64(self, call: Call, number: str, path: str) -> None:
        if self._find(path) is not None:
            offset = re.search(r", (-?\d+)\)\s+= ", call.text)
            if offset is None:
                raise Unknown(call.text[:200])
            self._write(call, path, self._data(call), int(offset[1]))

    _call_pwritev = _call_pwrite64

    def _call_pwritev2(self, call: Call, number: str, path: str) -> None:
        if self._find(path) is not None:
            raise Unknown(call.text[:200])

    _call_copy_file_range = _call_pwritev2

    def _call_sendfile(self, call: Call, number: str, path: str) -> None:
        self._call_pwritev2(call, number, path)

    def _call_splice(self, call: Call, *_: str) -> None:
        target = re.match(r"[^,]*, [^,]*, \d+<([^>]*)>", call.arguments)
        if target and self._find(target[1]) is not None:
            raise Unknown(call.text[:200])

    def _call_ftruncate(self, call: Call, number: str, path: str) -> None:
        file = self._find(path)
        size = re.search(r", (\d+)\)\s+= ", call.text)
        if file is not None and size:
            file.size = int(size[1])
            self._add(call, file, "size", file.size)

    def _call_truncate(self, call: Call, *_: str) -> None:
        self._call_ftruncate(call, "", self._paths_of(call)[0])

    def _call_fallocate(self, call: Call, number: str, path: str) -> None:
        file = self._find(path)
        if file is None or "KEEP_SIZE" in call.arguments:
            return
        mode, offset, length = re.search(r">(?:\(deleted\))?, (\w+), (\d+), (\d+)\)", call.text).groups()  # type: ignore[union-attr]
        if mode != "0":
            raise Unknown(call.text[:200])
        if int(offset) + int(length) > file.size:
            file.size = int(offset) + int(length)
            self._add(call, file, "size", file.size)

    def _attribute(self, call: Call, path: str, strings: list[str], is_set: bool) -> None:
        file = self._find(path)
        if file is not None:
            value = strings[1].encode("latin-1") if is_set else None
            size = re.search(r", (\d+), (?:\w|\|)+\)\s+= ", call.text)
            if is_set and (size is None or len(value or b"") != int(size[1])):
                raise Unknown(call.text[:200])
            self._add(call, file, "attribute", strings[0], value)

    def _call_fsetxattr(self, call: Call, number: str, path: str) -> None:
        self._attribute(call, path, quoted(call.arguments), True)

    def _call_fremovexattr(self, call: Call, number: str, path: str) -> None:
        self._attribute(call, path, quoted(call.arguments), False)

    def _call_setxattr(self, call: Call, *_: str) -> None:
        path, *strings = quoted(call.arguments)
        self._attribute(call, self._path(call, "", path), strings, True)

    def _call_removexattr(self, call: Call, *_: str) -> None:
        path, *strings = quoted(call.arguments)
        self._attribute(call, self._path(call, "", path), strings, False)

    _call_lsetxattr, _call_lremovexattr = _call_setxattr, _call_removexattr

    def _call_mkdir(self, call: Call, *_: str) -> None:
        directory, name = self._entry(self._paths_of(call)[0])
        if directory is not None:
            file = directory.children[name] = File(is_directory=True)
            self._add(call, directory, "link", directory, name, file)

    _call_mkdirat = _call_mkdir

    def _call_unlink(self, call: Call, *_: str) -> None:
        directory, name = self._entry(self._paths_of(call)[0])
        if directory is not None:
            directory.children.pop(name, None)
            self._add(call, directory, "unlink", directory, name)

    _call_unlinkat = _call_rmdir = _call_unlink

    def _call_link(self, call: Call, *_: str) -> None:
        source, target = self._paths_of(call)
        file = self._find(source)
        directory, name = self._entry(target)
        if directory is not None:
            if file is None:
                raise Unknown(call.text[:200])
            directory.children[name] = file
            self._add(call, directory, "link", directory, name, file)

    _call_linkat = _call_link

    def _call_rename(self, call: Call, *_: str) -> None:
        source, target = self._paths_of(call)
        old, old_name = self._entry(source)
        directory, name = self._entry(target)
        if old is not None and directory is not None:
            file = directory.children[name] = old.children.pop(old_name)
            self._add(call, directory, "rename", old, old_name, directory, name, file)
        elif directory is not None or old is not None:
            raise Unknown(call.text[:200])

    _call_renameat = _call_renameat2 = _call_rename

    def _call_fsync(self, call: Call, number: str, path: str) -> None:
        file = self._find(path)
        if file is not None:
            file.syncs.append((call.began, call.ended or 0, call.name == "fdatasync"))
            self.sync_ends.append(call.ended or 0)

    _call_fdatasync = _call_fsync

    def _call_syncfs(self, call: Call, *_: str) -> None:
        """Everything, if this file system is meant."""
        if len(_) > 1 and not _[1].startswith(self.top):
            return
        for file in {id(change.file): change.file for change in self.changes}.values():
            file.syncs.append((call.began, call.ended or 0, False))
        self.sync_ends.append(call.ended or 0)

    # -- moments and states

    def is_durable(self, change: Change, at: int) -> bool:
        """True if it is on disk at that moment, whatever happens."""
        return any(
            began > change.ended and ended <= at and not (of_data and change.what == "attribute")
            for began, ended, of_data in change.file.syncs
        )

    def crash_at(self, at: int) -> Crash:
        done = [change for change in self.changes if change.began <= at]
        durable = [change for change in done if self.is_durable(change, at)]
        known = set(map(id, durable))
        return Crash(at, durable, [change for change in done if id(change) not in known])

    def crashes(self, answers: list[int]) -> Iterator[Crash]:
        """The moments that matter: just before each sync has ended, and as each answer leaves (`answers`: when each began to)."""
        moments = sorted({*(end - 1 for end in self.sync_ends), *answers, 1 << 60})
        for at in moments:
            yield self.crash_at(at)

    def make(self, kept: list[Change], folder: pathlib.Path) -> None:
        """A state as a directory: these changes, in their order, and no others."""
        contents: dict[int, Content] = {}
        files: dict[int, File] = {id(self.root): self.root}

        def of(file: File) -> Content:
            files[id(file)] = file
            return contents.setdefault(id(file), Content())

        for change in sorted(kept, key=self.changes.index):
            _apply(change, of)
        _write_out(self.root, folder, of)


def choose(crash: Crash, chance: random.Random) -> Iterator[list[Change]]:
    """Which of the changes that may be lost are kept: all combinations of a few; of many none, all, the first ones, all but one, one
    alone, and some at random."""
    loose = crash.loose
    if len(loose) <= ALL_OF:
        for size in range(len(loose) + 1):
            yield from map(list, itertools.combinations(loose, size))
        return
    for count in range(len(loose) + 1):
        yield loose[:count]
    for change in loose:
        yield [change]
        yield [other for other in loose if other is not change]
    for _ in range(AT_RANDOM):
        yield [change for change in loose if chance.random() < 0.5]


def states(recording: Recording, answers: list[int], seed: int = 1) -> Iterator[tuple[int, list[Change]]]:
    """(how many of the answers have left, what is on disk), each state once for each count."""
    chance = random.Random(seed)
    seen: set[tuple[int, frozenset[int]]] = set()
    for crash in recording.crashes(answers):
        count = sum(answer <= crash.at for answer in answers)
        for kept in choose(crash, chance):
            key = count, frozenset(map(id, crash.durable)) | frozenset(map(id, kept))
            if key not in seen:
                seen.add(key)
                yield count, crash.durable + kept


def _apply(change: Change, of: object) -> None:
    details = change.details
    if change.what == "write":
        offset, data = details
        content = of(change.file).data  # type: ignore[operator]
        if len(content) < offset:  # type: ignore[operator]
            content.extend(bytes(offset - len(content)))  # type: ignore[operator]
        content[offset : offset + len(data)] = data  # type: ignore[operator,arg-type]
    elif change.what == "size":
        content = of(change.file).data  # type: ignore[operator]
        size = int(details[0])  # type: ignore[call-overload]
        del content[size:]
        content.extend(bytes(size - len(content)))
    elif change.what == "attribute":
        name, value = details
        attributes = of(change.file).attributes  # type: ignore[operator]
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    elif change.what == "link":
        directory, name, file = details
        of(directory).names[name] = file  # type: ignore[operator]
    elif change.what == "unlink":
        of(details[0]).names.pop(details[1], None)  # type: ignore[operator]
    else:
        old, old_name, directory, name, file = details
        of(old).names.pop(old_name, None)  # type: ignore[operator]
        of(directory).names[name] = file  # type: ignore[operator]


def _write_out(file: File, path: pathlib.Path, of: object) -> None:
    content = of(file)  # type: ignore[operator]
    if file.names is None:
        path.write_bytes(bytes(content.data))
    else:
        path.mkdir(exist_ok=True)
        for name, child in content.names.items():
            _write_out(child, path / name, of)
    for name, value in content.attributes.items():
        os.setxattr(path, name, value)


def tree(folder: pathlib.Path) -> dict[str, tuple[bytes | None, dict[str, bytes]]]:
    """path → (bytes, or None of a directory; attributes), to compare two."""
    found = {}
    for path in sorted(folder.rglob("*")):
        attributes = {
            name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith("user.")
        }
        found[str(path.relative_to(folder))] = (None if path.is_dir() else path.read_bytes(), attributes)
    return found
