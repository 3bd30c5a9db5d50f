"""Where the replica that a peer asks for lies on a device: by device, partition and hash, never by a path that it sends."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from swift.core.errors import BadRequest
from swift.core.hashing import storage_directory

_HASH = re.compile(r"[0-9a-f]{32}", re.ASCII)
_FILE = re.compile(r"([0-9a-f]{32})(_[0-9]{10}\.[0-9]{5})?\.db", re.ASCII)
MAX_NAME = 255


class Spot(NamedTuple):
    """One replica's place. `path`: of `<hash>.db`, whichever files there are."""

    device: str
    device_path: str
    name_hash: str
    directory: str
    path: str

    @property
    def tmp(self) -> str:
        """The directory of files on their way in."""
        return f"{self.device_path}/tmp"

    def file(self, name: object) -> str:
        """The path of a database file by the base name that a peer gives it, None being `<hash>.db`. Raises BadRequest."""
        if name is None:
            return self.path
        match = _FILE.fullmatch(name) if isinstance(name, str) else None
        if match is None or match[1] != self.name_hash:
            raise BadRequest(f"Invalid database file: {name!r:.100}")
        return f"{self.directory}/{name}"

    def arrival(self, name: object) -> str:
        """The path of a file that a peer has put into tmp under this name. Raises BadRequest."""
        if not isinstance(name, str) or not 0 < len(os.fsencode(name)) <= MAX_NAME:
            raise BadRequest(f"Invalid name: {name!r:.100}")
        if "/" in name or "\0" in name or name in (".", ".."):
            raise BadRequest(f"Invalid name: {name!r:.100}")
        return f"{self.tmp}/{name}"


def spot(root: str, data_directory: str, device: str, partition: str, name_hash: str) -> Spot:
    """The place of a hash on a device. Raises BadRequest for what is no hash."""
    if not _HASH.fullmatch(name_hash):
        raise BadRequest(f"Invalid hash: {name_hash[:64]!a}")
    device_path = f"{root}/{device}"
    directory = storage_directory(f"{device_path}/{data_directory}", partition, name_hash)
    return Spot(device, device_path, name_hash, directory, f"{directory}/{name_hash}.db")
