"""Names that are odd for a path, a listing, an XML document or a disk, for every feature's list."""

from __future__ import annotations

from urllib.parse import quote

ODD = (
    "plain", "with space", " edges ", "ünï©ødé ☃", "日本語/漢字", "e\u0301 decomposed", "100%", "%41%zz", "a+b&c=d", "question?mark", "hash#tag", "semi;colon",
    "dir/", "dir//double", "/leading", "a/../b", "./dot", "..", ".", "...", "line\nbreak", "tab\there", "cr\rhere", "quo\"te'", "<xml>&amp;", "back\\slash",
    "*", "~tilde", "{braces}", "|pipe|", "\x01control", "\x7fdelete", "comma,colon:", "\U0001f600 emoji", "\u202eright to left", "\ufeffmark", "\uffff",
)  # fmt: skip
LONGEST = "ä" * 511 + "zz"  # 1,024 bytes
TOO_LONG = "n" * 1025


def quoted(name: str) -> str:
    """As it stands in a request line: everything quoted but letters, digits, `-._~` and slashes."""
    return quote(name)
