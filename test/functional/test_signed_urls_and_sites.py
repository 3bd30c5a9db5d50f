"""Signed URLs, forms and web sites over the whole stack: what a key opens, and that neither keys nor signatures get into a log."""

import hmac
import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse

import pytest

from test.cluster import Cluster

BIN = pathlib.Path(__file__).parents[2] / "bin"
PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempurl formpost tempauth staticweb copy slo dlo "
    "versioned_writes symlink proxy-logging proxy-server"
)
ACCOUNT_KEY, CONTAINER_KEY = "key-of-the-whole-account", "key-of-one-container"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """With the filters in the order of the reference's sample, whatever the all-in-one cluster has by itself."""
    running = Cluster(tmp_path_factory.mktemp("signed") / "saio")
    running.write()
    conf = running.layout.proxy_conf
    lines = conf.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("pipeline"))
    lines[at] = f"pipeline = {PIPELINE}"
    text = "\n".join(lines) + "\n"
    for name in PIPELINE.split():
        if f"[filter:{name}]" not in text and name != "proxy-server":
            text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n"
    conf.write_text(text)
    with running:
        assert running.request("POST", "", headers={"X-Account-Meta-Temp-Url-Key": ACCOUNT_KEY}).status == 204
        for name, key in (("open", CONTAINER_KEY), ("other", "")):
            headers = {"X-Container-Meta-Temp-Url-Key": key} if key else {}
            assert running.request("PUT", f"/{name}", headers=headers).status == 201
        assert running.request("PUT", "/open/o", b"0123456789", {"X-Object-Meta-Secret": "s"}).status == 201
        assert running.request("PUT", "/other/secret", b"secret").status == 201
        yield running
        assert_nothing_in_logs(running)


signatures = []


def assert_nothing_in_logs(running):
    assert len(signatures) > 20
    for path in sorted(running.layout.log.iterdir()):
        text = path.read_text(errors="replace")
        assert "Traceback" not in text, path.name
        for secret in (ACCOUNT_KEY, CONTAINER_KEY, *signatures):
            assert secret not in text, path.name


def signed(method, path, key=ACCOUNT_KEY, prefix=None, **more):
    """The path with a query that lets anybody do that for a minute."""
    expires = int(time.time()) + 60
    what = path if prefix is None else f"prefix:{path.rpartition('/')[0]}/{prefix}"
    sig = hmac.new(key.encode(), f"{method}\n{expires}\n{what}".encode(), "sha256").hexdigest()
    signatures.append(sig)
    query = {"temp_url_sig": sig, "temp_url_expires": expires, **more}
    if prefix is not None:
        query["temp_url_prefix"] = prefix
    return f"{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"


ROOT = "/v1/AUTH_test"


@pytest.mark.parametrize("key", [ACCOUNT_KEY, CONTAINER_KEY])
def test_everybody_may_do_what_is_signed_and_nothing_else(cluster, key):
    url = signed("GET", f"{ROOT}/open/o", key)
    answer = cluster.raw("GET", url)
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert "x-object-meta-secret" not in answer.headers and answer.headers["content-disposition"].startswith(
        "attachment"
    )
    assert cluster.raw("GET", url, headers={"Range": "bytes=2-4"}).body == b"234"
    assert cluster.raw("HEAD", url).status == 200
    for method in ("PUT", "POST", "DELETE", "COPY"):
        assert cluster.raw(method, url, b"", {"Destination": "open/x"}).status == 401
    assert cluster.raw("GET", url.replace("/open/", "/other/")).status == 401
    assert cluster.request("GET", "/open/o").body == b"0123456789"


@pytest.mark.parametrize(
    "method, body, status", [("PUT", b"new", 201), ("POST", b"", 202), ("DELETE", b"", 204)]
)
@pytest.mark.parametrize("key", [ACCOUNT_KEY, CONTAINER_KEY])
def test_changes(cluster, method, body, status, key):
    assert cluster.request("PUT", "/open/changed", b"old").status == 201
    assert cluster.raw(method, signed(method, f"{ROOT}/open/changed", key), body).status == status


@pytest.mark.parametrize(
    "name, headers, query, body",
    [
        ("link", {"X-Symlink-Target": "other/secret"}, "", b""),
        ("dynamic", {"X-Object-Manifest": "other/sec"}, "", b""),
        ("static", {}, "?multipart-manifest=put", b'[{"path": "/other/secret"}]'),
    ],
)
def test_what_the_owner_links_to_is_open_to_the_accounts_key_only(cluster, name, headers, query, body):
    assert cluster.request("PUT", f"/open/{name}{query}", body, headers).status == 201
    assert cluster.raw("GET", signed("GET", f"{ROOT}/open/{name}")).body == b"secret"
    answer = cluster.raw("GET", signed("GET", f"{ROOT}/open/{name}", CONTAINER_KEY))
    assert answer.status in (401, 409) and b"secret" not in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Symlink-Target": "other/secret"},
        {"X-Object-Manifest": "other/sec"},
        {"X-Copy-From": "other/secret"},
    ],
)
@pytest.mark.parametrize("key", [ACCOUNT_KEY, CONTAINER_KEY])
def test_nobody_links_by_a_signed_put(cluster, headers, key):
    name = next(iter(headers)).lower()
    assert cluster.raw("PUT", signed("PUT", f"{ROOT}/open/{name}", key), b"", headers).status == 400
    assert cluster.request("HEAD", f"/open/{name}").status == 404


def test_a_manifest_that_is_put_by_a_signed_url_is_text(cluster):
    url = signed("PUT", f"{ROOT}/open/text", CONTAINER_KEY)
    manifest = b'[{"path": "/other/secret"}]'
    assert cluster.raw("PUT", url + "&multipart-manifest=put", manifest).status == 201
    assert cluster.request("GET", "/open/text").body == manifest


def test_versions_are_no_way_around_what_is_signed(cluster):
    """Old ones are in a hidden container of their own, and have names that only `version-id` tells."""
    headers = {"X-Versions-Enabled": "true", "X-Container-Meta-Temp-Url-Key": CONTAINER_KEY}
    assert cluster.request("PUT", "/kept", headers=headers).status == 201
    for key in (ACCOUNT_KEY, CONTAINER_KEY):
        for body in (b"one", b"two"):
            assert cluster.raw("PUT", signed("PUT", f"{ROOT}/kept/o", key), body).status == 201
        listing = json.loads(cluster.request("GET", "/kept?versions&format=json").body)
        old = next(row["version_id"] for row in listing if not row["is_latest"])
        assert cluster.request("GET", f"/kept/o?version-id={old}").status == 200
        url = signed("GET", f"{ROOT}/kept/o", key)
        assert cluster.raw("GET", url).body == b"two"
        assert cluster.raw("GET", f"{url}&version-id={old}").body == b"two"
    hidden = urllib.parse.quote("\0versions\0kept", safe="")
    for key in (ACCOUNT_KEY, CONTAINER_KEY):
        assert cluster.raw("GET", signed("GET", f"{ROOT}/\0versions\0kept/\0o", key)).status in (
            401,
            404,
            412,
        )
    assert cluster.raw("GET", f"{ROOT}/{hidden}").status in (401, 412)


def form(fields, files):
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()
    ]
    parts += [
        f'Content-Disposition: form-data; name="f"; filename="{name}"\r\nContent-Type: text/x\r\n\r\n{data}'
        for name, data in files.items()
    ]
    return ("".join(f"--XbX\r\n{part}\r\n" for part in parts) + "--XbX--\r\n").encode()


@pytest.mark.parametrize("size", [10, 300_000])
def test_forms(cluster, size):
    path, expires = f"{ROOT}/open/form_", int(time.time()) + 60
    fields = {"redirect": "", "max_file_size": "200000", "max_file_count": "2", "expires": expires}
    sig = hmac.new(CONTAINER_KEY.encode(), f"{path}\n\n200000\n2\n{expires}".encode(), "sha256").hexdigest()
    signatures.append(sig)
    head = {"Content-Type": "multipart/form-data; boundary=XbX"}
    body = form({**fields, "signature": sig}, {f"small{size}": "s" * 10, f"large{size}": "l" * size})
    answer = cluster.raw("POST", path, body, head)
    assert answer.status == (201 if size <= 200_000 else 400), answer
    assert cluster.request("GET", f"/open/form_small{size}").body == b"s" * 10
    assert cluster.request("GET", f"/open/form_large{size}").status == (200 if size <= 200_000 else 404)
    broken = cluster.raw("POST", path, body[:-40], head)
    assert broken.status == 400
    assert cluster.raw("POST", f"{ROOT}/other/form_", body, head).status == 401


def test_the_form_that_the_command_prints(cluster):
    command = [
        sys.executable,
        str(BIN / "swift-form-signature"),
        f"{ROOT}/open/printed_",
        "/done",
        "100",
        "1",
        "60",
        ACCOUNT_KEY,
    ]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
    signatures.append(fields["signature"])
    head = {"Content-Type": "multipart/form-data; boundary=XbX"}
    answer = cluster.raw("POST", f"{ROOT}/open/printed_", form(fields, {"f": "data"}), head)
    assert (answer.status, answer.headers["location"]) == (303, "/done?status=201&message=")
    assert cluster.request("GET", "/open/printed_f").body == b"data"


def test_a_signed_listing_leads_a_visitor_through_his_directory(cluster):
    """And the address of a page, which browsers tell with each click, is no way for a signature into a log."""
    assert cluster.request("POST", "/open", headers={"X-Container-Meta-Web-Listings": "true"}).status == 204
    for name in ("a b.txt", "deep/c.txt"):
        assert cluster.request("PUT", f"/open/dir/{urllib.parse.quote(name)}", b"file").status == 201
    url = signed("GET", f"{ROOT}/open/dir/", CONTAINER_KEY, prefix="dir/")
    url = signed("GET", f"{ROOT}/open/x", CONTAINER_KEY, prefix="dir/").replace("/open/x", "/open/dir/")
    page = cluster.raw("GET", url)
    assert page.status == 200 and page.headers["content-disposition"] == "inline"
    links = [part.split('"')[0].replace("&amp;", "&") for part in page.body.decode().split('href="')[1:]]
    assert len(links) == 2
    here = f"http://x{url}"
    for link in links:
        target = urllib.parse.urljoin(here, link).removeprefix("http://x")
        assert cluster.raw("GET", target, headers={"Referer": here}).status == 200
    assert cluster.raw("GET", url.replace("/open/dir/", "/open/")).status == 401
    assert (
        cluster.raw(
            "GET", signed("GET", f"{ROOT}/open/x", CONTAINER_KEY, prefix="").replace("/open/x", "/open/")
        ).status
        == 200
    )
    assert (
        cluster.raw("GET", signed("GET", f"{ROOT}/other/x", prefix="").replace("/other/x", "/other/")).status
        == 401
    )


def test_nobody_but_owners_sees_keys(cluster):
    read = {"X-Container-Read": "test:tester3,.r:*,.rlistings"}
    assert cluster.request("POST", "/open", headers=read).status == 204
    token = cluster.authenticate("test:tester3", "testing3")
    for method in ("GET", "HEAD"):
        for headers in ({"X-Auth-Token": token}, {}):
            answer = cluster.raw(method, f"{ROOT}/open", headers=headers)
            assert answer.status in (200, 204, 301)
            assert CONTAINER_KEY not in str(answer.headers) and CONTAINER_KEY.encode() not in answer.body
        assert cluster.request(method, "/open").headers["x-container-meta-temp-url-key"] == CONTAINER_KEY
    assert cluster.request("POST", "/open", headers={"X-Remove-Container-Read": "x"}).status == 204


IF_RANGE_BODY = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def resumable(cluster):
    """path → what resumes it: plain, erasure-coded, large and linked objects of the same bytes."""
    for path, headers, body in (
        ("/coded", {"X-Storage-Policy": "ec42"}, b""),
        ("/coded/o", {}, IF_RANGE_BODY),
        ("/open/whole", {}, IF_RANGE_BODY),
        ("/open/segments/1", {}, IF_RANGE_BODY[:5000]),
        ("/open/segments/2", {}, IF_RANGE_BODY[5000:]),
        ("/open/dlo", {"X-Object-Manifest": "open/segments/"}, b""),
        ("/open/linked", {"X-Symlink-Target": "open/whole"}, b""),
        (
            "/open/slo?multipart-manifest=put",
            {},
            b'[{"path": "/open/segments/1"}, {"path": "/open/segments/2"}]',
        ),
    ):
        assert cluster.request("PUT", path, body, headers).status == 201
    time.sleep(2.1)  # a date, rounded up, names only what was not changed again in its second
    return ["/open/whole", "/coded/o", "/open/dlo", "/open/slo", "/open/linked"]


def test_downloads_are_resumed_whatever_is_behind_them(cluster, resumable):
    """If-Range (RFC 9110 13.1.5): the rest of exactly this entity, by strong ETag or date, or all of it."""
    for path in resumable:
        head = cluster.request("HEAD", path).headers
        etag, date = head["etag"], head["last-modified"]
        for condition, partial in (
            (etag, True),
            (date, True),
            ('"another"', False),
            (f"W/{etag}", False),
            ("Sat, 01 Jan 2000 00:00:00 GMT", False),
            ("Fri, 01 Jan 2100 00:00:00 GMT", False),
            ("nonsense", False),
        ):
            given = {"If-Range": condition, "Range": "bytes=4990-5009"}
            answer = cluster.request("GET", path, headers=given)
            expected = (206, IF_RANGE_BODY[4990:5010]) if partial else (200, IF_RANGE_BODY)
            assert (answer.status, answer.body) == expected, (path, condition)
