"""Where the golden data of the databases lies, and copies of it that a test may write to."""

import json
import pathlib
import shutil

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
