"""What may be read of a key, by the outcomes that its clients have seen.

Every write has a timestamp that a proxy gave it, and the greatest one wins. A client does not know it, but knows between which two
moments it was given: sent, and answered; a request without an answer may be worked on until all proxies are known to be idle.
`low` and `high` are these moments by the clock of the proxy. A write that was acknowledged hides all that are surely older; of
two that overlap either may be the last one.

What lives here: that rule. What never does: clocks, requests, what a body looks like.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

PUT, DELETE, POST = "PUT", "DELETE", "POST"
LONGEST_SKEW = 5.0  # seconds that the clock of a proxy may be ahead
NOW = float("inf")


@dataclass
class Write:
    """One request that changes a key. `number`: its own among all, 0 for none; `acknowledged`: the client was told that it is done.

    `began`, `ended`: by the clock of the clients. `skewed`: the proxy's clock was wrong.
    """

    number: int
    kind: str
    size: int = 0
    low: float = 0.0
    high: float = NOW
    began: float = 0.0
    ended: float = NOW
    acknowledged: bool = False
    skewed: bool = False


NOTHING = Write(0, DELETE, high=0.0, ended=0.0, acknowledged=True)


@dataclass
class Seen:
    """What a reader got: the PUT that the body is from and the write that its metadata are from; (0, 0) for 404."""

    data: int = 0
    metadata: int = 0


@dataclass
class Key:
    """The history of one object since it was last known for sure. Thread-safe."""

    writes: list[Write] = field(default_factory=lambda: [NOTHING])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, write: Write) -> None:
        with self.lock:
            self.writes.append(write)

    def known(self, number: int) -> Write | None:
        with self.lock:
            return next((write for write in self.writes if write.number == number), None)

    def quiesce(self, now: float) -> None:
        """All proxies are idle: nothing is given a timestamp any more. What one gave whose clock was ahead may be later than now."""
        with self.lock:
            for write in self.writes:
                write.high = min(write.high, now + LONGEST_SKEW if write.skewed else now)

    def last(self) -> list[Write]:
        """The PUTs and DELETEs of which each may be the last one."""
        with self.lock:
            whole = [write for write in self.writes if write.kind != POST]
        newest = max((write.low for write in whole if write.acknowledged), default=0.0)
        return [write for write in whole if write.high >= newest]

    def metadata_of(self, data: Write) -> list[Write]:
        """The writes whose metadata may be those of an object with this content."""
        with self.lock:
            posts = [write for write in self.writes if write.kind == POST]
        found = [data, *(post for post in posts if post.high >= data.low)]
        # with a clock that is wrong a POST may come to an object that it is older than, and go with a deletion in between
        if any(write.skewed for write in self.writes):
            return found
        newest = max((post.low for post in posts if post.acknowledged and post.low > data.high), default=0.0)
        return [write for write in found if write.high >= newest]

    def judge(self, seen: Seen) -> str:
        """What is wrong with this once all is quiet; '' for nothing."""
        last = self.last()
        if not seen.data:
            if any(write.kind == DELETE for write in last):
                return ""
            return f"404, but {_names(last)} was acknowledged"
        data = next((write for write in last if write.number == seen.data), None)
        if data is None or data.kind != PUT:
            return f"content of {seen.data}, but the last one is {_names(last)}"
        metadata = self.metadata_of(data)
        if seen.metadata not in {write.number for write in metadata}:
            return f"metadata of {seen.metadata}, not of {_names(metadata)}"
        return ""

    def judge_early(self, seen: Seen, began: float, ended: float) -> tuple[str, str]:
        """(what is wrong with an answer while things break, what is only behind); '' for nothing.

        Never: content that nobody wrote, or of a write that had not begun. While nodes are away what was overwritten or deleted may
        still be read, and an object may be missed.
        """
        with self.lock:
            writes = list(self.writes)
        for number, kinds in ((seen.data, (PUT,)), (seen.metadata, (PUT, POST))):
            write = next((write for write in writes if write.number == number), None)
            if number and (write is None or write.kind not in kinds):
                return f"content of {number}, which was never written or is long gone", ""
            if number and write is not None and write.began > ended:
                return f"content of {number}, which had not begun", ""
        whole = [write for write in writes if write.kind != POST]
        newest = max(
            (write.low for write in whole if write.acknowledged and write.ended < began), default=0.0
        )
        may = {write.number if write.kind == PUT else 0 for write in whole if write.high >= newest}
        if seen.data not in may:
            return "", "missed" if not seen.data else "old"
        return "", ""

    def settle(self, seen: Seen) -> None:
        """All have seen this and always will: what the next round begins with."""
        with self.lock:
            data = next((write for write in self.writes if write.number == seen.data), None)
            if data is None:
                newest = max((write.high for write in self.writes), default=0.0)
                self.writes = [Write(0, DELETE, high=newest, ended=0.0, acknowledged=True)]
                return
            kept = [data, *(w for w in self.writes if w.number == seen.metadata and w is not data)]
            for write in kept:
                write.acknowledged = True
            self.writes = kept


def _names(writes: list[Write]) -> str:
    return " or ".join(f"{write.kind} {write.number}" for write in writes) or "nothing"
