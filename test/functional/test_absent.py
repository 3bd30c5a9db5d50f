"""Features that the default pipeline lacks, over the whole stack: a line that says so, and nothing stored or deleted."""

from importlib.metadata import entry_points

import pytest

from swift.run.pipeline_order import REQUIRED_FILTERS


@pytest.fixture
def container(cluster):
    assert cluster.request("PUT", "/absent").status in (201, 202)
    assert cluster.request("PUT", "/absent/kept", b"kept").status == 201
    return "/absent"


@pytest.mark.parametrize(
    "method, path, headers, name",
    [
        ("PUT", "/absent/big", {"X-Object-Manifest": "absent/k"}, b"dlo"),
        ("PUT", "/absent/big?multipart-manifest=put", {}, b"slo"),
        ("PUT", "/absent/link", {"X-Symlink-Target": "absent/kept"}, b"symlink"),
        ("PUT", "/absent/copy", {"X-Copy-From": "absent/kept"}, b"copy"),
        ("PUT", "/absent?extract-archive=tar", {}, b"bulk"),
        ("POST", "/absent", {"X-Versions-Location": "old"}, b"versioned_writes"),
        ("DELETE", "/absent/kept?version-id=1", {}, b"versioned_writes"),
        ("DELETE", "/absent?bulk-delete", {}, b"bulk"),
    ],
)
def test_nothing_is_done_that_was_not_meant(cluster, container, method, path, headers, name):
    if _has(cluster, name):
        return  # that filter has come
    answer = cluster.request(method, path, b"[]", headers)
    assert answer.status == 400 and b"filter " + name in answer.body
    listing = cluster.request("GET", "/absent?format=json").body
    assert b'"kept"' in listing and b'"big"' not in listing and b'"link"' not in listing


def _has(cluster, name):
    """Named in the pipeline, or one of those that are always there."""
    conf = cluster.layout.proxy_conf.read_text()
    return f"egg:swift#{name.decode()}" in conf or name.decode() in _insertable()


def _insertable():
    installed = {entry.name for entry in entry_points(group="paste.filter_factory")}
    return installed & {required for required, _ in REQUIRED_FILTERS}


def test_s3_and_keystone_clients_get_what_they_can_read(cluster):
    answer = cluster.raw("GET", "/bucket", headers={"Authorization": "AWS test:tester:c2lnbmF0dXJl"})
    if not _has(cluster, b"s3api"):
        assert answer.status == 501 and b"<Code>NotImplemented</Code>" in answer.body
    for path in ("/v3", "/v3/auth/tokens", "/v2.0/tokens"):
        answer = cluster.raw("GET", path)
        assert answer.status == 404 and b"Keystone" in answer.body
    answer = cluster.raw("GET", "/v2/AUTH_test")
    assert answer.status == 400 and b"/v1" in answer.body
