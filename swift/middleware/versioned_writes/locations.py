"""Which container keeps a container's old objects, and how: `X-Versions-Location` and `X-History-Location` (spec middleware 4.23).

Never here: what is done with objects.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.core.config import truthy
from swift.core.names import RESERVED
from swift.middleware.info import Info
from swift.wire.message import (
    HTTPBadRequest,
    HTTPPreconditionFailed,
    Request,
    str_to_wsgi,
    wsgi_unquote,
)

STACK, HISTORY = "stack", "history"
FLAGS = ("x-versions-location", "x-history-location")
_MODES = {"HTTP_X_VERSIONS_LOCATION": STACK, "HTTP_X_HISTORY_LOCATION": HISTORY}
_REMOVALS = ("HTTP_X_REMOVE_VERSIONS_LOCATION", "HTTP_X_REMOVE_HISTORY_LOCATION")
_LOCATION_KEY = "HTTP_X_CONTAINER_SYSMETA_VERSIONS_LOCATION"
_MODE_KEY = "HTTP_X_CONTAINER_SYSMETA_VERSIONS_MODE"
_BOTH = f"Only one of {FLAGS[0]} or {FLAGS[1]} may be specified"
_TWO_KINDS = "Cannot use the legacy versioned writes feature on a container with object versioning enabled."


class Location(NamedTuple):
    """`container`: a WSGI string; `mode`: stack or history."""

    container: str
    mode: str


def location_of(info: Info, allowed: bool | None) -> Location | None:
    """Where old objects of a container go, None for nowhere; `allowed`: the option, None if it is not set."""
    sysmeta = info["sysmeta"]
    stored = sysmeta.get("versions-location")
    if stored:
        if not allowed:
            return None
        mode = sysmeta.get("versions-mode")
        return _location(stored, HISTORY if mode == HISTORY else STACK)
    if info.get("versions") and allowed is not False:  # kept by a container server of old
        return _location(info["versions"], STACK)
    return None


def _location(stored: str, mode: str) -> Location | None:
    container = wsgi_unquote(str_to_wsgi(stored)).split("/", 1)[0]
    return Location(container, mode) if container and RESERVED not in container else None


def is_touched(environ: dict[str, Any]) -> bool:
    """Returns True if a PUT or POST of a container says anything of where old objects go."""
    return any(key in environ for key in (*_MODES, *_REMOVALS))


def translate(environ: dict[str, Any], info: Info | None, allowed: bool | None) -> None:
    """Turn a client's headers into system metadata; `info`: of the container, if it is known. Raises HTTPException."""
    wanted = {key: environ[key] for key in _MODES if environ.get(key)}
    if len(wanted) > 1:
        raise HTTPBadRequest(request=Request(environ), body=_BOTH, content_type="text/plain")
    if not wanted:
        if allowed is not None:
            _clear(environ)
        return
    [(key, value)] = wanted.items()
    if not allowed:
        raise HTTPPreconditionFailed(request=Request(environ), body="Versioned Writes is disabled")
    name = wsgi_unquote(value)
    if "/" in name or RESERVED in name:
        raise HTTPPreconditionFailed(
            request=Request(environ), body="Container name cannot contain slashes", content_type="text/html; charset=UTF-8"
        )  # fmt: skip
    enabled = environ.get("HTTP_X_VERSIONS_ENABLED")
    if enabled is None and info is not None:
        enabled = info["sysmeta"].get("versions-enabled")
    if truthy(enabled):
        raise HTTPBadRequest(request=Request(environ), body=_TWO_KINDS)
    _clear(environ)
    environ[_LOCATION_KEY] = value
    environ[_MODE_KEY] = _MODES[key]


def _clear(environ: dict[str, Any]) -> None:
    for key in (*_MODES, *_REMOVALS):
        environ.pop(key, None)
    environ[_LOCATION_KEY] = environ[_MODE_KEY] = ""
    environ["HTTP_X_VERSIONS_LOCATION"] = ""


def shown(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """An answer's headers with where old objects go."""
    location = mode = ""
    for name, value in headers:
        lower = name.lower()
        if lower == "x-container-sysmeta-versions-location":
            location = value
        elif lower == "x-container-sysmeta-versions-mode":
            mode = value
    if not location:
        return headers
    return [*headers, ("X-History-Location" if mode == HISTORY else "X-Versions-Location", location)]


def archive_prefix(obj: str) -> str:
    """What the names of an object's old copies begin with; WSGI strings."""
    return f"{len(obj):03x}{obj}/"
