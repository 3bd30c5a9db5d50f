#!/usr/bin/env python3
"""The S3 API against the reference's: small objects, listings, many deletions, a large upload, all signed (version 4).

    bench/s3.py --reference DIR [--ours DIR] [--root DIR] [--rounds N] [--seconds N] [--clients N] [--large MB] [--only WORD,...]

Both sides in alternation on a tmpfs; only ratios mean anything. All is signed before the clock starts. Small requests and listings are sent by
wrk, 16 clients, so that what is measured is the servers and not who asks them; what takes long goes over one connection. `unsigned`: the
large upload with UNSIGNED-PAYLOAD, as over TLS. `policy`: the same GET
where the bucket has a policy and the object has tags, against that without, of our side alone; `check`: the CPU time of our check of one
signature, in this process. The figures of doc/performance.md:

    bench/s3.py --reference DIR --rounds 3 --seconds 4 --large 1024
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import time
import timeit
from collections.abc import Callable, Collection
from urllib.parse import parse_qsl, quote

from cluster import Cluster
from wrk import Replay, write_replay

from swift.s3 import signature
from swift.s3.options import parse_options

MOST_OF_CHECK = 60  # microseconds
FLOORS = {
    "get": 12.0,
    "policy": 0.9,
    "put": 10.0,
    "list": 15.0,
    "delete": 8.0,
    "upload": 3.0,
    "unsigned": 3.0,
}
USER, KEY, REGION = "test:tester", "testing", "us-east-1"
BUCKET = "bench"
RULED = "ruled"  # a bucket with a policy
SMALL = bytes(range(256)) * 16  # 4 KiB
NAMES = 100  # of small objects
LISTED = 1000
PART = 64 * 1024 * 1024
OPTIONS = "use = egg:swift#s3api\nlocation = us-east-1\nextensions = policy\n"
POLICY = b"""{"Version": "2012-10-17", "Statement": [
    {"Sid": "readers", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::AUTH_test:user/test:tester"}, "Action": ["s3:GetObject", "s3:ListBucket"],
     "Resource": ["arn:aws:s3:::ruled", "arn:aws:s3:::ruled/*"]},
    {"Sid": "secrets", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::ruled/secret/*",
     "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]}"""
TAGS = "team=storage&kind=log&year=2026"

Request = tuple[str, str, bytes, dict[str, str]]


class S3Cluster(Cluster):
    """With s3api where it belongs."""

    def proxy_conf(self, port: int) -> str:
        text = super().proxy_conf(port).replace(" tempauth ", " s3api tempauth ", 1)
        return f"{text}\n[filter:s3api]\n{OPTIONS}"


def sign(
    port: int, method: str, path: str, query: str = "", body: bytes = b"", more: dict[str, str] | None = None
) -> Request:
    """A request with a signature of now; `path` plain, `query` as it is sent; `more`: other headers, by their names in lower case."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": f"127.0.0.1:{port}", "x-amz-content-sha256": digest, "x-amz-date": now, **(more or {})}
    digest = headers["x-amz-content-sha256"]
    if body and method == "POST":
        headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    names = ";".join(sorted(headers))
    pairs = sorted(
        (quote(name, safe=""), quote(value, safe=""))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    canonical = "\n".join(
        [
            method,
            quote(path),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            digest,
        ]
    )
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{KEY}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}".encode(), "sha256").hex()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={USER}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return method, quote(path) + (f"?{query}" if query else ""), body, headers


def raw(request: Request) -> bytes:
    """As it goes over the wire."""
    method, target, body, headers = request
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Side:
    """One side, and what one request of each kind has taken of it, in seconds (of wall clock, of CPU)."""

    def __init__(self, cluster: Cluster, clients: int, seconds: int) -> None:
        self.cluster = cluster
        self.clients = clients
        self.seconds = seconds
        self.round = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=900)
        self.times: dict[str, list[tuple[float, float]]] = {}

    def signed(
        self, method: str, path: str, query: str = "", body: bytes = b"", more: dict[str, str] | None = None
    ) -> Request:
        return sign(self.cluster.port, method, path, query, body, more)

    def send(self, request: Request, expected: int = 200) -> bytes:
        method, target, body, headers = request
        self.connection.request(method, target, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status != expected:
            raise SystemExit(f"{self.cluster.name}: {method} {target}: {answer.status} {data[:500]!r}")
        return data

    def prepare(self, wanted: Collection[str], has_policies: bool) -> None:
        self.cluster.write()
        self.cluster.start()
        self.send(self.signed("PUT", f"/{BUCKET}"))
        if "list" in wanted:
            self.send(self.signed("PUT", "/listed"))
            for number in range(LISTED):
                self.send(self.signed("PUT", f"/listed/{number:04}", body=b"x"))
        if "get" in wanted:
            for number in range(NAMES):
                self.send(self.signed("PUT", f"/{BUCKET}/small-{number}", body=SMALL))
        if "policy" not in wanted or not has_policies:
            return
        self.send(self.signed("PUT", f"/{RULED}"))
        for number in range(NAMES):
            path = f"/{RULED}/small-{number}"
            self.send(self.signed("PUT", path, body=SMALL, more={"x-amz-tagging": TAGS}))
        self.send(self.signed("PUT", f"/{RULED}", "policy=", POLICY), 204)

    def timed(self, what: str, requests: list[Request], check: Callable[[bytes], bool] | None = None) -> None:
        used, began = self.cluster.cpu_seconds(), time.perf_counter()
        answers = [self.send(request) for request in requests]
        taken = time.perf_counter() - began
        self.times.setdefault(what, []).append((taken, self.cluster.cpu_seconds() - used))
        if check is not None and not all(map(check, answers)):
            raise SystemExit(f"{self.cluster.name}: {what}: not what was asked for")

    def loaded(self, what: str, requests: list[Request]) -> None:
        """Many clients send these over and over."""
        file = self.cluster.root / "requests"
        write_replay(file, map(raw, requests))
        used = self.cluster.cpu_seconds()
        result = Replay(self.cluster.endpoint, file, clients=self.clients, seconds=self.seconds).result()
        used = self.cluster.cpu_seconds() - used
        if result.failures:
            raise SystemExit(f"{self.cluster.name}: {what}: {result.failures}")
        self.times.setdefault(what, []).append((1 / result.rate, used / result.requests))

    def get(self, _large: int) -> None:
        names = [f"/{BUCKET}/small-{number}" for number in range(NAMES)]
        if self.send(self.signed("GET", names[0])) != SMALL:
            raise SystemExit(f"{self.cluster.name}: get: not what was asked for")
        self.loaded("get", [self.signed("GET", name) for name in names])

    def policy(self, _large: int) -> None:
        self.loaded("policy", [self.signed("GET", f"/{RULED}/small-{number}") for number in range(NAMES)])

    def put(self, _large: int) -> None:
        self.round += 1
        names = [f"/{BUCKET}/p/{self.round}-{number}" for number in range(1500 * self.seconds)]
        self.loaded("put", [self.signed("PUT", name, body=SMALL) for name in names])

    def list(self, _large: int) -> None:
        one = self.signed("GET", "/listed", "list-type=2")
        if self.send(one).count(b"<Contents>") != LISTED:
            raise SystemExit(f"{self.cluster.name}: list: not what was asked for")
        self.loaded("list", [one])

    def delete(self, _large: int) -> None:
        names = [f"d/{number:04}" for number in range(LISTED)]
        for name in names:
            self.send(self.signed("PUT", f"/{BUCKET}/{name}", body=b"x"))
        keys = "".join(f"<Object><Key>{name}</Key></Object>" for name in names)
        one = self.signed("POST", f"/{BUCKET}", "delete=", f"<Delete>{keys}</Delete>".encode())
        self.timed("delete", [one], lambda data: data.count(b"<Deleted>") == LISTED)

    def upload(self, large: int) -> None:
        self.multipart("upload", large, {})

    def unsigned(self, large: int) -> None:
        """As clients do it that speak TLS: nothing is said of the body, so that the server hashes it for the ETag alone."""
        self.multipart("unsigned", large, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})

    def multipart(self, what: str, large: int, more: dict[str, str]) -> None:
        path = f"/{BUCKET}/large"
        told = self.send(self.signed("POST", path, "uploads="))
        upload = re.search(b"<UploadId>([^<]+)<", told)[1].decode()
        body = bytes(PART)
        etag = hashlib.md5(body).hexdigest()
        numbers = range(1, max(large * 1024 * 1024 // PART, 1) + 1)
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n in numbers)
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        requests = [
            self.signed("PUT", path, f"partNumber={n}&uploadId={upload}", body, more) for n in numbers
        ]
        self.timed(what, [*requests, self.signed("POST", path, f"uploadId={upload}", whole)])
        self.send(self.signed("DELETE", path), 204)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", required=True, type=pathlib.Path, help="folder of its commands")
    parser.add_argument("--ours", type=pathlib.Path, default=pathlib.Path(sysconfig.get_path("scripts")))
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/dev/shm/s3"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each load in a round")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--large", type=int, default=1024, help="megabytes of the multipart upload")
    parser.add_argument("--only", default="check," + ",".join(FLOORS), help="of check," + ",".join(FLOORS))
    parser.add_argument("--port", type=int, default=11600)
    options = parser.parse_args()
    wanted = options.only.split(",")
    if "check" in wanted:
        wanted.remove("check")
        print(check_cost())
    if not wanted:
        return
    sides, caches = [], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all that was started is ended
    try:
        for number, (name, folder) in enumerate((("reference", options.reference), ("ours", options.ours))):
            port = options.port + 100 * number
            command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port + 90)]
            caches.append(subprocess.Popen(command))
            cluster = S3Cluster(name, folder, options.root / name, port, port, f"127.0.0.1:{port + 90}")
            sides.append(Side(cluster, options.clients, options.seconds))
        for side in sides:
            side.prepare(wanted, side is sides[-1])
        for _ in range(options.rounds):
            for what in wanted:
                for side in sides[-1:] if what == "policy" else sides:
                    side.connection.close()  # it has idled for too long
                    getattr(side, what)(options.large)
    finally:
        for side in sides:
            side.cluster.stop()
        for process in caches:
            process.kill()
        shutil.rmtree(options.root, ignore_errors=True)
    print("\n".join(report(*sides)))


def check_cost() -> str:
    """Of reading who signs, and of holding the signature against the secret."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/{BUCKET}/small-0",
        "QUERY_STRING": "",
    }
    _, _, _, headers = sign(80, "GET", environ["PATH_INFO"])
    environ.update({"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()})
    options = parse_options({})

    def check() -> None:
        assert signature.read(environ, options, None).check_signature(KEY)

    cost = min(timeit.repeat(check, timer=time.thread_time, number=200, repeat=50)) / 200 * 1e6
    return f"check of a signature: {cost:.1f} µs (at most {MOST_OF_CHECK})"


def report(reference: Side, ours: Side) -> list[str]:
    """A table in Markdown: milliseconds of one request."""
    lines = [
        "| | reference, ms | ours, ms | ratio | of CPU | floor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what in ours.times:
        theirs, mine = (
            [statistics.median(pair[of] for pair in times) * 1e3 for of in (0, 1)]
            for times in (ours.times["get"] if what == "policy" else reference.times[what], ours.times[what])
        )
        ratio = theirs[0] / mine[0]
        shown = f"**{ratio:.2f}**" if ratio >= FLOORS[what] else f"_{ratio:.2f}_"
        name = "policy, against get" if what == "policy" else what
        of_cpu = theirs[1] / max(mine[1], 1e-3)
        lines.append(
            f"| {name} | {theirs[0]:.3f} (CPU {theirs[1]:.3f}) | {mine[0]:.3f} (CPU {mine[1]:.3f}) | {shown} | {of_cpu:.1f} | "
            f"{FLOORS[what]:g} |"
        )
    return lines


if __name__ == "__main__":
    main()
