"""A container that both implementations shard together: nodes 1 and 2 are ours, 3 and 4 the reference's, with proxies of both.

Run with REFERENCE_BIN=/path/to/its/bin, as test_mixed_cluster. Root only: the reference's sharder wants an /etc/swift of its own.
"""

import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from swift.core.hashing import hash_path, load_hash_config, set_hash_config
from test.mixed import REFERENCE, ROOT, Client, mixed_cluster, needs_reference

sys.path.insert(0, str(ROOT / "bench"))
from reference_etc import write_starters  # noqa: E402

pytestmark = [
    *needs_reference,
    pytest.mark.skipif(
        os.geteuid() != 0, reason="the reference's daemons need an /etc/swift of their own: root only"
    ),
]

CLIENT = (
    "[DEFAULT]\nuser = root\nswift_dir = {etc}\nlog_level = WARNING\n\n"
    "[pipeline:main]\npipeline = catch_errors cache proxy-server\n\n"
    "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n\n"
    "[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = {memcache}\n\n"
    "[filter:catch_errors]\nuse = egg:swift#catch_errors\n"
)
SHARDER = (
    "\n[container-sharder]\nauto_shard = true\nshard_container_threshold = 40\nrows_per_shard = 20\nminimum_shard_size = 5\n"
    "shrink_threshold = 2\nexpansion_limit = 30\ncleave_batch_size = 2\ninternal_client_conf_path = {client}\nlog_level = INFO\n"
)
NAMES = [f"{letter}/{number:02d}é" for letter in "abcdefg" for number in range(10)]


class Sharding:
    """The cluster, a client of each proxy, and sharders when they are asked for."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.clients = [Client(cluster.port), Client(cluster.reference_port)]
        client_conf = cluster.etc / "internal-client.conf"
        client_conf.write_text(CLIENT.format(etc=cluster.etc, memcache=cluster.memcache))
        for node in (1, 2, 3, 4):
            text = (cluster.etc / f"container-{node}.conf").read_text()
            (cluster.etc / f"sharder-{node}.conf").write_text(text + SHARDER.format(client=client_conf))
        commands = ["swift-container-sharder", "swift-manage-shard-ranges"]
        self.theirs = write_starters(cluster.root, cluster.etc, pathlib.Path(REFERENCE), commands)

    def shard(self, *nodes):
        for node in nodes:
            ours = [sys.executable, str(ROOT / "bin/swift-container-sharder")]
            command = ours if node < 3 else [str(self.theirs / "swift-container-sharder")]
            environment = {**os.environ, **({"PYTHONPATH": str(ROOT)} if node < 3 else {})}
            done = subprocess.run(
                [*command, str(self.cluster.etc / f"sharder-{node}.conf"), "once", "-v"],
                capture_output=True,
                text=True,
                timeout=120,
                env=environment,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr

    def tool(self, path, *words, ours=True):
        """(stdout, stderr) of swift-manage-shard-ranges."""
        name = "swift-manage-shard-ranges"
        command = [sys.executable, str(ROOT / "bin" / name)] if ours else [str(self.theirs / name)]
        environment = {**os.environ, **({"PYTHONPATH": str(ROOT)} if ours else {})}
        done = subprocess.run(
            [*command, str(path), *words], capture_output=True, text=True, timeout=180, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, done.stderr

    def databases(self, container):
        """One file of each replica."""
        set_hash_config("", "")
        load_hash_config(str(self.cluster.etc))
        digest = hash_path("AUTH_test", container)
        folders = self.cluster.root.glob(f"[1-4]/sdb*/containers/*/*/{digest}")
        return [sorted(folder.glob("*.db"))[-1] for folder in sorted(folders)]

    def states(self, container):
        """Of all replicas."""
        told = [self.tool(path, "info")[0] for path in self.databases(container)]
        return sorted(
            next(line for line in text.splitlines() if line.startswith("db_state")) for text in told
        )

    def listing(self, client, container, **params):
        query = "&".join(f"{name}={quote(value)}" for name, value in {"format": "json", **params}.items())
        status, headers, body = client("GET", f"/{container}?{query}")
        assert status == 200, body
        return [entry.get("subdir") or entry["name"] for entry in json.loads(body)], headers


@pytest.fixture(scope="module")
def sharding(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed-sharding")
    with mixed_cluster(root) as cluster:
        yield Sharding(cluster)


@pytest.mark.parametrize("first", [1, 3])
def test_it_is_sharded_listed_and_written_on_both_sides(sharding, first):
    container = f"many{first}"
    ours, theirs = sharding.clients
    assert ours("PUT", f"/{container}")[0] == 201
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda name: ours("PUT", f"/{container}/{quote(name)}", b"x")[0], NAMES)
        assert set(answers) == {201}
    path = sharding.databases(container)[0]
    assert (
        "moved to state 'sharding'"
        in sharding.tool(
            path, "find_and_replace", "20", "--minimum-shard-size", "5", "--enable", ours=first == 1
        )[0]
    )
    order = (1, 2, 3, 4) if first == 1 else (3, 4, 1, 2)
    names = set(NAMES)
    for turn in range(6):
        sharding.shard(*order)
        # while it goes on, both proxies list and write
        for at, client in enumerate(sharding.clients):
            name = f"{'abcdefg'[turn]}/new{at}"
            assert client("PUT", f"/{container}/{name}", b"yy")[0] == 201
            names.add(name)
        if sharding.states(container) == ["db_state = sharded"] * 3:
            break
    assert sharding.states(container) == ["db_state = sharded"] * 3
    sharding.shard(*order)  # what came late is moved, and counted
    sharding.shard(*order)
    for client in sharding.clients:
        for params in (
            {},
            {"prefix": "c/"},
            {"delimiter": "/"},
            {"delimiter": "/", "reverse": "true"},
            {"reverse": "true", "limit": "33"},
            {"marker": "b/05", "end_marker": "f/", "limit": "25"},
        ):
            expected = sorted(names, reverse="reverse" in params)
            if "prefix" in params:
                expected = [name for name in expected if name.startswith("c/")]
            if "delimiter" in params:
                expected = sorted({name[:2] for name in names}, reverse="reverse" in params)
            if "marker" in params:
                expected = [name for name in expected if "b/05" < name < "f/"]
            expected = expected[: int(params.get("limit", 10000))]
            for _ in range(2):
                found, headers = sharding.listing(client, container, **params)
                assert found == expected
        assert headers["x-container-object-count"] == str(len(names))
        assert client("HEAD", f"/{container}")[1]["x-container-object-count"] == str(len(names))
    for name, client, other in (("c/late", ours, theirs), ("g/late", theirs, ours)):
        assert client("PUT", f"/{container}/{name}", b"zzz")[0] == 201
        assert name in sharding.listing(other, container, prefix=name[:2])[0]
        assert other("DELETE", f"/{container}/{name}")[0] == 204
        assert name not in sharding.listing(client, container, prefix=name[:2])[0]
    assert ours("DELETE", f"/{container}")[0] == 409
