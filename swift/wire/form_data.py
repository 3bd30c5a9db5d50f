"""Bodies of HTML forms (multipart/form-data): their boundary, what their parts are called, and a file of one as a body of its own.

Splitting the body is `multipart`'s. Never here: what fields mean, and who may send a form. Spec: middleware.md 4.10, s3.md 24.
"""

from __future__ import annotations

import re

from swift.core.names import bytes_to_wsgi, wsgi_to_bytes
from swift.wire.errors import ClientDisconnected
from swift.wire.input import InputFilter
from swift.wire.multipart import BadMultipart, Document

TYPE = "multipart/form-data"
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^\s";]+))')
# Spaces before a semicolon are looked for behind quotes only: to try that at each place of a long value takes seconds.
_PARAMETER = re.compile(r';\s*([a-z0-9_*-]+)=(?:"((?:[^"\\]|\\.)*)"(?=\s*(?:;|$))|([^;"]*)(?=;|$))')


def boundary_of(content_type: str | None) -> str | None:
    """The boundary of a form, None if the type is that of no form, or says none."""
    if not content_type or not content_type.startswith(TYPE):
        return None
    found = _BOUNDARY.search(content_type)
    return None if found is None else found[1] or found[2]


def names_of(document: Document) -> tuple[str, str]:
    """(lower-case name of the field, name of the file), WSGI strings, '' for what is not there."""
    disposition = document.headers.get("Content-Disposition") or ""
    kind, semicolon, rest = disposition.partition(";")
    if kind.strip() != "form-data":
        return "", ""
    found = {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(semicolon + rest)}
    filename = found.get("filename", "")
    try:
        wsgi_to_bytes(filename).decode("utf-8")
    except UnicodeDecodeError:
        filename = bytes_to_wsgi(filename.encode("utf-8"))  # a page in Latin-1
    return found.get("name", "").lower(), filename


class FileBody(InputFilter):
    """A file of a form as the body of a PUT; whatever is wrong with it looks as if the client had left, so that nothing is stored.

    `limit`: bytes, at most; `problem`: what is wrong, None as long as nothing is; `passed`: bytes that were read.
    """

    def __init__(self, document: Document, limit: int) -> None:
        super().__init__(document)
        self.problem: str | None = None
        self.is_too_long = False
        self.passed = 0
        self._limit = limit
        self._again = b""

    @property
    def received(self) -> int:  # type: ignore[override]
        return self.passed

    def put_back(self, data: bytes) -> None:
        """Hand out what was read once more."""
        self._again = data

    def pull(self, size: int) -> bytes:
        if self._again:
            data, self._again = self._again, b""
            return data
        try:
            data = self._read_below(size)
        except BadMultipart as error:
            self.problem = str(error)
            raise ClientDisconnected(self.problem) from error
        self.passed += len(data)
        if self.passed > self._limit:
            self.is_too_long = True
            self.problem = "max_file_size exceeded"
            raise ClientDisconnected(self.problem)
        return data
