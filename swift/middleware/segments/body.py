"""A body made of segments: they go out one after the other, and the next ones are asked for while one is on its way.

Where nothing has to look at its bytes, a segment sends itself past Python (`send_to`). Each gives exactly the bytes that were promised
or the body breaks off, which the client sees: one that looks whole is whole. Never here: what a segment is asked for (`source`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from swift.core import clock
from swift.core.concurrency import Event, LightQueue, Timeout, sleep, spawn_after, spawn_n
from swift.middleware.segments.pace import Pace
from swift.middleware.segments.source import Piece, Segment, SegmentError, SegmentSource, Span
from swift.telemetry.log import Transaction, set_transaction, transaction

MOST_AHEAD = 4  # segments that are asked for ahead of their turn
BYTES_AHEAD = 4 * 1024 * 1024  # no further one is asked for where those, and bytes in between, are so many
LONGEST_QUEUE = 16  # pieces that are looked at for that
# An answer that waits for its turn keeps a storage server waiting, which gives up at some time.
LONGEST_WAIT = 5.0
SLOW = 2.0  # seconds for one segment: who takes that long needs nothing ahead


class _Ahead:
    """A segment that was asked for ahead of its turn."""

    __slots__ = ("_source", "error", "is_ready", "is_wanted", "segment", "since", "span")

    def __init__(self, source: SegmentSource, span: Span) -> None:
        self.span = span
        self.segment: Segment | None = None
        self.error: BaseException | None = None
        self.since = 0.0
        self.is_ready = Event()
        self.is_wanted = True
        self._source = source

    def ask(self) -> None:
        """Waits for the answer's head, unless nobody wants it any more."""
        try:
            if self.is_wanted:
                self.segment = self._source.open(self.span)
        except (Exception, Timeout) as error:
            self.error = error
        self.since = clock.monotonic()
        if not self.is_wanted:
            self.drop()
        self.is_ready.send()

    @property
    def length(self) -> int:
        return self.span.length

    def take(self) -> Segment:
        """Waits for it. Raises what asking for it raised."""
        self.is_ready.wait()
        if self.error is not None:
            raise self.error
        segment, self.segment = self.segment, None
        return segment if segment is not None else self._source.open(self.span)

    def drop_if_old(self) -> bool:
        """Let go of an answer that has waited too long: it is asked for again when its turn comes."""
        if self.segment is None or clock.monotonic() - self.since < LONGEST_WAIT:
            return False
        self.drop()
        return True

    def drop(self) -> None:
        """Nobody wants it any more."""
        self.is_wanted = False
        segment, self.segment = self.segment, None
        if segment is not None:
            segment.close()


class _Askers:
    """The green threads that ask: as many as ask at a time, kept until `stop`, as making one for each segment costs more than waking it."""

    __slots__ = ("_idle", "_is_stopped", "_orders")

    def __init__(self) -> None:
        self._orders: LightQueue = LightQueue()
        self._idle = 0
        self._is_stopped = False

    def ask(self, ahead: _Ahead) -> None:
        """Have it asked for, beside all others."""
        if self._idle:
            self._idle -= 1
            self._orders.put(ahead)
        else:
            spawn_n(self._run, ahead, transaction())

    def _run(self, ahead: _Ahead | None, request: Transaction) -> None:
        set_transaction(*request)
        while ahead is not None:
            ahead.ask()
            if self._is_stopped:
                break
            self._idle += 1
            ahead = None  # what was asked for is not kept alive by who waits for the next
            ahead = self._orders.get()

    def stop(self) -> None:
        """They end once they have nothing to do."""
        self._is_stopped = True
        for _ in range(self._idle):
            self._orders.put(None)
        self._idle = 0


class SegmentedBody:
    """The bytes of `pieces`, in order. `length`: of all of them, None if nobody knows; `longest`: seconds that all may take together.

    `prime` is called before the answer begins, so that a first segment that is not there can still be said.
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        source: SegmentSource,
        pace: Pace,
        length: int | None,
        longest: float,
        logger: Any,
    ) -> None:
        self.length = length
        self._logger = logger
        self._pieces = pieces
        self._source = source
        self._pace = pace
        self._askers = _Askers()
        self._until = clock.monotonic() + longest
        self._queue: deque[bytes | Span | _Ahead | Exception] = deque()
        self._current: Segment | None = None
        self._asked = 0  # segments in the queue that were asked for
        self._bytes = 0  # theirs, and those that stand in the queue
        self._has_all = False  # of `pieces`, in the queue
        self._is_closed = False
        self._is_quick = True  # the client, so far
        self._watch: Any = None

    def prime(self) -> None:
        """Have the first segment's answer here, unless it is far behind. Raises SegmentError."""
        while not self._has_all and not (self._queue and type(self._queue[-1]) is not bytes):
            if self._is_full():
                return
            self._pull()
        first = self._queue[-1] if self._queue else b""
        if isinstance(first, Exception):
            self.close()
            raise first
        if isinstance(first, Span):
            # The others are asked for later: nothing is to delay the first byte.
            ahead = self._put_ahead(first)
            sleep(0)
            if not ahead.is_ready.ready():
                self._pull()  # What comes next is found out while it is on its way.
            ahead.is_ready.wait()
            if ahead.error is not None:
                error = ahead.error
                self.close()
                raise error

    def log(self, error: SegmentError) -> None:
        """Tell the operator why a client got no body, or not all of it."""
        self._logger.error("%s", error)

    # -- the body ----------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        """Raises SegmentError, and what reading a segment raises."""
        try:
            for part in self._parts():
                if isinstance(part, bytes):
                    yield part
                else:
                    yield from part
        finally:
            self.close()

    def send_to(self, stream: Any) -> int:
        """Send all of it; bytes sent. Raises OSError if the client is gone, SegmentError, and what sending a segment raises."""
        sent = 0
        for part in self._parts():
            if isinstance(part, bytes):
                stream.sendall(part)
                sent += len(part)
                continue
            send_to = part.send_to
            if send_to is not None:
                sent += send_to(stream)
                continue
            for data in part:
                stream.sendall(data)
                sent += len(data)
        return sent

    def _parts(self) -> Iterator[bytes | Segment]:
        """What is to be sent, one after the other; the next ones are asked for before one is given out."""
        left = self.length
        while True:
            self._ask_ahead()
            if not self._queue:
                return
            part = self._queue[0]  # where `close` finds it, if it is not given out
            if isinstance(part, Exception):
                raise part
            if left is not None:
                left -= len(part) if isinstance(part, bytes) else part.length
                if left < 0:
                    raise SegmentError(f"{self._source.manifest} holds more than it said")
            began = clock.monotonic()
            if began > self._until:
                raise SegmentError(f"{self._source.manifest} takes longer than max_get_time")
            self._queue.popleft()
            if isinstance(part, bytes):
                self._bytes -= len(part)
                yield part
                continue
            if isinstance(part, _Ahead):
                self._asked -= 1
                self._bytes -= part.length
                self._ask_ahead()
            else:
                part = self._asked_for(part)
            self._current = segment = part.take()
            yield segment
            self._current = None
            self._is_quick = clock.monotonic() - began < SLOW

    # -- ahead -------------------------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        """Take the next piece into the queue. What fails there fails when its turn comes."""
        try:
            piece = next(self._pieces)
        except StopIteration:
            self._has_all = True
        except Exception as error:
            self._queue.append(error)
            self._has_all = True
        else:
            self._queue.append(piece)
            if isinstance(piece, bytes):
                self._bytes += len(piece)

    def _is_full(self) -> bool:
        """Returns True if no further piece is to come into the queue."""
        return self._bytes >= BYTES_AHEAD or len(self._queue) >= LONGEST_QUEUE

    def _asked_for(self, span: Span) -> _Ahead:
        """Ask for a span, when the pace allows it."""
        delay = self._pace.delay(span.is_small)
        if delay:
            sleep(delay)
        self._pace.passed(span.is_small)
        ahead = _Ahead(self._source, span)
        self._askers.ask(ahead)
        return ahead

    def _ask_ahead(self) -> None:
        """Ask for what comes next, as far as that is worth it; at least one piece is in the queue afterwards if there is one.

        Only the last piece in the queue can be one that was not asked for yet.
        """
        queue = self._queue
        if not queue and not self._has_all:
            self._pull()
        if not self._is_quick:
            return
        while queue and self._asked < MOST_AHEAD and not self._is_full():
            last = queue[-1]
            if type(last) is Span:
                if self._pace.delay(last.is_small):
                    return
                self._put_ahead(last)
            if self._has_all:
                return
            self._pull()

    def _put_ahead(self, span: Span) -> _Ahead:
        """Ask for the last piece in the queue."""
        ahead = self._queue[-1] = self._asked_for(span)
        self._asked += 1
        self._bytes += ahead.length
        self._watch_over()
        return ahead

    def _watch_over(self) -> None:
        """See to it that no answer waits too long."""
        if self._watch is None and not self._is_closed:
            self._watch = spawn_after(LONGEST_WAIT, self._drop_old)

    def _drop_old(self) -> None:
        self._watch = None
        waiting = False
        for piece in self._queue:
            if isinstance(piece, _Ahead):
                if piece.drop_if_old():
                    self._is_quick = False
                else:
                    waiting = waiting or piece.segment is not None or not piece.is_ready.ready()
        if waiting:
            self._watch_over()

    def close(self) -> None:
        """The client is gone or done: let go of everything. What is still being asked for is let go of once it is there."""
        if self._is_closed:
            return
        self._is_closed = self._has_all = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        queue, self._queue = self._queue, deque()
        for piece in queue:
            if isinstance(piece, _Ahead):
                piece.drop()
        self._askers.stop()
        current, self._current = self._current, None
        if current is not None:
            current.close()

    def __del__(self) -> None:
        self.close()
