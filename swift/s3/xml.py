"""XML documents: written as strings, read strictly against a small description of what may stand in them.

Documents from outside are bounded by who reads their bytes; here no entity is resolved, no document type accepted, nothing fetched.

Spec: s3.md 4.4, 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from swift.s3.errors import S3Error

DECLARATION = "<?xml version='1.0' encoding='UTF-8'?>\n"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]")
_CHANGED = re.compile("[&<>\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]")


# -- writing --------------------------------------------------------------------------------------------------------------


def text_of(value: str) -> str:
    """Text as it stands in a document; what XML has no way for goes out as a reference, as S3 does it."""
    if not _CHANGED.search(value):
        return value
    shown = escape(value)
    if _CONTROL.search(shown):
        shown = _CONTROL.sub(lambda found: f"&#x{ord(found.group()):x};", shown)
    return shown


def element(name: str, value: object = "") -> str:
    """`<name>value</name>`, `<name/>` without a value. `value` is text, or a number."""
    shown = text_of(str(value))
    return f"<{name}>{shown}</{name}>" if shown else f"<{name}/>"


def node(name: str, *inner: str) -> str:
    """An element of elements that are written already."""
    content = "".join(inner)
    return f"<{name}>{content}</{name}>" if content else f"<{name}/>"


def document(name: str, *inner: str, namespace: str = NAMESPACE) -> bytes:
    """A whole document; `inner`: elements that are written already."""
    content = "".join(inner)
    start = f'{name} xmlns="{namespace}"' if namespace else name
    body = f"<{start}>{content}</{name}>" if content else f"<{start}/>"
    return (DECLARATION + body).encode("utf-8", "surrogatepass")


# -- reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """An element with text only. `pattern`: what all of it must match; `most`: characters."""

    pattern: str = ""
    most: int = 65536


@dataclass(frozen=True)
class Child:
    """How often an element stands in its parent; `most` of more than one makes a list of it."""

    what: Text | Node
    least: int = 0
    most: int = 1


@dataclass(frozen=True)
class Node:
    """An element of elements, in any order. `attribute`: of a name that is read too, as `@name` (in the XSI namespace)."""

    children: Mapping[str, Child] = field(default_factory=dict)
    attribute: str = ""


def one(what: Text | Node) -> Child:
    """It must be there once."""
    return Child(what, 1, 1)


def maybe(what: Text | Node) -> Child:
    """It may be there once."""
    return Child(what, 0, 1)


def many(what: Text | Node, least: int = 0, most: int = 100_000) -> Child:
    """A list."""
    return Child(what, least, most)


def read(data: bytes, root: str | None, schema: Node, code: str = "MalformedXML") -> dict[str, Any]:
    """What a document says: text as str (stripped of nothing), elements as dict, lists where something may stand often.

    `root`: its name, None for any. Namespaces are left out of account. Raises S3Error(code).
    """
    found = parsed(data, code)
    if root is not None and _local(found) != root:
        raise S3Error(code)
    value = _read(found, schema, code)
    assert isinstance(value, dict)
    return value


def parsed(data: bytes, code: str = "MalformedXML") -> Any:
    """The root element of a document without document type and entities. Raises S3Error(code)."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise S3Error(code) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise S3Error(code)
    return root


def _local(found: Any) -> str:
    tag = found.tag
    if not isinstance(tag, str):
        return ""  # an entity that was not resolved
    return tag.rpartition("}")[2]


def _read(found: Any, schema: Text | Node, code: str) -> str | dict[str, Any]:
    if isinstance(schema, Text):
        text = found.text or ""
        if len(found) or len(text) > schema.most:
            raise S3Error(code)
        if schema.pattern and not re.fullmatch(schema.pattern, text):
            raise S3Error(code)
        return text
    values: dict[str, Any] = {}
    if schema.attribute:
        values["@" + schema.attribute] = found.get(f"{{{XSI}}}{schema.attribute}", "")
    for below in found:
        name = _local(below)
        child = schema.children.get(name)
        if child is None:
            raise S3Error(code)
        value = _read(below, child.what, code)
        if child.most > 1:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise S3Error(code)
        else:
            values[name] = value
    for name, child in schema.children.items():
        if child.most > 1:
            values.setdefault(name, [])
            if not child.least <= len(values[name]) <= child.most:
                raise S3Error(code)
        elif child.least and name not in values:
            raise S3Error(code)
    return values
