"""The head of a request: bytes of request line and headers → the pieces of a WSGI environ. Strict, pure functions.

Nothing here reads from a socket or knows about bodies beyond how they are framed. What is not plainly one well-formed request is
refused with the connection to be closed, since two parties that read it differently can be played against each other.
Spec: proxy-and-backend.md 21.1, and the house's overrides for malformed HTTP.
"""

import re
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from swift.core.constraints import Limits
from swift.wire.head_forms import FORMS
from swift.wire.headers import environ_key

MAX_HEADERS_SIZE = 65536
_COUNT_LEEWAY = 1.6


class HeadLimits(NamedTuple):
    """Bytes of the request line and of one header line including CRLF (both exclusive), and the number of headers."""

    request_line: int = 8192
    header_line: int = 8192
    header_count: int = 201

    @classmethod
    def of(cls, constraints: Limits) -> "HeadLimits":
        """What swift.conf allows, with the reference's leeway for headers that are no metadata."""
        return cls(
            constraints.max_request_line,
            constraints.max_header_size,
            int(_COUNT_LEEWAY * constraints.max_header_count),
        )


class BadHead(Exception):
    """A head that is refused; the connection is to be closed after the answer.

    bare: the answer is only a status line of HTTP/1.0, `Connection: close` and `Content-Length: 0`.
    plain: the answer's body is the explanation alone, as an application would have given it.
    """

    def __init__(
        self, status: int, reason: str, explanation: str = "", bare: bool = False, plain: bool = False
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.explanation = explanation
        self.bare = bare
        self.plain = plain


# Header names are what the reference takes: printable bytes without blank and colon, all bytes above ASCII.
_HEAD = re.compile(
    r"([!-~]+) ([!-~\x80-\xff]+) (HTTP/1\.[01])\r\n"
    r"((?:[!-9;-~\x80-\xff]+:[^\r\n\0]*\r\n)*)\r\n"
)
_HEADERS = re.compile(r"(?:[!-9;-~\x80-\xff]+:[^\r\n\0]*\r\n)*\r\n")
_VERSION = re.compile(r"HTTP/([0-9]{1,8})\.([0-9]{1,8})\Z")
_METHOD = re.compile(r"[!-~]+\Z")
_TARGET = re.compile(r"[!-~\x80-\xff]+\Z")
_BARE_BREAK = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

_COMMON_NAMES = [
    "Host",
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Transfer-Encoding",
    "Expect",
    "Range",
    "Referer",
    "Date",
    "Etag",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "X-Auth-Token",
    "X-Storage-Token",
    "X-Timestamp",
    "X-Trans-Id",
    "X-Newest",
    "X-Backend-Storage-Policy-Index",
    "X-Backend-Allow-Reserved-Names",
    "X-Container-Host",
    "X-Container-Device",
    "X-Container-Partition",
    "X-Container-Root-Db-State",
    "X-Object-Meta-Mtime",
    "X-Delete-At",
    "X-Size",
    "X-Etag",
    "X-Content-Type",
    "X-Put-Timestamp",
    "X-Delete-Timestamp",
    "X-Object-Count",
    "X-Bytes-Used",
    "X-Account-Host",
    "X-Account-Device",
    "X-Account-Partition",
]
_NAMES_LIMIT = 4096
# Where those headers of S3 stand that the environ has no key of their own for: (name in lower case, value) pairs, as they came.
UNDERSCORED = "swift.underscored_headers"
_NAME_LENGTH_LIMIT = 64
_seed: dict[str, str] = {}
for _name in _COMMON_NAMES:
    _seed[_name] = _seed[_name.lower()] = environ_key(_name)
_seed.update({"ETag": "HTTP_ETAG", "TE": "HTTP_TE"})
# name as received → environ key, "" for a name that is dropped. Names come from outside: bounded in number and length.
_keys: dict[str, str] = dict(_seed)


def _key_of(name: str) -> str:
    # A name with an underscore would be taken for its twin with a hyphen in the environ.
    key = "" if "_" in name else environ_key(name)
    if len(name) <= _NAME_LENGTH_LIMIT:
        if len(_keys) >= _NAMES_LIMIT:
            _keys.clear()
            _keys.update(_seed)
        _keys[name] = key
    return key


def parse_head(head: bytes, base: dict[str, Any], limits: HeadLimits) -> dict[str, Any]:
    """The environ of a request: a copy of base, the constant part of a connection, with what the head says.

    head ends with the empty line. Raises BadHead. CONTENT_LENGTH is then a decimal number, HTTP_TRANSFER_ENCODING `chunked` in
    lower case if it is there, never both. Of names with an underscore, which have no key of their own, S3's are kept (UNDERSCORED). swift.head_size: bytes of the head, more than any header has.
    """
    text = head.decode("latin-1")
    size = len(head)
    found = FORMS.find(text) if size < limits.header_line and size < limits.request_line else None
    environ = base.copy()
    environ["swift.head_size"] = size
    if found is not None and found[0].count <= limits.header_count:
        environ |= zip(found[0].keys, found[1], strict=True)
        target = environ["RAW_PATH_INFO"]
    else:
        target = _read(text, size, environ, limits)
    path, _, environ["QUERY_STRING"] = target.partition("?")
    if path[:1] != "/":
        path, environ["QUERY_STRING"] = _odd_target(target)
    environ["RAW_PATH_INFO"] = path
    environ["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path
    length = environ.get("CONTENT_LENGTH")
    if length is not None and not (length.isdecimal() and len(length) < 20):
        raise BadHead(400, "Bad Request", bare=True)
    if "HTTP_TRANSFER_ENCODING" in environ:
        _check_coding(environ)
    return environ


def _read(text: str, size: int, environ: dict[str, Any], limits: HeadLimits) -> str:
    """Read a head line by line into the environ; returns the request's target."""
    match = _HEAD.fullmatch(text)
    if match is not None:
        method, target, protocol, block = match.groups()
    else:
        method, target, protocol, block = _unusual(text, limits)
    if size >= limits.header_line or size >= limits.request_line:
        _check_sizes(text, block, limits)
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = protocol
    count = 0
    keys = _keys
    names: list[str] | None = [] if match is not None and FORMS.is_look_due() else None
    for line in block.split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon:
            break
        count += 1
        key = keys.get(name)
        if key is None:
            key = _key_of(name)
        value = value.strip(" \t")
        if key not in environ:
            if key:
                environ[key] = value
            elif name[:6].lower() == "x-amz-":
                environ.setdefault(UNDERSCORED, []).append((name.lower(), value))
        else:
            _repeat(environ, key, value)
        if names is not None:
            names.append(name)
    if count > limits.header_count:
        raise BadHead(431, "Too many headers", f"got more than {limits.header_count} headers.")
    if names is not None:
        headers = [keys.get(name) or _key_of(name) for name in names]
        if all(headers) and len(set(headers)) == len(headers):
            FORMS.note(text, tuple(names), headers)
    return target


def _repeat(environ: dict[str, Any], key: str, value: str) -> None:
    """A header that is there already (or whose key has a constant default)."""
    present = environ[key]
    if key == "CONTENT_TYPE" and not present:
        environ[key] = value
    elif key == "CONTENT_LENGTH":
        if value != present:
            raise BadHead(400, "Bad Request", bare=True)
    elif key == "HTTP_HOST":
        raise BadHead(400, "Bad Request", "More than one Host header.")
    else:
        environ[key] = f"{present},{value}"


def _check_coding(environ: dict[str, Any]) -> None:
    coding = environ["HTTP_TRANSFER_ENCODING"].lower()
    if coding != "chunked":
        codings = [part.strip(" \t") for part in coding.split(",")]
        if codings[-1] == "chunked" and "chunked" not in codings[:-1]:
            raise BadHead(
                501,
                "Not Implemented",
                "Unsupported Transfer-Coding header value specified in Transfer-Encoding header",
                plain=True,
            )
        raise BadHead(400, "Bad Request", "Invalid Transfer-Encoding header value", plain=True)
    if "CONTENT_LENGTH" in environ:
        raise BadHead(400, "Bad Request", "Both Content-Length and Transfer-Encoding.")
    if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        raise BadHead(400, "Bad Request", "Transfer-Encoding needs HTTP/1.1.")
    environ["HTTP_TRANSFER_ENCODING"] = coding


def _check_sizes(text: str, block: str, limits: HeadLimits) -> None:
    if text.index("\r\n") + 2 >= limits.request_line:
        raise _too_long()
    if len(block) > MAX_HEADERS_SIZE:
        raise BadHead(400, "Headers Too Large", bare=True)
    if len(block) >= limits.header_line and max(map(len, block.split("\r\n"))) + 2 >= limits.header_line:
        raise BadHead(400, "Header Line Too Long", bare=True)


def _too_long() -> BadHead:
    return BadHead(414, "Request URI Too Long", bare=True)


def _shown(text: str) -> str:
    """A piece of the request as it may be shown in an answer or a log."""
    return ascii(text if len(text) <= 128 else text[:128] + "...")


def _unusual(text: str, limits: HeadLimits) -> tuple[str, str, str, str]:
    """What the one pattern does not match: an older or newer protocol version, or the reason to refuse."""
    line, _, rest = text.partition("\r\n")
    if len(line) + 2 >= limits.request_line:
        raise _too_long()
    words = line.split(" ")
    if len(words) not in (2, 3):
        raise BadHead(400, f"Bad request syntax ({_shown(line)})")
    if not _METHOD.match(words[0]) or not _TARGET.match(words[1]):
        raise BadHead(400, f"Bad request syntax ({_shown(line)})")
    if len(words) == 3:
        version = _VERSION.match(words[2])
        if version is None:
            raise BadHead(400, f"Bad request version ({_shown(words[2])})")
        major, minor = int(version.group(1)), int(version.group(2))
        if major >= 2:
            raise BadHead(505, f"Invalid HTTP version ({major}.{minor})")
        protocol = "HTTP/1.1" if (major, minor) >= (1, 1) else "HTTP/1.0"
    elif words[0] != "GET":
        raise BadHead(400, f"Bad HTTP/0.9 request type ({_shown(words[0])})")
    else:
        protocol = "HTTP/0.9"
    if not _HEADERS.fullmatch(rest):
        if "\0" in rest:
            explanation = "NUL in a header."
        elif any(part[:1] in (" ", "\t") for part in rest.split("\r\n")):
            explanation = "Folded header line."
        elif _BARE_BREAK.search(rest.encode("latin-1")):
            explanation = "CR or LF alone."
        else:
            explanation = "Bad header line."
        raise BadHead(400, "Bad Request", explanation)
    return words[0], words[1], protocol, rest[:-2]


def _odd_target(target: str) -> tuple[str, str]:
    """(path, query) of a target that does not begin with a slash: an absolute URI, `*`, or nothing that exists here."""
    absolute = _ABSOLUTE.match(target)
    if absolute:
        target = target[absolute.end() :]
        if target[:1] != "/":
            target = "/" + target
    path, _, query = target.partition("?")
    return path, query


def refuse_unfinished(buffer: bytes, limits: HeadLimits, scanned: int = 0) -> None:
    """BadHead if a head whose end has not arrived can only become a bad one. To be asked before more is read.

    scanned: how much of buffer was looked at before, so that a head that comes in drops costs no more than one that doesn't.
    """
    size = len(buffer)
    if size > limits.request_line:
        end = buffer.find(b"\r\n")
        if end < 0 or end + 2 >= limits.request_line:
            raise _too_long()
        if size - end > MAX_HEADERS_SIZE + 4:
            raise BadHead(400, "Headers Too Large", bare=True)
        last = buffer.rfind(b"\r\n")
        if size - last - 2 >= limits.header_line:
            raise BadHead(400, "Header Line Too Long", bare=True)
    # The last byte may be the first half of a CRLF.
    end = size - 1 if buffer.endswith(b"\r") else size
    found = _BARE_BREAK.search(buffer, max(scanned - 1, 0), end)
    if found:
        line = buffer.decode("latin-1").partition("\r\n")[0]
        if found.start() <= len(line):
            raise BadHead(400, f"Bad request syntax ({_shown(line)})")
        raise BadHead(400, "Bad Request", "CR or LF alone.")
