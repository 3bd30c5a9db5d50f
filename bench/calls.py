"""What one request costs an object server: rate, CPU, context switches, system calls and futex calls, on a real disk.

One object server with one process serves a directory; a client of its own process keeps N requests in the air. Rates of several
`--set` variants are taken in alternation. `--strace` counts calls instead (slow: its rates mean nothing). Whole clusters and the
reference beside them are measured by speed.py.

    python bench/calls.py DIR put get delete head mixed --clients 1,16 [--set a: --set b:writer_process=false] [--strace]
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SWIFT_CONF = "[swift-hash]\nswift_hash_path_prefix = changeme\nswift_hash_path_suffix = changeme\n[storage-policy:0]\nname = gold\ndefault = yes\n"
TICK = os.sysconf("SC_CLK_TCK")


def part_of(name: str) -> int:
    return int(hashlib.md5(f"changeme/a/c/{name}changeme".encode()).hexdigest()[:8], 16) >> 22


class Server:
    """One object server on `top`/sda, with `options` in its configuration; `bin` is the folder of its command."""

    def __init__(self, top: str, port: int, options: dict[str, str], folder: str) -> None:
        self.port = port
        self.top = tempfile.mkdtemp(prefix="calls-", dir=top)
        os.makedirs(f"{self.top}/sda")
        pathlib.Path(f"{self.top}/swift.conf").write_text(SWIFT_CONF)
        more = "".join(f"{key} = {value}\n" for key, value in options.items() if not key.startswith("env."))
        environ = {key[4:]: value for key, value in options.items() if key.startswith("env.")}
        pathlib.Path(f"{self.top}/object.conf").write_text(
            f"[DEFAULT]\nuser = root\ndevices = {self.top}\nmount_check = false\ndisable_fallocate = true\nbind_ip = 127.0.0.1\n"
            f"bind_port = {port}\nworkers = 0\nswift_dir = {self.top}\nlog_level = WARNING\nrecon_cache_path = {self.top}\n\n"
            f"[pipeline:main]\npipeline = healthcheck object-server\n\n[app:object-server]\nuse = egg:swift#object\n{more}\n"
            "[filter:healthcheck]\nuse = egg:swift#healthcheck\n"
        )
        self.log = open(f"{self.top}/log", "wb")
        self.process = subprocess.Popen(
            [f"{folder}/swift-object-server", f"{self.top}/object.conf"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            env={**os.environ, **environ},
        )
        for _ in range(200):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/healthcheck")
                connection.getresponse()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"not up; see {self.top}/log")

    def pids(self) -> list[int]:
        """The server and its children."""
        found = [self.process.pid]
        for pid in found:
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, task.read_text().split())
        return found

    def counters(self) -> tuple[float, int]:
        """CPU seconds and context switches of all threads of all processes so far."""
        cpu, switches = 0.0, 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / TICK
            for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
                switches += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", status.read_text())))
        return cpu, switches

    def memory(self) -> list[float]:
        """Private megabytes of each process."""
        found = []
        for pid in self.pids():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            found.append(sum(map(int, re.findall(r"Private_\w+:\s+(\d+) kB", text))) / 1024)
        return found

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.top, ignore_errors=True)


class Load:
    """Requests of one kind by one client; the next is sent when the answer is there."""

    def __init__(self, verb: str, label: str, known: int, size: int, prefix: str) -> None:
        self.verb, self.label, self.known, self.prefix = verb, label, known, prefix
        self.body = b"x" * size if verb == "PUT" else b""
        self.count = 0
        self.took: list[float] = []

    def next(self, number: int) -> bytes:
        if self.verb == "PUT":
            name = f"{self.prefix}-{self.count}"
        elif self.verb == "DELETE":
            name = f"known-{self.count % self.known}"
        else:
            name = f"known-{self.count * 7919 % self.known}"
        self.count += 1
        head = f"{self.verb} /sda/{part_of(name)}/a/c/{name} HTTP/1.1\r\nHost: x\r\nX-Timestamp: {time.time():.5f}\r\n"
        if self.verb in ("PUT", "POST"):
            head += f"Content-Type: text/plain\r\nContent-Length: {len(self.body)}\r\nX-Object-Meta-Color: blue\r\n"
        elif self.verb == "DELETE":
            head += "Content-Length: 0\r\n"
        return head.encode() + b"\r\n" + self.body


def drive(port: int, loads: list[Load], seconds: float, limit: int = 0) -> float:
    """Runs one client for each load until `seconds` are over or `limit` requests were begun; returns the seconds it took."""
    poll = select.epoll()
    clients: dict[int, list] = {}
    clock = time.perf_counter
    begun = 0
    for load in loads:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients[sock.fileno()] = [sock, load, b"", 0, 0.0]
        poll.register(sock, select.EPOLLIN)
    started = clock()
    end = started + seconds
    for client in clients.values():
        begun += 1
        client[4] = clock()
        client[0].sendall(client[1].next(begun))
    alive = len(clients)
    while alive:
        for fd, _ in poll.poll():
            client = clients[fd]
            sock, load, head, left, since = client
            data = sock.recv(1 << 20)
            if not data:
                raise SystemExit(f"{load.verb}: the server hung up")
            if left:
                left -= len(data)
            else:
                head += data
                at = head.find(b"\r\n\r\n")
                if at < 0:
                    client[2] = head
                    continue
                if head[9:10] != b"2":
                    raise SystemExit(f"{load.verb}: {head[:200]!r}")
                length = 0
                if load.verb != "HEAD":
                    found = re.search(rb"(?i)content-length: (\d+)", head[:at])
                    length = int(found[1]) if found else 0
                left = length - (len(head) - at - 4)
                client[2] = b""
            client[3] = left
            if left > 0:
                continue
            now = clock()
            load.took.append(now - since)
            if now >= end or (limit and begun >= limit):
                alive -= 1
                poll.unregister(fd)
                sock.close()
                continue
            begun += 1
            client[4] = now
            sock.sendall(load.next(begun))
    return clock() - started


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


def loads_of(what: str, clients: int, size: int, known: int, run: int) -> list[Load]:
    """The clients of one run; those of one kind share their Load, so no name comes twice."""
    verbs = ["GET", "PUT"] if what == "mixed" else [what.upper()]
    made = {verb: Load(verb, what, known, size, f"{what}-{run}") for verb in verbs}
    return [made[verbs[n % len(verbs)]] for n in range(clients)]


def fill(server: Server, known: int, size: int) -> None:
    load = Load("PUT", "fill", known, size, "known")
    drive(server.port, [load] * 16, 1e9, known)
    time.sleep(0.1)
    for _ in range(2):
        warm = Load("GET", "fill", known, size, "")
        drive(server.port, [warm] * 4, 1e9, known)


def measure(server: Server, what: str, clients: int, seconds: float, size: int, known: int, run: int) -> dict:
    if what == "delete":
        fill(server, known, size)
    loads = loads_of(what, clients, size, known, run)
    cpu, switches = server.counters()
    took = drive(server.port, loads, seconds, known if what == "delete" else 0)
    cpu2, switches2 = server.counters()
    row: dict[str, float] = {}
    total = 0
    for load in dict.fromkeys(loads):
        total += len(load.took)
        row[f"{load.verb}/s"] = len(load.took) / took
        row[f"{load.verb} p50 ms"] = percentile(load.took, 0.5) * 1e3
        row[f"{load.verb} p99 ms"] = percentile(load.took, 0.99) * 1e3
    row["CPU us"] = (cpu2 - cpu) / total * 1e6
    row["switches"] = (switches2 - switches) / total
    return row


def count_calls(server: Server, what: str, clients: int, size: int, known: int) -> None:
    """System calls a request, by strace."""
    loads = loads_of(what, clients, size, known, 0)
    drive(server.port, loads, 0.3)
    report = f"{server.top}/strace"
    pids = [word for pid in server.pids() for word in ("-p", str(pid))]
    tracer = subprocess.Popen(["strace", "-c", "-f", "-o", report, *pids], stderr=subprocess.DEVNULL)
    time.sleep(1)
    for load in loads:
        load.took = []
    drive(server.port, loads, 3.0)
    total = sum(len(load.took) for load in dict.fromkeys(loads))
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    rows = re.findall(
        r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", pathlib.Path(report).read_text(), re.M
    )
    calls = {name: int(count) / total for count, name in rows if name != "total"}
    print(
        f"{what}, {clients} clients: {sum(calls.values()):.1f} calls a request, futex {calls.get('futex', 0):.1f}"
    )
    print(
        "   "
        + ", ".join(
            f"{name} {count:.2f}"
            for name, count in sorted(calls.items(), key=lambda i: -i[1])
            if count > 0.02
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", help="a directory on the file system to be measured")
    parser.add_argument("what", nargs="+", choices=["put", "get", "head", "delete", "mixed"])
    parser.add_argument("--clients", default="16")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--known", type=int, default=2000, help="objects that are read or deleted")
    parser.add_argument("--port", type=int, default=27100)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME:option=value,…[@FOLDER]",
        help="one server to be measured; FOLDER of its swift-object-server",
    )
    parser.add_argument("--strace", action="store_true", help="count system calls instead of time")
    options = parser.parse_args()
    here = os.path.dirname(sys.executable)
    servers = {}
    try:
        for n, text in enumerate(options.set or ["now:"]):
            text, _, folder = text.partition("@")
            name, _, rest = text.partition(":")
            pairs = dict(pair.split("=", 1) for pair in rest.split(",") if pair)
            servers[name] = Server(options.dir, options.port + n, pairs, folder or here)
        for server in servers.values():
            fill(server, options.known, options.size)
        for what in options.what:
            for clients in map(int, options.clients.split(",")):
                if options.strace:
                    for name, server in servers.items():
                        print(name, end=": ")
                        count_calls(server, what, clients, options.size, options.known)
                    continue
                rows: dict[str, list[dict]] = {}
                for run in range(options.rounds):
                    for name, server in servers.items():
                        tag = run * 1000 + clients
                        rows.setdefault(name, []).append(
                            measure(server, what, clients, options.seconds, options.size, options.known, tag)
                        )
                for name, got in rows.items():
                    middle = {key: statistics.median(row[key] for row in got) for key in got[0]}
                    print(
                        f"{what} {clients} {name}: " + "  ".join(f"{k} {v:.1f}" for k, v in middle.items()),
                        flush=True,
                    )
        for name, server in servers.items():
            print(name, "private MB:", ", ".join(f"{mb:.1f}" for mb in server.memory()))
    finally:
        for server in servers.values():
            server.stop()


if __name__ == "__main__":
    main()
