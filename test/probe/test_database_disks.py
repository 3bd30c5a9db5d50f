"""Account and container servers and their daemons on disks of their own: one that hangs, one that is to be unmounted."""

import http.client
import os
import subprocess
import sys
import threading

import pytest
from real_disks import Disk
from servers import ROOT, Server, environment, wait_until

T = "1700000001.00000"
ROW = {"X-Size": "1", "X-Content-Type": "text/plain", "X-Etag": "e"}


@pytest.fixture
def disks(tmp_path):
    made = [Disk(tmp_path / f"{name}.img", tmp_path / "srv" / name) for name in ("good", "bad")]
    try:
        yield [disk.mount() for disk in made]
    finally:
        for disk in made:
            disk.end()


@pytest.fixture
def server(tmp_path, disks):
    made = ContainerProcess(tmp_path, kind="container-server", devices=str(tmp_path / "srv"), max_clients=100)
    try:
        yield made.start()
    finally:
        for disk in disks:
            disk.thaw()
        made.stop()


class ContainerProcess(Server):
    def write_conf(self, **changes):
        super().write_conf(**changes)
        text = self.conf.read_text()
        self.conf.write_text(
            text.replace("paste.app_factory = process_app:app_factory", "use = egg:swift#container")
        )

    def ask(self, method, path, timeout=60, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers={"X-Timestamp": T, **named})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def test_a_frozen_disk_delays_nobody_on_another(server, disks):
    good, bad = disks
    for name in ("good", "bad"):
        assert server.ask("PUT", f"/{name}/1/AUTH_a/c")[0] == 201
        assert server.ask("PUT", f"/{name}/1/AUTH_a/c/before", **ROW)[0] == 201
    answers = {}

    def write(n):
        try:
            answers[n] = server.ask("PUT", f"/bad/1/AUTH_a/c/o{n:02d}", 120, **ROW)[0]
        except OSError as err:
            answers[n] = repr(err)

    bad.freeze()
    writers = [threading.Thread(target=write, args=(n,)) for n in range(20)]
    for writer in writers:
        writer.start()
    try:
        for n in range(20):
            # bounds that only prove that nobody waits for the other disk
            assert server.ask("PUT", f"/good/1/AUTH_a/c/o{n:02d}", 60, **ROW)[0] == 201
            status, body = server.ask("GET", "/good/1/AUTH_a/c", 60)
            assert (status, len(body.split())) == (200, n + 2)
        assert not answers, "the frozen disk was to take nothing"
    finally:
        bad.thaw()
    for writer in writers:
        writer.join(120)
    listed = server.ask("GET", "/bad/1/AUTH_a/c")[1].split()
    acknowledged = {f"o{n:02d}" for n, status in answers.items() if status == 201}
    assert acknowledged | {"before"} <= set(listed)
    assert server.ask("PUT", "/bad/1/AUTH_a/c/after", **ROW)[0] == 201


def test_a_server_lets_go_of_its_disks(server, disks):
    for name in ("good", "bad"):
        assert server.ask("PUT", f"/{name}/1/AUTH_a/c")[0] == 201
        assert server.ask("PUT", f"/{name}/1/AUTH_a/c/o", **ROW)[0] == 201
        assert server.ask("GET", f"/{name}/1/AUTH_a/c")[0] == 200
    for disk in disks:
        assert disk.unmount(60)
    assert server.ask("HEAD", "/good/1/AUTH_a/c")[0] == 507


def test_daemons_let_go_of_their_disks(tmp_path, server, disks):
    for n in range(5):
        assert server.ask("PUT", f"/bad/1/AUTH_a/c{n}")[0] == 201
    server.stop()
    conf = tmp_path / "auditor.conf"
    conf.write_text(
        f"[DEFAULT]\nswift_dir = {tmp_path}\ndevices = {tmp_path}/srv\nuser = root\nlog_file = {tmp_path}/auditor.log\n"
        f"[container-auditor]\ninterval = 1\nrecon_cache_path = {tmp_path}\n"
    )
    command = [sys.executable, str(ROOT / "bin" / "swift-container-auditor"), str(conf)]
    daemon = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(
            lambda: (
                (tmp_path / "auditor.log").exists()
                and "pass completed" in (tmp_path / "auditor.log").read_text()
            )
        )
        # the passes go on; between two of them nothing is kept for long
        assert disks[1].unmount(60)
        assert daemon.poll() is None
        assert os.path.ismount(disks[0].path)
    finally:
        daemon.terminate()
        daemon.wait(60)
