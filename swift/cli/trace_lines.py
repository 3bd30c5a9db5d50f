"""Lines of logs that have one of some words in them, found in files of any size, packed ones, a stream, or the journal.

What lives here: where logs are, and reading them piece by piece with bounded memory. What never does: what a line means
(`trace_events.py`), and the command (`trace.py`).
"""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from configparser import ConfigParser, Error
from dataclasses import dataclass
from typing import IO, Any

PIECE = 4 * 1024 * 1024  # bytes read at a time
LONGEST_LINE = 256 * 1024  # of which more is not looked at as one
MOST_LINES = 20_000  # kept; more are counted
MOST_BYTES = 256 * 1024 * 1024  # of them together
USUAL_LOGS = ("/var/log/swift/*", "/var/log/syslog*", "/var/log/messages*")
_OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass
class Found:
    """Lines with where they are from, and what was read for them."""

    lines: list[tuple[str, bytes]]
    files: int = 0
    bytes_read: int = 0
    left_out: int = 0  # lines beyond MOST_LINES or MOST_BYTES
    bytes_kept: int = 0
    problems: tuple[str, ...] = ()

    def add(self, source: str, line: bytes) -> None:
        if len(self.lines) < MOST_LINES and self.bytes_kept + len(line) <= MOST_BYTES:
            self.lines.append((source, line))
            self.bytes_kept += len(line)
        else:
            self.left_out += 1


def search(paths: Iterable[str], words: Sequence[bytes], found: Found, since: float = 0.0) -> None:
    """Adds the lines of these files that have one of the words. Files last written before `since` (seconds since the epoch) are passed over."""
    for path in paths:
        try:
            if since and os.stat(path).st_mtime < since:
                continue
            with _open(path) as file:
                found.files += 1
                search_stream(file, path, words, found)
        except (OSError, EOFError, lzma.LZMAError) as error:
            found.problems += (f"{path}: {getattr(error, 'strerror', None) or error}",)


def search_stream(file: IO[bytes], source: str, words: Sequence[bytes], found: Found) -> None:
    """The same of what can be read once."""
    for piece in _pieces(file):
        found.bytes_read += len(piece)
        for line in _lines_with(piece, words):
            found.add(source, line)


def _open(path: str) -> IO[bytes]:
    return _OPENERS.get(os.path.splitext(path)[1], open)(path, "rb")  # type: ignore[operator, call-arg]


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, many at a time."""
    rest = b""
    while data := file.read(PIECE):
        data = rest + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) < LONGEST_LINE:
            rest = data
            continue
        rest = data[end:] if end and len(data) - end < LONGEST_LINE else b""
        yield data[: end or len(data)]
    if rest:
        yield rest


def _lines_with(piece: bytes, words: Sequence[bytes]) -> Iterator[bytes]:
    """In their order, each once."""
    starts = set()
    for word in words:
        at = piece.find(word)
        while at >= 0:
            starts.add(piece.rfind(b"\n", 0, at) + 1)
            end = piece.find(b"\n", at)
            if end < 0:
                break
            at = piece.find(word, end)
    for start in sorted(starts):
        end = piece.find(b"\n", start)
        end = end if end >= 0 else len(piece)
        yield piece[start : min(end, start + LONGEST_LINE)].rstrip(b"\r\0")


def spooled(stream: IO[bytes]) -> IO[bytes]:
    """A stream that can be read more than once; on disk where it is long. The caller closes it."""
    file = tempfile.SpooledTemporaryFile(max_size=PIECE)
    while data := stream.read(PIECE):
        file.write(data)
    file.seek(0)
    return file  # type: ignore[return-value]


def journal(words: Sequence[str], since: float, found: Found) -> None:
    """Adds what the journal has, if there is one."""
    command = ["journalctl", "--no-pager", "-q", "-o", "short-iso-precise", "-g", "|".join(words)]
    if since:
        command.append(f"--since=@{int(since)}")
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            search_stream(process.stdout, "journal", [word.encode() for word in words], found)
        found.files += 1
    except OSError:
        pass


def log_files(swift_dir: str) -> list[str]:
    """Where logs are on this machine: the log_file of each configuration, the usual places, and what was rotated from them."""
    paths = set()
    for conf in glob.glob(os.path.join(glob.escape(swift_dir), "**", "*.conf"), recursive=True):
        paths |= _log_files_of(conf)
    found = {path for pattern in USUAL_LOGS for path in glob.glob(pattern)}
    for path in paths:
        found |= set(with_rotated(path))
    return sorted(path for path in found if os.path.isfile(path))


def with_rotated(path: str) -> list[str]:
    """A log, or those of a folder, and what was put aside from it: NAME.1, NAME.2.gz, NAME-20261130.gz …"""
    if os.path.isdir(path):
        return sorted(entry.path for entry in os.scandir(path) if entry.is_file())
    escaped = glob.escape(path)
    return sorted({path, *glob.glob(f"{escaped}.[0-9]*"), *glob.glob(f"{escaped}-[0-9]*")})


def _log_files_of(conf: str) -> set[str]:
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(conf)
    except (Error, UnicodeDecodeError, OSError):
        return set()
    names = ("log_file", "access_log_file")
    found = {value for name in names if (value := parser.defaults().get(name))}
    for section in parser.sections():
        found |= {value for name in names if (value := parser.get(section, name, fallback=""))}
    return found
