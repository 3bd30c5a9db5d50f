"""What is kept with buckets and objects beside their content, with a real client and a real cluster."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from test.cluster import Cluster


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


TAGS = [{"Key": "a b", "Value": "é+=/"}, {"Key": "k", "Value": ""}]


def test_bucket_tags(s3: Any) -> None:
    s3.create_bucket(Bucket="tagged")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_tagging(Bucket="tagged")
    assert code_of(caught) == ("NoSuchTagSet", 404)
    s3.put_bucket_tagging(Bucket="tagged", Tagging={"TagSet": TAGS})
    assert s3.get_bucket_tagging(Bucket="tagged")["TagSet"] == TAGS
    s3.delete_bucket_tagging(Bucket="tagged")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_tagging(Bucket="tagged")
    assert code_of(caught) == ("NoSuchTagSet", 404)
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_tagging(Bucket="no-such", Tagging={"TagSet": TAGS})
    assert code_of(caught) == ("NoSuchBucket", 404)


def test_long_documents_are_kept_beside_the_bucket(s3: Any, cluster: Cluster) -> None:
    """Too long for a header, changed, replaced by a short one, gone with the bucket."""
    s3.create_bucket(Bucket="long")
    for turn in range(2):
        # nothing in it can be packed much
        tags = [
            {
                "Key": f"{turn}{at}",
                "Value": "".join(chr(0x4E00 + (at * 7919 + n * n * 31 + turn) % 20000) for n in range(250)),
            }
            for at in range(50)
        ]
        s3.put_bucket_tagging(Bucket="long", Tagging={"TagSet": tags})
        assert s3.get_bucket_tagging(Bucket="long")["TagSet"] == tags
    s3.put_bucket_tagging(Bucket="long", Tagging={"TagSet": TAGS})
    assert s3.get_bucket_tagging(Bucket="long")["TagSet"] == TAGS
    s3.delete_bucket(Bucket="long")
    s3.create_bucket(Bucket="long")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_tagging(Bucket="long")
    assert code_of(caught) == ("NoSuchTagSet", 404)


def test_object_tags_change_nothing_else(s3: Any) -> None:
    s3.create_bucket(Bucket="objects")
    s3.put_object(
        Bucket="objects", Key="k/ä", Body=b"body", ContentType="text/x", CacheControl="no-cache", ContentLanguage="de",
        ContentDisposition="inline", Metadata={"one": "1", "two_2": "2"},
    )  # fmt: skip
    before = s3.head_object(Bucket="objects", Key="k/ä")
    assert s3.get_object_tagging(Bucket="objects", Key="k/ä")["TagSet"] == []
    s3.put_object_tagging(Bucket="objects", Key="k/ä", Tagging={"TagSet": TAGS})
    assert s3.get_object_tagging(Bucket="objects", Key="k/ä")["TagSet"] == TAGS
    s3.put_object_tagging(Bucket="objects", Key="k/ä", Tagging={"TagSet": TAGS[1:]})
    assert s3.get_object_tagging(Bucket="objects", Key="k/ä")["TagSet"] == TAGS[1:]
    after = s3.head_object(Bucket="objects", Key="k/ä")
    for name in (
        "LastModified", "ETag", "ContentType", "CacheControl", "ContentLanguage", "ContentDisposition", "Metadata",
        "ContentLength",
    ):  # fmt: skip
        assert after[name] == before[name], name
    listed = s3.list_objects_v2(Bucket="objects")["Contents"][0]
    assert listed["LastModified"] == before["LastModified"]
    s3.delete_object_tagging(Bucket="objects", Key="k/ä")
    assert s3.get_object_tagging(Bucket="objects", Key="k/ä")["TagSet"] == []
    s3.put_object_tagging(Bucket="objects", Key="k/ä", Tagging={"TagSet": TAGS})
    s3.put_object(Bucket="objects", Key="k/ä", Body=b"anew")
    assert s3.get_object_tagging(Bucket="objects", Key="k/ä")["TagSet"] == []
    for call in (s3.get_object_tagging, s3.delete_object_tagging):
        with pytest.raises(ClientError) as caught:
            call(Bucket="objects", Key="none")
        assert code_of(caught) == ("NoSuchKey", 404)
        with pytest.raises(ClientError) as caught:
            call(Bucket="nowhere", Key="none")
        assert code_of(caught) == ("NoSuchBucket", 404)


def test_tags_of_versions(s3: Any) -> None:
    s3.create_bucket(Bucket="s3-old-ones")
    s3.put_object(Bucket="s3-old-ones", Key="k", Body=b"0")
    s3.put_bucket_versioning(Bucket="s3-old-ones", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="s3-old-ones", Key="k", Body=b"1", Metadata={"m": "1"})["VersionId"]
    second = s3.put_object(Bucket="s3-old-ones", Key="k", Body=b"2")["VersionId"]
    s3.put_object_tagging(Bucket="s3-old-ones", Key="k", VersionId=first, Tagging={"TagSet": TAGS[:1]})
    told = s3.put_object_tagging(Bucket="s3-old-ones", Key="k", Tagging={"TagSet": TAGS[1:]})
    assert told["VersionId"] == second
    assert s3.get_object_tagging(Bucket="s3-old-ones", Key="k", VersionId=first)["TagSet"] == TAGS[:1]
    assert s3.get_object_tagging(Bucket="s3-old-ones", Key="k")["TagSet"] == TAGS[1:]
    found = s3.head_object(Bucket="s3-old-ones", Key="k", VersionId=first)
    assert found["Metadata"] == {"m": "1"}
    assert s3.get_object(Bucket="s3-old-ones", Key="k")["Body"].read() == b"2"
    marker = s3.delete_object(Bucket="s3-old-ones", Key="k")["VersionId"]
    with pytest.raises(ClientError) as caught:
        s3.get_object_tagging(Bucket="s3-old-ones", Key="k", VersionId=marker)
    assert code_of(caught)[1] == 405
    with pytest.raises(ClientError) as caught:
        s3.get_object_tagging(Bucket="s3-old-ones", Key="k", VersionId="1795237739.28946")
    assert code_of(caught) == ("NoSuchVersion", 404)


def test_cors_of_a_bucket(s3: Any, cluster: Cluster) -> None:
    s3.create_bucket(Bucket="cors")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_cors(Bucket="cors")
    assert code_of(caught) == ("NoSuchCORSConfiguration", 404)
    rules = [
        {"AllowedOrigins": ["http://*.a"], "AllowedMethods": ["GET"], "AllowedHeaders": ["x-*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 9},
    ]  # fmt: skip
    s3.put_bucket_cors(Bucket="cors", CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket="cors")["CORSRules"] == rules
    s3.put_object(Bucket="cors", Key="k", Body=b"x")
    signed = s3.generate_presigned_url("get_object", Params={"Bucket": "cors", "Key": "k"})
    path = signed.partition(f":{cluster.layout.port}")[2]
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-One"}
    answer = cluster.raw("OPTIONS", path, headers={"Origin": "http://b.a", **asks})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "http://b.a"
    assert answer.headers["access-control-allow-headers"] == "x-one"
    for headers in (
        {"Origin": "http://other", **asks},
        {"Origin": "http://b.a", **asks, "Access-Control-Request-Method": "PUT"},
        {"Origin": "http://b.a", **asks, "Access-Control-Request-Headers": "other"},
    ):
        assert cluster.raw("OPTIONS", path, headers=headers).status == 403
    for target in (path, path.replace("/k?", "/none?")):
        answer = cluster.raw("GET", target, headers={"Origin": "http://b.a"})
        assert answer.headers.get("access-control-allow-origin") == ("http://b.a" if target == path else None)
    assert (
        "access-control-allow-origin" not in cluster.raw("GET", path, headers={"Origin": "http://x"}).headers
    )
    s3.delete_bucket_cors(Bucket="cors")
    assert cluster.raw("OPTIONS", path, headers={"Origin": "http://b.a", **asks}).status == 403


def test_what_else_can_be_asked_of_a_bucket(s3: Any) -> None:
    s3.create_bucket(Bucket="else")
    for call, code in (
        (s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
        (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
    ):
        with pytest.raises(ClientError) as caught:
            call(Bucket="else")
        assert code_of(caught) == (code, 404)
        with pytest.raises(ClientError) as caught:
            call(Bucket="nowhere")
        assert code_of(caught) == ("NoSuchBucket", 404)
    assert s3.get_bucket_request_payment(Bucket="else")["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="else")
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket="else")
    s3.get_bucket_notification_configuration(Bucket="else")
    s3.put_bucket_notification_configuration(Bucket="else", NotificationConfiguration={})
    assert s3.list_bucket_inventory_configurations(Bucket="else")["IsTruncated"] is False
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_metrics_configuration(Bucket="else", Id="x")
    assert code_of(caught) == ("NoSuchConfiguration", 404)
    refused = [
        (s3.put_bucket_accelerate_configuration, {"AccelerateConfiguration": {"Status": "Enabled"}}),
        (
            s3.put_bucket_encryption,
            {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}},
        ),
    ]  # fmt: skip
    for call, arguments in refused:
        with pytest.raises(ClientError) as caught:
            call(Bucket="else", **arguments)
        assert code_of(caught) == ("NotImplemented", 501)
    s3.delete_bucket(Bucket="else")
