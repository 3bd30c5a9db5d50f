import array
import base64
import collections
import datetime
import json
import os
import pathlib
import pickle
import pickletools
import re
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core import unpickle
from swift.core.unpickle import UnpickleError
from swift.ring.integer_arrays import IntegerArrays

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
)
keys = st.one_of(scalars, st.tuples(scalars, scalars))
plain = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.tuples(inner),
        st.tuples(inner, inner, inner, inner),
        st.dictionaries(keys, inner),
        st.sets(st.text()),
        st.frozensets(st.integers()),
    ),
    max_leaves=20,
)


@given(plain, st.integers(0, 5))
def test_plain_data_of_every_protocol_comes_back(value, protocol):
    data = pickle.dumps(value, protocol)
    if protocol < 4 and (b"\nset\n" in data or b"frozenset\n" in data):
        return  # sets need a class there
    back = unpickle.loads(data)
    assert back == value
    assert_plain(back)


@given(plain, st.integers(0, 5))
def test_optimised_pickles_too(value, protocol):
    data = pickletools.optimize(pickle.dumps(value, protocol))
    if protocol < 4 and (b"\nset\n" in data or b"frozenset\n" in data):
        return
    assert unpickle.loads(data) == value


class Mean:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        Mean((os.system, ("true",))), Mean((eval, ("1",))), Mean((subprocess.Popen, (["true"],))), Mean((bytes, (10**9,))),
        Mean((bytearray, (10**9,))), collections.OrderedDict(a=1), collections.defaultdict(list), datetime.datetime(2020, 1, 1),
        os.system, dict, ValueError("x"), {"k": [Mean((print, ("x",)))]}, complex(1, 2), range(3), object(),
        array.array("H", [1]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_nothing_but_plain_data_loads(value, protocol):
    with pytest.raises(UnpickleError):
        unpickle.loads(pickle.dumps(value, protocol))


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_plain(data):
    try:
        value = unpickle.loads(data)
    except UnpickleError:
        return
    assert_plain(value)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(
    [b"(", b".", b"0", b"1", b"2", b"I1\n", b"K\1", b"N", b"R", b"U\1a", b"X\1\0\0\0b", b"a", b"b", b"c_codecs\nencode\n",
     b"cos\nsystem\n", b"c__builtin__\nbytes\n", b"d", b"}", b"e", b"g0\n", b"h\0", b"h\1", b"i__builtin__\neval\n", b"j\0\0\0\0",
     b"l", b"]", b"o", b"p0\n", b"q\0", b"q\1", b"r\0\0\0\0", b"s", b"t", b")", b"u", b"\x80\2", b"\x81", b"\x85", b"\x86", b"\x87",
     b"\x88", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93", b"\x94", b"\x8c\x05bytes", b"P1\n", b"Q", b"\x82\1"]
)))  # fmt: skip
def test_random_programs_make_plain_data_or_nothing(ops):
    try:
        value = unpickle.loads(b"".join(ops) + b".")
    except UnpickleError:
        return
    assert_plain(value)


def assert_plain(value, *more):
    if type(value) is dict:
        for key, item in value.items():
            assert_plain(key)
            assert_plain(item, *more)
    elif type(value) in (list, tuple, set, frozenset):
        for item in value:
            assert_plain(item, *more)
    else:
        assert type(value) in (str, bytes, int, float, bool, type(None), *more)


@given(plain, st.integers(0, 5), st.data())
def test_cut_short_is_refused(value, protocol, data):
    whole = pickle.dumps(value, protocol)
    with pytest.raises(UnpickleError):
        unpickle.loads(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_a_few_bytes_do_not_take_memory_or_time():
    bombs = [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # would make the standard machine allocate its memo
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"I" + b"9" * 100_000 + b"\n.",
        b"]" + b"2\x86" * 60 + b".",  # pairs of pairs of pairs ...
        b"}" + b"N" + b"2\x86" * 60 + b"Ns.",  # ... as a key
        b"\x80\x02]q\0h\0a.",  # a list that contains itself
        b"(" * 100_000 + b"t" * 100_000 + b".",
    ]
    for bomb in bombs[:1]:
        assert unpickle.loads(bomb) == []
    for bomb in bombs[1:-1]:
        with pytest.raises(UnpickleError):
            unpickle.loads(bomb)
    deep = unpickle.loads(bombs[-1])
    assert type(deep) is tuple
    with pytest.raises(UnpickleError):
        unpickle.loads(b"N.", max_size=1)


@pytest.mark.parametrize(
    "call",
    [
        # an array, bytes and a dictionary made of the same argument over and over: `h` fetches it, `R` calls
        b"carray\narray\nq\x01U\x01Qq\x02]q\x00(" + b"K\x01" * 1000 + b"e%sq\x03(%s" + b"h\x01h\x02h\x03\x86R" * 1000,
        b"c__builtin__\nbytes\nq\x01K\x00](" + b"K\x01" * 1000 + b"e%sq\x03(%s" + b"h\x01h\x03\x85R" * 1000,
        b"c_codecs\nencode\nq\x01U\x06latin1q\x02X\xe8\x03\0\0" + b"x" * 1000 + b"%sq\x03(%s"
        + b"h\x01h\x03h\x02\x86R" * 1000,
    ],
)  # fmt: skip
def test_calls_of_the_same_do_not_take_memory(call):
    program = b"\x80\x02(" + call % (b"", b"") + b"tt."
    with pytest.raises(UnpickleError, match="repeated calls"):
        unpickle.loads(program, arrays=IntegerArrays())


def test_shared_containers_stay_shared():
    device = {"id": 1}
    back = unpickle.loads(pickle.dumps({"devs": [device], "remove": [device]}, 2))
    assert back["devs"][0] is back["remove"][0]


def test_python2_strings():
    py2 = b"\x80\x02}q\x00U\x04nameq\x01U\x02\xc3\xb6q\x02s."
    assert unpickle.loads(py2) == {"name": "ö"}
    assert unpickle.loads(py2, encoding=None) == {b"name": b"\xc3\xb6"}
    assert unpickle.loads(b"S'a\\xc3\\xb6\\n'\n.") == "aö\n"
    assert unpickle.loads(b"(dp0\nS'a'\np1\nI01\nsS'b'\nL5L\ns.") == {"a": True, "b": 5}


def test_arrays_only_when_asked_for():
    data = pickle.dumps({"a": array.array("H", [1, 2, 3])}, 2)
    assert unpickle.loads(data, arrays=IntegerArrays()) == {"a": array.array("H", [1, 2, 3])}
    with pytest.raises(UnpickleError):
        unpickle.loads(data)


def test_pending_updates_of_the_reference():
    cases = json.loads((pathlib.Path(__file__).parent / "data/async_pending.json").read_text())
    checked = 0
    for case in cases if isinstance(cases, list) else cases["files"]:
        if "content_b64" in case and "decoded" in case:
            assert unpickle.loads(base64.b64decode(case["content_b64"])) == case["decoded"]
            checked += 1
    assert checked > 3


def test_memo_index_of_any_size_is_only_a_name():
    assert (
        unpickle.loads(b"K\x05r" + struct.pack("<I", 2**32 - 1) + b"0j" + struct.pack("<I", 2**32 - 1) + b".")
        == 5
    )


@given(st.lists(st.integers(0, 65535), min_size=16, max_size=3000))
def test_long_runs_of_small_integers(numbers):
    made = array.array("H", numbers)
    assert unpickle.loads(pickle.dumps([made, numbers], 2), arrays=IntegerArrays()) == [made, numbers]


@given(
    st.lists(
        st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 600), max_size=2500), min_size=1, max_size=3
    ),
    st.sampled_from("IQ"),
    st.integers(0, 2),
)
def test_arrays_of_any_width_and_protocol(rows, typecode, protocol):
    made = {"rows": [array.array(typecode, row) for row in rows], "after": [1, 300, 70000]}
    assert unpickle.loads(pickle.dumps(made, protocol), arrays=IntegerArrays()) == made


@given(st.lists(st.integers(0, 255), max_size=2500), st.integers(0, 2))
def test_arrays_of_bytes(numbers, protocol):
    made = [array.array("B", numbers), array.array("B", numbers[:1])]
    assert unpickle.loads(pickle.dumps(made, protocol), arrays=IntegerArrays()) == made


@pytest.mark.parametrize(
    "program",
    [
        b"carray\narray\nX\1\0\0\0B](M\0\1e\x86R.",  # 256 is no byte
        b"carray\narray\nX\1\0\0\0H](K\1e.",  # never made
        b"carray\narray\nX\1\0\0\0H](K\1e",
        b"carray\narray\nX\1\0\0\0H]q\0(K\1K",
        b"carray\narray\nX\1\0\0\0i](K\1e\x86R.",  # signed
        b"]carray\narray\na.",  # the class itself, in a list
        b"}K\1carray\narray\ns.",
        b"]]]carray\narray\naaa.",
        b"]carray\narray\nK\1\x86a.",
    ],
)
def test_arrays_that_are_none(program):
    with pytest.raises(UnpickleError):
        unpickle.loads(program, arrays=IntegerArrays())


_ARRAY_OPS = [
    b"carray\narray\n", b"X\1\0\0\0H", b"X\1\0\0\0B", b"]", b"(", b"K(", b"M\1K", b"Ke", b"e", b"a", b"J\0\0\1\0", b"q\0", b"h\0",
    b"r\1\0\0\0", b"j\1\0\0\0", b"\x86", b"R", b"0", b"2", b"t", b"}", b"s",
]  # fmt: skip


@settings(max_examples=500)
@given(st.lists(st.sampled_from(_ARRAY_OPS)))
def test_random_programs_around_arrays_make_plain_data_and_arrays_or_nothing(ops):
    try:
        value = unpickle.loads(b"carray\narray\nX\1\0\0\0H]" + b"".join(ops) + b".", arrays=IntegerArrays())
    except UnpickleError:
        return
    assert_plain(value, array.array)


def test_the_standard_machine_is_never_used(monkeypatch):
    """Not even for what can do no harm."""

    def refuse(*args, **kwargs):
        raise AssertionError("pickle.loads")

    data = pickle.dumps([array.array("H", range(1000)), {"a": 1}], 2)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    assert unpickle.loads(data, arrays=IntegerArrays())[1] == {"a": 1}
    root = pathlib.Path(unpickle.__file__).parents[1]
    for path in root.rglob("*.py"):
        assert not re.search(r"\bpickle\.(loads?|Unpickler)\b|marshal|shelve", path.read_text()), path
