"""SSE-C through boto3: what customers encrypt with keys of their own comes back with the key, and with nothing else."""

import base64
import hashlib
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.handlers import validate_bucket_name

from test.s3_clients import refusal, s3_client

MB = 1024 * 1024
DATA = bytes(range(256)) * 4 + b"tail"
NEEDED = "The object was stored using a form of Server Side Encryption."


def key_of(text):
    return hashlib.sha256(text.encode()).digest()


def md5_of(key):
    return base64.b64encode(hashlib.md5(key).digest()).decode()


ONE, OTHER = key_of("one"), key_of("other")
WITH = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": ONE}
WITH_OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
AS_TEXT = {  # where boto3 does not encode it
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64encode(ONE).decode(),
    "SSECustomerKeyMD5": md5_of(ONE),
}
FROM = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": ONE}


def refused(call, **arguments):
    """(status, code, message) of what must be an error."""
    answer = refusal(call, **arguments)
    error = answer["Error"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]


def body_of(s3, bucket, key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def test_an_object(s3, bucket, user):
    name = {"Bucket": bucket, "Key": "a"}
    stored = s3.put_object(**name, Body=DATA, Metadata={"colour": "red"}, **WITH)
    assert stored["SSECustomerAlgorithm"] == "AES256"
    assert stored["SSECustomerKeyMD5"] == md5_of(ONE)
    assert stored["ETag"] != f'"{hashlib.md5(DATA).hexdigest()}"'
    found = s3.get_object(**name, **WITH)
    assert found["Body"].read() == DATA
    assert found["SSECustomerKeyMD5"] == md5_of(ONE)
    assert found["ETag"] == stored["ETag"]
    assert found["ContentLength"] == len(DATA)
    assert found["Metadata"] == {"colour": "red"}
    assert s3.head_object(**name, **WITH)["SSECustomerAlgorithm"] == "AES256"
    assert s3.get_object(**name, **WITH, Range="bytes=37-99")["Body"].read() == DATA[37:100]
    assert s3.get_object(**name, **WITH, Range="bytes=-5")["Body"].read() == DATA[-5:]
    assert s3.get_object(**name, **WITH, PartNumber=1)["Body"].read() == DATA
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == stored["ETag"]
    told = s3.get_object_attributes(**name, ObjectAttributes=["ETag", "ObjectSize"], **AS_TEXT)
    assert told["ObjectSize"] == len(DATA)
    assert told["ETag"] == stored["ETag"].strip('"')
    # The same bytes with the same key are something else each time.
    assert s3.put_object(Bucket=bucket, Key="again", Body=DATA, **WITH)["ETag"] != stored["ETag"]
    assert s3.get_object(**name, **WITH, IfMatch=stored["ETag"])["Body"].read() == DATA
    assert refused(s3.get_object, **name, **WITH, IfNoneMatch=stored["ETag"])[0] == 304
    assert refused(s3.get_object, **name, **WITH, IfMatch='"other"')[:2] == (412, "PreconditionFailed")
    assert refused(s3.put_object, **name, Body=b"x", **WITH, IfNoneMatch="*")[0] == 412
    s3.put_object(**name, Body=b"new", **WITH_OTHER, IfMatch=stored["ETag"])
    assert body_of(s3, bucket, "a", **WITH_OTHER) == b"new"
    s3.put_object(**name, Body=b"", **WITH)
    assert body_of(s3, bucket, "a", **WITH) == b""
    assert refused(s3.head_object, **name)[0] == 400
    s3.put_object(**name, Body=b"plain")
    assert body_of(s3, bucket, "a") == b"plain"


def test_without_the_key_nobody_reads(s3, bucket, user):
    name = {"Bucket": bucket, "Key": "a"}
    stored = s3.put_object(**name, Body=DATA, **WITH)
    status, code, message = refused(s3.get_object, **name)
    assert (status, code) == (400, "InvalidRequest")
    assert message.startswith(NEEDED)
    assert refused(s3.head_object, **name)[0] == 400
    assert refused(s3.get_object, **name, IfNoneMatch=stored["ETag"])[0] == 400
    assert refused(s3.get_object, **name, Range="bytes=0-3")[0] == 400
    assert refused(s3.get_object_attributes, **name, ObjectAttributes=["ETag"])[0] == 400
    assert refused(s3.get_object, **name, **WITH_OTHER)[:2] == (403, "AccessDenied")
    assert refused(s3.head_object, **name, **WITH_OTHER)[0] == 403
    assert refused(s3.copy_object, Bucket=bucket, Key="b", CopySource=f"{bucket}/a")[:2] == (
        400,
        "InvalidRequest",
    )
    s3.put_object(Bucket=bucket, Key="plain", Body=DATA)
    status, code, message = refused(s3.get_object, Bucket=bucket, Key="plain", **WITH)
    assert (status, code) == (400, "InvalidRequest")
    assert "not applicable" in message
    # A stranger is not told more than of any other object.
    stranger = s3_client(s3.meta.endpoint_url.partition("//")[2], "test:tester3")
    assert refused(stranger.get_object, **name)[:2] == (403, "AccessDenied")
    # The native API gives no ciphertext for it.
    path = f"/{bucket}/a"
    answer = user("GET", path)
    assert answer.status == 400
    assert b"SSE-C" in answer.body
    assert user("GET", path, Range="bytes=0-3").status == 400
    assert user("GET", f"{path}?multipart-manifest=get").status == 400
    assert user("HEAD", path).status == 200
    assert user("COPY", path, Destination=f"{bucket}/copy").status == 400
    assert user("GET", f"/{bucket}").body.decode().splitlines() == ["a", "plain"]
    # What a native client writes on it, it keeps.
    assert user("POST", path, X_Object_Meta_Colour="blue").status == 202
    assert s3.get_object(**name, **WITH)["Metadata"] == {"colour": "blue"}
    assert body_of(s3, bucket, "a", **WITH) == DATA
    assert user("PUT", path, b"native").status == 201
    assert body_of(s3, bucket, "a") == b"native"


def raw(**headers):
    """A before-sign hook that sets headers as they are."""

    def add(request, **_):
        for name, value in headers.items():
            del request.headers[name.replace("_", "-")]
            if value is not None:
                request.headers[name.replace("_", "-")] = value

    return add


@pytest.mark.parametrize(
    "changed, code",
    [
        ({"algorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
        ({"algorithm": None}, "InvalidArgument"),
        ({"key": None}, "InvalidArgument"),
        ({"key": base64.b64encode(b"short").decode()}, "InvalidArgument"),
        ({"key": "%%%"}, "InvalidArgument"),
        ({"key_MD5": None}, "InvalidArgument"),
        ({"key_MD5": md5_of(OTHER)}, "InvalidArgument"),
        ({"key_MD5": "nothing"}, "InvalidArgument"),
    ],
)
def test_keys_that_are_none(address, s3, bucket, changed, code):
    client = s3_client(address, signature_version="s3v4")
    prefix = "x_amz_server_side_encryption_customer_"
    hook = raw(**{prefix + name: value for name, value in changed.items()})
    client.meta.events.register("before-sign.s3", hook)
    assert refused(client.put_object, Bucket=bucket, Key="a", Body=b"x", **WITH)[:2] == (400, code)
    assert refused(client.get_object, Bucket=bucket, Key="a", **WITH)[:2] == (400, code)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="plain", Body=DATA, ChecksumAlgorithm="SHA256")
    source = {"Bucket": bucket, "CopySource": f"{bucket}/plain"}
    told = s3.copy_object(**source, Key="closed", **WITH)
    assert told["SSECustomerKeyMD5"] == md5_of(ONE)
    assert body_of(s3, bucket, "closed", **WITH) == DATA
    assert s3.head_object(Bucket=bucket, Key="closed", **WITH)["ETag"] == told["CopyObjectResult"]["ETag"]
    source["CopySource"] = f"{bucket}/closed"
    assert refused(s3.copy_object, **source, Key="x", **WITH)[0] == 400
    wrong = {**FROM, "CopySourceSSECustomerKey": OTHER}
    assert refused(s3.copy_object, **source, Key="x", **wrong)[:2] == (403, "AccessDenied")
    s3.copy_object(**source, Key="rekeyed", **FROM, **WITH_OTHER)
    assert body_of(s3, bucket, "rekeyed", **WITH_OTHER) == DATA
    assert refused(s3.get_object, Bucket=bucket, Key="rekeyed", **WITH)[0] == 403
    s3.copy_object(**source, Key="opened", **FROM)
    assert body_of(s3, bucket, "opened") == DATA
    assert (
        s3.head_object(Bucket=bucket, Key="opened")["ETag"]
        == s3.head_object(Bucket=bucket, Key="plain")["ETag"]
    )
    s3.copy_object(**source, Key="closed", **FROM, **WITH_OTHER)  # onto itself
    assert body_of(s3, bucket, "closed", **WITH_OTHER) == DATA
    rekeyed = {"Bucket": bucket, "CopySource": f"{bucket}/rekeyed", "ChecksumAlgorithm": "CRC32"}
    wrong = {**FROM, "CopySourceSSECustomerKey": OTHER}
    s3.copy_object(**rekeyed, Key="summed", **wrong, **WITH, MetadataDirective="REPLACE", Metadata={"a": "b"})
    found = s3.get_object(Bucket=bucket, Key="summed", **WITH, ChecksumMode="ENABLED")
    assert found["Body"].read() == DATA
    assert found["Metadata"] == {"a": "b"}
    assert "ChecksumCRC32" in found


def test_strangers_copy_what_a_policy_lets_them_read_if_they_have_its_key(address, s3, bucket):
    stranger = s3_client(address, "test2:tester2")
    stranger.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    mine, theirs = f"{bucket}-mine", f"test:{bucket}"
    stranger.create_bucket(Bucket=mine)
    s3.put_object(Bucket=bucket, Key="a", Body=DATA, Metadata={"colour": "red"}, **WITH)
    s3.put_object(Bucket=bucket, Key="shut", Body=DATA, **WITH)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="many", **WITH)["UploadId"]
    made = {"Bucket": bucket, "Key": "many", "UploadId": upload}
    part = s3.upload_part(**made, PartNumber=1, Body=DATA, **WITH)
    s3.complete_multipart_upload(**made, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    copy = {"Bucket": mine, "Key": "copy", "CopySource": f"{theirs}/a"}
    assert refused(stranger.copy_object, **copy, **FROM)[:2] == (403, "AccessDenied")
    resources = [f"arn:aws:s3:::{bucket}/{key}" for key in ("a", "many")]
    person = {"AWS": "arn:aws:iam::test2:user/tester2"}
    policy = {"Effect": "Allow", "Principal": person, "Action": "s3:GetObject", "Resource": resources}
    write = {**policy, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/in/*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [policy, write]})
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    # The key alone is no right, nor is the right a key.
    assert refused(stranger.copy_object, **{**copy, "CopySource": f"{theirs}/shut"}, **FROM)[0] == 403
    assert refused(stranger.copy_object, **copy)[:2] == (400, "InvalidRequest")
    wrong = {**FROM, "CopySourceSSECustomerKey": OTHER}
    assert refused(stranger.copy_object, **copy, **wrong)[:2] == (403, "AccessDenied")
    assert refused(stranger.get_object, Bucket=theirs, Key="a")[0] == 400
    assert body_of(stranger, theirs, "a", **WITH) == DATA
    for more in ({}, {"ChecksumAlgorithm": "SHA256"}):
        for key in ("a", "many"):
            source = {**copy, "CopySource": f"{theirs}/{key}", **FROM, **more}
            stranger.copy_object(**source)
            assert body_of(stranger, mine, "copy") == DATA
            stranger.copy_object(**source, **WITH_OTHER)
            assert body_of(stranger, mine, "copy", **WITH_OTHER) == DATA
            assert refused(stranger.get_object, Bucket=mine, Key="copy", **WITH)[0] == 403
            # Into the other's bucket, where he may write, with a key that its owner does not have.
            into = {**source, "Bucket": theirs, "Key": "in/copy"}
            stranger.copy_object(**into, **WITH_OTHER)
            assert refused(s3.get_object, Bucket=bucket, Key="in/copy")[0] == 400
            assert body_of(s3, bucket, "in/copy", **WITH_OTHER) == DATA
            upload = {"Bucket": mine, "Key": "parts"}
            upload["UploadId"] = stranger.create_multipart_upload(**upload, **more, **WITH)["UploadId"]
            named = {"CopySource": f"{theirs}/{key}", "CopySourceRange": "bytes=3-9"}
            assert refused(stranger.upload_part_copy, **upload, PartNumber=1, **named, **WITH)[0] == 400
            shut = {"CopySource": f"{theirs}/shut"}
            assert (
                refused(stranger.upload_part_copy, **upload, PartNumber=1, **shut, **FROM, **WITH)[0] == 403
            )
            part = stranger.upload_part_copy(**upload, PartNumber=1, **named, **FROM, **WITH)
            part = part["CopyPartResult"]
            one = {name: value for name, value in part.items() if name in ("ETag", "ChecksumSHA256")}
            stranger.complete_multipart_upload(
                **upload, MultipartUpload={"Parts": [{"PartNumber": 1, **one}]}
            )
            assert body_of(stranger, mine, "parts", **WITH) == DATA[3:10]
    assert stranger.head_object(Bucket=mine, Key="copy", **WITH_OTHER)["Metadata"] in ({}, {"colour": "red"})


def test_uploads_in_parts(s3, bucket, user):
    name = {"Bucket": bucket, "Key": "many"}
    begun = s3.create_multipart_upload(**name, **WITH)
    assert begun["SSECustomerKeyMD5"] == md5_of(ONE)
    upload = {**name, "UploadId": begun["UploadId"]}
    first, copied, last = os.urandom(5 * MB + 3), os.urandom(5 * MB + 17), b"the end"
    s3.put_object(Bucket=bucket, Key="source", Body=b"##" + copied, **WITH_OTHER)
    assert refused(s3.upload_part, **upload, PartNumber=1, Body=b"x")[:2] == (400, "InvalidRequest")
    assert refused(s3.upload_part, **upload, PartNumber=1, Body=b"x", **WITH_OTHER)[:2] == (
        400,
        "InvalidRequest",
    )
    parts = [s3.upload_part(**upload, PartNumber=1, Body=first, **WITH)]
    assert parts[0]["SSECustomerKeyMD5"] == md5_of(ONE)
    from_other = {**FROM, "CopySourceSSECustomerKey": OTHER}
    source = {"CopySource": f"{bucket}/source", "CopySourceRange": f"bytes=2-{len(copied) + 1}"}
    assert refused(s3.upload_part_copy, **upload, PartNumber=2, **source, **from_other)[0] == 400
    assert refused(s3.upload_part_copy, **upload, PartNumber=2, **source, **WITH)[0] == 400
    part = s3.upload_part_copy(**upload, PartNumber=2, **source, **from_other, **WITH)
    parts.append(part["CopyPartResult"])
    parts.append(s3.upload_part(**upload, PartNumber=3, Body=last, **WITH))
    named = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(parts, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})
    whole = first + copied + last
    assert body_of(s3, bucket, "many", **WITH) == whole
    for start, end in (
        (0, 9),
        (5 * MB, 5 * MB + 40),
        (5 * MB - 1, 10 * MB + 30),
        (len(whole) - 3, len(whole) - 1),
    ):
        found = s3.get_object(**name, **WITH, Range=f"bytes={start}-{end}")
        assert found["Body"].read() == whole[start : end + 1]
    assert s3.get_object(**name, **WITH, PartNumber=2)["Body"].read() == copied
    assert s3.head_object(**name, **WITH)["ContentLength"] == len(whole)
    assert refused(s3.head_object, **name)[0] == 400
    assert refused(s3.get_object, **name)[:2] == (400, "InvalidRequest")
    assert refused(s3.get_object, **name, PartNumber=2)[0] == 400
    assert refused(s3.get_object, **name, **WITH_OTHER)[:2] == (403, "AccessDenied")
    assert user("GET", f"/{bucket}/many").status == 400
    assert user("GET", f"/{bucket}+segments/many/{begun['UploadId']}/1").status == 400
    told = s3.get_object_attributes(**name, ObjectAttributes=["ObjectParts", "ObjectSize"], **AS_TEXT)
    assert told["ObjectParts"]["TotalPartsCount"] == 3
    s3.copy_object(Bucket=bucket, Key="copied", CopySource=f"{bucket}/many", **FROM, **WITH_OTHER)
    assert body_of(s3, bucket, "copied", **WITH_OTHER) == whole
    s3.copy_object(Bucket=bucket, Key="opened", CopySource=f"{bucket}/many", **FROM)
    assert body_of(s3, bucket, "opened", Range="bytes=3-11") == whole[3:12]
    s3.delete_object(**name)
    assert refused(s3.head_object, **name, **WITH)[0] == 404
    plain = s3.create_multipart_upload(**name)["UploadId"]
    assert refused(s3.upload_part, **name, UploadId=plain, PartNumber=1, Body=b"x", **WITH)[0] == 400


def test_older_ones(s3, bucket):
    name = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**name, Body=b"null", **WITH)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(**name, Body=b"first", **WITH)["VersionId"]
    second = s3.put_object(**name, Body=b"second", **WITH_OTHER)["VersionId"]
    assert body_of(s3, bucket, "a", **WITH_OTHER) == b"second"
    assert body_of(s3, bucket, "a", **WITH, VersionId=first) == b"first"
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [row["VersionId"] for row in listed][:2] == [second, first]
    assert body_of(s3, bucket, "a", **WITH, VersionId=listed[2]["VersionId"]) == b"null"
    assert refused(s3.get_object, **name, VersionId=first)[0] == 400
    assert refused(s3.get_object, **name, VersionId=first, **WITH_OTHER)[0] == 403
    s3.delete_object(**name, VersionId=second)
    assert body_of(s3, bucket, "a", **WITH) == b"first"
    s3.put_object_tagging(**name, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert body_of(s3, bucket, "a", **WITH) == b"first"
    upload = {**name, "UploadId": s3.create_multipart_upload(**name, **WITH)["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"of one part", **WITH)
    named = [{"PartNumber": 1, "ETag": part["ETag"]}]
    made = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})["VersionId"]
    s3.put_object(**name, Body=b"latest", **WITH_OTHER)
    for version in ({}, {"VersionId": made}):
        if not version:
            s3.delete_object(**name, VersionId=s3.head_object(**name, **WITH_OTHER)["VersionId"])
        assert body_of(s3, bucket, "a", **WITH, **version) == b"of one part"
        assert refused(s3.get_object, **name, **version)[0] == 400
        told = s3.get_object_attributes(**name, **version, ObjectAttributes=["ObjectParts"], **AS_TEXT)
        assert told["ObjectParts"]["TotalPartsCount"] == 1


def test_forms_and_signed_addresses(address, s3, bucket):
    key, digest = base64.b64encode(ONE).decode(), md5_of(ONE)
    fields = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": key,
        "x-amz-server-side-encryption-customer-key-MD5": digest,
    }
    form = s3.generate_presigned_post(
        bucket, "form", Fields=fields, Conditions=[{k: v} for k, v in fields.items()]
    )
    body = b"".join(
        f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
        for k, v in form["fields"].items()
    )
    body += (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nfrom a form\r\n--x--\r\n'
    )
    request = urllib.request.Request(
        form["url"], body, {"Content-Type": "multipart/form-data; boundary=x"}, method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
        assert answer.headers["x-amz-server-side-encryption-customer-key-MD5"] == digest
    assert body_of(s3, bucket, "form", **WITH) == b"from a form"
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "form", **WITH})
    with urllib.request.urlopen(urllib.request.Request(url, headers=fields)) as answer:
        assert answer.read() == b"from a form"
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url)
    assert raised.value.code == 403  # the headers that are signed are not there


def test_what_was_promised_of_the_body(address, s3, bucket):
    digest = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    s3.put_object(Bucket=bucket, Key="a", Body=DATA, ContentMD5=digest, **WITH)
    assert body_of(s3, bucket, "a", **WITH) == DATA
    assert refused(s3.put_object, Bucket=bucket, Key="b", Body=b"x", ContentMD5=digest, **WITH)[:2] == (
        400,
        "BadDigest",
    )
    found = s3.put_object(Bucket=bucket, Key="c", Body=DATA, ChecksumAlgorithm="SHA256", **WITH)
    assert found["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    large = os.urandom(3 * MB)
    digest = base64.b64encode(hashlib.md5(large).digest()).decode()
    s3.put_object(Bucket=bucket, Key="d", Body=large, ContentMD5=digest, **WITH)
    assert body_of(s3, bucket, "d", **WITH) == large


def test_locked_ones(s3, name):
    bucket = f"ssec-{hashlib.md5(name.encode()).hexdigest()}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    stored = s3.put_object(Bucket=bucket, Key="a", Body=b"held", ObjectLockLegalHoldStatus="ON", **WITH)
    version = {"Bucket": bucket, "Key": "a", "VersionId": stored["VersionId"]}
    assert refused(s3.delete_object, **version)[0] == 403
    assert s3.get_object(**version, **WITH)["ObjectLockLegalHoldStatus"] == "ON"
    s3.put_object_legal_hold(**version, LegalHold={"Status": "OFF"})
    assert s3.get_object(**version, **WITH)["Body"].read() == b"held"
    s3.delete_object(**version)


def test_neither_key_nor_bytes_are_written_anywhere(cluster, s3, bucket):
    """Whatever went wrong before: `assert_logs_are_clean` has looked for tracebacks, this looks for keys."""
    mark = b"a text that stands nowhere else"
    s3.put_object(Bucket=bucket, Key="a", Body=mark * 10, **WITH)
    refused(s3.get_object, Bucket=bucket, Key="a", **WITH_OTHER)
    secret = urllib.parse.quote(base64.b64encode(ONE).decode())
    with pytest.raises(urllib.error.HTTPError):
        url = f"{s3.meta.endpoint_url}/{bucket}/a?x-amz-server-side-encryption-customer-key={secret}"
        urllib.request.urlopen(f"{url}&AWSAccessKeyId=test:tester&Signature=x&Expires=1")
    texts = [base64.b64encode(key).decode().encode() for key in (ONE, OTHER)]
    texts += [ONE, OTHER, secret.encode(), md5_of(ONE).encode()]
    for path in cluster.layout.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert mark not in data, path
            for text in texts:
                assert text not in data, path
