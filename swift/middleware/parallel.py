"""Many small requests for one client's request: several at a time, more of them as long as all goes well (no HTTP here).

Also what is long without any: others get their turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from swift.core.concurrency import Event, LightQueue, Timeout, kill, sleep, spawn, spawn_n
from swift.telemetry.log import Transaction, set_transaction, transaction

Job = TypeVar("Job")
Result = TypeVar("Result")

MOST = 32
_TURN = 1000  # things that are looked at without a pause
_NO_MORE = object()


def in_turns(things: Iterable[Job], turn: int = _TURN) -> Iterator[Job]:
    """The same, with a pause after each `turn` in which other requests go on: for what a client can make very many of."""
    for count, thing in enumerate(things, 1):
        yield thing
        if count % turn == 0:
            sleep(0)


def in_parallel(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    first: int,
    went_well: Callable[[Result], bool],
    most: int = MOST,
) -> Iterator[tuple[Job, Result]]:
    """(job, work(job)) as they come, `first` at a time to begin with.

    Each result that `went_well` lets one more be worked on at a time, up to `most`; each that did not halves their number. What `work`
    raises is raised here. Whoever stops asking lets those that run come to their end, and begins no others.
    """
    waiting = iter(jobs)
    orders: LightQueue = LightQueue()
    finished: LightQueue = LightQueue()
    request = transaction()
    running, workers, limit, more = 0, 0, max(min(first, most), 1), True
    try:
        while True:
            while more and running < limit:
                try:
                    job = next(waiting)
                except StopIteration:
                    more = False
                    break
                running += 1
                if running > workers:
                    workers += 1
                    spawn_n(_run, work, orders, finished, request)
                orders.put(job)
            if not running:
                return
            job, result, error = finished.get()
            running -= 1
            if error is not None:
                raise error
            limit = min(limit + 1, max(most, 1)) if went_well(result) else max(limit // 2, 1)
            yield job, result
    finally:
        for _ in range(workers):
            orders.put(_NO_MORE)


def _run(work: Callable[[Any], Any], orders: LightQueue, finished: LightQueue, request: Transaction) -> None:
    """One job after the other: a green thread for each would cost as much as a small job itself."""
    set_transaction(*request)
    while (job := orders.get()) is not _NO_MORE:
        try:
            finished.put((job, work(job), None))
        except (Exception, Timeout) as error:
            finished.put((job, None, error))


class Meanwhile:
    """`work(*arguments)` while the request's own work goes on; nobody need wait for it."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._done = Event()
        self._worker = spawn(self._run, work, arguments, transaction())

    def _run(self, work: Callable[..., Any], arguments: tuple[Any, ...], request: Transaction) -> None:
        set_transaction(*request)
        try:
            self._done.send((work(*arguments), None))
        except (Exception, Timeout) as error:
            self._done.send((None, error))

    def is_done_within(self, seconds: float) -> bool:
        """Waits so long at most; returns True if it is done."""
        if not self._done.ready():
            with Timeout(seconds, False):
                self._done.wait()
        return bool(self._done.ready())

    def stop(self) -> None:
        """It comes to no end if it has not done so yet."""
        kill(self._worker)

    def wait(self) -> Any:
        """Its result; raises what it raised."""
        result, error = self._done.wait()
        if error is not None:
            raise error
        return result
