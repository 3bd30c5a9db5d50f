"""For tests of databases and their servers: the golden data, copies of it that may be written to, requests to a server."""

import io
import json
import pathlib
import shutil
from urllib.parse import unquote_to_bytes

from swift.container.listing import JSON, object_listing
from swift.container.snapshot import ContainerReader
from swift.db.snapshots import Snapshots

GOLDEN = pathlib.Path(__file__).parent / "golden" / "db"


def load(name):
    return json.loads((GOLDEN / name).read_text())


def copy_devices(target):
    """A writable copy of the golden device tree; returns its root."""
    root = pathlib.Path(target) / "node"
    shutil.copytree(GOLDEN / "devices", root)
    return root


def db_path(root, path):
    """The path in a copy of a database named in the golden files."""
    return str(root / path.removeprefix("devices/"))


def with_our_row_ids(case):
    """The rows of a case of merge_containers.json: a report that changes nothing gets no new row id here."""
    unchanged = case["note"] == "delete then older put: still deleted"
    return [{**row, "ROWID": 1} if unchanged else row for row in case["rows"]]


SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = golden
[storage-policy:0]
name = gold
default = yes
[storage-policy:1]
name = silver
[storage-policy:2]
name = bronze
"""

# created_at comes from a clock
CLOCK = ("X-Timestamp", "X-Backend-Timestamp")


class Logger:
    level = 20

    def __init__(self):
        self.lines = []

    def error(self, text, *args):
        self.lines.append(text % args if args else text)

    exception = warning = info = error

    def access(self, level, line):
        self.lines.append(line)


def make_conf(tmp_path):
    (tmp_path / "swift.conf").write_text(SWIFT_CONF)
    (tmp_path / "node" / "sda1").mkdir(parents=True)
    return {
        "swift_dir": str(tmp_path),
        "devices": str(tmp_path / "node"),
        "mount_check": "false",
        "fallocate_reserve": "0",
    }


def call(app, method, path, query="", headers=None, body=""):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost:80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body.encode()),
        "CONTENT_LENGTH": str(len(body.encode())),
    }
    for name, value in (headers or {}).items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value.encode().decode("latin-1")
    answered = []

    def start_response(status, headers, exc_info=None):
        assert all(type(n) is str and type(v) is str for n, v in headers)
        answered.append((int(status[:3]), {n: v.encode("latin-1").decode() for n, v in headers}))

    data = b"".join(app(environ, start_response))
    status, found = answered[0]
    assert int(found.pop("Content-Length")) == len(data) or method == "HEAD"
    return status, found, data.decode()


class ShownContainer:
    """What a server shows of one container, whenever it is asked."""

    def __init__(self, broker):
        self.path = broker.path
        self.reader = ContainerReader(broker)
        self.snapshots = Snapshots(lambda path: self.reader)

    @property
    def now(self):
        return self.snapshots.current(self.path)

    @property
    def info(self):
        return self.now.info

    def listing(self, listing, media_type=JSON, policy=0):
        return self.snapshots.answer(
            self.path, lambda source: object_listing(source, listing, media_type, policy)
        )
