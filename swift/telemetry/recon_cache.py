"""Recon files: the small JSON documents in which daemons of a node leave their figures for others to read.

Several daemons share a file, so each update merges under a lock. Which figures there are is the daemons' business;
answering for them over HTTP is the recon filter's.

Spec: operations.md 10.1.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.errors import LockTimeout

DEFAULT_PATH = "/var/cache/swift"
ACCOUNT, CONTAINER, OBJECT, DRIVE, RELINKER, S3 = (
    "account.recon",
    "container.recon",
    "object.recon",
    "drive.recon",
    "relinker.recon",
    "s3.recon",
)
LOCK_SECONDS = 2.0
MAX_BYTES = 64 * 1024 * 1024


def merge(cache: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Merges one level deep: a dict into a dict, `{}` deletes, anything else replaces."""
    for key, value in update.items():
        if not isinstance(value, dict):
            cache[key] = value
        elif not value:
            cache.pop(key, None)
        else:
            there = cache.get(key)
            if not isinstance(there, dict):
                there = cache[key] = {}
            for inner, item in value.items():
                if item == {}:
                    there.pop(inner, None)
                else:
                    there[inner] = item


def read(path: str) -> dict[str, Any]:
    """What a recon file holds; {} for none and for rubbish."""
    try:
        with open(path) as file:
            return _parsed(file.readline(MAX_BYTES))
    except OSError:
        return {}


def _parsed(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _locked(path: str, seconds: float) -> int:
    """A descriptor of the file with an exclusive lock, sure to be the file that has the name now."""
    give_up = clock.monotonic() + seconds
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as err:
                    if err.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                    if clock.monotonic() >= give_up:
                        raise LockTimeout(f"{path} is locked for more than {seconds}s") from None
                sleep(0.01)
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def dump(update: Mapping[str, Any], path: str, logger: Any, lock_seconds: float = LOCK_SECONDS) -> None:
    """Merges `update` into the recon file; errors are only logged."""
    _dump_all([update], path, logger, lock_seconds)


def _dump_all(updates: list[Mapping[str, Any]], path: str, logger: Any, lock_seconds: float) -> None:
    try:
        fd = _locked(path, lock_seconds)
        try:
            with open(fd, closefd=False) as file:
                cache = _parsed(file.readline(MAX_BYTES))
            for update in updates:
                merge(cache, update)
            _replace(path, json.dumps(cache, sort_keys=True) + "\n")
        finally:
            os.close(fd)
    except (OSError, LockTimeout) as err:
        logger.error("Exception dumping recon cache: %s: %s", path, err)
    except (TypeError, ValueError):
        logger.exception("Exception dumping recon cache: %s", path)


def _replace(path: str, text: str) -> None:
    fd, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path) + ".")
    try:
        with os.fdopen(fd, "w") as file:
            os.fchmod(
                file.fileno(), 0o644
            )  # the recon filter may run as another user than a daemon or a cron job
            file.write(text)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise


class ReconCache:
    """Collects updates and writes them at most every `seconds`; `flush` at the end of a pass."""

    def __init__(self, path: str, logger: Any, seconds: float = 5.0) -> None:
        self.path = path
        self._logger = logger
        self._seconds = seconds
        self._pending: list[Mapping[str, Any]] = []
        self._write_at = 0.0

    def update(self, values: Mapping[str, Any]) -> None:
        self._pending.append(values)
        if clock.monotonic() >= self._write_at:
            self.flush()

    def flush(self) -> None:
        """Writes what was held back."""
        if not self._pending:
            return
        self._write_at = clock.monotonic() + self._seconds
        pending, self._pending = self._pending, []
        _dump_all(pending, self.path, self._logger, LOCK_SECONDS)
