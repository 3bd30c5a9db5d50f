"""Where a client's request goes: its path, split once into version, account, container and object; the URL of its host.

What never lives here: which paths are allowed (`swift.core.constraints`). Spec: proxy-and-backend.md 3.1.
"""

from collections.abc import Mapping
from typing import Any

ParsedPath = tuple[str | None, str | None, str | None, str | None]

_NOTHING: ParsedPath = (None, None, None, None)
_KEY = "swift.parsed_path"

DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def parsed_path(environ: dict[str, Any]) -> ParsedPath:
    """(version, account, container, object) as WSGI strings; missing parts are None, an empty last part counts as missing.

    All four are None when the path cannot be split: no leading slash, or an empty part before the last. Cached in the
    environ and made anew when PATH_INFO is another object.
    """
    path = environ["PATH_INFO"]
    cached = environ.get(_KEY)
    if cached is not None and cached[0] is path:
        return cached[1]
    result = split(path)
    environ[_KEY] = (path, result)
    return result


def split(path: str) -> ParsedPath:
    parts = path.split("/", 4)
    count = len(parts)
    if count < 2 or parts[0]:
        return _NOTHING
    if count == 5:
        _, version, account, container, obj = parts
        if version and account and container:
            return version, account, container, obj or None
        return _NOTHING
    if not all(parts[1:-1]):
        return _NOTHING
    found: list[str | None] = [part or None for part in parts[1:]]
    found += [None] * (4 - len(found))
    return (found[0], found[1], found[2], found[3])


def host_url(environ: Mapping[str, Any]) -> str:
    """scheme://host of the request, without :80 for http and :443 for https."""
    scheme = environ.get("wsgi.url_scheme", "http")
    host = environ.get("HTTP_HOST")
    if not host:
        host = f"{environ.get('SERVER_NAME', 'localhost')}:{environ.get('SERVER_PORT', '80')}"
    port = DEFAULT_PORTS.get(scheme)
    if port and host.endswith(port):
        host = host[: -len(port)]
    return f"{scheme}://{host}"
