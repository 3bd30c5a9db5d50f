"""Container servers that were told of a container whose database they don't have (404), and when they are told of it again.

Only replication of containers, or a PUT of the container, makes that database; until then each update for it fails. Never here: sending.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from swift.core import clock

FIRST_REST = 60.0  # seconds; doubled after each further try, up to the longest
MAX_KNOWN = 10_000
MAX_LINES = 100  # in one sweep
TELL_AGAIN = 86400.0  # seconds


class _Rest:
    """`seconds`: of the current rest; `until`, `told`: of the monotonic clock."""

    __slots__ = ("seconds", "told", "until")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.until = 0.0
        self.told: float | None = None


class MissingDatabases:
    """Which (node, container) rest. `longest`: seconds of the longest rest, 0 for none. Bounded: the oldest are forgotten."""

    def __init__(self, longest: float, logger: Any, most: int = MAX_KNOWN) -> None:
        self.longest = longest
        self.logger = logger
        self._most = most
        self._rests: OrderedDict[tuple[Any, str, str], _Rest] = OrderedDict()
        self._lines = 0
        self._unsaid = 0

    def __len__(self) -> int:
        return len(self._rests)

    def begin_sweep(self) -> None:
        """Lines of the log are bounded from sweep to sweep."""
        if self._unsaid:
            self.logger.error(
                "ERROR container servers lack %d more databases that updates are for", self._unsaid
            )
        self._lines = self._unsaid = 0

    def rests(self, node: Mapping[str, Any], account: str, container: str) -> bool:
        """True if that server is not to be asked about this container yet."""
        rest = self._rests.get((node["id"], account, container))
        return rest is not None and rest.until > clock.monotonic()

    def found(self, node: Mapping[str, Any], account: str, container: str, oldest: str) -> None:
        """It answered 404. `oldest`: time of the update, for the log. The first time a line says what is missing where."""
        if not self.longest:
            return
        key = (node["id"], account, container)
        rest = self._rests.get(key)
        if rest is None:
            rest = self._rests[key] = _Rest()
            if len(self._rests) > self._most:
                self._rests.popitem(last=False)
        now = clock.monotonic()
        if rest.until > now:
            return  # several were on their way at the same time
        rest.seconds = min(rest.seconds * 2 or FIRST_REST, self.longest)
        rest.until = now + rest.seconds
        if rest.told is None or now - rest.told > TELL_AGAIN:
            rest.told = now
            self._tell(node, account, container, oldest)

    def has_it(self, node: Mapping[str, Any], account: str, container: str) -> None:
        """It took an update of this container."""
        if self._rests and self._rests.pop((node["id"], account, container), None) is not None:
            self.logger.info("%s has a database of %s/%s now", _name(node), account, container)

    def _tell(self, node: Mapping[str, Any], account: str, container: str, oldest: str) -> None:
        if self._lines >= MAX_LINES:
            self._unsaid += 1
            return
        self._lines += 1
        self.logger.error(
            "ERROR container server %s has no database of %s/%s (404): updates for it, such as one of %s, wait here until "
            "replication of containers or a PUT of the container has made it; it is asked again ever more rarely, at last "
            "every %g s",
            _name(node),
            account,
            container,
            oldest,
            self.longest,
        )


def _name(node: Mapping[str, Any]) -> str:
    ip = node.get("replication_ip") or node["ip"]
    port = node.get("replication_port") or node["port"]
    return f"{ip}:{port}/{node['device']}"
