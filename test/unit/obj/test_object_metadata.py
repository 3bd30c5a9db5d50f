"""Metadata of object files: what the reference wrote is read right, what we write it can read, damage is noticed."""

import errno
import os
import pickle
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from obj_golden import load

from swift.core.unpickle import loads
from swift.obj import blocks
from swift.obj.errors import Corrupt, MetadataTooLarge, NoSpace, XattrUnsupported
from swift.obj.files import metadata

FILES = [
    (case["case"], file, case["metadata_as_native_strings_per_file"][file["path"]])
    for case in load("objects.json")
    for file in case["files"]
    if file["path"] in case["metadata_as_native_strings_per_file"]
]


def blob_of(file):
    names = [metadata.XATTR, *(f"{metadata.XATTR}{n}" for n in range(1, 200))]
    return b"".join(bytes.fromhex(file["xattrs_hex"].get(n, "")) for n in names)


def same(got, expected):
    # the golden file shortens long values
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        if "…" in value or "..." in value or len(value) != len(got[key]):
            continue
        assert got[key] == value


@pytest.mark.parametrize("case, file, expected", FILES, ids=[f[0] for f in FILES])
def test_golden_is_read(case, file, expected):
    same(metadata.decode(blob_of(file)), expected)


def reference_blob(md):
    return pickle.dumps(
        {k.encode("utf-8", "surrogateescape"): v.encode("utf-8", "surrogateescape") for k, v in md.items()}, 2
    )


wsgi_text = st.text(st.characters(max_codepoint=255), min_size=1)
native_text = st.text(st.characters(exclude_categories=["Cs"]))
dicts = st.dictionaries(
    st.one_of(wsgi_text, st.sampled_from(["X-Timestamp", "ETag", "Content-Type"])),
    st.one_of(wsgi_text, native_text, st.just(""), st.text(max_size=400), st.just("x" * 70000)),
    min_size=1,
)


@given(dicts)
@example({"a": ""})
@example({"a" * 300: "b" * 300})
@example({"k": "h\x03\x86Rh\x01X\x01\0\0\0a", "X": "h\x03\x86Ru."})
@example({"k": "q\x05h\x03\x86q\x06Rq\x07h\x01X"})
def test_round_trip_and_plain_pickle(md):
    blob = metadata.encode(md)
    assert metadata.decode(blob) == md
    as_bytes = {
        k.encode("utf-8", "surrogateescape"): v.encode("utf-8", "surrogateescape") for k, v in md.items()
    }
    assert loads(blob, encoding=None) == as_bytes
    assert pickle.loads(blob) == as_bytes
    assert b"_codecs\nencode" in blob[:32]


@given(dicts)
def test_what_the_reference_writes_is_read(md):
    assert metadata.decode(reference_blob(md)) == md


def test_many_keys_of_the_reference_outgrow_one_byte_memo_numbers():
    md = {f"X-Object-Meta-{n}": str(n) for n in range(300)}
    assert metadata.decode(reference_blob(md)) == md


@given(st.binary(max_size=200), st.integers(0, 400), dicts)
def test_damage_is_an_error_or_a_dict_of_text(noise, at, md):
    blob = metadata.encode(md)
    for bad in (noise, blob[:at] + noise + blob[at:], blob[:at]):
        try:
            got = metadata.decode(bad)
        except Corrupt:
            continue
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in got.items())


@pytest.mark.parametrize(
    "value",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        pickle.dumps([1]),
        pickle.dumps({b"a": 1}),
        pickle.dumps({b"a": [b"b"]}),
        b".",
    ],
)
def test_anything_but_a_flat_dict_of_strings_is_refused(value):
    with pytest.raises(Corrupt):
        metadata.decode(value)


@pytest.fixture
def fd(root):
    fd = os.open(root, os.O_TMPFILE | os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("size", [10, 60000, 65536, 200000])
def test_large_metadata_is_split_over_attributes(fd, size):
    md = {"X-Timestamp": "1", "X-Object-Meta-Big": "b" * size}
    try:
        metadata.write(fd, md)
    except MetadataTooLarge:
        pytest.skip("this file system has small xattrs")
    assert metadata.read(fd) == md
    names = [n for n in os.listxattr(fd) if n != metadata.XATTR_CHECKSUM]
    assert len(names) == len(metadata.encode(md)) // 65536 + 1


def test_stale_higher_chunks_do_not_matter(fd):
    metadata.write(fd, {"a": "b"})
    os.setxattr(fd, metadata.XATTR + "1", b"stale")
    assert metadata.read(fd) == {"a": "b"}


def test_missing_checksum_is_accepted(fd):
    metadata.write(fd, {"a": "b"})
    os.removexattr(fd, metadata.XATTR_CHECKSUM)
    assert metadata.read(fd) == {"a": "b"}


def test_wrong_checksum_and_no_metadata_are_corrupt(fd):
    with pytest.raises(Corrupt):
        metadata.read(fd)
    metadata.write(fd, {"a": "b"})
    os.setxattr(fd, metadata.XATTR, metadata.encode({"a": "c"}))
    with pytest.raises(Corrupt):
        metadata.read(fd)


@pytest.mark.parametrize(
    "code, small_fits, size, error",
    [
        (errno.ENOSPC, True, 5000, MetadataTooLarge),
        (errno.ENOSPC, False, 5000, NoSpace),
        (errno.ENOSPC, True, 10, NoSpace),
        (errno.EDQUOT, True, 5000, NoSpace),
        (errno.E2BIG, True, 5000, MetadataTooLarge),
        (errno.ENOTSUP, True, 10, XattrUnsupported),
        (errno.EIO, True, 10, OSError),
    ],
)
def test_write_errors(fd, monkeypatch, code, small_fits, size, error):
    def fail(fd, name, value):
        if len(value) > 1024 or size < 1024 or not small_fits:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(metadata, "set_xattr", fail)
    with pytest.raises(error):
        metadata.write(fd, {"a": "x" * size}, may_overflow=False)


def test_read_without_xattr_support(fd, monkeypatch):
    def fail(fd, name):
        raise OSError(errno.ENOTSUP, "no")

    monkeypatch.setattr(metadata, "get_xattr", fail)
    with pytest.raises(XattrUnsupported):
        metadata.read(fd)


# ---------------------------------------------------------------- block checksums

ETAG = "0123456789abcdef0123456789abcdef"


@given(st.binary(), st.binary())
def test_checksums_of_joined_runs(a, b):
    assert blocks.combine(zlib.crc32(a), zlib.crc32(b), len(b)) == zlib.crc32(a + b)


@pytest.mark.parametrize("length", [0, 1, 65535, 65536, 65537, 64 * 65536, 64 * 65536 + 1, 300 * 65536 + 5])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("step", [70000, 4096, 1 << 20])
def test_blocks(length, known, step):
    data = (b"%08d" % length + os.urandom(1016)) * (length // 1024 + 1)
    data = data[:length]
    crcs_of = blocks.BlockCrcs(length if known else None)
    for start in range(0, length, step):
        crcs_of.update(data[start : start + step])
    crcs = crcs_of.finish()
    assert len(crcs) <= blocks.MAX_BLOCKS
    size = crcs_of.block_size
    assert crcs == [zlib.crc32(data[i : i + size]) for i in range(0, length, size)]
    assert crcs_of.total(length) == zlib.crc32(data)
    text = blocks.format_block_crcs(ETAG, size, crcs)
    assert len(text) < 400
    assert blocks.parse_block_crcs(text, ETAG, length) == (size, crcs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "x;y;z",
        "fedcba9876543210;65536;AAAAAA==",
        "0123456789abcdef;0;AAAAAA==",
        "0123456789abcdef;65536;AAAA",
        "0123456789abcdef;1;AAAAAA==",
    ],
)
def test_block_checksums_of_other_content_are_not_used(text):
    assert blocks.parse_block_crcs(text, ETAG, 5) is None
