"""What a feature's list of requests is made of, and where the lists are.

A list is a module of `test.side_by_side.features` with `STEPS`, and where needed `FILTERS`, `WITHOUT`, `OPTIONS`, `WORDS`, `KNOWN` (see `Feature`).
Never here: sending and comparing.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from test.side_by_side import features

Values = dict[str, str]


class Step(NamedTuple):
    """One request. `{name}` in path, headers and body stands for a value that was kept, or one of `running.first_values`.

    path: as in a request line, that is quoted, below the feature's own account (`/v1/AUTH_<feature>`) unless `whole`.
    headers: `None` as a value takes a header away that would be sent by itself (Host, X-Auth-Token, Content-Length).
    body: bytes or text; a list of them is sent chunked, a piece a chunk.
    user: one of `sides.USERS`; "" is nobody.
    keep: name → where its value is in the answer: `header:etag`, `json:0.name`, `body`, `body:<regular expression with a group>`.
    make: what gives further values for this step and those after it, of the values so far (signatures, say).
    wait: seconds before the request.
    differs: what is known to differ (`status`, `reason`, `body`, `header etag`; `*`: anything) → why. That it does not differ is told, too.
    """

    method: str
    path: str
    headers: Mapping[str, str | None] = {}
    body: bytes | str | Sequence[bytes] = b""
    user: str = "owner"
    keep: Mapping[str, str] = {}
    make: Callable[[Values], Values] | None = None
    wait: float = 0
    whole: bool = False
    differs: Mapping[str, str] = {}


class Known(NamedTuple):
    """A difference that is expected wherever it is met: what it is in, and patterns that find it in both sides' values.

    One in the status or the body accounts for all that differs in that answer.
    """

    what: str
    reference: str
    ours: str
    why: str


class Feature(NamedTuple):
    """steps: in their order. filters: that stand in the pipeline for this feature only, or with options: name → lines.

    without: filters that don't. options: lines of the application's section. ignored: as `Step.differs`, for all steps, seen or not.

    known: differences that are expected at each step.
    words: (pattern, what stands for it) for texts of headers and bodies that are each side's own.
    """

    name: str
    steps: Sequence[Step]
    filters: Mapping[str, str] = {}
    without: Sequence[str] = ()
    options: str = ""
    ignored: Mapping[str, str] = {}
    words: Sequence[tuple[str, str]] = ()
    known: Sequence[Known] = ()

    @property
    def account(self) -> str:
        """Of its own, so that no feature sees what another one has stored."""
        return self.name.replace("_", "-")


def all_features(only: Sequence[str] = ()) -> list[Feature]:
    """Those of these names, or all of them. Raises ValueError for a name that there is not."""
    names = [module.name for module in pkgutil.iter_modules(features.__path__)]
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise ValueError(f"no such feature: {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    return [_feature(name) for name in sorted(only or names)]


def _feature(name: str) -> Feature:
    module = importlib.import_module(f"{features.__name__}.{name}")
    more = {
        key: getattr(module, key.upper())
        for key in ("filters", "without", "options", "ignored", "words", "known")
        if hasattr(module, key.upper())
    }
    return Feature(name, module.STEPS, **more)
