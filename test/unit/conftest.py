"""Where unit tests keep their files: in memory where that can be, since few of them are about disks and all wait for one otherwise.
And which of them are slow."""

import os
import pathlib
import re
import shutil
import tempfile

import pytest

from swift.engine.mounts import is_memory_file_system
from swift.engine.xattrs import user_xattr_limit

MEMORY = "/dev/shm"
# What these say of threads, syncs and whoever waits holds on a disk only: in memory nothing waits for a disk, and calls run inline.
ON_DISK = {
    "test_account_reports",
    "test_account_server",
    "test_appends",
    "test_at_once",
    "test_container_server",
    "test_container_updater",
    "test_devices_looked_at",
    "test_hung_disk",
    "test_moves",
    "test_pending",
    "test_uring",
}

# Whole nodes, processes that are killed, thousands of examples: half of the time for a tenth of the tests. `-m "not slow"` leaves them out.
SLOW = {
    "test_another_part_power",
    "test_cluster_apply",
    "test_cluster_push",
    "test_crash",
    "test_every_command",
    "test_growing",
    "test_linear_code",
    "test_overload",
    "test_races",
    "test_recon_command",
    "test_reconstructor",
    "test_replicas_agree",
    "test_replication",
    "test_replication_crashes",
    "test_s3_notification_targets",
    "test_sharding",
    "test_sharding_decisions",
    "test_sharding_killed",
    "test_sharding_random",
    "test_warm",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.module.__name__.rpartition(".")[2] in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def memory(pytestconfig):
    """A folder in memory; None where none holds what files of ours have, or where the tests were told another place (--basetemp)."""
    can = os.path.isdir(MEMORY) and is_memory_file_system(MEMORY) and user_xattr_limit(MEMORY) > 0
    if pytestconfig.option.basetemp or not can:
        yield None
        return
    path = tempfile.mkdtemp(prefix="swift-test-unit-", dir=MEMORY)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tmp_path(request, tmp_path_factory, memory):
    """A folder of the test's own."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    if memory is None or request.module.__name__.rpartition(".")[2] in ON_DISK:
        yield tmp_path_factory.mktemp(name)
        return
    path = tempfile.mkdtemp(prefix=f"{name}-", dir=memory)
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)
