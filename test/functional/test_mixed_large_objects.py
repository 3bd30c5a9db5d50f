"""Large objects on nodes of both kinds: each proxy reads, and deletes, what the other one stored."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from test.mixed import Client, mixed_cluster, needs_reference

pytestmark = needs_reference

BODIES = [random.Random(number).randbytes(size) for number, size in enumerate((5000, 2_000_000, 70_000, 3))]
WHOLE = b"".join(BODIES)


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    with mixed_cluster(tmp_path_factory.mktemp("mixed-large")) as cluster:
        yield Client(cluster.port), Client(cluster.reference_port)


def store(writer, container):
    """A static one, one in another, a dynamic one; the ETag of the first."""
    for name in (container, f"{container}-segments"):
        assert writer("PUT", f"/{name}")[0] in (201, 202)
    for number, body in enumerate(BODIES):
        assert writer("PUT", f"/{container}-segments/p/{number}", body)[0] == 201
    items = [{"path": f"/{container}-segments/p/{number}"} for number in range(len(BODIES))]
    made = writer("PUT", f"/{container}/slo?multipart-manifest=put", json.dumps(items).encode())
    assert made[0] == 201, made
    outer = [{"path": f"/{container}/slo", "range": "100-2000099"}, {"data": "ZW5k"}]
    assert writer("PUT", f"/{container}/outer?multipart-manifest=put", json.dumps(outer).encode())[0] == 201
    manifest = {"X-Object-Manifest": f"{container}-segments/p/"}
    assert writer("PUT", f"/{container}/dlo", b"", manifest)[0] == 201
    return made[1]["etag"]


def read(reader, container, etag):
    for name, whole in (("slo", WHOLE), ("outer", WHOLE[100:2000100] + b"end"), ("dlo", WHOLE)):
        status, headers, body = reader("GET", f"/{container}/{name}")
        assert (status, hashlib.md5(body).hexdigest()) == (200, hashlib.md5(whole).hexdigest()), name
        head = reader("HEAD", f"/{container}/{name}")[1]
        assert (head["content-length"], head["etag"]) == (str(len(whole)), headers["etag"])
        for text, first, stop in (("4990-5010", 4990, 5011), (f"{len(whole) - 9}-", len(whole) - 9, None)):
            part = reader("GET", f"/{container}/{name}", headers={"Range": f"bytes={text}"})
            assert (part[0], part[2]) == (206, whole[first:stop]), name
        condition = {"If-None-Match": headers["etag"]}
        assert reader("GET", f"/{container}/{name}", headers=condition)[0] == 304
    assert reader("HEAD", f"/{container}/slo")[1]["etag"] == etag
    assert reader("GET", f"/{container}/slo?part-number=2")[2] == BODIES[1]
    rows = {row["name"]: row for row in json.loads(reader("GET", f"/{container}?format=json")[2])}
    assert (rows["slo"]["bytes"], rows["slo"]["slo_etag"]) == (len(WHOLE), etag)


@pytest.mark.parametrize("turned", [False, True])
def test_each_proxy_reads_what_the_other_stored(clients, turned):
    writer, reader = reversed(clients) if turned else clients
    container = f"large-{turned}"
    etag = store(writer, container)
    read(reader, container, etag)
    read(writer, container, etag)
    raw = writer("GET", f"/{container}/slo?multipart-manifest=get")
    assert raw[2] == reader("GET", f"/{container}/slo?multipart-manifest=get")[2]
    status, _, summary = reader(
        "DELETE", f"/{container}/outer?multipart-manifest=delete", headers={"Accept": "application/json"}
    )
    assert (status, json.loads(summary)["Number Deleted"]) == (200, len(BODIES) + 2)
    assert writer("GET", f"/{container}/slo")[0] == 404
    assert writer("GET", f"/{container}-segments?prefix=p")[0] == 204
