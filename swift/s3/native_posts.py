"""POSTs of native clients leave alone what S3 keeps with an object: tags, locks (spec s3.md 13.1.3).

A native POST replaces all metadata of its kind. Object servers are asked to refuse one that would lose some of S3's, and say what; it is
sent again with that. So a POST of an object that has nothing of S3's costs nothing. Never here: S3 requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.core.object_lock import KEPT_PREFIX
from swift.wire.call import Application, StartResponse, call_app
from swift.wire.message import close_if_possible, environ_key, parsed_path

_KEEP = "HTTP_X_BACKEND_KEEP_S3API"
_PREFIX = KEPT_PREFIX.lower()
_TRIES = 3


def concerns(environ: dict[str, Any]) -> bool:
    """Returns True for a POST of an object."""
    return environ["REQUEST_METHOD"] == "POST" and bool(parsed_path(environ)[3])


def answer(app: Application, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Have it carried out."""
    environ[_KEEP] = "true"
    before = dict(environ)
    for left in reversed(range(_TRIES)):
        status, headers, body = call_app(app, environ)
        kept = {}
        if status[:3] == "412":
            kept = {environ_key(name): value for name, value in headers if name.lower().startswith(_PREFIX)}
        if not kept or not left:
            break
        close_if_possible(body)
        # What filters have made of the request they make of it again; its time is a new one.
        for key in [key for key in environ if key.startswith("HTTP_") and key not in before]:
            del environ[key]
        environ.update(before)
        environ.update(kept)
    start_response(status, headers)
    return body
