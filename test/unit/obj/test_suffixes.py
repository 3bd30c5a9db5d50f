"""Suffix hashes: the reference's values, and nothing changed stays unhashed."""

import base64
import errno
import os
import pickle

import pytest
from obj_golden import load

from swift.core.errors import LockTimeout
from swift.engine.locks import acquire_lock
from swift.obj.files import suffixes

CASES = load("hashes.json")
T1, T2 = "1700000001.00000", "1700000002.00000"
KEEP = 1e12


def keys(value):
    if isinstance(value, dict):
        return {None if k == "None" else int(k): v for k, v in value.items()}
    return value


@pytest.mark.parametrize("case", CASES, ids=[f"{c['policy']}-{c['partition']}" for c in CASES])
def test_golden(tmp_path, case):
    partition = str(tmp_path / "p")
    for suffix, hashes in case["files"].items():
        for name_hash, names in hashes.items():
            os.makedirs(f"{partition}/{suffix}/{name_hash}")
            for name in names:
                open(f"{partition}/{suffix}/{name_hash}/{name}", "w").close()
    for name in ("hashes.invalid", "hashes.pkl"):
        if case[f"{name}_before_b64"] is not None:
            with open(f"{partition}/{name}", "wb") as f:
                f.write(base64.b64decode(case[f"{name}_before_b64"]))
    ec = case["policy"] == 2
    _, got = suffixes.get_hashes(partition, ec, 6 if ec else None, reclaim_age=KEEP)
    expected = {suffix: keys(value) for suffix, value in case["suffix_hashes"].items()}
    assert got == expected
    written = suffixes.read_hashes(partition)
    assert written["valid"] is True and written["updated"] > 0
    assert {s: v for s, v in written.items() if len(s) == 3} == expected
    assert open(f"{partition}/hashes.invalid").read() == ""

    golden = tmp_path / "golden"
    golden.mkdir()
    (golden / "hashes.pkl").write_bytes(base64.b64decode(case["hashes.pkl_after_b64"]))
    read = suffixes.read_hashes(str(golden))
    assert {s: v for s, v in read.items() if len(s) == 3} == expected
    # byte for byte, but for the time
    assert pickle.dumps({**read}, 2) == base64.b64decode(case["hashes.pkl_after_b64"])


@pytest.fixture
def partition(tmp_path):
    path = str(tmp_path / "308")
    os.makedirs(path)
    return path


def add(partition, suffix, name, number="a"):
    directory = f"{partition}/{suffix}/{number * 29}{suffix}"
    os.makedirs(directory, exist_ok=True)
    open(f"{directory}/{name}", "w").close()


def test_a_partition_that_goes_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    """As when a disk is emptied: it was there when it was to be made, and is not when it is to be locked."""
    (tmp_path / "objects").mkdir()
    make, found = os.mkdir, iter([True, False])

    def mkdir(path, *args, **kwargs):
        if next(found, False):
            raise FileExistsError(errno.EEXIST, "it was there", path)
        make(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", mkdir)
    suffixes.invalidate(f"{tmp_path}/objects/308", "fff")
    assert (tmp_path / "objects/308/hashes.invalid").read_text() == "fff\n"


def test_no_invalidation_makes_a_device(tmp_path):
    with pytest.raises(FileNotFoundError):
        suffixes.invalidate(f"{tmp_path}/sda/objects/308", "fff")
    assert list(tmp_path.iterdir()) == []


def test_invalidation_appends_a_line_and_makes_the_partition(tmp_path):
    partition = str(tmp_path / "new" / "308")
    suffixes.invalidate(partition, "fff")
    suffixes.invalidate(partition, "abc")
    assert open(f"{partition}/hashes.invalid").read() == "fff\nabc\n"
    assert sorted(os.listdir(partition)) == [".lock", "hashes.invalid"]


def test_only_what_was_invalidated_is_hashed_again(partition):
    add(partition, "abc", f"{T1}.data")
    add(partition, "abd", f"{T1}.data")
    assert suffixes.get_hashes(partition, reclaim_age=KEEP)[0] == 2
    before = os.stat(f"{partition}/hashes.pkl").st_ino
    assert suffixes.get_hashes(partition, reclaim_age=KEEP)[0] == 0
    assert os.stat(f"{partition}/hashes.pkl").st_ino == before  # nothing changed, nothing written
    add(partition, "abc", f"{T2}.ts")
    suffixes.invalidate(partition, "abc")
    count, hashes = suffixes.get_hashes(partition, reclaim_age=KEEP)
    assert count == 1
    assert os.listdir(f"{partition}/abc/{'a' * 29}abc") == [f"{T2}.ts"]
    assert suffixes.get_hashes(partition, recalculate=["abd", "not", "../"], reclaim_age=KEEP) == (1, hashes)


def test_reclaimed_suffix_disappears(partition):
    add(partition, "abc", f"{T1}.ts")
    assert suffixes.get_hashes(partition) == (1, {})
    assert not os.path.exists(f"{partition}/abc")


def test_a_suffix_that_was_removed_by_others_counts_no_more_once_it_was_looked_for(partition):
    """Else it would be the same as its peers', who would never bring back what was in it."""
    for suffix in ("abc", "abd"):
        add(partition, suffix, f"{T1}.ts")
    _, before = suffixes.get_hashes(partition, reclaim_age=KEEP)
    os.rename(f"{partition}/abc", f"{partition}-away")
    count, hashes = suffixes.get_hashes(partition, do_listdir=True, reclaim_age=KEEP)
    assert (count, hashes) == (1, {"abd": before["abd"]})
    assert suffixes.get_hashes(partition, do_listdir=True, reclaim_age=KEEP) == (0, hashes)
    assert "abc" not in suffixes.read_hashes(partition)


def test_missing_partition(tmp_path):
    assert suffixes.get_hashes(str(tmp_path / "none")) == (0, {})
    assert not (tmp_path / "none").exists()


def test_directory_of_three_letters_that_are_not_hex_is_left_out(partition):
    """The reference takes it, and can then never read hashes.pkl again."""
    add(partition, "abc", f"{T1}.data")
    os.mkdir(f"{partition}/xyz")
    suffixes.get_hashes(partition, reclaim_age=KEEP)
    assert suffixes.get_hashes(partition, reclaim_age=KEEP)[0] == 0
    assert "xyz" not in suffixes.read_hashes(partition)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        pickle.dumps([], 2),
        pickle.dumps({"xyz": "1"}, 2),
        pickle.dumps({1: "1"}, 2),
        b"cos\nsystem\n.",
    ],
)
def test_bad_hashes_file_means_hash_everything(partition, content):
    add(partition, "abc", f"{T1}.data")
    with open(f"{partition}/hashes.pkl", "wb") as f:
        f.write(content)
    count, hashes = suffixes.get_hashes(partition, reclaim_age=KEEP)
    assert count == 1 and list(hashes) == ["abc"]
    assert suffixes.get_hashes(partition, reclaim_age=KEEP) == (0, hashes)


def test_files_of_old_releases_have_neither_valid_nor_updated(partition):
    with open(f"{partition}/hashes.pkl", "wb") as f:
        pickle.dump({"abc": "x" * 32}, f, 2)
    assert suffixes.read_hashes(partition) == {"abc": "x" * 32, "valid": True, "updated": -1}


def test_junk_in_the_invalid_file_is_dropped(partition):
    with open(f"{partition}/hashes.invalid", "wb") as f:
        f.write(b"xyz\n\nabcd\n\xff\xff\xff\nabc\n../\n")
    add(partition, "abc", f"{T1}.data")
    assert list(suffixes.get_hashes(partition, reclaim_age=KEEP)[1]) == ["abc"]
    assert os.path.getsize(f"{partition}/hashes.invalid") == 0


@pytest.mark.parametrize("torn", [b"a", b"ab", b"\0\0\0\0", b"\xff" * 300])
def test_what_was_appended_to_a_torn_line_is_seen(partition, torn):
    """A power cut leaves half of a line, or zeros; the next line must not vanish in it."""
    add(partition, "abc", f"{T1}.data")
    add(partition, "fff", f"{T1}.data")
    before = suffixes.get_hashes(partition, reclaim_age=KEEP)[1]
    with open(f"{partition}/hashes.invalid", "wb") as f:
        f.write(torn)
    add(partition, "abc", f"{T2}.data")
    suffixes.invalidate(partition, "abc")
    after = suffixes.get_hashes(partition, reclaim_age=KEEP)[1]
    assert after["abc"] != before["abc"]
    assert after["fff"] == before["fff"]


def test_change_during_the_hashing_is_seen_next_time(partition, monkeypatch):
    add(partition, "abc", f"{T1}.data")
    add(partition, "abd", f"{T1}.data")
    real = suffixes.hash_suffix

    def hash_and_change(suffix_dir, *args):
        value = real(suffix_dir, *args)
        if suffix_dir.endswith("abc"):
            with suffixes.Invalidation(partition, "abc"):
                add(partition, "abc", f"{T2}.data", "b")
            suffixes.consolidate(partition)  # another process does this in between
        return value

    monkeypatch.setattr(suffixes, "hash_suffix", hash_and_change)
    suffixes.get_hashes(partition, reclaim_age=KEEP)
    monkeypatch.setattr(suffixes, "hash_suffix", real)
    _, hashes = suffixes.get_hashes(partition, reclaim_age=KEEP)
    fresh = {s: real(f"{partition}/{s}", reclaim_age=KEEP) for s in ("abc", "abd")}
    assert hashes == fresh


def test_one_damaged_suffix_takes_nothing_from_the_others(partition):
    add(partition, "abc", f"{T1}.data")
    add(partition, "abd", f"{T1}.data")
    bad = [f"{partition}/abc/{letter * 29}abc" for letter in "ef"]
    for path in bad:
        open(path, "w").close()
    fresh = suffixes.hash_suffix(f"{partition}/abd", reclaim_age=KEEP)
    for _ in range(2):  # nobody sets it aside: it can't be told, and is asked again
        _, hashes = suffixes.get_hashes(partition, reclaim_age=KEEP)
        assert hashes == {"abc": None, "abd": fresh}
    seen = []

    def set_aside(damage):
        seen.append(damage.path)
        os.unlink(damage.path)

    _, hashes = suffixes.get_hashes(partition, reclaim_age=KEEP, set_aside=set_aside)
    assert seen == bad
    assert hashes == {s: suffixes.hash_suffix(f"{partition}/{s}", reclaim_age=KEEP) for s in ("abc", "abd")}


def test_what_cannot_be_set_aside_is_asked_for_once(partition):
    os.makedirs(f"{partition}/abc")
    open(f"{partition}/abc/{'a' * 29}abc", "w").close()
    seen = []
    assert suffixes.get_hashes(partition, set_aside=seen.append)[1] == {"abc": None}
    assert len(seen) == 1


def test_suffix_that_is_a_file_drops_out(partition):
    open(f"{partition}/abc", "w").close()
    suffixes.invalidate(partition, "abc")
    assert suffixes.get_hashes(partition)[1] == {}


def test_replicated_suffix_with_only_unexpected_files(partition):
    add(partition, "abc", "junk")
    assert suffixes.get_hashes(partition)[1] == {"abc": "d41d8cd98f00b204e9800998ecf8427e"}
    assert suffixes.hash_suffix(f"{partition}/abc", ec=True) == {}


def test_no_invalidation_without_the_lock(partition):
    lock = acquire_lock(partition, 1)
    try:
        suffixes.LOCK_TIMEOUT, before = 0.01, suffixes.LOCK_TIMEOUT
        with pytest.raises(LockTimeout):
            suffixes.invalidate(partition, "abc")
    finally:
        suffixes.LOCK_TIMEOUT = before
        os.close(lock)
