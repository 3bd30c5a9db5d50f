"""Filter `formpost`: files that a browser sends with a signed form become objects (spec middleware 4.10).

The form is read as it comes, and each file goes on as it comes. Nothing that the form says counts, the redirect neither, unless the
signature covers it. Never here: keys and digests (`signatures`), splitting the body (`wire.multipart`, `wire.form_data`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import quote

from swift.core import capabilities, clock
from swift.core.constraints import limits
from swift.middleware.absent_features import S3_FILTERS
from swift.middleware.signatures import (
    allowed_digests,
    digests_told,
    keys_of,
    parse_signature,
    signing_key,
)
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.wire import form_data
from swift.wire.call import Application, StartResponse, call_app
from swift.wire.errors import ClientDisconnected
from swift.wire.message import (
    bytes_to_wsgi,
    close_if_possible,
    parsed_path,
    status_line,
    wsgi_to_bytes,
)
from swift.wire.multipart import BadMultipart, Document, MultipartReader
from swift.wire.subrequest import make_pre_authed_environ

MAX_VALUE = 4096  # bytes of a field's value that count
MAX_FIELDS = 1000  # fields that are no files
SMALL_FILE = 65536  # bytes up to which a file is put with its length known
_FIELDS = frozenset(
    ("redirect", "max_file_size", "max_file_count", "expires", "signature", "x_delete_at", "x_delete_after", "content-type", "content-encoding")
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TEXT = "text/plain"


class FormInvalid(Exception):
    """The form can't be taken: 400, without a redirect."""


class FormUnauthorized(Exception):
    """The form is not, or no more, signed by who may: 401."""


class FormPost:
    """Raises ValueError at once for a configuration that can't be meant."""

    def __init__(
        self, app: Application, conf: dict[str, Any], logger: Any = None, metrics: Any = None
    ) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="formpost")
        self.metrics = metrics or get_metrics(conf, "formpost")
        self.digests = allowed_digests(conf, self.logger)
        self._has_s3 = False

    @property
    def _pipeline_names(self) -> frozenset[str]:
        return self._names

    @_pipeline_names.setter
    def _pipeline_names(self, found: frozenset[str]) -> None:
        """Who loads the pipeline says what is in it: forms that are sent to a bucket of S3's are the s3api's."""
        self._names = found
        self._has_s3 = not found.isdisjoint(S3_FILTERS)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return self.app(environ, start_response)
        boundary = form_data.boundary_of(environ.get("CONTENT_TYPE"))
        if boundary is None or (self._has_s3 and parsed_path(environ)[2] is None):
            return self.app(environ, start_response)
        environ["HTTP_USER_AGENT"] = f"{environ.get('HTTP_USER_AGENT', '')} FormPost".strip()
        form = _Form(self, environ, boundary)
        try:
            status, headers, body = form.worked_off()
        except FormInvalid as error:
            status, headers, body = "400 Bad Request", [("Content-Type", _TEXT)], f"FormPost: {error}"
        except FormUnauthorized as error:
            status, body = "401 Unauthorized", f"FormPost: {error}"
            headers = [
                ("Content-Type", "text/html; charset=UTF-8"),
                ("Www-Authenticate", 'Swift realm="unknown"'),
            ]
        data = wsgi_to_bytes(body)
        start_response(status, [*headers, ("Content-Length", str(len(data)))])
        return [data]


class _Form:
    """One form on its way in: what it has said so far, and what became of its files."""

    def __init__(self, owner: FormPost, environ: dict[str, Any], boundary: str) -> None:
        self.owner = owner
        self.environ = environ
        source = environ["wsgi.input"]
        self._reader = MultipartReader(getattr(source, "read_available", None) or source.read, boundary)
        self.fields: dict[str, str] = {}
        self.status = ""
        self.message = ""
        self.headers: list[tuple[str, str]] = []  # of the last answer
        self.redirect = ""  # the one that is signed

    def worked_off(self) -> tuple[str, list[tuple[str, str]], str]:
        """(status, headers, body) of the answer, all WSGI strings. Raises FormInvalid, FormUnauthorized, ClientError."""
        files = fields = 0
        document = self._first_document()
        while document is not None:
            name, filename = form_data.names_of(document)
            if not filename:
                fields += 1
                if fields > MAX_FIELDS:
                    raise FormInvalid("too many fields")
                self._take_field(name, document)
            else:
                files += 1
                if not self._put(document, filename, files):
                    break
            document = self._next_document()
        if not files:
            self._refuse("no files to process")
        return self._answer()

    def _first_document(self) -> Document | None:
        try:
            document = self._reader.next_document()
        except BadMultipart:
            document = None
        if document is None:
            raise FormInvalid("invalid starting boundary")
        return document

    def _next_document(self) -> Document | None:
        try:
            return self._reader.next_document()
        except BadMultipart as error:
            raise FormInvalid(str(error)) from error

    def _take_field(self, name: str, document: Document) -> None:
        """Keep a field that means something; of any other, and of what is too long, only the end is looked for."""
        value = b""
        try:
            for data in document:
                if len(value) < MAX_VALUE:
                    value += data[: MAX_VALUE - len(value)]
        except BadMultipart as error:
            raise FormInvalid(str(error)) from error
        if name in _FIELDS:
            self.fields[name] = bytes_to_wsgi(value.rstrip(b"\r\n"))

    def _refuse(self, message: str) -> None:
        self.status, self.message = "400 Bad Request", message
        self._is_signed()

    def _integer(self, name: str, called: str) -> int:
        try:
            return int(self.fields.get(name) or "0")
        except ValueError:
            raise FormInvalid(f"{called} not an integer") from None

    def _is_signed(self) -> bool:
        """Returns True if what the form has said so far is signed with a key for its path. Only then it may say where to go next."""
        fields, owner, environ = self.fields, self.owner, self.environ
        signature = parse_signature(fields.get("signature", ""), owner.digests)
        version, account, container, _ = parsed_path(environ)
        if signature is None or account is None or container is None:
            return False
        if version not in limits().valid_api_versions:
            return False
        redirect = fields.get("redirect", "")
        numbers = [fields.get(name) or "0" for name in ("max_file_size", "max_file_count", "expires")]
        text = "\n".join([environ["PATH_INFO"], redirect, *numbers])
        keys = keys_of(environ, owner.app, account, container)
        if signing_key(keys, signature, [wsgi_to_bytes(text)]) is None:
            return False
        if _CONTROL.search(redirect):
            raise FormInvalid("redirect is no address")
        owner.metrics.increment(f"digests.{signature.digest}")
        self.redirect = redirect
        return True

    # -- a file ------------------------------------------------------------------------------------------------------------

    def _put(self, document: Document, filename: str, number: int) -> bool:
        """Make one file an object; False if it ends here."""
        max_size = self._integer("max_file_size", "max_file_size")
        max_count = self._integer("max_file_count", "max_file_count")
        expires = self._integer("expires", "expired")
        if number > max_count:
            self._refuse("max file count exceeded")
            return False
        headers = self._object_headers(document)
        if expires < clock.time():
            raise FormUnauthorized("Form Expired")
        if not self._is_signed():
            raise FormUnauthorized("Invalid Signature")
        path = self.environ["PATH_INFO"]
        path += ("" if path.count("/") > 3 else "/") + filename
        sub = make_pre_authed_environ(self.environ, "PUT", path, query="", agent="%(orig)s", source="FP")
        sub.update(headers)
        self._store(sub, document, max_size)
        return self.status[:1] == "2"

    def _object_headers(self, document: Document) -> dict[str, str]:
        """The environ keys that the form sets."""
        fields, sent = self.fields, document.headers
        values = {
            "CONTENT_TYPE": fields.get("content-type") or sent.get("Content-Type"),
            "HTTP_CONTENT_ENCODING": fields.get("content-encoding") or sent.get("Content-Encoding"),
            "HTTP_X_DELETE_AT": fields.get("x_delete_at"),
            "HTTP_X_DELETE_AFTER": fields.get("x_delete_after"),
        }
        for key, what in (
            ("HTTP_X_DELETE_AT", "Unix timestamp"),
            ("HTTP_X_DELETE_AFTER", "Number of seconds"),
        ):
            value = values[key]
            if value is not None and not re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
                raise FormInvalid(f"{key[5:].lower()} not an integer: {what} required.")
        if any(value and _CONTROL.search(value) for value in values.values()):
            raise FormInvalid("control characters in a header")
        return {key: value for key, value in values.items() if value is not None}

    def _store(self, sub: dict[str, Any], document: Document, max_size: int) -> None:
        """Send a file on. Raises FormInvalid when it is too long or ends early: nothing is stored then."""
        body = form_data.FileBody(document, max_size)
        try:
            beginning = body.read(SMALL_FILE)
        except ClientDisconnected:
            beginning = b""
        if body.problem is None and body.done:
            sub["CONTENT_LENGTH"] = str(len(beginning))
            sub["wsgi.input"] = io.BytesIO(beginning)
        elif body.problem is None:
            sub["HTTP_TRANSFER_ENCODING"] = "chunked"
            sub["wsgi.input"] = body
            body.put_back(beginning)
        if body.problem is None:
            self.status, self.headers, answer = call_app(self.owner.app, sub)
            self.message = ""
            try:
                for _ in answer:
                    pass
            finally:
                close_if_possible(answer)
        if body.problem is not None:
            raise FormInvalid(body.problem)

    # -- the answer --------------------------------------------------------------------------------------------------------

    def _answer(self) -> tuple[str, list[tuple[str, str]], str]:
        status = status_line(int(self.status[:3]))
        headers = [
            (name, value) for name, value in self.headers if name.lower().startswith("access-control-")
        ]
        if self.redirect:
            address, mark, fragment = self.redirect.partition("#")
            address += "&" if "?" in address else "?"
            address += f"status={status[:3]}&message={quote(self.message)}{mark}{fragment}"
            link = escape(address).replace("&amp;", "&")
            page = f'<html><body><p><a href="{link}">Click to continue...</a></p></body></html>'
            return "303 See Other", [("Location", address), *headers], page
        text = f"{status}\r\nFormPost: {self.message.title()}" if self.message else status
        return status, [("Content-Type", _TEXT), *headers], text


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], FormPost]:
    conf = {**global_conf, **local_conf}
    told: dict[str, Any] = dict(digests_told(allowed_digests(conf)))
    capabilities.register("formpost", **told)

    def factory(app: Any) -> FormPost:
        return FormPost(app, conf)

    return factory
