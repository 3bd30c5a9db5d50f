"""Targets that are topics of Kafka, through Confluent's client (the extra `kafka`), whose calls wait in a thread of their own."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from swift.core.config import truthy
from swift.core.errors import ConfigError
from swift.engine.threads import ThreadPool
from swift.s3.notifications.targets.target import Message, Refused, Target, Unreachable, key_of

_FILES = {
    "ca_file": "ssl.ca.location",
    "cert_file": "ssl.certificate.location",
    "key_file": "ssl.key.location",
}


class Kafka(Target):
    kind = "kafka"
    secrets = ("password",)

    def __init__(self, name: str, conf: Mapping[str, str]) -> None:
        super().__init__(name, conf)
        self.topic = conf.get("topic", "")
        if not conf.get("brokers") or not self.topic:
            raise ConfigError(f"[s3-target:{name}]: brokers and topic are needed")
        try:
            self._client: Any = importlib.import_module("confluent_kafka")
        except ImportError:
            raise ConfigError(
                f"[s3-target:{name}]: type kafka needs the package confluent-kafka (pip install 'swift[kafka]')"
            ) from None
        self._settings = _settings(conf, self.timeout)
        self._threads = ThreadPool(f"kafka {name}", 1, 256)
        self._producer: Any = None

    def deliver(self, messages: Sequence[Message]) -> None:
        self._threads.run_long(self._deliver, messages)

    def _deliver(self, messages: Sequence[Message]) -> None:
        """In the thread."""
        if self._producer is None:
            try:
                self._producer = self._client.Producer(self._settings)
            except self._client.KafkaException as error:
                raise Unreachable(str(error)) from None
        errors: list[Any] = []
        count = [0]

        def done(error: Any, _: Any) -> None:
            count[0] += 1
            if error is not None:
                errors.append(error)

        try:
            for message in messages:
                body = json.dumps(message, separators=(",", ":")).encode()
                self._producer.produce(self.topic, body, key=key_of(message).encode(), on_delivery=done)
            self._producer.flush(self.timeout + 1)
        except (self._client.KafkaException, BufferError) as error:
            self._forget()
            raise self._meaning(error.args[0] if error.args else error) from None
        if count[0] < len(messages):
            self._forget()
            raise Unreachable(f"no acknowledgement within {self.timeout:g} s")
        if errors:
            raise self._meaning(errors[0])

    def _meaning(self, error: Any) -> Exception:
        is_too_large = getattr(error, "code", lambda: None)() == self._client.KafkaError.MSG_SIZE_TOO_LARGE
        return (Refused if is_too_large else Unreachable)(str(error))

    def _forget(self) -> None:
        """What was not acknowledged comes again with its row, not by the client."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def close(self) -> None:
        self._threads.close()


def _settings(conf: Mapping[str, str], timeout: float) -> dict[str, Any]:
    tls, username = truthy(conf.get("tls", "false")), conf.get("username")
    found: dict[str, Any] = {
        "bootstrap.servers": conf["brokers"],
        "client.id": "swift-s3-notifier",
        "acks": "all",
        "enable.idempotence": True,
        "delivery.timeout.ms": int(timeout * 1000),
        "socket.timeout.ms": max(1000, int(timeout * 1000)),
        "linger.ms": 0,
        "log_level": 2,
        "security.protocol": ("SASL_" if username else "") + ("SSL" if tls else "PLAINTEXT"),
    }
    if username:
        found["sasl.mechanism"] = conf.get("sasl_mechanism", "PLAIN")
        found["sasl.username"], found["sasl.password"] = username, conf.get("password", "")
    found.update({setting: conf[option] for option, setting in _FILES.items() if conf.get(option)})
    for option, value in conf.items():  # what only an operator of Kafka can know the use of
        if option.startswith("kafka."):
            found[option.removeprefix("kafka.")] = value
    return found
