"""Completions and aborts of one upload at the same time: one of them does it, and nothing that was acknowledged is lost."""

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from swift.core import clock
from swift.core.concurrency import Event, Timeout, spawn
from swift.core.timestamp import Timestamp
from swift.middleware.slo import upload as slo
from swift.s3 import replaced
from swift.s3.errors import S3Error
from swift.s3.identity import NOBODY
from swift.s3.lifecycle import uploads
from swift.s3.lifecycle.objects import Bucket
from swift.s3.multipart import marker
from swift.s3.multipart.complete import _Completion
from swift.s3.multipart.part_checksums import Named
from swift.s3.multipart.remove import abort
from swift.s3.write_conditions import IF_CURRENT_KEY
from swift.wire.headers import HeaderKeyDict
from swift.wire.message import environ_key
from swift.wire.subanswer import Subanswer

UPLOAD = "u" * 48
MARKER = ("b+segments", f"k/{UPLOAD}")
OBJECT = ("b", "k")
ETAGS = {number: hashlib.md5(bytes([number])).hexdigest() for number in (1, 2, 3)}
PLAIN = {"X-Object-Meta-A": "before"}


class Store:
    """Objects by (container, name), as an account's servers keep them: (time, headers)."""

    def __init__(self) -> None:
        self.there: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
        self.before_manifest: Callable[[], None] = lambda: None
        self.manifest_status = "201 Created"
        self.put(MARKER, {"Content-Type": "application/directory", "X-Object-Meta-Kept": "yes"})
        for number, etag in ETAGS.items():
            self.put((MARKER[0], f"{MARKER[1]}/{number}"), {"Etag": etag})

    def put(self, name: tuple[str, str], headers: dict[str, str], time: str = "") -> None:
        self.there[name] = (time or Timestamp.now().internal, headers)

    def parts(self) -> list[int]:
        return [number for number in ETAGS if (MARKER[0], f"{MARKER[1]}/{number}") in self.there]

    def is_stored_whole(self, numbers: list[int]) -> bool:
        """Returns True if the object is made of these parts, and they are there."""
        return self.there[OBJECT][1].get("parts") == str(numbers) and set(numbers) <= set(self.parts())

    def answer(
        self, method: str, name: tuple[str, str], headers: dict[str, Any]
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        if name[1] == "":
            rows = [
                {"name": key[1], "bytes": 9, "hash": found["Etag"], "content_type": "a/b", "last_modified": Timestamp(time).isoformat}
                for key, (time, found) in sorted(self.there.items()) if "Etag" in found
            ]  # fmt: skip
            rows = [] if "marker=" in headers.get("query", "") else rows
            return "200 OK", [], orjson.dumps(rows)
        if method == "PUT":
            return self._answer_put(name, headers)
        if name not in self.there:
            return "404 Not Found", [], b""
        time, found = self.there[name]
        if method == "POST":
            self.there[name] = time, {**found, "X-Object-Transient-Sysmeta-S3api-Aborting": "yes"}
            return "202 Accepted", [], b""
        if method == "DELETE":
            del self.there[name]
            return "204 No Content", [], b""
        return (
            "200 OK",
            [("X-Timestamp", Timestamp(time).normal), ("X-Backend-Data-Timestamp", time), *found.items()],
            b"",
        )

    def _answer_put(
        self, name: tuple[str, str], headers: dict[str, Any]
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        kept = {
            key[5:].replace("_", "-").title(): value for key, value in headers.items() if key[:6] == "HTTP_X"
        }
        hook = headers.get("swift.callback.slo_manifest_hook")
        if hook is not None:
            items, heads = headers[slo.KNOWN]
            if slo.make(items, heads, hook)[1]:
                return "400 Bad Request", [], b'{"Errors": []}'
            self.before_manifest()
            kept["parts"] = str([int(item.name.rpartition("/")[2]) for item in items])
            kept["X-Static-Large-Object"] = "True"
            if self.manifest_status != "201 Created":
                return self.manifest_status, [], b""
        seen = headers.get(IF_CURRENT_KEY)
        if seen is not None and (name not in self.there or Timestamp(self.there[name][0]) > Timestamp(seen)):
            return "412 Precondition Failed", [], b""
        self.put(name, kept, headers.get("HTTP_X_TIMESTAMP", ""))
        return "201 Created", [], b""


class Request:
    """What of an S3Request is needed, on a store."""

    bucket, key, account = "b", "k", "AUTH_test"
    method = "POST"
    resource = "/b/k"
    version_id = credential = session = app = None
    identity = NOBODY
    options = SimpleNamespace(s3_acl=False, min_segment_size=1, expirer_account=".expiring")
    logger = SimpleNamespace(error=lambda *_: None, warning=lambda *_: None, exception=lambda *_: None)

    def __init__(self, store: Store) -> None:
        self.store = store
        self.params = {"uploadId": UPLOAD}
        self.environ = {
            "HTTP_HOST": "h",
            "wsgi.url_scheme": "http",
            "RAW_PATH_INFO": "/b/k",
            "SERVER_NAME": "h",
        }

    def tell(self, *_told: Any, **_more: Any) -> None:
        pass

    def header(self, _name: str) -> str | None:
        return None

    def container_info(self, bucket: str | None = None, account: str | None = None) -> dict[str, Any]:
        return {"status": 204, "sysmeta": {}}

    def error_of(self, answer: Subanswer, bucket: str | None = None, key: str | None = None) -> S3Error:
        return S3Error("ServiceUnavailable" if answer.status >= 500 else "InvalidRequest")

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
        environ = {"REQUEST_METHOD": method, **(headers or {})}
        environ.setdefault("HTTP_X_TIMESTAMP", Timestamp.now().internal)
        status, found, data = self.store.answer(method, (container or "", obj or ""), environ)
        return Subanswer(environ, status, found, [data], 0.0)


@pytest.fixture
def store(monkeypatch: Any) -> Store:
    made = Store()
    monkeypatch.setattr(marker, "_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(marker, "_SOME_LOOKS", 1000)
    monkeypatch.setattr(replaced.queue, "send", lambda *sent: made.queued.extend(sent[6]) or True)
    made.queued = []  # type: ignore[attr-defined]
    return made


def completed(store: Store, *numbers: int) -> str:
    """ "" if it was, or what error there was."""
    request: Any = Request(store)
    parts = [Named(number, ETAGS[number], {}) for number in numbers]
    kept = marker.look(request, "b", "k", UPLOAD)
    assert kept is not None
    try:
        _Completion(request, "b", "k", UPLOAD, kept, parts, None).done()
    except S3Error as error:
        return error.code
    return ""


def aborted(store: Store) -> str:
    request: Any = Request(store)
    try:
        abort(request)
    except S3Error as error:
        return error.code
    return ""


def during(store: Store, first: Callable[[], str], then: Callable[[], str]) -> tuple[str, str]:
    """What `first` and `then` say, which comes while the manifest of the first one is being stored."""
    begun, go_on = Event(), Event()

    def wait() -> None:
        store.before_manifest = lambda: None
        begun.send()
        go_on.wait()

    store.before_manifest = wait
    with Timeout(60):
        one = spawn(first)
        begun.wait()
        other = spawn(then)
        with Timeout(0.5, False):
            other.wait()
        go_on.send()
        return one.wait(), other.wait()


def test_of_two_completions_with_different_parts_one_makes_the_object(store: Store) -> None:
    told = during(store, lambda: completed(store, 1, 2), lambda: completed(store, 2, 3))
    assert told == ("", "NoSuchUpload")
    assert store.is_stored_whole([1, 2])
    assert store.queued == [f"{MARKER[1]}/3"]  # type: ignore[attr-defined]
    assert MARKER not in store.there


def test_a_completion_that_is_sent_twice_is_told_the_same(store: Store) -> None:
    assert during(store, lambda: completed(store, 1, 2), lambda: completed(store, 1, 2)) == ("", "")
    assert store.is_stored_whole([1, 2])


def test_an_abort_takes_no_parts_of_an_object_that_is_stored_slowly(store: Store) -> None:
    assert during(store, lambda: completed(store, 1, 2), lambda: aborted(store)) == ("", "NoSuchUpload")
    assert store.is_stored_whole([1, 2])


def test_what_is_there_stays_if_the_upload_is_aborted_first(store: Store) -> None:
    store.put(OBJECT, PLAIN)
    assert aborted(store) == ""
    assert (store.parts(), MARKER in store.there) == ([], False)
    store = Store()
    store.put(OBJECT, PLAIN)
    store.put(MARKER, {"X-Object-Transient-Sysmeta-S3api-Aborting": "yes"})
    assert completed(store, 1, 2) == "NoSuchUpload"
    assert store.there[OBJECT][1] == PLAIN


def test_a_completion_that_comes_to_nothing_leaves_the_upload_as_it_was(store: Store) -> None:
    begun = marker.begun(marker.look(Request(store), "b", "k", UPLOAD))  # type: ignore[arg-type]
    store.manifest_status = "503 Service Unavailable"
    assert completed(store, 1, 2) == "ServiceUnavailable"
    found: Any = marker.look(Request(store), "b", "k", UPLOAD)  # type: ignore[arg-type]
    assert (found.get("x-object-meta-kept"), marker.is_completing(found)) == ("yes", False)
    assert marker.begun(found) == begun
    store.manifest_status = "201 Created"
    assert completed(store, 3) == ""
    assert store.is_stored_whole([3])


def _dead(store: Store, seconds: float) -> None:
    """Somebody has begun to complete the upload, and has not been heard of since."""
    store.put(
        MARKER,
        {"X-Object-Sysmeta-S3api-Completing": "yes", "X-Object-Sysmeta-S3api-Begun": "1.00000"},
        Timestamp(clock.time() - seconds).internal,
    )


def test_who_does_not_come_back_holds_up_nobody_for_ever(store: Store) -> None:
    _dead(store, 100)
    assert completed(store, 1, 2) == ""
    assert store.is_stored_whole([1, 2])
    again = Store()
    _dead(again, 100)
    assert aborted(again) == ""
    assert again.parts() == []


def test_who_takes_an_upload_over_finds_what_was_made_of_it(store: Store) -> None:
    made = {"X-Static-Large-Object": "True", "X-Object-Sysmeta-S3api-Upload-Id": UPLOAD, "parts": "[1, 2]"}
    for then in (lambda: completed(store, 2, 3), lambda: aborted(store)):
        _dead(store, 100)
        store.put(OBJECT, made)
        assert then() == "NoSuchUpload"
        assert store.is_stored_whole([1, 2])
        assert (store.parts(), MARKER in store.there) == ([1, 2, 3], False)


def test_an_object_whose_completion_lasted_too_long_is_not_acknowledged(store: Store) -> None:
    """Its upload was taken over, aborted, and its parts are gone: then it goes, too."""

    def take_over() -> None:
        store.before_manifest = lambda: None
        store.there[MARKER] = Timestamp(clock.time() - 100).internal, store.there[MARKER][1]
        assert aborted(store) == ""

    store.before_manifest = take_over
    assert completed(store, 1, 2) == "NoSuchUpload"
    assert OBJECT not in store.there


class Native(Bucket):
    """A bucket as the lifecycle daemon has it, on a store."""

    def __init__(self, store: Store) -> None:
        super().__init__(None, "AUTH_test", "b")  # type: ignore[arg-type]
        self.store = store

    def call(self, method, container, obj=None, headers=None, params=None, body=None):  # type: ignore[no-untyped-def]
        made = {environ_key(name): value for name, value in (headers or {}).items()}
        if params and "marker" in params:
            made["query"] = "marker="
        status, found, data = self.store.answer(method, (container, obj or ""), made)
        return int(status[:3]), HeaderKeyDict(found), data


def test_a_rule_aborts_no_upload_that_is_being_completed(store: Store) -> None:
    bucket = Native(store)
    first = during(
        store, lambda: completed(store, 1, 2), lambda: str(uploads.abort(bucket, "k", UPLOAD, False))
    )
    assert first == ("", "False")
    assert store.is_stored_whole([1, 2])
    other = Store()
    assert uploads.abort(Native(other), "k", UPLOAD, False)
    assert (other.parts(), MARKER in other.there) == ([], False)
