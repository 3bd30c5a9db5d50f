"""Codes that were learned: the same fragments as the library makes, in place, with any of them lost; and what is no such code."""

import ctypes
import itertools
import pathlib
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.coding import byte_maps
from swift.coding.byte_maps import LEAST, Kernels, Rows
from swift.coding.fragments import HEADER, Codec, FragmentError, offered_types
from swift.coding.linear_code import SHORTEST, LinearCode, NotEnough, Plan, bytes_to_learn

SCHEMES = [
    *((ec_type, 10, 5) for ec_type in offered_types() if ec_type.startswith("flat_xor")),
    *((ec_type, 4, 2) for ec_type in offered_types() if not ec_type.startswith(("flat_xor", "isa_l_rs_lrc"))),
    ("liberasurecode_rs_vand", 3, 3),
    ("liberasurecode_rs_vand", 2, 1),
    ("liberasurecode_rs_vand", 10, 4),
    ("isa_l_rs_cauchy", 12, 6),
]
SIZES = [4 * SHORTEST, 4 * SHORTEST + 1, 20_000, 65_537, 300_000, 1 << 20, (1 << 20) + 12_345]


def segment_of(size):
    return random.Random(size).randbytes(size)


def all_kernels():
    """The library as this processor is served, and as others are that it can stand in for."""
    kernels = byte_maps.load()
    if kernels is None:
        return []
    found = [kernels]
    flags = (
        pathlib.Path("/proc/cpuinfo").read_text().split() if pathlib.Path("/proc/cpuinfo").exists() else []
    )
    for name, flag in (("sse", "ssse3"), ("avx", "avx"), ("avx2", "avx2")):
        if flag not in flags:
            continue
        for path in byte_maps._names():
            run = getattr(ctypes.CDLL(path), f"ec_encode_data_{name}", None)
            if run is not None:
                run.restype, run.argtypes = None, kernels.run.argtypes
                found.append(Kernels(run, 0))
    return found


@pytest.fixture(params=[*range(len(all_kernels())), None], ids=lambda at: f"kernels {at}")
def kernels(request, monkeypatch):
    """None: there is no library."""
    chosen = None if request.param is None else all_kernels()[request.param]
    monkeypatch.setattr(byte_maps, "load", lambda: chosen)
    return chosen


def joined(parts):
    return [header + payload for header, payload in parts]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_same_as_the_library(kernels, scheme):
    codec = Codec(*scheme)
    room = codec.room(SIZES[-1])
    for size in (*SIZES, 1, 100):
        segment = segment_of(size)
        room[:size] = segment
        fragments = codec.encode(segment)
        assert joined(codec.encode_in(room, size)) == fragments
        lost = 2 if codec.parity == 2 else 1
        for missing in list(itertools.combinations(range(codec.total), lost))[: 20 if size < 100_000 else 3]:
            left = {index: one for index, one in enumerate(fragments) if index not in missing}
            assert b"".join(codec.restored(left, size)) == segment == codec.decode(list(left.values()))
            assert codec.rebuild(list(left.values()), missing[0]) == fragments[missing[0]]
    assert (codec._code() is None) == (kernels is None)


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if not s[0].startswith("flat")], ids=str)
def test_as_many_as_needed_are_enough(kernels, scheme):
    codec = Codec(*scheme)
    segment = segment_of(40_000)
    fragments = codec.encode(segment)
    sets = list(itertools.combinations(range(codec.total), codec.data))
    for have in random.Random(1).sample(sets, min(len(sets), 12)):
        left = {index: bytearray(fragments[index]) for index in have}
        assert b"".join(codec.restored(left, len(segment))) == segment
        for index in set(range(codec.total)) - set(have):
            assert codec.rebuild(list(left.values()), index) == fragments[index]
        with pytest.raises(FragmentError):
            codec.decode(list(left.values())[1:])


def test_nothing_is_copied():
    codec = Codec("liberasurecode_rs_vand", 4, 2)
    room = codec.room(1 << 20)
    parts = codec.encode_in(room, 1 << 20)
    assert all(payload.obj is room.obj for _, payload in parts)
    fragments = {index: bytearray(header + payload) for index, (header, payload) in enumerate(parts)}
    del fragments[1], fragments[2]
    pieces = codec.restored(fragments, 1 << 20)
    assert pieces[0].obj is fragments[0] and pieces[3].obj is fragments[3]


def test_what_was_in_the_room_before_is_not_sent_along():
    codec = Codec("liberasurecode_rs_vand", 4, 2)
    room = codec.room(100_000)
    room[:] = b"x" * len(room)
    segment = segment_of(50_001)
    room[: len(segment)] = segment
    assert joined(codec.encode_in(room, len(segment))) == codec.encode(segment)


def test_at_the_same_time():
    """One codec serves all threads."""
    codec = Codec("liberasurecode_rs_vand", 4, 2)
    size = 300_000
    expected = {seed: codec.encode(random.Random(seed).randbytes(size)) for seed in range(4)}
    wrong = []

    def encode(seed):
        room = codec.room(size)
        for _ in range(20):
            room[:size] = random.Random(seed).randbytes(size)
            if joined(codec.encode_in(room, size)) != expected[seed]:
                wrong.append(seed)
            left = dict(list(enumerate(expected[seed]))[seed % 3 :][:4])
            if b"".join(codec.restored(left, size)) != bytes(room[:size]):
                wrong.append(seed)

    threads = [threading.Thread(target=encode, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_code_that_is_something_else_is_not_believed(monkeypatch):
    """Whose parity is a sum of single bits, but not of bits elsewhere or of products."""

    class Library:
        def __init__(self, real, twist):
            self.real, self.twist = real, twist

        def __getattr__(self, name):
            return getattr(self.real, name)

        def encode(self, segment):
            fragments = self.real.encode(segment)
            return [*fragments[:-1], fragments[-1][:HEADER] + self.twist(fragments[-1][HEADER:])]

    codec = Codec("liberasurecode_rs_vand", 4, 2)
    assert (codec._code() is None) == (byte_maps.load() is None)
    twists = [
        lambda payload: payload[::-1],  # other places
        lambda payload: bytes(a ^ 1 if a.bit_count() > 5 else a for a in payload),  # no sum
    ]
    for twist in twists:
        other = Codec("liberasurecode_rs_vand", 4, 2)
        other._made = Library(Codec("liberasurecode_rs_vand", 4, 2)._library, twist)
        assert other._code() is None
        segment = segment_of(100_000)
        room = other.room(len(segment))
        room[: len(segment)] = segment
        assert joined(other.encode_in(room, len(segment))) == other.encode(segment)


def test_fragments_of_different_segments():
    codec = Codec("liberasurecode_rs_vand", 4, 2)
    one, other = codec.encode(segment_of(100_000)), codec.encode(segment_of(99_999))
    assert len(one[0]) == len(other[0])
    with pytest.raises(FragmentError):
        codec.decode([*one[2:5], other[5]])


# ---------------------------------------------------------------- rows and plans


KERNELS = all_kernels()


@settings(max_examples=60)
@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(LEAST, 3 * LEAST))
def test_any_maps_of_bytes(data, sources, outputs, length):
    """And no byte beside the outputs is touched, where these lie whichever way."""
    byte_map = st.lists(st.integers(0, 255), min_size=8, max_size=8).map(tuple)
    maps = [[data.draw(byte_map) for _ in range(sources)] for _ in range(outputs)]
    seed = random.Random(data.draw(st.integers(0, 1000)))
    blocks = [seed.randbytes(length) for _ in range(sources)]
    offset = data.draw(st.integers(0, 63))
    for kernels in KERNELS:
        given_ = [ctypes.create_string_buffer(bytes(offset) + block, offset + length) for block in blocks]
        made = [
            ctypes.create_string_buffer(b"#" * (offset + length + 64), offset + length + 64)
            for _ in range(outputs)
        ]
        Rows(kernels, maps).run(
            length,
            [ctypes.addressof(one) + offset for one in given_],
            [ctypes.addressof(one) + offset for one in made],
        )
        for row, one in zip(maps, made, strict=True):
            tables = [bytes(byte_maps._image(byte_map, byte) for byte in range(256)) for byte_map in row]
            total = 0
            for block, table in zip(blocks, tables, strict=True):
                total ^= int.from_bytes(block.translate(table), "big")
            assert one.raw == b"#" * offset + total.to_bytes(length, "big") + b"#" * 64


def test_rows_refuse_what_they_are_not_of():
    for kernels in KERNELS:
        rows = Rows(kernels, [[tuple(1 << bit for bit in range(8))] * 2])
        for length, sources, outputs in ((LEAST - 1, 2, 1), (LEAST, 1, 1), (LEAST, 2, 2)):
            with pytest.raises(ValueError):
                rows.run(length, [0] * sources, [0] * outputs)


def test_plans_refuse_what_they_are_not_of():
    same = tuple(1 << bit for bit in range(16))
    for kernels in KERNELS:
        plan = Plan(kernels, [0], [[same]])
        block, room = bytes(SHORTEST), bytearray(SHORTEST)
        for source, output in (
            (block, block),  # can't be written to
            (block[:-1], room[:-1]),
            (block[:-2], room[:-2]),
            (block, room + room),
        ):
            with pytest.raises(ValueError):
                plan.run([source], [output])


def xor(payloads):
    total = 0
    for payload in payloads:
        total ^= int.from_bytes(payload, "little")
    return [total.to_bytes(len(payloads[0]), "little")]


def test_what_does_not_follow():
    for kernels in KERNELS:
        code = LinearCode.learned(kernels, 3, max(SHORTEST, bytes_to_learn(3)), xor)
        assert code.plan([1, 2, 3], [0]).sources == (1, 2, 3)
        assert code.plan([0, 1, 2, 3], [0]).sources == (0,)
        with pytest.raises(NotEnough):
            code.plan([2, 3], [0])


def test_plans_that_are_kept_are_bounded():
    for _ in KERNELS[:1]:
        codec = Codec("isa_l_rs_cauchy", 12, 6)
        code = codec._code()._code
        for missing in itertools.islice(itertools.combinations(range(18), 3), 600):
            code.plan([index for index in range(18) if index not in missing], [missing[0]])
        assert len(code._plans) <= 256


def test_a_library_that_makes_unknown_tables_is_not_used():
    assert byte_maps._form_of(lambda *args: None) is None
    assert byte_maps._form_of(lambda k, rows, factors, made: ctypes.memset(made, 7, 128)) is None
