"""Lifecycle passes: what a change during one, a listing that is behind or a failure must not lead to."""

from collections.abc import Iterator
from typing import Any

import pytest

from swift.core import clock
from swift.core.concurrency import Timeout
from swift.core.timestamp import Timestamp
from swift.s3.lifecycle import daemon
from swift.s3.lifecycle.objects import HIDDEN, Bucket, Found, Unsure
from swift.s3.lifecycle.rules import DAY, Rules
from swift.s3.lifecycle.work import BucketPass, Figures
from swift.wire.direct import DirectError
from swift.wire.headers import HeaderKeyDict

RULES = {"Rule": [{"ID": "r", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}
UPLOAD = "u" * 48


def found(status: int, **headers: str) -> Found:
    return Found(status, HeaderKeyDict({name.replace("_", "-"): value for name, value in headers.items()}))


class Fake(Bucket):
    """A bucket without a cluster."""

    def __init__(self) -> None:
        super().__init__(None, "AUTH_a", "b")  # type: ignore[arg-type]
        self.there: dict[str, str] = {}
        self.listed: list[dict[str, Any]] = []
        self.heads: dict[tuple[str, str | None], Found] = {}
        self.removed: list[str] = []
        self.is_failing = False

    def is_there(self) -> Found:
        return Found(204, HeaderKeyDict(self.there))

    def _pages(self, container: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        yield from self.listed if container == self.name else ()
        if self.is_failing:
            raise Unsure("503")

    def head(self, key: str, version: str | None = None, container: str | None = None) -> Found:
        return self.heads.get((key, version), found(404)) if container in (None, self.name) else found(404)

    def remove_seen(self, key: str, found: Found, container: str | None = None) -> bool:
        self.removed.append(key)
        return True

    def remove_parts(self, key: str, upload: str) -> int:
        self.removed.append(f"{key}/{upload}")
        return 1


def row(key: str, at: Timestamp) -> dict[str, Any]:
    return {"name": key, "bytes": 1, "last_modified": at.isoformat, "content_type": "a/b"}


def passed(bucket: Bucket, **options: Any) -> Figures:
    figures = Figures()
    with Timeout(60):
        BucketPass(bucket, Rules(RULES), figures, lambda: None, lambda *_: None, 4, **options).run()
    return figures


OLD = Timestamp(clock.time() - 3 * DAY)
NEW = Timestamp(clock.time())


def test_a_listing_that_fails_ends_the_pass() -> None:
    bucket = Fake()
    bucket.listed = [row("k", OLD)]
    bucket.heads["k", None] = found(200, X_Timestamp=OLD.internal)
    bucket.is_failing = True
    with pytest.raises(Unsure):
        passed(bucket)
    assert bucket.removed == ["k"]


def test_rules_that_changed_remove_nothing_more() -> None:
    bucket = Fake()
    bucket.listed = [row("k", OLD), row("l", OLD)]
    for key in ("k", "l"):
        bucket.heads[key, None] = found(200, X_Timestamp=OLD.internal)
    checks = iter([None, Unsure("changed")])

    def check() -> None:
        error = next(checks)
        if error is not None:
            raise error

    with pytest.raises(Unsure):
        passed(bucket, check=check)
    assert bucket.removed == ["k"]


@pytest.mark.parametrize("state", [{}, {HIDDEN: "v"}], ids=["plain", "suspended"])
@pytest.mark.parametrize("written", [OLD, NEW], ids=["as listed", "anew"])
def test_what_was_written_after_the_listing_stays(state: dict[str, str], written: Timestamp) -> None:
    bucket = Fake()
    bucket.there = state
    bucket.listed = [row("k", OLD)]
    bucket.heads["k", None] = found(200, X_Timestamp=written.internal)
    assert passed(bucket).expired == (written == OLD)
    assert bucket.removed == (["k"] if written == OLD else [])


def test_an_object_that_was_posted_is_the_one_that_is_listed() -> None:
    bucket = Fake()
    posted = Timestamp(float(OLD) + DAY / 2)
    bucket.listed = [row("k", posted)]
    bucket.heads["k", None] = found(
        200, X_Backend_Data_Timestamp=OLD.internal, X_Backend_Timestamp=posted.internal
    )
    assert passed(bucket).expired == 1


@pytest.mark.parametrize("name", [HIDDEN, "X-Container-Sysmeta-Versions-Location"])
def test_parts_stay_that_a_version_kept_since_a_moment_ago_is_made_of(name: str) -> None:
    large = found(
        200, X_Timestamp=OLD.internal, X_Static_Large_Object="True", X_Object_Sysmeta_S3Api_Upload_Id=UPLOAD
    )

    class Switched(Fake):
        def remove_seen(self, key: str, found: Found, container: str | None = None) -> bool:
            self.there = {name: "v"}
            self.heads = {(key, "1"): large}
            self.listed[0]["version_id"] = "1"
            return super().remove_seen(key, found, container)

    bucket = Switched()
    bucket.listed = [row("k", OLD)]
    bucket.heads["k", None] = large
    passed(bucket)
    assert bucket.removed == ["k"]


@pytest.mark.parametrize(
    ("answers", "is_sure"),
    [
        (["d", "d", "d"], True),
        (["d", "d", None], True),
        (["d", "d", "e"], False),
        (["d", "d", ""], False),
        (["d", None, None], False),
    ],
)
def test_a_replica_that_is_behind_has_no_say(
    answers: list[str | None], is_sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(node: Any, *_: Any, **__: Any) -> tuple[HeaderKeyDict, list[Any]]:
        if node["value"] is None:
            raise DirectError("GET", node, "/")
        name = "X-Container-Sysmeta-S3api-"
        return HeaderKeyDict({name + "Conf-Lifecycle": node["value"], name + "Lifecycle-Run": "1;n;"}), []

    monkeypatch.setattr(daemon.direct, "get_container", ask)
    nodes = [{"value": value} for value in answers]
    if is_sure:
        assert set(daemon.check_document(1, nodes, "a", "c", "d")) == {"1;n;"}
    else:
        with pytest.raises(Unsure):
            daemon.check_document(1, nodes, "a", "c", "d")
