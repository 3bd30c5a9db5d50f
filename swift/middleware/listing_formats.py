"""Filter `listing_formats`: servers make JSON listings, clients may have text or XML (spec middleware 3.6, 4.6).

A client that wants JSON gets the server's very body. What a listing holds is decided below.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from swift.core.config import truthy
from swift.core.constraints import limits
from swift.telemetry.log import get_logger
from swift.wire.call import first_chunk_taken
from swift.wire.message import (
    Accept,
    HTTPBadRequest,
    HTTPException,
    HTTPNotAcceptable,
    Request,
    close_if_possible,
    parsed_path,
    wsgi_to_bytes,
    wsgi_to_str,
)

JSON = "application/json"
MEDIA_TYPES = ("text/plain", JSON, "application/xml", "text/xml")
FORMATS = {"json": JSON, "xml": "application/xml"}
LARGEST_LISTING = 1024 * 10000 * 2  # bytes of JSON; what is larger goes out as it stands
_XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

StartResponse = Callable[..., Any]


class ListingFilter:
    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="listing-filter")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method != "GET" and method != "HEAD":
            return self.app(environ, start_response)
        version, account, container, obj = parsed_path(environ)
        if obj is not None or account is None or version not in limits().valid_api_versions:
            return self.app(environ, start_response)
        request = Request(environ)
        try:
            media_type = wanted_type(request)
        except HTTPException as refusal:
            return refusal(environ, start_response)
        varies = "format" not in request.params
        environ["swift.asked_format"] = request.params.get("format")  # for those who make JSON only
        request.params = {**request.params, "format": "json"}
        environ.setdefault("swift.format_listing", True)
        listing = _Listing(environ, start_response, media_type, varies)
        body = self.app(environ, listing.respond)
        if not listing.started:
            body = first_chunk_taken(body)
        if not listing.to_convert:
            return body
        return self._converted(listing, body, account, container)

    def _converted(
        self, listing: _Listing, body: Iterable[bytes], account: str, container: str | None
    ) -> Iterable[bytes]:
        data = _whole(body)
        rows = _rows(data)
        if rows is not None:
            if not truthy(listing.environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")):
                rows = self._without_reserved(rows, account, container)
            try:
                if not listing.media_type.endswith("/xml"):
                    data = text_listing(rows)
                elif container is None:
                    data = account_xml(rows, wsgi_to_str(account))
                else:
                    data = container_xml(rows, wsgi_to_str(container))
            except (KeyError, TypeError):
                pass  # no listing that we know; it goes out as it came
            else:
                listing.converted = True
        listing.start(data)
        return [data]

    def _without_reserved(
        self, rows: list[dict[str, Any]], account: str, container: str | None
    ) -> list[dict[str, Any]]:
        kept = []
        for row in rows:
            name = str(row.get("subdir") or row.get("name") or "")
            if "\0" in name:
                where = wsgi_to_str(account if container is None else f"{account}/{container}")
                self.logger.warning("Container listing for %s had reserved name: %r", where, name)
            else:
                kept.append(row)
        return kept


class _Listing:
    """The response as it comes: passed on at once, unless its body is to be converted first."""

    def __init__(
        self, environ: dict[str, Any], start_response: StartResponse, media_type: str, varies: bool
    ) -> None:
        self.environ = environ
        self.media_type = media_type
        self.started = self.to_convert = self.converted = False
        self._start_response = start_response
        self._varies = varies
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def respond(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.started = True
        self.to_convert = False
        if exc_info is not None:
            return self._start_response(status, headers, exc_info)
        if status[:3] not in ("200", "204") or not self.environ.get("swift.format_listing"):
            return self._start_response(status, headers)
        if self._varies:
            headers = _varying(headers)
        if _header(headers, "content-type").split(";", 1)[0].strip() == JSON:
            if self.environ["REQUEST_METHOD"] == "HEAD":
                headers = self._with_type(headers, "0")
            elif self.media_type != JSON and _is_convertible(headers):
                self.to_convert = True
                self._status, self._headers = status, headers
                return None
        return self._start_response(status, headers)

    def start(self, data: bytes) -> None:
        """Start the response that was held back, for the body `data`."""
        headers = self._headers
        if self.converted:
            headers = self._with_type(headers, str(len(data)))
        self._start_response(self._status if data else "204 No Content", headers)

    def _with_type(self, headers: list[tuple[str, str]], length: str) -> list[tuple[str, str]]:
        values = {"content-type": f"{self.media_type}; charset=utf-8", "content-length": length}
        changed = [(name, values.get(name.lower(), value)) for name, value in headers]
        if not _header(headers, "content-length"):
            changed.append(("Content-Length", length))
        return changed


def wanted_type(request: Request) -> str:
    """The media type for a listing. Raises HTTPException 400 or 406."""
    wanted = request.params.get("format")
    if wanted:
        try:
            wsgi_to_bytes(wanted).decode("utf-8")
        except UnicodeDecodeError:
            raise HTTPBadRequest(
                request=request, body=b'"format" parameter not valid UTF-8', content_type="text/plain"
            )
        return FORMATS.get(wanted.lower(), "text/plain")
    try:
        media_type = Accept(request.environ.get("HTTP_ACCEPT")).best_match(MEDIA_TYPES)
    except ValueError:
        raise HTTPBadRequest(request=request, body=b"Invalid Accept header")
    if media_type is None:
        raise HTTPNotAcceptable(request=request)
    return media_type


def _header(headers: list[tuple[str, str]], wanted: str) -> str:
    for name, value in headers:
        if name.lower() == wanted:
            return value
    return ""


def _varying(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers that say that the response depends on Accept."""
    present = _header(headers, "vary")
    if not present:
        return [*headers, ("Vary", "Accept")]
    if "accept" in (field.strip().lower() for field in present.split(",")):
        return headers
    return [(name, f"{value}, Accept" if name.lower() == "vary" else value) for name, value in headers]


def _is_convertible(headers: list[tuple[str, str]]) -> bool:
    length = _header(headers, "content-length")
    return length.isdigit() and int(length) <= LARGEST_LISTING


def _whole(body: Iterable[bytes]) -> bytes:
    """All of a body whose length is known to be bounded."""
    try:
        return b"".join(body)
    finally:
        close_if_possible(body)


def _rows(data: bytes) -> list[dict[str, Any]] | None:
    try:
        rows = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            rows = json.loads(data)
        except (ValueError, RecursionError):
            return None
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    return None


# -- rendering -------------------------------------------------------------------------------------------------------------


def text_listing(rows: list[dict[str, Any]]) -> bytes:
    """One name a line. Raises KeyError for a row without a name."""
    names = [row["subdir"] if "subdir" in row else row["name"] for row in rows]
    return "".join([f"{name}\n" for name in names]).encode("utf-8", "surrogatepass")


def account_xml(rows: list[dict[str, Any]], account: str) -> bytes:
    """Raises KeyError for a row that is no container's."""
    parts = [f'{_XML_DECLARATION}<account name="{_attribute(account)}">\n']
    for row in rows:
        if "subdir" in row:
            parts.append(f'<subdir name="{_attribute(row["subdir"])}" />\n')
            continue
        policy = (
            f"<storage_policy>{_text(row['storage_policy'])}</storage_policy>"
            if "storage_policy" in row
            else ""
        )
        parts.append(
            f"<container><name>{_text(row['name'])}</name><count>{_text(row['count'])}</count>"
            f"<bytes>{_text(row['bytes'])}</bytes>"
            f"<last_modified>{_text(row['last_modified'])}</last_modified>{policy}</container>\n"
        )
    parts.append("</account>")
    return "".join(parts).encode("utf-8", "surrogatepass")


def container_xml(rows: list[dict[str, Any]], container: str) -> bytes:
    """Raises KeyError for a row that is no object's."""
    if not rows:
        return f'{_XML_DECLARATION}<container name="{_attribute(container)}" />'.encode()
    parts = [f'{_XML_DECLARATION}<container name="{_attribute(container)}">']
    for row in rows:
        if "subdir" in row:
            name = row["subdir"]
            parts.append(f'<subdir name="{_attribute(name)}">{_element("name", name)}</subdir>')
            continue
        parts.append(
            f"<object>{_element('name', row['name'])}{_element('hash', row['hash'])}<bytes>{_text(row['bytes'])}</bytes>"
            f"{_element('content_type', row['content_type'])}{_element('last_modified', row['last_modified'])}</object>"
        )
    parts.append("</container>")
    return "".join(parts).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    text = value if type(value) is str else str(value)
    if "&" in text or "<" in text or ">" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


def _attribute(value: Any) -> str:
    text = _text(value).replace('"', "&quot;")
    return text.replace("\t", "&#09;").replace("\n", "&#10;").replace("\r", "&#13;")


def _element(tag: str, value: Any) -> str:
    return f"<{tag}>{_text(value)}</{tag}>" if value or value == 0 else f"<{tag} />"


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ListingFilter]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> ListingFilter:
        return ListingFilter(app, conf)

    return factory
