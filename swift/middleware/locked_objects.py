"""What filters ask about locks before they begin with what can't be undone: whether it would be refused in the end (`core.object_lock`).

Object servers decide; who asks before them tells them by a word what it has seen, so that servers which have missed something judge by
that, too. Never here: what makes an object locked.
"""

from __future__ import annotations

from typing import Any

from swift.core import clock
from swift.core.object_lock import CONFIGURED, PROTECTED, WORD, Word, forbids_removal, told_of, word_of
from swift.middleware.info import Info
from swift.middleware.object_copies import head_object
from swift.wire.call import Application
from swift.wire.message import HTTPForbidden, HTTPServiceUnavailable, Request, environ_key

WORD_KEY = environ_key(WORD)


def may_be_locked(info: Info) -> bool:
    """Returns True if objects of a container can have locks, or if that is not known."""
    return info["status"] >= 500 or bool(info["sysmeta"].get(CONFIGURED))


def given_word(environ: dict[str, Any]) -> Word:
    """That of the request. Filters alone can have set it."""
    return word_of(environ.get(WORD_KEY)) or Word()


def check_removal(app: Application, environ: dict[str, Any], path: str, source: str) -> Word | None:
    """The word for the servers of a request that removes what is at `path` (WSGI string), None if there is nothing.

    Raises HTTPForbidden if that is locked, HTTPServiceUnavailable if nobody knows.
    """
    found = head_object(app, environ, path, source)
    if found.status == 404:
        return None
    if not found.found:
        raise HTTPServiceUnavailable(request=Request(environ))
    seen = found.headers.get("x-backend-timestamp") or found.headers.get("x-timestamp", "")
    word = given_word(environ)._replace(seen=seen)
    if forbids_removal(told_of(found.headers), seen, word, clock.time()):
        raise protected(environ)
    return word


def protected(environ: dict[str, Any]) -> HTTPForbidden:
    return HTTPForbidden(request=Request(environ), body=PROTECTED, content_type="text/plain")
