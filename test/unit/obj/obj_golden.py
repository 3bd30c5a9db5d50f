"""The golden objects, put on a file system of the test's own."""

import base64
import json
import os
import pathlib

DATA = pathlib.Path(__file__).parents[2] / "golden" / "object"


def load(name):
    return json.loads((DATA / name).read_text())


def place_files(root, files):
    """Write golden files (path, content_b64, xattrs_hex) below `root`."""
    for file in files:
        path = os.path.join(root, file["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(file["content_b64"]))
            for name, value in file["xattrs_hex"].items():
                os.setxattr(f.fileno(), name, bytes.fromhex(value))
