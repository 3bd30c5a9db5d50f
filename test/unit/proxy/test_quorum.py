import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.proxy.quorum import Answer, best_answer, have_quorum, pad, quorum_size


def answers(*statuses):
    return [Answer(status) for status in statuses]


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)])
def test_quorum_size(count, needed):
    assert quorum_size(count) == needed


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([201, 201, 503], 201),
        ([201, 202, 201], 202),
        ([409, 404, 503], 409),
        ([404, 503], 404),
        ([404, 503, 503], None),
        ([], None),
        ([201, 404, 503], None),
        ([304, 304, 200], 304),
        ([500, 500, 500], None),
    ],
)
def test_best_answer(statuses, best):
    answer = best_answer(answers(*statuses))
    assert (answer and answer.status) == best


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([204, 404, 503], 204),
        ([204, 204, 404], 204),
        ([204, 404, 404], 404),
        ([404, 404, 503], 404),
        ([404, 503, 503], None),
    ],
)
def test_deletes_count_a_404_as_done_where_there_is_no_quorum(statuses, best):
    given_answers = answers(*statuses)
    answer = best_answer(given_answers, overrides={404: 204})
    assert (answer and answer.status) == best
    assert answer is None or answer in given_answers


def test_have_quorum():
    assert have_quorum([201, 202], 2)
    assert not have_quorum([201, 404], 2)
    assert not have_quorum([503, 503, 503], 2)
    assert have_quorum([404], 1)


@given(st.lists(st.sampled_from([200, 201, 204, 304, 400, 404, 409, 500, 503, 507]), max_size=7))
def test_a_5xx_never_speaks_and_the_speaker_has_a_quorum_behind(statuses):
    answer = best_answer(answers(*statuses))
    if answer is None:
        return
    hundred = answer.status // 100
    assert hundred < 5
    assert sum(status // 100 == hundred for status in statuses) >= quorum_size(len(statuses))


def test_padding():
    assert [a.status for a in pad(answers(201), 3)] == [201, 503, 503]
