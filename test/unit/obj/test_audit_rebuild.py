"""Fragments that rot: found by the object-auditor, rebuilt by the reconstructors of the other nodes, byte for byte."""

import random

import pytest
from obj_app import Log
from rebuilding import FragmentFarm

from swift.core.concurrency import use_fast_hub
from swift.obj.auditing.auditor import ObjectAuditor

T1 = "1700000001.00000"
SIZES = (1, 1024, 1025, 5000, 200_000, 1_000_000)

use_fast_hub()


@pytest.fixture
def farm(root):
    farm = FragmentFarm(root)
    yield farm
    farm.stop()


def audit(farm, number):
    conf = {
        "devices": f"{farm.root}/n{number}",
        "mount_check": "false",
        "swift_dir": farm.etc,
        "recon_cache_path": f"{farm.root}/n{number}",
        "reclaim_age": "1e12",
        "files_per_second": "0",
        "bytes_per_second": "0",
    }
    auditor = ObjectAuditor(conf, Log())
    auditor.run_once(audit_type="ALL")
    return next(line for line in auditor.logger.lines if "mode completed" in line)


def plain(files):
    return {path: (data, kept.get("ETag")) for path, (data, kept) in files.items()}


def test_rotten_fragments_come_back(farm):
    chance = random.Random(1)
    names = [f"o{size}" for size in SIZES]
    for name, size in zip(names, SIZES, strict=True):
        farm.put(name, chance.randbytes(size), T1)
    before = farm.everything()
    bad = {1: 0, 2: 0}
    for name in names:
        for number in bad:
            if number not in farm.primaries(name):
                continue
            path = farm.path(number, name)
            with open(path, "r+b") as file:
                data = bytearray(file.read())
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                file.seek(0)
                file.write(data)
            bad[number] += 1
    assert min(bad.values()) > 2
    for number, count in bad.items():
        assert f"Total quarantined: {count}, Total errors: 0" in audit(farm, number)
        assert farm.names(number) == []
    farm.reconstruct()
    for number, files in before.items():
        assert plain(farm.files(number)) == plain(files)
        assert "Total quarantined: 0, Total errors: 0" in audit(farm, number)
