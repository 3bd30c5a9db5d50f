"""What one test sets for the whole process (hash settings, policies, limits) is taken back before the next."""

import pytest

from swift.core import constraints, hashing, policy


@pytest.fixture(autouse=True)
def process_wide_settings_stay_as_they_were():
    config, policies, limits = hashing._config, policy._policies, constraints._limits
    yield
    if config is not None:
        hashing.set_hash_config(config.prefix, config.suffix)
    policy._policies, constraints._limits = policies, limits
