"""Versions, legacy and new, and quotas, over the whole stack."""

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest


@pytest.fixture
def versioned(cluster):
    """A new container with versions: its path."""
    name = f"/versions-{next(_numbers)}"
    assert cluster.request("PUT", name, headers={"X-Versions-Enabled": "true"}).status == 201
    return name


_numbers = iter(range(1, 1000))


def versions(cluster, container, query=""):
    answer = cluster.request("GET", f"{container}?versions{query}")
    assert answer.status == 200
    return json.loads(answer.body)


def test_a_life_with_versions(cluster, versioned):
    path = f"{versioned}/{quote('ünter weg/☃ %')}"
    ids = [cluster.request("PUT", path, body).headers["x-object-version-id"] for body in (b"1", b"22")]
    assert cluster.request("GET", path).body == b"22"
    assert cluster.request("GET", f"{path}?version-id={ids[0]}").body == b"1"
    marker = cluster.request("DELETE", path).headers["x-object-version-id"]
    assert cluster.request("GET", path).status == 404
    assert [(row["version_id"], row["is_latest"]) for row in versions(cluster, versioned)] == [
        (marker, True),
        (ids[1], False),
        (ids[0], False),
    ]
    assert cluster.request("HEAD", versioned).headers["x-container-bytes-used"] == "3"
    assert cluster.request("PUT", f"{path}?version-id={ids[0]}").status == 201
    assert cluster.request("GET", path).body == b"1"
    assert cluster.request("DELETE", versioned).status == 409
    for row in versions(cluster, versioned):
        assert cluster.request("DELETE", f"{path}?version-id={row['version_id']}").status == 204
    assert cluster.request("DELETE", versioned).status == 204
    assert cluster.request("HEAD", versioned).status == 404


def test_writers_at_once_lose_no_version(cluster, versioned):
    """Every version that was acknowledged is there with its bytes, and one of them is current."""

    def write(number):
        answer = cluster.request("PUT", f"{versioned}/o", b"%d" % number)
        return number, answer.status, answer.headers.get("x-object-version-id")

    with ThreadPoolExecutor(8) as pool:
        written = [
            (number, version)
            for number, status, version in pool.map(write, range(40))
            if status in (201, 202)
        ]
    assert len(written) >= 39
    rows = versions(cluster, versioned)
    assert {row["version_id"] for row in rows} >= {version for _, version in written}
    assert [row["is_latest"] for row in rows].count(True) == 1 and rows[0]["is_latest"]
    for number, version in written:
        assert cluster.request("GET", f"{versioned}/o?version-id={version}").body == b"%d" % number


def test_manifests_have_versions(cluster, versioned):
    cluster.request("PUT", f"{versioned}/segment", b"segment")
    manifest = json.dumps([{"path": f"{versioned}/segment"}])
    answer = cluster.request("PUT", f"{versioned}/big?multipart-manifest=put", manifest)
    assert answer.status == 201
    first = answer.headers["x-object-version-id"]
    cluster.request("PUT", f"{versioned}/big", b"small")
    assert cluster.request("GET", f"{versioned}/big?version-id={first}").body == b"segment"
    sizes = {row["version_id"]: row["bytes"] for row in versions(cluster, versioned, "&prefix=big")}
    assert sizes[first] == 7
    cluster.request("PUT", f"{versioned}/big?version-id={first}")
    assert cluster.request("GET", f"{versioned}/big").body == b"segment"
    copied = cluster.request(
        "COPY", f"{versioned}/big?version-id={first}", headers={"Destination": f"{versioned[1:]}/copy"}
    )
    assert copied.status == 201
    assert cluster.request("GET", f"{versioned}/copy").body == b"segment"


def test_erasure_coded_versions(cluster):
    assert (
        cluster.request(
            "PUT", "/coded-versions", headers={"X-Versions-Enabled": "1", "X-Storage-Policy": "ec42"}
        ).status
        == 201
    )
    bodies = [b"a" * 3_000_000, b"b" * 10]
    ids = [
        cluster.request("PUT", "/coded-versions/o", body).headers["x-object-version-id"] for body in bodies
    ]
    for version, body in zip(ids, bodies, strict=True):
        assert cluster.request("GET", f"/coded-versions/o?version-id={version}").body == body
    assert cluster.request("GET", "/coded-versions/o", headers={"Range": "bytes=2-4"}).body == b"bbb"


def test_what_was_there_before_is_kept(cluster):
    cluster.request("PUT", "/late-versions")
    body = b"x" * 2_000_000
    cluster.request("PUT", "/late-versions/o", body, {"X-Object-Meta-A": "1", "Content-Type": "text/old"})
    cluster.request("POST", "/late-versions", headers={"X-Versions-Enabled": "true"})
    cluster.request("PUT", "/late-versions/o", b"new")
    old = versions(cluster, "/late-versions")[1]["version_id"]
    answer = cluster.request("GET", f"/late-versions/o?version-id={old}")
    assert answer.body == body
    assert (answer.headers["x-object-meta-a"], answer.headers["content-type"]) == ("1", "text/old")


@pytest.mark.parametrize("mode", ["X-Versions-Location", "X-History-Location"])
def test_legacy_modes(cluster, mode):
    name = mode.split("-")[1].lower()
    for path, headers in ((f"/{name}-old", {}), (f"/{name}", {mode: f"{name}-old"})):
        assert cluster.request("PUT", path, headers=headers).status == 201
    bodies = [b"1" * 2_000_000, b"2", b"3"]
    for body in bodies:
        assert cluster.request("PUT", f"/{name}/o", body).status == 201
    kept = json.loads(cluster.request("GET", f"/{name}-old?format=json").body)
    assert [row["bytes"] for row in kept] == [2_000_000, 1]
    assert cluster.request("DELETE", f"/{name}/o").status == 204
    if mode == "X-Versions-Location":
        assert cluster.request("GET", f"/{name}/o").body == b"2"
        cluster.request("DELETE", f"/{name}/o")
        assert cluster.request("GET", f"/{name}/o").body == bodies[0]
    else:
        assert cluster.request("GET", f"/{name}/o").status == 404
        assert len(json.loads(cluster.request("GET", f"/{name}-old?format=json").body)) == 4


def test_an_upload_of_unknown_length_stops_at_the_quota(cluster):
    cluster.request("PUT", "/bounded", headers={"X-Container-Meta-Quota-Bytes": "100000"})
    pieces = (b"x" * 10_000 for _ in range(1000))
    answer = cluster.request("PUT", "/bounded/o", pieces)
    assert (answer.status, answer.body) == (413, b"Upload exceeds quota.")
    assert cluster.request("GET", "/bounded/o").status == 404
    assert cluster.request("PUT", "/bounded/o", (b"x" * 1000 for _ in range(90))).status == 201
