"""Targets: webhooks by a server of our own, Kafka and AMQP by the doubles of their client libraries."""

from __future__ import annotations

import builtins
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import confluent_kafka
import kombu
import pytest

from swift.core.errors import ConfigError
from swift.s3.notifications.targets.choice import make, read_targets
from swift.s3.notifications.targets.kafka import Kafka
from swift.s3.notifications.targets.target import Refused, Unreachable

MESSAGE: dict[str, Any] = {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}


@pytest.fixture
def server() -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.heard.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Location", "/other")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    made: Any = HTTPServer(("127.0.0.1", 0), Handler)
    made.heard, made.status = [], 200
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, None), (204, None), (302, Unreachable), (400, Refused), (401, Unreachable), (404, Unreachable), (413, Refused), (429, Unreachable), (500, Unreachable)],
)  # fmt: skip
def test_what_a_webhook_answers(server: Any, status: int, outcome: Any) -> None:
    server.status = status
    target = make("hook", {"type": "webhook", "url": server.url + "/in?a=b"})
    if outcome is None:
        target.deliver([MESSAGE, MESSAGE])
    else:
        with pytest.raises(outcome):
            target.deliver([MESSAGE, MESSAGE])
    # One request, and none to where it is sent on to.
    assert server.heard == [("/in?a=b", {"Records": MESSAGE["Records"] * 2})]
    target.close()


def test_a_webhook_that_is_not_there_or_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(Unreachable):
            make("hook", {"type": "webhook", "url": url, "timeout": "0.2"}).deliver([MESSAGE])
    with pytest.raises(Unreachable):
        make("hook", {"type": "webhook", "url": url, "timeout": "0.2"}).deliver([MESSAGE])


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"type": "carrier-pigeon"},
        {"type": "webhook"},
        {"type": "webhook", "url": "ftp://x/"},
        {"type": "webhook", "url": "http://user:password@x/"},
        {"type": "webhook", "url": "http://:password@x/"},
        {"type": "webhook", "url": "http://x:port/"},
        {"type": "webhook", "url": "http://x/a b"},
        {"type": "webhook", "url": "http://x/", "timeout": "-1"},
        {"type": "webhook", "url": "http://x/", "auth_token": "a\nb"},
        {"type": "webhook", "url": "https://x/", "ca_file": "/nowhere"},
        {"type": "kafka", "topic": "t"},
        {"type": "kafka", "brokers": "b"},
        {"type": "amqp", "url": "http://x/", "routing_key": "q"},
        {"type": "amqp", "url": "amqp://x/"},
    ],
)
def test_what_is_no_target_is_said_at_the_start(conf: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make("hook", conf)
    assert "hook" in str(caught.value)


def test_targets_are_sections(tmp_path: Any) -> None:
    path = tmp_path / "t.conf"
    path.write_text(
        "[s3-notifier]\n[s3-target:a]\ntype = webhook\nurl = http://x/\n[s3-target:b-1]\ntype=webhook\nurl = https://y/\n"
    )
    assert sorted(read_targets(str(path))) == ["a", "b-1"]
    path.write_text("[s3-target:a b]\ntype = webhook\nurl = http://x/\n")
    with pytest.raises(ConfigError):
        read_targets(str(path))


@pytest.mark.parametrize(
    ("package", "conf"),
    [
        ("confluent_kafka", {"type": "kafka", "brokers": "b:9092", "topic": "t"}),
        ("kombu", {"type": "amqp", "url": "amqp://x/", "routing_key": "q"}),
    ],
)
def test_a_client_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, conf: dict[str, str]
) -> None:
    import importlib

    real = importlib.import_module

    def absent(name: str, *args: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match="pip install"):
        make("hook", conf)
    assert builtins  # nothing else was replaced


def test_kafka_gets_each_message_under_its_key() -> None:
    target = make(
        "events",
        {
            "type": "kafka",
            "brokers": "ignored:1",
            "topic": "s3",
            "kafka.test.mock.num.brokers": "1",
            "timeout": "10",
        },
    )
    assert isinstance(target, Kafka)
    target.deliver([MESSAGE, {"Event": "s3:TestEvent", "Bucket": "b"}])
    servers = target._producer.list_topics("s3", timeout=5).brokers
    (broker,) = servers.values()
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": f"{broker.host}:{broker.port}",
            "group.id": "g",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["s3"])
    found = []
    while len(found) < 2:
        message = consumer.poll(10)
        assert message is not None and message.error() is None
        found.append((message.key().decode(), json.loads(message.value())))
    consumer.close()
    assert sorted(found, key=lambda pair: pair[0]) == [
        ("b", {"Event": "s3:TestEvent", "Bucket": "b"}),
        ("b/k", MESSAGE),
    ]
    target.close()


def test_kafka_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
    target = make("events", {"type": "kafka", "brokers": address, "topic": "s3", "timeout": "1"})
    with pytest.raises(Unreachable):
        target.deliver([MESSAGE])
    target.close()


def test_amqp_publishes_to_its_queue() -> None:
    conf = {"type": "amqp", "url": "memory://", "routing_key": "s3-events"}
    target = make("events", conf)
    with kombu.Connection("memory://") as connection:
        queue = connection.SimpleQueue("s3-events")
        target.deliver([MESSAGE, MESSAGE])
        for _ in range(2):
            message = queue.get(block=True, timeout=5)
            assert message.payload == MESSAGE and message.content_type == "application/json"
            message.ack()
    target.close()


def test_amqp_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    target = make(
        "events", {"type": "amqp", "url": f"amqp://127.0.0.1:{port}/", "routing_key": "q", "timeout": "1"}
    )
    with pytest.raises(Unreachable):
        target.deliver([MESSAGE])
    target.close()
