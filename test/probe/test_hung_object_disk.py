"""An object server with a disk that hangs: the other disk goes on being served, and nothing that was acknowledged is lost."""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from servers import ROOT, environment, wait_until

from swift.core.hashing import hash_path, set_hash_config
from test.ports import free_port

STALL = 1.0
CLIENTS = 24
T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))


class Node:
    """One object server over the devices `good` and `bad` below `devices`."""

    def __init__(self, directory, devices, mount_check):
        self.directory = directory
        self.devices = devices
        self.port = free_port()
        set_hash_config("", "x")
        (directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = x\n")
        self.conf = directory / "object-server.conf"
        self.conf.write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self.port}\nworkers = 0\nuser = root\nswift_dir = {directory}\n"
            f"devices = {devices}\nmount_check = {mount_check}\nmax_clients = {CLIENTS}\ndisk_stall_timeout = {STALL}\n"
            f"log_file = {directory}/log\nfallocate_reserve = 0\n"
            "[pipeline:main]\npipeline = object-server\n[app:object-server]\nuse = egg:swift#object\n"
        )
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "bin" / "swift-object-server"), str(self.conf)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(),
        )  # fmt: skip
        wait_until(self.answers)
        return self

    def __exit__(self, *exc):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def answers(self):
        assert self.process.poll() is None, self.process.stdout.read().decode()
        with contextlib.suppress(OSError):
            return self.ask("OPTIONS", "*") or True
        return False

    def ask(self, method, device, name="o", timestamp=T1, body=b"", timeout=60.0, part="1"):
        """(status, body); status None when the client has left before the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"X-Timestamp": timestamp, "Content-Type": "a/b"}
            connection.request(method, f"/{device}/{part}/a/c/{name}", body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except TimeoutError:
            return None, b""
        finally:
            connection.close()

    def hash_dir(self, device, name="o"):
        name_hash = hash_path("a", "c", name)
        return f"{self.devices}/{device}/objects/1/{name_hash[-3:]}/{name_hash}"


class Crowd:
    """Clients that all want something at once. `results` when they have ended."""

    def __init__(self, count, function):
        self.results = []
        self.threads = [
            threading.Thread(target=lambda n=n: self.results.append((n, function(n)))) for n in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def wait(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()
        return [result for _, result in sorted(self.results)]


def check_that_the_good_disk_is_served(node, hanging, more):
    """`hanging(n)`: a request that hangs; more of them than there may be clients come, in vain. `more`: one that comes later."""
    # all but the last few leave before they are answered
    left = Crowd(2 * CLIENTS, lambda n: hanging(n, 0.3))
    left.wait()
    started = time.monotonic()
    assert node.ask("GET", "good") == (200, b"good")
    assert time.monotonic() - started < 30  # a bound: their slots are free again
    wait_until(lambda: more() == 507)
    # from now on those of the bad disk are told at once, and those of the good one are served at their pace
    for _ in range(3 * CLIENTS):
        assert more() == 507
        assert node.ask("GET", "good") == (200, b"good")
    assert node.ask("PUT", "good", timestamp=T2, body=b"new")[0] == 201
    assert node.ask("GET", "good") == (200, b"new")
    # and those who stay are answered, too
    stayed = Crowd(CLIENTS // 2, lambda n: hanging(n, 30))
    assert {status for status, _ in stayed.wait()} <= {503, 507}


def test_reads_that_hang(tmp_path):
    """Opening a pipe waits for its other end, as opening a file does on a disk that hangs; no privilege is needed."""
    devices = tmp_path / "srv"
    for name in ("good", "bad"):
        (devices / name).mkdir(parents=True)
    with Node(tmp_path, devices, "false") as node:
        assert node.ask("PUT", "good", body=b"good")[0] == 201
        names = [f"o{n}" for n in range(2 * CLIENTS)]
        for name in names:
            assert node.ask("PUT", "bad", name, body=name.encode())[0] == 201
        files = {name: f"{node.hash_dir('bad', name)}/{T1}.data" for name in names}
        for path in files.values():
            os.rename(path, path + ".kept")
            os.mkfifo(path)
        check_that_the_good_disk_is_served(
            node,
            lambda n, timeout: node.ask("GET", "bad", names[n], timeout=timeout),
            lambda: node.ask("GET", "bad", names[0])[0],
        )
        # the disk answers again: all is there
        for path in files.values():
            os.rename(path, path + ".pipe")
            os.rename(path + ".kept", path)
        for path in files.values():
            with contextlib.suppress(OSError):  # nobody waits at the other end
                os.close(os.open(path + ".pipe", os.O_WRONLY | os.O_NONBLOCK))
        wait_until(lambda: node.ask("GET", "bad", names[-1])[0] == 200)
        for name in names:
            status, body = node.ask("GET", "bad", name)
            # of the few that were being opened, what was a pipe is no object: it may have been set aside
            assert (status, body) == (200, name.encode()) or status == 404
        assert sum(node.ask("GET", "bad", name)[0] == 404 for name in names) <= 8
        assert "Traceback" not in (tmp_path / "log").read_text()


def test_writes_that_hang(tmp_path):
    """The same for writes: the list of suffixes to hash again is a pipe that nobody reads."""
    devices = tmp_path / "srv"
    for name in ("good", "bad"):
        (devices / name).mkdir(parents=True)
    with Node(tmp_path, devices, "false") as node:
        assert node.ask("PUT", "good", body=b"good")[0] == 201
        assert node.ask("PUT", "bad", "before", body=b"before")[0] == 201
        pipe = f"{devices}/bad/objects/1/hashes.invalid"
        os.unlink(pipe)
        os.mkfifo(pipe)
        answered = {}

        def hanging(n, timeout):
            answered[n] = node.ask("PUT", "bad", f"w{n}", body=b"w%d" % n, timeout=timeout)
            return answered[n]

        check_that_the_good_disk_is_served(
            node, hanging, lambda: node.ask("PUT", "bad", "more", body=b"m")[0]
        )
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        wait_until(lambda: node.ask("PUT", "bad", "after", body=b"after")[0] == 201)
        os.close(reader)
        assert node.ask("GET", "bad", "before") == (200, b"before")
        assert node.ask("GET", "bad", "after") == (200, b"after")
        for n, (status, _) in answered.items():
            there, body = node.ask("GET", "bad", f"w{n}")
            assert there == 200 or status != 201
            assert there == 404 or body == b"w%d" % n  # whole or absent
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log


# ---------------------------------------------------------------- a real file system that is frozen


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def xfs(mount_point, image):
    """An XFS of its own on a file; skips where that can't be had."""
    if os.geteuid() or not all(map(shutil.which, ("mkfs.xfs", "mount", "fsfreeze"))):
        pytest.skip("freezing a file system needs root, mkfs.xfs and fsfreeze")
    with open(image, "wb") as file:
        file.truncate(400 << 20)
    mount_point.mkdir(parents=True)
    try:
        run("mkfs.xfs", "-q", str(image))
        run("mount", "-o", "loop,noatime", str(image), str(mount_point))
    except OSError as err:
        pytest.skip(f"no loop mounts here: {err}")
    try:
        yield
    finally:
        for _ in range(50):
            if not subprocess.run(["umount", str(mount_point)], capture_output=True).returncode:
                break
            time.sleep(0.2)


@contextlib.contextmanager
def frozen(mount_point):
    run("fsfreeze", "--freeze", str(mount_point))
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", str(mount_point))


def test_a_frozen_file_system(tmp_path):
    devices = tmp_path / "srv"
    with xfs(devices / "bad", tmp_path / "bad.img"), xfs(devices / "good", tmp_path / "good.img"):
        with Node(tmp_path, devices, "true") as node:
            assert node.ask("PUT", "good", body=b"good")[0] == 201
            acknowledged = {}
            for n in range(10):
                assert node.ask("PUT", "bad", f"w{n}", timestamp=T1, body=b"old")[0] == 201
            stop = threading.Event()

            def upload(n):
                """Goes on writing while the disk is frozen; what is told 201 must be there."""
                for turn in range(10_000):
                    if stop.is_set():
                        return
                    timestamp = f"17000001{turn:02d}.{n:05d}" if turn < 100 else f"1700{turn:06d}.{n:05d}"
                    body = b"%d %d" % (n, turn)
                    status, _ = node.ask("PUT", "bad", f"u{n}", timestamp=timestamp, body=body)
                    if status == 201:
                        acknowledged[n] = turn
                    elif status in (503, 507):
                        time.sleep(0.05)

            uploads = [threading.Thread(target=upload, args=(n,)) for n in range(3)]
            for thread in uploads:
                thread.start()
            wait_until(lambda: len(acknowledged) == 3)
            with frozen(devices / "bad"):
                check_that_the_good_disk_is_served(
                    node,
                    lambda n, timeout: node.ask(
                        "PUT", "bad", f"w{n}", timestamp=T2, body=b"new", timeout=timeout
                    ),
                    lambda: node.ask("PUT", "bad", "more", body=b"m")[0],
                )
                stop.set()
                for thread in uploads:
                    thread.join(60)
            wait_until(lambda: node.ask("PUT", "bad", "after", body=b"after")[0] == 201)
            for n in range(10):
                assert node.ask("GET", "bad", f"w{n}")[1] in (b"old", b"new")
            for n, turn in acknowledged.items():
                status, body = node.ask("GET", "bad", f"u{n}")
                assert status == 200 and int(body.split()[1]) >= turn
            assert "Traceback" not in (tmp_path / "log").read_text()
