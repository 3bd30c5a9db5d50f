"""What an object server acknowledges is on disk: checked from the system calls of a real server, whichever road a write took."""

import os
import pathlib
import re
import shutil
import threading
import time

import pytest
from servers import wait_until
from traced_servers import TracedServer, answers

from swift.core.hashing import hash_path
from test import disks
from test.system_calls import parse, quoted, why_not

NOBODY = {"X-Container-Partition": "1", "X-Container-Host": "127.0.0.1:1", "X-Container-Device": "sda"}


class Disk:
    """When each file and directory was changed and synced, by its path (of an unnamed file: with its inode number)."""

    def __init__(self, device):
        self.device = device
        self.changed = {}  # file → when its changes ended; the number of an inode may come again
        self.entries = {}  # path of an entry → when it was made, each time
        self.content = {}  # path of an entry → the file that it names
        self.syncs = {}  # path → [(began, ended)]
        self.fds = {}  # (thread, number) → path, as last seen

    def take(self, call):
        """Note what a call does."""
        if not call.succeeded:
            return
        name, arguments = call.name, call.arguments
        first = re.match(r"(\d+)<((?:[^<>\\]|\\.|<[^>]*>)*)>", arguments)
        path = first[2] if first else None
        if first:
            self.fds[call.pid, first[1]] = path
        if name in ("openat", "open"):
            got = re.search(r"= (\d+)<(.*)>(?:\(deleted\))?$", call.text)
            if got:
                self.fds[call.pid, got[1]] = got[2]
        elif name in ("write", "pwrite64", "writev", "fsetxattr", "ftruncate"):
            if path and path.startswith(self.device):
                self.changed.setdefault(path, []).append(call.ended)
        elif name in ("fsync", "fdatasync"):
            self.syncs.setdefault(path, []).append((call.began, call.ended))
        elif name in ("mkdir", "mkdirat"):
            self.entries.setdefault(quoted(arguments)[0], []).append(call.ended)
        elif name in ("link", "linkat"):
            source, target = quoted(arguments)
            if not target.startswith("/"):
                directory = re.findall(r"\d+<([^>]*)>", arguments)[-1]
                target = f"{directory}/{target}"
            if source.startswith("/proc/self/fd/"):
                source = self.fds[call.pid, source.rpartition("/")[2]]
            self.entries.setdefault(target, []).append(call.ended)
            self.content[target] = source
        elif name.startswith("rename"):
            source, target = quoted(arguments)
            self.entries.setdefault(target, []).append(call.ended)
            self.content[target] = source

    def is_synced(self, path, since, until):
        return any(began > since and ended < until for began, ended in self.syncs.get(path, ()))

    def missing(self, path, answered):
        """What of a file (its content, or an entry on the way to it) was not on disk when the answer left."""
        found = []
        file = self.content[path]
        named = self.entries[path][0]
        changes = [time for time in self.changed.get(file, ()) if time < named]
        if not self.is_synced(file, changes[-1] if changes else -1, answered):
            found.append(f"content of {path}")
        while path != self.device:
            parent = os.path.dirname(path)
            made = [time for time in self.entries.get(path, ()) if time < answered]
            if made and not self.is_synced(parent, made[-1], answered):
                found.append(f"entry {path}")
            path = parent
        return found


# ---------------------------------------------------------------- the server under the tracer


@pytest.fixture(params=["process", "thread", "memory"])
def road(request):
    """What carries small writes to the disk; in memory they are done inline."""
    return request.param


@pytest.fixture
def device_root(road):
    if why := why_not():
        pytest.skip(why)
    if road != "memory":
        with disks.xfs() as path:
            yield path
    else:
        path = pathlib.Path(f"/dev/shm/swift-test-trace-{os.getpid()}")
        path.mkdir()
        yield str(path)
        shutil.rmtree(path)


@pytest.fixture
def server(device_root, road, tmp_path):
    server = TracedServer(device_root, tmp_path, writer_process=str(road == "process"))
    if road == "process":
        assert server.request("PUT", "/sda/1/a/c/first", "1600000000.00000", b"x") == 201
        wait_until(lambda: '"ready' in server.trace_text(), 60)
    yield server
    server.stop()


def work(server, number, done):
    """One client: writes of every kind, some of the same objects as others, each with a time of its own."""
    second = 1700000000 + number * 100

    def path(name):
        partition = int(hash_path(f"a/c/{name}")[:2], 16) // 64
        return f"/sda/{partition}/a/c/{name}"

    def write(method, name, body=b"", **headers):
        nonlocal second
        second += 1
        timestamp = f"{second}.00000"
        status = server.request(method, path(name), timestamp, body, **headers)
        done.append((method, timestamp, status, bool(headers)))

    own, shared = f"own-{number}", "shared"
    write("PUT", own, b"small" * 10)
    write("PUT", f"{own}-empty")
    write("POST", own, X_Object_Meta_A="b", **{"x-none": "1"})
    write("PUT", own, b"x" * 200_000)
    write("PUT", shared, b"%d" % number * 50)
    write("PUT", f"{own}-told", b"told", **NOBODY)
    write("DELETE", own)
    write("POST", shared, X_Object_Meta_A=str(number))
    write("DELETE", f"{own}-never-there")
    write("PUT", own, b"again")
    write("DELETE", f"{own}-told", **NOBODY)


def test_everything_acknowledged_was_synced_before_the_answer_left(server, road):
    from swift.core import hashing

    hashing.set_hash_config("changeme", "changeme")
    done = []
    clients = [threading.Thread(target=work, args=(server, number, done)) for number in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    time.sleep(0.2)
    calls = server.calls()
    left = answers(calls)
    disk = Disk(server.device)
    for call in calls:
        disk.take(call)
    acknowledged = checked = 0
    wrong = []
    for method, timestamp, status, _ in done:
        if status not in (201, 202, 204, 404):
            assert status == 409, (method, timestamp, status)
            continue
        assert left[timestamp][0] == status
        acknowledged += 1
        mine = [path for path in disk.content if timestamp in os.path.basename(path)]
        if status != 404 or method == "DELETE":
            assert mine, f"{method} {timestamp}: {status} without a file"
        for path in mine:
            checked += 1
            wrong += [f"{method} {timestamp}: {what}" for what in disk.missing(path, left[timestamp][1])]
    assert not wrong
    if road == "process":
        assert len(re.findall(r'"\[\d+,\[\\"/', server.trace_text())) > 30
    assert acknowledged >= 50
    assert checked >= acknowledged


def test_the_check_sees_a_missing_sync():
    """A trace in which something is missing is not passed over."""
    device, directory = "/d/sda", "/d/sda/objects/1/abc/hash"
    file = f"{directory}/#7"
    good = [
        f'1 mkdir("{directory}", 0777) = 0',
        f'1 openat(AT_FDCWD</>, "{directory}", O_WRONLY|O_TMPFILE, 0666) = 9<{file}>',
        f'1 write(9<{file}>, "x", 1) = 1',
        f'1 fsetxattr(9<{file}>, "user.a", "b", 1, 0) = 0',
        f"1 fsync(9<{file}>) = 0",
        f'1 linkat(AT_FDCWD</>, "/proc/self/fd/9", 9<{file}>, "{directory}/1.data", AT_SYMLINK_FOLLOW) = 0',
        f"1 fsync(10<{directory}>) = 0",
        "1 fsync(10</d/sda/objects/1/abc> <unfinished ...>",
        '2 write(3<pipe:[1]>, "x", 1) = 1',
        "1 <... fsync resumed>) = 0",
    ]

    def missing(lines):
        disk = Disk(device)
        for call in parse(lines):
            disk.take(call)
        return disk.missing(f"{directory}/1.data", len(lines))

    assert missing(good) == []
    for line in (4, 6):
        assert missing(good[:line] + good[line + 1 :])
    assert missing(good[:7])
    # too early, failed, or not yet back when the answer leaves
    assert missing([*good[:4], good[5], good[4], *good[6:]]) == []
    assert missing([*good[:3], good[4], good[3], *good[5:]])
    assert missing([*good[:5], good[6], good[5], *good[7:]])
    assert missing([*good[:4], good[4].replace("= 0", "= -1 EIO (Input/output error)"), *good[5:]])
    assert missing(good[:9])
