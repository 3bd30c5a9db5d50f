"""Servers beside a disk that answers nothing at all, not even what it is."""

import http.client
import threading

import pytest
from servers import Server
from silent_disks import SilentDisk

T = {"X-Timestamp": "1700000001.00000"}
ROW = {**T, "X-Size": "1", "X-Content-Type": "text/plain", "X-Etag": "e", "Content-Type": "text/plain"}
REPORT = {**T, "X-Put-Timestamp": "1", "X-Delete-Timestamp": "0", "X-Object-Count": "1", "X-Bytes-Used": "1"}
NOBODY_WAITS = 60  # seconds; a bound that only proves it

WORK = {  # what is done, in this order, on the disk that answers, and at the same time on the other one
    "account": [
        ("PUT", "/1/AUTH_a", T, 201),
        ("PUT", "/1/AUTH_a/c", REPORT, 201),
        ("GET", "/1/AUTH_a", T, 200),
        ("HEAD", "/1/AUTH_a", T, 204),
        ("POST", "/1/AUTH_a", T, 204),
    ],
    "container": [
        ("PUT", "/1/AUTH_a/c", T, 201),
        ("PUT", "/1/AUTH_a/c/o", ROW, 201),
        ("GET", "/1/AUTH_a/c", T, 200),
        ("HEAD", "/1/AUTH_a/c", T, 204),
        ("DELETE", "/1/AUTH_a/c/o", T, 204),
    ],
    "object": [
        ("PUT", "/1/AUTH_a/c/o", ROW, 201),
        ("GET", "/1/AUTH_a/c/o", T, 200),
        ("HEAD", "/1/AUTH_a/c/o", T, 200),
        ("DELETE", "/1/AUTH_a/c/o", {"X-Timestamp": "1700000002.00000"}, 204),
    ],
}


class StorageProcess(Server):
    def write_conf(self, **changes):
        super().write_conf(**changes)
        text = self.conf.read_text()
        name = self.kind.removesuffix("-server")
        self.conf.write_text(
            text.replace("paste.app_factory = process_app:app_factory", f"use = egg:swift#{name}")
        )

    def ask(self, method, path, headers, timeout=NOBODY_WAITS):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, b"" if method == "PUT" else None, headers)
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.mark.parametrize("kind", list(WORK))
def test_a_disk_that_answers_nothing_holds_nobody_on_another(tmp_path, kind):
    srv = tmp_path / "srv"
    (srv / "good").mkdir(parents=True)
    disk = SilentDisk(srv / "bad").mount()
    server = StorageProcess(
        tmp_path, kind=f"{kind}-server", devices=str(srv), mount_check="no", max_clients=100
    )
    answers = []

    def ask(method, path, headers, _):
        try:
            answers.append(server.ask(method, f"/bad{path}", headers, 120))
        except OSError:
            answers.append(None)

    try:
        server.start()
        for step in WORK[kind]:
            for _ in range(5):
                threading.Thread(target=ask, args=step, daemon=True).start()
            method, path, headers, status = step
            assert server.ask(method, f"/good{path}", headers) == status
        assert not answers
    finally:
        disk.end()
        server.stop()
