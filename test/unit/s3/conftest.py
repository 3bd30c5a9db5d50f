"""What tests of the S3 API share."""

import hmac

import pytest


@pytest.fixture
def compared(monkeypatch):
    """What is compared in constant time: (one, the other)."""
    seen, compare = [], hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda one, other: seen.append((one, other)) or compare(one, other)
    )
    return seen
