"""A request as bytes, whatever stands in it, and its answer. Never here: what the request is about."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import BinaryIO, NamedTuple

PATIENCE = 60  # seconds


class Answer(NamedTuple):
    """headers: as they came. error: what kept the answer from being whole, else ""."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    error: str = ""

    def header(self, name: str) -> str:
        """The first of that name, or ""."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def send(
    port: int, method: str, target: str, headers: Mapping[str, str | None], body: bytes | Sequence[bytes]
) -> Answer:
    """Sends on a connection of its own; text goes as UTF-8. A header that is None is not sent."""
    fields: dict[str, str | None] = {"Host": f"127.0.0.1:{port}"}
    if not isinstance(body, bytes):
        fields["Transfer-Encoding"] = "chunked"
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*filter(None, body), b""))
    elif body or method in ("PUT", "POST"):
        fields["Content-Length"] = str(len(body))
    known = {name.lower(): name for name in fields}
    for name, value in headers.items():
        fields[known.get(name.lower(), name)] = value
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    head = f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("utf-8", "surrogateescape")
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            try:
                connection.sendall(head + body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was read; the answer says why
            with connection.makefile("rb") as file:
                return _answer(file, method)
    except (OSError, ValueError) as error:
        return Answer(0, "", [], b"", f"no answer: {type(error).__name__}")


def _answer(file: BinaryIO, method: str) -> Answer:
    """Read by hand, as http.client gives up at a header whose name is not ASCII."""
    status = 100
    while status == 100:
        version, status_text, reason, *_ = [*_line(file).split(" ", 2), "", ""]
        if not version.startswith("HTTP/1."):
            raise ValueError("no HTTP")
        status = int(status_text)
        headers = []
        while line := _line(file):
            name, _, value = line.partition(":")
            headers.append((name, value.strip(" ")))
    plain = Answer(status, reason, headers, b"")
    if method == "HEAD" or status in (204, 304):
        return plain
    error = ""
    try:
        if plain.header("transfer-encoding").lower() == "chunked":
            body, error = _chunks(file)
        elif plain.header("content-length"):
            length = int(plain.header("content-length"))
            body = file.read(length)
            error = "" if len(body) == length else "the body breaks off"
        else:
            body = file.read()
    except OSError as broken:
        body, error = b"", f"the body does not end: {type(broken).__name__}"
    return plain._replace(body=body, error=error)


def _line(file: BinaryIO) -> str:
    line = file.readline(1 << 20)
    if not line.endswith(b"\n"):
        raise ValueError("the head breaks off")
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _chunks(file: BinaryIO) -> tuple[bytes, str]:
    """A body, and what kept it from being whole."""
    body = b""
    while True:
        try:
            size = int(_line(file).partition(";")[0], 16)
        except ValueError:
            return body, "the body breaks off"
        body += file.read(size)
        _line(file)
        if not size:
            return body, ""
