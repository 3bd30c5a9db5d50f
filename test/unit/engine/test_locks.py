"""What is promised of swift.engine.locks: advisory locks."""

import os

import pytest

from swift.core.errors import LockTimeout
from swift.engine.locks import acquire_lock, locked


def test_lock_excludes_and_times_out(tmp_path):
    directory = str(tmp_path / "new")
    with locked(directory, 1):
        with pytest.raises(LockTimeout):
            acquire_lock(directory, 0.01)
        os.close(acquire_lock(directory, 0.01, limit=2))
        os.close(acquire_lock(directory, 0.01, name="replication"))
    os.close(acquire_lock(directory, 0.01))
    assert sorted(os.listdir(directory)) == [".lock", ".lock-1", ".lock-replication"]
