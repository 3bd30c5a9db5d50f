"""Pointing a process at a Swift directory: hash settings, policies, limits and keys of its swift.conf in one go.

Rings lie in the same directory; whoever opens them takes the path from here or from its own configuration.

Spec: operations.md 1.1.
"""

from __future__ import annotations

import os

from swift.core import backend_security, constraints, hashing, policy
from swift.core.config import DEFAULT_SWIFT_DIR
from swift.core.errors import ConfigError

_current: str | None = None


def use(swift_dir: str | None = None) -> str:
    """Loads everything that `<swift_dir>/swift.conf` sets for a process; returns the directory. Raises ConfigError.

    A process has one directory. None means the one in use, or /etc/swift if there is none yet; another one is refused:
    with its hash settings the same names would lie in other places.
    """
    global _current
    directory = swift_dir or _current or DEFAULT_SWIFT_DIR
    if _current is not None and os.path.realpath(directory) != os.path.realpath(_current):
        raise ConfigError(
            f"this process uses {_current} already and cannot use {directory} as its swift_dir too"
        )
    hashing.load_hash_config(directory)
    policy.load_policies(directory)
    constraints.load_limits(directory)
    backend_security.load(directory)
    _current = directory
    return directory


def current() -> str:
    """The directory in use."""
    return _current or DEFAULT_SWIFT_DIR
