"""What no deletion and no expiry may take along: parts of versions, and parts that were copied."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from swift.s3 import checksums, conditional_deletes, copying, objects, replaced, streamed_copies
from swift.s3.errors import S3Error
from swift.s3.identity import NOBODY
from swift.s3.multipart import copies, marker
from swift.s3.multipart.complete import _Completion
from swift.s3.rights import Granted
from swift.wire.subanswer import Subanswer

_LARGE = [("X-Static-Large-Object", "True"), ("X-Object-Sysmeta-S3api-Etag", "e-1"), ("Content-Length", "7")]


class _Request:
    """A request whose native ones are answered by `answers`, and kept in `asked`."""

    bucket, key = "b", "k"
    version_id = None
    credential = session = None
    identity = NOBODY
    is_decided = False
    options = SimpleNamespace(s3_acl=False, has_global_buckets=False)

    def __init__(self, answers: Any, sysmeta: dict[str, str], **environ: str) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.environ = environ
        self._answers = answers
        self._sysmeta = sysmeta
        self.granted = Granted()
        self.account = "AUTH_test"

    def tell(self, *told: Any, **_: Any) -> None:
        pass

    def header(self, name: str) -> str | None:
        return self.environ.get("HTTP_" + name.upper().replace("-", "_"))

    def container_info(self, bucket: str | None = None, account: str | None = None) -> dict[str, Any]:
        return {"status": 204, "sysmeta": self._sysmeta}

    def ask(
        self,
        method: str,
        container: str | None = None,
        obj: str | None = None,
        query: Any = None,
        headers: Any = None,
        body: Any = None,
        rights: str = "client",
        account: str | None = None,
    ) -> Subanswer:
        self.asked.append((method, dict(query or {}), dict(headers or {})))
        if "HTTP_X_BACKEND_UNLESS_LARGE_OBJECT" in (headers or {}):
            large = [("X-Backend-Replaced-Large-Object", "1796028310.33766;u")]
            return Subanswer({"REQUEST_METHOD": method}, "412 Precondition Failed", large, [b""], 0.0)
        status, found, data = self._answers(method, query or {})
        return Subanswer({"REQUEST_METHOD": method}, status, found, [data], 0.0)


def _deletion(sysmeta: dict[str, str], version: str | None) -> dict[str, str]:
    is_kept = sysmeta.get("versions-mode") == "history"
    is_kept |= "versions-enabled" in sysmeta and sysmeta["versions-enabled"] == "True" and version is None

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "HEAD":
            return "200 OK", _LARGE, b""
        if query or is_kept:
            return "204 No Content", [], b""
        # as servers say it where there are no versions
        return "412 Precondition Failed", [("X-Backend-Replaced-Large-Object", "1;u")], b""

    request = _Request(answers, sysmeta)
    objects.delete_one(request, "k", version)  # type: ignore[arg-type]
    return request.asked[-1][1]


def test_the_segments_of_what_becomes_a_version_stay() -> None:
    kept = {"versions-enabled": "True", "versions-container": "v"}
    assert _deletion(kept, None) == {}
    everything = {"multipart-manifest": "delete", "async": "on"}
    assert _deletion({}, None) == everything
    assert _deletion({**kept, "versions-enabled": "False"}, None) == everything
    assert _deletion(kept, "null") == {"version-id": "null", **everything}


def test_an_upload_that_an_older_version_is_made_of_is_complete() -> None:
    row = {
        "name": "k",
        "version_id": "0000000002.00000",
        "last_modified": "2026-11-21T05:10:30.123450",
        "hash": "0123; s3_etag=e-1",
        "slo_etag": '"4567"',
        "content_type": "text/plain",
    }

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "GET":
            return "200 OK", [], orjson.dumps([row])
        if "version-id" in query:
            return "200 OK", [*_LARGE, ("X-Object-Sysmeta-S3api-Upload-Id", "u")], b""
        return "404 Not Found", [], b""

    request = _Request(answers, {"versions-container": "v"})
    assert marker.is_completed(request, "b", "k", "u", 0.0)  # type: ignore[arg-type]


def test_a_part_does_not_end_when_its_source_does() -> None:
    def answers(method: str, _query: dict[str, str]) -> Any:
        if method == "HEAD":
            return "200 OK", [("Content-Length", "7"), ("X-Delete-At", "9999999999")], b""
        return "201 Created", [("Etag", "e")], b""

    request = _Request(answers, {}, HTTP_X_AMZ_COPY_SOURCE="/b/source")
    copying.copy_part(request, "b+segments", "k/u/1", None, "", lambda: None)()  # type: ignore[arg-type]
    assert request.asked[-1][2]["HTTP_X_FRESH_METADATA"] == "True"


def test_of_a_completion_that_is_taken_back_the_version_before_is_current_again() -> None:
    rows = [{"name": "k", "version_id": "0000000001.00000", "content_type": "text/plain"}]

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "GET":
            return "200 OK", [], orjson.dumps(rows if "versions" in query else [])
        if method == "DELETE":
            return "204 No Content", [("X-Object-Current-Version-Id", "null")], b""
        return "201 Created", [], b""

    request = _Request(answers, {"versions-container": "v"})
    stored = Subanswer(
        {"REQUEST_METHOD": "PUT"}, "201 Created", [("X-Object-Version-Id", "0000000002.00000")], [], 0.0
    )
    work = _Completion(request, "b", "k", "u", stored, [], None)  # type: ignore[arg-type]
    work._take_back(stored)
    assert ("PUT", {"version-id": "0000000001.00000"}, {}) in request.asked


def test_the_version_before_a_large_object_that_is_deleted_at_once_is_current_again() -> None:
    rows = [{"name": "k", "version_id": "0000000001.00000", "content_type": "text/plain"}]

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "HEAD":
            return ("200 OK", _LARGE, b"") if "version-id" in query else ("404 Not Found", [], b"")
        if method == "GET":
            return "200 OK", [], orjson.dumps(rows)
        return ("200 OK", [], b"{}") if method == "DELETE" else ("201 Created", [], b"")

    request = _Request(answers, {"versions-enabled": "True", "versions-container": "v"})
    objects.delete_one(request, "k", "0000000002.00000")  # type: ignore[arg-type]
    assert request.asked[-1] == ("PUT", {"version-id": "0000000001.00000"}, {})


def test_nothing_is_replaced_for_an_object_of_an_upload_that_is_being_aborted(monkeypatch: Any) -> None:
    """Who aborts has said so after the completion began."""
    aborting = Subanswer(
        {"REQUEST_METHOD": "HEAD"}, "200 OK", [("X-Object-Transient-Sysmeta-S3api-Aborting", "yes")], [], 0.0
    )
    monkeypatch.setattr("swift.s3.multipart.marker.look", lambda *_: aborting)
    monkeypatch.setattr("swift.s3.multipart.marker.owner_of", lambda *_: ("", aborting))
    request = _Request(lambda _method, _query: ("200 OK", [], b""), {})
    request.options.min_segment_size = 1
    work = _Completion(request, "b", "k", "u", aborting, [], None)  # type: ignore[arg-type]
    monkeypatch.setattr(work, "_tell_checksums", lambda _stored: None)
    assert work._look_at([{"name": "/b+segments/k/u/1", "bytes": 5}])
    assert work._wrong is not None and work._wrong.code == "NoSuchUpload"


_UPLOAD = "u" * 48
_TIME = "1796028310.33766"


def _copied_onto_itself(sysmeta: dict[str, str], status: str, key: str = "k") -> Any:
    items = [{"name": f"/b+segments/{key}/{_UPLOAD}/1", "bytes": 7, "hash": "e", "content_type": "a/b"}]
    large = [
        *_LARGE,
        ("X-Object-Sysmeta-S3api-Upload-Id", _UPLOAD),
        ("X-Timestamp", _TIME),
    ]

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "GET":
            return "200 OK", large, orjson.dumps(items)
        return (status, [("Etag", "e")], b"")

    request: Any = _Request(answers, sysmeta)
    found = Subanswer({"REQUEST_METHOD": "HEAD"}, "200 OK", large, [], 0.0)
    work = copies.copy_parts(request, copying.Source("b", "k", None), found, {})
    assert work is not None
    return request, work


def test_what_is_copied_onto_itself_takes_the_place_of_nothing_else() -> None:
    """What came meanwhile would be lost; if that was a deletion, the parts are about to go."""
    request, work = _copied_onto_itself({}, "412 Precondition Failed")
    with pytest.raises(S3Error) as raised:
        work()
    assert (raised.value.code, raised.value.reason) == ("ServiceUnavailable", "changed_meanwhile")
    method, _, headers = request.asked[-1]
    assert (method, headers["HTTP_X_BACKEND_IF_CURRENT_TIMESTAMP"]) == ("PUT", _TIME)


def test_what_is_kept_elsewhere_or_is_somebody_elses_shares_no_parts() -> None:
    for sysmeta, key in (({"versions-location": "old"}, "k"), ({}, "target")):
        request, work = _copied_onto_itself(sysmeta, "201 Created", key)
        work()
        copy = next(headers for _, _, headers in request.asked if "HTTP_X_COPY_FROM" in headers)
        assert copy["HTTP_X_COPY_FROM"] == f"/b%2Bsegments/{key}/{_UPLOAD}/1"


@pytest.mark.parametrize("sysmeta, version", [({"versions-location": "old"}, None), ({}, "0000000001.00000")])
def test_parts_of_what_was_archived_stay(
    monkeypatch: Any, sysmeta: dict[str, str], version: str | None
) -> None:
    """In a container of Swift's, or as a version since a moment ago."""
    told = [("X-Backend-Replaced-Large-Object", f"1;{_UPLOAD}")]
    told += [("X-Object-Version-Id", version)] if version else []

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "HEAD":
            return "200 OK", [*_LARGE, ("X-Timestamp", _TIME)], b""
        return "204 No Content", told, b""

    removed: list[str] = []
    monkeypatch.setattr(conditional_deletes, "remove_parts", lambda *args: removed.append(args[3]))
    monkeypatch.setattr(replaced.layout, "rows_below", lambda *_: removed.append("listed") or ())
    request: Any = _Request(answers, sysmeta)
    condition = conditional_deletes.of_deletion("*", None, None)
    conditional_deletes.delete_one(request, "k", None, condition)
    replaced.clean_up(request, Subanswer({"REQUEST_METHOD": "PUT"}, "201 Created", told, [], 0.0))
    assert not removed


def test_parts_of_what_a_server_has_missed_the_archiving_of_stay(monkeypatch: Any) -> None:
    """Versions are suspended now; the one that the server tells of was made before."""
    row = {
        "name": "k",
        "version_id": "0000000002.00000",
        "last_modified": "2026-11-21T05:10:30.123450",
        "slo_etag": "4",
    }

    def answers(method: str, query: dict[str, str]) -> Any:
        if method == "GET":
            return "200 OK", [], orjson.dumps([row])
        if "version-id" in query:
            return "200 OK", [*_LARGE, ("X-Object-Sysmeta-S3api-Upload-Id", _UPLOAD)], b""
        return "200 OK", [], b""

    told = [("X-Backend-Replaced-Large-Object", f"1;{_UPLOAD},2;{_UPLOAD[:-1]}v")]
    removed: list[str] = []
    monkeypatch.setattr(replaced.layout, "rows_below", lambda *args: removed.append(args[2]) or ())
    request: Any = _Request(answers, {"versions-container": "v", "versions-enabled": "False"})
    replaced.clean_up(request, Subanswer({"REQUEST_METHOD": "PUT"}, "201 Created", told, [], 0.0))
    assert removed == [f"k/{_UPLOAD[:-1]}v/"]


def test_the_segments_of_what_goes_to_an_archive_stay() -> None:
    assert _deletion({"versions-location": "old", "versions-mode": "history"}, None) == {}


def test_the_checksum_of_a_copy_of_unknown_length() -> None:
    """Of a dynamic large object that is listed on several pages."""

    def answers(method: str, query: dict[str, str]) -> Any:
        return "200 OK", [], b"some bytes"

    def given(*arguments: Any) -> Subanswer:
        body = arguments[5]
        while body.read(4):
            pass
        return Subanswer({"REQUEST_METHOD": "PUT"}, "201 Created", [], [], 0.0)

    request: Any = _Request(answers, {})
    request.given = given
    algorithm = checksums.ALGORITHMS["crc32"]
    expected = algorithm.make()
    expected.update(b"some bytes")
    place = streamed_copies.Place("b", "k", {})
    _, kept = streamed_copies.copy(request, place, place, {}, algorithm)
    assert kept == checksums.stored(algorithm, expected.digest())


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_copied_part_takes_no_place_in_an_upload_that_is_complete(is_streamed: bool) -> None:
    """That was completed while it was copied."""

    def answers(method: str, query: dict[str, str]) -> Any:
        return "200 OK", [("Content-Length", "10"), ("Etag", "e")], b"some bytes" if method == "GET" else b""

    taken = []

    def given(*arguments: Any) -> Subanswer:
        while data := arguments[5].read(4):
            taken.append(data)
        return Subanswer({"REQUEST_METHOD": "PUT"}, "201 Created", [], [], 0.0)

    def check() -> None:
        raise S3Error("NoSuchUpload")

    request: Any = _Request(answers, {}, HTTP_X_AMZ_COPY_SOURCE="/b/source")
    request.given = given
    algorithm = checksums.ALGORITHMS["crc32"] if is_streamed else None
    copy = copying.copy_part(request, "b+segments", "k/u/1", algorithm, "a/b", check)
    with pytest.raises(S3Error) as raised:
        copy()
    assert raised.value.code == "NoSuchUpload"
    assert len(b"".join(taken)) < 10 and "PUT" not in [method for method, _, _ in request.asked]


def test_where_a_version_is_current_there_is_no_null_marker() -> None:
    """Suspended versions: a key is deleted if none of its versions is latest, not if it has none of the id "null"."""
    row = {"name": "k", "version_id": "0000000001.00000", "content_type": "text/plain"}

    class Request(_Request):
        def error_of(self, answer: Subanswer, *_: Any) -> S3Error:
            answer.close()
            return S3Error("NoSuchKey")

    for is_latest in (True, False):

        def answers(method: str, query: dict[str, str], is_latest: bool = is_latest) -> Any:
            if method == "GET":
                return "200 OK", [], orjson.dumps([{**row, "is_latest": is_latest}])
            return ("201 Created" if method == "PUT" else "404 Not Found"), [], b""

        request = Request(answers, {"versions-container": "v", "versions-enabled": "False"})
        gone = objects.delete_one(request, "k", "null")  # type: ignore[arg-type]
        assert gone == objects.Gone(not is_latest, "null")
        assert any(asked[0] == "PUT" for asked in request.asked) == (not is_latest)
