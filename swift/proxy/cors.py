"""Cross-origin requests: what is added to answers, and preflight requests (spec proxy 19).

Works on a container's cached `cors` values and header lists; knows neither backends nor controllers.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

Headers = list[tuple[str, str]]

SIMPLE_HEADERS = frozenset(
    ("cache-control", "content-language", "content-type", "expires", "last-modified", "pragma")
)
EXPOSED_ALWAYS = SIMPLE_HEADERS | {"etag", "x-timestamp", "x-trans-id", "x-openstack-request-id"}


class CorsOptions:
    """The proxy's own part of the rules: `cors_allow_origin`, `cors_expose_headers`, `strict_cors_mode`."""

    __slots__ = ("allow_origin", "expose_headers", "strict")

    def __init__(
        self, allow_origin: Iterable[str] = (), expose_headers: Iterable[str] = (), strict: bool = True
    ) -> None:
        self.allow_origin = frozenset(allow_origin)
        self.expose_headers = tuple(expose_headers)
        self.strict = strict


def _words(text: str | None) -> list[str]:
    return text.split() if text else []


def is_origin_allowed(cors: Mapping[str, str | None], options: CorsOptions, origin: str) -> bool:
    """Return True if the container or the proxy lets pages of `origin` in."""
    allowed = options.allow_origin.union(_words(cors.get("allow_origin")))
    return origin in allowed or "*" in allowed


def _append_vary(headers: Headers, value: str) -> None:
    for at, (name, old) in enumerate(headers):
        if name.lower() == "vary":
            headers[at] = (name, f"{old}, {value}" if old else value)
            return
    headers.append(("Vary", value))


def _add_origin(headers: Headers, cors: Mapping[str, str | None], origin: str) -> None:
    if (cors.get("allow_origin") or "").strip() == "*":
        headers.append(("Access-Control-Allow-Origin", "*"))
    else:
        headers.append(("Access-Control-Allow-Origin", origin))
        _append_vary(headers, "Origin")


def decorate(headers: Headers, cors: Mapping[str, str | None], options: CorsOptions, origin: str) -> None:
    """Add what a browser needs to `headers`, the answer to an actual request of a page of `origin`."""
    if options.strict and not is_origin_allowed(cors, options, origin):
        return
    present = {name.lower() for name, _ in headers}
    if "access-control-expose-headers" not in present:
        exposed = set(EXPOSED_ALWAYS)
        exposed.update(options.expose_headers)
        exposed.update(name for name in present if name.startswith(("x-container-meta", "x-object-meta")))
        exposed.update(word.lower() for word in _words(cors.get("expose_headers")))
        headers.append(("Access-Control-Expose-Headers", ", ".join(sorted(exposed))))
    if "access-control-allow-origin" not in present:
        _add_origin(headers, cors, origin)


def decorating(
    start_response: Callable[..., Any], cors: Mapping[str, str | None], options: CorsOptions, origin: str
) -> Callable[..., Any]:
    """A start_response that decorates what passes through it."""

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        decorated = list(headers)
        decorate(decorated, cors, options, origin)
        # User metadata stays behind all that clients need.
        first = len(headers)
        decorated = decorated[first:] + decorated[:first]
        return start_response(status, decorated, exc_info) if exc_info else start_response(status, decorated)

    return start


def preflight(
    environ: Mapping[str, Any],
    cors: Mapping[str, str | None],
    options: CorsOptions,
    allowed_methods: Collection[str],
) -> Headers | None:
    """Headers of the 200 that answers a preflight request, `Allow` not among them; None if the page may not."""
    origin = environ["HTTP_ORIGIN"]
    if not is_origin_allowed(cors, options, origin):
        return None
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD") not in allowed_methods:
        return None
    headers: Headers = []
    _add_origin(headers, cors, origin)
    if cors.get("max_age") is not None:
        headers.append(("Access-Control-Max-Age", str(cors["max_age"])))
    headers.append(("Access-Control-Allow-Methods", ", ".join(sorted(allowed_methods))))
    requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    wanted = dict.fromkeys(name.strip() for name in requested.split(",") if name.strip())
    if wanted:
        headers.append(("Access-Control-Allow-Headers", ", ".join(wanted)))
        _append_vary(headers, "Access-Control-Request-Headers")
    return headers
