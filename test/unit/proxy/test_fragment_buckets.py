"""Answers of nodes with fragments: which belong together, which of them are read, and what is told when there are too few."""

import json

import pytest

from swift.proxy.fragment_buckets import Buckets, FragmentSource, Needs, data_timestamp, fragment_index
from swift.proxy.quorum import Answer, best_answer

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
NEEDS = Needs(4, 2, 6)


class Response:
    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def get(self, name, default=None):
        return self.headers.get(name, default)


def node(number):
    return {"id": number, "ip": f"127.0.0.{number}"}


class Gathered:
    """Answers as they come."""

    def __init__(self, needs=NEEDS):
        self.buckets = Buckets(needs)
        self.nodes = 0

    def fragment(self, index, time=T1, durable=None, etag="e", fragments=None):
        self.nodes += 1
        headers = {
            "x-backend-data-timestamp": time,
            "x-object-sysmeta-ec-frag-index": str(index),
            "x-object-sysmeta-ec-etag": etag,
            "x-backend-fragments": json.dumps(fragments or {time: [index]}),
        }
        if durable:
            headers["x-backend-durable-timestamp"] = durable
        response = Response(**{k.replace("-", "_"): v for k, v in headers.items()})
        self.buckets.learn(node(self.nodes), response, time)
        source = FragmentSource(node(self.nodes), response, time, index)
        return self.buckets.bucket(time).take(source)

    def refusal(self, status, when=""):
        self.buckets.refused(Answer(status), when)


def test_enough_fragments_of_what_was_acknowledged():
    got = Gathered()
    for index in range(4):
        assert not (got.buckets.best and got.buckets.best.is_complete)
        assert got.fragment(index, durable=T1)
    assert got.buckets.best.is_complete and sorted(got.buckets.best.sources) == [0, 1, 2, 3]


def test_one_proof_of_durability_holds_for_all():
    got = Gathered()
    for index in range(4):
        got.fragment(index)
    assert not got.buckets.best.is_complete
    assert got.buckets.best.shortfall == 2  # so many more are asked for a proof
    got.fragment(4, durable=T1)
    assert got.buckets.best.is_complete


def test_the_proof_may_come_with_a_newer_fragment():
    got = Gathered()
    for index in range(4):
        got.fragment(index)
    got.fragment(5, time=T2, durable=T1)
    assert got.buckets.best.timestamp == T1 and got.buckets.best.is_complete


def test_the_same_fragment_twice_counts_once():
    got = Gathered(Needs(4, 2, 12))
    for index in (0, 1, 2):
        assert got.fragment(index, durable=T1)
    assert not got.fragment(2, durable=T1)
    assert got.buckets.best.shortfall == 1


def test_what_is_complete_goes_before_what_is_newer():
    got = Gathered()
    for index in range(4):
        got.fragment(index, time=T1, durable=T1)
    got.fragment(4, time=T2, durable=T2)
    assert got.buckets.best.timestamp == T1
    for index in (0, 1, 2):
        got.fragment(index, time=T2)
    assert got.buckets.best.timestamp == T2


def test_another_object_of_the_same_time_is_none_of_it():
    got = Gathered()
    got.fragment(0, durable=T1)
    assert not got.fragment(1, durable=T1, etag="other")


def test_a_deletion_hides_what_is_older():
    got = Gathered()
    for index in range(4):
        got.fragment(index, durable=T1)
    got.refusal(404, T2)
    assert got.buckets.best is None
    assert got.buckets.preferences() == "[]"


def test_alternates_are_learnt_of_when_they_are_needed():
    got = Gathered()
    got.fragment(0, durable=T1, fragments={T1: [0, 4], T3: [9, -1, "x"], "nonsense": [1]})
    got.buckets.consult()
    best = got.buckets.best
    assert best.untried() == [4]
    assert best.shortfall == 3 and best.shortfall_with_alternates == 2


def test_preferences_name_the_best_first_and_what_is_in_hand():
    got = Gathered()
    assert got.buckets.preferences() == "[]"
    got.fragment(2, time=T1, durable=T1)
    got.fragment(0, time=T1)
    got.fragment(1, time=T2)
    assert json.loads(got.buckets.preferences()) == [
        {"timestamp": T1, "exclude": [0, 2]},
        {"timestamp": T2, "exclude": [1]},
    ]


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"a": 1}', "[" * 100_000, '{"1": {"0": 1}}'])
def test_nonsense_about_fragments(text):
    buckets = Buckets(NEEDS)
    buckets.learn(node(1), Response(x_backend_fragments=text, x_backend_data_timestamp=T1), T1)
    buckets.consult()
    assert buckets.best is None


def test_what_is_told_when_nothing_can_be_read():
    got = Gathered()
    for _ in range(6):
        got.refusal(404)
    assert best_answer(got.buckets.outcome(1)).status == 404
    # acknowledged, but too little of it is left: that is no 404
    got.fragment(0, durable=T1)
    assert best_answer(got.buckets.outcome(1)) is None
    # unless it was deleted since
    got.refusal(404, T2)
    assert best_answer(got.buckets.outcome(1)).status == 404


def test_what_was_never_acknowledged_is_not_there():
    got = Gathered()
    for index in range(6):
        got.fragment(index)
    assert best_answer(got.buckets.outcome(1)).status == 404


def test_fragments_on_a_few_nodes_prove_no_absence():
    got = Gathered()
    got.fragment(0)  # the other five may have the commit
    assert best_answer(got.buckets.outcome(1)) is None
    got.fragment(1)
    assert best_answer(got.buckets.outcome(1)).status == 404


def test_what_was_acknowledged_is_there_beneath_what_was_not():
    """The nodes that answer hold a PUT that failed, and say that another one succeeded before it."""
    got = Gathered()
    for index in range(3):
        got.fragment(index, time=T2, durable=T1)
    got.refusal(404)
    got.refusal(404)
    assert best_answer(got.buckets.outcome(1)) is None
    got.refusal(404, T3)
    assert best_answer(got.buckets.outcome(1)).status == 404


def test_a_few_missing_say_nothing_after_a_rebalance():
    got = Gathered()
    got.refusal(404)
    got.refusal(503)
    assert best_answer(got.buckets.outcome(1)) is None


@pytest.mark.parametrize(("replicas", "needed"), [(6, 2), (12, 3), (4, 1)])
@pytest.mark.parametrize("suppressed", [0, 1])
def test_no_single_answer_proves_that_there_is_nothing(replicas, needed, suppressed):
    """The nodes that do not answer may be so many that an acknowledged PUT has a quorum among them."""
    got = Gathered(Needs(4, 2, replicas))
    for _ in range(needed - 1):
        got.refusal(404)
        assert best_answer(got.buckets.outcome(suppressed)) is None
    got.refusal(404)
    assert best_answer(got.buckets.outcome(suppressed)).status == 404


def test_a_deletion_is_believed_of_one_node():
    got = Gathered()
    got.refusal(404, T2)
    assert best_answer(got.buckets.outcome(1)).status == 404


def test_headers():
    assert fragment_index(Response(x_object_sysmeta_ec_frag_index="5"), 6) == 5
    for text in ("6", "-1", "x", "", "1" * 20, "²"):
        assert fragment_index(Response(x_object_sysmeta_ec_frag_index=text), 6) is None
    assert data_timestamp(Response(x_timestamp="1700000001")) == T1
    assert data_timestamp(Response(x_backend_timestamp=T2, x_backend_data_timestamp=T1)) == T1
    assert data_timestamp(Response(x_timestamp="x")) == data_timestamp(Response()) == ""
