"""One line of an access log in AWS's format: 26 fields, `-` for what is not known. Pure.

No key, token or signature of a request comes into it. Nothing that a client sends can end a line or a quoted field.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote_plus

from swift.core import clock

_NAMES = {
    "acl": "ACL", "delete": "MULTI_OBJECT_DELETE", "logging": "LOGGING_STATUS", "object-lock": "OBJECT_LOCK", "partNumber": "PART",
    "policy": "BUCKETPOLICY", "policyStatus": "BUCKETPOLICYSTATUS", "uploadId": "UPLOAD", "versions": "BUCKETVERSIONS",
}  # fmt: skip
_SECRET = frozenset((
    "awsaccesskeyid", "signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token", "temp_url_sig",
))  # fmt: skip
_PARAMETER = re.compile(
    r"(?<![^&;])([^&;=]*)=([^&;]*)"
)  # from its first letter, else a long one takes seconds
_BARE = re.compile(r"[^\x00-\x20\x7f\"\\]*")
_QUOTED = re.compile(r"[^\x00-\x1f\x7f\"\\]*")
_MOST_CHARACTERS = 4096  # of a field


class Facts(NamedTuple):
    """What a line tells. Text, WSGI strings where they come from headers; times in seconds (since the epoch, or milliseconds of spans)."""

    owner: str
    bucket: str
    time: float
    address: str
    requester: str
    request_id: str
    operation: str
    key: str | None
    method: str
    uri: str
    protocol: str
    status: int
    error: str
    sent: int
    size: int | None
    total: float
    turn_around: float
    referer: str
    agent: str
    version: str
    signature: str
    authentication: str
    host: str


def operation_name(method: str, level: str, subresource: str, is_copy: bool) -> str:
    """As AWS calls operations in logs."""
    if is_copy:
        return "REST.COPY.PART" if subresource == "partNumber" else "REST.COPY.OBJECT"
    if subresource == "tagging" and level == "object":
        kind = "OBJECT_TAGGING"
    elif subresource:
        kind = _NAMES.get(subresource) or re.sub("(?<=[a-z])(?=[A-Z])|-", "_", subresource).upper()
    else:
        kind = level.upper()
    return f"REST.{method}.{kind}"


def uri_of(path: str, query: str) -> str:
    """A path and query as they came, without what nobody but the sender may know."""
    if not query:
        return path

    def cut(match: re.Match[str]) -> str:
        name = match[1]
        return f"{name}=REDACTED" if _plain(name) in _SECRET else match[0]

    return f"{path}?{_PARAMETER.sub(cut, query)}"


def _plain(name: str) -> str:
    return re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), name).lower()


def made(facts: Facts) -> str:
    """The line, with its end."""
    when = clock.strftime("[%d/%b/%Y:%H:%M:%S +0000]", clock.gmtime(int(facts.time)))
    key = "" if facts.key is None else quote_plus(facts.key, safe="/", errors="replace")
    fields = (
        _bare(facts.owner),
        _bare(facts.bucket),
        when,
        _bare(facts.address),
        _bare(facts.requester),
        _bare(facts.request_id),
        facts.operation,
        _bare(key),
        _quoted(f"{facts.method} {facts.uri} {facts.protocol}"),
        str(facts.status),
        facts.error or "-",
        str(facts.sent) if facts.sent else "-",
        "-" if facts.size is None else str(facts.size),
        str(max(0, round(facts.total))),
        str(max(0, round(facts.turn_around))),
        _quoted(uri_of(*facts.referer.partition("?")[::2])),
        _quoted(facts.agent),
        _bare(facts.version),
        _bare(facts.request_id),
        facts.signature or "-",
        "-",
        facts.authentication or "-",
        _bare(facts.host),
        "-",
        "-",
        "-",
    )
    return " ".join(fields) + "\n"


def _escaped(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _bare(text: str) -> str:
    if not text:
        return "-"
    text = text[:_MOST_CHARACTERS]
    return text if _BARE.fullmatch(text) else re.sub('[\x00-\x20\x7f"\\\\]', _escaped, text)


def _quoted(text: str) -> str:
    if not text:
        return '"-"'
    text = text[:_MOST_CHARACTERS]
    if not _QUOTED.fullmatch(text):
        text = re.sub('[\x00-\x1f\x7f"\\\\]', _escaped, text)
    return f'"{text}"'
