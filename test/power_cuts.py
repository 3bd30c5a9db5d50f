"""A real file system on a disk whose every write is recorded, and the disks that a power cut may have left of it.

The disk is a loop device over the only file of a FUSE file system, which this process serves: each write to the device, and each flush of its
cache, comes here as a request. What a flush has ended for is on the disk; of the writes after the last flush any may be there,
any may be lost, and one may be there in part. So the journal of the file system itself is tried, not a model of it.

What lives here: the recorder, and making disks. What never does: what must be true of them. Needs root, /dev/fuse, loop devices.
"""

import contextlib
import ctypes
import os
import pathlib
import random
import shutil
import stat
import struct
import subprocess
import tempfile
import threading

import pytest

SIZE = 320 << 20  # the least that mkfs.xfs takes
SECTOR = 512
MNT_DETACH = 2
_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_WRITE_IN = struct.Struct("<QQIIQII")
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 36, 38, 42
ROOT_NODE, FILE_NODE = 1, 2
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
MOST = 1 << 20  # bytes of a request
ENOENT, ENOSYS = -2, -38


class RecordedDisk:
    """`path`: the file that stands for the disk. `record`: what came, in order: ("write", offset, bytes), ("flush",) and what `note` got."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.image = self.folder / "image"
        self.mounted = self.folder / "fuse"
        self.path = self.mounted / "disk"
        self.record = []
        self.recording = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._device = -1
        self._thread = None
        self._lock = threading.Lock()

    def start(self):
        with open(self.image, "wb") as file:
            file.truncate(SIZE)
        self._file = os.open(self.image, os.O_RDWR | os.O_CLOEXEC)
        self.mounted.mkdir()
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as err:
            pytest.skip(f"no FUSE here: {err.strerror}")
        options = (
            f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={MOST}".encode()
        )
        if self._libc.mount(b"recorded", bytes(self.mounted), b"fuse.recorded", 0, options):
            pytest.skip(f"no FUSE file system can be mounted here: {os.strerror(ctypes.get_errno())}")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self):
        if self._device >= 0:
            self._libc.umount2(bytes(self.mounted), MNT_DETACH)
            if self._thread is not None:
                self._thread.join(20)
            os.close(self._device)
            os.close(self._file)
            self._device = -1

    def note(self, *what):
        """Add to the record: what has been told by now."""
        with self._lock:
            self.record.append(what)

    # -- the file system ---------------------------------------------------------------------------------------------------

    def _serve(self):
        buffer = bytearray(MOST + 4096)
        while True:
            try:
                count = os.readv(self._device, [buffer])
            except OSError:  # it is no longer mounted
                return
            _, operation, unique, node, *_ = _IN.unpack_from(buffer)
            if operation in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self._answer(operation, node, memoryview(buffer)[_IN.size : count])
            error, data = (answer, b"") if isinstance(answer, int) else (0, answer)
            with contextlib.suppress(OSError):
                os.write(self._device, _OUT.pack(_OUT.size + len(data), error, unique) + data)
            if operation == DESTROY:
                return

    def _answer(self, operation, node, body):
        """The answer's bytes, or an error."""
        if operation == INIT:
            flags = struct.unpack_from("<IIII", body)[3] & (_BIG_WRITES | _MAX_PAGES)
            return struct.pack("<IIIIHHIIHHII24x", 7, 31, 0, flags, 64, 48, MOST, 1, MOST // 4096, 0, 0, 0)
        if operation == LOOKUP:
            if bytes(body) != b"disk\0":
                return ENOENT
            return struct.pack("<QQQQII", FILE_NODE, 0, 3600, 3600, 0, 0) + self._attributes(FILE_NODE)
        if operation in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes(node)
        if operation == OPEN:
            return struct.pack("<QII", 1, 0, 0)
        if operation == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self._file, size, offset)
        if operation == WRITE:
            _, offset, size, *_ = _WRITE_IN.unpack_from(body)
            return self._written(offset, bytes(body[_WRITE_IN.size : _WRITE_IN.size + size]))
        if operation == FSYNC:
            if self.recording:
                self.note("flush")
            return b""
        if operation in (FLUSH, RELEASE, DESTROY):
            return b""
        if operation == STATFS:
            return struct.pack("<QQQQQIIII24x", SIZE // 4096, 0, 0, 10, 0, 4096, 255, 4096, 0)
        return ENOSYS

    def _written(self, offset, data):
        os.pwrite(self._file, data, offset)
        if self.recording:
            self.note("write", offset, data)
        return struct.pack("<II", len(data), 0)

    def _attributes(self, node):
        mode, size = (stat.S_IFREG | 0o600, SIZE) if node == FILE_NODE else (stat.S_IFDIR | 0o700, 0)
        return _ATTRIBUTES.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


@contextlib.contextmanager
def recorded_xfs(*options):
    """(the recorder, where the file system is mounted); `options` of its mkfs. The test is skipped where that can't be had."""
    missing = [tool for tool in ("mkfs.xfs", "losetup", "mount") if not shutil.which(tool)]
    if os.geteuid() or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'its rights'} for a disk of its own")
    folder = tempfile.mkdtemp(
        prefix="swift-test-power-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    )
    disk = RecordedDisk(folder)
    device = ""
    where = pathlib.Path(folder) / "mounted"
    where.mkdir()
    try:
        disk.start()
        device = _run("losetup", "--find", "--show", str(disk.path)).strip()
        _run("mkfs.xfs", "-q", "-K", *options, device)
        _run("mount", "-o", "noatime", device, str(where))
        _run("sync", "--file-system", str(where))
        shutil.copyfile(disk.image, disk.folder / "first")  # what it was when the record began
        disk.recording = True
        yield disk, where
    finally:
        disk.recording = False
        subprocess.run(["umount", "-l", str(where)], check=False, stderr=subprocess.DEVNULL)
        if device:
            subprocess.run(["losetup", "-d", device], check=False)
        disk.end()
        shutil.rmtree(folder, ignore_errors=True)


def _run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{words[0]} does not work here: {done.stderr.strip()}")
    return done.stdout


# ---------------------------------------------------------------- what may be left


class Cut:
    """A moment in a record: what was noted before it, and the writes that may be lost."""

    def __init__(self, record, at):
        self.at = at
        flushes = [number for number in range(at) if record[number][0] == "flush"]
        self.flushed = flushes[-1] + 1 if flushes else 0
        self.open = [item for item in record[self.flushed : at] if item[0] == "write"]
        self.noted = [item for item in record[:at] if item[0] not in ("write", "flush")]


def cuts(record, number, chance):
    """So many moments, in order: between any two things that happened."""
    moments = sorted(chance.sample(range(1, len(record) + 1), min(number, len(record))))
    return [Cut(record, at) for at in moments]


def left_over(cut, chance):
    """Of the writes that may be lost those that are not, one perhaps in part: all, none, or any."""
    share = chance.choice((0.0, 0.3, 0.5, 0.8, 1.0))
    kept = [item for item in cut.open if chance.random() < share]
    if kept and chance.random() < 0.3:
        number = chance.randrange(len(kept))
        _, offset, data = kept[number]
        kept[number] = ("write", offset, data[: chance.randrange(len(data) // SECTOR + 1) * SECTOR])
    return kept


class Disks:
    """Disks after cuts that come in order. `mounted(cut, kept)`: the file system as it is after the power is back."""

    def __init__(self, disk):
        self.disk = disk
        self._durable = disk.folder / "first"
        self._done = 0

    @contextlib.contextmanager
    def mounted(self, cut, kept):
        with open(self._durable, "r+b") as file:
            _apply(file, [item for item in self.disk.record[self._done : cut.flushed] if item[0] == "write"])
        self._done = max(self._done, cut.flushed)
        state, where = self.disk.folder / "state", self.disk.folder / "again"
        subprocess.run(["cp", "--sparse=always", str(self._durable), str(state)], check=True)
        with open(state, "r+b") as file:
            _apply(file, kept)
        where.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop,noatime,nouuid", str(state), str(where)], check=True)
        try:
            yield where
        finally:
            subprocess.run(["umount", str(where)], check=True)
            state.unlink()


def _apply(file, writes):
    for _, offset, data in writes:
        file.seek(offset)
        file.write(data)


def seeded(number):
    """The chance of a run, told in the output of a test that fails."""
    print(f"chance: {number}")
    return random.Random(number)
