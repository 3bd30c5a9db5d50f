"""Which targets an operator has configured: sections `[s3-target:NAME]` of the notifier's file."""

from __future__ import annotations

from collections.abc import Mapping

from swift.core.config import prefixed_sections
from swift.core.errors import ConfigError
from swift.s3.notifications.names import TARGET
from swift.s3.notifications.targets.amqp import Amqp
from swift.s3.notifications.targets.kafka import Kafka
from swift.s3.notifications.targets.target import Target
from swift.s3.notifications.targets.webhook import Webhook

PREFIX = "s3-target:"
KINDS: dict[str, type[Target]] = {kind.kind: kind for kind in (Webhook, Kafka, Amqp)}


def make(name: str, conf: Mapping[str, str]) -> Target:
    """Raises ConfigError."""
    if not TARGET.fullmatch(name):
        raise ConfigError(f"[{PREFIX}{name}]: a name has up to 64 letters, digits, _ and -")
    kind = KINDS.get(conf.get("type", ""))
    if kind is None:
        raise ConfigError(f"[{PREFIX}{name}] type: one of {', '.join(KINDS)}")
    try:
        return kind(name, conf)
    except ValueError as error:
        raise ConfigError(f"[{PREFIX}{name}]: {error}") from None


def read_targets(path: str) -> dict[str, Target]:
    """By name. Raises ConfigError."""
    return {name: make(name, conf) for name, conf in prefixed_sections(path, PREFIX).items()}
