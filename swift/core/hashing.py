"""Path hashes: how names become the MD5 that places them on the ring and names their directory on disk.

The prefix and suffix of swift.conf are process-wide state that lives here and is set once at start. Which device a
partition lies on is swift.ring's business.

Spec: ring.md section 1.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from swift.core.config import DEFAULT_SWIFT_DIR, swift_conf
from swift.core.errors import ConfigError


def md5(data: bytes = b"") -> Any:
    """A hashlib MD5 object; works on FIPS builds, as MD5 isn't used for security."""
    return hashlib.md5(data, usedforsecurity=False)


@dataclass(frozen=True)
class HashConfig:
    """`[swift-hash]` of swift.conf: bytes before and after every hashed path."""

    prefix: bytes = b""
    suffix: bytes = b""


_config: HashConfig | None = None
_primed = md5()
_suffix = b""


def set_hash_config(prefix: bytes | str, suffix: bytes | str) -> HashConfig:
    """Sets the process's prefix and suffix (text is taken as latin-1) and returns them."""
    global _config, _primed, _suffix
    if isinstance(prefix, str):
        prefix = prefix.encode("latin-1")
    if isinstance(suffix, str):
        suffix = suffix.encode("latin-1")
    _config, _primed, _suffix = HashConfig(prefix, suffix), md5(prefix + b"/"), suffix
    return _config


def hash_config() -> HashConfig:
    """The current prefix and suffix, read from the default swift.conf if none were set. Raises ConfigError."""
    return _config or load_hash_config()


def load_hash_config(swift_dir: str = DEFAULT_SWIFT_DIR) -> HashConfig:
    """Reads `[swift-hash]` of `<swift_dir>/swift.conf` and sets it. Raises ConfigError if both values are empty."""
    section = swift_conf(swift_dir).get("swift-hash", {})
    prefix = section.get("swift_hash_path_prefix", "").strip()
    suffix = section.get("swift_hash_path_suffix", "").strip()
    if not prefix and not suffix:
        raise ConfigError(
            "Error: [swift-hash]: both swift_hash_path_suffix and swift_hash_path_prefix are missing from "
            + os.path.join(swift_dir, "swift.conf")
        )
    return set_hash_config(prefix, suffix)


def _as_bytes(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


def hash_path(
    account: str | bytes,
    container: str | bytes | None = None,
    obj: str | bytes | None = None,
    raw_digest: bool = False,
) -> Any:
    """The MD5 of a name: 32 hex digits, or 16 bytes if `raw_digest`.

    Names are percent-decoded and native (UTF-8 text or bytes), not WSGI strings. Raises ValueError for an object
    without container and for text that has no UTF-8 form.
    """
    if _config is None:
        load_hash_config()
    if obj:
        if not container:
            raise ValueError("container is required if object is provided")
        if type(account) is type(container) is type(obj) is str:
            path = f"{account}/{container}/{obj}".encode()
        else:
            path = b"/".join((_as_bytes(account), _as_bytes(container), _as_bytes(obj)))
    elif container:
        path = b"/".join((_as_bytes(account), _as_bytes(container)))
    else:
        path = _as_bytes(account)
    state = _primed.copy()
    state.update(path + _suffix)
    return state.digest() if raw_digest else state.hexdigest()


def storage_directory(datadir: str, partition: int | str, name_hash: str) -> str:
    """`<datadir>/<partition>/<last 3 hex digits>/<name_hash>`."""
    return f"{datadir}/{partition}/{name_hash[-3:]}/{name_hash}"


def partition_for_hash(name_hash: str, part_power: int | str) -> int:
    """The partition of a hex hash in a ring of 2**part_power partitions."""
    return int(name_hash[:8], 16) >> (32 - int(part_power))


def _components_under(devices: str, path: str) -> list[str]:
    """All components of `path`, after checking that it lies under the devices root."""
    root = devices.rstrip("/") + "/"
    if not path.startswith(root):
        raise ValueError(f"Path {path!r} is not under device dir {devices!r}")
    return path.split("/")


def partition_from_path(devices: str, path: str) -> int:
    """The partition of `<devices>/<device>/<datadir>/<part>/...`. Raises ValueError for any other path."""
    components = _components_under(devices, path)
    return int(components[devices.rstrip("/").count("/") + 3])


def replace_partition_in_path(devices: str, path: str, part_power: int) -> str:
    """`path` (a hash directory or a file below one) as it is named in a ring of another part power."""
    components = _components_under(devices, path)
    at = devices.rstrip("/").count("/") + 3
    components[at] = str(partition_for_hash(components[at + 2], part_power))
    return "/".join(components)
