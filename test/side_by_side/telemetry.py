"""What both proxies tell of the same requests: access lines and StatsD events, legacy and with labels, compared.

`python -m test.side_by_side.telemetry` prints what differs. Lines and events of requests that a proxy makes of itself are left out: caches
differ, and with them what is asked. Never here: what a request means.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from test.ports import free_ports
from test.side_by_side import sides
from test.side_by_side.comparing import plain
from test.side_by_side.running import Side
from test.side_by_side.table import Feature, Step

BODY = b"x" * 1000
STEPS = [
    Step("GET", ""),
    Step("POST", "", {"X-Account-Meta-A": "b"}),
    Step("PUT", "/c"),
    Step("PUT", "/c/o", body=BODY),
    *(Step("GET", "/c/o", headers) for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"If-Match": "x"})),
    Step("HEAD", "/c/o"),
    Step("POST", "/c/o", {"X-Object-Meta-A": "b"}),
    Step("GET", "/c?format=json"),
    Step("GET", "/c"),
    Step("HEAD", "/c"),
    Step("GET", "/c/none"),
    Step("PUT", "/c/o", body=BODY, user="other"),
    *(Step(method, "/c/o") for method in ("BREW", "OPTIONS")),
    *(Step("GET", path, whole=True) for path in ("/", "/v1", "/v1/", "/auth/v1.0")),
    Step("PUT", "/silver", {"X-Storage-Policy": "silver"}),
    Step("PUT", "/silver/o", body=BODY),
    Step("GET", "/silver/o"),
    Step("PUT", "/c/%E2%98%83%20%25?x=y%20z", {"User-Agent": "ag ent ü", "Referer": "http://r/x y", "X-Forwarded-For": "1.2.3.4, 5.6.7.8"}, [b"abcdef"]),
    Step("GET", "/c/%E2%98%83%20%25?x=y&z"),
    Step("PUT", "/c/o", {"Etag": "0" * 32}, BODY),
    Step("PUT", "/c/o", {"X-Delete-At": "9999999999", "X-Cluster-Client-Ip": "9.9.9.9"}, BODY),
    Step("PUT", "/c/o", {"X-Delete-At": "1"}, BODY),
    Step("GET", "/c?limit=99999"),
    Step("DELETE", "/c/o"),
    Step("DELETE", "/c/o"),
    Step("HEAD", ""),
]  # fmt: skip
OPTIONS = (
    "set log_level = INFO\nset access_log_level = INFO\naccess_log_udp_host = 127.0.0.1\naccess_log_udp_port = {log}\n"
    "log_statsd_host = 127.0.0.1\nlog_statsd_port = {statsd}\nstatsd_user_label_zone = z1\nstatsd_label_mode = "
)
SETTLE = 0.15  # seconds in which what is told of a request has come


class Told(NamedTuple):
    """What one side told of a request, without what is its own."""

    lines: Counter[str]
    events: Counter[str]


class Ears:
    """Two sockets: for access lines and for events."""

    def __init__(self) -> None:
        self._sockets = []
        for _ in range(2):
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            ear.bind(("127.0.0.1", 0))
            ear.settimeout(0.02)
            self._sockets.append(ear)

    @property
    def ports(self) -> tuple[int, int]:
        log, statsd = (ear.getsockname()[1] for ear in self._sockets)
        return log, statsd

    def told(self) -> Told:
        """Everything that has come."""
        lines, events = (list(self._heard(ear)) for ear in self._sockets)
        # a client's own has its address in front; what a proxy asks itself has none, and no counterpart
        own = [line for line in map(_plain_line, lines) if " - - <when> " not in line]
        return Told(Counter(own), Counter(map(_plain_event, "\n".join(events).split("\n"))))

    @staticmethod
    def _heard(ear: socket.socket) -> Iterator[str]:
        with contextlib.suppress(TimeoutError):
            while True:
                yield ear.recv(65536).decode("utf-8", "replace").rstrip("\0\n")

    def close(self) -> None:
        for ear in self._sockets:
            ear.close()


def _plain_line(line: str) -> str:
    line = plain(re.sub(r"^<\d+>", "", line)).replace(" HTTP/1.0 ", " HTTP/1.1 ")
    line = re.sub(r"\d\d/\w{3}/\d{4}/\d\d/\d\d/\d\d", "<when>", line)
    line = re.sub(r" \d+\.\d{4} ", " <took> ", line)
    line = re.sub(r"\b1[78]\d{8}\.\d{9}", "<stamp>", line)
    line = re.sub(r" \(txn: .*", "", line)
    return re.sub(r"AUTH_tk[0-9a-f]{9}\.\.\.", "<token>", line)


def _plain_event(event: str) -> str:
    return re.sub(r":[\d.e+-]+\|ms", ":<took>|ms", event)


def differences(root: pathlib.Path, port: int, label_mode: str) -> list[str]:
    """A few lines for each request of which something else is told."""
    ears = {"reference": Ears(), "ours": Ears()}
    feature = Feature("telemetry", STEPS, {"proxy_logging": OPTIONS + label_mode + "\n"})
    found = []
    with sides.both(root, port) as running:
        for cluster in running.clusters:
            log, statsd = ears[cluster.name].ports
            cluster.replaced = {"{log}": str(log), "{statsd}": str(statsd)}
        with running.fronts([feature]) as ports:
            clients = [Side(one, feature) for one in ports]
            for client in clients:
                for user in ("owner", "other"):
                    client.token(user)
            for number, step in enumerate(STEPS, 1):
                time.sleep(SETTLE)
                for ear in ears.values():
                    ear.told()
                for client in clients:
                    client.do(step)
                time.sleep(SETTLE)
                apart = _apart(*(ears[name].told() for name in ("reference", "ours")))
                if apart:
                    found += [f"{number}: {step.method} {step.path[:100]}", *apart]
    for ear in ears.values():
        ear.close()
    return found


def _apart(theirs: Told, mine: Told) -> list[str]:
    """Events of subrequests come on top of each other's: only those that one side has and the other has not at all."""
    lines = [
        f"    {who} says nothing" for who, told in (("reference", theirs), ("ours", mine)) if not told.lines
    ]
    for who, one, other in (("reference", theirs, mine), ("ours     ", mine, theirs)):
        lines += [f"    {who} {line}" for line in (one.lines - other.lines).elements()]
        lines += [f"    {who} {event}" for event in sorted(set(one.events) - set(other.events)) if not _INFO.search(event)]  # fmt: skip
    return lines


# What comes of looking at an account or container before the work.
_INFO = re.compile(r"\.info\.|\.HEAD\.(204|404)|method[:=]HEAD|^$")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m test.side_by_side.telemetry", description=__doc__.split(":")[0])  # fmt: skip
    parser.add_argument("--labels", default="dogstatsd", help="statsd_label_mode")
    parser.add_argument("--port", type=int, default=0, help="the first of 200 ports (default: free ones)")
    args = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="side-by-side-", dir="/dev/shm"))
    found = differences(root, args.port or free_ports()[1], args.labels)
    print("\n".join([*found, f"{len(STEPS)} requests"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
