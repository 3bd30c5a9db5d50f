"""Listings of containers with versions, and of the accounts that have them (spec middleware 4.24.1).

What a client sees is put together of two listings: that of the container (links to versions, and objects that were not written as
versions), and that of the hidden one (the versions themselves). `merged` says how, without any request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from swift.core.config import truthy
from swift.core.constraints import limits
from swift.core.names import RESERVED
from swift.core.timestamp import Timestamp
from swift.middleware.info import is_success
from swift.middleware.object_copies import own_environ
from swift.middleware.object_versioning.containers import Containers, shown, with_bytes
from swift.middleware.object_versioning.context import (
    SOURCE,
    Body,
    Headers,
    Place,
    StartResponse,
    denied,
    parameters,
    query_text,
    refused,
    replaced,
)
from swift.middleware.object_versioning.names import (
    MARKER_TYPE,
    NULL,
    PREFIX,
    parse_id,
    parse_path,
    parse_version_name,
    version_name,
)
from swift.middleware.parallel import Meanwhile
from swift.wire.call import Application, call_app
from swift.wire.message import (
    Accept,
    HTTPBadRequest,
    HTTPNotAcceptable,
    HTTPServiceUnavailable,
    Request,
    close_if_possible,
    str_to_wsgi,
    wsgi_to_str,
)

Row = dict[str, Any]
_JSON = "application/json"
_LINK = b"/%00versions%00"  # in a listing's text: that a row leads to a version
_PASSED_ON = ("prefix", "marker", "end_marker", "limit", "delimiter", "reverse")


class Listings:
    def __init__(self, app: Application, containers: Containers) -> None:
        self.app = app
        self.containers = containers

    # -- containers, without their versions ----------------------------------------------------------------------------------

    def plain(self, place: Place, start_response: StartResponse) -> Body:
        """A container's listing in which links to its versions look like the objects that they stand for."""
        hidden = Meanwhile(self.containers.hidden_head, place)
        status, headers, body = call_app(self.app, place.environ)
        if not _is_listing(status, headers):
            if status[0] == "2":
                headers = with_bytes(headers, hidden.wait())
            start_response(status, shown(headers))
            return body
        data = _whole(body)
        if _LINK in data:
            rows = _rows(data)
            if rows is not None:
                data = json.dumps([_resolved(row) for row in rows]).encode()
        headers = with_bytes(shown(headers), hidden.wait())
        start_response(status, replaced(headers, Content_Length=str(len(data))))
        return [data]

    # -- versions ------------------------------------------------------------------------------------------------------------

    def versions(self, place: Place, start_response: StartResponse) -> Body:
        """`GET ?versions`."""
        environ = place.environ
        asked = _asked(environ)
        environ["swift.format_listing"] = False
        params = {
            name: value for name, value in asked.params.items() if name in _PASSED_ON and name != "end_marker"
        }
        environ["QUERY_STRING"] = query_text({**params, "format": "json"})
        # Others than those who may list the container need not be asked for what is hidden.
        may = place.hidden is not None and denied(environ, place.info["read_acl"]) is None
        others = self._others(place, asked) if may else None
        status, headers, body = call_app(self.app, environ)
        if not _is_listing(status, headers):
            start_response(status, shown(headers))
            return body
        rows = _rows(_whole(body))
        if rows is None:
            raise HTTPServiceUnavailable(request=place.request)
        if place.hidden is None:
            items = merged(rows, [], asked, None, lambda name: None)
        else:
            page, at_marker, head = others or self._others(place, asked)
            row = at_marker.wait() if at_marker is not None else None
            items = merged(rows, page.wait(), asked, row, lambda name: self._newest(place, name))
            headers = with_bytes(headers, head.wait())
        data = json.dumps(items).encode()
        start_response(status, replaced(shown(headers), Content_Length=str(len(data))))
        return [data]

    def _others(self, place: Place, asked: Asked) -> tuple[Meanwhile, Meanwhile | None, Meanwhile]:
        """What has to be known beside the container's own page: that of versions, the row at the marker, and how much there is."""
        at_marker = Meanwhile(self._row_at, place, asked.marker) if asked.needs_row_at_marker else None
        page = Meanwhile(self._hidden_page, place, asked)
        return page, at_marker, Meanwhile(self.containers.hidden_head, place)

    def _hidden_page(self, place: Place, asked: Asked) -> list[Row]:
        return self._own_listing(place, place.hidden_path, asked.hidden_params())

    def _row_at(self, place: Place, name: str) -> Row | None:
        """What the container itself lists at exactly this name."""
        rows = self._own_listing(place, place.path, {"prefix": name, "limit": "1"})
        wanted = wsgi_to_str(name)
        return next((row for row in rows if row.get("name") == wanted), None)

    def _newest(self, place: Place, name: str) -> str | None:
        """The id of the newest version of an object (a native name)."""
        prefix = f"{RESERVED}{str_to_wsgi(name)}{RESERVED}"
        rows = self._own_listing(place, place.hidden_path, {"prefix": prefix, "limit": "1"})
        found = [_split(row["name"]) for row in rows if "name" in row]
        return found[0][1] if found and found[0] is not None else None

    def _own_listing(self, place: Place, path: str, params: dict[str, str]) -> list[Row]:
        """The rows of a container's listing, [] where there is none. Raises HTTPException."""
        query = query_text({**params, "format": "json"})
        status, headers, body = call_app(self.app, own_environ(place.environ, "GET", path, SOURCE, query))
        data = _whole(body)
        code = int(status[:3])
        if code == 404:
            return []
        rows = _rows(data) if is_success(code) else None
        if rows is None:
            raise HTTPServiceUnavailable(request=place.request)
        return rows

    # -- accounts ------------------------------------------------------------------------------------------------------------

    def account(
        self, environ: dict[str, Any], version: str, account: str, start_response: StartResponse
    ) -> Body:
        """An account's listing in which the bytes of versions count for their containers."""
        status, headers, body = call_app(self.app, environ)
        if not _is_listing(status, headers):
            start_response(status, headers)
            return body
        params = parameters(environ)
        wanted = {name: value for name, value in params.items() if name in _PASSED_ON}
        for name in ("marker", "end_marker"):
            if wanted.get(name):
                wanted[name] = PREFIX + wanted[name]
        wanted["prefix"] = PREFIX + params.get("prefix", "")
        query = query_text({**wanted, "format": "json"})
        sub = own_environ(environ, "GET", f"/{version}/{account}", SOURCE, query)
        hidden_status, _, hidden_body = call_app(self.app, sub)
        hidden = _rows(_whole(hidden_body)) if hidden_status[:3] == "200" else None
        if not hidden:
            start_response(status, headers)
            return body
        data = _whole(body)
        rows = _rows(data)
        if rows is not None:
            limit = _limit(params.get("limit"), limits().account_listing_limit)
            data = json.dumps(_with_hidden(rows, hidden, truthy(params.get("reverse")), limit)).encode()
        start_response(status, replaced(headers, Content_Length=str(len(data))))
        return [data]


# -- what was asked ------------------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A request for versions: its parameters, WSGI strings, checked."""

    params: dict[str, str]
    marker: str
    version_marker: str | None
    reverse: bool
    limit: int

    @property
    def needs_row_at_marker(self) -> bool:
        """The page may hold versions of the marker's object, whose own row is not in the container's page."""
        return bool(self.marker) and (self.version_marker is not None or self.reverse)

    def is_beyond(self, name: str) -> bool:
        """Returns True if a row of the container (a native name) is not wanted. Versions have no end marker, as in the reference."""
        end = wsgi_to_str(self.params.get("end_marker", ""))
        return bool(end) and (name <= end if self.reverse else name >= end)

    def _is_at_subdir(self) -> bool:
        """Returns True if the marker is a subdir of the page before, which is known as such only by its very name."""
        prefix, delimiter = self.params.get("prefix", ""), self.params.get("delimiter", "")
        if self.reverse or not delimiter or not self.marker.startswith(prefix):
            return False
        at = self.marker.find(delimiter, len(prefix))
        return at >= 0 and at + len(delimiter) == len(self.marker)

    def hidden_params(self) -> dict[str, str]:
        """The parameters for the hidden container."""
        kept = ("limit", "delimiter", "reverse")
        params: dict[str, str] = {name: self.params[name] for name in kept if name in self.params}
        if self.params.get("prefix"):
            params["prefix"] = RESERVED + self.params["prefix"]
        if self.marker:
            if self._is_at_subdir():
                params["marker"] = RESERVED + self.marker
            elif self.version_marker is None:
                params["marker"] = f"{RESERVED}{self.marker}{RESERVED}:"  # behind all of its versions
            elif self.version_marker == NULL:
                params["marker"] = f"{RESERVED}{self.marker}{RESERVED}"
            else:
                stamp = parse_id(self.version_marker)
                assert stamp is not None
                params["marker"] = version_name(self.marker, stamp)
        return params


def _asked(environ: dict[str, Any]) -> Asked:
    """Raises HTTPException."""
    params = parameters(environ)
    request = Request(environ)
    wanted = environ.get("swift.asked_format", params.get("format"))
    if wanted and wanted.lower() != "json":
        raise HTTPNotAcceptable(request=request)
    if not wanted:
        _check_accept(environ, request)
    delimiter = params.get("delimiter", "")
    if any(letter in "0123456789." or letter == RESERVED for letter in delimiter):
        raise refused(HTTPBadRequest, environ, "invalid delimiter param")
    marker = params.get("marker", "")
    version_marker = params.get("version_marker")
    if version_marker is not None:
        if "marker" not in params:
            raise refused(HTTPBadRequest, environ, "version_marker param requires marker")
        try:
            parse_id(version_marker)
        except ValueError:
            raise refused(HTTPBadRequest, environ, "invalid version_marker param") from None
    limit = _limit(params.get("limit"), limits().container_listing_limit)
    return Asked(params, marker, version_marker, truthy(params.get("reverse")), limit)


def _check_accept(environ: dict[str, Any], request: Request) -> None:
    try:
        best = Accept(environ.get("HTTP_ACCEPT")).best_match((_JSON,))
    except ValueError:
        raise HTTPBadRequest(request=request, body=b"Invalid Accept header") from None
    if best is None:
        raise HTTPNotAcceptable(request=request)


def _limit(text: str | None, longest: int) -> int:
    """As servers read it: what is no number, or a negative one, is none."""
    return int(text[:20]) if text and text.isascii() and text.isdigit() else longest


# -- rows ----------------------------------------------------------------------------------------------------------------------


def merged(
    rows: list[Row],
    hidden: list[Row],
    asked: Asked,
    row_at_marker: Row | None,
    newest: Callable[[str], str | None],
) -> list[Row]:
    """A page of versions, of the container's rows and the hidden ones.

    `row_at_marker`: the container's row at the marker, which its page does not hold; `newest(name)`: the id of an object's newest
    version, asked for where the page does not tell.
    """
    links: dict[str, str] = {}  # native name -> id of the version that is current
    here: set[str] = set()  # names with anything current
    items: list[tuple[tuple[str, str], Row]] = []
    broken: dict[tuple[str, str], Row] = {}
    subdirs: set[str] = set()
    for row in [*rows, *([row_at_marker] if row_at_marker is not None else [])]:
        if "subdir" in row:
            if not asked.is_beyond(row["subdir"]):
                subdirs.add(row["subdir"])
            continue
        name = row["name"]
        here.add(name)
        version = parse_path(row.get("symlink_path", ""))
        if version is None:
            if row is not row_at_marker and not asked.is_beyond(name):
                items.append(((name, ""), {**row, "version_id": NULL, "is_latest": True}))
        else:
            links[name] = version.id
            if row is not row_at_marker and not asked.is_beyond(name):
                broken[name, version.id] = row
    seen: set[str] = set()  # names of which the page has shown a version already
    uncertain = _uncertain(hidden, asked)
    for row in hidden:
        if "subdir" in row:
            subdirs.add(row["subdir"].removeprefix(RESERVED))
            continue
        parts = _split(row["name"])
        if parts is None:
            continue
        name, version_id = parts
        broken.pop((name, version_id), None)
        items.append(
            ((name, row["name"]), {**row, "name": name, "is_latest": False, "version_id": version_id})
        )
    items.sort(key=lambda item: item[0])
    for (name, _), item in items:
        if item["version_id"] == NULL:
            continue
        if name in links:
            item["is_latest"] = links[name] == item["version_id"]
        elif name not in here and name not in seen and item["content_type"] == MARKER_TYPE:
            item["is_latest"] = name not in uncertain or newest(name) == item["version_id"]
        seen.add(name)
    for (name, version_id), row in broken.items():
        item = {**_target_of(row), "is_latest": True, "version_id": version_id}
        items.append(((name, version_name(name, Timestamp(version_id))), item))
    items += [((name, ""), {"subdir": name}) for name in subdirs]
    items.sort(key=lambda item: item[0])
    if asked.reverse:
        items.reverse()
    return [item for _, item in items[: asked.limit]]


def _uncertain(hidden: list[Row], asked: Asked) -> set[str]:
    """Names of which newer versions may stand on another page."""
    uncertain = set()
    if asked.needs_row_at_marker:
        uncertain.add(wsgi_to_str(asked.marker))
    if asked.reverse and len(hidden) >= asked.limit and hidden and "name" in hidden[-1]:
        parts = _split(hidden[-1]["name"])
        if parts is not None:
            uncertain.add(parts[0])
    return uncertain


def _split(name: str) -> tuple[str, str] | None:
    """(object, id) of a row in the hidden container; None for what is no version."""
    try:
        return parse_version_name(name)
    except ValueError:
        return None


def _target_of(row: Row) -> Row:
    """A link's row with the size and hash of the version that it leads to."""
    row = dict(row)
    row.pop("symlink_path", None)
    etag = row.pop("symlink_etag", None)
    size = row.pop("symlink_bytes", None)
    if etag is not None:
        _, semicolon, more = row["hash"].partition(";")
        row["hash"] = f"{etag}{semicolon}{more}"
    if size is not None:
        row["bytes"] = size
    return row


def _resolved(row: Row) -> Row:
    version = parse_path(row.get("symlink_path", ""))
    if version is None:
        return row
    head = row["symlink_path"].split("/", 3)
    path = f"/{head[1]}/{head[2]}/{version.target}"
    return {**_target_of(row), "symlink_path": path, "version_symlink": True}


def _with_hidden(rows: list[Row], hidden: list[Row], reverse: bool, limit: int) -> list[Row]:
    """An account's rows with the bytes of hidden containers; those whose container is gone stand for it, without objects."""
    by_name = {row["name"]: dict(row) for row in rows if "name" in row}
    subdirs = {row["subdir"] for row in rows if "subdir" in row}
    for row in hidden:
        if "subdir" in row:
            subdirs.add(row["subdir"].removeprefix(PREFIX))
            continue
        name = row["name"].removeprefix(PREFIX)
        ours = by_name.setdefault(name, {**row, "name": name, "count": 0, "bytes": 0})
        ours["bytes"] += row["bytes"]
    everything = list(by_name.items())
    everything += [(name, {"subdir": name}) for name in subdirs]
    everything.sort(key=lambda each: each[0], reverse=reverse)
    return [row for _, row in everything[:limit]]


# -- documents -----------------------------------------------------------------------------------------------------------------


def _is_listing(status: str, headers: Headers) -> bool:
    if status[:3] != "200":
        return False
    for name, value in headers:
        if name.lower() == "content-type":
            return value.split(";", 1)[0].strip() == _JSON
    return False


def _whole(body: Body) -> bytes:
    """All of a listing: servers bound how long one is."""
    try:
        return b"".join(body)
    finally:
        close_if_possible(body)


def _rows(data: bytes) -> list[Row] | None:
    try:
        rows = json.loads(data or b"[]")
    except (ValueError, RecursionError):
        return None
    if isinstance(rows, list) and all(
        isinstance(row, dict) and ("name" in row or "subdir" in row) for row in rows
    ):
        return rows
    return None
