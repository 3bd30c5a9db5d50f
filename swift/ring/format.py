"""Ring files: formats 1 and 2, reading and writing. Builder files are not here, lookups neither (spec ring 5)."""

from __future__ import annotations

from array import array
from typing import Any


class RingData:
    """What a ring file holds.

    devs: list of device dicts and None (index = id); rows: list of ``array('H' | 'I')``, part → device id;
    part_shift: 32 - part power; version, next_part_power: int or None; dev_id_bytes: 2 or 4.
    Set by loading: format_version, size (bytes of the file), raw_size (ISIZE), md5 (hex digest of the file).
    """

    devs: list[dict[str, Any] | None]
    rows: list[array]
    part_shift: int
    version: int | None
    next_part_power: int | None
    dev_id_bytes: int
    format_version: int
    size: int
    raw_size: int

    @property
    def replica_count(self) -> float:
        """Float; the integer 0 without rows."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: str) -> RingData:
        """Read a whole ring file. Raises OSError or RingFileError."""
        raise NotImplementedError

    @classmethod
    def load_metadata(cls, path: str, with_devices: bool = True) -> RingData:
        """Read a ring file without its tables; ``replica_count`` then comes from the metadata (3.4)."""
        raise NotImplementedError

    def save(self, path: str, format_version: int = 1) -> None:
        """Write the file: temporary file, fsync, rename, mode 0644. ValueError as in 5.2 and 5.5."""
        raise NotImplementedError

    def content_digest(self) -> str:
        """SHA-256 over devices, rows, power: equal for equal content whatever the file's name, format or id width."""
        raise NotImplementedError
