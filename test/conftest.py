"""What one test sets for the whole process (hash settings, policies, limits) is taken back before the next."""

import gc
import os
import sys
import threading

# A run starts hundreds of processes, each of which would compile anew all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from swift.cache import changes  # noqa: E402
from swift.core import backend_security, constraints, hashing, policy, swift_dir  # noqa: E402
from swift.engine import threads  # noqa: E402
from swift.obj import in_hand  # noqa: E402
from swift.obj.files import carriers  # noqa: E402
from test.cluster import of_sessions  # noqa: E402

SETTINGS = [
    (hashing, ("_config", "_primed", "_suffix")),
    (policy, ("_policies",)),
    (constraints, ("_limits",)),
    (swift_dir, ("_current",)),
    (backend_security, ("_settings",)),
]


# A check that decides over a change gives the same verdict twice; searching anew each time is for whoever runs the tests by hand.
# How fast examples come says something of the machine, nothing of the code.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", **PATIENT)
settings.register_profile("ci", derandomize=True, **PATIENT)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def only_processes_of_their_own_are_patched():
    """Threads that are green all of a sudden hang tests that come much later."""
    before = threading._start_new_thread
    yield
    assert threading._start_new_thread is before, "it has patched the standard library for all tests after it"


def pytest_runtest_teardown(item, nextitem):
    """What looks after the objects of the session's cluster need not do so beside all the tests that come after its own."""
    if nextitem is not None and is_functional(item) and not is_functional(nextitem):
        for cluster in of_sessions:
            cluster.kill("daemons")


def is_functional(item):
    return item.path.parent.name == "functional"


def pytest_collection_finish(session):
    settle()


@pytest.fixture(autouse=True, scope="module")
def what_lasts_is_not_searched_again():
    """The collector would look through all that a long run keeps, modules and reports, hundreds of times."""
    yield
    settle()


def settle():
    gc.collect()
    gc.freeze()


MEMORY = "/dev/shm"


@pytest.fixture(autouse=True, scope="session")
def tables_in_memory_of_its_own(tmp_path_factory):
    """Processes of other test runs have nothing to tell to this one; what servers of this one have left in memory goes with it."""
    changes.DIRECTORY = str(tmp_path_factory.mktemp("changes"))
    in_hand.SHARED_MEMORY = str(tmp_path_factory.mktemp("notes"))
    before = set(notes_in_memory())
    yield
    left = set(notes_in_memory()) - before
    if left:
        in_hand.SHARED_MEMORY = MEMORY
        for root in directories(str(tmp_path_factory.getbasetemp()), 4):
            if in_hand.notes_directory(root) in left:
                in_hand.take_away(root, unreported=True)


def notes_in_memory():
    try:
        return [f"{MEMORY}/{name}" for name in os.listdir(MEMORY) if name.startswith("swift-writes-")]
    except OSError:
        return []


def directories(top, depth):
    yield top
    if depth:
        try:
            below = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for path in below:
            yield from directories(path, depth - 1)


@pytest.fixture(autouse=True)
def process_wide_settings_stay_as_they_were():
    yield from settings_kept()


@pytest.fixture(autouse=True, scope="module")
def process_wide_settings_of_a_module_end_with_it():
    """Fixtures of a whole module set them, too."""
    yield from settings_kept()


def settings_kept():
    before = [(module, name, getattr(module, name)) for module, names in SETTINGS for name in names]
    yield
    for module, name, value in before:
        setattr(module, name, value)


@pytest.fixture(autouse=True)
def threads_end_with_their_test():
    """Or a run of all tests ends with a thousand, each of them with a descriptor."""
    before = dict(threads._pools)
    yield
    carriers.close_writers()
    threads.close_pools()
    threads._pools.clear()
    threads._pools.update(before)
