"""A storage server, under the tracer or not, and requests to it."""

import http.client
import os
import pathlib
import re
import signal
import subprocess

from servers import environment, wait_until

from test.ports import free_port
from test.system_calls import Traced, quoted

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = changeme
swift_hash_path_suffix = changeme
[storage-policy:0]
name = gold
default = yes
[storage-policy:2]
name = ec42
policy_type = erasure_coding
ec_type = isa_l_rs_vand
ec_num_data_fragments = 4
ec_num_parity_fragments = 2
"""


class StorageServer:
    """A server of one kind with the device `sda` below `root`; `words` start it. Ends with `stop`."""

    def __init__(self, root, tmp_path, kind="object", **options):
        self.port = int(options.pop("bind_port", 0)) or free_port()
        self.kind = kind
        self.device = f"{root}/sda"
        os.makedirs(self.device)
        (tmp_path / "swift.conf").write_text(SWIFT_CONF)
        more = "".join(f"{name} = {value}\n" for name, value in options.items())
        self.conf = tmp_path / f"{kind}-server.conf"
        self.conf.write_text(
            f"[DEFAULT]\nuser = root\ndevices = {root}\nmount_check = false\nbind_ip = 127.0.0.1\nbind_port = {self.port}\n"
            f"workers = 0\nswift_dir = {tmp_path}\nlog_file = {tmp_path}/log\n[pipeline:main]\npipeline = {kind}-server\n"
            f"[app:{kind}-server]\nuse = egg:swift#{kind}\n{more}"
        )
        self.words = [str(ROOT / "bin" / f"swift-{kind}-server"), str(self.conf)]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        wait_until(self.is_up, 60)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def is_up(self):
        try:
            return self.request("OPTIONS", "/", "0") == 200
        except OSError:
            return False

    def request(self, method, path, timestamp, body=b"", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "PUT" and self.kind == "object":
            headers.setdefault("Content-Type", "text/plain")
        connection.request(method, path, body=body, headers={"X-Timestamp": timestamp, **headers})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


class TracedServer(StorageServer):
    """As `StorageServer`, started. `strings`: bytes of each string that are written down."""

    def __init__(self, root, tmp_path, kind="object", strings=300, **options):
        super().__init__(root, tmp_path, kind, **options)
        self.traced = Traced(self.words, tmp_path / "trace", environment(), strings)
        self.stop, self.calls = self.traced.stop, self.traced.calls
        self.trace_text = self.traced.text
        wait_until(self.is_up, 60)


def answers(calls):
    """{timestamp: (status, when the answer began to leave)} by the connection that the request came on."""
    asked, found = {}, {}
    for call in calls:
        socket = re.match(r"\d+<(socket:\[\d+\]|TCP[^>]*)>", call.arguments)
        if not socket:
            continue
        if call.name in ("recvfrom", "recvmsg"):
            text = " ".join(quoted(call.arguments))
            timestamp = re.search(r"(?i)x-timestamp: (\S+)", text)
            if timestamp:
                asked[socket[1]] = timestamp[1]
        elif call.name in ("sendto", "sendmsg", "writev", "write"):
            status = re.search(r"HTTP/1\.1 (\d+)", call.text)
            if status and status[1] != "100" and socket[1] in asked:
                found[asked.pop(socket[1])] = int(status[1]), call.began
    return found
