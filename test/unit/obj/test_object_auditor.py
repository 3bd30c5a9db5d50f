"""Passes of the object-auditor over what an object server wrote: what is found, what is left alone, and what is told of it."""

import errno
import json
import os
import pathlib
import shutil

import pytest
from obj_app import App, Log

from swift.coding.fragments import HEADER
from swift.core import clock, hashing
from swift.core.concurrency import use_fast_hub
from swift.core.errors import ConfigError
from swift.core.hashing import hash_path
from swift.core.policy import policies
from swift.engine.xattrs import get_xattr, set_xattr
from swift.obj.auditing import device_pass, proving, status
from swift.obj.auditing.auditor import ObjectAuditor
from swift.obj.auditing.figures import ALL, ZBF
from swift.obj.files import examine, metadata
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.suffixes import read_hashes
from swift.telemetry import recon_cache

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
LARGE = os.urandom(300_000)

use_fast_hub()


class Disk:
    """A device that a server writes to, and its auditor."""

    def __init__(self, root):
        self.root = root
        self.app = App(root)
        os.makedirs(f"{root}/cache")

    def put(self, name, body=b"body", timestamp=T1, policy=0, file="", **headers):
        answer = self.app.request(
            "PUT",
            f"/sda/7/a/c/{name}",
            body,
            X_Timestamp=timestamp,
            X_Backend_Storage_Policy_Index=str(policy),
            **headers,
        )
        assert answer.status == 201
        return self.path(name, policy, file or f"{timestamp}.data")

    def fragment(self, name, index, body=b"x" * 700, timestamp=T1, durable=True):
        """As a proxy sends them, of an object of less than a segment."""
        archive = policies()[2].codec.encode(body)[index]
        return self.archive(name, index, archive, timestamp, durable)

    def archive(self, name, index, archive, timestamp=T1, durable=True):
        return self.put(
            name,
            archive,
            timestamp,
            2,
            f"{timestamp}#{index}{'#d' * durable}.data",
            X_Object_Sysmeta_Ec_Frag_Index=str(index),
            X_Object_Sysmeta_Ec_Etag="e" * 32,
            **({} if durable else {"X_Backend_No_Commit": "true"}),
        )

    def where(self, name, policy=0):
        return ObjectLocation(f"{self.root}/sda", policy, "7", hash_path(f"a/c/{name}"), None, policy == 2, 6)

    def path(self, name, policy, file):
        path = pathlib.Path(self.where(name, policy).hash_dir, file)
        assert path.exists(), list(path.parent.iterdir())
        return path

    def auditor(self, **conf):
        base = {
            "devices": self.root,
            "swift_dir": f"{self.root}/etc",
            "mount_check": "false",
            "recon_cache_path": f"{self.root}/cache",
            "files_per_second": "0",
            "bytes_per_second": "0",
            "zero_byte_files_per_second": "100000",
            "reclaim_age": "1e12",
            "compare_listings": "no",
        }
        return ObjectAuditor({**base, **conf}, Log())

    def audit(self, audit_type=ALL, **conf):
        """One pass; the lines of its log."""
        auditor = self.auditor(**conf)
        auditor.run_once(audit_type=audit_type, devices="sda")
        return auditor.logger.lines

    def recon(self, audit_type=ALL):
        return recon_cache.read(f"{self.root}/cache/object.recon")[f"object_auditor_stats_{audit_type}"][
            "sda"
        ]

    def quarantined(self):
        """Paths below the quarantine, without what makes their names unique."""
        top = pathlib.Path(self.root, "sda/quarantined")
        return sorted(
            f"{path.parent.parent.name}/{path.parent.name[:32]}/{path.name}"
            for path in top.rglob("*")
            if path.is_file()
        )


@pytest.fixture
def disk(root):
    return Disk(root)


def flip(path, at=0):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def flip_xattr(path, name=metadata.XATTR):
    with open(path, "rb") as file:
        value = bytearray(get_xattr(file.fileno(), name))
        value[len(value) // 2] ^= 1
        set_xattr(file.fileno(), name, bytes(value))


def name_in(quarantined):
    return quarantined[0].rpartition("/")[2]


# -- what is good stays


def test_what_is_good_is_left_alone(disk):
    disk.put("empty", b"")
    disk.put("small")
    disk.put("large", LARGE)
    disk.put("silver", policy=1)
    for index in range(3):
        disk.fragment("ec", index)
    disk.app.request("DELETE", "/sda/7/a/c/gone", X_Timestamp=T1)
    disk.app.request("POST", "/sda/7/a/c/small", X_Timestamp=T2, X_Object_Meta_A="b")
    for audit_type in (ALL, ZBF):
        disk.audit(audit_type)
        assert disk.quarantined() == []
        told = disk.recon(audit_type)
        assert (told["passes"], told["errors"], told["quarantined"]) == (8, 0, 0)
        assert (told["bytes_processed"] > len(LARGE)) == (audit_type == ALL)
        assert not list(pathlib.Path(disk.root, "sda").glob("objects*/auditor_status_*"))


def test_the_log(disk):
    disk.put("small")
    disk.put("large", LARGE)
    lines = disk.audit(object_size_stats="1, 1000,10")
    assert lines[0] == 'info: Begin object audit "once" mode (ALL - parallel, sda)'
    assert ": Locally: 2 passed, 0 quarantined, 0 errors, files/sec: " in lines[1]
    assert '"once" mode completed: ' in lines[2]
    assert "Total quarantined: 0, Total errors: 0, Total files/sec: " in lines[2]
    assert lines[3] == 'info: Object audit stats: {"1": 0, "10": 1, "1000": 0, "OVER": 1}'


# -- what is damaged goes


@pytest.mark.parametrize("body", [b"body", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("prove_by", ["etag", "checksums", "mixed"])
def test_a_flipped_bit(disk, body, prove_by):
    path = disk.put("o", body)
    disk.put("other", body)
    disk.audit(prove_by=prove_by)
    assert disk.quarantined() == []
    flip(path, len(body) - 1)
    before = read_hashes(str(path.parents[2]))
    lines = disk.audit(prove_by=prove_by)
    assert disk.quarantined() == [f"objects/{path.parent.name}/{path.name}"]
    assert [line for line in lines if "Quarantined object" in line and "checksum differs" in line]
    assert disk.recon()["quarantined"] == 1
    assert disk.recon()["passes"] == 1
    # so that replication sees that it lacks something
    invalid = path.parents[2] / "hashes.invalid"
    assert path.parents[1].name in invalid.read_text().split()
    assert read_hashes(str(path.parents[2])) == before


def test_a_flipped_bit_that_only_the_etag_shows(disk):
    """An object without checksums of its blocks, as the reference writes them."""
    path = disk.put("o", LARGE)
    with open(path, "rb") as file:
        found = metadata.read(file.fileno())
        del found["X-Object-Sysmeta-Block-Crc32"]
        metadata.write(file.fileno(), found)
    disk.audit(prove_by="checksums")
    assert disk.quarantined() == []
    flip(path, 5)
    disk.audit(prove_by="checksums")
    assert len(disk.quarantined()) == 1


@pytest.fixture
def hashed(monkeypatch):
    """Names of the ways in which large objects were proved."""
    ways = []

    class Watched(proving.Proof):
        def __init__(self, found, by_checksums, *args):
            ways.append("checksums" if by_checksums else "etag")
            super().__init__(found, by_checksums, *args)

    monkeypatch.setattr(proving, "Proof", Watched)
    return ways


def test_by_default_the_etag_proves_what_is_new_and_sometimes_what_is_known(disk, hashed, monkeypatch):
    disk.put("small")
    disk.put("o", LARGE)
    disk.audit()
    assert hashed == ["etag"]
    monkeypatch.setattr(device_pass, "ETAG_SHARE", 0)
    disk.audit()
    disk.put("new", LARGE)
    disk.audit()
    assert sorted(hashed[1:]) == ["checksums", "checksums", "etag"]
    monkeypatch.setattr(device_pass, "ETAG_SHARE", 1)
    disk.audit()
    assert hashed[4:] == ["etag", "etag"]


def test_a_pass_that_was_broken_off_has_not_seen_what_is_new(disk, hashed, monkeypatch):
    monkeypatch.setattr(device_pass, "ETAG_SHARE", 0)
    disk.put("o", LARGE)
    with monkeypatch.context() as broken:
        broken.setattr(device_pass, "prove", lambda *args: 1 / 0)
        disk.audit()
    disk.audit()
    assert hashed == ["etag"]


def test_a_checksum_that_is_wrong_itself_proves_nothing_against_the_object(disk, monkeypatch):
    path = disk.put("o", LARGE)
    with open(path, "rb") as file:
        found = metadata.read(file.fileno())
        etag, size, crcs = found["X-Object-Sysmeta-Block-Crc32"].split(";")
        found["X-Object-Sysmeta-Block-Crc32"] = ";".join((etag, size, crcs.swapcase()))
        metadata.write(file.fileno(), found)
    lines = disk.audit(prove_by="checksums")
    assert disk.quarantined() == []
    assert [line for line in lines if "was good the second time" in line]


@pytest.mark.parametrize("audit_type", [ALL, ZBF])
@pytest.mark.parametrize("size", [0, 3, 200_000])
def test_a_truncated_file(disk, audit_type, size):
    path = disk.put("o", LARGE)
    os.truncate(path, size)
    disk.audit(audit_type)
    assert name_in(disk.quarantined()) == path.name
    assert disk.recon(audit_type)["quarantined"] == 1


@pytest.mark.parametrize("audit_type", [ALL, ZBF])
def test_damaged_metadata(disk, audit_type):
    path = disk.put("o")
    flip_xattr(path)
    disk.audit(audit_type)
    assert name_in(disk.quarantined()) == path.name


def test_a_damaged_meta_alone_goes_alone(disk):
    data = disk.put("o")
    disk.app.request("POST", "/sda/7/a/c/o", X_Timestamp=T2, X_Object_Meta_A="b")
    flip_xattr(disk.path("o", 0, f"{T2}.meta"))
    disk.audit()
    assert name_in(disk.quarantined()) == f"{T2}.meta"
    assert data.exists()
    assert (disk.recon()["quarantined"], disk.recon()["passes"]) == (1, 1)


def test_an_object_in_the_place_of_another(disk):
    path = disk.put("o")
    other = disk.where("other").hash_dir
    shutil.copytree(path.parent, other)
    for file in os.listdir(other):
        with open(path, "rb") as source, open(f"{other}/{file}", "rb") as target:
            for name in (metadata.XATTR, metadata.XATTR_CHECKSUM):
                set_xattr(target.fileno(), name, get_xattr(source.fileno(), name))
    disk.audit()
    assert path.exists()
    assert not os.path.exists(other)


def test_a_file_where_a_directory_should_be(disk):
    path = disk.put("o")
    stray = path.parent.parent / ("0" * 29 + path.parent.name[-3:])
    stray.write_text("?")
    disk.audit()
    assert path.exists()
    assert not stray.exists()
    assert disk.recon()["quarantined"] == 1


def test_rubbish_breaks_nothing(disk):
    path = disk.put("o")
    top = pathlib.Path(disk.root, "sda/objects")
    (top / "9").write_text("a partition that is a file")
    (top / "10/abc").mkdir(parents=True)
    (top / "11").mkdir()
    (top / "11/abc").write_text("a suffix that is a file")
    (top / "12/xyz/what").mkdir(parents=True)
    (top / "7/hashes.pkl").write_bytes(b"\x80rubbish")
    (top / "7/hashes.invalid").write_bytes(b"\xff\n" * 10)
    (top / "not a partition").mkdir()
    (path.parent / "unexpected").write_text("")
    disk.put("silver", policy=1)
    disk.audit()
    assert disk.quarantined() == []
    assert (disk.recon()["passes"], disk.recon()["errors"]) == (2, 0)


# -- fragments


@pytest.mark.parametrize("at", [0, 60, HEADER + 5], ids=["index", "header", "payload"])
def test_a_flipped_fragment_goes_alone(disk, at):
    """A handoff may have several of one object: the others must not vanish with it."""
    good, bad = disk.fragment("o", 1), disk.fragment("o", 4)
    flip(bad, at)
    disk.audit()
    assert good.exists()
    assert not bad.exists()
    assert disk.quarantined() == [f"objects-2/{bad.parent.name}/{bad.name}"]
    assert (disk.recon()["passes"], disk.recon()["quarantined"]) == (1, 1)


def test_all_fragments_are_looked_at(disk):
    paths = [disk.fragment("o", index) for index in (0, 2, 5)]
    paths.append(disk.fragment("o", 3, timestamp=T2, durable=False))
    for path in paths:
        flip(path, HEADER)
    disk.audit()
    assert sorted(name.rpartition("/")[2] for name in disk.quarantined()) == sorted(
        path.name for path in paths
    )
    assert not paths[0].parent.exists()


def test_the_others_stay_durable(disk):
    """One name may stand for all fragments of its time."""
    disk.fragment("o", 1, durable=False)
    bad = disk.fragment("o", 4)
    flip(bad, HEADER)
    disk.audit()
    assert [path.name for path in bad.parent.iterdir()] == [f"{T1}#1#d.data"]


def test_a_fragment_whose_header_was_wrong_from_the_start(disk):
    """Its checksum is right, but nothing can be decoded with it."""
    archive = bytearray(policies()[2].codec.encode(b"x" * 700)[2])
    archive[0] = 3
    path = disk.archive("o", 2, bytes(archive))
    disk.audit()
    assert not path.exists()
    assert len(disk.quarantined()) == 1


def test_a_fragment_that_nobody_can_use(disk):
    path = disk.fragment("o", 2)
    with open(path, "rb") as file:
        found = metadata.read(file.fileno())
        del found["X-Object-Sysmeta-Ec-Etag"]
        metadata.write(file.fileno(), found)
    disk.audit(ZBF)
    assert not path.exists()


# -- nothing goes without proof


def test_what_reads_well_the_second_time_stays(disk, monkeypatch):
    small, large = disk.put("small"), disk.put("large", LARGE)
    real = os.preadv
    seen = set()

    def preadv(fd, buffers, offset, flags=0):
        count = real(fd, buffers, offset, flags)
        ino = os.fstat(fd).st_ino
        if ino not in seen and count:
            seen.add(ino)
            buffers[0][0] ^= 1
        return count

    monkeypatch.setattr(os, "preadv", preadv)
    lines = disk.audit()
    assert disk.quarantined() == []
    assert small.exists() and large.exists()
    assert len([line for line in lines if "was good the second time" in line]) == 2
    assert disk.recon()["passes"] == 2


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE, errno.EACCES, errno.EINTR])
@pytest.mark.parametrize("call", ["preadv", "listdir"])
def test_errors_of_the_machine_prove_nothing(disk, monkeypatch, code, call):
    paths = [disk.put("small"), disk.put("large", LARGE)]
    real = getattr(os, call)

    def fails(what, *args):
        if call == "preadv" or len(os.path.basename(str(what))) == 32:
            raise OSError(code, os.strerror(code))
        return real(what, *args)

    monkeypatch.setattr(os, call, fails)
    disk.audit()
    monkeypatch.undo()
    assert disk.quarantined() == []
    assert all(path.exists() for path in paths)
    assert (disk.recon()["passes"], disk.recon()["errors"]) == (0, 2)


@pytest.mark.parametrize("times", [1, 3, 1000])
def test_a_sector_that_cannot_be_read(disk, monkeypatch, times):
    """It is a proof when it comes back each time; a cable may be loose for a moment."""
    bad, good = disk.put("bad", LARGE), disk.put("good", LARGE)
    inode = bad.stat().st_ino
    real = os.preadv
    left = [times]

    def preadv(fd, buffers, offset, flags=0):
        if os.fstat(fd).st_ino == inode and offset > 100_000 and left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "bad sector")
        return real(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    disk.audit(disk_chunk_size="65536")
    assert good.exists()
    assert bad.exists() == (times < 1000)
    assert disk.recon()["errors"] == 0


def test_a_slow_disk_takes_more_trips(disk, monkeypatch):
    for number in range(10):
        disk.put(f"o{number}")
    bad = disk.put("bad")
    flip(bad)
    monkeypatch.setattr(examine, "TRIP_SECONDS", 0)
    disk.audit()
    assert not bad.exists()
    assert (disk.recon()["passes"], disk.recon()["quarantined"]) == (10, 1)


def test_what_a_client_overwrote_meanwhile_stays(disk, monkeypatch):
    """It is found damaged when it has been replaced: neither the new one nor its directory goes."""
    path = disk.put("o", LARGE)
    flip(path, 5)
    real = device_pass.prove

    def prove(store, examined, *args):
        disk.put("o", b"new" * 100_000, T2)
        return real(store, examined, *args)

    monkeypatch.setattr(device_pass, "prove", prove)
    disk.audit()
    assert disk.path("o", 0, f"{T2}.data")
    assert disk.quarantined() == []


def test_what_was_brought_back_meanwhile_stays(disk, monkeypatch):
    """Somebody else found it, and replication brought a good copy of the same name."""
    path = disk.put("o", LARGE)
    flip(path, 5)
    real = device_pass.prove

    def prove(store, examined, *args):
        shutil.rmtree(path.parent)
        disk.put("o", LARGE)
        return real(store, examined, *args)

    monkeypatch.setattr(device_pass, "prove", prove)
    disk.audit()
    assert path.read_bytes() == LARGE
    assert disk.quarantined() == []


def test_a_wrong_swift_conf_does_not_empty_the_disk(disk):
    for number in range(5):
        disk.put(f"o{number}")
    conf = pathlib.Path(disk.root, "etc/swift.conf")
    conf.write_text(
        conf.read_text().replace("swift_hash_path_suffix = changeme", "swift_hash_path_suffix = other")
    )
    hashing.set_hash_config("changeme", "other")
    lines = disk.audit()
    assert [line for line in lines if "swift_hash_path" in line]
    assert disk.quarantined() == []


def test_a_disk_that_is_bad_altogether_is_left(disk, monkeypatch):
    for number in range(20):
        flip(disk.put(f"o{number}"))
    disk.put("good")
    monkeypatch.setattr(device_pass, "MAX_BAD_IN_A_ROW", 5)
    monkeypatch.setattr(device_pass, "BATCH", 1)
    lines = disk.audit()
    assert [line for line in lines if "5 damaged objects in a row" in line]
    assert 5 <= len(disk.quarantined()) <= 12
    disk.audit()
    disk.audit()
    disk.audit()
    assert len(disk.quarantined()) == 20


# -- the rest


def test_rsyncs_temporary_files_go_when_they_are_old(disk):
    path = disk.put("o")
    old, new = path.parent / f".{path.name}.AbC123", path.parent / f".{path.name}.XyZ789"
    for file in (old, new):
        file.write_text("half")
    os.utime(old, (clock.time() - 90000,) * 2)
    disk.audit(ZBF)
    assert (old.exists(), new.exists(), path.exists()) == (False, True, True)
    disk.audit(ZBF, rsync_tempfile_timeout="0")
    assert (new.exists(), path.exists()) == (False, True)


def test_a_missing_checksum_is_added(disk):
    path = disk.put("o")
    os.removexattr(path, metadata.XATTR_CHECKSUM)
    disk.audit(ZBF)
    assert len(os.getxattr(path, metadata.XATTR_CHECKSUM)) == 32
    disk.audit()
    assert path.exists()


def test_old_tombstones_are_marked_to_be_reclaimed(disk):
    disk.app.request("DELETE", "/sda/7/a/c/o", X_Timestamp=T1)
    where = disk.where("o")
    invalid = pathlib.Path(where.partition_dir, "hashes.invalid")
    invalid.write_text("")
    disk.audit(ZBF, reclaim_age="1000")
    disk.audit(ALL, reclaim_age="1e12")
    assert invalid.read_text() == ""
    disk.audit(ALL, reclaim_age="1000")
    assert invalid.read_text() == f"{where.suffix}\n"


def test_expired_objects_are_nobodys_concern(disk):
    path = disk.put("o", X_Delete_At=str(int(clock.time()) + 2))
    flip(path)
    later = clock.time() + 10
    real = clock.time
    clock.time = lambda: later
    try:
        disk.audit()
    finally:
        clock.time = real
    assert path.exists()


def test_the_status_file_is_the_references(disk, monkeypatch):
    """It has what is left, the current one first; a pass that was stopped goes on there."""
    for partition in range(20, 30):
        disk.app.request("PUT", f"/sda/{partition}/a/c/o", b"body", X_Timestamp=T1)
    path = pathlib.Path(disk.root, "sda/objects/auditor_status_ALL.json")
    monkeypatch.setattr(device_pass, "WRITE_SECONDS", 0)
    monkeypatch.setattr(device_pass, "HANDS", 1)
    seen = []
    real = device_pass.DevicePass._audit

    def audit(self, batch):
        seen.append(batch.partition)
        if batch.partition == "25":
            raise OSError("the end of the world")
        real(self, batch)

    monkeypatch.setattr(device_pass.DevicePass, "_audit", audit)
    disk.audit()
    assert json.loads(path.read_text()) == {"partitions": ["25", "26", "27", "28", "29"]}
    monkeypatch.setattr(device_pass.DevicePass, "_audit", real)
    disk.audit()
    assert disk.recon()["passes"] == 5
    assert not path.exists()
    assert os.listdir(f"{disk.root}/sda/tmp") == []
    path.write_text(json.dumps({"partitions": ["29", "auditor_status_ZBF.json", "20", "1000"]}))
    disk.audit()
    assert disk.recon()["passes"] == 2
    for rubbish in ("", "[]", '{"partitions": 3}', '{"partitions": [3]}', "{}"):
        path.write_text(rubbish)
        disk.audit()
        assert disk.recon()["passes"] == 10


def test_what_is_under_way_is_left():
    remaining = status.Remaining(["1", "2", "3"])
    assert remaining.begin() == "1"
    remaining.add("1")
    remaining.done("1")
    assert remaining.begin() == "2"
    assert remaining.left() == ["1", "2", "3"]
    remaining.done("1")
    assert remaining.left() == ["2", "3"]
    remaining.done("2")
    assert (remaining.begin(), remaining.begin()) == ("3", None)
    assert remaining.left() == ["3"]


def test_processes(disk):
    auditor = disk.auditor(concurrency="2")
    assert [(plan["audit_type"], plan.get("worker")) for plan in auditor.get_worker_args(once=True)] == [
        (ALL, 0),
        (ALL, 1),
        (ZBF, None),
    ]
    assert auditor.get_worker_args(once=True, zero_byte_fps=5.0) == ()
    assert [
        plan["audit_type"] for plan in disk.auditor(zero_byte_files_per_second="0").get_worker_args()
    ] == [ALL]


@pytest.mark.parametrize(
    "options",
    [{"prove_by": "hope"}, {"concurrency": "0"}, {"files_per_second": "-1"}, {"object_size_stats": "a"}],
)
def test_bad_options(disk, options):
    with pytest.raises((ValueError, ConfigError)):
        disk.auditor(**options)


def test_how_long_a_transfer_may_take(disk):
    conf = pathlib.Path(disk.root, "etc/object-server.conf")
    conf.write_text("[object-auditor]\n")
    assert disk.auditor(__file__=str(conf)).options.tempfile_age == 86400
    conf.write_text("[object-auditor]\n[object-replicator]\nrsync_timeout = 100\nreclaim_age = 5\n")
    assert disk.auditor(__file__=str(conf)).options.tempfile_age == 1000
