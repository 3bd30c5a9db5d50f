"""Ring files: formats 1 and 2, reading and writing (spec ring 5).

A file is taken as a whole or refused: CRC, length, row lengths and device ids are checked before anybody sees its data.
Builder files are not here, lookups neither.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from swift.engine.durable import write_durable
from swift.ring.devices import without_builder_keys
from swift.ring.errors import RingFileError

MAGIC = b"R1NG"
FORMATS = (1, 2)
UNASSIGNED = {2: 0xFFFF, 4: 0xFFFFFFFF}
TYPECODE = {2: "H", 4: "I"}
MAX_RAW_SIZE = 1 << 35  # 2**32 partitions times 4 bytes, twice: nothing larger is a ring
MAX_JSON_SIZE = 1 << 28
_GZIP_MTIME = 1300507380  # fixed, so that equal rings give equal files
_GZIP_HEAD = b"\x1f\x8b\x08\x08" + struct.pack("<L", _GZIP_MTIME) + b"\x02\xff"
_FULL_FLUSH = b"\x00\x00\x00\xff\xff"
_METADATA, _DEVICES, _ASSIGNMENTS = "swift/ring/metadata", "swift/ring/devices", "swift/ring/assignments"
_CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
_CHUNK = 1 << 16

Row = array


def id_width(highest_id: int) -> int:
    """Bytes that an entry needs for ids up to this one (6.3); ValueError ``Way too many devices!``."""
    for width, unassigned in UNASSIGNED.items():
        if highest_id < unassigned:
            return width
    raise ValueError("Way too many devices!")


class RingData:
    """What a ring file holds.

    devs: list of device dicts and None (index = id); rows: list of ``array('H' | 'I')``, part → device id;
    part_shift: 32 - part power; version, next_part_power: int or None; dev_id_bytes: 2 or 4.
    Set by loading: format_version, size (bytes of the file), raw_size (ISIZE), md5 (hex digest of the file), mtime,
    assigned (set of the ids that occur in the rows).
    """

    def __init__(
        self,
        devs: list[dict[str, Any] | None],
        rows: list[Row],
        part_shift: int,
        version: int | None = None,
        next_part_power: int | None = None,
        dev_id_bytes: int | None = None,
    ) -> None:
        self.devs = devs
        self.rows = rows
        self.part_shift = part_shift
        self.version = version
        self.next_part_power = next_part_power
        self.dev_id_bytes = dev_id_bytes or (rows[0].itemsize if rows else id_width(max(0, len(devs) - 1)))
        self.format_version = 1
        self.size = 0
        self.raw_size = 0
        self.md5 = ""
        self.mtime = 0.0
        self.assigned: set[int] = set()
        self._told_replica_count: float | None = None

    @property
    def part_power(self) -> int:
        return 32 - self.part_shift

    @property
    def replica_count(self) -> float:
        """Float; the integer 0 without rows. After ``load_metadata``: what the metadata say (3.4)."""
        if self._told_replica_count is not None:
            return self._told_replica_count
        if not self.rows:
            return 0
        return len(self.rows) - 1 + len(self.rows[-1]) / len(self.rows[0])

    @classmethod
    def load(cls, path: str, known_rows: list[array] | None = None) -> RingData:
        """Read a whole ring file. Raises OSError or RingFileError.

        `known_rows`: tables whose ids need not be looked at if they are those of the file; `assigned` is empty then.
        """
        with open(path, "rb") as f:
            # before reading: a file replaced meanwhile must look changed afterwards
            mtime = os.fstat(f.fileno()).st_mtime
            data = f.read()
        ring = _decode(path, data)
        if known_rows is None or ring.rows != known_rows:
            _check_ids(ring)
        ring.mtime = mtime
        ring.size = len(data)
        ring.raw_size = int.from_bytes(data[-4:], "little")
        ring.md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return ring

    @classmethod
    def load_metadata(cls, path: str, with_devices: bool = True) -> RingData:
        """Read a ring file without its tables; ``replica_count`` then comes from the metadata (3.4).

        Without the rest of the file its checksums cannot be checked. Raises OSError or RingFileError.
        """
        with open(path, "rb") as f:
            stat = os.fstat(f.fileno())
            head = _Inflater(f)
            version = _check_magic(path, head.read(6))
            if version == 1:
                meta = _decode_json(head.read(_blob_length(head.read(4))))
                ring = _ring_of_metadata(meta, meta.get("devs"))
                ring._told_replica_count = _replica_count(meta, whole=True)
            else:
                ring = _load_metadata_2(f, with_devices)
            f.seek(-4, os.SEEK_END)
            ring.raw_size = int.from_bytes(f.read(4), "little")
        ring.size, ring.mtime, ring.format_version = stat.st_size, stat.st_mtime, version
        return ring

    def encode(self, path: str, format_version: int = 1) -> bytes:
        """The bytes of the file under this name (the name is part of them). ValueError as in 5.2 and 5.5."""
        if format_version not in FORMATS:
            raise ValueError(
                f"format_version must be one of {', '.join(map(str, FORMATS))}, not {format_version!r}"
            )
        out = _Deflater(os.path.basename(path), format_version)
        if format_version == 1:
            self._write_1(out)
        else:
            self._write_2(out)
        return out.finish()

    def save(self, path: str, format_version: int = 1) -> None:
        """Write the file: temporary file, fsync, rename, mode 0644. ValueError as in 5.2 and 5.5."""
        path = os.path.abspath(path)
        write_durable(path, self.encode(path, format_version), mode=0o644)

    def _write_1(self, out: _Deflater) -> None:
        if self.dev_id_bytes != 2:
            raise ValueError("Ring v1 only supports 2-byte dev IDs")
        meta = {
            "byteorder": sys.byteorder,
            "devs": self.devs,
            "part_shift": self.part_shift,
            "replica_count": len(self.rows),
            **({"version": self.version} if self.version is not None else {}),
            **({"next_part_power": self.next_part_power} if self.next_part_power is not None else {}),
        }
        text = _encode_json(meta)
        out.write(struct.pack("!I", len(text)) + text)
        for row in self.rows:
            out.write(row.tobytes())

    def _write_2(self, out: _Deflater) -> None:
        meta = {
            "part_shift": self.part_shift,
            "dev_id_bytes": self.dev_id_bytes,
            "replica_count": self.replica_count,
            "version": self.version,
            **({"next_part_power": self.next_part_power} if self.next_part_power is not None else {}),
        }
        code = TYPECODE[self.dev_id_bytes]
        table = b"".join(
            _swapped(row if row.typecode == code else array(code, row)).tobytes() for row in self.rows
        )
        index = {}
        for name, content in (
            (_METADATA, _encode_json(meta)),
            (_DEVICES, _encode_json(self.devs)),
            (_ASSIGNMENTS, table),
        ):
            blob = struct.pack("!Q", len(content)) + content
            start = out.position()
            out.write(blob)
            index[name] = [*start, *out.position(), "sha256", hashlib.sha256(blob).hexdigest()]
        text = _encode_json(index)
        compressed, uncompressed = out.position()
        out.write(struct.pack("!Q", len(text)) + text)
        out.write_stored(struct.pack("!Q", uncompressed))
        out.write_stored(struct.pack("!Q", compressed))

    def content_digest(self) -> str:
        """SHA-256 over devices, rows and powers: equal for equal content whatever name, format or id width."""
        devs = [without_builder_keys(dev) for dev in self.devs]
        digest = hashlib.sha256(_encode_json([devs, self.part_shift, self.next_part_power]))
        for row in self.rows:
            digest.update(struct.pack("!Q", len(row)))
            for at in range(0, len(row), _CHUNK):
                digest.update(_swapped(array("I", row[at : at + _CHUNK])).tobytes())
        return digest.hexdigest()


def _swapped(row: Row) -> Row:
    """Big endian bytes, whatever the machine."""
    if sys.byteorder == "big":
        return row
    row = row[:]
    row.byteswap()
    return row


def _encode_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")


# ---- the gzip layer


class _Deflater:
    """One gzip member whose positions of interest can be entered by a fresh inflater (5.1, 5.3)."""

    def __init__(self, file_name: str, version: int) -> None:
        name = file_name.removesuffix(".gz").encode("latin-1", "replace").replace(b"\0", b"")
        self._parts = [_GZIP_HEAD + name + b"\0"]
        self._length = len(self._parts[0])
        self._raw_length = 0
        self._crc = 0
        self._dirty = False
        self._deflate = self._fresh()
        # stored, so that libmagic sees the magic
        self.write_stored(MAGIC + struct.pack("!H", version))

    @staticmethod
    def _fresh() -> Any:
        return zlib.compressobj(9, zlib.DEFLATED, -15)

    def _emit(self, data: bytes) -> None:
        self._parts.append(data)
        self._length += len(data)

    def _account(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._raw_length += len(data)

    def write(self, data: bytes) -> None:
        self._account(data)
        self._emit(self._deflate.compress(data))
        self._dirty = True

    def _flush(self) -> None:
        if self._dirty:
            self._emit(self._deflate.flush(zlib.Z_FULL_FLUSH))
            self._dirty = False

    def write_stored(self, data: bytes) -> None:
        """A few bytes as they are, between full flushes."""
        self._flush()
        self._account(data)
        self._emit(b"\x00" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data + _FULL_FLUSH)

    def position(self) -> tuple[int, int]:
        """(offset in the file, offset in the data) where a fresh inflater may begin."""
        self._flush()
        return self._length, self._raw_length

    def finish(self) -> bytes:
        if self._dirty:
            self._emit(self._deflate.flush(zlib.Z_FINISH))
        else:
            self._emit(b"\x01\x00\x00\xff\xff")
        self._emit(struct.pack("<LL", self._crc, self._raw_length & 0xFFFFFFFF))
        return b"".join(self._parts)


class _Inflater:
    """Reads a file's data from the beginning, or raw from a point of full flush; never more than asked for."""

    def __init__(self, file: Any, window_bits: int = 31) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(window_bits)

    def read(self, count: int) -> bytes:
        parts = []
        while count and not self._inflate.eof:
            feed = self._inflate.unconsumed_tail or self._file.read(_CHUNK)
            if not feed:
                break
            try:
                part = self._inflate.decompress(feed, count)
            except zlib.error as error:
                raise RingFileError(str(error)) from None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _inflate_all(data: bytes) -> tuple[bytes, str | None]:
    """(decompressed data, what is wrong with the gzip member or None)."""
    inflate = zlib.decompressobj(31)
    parts: list[bytes] = []
    total = 0
    feed = memoryview(data)
    problem = None
    try:
        for at in range(0, len(feed), 1 << 20):
            part = inflate.decompress(feed[at : at + (1 << 20)])
            parts.append(part)
            total += len(part)
            if total > MAX_RAW_SIZE:
                return b"".join(parts), "too large for a ring"
            if inflate.eof:
                if inflate.unused_data or at + (1 << 20) < len(feed):
                    problem = "more data behind the end of the gzip member"
                break
        else:
            problem = "the file is truncated"
    except zlib.error as error:
        problem = str(error)
    return b"".join(parts), problem


# ---- decoding


def _check_magic(path: str, head: bytes) -> int:
    if head[:4] != MAGIC:
        raise RingFileError(f"Bad ring magic: {head[:4]!r}")
    version = int.from_bytes(head[4:6], "big")
    if version not in FORMATS:
        raise RingFileError(f"Unsupported ring version: {version} for {path!r}")
    return version


def _blob_length(data: bytes) -> int:
    length = int.from_bytes(data, "big")
    if length > MAX_JSON_SIZE:
        raise RingFileError(f"Ring metadata of {length} bytes is too large")
    return length


def _decode_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RingFileError(str(error) or "ring metadata nested too deeply") from None


def _decode(path: str, data: bytes) -> RingData:
    raw, problem = _inflate_all(data)
    if problem and not raw and data:
        raise RingFileError(problem)
    version = _check_magic(path, raw[:6])
    if problem:
        raise RingFileError(f"Damaged ring file {path}: {problem}")
    ring = _decode_1(raw) if version == 1 else _decode_2(raw)
    ring.format_version = version
    return ring


def _number(meta: dict, key: str, required: bool = True, kind: Any = (int, float)) -> Any:
    value = meta.get(key)
    if value is None and not required:
        return None
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
        raise RingFileError(f"Ring metadata lack a sensible {key}")
    return value


def _check_device(dev_id: int, dev: Any) -> None:
    """Lookups rely on these; what else a device dict holds is nobody's business here."""
    if (
        not isinstance(dev, dict)
        or dev.get("id") != dev_id
        or not all(isinstance(dev.get(key), str) for key in ("ip", "device"))
        or not all(isinstance(dev.get(key), (int, float)) for key in ("zone", "weight"))
        or "port" not in dev
        or not isinstance(dev.setdefault("region", 1), (int, float))
    ):
        raise RingFileError(f"Device {dev_id} of the ring is not a device")
    dev.setdefault("replication_ip", dev["ip"])
    dev.setdefault("replication_port", dev["port"])


def _ring_of_metadata(meta: Any, devs: Any) -> RingData:
    """The ring without its rows; every field checked."""
    if not isinstance(meta, dict):
        raise RingFileError("Ring metadata are not an object")
    part_shift = _number(meta, "part_shift")
    if part_shift not in range(33):
        raise RingFileError(f"Impossible part_shift: {part_shift!r}")
    if not isinstance(devs, list):
        raise RingFileError("Ring metadata lack a list of devices")
    for dev_id, dev in enumerate(devs):
        if dev is None:
            continue
        _check_device(dev_id, dev)
    dev_id_bytes = meta.get("dev_id_bytes", 2)
    if dev_id_bytes not in (2, 4):
        raise RingFileError(f"Unsupported dev_id_bytes: {dev_id_bytes!r}")
    return RingData(
        devs,
        [],
        int(part_shift),
        version=_number(meta, "version", required=False, kind=int),
        next_part_power=_number(meta, "next_part_power", required=False, kind=int),
        dev_id_bytes=dev_id_bytes,
    )


def _cut_rows(ring: RingData, table: bytes, count: int, swap: bool) -> None:
    """Fill ``ring.rows`` with up to ``count`` rows; only the last may be short."""
    width = ring.dev_id_bytes
    full = width << (32 - ring.part_shift)
    if len(table) % width:
        raise RingFileError("bytes length not a multiple of item size")
    view = memoryview(table)
    for index in range(count):
        row = array(TYPECODE[width])
        row.frombytes(view[index * full : (index + 1) * full])
        if swap:
            row.byteswap()
        if len(row) * width < full and index < count - 1:
            raise RingFileError(
                f"Truncated ring table: row {index} of {count} has {len(row)} of {full // width} entries"
            )
        ring.rows.append(row)


def _replica_count(meta: Any, whole: bool) -> int | float | None:
    """How many rows the metadata announce; `whole`: a whole number, and not left out. Raises RingFileError."""
    count = _number(meta, "replica_count", required=whole)
    if count is not None and (not 0 <= count <= 1 << 16 or whole and not isinstance(count, int)):
        raise RingFileError(f"Impossible replica_count: {count!r}")
    return count


def _decode_1(raw: bytes) -> RingData:
    start = 10 + _blob_length(raw[6:10])
    meta = _decode_json(raw[10:start])
    if len(raw) < start:
        raise RingFileError("Truncated ring metadata")
    if isinstance(meta, dict):
        meta.pop("dev_id_bytes", None)
    ring = _ring_of_metadata(meta, meta.get("devs") if isinstance(meta, dict) else None)
    count = _replica_count(meta, whole=True)
    assert isinstance(count, int)
    if count and count - 1 > (len(raw) - start) // (2 << (32 - ring.part_shift)):
        raise RingFileError("Truncated ring table")
    table = raw[start:]
    table = table[: count * (2 << (32 - ring.part_shift))]
    _cut_rows(ring, table, count, meta.get("byteorder", sys.byteorder) != sys.byteorder)
    if count == 1 and len(ring.rows[0]) != 1 << (32 - ring.part_shift):
        raise RingFileError("Truncated ring table")
    return ring


def _decode_2(raw: bytes) -> RingData:
    at = int.from_bytes(raw[-16:-8], "big")
    if not 6 <= at <= len(raw) - 24:
        raise RingFileError("Could not read index offset")
    length = _blob_length(raw[at : at + 8])
    index = _decode_json(raw[at + 8 : at + 8 + length])
    meta = _decode_json(_section(raw, index, _METADATA))
    ring = _ring_of_metadata(meta, _decode_json(_section(raw, index, _DEVICES)))
    if "dev_id_bytes" not in meta:
        raise RingFileError("Ring metadata lack a sensible dev_id_bytes")
    table = _section(raw, index, _ASSIGNMENTS)
    parts = 1 << (32 - ring.part_shift)
    full = parts * ring.dev_id_bytes
    told = _replica_count(meta, whole=False)
    if told is not None and abs(told * parts - len(table) / ring.dev_id_bytes) >= 1:
        raise RingFileError("Truncated ring table: replica count and length of the table differ")
    if 0 < len(table) < full:
        raise RingFileError("Truncated ring table")
    _cut_rows(ring, table, -(-len(table) // full), sys.byteorder != "big")
    return ring


def _entry(index: Any, name: str) -> Sequence[Any]:
    entry = index.get(name) if isinstance(index, dict) else None
    if not isinstance(entry, list) or len(entry) != 6 or not all(isinstance(x, int) for x in entry[:2]):
        raise RingFileError(f"Ring index lacks the section {name}")
    return entry


def _section(raw: bytes, index: Any, name: str) -> bytes:
    """The checked content of a section, from the whole of the decompressed file."""
    entry = _entry(index, name)
    start = entry[1]
    if not 0 <= start <= len(raw) - 8:
        raise RingFileError(f"Ring index is wrong about {name}")
    length = int.from_bytes(raw[start : start + 8], "big")
    if length > len(raw) - start - 8:
        raise RingFileError(f"Section {name} is truncated")
    blob = raw[start : start + 8 + length]
    _check_blob(blob, entry, name)
    return blob[8:]


def _check_blob(blob: bytes, entry: Sequence[Any], name: str) -> None:
    end, method, expected = entry[3], entry[4], entry[5]
    if end is not None and end != entry[1] + len(blob):
        raise RingFileError("Inconsistent section size")
    if expected is None:
        return
    if method not in _CHECKSUMS:
        raise RingFileError(f"Unsupported checksum {method}:{expected} for section {name}")
    found = hashlib.new(method, blob, usedforsecurity=False).hexdigest()
    if found != expected:
        raise RingFileError(f"Hash mismatch in block: {found!r} found; {expected!r} expected")


def _load_metadata_2(f: Any, with_devices: bool) -> RingData:
    """By seeking; a file recompressed by others is read whole."""
    wanted = (_METADATA, _DEVICES) if with_devices else (_METADATA,)
    try:
        sections = _seek_sections(f, wanted)
    except _NotSeekable:
        f.seek(0)
        raw, problem = _inflate_all(f.read())
        if problem:
            raise RingFileError(f"Damaged ring file: {problem}") from None
        at = int.from_bytes(raw[-16:-8], "big")
        index = _decode_json(raw[at + 8 : at + 8 + _blob_length(raw[at : at + 8])])
        sections = {name: _section(raw, index, name) for name in wanted}
    meta = _decode_json(sections[_METADATA])
    ring = _ring_of_metadata(meta, _decode_json(sections[_DEVICES]) if with_devices else [])
    told = _replica_count(meta, whole=False)
    ring._told_replica_count = 0.0 if told is None else float(told)
    return ring


class _NotSeekable(Exception):
    """The deflate stream has no entry points where the index says."""


def _seek_sections(f: Any, names: Iterable[str]) -> dict[str, bytes]:
    size = f.seek(0, os.SEEK_END)
    if size < 60:
        raise _NotSeekable

    def inflate_at(offset: int) -> _Inflater:
        if not 0 <= offset < size:
            raise _NotSeekable
        f.seek(offset)
        return _Inflater(f, -15)

    try:
        at = inflate_at(size - 31).read(8)
        if len(at) != 8:
            raise _NotSeekable
        reader = inflate_at(int.from_bytes(at, "big"))
        length = _blob_length(reader.read(8))
        index = json.loads(reader.read(length))
        blobs = {}
        for name in names:
            entry = _entry(index, name)
            reader = inflate_at(entry[0])
            head = reader.read(8)
            blobs[name] = (head + reader.read(_blob_length(head)), entry)
    except (ValueError, RingFileError):
        raise _NotSeekable from None
    for name, (blob, entry) in blobs.items():
        if len(blob) < 8 or len(blob) != 8 + int.from_bytes(blob[:8], "big"):
            raise RingFileError("Inconsistent section size")
        _check_blob(blob, entry, name)
    return {name: blob[8:] for name, (blob, _) in blobs.items()}


def _check_ids(ring: RingData) -> None:
    """Every entry names a device; collects the assigned ids on the way."""
    assigned: set[int] = set()
    for row in ring.rows:
        # in pieces: set.update holds the interpreter for its whole length, and a server goes on serving meanwhile
        for at in range(0, len(row), _CHUNK):
            assigned.update(row[at : at + _CHUNK])
    for dev_id in assigned:
        if dev_id >= len(ring.devs) or ring.devs[dev_id] is None:
            raise RingFileError(f"The ring assigns partitions to device {dev_id}, which does not exist")
    ring.assigned = assigned
