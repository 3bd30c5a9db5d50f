"""Tags: what may be one, and their forms."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3 import tagging
from swift.s3.errors import S3Error
from swift.s3.metadata import shown_headers

letters = st.sampled_from("abzAZ09 +-=._:/@äß日é")
keys = st.text(letters, min_size=1, max_size=128).filter(lambda key: not key.lower().startswith("aws:"))
tag_sets = st.dictionaries(keys, st.text(letters, max_size=256), max_size=10)


@given(tag_sets)
def test_what_is_kept_is_read_again(tags: dict[str, str]) -> None:
    text = tagging.stored(tags)
    assert text.isascii()
    assert tagging.of_stored(text) == tags
    assert tagging.parse_document(tagging.shown(tags)) == tags
    assert tagging.parse_header(urlencode(tags)) == tags
    counted = shown_headers([("X-Object-Transient-Sysmeta-S3api-Tagging", text)])
    assert counted == ([("x-amz-tagging-count", str(len(tags)))] if tags else [])


@given(st.text(max_size=200))
def test_a_header_has_tags_or_an_error(value: str) -> None:
    try:
        tags = tagging.parse_header(value)
    except S3Error as error:
        assert error.status == 400
    else:
        assert len(tags) <= 10


@given(st.binary(max_size=200))
def test_a_document_has_tags_or_an_error(data: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        tagging.parse_document(data)
    assert caught.value.code == "MalformedXML"


@pytest.mark.parametrize("value", ["a=1&a=2", "a=%ff", "&", "a=1&", "a=1&&b=2"])
def test_headers_that_are_no_tags(value: str) -> None:
    with pytest.raises(S3Error) as caught:
        tagging.parse_header(value)
    assert caught.value.code == "InvalidArgument"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("", "v")], "TagKey"),
        ([("k" * 129, "v")], "TagKey"),
        ([("aws:x", "v")], "TagKey"),
        ([("AWS:x", "v")], "TagKey"),
        ([("a<", "v")], "TagKey"),
        ([("k", "v" * 257)], "TagValue"),
        ([("k", "&")], "TagValue"),
        ([("k", "1"), ("k", "2")], "same key"),
    ],
)
def test_tags_that_are_none(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(S3Error) as caught:
        tagging.checked(pairs)
    assert caught.value.code == "InvalidTag"
    assert message in caught.value.message


def test_there_are_not_more_than_ten_and_fifty() -> None:
    many = [(f"k{at}", "") for at in range(51)]
    assert len(tagging.checked(many[:10])) == 10
    assert len(tagging.checked(many[:50], tagging.MOST_OF_BUCKET)) == 50
    for most in (10, 50):
        with pytest.raises(S3Error) as caught:
            tagging.checked(many[: most + 1], most)
        assert caught.value.code == "BadRequest"
