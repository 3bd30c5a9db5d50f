"""Object lock with a real client and a real cluster: what S3 says of it, and that it holds whoever asks and by whatever road."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import pytest

from swift.core.object_lock import PROTECTED
from test.cluster import Cluster
from test.s3_clients import refusal, refused

UTC = datetime.timezone.utc
FAR = datetime.datetime(2090, 1, 1, tzinfo=UTC)
FARTHER = datetime.datetime(2091, 1, 1, tzinfo=UTC)
PAST = datetime.datetime(2020, 1, 1, tzinfo=UTC)


def is_protected(call: Any, **arguments: Any) -> bool:
    error = refusal(call, **arguments)["Error"]
    return (error["Code"], error["Message"]) == ("AccessDenied", PROTECTED)


@pytest.fixture(scope="module")
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    return "locked"


def put(s3: Any, bucket: str, key: str, **more: Any) -> str:
    return str(s3.put_object(Bucket=bucket, Key=key, Body=b"body", **more)["VersionId"])


def test_configuration(s3: Any, bucket: str) -> None:
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    found = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}
    wrong = refused(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert wrong == ("InvalidBucketState", 409)
    s3.create_bucket(Bucket="unlocked")
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    asked = {"Bucket": "unlocked", "ObjectLockConfiguration": wanted}
    assert refused(s3.get_object_lock_configuration, Bucket="unlocked")[1] == 404
    assert refused(s3.put_object_lock_configuration, **asked) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket="unlocked", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="unlocked", Key="k", Body=b"")
    assert refused(s3.get_object_retention, Bucket="unlocked", Key="k") == ("InvalidRequest", 400)
    wrong = refused(s3.put_object_legal_hold, Bucket="unlocked", Key="k", LegalHold={"Status": "ON"})
    assert wrong == ("InvalidRequest", 400)
    for rule in ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, {"Mode": "GOVERNANCE"}):
        asked["ObjectLockConfiguration"] = {"Rule": {"DefaultRetention": rule}}
        assert refused(s3.put_object_lock_configuration, **asked) == ("MalformedXML", 400)
    asked["ObjectLockConfiguration"] = {"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 0}}}
    assert refused(s3.put_object_lock_configuration, **asked) == ("InvalidArgument", 400)
    asked["ObjectLockConfiguration"] = wanted
    s3.put_object_lock_configuration(**asked)
    assert s3.get_object_lock_configuration(Bucket="unlocked")["ObjectLockConfiguration"] == wanted


def test_retention_of_compliance(s3: Any, bucket: str) -> None:
    version = put(s3, bucket, "c")
    named = {"Bucket": bucket, "Key": "c", "VersionId": version}
    assert refused(s3.get_object_retention, **named) == ("NoSuchObjectLockConfiguration", 404)
    wanted = {"Mode": "COMPLIANCE", "RetainUntilDate": FAR}
    assert refused(s3.put_object_retention, **named, Retention={**wanted, "RetainUntilDate": PAST})[1] == 400
    s3.put_object_retention(**named, Retention=wanted)
    assert s3.get_object_retention(**named)["Retention"] == wanted
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", FAR)
    assert is_protected(s3.delete_object, **named)
    assert is_protected(s3.delete_object, **named, BypassGovernanceRetention=True)
    for weaker in (
        {"Mode": "COMPLIANCE", "RetainUntilDate": FAR - datetime.timedelta(1)},
        {"Mode": "GOVERNANCE", "RetainUntilDate": FAR},
    ):
        assert is_protected(
            s3.put_object_retention, **named, Retention=weaker, BypassGovernanceRetention=True
        )
    s3.put_object_retention(**named, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": FARTHER})
    s3.put_object_tagging(**named, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_object_retention(**named)["Retention"]["RetainUntilDate"] == FARTHER
    made = s3.delete_object(Bucket=bucket, Key="c")
    assert made["DeleteMarker"] is True
    s3.delete_object(Bucket=bucket, Key="c", VersionId=made["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"body"


def test_retention_of_governance(s3: Any, bucket: str) -> None:
    version = put(s3, bucket, "g", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR)
    named = {"Bucket": bucket, "Key": "g", "VersionId": version}
    assert is_protected(s3.delete_object, **named)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": FAR - datetime.timedelta(1)}
    assert is_protected(s3.put_object_retention, **named, Retention=shorter)
    s3.put_object_retention(**named, Retention=shorter, BypassGovernanceRetention=True)
    assert is_protected(s3.delete_object, **named)
    s3.put_object_retention(**named, Retention={}, BypassGovernanceRetention=True)
    assert refused(s3.get_object_retention, **named)[0] == "NoSuchObjectLockConfiguration"
    s3.put_object_retention(**named, Retention=shorter)
    s3.delete_object(**named, BypassGovernanceRetention=True)
    assert refused(s3.head_object, **named)[1] == 404


def test_legal_holds(s3: Any, bucket: str) -> None:
    version = put(s3, bucket, "h", ObjectLockLegalHoldStatus="ON")
    named = {"Bucket": bucket, "Key": "h", "VersionId": version}
    assert s3.get_object_legal_hold(**named)["LegalHold"]["Status"] == "ON"
    assert is_protected(s3.delete_object, **named, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    assert s3.head_object(**named)["ObjectLockLegalHoldStatus"] == "OFF"
    s3.delete_object(**named)


def test_defaults_and_copies(s3: Any) -> None:
    s3.create_bucket(Bucket="defaulted", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}
    s3.put_object_lock_configuration(
        Bucket="defaulted", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    version = put(s3, "defaulted", "d")
    head = s3.head_object(Bucket="defaulted", Key="d")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    until = head["ObjectLockRetainUntilDate"]
    assert abs(until - head["LastModified"] - datetime.timedelta(365)) < datetime.timedelta(minutes=5)
    assert is_protected(s3.delete_object, Bucket="defaulted", Key="d", VersionId=version)
    # a copy has what it is given, not what its source had
    copy = s3.copy_object(
        Bucket="defaulted", Key="e", CopySource="defaulted/d",
        ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR,
    )  # fmt: skip
    assert s3.head_object(Bucket="defaulted", Key="e")["ObjectLockMode"] == "GOVERNANCE"
    s3.delete_object(Bucket="defaulted", Key="e", VersionId=copy["VersionId"], BypassGovernanceRetention=True)
    s3.create_bucket(Bucket="copies-of-locked")
    s3.copy_object(Bucket="copies-of-locked", Key="f", CopySource="defaulted/d")
    assert "ObjectLockMode" not in s3.head_object(Bucket="copies-of-locked", Key="f")
    s3.delete_object(Bucket="copies-of-locked", Key="f")


def test_headers(s3: Any, bucket: str) -> None:
    for more in (
        {"ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockRetainUntilDate": FAR},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": PAST},
        {"ObjectLockMode": "NONE", "ObjectLockRetainUntilDate": FAR},
        {"ObjectLockLegalHoldStatus": "MAYBE"},
    ):
        assert refused(s3.put_object, Bucket=bucket, Key="x", Body=b"", **more) == ("InvalidArgument", 400)
    s3.create_bucket(Bucket="no-locks")
    more = {"ObjectLockLegalHoldStatus": "ON"}
    assert refused(s3.put_object, Bucket="no-locks", Key="x", Body=b"", **more) == ("InvalidRequest", 400)


def test_delete_objects_tells_of_each(s3: Any, bucket: str) -> None:
    held = put(s3, bucket, "m", ObjectLockLegalHoldStatus="ON")
    free = put(s3, bucket, "n")
    answer = s3.delete_objects(
        Bucket=bucket,
        Delete={"Objects": [{"Key": "m", "VersionId": held}, {"Key": "n", "VersionId": free}]},
    )
    assert [(one["Key"], one["Code"], one["Message"]) for one in answer["Errors"]] == [
        ("m", "AccessDenied", PROTECTED)
    ]
    assert [one["Key"] for one in answer["Deleted"]] == ["n"]
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"body"


def test_uploads_in_parts(s3: Any, bucket: str, user: Any) -> None:
    named = {"Bucket": bucket, "Key": "big"}
    upload = s3.create_multipart_upload(**named, ObjectLockLegalHoldStatus="ON")["UploadId"]
    part = s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"p" * 1000)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    version = s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)["VersionId"]
    assert s3.head_object(**named)["ObjectLockLegalHoldStatus"] == "ON"
    assert is_protected(s3.delete_object, **named, VersionId=version)
    # its parts neither, by no road
    path = f"/{bucket}+segments/big/{upload}/1"
    assert user("DELETE", path).status == 403
    assert user("PUT", path, b"other").status == 403
    assert user("POST", path, X_Delete_After="60").status == 400
    for query in ("multipart-manifest=delete", "multipart-manifest=delete&async=on"):
        user("DELETE", f"/{bucket}/big?version-id={version}&{query}")
    assert s3.get_object(**named)["Body"].read() == b"p" * 1000
    manifest = json.dumps([{"path": path}])
    assert user("PUT", f"/{bucket}/evil?multipart-manifest=put", manifest).status == 201
    user("DELETE", f"/{bucket}/evil?multipart-manifest=delete")
    assert s3.get_object(**named)["Body"].read() == b"p" * 1000
    s3.put_object_legal_hold(**named, VersionId=version, LegalHold={"Status": "OFF"})
    s3.delete_object(**named, VersionId=version)
    assert refused(s3.get_object, **named)[1] == 404


def test_native_roads(s3: Any, bucket: str, user: Any) -> None:
    version = put(s3, bucket, "way", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=FAR)
    path = f"/{bucket}/way"
    answer = user("DELETE", f"{path}?version-id={version}")
    assert (answer.status, answer.body) == (403, PROTECTED.encode())
    word = "9999999999.00000;bypass;kept"  # nobody's to say but our filters
    assert user("DELETE", f"{path}?version-id={version}", X_Backend_Object_Lock=word).status == 403
    assert user("GET", path).body == b"body"  # the link to it has not gone
    assert user("DELETE", f"{path}?version-id={version}&multipart-manifest=delete").status in (200, 400, 403)
    listed = f"{bucket}/way?version-id={version}"
    user("POST", "?bulk-delete", listed, Content_Type="text/plain")
    assert user("POST", f"/{bucket}", X_Versions_Enabled="false").status == 409
    assert user("POST", path, X_Object_Meta_A="b").status == 202
    assert s3.head_object(Bucket=bucket, Key="way", VersionId=version)["ObjectLockMode"] == "COMPLIANCE"
    assert user("HEAD", path).headers["x-object-meta-a"] == "b"
    assert user("PUT", path, b"other").status == 201
    assert user("DELETE", path).status == 204
    assert user("DELETE", f"/{bucket}").status == 409
    assert user("COPY", f"/{bucket}/way", Destination=f"{bucket}/way").status in (201, 404)
    assert s3.get_object(Bucket=bucket, Key="way", VersionId=version)["Body"].read() == b"body"
    assert s3.head_object(Bucket=bucket, Key="way", VersionId=version)["ObjectLockMode"] == "COMPLIANCE"


def test_what_was_there_before_versions(s3: Any, user: Any) -> None:
    """The version "null" lies at the object's own name: it is kept as a version with its lock when it is replaced."""
    s3.create_bucket(Bucket="before-locks")
    s3.put_object(Bucket="before-locks", Key="old", Body=b"old")
    s3.put_bucket_versioning(Bucket="before-locks", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(
        Bucket="before-locks", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    s3.put_object_retention(
        Bucket="before-locks", Key="old", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": FAR}
    )
    assert is_protected(s3.delete_object, Bucket="before-locks", Key="old", VersionId="null")
    assert user("DELETE", "/before-locks/old?version-id=null").status == 403
    assert user("POST", "/before-locks/old", X_Delete_After="1").status in (400, 403)
    put(s3, "before-locks", "old")
    versions = s3.list_object_versions(Bucket="before-locks")["Versions"]
    assert len(versions) == 2
    kept = next(one["VersionId"] for one in versions if not one["IsLatest"])
    named = {"Bucket": "before-locks", "Key": "old", "VersionId": kept}
    assert s3.get_object(**named)["Body"].read() == b"old"
    assert s3.head_object(**named)["ObjectLockMode"] == "COMPLIANCE"
    assert is_protected(s3.delete_object, **named)
    s3.delete_object(Bucket="before-locks", Key="old")


def test_native_objects_get_the_retention_of_their_bucket(s3: Any, user: Any) -> None:
    assert user("PUT", "/defaulted/native", b"x").status == 201
    head = s3.head_object(Bucket="defaulted", Key="native")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert is_protected(s3.delete_object, Bucket="defaulted", Key="native", VersionId=head["VersionId"])
    # the link to it has none: it can be replaced, and removed
    assert user("PUT", "/defaulted/native", b"y").status == 201
    assert user("DELETE", "/defaulted/native").status == 204


def test_an_account_with_locks_stays(cluster: Cluster, s3: Any, bucket: str, clients: Any) -> None:
    assert clients["admin:admin"]("DELETE", account="AUTH_test").status == 409
    # and who may not do it hears nothing of locks
    refused = clients["test2:tester2"]("DELETE", account="AUTH_test")
    assert refused.status == 403 and b"lock" not in refused.body


def test_native_changes_of_metadata_leave_alone_what_s3_keeps(s3: Any, user: Any) -> None:
    s3.create_bucket(Bucket="posted")
    for key, kept in (("tagged", {"Tagging": "a=b&c=%C3%A9"}), ("plain", {})):
        s3.put_object(Bucket="posted", Key=key, Body=b"x", Metadata={"m": "1"}, **kept)
        assert user("POST", f"/posted/{key}", X_Object_Meta_N="2").status == 202
        head = s3.head_object(Bucket="posted", Key=key)
        assert head["Metadata"] == {"n": "2"}
    tags = s3.get_object_tagging(Bucket="posted", Key="tagged")["TagSet"]
    assert tags == [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "é"}]
    s3.delete_object_tagging(Bucket="posted", Key="tagged")
    assert s3.get_object_tagging(Bucket="posted", Key="tagged")["TagSet"] == []
    assert user("POST", "/posted/tagged").status == 202
    assert user("POST", "/posted/none").status == 404


def test_changes_of_tags_and_locks_do_not_move_the_time(s3: Any, bucket: str) -> None:
    put(s3, bucket, "timed")

    def times() -> list[Any]:
        rows = s3.list_objects_v2(Bucket=bucket, Prefix="timed")["Contents"]
        versions = s3.list_object_versions(Bucket=bucket, Prefix="timed")["Versions"]
        shown = [s3.head_object(Bucket=bucket, Key="timed")["LastModified"]]
        return shown + [row["LastModified"] for row in (*rows, *versions)]

    before = times()
    time.sleep(1.1)
    s3.put_object_tagging(Bucket=bucket, Key="timed", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.put_object_legal_hold(Bucket=bucket, Key="timed", LegalHold={"Status": "ON"})
    assert times() == before
