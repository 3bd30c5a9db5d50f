from proxy_backends import Reply, T0


def test_get_hands_on_what_the_object_server_says(cluster):
    headers = {
        "Content-Type": "text/plain",
        "Etag": '"5eb63bbbe01eeed093cb22bb8f5acdc3"',
        "X-Timestamp": T0,
        "X-Backend-Timestamp": T0,
        "X-Object-Meta-Color": "red",
        "Last-Modified": "Sat, 21 Nov 2026 04:58:19 GMT",
        "Date": "Sat, 21 Nov 2026 04:58:19 GMT",
    }
    cluster.on("object", "GET", Reply(200, headers, b"hello world"))
    status, headers, body = cluster.request(
        "GET", "/v1/AUTH_test/c/o", {"X-Auth-Token": "secret", "Cookie": "x"}
    )
    assert (status, body) == (200, b"hello world")
    assert headers["etag"] == "5eb63bbbe01eeed093cb22bb8f5acdc3"
    assert headers["content-length"] == "11"
    assert headers["content-type"] == "text/plain"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-object-meta-color"] == "red"
    assert "date" not in headers
    (seen,) = cluster.of("object")
    assert seen.path in [f"/o{i}/7/AUTH_test/c/o" for i in range(3)]
    assert seen.headers["x-backend-storage-policy-index"] == "0"
    assert seen.headers["x-auth-token"] == "-"
    assert "cookie" not in seen.headers
    assert seen.headers["referer"] == "GET http://localhost/v1/AUTH_test/c/o"
