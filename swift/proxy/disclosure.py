"""`/info`: what the cluster tells about itself, and the signed view for administrators (spec proxy 20).

The sections come from `swift.core.capabilities`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from swift.core import capabilities, clock
from swift.proxy.options import Options
from swift.wire.message import HTTPForbidden, HTTPMethodNotAllowed, HTTPUnauthorized, Request

ALLOWED = ("HEAD", "GET", "OPTIONS")
_ALLOW = ", ".join(ALLOWED)


def signature(method: str, expires: int, path: str, key: str) -> str:
    """The `swiftinfo_sig` of a request."""
    return hmac.new(key.encode(), f"{method}\n{expires}\n{path}".encode(), hashlib.sha1).hexdigest()


def answer(options: Options, environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer a request for exactly `/info`. Raises HTTPException."""
    request = Request(environ)
    method = request.method
    headers: list[tuple[str, str]] = []
    if method not in ALLOWED:
        raise HTTPMethodNotAllowed(request=request, headers={"Allow": _ALLOW})
    origin = environ.get("HTTP_ORIGIN")
    if origin:
        headers += [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", "x-trans-id")]
    if method == "OPTIONS":
        headers += [("Allow", _ALLOW), ("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", "0")]
        start_response("200 OK", headers)
        return []
    if not options.expose_info:
        raise HTTPForbidden(request=request)
    admin = _is_admin_view(options, request)
    shown = capabilities.disclosed(admin=admin, disallowed_sections=options.disallowed_sections)
    body = json.dumps(shown).encode("ascii")
    headers += [("Content-Type", "application/json; charset=UTF-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [] if method == "HEAD" else [body]


def _is_admin_view(options: Options, request: Request) -> bool:
    params = request.params
    given, expires_text = params.get("swiftinfo_sig", ""), params.get("swiftinfo_expires", "")
    if not given and not expires_text:
        return False
    key = options.admin_key
    if not key:
        raise HTTPForbidden(request=request)
    if not (expires_text.isascii() and expires_text.isdigit()) or int(expires_text[:20]) < clock.time():
        raise HTTPUnauthorized(request=request)
    expires = int(expires_text[:20])
    methods = ("HEAD", "GET") if request.method == "HEAD" else (request.method,)
    valid = [signature(method, expires, request.environ["PATH_INFO"], key) for method in methods]
    if not any(hmac.compare_digest(each.encode(), given.encode("latin-1", "replace")) for each in valid):
        raise HTTPUnauthorized(request=request)
    return True
