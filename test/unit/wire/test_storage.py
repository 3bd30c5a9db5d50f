"""The frame of the storage servers: what errors of the machine and of disks become."""

import dataclasses
import errno
import logging

import pytest

from swift.core.concurrency import use_fast_hub
from swift.telemetry.disk_watch import DiskWatch
from swift.telemetry.log import Logger
from swift.wire.storage import StorageServer

use_fast_hub()


class Server(StorageServer):
    server_type = "test-server"

    def __init__(self, error):
        super().__init__(logging.getLogger("storage-test"))
        self.error = error

    def verbs(self):
        return {"GET": self.get}

    def get(self, environ, start_response):
        raise self.error


def status_of(error):
    seen = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/sda/1/a"}
    Server(error).respond(environ, lambda status, headers: seen.append(int(status[:3])))
    return seen[0]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR])
def test_what_is_of_the_machine_may_be_tried_again(number):
    assert status_of(OSError(number, "")) == 503


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_what_is_of_the_disk_is_answered_with_507(number):
    assert status_of(OSError(number, "")) == 507


def test_what_nobody_knows_is_500():
    assert status_of(OSError(errno.ENOTDIR, "")) == status_of(KeyError("x")) == 500


def test_what_is_logged_names_the_transaction_of_the_request_at_hand_and_no_other():
    class Lines:
        dropped = 0

        def __init__(self):
            self.lines = []

        def emit(self, level, name, text, txn, client_ip):
            self.lines.append((text.splitlines()[0], txn))

    lines = Lines()
    server = Server(OSError(5, "Input/output error"))
    server.logger = Logger("test-server", 20, [lines])
    for trans_id in ("tx1", "tx2", "-", None):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/sdb1/7/a", "HTTP_X_TRANS_ID": trans_id}
        server.respond({key: value for key, value in environ.items() if value}, lambda *args: None)
    assert [txn for _, txn in lines.lines] == ["tx1", "tx2", None, None]
    assert [text.endswith(f"(txn: {txn})") for text, txn in lines.lines] == [True, True, False, False]


def test_a_storage_server_is_ready_with_one_disk_that_can_be_written_to(tmp_path):
    server = Server(None)
    assert server.not_ready() == []
    server.disks = DiskWatch({"devices": str(tmp_path / "none")})
    assert server.not_ready() == [f"no disks: {tmp_path / 'none'}: No such file or directory"]
    server.disks = DiskWatch({"devices": str(tmp_path)})
    assert server.not_ready() == [f"no disks: there is none in {tmp_path}"]
    for name in ("sdb1", "sdb2"):
        (tmp_path / name).mkdir()
    server.disks = DiskWatch({"devices": str(tmp_path)})
    assert server.not_ready() == ["no disks: sdb1 is not mounted", "no disks: sdb2 is not mounted"]
    (tmp_path / "sdb2" / ".ismount").touch()
    server.disks.look()
    assert server.not_ready() == []
    server.disks.seen["sdb2"] = dataclasses.replace(server.disks.seen["sdb2"], read_only=True)
    assert server.not_ready()[1] == "no disks: sdb2 is read-only"
    del server.disks.seen["sdb1"]
    assert server.not_ready()[0] == "no disks: sdb1 does not answer"
