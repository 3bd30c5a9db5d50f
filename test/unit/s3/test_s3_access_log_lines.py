"""Lines of access logs, and the batches in which they wait."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.concurrency import sleep
from swift.s3 import bucket_documents
from swift.s3.access_logging import batches, document, line, writing
from swift.s3.access_logging.batches import Batches, Gone, Place
from swift.s3.acl.forms import Grant
from swift.s3.errors import S3Error

FACTS = line.Facts(
    "test", "b", 1_700_000_000.5, "10.0.0.1", "test:tester", "tx1", "REST.GET.OBJECT", "a b/ü", "GET", "/b/a%20b/%C3%BC?x=1", "HTTP/1.1",
    200, "", 5, 5, 12.4, 9.6, "http://x/", "aws-cli/2", "", "SigV4", "AuthHeader", "host:80",
)  # fmt: skip
# As AWS has it for those who read lines: by position.
FIELDS = re.compile(
    r"([^ ]+) ([^ ]+) (\[[^\]]*\]) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) (\"[^\"]*\") ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) "
    r"(\"[^\"]*\") (\"[^\"]*\") ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)\n"
)


def test_a_line_has_amazons_fields() -> None:
    assert line.made(FACTS) == (
        "test b [14/Nov/2023:22:13:20 +0000] 10.0.0.1 test:tester tx1 REST.GET.OBJECT a+b/%C3%BC "
        '"GET /b/a%20b/%C3%BC?x=1 HTTP/1.1" 200 - 5 5 12 10 "http://x/" "aws-cli/2" - tx1 SigV4 - AuthHeader host:80 - - -\n'
    )


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_nothing_that_a_client_says_breaks_a_line(agent: str, referer: str, key: str, uri: str) -> None:
    made = line.made(
        FACTS._replace(agent=agent, referer=referer, key=key, uri=uri, host=agent, requester=referer)
    )
    assert made.count("\n") == 1 and made.endswith("\n") and "\r" not in made and "\0" not in made
    assert FIELDS.fullmatch(made)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("a=b&X-Amz-Signature=5ec4e7&c", "a=b&X-Amz-Signature=REDACTED&c"),
        ("X-Amz-Security-Token=5ec4e7&X-Amz-Credential=5ec4e7%2Fx", "X-Amz-Security-Token=REDACTED&X-Amz-Credential=REDACTED"),
        ("AWSAccessKeyId=5ec4e7&Signature=5ec4e7%3D&Expires=1", "AWSAccessKeyId=REDACTED&Signature=REDACTED&Expires=1"),
        ("%58-amz-signature=5ec4e7", "%58-amz-signature=REDACTED"),
        ("temp_url_sig=5ec4e7=5ec4e7", "temp_url_sig=REDACTED"),
        ("tagging", "tagging"),
    ],
)  # fmt: skip
def test_secrets_in_addresses_are_not_logged(query: str, shown: str) -> None:
    found = line.uri_of("/b/k", query)
    assert found.startswith("/b/k?") and "5ec4e7" not in found
    assert found == f"/b/k?{shown}"
    came_from = line.made(FACTS._replace(referer=f"http://x/page?{query}"))
    assert f'"http://x/page?{shown}"' in came_from


def test_a_long_query_takes_no_time() -> None:
    query = "a" * 100_000
    started = time.process_time()
    assert line.uri_of("/b/k", query) == f"/b/k?{query}"
    assert time.process_time() - started < 5  # of minutes, before


@pytest.mark.parametrize(
    ("method", "level", "subresource", "name"),
    [
        ("GET", "object", "", "REST.GET.OBJECT"),
        ("GET", "bucket", "", "REST.GET.BUCKET"),
        ("GET", "bucket", "versions", "REST.GET.BUCKETVERSIONS"),
        ("PUT", "object", "partNumber", "REST.PUT.PART"),
        ("POST", "object", "uploads", "REST.POST.UPLOADS"),
        ("DELETE", "object", "uploadId", "REST.DELETE.UPLOAD"),
        ("POST", "bucket", "delete", "REST.POST.MULTI_OBJECT_DELETE"),
        ("PUT", "object", "tagging", "REST.PUT.OBJECT_TAGGING"),
        ("PUT", "bucket", "policy", "REST.PUT.BUCKETPOLICY"),
        ("GET", "bucket", "publicAccessBlock", "REST.GET.PUBLIC_ACCESS_BLOCK"),
        ("GET", "object", "legal-hold", "REST.GET.LEGAL_HOLD"),
    ],
)
def test_operations_have_amazons_names(method: str, level: str, subresource: str, name: str) -> None:
    assert line.operation_name(method, level, subresource, False) == name
    assert line.operation_name("PUT", "object", "", True) == "REST.COPY.OBJECT"


def xml(inner: str) -> bytes:
    return f"<BucketLoggingStatus><LoggingEnabled>{inner}</LoggingEnabled></BucketLoggingStatus>".encode()


def test_the_document() -> None:
    kept = document.parse(xml("<TargetBucket>logs</TargetBucket><TargetPrefix>a/</TargetPrefix>"))
    assert kept == {"TargetBucket": "logs", "TargetPrefix": "a/"}
    assert document.parse(document.shown(kept)) == kept
    form = (
        "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix>"
        "</TargetObjectKeyFormat>"
    )
    kept = document.parse(xml(f"<TargetBucket>logs</TargetBucket><TargetPrefix/>{form}"))
    assert document.parse(document.shown(kept)) == kept and kept["PartitionDateSource"] == "EventTime"
    assert document.parse(b"<BucketLoggingStatus/>") == {}
    for bad, code in (
        (xml("<TargetBucket>logs</TargetBucket>"), "MalformedXML"),
        (xml("<TargetBucket/><TargetPrefix/>"), "InvalidTargetBucketForLogging"),
        (xml(f"<TargetBucket>l</TargetBucket><TargetPrefix>{'x' * 801}</TargetPrefix>"), "InvalidArgument"),
        (
            xml(
                "<TargetBucket>l</TargetBucket><TargetPrefix/><TargetGrants><Grant><Permission>READ</Permission></Grant></TargetGrants>"
            ),
            "MalformedXML",
        ),
        (xml(f"<TargetBucket>l</TargetBucket><TargetPrefix/>{granted('READ_ACP')}"), "MalformedXML"),
        (
            xml(f"<TargetBucket>l</TargetBucket><TargetPrefix/>{granted('READ', 'x' * 4000)}"),
            "InvalidRequest",
        ),
        (
            xml(f"<TargetBucket>l</TargetBucket><TargetPrefix/>{granted('READ', 'AllUsers')}"),
            "InvalidArgument",
        ),
    ):
        with pytest.raises(S3Error) as caught:
            document.parse(bad)
        assert caught.value.code == code


XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def granted(permission: str, user: str = "test:reader") -> str:
    return (
        f'<TargetGrants><Grant><Grantee {XSI} xsi:type="CanonicalUser"><ID>{user}</ID></Grantee><Permission>{permission}</Permission></Grant>'
        f'<Grant><Grantee {XSI} xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>'
        "<Permission>READ</Permission></Grant></TargetGrants>"
    )


def test_what_is_granted_on_log_objects() -> None:
    kept = document.parse(xml(f"<TargetBucket>l</TargetBucket><TargetPrefix/>{granted('FULL_CONTROL')}"))
    assert document.grants_of(kept) == (Grant("test:reader", "FULL_CONTROL"), Grant("AllUsers", "READ"))
    assert document.parse(document.shown(kept)) == kept
    assert document.grants_of({"TargetBucket": "l"}) == ()


def packed(**found: str) -> str:
    return bucket_documents.packed(json.dumps(found).encode())


@pytest.mark.parametrize(
    ("sysmeta", "grantees"),
    [
        ({}, ["test:reader", "AllUsers", "test:owner"]),
        ({"s3api-conf-ownership": packed(ObjectOwnership="ObjectWriter")}, ["test:reader", "AllUsers", "test:owner"]),
        ({"s3api-conf-ownership": packed(ObjectOwnership="BucketOwnerEnforced")}, ["test:owner"]),
        ({"s3api-conf-public-access": packed(BlockPublicAcls="true")}, ["test:reader", "test:owner"]),
        ({"s3api-conf-ownership": "1:o:1700000000.00000:" + "0" * 32}, ["test:owner"]),
    ],
)  # fmt: skip
def test_log_objects_have_what_their_bucket_takes_by_now(
    sysmeta: dict[str, str], grantees: list[str]
) -> None:
    grants = (Grant("test:reader", "READ"), Grant("AllUsers", "READ"))
    made = writing._acl_of("test:owner", grants, sysmeta)
    assert made.owner == "test:owner" and [grant.grantee for grant in made.grants] == grantees
    assert writing._acl_of("test:owner", (), sysmeta).grants == (Grant("test:owner", "FULL_CONTROL"),)


# -- batches

PLACE = Place("AUTH_test", "logs", "p/", "b")


class Target:
    """`answers`: what becomes of the next writes."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.made: list[bytes] = []
        self.written: list[bytes] = []
        self.said: list[str] = []

    def make(self, place: Place, content: bytes) -> batches.Write:
        self.made.append(content)

        def write() -> None:
            answer = self.answers.pop(0) if self.answers else None
            if answer is not None:
                raise answer
            self.written.append(content)

        return write

    def told(self, message: str, *args: object) -> None:
        self.said.append(message % args)


def test_lines_wait_for_others_and_come_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_FIRST_PAUSE", 0.001)
    target = Target(OSError("503"), None)
    waiting = Batches(3600.0, target.make, target.told)
    for number in range(3):
        waiting.add(PLACE, b"%d\n" % number)
    assert not target.made and waiting.size == 6
    waiting.flush()
    # One name for both tries: the second one replaces the first.
    assert target.made == [b"0\n1\n2\n"] == target.written
    assert waiting.size == 0 and len(target.said) == 1 and "wait for logs" in target.said[0]


def test_the_oldest_line_does_not_wait_longer_than_said() -> None:
    target = Target()
    waiting = Batches(0.05, target.make, target.told)
    waiting.add(PLACE, b"x\n")
    for _ in range(200):
        if target.written:
            break
        sleep(0.01)
    assert target.written == [b"x\n"]


def test_enough_lines_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_OF_OBJECT", 10)
    target = Target()
    waiting = Batches(3600.0, target.make, target.told)
    for _ in range(5):
        waiting.add(PLACE, b"xxxx\n")
    sleep(0.02)
    assert target.written == [b"xxxx\nxxxx\n"] * 2 and waiting.size == 5


def test_memory_has_an_end_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_OF_ALL", 20)
    target = Target()
    waiting = Batches(3600.0, target.make, target.told)
    for _ in range(10):
        waiting.add(PLACE, b"xxxx\n")
    assert waiting.size == 20 and waiting.dropped == 6 and len(target.said) == 1
    waiting.flush()
    assert waiting.size == 0


def test_lines_for_a_bucket_that_is_gone_are_lost_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_FIRST_PAUSE", 0.0001)
    target = Target(Gone("no such bucket"))
    waiting = Batches(3600.0, target.make, target.told)
    waiting.add(PLACE, b"x\n")
    waiting.flush()
    assert not target.written and "no such bucket" in target.said[0] and waiting.size == 0
    target.answers = [OSError("down")] * 9
    waiting.add(PLACE, b"x\n")
    waiting.flush()
    assert len(target.answers) == 4 and "1 access log lines" in target.said[-1]
