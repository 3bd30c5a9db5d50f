"""The Accept header: choosing one of the media types that a server offers. Spec: proxy-and-backend.md 22, middleware.md 2.2."""

import re
from collections.abc import Sequence

_TOKEN = r"[^\s/,;=()<>@:\"\[\]?{}\\]+"
_ITEM = re.compile(
    rf"\s*({_TOKEN}/{_TOKEN})\s*((?:;\s*{_TOKEN}\s*=\s*(?:\"(?:[^\"\\]|\\.)*\"|{_TOKEN})\s*)*)(?:,|\Z)"
)
_QUALITY = re.compile(r";\s*q\s*=\s*\"?([^;\"\s]+)", re.IGNORECASE)
_MAX_LENGTH = 8192


class Accept:
    """An Accept header; reading it is put off until best_match()."""

    __slots__ = ("header",)

    def __init__(self, header: str | None) -> None:
        self.header = header

    def best_match(self, options: Sequence[str]) -> str | None:
        """The first option that the client likes best: by quality, then by having fewer `*`.

        No header: the first option; nothing acceptable: None. ValueError when the header is malformed.
        """
        if not self.header:
            return options[0]
        for pattern in self._patterns():
            for option in options:
                if pattern in (option, "*/*") or (pattern.endswith("/*") and option.startswith(pattern[:-1])):
                    return option
        return None

    def _patterns(self) -> list[str]:
        header = self.header or ""
        if len(header) > _MAX_LENGTH:
            raise ValueError("Invalid Accept header")
        found: list[tuple[float, int, int, str]] = []
        position = 0
        while position < len(header):
            match = _ITEM.match(header, position)
            if match is None:
                raise ValueError("Invalid Accept header")
            position = match.end()
            media_type = match.group(1)
            major, minor = media_type.split("/", 1)
            if ("*" in major and major != "*") or ("*" in minor and minor != "*") or (major == "*" != minor):
                raise ValueError("Invalid Accept header")
            quality = _QUALITY.search(match.group(2))
            q = float(quality.group(1)) if quality else 1.0
            if not q >= 0:
                raise ValueError("Invalid Accept header")
            found.append((-q, media_type.count("*"), len(found), media_type))
        return [media_type for *_, media_type in sorted(found)]

    def __str__(self) -> str:
        return self.header or ""
