"""What container_sync lets in and what it does not, and targets of containers. No realms are set up: signatures are never right."""

from test.side_by_side.table import Step

TARGETS = (
    "", "/", "//", "//realm", "//realm/cluster/a/c", "//realm/cluster/a", "//realm//a/c", "//realm/cluster/a/c/o", "http://127.0.0.1/v1/a/c", "http://127.0.0.1:80/v1/a/c/", "https://127.0.0.1/v1/a/c",
    "http://127.0.0.1", "http://elsewhere/v1/a/c", "ftp://127.0.0.1/v1/a/c", "127.0.0.1/v1/a/c", "http://127.0.0.1/v1/a/c?x=y", "http://127.0.0.1/v1/a/c#x", "☃", "http://127.0.0.1/☃",
)  # fmt: skip
SIGNATURES = (
    "",
    "x",
    "realm nonce",
    "realm nonce sig",
    "realm nonce sig more",
    "realm  nonce   sig",
    "a b ☃",
    "REALM n " + "0" * 40,
)

STEPS = [
    Step("POST", "/nothing", {"X-Container-Sync-To": "http://[::1/v1/a/c"}),
    Step("PUT", "/c"), Step("PUT", "/c/o", body="x"),
    *(step for target in TARGETS for step in (Step("POST", "/c", {"X-Container-Sync-To": target, "X-Container-Sync-Key": "k"}), Step("HEAD", "/c"))),
    Step("PUT", "/new", {"X-Container-Sync-To": "//realm/cluster/a/c"}), Step("PUT", "/new", {"X-Container-Sync-To": "http://127.0.0.1/v1/a/c", "X-Container-Sync-Key": "k"}), Step("HEAD", "/new"), Step("HEAD", "/new", user="member"),
    Step("POST", "/new", {"X-Remove-Container-Sync-To": "x"}), Step("HEAD", "/new"), Step("POST", "/new", {"X-Container-Sync-Key": ""}), Step("HEAD", "/new"),
    *(Step(method, "/c/o", {"X-Container-Sync-Auth": text}, user=user) for text in SIGNATURES for method in ("GET", "PUT", "DELETE") for user in ("owner", "")),
    Step("GET", "/c", {"X-Container-Sync-Auth": "realm nonce sig"}), Step("GET", "", {"X-Container-Sync-Auth": "realm nonce sig"}),
    # the old way: the container's key and a time
    Step("POST", "/c", {"X-Container-Sync-To": "", "X-Container-Sync-Key": "k"}),
    *(Step(method, "/c/plain", {"X-Container-Sync-Key": key, **time}, body="x" if method == "PUT" else "", user="") for key in ("k", "wrong", "") for time in ({}, {"X-Timestamp": "1700000000.00000"}) for method in ("PUT", "GET", "HEAD", "POST", "DELETE")),
    Step("PUT", "/c", {"X-Container-Sync-Key": "k"}, user=""), Step("GET", "/c", {"X-Container-Sync-Key": "k"}, user=""),
    Step("PUT", "/versioned", {"X-Versions-Enabled": "true"}), Step("POST", "/versioned", {"X-Container-Sync-To": "http://127.0.0.1/v1/a/c", "X-Container-Sync-Key": "k"}), Step("POST", "/versioned", {"X-Container-Sync-To": ""}), Step("HEAD", "/versioned"),
    Step("POST", "/new", {"X-Container-Sync-To": "http://127.0.0.1/v1/a/c", "X-Container-Sync-Key": "k"}), Step("POST", "/new", {"X-Versions-Enabled": "true"}),
]  # fmt: skip
