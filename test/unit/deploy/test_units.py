"""systemd's units: as packaging/units.py makes them, and as systemd understands them."""

import pathlib
import re
import runpy
import shutil
import subprocess

import pytest

from swift.deploy import described, services

ROOT = pathlib.Path(__file__).resolve().parents[3]
UNITS = ROOT / "etc/systemd"
MADE = runpy.run_path(str(ROOT / "packaging/units.py"))


def test_units_are_those_that_are_made():
    """packaging/units.py was run after its last change, and nobody has edited what it writes."""
    made = MADE["files"]()
    assert {name: (UNITS / name).read_text() for name in made} == made
    assert {path.name for path in UNITS.iterdir()} == set(made)


def test_the_description_of_a_cluster_knows_the_same_daemons():
    assert set(MADE["DAEMONS"]) == set(described.DAEMONS)
    assert set(MADE["SERVERS"]) == set(services.SERVERS)


def test_what_processes_share_outlives_a_unit():
    """A unit that stops must not take away what the others of its user have in /dev/shm, or have a /dev/shm of its own."""
    for path in UNITS.glob("*.service"):
        assert not re.search("RemoveIPC=yes|PrivateIPC=yes|^DynamicUser", path.read_text(), re.MULTILINE), (
            path
        )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
def test_systemd_takes_them(tmp_path):
    for path in UNITS.iterdir():
        text = re.sub(r"(?m)^(Exec\w+)=swift-\S+", r"\1=/bin/true", path.read_text())
        (tmp_path / path.name).write_text(re.sub("(?m)^(Documentation|User)=.*\n", "", text))
    units = [str(path).replace("@.", "@1.") for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    about_ours = [line for line in done.stderr.splitlines() if "swift" in line]
    assert (done.returncode, about_ours) == (0, []), done.stderr
