"""Signatures of URLs and forms: their written forms, and that none of it shows anywhere."""

import base64
import hashlib
import hmac

import pytest
from filter_stand_ins import memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.signatures import (
    DIGESTS,
    Key,
    Signature,
    allowed_digests,
    digests_told,
    parse_signature,
    signing_key,
)


def forms(value, digest):
    """Every way to write one signature."""
    yield value.hex()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(value).decode()
        yield f"{digest}:{text}"
        yield f"{digest}:{text.rstrip('=')}"


@given(st.sampled_from(sorted(DIGESTS)), st.binary())
def test_every_written_form_is_the_same_signature(digest, text):
    value = hmac.new(b"key", text, digest).digest()
    for form in forms(value, digest):
        assert parse_signature(form, DIGESTS) == Signature(digest, value.hex())
        assert parse_signature(form, set(DIGESTS) - {digest}) is None
        assert parse_signature(form + "0", DIGESTS) is None


@given(st.text(max_size=300))
def test_nothing_else_is_one(text):
    found = parse_signature(text, DIGESTS)
    if found is not None:
        assert len(found.value) == DIGESTS[found.digest]


@pytest.mark.parametrize(
    "text",
    ["", ":", "sha256:", "sha256:***", "sha256:QUJD", "md5:" + "A" * 22, "ab" * 19, "sha1" + "a" * 36 + ":", "é" * 40,
     "sha256:" + "=" * 44, "sha256:" + "A" * 5000, "sha256:" + "AAAA\n" * 9],
)  # fmt: skip
def test_what_is_none(text):
    assert parse_signature(text, DIGESTS) is None


def test_the_first_key_that_fits_is_found():
    keys = [Key(secret, "a", container) for secret, container in ((b"1", None), (b"2", "c"), (b"2", "d"))]
    signed = Signature("sha256", hmac.new(b"2", b"yes", hashlib.sha256).hexdigest())
    assert signing_key(keys, signed, [b"no", b"yes"]) is keys[1]
    assert signing_key(keys, signed, [b"no"]) is None
    assert signing_key([], signed, [b"yes"]) is None
    assert signing_key(keys, Signature("sha256", signed.value.upper()), [b"yes"]) is None


@pytest.mark.parametrize(
    "key, opened",
    [
        (Key(b"", "a", None), {("a", "c"), ("a", "d"), ("a", None)}),
        (Key(b"", "a", "c"), {("a", "c")}),
    ],
)
def test_what_a_key_opens(key, opened):
    places = [(a, c) for a in ("a", "b", None) for c in ("c", "d", "", None)]
    assert {place for place in places if key.opens(*place)} - {("a", "")} == opened


def test_secrets_do_not_show():
    assert "secret" not in repr(Key(b"secret", "a", "c"))
    assert "abcdef" not in repr(Signature("sha1", "abcdef"))


def test_digests_are_chosen_by_the_operator():
    logger, lines = memory_logger()
    assert allowed_digests({}, logger) == {"sha1", "sha256", "sha512"} and lines == []
    assert allowed_digests({"allowed_digests": "sha512 md5 sha1"}, logger) == {"sha512", "sha1"}
    assert "unknown" in lines[0] and "md5" in lines[0] and "deprecated: sha1" in lines[1]
    with pytest.raises(ValueError, match="allowed_digests"):
        allowed_digests({"allowed_digests": "md5"}, logger)
    assert digests_told({"sha512", "sha256"}) == {"allowed_digests": ["sha256", "sha512"]}
    assert digests_told({"sha1"}) == {"allowed_digests": ["sha1"], "deprecated_digests": ["sha1"]}
