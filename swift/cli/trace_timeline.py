"""A transaction's events in their order, with what was slow and when nobody did anything: for a screen, and as JSON.

What never lives here: reading logs (`trace_lines.py`, `trace_events.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swift.cli.trace_events import Event, shown_time

SLOW_SHARE = 0.5  # of the whole, from which on a step is called slow
LEAST_SLOW = 0.005  # seconds below which nothing is
SKEW = 1.0  # seconds that clocks may differ by before it is said
_BAR = 20  # characters
_MOST_SHOWN = 60  # steps on a screen


@dataclass(frozen=True)
class Gap:
    """Seconds of the client's request in which no storage server was at work: from `start`, seconds after the beginning."""

    start: float
    seconds: float


class Timeline:
    """Of one transaction. `events`: in any order, one at least; messages without a time stand at the end."""

    def __init__(self, txn: str, events: Sequence[Event]) -> None:
        self.txn = txn
        self.events = sorted(
            events, key=lambda event: (event.at is None, event.start, -(event.seconds or 0), event.who)
        )
        fronts = [event for event in self.events if event.is_front]
        if not fronts:  # what a filter has taken over has its name, the client's own request, too
            fronts = [event for event in self.events if event.details.get("client")]
        self.front = max(fronts, key=lambda event: event.seconds or 0, default=None)
        timed = [event for event in self.events if event.at is not None]
        self.begin = self.front.start if self.front else (timed[0].start if timed else 0.0)
        self.seconds = (
            self.front.seconds or 0.0
            if self.front
            else max((event.at or 0.0 for event in timed), default=0.0) - self.begin
        )

    def offset(self, event: Event) -> float | None:
        """Seconds after the beginning at which it began."""
        return None if event.at is None else event.start - self.begin

    def is_slow(self, event: Event) -> bool:
        """Returns True if a step took most of the time."""
        return (
            event is not self.front
            and event.seconds is not None
            and event.seconds >= max(LEAST_SLOW, SLOW_SHARE * self.seconds)
        )

    def gaps(self) -> list[Gap]:
        """The times of the client's request, long ones only, in which the proxy waited for no step that has left a line."""
        if self.front is None:
            return []
        least = max(LEAST_SLOW, self.seconds / 5)
        found, covered, end = [], self.begin, self.begin + self.seconds
        for event in self.events:
            if event.seconds is None or event is self.front or event.at is None or not event.exact:
                continue
            if min(event.start, end) - covered >= least:
                found.append(Gap(covered - self.begin, min(event.start, end) - covered))
            covered = max(covered, event.at)
        if end - covered >= least:
            found.append(Gap(covered - self.begin, end - covered))
        return found

    def notes(self) -> list[str]:
        """What there is to say of it, a line each."""
        slow = [event for event in self.events if self.is_slow(event)]
        notes = [
            f"slow: {_who(event)} took {_ms(event.seconds or 0)} for {event.what.split(' ', 1)[0]}, {_share(event.seconds, self.seconds)}"
            for event in sorted(slow, key=lambda event: -(event.seconds or 0))[:3]
        ]
        notes += [
            f"gap: {_ms(gap.seconds)} from {_ms(gap.start)} on in which no storage server was at work (the proxy itself, its client, or a server whose log is not here)"
            for gap in self.gaps()
        ]
        bad = [event for event in self.events if (event.status or 0) >= 500]
        notes += [f"failed: {_who(event)} answered {event.status} to {event.what}" for event in bad[:5]]
        early = {
            event.where
            for event in self.events
            if self.front is not None and event.at is not None and event.start < self.begin - SKEW
        }
        notes += [f"clock: that of {where} is not ours; its times are off" for where in sorted(early)]
        late = [
            event
            for event in self.events
            if event.seconds is not None and (self.offset(event) or 0) > self.seconds + SKEW
        ]
        if late and self.front is not None:
            notes.append(
                f"later: {len(late)} done after the client had its answer, the last {_ms(max(self.offset(event) or 0 for event in late))} after the beginning"
            )
        if self.front is None:
            notes.append(
                "the request of a client is not among the lines: a daemon's, or the proxy's log is not here"
            )
        return notes

    def as_json(self) -> dict[str, Any]:
        """The same for programs. Times: seconds since the epoch, or after the beginning (`offset`)."""
        return {
            "transaction": self.txn,
            "began": self.begin,
            "seconds": self.seconds,
            "status": self.front.status if self.front else None,
            "request": self.front.what if self.front else None,
            "events": [
                {
                    "offset": self.offset(event),
                    "seconds": event.seconds,
                    "exact": event.exact,
                    "where": event.where,
                    "who": event.who,
                    "what": event.what,
                    "status": event.status,
                    "level": event.level or None,
                    "slow": self.is_slow(event),
                    **{key: value for key, value in event.details.items() if value not in ("", 0)},
                }
                for event in self.events
            ],
            "gaps": [{"offset": gap.start, "seconds": gap.seconds} for gap in self.gaps()],
            "notes": self.notes(),
        }

    def as_text(self, width: int) -> str:
        """For a screen of so many columns."""
        lines = self._heading(width)
        shown = self.events[:_MOST_SHOWN]
        names = [(_who(event), event.where) for event in shown]
        who_width = min(max((len(who) for who, _ in names), default=0), 34)
        where_width = min(max((len(where) for _, where in names), default=0), 20)
        lines.append(f"{'began':>10} {'took':>9}  {'who':<{who_width}}  {'where':<{where_width}}  what")
        for event, (who, where) in zip(shown, names, strict=True):
            offset = self.offset(event)
            about = "" if event.exact else "~"
            began = "-" if offset is None else about + _ms(offset)
            took = _ms(event.seconds) if event.seconds is not None else ""
            first, *rest = self._what(event).splitlines() or [""]
            head = f"{began:>10} {took:>9}  {who[:who_width]:<{who_width}}  {where[:where_width]:<{where_width}}  "
            lines.append(_cut(head + first, width))
            lines += [_cut(" " * 12 + line, width) for line in rest[-8:]]
            if event.seconds is not None and self.seconds > 0 and event.exact:
                lines[-1] = self._with_bar(lines[-1], event, width)
        if len(self.events) > len(shown):
            lines.append(f"... and {len(self.events) - len(shown)} more (--json has all)")
        lines += (_cut(f"- {note}", 4 * width) for note in self.notes())
        return "\n".join(map(plain, lines))

    def _heading(self, width: int) -> list[str]:
        lines = [f"transaction {self.txn}   {shown_time(self.begin)} UTC"]
        if self.front is not None:
            details = self.front.details
            told = [
                f"{key} {details[key]}"
                for key in ("client", "user", "agent", "received", "sent", "trace")
                if details.get(key)
            ]
            lines.append(_cut(f"{self.front.what}: {self.front.status} in {_ms(self.seconds)}", width))
            lines.append(_cut("  ".join(told), width))
        return lines

    def _what(self, event: Event) -> str:
        if event.seconds is None:
            return f"{event.level or 'message'}: {event.what}"
        source = event.details.get("source")
        slow = "  <- slow" if self.is_slow(event) else ""
        return f"{event.status} {event.what}{f' ({source})' if source else ''}{slow}"

    def _with_bar(self, line: str, event: Event, width: int) -> str:
        offset = self.offset(event) or 0.0
        if offset > self.seconds or width < len(line) + _BAR + 2:
            return line
        begin = min(max(int(offset / self.seconds * _BAR), 0), _BAR - 1)
        length = max(1, min(round((event.seconds or 0) / self.seconds * _BAR), _BAR - begin))
        return f"{line:<{width - _BAR - 1}} {' ' * begin}{'#' * length}"


def plain(line: str) -> str:
    """A line for a terminal: what clients have written into logs gives it no orders."""
    if line.isprintable():
        return line
    return "".join(
        letter if letter.isprintable() or letter == "\t" else ascii(letter)[1:-1] for letter in line
    )


def _who(event: Event) -> str:
    device = event.details.get("device")
    agent = event.details.get("agent", "")
    daemon = (
        agent.split(" ")[0]
        if device and not agent.startswith(("proxy-server", "Swift", "object-server"))
        else ""
    )
    name = event.who or "?"
    return f"{name} {device}" + (f" (for {daemon})" if daemon else "") if device else name


def _ms(seconds: float) -> str:
    if abs(seconds) < 9.9995:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.1f} s" if abs(seconds) < 10_000 else f"{seconds / 3600:.1f} h"


def _share(part: float | None, whole: float) -> str:
    return f"{100 * (part or 0) / whole:.0f} % of the whole" if whole > 0 else "all of it"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."
