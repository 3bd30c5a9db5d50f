"""Where things are, in two forms."""

import json

import pytest
from filter_stand_ins import App, call

from swift.core import policy
from swift.middleware import list_endpoints
from swift.middleware.list_endpoints import ListEndpoints


class FakeRing:
    def __init__(self, port):
        self.port = port

    def get_nodes(self, *names):
        for name in names:
            name.encode("utf-8")
        return len(names), [{"ip": ip, "port": self.port, "device": "sdb"} for ip in ("10.0.0.1", "fe80::1")]


@pytest.fixture
def filter_(monkeypatch):
    monkeypatch.setattr(policy, "_policies", policy.PolicyCollection([policy.StoragePolicy(0, "zero", is_default=True), policy.StoragePolicy(1, "one")]))  # fmt: skip
    indexes = {"c": 0, "d": 1, "unknown": 9}
    monkeypatch.setattr(list_endpoints, "get_container_info", lambda environ, app, a, c: {"storage_policy": indexes.get(c, 0)})  # fmt: skip
    rings = {name: FakeRing(port) for port, name in enumerate(("account", "container", "object", "object-1"))}
    return ListEndpoints(App(), {}, rings)


def ask(filter_, path, method="GET"):
    answer = call(filter_, path, method)
    return answer.status_int, json.loads(answer.body) if answer.status_int == 200 else answer.body.decode()


def endpoints(port, part, path):
    return [f"http://10.0.0.1:{port}/sdb/{part}/{path}", f"http://[fe80::1]:{port}/sdb/{part}/{path}"]


@pytest.mark.parametrize("version", ["", "v1/", "v1.0/"])
def test_first_form(filter_, version):
    assert ask(filter_, f"/endpoints/{version}a") == (200, endpoints(0, 1, "a"))
    assert ask(filter_, f"/endpoints/{version}a/c") == (200, endpoints(1, 2, "a/c"))
    assert ask(filter_, f"/endpoints/{version}a/c/o%2Fp%20%C3%A4") == (200, endpoints(2, 3, "a/c/o/p%20%C3%A4"))  # fmt: skip
    assert ask(filter_, f"/endpoints/{version}a/d/o") == (200, endpoints(3, 3, "a/d/o"))


def test_second_form(filter_):
    assert ask(filter_, "/endpoints/v2/a") == (200, {"endpoints": endpoints(0, 1, "a"), "headers": {}})
    told = {"endpoints": endpoints(3, 3, "a/d/o"), "headers": {"X-Backend-Storage-Policy-Index": "1"}}
    assert ask(filter_, "/endpoints/v2/a/d/o") == (200, told)


def test_bad_questions(filter_):
    for path in ("", "v1", "v1/", "/c", "v2//c", "a//o"):
        assert ask(filter_, f"/endpoints/{path}") == (400, "No account specified")
    assert ask(filter_, "/endpoints/v3/a") == (400, "Unsupported version 'v3'")
    assert ask(filter_, "/endpoints/v_3/a")[0] == 200
    assert ask(filter_, "/endpoints/%ff/c")[0] == 400
    assert ask(filter_, "/endpoints/a/unknown/o")[0] == 404
    for method in ("HEAD", "PUT", "DELETE"):
        answer = call(filter_, "/endpoints/a", method)
        assert (answer.status_int, answer.headers["Allow"]) == (405, "GET")


def test_other_paths_pass(filter_):
    for path in ("/endpoints", "/v1/a/endpoints/", "/endpoint/a"):
        before = filter_.app.calls
        call(filter_, path)
        assert filter_.app.calls == before + 1
