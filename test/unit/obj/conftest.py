"""Fixtures of the object room: a directory whose file system holds user xattrs of any size (tmpfs, where there is one)."""

import os
import shutil
import tempfile

import pytest

from swift.core import fs, hashing


@pytest.fixture(autouse=True)
def golden_hash_config():
    hashing.set_hash_config("changeme", "changeme")


@pytest.fixture
def root(tmp_path):
    on_disk = os.environ.get("SWIFT_TEST_ON_DISK")  # thread pools, real syncs, small xattrs
    if not on_disk and os.path.isdir("/dev/shm") and fs.user_xattr_limit("/dev/shm"):
        path = tempfile.mkdtemp(prefix="swift-test-obj-", dir="/dev/shm")
        yield path
        shutil.rmtree(path, ignore_errors=True)
    else:
        yield str(tmp_path)
