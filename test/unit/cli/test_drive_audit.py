"""swift-drive-audit over made-up logs, mounts and an fstab: what is counted, unmounted, told, and that nothing is read without end."""

import io
import json
import os
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli import drive_audit
from swift.cli.drive_audit import DriveAudit, System, lines_backwards, time_of
from swift.core import clock

FSTAB = """# /etc/fstab
UUID=1 / ext4 defaults 0 1
/dev/sdb1 /srv/node/b xfs noatime 0 0
/dev/sdc  /srv/node/c\\040d\txfs noatime 0 0
#/dev/sdb1 /srv/node/b xfs old 0 0
"""


class Log:
    """Remembers (level, text)."""

    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda text, *args: self.lines.append((level, text % args if args else text))

    def texts(self, level="info"):
        return [text for found, text in self.lines if found == level]


class Machine:
    """A machine's files and what was run on it."""

    def __init__(self, root):
        self.root = root
        self.ran = []
        self.status = 0
        for name in ("proc", "block", "log", "recon", "dev"):
            (root / name).mkdir()
        for name in ("sdb1", "sdc", "nvme0n1p1"):
            (root / "dev" / name).touch()
        for number, name in (("8:17", "sdb1"), ("8:32", "sdc"), ("259:1", "nvme0n1p1")):
            (root / "block" / number).symlink_to(root / "dev" / name)
        (root / "proc" / "partitions").write_text(
            "major minor  #blocks  name\n\n   8  16 100 sdb\n   8  17 100 sdb1\n   8  32 100 sdc\n 259  1 100 nvme0n1p1\n"
        )
        dev = root / "dev"
        (root / "proc" / "mounts").write_text(
            f"/dev/root / ext4 rw 0 0\n{dev}/sdb1 /srv/node/b xfs rw 0 0\n{dev}/sdc /srv/node/c\\040d xfs rw 0 0\n"
            f"{dev}/nvme0n1p1 /srv/node/n xfs rw 0 0\n{dev}/gone /srv/node/g xfs rw 0 0\nshort\n"
        )
        (root / "fstab").write_text(FSTAB)
        os.chmod(root / "fstab", 0o640)

    def run(self, words):
        self.ran.append(list(words))
        return self.status

    def log(self, *lines, name="kern.log", mode="w"):
        with open(self.root / "log" / name, mode) as file:
            file.write("".join(f"{line}\n" for line in lines))

    def audit(self, **conf):
        conf = {
            "log_file_pattern": f"{self.root}/log/kern.*[!.][!g][!z]",
            "recon_cache_path": str(self.root / "recon"),
            "user": "nobody-here",
            **conf,
        }
        system = System(
            str(self.root / "proc"),
            str(self.root / "block"),
            str(self.root / "fstab"),
            str(self.root / "no"),
            self.run,
        )
        log = Log()
        DriveAudit(conf, log, system).run()
        return log

    def recon(self):
        return json.loads((self.root / "recon" / "drive.recon").read_text())


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def at(minutes=0, iso=False):
    """So many minutes ago, as logs write it."""
    time = datetime.fromtimestamp(clock.time()) - timedelta(minutes=minutes)
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00") if iso else time.strftime("%b %d %H:%M:%S")


def test_a_failing_disk_is_unmounted(machine):
    machine.log(
        f"{at(5)} host kernel: something about sdc",
        f"{at(4)} host kernel: I/O error, dev sdb1, sector 1",
        f"{at(3, iso=True)} host kernel: sdb1: rw=1, error -5",
    )
    log = machine.audit()
    assert machine.ran == [["umount", "-fl", "/srv/node/b"]]
    assert "Unmounting /srv/node/b with 2 errors" in log.texts()
    text = (machine.root / "fstab").read_text()
    assert text == FSTAB.replace("\n/dev/sdb1 ", "\n#/dev/sdb1 ")
    assert os.stat(machine.root / "fstab").st_mode & 0o777 == 0o640
    assert machine.recon() == {
        "/srv/node/b": 2, "/srv/node/c d": 0, "/srv/node/n": 0, "/srv/node/g": 0, "drive_audit_errors": 2,
    }  # fmt: skip


def test_below_the_limit_nothing_is_done(machine):
    machine.log(f"{at(4)} error on sdc")
    log = machine.audit(error_limit="2")
    assert machine.ran == [] and "No drives were unmounted" in log.texts()
    assert machine.recon()["/srv/node/c d"] == 1
    assert (machine.root / "fstab").read_text() == FSTAB


def test_told_but_not_unmounted(machine):
    machine.log(f"{at(4)} error on sdc")
    log = machine.audit(unmount_failed_device="no")
    assert machine.ran == []
    assert "Detected /srv/node/c d with 1 errors (Device not unmounted)" in log.texts()


def test_a_mount_point_with_a_blank_is_found_in_fstab(machine):
    machine.log(f"{at(4)} error on sdc")
    machine.audit()
    assert "#/dev/sdc  /srv/node/c\\040d" in (machine.root / "fstab").read_text()


def test_what_is_old_or_before_the_boot_does_not_count(machine):
    machine.log(f"{at(70)} error sdb1", f"{at(5)} fine", "rubbish", "", f"{at(1)} error sdc")
    machine.audit(unmount_failed_device="no")
    assert machine.recon()["drive_audit_errors"] == 1
    machine.log(f"{at(5)} error sdb1", f"{at(4)} kernel: [    0.000000] Linux", f"{at(1)} error sdc")
    machine.audit(unmount_failed_device="no")
    assert machine.recon()["/srv/node/b"] == 0


def test_logs_are_read_from_the_newest_on(machine):
    machine.log(f"{at(30)} error sdb1", name="kern.log.1")
    machine.log(f"{at(50)} error sdb1", name="kern.log.2.gz")
    machine.log(f"{at(1)} error sdb1")
    os.utime(machine.root / "log" / "kern.log.1", (1, 1))
    machine.audit(unmount_failed_device="no")
    assert machine.recon()["/srv/node/b"] == 2


def test_own_patterns_for_other_names(machine):
    machine.log(f"{at(1)} critical medium error, dev nvme0n1p1", f"{at(1)} error sdb1")
    machine.audit(regex_pattern_1=r"\berror\b.*\b(nvme\d+n\d+(?:p\d+)?)\b")
    assert machine.ran == [["umount", "-fl", "/srv/node/n"]]


def test_bytes_that_are_no_text(machine):
    with open(machine.root / "log" / "kern.log", "wb") as file:
        file.write(at(1).encode() + b" error \xff\xfe sdb1\n")
    machine.audit(unmount_failed_device="no", log_file_encoding="utf-8")
    assert machine.recon()["/srv/node/b"] == 1


def test_no_more_than_so_much_is_read(machine, monkeypatch):
    monkeypatch.setattr(drive_audit, "MAX_READ", 2000)
    machine.log(*[f"{at(1)} error sdb1" for _ in range(1000)])
    machine.audit(unmount_failed_device="no")
    assert 10 < machine.recon()["/srv/node/b"] < 100


def test_a_command_that_fails_is_said(machine):
    machine.status = 32
    machine.log(f"{at(1)} error sdb1")
    assert "/srv/node/b could not be unmounted" in machine.audit().texts("error")


@pytest.mark.parametrize(
    "conf", [{"regex_pattern_1": "("}, {"regex_pattern_1": "no group"}, {"minutes": "x"}]
)
def test_bad_options(machine, conf):
    with pytest.raises(ValueError):
        machine.audit(**conf)


def test_last_year_s_december(monkeypatch):
    new_year = datetime(2026, 1, 1, 0, 10)
    assert time_of("Dec 31 23:59:00 x", new_year) == datetime(2025, 12, 31, 23, 59)
    assert time_of("Jan 01 00:05:00 x", new_year) == datetime(2026, 1, 1, 0, 5)
    assert time_of("2026-01-01T00:05:00+00:00 x", new_year) == datetime(2026, 1, 1, 0, 5)
    assert time_of("2026-01-01 00:05:00 x", new_year) == datetime(2026, 1, 1, 0, 5)
    for text in ("", "Feb 30 00:00:00 x", "x" * 30, "Xyz 10 00:00:00"):
        assert time_of(text, new_year) is None


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    st.booleans(),
    st.integers(1, 50),
)
def test_lines_come_backwards_whatever_the_blocks(lines, ends, block):
    text = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    before = drive_audit.BLOCK
    drive_audit.BLOCK = block
    try:
        got = list(lines_backwards(io.BytesIO(text)))
    finally:
        drive_audit.BLOCK = before
    assert got == list(reversed(text.removesuffix(b"\n").split(b"\n") if text else []))


def test_a_line_without_end_is_held_within_bounds(monkeypatch):
    monkeypatch.setattr(drive_audit, "MAX_LINE", 100)
    got = list(lines_backwards(io.BytesIO(b"first\nA" + b"x" * 1_000_000)))
    assert [len(line) for line in got] == [100, 5]
    assert got[0].startswith(b"Ax")


@pytest.mark.parametrize(
    "words,shown",
    [
        ([], "Usage: swift-drive-audit CONF_FILE\n"),
        (["/nonexistent"], "Unable to read config file /nonexistent\n"),
    ],
)
def test_the_command_refuses(words, shown, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["swift-drive-audit", *words])
    assert drive_audit.main() == 1
    assert capsys.readouterr().out == shown


def test_the_command_refuses_a_bad_pattern(tmp_path, monkeypatch, capsys):
    (tmp_path / "conf").write_text("[drive-audit]\nregex_pattern_1 = (\n")
    monkeypatch.setattr("sys.argv", ["swift-drive-audit", str(tmp_path / "conf")])
    assert drive_audit.main() == 1
    assert capsys.readouterr().out == 'Error: unable to compile regex pattern "("\n'
