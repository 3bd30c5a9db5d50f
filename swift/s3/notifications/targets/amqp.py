"""Targets that are exchanges of AMQP 0-9-1 (RabbitMQ and others), through kombu (the extra `amqp`); a message counts once it is confirmed."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from swift.core import clock
from swift.core.concurrency import Semaphore, Timeout, sleep
from swift.core.config import truthy
from swift.core.errors import ConfigError
from swift.engine.resolver import HostAddress
from swift.s3.notifications.targets.target import Message, Target, Unreachable

_PORTS = {"amqp": 5672, "amqps": 5671}
_STREAM = 1  # SOCK_STREAM


class Amqp(Target):
    kind = "amqp"
    secrets = ("url",)

    def __init__(self, name: str, conf: Mapping[str, str]) -> None:
        super().__init__(name, conf)
        url = conf.get("url", "")
        parts = urlsplit(url)
        self._is_double = parts.scheme == "memory"  # kombu's own, for tests
        if not self._is_double and (parts.scheme not in _PORTS or not parts.hostname):
            raise ConfigError(
                f"[s3-target:{name}] url: amqp://user:password@host:port/virtual-host is needed"
            )
        try:
            self._client: Any = importlib.import_module("kombu")
        except ImportError:
            raise ConfigError(
                f"[s3-target:{name}]: type amqp needs the package kombu (pip install 'swift[amqp]')"
            ) from None
        self.exchange = conf.get("exchange", "")
        self.routing_key = conf.get("routing_key", "")
        if not self.exchange and not self.routing_key:
            raise ConfigError(f"[s3-target:{name}]: exchange or routing_key is needed")
        self.mandatory = truthy(conf.get("mandatory", "true"))
        self._settings: dict[str, Any] = {
            "transport": "memory" if self._is_double else "pyamqp",
            "userid": unquote(parts.username or "guest"),
            "password": unquote(parts.password or "guest"),
            "virtual_host": unquote(parts.path[1:]) or "/",
            "connect_timeout": self.timeout,
            "heartbeat": 0,
            "transport_options": {
                "confirm_publish": True,
                "read_timeout": self.timeout,
                "write_timeout": self.timeout,
            },
        }
        if parts.scheme == "amqps":
            self._settings["ssl"] = {
                "server_hostname": parts.hostname,
                "ca_certs": conf.get("ca_file") or ssl.get_default_verify_paths().cafile,
                "cert_reqs": ssl.CERT_REQUIRED,
                "certfile": conf.get("cert_file") or None,
                "keyfile": conf.get("key_file") or None,
            }
        self._port = parts.port or _PORTS.get(parts.scheme, 0)
        self._address = None if self._is_double else HostAddress(parts.hostname or "", self._port, _STREAM)
        self._turn = Semaphore(1)  # a channel is one user's at a time
        self._connection: Any = None
        self._producer: Any = None
        self._returned: list[str] = []

    def deliver(self, messages: Sequence[Message]) -> None:
        with self._turn:
            limit = Timeout(self.timeout * 2)
            try:
                for message in messages:
                    self._publish(message)
            except Timeout as reached:
                self._drop()
                if reached is not limit:
                    raise
                raise Unreachable(f"no confirmation within {self.timeout * 2:g} s") from None
            except Unreachable:
                raise
            except Exception as error:  # each transport has errors of its own
                self._drop()
                raise Unreachable(f"{type(error).__name__}: {error}"[:500]) from None
            finally:
                limit.cancel()

    def _publish(self, message: Message) -> None:
        if self._producer is None:
            self._open()
        self._returned.clear()
        self._producer.publish(
            message,
            exchange=self.exchange,
            routing_key=self.routing_key,
            serializer="json",
            delivery_mode=2,
            mandatory=self.mandatory and not self._is_double,
            timeout=self.timeout,
            retry=False,
        )
        if self._returned:
            raise Unreachable(f"no queue takes it: {self._returned[0]}")

    def _open(self) -> None:
        address = self._numbers()
        self._connection = self._client.Connection(
            hostname=address, port=self._port or None, **self._settings
        )
        self._producer = self._connection.Producer(on_return=self._on_return, auto_declare=False)

    def _on_return(self, error: Any, *_: Any) -> None:
        self._returned.append(str(error)[:200])

    def _numbers(self) -> str:
        """Of the host; nothing waits for a resolver."""
        if self._address is None:
            return ""
        end = clock.monotonic() + self.timeout
        while True:
            found = self._address.get()
            if found is not None:
                return str(found[1][0])
            if self._address.error is not None or clock.monotonic() >= end:
                raise Unreachable(
                    f"{self._address.host}: {self._address.error or 'its address is not known in time'}"
                )
            sleep(0.02)

    def _drop(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                with Timeout(1):
                    connection.release()
            except (Exception, Timeout):
                pass  # it was broken already

    def close(self) -> None:
        self._drop()
