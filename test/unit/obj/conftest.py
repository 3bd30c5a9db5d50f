"""Fixtures of the object room: a directory on a memory file system and one on a real one, where user xattrs are to be had."""

import os
import shutil
import tempfile

import pytest

from swift.core import hashing
from swift.engine.mounts import is_memory_file_system
from swift.engine.xattrs import user_xattr_limit
from swift.obj import in_hand

MEMORY = "/dev/shm"
# What these say of files, threads and syncs is to hold on a disk as well; the others only need some place, or run inline in any case.
ON_DISK_TOO = {
    "test_fragment_uploads",
    "test_object_http",
    "test_object_auditor",
    "test_growing",
    "test_object_server",
    "test_races",
    "test_reader",
    "test_store",
}


@pytest.fixture(autouse=True)
def golden_hash_config():
    hashing.set_hash_config("changeme", "changeme")


@pytest.fixture(params=["trip", "batch"])
def road(request):
    """How small writes come to the disk; for `App(root, batch=road == "batch")`."""
    return request.param


def _is_memory(path):
    return is_memory_file_system(path) and user_xattr_limit(path) > 0


def _kinds(module):
    disk = tempfile.gettempdir()
    has_disk = not is_memory_file_system(disk) and user_xattr_limit(disk) > 0
    kinds = ["memory"] if os.path.isdir(MEMORY) and _is_memory(MEMORY) else []
    if has_disk and (not kinds or module in ON_DISK_TOO):
        kinds.append("disk")
    return kinds


def pytest_generate_tests(metafunc):
    if "root" in metafunc.fixturenames:
        metafunc.parametrize("root", _kinds(metafunc.module.__name__.rpartition(".")[2]), indirect=True)


@pytest.fixture
def root(request, tmp_path_factory):
    """An empty directory; on a disk there are thread pools, real syncs and small xattrs."""
    path = tempfile.mkdtemp(prefix="swift-test-obj-", dir=MEMORY if request.param == "memory" else None)
    with pytest.MonkeyPatch.context() as patch:  # a test's own is undone before the directory goes
        patch.setattr(in_hand, "SHARED_MEMORY", str(tmp_path_factory.mktemp("notes")))
        yield path
    shutil.rmtree(path, ignore_errors=True)
