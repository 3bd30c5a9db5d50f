"""Power cuts of a real XFS under a real server: what was acknowledged is whole, what was not is as before or as asked for.

Each write and flush of the disk is recorded (`test.power_cuts`); then the disks that a cut at many moments may leave are made, mounted, so
that the file system's own recovery runs, and read by the store. The states of `test_crash_states` are those of any file system; these are of the
one that nearly everybody has, with its shortcuts (`swift.obj.files.named_first`).
"""

import os
import pathlib
import threading
import time

import pytest
from servers import wait_until
from test_crash_states import Objects, Rows, container_there, stored
from traced_servers import StorageServer

from swift.core import hashing, swift_dir
from swift.core.hashing import hash_path
from swift.obj.files import batch, suffixes
from swift.obj.files.batch import SmallFile, SmallWrite, write_batch
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.named_first import may_be_named_first
from swift.obj.files.state import read_state
from swift.obj.store import StoreOptions
from test import power_cuts

CUTS = 60
START = int(time.time()) - 10_000


@pytest.fixture
def disk():
    with power_cuts.recorded_xfs() as (disk, where):
        fd = os.open(where, os.O_RDONLY)
        assert may_be_named_first(fd)
        os.close(fd)
        yield disk, where


class Client(Objects):
    """One client of a few objects of its own; `disk` is told of each request before it is sent and after it is answered."""

    def __init__(self, server, disk, number):
        super().__init__(server, lambda second: f"{START + number * 1000 + second}.00000")
        self.disk = disk
        self.number = number

    def asked(self, function, *args, **kwargs):
        self.disk.note("asked", self.number, len(self.worlds))
        function(*args, **kwargs)
        self.disk.note("told", self.number, len(self.worlds) - 1)

    def work(self):
        own, large, piece = (f"{kind}-{self.number}" for kind in ("own", "large", "piece"))
        self.asked(self.do, "PUT", own, b"first" * self.number, metadata="1")
        self.asked(self.do, "PUT", own, os.urandom(4000), metadata="2")
        self.asked(self.do, "POST", own, metadata="3")
        self.asked(self.put_fragment, piece, os.urandom(2000), 3)
        self.asked(self.do, "PUT", large, os.urandom(100_000), metadata="4")
        self.asked(self.do, "PUT", own, b"", metadata="5")
        self.asked(self.do, "DELETE", own)
        self.asked(self.do, "PUT", own, os.urandom(9000), metadata="6" * 200)
        self.asked(self.do, "PUT", large, os.urandom(200_000), metadata="7")
        self.asked(self.put_fragment, piece, os.urandom(90_000), 3)
        self.asked(self.do, "DELETE", large)
        self.asked(self.do, "PUT", own, b"told", told=True)


def last_of(cut, what):
    """{client: the number of the world that was asked for, or told of, last}"""
    return {item[1]: item[2] for item in cut.noted if item[0] == what}


def worlds_of(cut, client):
    """What was told before the cut, and what was asked for."""
    number = last_of(cut, "told").get(client.number, 0)
    asked = max(last_of(cut, "asked").get(client.number, 0), number)
    return client.worlds[number], client.worlds[min(asked, len(client.worlds) - 1)]


@pytest.mark.parametrize("in_process", ["true", "false"])
def test_objects(disk, tmp_path, in_process):
    disk, where = disk
    server = StorageServer(where, tmp_path, writer_process=in_process, container_update_timeout=0.2)
    swift_dir.use(str(tmp_path))
    try:
        server.start()
        first = Client(server, disk, 0)
        first.asked(first.do, "PUT", "first", b"x", metadata="1")
        if in_process == "true":
            wait_until(lambda: b"writer_process" in children_of(server.process.pid))
        clients = [first, *(Client(server, disk, number) for number in range(1, 6))]
        threads = [threading.Thread(target=client.work) for client in clients[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.stop()
    assert all(len(client.worlds) == 13 for client in clients[1:])
    chance = power_cuts.seeded(time.time_ns())
    disks = power_cuts.Disks(disk)
    for cut in power_cuts.cuts(disk.record, CUTS, chance):
        with disks.mounted(cut, power_cuts.left_over(cut, chance)) as root:
            for client in clients:
                before, after = worlds_of(cut, client)
                for policy, name in after:
                    got = stored(root, policy, name)
                    asked_for = before.get((policy, name)), after[policy, name]
                    assert got in asked_for, (cut.at, policy, name, got and got[1])
            assert not (root / "sda" / "quarantined").exists(), cut.at
            for partition in (root / "sda").glob("objects*/*"):
                suffixes.get_hashes(str(partition), reclaim_age=1e12)


@pytest.mark.parametrize("synced", ["yes", "no"], ids=["synced rows", "usual"])
def test_containers(disk, tmp_path, synced):
    disk, where = disk
    server = StorageServer(where, tmp_path, "container", sync_pending_updates=synced)
    swift_dir.use(str(tmp_path))
    rows = Rows(server)
    try:
        server.start()
        for step, *args in (
            (rows.create,), (rows.row, "a"), (rows.row, "b"), (rows.post, "1"), (rows.row, "c"), (rows.remove, "a"), (rows.post, "2"),
            (rows.remove, "b"), (rows.remove, "c"), (rows.delete,), (rows.create,), (rows.row, "d"), (rows.row, "e"), (rows.post, "3"),
        ):  # fmt: skip
            disk.note("asked", 0, len(rows.worlds))
            step(*args)
            disk.note("told", 0, len(rows.worlds) - 1)
    finally:
        server.stop()
    chance = power_cuts.seeded(time.time_ns())
    disks = power_cuts.Disks(disk)
    for cut in power_cuts.cuts(disk.record, CUTS, chance):
        told = last_of(cut, "told").get(0, 0)
        may = rows.worlds[told : max(last_of(cut, "asked").get(0, 0), told) + 1]
        with disks.mounted(cut, power_cuts.left_over(cut, chance)) as root:
            got = container_there(root)
            if synced == "yes" or got is None or got[0]:
                assert got in may, (cut.at, got, may)
            else:  # rows of the last seconds may be missing, and what they have replaced be there
                assert (got[0], got[2]) in [(world[0], world[2]) for world in may if world], (
                    cut.at,
                    got,
                    may,
                )
                assert got[1].items() <= {item for world in rows.worlds if world for item in world[1].items()}
            assert not (root / "sda" / "quarantined").exists(), cut.at


# -- the check itself ------------------------------------------------------------------------------------------------------


def written_in_batches(disk, where):
    """Batches of four new objects, one after the other: (path, body) of each."""
    os.mkdir(f"{where}/sda")
    options = StoreOptions()
    written = []
    for number in range(12):
        items = []
        for item in range(4):
            name = f"/a/c/{number}-{item}"
            name_hash = hash_path(name[1:])
            place = ObjectLocation(f"{where}/sda", 0, str(int(name_hash[:2], 16)), name_hash, name)
            body = os.urandom(5000)

            def plan(place=place, body=body):
                metadata = {"X-Timestamp": f"{START}.00000", "Content-Length": str(len(body))}
                return None, SmallFile(metadata, ".data", body, read_state(place, 0, hasty=True).names)

            items.append(SmallWrite(place, plan, len(body)))
            written.append((f"{place.hash_dir}/{START}.00000.data", body))
        assert write_batch(items, options) == [None] * 4
        disk.note("told", len(written))
    return [(path.removeprefix(f"{where}/"), body) for path, body in written]


def torn_or_lost(disk, written, chance):
    """What is wrong after power cuts."""
    disks = power_cuts.Disks(disk)
    wrong = []
    for cut in power_cuts.cuts(disk.record, CUTS, chance):
        told = cut.noted[-1][1] if cut.noted else 0
        with disks.mounted(cut, power_cuts.left_over(cut, chance)) as root:
            for number, (path, body) in enumerate(written):
                try:
                    content = (root / path).read_bytes()
                except FileNotFoundError:
                    content = None
                if content != body and (content is not None or number < told):
                    wrong.append((cut.at, number, told, content and len(content)))
    return wrong


def test_batches(disk):
    disk, where = disk
    hashing.set_hash_config("changeme", "changeme")
    written = written_in_batches(disk, where)
    assert torn_or_lost(disk, written, power_cuts.seeded(time.time_ns())) == []


@pytest.mark.parametrize("left_out", ["write_back", "fsync"])
def test_the_check_sees_what_is_left_out(disk, monkeypatch, left_out):
    """Names before bytes, or answers before syncs: cuts show it."""
    disk, where = disk
    hashing.set_hash_config("changeme", "changeme")
    if left_out == "write_back":
        monkeypatch.setattr(batch, "write_back", lambda fd: None)
        monkeypatch.setattr(batch, "start_writing", lambda fd: None)
    else:
        monkeypatch.setattr(os, "fsync", lambda fd: None)
    written = written_in_batches(disk, where)
    monkeypatch.undo()
    assert torn_or_lost(disk, written, power_cuts.seeded(1))


def children_of(pid):
    """The command lines of all that a process has started."""
    lines = b""
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == pid or int(fields[1]) == pid:
                lines += (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
    return lines
