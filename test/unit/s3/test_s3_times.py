"""Dates as S3's clients send them: HTTP's on every day of the week and of the year, ISO's, and what is none."""

import time
from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from swift.s3 import times

SECONDS = st.integers(min_value=0, max_value=4_102_444_799)  # to the end of 2099


@given(SECONDS)
def test_a_date_of_http_is_read_whatever_the_day_is_called(seconds):
    assert times.seconds_of(formatdate(seconds, usegmt=True)) == seconds


@given(SECONDS, st.sampled_from(["Z", ".000Z", ".999Z", ""]))
def test_a_date_of_iso_is_read(seconds, ending):
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ending
    assert times.seconds_of(text) == seconds


def test_each_day_of_a_week():
    for day in range(7):
        assert times.seconds_of(formatdate(day * 86400, usegmt=True)) == day * 86400


@given(st.text(max_size=40))
def test_anything_else_is_a_number_or_nothing(text):
    found = times.seconds_of(text)
    assert found is None or isinstance(found, int)


def test_what_is_no_date():
    for text in ("", "x", "2020", "2020-13-01T00:00:00Z", "T", "1T", "Tue", "Thu, T"):
        assert times.seconds_of(text) is None, text
