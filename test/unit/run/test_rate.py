from swift.run.rate import RateLimiter


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.slept.append(round(seconds, 6))
        self.now += seconds


def limiter(clock, *args, **kwargs):
    return RateLimiter(*args, clock=clock, pause=clock.pause, **kwargs)


def test_events_are_spaced_out():
    clock = Clock()
    limit = limiter(clock, 10)
    for _ in range(5):
        limit.wait()
    assert clock.slept == [0.1] * 4
    limit.wait(5)
    limit.wait()
    assert clock.slept[-2:] == [0.1, 0.5]


def test_lost_time_is_made_up_for_within_the_buffer():
    clock = Clock()
    limit = limiter(clock, 10)
    limit.wait()
    clock.now += 1.0
    for _ in range(10):
        limit.wait()
    assert not clock.slept
    limit.wait()
    assert clock.slept == [0.1]


def test_a_long_pause_earns_nothing_unless_asked_for():
    clock = Clock()
    limit = limiter(clock, 10)
    clock.now += 100
    limit.wait()
    limit.wait()
    assert clock.slept == [0.1]
    clock = Clock()
    limit = limiter(clock, 10, catch_up=2, burst_after_idle=True)
    assert [limit.is_allowed() for _ in range(22)] == [True] * 21 + [False]
    clock.now += 100
    assert [limit.is_allowed() for _ in range(22)] == [True] * 21 + [False]
    assert not limit.is_allowed()
    clock.now += 0.11
    assert limit.is_allowed()


def test_no_limit():
    clock = Clock()
    limit = limiter(clock, 0)
    for _ in range(1000):
        limit.wait()
    assert limit.is_allowed(10**9) and not clock.slept
