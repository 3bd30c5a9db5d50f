"""One of a node's two disks hangs: how long do requests to the other one take.

What lives here: a cluster of ours whose first node has two XFS disks, one of which is frozen while clients write to it; its storage
servers are asked directly, so that no proxy can choose another node. What never does: what happens to the requests that hang.
"""

from __future__ import annotations

import http.client
import os
import pathlib
import shutil
import time

from cluster import Cluster
from disks import Images, freeze, thaw
from wrk import Result, Run

MOST = 3.0  # p99 beside the hung disk, as a multiple of p99 without it
_SECONDS_BEFORE = 1


def measure(bin_folder: pathlib.Path, folder: pathlib.Path, port: int, seconds: int) -> list[str]:
    """The lines of the report."""
    images = Images(folder)
    cluster = Cluster("ours", bin_folder, folder / "bench-hung", port, port + 100, devices=2, memcache="")
    try:
        cluster.write()
        hanging, healthy = cluster.devices_of(1)
        mounts = {device: cluster.root / "1" / device for device in (hanging, healthy)}
        for mount in mounts.values():
            images.mount(mount, 1 << 30)
        cluster.start()
        loads = [*_object_loads(cluster, healthy), *_container_loads(cluster, healthy)]
        before = _run_all(loads, "b", seconds)
        stuck = [
            Run(f"http://{cluster.address('object', 1)}", "-", "put", f"/{hanging}/0/AUTH_test/c", "h", clients=8, seconds=seconds + 3, direct=True),
            Run(f"http://{cluster.address('container', 1)}", "-", "put", f"/{hanging}/0/AUTH_test", "h", clients=8, seconds=seconds + 3, direct=True),
        ]  # fmt: skip
        time.sleep(_SECONDS_BEFORE)
        freeze(mounts[hanging])
        time.sleep(_SECONDS_BEFORE)
        try:
            beside = _run_all(loads, "f", seconds)
        finally:
            thaw(mounts[hanging])
        for run in stuck:
            run.result()
        return _lines(before, beside)
    finally:
        cluster.stop()
        images.close()
        shutil.rmtree(cluster.root, ignore_errors=True)


_Loads = list[tuple[str, str, str, str, str]]  # name, endpoint, kind, base, prefix


def _object_loads(cluster: Cluster, device: str) -> _Loads:
    address = cluster.address("object", 1)
    base = f"/{device}/0/AUTH_test/c"
    for n in range(100):
        _ask(address, "PUT", f"{base}/g-{n}", os.urandom(4096))
    endpoint = f"http://{address}"
    return [("object GET", endpoint, "get", base, "g"), ("object PUT", endpoint, "put", base, "w")]


def _container_loads(cluster: Cluster, device: str) -> _Loads:
    address = cluster.address("container", 1)
    base = f"/{device}/0/AUTH_test"
    for n in range(100):
        _ask(address, "PUT", f"{base}/g-{n}", b"")
    return [("container GET", f"http://{address}", "get", base, "g")]


def _ask(address: str, method: str, path: str, body: bytes) -> None:
    connection = http.client.HTTPConnection(address, timeout=30)
    headers = {"X-Timestamp": f"{time.time() - 60:.5f}", "Content-Type": "x/y"}
    headers["X-Backend-Storage-Policy-Index"] = "0"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    assert answer.status in (201, 202), f"{method} {path}: {answer.status}"
    connection.close()


def _run_all(loads: _Loads, mark: str, seconds: int) -> dict[str, Result]:
    """All loads at the same time."""
    runs = {}
    for name, endpoint, kind, base, prefix in loads:
        prefix = prefix if kind == "get" else prefix + mark
        runs[name] = Run(endpoint, "-", kind, base, prefix, clients=4, seconds=seconds, direct=True)
    return {name: run.result() for name, run in runs.items()}


def _lines(before: dict[str, Result], beside: dict[str, Result]) -> list[str]:
    lines = [
        "One of the two XFS disks of a node is frozen while 16 clients write to it; its object and container server are asked directly for the"
        f" other disk. p99 should stay within {MOST:.0f} times (* where it does not).",
        "",
        "| the other disk | p99 before | p99 beside a hung disk | ratio | rate before | rate beside | failed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, was in before.items():
        now = beside[name]
        ratio = now.p99 / was.p99 if was.p99 else 0.0
        mark = "*" if ratio > MOST else ""
        lines.append(
            f"| {name} | {was.p99:.2f} ms | {now.p99:.2f} ms | {ratio:.1f}{mark} | {was.rate:.0f} /s | {now.rate:.0f} /s"
            f" | {now.failures or '0'} |"
        )
    return lines
