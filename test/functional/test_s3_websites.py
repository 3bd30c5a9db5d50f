"""Web sites in buckets, on a host below a domain of sites; request payment, restoring and redirects of objects through boto3."""

import http.client
import json

from test.s3_clients import refused

SITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "error.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "x/"},
            "Redirect": {"HostName": "elsewhere", "HttpRedirectCode": "302"},
        },
    ],
}


def code_of(call, **arguments):
    return refused(call, **arguments)[0]


def visit(address, bucket, path, method="GET", **headers):
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request(
            method, path, headers={"Host": f"{bucket}.website.localhost:{address[1]}", **headers}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_a_site(s3, bucket, address):
    assert code_of(s3.get_bucket_website, Bucket=bucket) == "NoSuchWebsiteConfiguration"
    assert visit(address, bucket, "/")[0] == 404
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=SITE)
    found = s3.get_bucket_website(Bucket=bucket)
    assert {name: found[name] for name in SITE} == SITE
    for key in ("index.html", "dir/index.html", "error.html", "page"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), ContentType="text/html")
    s3.put_object(Bucket=bucket, Key="there", Body=b"x", WebsiteRedirectLocation="/page")
    assert s3.head_object(Bucket=bucket, Key="there")["WebsiteRedirectLocation"] == "/page"
    status, _, body = visit(address, bucket, "/")
    assert (status, b"AccessDenied" in body) == (403, True)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert visit(address, bucket, "/")[::2] == (200, b"index.html")
    status, headers, body = visit(address, bucket, "/page", Range="bytes=1-2")
    assert (status, body, headers["Content-Type"]) == (206, b"ag", "text/html")
    assert visit(address, bucket, "/page", **{"If-None-Match": headers["ETag"]})[0] == 304
    assert visit(address, bucket, "/page", "HEAD")[::2] == (200, b"")
    assert visit(address, bucket, "/dir/")[::2] == (200, b"dir/index.html")
    assert visit(address, bucket, "/dir")[1]["Location"] == "/dir/"
    assert visit(address, bucket, "/missing", Range="bytes=0-1")[::2] == (404, b"error.html")
    assert (
        visit(address, bucket, "/old/a")[1]["Location"]
        == f"http://{bucket}.website.localhost:{address[1]}/new/a"
    )
    assert visit(address, bucket, "/x/a")[1]["Location"] == "http://elsewhere/x/a"
    assert visit(address, bucket, "/there")[1]["Location"] == "/page"
    assert visit(address, bucket, "/page", "PUT")[0] == 405
    assert visit(address, bucket, "/page", "OPTIONS", Origin="http://x")[0] == 405
    assert visit(address, bucket, "/v1/AUTH_test")[0] == 404
    s3.delete_bucket_website(Bucket=bucket)
    assert visit(address, bucket, "/")[0] == 404
    assert visit(address, "site-nowhere", "/")[0] == 404


def test_a_site_by_a_policy(s3, bucket, address):
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    for key in ("pub/index.html", "priv/index.html"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/pub/*",
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    assert visit(address, bucket, "/pub/")[0] == 200
    assert visit(address, bucket, "/priv/")[0] == 403


def test_redirects_go_with_uploads_and_not_with_copies(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", WebsiteRedirectLocation="/a")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="big",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert s3.head_object(Bucket=bucket, Key="big")["WebsiteRedirectLocation"] == "/a"
    s3.put_object(Bucket=bucket, Key="small", Body=b"x", WebsiteRedirectLocation="/a")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/small")
    assert "WebsiteRedirectLocation" not in s3.head_object(Bucket=bucket, Key="copy")
    s3.copy_object(Bucket=bucket, Key="small", CopySource=f"{bucket}/small", WebsiteRedirectLocation="/b")
    assert s3.head_object(Bucket=bucket, Key="small")["WebsiteRedirectLocation"] == "/b"
    assert (
        code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"", WebsiteRedirectLocation="nowhere")
        == "InvalidArgument"
    )


def test_request_payment(s3, bucket, address):
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"x")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert visit(address, bucket, "/")[0] == 200
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    assert visit(address, bucket, "/")[0] == 403
    assert (
        s3.get_object(Bucket=bucket, Key="index.html", RequestPayer="requester")["RequestCharged"]
        == "requester"
    )
    assert "RequestCharged" not in s3.get_object(Bucket=bucket, Key="index.html")
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"


def test_nothing_is_to_be_restored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert (
        code_of(s3.restore_object, Bucket=bucket, Key="k", RestoreRequest={"Days": 1}) == "InvalidObjectState"
    )
    assert code_of(s3.restore_object, Bucket=bucket, Key="none", RestoreRequest={"Days": 1}) == "NoSuchKey"
    assert (
        code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="GLACIER")
        == "InvalidStorageClass"
    )
