"""Pointing a process at a Swift directory: hash settings, policies and limits of its swift.conf in one go.

Rings lie in the same directory; whoever opens them takes the path from here or from its own configuration.

Spec: operations.md 1.1.
"""

from __future__ import annotations

from swift.core import constraints, hashing, policy
from swift.core.config import DEFAULT_SWIFT_DIR

_current: str | None = None


def use(swift_dir: str | None = None) -> str:
    """Loads everything that `<swift_dir>/swift.conf` sets for a process; returns the directory. Raises ConfigError."""
    global _current
    directory = swift_dir or DEFAULT_SWIFT_DIR
    hashing.load_hash_config(directory)
    policy.load_policies(directory)
    constraints.load_limits(directory)
    _current = directory
    return directory


def current() -> str:
    """The directory in use."""
    return _current or DEFAULT_SWIFT_DIR
