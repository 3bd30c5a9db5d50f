import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core import timestamp
from swift.core.timestamp import (
    NormalTimestamp,
    Timestamp,
    decode_timestamps,
    encode_timestamps,
    http_date,
    internal_timestamp,
    normalize_delete_at,
    normalize_timestamp,
)

DATA = pathlib.Path(__file__).parent / "data"
OBJECT = json.loads((DATA / "timestamps_object.json").read_text())
DB = json.loads((DATA / "timestamps_db.json").read_text())

raws = st.integers(0, timestamp.MAX_RAW)
offsets = st.one_of(st.just(0), st.integers(0, timestamp.MAX_OFFSET))
timestamps = st.builds(Timestamp.from_raw, raws, offsets)


@pytest.mark.parametrize("case", OBJECT["parse"] + DB["normalise"], ids=lambda case: repr(case["in"]))
def test_every_form_of_the_golden_inputs(case):
    if "error" in case:
        with pytest.raises(ValueError):
            Timestamp(case["in"])
        return
    made = Timestamp(case["in"])
    assert (made.normal, made.internal, made.short) == (case["normal"], case["internal"], case["short"])
    assert made.isoformat == case.get("iso", case.get("isoformat"))
    if "raw" in case:
        assert (made.raw, made.offset) == (case["raw"], case["offset"])
    assert normalize_timestamp(case["in"]) == case["normal"]
    assert internal_timestamp(case["in"]) == case["internal"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "10000000000",
        "9999999999.999999",
        "1_2_3",
        "_1",
        "1_-1",
        "1_" + "1" * 17,
        "nan",
        "inf",
        "-inf",
        None,
        [],
        "-0.000001",
        "1402464677.04188_0000000000000001_",
        "\0",
    ],
)
def test_what_is_no_timestamp(text):
    with pytest.raises(ValueError):
        Timestamp(text)


def test_loose_forms_that_peers_may_send():
    assert Timestamp("1_").internal == "0000000001.00000"
    assert Timestamp("1_0x1").offset == 1
    assert Timestamp("1e3").internal == "0000001000.00000"
    assert Timestamp(" 12 ").internal == "0000000012.00000"
    assert Timestamp(b"12").internal == "0000000012.00000"
    assert Timestamp("1402464677.04188_0000000000000000").internal == "1402464677.04188"
    assert Timestamp("1402464677.04188_000000000000000A").internal == "1402464677.04188_000000000000000a"
    assert Timestamp("1402464677.04188", offset=10).short == "1402464677.04188_a"
    assert Timestamp("1402464677.04188", delta=1).internal == "1402464677.04189"


def test_inversion_of_the_golden_values():
    for case in OBJECT["invert"] + DB["invert"]:
        assert (~Timestamp(case["in"])).internal == case.get("out", case.get("inverted")), case


@given(raws.filter(lambda raw: raw < timestamp.MAX_RAW - 1), raws, offsets, offsets)
def test_inversion_reverses_order(low, high, low_offset, high_offset):
    low, high = sorted((low, min(high, timestamp.MAX_RAW - 1)))
    if low + 1 < high:
        assert ~Timestamp.from_raw(low, low_offset) > ~Timestamp.from_raw(high, high_offset)


@given(timestamps, timestamps)
def test_string_order_is_time_order(first, second):
    assert (first < second) == ((first.raw, first.offset) < (second.raw, second.offset))
    assert (first == second) == ((first.raw, first.offset) == (second.raw, second.offset))
    assert (first <= second) == (first.internal <= second.internal)


@given(timestamps)
def test_all_forms_parse_back(made):
    for form in (made.internal, made.short):
        assert Timestamp(form) == made
        assert timestamp.parse(form) == made
    assert Timestamp(made.normal).raw == made.raw
    assert Timestamp.from_isoformat(made.isoformat).raw == made.raw
    assert hash(Timestamp(made)) == hash(made)


def test_comparison_with_other_types():
    made = Timestamp(1402464677.04188)
    assert made == "1402464677.04188" and made == 1402464677.04188 and made != "rubbish"
    assert made > 0 and made < "1402464678" and made >= "1402464677.04188" and made <= 1402464677.04188
    assert made != None and not made < None and not made > None  # noqa: E711
    assert not Timestamp(0) and Timestamp(0, offset=1)
    assert "0" == Timestamp(0) == 0


def test_http_date_is_rounded_up():
    assert http_date("1402464677.04188") == "Wed, 11 Jun 2014 05:31:18 GMT"
    assert http_date(1402464677) == Timestamp(1402464677).http_date == "Wed, 11 Jun 2014 05:31:17 GMT"


def test_printing_without_a_form_is_refused():
    with pytest.raises(TypeError):
        str(Timestamp(1))


def test_normal_timestamps_refuse_offsets():
    assert NormalTimestamp("1").internal == "0000000001.00000"
    assert NormalTimestamp(Timestamp(1, offset=3)).internal == "0000000001.00000"
    for bad in ("1_1", "1_", b"1_0"):
        with pytest.raises(ValueError):
            NormalTimestamp(bad)
    with pytest.raises(ValueError):
        NormalTimestamp(1, offset=1)


@pytest.mark.parametrize("case", OBJECT["encode"], ids=lambda case: case["out"])
def test_encoding_object_vectors(case):
    parts = [Timestamp(case[key]) if case[key] else None for key in ("t1", "t2", "t3")]
    assert encode_timestamps(*parts, explicit=case["explicit"]) == case["out"]


@pytest.mark.parametrize("case", DB["encode"], ids=lambda case: case["encoded"])
def test_encoding_database_vectors(case):
    parts = [Timestamp(case[key]) for key in ("t1", "t2", "t3")]
    assert encode_timestamps(*parts) == case["encoded"]
    assert encode_timestamps(*parts, explicit=True) == case["explicit"]
    assert encode_timestamps(*parts[:2]) == case["two"]


def internals(parts):
    return [None if part is None else part.internal for part in parts]


def test_decoding_vectors():
    for case in OBJECT["decode"]:
        assert internals(decode_timestamps(case["in"], case["explicit"])) == case["out"]
    for case in DB["decode"]:
        assert internals(decode_timestamps(case["encoded"])) == case["result"]
        assert internals(decode_timestamps(case["encoded"], explicit=True)) == case["explicit"]


@given(timestamps, raws, raws)
def test_encoded_triples_come_back(t1, raw2, raw3):
    t2, t3 = Timestamp.from_raw(raw2), Timestamp.from_raw(raw3)
    for explicit in (False, True):
        back = decode_timestamps(encode_timestamps(t1, t2, t3, explicit), explicit)
        assert [part.raw for part in back] == [t1.raw, raw2, raw3]
        assert back[0] == t1


@given(st.text())
def test_decoding_rubbish_is_a_value_error(text):
    try:
        decode_timestamps(text)
    except ValueError:
        pass


@pytest.mark.parametrize("case", OBJECT["delete_at"], ids=lambda case: repr(case["in"]))
def test_delete_at_vectors(case):
    assert normalize_delete_at(case["in"]) == case["out"]
    assert normalize_delete_at(case["in"], high_precision=True) == case["high_precision"]


def test_delete_at_of_rubbish():
    for bad in ("x", None, [], "1e400x"):
        with pytest.raises(ValueError):
            normalize_delete_at(bad)
