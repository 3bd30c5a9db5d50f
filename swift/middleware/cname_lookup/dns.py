"""Asking name servers for CNAME records over UDP, so that nothing but the one who asks waits.

dnspython makes and reads the messages; its own resolver is not used, as it waits in ways that would stop everybody. Never here: caches.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import NamedTuple

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver

from swift.core import clock

LIFETIME = 5.0  # seconds that a name may take
TRY = 1.5  # seconds that one name server may take before the next is asked
NO_RECORD_TTL = 60
_PORT = 53
_LARGEST_ANSWER = 4096
_STRAYS = 20  # datagrams that are no answer to the question, before that server is given up
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)

Server = tuple[str, int]


class Found(NamedTuple):
    """The name that another one stands for, in the case in which it is written (None: there is none), and for how many seconds that holds."""

    name: str | None
    ttl: int


_UNKNOWN = Found(None, 0)


def parse_servers(values: Sequence[str]) -> list[Server]:
    """Name servers as `ip`, `ip:port`, `[ipv6]:port`. Raises ValueError."""
    servers = []
    for value in values:
        match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::(\d+))?|([0-9.]+)(?::(\d+))?|([0-9a-fA-F:.]+)", value)
        if match is None:
            raise ValueError(f"nameservers: {value!r} is no address")
        ip = match[1] or match[3] or match[5]
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
        except OSError:
            raise ValueError(f"nameservers: {value!r} is no address") from None
        port = int(match[2] or match[4] or _PORT)
        if not 0 < port < 65536:
            raise ValueError(f"nameservers: {value!r} has no port")
        servers.append((ip, port))
    return servers


def servers_of_system() -> list[Server]:
    """Those of /etc/resolv.conf, or one on this host."""
    try:
        system = dns.resolver.Resolver()
    except dns.exception.DNSException:
        return [("127.0.0.1", _PORT)]
    return [(str(server), system.port) for server in system.nameservers if isinstance(server, str)] or [
        ("127.0.0.1", _PORT)
    ]


def cname(name: str, servers: Sequence[Server]) -> Found:
    """What a host's name (lower case, without a dot at its end) stands for. Takes LIFETIME at most; ttl 0 when nobody knows."""
    if not _HOST_NAME.fullmatch(name):
        return _UNKNOWN
    query = dns.message.make_query(name, dns.rdatatype.CNAME, id=clock.getrandbits(16))
    end = clock.monotonic() + LIFETIME
    for server in (*servers, *servers):
        left = end - clock.monotonic()
        if left <= 0:
            break
        try:
            answer = _ask(query, server, min(TRY, left))
        except OSError:
            continue
        if answer is None:
            continue
        code = answer.rcode()
        if code == dns.rcode.NXDOMAIN:
            return Found(None, NO_RECORD_TTL)
        if code != dns.rcode.NOERROR:
            continue
        for records in answer.answer:
            if records.rdtype == dns.rdatatype.CNAME and records.name == query.question[0].name:
                target = records[0].target.to_text().rstrip(".")
                # A name in DNS may hold anything; as a host it may not.
                return Found(target if _HOST_NAME.fullmatch(target.lower()) else None, records.ttl)
        return Found(None, NO_RECORD_TTL)
    return _UNKNOWN


def _ask(query: dns.message.Message, server: Server, timeout: float) -> dns.message.Message | None:
    """The answer of one server, None if it talks nonsense. Raises OSError."""
    end = clock.monotonic() + timeout
    with socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect(server)
        sock.send(query.to_wire())
        for _ in range(_STRAYS):
            left = end - clock.monotonic()
            if left <= 0:
                break
            sock.settimeout(left)
            data = sock.recv(_LARGEST_ANSWER)
            try:
                answer = dns.message.from_wire(data)
            except (dns.exception.DNSException, ValueError, IndexError):
                continue
            if query.is_response(answer):
                return answer
    return None
