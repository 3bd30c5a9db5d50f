"""Header names and the two header mappings: HeaderKeyDict, and a request's live view of its environ.

Nothing here knows what any header means. Spec: proxy-and-backend.md 22.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from swift.core.remembered import Remembered

_MOST_NAMES = 4096
_titles: Remembered[str, str] = Remembered(_MOST_NAMES)
# The one header whose values can't be joined by commas.
_SEVERAL = "Set-Cookie"
_environ_keys: Remembered[str, str] = Remembered(_MOST_NAMES)
_names: Remembered[str, str] = Remembered(_MOST_NAMES)
_WITHOUT_PREFIX = frozenset(("CONTENT_TYPE", "CONTENT_LENGTH"))


def title_case(name: str | bytes) -> str:
    """`x-foo-bar` → `X-Foo-Bar`, byte by byte: bytes outside of ASCII stay as they are."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    titled = _titles.get(name)
    if titled is None:
        titled = name.encode("latin-1").title().decode("latin-1")
        titled = _titles.keep(name, _titles.get(titled) or _titles.keep(titled, titled))
    return titled


def environ_key(name: str) -> str:
    """The WSGI environ key of a header name in any case."""
    key = _environ_keys.get(name)
    if key is None:
        upper = name.encode("latin-1").upper().decode("latin-1").replace("-", "_")
        key = _environ_keys.keep(name, upper if upper in _WITHOUT_PREFIX else "HTTP_" + upper)
    return key


def header_name(key: str) -> str | None:
    """The title-cased header name of an environ key, None when the key holds no header."""
    name = _names.get(key)
    if name is None:
        if not key.startswith("HTTP_") and key not in _WITHOUT_PREFIX:
            return None
        name = _names.keep(key, title_case(key.removeprefix("HTTP_").replace("_", "-")))
    return name


def head_headers(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All request headers of an environ as (title-cased name, value), in the order of the environ."""
    result = []
    for key, value in environ.items():
        name = _names.get(key) or header_name(key)
        if name is not None:
            result.append((name, value))
    return result


def header_text(value: Any) -> str:
    """A header value as WSGI text: bytes are decoded as latin-1, all else by str()."""
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return str(value)


class SeveralValues(str):
    """The values of a header that occurs more than once; as text it is the last of them."""

    __slots__ = ("values",)

    values: tuple[str, ...]

    def __new__(cls, values: Iterable[str]) -> "SeveralValues":
        every = tuple(values)
        made = super().__new__(cls, every[-1])
        made.values = every
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return SeveralValues, (self.values,)


class HeaderKeyDict(dict[str, Any]):
    """Headers by title-cased name. A missing name reads as None, setting None deletes; update() does not make strings.

    A name occurs once, except Set-Cookie: `add` and pairs given to update() join it, `pairs` shows all of it (RFC 9110 5.3).
    """

    __slots__ = ()

    def __init__(
        self, base: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        if base:
            self.update(base)
        if kwargs:
            self.update(kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        put = dict.__setitem__
        for source in (*args, kwargs):
            if hasattr(source, "items"):
                for name, value in source.items():
                    put(self, _titles.get(name) or title_case(name), value)
                continue
            for name, value in source:
                name = _titles.get(name) or title_case(name)
                if name == _SEVERAL:
                    self.add(name, value)
                else:
                    put(self, name, value)

    def add(self, name: str, value: Any) -> None:
        """One more value of a name: kept apart for Set-Cookie, behind a comma for any other."""
        name = _titles.get(name) or title_case(name)
        value = header_text(value)
        before = dict.get(self, name)
        if before is not None:
            if name == _SEVERAL:
                value = SeveralValues((*getattr(before, "values", (before,)), value))
            else:
                value = f"{before}, {value}"
        dict.__setitem__(self, name, value)

    def pairs(self) -> list[tuple[str, Any]]:
        """All headers as they go on the wire."""
        if type(dict.get(self, _SEVERAL)) is not SeveralValues:
            return list(self.items())
        found: list[tuple[str, Any]] = []
        for name, value in self.items():
            found += (
                [(name, one) for one in value.values] if type(value) is SeveralValues else [(name, value)]
            )
        return found

    def __getitem__(self, name: str) -> Any:
        return dict.get(self, _titles.get(name) or title_case(name))

    def __setitem__(self, name: str, value: Any) -> None:
        name = _titles.get(name) or title_case(name)
        if value is None:
            dict.pop(self, name, None)
        else:
            dict.__setitem__(self, name, value if isinstance(value, str) else header_text(value))

    def __delitem__(self, name: str) -> None:
        dict.__delitem__(self, title_case(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | bytes) and dict.__contains__(self, title_case(name))

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self, _titles.get(name) or title_case(name), default)

    def setdefault(self, name: str, value: Any = None) -> Any:
        if name not in self:
            self[name] = value
        return self[name]

    def pop(self, name: str, default: Any = None) -> Any:
        return dict.pop(self, title_case(name), default)

    def copy(self) -> "HeaderKeyDict":
        new = HeaderKeyDict()
        dict.update(new, self)
        return new


class RequestHeaders(MutableMapping[str, str]):
    """A live view of the headers in an environ: `HTTP_*`, `CONTENT_TYPE` and `CONTENT_LENGTH`."""

    __slots__ = ("environ",)

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ

    def __getitem__(self, name: str) -> str:
        try:
            return self.environ[_environ_keys.get(name) or environ_key(name)]
        except KeyError:
            raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self.environ.get(_environ_keys.get(name) or environ_key(name), default)

    def __setitem__(self, name: str, value: Any) -> None:
        if value is None:
            self.environ.pop(environ_key(name), None)
        else:
            self.environ[environ_key(name)] = header_text(value)

    def __delitem__(self, name: str) -> None:
        del self.environ[environ_key(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and environ_key(name) in self.environ

    def __iter__(self) -> Iterator[str]:
        for key in list(self.environ):
            name = _names.get(key) or header_name(key)
            if name is not None:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        # Values may be tokens; names alone go into logs and debuggers.
        return f"<RequestHeaders {list(self)}>"
