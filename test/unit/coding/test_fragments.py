"""Fragments of segments: the reference's own, every type on offer, and what is no fragment."""

import base64
import itertools
import json
import pathlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.coding.fragments import HEADER, Codec, FragmentError, offered_types

GOLDEN = json.loads(
    (pathlib.Path(__file__).resolve().parents[2] / "golden/object/ec_fragments.json").read_text()
)
# flat_xor_hd_* know few numbers of fragments; isa_l_rs_lrc none that can be said in swift.conf
SCHEMES = [
    Codec(ec_type, *((10, 5) if ec_type.startswith("flat_xor") else (4, 2)))
    for ec_type in offered_types()
    if ec_type != "isa_l_rs_lrc"
]
CODEC = Codec("liberasurecode_rs_vand", 4, 2)


def segment_of(size):
    return random.Random(size).randbytes(size)


def test_fragments_of_the_reference():
    codec = Codec(GOLDEN["ec_type"], GOLDEN["k"], GOLDEN["m"])
    segments = {}
    for case in GOLDEN["fragments"]:
        fragment = base64.b64decode(case["fragment_b64"])
        assert codec.check(fragment, case["segment_len"]) == case["fragment_index"]
        segments.setdefault(case["segment_len"], []).append(fragment)
    for size, fragments in segments.items():
        segment = codec.decode(fragments[2:])
        assert len(segment) == size and codec.encode(segment) == fragments


@pytest.mark.parametrize("case", GOLDEN["sizes"], ids=lambda case: f"{case['ec_type']} {case['data_len']}")
def test_sizes(case):
    codec = Codec(case["ec_type"], case["k"], case["m"])
    assert codec.archive_size(case["data_len"], case["segment_size"]) == case["encoded_len"]
    assert codec.fragment_size(case["segment_size"]) == case["fragment_size"]
    assert codec.min_parity == case["min_parity"]


@pytest.mark.parametrize("codec", SCHEMES, ids=lambda codec: codec.scheme)
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 4096, 65537])
def test_every_type_on_offer(codec, size):
    segment = segment_of(size)
    fragments = codec.encode(segment)
    assert [codec.check(fragment, size) for fragment in fragments] == list(range(codec.total))
    assert {len(fragment) for fragment in fragments} == {codec.fragment_size(size)}
    assert b"".join(codec.pieces(dict(enumerate(fragments)), size)) == segment
    lost = 2 if codec.parity == 2 else 1  # flat_xor_hd_* can't do without any k of them
    for missing in itertools.combinations(range(codec.total), lost):
        left = [fragment for index, fragment in enumerate(fragments) if index not in missing]
        assert codec.decode(left) == segment
        assert codec.rebuild(left, missing[0]) == fragments[missing[0]]


def test_pieces_need_all_data_fragments():
    fragments = dict(enumerate(CODEC.encode(segment_of(1000))))
    assert CODEC.pieces({**fragments, 0: bytearray(fragments[0])}, 1000) is not None
    del fragments[3]
    assert CODEC.pieces(fragments, 1000) is None


@given(st.integers(0, HEADER - 10), st.integers(0, 7))
def test_a_flipped_bit_in_a_header_is_found(at, bit):
    """But for what is not covered: the version of the library that wrote it."""
    fragment = bytearray(CODEC.encode(segment_of(1000))[2])
    fragment[at] ^= 1 << bit
    if 63 <= at < 67:
        assert CODEC.check(bytes(fragment), 1000) == 2
    else:
        with pytest.raises(FragmentError):
            CODEC.check(bytes(fragment), 1000)


@given(st.binary(max_size=300))
def test_what_is_no_fragment(data):
    with pytest.raises(FragmentError):
        CODEC.check(data)


@given(st.data())
def test_truncated_and_prolonged_fragments(data):
    """The library would read past their ends."""
    fragment = CODEC.encode(segment_of(500))[1]
    cut = data.draw(st.integers(0, len(fragment) - 1))
    for wrong in (fragment[:cut], fragment + b"x"):
        with pytest.raises(FragmentError):
            CODEC.check(wrong)


def test_a_fragment_of_another_segment():
    with pytest.raises(FragmentError):
        CODEC.check(CODEC.encode(segment_of(500))[1], 501)


def test_too_few_different_fragments():
    """Of the same one four times the library makes something all the same."""
    fragments = CODEC.encode(segment_of(1000))
    for given_ in (fragments[:3], fragments[:1] * 4, [*fragments[:3], fragments[0]], []):
        with pytest.raises(FragmentError):
            CODEC.decode(given_)
        with pytest.raises(FragmentError):
            CODEC.rebuild(given_, 5)
    with pytest.raises(FragmentError):
        CODEC.decode([*fragments[:3], CODEC.encode(segment_of(500))[4]])


def test_what_the_library_cannot_do():
    codec = Codec("flat_xor_hd_3", 4, 2)
    with pytest.raises(ValueError, match="flat_xor_hd_3 4"):
        codec.load()
