"""Values of options that lie outside of the configuration: in a file, or in the environment.

`%(file:/etc/swift/secrets/token.key)s` stands for what a file holds, `%(env:NAME)s` for a variable, as a whole value or within one. To parsers
that don't know these forms they are references to options that there can't be, so no configuration can mean anything else by them.

What lives here: finding and reading them. What never does: telling anybody what they hold.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import stat
from collections.abc import Iterator

MAX_BYTES = 64 * 1024
_OUTSIDE = re.compile(r"%\((file|env):([^)]*)\)s")
_open_files = True


class OutsideValueError(configparser.InterpolationError):
    """`why`: on one line, without the value."""

    def __init__(self, option: str, section: str, why: str) -> None:
        super().__init__(option, section, f"the value of {option} in [{section}] {why}")
        self.why = why


@contextlib.contextmanager
def left_as_written() -> Iterator[None]:
    """Within it such values stand for themselves: for whoever shows a configuration."""
    global _open_files
    before, _open_files = _open_files, False
    try:
        yield
    finally:
        _open_files = before


def has_outside(value: str) -> bool:
    """Returns True if a value, as it is written, takes something from outside."""
    return _OUTSIDE.search(value) is not None


def is_outside(value: str) -> bool:
    """Returns True if all of a value, as it is written, comes from outside."""
    return _OUTSIDE.fullmatch(value) is not None


def filled_in(
    section: str, option: str, value: str, lenient: bool, encoding: str = "utf-8"
) -> tuple[str, bool]:
    """(the value with what stands outside, whether that is all): else `%(name)s` is still to be looked up, and `%` of what came is doubled.

    `lenient`: a value without `%(` is taken as it stands. Raises OutsideValueError.
    """
    if "%(file:" not in value and "%(env:" not in value:
        return value, False
    rest = _OUTSIDE.sub("", value)
    is_all = not _open_files or (lenient and "%(" not in rest)

    def content(match: re.Match[str]) -> str:
        if not _open_files:
            return match[0]
        try:
            found = _file(match[2], encoding) if match[1] == "file" else _variable(match[2])
        except (OSError, ValueError) as error:
            why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise OutsideValueError(
                option, section, f"is to come from {match[1]}:{match[2]}: {why}"
            ) from None
        return found if is_all else found.replace("%", "%%")

    return _OUTSIDE.sub(content, value), is_all


def _variable(name: str) -> str:
    if name not in os.environ:
        raise ValueError("there is no such variable")
    return os.environ[name]


def _file(path: str, encoding: str) -> str:
    """What a file holds, without the line end. Raises OSError, and ValueError for one that others may read or change."""
    if not os.path.isabs(path):
        raise ValueError("not an absolute path")
    # without waiting for a writer, if it is a pipe
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("not a file")
        if state.st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            raise ValueError(
                f"others may read or change it (mode {stat.S_IMODE(state.st_mode):04o}): chmod 0640 or less"
            )
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    text = data.decode(encoding, "surrogateescape").removesuffix("\n").removesuffix("\r")
    if "\n" in text or "\0" in text:
        raise ValueError("more than one line")
    return text
