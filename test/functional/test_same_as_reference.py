"""Each feature's list of requests, sent to the reference and to this store. Run with REFERENCE_BIN=/path/to/its/bin (see bench/speed.py)."""

import os
import pathlib
import shutil
import tempfile

import pytest

from test.mixed import REFERENCE
from test.ports import free_ports
from test.side_by_side import telemetry
from test.side_by_side.__main__ import report
from test.side_by_side.running import is_fault, run
from test.side_by_side.sides import alike, both
from test.side_by_side.table import all_features

ABLE = REFERENCE and not os.geteuid() and all(map(shutil.which, ("memcached", "unshare")))
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not ABLE, reason="needs REFERENCE_BIN, memcached, unshare and root"),
]
GROUPS = alike(all_features())


def folder():
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    return pathlib.Path(tempfile.mkdtemp(prefix="side-by-side-", dir=memory))


@pytest.fixture(scope="module")
def sides():
    with both(folder(), free_ports()[1]) as running:
        yield running


@pytest.fixture(scope="module")
def ports(sides, request):
    """A pair of proxies at a time, for all features that can share it."""
    with sides.fronts(request.param) as pair:
        yield pair


@pytest.mark.parametrize(
    ("ports", "feature"),
    [pytest.param(group, feature, id=feature.name) for group in GROUPS for feature in group],
    indirect=["ports"],
)
def test_answers_are_those_of_the_reference(ports, feature):
    verdicts = run(feature, ports)
    assert not any(map(is_fault, verdicts)), report(feature, verdicts)


def test_lines_and_metrics_are_those_of_the_reference():
    found = telemetry.differences(folder(), free_ports()[1], "dogstatsd")
    assert not found, "\n".join(found)
