"""Every test of rings runs with the hash settings of the golden data; see test/golden/ring/README.md."""

import pytest
from ring_golden import DATA

from swift.core import hashing


@pytest.fixture(autouse=True)
def hash_settings():
    hashing.set_hash_config("golden-prefix", "golden-suffix")


@pytest.fixture
def data():
    return DATA
