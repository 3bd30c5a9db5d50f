"""doc/deploy.md, as it stands there: three machines, a fourth one, its end, a new disk; and nothing acknowledged is missing."""

import hashlib
import shutil

import boto3
import botocore.config
import pytest

from swift.deploy.described import DAEMONS
from test import deployed, network

(BEGIN, TOKEN, MORE, REBALANCE, REPLICATE, DRAIN, MAY_GO, REMOVE, FILLED) = deployed.blocks()


class Store(deployed.Deployed):
    """What was acknowledged is known by its digest."""

    def run(self, block):
        return self.shell(block.replace("10.0.0.", f"{self.network.subnet}."))

    def begin(self):
        without = ", ".join(f'"{name}"' for name in DAEMONS)  # passes are made when the test says so
        cluster, defaults = self.options(f"without = [{without}]\n")
        defaults += f"[options.proxy-server.DEFAULT]\nworkers = 1\nlog_file = '{self.home}/proxy.log'\n"
        for server in ("account", "container", "object"):
            defaults += f"[options.{server}-server.DEFAULT]\nworkers = 1\nmount_check = false\nlog_file = '{self.home}/{server}.log'\n"
        block = BEGIN.replace("[cluster]\n", "[cluster]\n" + cluster).replace(
            "\n[nodes.s1]", f"\n{defaults}\n[nodes.s1]", 1
        )
        return self.run(block.replace("[defaults]\n", "[defaults]\n", 1))

    def put(self, count, boxes=("gold", "ec21")):
        for number in range(len(self.acknowledged), len(self.acknowledged) + count):
            box = boxes[number % len(boxes)]
            body = hashlib.sha256(b"%d" % number).digest() * (1 + number % 200)
            answer = self.ask("PUT", f"/{box}/{number:04d}", body, node=self.nodes[number % 3])
            assert answer.status == 201, answer
            self.acknowledged[f"/{box}/{number:04d}"] = body

    def assert_nothing_is_missing(self):
        for at, (path, body) in enumerate(self.acknowledged.items()):
            answer = self.ask("GET", path, node=self.nodes[at % 3])
            assert (answer.status, answer.body == body) == (200, True), (path, answer)
        for box in ("gold", "ec21"):
            listing = self.ask("GET", f"/{box}").body.decode().split()
            assert listing == sorted(
                path[len(box) + 2 :] for path in self.acknowledged if path.startswith(f"/{box}/")
            )

    def files(self, node):
        return len(list(self.disk(node).glob("objects*/*/*/*/*.data")))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    if why := network.why_not():
        pytest.skip(why)
    with Store(tmp_path_factory.mktemp("growth"), 4) as made:
        made.acknowledged = {}
        told = made.begin()
        assert "3 of 3 nodes pushed" in told and "s2: as it should be" in told
        made.authenticate(made.shell("swift-cluster show-key test:tester").strip())
        assert made.run(TOKEN).startswith("HTTP/1.1 200")
        for box in ("gold", "ec21"):
            assert made.ask("PUT", f"/{box}", headers={"X-Storage-Policy": box}).status == 201
        made.put(40)
        yield made
        for path in made.home.glob("*.log"):
            assert "Traceback" not in path.read_text(errors="replace"), path


def test_three_machines_serve_swift_and_s3(store):
    store.assert_nothing_is_missing()
    key = store.shell("swift-cluster show-key test:tester").strip()
    with store.network.inside("desk"):
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{store.ip('s3')}:8080",
            aws_access_key_id="test:tester",
            aws_secret_access_key=key,
            region_name="us-east-1",
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )
        s3.create_bucket(Bucket="pictures")
        s3.put_object(Bucket="pictures", Key="cat.jpg", Body=b"a cat")
        assert s3.get_object(Bucket="pictures", Key="cat.jpg")["Body"].read() == b"a cat"
    assert store.shell("swift-cluster push --activate").count("nothing was to be done") == 3


def test_a_node_comes_and_goes(store):
    """It gets its share, gives it back, and is taken out when nothing is only there."""
    told = store.run(MORE)
    assert "+ s4/sdb1" in told and "4 of 4 nodes as they should be" in told
    store.put(10)
    store.run(REPLICATE)
    assert store.files("s4") > 0
    store.assert_nothing_is_missing()
    assert "nothing was to be done" in store.run(REBALANCE)  # a quarter each: there is no more to move

    store.run(DRAIN)
    store.put(10)
    store.run(REPLICATE)
    while "weight 0" in store.shell("swift-cluster plan"):
        store.run(REBALANCE)
        store.run(REPLICATE)
    assert "YES" in store.run(MAY_GO)
    store.assert_nothing_is_missing()

    told = store.run(REMOVE)
    assert "- s4/sdb1, which holds 0 replicas" in told and "3 of 3 nodes as they should be" in told
    shutil.rmtree(store.disk("s4"))
    store.put(10)
    store.assert_nothing_is_missing()


def test_a_disk_is_replaced(store):
    before = store.files("s1")
    old = store.disk("s1").rename(store.home / "s1/old")
    store.put(10, ("gold",))  # with two of three disks no object can be kept in 2 + 1 fragments
    store.assert_nothing_is_missing()
    store.disk("s1").mkdir()
    store.run(REPLICATE)
    shutil.rmtree(old)
    assert store.files("s1") >= before
    assert "YES" in store.run(FILLED)
    store.assert_nothing_is_missing()
