"""The pages that staticweb makes itself: a directory's listing, and that there is none. Byte for byte the reference's.

Everything here is native text; whatever comes from a client or an owner is escaped. Never here: requests, and what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_OTHER_SITES = ("http://", "https://")
_STYLE = """  <style type="text/css">
   h1 {font-size: 1em; font-weight: bold;}
   th {text-align: left; padding: 0px 1em 0px 1em;}
   td {padding: 0px 1em 0px 1em;}
   a {text-decoration: none;}
  </style>
"""
_BRIEF_STYLE = """  <style type="text/css">
   h1 {font-size: 1em; font-weight: bold;}
   p {font-size: 2}
  </style>
"""
_DISABLED = (
    "  <h1>Web Listing Disabled</h1>   <p>The owner of this web site has disabled web listing."
    "   <p>If you are the owner of this web site, you can enable   web listing by setting X-Container-Meta-Web-Listings.</p>"
)


class Directory(NamedTuple):
    """What a page is about: the label in its heading, the directory below its container (with a slash at the end, '' for the
    container itself), the owner's style sheet, what links carry behind a `?`, and how much of the directory nobody may leave."""

    label: str
    prefix: str
    css: str
    link_query: str = ""
    floor: str = ""


def listing(directory: Directory, rows: Iterable[Mapping[str, Any]]) -> str:
    """The page of a directory; `rows` as a container server lists them. Raises KeyError and TypeError for others."""
    label = escape(directory.label)
    rows = list(rows)
    parts = [
        f"<!DOCTYPE html>\n<html>\n <head>\n  <title>Listing of {label}</title>\n{_style(directory, _STYLE)}"
        f' </head>\n <body>\n  <h1 id="title">Listing of {label}</h1>\n  <table id="listing">\n   <tr id="heading">\n'
        '    <th class="colname">Name</th>\n    <th class="colsize">Size</th>\n    <th class="coldate">Date</th>\n   </tr>\n'
    ]
    query = f"?{escape(directory.link_query)}" if directory.link_query else ""
    if len(directory.prefix) > len(directory.floor):
        parts.append(_row(' id="parent" class="item"', f"../{query}", "../"))
    cut = len(directory.prefix)
    for row in rows:
        if "subdir" in row:
            name = row["subdir"][cut:]
            parts.append(_row(' class="item subdir"', _link(name) + query, name))
    for row in rows:
        if "subdir" not in row:
            name = row["name"][cut:]
            kinds = " ".join(f"type-{kind.lower()}" for kind in row["content_type"].split("/"))
            when = row["last_modified"].split(".")[0].replace("T", " ")
            row_class = f' class="item {escape(kinds)}"'
            parts.append(_row(row_class, _link(name) + query, name, readable(row["bytes"]), escape(when)))
    parts.append("  </table>\n </body>\n</html>\n")
    return "".join(parts)


def _row(attributes: str, href: str, name: str, size: str = "&nbsp;", when: str = "&nbsp;") -> str:
    """`href`, `size` and `when` are as they stand in the page."""
    return (
        f'   <tr{attributes}>\n    <td class="colname"><a href="{href}">{escape(name)}</a></td>\n'
        f'    <td class="colsize">{size}</td>\n    <td class="coldate">{when}</td>\n   </tr>\n'
    )


def _link(name: str) -> str:
    """Relative, and never anything but that: neither another scheme nor a way up."""
    return "./" + _quoted(name).replace(".", "%2E")


def _quoted(text: str, safe: str = "/") -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe)


def no_listing(directory: Directory, index: str | None) -> str:
    """Says that the owner wants no listing, and that the index that he set is not there."""
    missing = (
        "<h1>Index File Not Found</h1> <p>The owner of this web site has set "
        f" <b>X-Container-Meta-Web-Index: {escape(index)}</b>.  However, this file is not found.</p>"
        if index
        else ""
    )
    return (
        f"<!DOCTYPE html>\n<html>\n<head>\n<title>Listing of {escape(directory.label)}</title>\n"
        f"{_style(directory, _BRIEF_STYLE)}</head>\n<body>{_DISABLED}{missing} </body>\n</html>\n"
    )


def _style(directory: Directory, default: str) -> str:
    css = directory.css
    if not css:
        return default
    if css.startswith(_OTHER_SITES):
        css = _quoted(css, "/:?#[]@!$&()*+,;=%")
    else:
        css = ("" if css.startswith("/") else "../" * directory.prefix.count("/")) + _quoted(css)
    return f'  <link rel="stylesheet" type="text/css" href="{escape(css)}" />\n'


def readable(count: int) -> str:
    """A number of bytes in the largest unit that leaves at least one of it, rounded."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count = round(count / 1024)
        unit += 1
    return f"{count}{_UNITS[unit]}"
