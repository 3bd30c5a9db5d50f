"""An object server called as a plain WSGI application, and what it leaves on disk."""

import io
import os
import types

from swift.core.concurrency import sleep
from swift.core.hashing import hash_path
from swift.obj.errors import Elsewhere
from swift.obj.files.carriers import OnTheSpot
from swift.obj.files.layout import ObjectLocation
from swift.obj.server import ObjectServer


class Log:
    """A logger that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        def log(message, *args, **kwargs):
            self.lines.append(f"{level}: {message % args if args else message}")

        return log


class Input(io.BytesIO):
    """wsgi.input with what our server loop's adds."""

    def __init__(self, data=b"", error=None):
        super().__init__(data)
        self.error = error
        self.hundred_headers = None

    def recv_into(self, buffer):
        # in odd pieces, as a network would
        count = self.readinto(memoryview(buffer)[: min(len(buffer), 7777)])
        if not count and self.error:
            raise self.error
        return count

    def read_available(self, size=65536):
        data = self.read(min(size, 7777))
        if not data and self.error:
            raise self.error
        return data

    def set_hundred_continue_response_headers(self, headers):
        self.hundred_headers = dict(headers)

    def send_hundred_continue_response(self):
        pass


class Trips:
    """In place of what carries batches: all small writes take trips of their own."""

    def carrier(self, device):
        raise Elsewhere("no batch")


class App:
    """One server over `root`/sda, without mount check. Names hash with `changeme`.

    `batch`: True: small writes go through `write_batch` on the spot, on a disk too; False: they take the trip, in memory too.
    """

    def __init__(self, root, batch=None, **conf):
        self.root = root
        self.device = f"{root}/sda"
        os.makedirs(self.device, exist_ok=True)
        swift_dir = f"{root}/etc"
        os.makedirs(swift_dir, exist_ok=True)
        with open(f"{swift_dir}/swift.conf", "w") as f:
            f.write(
                "[swift-hash]\nswift_hash_path_prefix = changeme\nswift_hash_path_suffix = changeme\n"
                "[storage-policy:0]\nname = gold\ndefault = yes\n[storage-policy:1]\nname = silver\n"
                "[storage-policy:2]\nname = ec42\npolicy_type = erasure_coding\nec_type = liberasurecode_rs_vand\n"
                "ec_num_data_fragments = 4\nec_num_parity_fragments = 2\nec_object_segment_size = 1024\n"
            )
        self.log = Log()
        base = {
            "devices": root,
            "swift_dir": swift_dir,
            "mount_check": "false",
            "fallocate_reserve": "0",
            "reclaim_age": "1e12",
            "writer_process": "false",
        }
        self.application = ObjectServer({**base, **conf}, self.log)
        self.server = self.application.service
        if batch is not None:
            for policy in self.server.policies:
                store = self.server.stores.get(self.server.devices.get("sda"), policy)
                store.writers = OnTheSpot(store.options) if batch else Trips()

    def request(self, method, path="/sda/7/a/c/o", body=b"", error=None, **headers):
        """Call the server; header names with _ for -. Returns an object with status, headers (lower case) and body."""
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "localhost",
            "wsgi.input": Input(body, error),
            "CONTENT_TYPE": "",
        }
        if method == "PUT":
            headers.setdefault("Content_Type", "text/plain")
            if "Transfer_Encoding" not in headers:
                headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            key = name.upper()
            if value is None:
                continue
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        got = types.SimpleNamespace(environ=environ, input=environ["wsgi.input"])

        def start_response(status, headers, exc_info=None):
            got.status = int(status[:3])
            got.reason = status
            got.headers = {name.lower(): value for name, value in headers}
            assert len(got.headers) == len(headers), "a header twice"

        iterable = self.application(environ, start_response)
        got.iterable = iterable
        try:
            got.body = b"".join(iterable)
        finally:
            close = getattr(iterable, "close", None)
            if close:
                close()
        if "content-length" in got.headers and method != "HEAD":
            assert int(got.headers["content-length"]) == len(got.body)
        return got

    def settle(self):
        """Wait until what was left to the device's threads is done."""
        pool = self.server.devices.get("sda").pool._pool
        for _ in range(500):
            if pool is None or not pool.pending:
                return
            sleep(0.01)

    def put(self, timestamp, body=b"body", **headers):
        return self.request("PUT", body=body, X_Timestamp=timestamp, **headers)

    def get(self, **headers):
        return self.request("GET", **headers)

    def where(self, name="/a/c/o", partition="7", policy=0):
        return ObjectLocation(self.device, policy, partition, hash_path(name[1:]), name)

    def files(self, **kwargs):
        try:
            return sorted(os.listdir(self.where(**kwargs).hash_dir))
        except FileNotFoundError:
            return []

    def pendings(self):
        found = []
        for directory, _, files in os.walk(self.device):
            if "/async_pending" in directory:
                found += [os.path.join(directory, f) for f in files]
        return sorted(found)
