"""Every kind of change has its word for targets: handlers that lose theirs in a change are named here."""

from __future__ import annotations

import pathlib
import re

from swift.s3.notifications import events

S3 = pathlib.Path(events.__file__).parents[1]


def test_each_event_is_told_by_somebody() -> None:
    text = "".join(path.read_text() for path in S3.rglob("*.py") if path.parent.name != "notifications")
    told = set(re.findall(r"events\.([A-Z_]+)", text))
    names = {name for name, value in vars(events).items() if name.isupper() and value in events.FIRED}
    assert names - told == set()
