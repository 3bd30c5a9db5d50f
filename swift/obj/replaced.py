"""What a PUT or DELETE tells of the large object that it replaced, so that whoever asked can have its parts removed (doc/formats.md).

Never here: parts. An object server knows of none.
"""

from __future__ import annotations

from swift.core.config import truthy
from swift.core.names import wsgi_quote
from swift.core.object_headers import REPLACED_LARGE, UPLOAD_IDS
from swift.obj.store import State


def is_large(state: State) -> bool:
    """Returns True if a static large object is there, or was until it expired."""
    return truthy(state.metadata.get("X-Static-Large-Object"))


def replaced_headers(state: State) -> list[tuple[str, str]]:
    """The header that tells of it; none for anything else."""
    if not is_large(state):
        return []
    upload = next(filter(None, map(state.metadata.get, UPLOAD_IDS)), "")
    return [(REPLACED_LARGE, f"{state.timestamp};{wsgi_quote(upload, '')}")]
