"""Opening objects: the golden ones as the reference opens them; damaged ones moved away, and only they."""

import gc
import os

import pytest
from obj_golden import load, place_files

from swift.core.hashing import hash_path
from swift.obj import blocks
from swift.obj.errors import Collision, Deleted, Expired, NotExist, Quarantined
from swift.obj.files import metadata, reader
from swift.obj.files.layout import ObjectLocation
from swift.obj.store import BODY, EXTENT
from test.descriptors import none_left_open

CASES = load("objects.json")


def locate(root, case):
    device = os.path.join(root, case["device"])
    name = f"/{case['account']}/{case['container']}/{case['object']}"
    ec = case["policy"] == 2
    found = ObjectLocation(
        device, case["policy"], str(case["partition"]), case["name_hash"], name, ec, 6 if ec else None
    )
    assert found.hash_dir == os.path.join(root, case["hash_dir"])
    return found


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_golden(root, case):
    try:
        place_files(root, case["files"])
    except OSError:
        pytest.skip("this file system has small xattrs")
    expected = case["opened"]
    prefs = [] if case["case"].endswith("-prefs") else None
    now = 1700000100 if case["case"] == "expired" else 1700000050
    where = locate(root, case)
    if expected["result"] != "ok":
        errors = {"DiskFileDeleted": Deleted, "DiskFileExpired": Expired, "DiskFileNotExist": NotExist}
        with pytest.raises(errors[expected["result"]]) as caught:
            reader.open_object(where, now, frag_prefs=prefs)
        assert getattr(caught.value, "timestamp", None) == expected["timestamp"]
        if expected["result"] == "DiskFileExpired":
            reader.open_object(where, now, open_expired=True).close()
        return
    for want in (EXTENT, BODY):
        got = reader.open_object(where, now, frag_prefs=prefs, want=want)
        got.close()
        assert got.metadata.keys() == expected["metadata"].keys()
        for key, value in expected["metadata"].items():
            if len(value) == len(got.metadata[key]):
                assert got.metadata[key] == value
        for attribute in ("timestamp", "data_timestamp", "durable_timestamp", "fragments"):
            assert getattr(got, attribute) == expected[attribute], attribute
        assert got.ctype_timestamp == expected["content_type_timestamp"]
        assert got.version == expected["data_file"]
    assert got.body == open(f"{where.hash_dir}/{got.version}", "rb").read()


@pytest.fixture
def device(root):
    os.mkdir(f"{root}/sda")
    return f"{root}/sda"


NAME = "/a/c/o"
T1, T2, T3 = "1700000001.00000", "1700000002.00000", "1700000003.00000"


class Place:
    """One object's hash directory, with files put there by hand."""

    def __init__(self, device, name=NAME):
        self.device = device
        digest = hash_path(*name[1:].split("/", 2))
        self.where = ObjectLocation(device, 0, "7", digest, name)
        self.partition_dir = f"{device}/objects/7"
        self.dir = f"{self.partition_dir}/{digest[-3:]}/{digest}"
        os.makedirs(self.dir)

    def put(self, file, body=b"", **md):
        md = {k.replace("_", "-"): v for k, v in md.items()}
        with open(f"{self.dir}/{file}", "wb") as f:
            f.write(body)
            metadata.write(f.fileno(), {"name": NAME, **md})

    def data(self, body=b"12345", time=T1, **md):
        import hashlib

        md.setdefault("ETag", hashlib.md5(body).hexdigest())
        md.setdefault("Content_Length", str(len(body)))
        self.put(f"{time}.data", body, X_Timestamp=time, Content_Type="text/plain", **md)

    def quarantined(self):
        found = []
        base = f"{self.device}/quarantined/objects"
        for directory, _, files in os.walk(base):
            found += [os.path.relpath(os.path.join(directory, f), base) for f in files]
        return sorted(found)

    def invalid(self):
        with open(f"{self.partition_dir}/hashes.invalid") as f:
            return f.read().split()


@pytest.fixture
def place(device):
    return Place(device)


def damage_size(place):
    place.data(Content_Length="6")


def damage_content(place):
    place.data()
    with open(f"{place.dir}/{T1}.data", "r+b") as f:
        f.write(b"X")


def damage_length_missing(place):
    place.put(f"{T1}.data", b"12345", X_Timestamp=T1)


def damage_delete_at(place):
    place.data(X_Delete_At="soon")


def damage_checksum(place):
    place.data()
    os.setxattr(f"{place.dir}/{T1}.data", "user.swift.metadata_checksum", b"0" * 32)


def damage_pickle(place):
    place.data()
    os.setxattr(f"{place.dir}/{T1}.data", "user.swift.metadata", b"not a pickle")


def damage_no_metadata(place):
    open(f"{place.dir}/{T1}.data", "wb").close()


def damage_no_name(place):
    with open(f"{place.dir}/{T1}.data", "wb") as f:
        metadata.write(f.fileno(), {"X-Timestamp": T1, "Content-Length": "0"})


def damage_no_timestamp(place):
    place.put(f"{T1}.data", b"", Content_Length="0")


@pytest.mark.parametrize(
    "damage", [f for n, f in sorted(globals().items()) if n.startswith("damage_")], ids=lambda f: f.__name__
)
def test_damage_is_quarantined_whole_and_the_suffix_hashed_again(place, damage):
    damage(place)
    with pytest.raises(Quarantined):
        reader.open_object(place.where, want=BODY)
    digest = os.path.basename(place.dir)
    assert place.quarantined() == [f"{digest}/{T1}.data"]
    assert place.invalid() == [digest[-3:]]
    assert place.where.notes[0].startswith(f"Quarantined object {place.dir}: ")
    with pytest.raises(NotExist):
        reader.open_object(place.where)


def test_second_quarantine_of_one_hash_gets_another_name(place):
    for _ in range(2):
        os.makedirs(place.dir, exist_ok=True)
        damage_size(place)
        with pytest.raises(Quarantined):
            reader.open_object(place.where)
    assert len(place.quarantined()) == 2


def test_file_in_place_of_the_directory(place):
    os.rmdir(place.dir)
    open(place.dir, "w").close()
    with pytest.raises(Quarantined):
        reader.open_object(place.where)
    assert place.quarantined() == [os.path.basename(place.dir)]


def test_damaged_meta_is_set_aside_and_the_data_stays(place):
    place.data(X_Object_Meta_A="data")
    place.put(f"{T2}.meta", X_Timestamp=T2, X_Object_Meta_A="good")
    place.put(f"{T3}+0.meta", X_Timestamp=T3, X_Object_Meta_A="bad")
    os.setxattr(f"{place.dir}/{T3}+0.meta", "user.swift.metadata", b"bad")
    got = reader.open_object(place.where, want=BODY)
    assert got.body == b"12345"
    assert got.metadata["X-Object-Meta-A"] == "good"
    assert len(place.quarantined()) == 1 and place.quarantined()[0].endswith(f"/{T3}+0.meta")
    assert place.invalid()
    assert sorted(os.listdir(place.dir)) == [f"{T1}.data", f"{T2}.meta"]


def test_damaged_tombstone_is_set_aside(place):
    place.put(f"{T2}.ts", X_Timestamp="never")
    with pytest.raises(NotExist) as caught:
        reader.open_object(place.where)
    assert not isinstance(caught.value, Deleted)
    assert len(place.quarantined()) == 1


def test_another_name_in_the_directory_is_a_collision_and_stays(place):
    place.data()
    place.where.name = "/a/c/other"
    with pytest.raises(Collision):
        reader.open_object(place.where)
    assert os.listdir(place.dir) == [f"{T1}.data"]


def test_opened_by_directory_the_name_must_hash_to_it(place):
    place.where.name = None
    place.data()
    reader.open_object(place.where).close()
    place.put(f"{T2}.data", X_Timestamp=T2, Content_Length="0", name="/a/c/x")
    with pytest.raises(Quarantined):
        reader.open_object(place.where)


def test_checksums_are_not_looked_at_when_switched_off(place):
    damage_content(place)
    place.where.etag_validate_pct = 0
    assert reader.open_object(place.where, want=BODY).body == b"X2345"


def test_block_checksum_is_used_and_only_for_its_own_etag(place):
    import zlib

    body = b"12345"
    etag = "0" * 32  # not the MD5: with a block checksum nobody computes that
    good = blocks.format_block_crcs(etag, 65536, [zlib.crc32(body)])
    place.data(body, ETag=etag, **{"X_Object_Sysmeta_Block_Crc32": good})
    assert reader.open_object(place.where, want=BODY).body == body

    other = blocks.format_block_crcs("1" * 32, 65536, [zlib.crc32(b"other")])
    place.data(body, time=T2, **{"X_Object_Sysmeta_Block_Crc32": other})
    assert reader.open_object(place.where, want=BODY).body == body

    bad = blocks.format_block_crcs(etag, 65536, [zlib.crc32(b"other")])
    place.data(body, time=T3, ETag=etag, **{"X_Object_Sysmeta_Block_Crc32": bad})
    with pytest.raises(Quarantined):
        reader.open_object(place.where, want=BODY)


def test_expiry_is_judged_by_the_time_given(place):
    place.data(X_Delete_At="1700000010")
    reader.open_object(place.where, now=1700000009.99).close()
    with pytest.raises(Expired) as caught:
        reader.open_object(place.where, now=1700000010)
    assert caught.value.timestamp == T1
    reader.open_object(place.where, now=1700000011, open_expired=True).close()


def test_large_body_is_left_to_be_sent_from_the_file(place):
    place.data(b"x" * (reader.INLINE_LIMIT + 1))
    got = reader.open_object(place.where, want=BODY)
    assert got.body is None and got.fd >= 0
    got.close()


def test_no_descriptor_leaks(place):
    with none_left_open():
        damage_size(place)
        with pytest.raises(Quarantined):
            reader.open_object(place.where)
        os.makedirs(place.dir)
        place.data(X_Delete_At="1")
        with pytest.raises(Expired):
            reader.open_object(place.where)


def test_a_miss_leaves_nothing_for_the_garbage_collector(place):
    with pytest.raises(NotExist):
        reader.open_object(place.where)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            try:
                reader.open_object(place.where)
            except NotExist:
                pass
        assert gc.collect() == 0
    finally:
        gc.enable()
