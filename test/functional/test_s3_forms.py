"""POST object: forms as boto3 signs them, sent by requests, curl and a browser."""

import http.server
import json
import shutil
import socket
import subprocess
import threading

import pytest
import requests
from botocore.exceptions import ClientError

from test.s3_clients import s3_client

pytest.importorskip("requests")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module", params=["s3v4", "s3"])
def s3(request, address):
    return client_of(address, request.param)


def client_of(address, version):
    return s3_client(address, signature_version=version)


def sent(form, data=b"hello", filename="a.txt"):
    return requests.post(
        form["url"], data=form["fields"], files={"file": (filename, data)}, allow_redirects=False, timeout=60
    )


@pytest.mark.parametrize("size", [0, 5, 65536, 3_000_000])
def test_a_form_of_boto3(s3, bucket, size):
    fields = {"Content-Type": "text/plain", "x-amz-meta-who": "me", "success_action_status": "201"}
    form = s3.generate_presigned_post(
        bucket,
        "in/${filename}",
        fields,
        [{name: value} for name, value in fields.items()] + [["content-length-range", 0, 4_000_000]],
    )
    data = bytes(size)
    answer = sent(form, data, "ä b.txt")
    assert answer.status_code == 201, answer.text
    assert "<Key>in/ä b.txt</Key>" in answer.content.decode()
    found = s3.get_object(Bucket=bucket, Key="in/ä b.txt")
    assert found["Body"].read() == data
    assert (found["ContentType"], found["Metadata"], found["ETag"]) == (
        "text/plain",
        {"who": "me"},
        answer.headers["ETag"],
    )


def test_what_the_policy_does_not_allow_is_not_stored(s3, bucket):
    form = s3.generate_presigned_post(bucket, "k", None, [["content-length-range", 10, 200_000]])
    for size, code in ((9, "EntityTooSmall"), (200_001, "EntityTooLarge"), (5_000_000, "EntityTooLarge")):
        answer = sent(form, bytes(size))
        assert (answer.status_code, code in answer.text) == (400, True)
    form["fields"]["x-amz-meta-more"] = "1"
    assert "Extra input fields: x-amz-meta-more" in sent(form, bytes(50)).text
    del form["fields"]["x-amz-meta-more"]
    form["fields"]["key"] = "other"
    assert sent(form, bytes(50)).status_code == 403
    form["fields"]["key"] = "k"
    form["fields"]["x-amz-signature" if "x-amz-signature" in form["fields"] else "signature"] = "0" * 64
    assert "<Code>SignatureDoesNotMatch</Code>" in sent(form, bytes(50)).text
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_form_signed_for_one_bucket_is_none_for_another(s3, bucket):
    other = f"{bucket}-2"
    s3.create_bucket(Bucket=other)
    form = s3.generate_presigned_post(bucket, "k")
    form["url"] = form["url"].replace(bucket, other)
    for more in ({}, {"bucket": bucket}):
        answer = sent({"url": form["url"], "fields": {**form["fields"], **more}})
        assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)
    assert "Contents" not in s3.list_objects_v2(Bucket=other)


def test_a_bucket_that_is_not_there(s3, bucket):
    form = s3.generate_presigned_post("form-nowhere", "k")
    answer = sent(form)
    assert (answer.status_code, "<Code>NoSuchBucket</Code>" in answer.text) == (404, True)


def test_a_client_that_leaves_has_stored_nothing(s3, bucket, address):
    form = s3.generate_presigned_post(bucket, "k")
    prepared = requests.Request(
        "POST", form["url"], data=form["fields"], files={"file": ("f", bytes(2_000_000))}
    ).prepare()
    head = f"POST /{bucket} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in prepared.headers.items()
    )
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head.encode() + b"\r\n" + prepared.body[:1_000_000])
    for _ in range(3):
        with pytest.raises(ClientError):
            s3.head_object(Bucket=bucket, Key="k")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on this machine")
@pytest.mark.parametrize("size", [100, 2_500_000])
def test_curl(s3, bucket, tmp_path, size):
    form = s3.generate_presigned_post(bucket, "by-curl", {"success_action_redirect": "http://127.0.0.1:9/done"}, [
        {"success_action_redirect": "http://127.0.0.1:9/done"}
    ])  # fmt: skip
    (tmp_path / "file").write_bytes(bytes(size))
    arguments = [part for name, value in form["fields"].items() for part in ("-F", f"{name}={value}")]
    done = subprocess.run(
        ["curl", "-sS", "-o", "-", "-w", "%{http_code} %{redirect_url}", *arguments, "-F", f"file=@{tmp_path / 'file'}", form["url"]],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"303 http://127.0.0.1:9/done?bucket={bucket}&key=by-curl&etag=%22")
    assert s3.head_object(Bucket=bucket, Key="by-curl")["ContentLength"] == size


PAGE = """<!DOCTYPE html><meta charset="utf-8"><form id="form" method="post" enctype="multipart/form-data" action="{url}">{fields}
<input type="file" name="file" id="file"></form><script>
const files = new DataTransfer();
files.items.add(new File(["from a page"], "\\u00fc.txt", {{type: "text/plain"}}));
document.getElementById("file").files = files.files;
if (location.pathname == "/") document.getElementById("form").submit();
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on this machine")
def test_a_page_in_a_browser(s3, bucket, tmp_path):
    seen = []
    came_back = threading.Event()
    page = ""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            if self.path.startswith("/done"):
                came_back.set()
            data = page.encode() if self.path == "/" else b"<!DOCTYPE html><p>thanks"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{site.server_port}"
        target = {"success_action_redirect": f"{home}/done"}
        form = s3.generate_presigned_post(bucket, "page/${filename}", target, [target])
        fields = "".join(
            f"<input type=hidden name='{name}' value='{value}'>" for name, value in form["fields"].items()
        )
        page = PAGE.format(url=form["url"], fields=fields)
        browser = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--remote-debugging-port=0", home + "/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert came_back.wait(60), seen
        finally:
            browser.kill()
            browser.wait()
            site.shutdown()
    assert any(path.startswith(f"/done?bucket={bucket}&key=page%2F%C3%BC.txt&etag=") for path in seen), (
        json.dumps(seen)
    )
    assert s3.get_object(Bucket=bucket, Key="page/ü.txt")["Body"].read() == b"from a page"


def test_who_does_not_sign(s3, bucket, address):
    """As far as the bucket's policy goes, and no step further."""
    url = f"http://{address[0]}:{address[1]}/test:{bucket}"
    form = {"url": url, "fields": {"key": "drop/a"}}
    assert sent(form).status_code == 403
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/drop/*",
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    assert sent(form).status_code == 204
    assert s3.get_object(Bucket=bucket, Key="drop/a")["Body"].read() == b"hello"
    for fields in (
        {"key": "a"},
        {"key": "drop/a", "acl": "public-read"},
        {"key": "drop/a", "tagging": "<Tagging><TagSet/></Tagging>"},
    ):
        assert sent({"url": url, "fields": fields}).status_code == 403, fields


def test_the_form_of_the_native_api_stays_what_it_is(address):
    answer = requests.post(
        f"http://{address[0]}:{address[1]}/v1/AUTH_test/c", files={"file": ("a", b"x")}, timeout=60
    )
    assert (answer.status_code, "FormPost: " in answer.text) == (400, True)
