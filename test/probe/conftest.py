import contextlib
import pathlib
import signal
import sys

import pytest

from test.cluster import sign_requests

sys.path.insert(0, str(pathlib.Path(__file__).parent))

# what is started here must be stoppable by HUP also when the tests run under nohup
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="module")
def requests_to_storage_servers_are_signed(process_wide_settings_of_a_module_end_with_it):
    """As clusters of tests want it, by whichever way a test comes to them."""
    sign_requests()


@pytest.fixture(scope="session")
def faultless():
    """`faultless(cluster)`: the cluster running; in the end none of its processes has met what it did not expect."""

    @contextlib.contextmanager
    def run(cluster):
        with cluster:
            yield cluster
            for path in sorted(cluster.layout.log.iterdir()):
                assert "Traceback" not in path.read_text(errors="replace"), path

    return run


@pytest.fixture
def cluster(shared):
    """The cluster that a module's tests share; whole again after each of them."""
    yield shared
    shared.make_whole()


@pytest.fixture
def container(cluster, request):
    """The path of a container of the test's own, with the module's POLICY."""
    path = "/" + request.node.name.replace("[", "-").replace("]", "").replace("_", "-")
    policy = getattr(request.module, "POLICY", None)
    headers = {} if policy is None else {"X-Storage-Policy": policy}
    assert cluster.request("PUT", path, headers=headers).status in (201, 202)
    return path
