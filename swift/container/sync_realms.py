"""Where a container may be synchronised to: X-Container-Sync-To and container-sync-realms.conf (database.md 19.2).

Lives here: checking a target, finding its endpoint and key, signatures. The daemon that sends rows there is another module (`sync`), and
so is the filter in front of the other cluster that checks who sends them (`swift.middleware.container_sync`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from swift.core import clock
from swift.core.config import read_ini
from swift.core.errors import ConfigError

DEFAULT_CHECK_INTERVAL = 300.0
FILE = "container-sync-realms.conf"
"""In the directory of the rings."""


class SyncTarget(NamedTuple):
    """A checked target: where to send to, and with which realm's key (None: a plain URL)."""

    endpoint: str
    realm: str | None
    realm_key: str | None


class SyncRealms:
    """The realms of a file, read again when it has changed, looked at now and then."""

    def __init__(self, path: str, logger: Any = None) -> None:
        self._path = path
        self._logger = logger
        self._next_check = 0.0
        self._interval = DEFAULT_CHECK_INTERVAL
        self._mtime: float | None = None
        self._realms: dict[str, dict[str, Any]] = {}

    def _current(self) -> dict[str, dict[str, Any]]:
        now = clock.monotonic()
        if now >= self._next_check:
            self._next_check = now + self._interval
            try:
                mtime: float | None = os.path.getmtime(self._path)
            except OSError:
                mtime = None
            if mtime != self._mtime:
                self._load(mtime)
        return self._realms

    def _load(self, mtime: float | None) -> None:
        self._mtime = mtime
        if mtime is None:
            self._realms = {}
            return
        try:
            sections = read_ini(self._path)
        except ConfigError as err:
            if self._logger is not None:
                self._logger.error("Could not load %s: %s", self._path, err)
            return
        realms = {}
        for name, options in sections.items():
            if name.upper() == "DEFAULT":
                continue
            realms[name.upper()] = {
                "key": options.get("key"),
                "key2": options.get("key2"),
                "clusters": {
                    option[len("cluster_") :].upper(): value
                    for option, value in options.items()
                    if option.startswith("cluster_")
                },
            }
            try:
                self._interval = float(options.get("mtime_check_interval", DEFAULT_CHECK_INTERVAL))
            except ValueError:
                self._interval = DEFAULT_CHECK_INTERVAL
        self._realms = realms

    def names(self) -> list[str]:
        """The realms, in capitals."""
        return list(self._current())

    def clusters(self, realm: str) -> list[str]:
        """The clusters of a realm, in capitals."""
        found = self._current().get(realm.upper())
        return list(found["clusters"]) if found else []

    def key(self, realm: str) -> str | None:
        """The key of a realm."""
        found = self._current().get(realm.upper())
        return found["key"] if found else None

    def keys(self, realm: str) -> list[str]:
        """The keys that are taken for a realm: that which is signed with, and the one before or after it."""
        found = self._current().get(realm.upper())
        return [key for key in (found["key"], found["key2"]) if key] if found else []

    def endpoint(self, realm: str, cluster: str) -> str | None:
        """The endpoint of a cluster in a realm."""
        found = self._current().get(realm.upper())
        return found["clusters"].get(cluster.upper()) if found else None


def signature(method: str, path: str, timestamp: str, nonce: str, realm_key: str, user_key: str) -> str:
    """What shows that a request comes from a cluster of the realm, and is about a container whose key it knows (19.3).

    `path` is quoted, `timestamp` as in X-Timestamp, the keys are native text.
    """
    message = "\n".join((method, path, timestamp, nonce, user_key)).encode("utf-8", "surrogateescape")
    key = realm_key.encode("utf-8", "surrogateescape")
    return hmac.new(key, message, hashlib.sha1).hexdigest()


def check_target(
    value: str, allowed_hosts: list[str], realms: SyncRealms
) -> tuple[str | None, SyncTarget | None]:
    """(complaint, None) or (None, target); an empty value, which switches synchronisation off, has neither."""
    value = value.rstrip("/") if value else ""
    if not value:
        return None, None
    if value.startswith("//"):
        return _check_realm_target(value, realms)
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        return f"Invalid X-Container-Sync-To format {value!r}", None
    if parts.scheme not in ("http", "https"):
        return (
            f'Invalid scheme {parts.scheme!r} in X-Container-Sync-To, must be "//", "http", or "https".',
            None,
        )
    if not parts.path:
        return "Path required in X-Container-Sync-To", None
    if parts.query or parts.fragment or ";" in parts.path.rpartition("/")[2]:
        return "Params, queries, and fragments not allowed in X-Container-Sync-To", None
    if host not in allowed_hosts:
        return f"Invalid host {host!r} in X-Container-Sync-To", None
    return None, SyncTarget(value, None, None)


def _check_realm_target(value: str, realms: SyncRealms) -> tuple[str | None, SyncTarget | None]:
    pieces = value[2:].split("/", 3)
    # Behind ? and # nothing is part of the path, and a row's request would be one for the container.
    if len(pieces) != 4 or not all(pieces[2:]) or "/" in pieces[3] or "?" in value or "#" in value:
        return f"Invalid X-Container-Sync-To format {value!r}", None
    realm, cluster, account, container = pieces
    key = realms.key(realm)
    if not key:
        return f"No realm key for {realm!r}", None
    endpoint = realms.endpoint(realm, cluster)
    if not endpoint:
        return f"No cluster endpoint for {realm!r} {cluster!r}", None
    return None, SyncTarget(f"{endpoint.rstrip('/')}/{account}/{container}", realm.upper(), key)
