"""Where unit tests keep their files: in memory where that can be, since few of them are about disks and all wait for one otherwise.
And which of them are slow."""

import os
import pathlib
import re
import shutil
import tempfile

import pytest
from hypothesis import settings

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

# Whole nodes, processes that are killed, thousands of examples: two thirds of the time for a seventh of the tests. `-m "not slow"` leaves them out.
SLOW = {
    "test_another_part_power",
    "test_bulk_archives",
    "test_carriers",
    "test_cluster_apply",
    "test_cluster_push",
    "test_container_snapshots",
    "test_crash",
    "test_engine_races",
    "test_every_command",
    "test_growing",
    "test_kms_keymaster",
    "test_linear_code",
    "test_locks_of_threads",
    "test_memcache_away",
    "test_object_relinker",
    "test_overload",
    "test_proxy_leaks",
    "test_races",
    "test_rebalance",
    "test_recon_command",
    "test_reconstructor",
    "test_relay",
    "test_replicas_agree",
    "test_replication",
    "test_replication_crashes",
    "test_rows_moved",
    "test_s3_long_bodies",
    "test_s3_notification_targets",
    "test_sharding",
    "test_sharding_decisions",
    "test_sharding_killed",
    "test_sharding_late",
    "test_sharding_random",
    "test_ssync_crash",
    "test_tls",
    "test_tokens_away",
    "test_warm",
    "test_wrong_use",
}


NOT_SLOW = "not slow"


def pytest_configure(config):
    """Whoever leaves out the slow tests gets fewer examples of a property too, where it does not say how many."""
    if config.option.markexpr == NOT_SLOW:
        settings.register_profile("fast", settings(max_examples=25))
        settings.load_profile("fast")


def pytest_xdist_auto_num_workers(config):
    """`-n auto`: some of the fast tests wait, and another process has work meanwhile."""
    return len(os.sched_getaffinity(0)) + 1 if config.option.markexpr == NOT_SLOW else None


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
