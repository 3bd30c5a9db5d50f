"""The filter `bulk` over a store in memory: what is stored and deleted, what is told, who stops it."""

import bz2
import gzip
import io
import json
import tarfile

import pytest
from filter_stand_ins import memory_logger

from swift.core import capabilities, concurrency
from swift.middleware.bulk.filter import Bulk, filter_factory
from swift.wire.errors import ClientDisconnected, ClientError
from swift.wire.message import Request


class Store:
    """Answers as a proxy would; `answers`: (method, path) → status instead; `delays`: path → seconds."""

    def __init__(self):
        self.objects = {}
        self.containers = set()
        self.answers = {}
        self.delays = {}
        self.seen = []
        self.running = self.most = 0
        self.clock = 0

    def __call__(self, environ, start_response):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            status = self.answer(environ)
        finally:
            self.running -= 1
        start_response(f"{status} Whatever", [("Content-Length", "0")])
        return [b""]

    def answer(self, environ):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.seen.append((method, path))
        self.environ = environ
        self.clock += 1
        now = self.clock
        concurrency.sleep(self.delays.get(path, 0))
        if environ.get("HTTP_X_AUTH_TOKEN") != "good":
            return 401
        if (method, path) in self.answers:
            return self.answers[method, path]
        container = "/".join(path.split("/")[:4])
        if container == path:
            return self.on_container(method, path)
        if container not in self.containers:
            return 404
        if method == "PUT":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            if self.objects.get(path, (0,))[0] > now:
                return 409
            kept = {k: v for k, v in environ.items() if k.startswith(("HTTP_X_", "CONTENT_TYPE"))}
            self.objects[path] = (now, body, kept)
            return 201
        return 204 if self.objects.pop(path, None) else 404

    def on_container(self, method, path):
        if method == "HEAD":
            return 204 if path in self.containers else 404
        if method == "PUT":
            self.containers.add(path)
            return 201
        if path not in self.containers:
            return 404
        if any(name.startswith(f"{path}/") for name in self.objects):
            return 409
        self.containers.remove(path)
        return 204


def tar(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, data, *more in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = more[0] if more else {}
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def ask(store, method, path, body=b"", conf=None, headers=(), input_=None):
    """(Response Status, the summary, the whole body)."""
    filter_ = Bulk(store, conf or {}, memory_logger()[0])
    request = Request.blank(path, environ={"REQUEST_METHOD": method})
    request.headers.update({"X-Auth-Token": "good", "Accept": "application/json", **dict(headers)})
    request.body = body
    if input_ is not None:
        request.environ["wsgi.input"] = input_
    status, _, chunks = request.call_application(filter_)
    assert status == "200 OK"
    whole = b"".join(chunks)
    summary = json.loads(whole)
    return summary["Response Status"], summary, whole


def extract(store, *members, path="/v1/a?extract-archive=tar", **more):
    return ask(store, "PUT", path, tar(*members), **more)


def delete(store, *names, **more):
    return ask(store, "POST", "/v1/a?bulk-delete", "\n".join(names).encode(), **more)


@pytest.fixture(autouse=True)
def _the_hub_of_servers():
    concurrency.hub()  # it is never changed while somebody waits


@pytest.fixture
def store():
    return Store()


def bodies(store):
    return {path: body for path, (_, body, _) in store.objects.items()}


LONG = b"x" * 300_000


def test_files_become_objects(store):
    status, summary, _ = extract(store, ("c/a", b"1"), ("./c/b/c", b""), ("/d/long", LONG), ("top", b"x"))
    assert status == "201 Created"
    assert summary == {
        "Response Status": status,
        "Response Body": "",
        "Number Files Created": 3,
        "Errors": [],
    }
    assert bodies(store) == {"/v1/a/c/a": b"1", "/v1/a/c/b/c": b"", "/v1/a/d/long": LONG}


@pytest.mark.parametrize(("kind", "pack"), [("tar.gz", gzip.compress), ("tar.bz2", bz2.compress)])
def test_packed_ones_do_too(store, kind, pack):
    body = pack(tar(("a", b"1"), ("long", LONG)))
    assert ask(store, "PUT", f"/v1/a/c?extract-archive={kind}", body)[0] == "201 Created"
    assert bodies(store) == {"/v1/a/c/a": b"1", "/v1/a/c/long": LONG}


def test_other_requests_pass_untouched(store):
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        start_response("200 OK", [])
        return answer

    answer = [b"very own"]
    filter_ = Bulk(app, {}, memory_logger()[0])
    for method, query in (("GET", "bulk-delete"), ("GET", "extract-archive=tar"), ("PUT", "bulk-delete"), ("PUT", ""), ("POST", "extract-archive=tar"), ("DELETE", "x=bulk"), ("PUT", "a=%41")):  # fmt: skip
        request = Request.blank(f"/v1/a/c/o?{query}", environ={"REQUEST_METHOD": method})
        assert filter_(request.environ, lambda *args: None) is answer
        assert seen.pop() is request.environ


def test_subrequests_carry_the_credentials_and_nothing_else(store):
    headers = {"X-Object-Meta-Color": "blue", "X-Delete-At": "5", "X-Container-Meta-No": "x", "Range": "bytes=0-1", "If-None-Match": "*", "User-Agent": "me"}  # fmt: skip
    extract(store, ("c/a", b"1"), headers=headers)
    environ = store.environ
    assert (environ["HTTP_X_OBJECT_META_COLOR"], environ["HTTP_X_DELETE_AT"]) == ("blue", "5")
    assert not {"HTTP_X_CONTAINER_META_NO", "HTTP_RANGE", "HTTP_IF_NONE_MATCH"} & set(environ)
    assert environ["QUERY_STRING"] == ""
    assert (environ["swift.source"], environ["HTTP_USER_AGENT"]) == ("EA", "me BulkExpand")
    delete(store, "c/a", headers={"User-Agent": "me"})
    environ = store.environ
    assert (environ["swift.source"], environ["HTTP_USER_AGENT"]) == ("BD", "me BulkDelete")
    assert "HTTP_X_OBJECT_META_COLOR" not in environ


def test_attributes_become_headers_unless_they_would_be_others(store):
    good = {"SCHILY.xattr.user.mime_type": "text/x", "LIBARCHIVE.xattr.user.meta.Ü": "☃"}
    bad = [
        {"SCHILY.xattr.user.meta.a": "b\nX-Container-Meta-C: d"},
        {"SCHILY.xattr.user.meta.a: b\r\nX-C": "d"},
        {"SCHILY.xattr.user.meta.a b": "c"},
        {"SCHILY.xattr.user.mime_type": "a\x00b"},
    ]
    members = [("c/good", b"1", good), *((f"c/bad{n}", b"x", pax) for n, pax in enumerate(bad))]
    status, summary, _ = extract(store, *members)
    assert status == "400 Bad Request"
    assert summary["Errors"] == [[f"c/bad{n}", "400 Bad Request"] for n in range(len(bad))]
    kept = store.objects["/v1/a/c/good"][2]
    assert kept["CONTENT_TYPE"] == "text/x"
    assert kept["HTTP_X_OBJECT_META_Ü".encode().decode("latin-1")] == "☃".encode().decode("latin-1")
    assert list(store.objects) == ["/v1/a/c/good"]


def test_no_name_leads_out_of_the_account(store):
    names = ("../b/c/o", "/../../b/c/o", "c/../../b/c/o", "..//x", "c/./../o", "\\\\host\\share/x")
    extract(store, *((name, b"x") for name in names))
    delete(store, *names)
    assert all(path.startswith("/v1/a/") for _, path in store.seen)
    assert "/v1/a/.." in store.containers  # a name like any other


@pytest.mark.parametrize("path, name", [("/v1/a", "c/"), ("/v1/a/c", "./"), ("/v1/a/c", "/")])
def test_a_file_without_a_name_is_not_told_as_stored(store, path, name):
    status, summary, _ = extract(store, (name, b"data"), path=f"{path}?extract-archive=tar")
    assert status == "400 Bad Request" and summary["Number Files Created"] == 0
    assert summary["Errors"] == [["c/", "412 Precondition Failed"]]
    assert all(method == "HEAD" or path == "/v1/a/c" for method, path in store.seen)


def test_the_later_one_of_two_of_a_name_stays(store):
    store.delays["/v1/a/c/x"] = 0.01
    members = [("c/x", b"first"), *((f"c/{n}", b"") for n in range(20)), ("c/x", LONG), ("c/x", b"last")]
    status, summary, _ = extract(store, *members)
    assert (status, summary["Number Files Created"]) == ("201 Created", 23)
    assert bodies(store)["/v1/a/c/x"] == b"last"


def test_small_files_are_stored_beside_each_other_with_bounds(store):
    store.delays = {f"/v1/a/c/{n}": 0.001 for n in range(300)}
    extract(store, *((f"c/{n}", b"x") for n in range(300)))
    assert 4 < store.most <= 16
    store.most = 0
    status, summary, _ = delete(store, *(f"c/{n}" for n in range(300)))
    assert summary["Number Deleted"] == 300
    assert 4 < store.most <= 32


def test_servers_in_trouble_get_fewer_at_a_time(store):
    store.containers.add("/v1/a/c")
    for n in range(200):
        store.delays[f"/v1/a/c/{n}"] = 0.001
        store.answers["DELETE", f"/v1/a/c/{n}"] = 503
    status, summary, _ = delete(store, *(f"c/{n}" for n in range(200)))
    assert status == "502 Bad Gateway"
    assert len(summary["Errors"]) == 200
    assert store.most <= 2


def test_a_wrong_token_ends_it(store):
    status, summary, _ = extract(store, ("c/a", b"1"), ("d/b", b"2"), headers={"X-Auth-Token": "bad"})
    assert (status, summary["Errors"], len(store.seen)) == ("401 Unauthorized", [], 1)
    assert not store.objects


@pytest.mark.parametrize("place, asked", [("/v1/a", "/v1/a"), ("/v1/a/c/o", "/v1/a/c")])
def test_nothing_is_unpacked_for_a_stranger(store, place, asked):
    """A megabyte of them is a minute's work, and none is a file for which rights would be asked."""
    unread = io.BytesIO(gzip.compress(tar(("top", b"1"))))
    path = f"{place}?extract-archive=tar.gz"
    status, _, _ = ask(store, "PUT", path, b"x", headers={"X-Auth-Token": "bad"}, input_=unread)
    assert (status, store.seen, unread.tell()) == ("401 Unauthorized", [("HEAD", asked)], 0)


def test_failures_are_told_in_their_order_and_end_it_when_there_are_too_many(store):
    store.containers.add("/v1/a/c")
    for n in range(40):
        store.answers["PUT", f"/v1/a/c/{n}"] = 403
        store.delays[f"/v1/a/c/{n}"] = (n % 3) * 0.001
    conf = {"max_failed_extractions": "10"}
    status, summary, _ = extract(store, *((f"c/{n}", b"x") for n in range(40)), conf=conf)
    assert status == "400 Bad Request"
    names = [int(name.partition("/")[2]) for name, _ in summary["Errors"]]
    assert names == sorted(names)
    assert 10 <= len(names) < 40
    for n in range(40):
        store.answers["DELETE", f"/v1/a/c/{n}"] = 403
    conf = {"max_failed_deletes": "10"}
    status, summary, _ = delete(store, *(f"c/{n}" for n in range(40)), conf=conf)
    assert (status, summary["Response Body"]) == ("400 Bad Request", "Max delete failures exceeded")
    assert 10 <= len(summary["Errors"]) < 40


def test_containers_have_a_limit_and_are_not_made_beyond_it(store):
    conf = {"max_containers_per_extraction": "2"}
    status, summary, _ = extract(store, *((f"c{n}/o", b"x") for n in range(4)), conf=conf)
    assert status == "400 Bad Request"
    assert summary["Response Body"] == "More than 2 containers to create from tar."
    assert summary["Number Files Created"] == 2
    assert store.containers == {"/v1/a/c0", "/v1/a/c1"}


def test_a_long_file_that_breaks_off_is_not_stored(store):
    body = tar(("c/small", b"1"), ("c/long", LONG))[:200_000]
    status, summary, _ = ask(store, "PUT", "/v1/a?extract-archive=tar", body)
    assert (status, summary["Response Body"]) == (
        "400 Bad Request",
        "Invalid Tar File: unexpected end of data",
    )
    assert summary["Errors"] == [["c/long", "400 Bad Request"]]
    assert bodies(store) == {"/v1/a/c/small": b"1"}


class Leaving(io.BytesIO):
    """A client that goes after so many bytes."""

    def read(self, size=-1):
        data = super().read(size)
        if not data:
            raise ClientDisconnected("gone")
        return data


def test_a_client_that_leaves_ends_it(store):
    body = Leaving(tar(("c/small", b"1"), ("c/long", LONG))[:100_000])
    with pytest.raises(ClientError):
        ask(store, "PUT", "/v1/a?extract-archive=tar", b"x", input_=body)
    assert "/v1/a/c/long" not in store.objects
    with pytest.raises(ClientError):
        ask(store, "POST", "/v1/a?bulk-delete", b"x", input_=Leaving(b"c/small\n"))
    assert "/v1/a/c/small" in store.objects


@pytest.mark.parametrize(
    ("accept", "start"),
    [("application/json", b" "), ("text/xml", b'<?xml version="1.0" encoding="UTF-8"?>\n '), (None, b" ")],
)
def test_signs_of_life(store, accept, start):
    store.containers.add("/v1/a/c")
    store.delays["/v1/a/c/slow"] = 0.1
    request = Request.blank("/v1/a?bulk-delete", environ={"REQUEST_METHOD": "POST"})
    request.headers.update({"X-Auth-Token": "good"})
    if accept:
        request.headers["Accept"] = accept
    request.body = b"c/slow"
    filter_ = Bulk(store, {"yield_frequency": "0.02"}, memory_logger()[0])
    _, headers, chunks = request.call_application(filter_)
    whole = b"".join(chunks)
    assert dict(headers) == {"Content-Type": accept or "text/plain"}
    assert whole.startswith(start)
    beats, _, summary = whole.partition(b"\r\n\r\n")
    assert set(beats.removeprefix(start)) <= {32}
    assert b"Number Not Found" in summary or b"number_not_found" in summary
    request.body = b"c/quick"
    _, _, chunks = request.call_application(filter_)
    assert not b"".join(chunks).startswith((b" ", b"<?xml"))


def test_who_goes_away_ends_the_work(store):
    store.containers.add("/v1/a/c")
    store.delays = {f"/v1/a/c/{n}": 0.02 for n in range(1000)}
    request = Request.blank("/v1/a?bulk-delete", environ={"REQUEST_METHOD": "POST"})
    request.headers["X-Auth-Token"] = "good"
    request.body = "\n".join(f"c/{n}" for n in range(1000)).encode()
    filter_ = Bulk(store, {"yield_frequency": "0.01"}, memory_logger()[0])
    _, _, chunks = request.call_application(filter_)
    assert next(iter(chunks)) == b" "
    chunks.close()
    concurrency.sleep(0.05)
    seen = len(store.seen)
    concurrency.sleep(0.1)
    assert len(store.seen) == seen < 500


def test_names_are_deleted_objects_before_containers(store):
    extract(store, ("c/a", b"1"), ("c/b", b"2"), ("ü/ö", b"3"))
    status, summary, _ = delete(store, "c", "/c/a", "c/b", "", "%C3%BC/%C3%B6", "c/a", "none/x", "%ff/x")
    assert summary["Errors"] == [["%FF/x", "412 Precondition Failed"]]
    assert (summary["Number Deleted"], summary["Number Not Found"]) == (4, 2)
    assert status == "400 Bad Request"
    assert store.containers == {"/v1/a/ü".encode().decode("latin-1")}


@pytest.mark.parametrize("line", ["/", "//", "%2F", "c\n%2f%2F"])
def test_no_list_deletes_the_account(store, line):
    status, summary, _ = delete(store, line)
    assert (status, summary["Errors"][0][1]) == ("400 Bad Request", "412 Precondition Failed")
    assert {path for _, path in store.seen} <= {"/v1/a/c"}


def test_a_container_that_is_not_empty_yet_is_asked_for_again(store, monkeypatch):
    monkeypatch.setattr(
        concurrency, "sleep", lambda seconds: store.answers.clear() if seconds == 1.5 else None
    )
    store.containers.add("/v1/a/c")
    store.answers["DELETE", "/v1/a/c"] = 409
    assert delete(store, "c", conf={"delete_container_retry_count": "2"})[0] == "200 OK"
    store.containers.add("/v1/a/c")
    store.answers["DELETE", "/v1/a/c"] = 409
    assert delete(store, "c")[1]["Errors"] == [["c", "409 Conflict"]]


class Endless:
    """A body that never ends."""

    def __init__(self, piece):
        self.piece = piece
        self.given = 0

    def read(self, size=-1):
        self.given += len(self.piece)
        assert self.given < 100 << 20
        return self.piece


@pytest.mark.parametrize("piece", [b"\n" * 65536, b"x" * 65536, b"c/x\n" * 16384])
def test_lists_without_end_are_refused(store, piece):
    status, summary, _ = ask(store, "POST", "/v1/a?bulk-delete", b"x", input_=Endless(piece))
    assert status[:3] in ("400", "413")
    assert not store.seen


def test_an_error_of_ours_is_a_summary_without_a_traceback(store):
    def broken(environ, start_response):
        raise RuntimeError("secret")

    status, _, whole = ask(broken, "POST", "/v1/a?bulk-delete", b"c/x")
    assert status == "500 Internal Error"
    assert b"secret" not in whole


def test_what_it_tells_of_itself_and_bad_options():
    capabilities.forget_all()
    filter_factory({}, max_deletes_per_request="5")
    told = capabilities.disclosed()
    assert told["bulk_delete"] == {"max_deletes_per_request": 5, "max_failed_deletes": 1000}
    assert told["bulk_upload"] == {"max_containers_per_extraction": 10000, "max_failed_extractions": 1000}
    for options in ({"delete_concurrency": "0"}, {"delete_concurrency": "1001"}, {"yield_frequency": "x"}):
        with pytest.raises(ValueError):
            filter_factory({}, **options)
