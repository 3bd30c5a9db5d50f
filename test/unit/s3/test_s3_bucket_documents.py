"""Documents that configure buckets: forms."""

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3 import bucket_documents
from swift.s3.bucket_documents import Kept, Unreadable, packed, parse, spilled, spilled_at

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
documents = st.dictionaries(st.text(), values, max_size=6)


def nothing(_timestamp: str) -> bytes | None:
    return None


@given(documents)
def test_what_is_packed_is_read_again(document: dict[str, object]) -> None:
    try:
        data = json.dumps(document).encode()
        data.decode("utf-8")
    except UnicodeError:
        return
    assert parse(packed(data), nothing) == document


@given(documents)
def test_what_is_spilled_is_read_again(document: dict[str, object]) -> None:
    data = json.dumps(document).encode()
    value = spilled("1795237739.28946", data)
    assert spilled_at(value) == "1795237739.28946"
    assert parse(value, {"1795237739.28946": data}.get) == document
    with pytest.raises(Unreadable):
        parse(value, nothing)
    with pytest.raises(Unreadable):
        parse(value, lambda _: data + b" ")


def test_no_value_is_no_document() -> None:
    assert parse("", nothing) is None
    assert parse(None, nothing) is None


@given(
    st.text(max_size=60) | st.binary(max_size=60).map(lambda data: "1:i:" + base64.b64encode(data).decode())
)
def test_what_is_no_document_is_said_to_be_none(value: str) -> None:
    if not value:
        return
    with pytest.raises(Unreadable):
        parse(value, nothing)


@pytest.mark.parametrize(
    "data",
    [b"[]", b"1", b"{", b'{"a":NaN}', b"\xff", b"[" * 100_000, b'{"a":' * 100_000],
    ids=["list", "number", "end", "nan", "bytes", "lists", "objects"],
)
def test_other_json_is_no_document(data: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(packed(data), nothing)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = b'{"a":"' + b"a" * (bucket_documents.MOST_BYTES * 4) + b'"}'
    packed_bomb = packed(bomb)
    assert len(packed_bomb) < 8192
    with pytest.raises(Unreadable):
        parse(packed_bomb, nothing)


def test_what_follows_the_packed_bytes_or_lacks_is_not_left_out_of_account() -> None:
    data = zlib.compress(b"{}")
    for altered in (data + b"x", data[:-1], data + data):
        with pytest.raises(Unreadable):
            parse("1:i:" + base64.b64encode(altered).decode(), nothing)


def test_only_so_many_documents_are_kept() -> None:
    kept = Kept(2)
    for name in ("a", "b"):
        kept.put((name,), {"name": name})
    assert kept.get(("a",)) == {"name": "a"}
    kept.put(("c",), {})
    assert kept.get(("b",)) is None
    assert kept.get(("a",)) == {"name": "a"}
    assert len(kept) == 2


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_document_that_still_counts_keeps_its_object(is_replaced: bool) -> None:
    """A change may have lost against one that another proxy's clock says is newer."""
    value = spilled("1795237739.28946", b"{}")
    asked: list[str] = []

    class Answer:
        is_success = True

        def get(self, name: str) -> str:
            return "" if is_replaced else value

        def close(self) -> None:
            pass

    class Request:
        def ask(self, method: str, *_: object, **__: object) -> Answer:
            asked.append(method)
            return Answer()

    bucket_documents._remove_object(Request(), "Policy", "b", value)  # type: ignore[arg-type]
    assert ("DELETE" in asked) == is_replaced
