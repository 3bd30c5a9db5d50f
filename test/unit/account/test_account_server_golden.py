"""The recorded conversation with the reference's account server, replayed against ours."""

from swift.account.server import AccountServer
from test.databases import CLOCK, Logger, call, load, make_conf


def test_golden_conversation(tmp_path):
    app = AccountServer(make_conf(tmp_path), Logger())
    for at, entry in enumerate(load("http_account.json")):
        request = {"query": "", "headers": {}, "body": "", **entry["request"]}
        expected = entry["response"]
        expected["headers"].pop("Content-Length", None)
        note = f"{at} {request['method']} {request['path']}?{request['query']} {entry.get('note')}"
        status, headers, body = call(
            app, request["method"], request["path"], request["query"], request["headers"], request["body"]
        )
        assert status == expected["status"], (note, body)
        wanted = dict(expected["headers"])
        if "Server" in wanted:
            wanted["Server"] = headers["Server"]
            assert headers["Server"].startswith("account-server/")
        for name in CLOCK:
            if name in wanted:
                wanted[name] = headers[name]
        if status >= 400:
            wanted["Content-Type"] = headers["Content-Type"]
        assert headers == wanted, note
        assert body == expected["body"], note
