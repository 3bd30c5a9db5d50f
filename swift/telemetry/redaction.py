"""Names of headers and query parameters whose values must not appear whole in a log.

Lives here: the registry, and the cutting of queries. Never here: the names: each feature registers its own while the pipeline is
built (spec middleware 2.13).
"""

import re
from urllib.parse import unquote_plus

# A parameter of a query, which may stand alone or behind a URL.
_PARAMETER = re.compile(r"(?<![^?&;])([^?&;=]+)=([^&;#]*)")

_headers: set[str] = set()
_parameters: set[str] = set()


def register_sensitive_header(name: str) -> None:
    """``name`` is compared without regard to case. Raises ValueError unless it is ASCII."""
    _headers.add(_ascii(name).lower())


def register_sensitive_parameter(name: str) -> None:
    """``name`` of a query parameter, compared exactly. Raises ValueError unless it is ASCII."""
    _parameters.add(_ascii(name))


def sensitive_headers() -> frozenset[str]:
    """Lower-case header names."""
    return frozenset(_headers)


def sensitive_parameters() -> frozenset[str]:
    """Query parameter names as registered."""
    return frozenset(_parameters)


def cut_parameters(text: str, reveal: int) -> str:
    """A query, or a URL with one, in which at most `reveal` characters are left of the values of sensitive parameters.

    A name may be written in any way that a reader of queries would take for it.
    """
    if "%" not in text:
        for name in _parameters:
            if name in text:
                break
        else:
            return text

    def cut(match: re.Match[str]) -> str:
        name, value = match.groups()
        if len(value) <= reveal or (name if "%" not in name else unquote_plus(name)) not in _parameters:
            return match[0]
        return f"{name}={value[:reveal]}..."

    return _PARAMETER.sub(cut, text)


def _ascii(name: str) -> str:
    if not isinstance(name, str) or not name.isascii():
        raise ValueError(f"{name!r}: a sensitive name must be ASCII text")
    return name
