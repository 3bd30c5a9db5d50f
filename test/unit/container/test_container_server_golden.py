"""The recorded conversations with the reference's container server, replayed against ours."""

import json
import os
import shutil

from swift.container import account_update, shard_ranges
from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.core.hashing import hash_path
from test.databases import CLOCK, Logger, call, load, make_conf


class Accounts:
    """Stands in for the account servers."""

    def __init__(self, monkeypatch):
        self.sent = []
        self.status = 201
        monkeypatch.setattr(account_update.AccountReports, "_put", self.put)

    def put(self, node, path, headers):
        lines = dict(line.split(": ", 1) for line in headers.decode().split("\r\n") if line)
        lines.pop("User-Agent")
        _, partition, rest = path.split("/", 2)
        self.sent.append(
            {
                "device": node.device,
                "headers": lines,
                "ip": node.ip,
                "method": "PUT",
                "partition": partition,
                "path": f"/{rest}",
                "port": str(node.port),
            }
        )
        return self.status


def expected_differences(entry, status, body):
    """Where we answer differently on purpose: (status, body or None) of ours for an entry."""
    note = entry.get("note")
    path = entry["request"]["path"]
    if note == "missing X-Size":
        return 400, "Missing X-Size header"
    if note == "... but the container was created":
        return 404, ""
    if path.endswith("/c6") and entry["request"]["method"] == "HEAD" and status == 404:
        return 404, ""
    return None


def test_golden_conversation(tmp_path, monkeypatch):
    accounts = Accounts(monkeypatch)
    app = ContainerServer(make_conf(tmp_path), Logger())
    conversation = [e for e in load("http_container.json") if e.get("server", "container") == "container"]
    for at, entry in enumerate(conversation):
        request = {"query": "", "headers": {}, "body": "", **entry["request"]}
        expected = entry["response"]
        expected["headers"].pop("Content-Length", None)
        note = f"{at} {request['method']} {request['path']}?{request['query']} {entry.get('note')}"
        before(tmp_path, entry)
        accounts.sent = []
        accounts.status = 404 if "404" in str(entry.get("note")) else 201
        status, headers, body = call(
            app, request["method"], request["path"], request["query"], request["headers"], request["body"]
        )
        different = expected_differences(entry, expected["status"], expected["body"])
        if different is not None:
            assert (status, body) == different, note
            continue
        assert status == expected["status"], (note, body)
        wanted = dict(expected["headers"])
        if "Server" in wanted:
            wanted["Server"] = headers["Server"]
            assert headers["Server"].startswith("container-server/")
        if status >= 400:
            wanted["Content-Type"] = headers["Content-Type"]
        for name in CLOCK:
            assert (name in wanted) == (name in headers), note
            if name in wanted and wanted[name] != "0000000000.00000":
                wanted[name] = headers[name]
        assert headers == wanted, note
        assert without_default_range(body) == without_default_range(expected["body"]), note
        sent = entry.get("account_requests_sent")
        assert [by_ip(s) for s in sorted(accounts.sent, key=by_key)] == [
            by_ip(s) for s in sorted(sent or [], key=by_key)
        ], note


def by_key(sent):
    return sent["ip"], sent["device"]


def by_ip(sent):
    return {**sent, "headers": {k: v for k, v in sent["headers"].items() if k != "User-Agent"}}


def without_default_range(body):
    """The body, with the clock taken out of the range that stands for the container itself."""
    if '"state_timestamp"' not in body:
        return body
    found = json.loads(body)
    for item in found:
        if item["name"] == "AUTH_x/c7":
            for key in ("timestamp", "meta_timestamp", "state_timestamp", "last_modified"):
                item[key] = "now"
    return found


def before(tmp_path, entry):
    """What the recording did to container c8 between two requests: what the sharder does."""
    note = entry.get("note")
    if note not in ("sharding, auto", "sharded: filter override honoured"):
        return
    digest = hash_path("AUTH_x", "c8")
    path = f"{tmp_path}/node/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"
    fresh = f"{path[:-3]}_1700000090.00000.db"
    if note == "sharding, auto":
        broker = ContainerBroker(path)
        own = shard_ranges.own_range_default("AUTH_x/c8", "1700000070.00000")
        own.update(state=shard_ranges.SHARDING, state_timestamp="1700000090.00000", epoch="1700000090.00000")
        names = ((".shards_AUTH_x/s0", "", "m"), (".shards_AUTH_x/s2", "m", ""))
        parts = [
            {
                **shard_ranges.own_range_default(name, "1700000070.00000"),
                "lower": lower,
                "upper": upper,
                "object_count": 10,
                "bytes_used": 100,
            }
            for name, lower, upper in names
        ]
        broker.merge_shard_ranges([own, *parts])
        shutil.copy(path, fresh)
    else:
        os.unlink(path)
