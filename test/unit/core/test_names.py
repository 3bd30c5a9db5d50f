from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core import names
from swift.core.errors import BadRequest, InsufficientStorage, PreconditionFailed
from swift.core.names import split_path


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("/a",), ["a"]),
        (("/a/",), ["a"]),
        (("/a/c", 2), ["a", "c"]),
        (("/a/c/", 2), ["a", "c"]),
        (("/a", 1, 3, True), ["a", None, None]),
        (("/a/c", 1, 3, True), ["a", "c", None]),
        (("/a/c/", 1, 3, True), ["a", "c", ""]),
        (("/a/c/o/r", 3, 3, True), ["a", "c", "o/r"]),
        (("/a/c//o", 3, 3, True), ["a", "c", "/o"]),
        (("/v/a/c/o//", 1, 4, True), ["v", "a", "c", "o//"]),
        (("/v/a/c/", 4, 4, True), None),
        (("/v/a/c//", 4, 4, True), ["v", "a", "c", "/"]),
        (("/", 1, 4, True), None),
        (("//", 1, 4, True), None),
        (("//a", 1, 4, True), None),
        (("/v//c", 1, 4, True), None),
        (("/v/a//o", 1, 4, True), None),
        (("/v/", 1, 4, True), ["v", ""]),
        (("v/a", 1, 4, True), None),
        (("", 1, 1), None),
        (("/a/c/o", 2), None),
        (("/a", 2), None),
        (("/a/c//", 2), None),
    ],
)
def test_split_path(args, expected):
    if expected is None:
        with pytest.raises(ValueError, match="^Invalid path: "):
            split_path(*args)
        return
    result = split_path(*args)
    assert result == expected + [None] * (len(result) - len(expected))
    assert len(result) == (args[2] if len(args) > 2 else args[1] if len(args) > 1 else 1)


def test_split_path_quotes_in_its_error():
    with pytest.raises(ValueError, match="^Invalid path: o%0An%20e$"):
        split_path("o\nn e", 2)


@given(st.binary())
def test_wsgi_strings_carry_any_bytes(data):
    wsgi = names.bytes_to_wsgi(data)
    assert names.wsgi_to_bytes(wsgi) == data
    assert names.str_to_wsgi(names.wsgi_to_str(wsgi)) == wsgi
    assert names.wsgi_unquote(names.wsgi_quote(wsgi)) == wsgi
    assert names.wsgi_quote(wsgi) == names.quote_name(names.wsgi_to_str(wsgi)) == names.quote_name(data)


@given(st.text())
def test_native_strings_that_are_utf8(text):
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        assert not names.valid_utf8(text)
        return
    assert names.valid_utf8(text) == names.valid_utf8(raw) == names.valid_wsgi_utf8(raw.decode("latin-1"))
    assert names.valid_utf8(text) == (bool(text) and "\0" not in text)
    assert names.valid_utf8(text, allow_nul=True) == bool(text)


@pytest.mark.parametrize("raw", [b"", b"\xed\xa0\x80", b"\xff", b"\xc3", b"a\0b", b"\xc0\x80"])
def test_what_is_not_utf8(raw):
    assert not names.valid_utf8(raw)
    assert not names.valid_wsgi_utf8(raw.decode("latin-1"))
    with pytest.raises(PreconditionFailed) as caught:
        names.check_proxy_path(raw.decode("latin-1"))
    assert (caught.value.status, caught.value.body) == (412, "Invalid UTF8 or contains NULL")


def body_of(check, *args):
    try:
        check(*args)
    except BadRequest as err:
        return err.body
    return None


def test_reserved_names():
    assert names.split_reserved_name(names.reserved_name("versions", "c")) == ["versions", "c"]
    with pytest.raises(ValueError):
        names.reserved_name("a\0b")
    with pytest.raises(ValueError):
        names.split_reserved_name("a")
    assert body_of(names.check_account_name, "a\0") == "Invalid reserved-namespace account"
    assert body_of(names.check_account_name, "\0a") is None
    assert body_of(names.check_container_name, "a", "c\0") == "Invalid reserved-namespace container"
    assert body_of(names.check_container_name, "a", "\0c\0d") is None
    obj = names.check_object_name
    assert body_of(obj, "a", "c", "o") is None
    assert body_of(obj, "a", "c", "o\0") == "Invalid reserved-namespace object"
    assert body_of(obj, "a", "\0c", "o") == "Invalid user-namespace object in reserved-namespace container"
    assert body_of(obj, "a", "c", "\0o") == "Invalid reserved-namespace object in user-namespace container"
    assert body_of(obj, "a", "\0c", "\0o\0x") is None
    assert body_of(obj, ".misplaced_objects", "1", "1:/a/\0c/\0o") is None
    assert body_of(obj, ".shards_a", "\0c", "o") is None


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b"])
def test_device_and_partition(bad):
    for args in ((bad, "0"), ("sda", bad)):
        with pytest.raises(BadRequest, match="^Invalid (device|partition): "):
            names.check_device_partition(*args)
    names.check_device_partition("sda", "0")


@pytest.mark.parametrize("bad", ["a b", "a%20b", "é", "a\0b", ".."])
def test_device_names_no_ring_contains(bad):
    with pytest.raises(InsufficientStorage) as caught:
        names.check_device_name(bad)
    assert caught.value.status == 507
    names.check_device_name("sd_b1.x-~")


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@pytest.mark.parametrize("safe", ["/", ""])
def test_a_name_is_quoted_whichever_characters_it_has(safe, text):
    assert names.quote_name(text, safe) == quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe)
    assert names.quote_name("a/b-c_d.e~f", safe) == quote_from_bytes(b"a/b-c_d.e~f", safe)
