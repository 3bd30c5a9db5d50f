"""The copy filter before a store of two dictionaries: what is read, what is written, what is told."""

import json

import pytest
from filter_stand_ins import App, call, memory_logger
from object_stand_in import MD5, TEXT, Store
from object_stand_in import ask as asked

from swift.core.constraints import Limits, set_limits
from swift.middleware import copy as copy_module
from swift.middleware.copy import CopyFilter
from swift.wire.message import Response, status_map


@pytest.fixture
def store():
    set_limits(Limits())
    made = Store()
    made.put("/v1/a/c/o", X_Object_Meta_Color="red", X_Object_Sysmeta_Own="1", X_Delete_At="9999999999")
    return made


def ask(store, method, path, headers=None, body=b"", **environ):
    """(status, headers in lower case, body) of a request through the filter."""
    logger, store.lines = memory_logger()
    return asked(
        CopyFilter(store, {"yield_frequency": "0.01"}, logger), method, path, headers, body, **environ
    )


BOTH = pytest.mark.parametrize(
    "method, path, headers",
    [("COPY", "/v1/a/c/o", {"Destination": "d/n"}), ("PUT", "/v1/a/d/n", {"X-Copy-From": "/c/o"})],
)


@BOTH
def test_the_object_and_what_is_known_of_it_go_along(store, method, path, headers):
    status, answer, body = ask(store, method, path, headers)
    assert (status, body) == (201, b"")
    kept, data = store.objects["/v1/a/d/n"]
    assert data == TEXT and kept["Content-Type"] == "text/plain"
    assert (kept["X-Object-Meta-Color"], kept["X-Object-Sysmeta-Own"], kept["X-Delete-At"]) == (
        "red",
        "1",
        "9999999999",
    )
    assert answer["x-copied-from"] == "c/o" and answer["x-copied-from-account"] == "a"
    assert answer["x-copied-from-last-modified"] == "Mon, 30 Nov 2026 01:00:00 GMT"
    assert answer["x-object-meta-color"] == "red" and answer["x-delete-at"] == "9999999999"
    read, write = store.asked
    assert read[2]["X-Newest"] == "true" and write[2]["Etag"] == MD5
    assert read[3]["swift.source"] == write[3]["swift.source"] == "SSC"
    assert write[3]["swift.orig_req_method"] == method and "swift.orig_req_method" not in read[3]
    for name in ("Destination", "X-Copy-From"):
        assert name not in read[2] and name not in write[2]


@BOTH
def test_what_the_request_says_itself_wins(store, method, path, headers):
    more = {"X-Object-Meta-Color": "blue", "X-Object-Meta-New": "1", "Content-Type": "image/png"}
    ask(store, method, path, {**headers, **more})
    kept = store.objects["/v1/a/d/n"][0]
    assert (kept["X-Object-Meta-Color"], kept["X-Object-Meta-New"], kept["Content-Type"]) == (
        "blue",
        "1",
        "image/png",
    )


@BOTH
def test_fresh_metadata_leaves_system_metadata_only(store, method, path, headers):
    ask(store, method, path, {**headers, "X-Fresh-Metadata": "yes", "X-Object-Meta-New": "1"})
    kept = store.objects["/v1/a/d/n"][0]
    assert "X-Object-Meta-Color" not in kept and "X-Delete-At" not in kept
    assert kept["X-Object-Sysmeta-Own"] == kept["X-Object-Meta-New"] == "1"
    assert kept["Content-Type"] == "text/plain"


@BOTH
def test_a_copy_has_nothing_of_its_sources_lock(store, method, path, headers):
    """Else who may read something locked leaves what nobody can remove wherever he may write."""
    kept = "X-Object-Transient-Sysmeta-S3Api-"
    given = {f"{kept}Retention": "COMPLIANCE;4000000000", f"{kept}Legal-Hold": "ON", f"{kept}Tagging": "a=b"}
    store.put("/v1/a/c/o", **given)
    assert ask(store, method, path, headers)[0] == 201
    sent = {name.lower(): value for name, value in store.asked[1][2].items()}
    assert sent[f"{kept}Tagging".lower()] == "a=b"
    assert not {f"{kept}Retention".lower(), f"{kept}Legal-Hold".lower()} & sent.keys()


@BOTH
def test_what_is_allowed_to_the_link_to_a_version_is_not_to_its_copy(store, method, path, headers):
    """Else the copy, led elsewhere by its client, would be followed to what that one may not read."""
    names = ("Allow-Reserved-Names", "Symloop-Extend", "Versions-Symlink")
    given = {f"X-Object-Sysmeta-{name}": "true" for name in names}
    store.put("/v1/a/c/o", b"", **given, **{"X-Symlink-Target": "c/o"})
    theirs = {"X-Symlink-Target": "secret/o", "X-Symlink-Target-Account": "b", "X-Symlink-Target-Etag": ""}
    assert ask(store, method, f"{path}?symlink=get", {**headers, **theirs})[0] == 201
    assert store.asked[1][2]["X-Symlink-Target"] == "secret/o"
    assert not given.keys() & store.asked[1][2].keys()


@BOTH
def test_headers_of_the_answer_and_of_the_inside_are_no_metadata(store, method, path, headers):
    store.put(
        "/v1/a/c/o", X_Backend_Data_Timestamp="1", X_Trans_Id="tx", Vary="x", Transfer_Encoding="chunked"
    )
    ask(store, method, path, headers)
    given = store.asked[1][2]
    assert (
        not {"X-Backend-Data-Timestamp", "X-Trans-Id", "Vary", "Transfer-Encoding", "Last-Modified"}
        & given.keys()
    )


@BOTH
def test_a_part_of_it(store, method, path, headers):
    assert ask(store, method, path, {**headers, "Range": "bytes=2-4"})[0] == 201
    assert store.objects["/v1/a/d/n"][1] == b"234"
    assert "Etag" not in store.asked[1][2] and "Range" not in store.asked[1][2]


@BOTH
@pytest.mark.parametrize(
    "more, status",
    [
        ({"Range": "bytes=100-"}, 416),
        ({"Range": "bytes=0-1,4-5"}, 400),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": MD5}, 304),
        ({"If-Match": '"other"'}, 412),
    ],
)
def test_conditions_and_ranges_are_the_sources(store, method, path, headers, more, status):
    assert ask(store, method, path, {**headers, **more})[0] == status
    assert "/v1/a/d/n" not in store.objects


@BOTH
def test_the_overrides_of_an_object_are_no_ones_of_a_part(store, method, path, headers):
    name = "X-Object-Sysmeta-Container-Update-Override-Etag"
    store.put("/v1/a/c/o", **{name: "kept; x=y"})
    ask(store, method, path, headers)
    assert store.objects["/v1/a/d/n"][0][name] == "kept; x=y"
    ask(store, method, path, {**headers, "Range": "bytes=0-1"})
    assert name not in store.objects["/v1/a/d/n"][0]


@pytest.mark.parametrize(
    "method, path, headers, status, text",
    [
        ("COPY", "/v1/a/c/o", {}, 412, b"Destination header required"),
        ("COPY", "/v1/a/c/o", {"Destination": ""}, 412, b"Destination header required"),
        ("COPY", "/v1/a/c/o", {"Destination": "d"}, 412, b"of the form <container name>/<object name>"),
        ("COPY", "/v1/a/c/o", {"Destination": "//d/o"}, 412, b"of the form"),
        ("COPY", "/v1/a/c/o", {"Destination": "/d/"}, 412, b"of the form"),
        ("COPY", "/v1/a/c/o", {"Destination": "%2f%2f/d"}, 412, b"of the form"),
        ("COPY", "/v1/a/c/o", {"Destination": "d/n", "Destination-Account": ""}, 412, b"cannot be empty"),
        ("COPY", "/v1/a/c/o", {"Destination": "d/n", "Destination-Account": "b%2fc"}, 412, b"cannot contain slashes"),
        ("PUT", "/v1/a/d/n", {"X-Copy-From": "c"}, 412, b"X-Copy-From header must be of the form"),
        ("PUT", "/v1/a/d/n", {"X-Copy-From": "/"}, 412, b"of the form"),
        ("PUT", "/v1/a/d/n", {"X-Copy-From": "c/o", "X-Copy-From-Account": "a/b"}, 412, b"slashes"),
        ("PUT", "/v1/a/d/n", {"X-Copy-From": "c/none"}, 404, b"could not be found"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(store, method, path, headers, status, text):
    answer = ask(store, method, path, headers)
    assert answer[0] == status and text in answer[2]
    assert list(store.objects) == ["/v1/a/c/o"]
    assert all(asked[0] == "GET" for asked in store.asked)


def test_a_put_with_a_body_is_no_copy(store):
    answer = ask(store, "PUT", "/v1/a/d/n", {"X-Copy-From": "c/o"}, b"body")
    assert answer[0] == 400 and answer[2] == b"Copy requests require a zero byte body"
    chunked = {"X-Copy-From": "c/o", "Transfer-Encoding": "chunked"}
    assert ask(store, "PUT", "/v1/a/d/n", chunked, b"body", CONTENT_LENGTH="")[0] == 400
    assert store.asked == []


def test_names_are_unquoted_once_and_told_quoted(store):
    store.put("/v1/a/c/%41 \xc3\xa9?")
    quoted = "c/%2541%20%C3%A9%3F"
    answer = ask(store, "PUT", "/v1/a/d/n", {"X-Copy-From": quoted})
    assert answer[0] == 201 and answer[1]["x-copied-from"] == quoted
    ask(store, "COPY", "/v1/a/c/o", {"Destination": quoted.replace("c/", "d/")})
    assert "/v1/a/d/%41 \xc3\xa9?" in store.objects


def test_other_accounts(store):
    assert ask(store, "COPY", "/v1/a/c/o", {"Destination": "d/n", "Destination-Account": "b"})[0] == 201
    assert "/v1/b/d/n" in store.objects
    answer = ask(store, "PUT", "/v1/x/d/n", {"X-Copy-From": "c/o", "X-Copy-From-Account": "a"})
    assert answer[0] == 201 and answer[1]["x-copied-from-account"] == "a"
    assert "/v1/x/d/n" in store.objects


@BOTH
@pytest.mark.parametrize("refused", ["GET", "PUT"])
def test_who_may_not_read_the_one_or_write_the_other_copies_nothing(store, method, path, headers, refused):
    store.allow = lambda verb, _path: verb != refused
    assert ask(store, method, path, headers)[0] == 403
    assert list(store.objects) == ["/v1/a/c/o"]


def test_the_right_to_one_of_them_does_not_go_to_the_other(store):
    """What an authorization notes in the environ of the read is not in that of the write."""

    class Noting(Store):
        def GET(self, request, path):
            request.environ["swift_owner"] = True
            return super().GET(request, path)

    noting = Noting()
    noting.objects = store.objects
    assert ask(noting, "COPY", "/v1/a/c/o", {"Destination": "d/n"})[0] == 201
    assert "swift_owner" not in noting.asked[1][3]


@BOTH
@pytest.mark.parametrize("ending", [[], [RuntimeError("broken")]])
def test_of_a_source_that_breaks_off_nothing_is_stored(store, method, path, headers, ending):
    store.pieces = [TEXT[:4], *ending]
    status, _, body = ask(store, method, path, headers)
    assert status == 503 and b"nothing was stored" in body
    assert list(store.objects) == ["/v1/a/c/o"] and store.closed == 1
    assert "broke off" in store.lines[0]


@BOTH
def test_the_source_is_let_go_of_when_the_write_is_refused(store, method, path, headers):
    store.pieces = [TEXT]
    store.PUT = lambda request, path: status_map[413](request=request)
    assert ask(store, method, path, headers)[0] == 413
    assert store.closed == 1


def test_what_has_no_known_length_or_is_too_long_is_not_copied(store):
    set_limits(Limits(max_file_size=9))
    assert ask(store, "COPY", "/v1/a/c/o", {"Destination": "d/n"})[0] == 413
    set_limits(Limits())

    class Unsized(Store):
        def GET(self, request, path):
            return Response(app_iter=iter([TEXT]), request=request)

    assert ask(Unsized(), "COPY", "/v1/a/c/o", {"Destination": "d/n"})[0] == 413


def test_large_objects(store):
    """A manifest is copied as one if asked for, else what it stands for."""
    slo = {
        "X-Static-Large-Object": "True",
        "X-Object-Sysmeta-Slo-Etag": "x",
        "X-Object-Sysmeta-Slo-Size": "9",
    }
    store.put("/v1/a/c/o", **slo)
    ask(store, "COPY", "/v1/a/c/o?multipart-manifest=get&version-id=3&x=", {"Destination": "d/n"})
    read, write = store.asked
    assert read[3]["QUERY_STRING"] == "multipart-manifest=get&version-id=3&x=&format=raw"
    assert write[3]["QUERY_STRING"] == "x=&multipart-manifest=put"
    assert "Etag" not in write[2] and "X-Static-Large-Object" not in write[2]
    ask(store, "COPY", "/v1/a/c/o", {"Destination": "d/n"})
    assert not any(name.startswith("X-Object-Sysmeta-Slo") for name in store.asked[3][2])
    store.put("/v1/a/c/o", X_Object_Manifest="c/seg")
    ask(store, "COPY", "/v1/a/c/o?multipart-manifest=get", {"Destination": "d/n", "X-Fresh-Metadata": "1"})
    assert store.asked[5][2]["X-Object-Manifest"] == "c/seg" and store.asked[5][3]["QUERY_STRING"] == ""
    assert store.asked[5][2]["Etag"] == MD5
    ask(store, "COPY", "/v1/a/c/o", {"Destination": "d/n"})
    assert "X-Object-Manifest" not in store.asked[7][2] and "Etag" not in store.asked[7][2]


def test_a_manifest_that_nobody_here_reads_is_not_taken_for_an_object(store, monkeypatch):
    monkeypatch.setattr(copy_module, "_ALL", frozenset(("symlink",)))
    store.put("/v1/a/c/o", **{"X-Static-Large-Object": "True"})
    answer = ask(store, "COPY", "/v1/a/c/o", {"Destination": "d/n"})
    assert answer[0] == 400 and b"slo" in answer[2]


def test_a_link_is_copied_as_one_if_asked_for(store):
    store.put("/v1/a/c/o", b"", **{"X-Symlink-Target": "c/t"})
    ask(store, "COPY", "/v1/a/c/o?symlink=get", {"Destination": "d/n"})
    assert store.asked[1][2]["X-Symlink-Target"] == "c/t"


def test_options_name_it(store):
    _, headers, _ = ask(store, "OPTIONS", "/v1/a/c/o")
    assert headers["allow"] == "GET, PUT, COPY" and headers["access-control-allow-methods"] == "PUT, COPY"
    assert ask(store, "OPTIONS", "/v1/a/c")[1]["allow"] == "GET, PUT"


def test_options_that_are_refused_name_what_was_named():
    refusing = App("401 Unauthorized", [("Allow", "GET, PUT")])
    assert call(CopyFilter(refusing, {}), method="OPTIONS").headers["Allow"] == "GET, PUT"


def test_containers_and_accounts_are_not_copied(store):
    assert ask(store, "COPY", "/v1/a/c", {"Destination": "d/n"})[0] == 405
    assert store.asked[0][0] == "COPY"


def test_an_empty_header_asks_for_nothing(store):
    assert ask(store, "PUT", "/v1/a/d/n", {"X-Copy-From": ""}, b"own")[0] == 201
    assert store.objects["/v1/a/d/n"][1] == b"own"
    assert "X-Copy-From" not in store.asked[0][2]


@pytest.mark.parametrize("accept", ["application/json", "text/plain", "image/png", "what?"])
def test_a_copy_that_takes_long_is_told_of_at_its_end(store, accept):
    headers = {"Destination": "d/n", "Accept": accept}
    status, answer, body = ask(store, "COPY", "/v1/a/c/o?heartbeat=on", headers)
    assert status == 202 and body.startswith(b" ")
    assert store.objects["/v1/a/d/n"][1] == TEXT
    assert b"heartbeat" not in store.asked[1][3]["QUERY_STRING"].encode()
    if accept == "application/json":
        told = json.loads(body)
        assert told["Response Status"] == "201 Created" and told["Errors"] == []
        assert told["X-Copied-From"] == "c/o" and told["X-Object-Meta-Color"] == "red"
        assert "X-Object-Sysmeta-Own" not in told
    else:
        assert answer["content-type"] == "text/plain"
        lines = body.decode().strip().splitlines()
        assert "Response Status: 201 Created" in lines and lines[-1] == "Errors:"


def test_what_fails_late_is_told_late_and_what_fails_early_early(store):
    headers = {"Destination": "d/n", "Accept": "application/json"}
    assert ask(store, "COPY", "/v1/a/c/none?heartbeat=on", headers)[0] == 404
    store.PUT = lambda request, path: status_map[404](request=request)
    status, _, body = ask(store, "COPY", "/v1/a/c/o?heartbeat=on", headers)
    told = json.loads(body)
    assert status == 202 and told["Response Status"] == "404 Not Found"
    assert told["Errors"] == [["c/o", "404 Not Found"]]


def test_both_halves_are_told_of_to_who_logs(store):
    """The read as one of its own, by the callbacks of a server loop, so that its body is not wrapped."""
    told = []

    class Logged(Store):
        def __call__(self, environ, start_response):
            environ["swift.on_response_done"].append(told.append)
            return super().__call__(environ, start_response)

    logged = Logged()
    logged.objects = store.objects
    done = []
    ask(
        logged,
        "COPY",
        "/v1/a/c/o",
        {"Destination": "d/n"},
        **{"swift.on_response_done": done, "swift.proxy_access_log_made": True},
    )
    (read,) = told
    assert (read.status, read.sent, read.error) == (200, len(TEXT), None)
    assert "swift.proxy_access_log_made" not in read.environ
    assert done == [told.append]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT"])
def test_other_requests_pass_as_they_are(method):
    seen = []

    def app(environ, start_response):
        seen.append((environ, start_response))
        return "body"

    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/v1/a/c/o"}
    assert CopyFilter(app, {})(environ, print) == "body"
    assert seen == [(environ, print)] and list(environ) == ["REQUEST_METHOD", "PATH_INFO"]
