"""./saio with real processes: up, one node killed, up again, down. Installing is not part of it."""

import http.client
import os
import signal
import time

import pytest

from swift.cli import saio
from swift.cli.saio_layout import Layout
from test.ports import free_ports


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("SAIO_DIR", str(tmp_path))
    port, base_port = free_ports()
    made = Layout(tmp_path, port=port, base_port=base_port)
    yield made
    saio.main(["down"])


def everything(layout):
    return saio._members({pid for pid, _ in saio._started(layout).values()})


def test_a_killed_node_comes_back(layout, capsys):
    ports = ["--port", str(layout.port), "--base-port", str(layout.base_port)]
    assert saio.main(["up", *ports]) == 0
    assert f"endpoint  {layout.endpoint}" in capsys.readouterr().out
    before = saio._running(layout)
    assert sorted(before) == sorted(saio._names())

    node2 = [pid for pid in everything(layout) if os.getpgid(pid) == before["node2"]]
    os.kill(before["node2"], signal.SIGKILL)
    while any(saio._start_time(pid) for pid in node2):  # its workers end by themselves
        time.sleep(0.01)
    assert saio.main(["status"]) == 1
    capsys.readouterr()
    assert saio.main(["up", "--port", "1"]) == 1
    assert "already: ./saio down first" in capsys.readouterr().err
    assert saio.main(["user", "add", "films:ann", "hush", ".admin"]) == 0
    assert saio.main(["up"]) == 0
    assert capsys.readouterr().out.startswith("started node2; the rest is running already\n")
    after = saio._running(layout)
    assert after.pop("node2") != before.pop("node2") and after == before
    assert saio.main(["status"]) == 0
    after = saio._running(layout)
    conf = layout.etc / "container-server" / "1.conf"
    good = conf.read_text()
    conf.write_text(good.replace("[container-sharder]\n", "[container-sharder]\nshrink_threshold = none\n"))
    capsys.readouterr()
    assert saio.main(["reload"]) == 1  # and the daemons go on
    assert f"nothing was reloaded: {conf}: [container-sharder]: " in capsys.readouterr().err
    assert saio._running(layout) == after
    conf.write_text(good)
    assert saio.main(["reload"]) == 0
    assert saio.main(["status"]) == 0

    answer = http.client.HTTPConnection(layout.ip, layout.port, timeout=10)
    answer.request("GET", "/auth/v1.0", headers={"X-Auth-User": "films:ann", "X-Auth-Key": "hush"})
    assert answer.getresponse().status == 200
    answer.close()

    after = saio._running(layout)
    os.kill(after["node3"], signal.SIGKILL)
    processes = everything(layout)
    assert saio.main(["down"]) == 0
    assert not [pid for pid in processes if saio._start_time(pid)]
    capsys.readouterr()
    assert saio.main(["down"]) == 0
    assert capsys.readouterr().out.startswith("nothing was running in ")
    assert saio.main(["up"]) == 0  # the ports are free, and known from before
    assert f"endpoint  {layout.endpoint}" in capsys.readouterr().out
