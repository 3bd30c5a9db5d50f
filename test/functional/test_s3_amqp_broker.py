"""Events through a real broker of AMQP (rabbitmq-server), by a process whose sockets are the daemon's: patched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from test.ports import free_port

ROOT = Path(__file__).parents[2]
# Debian's command becomes another user when root calls it.
SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
SERVER = next(filter(None, map(shutil.which, SERVERS)), None)
DELIVER = """
    import json, sys
    from swift.core import concurrency
    concurrency.patch()
    from swift.s3.notifications.targets.choice import make
    from swift.s3.notifications.targets.target import Unreachable
    turns = []
    concurrency.spawn(lambda: [turns.append(concurrency.sleep(0.001)) for _ in range(10000)])
    target = make("events", json.loads(sys.argv[1]))
    try:
        for number in range(int(sys.argv[2])):
            target.deliver([{"Records": [{"number": number}]}])
        print("delivered", len(turns) > 0)
    except Unreachable as error:
        print("unreachable", error)
    target.close()
"""


class Broker:
    def __init__(self, folder: Path) -> None:
        self.port, distribution, self.names = free_port(), free_port(), free_port()
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"s3events{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(self.names),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }
        (folder / "plugins").write_text("[].")
        self.process: Any = None
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [str(SERVER)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                with kombu.Connection(self.url, connect_timeout=2) as connection:
                    connection.connect()
                return
            except Exception:
                time.sleep(0.3)
        raise AssertionError("the broker does not start")

    def stop(self) -> None:
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        # It is in the group of another process by then, and nobody else's of this number.
        subprocess.run(["epmd", "-port", str(self.names), "-kill"], capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if SERVER is None:
        pytest.skip("rabbitmq-server is not installed")
    made = Broker(tmp_path_factory.mktemp("rabbit"))
    made.start()
    yield made
    made.stop()


def deliver(broker: Broker, count: int, **conf: str) -> str:
    told = {"type": "amqp", "url": broker.url, "timeout": "5", **conf}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DELIVER), json.dumps(told), str(count)],
        cwd=ROOT, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_messages_are_in_the_queue_once_they_are_delivered(broker: Broker) -> None:
    exchange = kombu.Exchange("s3", "topic", durable=True)
    queue = kombu.Queue("events", exchange, routing_key="bucket.#", durable=True)
    with kombu.Connection(broker.url) as connection:
        queue(connection).declare()
        assert deliver(broker, 20, exchange="s3", routing_key="bucket.events") == "delivered True\n"
        assert deliver(broker, 1, routing_key="events") == "delivered True\n"
        numbers = []
        for _ in range(21):
            message = queue(connection).get()
            assert message is not None and message.delivery_info["redelivered"] is False
            assert message.properties["delivery_mode"] == 2
            numbers.append(message.payload["Records"][0]["number"])
            message.ack()
        assert numbers == [*range(20), 0]


def test_what_no_queue_takes_is_not_delivered(broker: Broker) -> None:
    assert deliver(broker, 1, routing_key="nobody").startswith("unreachable")
    assert deliver(broker, 1, exchange="no-such-exchange", routing_key="x").startswith("unreachable")
    assert deliver(broker, 1, routing_key="nobody", mandatory="no").startswith("delivered")


def test_wrong_credentials_and_no_broker(broker: Broker) -> None:
    wrong = broker.url.replace("guest:guest", "guest:5ec4e7")
    told = deliver(broker, 1, url=wrong, routing_key="events")
    assert told.startswith("unreachable") and "5ec4e7" not in told
    broker.stop()
    assert deliver(broker, 1, routing_key="events").startswith("unreachable")
