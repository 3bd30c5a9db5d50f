"""An object server with workers for each port of its devices in the rings."""

import array
import os
import signal

import pytest
from servers import Load, Server, wait_until

from swift.ring.format import RingData
from test.ports import free_port


class PortServer(Server):
    def ring(self, *ports):
        devs = [
            {"id": at, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": f"d{at}", "weight": 1.0,
             "meta": "", "replication_ip": "127.0.0.1", "replication_port": port}
            for at, port in enumerate(ports)
        ]  # fmt: skip
        devs.append({**devs[0], "id": len(devs), "ip": "10.255.255.1", "port": 9})
        path = self.directory / "object.ring.gz"
        RingData(devs, [array.array("H", [0, 0])], 31).save(str(path))
        os.utime(path, (1, path.stat().st_mtime + len(ports)))

    def at(self, port):
        self.port = port
        return self.get()[0]


@pytest.fixture
def server(tmp_path):
    made = PortServer(
        tmp_path, "object-server", servers_per_port="2", ring_check_interval="0.2", bind_port="1"
    )
    yield made
    made.stop()


def test_ports_come_and_go_with_the_ring(server):
    first = free_port()
    second = free_port()
    server.ring(first)
    server.start()
    assert len(server.workers()) == 2 and server.at(first) in server.workers()
    assert f"for port {first}" in server.log()
    server.ring(first, second)
    wait_until(lambda: len(server.workers()) == 4)
    before = server.at(second)
    with Load(server, clients=1) as load:
        server.ring(second)
        wait_until(lambda: len(server.workers()) == 2)
        wait_until(lambda: len(load.answers) > 5)
    assert not load.failures and before in server.workers()
    with pytest.raises(OSError):
        server.at(first)
    server.port = second
    server.write_conf(generation="2")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: server.generation() == "2" and len(server.workers()) == 2)
