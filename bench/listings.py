"""Pages of a container of 1,000,000 names against whole containers of 1,000, at first sight and again (ours).

What lives here: filling container databases and timing single listings. What never does: listings under load (loads.py).
"""

from __future__ import annotations

import http.client
import random
import sqlite3
import statistics
import time

from cluster import Cluster

_PAGES = 40


def million(side: Cluster, token: str) -> list[str]:
    """The lines of the report."""
    for container, count in (*((f"thousand-{n}", 1000) for n in range(_PAGES)), ("million", 1000000)):
        assert side.request("PUT", f"/{container}", token) in (201, 202)
        _fill(side, container, count)
    small = [f"/thousand-{n}?format=json" for n in range(_PAGES)]
    large = [f"/million?format=json&limit=1000&marker=n-{n * 7919 * 25 % 1000000:07}" for n in range(_PAGES)]
    lines = []
    for sight in ("at first sight", "again"):
        for what, paths in (("a container of 1,000", small), ("a page of 1,000 out of 1,000,000", large)):
            times = [_timed(side, token, path) for path in paths]
            lines.append(
                f"listing {what} names {sight}: median {statistics.median(times):.2f} ms, slowest {max(times):.2f} ms (ours)"
            )
    return lines


def _timed(side: Cluster, token: str, path: str) -> float:
    """Milliseconds of one GET on an open connection."""
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=60)
    connection.request("HEAD", "/v1/AUTH_test", headers={"X-Auth-Token": token})
    connection.getresponse().read()
    start = time.perf_counter()
    connection.request("GET", f"/v1/AUTH_test{path}", headers={"X-Auth-Token": token})
    answer = connection.getresponse()
    answer.read()
    took = (time.perf_counter() - start) * 1000
    connection.close()
    assert answer.status == 200
    return took


def _fill(side: Cluster, container: str, count: int) -> None:
    """Puts names straight into the container databases (an upload of a million objects would measure something else)."""
    scattered = list(range(count))  # names seldom arrive in their order
    random.Random(0).shuffle(scattered)
    for path in side.root.glob("[1-4]/*/containers/*/*/*/*.db"):
        with sqlite3.connect(path) as db:
            if db.execute("SELECT container FROM container_stat").fetchone() != (container,):
                continue
            db.create_function("chexor", 3, lambda old, name, timestamp: old)
            db.executemany(
                "INSERT INTO object (name, created_at, size, content_type, etag, deleted, storage_policy_index) VALUES (?, ?, 1, 'text/plain', ?, 0, 0)",
                ((f"n-{n:07}", "1700000000.00000", "0" * 32) for n in scattered),
            )
        db.close()
