"""Filter `tempurl`: a URL that its owner has signed lets anybody do one thing with one object, for a time (spec middleware 4.9).

A request without a signature passes after one look at its query. What a signed one may do is settled here and held by the
authorization that is installed, so that no link, manifest or copy leads out of what the key opens. Never here: keys and digests
(`signatures`), listings (`staticweb`).
"""

from __future__ import annotations

import calendar
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from swift.core import capabilities, clock
from swift.middleware.signatures import (
    Key,
    Signature,
    allowed_digests,
    digests_told,
    keys_of,
    parse_signature,
    signing_key,
)
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.redaction import register_sensitive_parameter
from swift.wire.call import StartResponse, first_chunk_taken
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPUnauthorized,
    Request,
    close_if_possible,
    environ_key,
    parsed_path,
    wsgi_to_bytes,
)

USER = ".wsgi.tempurl"
GENERATOR_HEADER = "x-backend-content-generator"
_READS = ("GET", "HEAD")
# Whose signature is good for a HEAD, too.
_GOOD_FOR_HEAD = ("HEAD", "GET", "POST", "PUT")
# What would show or store what is elsewhere, although the URL is for one object.
_LEADING_ELSEWHERE = ("X-Object-Manifest", "X-Symlink-Target", "X-Copy-From")
_LAST_DATE = 253402300799  # seconds: the last ones of year 9999, as HTTP dates have no more digits
_LONGEST_NUMBER = 32  # characters


class HeaderRules:
    """Names of headers, those to be removed and those that stay all the same; a `*` at the end stands for anything."""

    def __init__(self, remove: Iterable[str], allow: Iterable[str], form: Callable[[str], str]) -> None:
        self._form = form
        self._removed, self._removed_beginnings = self._sorted(remove)
        self._allowed, self._allowed_beginnings = self._sorted(allow)

    def _sorted(self, names: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        names = list(names)
        exact = frozenset(self._form(name) for name in names if not name.endswith("*"))
        return exact, tuple(self._form(name[:-1]) for name in names if name.endswith("*"))

    def removes(self, name: str) -> bool:
        """`name` in the form that the rules were made for."""
        if name not in self._removed and not name.startswith(self._removed_beginnings):
            return False
        return name not in self._allowed and not name.startswith(self._allowed_beginnings)


class Claim(NamedTuple):
    """What a query claims, as WSGI strings: the first of equal names; None for what is not there."""

    sig: str | None
    expires: str | None
    prefix: str | None
    ip_range: str | None
    filename: str | None
    inline: bool

    @classmethod
    def of(cls, query: str) -> Claim:
        found: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True, encoding="latin-1"):
            found.setdefault(name, value)
        get = found.get
        return cls(
            get("temp_url_sig"),
            get("temp_url_expires"),
            get("temp_url_prefix"),
            get("temp_url_ip_range") or None,
            get("filename") or None,
            "inline" in found,
        )

    def __repr__(self) -> str:
        return f"Claim(expires={self.expires!r})"


class Granted(NamedTuple):
    """A claim that holds."""

    claim: Claim
    key: Key
    signature: Signature
    expires: int  # seconds since the epoch
    is_root: bool  # of the container, of which only a static page may be shown


class TempURL:
    """Raises ValueError at once for a configuration that can't be meant."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None, metrics: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="tempurl")
        self.metrics = metrics or get_metrics(conf, "tempurl")
        self.digests = allowed_digests(conf, self.logger)
        options = _options(conf)
        self.methods = frozenset(options["methods"])
        self._incoming = HeaderRules(
            options["incoming_remove_headers"], options["incoming_allow_headers"], environ_key
        )
        self._outgoing = HeaderRules(
            options["outgoing_remove_headers"], options["outgoing_allow_headers"], str.lower
        )

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        if not query or "temp_url_" not in query or environ["REQUEST_METHOD"] == "OPTIONS":
            return self.app(environ, start_response)
        claim = Claim.of(query)
        if claim.sig is None and claim.expires is None:
            return self.app(environ, start_response)
        granted = self._granted(environ, claim)
        if granted is None:
            return _invalid(environ)(environ, start_response)
        refusal = _leads_elsewhere(environ)
        if refusal is not None:
            return refusal(environ, start_response)
        self.metrics.increment(f"digests.{granted.signature.digest}")
        self._prepare(environ, granted)
        return self._answered(environ, start_response, granted)

    # -- the request -------------------------------------------------------------------------------------------------------

    def _granted(self, environ: dict[str, Any], claim: Claim) -> Granted | None:
        """None unless all that is claimed holds. Keys are looked for last: that may cost requests."""
        expires = parse_expires(claim.expires)
        signature = parse_signature(claim.sig or "", self.digests)
        method = environ["REQUEST_METHOD"]
        if expires is None or expires < clock.time() or signature is None or method not in self.methods:
            return None
        version, account, container, obj = parsed_path(environ)
        if version != "v1" or account is None or container is None:
            return None
        is_root = obj is None
        if is_root and (claim.prefix != "" or method not in _READS):
            return None
        if obj is not None and (not obj.strip("/") or not obj.startswith(claim.prefix or "")):
            return None
        if claim.ip_range is not None and not within(environ.get("REMOTE_ADDR"), claim.ip_range):
            return None
        path = (
            environ["PATH_INFO"]
            if claim.prefix is None
            else f"prefix:/v1/{account}/{container}/{claim.prefix}"
        )
        limits = "" if claim.ip_range is None else f"ip={claim.ip_range}\n"
        texts = [
            wsgi_to_bytes(f"{limits}{signed}\n{expires}\n{path}")
            for signed in (_GOOD_FOR_HEAD if method == "HEAD" else (method,))
        ]
        key = signing_key(keys_of(environ, self.app, account, container), signature, texts)
        return None if key is None else Granted(claim, key, signature, expires, is_root)

    def _prepare(self, environ: dict[str, Any], granted: Granted) -> None:
        """From here on the request is one of the key's, and has nothing but what belongs to a signed URL."""
        for name in [name for name in environ if name.startswith("HTTP_") and self._incoming.removes(name)]:
            del environ[name]
        environ["swift.authorize"] = _authorization(granted.key)
        environ["swift.authorize_override"] = True
        environ["REMOTE_USER"] = USER
        environ["QUERY_STRING"] = _kept_query(granted)

    # -- the answer --------------------------------------------------------------------------------------------------------

    def _answered(
        self, environ: dict[str, Any], start_response: StartResponse, granted: Granted
    ) -> Iterable[bytes]:
        outgoing = self._outgoing
        reads = environ["REQUEST_METHOD"] in _READS
        path = environ["PATH_INFO"]
        started = False
        instead: list[Iterable[bytes]] = []

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal started
            started = True
            kept = [header for header in headers if not outgoing.removes(header[0].lower())]
            if reads and status[0] == "2":
                made = any(
                    name.lower() == GENERATOR_HEADER and value == "staticweb" for name, value in headers
                )
                if granted.is_root and not made:
                    instead.append(_invalid(environ)(environ, start_response))
                    return _no_write
                kept = _with_disposition(kept, granted, path, made)
            if exc_info is None:
                return start_response(status, kept)
            return start_response(status, kept, exc_info)

        body = self.app(environ, respond)
        if granted.is_root and not started:
            body = first_chunk_taken(body)
        if instead:
            close_if_possible(body)
            return instead[0]
        return body


def _options(conf: Mapping[str, Any]) -> dict[str, list[str]]:
    """Those that are lists of words, as /info tells them."""
    values = {
        "methods": conf.get("methods", "GET HEAD PUT POST DELETE"),
        "incoming_remove_headers": conf.get("incoming_remove_headers", "x-timestamp x-open-expired"),
        "incoming_allow_headers": conf.get("incoming_allow_headers", ""),
        "outgoing_remove_headers": conf.get("outgoing_remove_headers", "x-object-meta-*"),
        "outgoing_allow_headers": conf.get("outgoing_allow_headers", "x-object-meta-public-*"),
    }
    return {name: str(value).split() for name, value in values.items()}


def parse_expires(text: str | None) -> int | None:
    """Seconds since the epoch of a number or `2030-03-17T17:46:40Z`; None for anything else."""
    if not text or len(text) > _LONGEST_NUMBER or not text.isascii():
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return calendar.timegm(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").timetuple())
    except ValueError:
        return None


def within(address: str | None, network: str) -> bool:
    """Returns True if an address is in a network (or is that address); False, too, for what is neither."""
    try:
        peer = ipaddress.ip_address(address or "")
        allowed = ipaddress.ip_network(network)
    except ValueError:
        return False
    # A socket for both families tells of IPv4 clients in the form of IPv6.
    mapped = getattr(peer, "ipv4_mapped", None)
    return peer in allowed or (mapped is not None and mapped in allowed)


def _invalid(environ: dict[str, Any]) -> HTTPException:
    """Says the same whatever was wrong."""
    return HTTPUnauthorized(
        request=Request(environ),
        body=None if environ["REQUEST_METHOD"] == "HEAD" else b"401 Unauthorized: Temp URL invalid\n",
        headers={"Www-Authenticate": 'Swift realm="unknown"'},
    )


def _leads_elsewhere(environ: Mapping[str, Any]) -> HTTPException | None:
    if environ["REQUEST_METHOD"] in _READS:
        return None
    for name in _LEADING_ELSEWHERE:
        if environ_key(name) in environ:
            return HTTPBadRequest(body=f"The header '{name}' is not allowed in this tempurl")
    return None


def _authorization(key: Key) -> Callable[[Any], HTTPException | None]:
    """Asked for the request and for each one that is made on its behalf."""

    def authorize(request: Any) -> HTTPException | None:
        _version, account, container, _obj = parsed_path(request.environ)
        return None if key.opens(account, container) else HTTPUnauthorized(request=request)

    return authorize


def _kept_query(granted: Granted) -> str:
    """All that is left of the query: other parameters were not signed."""
    claim = granted.claim
    kept = [("temp_url_sig", granted.signature.value), ("temp_url_expires", claim.expires or "")]
    optional = (
        ("temp_url_prefix", claim.prefix),
        ("temp_url_ip_range", claim.ip_range),
        ("filename", claim.filename),
        ("inline", "" if claim.inline else None),
    )
    kept += [(name, value) for name, value in optional if value is not None]
    return urlencode(kept, encoding="latin-1")


def _no_write(_data: bytes) -> None:
    """For what an application would write beside its body."""


def _with_disposition(
    headers: list[tuple[str, str]], granted: Granted, path: str, is_page: bool
) -> list[tuple[str, str]]:
    """Headers that say what a browser shall do with the object, and how long the URL is good."""
    claim = granted.claim
    others = [header for header in headers if header[0].lower() != "content-disposition"]
    if claim.inline or is_page:
        value = "inline" if is_page or not claim.filename else disposition("inline", claim.filename)
    elif claim.filename:
        value = disposition("attachment", claim.filename)
    elif len(others) < len(headers):
        value, others = "", headers
    else:
        value = disposition("attachment", path.rstrip("/").rpartition("/")[2])
    if value:
        others = [*others, ("Content-Disposition", value)]
    return [*others, ("Expires", formatdate(min(granted.expires, _LAST_DATE), usegmt=True))]


def disposition(kind: str, filename: str) -> str:
    """A Content-Disposition (RFC 6266) of a WSGI string, readable for clients with and without RFC 5987."""
    text = wsgi_to_bytes(filename).decode("utf-8", "replace")
    return f"{kind}; filename=\"{quote(text, safe=' /')}\"; filename*=UTF-8''{quote(text, safe='/')}"


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], TempURL]:
    conf = {**global_conf, **local_conf}
    told: dict[str, Any] = {**_options(conf), **digests_told(allowed_digests(conf))}
    capabilities.register("tempurl", **told)
    register_sensitive_parameter("temp_url_sig")

    def factory(app: Any) -> TempURL:
        return TempURL(app, conf)

    return factory
