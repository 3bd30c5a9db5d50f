#!/usr/bin/env python3
"""The main job from scratch, with the unmodified swift command and curl: upload a tree and an image, list, stat, download, compare, delete.

usage: test/main_job.py [--tree DIR] [--files N] [--image-mb N] [--folder DIR] [--memcached]

Three times: with all nodes; with one node killed by kill -9 in the middle of the upload; and, with --memcached, with memcached running.
Without arguments it takes the Python installation's files, at least 10,000, and an image of 2.2 GB; `./saio test` runs it shortened.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from test.cluster import Cluster  # noqa: E402
from test.ports import free_port  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tree", default=sysconfig.get_paths()["stdlib"])
    parser.add_argument("--files", type=int, default=10000, help="take this many files of the tree")
    parser.add_argument("--image-mb", type=int, default=2200)
    parser.add_argument("--folder", default=None, help="where to work (needs three times the data twice)")
    parser.add_argument("--memcached", action="store_true", help="a third time with memcached running")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="main-job-") as folder:
        run(pathlib.Path(folder), pathlib.Path(args.tree), args.files, args.image_mb, args.memcached)
    print("main job: all passes whole")
    return 0


def run(folder: pathlib.Path, tree: pathlib.Path, files: int, image_mb: int, memcached: bool) -> None:
    """The whole job under folder. Raises SystemExit with one line when anything differs."""
    source = folder / "source"
    count = copy_tree(tree, source, files)
    if count < files:
        raise SystemExit(f"{tree} has only {count} files, {files} are needed: --tree DIR or --files N")
    image = folder / "disk.img"
    make_image(image, source, image_mb)
    passes = [("all nodes", False, False), ("one node killed", True, False)]
    if memcached:
        passes.append(("memcached", False, True))
    for name, kill, cache in passes:
        started = time.monotonic()
        one_pass(folder, source, image, kill, cache)
        print(
            f"{name}: {count} files and an image of {image_mb} MB in {time.monotonic() - started:.0f} s",
            flush=True,
        )


def one_pass(
    folder: pathlib.Path, source: pathlib.Path, image: pathlib.Path, kill: bool, memcached: bool
) -> None:
    memcache_port = free_port() if memcached else 0
    cache = (
        subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(memcache_port)])
        if memcached
        else None
    )
    home = folder / "cluster"
    try:
        with Cluster(home, memcache=f"127.0.0.1:{memcache_port}" if memcached else "") as cluster:
            job(cluster, folder, source, image, kill)
    finally:
        if cache:
            cache.kill()
            cache.wait()
        shutil.rmtree(home, ignore_errors=True)


def job(
    cluster: Cluster, folder: pathlib.Path, source: pathlib.Path, image: pathlib.Path, kill: bool
) -> None:
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    killer = None
    if kill:
        killer = threading.Timer(1.0, cluster.kill, ["node2"])
        killer.start()
    swift(cluster, "upload", "tree", ".", cwd=source)
    if killer:
        killer.join()
    swift(cluster, "upload", "images", image.name, "--object-name", "disk.img", cwd=folder)
    listed = sorted(swift(cluster, "list", "tree").splitlines())
    check(listed == names, f"the listing has {len(listed)} names, {len(names)} were uploaded")
    stat = swift(cluster, "stat", "tree")
    check(f"Objects: {len(names)}" in stat, f"stat says: {stat}")
    check(
        f"Content Length: {image.stat().st_size}" in swift(cluster, "stat", "images", "disk.img"),
        "stat of the image",
    )
    back = folder / "back"
    swift(cluster, "download", "tree", "-D", str(back))
    compare(source, back, names)
    swift(cluster, "download", "images", "disk.img", "-o", str(folder / "image.back"))
    check(filecmp.cmp(image, folder / "image.back", shallow=False), "the image came back changed")
    (folder / "image.back").unlink()
    shutil.rmtree(back)
    with_curl(cluster, source / names[0], names[0])
    swift(cluster, "delete", "tree")
    swift(cluster, "delete", "images")
    for container in ("tree", "images"):
        check(
            cluster.request("HEAD", f"/{container}").status == 404,
            f"container {container} is left after the delete",
        )
    if not kill:
        # An account replica on a dead node learns of the delete later, from the container updater.
        check(swift(cluster, "list").strip() == "", "containers are listed after the delete")


def with_curl(cluster: Cluster, file: pathlib.Path, name: str) -> None:
    """Ranges, conditions, chunked uploads and Expect, as curl sends them."""
    url = f"{cluster.layout.endpoint}/v1/AUTH_test/tree/{name}"
    data = file.read_bytes()
    token = f"X-Auth-Token: {cluster.token}"

    def curl(*words: str) -> bytes:
        return subprocess.run(["curl", "-s", "-H", token, *words], check=True, stdout=subprocess.PIPE).stdout

    check(curl("-r", "1-5", url) == data[1:6], "curl -r 1-5")
    etag = [
        line.split()[1] for line in curl("-I", url).decode().splitlines() if line.lower().startswith("etag:")
    ][0]
    check(
        curl("-o", "/dev/null", "-w", "%{http_code}", "-H", f"If-None-Match: {etag}", url) == b"304",
        "If-None-Match",
    )
    for words in (["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        code = curl("-o", "/dev/null", "-w", "%{http_code}", "-T", str(file), *words, url + "-curl")
        check(code == b"201", f"curl -T {words}: {code!r}")
        check(curl(url + "-curl") == data, f"after curl -T {words}")
        check(
            curl("-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", url + "-curl") == b"204",
            "curl -X DELETE",
        )


def swift(cluster: Cluster, *words: str, cwd: pathlib.Path | None = None) -> str:
    """The unmodified swift command of python-swiftclient; returns what it prints."""
    beside = pathlib.Path(sys.executable).parent / "swift"
    command = [str(beside if beside.exists() else shutil.which("swift") or "swift")]
    if words[0] == "upload":
        command.append("-q")
    env = {
        **os.environ,
        "ST_AUTH": f"{cluster.layout.endpoint}/auth/v1.0",
        "ST_USER": "test:tester",
        "ST_KEY": "testing",
    }
    done = subprocess.run([*command, *words], cwd=cwd, env=env, capture_output=True, text=True)
    check(done.returncode == 0, f"swift {' '.join(words)}: {done.stdout[-500:]} {done.stderr[-1500:]}")
    return done.stdout


def check(good: bool, what: str) -> None:
    if not good:
        raise SystemExit(f"main job: {what}")


def compare(source: pathlib.Path, back: pathlib.Path, names: list[str]) -> None:
    done = subprocess.run(["diff", "-r", str(source), str(back)], capture_output=True, text=True)
    check(done.returncode == 0, f"diff -r: {done.stdout[:500]}")


def copy_tree(tree: pathlib.Path, target: pathlib.Path, wanted: int) -> int:
    """Copies the first `wanted` readable files; returns how many there were."""
    count = 0
    for folder, _folders, names in os.walk(tree):
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if count >= wanted:
                return count
            if path.is_file() and not path.is_symlink():
                copy = target / path.relative_to(tree)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                count += 1
    return count


def make_image(image: pathlib.Path, source: pathlib.Path, megabytes: int) -> None:
    """An image with real content: the tree's files one after another, again and again, each round told apart by its number."""
    size = megabytes << 20
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    with open(image, "wb") as out:
        number = 0
        while out.tell() < size:
            number += 1
            for path in paths:
                out.write(b"%d %s\n" % (number, str(path).encode()))
                out.write(path.read_bytes())
                if out.tell() >= size:
                    break
        out.truncate(size)


if __name__ == "__main__":
    sys.exit(main())
