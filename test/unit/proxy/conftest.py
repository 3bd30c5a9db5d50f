import pytest
from proxy_backends import Cluster


@pytest.fixture
def make_cluster():
    made = []

    def make(**options):
        made.append(Cluster(**options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster):
    return make_cluster()
