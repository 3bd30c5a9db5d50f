"""The console's files, in memory: what each is, and what makes a browser keep to them.

What lives here: reading `static/` once, and the headers that go with every answer of the console. What never does: paths. A file is
found by its name among those that are known, so that no name leads anywhere else.
"""

from __future__ import annotations

import hashlib
import pathlib
from typing import NamedTuple
from urllib.parse import urlsplit

Headers = list[tuple[str, str]]

STATIC = pathlib.Path(__file__).parent / "static"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class Page(NamedTuple):
    body: bytes
    media_type: str
    etag: str


def load(directory: pathlib.Path = STATIC) -> dict[str, Page]:
    """Name → page, of all files with a known ending."""
    return {
        path.name: page(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(directory.iterdir())
        if path.suffix in TYPES and path.is_file()
    }


def page(body: bytes, media_type: str) -> Page:
    return Page(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def origin_of(url: str) -> str:
    """`https://host:port` of a URL, '' for none. Raises ValueError for one that is no http or https URL of a host."""
    if not url:
        return ""
    parts = urlsplit(url)
    # What stands in a header with separators of its own must have none.
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or any(c in url for c in " ;,'\"\r\n\t")
        or "@" in parts.netloc
    ):
        raise ValueError(f"{url!r} is not the URL of a server")
    return f"{parts.scheme}://{parts.netloc}"


def security_headers(keystone_origin: str = "") -> Headers:
    """What goes with every answer. A browser talks to the proxy alone, and to Keystone where there is one."""
    policy = "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            f"connect-src 'self' {keystone_origin}".rstrip(),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    return [
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        # A page that somebody stored here as an object has this origin, too: it gets no hold of the console's window.
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ]
