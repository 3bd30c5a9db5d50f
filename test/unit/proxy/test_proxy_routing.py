import random

from hypothesis import given
from hypothesis import strategies as st

from swift.proxy.error_limit import ErrorLimiter
from swift.proxy.routing import NodeIterator, Timings, in_order, local_first, shuffled


def nodes(count, start=0):
    return [
        {"id": i, "ip": f"10.0.0.{i}", "port": 1, "device": "d", "region": 1 + i % 2, "zone": i}
        for i in range(start, start + count)
    ]


def ids(found):
    return [node["id"] for node in found]


@given(st.integers(0, 8))
def test_shuffling_keeps_all(count):
    assert sorted(ids(shuffled(nodes(count)))) == list(range(count))


def test_all_orders_occur():
    random.seed(1)
    for count in (2, 3, 4):
        seen = {tuple(ids(shuffled(nodes(count)))) for _ in range(2000)}
        assert len(seen) == {2: 2, 3: 6, 4: 24}[count]


def test_the_budget_is_not_used_up_by_nodes_found_failing():
    limiter = ErrorLimiter(60, 0)
    primaries, handoffs = nodes(3), nodes(5, 3)
    tried = []
    for node in NodeIterator(limiter, primaries, lambda: iter(handoffs), 4):
        tried.append(node["id"])
        if node["id"] in (1, 3):
            limiter.limit_now(node)
    assert tried == [0, 1, 2, 3, 4, 5]


def test_limited_nodes_are_skipped_and_excess_handoffs_told():
    limiter = ErrorLimiter(60, 0)
    primaries, handoffs = nodes(3), nodes(5, 3)
    limiter.limit_now(primaries[0])
    used = []
    found = ids(NodeIterator(limiter, primaries, lambda: iter(handoffs), 6, used.append))
    assert found == [1, 2, 3, 4, 5, 6]
    assert used == [1, 2, 3, 4]


def test_limited_nodes_follow_when_no_quorum_is_left_without_them():
    """They may be back: a cluster whose nodes were all away for a moment must not refuse everything for a minute."""
    limiter = ErrorLimiter(60, 0)
    primaries, handoffs = nodes(3), nodes(2, 3)
    for node in [*primaries, *handoffs]:
        limiter.limit_now(node)
    assert ids(NodeIterator(limiter, primaries, lambda: iter(handoffs), 6)) == [0, 1, 2]
    limiter = ErrorLimiter(60, 0)
    for node in [*primaries[:2], *handoffs]:
        limiter.limit_now(node)
    assert ids(NodeIterator(limiter, primaries, lambda: iter(handoffs), 6)) == [2, 0, 1]
    assert ids(NodeIterator(limiter, primaries, lambda: iter(nodes(1, 9)), 6)) == [2, 9]


def test_error_limits_end_after_their_interval():
    now = [0.0]
    limiter = ErrorLimiter(60, 2, clock=lambda: now[0])
    node = nodes(1)[0]
    assert [limiter.increment(node) for _ in range(3)] == [False, False, True]
    assert limiter.is_limited(node)
    now[0] = 60.0
    assert limiter.is_limited(node)
    now[0] = 60.1
    assert not limiter.is_limited(node)
    limiter.increment(node)
    assert not limiter.is_limited(node)


def test_when_a_node_that_is_left_alone_may_be_tried():
    now = [0.0]
    limiter = ErrorLimiter(60, 0, clock=lambda: now[0])
    node = nodes(1)[0]
    assert limiter.may_try(node)
    limiter.increment(node)
    tries = []
    for _ in range(35):
        now[0] += 0.1
        tries.append(limiter.may_try(node))
    assert tries.count(True) == 3 and limiter.is_limited(node)
    limiter.increment(node, is_refusing=True)
    assert limiter.may_try(node) and limiter.may_try(node)
    limiter.limit_now(node)
    assert not limiter.may_try(node)


def test_unknown_and_fast_nodes_come_first():
    now = [0.0]
    timings = Timings(300, clock=lambda: now[0])
    timings.record("10.0.0.0", 0.2)
    timings.record("10.0.0.1", 0.1)
    assert ids(in_order(nodes(3), timings.of)) == [2, 1, 0]
    now[0] = 301
    timings.record("10.0.0.1", 0.1)
    assert ids(in_order(nodes(3), timings.of))[-1] == 1


def test_local_nodes_first_then_all_others_once():
    primaries, handoffs = nodes(3), nodes(6, 3)
    first, others = local_first(primaries, lambda: iter(handoffs), lambda node: node["region"] == 2, 6)
    assert ids(first) == [1, 3, 5]
    assert ids(others) == [7, 0, 2, 4, 6, 8]
