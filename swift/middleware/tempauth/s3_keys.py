"""The file with access keys of S3's own: several for a user, replaced, switched off (spec s3.md 27, formats.md).

Here are its form, how it is read again when it has changed, and how it is changed. Never here: what a user may do, and requests.

JSON: `{"version": 1, "keys": {access key: {"user": "account:name", "secrets": [newest, …], "created": seconds, "disabled": bool}}}`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from swift.core import clock
from swift.core.concurrency import Semaphore
from swift.engine.durable import write_durable
from swift.engine.threads import run_in_thread

LOOKED_AT_EVERY = 2.0  # seconds
LARGEST_FILE = 64 * 1024 * 1024
MOST_SECRETS = 2  # the one that counts, and the one that it has replaced
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_.+=@-]{3,128}", re.ASCII)
_VERSION = 1
_OTHERS_MAY = stat.S_IRWXO
_Result = TypeVar("_Result")


class BadKeysFile(Exception):
    """Why a file of keys can't be used."""


class S3Key(NamedTuple):
    """`user`: `account:name`; `secrets`: the newest first; `created`: seconds since the epoch."""

    user: str
    secrets: tuple[str, ...]
    created: float = 0.0
    disabled: bool = False


class KeysFile:
    """What a file says, at most LOOKED_AT_EVERY seconds old. A file that turned bad changes nothing: what it said before counts.

    A file that is not there has no keys; it may come later.
    """

    def __init__(self, path: str, logger: Any) -> None:
        self.path = path
        self.logger = logger
        self._keys: dict[str, S3Key] = {}
        self._identity: tuple[int, ...] | None = None
        self._look_at = 0.0
        self._looking = Semaphore(1)

    def key(self, access_key: str) -> S3Key | None:
        """The key, None for one that nobody has or that is switched off. May wait for a thread, never for a disk in the event loop."""
        if clock.monotonic() >= self._look_at:
            with self._looking:
                if clock.monotonic() >= self._look_at:
                    self._look()
        found = self._keys.get(access_key)
        return None if found is None or found.disabled else found

    def _look(self) -> None:
        try:
            keys, self._identity = run_in_thread(_read_if_changed, self.path, self._identity)
            if keys is not None:
                self._keys = keys
        except (OSError, BadKeysFile) as error:
            self.logger.error("tempauth: %s stays as it was: %s", self.path, error)
        self._look_at = clock.monotonic() + LOOKED_AT_EVERY


def _read_if_changed(
    path: str, known: tuple[int, ...] | None
) -> tuple[dict[str, S3Key] | None, tuple[int, ...] | None]:
    """(keys, None if the file is the known one; which file it is). Raises OSError, BadKeysFile."""
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return {}, None
    with file:
        found = os.fstat(file.fileno())
        identity = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
        if identity == known:
            return None, known
        if found.st_mode & _OTHERS_MAY:
            raise BadKeysFile("others than owner and group may read it; chmod 0600 or 0640")
        return parse(file.read(LARGEST_FILE + 1)), identity


def parse(data: bytes) -> dict[str, S3Key]:
    """Access key → key. Raises BadKeysFile."""
    if len(data) > LARGEST_FILE:
        raise BadKeysFile(f"it has more than {LARGEST_FILE} bytes")
    try:
        document = json.loads(data or b'{"version": 1, "keys": {}}')
        if document["version"] != _VERSION:
            raise BadKeysFile(f"its version is {document['version']!r}, not {_VERSION}")
        return {name: _key_of(name, entry) for name, entry in document["keys"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise BadKeysFile(f"it can't be read: {type(error).__name__}: {error}") from None


def _key_of(name: str, entry: Any) -> S3Key:
    user, found = entry["user"], entry["secrets"]
    if _ACCESS_KEY.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no access key")
    if not isinstance(user, str) or not isinstance(found, list) or not found or len(found) > MOST_SECRETS:
        raise ValueError(f"{name}: a user and one or two secrets are needed")
    if not all(isinstance(secret, str) and secret for secret in found):
        raise ValueError(f"{name}: a secret is text")
    return S3Key(user, tuple(found), float(entry.get("created", 0)), entry.get("disabled", False) is True)


def _written(keys: dict[str, S3Key]) -> bytes:
    entries = {
        name: {
            "user": key.user,
            "secrets": list(key.secrets),
            "created": key.created,
            "disabled": key.disabled,
        }
        for name, key in sorted(keys.items())
    }
    return json.dumps({"version": _VERSION, "keys": entries}, indent=1).encode() + b"\n"


def load(path: str) -> dict[str, S3Key]:
    """What a file says, nothing where there is none. Blocks. Raises OSError, BadKeysFile."""
    return _read_if_changed(path, None)[0] or {}


def change(path: str, work: Callable[[dict[str, S3Key]], _Result]) -> _Result:
    """Have `work` change the keys of a file; it is replaced as a whole, with mode 0600 if it is new. Blocks: for commands.

    Raises OSError, BadKeysFile, and what `work` raises, which leaves the file as it is.
    """
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = load(path)
        result = work(keys)
        before = os.stat(path) if os.path.exists(path) else None
        write_durable(path, _written(keys), mode=0o600 if before is None else stat.S_IMODE(before.st_mode))
        if before is not None:
            made = os.stat(path)
            if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
                os.chown(path, before.st_uid, before.st_gid)  # the proxy's user, or group, reads it
        return result
    finally:
        os.close(lock)


def new_access_key() -> str:
    """Twenty letters and digits, as those of AWS."""
    return "SK" + base64.b32encode(secrets.token_bytes(12)).decode().rstrip("=")[:18]


def new_secret() -> str:
    """Forty letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(30)


def add(keys: dict[str, S3Key], user: str, access_key: str | None = None) -> tuple[str, str]:
    """A new key of a user: (access key, secret). Raises BadKeysFile for an access key that is taken, or none."""
    name = access_key or new_access_key()
    if _ACCESS_KEY.fullmatch(name) is None:
        raise BadKeysFile("an access key has 3 to 128 letters, digits and any of _.+=@-")
    if name in keys:
        raise BadKeysFile(f"{name} is there already")
    if not all(user.partition(":")[::2]):
        raise BadKeysFile("a user is <account>:<name>")
    secret = new_secret()
    keys[name] = S3Key(user, (secret,), int(clock.time()))
    return name, secret


def rotate(keys: dict[str, S3Key], access_key: str) -> str:
    """A new secret; the one before it counts too, until `retire` or the next one. Raises KeyError."""
    key = keys[access_key]
    secret = new_secret()
    keys[access_key] = key._replace(secrets=(secret, key.secrets[0]))
    return secret


def retire(keys: dict[str, S3Key], access_key: str) -> None:
    """Let only the newest secret count. Raises KeyError."""
    keys[access_key] = keys[access_key]._replace(secrets=keys[access_key].secrets[:1])


def switch(keys: dict[str, S3Key], access_key: str, disabled: bool) -> None:
    """Switch a key off, or on. Raises KeyError."""
    keys[access_key] = keys[access_key]._replace(disabled=disabled)
