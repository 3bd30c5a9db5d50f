"""What became of many small operations, and the answer that tells it: 200 at once, spaces while it lasts (spec middleware 2.9, 4.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from swift.middleware.parallel import Meanwhile
from swift.middleware.summary import summary_body

XML_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


class Summary:
    """status: the status line of the whole; body: a text about it; counts: by what they are called; root: the tag around XML.

    Failures are told in the order of their numbers.
    """

    def __init__(self, root: str, status: str, counts: tuple[str, ...]) -> None:
        self.root = root
        self.status = status
        self.body = ""
        self.counts = dict.fromkeys(counts, 0)
        self._failures: list[tuple[int, str, str]] = []

    @property
    def failures(self) -> int:
        """How many there are."""
        return len(self._failures)

    def fail(self, number: int, name: str, status: str) -> None:
        """One operation went wrong; `name` is told as it is."""
        self._failures.append((number, name, status))

    def written(self, media_type: str) -> bytes:
        """As a body."""
        fields: dict[str, Any] = {"Response Status": self.status, "Response Body": self.body, **self.counts}
        errors = [(name, status) for _, name, status in sorted(self._failures)]
        return summary_body(media_type, fields, errors, self.root)


def told_at_the_end(work: Callable[[], bytes], seconds: float, is_xml: bool) -> Iterator[bytes]:
    """What `work` returns, after a space for each time that so many seconds have gone by.

    Whoever stops asking ends the work. What it raises is raised here.
    """
    doing = Meanwhile(work)
    waited = False
    try:
        while not doing.is_done_within(seconds):
            if not waited and is_xml:
                yield XML_DECLARATION
            waited = True
            yield b" "
        if waited:
            yield b"\r\n\r\n"
        yield doing.wait()
    finally:
        doing.stop()
