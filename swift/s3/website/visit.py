"""What is answered to a visitor of a site, who signs nothing and may see what everybody may (spec s3.md 22).

Each object that is looked at is read by GetObject, as an anonymous client does it. Never here: rights.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from swift.s3 import bucket_documents
from swift.s3.answers import Answer, Headers
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.website import document, routing
from swift.s3.website.routing import Redirect, Visited
from swift.wire.message import close_if_possible

REDIRECT_LOCATION = "x-amz-website-redirect-location"
_NOT_ASKED = (403, 404)
_PAGE = """<html>
<head><title>{title}</title></head>
<body>
<h1>{title}</h1>
<ul>
{items}
</ul>
<hr/>
</body>
</html>
"""
Read = Callable[[str, str, bool], Answer]


class Visit:
    """`read(method, key, with_conditions)`: the answer that holds an object; raises S3Error. `request`: about the bucket."""

    def __init__(self, environ: dict[str, Any], request: S3Request, read: Read) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.request = request
        self._read = read
        host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME") or ""
        self.visited = Visited(
            environ.get("wsgi.url_scheme", "http"), host, request.key or "", environ.get("QUERY_STRING") or ""
        )

    def answer(self) -> Answer:
        """Raises what reading raises, but no S3Error of less than 500."""
        try:
            return self._answer()
        except S3Error as error:
            return self._page(error)

    def _answer(self) -> Answer:
        """Raises S3Error."""
        if self.method not in ("GET", "HEAD"):
            raise S3Error(
                "MethodNotAllowed",
                Method=self.method,
                ResourceType="BUCKET",
                headers=[("Allow", "GET, HEAD")],
            )
        request = self.request
        status = request.container_info()["status"]
        if status == 404:
            raise S3Error("NoSuchBucket", BucketName=request.bucket)
        if not 200 <= status < 300:
            raise S3Error("ServiceUnavailable")
        website = bucket_documents.load(request, document.NAME)
        if website is None:
            raise S3Error("NoSuchWebsiteConfiguration", BucketName=request.bucket)
        visited = self.visited
        redirect = routing.of_all(website, visited) or routing.by_rules(website, visited)
        if redirect is not None:
            return self._sent(redirect)
        suffix = routing.suffix_of(website)
        is_directory = not visited.key or visited.key.endswith("/")
        try:
            found = self._read(self.method, visited.key + suffix if is_directory else visited.key, True)
        except S3Error as error:
            return self._failed(website, error, None if is_directory else f"{visited.key}/{suffix}")
        return self._found(found)

    def _found(self, found: Answer) -> Answer:
        for name, value in found.headers:
            if name == REDIRECT_LOCATION and value:
                close_if_possible(found.body)
                return self._sent(Redirect(301, routing.as_location(value)))
        return found

    def _failed(self, website: routing.Website, error: S3Error, index: str | None) -> Answer:
        """What is answered in place of an object that can't be had. Raises S3Error."""
        if index is not None and error.status in _NOT_ASKED and self._is_there(index):
            # Links of the page itself are about a directory.
            return self._sent(Redirect(302, routing.own_path(f"{self.visited.key}/")))
        redirect = routing.by_rules(website, self.visited, error.status)
        if redirect is not None:
            return self._sent(redirect)
        key = routing.error_key_of(website)
        if key is None or not 400 <= error.status < 500:
            raise error
        try:
            found = self._read(self.method, key, False)
        except S3Error:
            raise error from None
        return found._replace(status=error.status, headers=[*found.headers, *_told(error)])

    def _is_there(self, key: str) -> bool:
        try:
            found = self._read("HEAD", key, False)
        except S3Error:
            return False
        close_if_possible(found.body)
        return True

    def _sent(self, redirect: Redirect) -> Answer:
        return Answer(redirect.status, [("Location", redirect.location), ("Content-Length", "0")], [b""])

    def _page(self, error: S3Error) -> Answer:
        if error.status >= 500:
            raise error
        title = error.status_line
        items = [("Code", error.code), ("Message", error.message), *error.elements.items()]
        items.append(("RequestId", self.request.environ.get("swift.trans_id", "")))
        lines = "\n".join(f"<li>{escape(name)}: {escape(value)}</li>" for name, value in items)
        body = _PAGE.format(title=escape(title), items=lines).encode("utf-8", "replace")
        headers: Headers = [*error.headers, *_told(error), ("Content-Type", "text/html; charset=utf-8")]
        headers.append(("Content-Length", str(len(body))))
        return Answer(error.status, headers, [b"" if self.method == "HEAD" else body])


def _told(error: S3Error) -> Headers:
    return [("x-amz-error-code", error.code), ("x-amz-error-message", error.message.replace("\n", " "))]
