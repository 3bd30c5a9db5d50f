"""The symlink filter before a store of two dictionaries: which requests go where, with whose rights, and what is kept and shown."""

import json

import pytest
from object_stand_in import MD5, TEXT, Store, ask

from swift.core import capabilities
from swift.middleware.symlink import SymlinkFilter, filter_factory

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
SYS = "X-Object-Sysmeta-Symlink-Target"


@pytest.fixture
def store():
    made = Store()
    made.put("/v1/a/c/o", X_Object_Meta_Color="red")
    return made


@pytest.fixture
def app(store):
    return SymlinkFilter(store, 2)


def link(store, path, target, **more):
    given = {f"X-Object-Sysmeta-{name.replace('_', '-')}": value for name, value in more.items()}
    store.put(path, b"", **{SYS: target, "Content-Type": "application/symlink", **given})


def paths(store):
    return [(method, path) for method, path, *_ in store.asked]


# -- reads


def test_a_link_shows_what_it_leads_to(store, app):
    link(store, "/v1/a/c/l", "c/o")
    status, headers, body = ask(app, "GET", "/v1/a/c/l")
    assert (status, body, headers["x-object-meta-color"]) == (200, TEXT, "red")
    assert headers["content-location"] == "/v1/a/c/o"
    status, headers, body = ask(app, "HEAD", "/v1/a/c/l")
    assert (status, body, headers["content-length"], headers["etag"]) == (200, b"", "10", MD5)


def test_ranges_and_conditions_are_the_targets(store, app):
    link(store, "/v1/a/c/l", "c/o")
    assert ask(app, "GET", "/v1/a/c/l", {"Range": "bytes=2-4"})[::2] == (206, b"234")
    # the link is empty: a range of it would be none
    assert (
        store.asked[0][2]["X-Backend-Ignore-Range-If-Metadata-Present"] == "x-object-sysmeta-symlink-target"
    )
    assert ask(app, "GET", "/v1/a/c/l", {"If-None-Match": MD5})[0] == 304
    assert ask(app, "GET", "/v1/a/c/l", {"If-None-Match": EMPTY})[0] == 200
    assert ask(app, "GET", "/v1/a/c/l", {"If-Match": EMPTY})[0] == 412


def test_the_link_itself(store, app):
    link(
        store,
        "/v1/a/c/l",
        "c/o",
        Symlink_Target_Account="b",
        Symlink_Target_Etag="e",
        Symlink_Target_Bytes="3",
    )
    status, headers, body = ask(app, "GET", "/v1/a/c/l?format=x&symlink=get")
    assert (status, body, headers["x-symlink-target"], headers["x-symlink-target-account"]) == (
        200,
        b"",
        "c/o",
        "b",
    )
    assert (headers["x-symlink-target-etag"], headers["x-symlink-target-bytes"]) == ("e", "3")
    assert SYS.lower() not in headers and "content-location" not in headers
    for query in ("symlink=", "symlink=got", "xsymlink=get", "symlink"):
        assert ask(app, "GET", f"/v1/a/c/l?{query}")[0] == 404  # of account b
    assert paths(store)[-1] == ("GET", "/v1/b/c/o")


def test_quoted_names_are_unquoted_once(store, app):
    store.put("/v1/a/c/%41 \xe2\x98\x83?", b"odd")
    link(store, "/v1/a/c/l", "c/%2541%20%E2%98%83%3F")
    status, headers, body = ask(app, "GET", "/v1/a/c/l")
    assert (status, body) == (200, b"odd")
    assert headers["content-location"] == "/v1/a/c/%2541%20%E2%98%83%3F"


def test_where_it_leads_to_nothing(store, app):
    link(store, "/v1/a/c/l", "c/none")
    status, headers, _ = ask(app, "GET", "/v1/a/c/l")
    assert status == 404 and headers["content-location"] == "/v1/a/c/none"


def test_links_to_links(store, app):
    """Two may follow each other; an account that is named holds for the next one, too."""
    link(store, "/v1/a/c/l1", "c/l2", Symlink_Target_Account="b")
    link(store, "/v1/b/c/l2", "c/o")
    store.put("/v1/b/c/o", b"b's")
    assert ask(app, "GET", "/v1/a/c/l1")[2] == b"b's"
    link(store, "/v1/a/c/l0", "c/l1")
    status, _, body = ask(app, "GET", "/v1/a/c/l0")
    assert (status, body) == (409, b"Too many levels of symbolic links, maximum allowed is 2")


@pytest.mark.parametrize("extends", ["false", "true"])
def test_circles_end(store, app, extends):
    link(store, "/v1/a/c/x", "c/y", Symloop_Extend=extends)
    link(store, "/v1/a/c/y", "c/x", Symloop_Extend=extends)
    assert ask(app, "GET", "/v1/a/c/x")[0] == 409
    assert len(store.asked) <= 8


def test_links_of_versions_do_not_count(store, app):
    link(store, "/v1/a/c/v", "c/l1", Symloop_Extend="true")
    link(store, "/v1/a/c/l1", "c/l2")
    link(store, "/v1/a/c/l2", "c/w")
    link(store, "/v1/a/c/w", "c/o", Symloop_Extend="true")
    assert ask(app, "GET", "/v1/a/c/v")[::2] == (200, TEXT)


def test_a_static_link_holds_what_it_was_made_for(store, app):
    link(store, "/v1/a/c/s", "c/o", Symlink_Target_Etag=MD5)
    link(store, "/v1/a/c/ss", "c/s", Symlink_Target_Etag=MD5)
    assert ask(app, "GET", "/v1/a/c/ss")[::2] == (200, TEXT)
    assert ask(app, "GET", "/v1/a/c/ss", {"If-None-Match": MD5})[0] == 304
    store.put("/v1/a/c/o", b"other")
    status, headers, body = ask(app, "GET", "/v1/a/c/s")
    assert status == 409 and headers["content-location"] == "/v1/a/c/o"
    assert (
        body
        == b"Object Etag '795f3202b17cb6bc3d4b771d8c6c9eaf' does not match X-Symlink-Target-Etag header '%s'"
        % MD5.encode()
    )
    link(store, "/v1/a/c/s", "c/o", Symlink_Target_Etag="795f3202b17cb6bc3d4b771d8c6c9eaf")
    status, headers, body = ask(app, "GET", "/v1/a/c/ss")
    assert (status, body) == (409, b"X-Symlink-Target-Etag headers do not match")
    assert headers["content-location"] == "/v1/a/c/s"
    del store.objects["/v1/a/c/o"]
    assert ask(app, "GET", "/v1/a/c/s")[0] == 404


# -- rights


def test_each_step_is_asked_for(store, app):
    link(store, "/v1/a/c/l", "c/o", Symlink_Target_Account="b")
    store.put("/v1/b/c/o")
    for refused in ("/v1/a/c/l", "/v1/b/c/o"):
        store.allow = lambda method, path, refused=refused: path != refused
        status, _, body = ask(app, "GET", "/v1/a/c/l")
        assert status == 403 and TEXT not in body


def test_what_one_link_allows_the_next_one_does_not(store, app):
    """A version is read with the right of the filter that made its link. If it is a link itself, that leads on with the client's."""
    secret = "/v1/b/secret/o"
    link(store, "/v1/a/c/o", "%00versions%00c/%00o%001", Symloop_Extend="true", Allow_Reserved_Names="true")
    link(store, "/v1/a/\0versions\0c/\0o\x001", "secret/o", Symlink_Target_Account="b")
    store.put(secret)
    client = object()
    ask(app, "GET", "/v1/a/c/o", **{"swift.authorize": client, "REMOTE_USER": "me", "swift_owner": True})
    first, internal, last = (asked[3] for asked in store.asked)
    assert internal["swift.authorize"] is not client and internal["REMOTE_USER"] == ".wsgi.pre_authed"
    assert internal["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] == "true"
    assert last["PATH_INFO"] == secret
    for environ in (first, last):
        assert environ["swift.authorize"] is client and environ["REMOTE_USER"] == "me"
        assert "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES" not in environ
    assert "swift_owner" in first and "swift_owner" not in last and "swift_owner" not in internal


def test_what_was_found_out_about_the_link_is_not_said_of_the_target(store, app):
    link(store, "/v1/a/c/l", "c/o")
    noted = {"HTTP_X_BACKEND_STORAGE_POLICY_INDEX": "1", "swift.proxy_access_log_made": True, "swob.ACL": "x"}
    ask(app, "GET", "/v1/a/c/l", **noted)
    step = store.asked[1][3]
    assert not noted.keys() & step.keys() and step["swift.source"] == "SYM"


def test_who_logs_hears_of_each_step(store, app):
    """Of those on the way at once, of the last one with the client's answer; no body is wrapped for that."""
    link(store, "/v1/a/c/l1", "c/l2")
    link(store, "/v1/a/c/l2", "c/o")
    told, client = [], []

    class Logged(Store):
        def __call__(self, environ, start_response):
            path = environ["PATH_INFO"]
            environ["swift.on_response_done"].append(lambda served: told.append(path))
            return super().__call__(environ, start_response)

    logged = Logged()
    logged.objects = store.objects
    ask(SymlinkFilter(logged, 2), "GET", "/v1/a/c/l1", **{"swift.on_response_done": client})
    assert told == ["/v1/a/c/l2"] and len(client) == 2
    for callback in client:
        callback(None)
    assert told == ["/v1/a/c/l2", "/v1/a/c/l1", "/v1/a/c/o"]


def test_who_logs_hears_of_it_without_a_server_loop_too(store):
    """An internal client reads the body itself: with its end the step ends."""
    link(store, "/v1/a/c/l", "c/o")
    told = []

    class Logged(Store):
        def __call__(self, environ, start_response):
            if "swift.on_response_done" in environ:
                environ["swift.on_response_done"].append(
                    lambda served: told.append((served.status, served.sent))
                )
            return super().__call__(environ, start_response)

    logged = Logged()
    logged.objects = store.objects
    assert ask(SymlinkFilter(logged, 2), "GET", "/v1/a/c/l")[2] == TEXT
    assert told == [(200, len(TEXT))]


# -- links made


def put(app, target="c/o", path="/v1/a/c/l", body=b"", environ=None, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(app, "PUT", path, {"X-Symlink-Target": target, **given}, body, **(environ or {}))


def kept(store, path="/v1/a/c/l"):
    return store.objects[path][0]


def test_a_link_is_an_empty_object_with_system_metadata(store, app):
    assert put(app, "c/%6f x")[0] == 201
    found = kept(store)
    assert found[SYS] == "c/o%20x" and found["Content-Type"] == "application/symlink"
    assert "X-Symlink-Target" not in found
    override = "X-Object-Sysmeta-Container-Update-Override-Etag"
    assert found[override] == f"{EMPTY}; symlink_target=c/o%20x"
    assert put(app, X_Symlink_Target_Account="b%63", Content_Type="my/type")[0] == 201
    found = kept(store)
    assert found[f"{SYS}-Account"] == "bc" and found["Content-Type"] == "my/type"
    assert found[override] == f"{EMPTY}; symlink_target=c/o; symlink_target_account=bc"
    assert paths(store) == [("PUT", "/v1/a/c/l")] * 2


@pytest.mark.parametrize("etag", [MD5, f'"{MD5}"'])
def test_a_static_link_is_made_of_what_is_there(store, app, etag):
    assert put(app, X_Symlink_Target_Etag=etag, Range="bytes=0-1", If_None_Match="*", Etag=EMPTY)[0] == 201
    found = kept(store)
    assert (found[f"{SYS}-Etag"], found[f"{SYS}-Bytes"], found["Content-Type"]) == (MD5, "10", "text/plain")
    assert found["X-Object-Sysmeta-Container-Update-Override-Etag"] == (
        f"{EMPTY}; symlink_target=c/o; symlink_target_etag={MD5}; symlink_target_bytes=10"
    )
    look = store.asked[0]
    assert look[:2] == ("HEAD", "/v1/a/c/o")
    assert not {"Range", "If-None-Match", "Etag", "X-Symlink-Target"} & look[2].keys()


def test_a_static_link_to_a_large_object(store, app):
    slo = {"X-Object-Sysmeta-Slo-Etag": "s", "X-Object-Sysmeta-Slo-Size": "999"}
    store.put("/v1/a/c/o", **slo)
    assert put(app, X_Symlink_Target_Etag=MD5)[0] == 201
    assert kept(store)[f"{SYS}-Bytes"] == "999"
    assert kept(store)["X-Object-Sysmeta-Container-Update-Override-Etag"] == (
        f"{EMPTY}; slo_etag=s; symlink_target=c/o; symlink_target_etag={MD5}; symlink_target_bytes=999"
    )


def test_static_links_to_links(store, app):
    """A dynamic one is the target itself; behind a static one stands what it holds."""
    link(store, "/v1/a/c/d", "c/o")
    assert put(app, "c/d", X_Symlink_Target_Etag=MD5)[0] == 409
    assert put(app, "c/d", X_Symlink_Target_Etag=EMPTY)[0] == 201
    assert kept(store)[f"{SYS}-Bytes"] == "0" and kept(store)["Content-Type"] == "application/symlink"
    link(store, "/v1/a/c/s", "c/o", Symlink_Target_Etag=MD5)
    assert put(app, "c/s", X_Symlink_Target_Etag=MD5)[0] == 201
    assert kept(store)[f"{SYS}-Bytes"] == "10" and kept(store)["Content-Type"] == "text/plain"
    answer = put(app, "c/s", X_Symlink_Target_Etag=EMPTY)
    assert answer[0] == 409 and answer[2] == b"X-Symlink-Target-Etag headers do not match"


@pytest.mark.parametrize(
    "target, etag, status, text",
    [
        ("c/o", "other", 409, b"Object Etag '781e5e245d69b566979b86e28d23f2c7' does not match X-Symlink-Target-Etag header 'other'"),
        ("c/none", MD5, 409, b"X-Symlink-Target does not exist"),
        ("c/loop", MD5, 409, b"X-Symlink-Target-Etag headers do not match"),
        ("c/circle", MD5, 409, b"Too many levels"),
    ],
)  # fmt: skip
def test_static_links_that_are_not_made(store, app, target, etag, status, text):
    link(store, "/v1/a/c/loop", "c/o", Symlink_Target_Etag="x")
    link(store, "/v1/a/c/circle", "c/circle", Symlink_Target_Etag=MD5)
    answer = put(app, target, X_Symlink_Target_Etag=etag)
    assert answer[0] == status and text in answer[2]
    assert "/v1/a/c/l" not in store.objects


def test_a_static_link_needs_the_right_to_read_its_target(store, app):
    store.allow = lambda method, path: path != "/v1/a/c/o"
    assert put(app, X_Symlink_Target_Etag=MD5)[0] == 403
    assert "/v1/a/c/l" not in store.objects
    assert put(app)[0] == 201  # a dynamic one shows nothing yet


@pytest.mark.parametrize(
    "target, headers, status, text",
    [
        ("/c/o", {}, 412, b"X-Symlink-Target header must be of the form <container name>/<object name>"),
        ("%2fc/o", {}, 412, b"must be of the form"),
        ("c", {}, 412, b"must be of the form"),
        ("c/", {}, 412, b"must be of the form"),
        ("", {}, 412, b"must be of the form"),
        ("%ff/%fe", {}, 412, b"Invalid UTF8 or contains NULL"),
        ("c/%00o", {}, 412, b"Invalid UTF8 or contains NULL"),
        ("%00versions%00c/%00o", {}, 412, b"Invalid UTF8 or contains NULL"),
        ("c/o", {"X-Symlink-Target-Account": ""}, 412, b"Account name cannot be empty"),
        ("c/o", {"X-Symlink-Target-Account": "a%2fb"}, 412, b"Account name cannot contain slashes"),
        ("c/o", {"X-Symlink-Target-Account": "%00a"}, 412, b"Invalid UTF8 or contains NULL"),
        ("c/l", {}, 400, b"Symlink cannot target itself"),
        ("c/%6c", {"X-Symlink-Target-Account": "%61"}, 400, b"Symlink cannot target itself"),
        ("c/o", {"X-Symlink-Target-Etag": "a;b"}, 400, b"Bad X-Symlink-Target-Etag format"),
        ("c/o", {"X-Symlink-Target-Etag": '"'}, 400, b"Bad X-Symlink-Target-Etag format"),
        ("c/o", {"X-Symlink-Target-Etag": "a\\"}, 400, b"Bad X-Symlink-Target-Etag format"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(store, app, target, headers, status, text):
    answer = ask(app, "PUT", "/v1/a/c/l", {"X-Symlink-Target": target, **headers})
    assert answer[0] == status and text in answer[2] and len(answer[2]) < 200
    assert store.asked == []


def test_a_link_has_no_bytes_of_its_own(store, app):
    answer = put(app, body=b"x")
    assert answer[::2] == (400, b"Symlink requests require a zero byte body")
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    assert put(app, body=b"x", environ=chunked)[0] == 400
    assert store.asked == []
    assert put(app, environ=chunked)[0] == 201


def test_a_link_that_is_carried_over_is_not_looked_at(store, app):
    """Container sync and versions: what they say of it is taken as it is."""
    override = {"swift.symlink_override": True}
    answer = put(
        app,
        "c/none",
        environ=override,
        X_Symlink_Target_Etag="e",
        X_Symlink_Target_Bytes="7",
        Content_Type="a/b",
    )
    assert answer[0] == 201 and paths(store) == [("PUT", "/v1/a/c/l")]
    assert (kept(store)[f"{SYS}-Etag"], kept(store)[f"{SYS}-Bytes"]) == ("e", "7")


def test_what_a_listing_was_told_of_another_link_is_not_told_again(store, app):
    """A copied link brings it along."""
    before = f"{EMPTY}; slo_etag=s; symlink_target=c/x; symlink_target_etag=e; symlink_target_bytes=1"
    put(app, X_Object_Sysmeta_Container_Update_Override_Etag=before)
    name = "X-Object-Sysmeta-Container-Update-Override-Etag"
    assert kept(store)[name] == f"{EMPTY}; slo_etag=s; symlink_target=c/o"


def test_only_the_target_makes_a_link(store, app):
    headers = {"X-Symlink-Target-Account": "b", "X-Symlink-Target-Etag": "a;b"}
    assert ask(app, "PUT", "/v1/a/c/l", headers)[0] == 201
    assert SYS not in kept(store)


# -- the others


def test_metadata_posted_to_a_link_is_its_own(store, app):
    link(store, "/v1/a/c/l", "c/o", Symlink_Target_Etag="e")
    status, headers, body = ask(app, "POST", "/v1/a/c/l", {"X-Object-Meta-A": "b"})
    assert (status, headers["location"], headers["x-symlink-target-etag"]) == (307, "/v1/a/c/o", "e")
    assert body.startswith(b"The requested POST was applied to a symlink.")
    assert paths(store) == [("POST", "/v1/a/c/l")]
    assert ask(app, "POST", "/v1/a/c/o")[0] == 202
    answer = ask(app, "POST", "/v1/a/c/o", {"X-Symlink-Target": "c/x"})
    assert answer[::2] == (400, b"A PUT request is required to set a symlink target")


def test_a_link_is_deleted_and_not_its_target(store, app):
    link(store, "/v1/a/c/l", "c/o")
    assert ask(app, "DELETE", "/v1/a/c/l")[0] == 204
    assert list(store.objects) == ["/v1/a/c/o"]


def test_listings_say_where_links_lead(store, app):
    rows = [
        {"bytes": 1, "hash": "abc", "name": "o; symlink_target=x"},
        {"bytes": 0, "hash": f"{EMPTY}; symlink_target=c/%E2%98%83", "name": "d"},
        {"bytes": 0, "hash": f"{EMPTY}; slo_etag=s; symlink_target=c/o; symlink_target_account=b; symlink_target_etag=e; symlink_target_bytes=5", "name": "s"},
        {"subdir": "x/"},
    ]  # fmt: skip
    store.rows = json.dumps(rows).encode()
    status, headers, body = ask(app, "GET", "/v1/acc%20t/c?format=json")
    assert status == 200 and headers["content-length"] == str(len(body))
    assert json.loads(body) == [
        rows[0],
        {"bytes": 0, "hash": EMPTY, "name": "d", "symlink_path": "/v1/acc%20t/c/%E2%98%83"},
        {"bytes": 0, "hash": f"{EMPTY}; slo_etag=s", "name": "s", "symlink_etag": "e", "symlink_bytes": 5, "symlink_path": "/v1/b/c/o"},
        rows[3],
    ]  # fmt: skip
    assert list(json.loads(body)[2]) == [
        "bytes",
        "hash",
        "name",
        "symlink_etag",
        "symlink_bytes",
        "symlink_path",
    ]


@pytest.mark.parametrize("method, path", [("GET", "/v1/a"), ("HEAD", "/v1/a/c"), ("PUT", "/v1/a/c/o"), ("DELETE", "/v1/a/c/o"), ("OPTIONS", "/v1/a/c/o"), ("PUT", "/v1/a/c")])  # fmt: skip
def test_other_requests_pass_as_they_are(method, path):
    seen = []

    def app(environ, start_response):
        seen.append((environ, start_response))
        return "body"

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    assert SymlinkFilter(app, 2)(environ, print) == "body"
    assert seen == [(environ, print)]


def test_an_object_that_is_no_link_keeps_its_body_and_its_headers(store, app):
    body, headers = ["body"], [("Etag", "x"), ("X-Object-Meta-A", "b")]

    def plain(environ, start_response):
        start_response("200 OK", headers)
        return body

    got = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/a/c/o"}
    assert SymlinkFilter(plain, 2)(environ, lambda *answer: got.append(answer)) is body
    assert got[0][1] is headers and list(environ) == ["REQUEST_METHOD", "PATH_INFO", "swift.parsed_path"]


@pytest.mark.parametrize("value, most", [("5", 5), ("0", 2), ("-3", 2), (None, 2)])
def test_info_tells_how_many_may_follow_each_other(value, most):
    options = {} if value is None else {"symloop_max": value}
    assert filter_factory({}, **options)(None).most == most
    assert capabilities.disclosed()["symlink"] == {"symloop_max": most, "static_links": True}
