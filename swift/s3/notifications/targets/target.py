"""What a target is to the notifier: something that takes messages, and the two ways in which it does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from swift.core.config import positive_float, positive_int

MOST_TOGETHER = 100
Message = dict[str, Any]


class Unreachable(Exception):
    """The target takes nothing at the moment: to be tried again later, this and whatever comes behind it."""


class Refused(Exception):
    """The target does not want this message; it may well want others."""


class Target(ABC):
    """`conf`: its section. `concurrency`: containers of the queue that are worked on at a time; `batch`: events in a message at most;
    `timeout`: seconds. Raises ValueError, ConfigError.
    """

    kind: str
    secrets: tuple[str, ...] = ()

    def __init__(self, name: str, conf: Mapping[str, str]) -> None:
        self.name = name
        self.concurrency = positive_int(conf.get("concurrency", 4))
        self.batch = min(positive_int(conf.get("batch", 1)), MOST_TOGETHER)
        self.timeout = positive_float(conf.get("timeout", 10))
        self.longest_pause = positive_float(conf.get("longest_pause", 60))

    @abstractmethod
    def deliver(self, messages: Sequence[Message]) -> None:
        """All of them, or raises Unreachable or Refused: then some may have come through."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


def key_of(message: Message) -> str:
    """`bucket/key` of what a message is about, what belongs together for targets that order by a key."""
    records = message.get("Records")
    if not records:
        return str(message.get("Bucket", ""))
    about = records[0]["s3"]
    return f"{about['bucket']['name']}/{about['object']['key']}"
