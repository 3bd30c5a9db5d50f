"""What a server says of itself when it is asked, as all that judges it takes it: hosts, questions, answers. Never here: asking."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from swift.ring.devices import address_text

OPTIONS = "OPTIONS"  # the question for what server this is
KINDS = ("account", "container", "object")


class Host(NamedTuple):
    """One server. `ip` may be a name."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"{address_text(self.ip)}:{self.port}"


class Answer(NamedTuple):
    """What a host says to one question. `error`: why there is no document; `began`, `ended`: seconds since the epoch.

    `document`: what its JSON stands for, and for OPTIONS the Server header. `status`: of HTTP, None if there was no answer.
    """

    host: Host
    question: str
    document: Any = None
    error: str = ""
    status: int | None = None
    began: float = 0.0
    ended: float = 0.0

    @property
    def url(self) -> str:
        return f"http://{self.host}/" + ("" if self.question == OPTIONS else f"recon/{self.question}")

    @property
    def came(self) -> bool:
        return not self.error


def md5_of(path: str) -> str:
    """Of a file, to be compared with what servers say of theirs. Raises OSError."""
    with open(path, "rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while data := file.read(1024 * 1024):
            digest.update(data)
    return digest.hexdigest()
