"""What this server tells about itself under ``/info``: sections that features register while the pipeline is built.

Lives here: the registry and the filtered copy of it. Never here: HTTP, the signature of the admin view, or any feature's
own keys (each feature registers its own).
"""

import copy
from collections.abc import Iterable
from typing import Any

RESERVED_NAMES = frozenset(("admin", "disallowed_sections"))

_public: dict[str, dict[str, Any]] = {}
_admin: dict[str, dict[str, Any]] = {}


def register(section: str = "swift", *, admin: bool = False, **entries: Any) -> None:
    """Add ``entries`` to ``section``; with ``admin`` they show in the signed view only (spec middleware 2.12).

    Values must be JSON-able. A section without entries appears as ``{}``. Registering a key again replaces it.

    Raises ValueError for a reserved name and for a name with a dot: dots separate the parts of ``disallowed_sections``.
    """
    if section in RESERVED_NAMES:
        raise ValueError(f"{section!r} is a reserved section name")
    for name in (section, *entries):
        if "." in name:
            raise ValueError(f"{name!r}: names under /info cannot contain a dot")
    if not admin:
        for key in entries:
            if key in RESERVED_NAMES:
                raise ValueError(f"{key!r} is a reserved name")
    (_admin if admin else _public).setdefault(section, {}).update(entries)


def disclosed(*, admin: bool = False, disallowed_sections: Iterable[str] = ()) -> dict[str, Any]:
    """A copy of the registry that the caller may keep and change.

    ``disallowed_sections`` holds dotted names (``tempauth``, ``swift.valid_api_versions``) that are left out. With ``admin``
    the copy has an ``admin`` section: what was registered for it, and the list of disallowed sections.
    """
    disallowed = [name for name in disallowed_sections if name]
    info = copy.deepcopy(_public)
    for name in disallowed:
        _remove(info, name.split("."))
    if admin:
        info["admin"] = copy.deepcopy(_admin)
        info["admin"]["disallowed_sections"] = disallowed  # type: ignore[assignment]
    return info


def forget_all() -> None:
    """Empty the registry: for a process that loads a second configuration."""
    _public.clear()
    _admin.clear()


def _remove(info: dict[str, Any], parts: list[str]) -> None:
    for part in parts[:-1]:
        info = info.get(part)  # type: ignore[assignment]
        if not isinstance(info, dict):
            return
    info.pop(parts[-1], None)
