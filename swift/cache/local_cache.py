"""The cache inside this process that stands in for memcached where there is none.

It has the face of `swift.cache.memcache.MemcacheClient`. Values are kept serialised, so that what a caller gets is its own to
change. Never here: sockets, or which cache a server uses.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from swift.core import clock

# Other worker processes change accounts, containers and their shards too; without a shared cache nobody tells us.
SHARED_STATE_PREFIXES = ("account/", "container/", "shard-listing-v2/", "shard-updating-v2/")
SHARED_STATE_AGE = 1.0  # seconds

_FOREVER = float("inf")
_LEAST_STORES = 1024  # between two looks at what has expired
_ENTRY_OVERHEAD = 200  # bytes, roughly: key, tuple and table slot


class CacheValueError(ValueError):
    """A counter operation on something that is no counter."""


class LocalCache:
    """A bounded table with times to live; the oldest entries go first when it is full.

    ``max_age`` bounds how long values under the shared-state prefixes are believed (seconds, None: as long as asked).
    """

    def __init__(
        self,
        max_entries: int = 100_000,
        max_bytes: int = 64 * 1024 * 1024,
        max_age: float | None = SHARED_STATE_AGE,
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.max_age = max_age
        self.bytes = 0
        self._entries: dict[str, tuple[float, bytes, bool]] = {}
        self._stores_left = _LEAST_STORES  # until what has expired is dropped

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        """An empty one is a cache too: filters of others ask whether there is any."""
        return True

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        """The value stored for ``key`` or None. Raw values (``serialize=False``, counters) come back as bytes."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, data, is_json = entry
        if expires <= clock.monotonic():
            self._drop(key)
            return None
        return orjson.loads(data) if is_json else data

    def set(
        self,
        key: str,
        value: Any,
        serialize: bool = True,
        time: float = 0,
        raise_on_error: bool = False,
        **_ignored: Any,
    ) -> None:
        """Store ``value`` for ``time`` seconds (0: until it is pushed out). Raises TypeError if it is no JSON value."""
        if serialize:
            data = _to_json(value)
        else:
            data = value if isinstance(value, bytes) else str(value).encode()
        self._store(key, self._expiry(key, time), data, serialize)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Add ``delta`` (may be negative; the counter stops at 0) and return the sum; a missing counter starts at 0.

        ``time`` is the time to live of a counter made by this call. Raises CacheValueError if ``key`` holds no counter.
        """
        delta = int(delta)
        entry = self._entries.get(key)
        if entry is None or entry[0] <= clock.monotonic():
            value = max(delta, 0)
            self._store(key, self._expiry(key, time), b"%d" % value, False)
            return value
        expires, data, _is_json = entry
        if not data.isdigit():
            raise CacheValueError("cannot increment a value that is no counter")
        value = max(int(data) + delta, 0)
        self._store(key, expires, b"%d" % value, False)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """`incr` by ``-delta``."""
        return self.incr(key, -int(delta), time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._drop(key)

    def set_multi(
        self,
        mapping: Mapping[str, Any],
        server_key: str = "",
        serialize: bool = True,
        time: float = 0,
        **_ignored: Any,
    ) -> None:
        for key, value in mapping.items():
            self.set(key, value, serialize, time)

    def get_multi(self, keys: Iterable[str], server_key: str = "") -> list[Any]:
        """Values in the order of ``keys``, None for missing ones."""
        return [self.get(key) for key in keys]

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def _expiry(self, key: str, time: float) -> float:
        if self.max_age is not None and key.startswith(SHARED_STATE_PREFIXES) and not 0 < time < self.max_age:
            time = self.max_age
        return clock.monotonic() + time if time > 0 else _FOREVER

    def _store(self, key: str, expires: float, data: bytes, is_json: bool) -> None:
        self._drop(key)
        self._entries[key] = (expires, data, is_json)
        self.bytes += len(data) + len(key) + _ENTRY_OVERHEAD
        self._stores_left -= 1
        if len(self._entries) > self.max_entries or self.bytes > self.max_bytes:
            self._make_room()
        elif self._stores_left <= 0:
            self._drop_expired()

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= len(entry[1]) + len(key) + _ENTRY_OVERHEAD

    def _drop_expired(self) -> None:
        """After as many stores as there are entries, so that what nobody asks for any more is at most half of all and the look costs little."""
        now = clock.monotonic()
        for key in [key for key, entry in self._entries.items() if entry[0] <= now]:
            self._drop(key)
        self._stores_left = max(len(self._entries), _LEAST_STORES)

    def _make_room(self) -> None:
        self._drop_expired()
        # A sixteenth of free room, so that a full cache does not look for expired entries on every store.
        entries, size = self.max_entries * 15 // 16, self.max_bytes * 15 // 16
        while self._entries and (len(self._entries) > entries or self.bytes > size):
            self._drop(next(iter(self._entries)))


def _to_json(value: Any) -> bytes:
    """Bytes count as the UTF-8 text that they are, which is what comes back: keystonemiddleware stores tokens so."""
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(value).encode()  # integers beyond 64 bits
