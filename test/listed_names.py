"""Thousands of names in a container of a test's cluster, put there quickly: rows as object servers report them, without objects.

What never lives here: assertions about listings.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterable

from swift.wire import direct
from test.cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[1]


def primaries(cluster: Cluster, container: str) -> list[tuple[tuple[str, int], str]]:
    """(address, path) of the container on each of its servers, as swift-get-nodes tells it."""
    command = [sys.executable, str(ROOT / "bin" / "swift-get-nodes"), "-a", "-d", str(cluster.layout.etc)]
    done = subprocess.run(
        [*command, str(cluster.layout.etc / "container.ring.gz"), "AUTH_test", container],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = re.findall(
        r'^curl .*-XHEAD "http://([^:]+):(\d+)(/[^"]+)" --path-as-is$', done.stdout, re.MULTILINE
    )
    assert len(found) == 3, done.stdout + done.stderr
    return [((ip, int(port)), path) for ip, port, path in found]


def list_names(cluster: Cluster, container: str, names: Iterable[str]) -> None:
    """Puts rows into the databases, as an object server's reports would."""
    now = time.time()
    rows = [
        {
            "name": name, "created_at": f"{now:.5f}", "size": 1, "content_type": "a/b", "etag": "e", "deleted": 0,
            "storage_policy_index": 0,
        }
        for name in names
    ]  # fmt: skip
    headers = {"X-Timestamp": f"{now:.5f}", "X-Backend-Storage-Policy-Index": "0"}
    for (ip, port), path in primaries(cluster, container):
        node = {"ip": ip, "port": port, "device": path.split("/")[1]}
        answer = direct.call(
            node,
            "UPDATE",
            path,
            headers,
            json.dumps(rows).encode(),
            conn_timeout=10,
            response_timeout=60,
            add_timestamp=False,
        )
        assert answer.status == 202
        answer.read_all(1000)
