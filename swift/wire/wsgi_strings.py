"""Conversions between WSGI strings (latin-1 text of wire bytes), native text, bytes and percent-coding.

Only text conversions live here; path splitting and name rules never do. Spec: proxy-and-backend.md 22 (strings).
"""

from urllib.parse import quote, quote_from_bytes, unquote_to_bytes


def wsgi_to_bytes(text: str) -> bytes:
    return text.encode("latin-1")


def bytes_to_wsgi(data: bytes) -> str:
    return data.decode("latin-1")


def wsgi_to_str(text: str) -> str:
    """Native text of a WSGI string; bytes that are not UTF-8 become surrogate escapes."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def str_to_wsgi(text: str) -> str:
    """The reverse of wsgi_to_str."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def wsgi_quote(text: str, safe: str = "/") -> str:
    """Percent-code the wire bytes of a WSGI string; letters, digits, `_.-~` and safe stay."""
    if text.isascii():
        return quote(text, safe)
    return quote_from_bytes(text.encode("latin-1"), safe)


def wsgi_unquote(text: str) -> str:
    """Percent-decode once; the result is a WSGI string."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1")


def wsgi_quote_plus(text: str, safe: str = "") -> str:
    """Form coding of a WSGI string: a blank becomes `+`."""
    if " " in text:
        return wsgi_quote(text, safe + " ").replace(" ", "+")
    return wsgi_quote(text, safe)
