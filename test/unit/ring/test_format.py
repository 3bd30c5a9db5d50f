import gzip
import json
import os
import struct
import zlib
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_golden import golden_rings, load_json

from swift.ring.errors import RingFileError
from swift.ring.format import RingData, id_width
from swift.ring.lookup import LoadedRing


@pytest.mark.parametrize("name", golden_rings())
def test_reads_what_the_reference_reads(data, name):
    expected = load_json("expected", name + ".json")
    ring = RingData.load(str(data / "rings" / name))
    assert ring.part_shift == expected["part_shift"]
    assert [len(row) for row in ring.rows] == expected["row_lengths"]
    if expected.get("table"):
        assert [list(row) for row in ring.rows] == expected["table"]
    if "devs" in expected:
        assert ring.devs == expected["devs"]
    else:
        assert len(ring.devs) == expected["devs_length"]
    for key in ("version", "next_part_power", "dev_id_bytes", "format_version", "size", "raw_size"):
        assert getattr(ring, key) == expected[key], key
    assert ring.replica_count == expected["replica_count"]
    assert isinstance(ring.replica_count, float)


@pytest.mark.parametrize("name", golden_rings())
def test_metadata_alone(data, name):
    path = str(data / "rings" / name)
    expected = load_json("expected", name + ".json")
    ring = RingData.load_metadata(path)
    whole = RingData.load(path)
    assert ring.rows == []
    assert ring.devs == whole.devs
    assert ring.replica_count == expected["metadata_only_replica_count"]
    assert (ring.part_shift, ring.version, ring.size, ring.raw_size, ring.format_version) == (
        whole.part_shift, whole.version, whole.size, whole.raw_size, whole.format_version,
    )  # fmt: skip
    assert RingData.load_metadata(path, with_devices=False).part_shift == whole.part_shift


BAD = load_json("bad", "expected.json")
# damage that the reference overlooks
REFUSED_HERE_ONLY = {"v1-truncated-file.ring.gz"}
# whole and right, although the reference does not find its way
READ_HERE_ONLY = {"v2-recompressed.ring.gz"}


@pytest.mark.parametrize("name", sorted(BAD))
def test_broken_files(data, name):
    path = str(data / "bad" / name)
    expected = BAD[name]
    if name in READ_HERE_ONLY or (expected["loads"] and name not in REFUSED_HERE_ONLY):
        ring = RingData.load(path)
        if "row_lengths" in expected:
            assert [len(row) for row in ring.rows] == expected["row_lengths"]
        return
    with pytest.raises(RingFileError) as caught:
        RingData.load(path)
    if "Bad ring magic" in expected.get("message", "") or "Unsupported" in expected.get("message", ""):
        assert str(caught.value)[:25] == expected["message"][:25]


@pytest.mark.parametrize("name", ["saio.ring.gz", "saio-v2.ring.gz", "frac.ring.gz", "object-v2.ring.gz"])
def test_a_file_cut_anywhere_is_refused(data, tmp_path, name):
    whole = (data / "rings" / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(RingFileError):
            RingData.load(str(path))


@pytest.mark.parametrize("name", ["saio.ring.gz", "saio-v2.ring.gz"])
def test_a_flipped_byte_never_changes_the_table_unseen(data, tmp_path, name):
    original = RingData.load(str(data / "rings" / name))
    whole = (data / "rings" / name).read_bytes()
    path = tmp_path / name
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            ring = RingData.load(str(path))
        except RingFileError:
            continue
        # what is left are bytes of the gzip header that carry nothing
        assert (ring.rows, ring.devs) == (original.rows, original.devs)


def test_metadata_of_damaged_files_is_refused_or_right(data, tmp_path):
    for name in ("saio.ring.gz", "saio-v2.ring.gz"):
        whole = (data / "rings" / name).read_bytes()
        path = tmp_path / name
        for at in range(0, len(whole), 3):
            path.write_bytes(whole[:at])
            try:
                RingData.load_metadata(str(path))
            except (RingFileError, OSError):
                pass


@pytest.mark.parametrize("name", golden_rings())
@pytest.mark.parametrize("format_version", [1, 2])
def test_written_again_it_is_the_same_ring(data, tmp_path, name, format_version):
    ring = RingData.load(str(data / "rings" / name))
    path = str(tmp_path / name)
    if format_version == 1 and ring.dev_id_bytes != 2:
        with pytest.raises(ValueError, match="Ring v1 only supports 2-byte dev IDs"):
            ring.save(path, format_version)
        assert os.listdir(tmp_path) == []
        return
    ring.save(path, format_version)
    again = RingData.load(path)
    assert (again.rows, again.devs, again.part_shift, again.version, again.next_part_power) == (
        ring.rows, ring.devs, ring.part_shift, ring.version, ring.next_part_power,
    )  # fmt: skip
    assert os.stat(path).st_mode & 0o777 == 0o644
    if format_version == ring.format_version and not name.startswith(("legacy", "saio-v2-")):
        golden = (data / "rings" / name).read_bytes()
        assert gzip.decompress(open(path, "rb").read()) == gzip.decompress(golden)


def test_layout_is_the_references_byte_for_byte(data, tmp_path):
    for name in ("pp0.ring.gz", "pp0-v2.ring.gz", "multi.ring.gz", "multi-v2.ring.gz"):
        ring = RingData.load(str(data / "rings" / name))
        golden = (data / "rings" / name).read_bytes()
        ours = ring.encode(name, ring.format_version)
        assert ours[: 10 + len(name) + 9] == golden[: 10 + len(name) + 9]
        if zlib.ZLIB_RUNTIME_VERSION.startswith("1.2.13"):
            assert ours == golden


def test_equal_rings_give_equal_files(data):
    ring = RingData.load(str(data / "rings" / "multi.ring.gz"))
    assert ring.encode("/a/object.ring.gz") == ring.encode("/b/object.ring.gz")
    assert ring.encode("x.ring.gz") != ring.encode("y.ring.gz")


def test_content_digest_is_of_the_content_alone(data):
    digests = {
        RingData.load(str(data / "rings" / f"multi{kind}.ring.gz")).content_digest()
        for kind in ("", "-v2", "-v2-4byte")
    }
    assert len(digests) == 1
    assert RingData.load(str(data / "rings" / "saio.ring.gz")).content_digest() not in digests


def test_unknown_device_keys_survive(data, tmp_path):
    ring = RingData.load(str(data / "rings" / "saio.ring.gz"))
    ring.devs[0].update(rack="r7")
    ring.save(str(tmp_path / "x.ring.gz"))
    assert RingData.load(str(tmp_path / "x.ring.gz")).devs[0]["rack"] == "r7"


def test_unknown_format_is_refused(data):
    ring = RingData.load(str(data / "rings" / "saio.ring.gz"))
    with pytest.raises(ValueError, match="1, 2"):
        ring.encode("x", 3)


def format_1(meta, table, tail=b""):
    text = json.dumps(meta).encode()
    return gzip.compress(b"R1NG\0\1" + struct.pack("!I", len(text)) + text + table + tail)


DEV = {"id": 0, "ip": "10.0.0.1", "port": 6200, "device": "d", "zone": 1, "region": 1, "weight": 1.0}
META = {
    "devs": [DEV],
    "part_shift": 31,
    "replica_count": 2,
    "byteorder": "little",
}


@pytest.mark.parametrize(
    ("change", "table", "message"),
    [
        ({}, b"\0\0\0\0\1\0\0\0", "device 1, which does not exist"),
        ({"devs": [None]}, b"\0" * 8, "device 0, which does not exist"),
        ({"devs": [{"id": 3, "ip": "", "port": 1}]}, b"\0" * 8, "is not a device"),
        ({"devs": [{**DEV, "zone": None}]}, b"\0" * 8, "is not a device"),
        ({"devs": [{**DEV, "ip": ["x"]}]}, b"\0" * 8, "is not a device"),
        ({"version": "1"}, b"\0" * 8, "version"),
        ({"replica_count": float("nan")}, b"\0" * 8, "replica_count"),
        ({"devs": {}}, b"\0" * 8, "list of devices"),
        ({"part_shift": 33}, b"\0" * 8, "part_shift"),
        ({"part_shift": "31"}, b"\0" * 8, "part_shift"),
        ({"replica_count": 3}, b"\0\0", "Truncated"),
        ({"replica_count": 10**12}, b"\0" * 8, "replica_count"),
        ({"replica_count": 1}, b"\0\0", "Truncated"),
        ({}, b"\0\0\0", "item size|Truncated"),
    ],
)
def test_contradictions_are_refused(tmp_path, change, table, message):
    path = tmp_path / "x.ring.gz"
    path.write_bytes(format_1({**META, **change}, table))
    with pytest.raises(RingFileError, match=message):
        RingData.load(str(path))


def test_data_behind_the_member_is_refused(tmp_path):
    path = tmp_path / "x.ring.gz"
    path.write_bytes(format_1(META, b"\0" * 8))
    RingData.load(str(path))
    path.write_bytes(format_1(META, b"\0" * 8) + b"x")
    with pytest.raises(RingFileError, match="behind the end"):
        RingData.load(str(path))


def test_big_endian_tables_are_swapped(tmp_path):
    devs = [dict(META["devs"][0], id=i) for i in range(300)]
    path = tmp_path / "x.ring.gz"
    path.write_bytes(format_1({**META, "devs": devs, "byteorder": "big"}, b"\1\0\1\1\0\2\0\3"))
    assert [list(row) for row in RingData.load(str(path)).rows] == [[256, 257], [2, 3]]


def test_width_of_ids():
    assert [id_width(n) for n in (0, 65534, 65535, 4294967294)] == [2, 2, 4, 4]
    with pytest.raises(ValueError, match="Way too many devices!"):
        id_width(4294967295)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_ring_survives_writing(tmp_path_factory, data):
    power = data.draw(st.integers(0, 5))
    parts = 1 << power
    count = data.draw(st.integers(1, 5))
    devs = [data.draw(st.sampled_from([None, i])) if i else 0 for i in range(data.draw(st.integers(1, 9)))]
    live = [i for i in devs if i is not None]
    devs = [
        None if i is None else {"id": i, "region": 0, "zone": 1, "ip": "::1", "port": 1, "device": "x", "weight": 0.5,
                                "meta": data.draw(st.text(max_size=5)), "replication_ip": "h", "replication_port": 2}
        for i in devs
    ]  # fmt: skip
    lengths = [parts] * count
    if count > 1:
        lengths[-1] = data.draw(st.integers(1, parts))
    code = data.draw(st.sampled_from("HI"))
    rows = [array(code, data.draw(st.lists(st.sampled_from(live), min_size=n, max_size=n))) for n in lengths]
    ring = RingData(devs, rows, 32 - power, version=data.draw(st.none() | st.integers(0, 9)))
    path = str(tmp_path_factory.mktemp("ring") / "x.ring.gz")
    for format_version in (1, 2) if code == "H" else (2,):
        ring.save(path, format_version)
        again = RingData.load(path)
        assert (again.rows, again.devs, again.version) == (rows, devs, ring.version)
        assert RingData.load_metadata(path).devs == devs


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from([*META, "version", "next_part_power", *DEV]), value=ANYTHING)
def test_any_metadata_load_or_are_refused(tmp_path_factory, key, value):
    path = tmp_path_factory.getbasetemp() / "fuzz.ring.gz"
    meta = {**META, key: value} if key not in DEV else {**META, "devs": [{**DEV, key: value}]}
    path.write_bytes(format_1(meta, b"\0" * 8))
    for load in (RingData.load, RingData.load_metadata):
        try:
            ring = load(str(path))
        except RingFileError:
            continue
        LoadedRing(ring)
        assert ring.replica_count >= 0


def format_2(meta, devs, table, change_index):
    """As somebody else might write it: one plain deflate stream."""
    raw = b"R1NG\0\2"
    index = {}
    for name, content in (
        ("swift/ring/metadata", json.dumps(meta).encode()),
        ("swift/ring/devices", json.dumps(devs).encode()),
        ("swift/ring/assignments", table),
    ):
        blob = struct.pack("!Q", len(content)) + content
        index[name] = [0, len(raw), 0, len(raw) + len(blob), "sha256", None]
        raw += blob
    change_index(index)
    text = json.dumps(index).encode()
    return gzip.compress(raw + struct.pack("!Q", len(text)) + text + struct.pack("!QQ", len(raw), 0))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_index_and_metadata_of_format_2(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz2.ring.gz"
    meta = {"part_shift": 31, "dev_id_bytes": 2, "replica_count": 1.5, "version": 1}

    def change(index):
        name = data.draw(st.sampled_from([*index, "acme/notes"]))
        if data.draw(st.booleans()):
            index[name] = data.draw(ANYTHING)
        elif name in index:
            index[name][data.draw(st.integers(0, 5))] = data.draw(SCALARS)

    key = data.draw(st.sampled_from([*meta, "other"]))
    if data.draw(st.booleans()):
        meta[key] = data.draw(ANYTHING)
    path.write_bytes(format_2(meta, [DEV], b"\0" * 6, change))
    for load in (RingData.load, RingData.load_metadata):
        try:
            load(str(path))
        except RingFileError:
            pass


def test_a_ring_without_checksums_and_ends(tmp_path):
    def forget(index):
        for entry in index.values():
            entry[2] = entry[3] = None

    path = tmp_path / "x.ring.gz"
    meta = {"part_shift": 31, "dev_id_bytes": 2}
    path.write_bytes(format_2(meta, [DEV], b"\0" * 6, forget))
    assert [list(row) for row in RingData.load(str(path)).rows] == [[0, 0], [0]]
    assert RingData.load_metadata(str(path)).devs[0]["ip"] == "10.0.0.1"
    meta["replica_count"] = 3.0
    path.write_bytes(format_2(meta, [DEV], b"\0" * 6, forget))
    with pytest.raises(RingFileError, match="Truncated"):
        RingData.load(str(path))


def test_known_tables_are_not_looked_through_again(tmp_path):
    path = str(tmp_path / "x.ring.gz")
    device = {"id": 0, "region": 1, "zone": 1, "ip": "10.0.0.1", "port": 6200, "device": "a", "weight": 1.0}
    rows = [array("H", [0, 0, 0, 0])]
    RingData([device], rows, 30, version=1).save(path)
    assert RingData.load(path, known_rows=rows).rows == rows
    assert RingData.load(path, known_rows=rows).assigned == set()
    assert RingData.load(path, known_rows=[array("H", [0, 0, 0, 1])]).assigned == {0}
    assert RingData.load(path).assigned == {0}


@pytest.mark.parametrize("count", [-1, -0.5, 65537, 1e300])
def test_an_impossible_replica_count_is_refused_however_the_ring_is_read(tmp_path, count):
    path = tmp_path / "x.ring.gz"
    path.write_bytes(
        format_2(
            {"part_shift": 31, "dev_id_bytes": 2, "replica_count": count}, [DEV], b"", lambda index: None
        )
    )
    for load in (RingData.load, RingData.load_metadata):
        with pytest.raises(RingFileError):
            load(str(path))
    head = json.dumps({"part_shift": 31, "devs": [DEV], "replica_count": count}).encode()
    path.write_bytes(gzip.compress(b"R1NG\0\1" + len(head).to_bytes(4, "big") + head))
    for load in (RingData.load, RingData.load_metadata):
        with pytest.raises(RingFileError):
            load(str(path))
