"""Starting the server commands from a temporary directory, and talking to them."""

import http.client
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from test.ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")


def environment():
    path = os.pathsep.join([str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


class Server:
    """A server of one configuration file in `directory`, with the test application unless told otherwise."""

    def __init__(self, directory, kind="proxy-server", **options):
        self.directory = pathlib.Path(directory)
        self.kind = kind
        self.port = int(options.pop("bind_port", 0)) or free_port()
        self.conf = self.directory / f"{kind}.conf"
        self.log_path = self.directory / "log"
        self.process = None
        (self.directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = x\n")
        self.options = {
            "workers": "1",
            "generation": "1",
            "swift_dir": str(directory),
            "bind_ip": "127.0.0.1",
            **options,
        }
        self.write_conf()

    def write_conf(self, **changes):
        self.options.update(changes)
        lines = "\n".join(f"{name} = {value}" for name, value in self.options.items())
        self.conf.write_text(
            f"[DEFAULT]\nbind_port = {self.port}\n"
            f"log_file = {self.log_path}\nuser = root\n{lines}\n[pipeline:main]\npipeline = {self.kind}\n"
            f"[app:{self.kind}]\npaste.app_factory = process_app:app_factory\n"
        )

    def command(self, *words):
        return [str(ROOT / "bin" / f"swift-{self.kind}"), str(self.conf), *words]

    def start(self):
        """Returns once the server has said that it is ready, by closing its output."""
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=False,
        )
        output = self.process.stdout.read().decode()
        assert output == "", output
        return self

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.pid, number)

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def get(self, path="/", connection=None):
        """(worker pid, its parent, generation, user id) as the application tells them."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        own.request("GET", path)
        answer = own.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (answer.status, body)
        if connection is None:
            own.close()
        pid, parent, generation, uid = body.split(" ")
        return int(pid), int(parent), generation, int(uid)

    def generation(self):
        try:
            return self.get()[2]
        except OSError:
            return None

    def workers(self):
        """Pids of the living children of the parent."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.pid and fields[0] != "Z":
                found.append(int(path.parent.name))
        return sorted(found)

    def stop(self):
        """Ends whatever is left of it."""
        if self.process is None:
            return
        group = self.pid
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        try:
            if os.getpgid(group) != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.stdout.close()


class Load:
    """Clients that ask all the time, on new connections and on kept ones, and note what fails."""

    def __init__(self, server, clients=4):
        self.server = server
        self.answers = []
        self.failures = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n % 2 == 0,)) for n in range(clients)]

    def _run(self, keep):
        connection = None
        while not self._stop.is_set():
            try:
                if not keep:
                    self.answers.append(self.server.get()[2])
                    continue
                if connection is None or connection.sock is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                self.answers.append(self.server.get(connection=connection)[2])
            except Exception as err:
                self.failures.append(repr(err))
                connection = None

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for thread in self._threads:
            thread.join()
