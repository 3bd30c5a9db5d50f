"""What swift-container-deleter queues, and what it says when it can't go on."""

import json

import pytest

from swift.cli import container_deleter
from swift.cli.container_deleter import mark
from swift.core.timestamp import Timestamp
from swift.wire.internal import UnexpectedResponse

WHEN = Timestamp(1700000100.5)


class Client:
    def __init__(self, failing_at=None):
        self.failing_at = failing_at
        self.sent = []

    def make_path(self, *names):
        return "/v1/" + "/".join(names)

    def make_request(self, method, path, headers, acceptable, body):
        if len(self.sent) == self.failing_at:
            raise UnexpectedResponse("503", self)
        self.sent.append((method, path, headers, [row["name"] for row in json.loads(body)]))
        self.app_iter = []
        return self


def listed(count):
    return ({"name": f"o{number:03d}"} for number in range(count))


def test_rows_go_in_batches(monkeypatch):
    monkeypatch.setattr(container_deleter, "ROWS", 4)
    client = Client()
    assert list(mark(client, listed(10), "AUTH_a", "c", WHEN)) == [
        "Finished. Marked 10 objects for deletion."
    ]
    assert [len(names) for *_, names in client.sent] == [4, 4, 2]
    method, path, headers, names = client.sent[0]
    assert (method, path) == ("UPDATE", "/v1/.expiring_objects/1700000100")
    assert names[0] == "1700000100.50000-AUTH_a/c/o000"
    assert headers["X-Backend-Storage-Policy-Index"] == "0" and headers["X-Timestamp"] == WHEN.internal
    assert list(mark(Client(), listed(0), "AUTH_a", "c", WHEN)) == [
        "Finished. Marked 0 objects for deletion."
    ]


def test_where_to_go_on(monkeypatch):
    monkeypatch.setattr(container_deleter, "ROWS", 4)
    said = []
    with pytest.raises(UnexpectedResponse):
        for line in mark(Client(failing_at=2), listed(10), "AUTH_a", "c", WHEN):
            said.append(line)
    assert said == ["Marked 8 objects for deletion, through 'o007'"]
