"""A disk that hangs, tried on a file system that is frozen: who asks for another disk, or for what the kernel has, is served."""

import http.client
import os
import pathlib
import subprocess
import threading
import time

import pytest
from servers import environment, wait_until

from test import disks
from test.ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
BODY = b"x" * 4096


class Client:
    """One object server with two devices, sda on the file system that will hang."""

    def __init__(self, root, tmp_path):
        self.port = free_port()
        (tmp_path / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_prefix = changeme\nswift_hash_path_suffix = changeme\n"
        )
        (tmp_path / "node").mkdir()
        os.makedirs(f"{root}/disk")
        os.symlink(f"{root}/disk", tmp_path / "node" / "sda")
        (tmp_path / "node" / "sdb").mkdir()
        conf = tmp_path / "object-server.conf"
        conf.write_text(
            f"[DEFAULT]\nuser = root\ndevices = {tmp_path}/node\nmount_check = false\nbind_ip = 127.0.0.1\nbind_port = {self.port}\n"
            f"workers = 0\nswift_dir = {tmp_path}\nlog_file = {tmp_path}/log\n[pipeline:main]\npipeline = object-server\n"
            f"[app:object-server]\nuse = egg:swift#object\ndisk_stall_timeout = 2\nfallocate_reserve = 0\n"
        )
        self.process = subprocess.Popen(
            [str(ROOT / "bin" / "swift-object-server"), str(conf)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        wait_until(self.is_up, 60)

    def is_up(self):
        try:
            return self.request("OPTIONS", "", "/") == (200, b"")
        except OSError:
            return False

    def request(self, method, device, path="/7/a/c/o", body=b"", seconds=60.0):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        headers = {"X-Timestamp": f"{time.time():.5f}", "Content-Type": "text/plain"}
        connection.request(method, f"/{device}{path}" if device else path, body=body, headers=headers)
        answer = connection.getresponse()
        got = answer.status, answer.read()
        connection.close()
        return got

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def disk():
    with disks.xfs() as path:
        yield path


def test_a_frozen_disk_stalls_nobody_else(disk, tmp_path):
    client = Client(disk, tmp_path)
    try:
        acknowledged = {}
        for device in ("sda", "sdb"):
            for number in range(20):
                path = f"/7/a/c/{number}"
                assert client.request("PUT", device, path, BODY)[0] == 201
                acknowledged[device, path] = BODY
        time.sleep(0.1)
        for _ in range(2):
            for device, path in acknowledged:
                assert client.request("GET", device, path) == (200, BODY)
        hanging = []

        def write(number):
            path = f"/7/a/c/hanging-{number}"
            method = ("PUT", "DELETE", "PUT")[number % 3]
            body = b"y" * (200_000 if number % 3 == 2 else 10) if method == "PUT" else b""
            hanging.append((method, path, body, client.request(method, "sda", path, body)[0]))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
        with disks.frozen(disk):
            for thread in threads:
                thread.start()
            time.sleep(0.3)
            assert not hanging
            for number in range(20):
                path = f"/7/a/c/{number}"
                # the other disk, and of this one what the kernel has in memory
                assert client.request("GET", "sdb", path, seconds=60) == (200, BODY)
                assert client.request("GET", "sda", path, seconds=60) == (200, BODY)
                assert client.request("HEAD", "sda", path, seconds=60) == (200, b"")
                assert client.request("PUT", "sdb", path, BODY, seconds=60)[0] == 201
            for thread in threads:
                thread.join(60)
            # those who waited were let go, and who comes later is told at once
            assert {status for *_, status in hanging} <= {503, 507} and len(hanging) == 12
            assert client.request("PUT", "sda", "/7/a/c/late", b"z", seconds=60)[0] in (503, 507)
        wait_until(lambda: client.request("PUT", "sda", "/7/a/c/late", b"z")[0] == 201)
        for device, path in acknowledged:
            assert client.request("GET", device, path) == (200, BODY)
    finally:
        client.stop()
