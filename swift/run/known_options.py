"""The look for options and sections that nothing here reads, so that a misspelt one is named and not silently without effect.

What never lives here: the names that are known (`option_names`).
"""

from __future__ import annotations

import configparser
import difflib
from collections.abc import Iterable

from swift.core.config import fill_parser
from swift.run.option_names import FREE, NEEDLESS, OPTIONS, SECTIONS


def _is_slip(name: str) -> bool:
    """Returns True for a name of the log's that is free, for handlers of others, but all but ours."""
    return name.startswith("log_") and bool(difflib.get_close_matches(name, OPTIONS, 1, 0.87))


def unknown_options(path: str, daemon: str = "") -> list[str]:
    """A line for each option that nothing reads: in [DEFAULT], in the sections of our own filters, apps and targets, in [<daemon>].

    `path`: a file or a directory of `*.conf`. Raises ConfigError if it can't be read.
    """
    parser = configparser.RawConfigParser(
        default_section="", strict=False, comment_prefixes=("#", ";"), inline_comment_prefixes=None
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    fill_parser(parser, path)
    found = []
    for section in parser.sections():
        options = dict(parser.items(section))
        is_ours = section in ("DEFAULT", daemon) or section.startswith("s3-target:")
        if not is_ours and not options.get("use", "").startswith("egg:swift#"):
            continue
        for option in options:
            name = option.removeprefix("set ").strip()
            if name in NEEDLESS:
                found.append(f"option {name} in [{section}] has no effect here: {NEEDLESS[name]}")
            if name in OPTIONS or name in NEEDLESS or (FREE.fullmatch(name) and not _is_slip(name)):
                continue
            name, *value = name.split(None, 1)  # without its first = a line is all name, or name and secret
            similar = difflib.get_close_matches(name, OPTIONS, 1, 0.8)
            hint = f" (did you mean {similar[0]}?)" if similar else ""
            shown = f"{name} …" if value else name
            found.append(f"unknown option {shown} in [{section}] has no effect{hint}")
    return found


def unknown_sections(sections: Iterable[str]) -> list[str]:
    """A line for each section that nothing reads, as far as its name says."""
    found = []
    for section in sections:
        if ":" in section or section in SECTIONS:
            continue
        similar = difflib.get_close_matches(section, SECTIONS, 1, 0.8)
        hint = f" (did you mean [{similar[0]}]?)" if similar else ""
        found.append(f"nothing reads the section [{section}]{hint}")
    return found
