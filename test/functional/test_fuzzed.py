"""A short run of the fuzz (`python -m test.fuzz`) as every run of the tests has it: always the same requests, at a cluster of their own,
as they delete what others would still need."""

from test.cluster import Cluster
from test.fuzz.run import Fuzz

REQUESTS = 1000


def test_changed_requests_are_answered_without_errors(tmp_path):
    with Cluster(tmp_path / "saio") as cluster:
        fuzz = Fuzz(cluster, seed=1)
        found = fuzz.run(range(REQUESTS))
        assert found.faults == []
        assert fuzz.tracebacks() == []
        assert sum(found.statuses.values()) == REQUESTS
