"""Access lines: one per request, made from a template that operators may change and others parse.

A template is compiled once to Python code that touches only the fields it shows. The same as a list of closures, one for each field, takes
1.4 times as long (4.0 to 5.7 us for a storage server's line, 7.7 to 10.4 for a proxy's; medians of runs in alternation). Where the lines go is `swift.telemetry.log`'s
business; which values the proxy's fields have is its logging filter's.

Spec: operations.md 8.3, 8.4, 8.5.
"""

from __future__ import annotations

import hashlib
import os
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote_from_bytes

from swift.core import clock
from swift.core.config import truthy
from swift.core.trace_context import trace_id_of
from swift.telemetry.log import DEBUG, INFO, Logger, escape_controls
from swift.telemetry.served import Served

STORAGE_TEMPLATE = (
    '{remote_addr} - - [{time.d}/{time.b}/{time.Y}:{time.H}:{time.M}:{time.S} +0000] "{method} {path}" {status} '
    '{content_length} "{referer}" "{txn_id}" "{user_agent}" {trans_time:.4f} "{additional_info}" {pid} {policy_index}'
)
PROXY_TEMPLATE = (
    "{client_ip} {remote_addr} {end_time.datetime} {method} {path} {protocol} {status_int} {referer} {user_agent} "
    "{auth_token} {bytes_recvd} {bytes_sent} {client_etag} {transaction_id} {headers} {request_time} {source} {log_info} "
    "{start_time} {end_time} {policy_index} {access_user_id}"
)

STORAGE_FIELDS = frozenset(
    [
        "remote_addr",
        "time",
        "method",
        "path",
        "status",
        "content_length",
        "referer",
        "txn_id",
        "user_agent",
        "trans_time",
        "additional_info",
        "pid",
        "policy_index",
        "disk",
        "partition",
        "account",
        "container",
        "object",
        "trace_id",
    ]
)
STORAGE_ANONYMIZABLE = frozenset(
    ["remote_addr", "path", "account", "container", "object", "referer", "user_agent"]
)
PROXY_FIELDS = frozenset(
    [
        "client_ip",
        "remote_addr",
        "end_time",
        "method",
        "path",
        "protocol",
        "status_int",
        "referer",
        "user_agent",
        "auth_token",
        "bytes_recvd",
        "bytes_sent",
        "client_etag",
        "transaction_id",
        "headers",
        "request_time",
        "source",
        "log_info",
        "start_time",
        "policy_index",
        "access_user_id",
        "domain",
        "account",
        "container",
        "object",
        "ttfb",
        "pid",
        "wire_status_int",
        "trace_id",
        "span_id",
    ]
)
PROXY_ANONYMIZABLE = frozenset(
    [
        "client_ip",
        "remote_addr",
        "domain",
        "path",
        "referer",
        "user_agent",
        "headers",
        "client_etag",
        "account",
        "container",
        "object",
        "access_user_id",
    ]
)
TIME_FIELDS = frozenset(("time", "start_time", "end_time"))
SECONDS_FIELDS = frozenset(("request_time", "ttfb"))  # shown with four decimals

_STRFTIME = frozenset("aAbBcdHIjmMpSUwWxXyYZ")
_FRACTIONS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_NAMED_TIMES = {
    "datetime": "%d/%b/%Y/%H/%M/%S",
    "iso8601": "%Y-%m-%dT%H:%M:%S",
    "asctime": "%a %b %e %H:%M:%S %Y",
}

_needs_no_quoting = re.compile(r"[A-Za-z0-9_.~:/{}-]*").fullmatch
_needs_no_escape = re.compile(r'[^\x00-\x1f\x7f"]*').fullmatch
_needs_no_path_quoting = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


class Anonymizer:
    """Stands a digest in for a value: `{MD5}hex`, or `{SMD5}hex` over salt and value. Raises ValueError."""

    def __init__(self, method: str = "md5", salt: str = "") -> None:
        self.method = (method or "md5").lower()
        if self.method not in hashlib.algorithms_guaranteed or self.method.startswith("shake"):
            raise ValueError(f"Unsupported hashing method: {method!r}")
        self.salt = salt or ""

    def __call__(self, value: str) -> str:
        digest = hashlib.new(self.method, usedforsecurity=False)
        digest.update((self.salt + value).encode("latin-1", "xmlcharrefreplace"))
        return f"{{{'S' if self.salt else ''}{self.method.upper()}}}{digest.hexdigest()}"


def _quoted(value: str) -> str:
    """Percent-quoted as the proxy's fields are."""
    if _needs_no_quoting(value):
        return value
    return quote_from_bytes(value.encode("utf-8", "surrogateescape"), ":/{}")


def _escaped(value: str) -> str:
    """Storage fields stand between quotation marks: neither those nor line ends get through."""
    if _needs_no_escape(value):
        return value
    return escape_controls(value.replace('"', "%22"))


class _Strftime:
    """UTC time in one format, made once a second."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._second = -1
        self._text = ""

    def __call__(self, moment: float) -> str:
        second = int(moment)
        if second != self._second:
            self._second, self._text = second, clock.strftime(self._pattern, clock.gmtime(second))
        return self._text


class Template:
    """A compiled template: `render(values)` makes the line from a mapping of raw field values.

    `used`: the names of the fields it shows; others needn't be in the mapping. A falsy value shows as `-`. Raises
    ValueError for an unknown field, attribute or format.
    """

    def __init__(
        self,
        template: str,
        fields: Iterable[str],
        anonymizable: Iterable[str],
        anonymize: Callable[[str], str],
        quoted: bool,
    ) -> None:
        self._fields = frozenset(fields)
        self._anonymizable = frozenset(anonymizable)
        self._names: dict[str, Any] = {"anonymize": anonymize, "clean": _quoted if quoted else _escaped}
        self._quoted = quoted
        used: set[str] = set()
        code = []
        for part in _merge_times(list(_parse(template))):
            if isinstance(part, str):
                code.append(repr(part))
            else:
                used.add(part[0])
                code.append(self._expression(*part))
        self.used = frozenset(used)
        source = "def render(v):\n    return ''.join((" + "".join(piece + ", " for piece in code) + "))\n"
        exec(compile(source, "<access line template>", "exec"), self._names)  # noqa: S102  built from known names only
        self.render: Callable[[Mapping[str, Any]], str] = self._names["render"]

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _expression(self, field: str, attribute: str | tuple[str, ...], spec: str) -> str:
        if field not in self._fields:
            raise ValueError(f"unknown field {field!r}")
        raw = f"v[{field!r}]"
        if field in TIME_FIELDS:
            return self._time_expression(field, attribute)
        if attribute == "anonymized":
            if field not in self._anonymizable:
                raise ValueError(f"field {field!r} can't be anonymized")
            return f"(clean(anonymize(str({raw}))) if {raw} else '-')"
        if attribute:
            raise ValueError(f"unknown attribute {attribute!r} of field {field!r}")
        if spec:
            format(1.5 if "f" in spec or "e" in spec or "g" in spec else "", spec)  # raises ValueError
            return f"(format({raw}, {spec!r}) if {raw} else '-')"
        if field in SECONDS_FIELDS:
            return f"(f'{{{raw.replace(chr(39), chr(34))}:.4f}}' if {raw} is not None else '-')"
        return f"(clean(str({raw})) if {raw} else '-')"

    def _time_expression(self, field: str, attribute: str | tuple[str, ...]) -> str:
        raw = f"v[{field!r}]"
        if not attribute:
            return f"'%.9f' % {raw}"
        if isinstance(attribute, tuple):
            return f"{self._constant(_Strftime(attribute[0]))}({raw})"
        if attribute in _FRACTIONS:
            digits = _FRACTIONS[attribute]
            end = 11 + digits if digits else 10
            return f"('%.9f' % {raw})[{11 if digits else 0}:{end}]"
        pattern = _NAMED_TIMES.get(attribute) or (f"%{attribute}" if attribute in _STRFTIME else None)
        if pattern is None:
            raise ValueError(f"unknown attribute {attribute!r} of field {field!r}")
        if attribute == "Z":
            pattern = "UTC"  # what the C library calls GMT
        made = f"{self._constant(_Strftime(pattern))}({raw})"
        return f"clean({made})" if self._quoted else made


def _parse(template: str) -> Iterable[Any]:
    """Literal texts, and (field, attribute, format) for the rest."""
    for literal, name, spec, conversion in string.Formatter().parse(template):
        if literal:
            yield literal
        if name is None:
            continue
        field, _, attribute = name.partition(".")
        if conversion not in (None, "s") or "{" in (spec or ""):
            raise ValueError(f"unsupported format of field {name!r}")
        yield field, attribute, spec or ""


def _merge_times(parts: list[Any]) -> list[Any]:
    """Neighbouring pieces of one time, and the text between them, become one piece that is made once a second."""
    merged: list[Any] = []
    for part in parts:
        piece = _strftime_piece(part)
        if piece is None:
            merged.append(part)
            continue
        field, pattern = piece
        if merged and _is_merged(merged[-1], field):
            merged[-1] = (field, (merged[-1][1][0] + pattern,), "")
        elif len(merged) > 1 and isinstance(merged[-1], str) and _is_merged(merged[-2], field):
            between = merged.pop().replace("%", "%%")
            merged[-1] = (field, (merged[-1][1][0] + between + pattern,), "")
        else:
            merged.append((field, (pattern,), ""))
    return merged


def _strftime_piece(part: Any) -> tuple[str, str] | None:
    # names of zones and days hold no characters that the proxy's quoting would change; %c and %x, %X may
    if isinstance(part, str) or part[0] not in TIME_FIELDS or part[2]:
        return None
    return (part[0], f"%{part[1]}") if part[1] in _STRFTIME - frozenset("cxXZ") else None


def _is_merged(part: Any, field: str) -> bool:
    return isinstance(part, tuple) and part[0] == field and isinstance(part[1], tuple)


def proxy_template(conf: Mapping[str, Any]) -> Template:
    """The template of the proxy's access line.

    `conf`: log_msg_template, log_anonymization_method, log_anonymization_salt. Values of `render`: None or '' where a field
    is blank; times and durations as floats. Raises ValueError with the line to print.
    """
    anonymize = Anonymizer(
        conf.get("log_anonymization_method", "md5"), conf.get("log_anonymization_salt", "")
    )
    try:
        return Template(
            conf.get("log_msg_template") or PROXY_TEMPLATE,
            PROXY_FIELDS,
            PROXY_ANONYMIZABLE,
            anonymize,
            quoted=True,
        )
    except (ValueError, KeyError, IndexError) as err:
        raise ValueError(f"Cannot interpolate log_msg_template: {err}") from None


class StorageAccessLog:
    """Writes the access lines of one account, container or object server.

    `conf`: log_requests, log_format, log_anonymization_method, log_anonymization_salt. `quiet`: says which requests are
    only worth a DEBUG line. Raises ValueError.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        logger: Logger,
        quiet: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self.logger = logger
        self.enabled = truthy(conf.get("log_requests", "true"))
        anonymize = Anonymizer(
            conf.get("log_anonymization_method", "md5"), conf.get("log_anonymization_salt", "")
        )
        try:
            self._template = Template(
                conf.get("log_format") or STORAGE_TEMPLATE,
                STORAGE_FIELDS,
                STORAGE_ANONYMIZABLE,
                anonymize,
                quoted=False,
            )
        except (ValueError, KeyError, IndexError) as err:
            raise ValueError(f"Cannot interpolate log_format: {err}") from None
        self._splits_path = not self._template.used.isdisjoint(
            ("disk", "partition", "account", "container", "object")
        )
        self._shows_trace = "trace_id" in self._template.used
        self._quiet = quiet or _is_replication

    def on_done(self, served: Served) -> None:
        """A completion callback of the server loop: logs the request."""
        if not self.enabled:
            return
        environ = served.environ
        level = DEBUG if self._quiet(environ) else INFO
        if level >= self.logger.level:
            line = self.line(environ, served.status, served.headers, served.start, served.end)
            self.logger.access(level, line)

    def line(
        self,
        environ: Mapping[str, Any],
        status: int,
        headers: Iterable[tuple[str, str]],
        start: float,
        end: float,
    ) -> str:
        """The line of a request. `start`, `end`: seconds since the epoch."""
        get = environ.get
        length = policy_index = None
        info = ""
        for name, value in headers:
            size = len(name)
            if size == 14 and name.lower() == "content-length":
                length = value if value != "0" else None
            elif size == 30 and name.lower() == "x-backend-storage-policy-index":
                policy_index = value
            elif size == 21 and name.lower() == "x-container-timestamp":
                info = f"x-container-timestamp: {value}"
        path = get("SCRIPT_NAME", "") + get("PATH_INFO", "")
        if not _needs_no_path_quoting(path):
            path = quote_from_bytes(path.encode("latin-1", "replace"))
        values = {
            "remote_addr": get("REMOTE_ADDR"),
            "time": end,
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "status": status,
            "content_length": length,
            "referer": get("HTTP_REFERER"),
            "txn_id": get("HTTP_X_TRANS_ID"),
            "user_agent": get("HTTP_USER_AGENT"),
            "trans_time": end - start,
            "additional_info": info,
            "pid": os.getpid(),
            "policy_index": policy_index or get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX"),
        }
        if self._shows_trace:
            values["trace_id"] = trace_id_of(get("HTTP_TRACEPARENT", ""))
        if self._splits_path:
            parts = path.split("/", 5)[1:]
            parts += [""] * (5 - len(parts))
            values["disk"], values["partition"], values["account"], values["container"], values["object"] = (
                parts
            )
        return self._template.render(values)


def _is_replication(environ: Mapping[str, Any]) -> bool:
    return environ["REQUEST_METHOD"] == "REPLICATE"


def quiet_object_request(environ: Mapping[str, Any]) -> bool:
    """What an object server logs at DEBUG: replication traffic."""
    return environ["REQUEST_METHOD"] in ("REPLICATE", "SSYNC") or "HTTP_X_BACKEND_REPLICATION" in environ
