"""Names of headers and query parameters whose values must not appear whole in a log.

Lives here: the registry. Never here: the cutting itself (that is the access log's business) and the names: each feature
registers its own while the pipeline is built (spec middleware 2.13).
"""

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


def _ascii(name: str) -> str:
    if not isinstance(name, str) or not name.isascii():
        raise ValueError(f"{name!r}: a sensitive name must be ASCII text")
    return name
