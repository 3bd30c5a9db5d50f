"""A proxy that dies while it stores a version, and nodes that are away: what was acknowledged is there, and what is current is whole."""

import json
import threading

import pytest

from test.cluster import Cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory, faultless):
    with faultless(Cluster(tmp_path_factory.mktemp("versions") / "saio")) as running:
        yield running


def body_of(number):
    return b"%04d" % number * 200_000


def listed(cluster, container):
    answer = cluster.request("GET", f"{container}?versions")
    assert answer.status == 200
    return json.loads(answer.body)


def test_the_proxy_dies_while_versions_are_stored(cluster, container):
    """Killed anywhere between the version and the link to it: the name leads to a whole version, and none that was acknowledged is lost."""
    assert cluster.request("POST", container, headers={"X-Versions-Enabled": "true"}).status == 204
    acknowledged = {}

    def write(number):
        try:
            answer = cluster.request("PUT", f"{container}/o", body_of(number))
        except OSError:
            return
        if answer.status == 201:
            acknowledged[answer.headers["x-object-version-id"]] = number

    write(0)
    assert acknowledged
    for turn in range(1, 6):
        writers = [threading.Thread(target=write, args=(10 * turn + at,)) for at in range(3)]
        for writer in writers:
            writer.start()
        writers[0].join(0.004 * turn)
        cluster.kill("proxy")
        for writer in writers:
            writer.join()
        cluster.revive("proxy")
        current = cluster.request("GET", f"{container}/o")
        assert current.status == 200
        assert current.body == body_of(int(current.body[:4]))
        rows = listed(cluster, container)
        assert {row["version_id"] for row in rows} >= set(acknowledged)
        assert [row["version_id"] for row in rows if row["is_latest"]] == [
            current.headers["x-object-version-id"]
        ]
    for version, number in acknowledged.items():
        assert cluster.request("GET", f"{container}/o?version-id={version}").body == body_of(number)


def test_versions_with_a_node_away(cluster, container):
    assert cluster.request("POST", container, headers={"X-Versions-Enabled": "true"}).status == 204
    ids = []
    for number, node in enumerate(("node1", "node2", "node3", "node4")):
        cluster.kill(node)
        answer = cluster.request("PUT", f"{container}/o", b"%d" % number)
        assert answer.status == 201
        ids.append(answer.headers["x-object-version-id"])
        assert cluster.request("GET", f"{container}/o").body == b"%d" % number
        cluster.revive(node)
    for number, version in enumerate(ids):
        assert cluster.request("GET", f"{container}/o?version-id={version}").body == b"%d" % number
