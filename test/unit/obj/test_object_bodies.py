"""Objects on their way out of an object server: iterated, sent by the kernel, over TLS; checked and unchecked."""

import os

import pytest
from obj_app import App

from swift.engine import stream
from swift.obj import checks
from test import certificate
from test.three_ways import WAYS, Front

MARK = b"SECRETsecret"
CONTENT = MARK * 250_000
PATH = "/sda/7/a/c/o"


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return certificate.make(tmp_path_factory.mktemp("cert"))


@pytest.fixture(params=WAYS)
def front(request, root, cert):
    app = App(root)
    assert app.put("1700000001.00000", CONTENT).status == 201
    made = Front(app.application, request.param, cert, app.log)
    checks._checked.clear()
    yield made
    made.stop()


@pytest.fixture
def sent_by_kernel(monkeypatch):
    """How many bytes left by sendfile."""
    counts = [0]
    real = os.sendfile

    def sendfile(*args):
        sent = real(*args)
        counts[0] += sent
        return sent

    monkeypatch.setattr(stream.os, "sendfile", sendfile)
    return counts


@pytest.mark.parametrize("ranges", ["", "0-0", "5-1999999", "1000000-", "0-9,1000000-2999999", "-1"])
def test_every_way_gives_the_same_bytes(front, sent_by_kernel, ranges):
    headers = {"Range": f"bytes={ranges}"} if ranges else {}
    for _ in range(2):  # checked, and then known to be good
        got = front.get(PATH, headers)
        assert not got.broken and len(got.body) == int(got.headers["content-length"])
        if not ranges:
            assert (got.status, got.body) == (200, CONTENT)
        elif "," in ranges:
            boundary = got.headers["content-type"].partition("boundary=")[2].encode()
            parts = [part.partition(b"\r\n\r\n")[2][:-2] for part in got.body.split(b"--" + boundary)[1:-1]]
            assert (got.status, parts) == (206, [CONTENT[:10], CONTENT[1_000_000:]])
        else:
            first, _, last = ranges.partition("-")
            part = CONTENT[int(first) : int(last or len(CONTENT)) + 1] if first else CONTENT[-int(last) :]
            assert (got.status, got.body) == (206, part)
        if front.way == "tls":
            assert MARK not in got.wire
    if front.way != "spliced":
        assert not sent_by_kernel[0]


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-2999999"}])
def test_a_damaged_block_never_looks_whole(front, root, headers):
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".data"):
                with open(f"{folder}/{name}", "r+b") as file:
                    file.seek(2_500_000)
                    file.write(b"damage")
    got = front.get(PATH, headers)
    assert got.broken and b"damage" not in got.body
