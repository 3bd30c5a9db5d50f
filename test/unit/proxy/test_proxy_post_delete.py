"""POST and DELETE of objects."""

import pytest
from proxy_backends import Reply


def test_post_goes_to_all_primaries(cluster):
    page = b"<html><h1>Accepted</h1><p>The request is accepted for processing.</p></html>"
    cluster.on("object", "POST", Reply(202, {"X-Backend-Content-Type": "a/b"}, page))
    status, headers, body = cluster.request("POST", "/v1/a/c/o", {"X-Object-Meta-Color": "blue"})
    assert (status, body, headers["content-type"]) == (202, page, "text/html; charset=UTF-8")
    posts = cluster.of("object", "POST")
    assert sorted(seen.node for seen in posts) == [0, 1, 2]
    for seen in posts:
        assert seen.headers["x-object-meta-color"] == "blue"
        assert "content-length" not in seen.headers
        assert seen.headers["x-container-partition"] == "7"


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ([202, 202, 404], 202),
        ([404, 404, 404], 404),
        ([202, 404, 404, 202, 404, 404], 202),  # a handoff has the second copy
        ([202, 404, 404, 404, 404, 404], 503),  # somebody has it, so 404 would be a lie
        ([409, 409, 202], 409),
        ([503] * 6, 503),
    ],
)
def test_post_with_copies_that_disagree(cluster, replies, status):
    cluster.on("object", "POST", [Reply(code) for code in replies])
    assert cluster.request("POST", "/v1/a/c/o")[0] == status


def test_post_of_an_expiry(cluster):
    cluster.on("object", "POST", Reply(202))
    assert cluster.request("POST", "/v1/a/c/o", {"X-Delete-At": "1999999999"})[0] == 202
    assert all("x-delete-at-host" in seen.headers for seen in cluster.of("object"))
    assert cluster.request("POST", "/v1/a/c/o", {"X-Delete-At": "x"})[::2] == (
        400,
        b"Non-integer X-Delete-At",
    )


def test_delete_goes_to_all_primaries(cluster):
    cluster.on("object", "DELETE", Reply(204, {"X-Backend-Timestamp": "1700000000.00000"}))
    status, headers, body = cluster.request("DELETE", "/v1/a/c/o")
    assert (status, body) == (204, b"")
    deletes = cluster.of("object", "DELETE")
    assert sorted(seen.node for seen in deletes) == [0, 1, 2]
    assert all(seen.headers["x-container-partition"] == "7" for seen in deletes)


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ([204, 204, 404], 204),
        ([204, 404, 404, 404, 404], 204),  # it was there, so 404 would be a lie
        ([404, 404, 404], 404),
        ([204, 404, 503, 503, 503, 503], 204),
        ([404, 404, 503, 503, 503, 503], 404),
        ([409, 409, 404], 409),
        ([412, 412, 412], 412),
        ([503] * 6, 503),
    ],
)
def test_delete_with_copies_that_disagree(cluster, replies, status):
    known = {"X-Backend-Timestamp": "1700000000.00000"}
    cluster.on("object", "DELETE", [Reply(code, known if code == 404 else {}) for code in replies])
    assert cluster.request("DELETE", "/v1/a/c/o")[0] == status


def test_a_delete_of_what_most_primaries_lack_goes_to_handoffs_too(cluster):
    """It was written while two of them were away."""
    known = {"X-Backend-Timestamp": "1700000000.00000"}
    cluster.on("object", "DELETE", [Reply(404, known), Reply(404, known), Reply(204)])
    assert cluster.request("DELETE", "/v1/a/c/o")[0] == 204
    asked = cluster.of("object", "DELETE")
    assert len(asked) == 5 and len({seen.node for seen in asked}) == 5
    assert [("x-container-host" in seen.headers) for seen in asked] == [True] * 3 + [False] * 2


def test_a_conditional_delete_asks_no_further(cluster):
    """The servers that have nothing leave nothing: they must be asked again."""
    cluster.on("object", "DELETE", [Reply(404), Reply(404), Reply(204)])
    assert cluster.request("DELETE", "/v1/a/c/o", {"X-If-Delete-At": "5"})[0] == 404
    assert len(cluster.of("object", "DELETE")) == 3


def test_delete_in_a_missing_container(cluster):
    cluster.on("container", "HEAD", Reply(404))
    assert cluster.request("DELETE", "/v1/a/c/o")[0] == 404
    assert cluster.of("object") == []


def test_delete_reaches_local_handoffs_too(make_cluster):
    cluster = make_cluster(nodes=8, write_affinity="r1")
    ring = cluster.rings["o"]
    for node in (*ring.primaries, *ring.handoffs):
        node["region"] = 1 if node["id"] in (0, 4, 5, 6) else 2
    cluster.on("object", "DELETE", Reply(204))
    assert cluster.request("DELETE", "/v1/a/c/o")[0] == 204
    assert sorted(seen.node for seen in cluster.of("object", "DELETE")) == [0, 1, 2, 4, 5]


def test_the_row_of_a_delete_is_taken_out_although_its_replica_was_lost(make_cluster):
    cluster = make_cluster(nodes=3)
    cluster.on("object", "DELETE", [Reply(204), Reply(drop=True), Reply(204)])
    cluster.on("container", "DELETE", Reply(204))
    assert cluster.request("DELETE", "/v1/a/c/o")[0] == 204
    lost = next(seen for seen in cluster.of("object", "DELETE") if seen.node == 1)
    (row,) = cluster.of("container", "DELETE")
    assert row.path == f"/{lost.headers['x-container-device']}/7/a/c/o"
    assert row.headers["x-timestamp"] == lost.headers["x-timestamp"]


@pytest.mark.parametrize(("condition", "rows"), [({"X-If-Delete-At": "5"}, 1), ({}, 0)])
def test_the_row_of_an_expired_object_is_taken_out_although_a_handoff_had_nothing(
    make_cluster, condition, rows
):
    """Without the condition a server that has nothing leaves a tombstone and tells the container."""
    cluster = make_cluster(nodes=3)
    cluster.on("object", "DELETE", [Reply(204), Reply(404), Reply(204)])
    cluster.on("container", "DELETE", Reply(204))
    assert cluster.request("DELETE", "/v1/a/c/o", condition)[0] == 204
    told = cluster.of("container", "DELETE")
    assert len(told) == rows
    for row in told:
        silent = next(seen for seen in cluster.of("object", "DELETE") if seen.node == 1)
        assert row.path == f"/{silent.headers['x-container-device']}/7/a/c/o"


def test_how_old_a_content_type_is_a_client_cannot_say(cluster):
    """One from the future would stay for ever."""
    cluster.on("object", "POST", Reply(202))
    cluster.request(
        "POST", "/v1/a/c/o", {"Content-Type": "a/b", "Content-Type-Timestamp": "9999999999.00000"}
    )
    for seen in cluster.of("object", "POST"):
        assert seen.headers["content-type"] == "a/b"
        assert "content-type-timestamp" not in seen.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_all_large_objects_that_servers_have_replaced_are_told(cluster, method):
    name = "X-Backend-Replaced-Large-Object"
    code = 201 if method == "PUT" else 204
    replies = [Reply(code, {name: "2;b"}), Reply(code, {name: "1;a"}), Reply(code, {name: "2;b"})]
    cluster.on("object", method, replies)
    status, headers, _ = cluster.request(method, "/v1/a/c/o", {"Content-Length": "0"})
    assert status == code
    assert sorted(headers[name.lower()].split(",")) == ["1;a", "2;b"]


def test_a_delete_that_leaves_large_objects_alone_is_told_so(cluster):
    name = "X-Backend-Replaced-Large-Object"
    cluster.on("object", "DELETE", [Reply(404), Reply(404), Reply(412, {name: "1;a"})])
    status, headers, _ = cluster.request("DELETE", "/v1/a/c/o", {"X-Backend-Unless-Large-Object": "true"})
    assert (status, headers[name.lower()]) == (412, "1;a")
    assert all(seen.headers["x-backend-unless-large-object"] == "true" for seen in cluster.of("object"))


CURRENT = {"X-Backend-If-Current-Timestamp": "1700000000.00000"}
LATER = {"X-Backend-Timestamp": "1700000005.00000"}


@pytest.mark.parametrize(
    ("replies", "status", "told"),
    [
        ([204, 204, 204], 204, None),
        ([409, 409, 409], 409, "1700000005.00000"),
        ([409, 204, 404], 409, "1700000005.00000"),
        ([409, 503, 503, 404, 404, 404], 409, None),  # what the other primaries have, nobody says
        ([412, 409, 409], 412, None),  # something newer is there
        ([204, 503, 503, 404, 404, 404], 503, None),
    ],
)
def test_a_conditional_delete_is_told_of_a_later_time_only_by_most_primaries(cluster, replies, status, told):
    cluster.on("object", "DELETE", [Reply(code, LATER if code == 409 else {}) for code in replies])
    got, headers, _ = cluster.request("DELETE", "/v1/a/c/o", CURRENT)
    assert (got, headers.get("x-backend-timestamp")) == (status, told)


def test_a_reservation_of_somebody_at_work_tells_of_no_time(cluster):
    replies = [Reply(409, LATER), Reply(409), Reply(409)]
    cluster.on("object", "DELETE", replies)
    status, headers, _ = cluster.request("DELETE", "/v1/a/c/o", CURRENT)
    assert (status, headers.get("x-backend-timestamp")) == (409, None)


def test_if_none_match_means_nothing_to_a_delete(cluster):
    cluster.on("object", "DELETE", [Reply(409), Reply(204), Reply(204)])
    assert cluster.request("DELETE", "/v1/a/c/o", {"If-None-Match": "*"})[0] == 204
