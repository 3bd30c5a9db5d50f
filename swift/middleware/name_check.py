"""Filter `name_check`: paths with characters, lengths or patterns that an operator does not want (spec middleware 4.29)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.core.names import str_to_wsgi
from swift.wire.call import Application, StartResponse
from swift.wire.message import HTTPBadRequest, Request

FORBIDDEN_CHARS = "'\"`<>"
MAX_LENGTH = 255
FORBIDDEN_REGEXP = r"/\./|/\.\./|/\.$|/\.\.$"
_WHAT = "Object/Container/Account name"


class NameCheck:
    """Raises ValueError at once for a length that is no number or an expression that is none."""

    def __init__(self, app: Application, conf: dict[str, Any]) -> None:
        self.app = app
        self.chars, self.longest, self.pattern = _options(conf)
        self._forbidden = [str_to_wsgi(char) for char in dict.fromkeys(self.chars)]
        try:
            self._expression = re.compile(self.pattern) if self.pattern else None
        except re.error as error:
            raise ValueError(f"forbidden_regexp: {error}") from None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        text = self._why_not(environ["PATH_INFO"])
        if not text:
            return self.app(environ, start_response)
        return HTTPBadRequest(request=Request(environ), body=text)(environ, start_response)

    def _why_not(self, path: str) -> str:
        """What is wrong with it, or ""."""
        for char in self._forbidden:
            if char in path:
                return f"{_WHAT} contains forbidden chars from {self.chars}"
        if len(path) > self.longest:
            return f"{_WHAT} longer than the allowed maximum {self.longest}"
        if self._expression is not None and self._expression.search(path):
            return f"{_WHAT} contains a forbidden substring from regular expression {self.pattern}"
        return ""


def _options(conf: dict[str, Any]) -> tuple[str, int, str]:
    """(characters, length, expression)."""
    return (
        conf.get("forbidden_chars", FORBIDDEN_CHARS),
        int(conf.get("maximum_length", MAX_LENGTH)),
        conf.get("forbidden_regexp", FORBIDDEN_REGEXP),
    )


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], NameCheck]:
    conf = {**global_conf, **local_conf}
    chars, longest, pattern = _options(conf)
    capabilities.register(
        "name_check", forbidden_chars=chars, maximum_length=longest, forbidden_regexp=pattern
    )

    def factory(app: Any) -> NameCheck:
        return NameCheck(app, conf)

    return factory
