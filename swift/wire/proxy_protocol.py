"""The PROXY protocol, version 1: the addresses that a load balancer saw, in the first line of a connection.

Spec: proxy-and-backend.md 21.4.
"""

import re
from typing import Any

from swift.wire.parser import BadHead

MAX_LINE = 107
_LINE = re.compile(r"PROXY TCP[46] (\S+) (\S+) ([0-9]{1,5}) ([0-9]{1,5})\Z")


def apply_proxy_line(line: bytes, environ: dict[str, Any]) -> None:
    """Put client and server address of the line (without CRLF) into an environ. BadHead when it is not a PROXY line."""
    text = line.decode("latin-1")
    if text == "PROXY UNKNOWN" or text.startswith("PROXY UNKNOWN "):
        return
    match = _LINE.match(text)
    if match is None:
        raise BadHead(400, f"Invalid PROXY line {ascii(text[:MAX_LINE])}")
    source, server, source_port, server_port = match.groups()
    environ["REMOTE_ADDR"] = source
    environ["REMOTE_PORT"] = source_port
    environ["SERVER_ADDR"] = server
    environ["SERVER_NAME"] = server
    environ["SERVER_PORT"] = server_port
    if server_port == "443":
        environ["wsgi.url_scheme"] = "https"
        environ["HTTPS"] = "on"
