"""Archives read as streams: every kind, broken in every way, and such as are made to take all memory or time."""

import bz2
import gzip
import io
import os
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.bulk import archive
from swift.middleware.bulk.archive import PACKINGS, Archive, BadArchive

PACK = {
    "tar": lambda data: data,
    "tar.gz": lambda data: gzip.compress(data, mtime=0),
    "tar.bz2": bz2.compress,
}


def tar(*members, form=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, data, *more in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in (more[0] if more else {}).items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


class Piecewise:
    """A body that comes in pieces of at most so many bytes."""

    def __init__(self, data, most=1 << 30):
        self.file = io.BytesIO(data)
        self.most = most

    def __call__(self, size):
        return self.file.read(min(size, self.most))


def files(data, packing="tar", most=1 << 30):
    return [(member.name, member.read()) for member in Archive(Piecewise(data, most), packing)]


def why(data, packing="tar"):
    with pytest.raises(BadArchive) as caught:
        files(data, packing)
    return str(caught.value)


LONG = os.urandom(200_000) + b"0" * 300_000
MEMBERS = [("c/a", b"1"), ("c/long", LONG), ("c/empty", b""), ("n" * 300, b"x")]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("most", [1, 7, 1 << 30])
def test_what_was_packed_comes_out(packing, form, most):
    members = MEMBERS[:1] + MEMBERS[2:] if most < 100 else MEMBERS
    assert files(PACK[packing](tar(*members, form=form)), packing, most) == members


@pytest.mark.parametrize("packing", ["tar.gz", "tar.bz2"])
def test_several_streams_one_behind_the_other(packing):
    whole = tar(*MEMBERS)
    cut = len(whole) // 3
    data = PACK[packing](whole[:cut]) + b"\0" * 100 + PACK[packing](whole[cut:])
    assert files(data, packing) == MEMBERS


def test_what_is_not_read_is_passed_over():
    read = []
    for member in Archive(Piecewise(tar(*MEMBERS)), "tar"):
        read.append(member.read_some(1))
    assert read == [b"1", LONG[:1], b"", b"x"]


def test_only_files_are_members():
    kinds = (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
    )
    data = tar(*((f"c/{n}", b"", {"type": kind, "linkname": "c/x"}) for n, kind in enumerate(kinds)), ("c/x", b"1"))  # fmt: skip
    assert files(data) == [("c/x", b"1")]


@pytest.mark.parametrize("packing", PACKINGS)
def test_no_archive_that_breaks_off_counts_as_whole(packing):
    """But a plain one between two members: there is no end that it had to have."""
    whole = PACK[packing](tar(*MEMBERS))
    for length in (1, 10, 100, 600, 700, 1600, 2000, len(whole) // 2):
        data = whole[:length]
        if packing == "tar" and length % 512 == 0:
            continue
        assert why(data, packing)
    assert why(whole[:90] + b"\xff" * 50 + whole[140:], packing)


def test_reasons_are_the_librarys():
    assert why(b"") == "empty file"
    assert why(b"x" * 20) == "truncated header"
    assert why(b"x" * 1024) == "invalid header"
    assert why(b"x" * 1024, "tar.gz") == "not a gzip file"
    assert why(b"x" * 1024, "tar.bz2") == "invalid compressed data"
    assert why(tar(("c/a", b"x" * 1000))[:800]) == "unexpected end of data"
    assert why(tar(("c/a", b"x")).rstrip(b"\0").ljust(1024, b"\0") + b"garbage!" * 64) == "invalid header"


def test_sparse_files_are_read_with_their_holes():
    """Old GNU form: 3 bytes at 1,000 of 1 MiB."""
    info = tarfile.TarInfo("c/sparse")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[124:136] = b"%011o\0" % 3
    block[386:410] = b"%011o\0%011o\0" % (1000, 3)
    block[410:434] = b"%011o\0%011o\0" % (1 << 20, 0)
    block[483:495] = b"%011o\0" % (1 << 20)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    data = bytes(block) + b"abc".ljust(512, b"\0") + tar(("c/b", b"x"))
    (name, sparse), after = files(data)
    assert (name, len(sparse), sparse[1000:1003], sparse.strip(b"\0")) == (
        "c/sparse",
        1 << 20,
        b"abc",
        b"abc",
    )
    assert after == ("c/b", b"x")


def header(name, size, kind=b"0"):
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


BOMBS = {
    "a name of gigabytes": header("x", 8**11 - 1, b"L") + b"n" * (4 << 20),
    "attributes of gigabytes": header("x", 8**11 - 1, b"x") + b"9999999 a=" + b"b" * (4 << 20),
    "attributes of everything": header("x", 8**11 - 1, b"g") + b"9999999 a=" + b"b" * (4 << 20),
    "names without end": (header("x", 5, b"L") + b"name\0".ljust(512, b"\0")) * 5000,
    "attributes without end": (header("x", 8, b"g") + b"8 ab=cd\n".ljust(512, b"\0")) * 5000,
    "a map without end": header("x", 512, b"x")
    + b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n".ljust(512, b"\0")
    + header("y", 8**11 - 1)
    + b"999999999\n"
    + b"1\n" * (1 << 20),
    "a negative size": header("x", b"\xff" * 12) + b"\0" * 1024,
    "a negative name": header("x", b"\xff" * 12, b"L") + b"\0" * 1024,
    "more than there is": header("x", 8**11 - 1) + b"\0" * 1024,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("packing", ["tar", "tar.gz"])
def test_archives_made_to_take_all_memory_take_little(name, packing):
    data = PACK[packing](BOMBS[name])
    tracemalloc.start()
    try:
        for member in (members := iter(Archive(Piecewise(data), packing))):
            while member.read_some():
                pass
        raise AssertionError(f"{name} was read: {members}")
    except BadArchive:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < len(data) + (4 << 20)


def test_a_bomb_is_unpacked_piece_by_piece():
    body = tar(("c/zeros", b"\0" * (64 << 20)))
    for packing in ("tar.gz", "tar.bz2"):
        data = PACK[packing](body)
        tracemalloc.start()
        size = 0
        for member in Archive(Piecewise(data), packing):
            while piece := member.read_some():
                size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size == 64 << 20
        assert peak < len(data) + (4 << 20)


def test_what_belongs_to_no_object_has_an_end(monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNSTORED", 1 << 20)
    large = tar(("c/large", b"\0" * (2 << 20)), ("c/after", b"x"))
    with pytest.raises(BadArchive, match="too much"):
        list(Archive(Piecewise(large), "tar"))
    assert [name for name, _ in files(large)] == ["c/large", "c/after"]
    monkeypatch.setattr(archive, "MAX_ENTRIES_BETWEEN", 10)
    folders = [(f"d/{n}", b"", {"type": tarfile.DIRTYPE}) for n in range(11)]
    assert files(tar(*folders[:10], ("c/x", b"1"))) == [("c/x", b"1")]
    assert "no files" in why(tar(*folders, ("c/x", b"1")))


@given(st.data())
def test_whatever_comes_is_read_or_refused(data):
    packing = data.draw(st.sampled_from(sorted(PACKINGS)))
    form = data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
    whole = bytearray(tar(("c/a", b"1" * 700), ("n" * 90 + "/ö", b"22"), form=form))
    whole = whole[: len(whole) - 7000]
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    packed = bytearray(PACK[packing](bytes(whole)))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(packed) - 1))
        packed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    try:
        found = files(bytes(packed[:cut]), packing, data.draw(st.sampled_from([13, 512, 1 << 20])))
    except BadArchive:
        return
    assert len(found) <= 2
