"""Answers to requests that take long: 202 at once, a space now and then, and in the end a summary of what was done (spec middleware 2.9).

The forms of a summary, and the spaces. What a summary says is the business of the filters that work so long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from swift.middleware.parallel import Meanwhile
from swift.wire.message import Accept, wsgi_to_str

TEXT, JSON, XML, TEXT_XML = "text/plain", "application/json", "application/xml", "text/xml"

Errors = Iterable[tuple[str, str]]


def summary_type(accept: str | None, offered: tuple[str, ...] = (TEXT, JSON, XML, TEXT_XML)) -> str:
    """The media type for a client's Accept; the first one of them for nothing acceptable and for what nobody can read."""
    try:
        return Accept(accept).best_match(offered) or offered[0]
    except ValueError:
        return offered[0]


def summary_body(media_type: str, fields: Mapping[str, Any], errors: Errors, root: str) -> bytes:
    """The summary: `fields` by what they are called, `errors` as (name, status); text is native. `root`: the tag around XML."""
    if media_type == JSON:
        return json.dumps({**fields, "Errors": [list(error) for error in errors]}).encode("ascii")
    if media_type.endswith("/xml"):
        lines = [f"<{root}>\n"]
        for name in sorted(fields):
            tag = name.lower().replace(" ", "_")
            lines.append(f"<{tag}>{escape(str(fields[name]))}</{tag}>\n")
        lines.append("<errors>\n")
        for name, status in errors:
            lines.append(f"<object><name>{escape(name)}</name><status>{escape(status)}</status></object>\n")
        lines.append(f"</errors>\n</{root}>\n")
    else:
        lines = [f"{name}: {fields[name]}\n" for name in sorted(fields)]
        lines.append("Errors:\n")
        lines += [f"{name}, {status}\n" for name, status in errors]
    return "".join(lines).encode("utf-8", "surrogateescape")


def native(fields: Mapping[str, str]) -> dict[str, str]:
    """WSGI strings (headers) as a summary wants them."""
    return {wsgi_to_str(name): wsgi_to_str(value) for name, value in fields.items()}


def while_it_lasts(work: Callable[[], bytes], seconds: float) -> Iterator[bytes]:
    """A space at once, one every `seconds`, and then what `work` returns.

    It is done in a green thread of its own, and to its end also when the client does not stay for it. What it raises is raised here.
    """
    doing = Meanwhile(work)
    yield b" "
    while not doing.is_done_within(seconds):
        yield b" "
    yield doing.wait()
