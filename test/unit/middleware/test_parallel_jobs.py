"""Many small jobs for one request: how many run at a time, and in how many green threads."""

from __future__ import annotations

import pytest

from swift.core.concurrency import sleep
from swift.middleware import parallel
from swift.middleware.parallel import in_parallel


@pytest.fixture
def threads(monkeypatch):
    made = []
    spawn_n = parallel.spawn_n
    monkeypatch.setattr(parallel, "spawn_n", lambda *given: made.append(spawn_n(*given)))
    return made


def turns():
    for _ in range(3):
        sleep(0)


def test_few_threads_do_all_jobs_and_end(threads):
    running = most = 0

    def work(job):
        nonlocal running, most
        running += 1
        most = max(most, running)
        sleep(0)
        running -= 1
        return job * 2

    found = dict(in_parallel(work, range(100), 2, lambda _: True, most=5))
    assert found == {job: job * 2 for job in range(100)}
    turns()
    assert most == 5
    assert len(threads) <= 5
    assert all(thread.dead for thread in threads)


def test_they_end_when_nobody_asks_any_more(threads):
    begun = []
    results = in_parallel(begun.append, range(100), 2, lambda _: True)
    next(results)
    results.close()
    turns()
    assert all(thread.dead for thread in threads)
    assert len(begun) < 10


def test_what_a_job_raises_is_raised_and_the_others_come_to_their_end(threads):
    ended = []

    def work(job):
        if job == 1:
            raise ValueError("no")
        sleep(0)
        ended.append(job)

    with pytest.raises(ValueError, match="no"):
        list(in_parallel(work, range(100), 3, lambda _: True))
    turns()
    assert all(thread.dead for thread in threads)
    assert 0 in ended and len(ended) < 10
