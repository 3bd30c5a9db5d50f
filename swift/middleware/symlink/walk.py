"""From a link to what it leads to: one request for each step, made of the client's, bounded in their number."""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.middleware.symlink.links import Link, link_of
from swift.wire.call import Application
from swift.wire.message import (
    HTTPConflict,
    Request,
    parsed_path,
    wsgi_quote,
    wsgi_unquote,
)
from swift.wire.subanswer import Subanswer, ask
from swift.wire.subrequest import PRE_AUTHED_USER

SOURCE = "SYM"
# Of the request for a link what is not of that for its target: who it belongs to, where it is, and what was found out about it.
_OF_THE_LINK = (
    "HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "swift.log_info", "swift.orig_req_method", "swift.proxy_access_log_made", "swift_owner",
    "swob.ACL", "swift.backend_path",
)  # fmt: skip


class Found(NamedTuple):
    """What is at the end, and where that is: a path, quoted. The answer must be read or closed."""

    answer: Subanswer
    location: str


class Walk:
    """The steps from one link on; `environ`: the request for it, `most`: steps that count."""

    def __init__(self, app: Application, environ: dict[str, Any], most: int) -> None:
        self.app = app
        self.environ = environ
        self.most = most
        self.version = parsed_path(environ)[0] or ""

    def follow(self, link: Link, account: str) -> Found:
        """What is at the end of the way that begins with `link`, which is in `account` (quoted). Raises HTTPConflict."""
        counted = steps = 0
        while True:
            steps += 1
            counted += not link.extends
            if counted > self.most or steps > 2 * self.most + 1:
                text = f"Too many levels of symbolic links, maximum allowed is {self.most}"
                raise HTTPConflict(request=Request(self.environ), body=text, content_type="text/plain")
            location = link.path(self.version, account)
            found = self.step(link, location)
            after = link_of(found.answer.headers)
            if after is None:
                self._check_end(link, found)
                return found
            found.answer.close()
            self.check_link(link, after, found)
            account = link.account or account
            link = after

    def step(self, link: Link | None, location: str) -> Found:
        """The answer at a link's target (None: of a link that is still to be).

        It is the client's own request, sent elsewhere: nothing that one link allows is allowed by the next one.
        """
        step = {**self.environ}
        for key in _OF_THE_LINK:
            step.pop(key, None)
        step["PATH_INFO"] = wsgi_unquote(location)
        step["SCRIPT_NAME"] = ""
        step["swift.source"] = SOURCE
        if link is not None and link.is_internal:
            step["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
            step["swift.authorize"] = _allow
            step["swift.authorize_override"] = True
            step["REMOTE_USER"] = PRE_AUTHED_USER
        return Found(ask(self.app, step), location)

    def check_link(self, link: Link, after: Link, found: Found) -> None:
        """Raises HTTPConflict if a static link leads to a link to something else than it was made for."""
        if link.extends and link.etag == found.answer.etag:
            return  # to a version, which may be a link itself: it is that object that was meant
        if link.etag is not None and link.etag != (after.etag or found.answer.etag):
            raise self._conflict("X-Symlink-Target-Etag headers do not match", found.location)

    def _check_end(self, link: Link, found: Found) -> None:
        answer = found.answer
        about_it = answer.is_success or answer.status in (304, 412, 416)
        if link.etag is None or not about_it or answer.etag in (None, link.etag):
            return
        answer.close()
        raise self.mismatch(link, found)

    def mismatch(self, link: Link, found: Found) -> HTTPConflict:
        """The answer where a static link's target has another ETag."""
        text = f"Object Etag '{found.answer.etag}' does not match X-Symlink-Target-Etag header '{link.etag}'"
        return self._conflict(text, found.location)

    def _conflict(self, text: str, location: str) -> HTTPConflict:
        return HTTPConflict(
            request=Request(self.environ),
            body=text,
            content_type="text/plain",
            headers={"Content-Location": location},
        )


def own_account(environ: dict[str, Any]) -> str:
    """The account that a request is for, quoted."""
    return wsgi_quote(parsed_path(environ)[1] or "")


def _allow(_request: Any) -> None:
    return None
