"""What the nodes of a cluster have agreed on to know each other: keys that requests between them are signed with, and TLS.

`[backend-security]` of swift.conf and the file of keys are read here, by whoever reads swift.conf, so that mistakes end a start. The keys
are looked at again while a process runs. How a request is signed, and what TLS does with the files, is swift.wire's.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swift.core import clock
from swift.core.config import DEFAULT_SWIFT_DIR, swift_conf, truthy
from swift.core.errors import ConfigError

SECTION = "backend-security"
OFF, SIGN, REQUIRE = "off", "sign", "require"
"""Ways of signing. SIGN: requests are signed, and those that are not are served all the same (for the time of a roll-out)."""
ACCEPT, USE = "accept", "use"
"""Ways of TLS, beside OFF and REQUIRE. ACCEPT: servers take TLS and plain connections, nobody asks for TLS yet; USE: everybody does."""
DEFAULT_KEYS = "backend-keys"
DEFAULT_WINDOW = 300.0
DEFAULT_OPEN_PATHS = "/healthcheck /metrics /recon"
MIN_SECRET = 32  # characters
MAX_KEYS = 16
MAX_FILE = 64 * 1024
LOOK_SECONDS = 5.0  # between two looks at files that may have changed

_KEY_LINE = re.compile(r"([A-Za-z0-9._-]{1,32})[ \t]+([!-~]+)\Z")


@dataclass(frozen=True)
class Tls:
    """Paths, and what is asked of peers: `names` are patterns, one of which a name or address in a peer's certificate must match."""

    way: str = OFF
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    names: tuple[str, ...] = ("*",)
    check_address: bool = True

    def lets_in(self, names: list[str]) -> bool:
        """Returns True for a certificate with these names and addresses."""
        return any(fnmatch.fnmatchcase(name.lower(), pattern) for name in names for pattern in self.names)


@dataclass(frozen=True)
class Settings:
    """`keys`: id → secret, the first signs, all are taken. `window`: seconds that a signature holds, in both directions of time.

    `open_paths`: what may be read (GET, HEAD) without a signature, and everything below.
    """

    signing: str = OFF
    keys: Mapping[str, bytes] = field(default_factory=dict)
    keys_file: str = ""
    window: float = DEFAULT_WINDOW
    open_paths: tuple[str, ...] = ()
    tls: Tls = Tls()


def read_keys(path: str) -> dict[str, bytes]:
    """The keys of a file, in their order: a line `id secret` each. Raises ConfigError, which never shows what the file says."""
    try:
        with open(path, "rb") as f:
            mode = os.fstat(f.fileno()).st_mode
            data = f.read(MAX_FILE + 1)
    except OSError as err:
        raise ConfigError(f"cannot read the keys in {path}: {err.strerror}") from None
    if stat.S_IMODE(mode) & 0o007:
        raise ConfigError(f"{path} holds keys, but everybody may use it: chmod 600 {path}")
    keys: dict[str, bytes] = {}
    for number, line in enumerate(data.decode("latin-1").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _KEY_LINE.match(line)
        if match is None:
            raise ConfigError(f"{path}, line {number}: must be a key's id and its secret")
        key_id, secret = match.groups()
        if len(secret) < MIN_SECRET:
            raise ConfigError(f"{path}, line {number}: the secret must have {MIN_SECRET} characters or more")
        if key_id in keys:
            raise ConfigError(f"{path}, line {number}: a second key {key_id}")
        keys[key_id] = secret.encode()
    if not keys or len(keys) > MAX_KEYS or len(data) > MAX_FILE:
        raise ConfigError(f"{path}: must hold 1 to {MAX_KEYS} keys")
    return keys


def parse(options: Mapping[str, str], swift_dir: str = DEFAULT_SWIFT_DIR) -> Settings:
    """The settings of a `[backend-security]` section, the keys read. Raises ConfigError."""
    signing = _choice(options, "signing", (OFF, SIGN, REQUIRE))
    keys_file = _path(options, "signing_keys", swift_dir) or os.path.join(swift_dir, DEFAULT_KEYS)
    text = options.get("signing_window") or str(DEFAULT_WINDOW)
    try:
        window = float(text)
    except ValueError:
        window = 0.0
    if not 1 <= window <= 86400:
        raise ConfigError(f"[{SECTION}] signing_window must be between 1 and 86400 seconds, not {text!r}")
    open_paths = tuple(options.get("open_paths", DEFAULT_OPEN_PATHS).split())
    if not all(path.startswith("/") and path.strip("/") for path in open_paths):
        raise ConfigError(f"[{SECTION}] open_paths must be paths, each with a slash before it")
    return Settings(
        signing=signing,
        keys={} if signing == OFF else read_keys(keys_file),
        keys_file=keys_file,
        window=window,
        open_paths=tuple(path.rstrip("/") for path in open_paths),
        tls=_tls(options, swift_dir),
    )


def _tls(options: Mapping[str, str], swift_dir: str) -> Tls:
    way = _choice(options, "tls", (OFF, ACCEPT, USE, REQUIRE))
    tls = Tls(
        way=way,
        cert_file=_path(options, "tls_cert_file", swift_dir),
        key_file=_path(options, "tls_key_file", swift_dir),
        ca_file=_path(options, "tls_ca_file", swift_dir),
        names=tuple((options.get("tls_names") or "*").lower().split()),
        check_address=truthy(options.get("tls_check_address", "yes")),
    )
    if way != OFF and not (tls.cert_file and tls.ca_file):
        raise ConfigError(f"[{SECTION}] tls = {way} needs tls_cert_file and tls_ca_file")
    return tls


def _choice(options: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = (options.get(name) or OFF).strip().lower()
    if value not in choices:
        raise ConfigError(f"[{SECTION}] {name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _path(options: Mapping[str, str], name: str, swift_dir: str) -> str:
    value = (options.get(name) or "").strip()
    return os.path.join(swift_dir, value) if value else ""


class WatchedFiles:
    """Files that may be replaced while a process runs: `changed()` says so once for each change, and looks at most every LOOK_SECONDS."""

    def __init__(self, *paths: str) -> None:
        self._paths = [path for path in paths if path]
        self._seen: list[Any] | None = self._look()
        self._next = clock.monotonic() + LOOK_SECONDS

    def _look(self) -> list[Any]:
        seen: list[Any] = []
        for path in self._paths:
            try:
                found = os.stat(path)
                seen.append((found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode))
            except OSError as err:
                seen.append(err.errno)
        return seen

    def changed(self) -> bool:
        """Returns True if one of the files is another one than at the last look."""
        now = clock.monotonic()
        if now < self._next:
            return False
        self._next = now + LOOK_SECONDS
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        return True

    def doubt(self) -> None:
        """What was read could not be used, for a reason that may pass: the next look finds another one."""
        self._seen = None


_settings: Settings | None = None


def load(swift_dir: str = DEFAULT_SWIFT_DIR) -> Settings:
    """Reads `[backend-security]` of `<swift_dir>/swift.conf` and makes it the process's. Raises ConfigError."""
    try:
        return use(parse(swift_conf(swift_dir).get(SECTION, {}), swift_dir))
    except ConfigError as err:
        raise ConfigError(f"{os.path.join(swift_dir, 'swift.conf')}: {err}") from None


def use(settings: Settings) -> Settings:
    """Makes these settings the process's."""
    global _settings
    _settings = settings
    return settings


def current() -> Settings:
    """The process's settings, read from the default swift.conf if none were set. Raises ConfigError."""
    return _settings if _settings is not None else load()
