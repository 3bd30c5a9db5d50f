"""The legacy modes of versioned_writes in front of a store in memory, and the options of the filter."""

import io
import json

import pytest
from filter_stand_ins import call
from memory_store import OVERRIDE, MemoryStore

from swift.core import capabilities
from swift.core.errors import ConfigError
from swift.middleware.info import PROCESS_CACHE
from swift.middleware.symlink import SymlinkFilter
from swift.middleware.versioned_writes.filter import VersionedWrites, filter_factory
from swift.wire.body_input import SourceBroken
from swift.wire.message import HTTPForbidden

A = "/v1/AUTH_test"
MARKER = "application/x-deleted;swift_versions_deleted=1"


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    PROCESS_CACHE.clear()
    monkeypatch.setattr(PROCESS_CACHE, "max_age", 0.0)
    yield
    PROCESS_CACHE.clear()


class World:
    def __init__(self, allowed=True, versioning=False):
        self.store = MemoryStore()
        self.app = VersionedWrites(SymlinkFilter(self.store, 2), allowed, versioning)
        self.authorize = None

    def call(self, method, path, body=b"", **headers):
        environ = {"HTTP_" + name.upper(): value for name, value in headers.items()}
        if "HTTP_CONTENT_TYPE" in environ:
            environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
        if method in ("PUT", "POST"):
            environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        if self.authorize is not None:
            environ["swift.authorize"] = self.authorize
        return call(self.app, A + path, method, environ=environ)

    def get(self, path):
        return self.call("GET", path)

    def body(self, path):
        answer = self.get(path)
        return answer.body if answer.status_int == 200 else answer.status_int

    def archived(self, container="old"):
        return self.store.containers["AUTH_test", container]["objects"]

    def kept(self):
        return [
            (name.partition("/")[0], one.data, one.content_type == MARKER)
            for name, one in sorted(self.archived().items())
        ]


@pytest.fixture(params=["X_Versions_Location", "X_History_Location"])
def mode(request):
    return request.param


@pytest.fixture
def world():
    made = World()
    made.call("PUT", "/c", X_Versions_Location="old")
    made.call("PUT", "/old")
    return made


# -- containers --------------------------------------------------------------------------------------------------------------


def test_only_who_may_change_a_container_hears_that_it_has_versions(mode):
    world = World(versioning=True)
    assert world.call("PUT", "/c", X_Versions_Enabled="true").status_int == 201
    world.authorize = lambda request: HTTPForbidden(request=request)
    assert world.call("POST", "/c", **{mode: "old"}).status_int == 403
    world.authorize = lambda request: None
    assert world.call("POST", "/c", **{mode: "old"}).status_int == 400


def test_the_location_is_kept_and_shown(mode):
    world = World()
    assert world.call("PUT", "/c", **{mode: "old"}).status_int == 201
    stored = world.store.containers["AUTH_test", "c"]
    assert stored["X-Container-Sysmeta-Versions-Location"] == "old"
    assert stored["X-Container-Sysmeta-Versions-Mode"] == {"X_V": "stack", "X_H": "history"}[mode[:3]]
    name = mode.replace("_", "-")
    assert world.call("HEAD", "/c").headers[name] == "old"
    assert world.get("/c").headers[name] == "old"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Versions_Location": ""}, {"X_History_Location": ""}, {"X_Remove_Versions_Location": "x"}, {"X_Remove_History_Location": "x"},
        {"X_Versions_Location": "", "X_History_Location": ""},
    ],
)  # fmt: skip
def test_the_location_is_taken_away(mode, headers):
    world = World()
    world.call("PUT", "/c", **{mode: "old"})
    assert world.call("POST", "/c", **headers).status_int == 204
    assert "X-Container-Sysmeta-Versions-Location" not in world.store.containers["AUTH_test", "c"]
    assert not {"X-Versions-Location", "X-History-Location"} & set(world.call("HEAD", "/c").headers)


@pytest.mark.parametrize(
    "headers, status, body",
    [
        ({"X_Versions_Location": "a/b"}, 412, b"Container name cannot contain slashes"),
        ({"X_History_Location": "a%2Fb"}, 412, b"Container name cannot contain slashes"),
        ({"X_Versions_Location": "/"}, 412, b"Container name cannot contain slashes"),
        ({"X_Versions_Location": "%00versions%00c"}, 412, b"Container name cannot contain slashes"),
        (
            {"X_Versions_Location": "a", "X_History_Location": "b"}, 400,
            b"Only one of x-versions-location or x-history-location may be specified",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_locations_that_are_none(world, headers, status, body, method):
    answer = world.call(method, "/c", **headers)
    assert (answer.status_int, answer.body) == (status, body)
    assert world.call("HEAD", "/c").headers["X-Versions-Location"] == "old"


def test_setting_wins_over_taking_away(world):
    world.call(
        "POST", "/c", X_History_Location="new", X_Remove_Versions_Location="x", X_Remove_History_Location="x"
    )
    assert world.call("HEAD", "/c").headers["X-History-Location"] == "new"
    world.call("POST", "/c", X_Versions_Location="", X_History_Location="newer")
    assert world.call("HEAD", "/c").headers["X-History-Location"] == "newer"


@pytest.mark.parametrize("allowed", [False, None])
def test_where_it_is_off_nobody_is_told_that_it_is_on(allowed, mode):
    world = World(allowed)
    answer = world.call("PUT", "/c", **{mode: "old"})
    assert (answer.status_int, answer.body) == (412, b"Versioned Writes is disabled")
    assert ("AUTH_test", "c") not in world.store.containers
    assert world.call("PUT", "/c", X_Remove_Versions_Location="x").status_int == 201


def test_not_together_with_object_versioning(mode):
    world = World(versioning=True)
    world.call("PUT", "/c", X_Versions_Enabled="true")
    assert world.call("POST", "/c", **{mode: "old"}).status_int == 400
    assert world.call("PUT", "/new", X_Versions_Enabled="true", **{mode: "old"}).status_int == 400
    assert ("AUTH_test", "new") not in world.store.containers
    world.call("POST", "/c", X_Versions_Enabled="false")
    assert world.call("POST", "/c", **{mode: "old"}).status_int == 204


# -- PUT ---------------------------------------------------------------------------------------------------------------------


def test_what_is_overwritten_is_kept(mode):
    world = World()
    world.call("PUT", "/c", **{mode: "old"})
    assert world.call("PUT", "/c/o", b"1").status_int == 201
    # without an archive nothing is overwritten
    assert world.call("PUT", "/c/o", b"2").status_int == 412
    assert world.body("/c/o") == b"1"
    world.call("PUT", "/old")
    assert world.call("PUT", "/c/o?x=y", b"2", Content_Type="text/2", X_Object_Meta_A="2").status_int == 201
    world.call("PUT", "/c/o", b"3")
    times = [one.timestamp for one in (world.store.containers["AUTH_test", "c"]["objects"]["o"],)]
    names = sorted(world.archived())
    assert [name.partition("/")[0] for name in names] == ["001o", "001o"]
    assert [world.archived()[name].data for name in names] == [b"1", b"2"]
    second = world.archived()[names[1]]
    assert (second.content_type, second.headers) == ("text/2", {"X-Object-Meta-A": "2"})
    assert times[0] > names[1].partition("/")[2] > names[0].partition("/")[2]


def test_names_of_copies_count_bytes(world):
    world.call("PUT", "/c/%C3%A4/%20x", b"1")
    world.call("PUT", "/c/%C3%A4/%20x", b"2")
    [name] = world.archived()
    assert name.startswith("005\xc3\xa4/ x/")


def test_manifests_and_links_are_kept_as_such(world):
    store = world.store.containers["AUTH_test", "c"]["objects"]
    environ = {
        "CONTENT_TYPE": "x/y;swift_bytes=700", "HTTP_X_STATIC_LARGE_OBJECT": "True", "HTTP_X_OBJECT_SYSMETA_SLO_SIZE": "700",
        "CONTENT_LENGTH": "4", "swift.content_type_overridden": True, "wsgi.input": io.BytesIO(b"[..]"),
    }  # fmt: skip
    assert call(world.app, A + "/c/m", "PUT", environ=environ).status_int == 201
    world.call("PUT", "/c/m", b"plain")
    [copy] = [one for name, one in world.archived().items() if name.startswith("001m")]
    assert copy.content_type == "x/y; swift_bytes=700" and copy.headers["X-Static-Large-Object"] == "True"
    world.call("PUT", "/c/l", X_Symlink_Target="c/m")
    store["l"].headers[OVERRIDE] = "etag; slo_etag=x; symlink_target=c/m"
    world.call("PUT", "/c/l", b"plain")
    [copy] = [one for name, one in world.archived().items() if name.startswith("001l")]
    assert copy.headers["X-Object-Sysmeta-Symlink-Target"] == "c/m"
    assert copy.headers[OVERRIDE] == "etag; slo_etag=x; symlink_target=c/m"
    world.call("DELETE", "/c/l")
    assert store["l"].headers["X-Object-Sysmeta-Symlink-Target"] == "c/m"


def test_a_put_that_cannot_be_copies_nothing(world):
    world.call("PUT", "/c/o", b"1")
    assert world.call("PUT", "/c/o", b"2", If_None_Match="*").status_int == 412
    assert world.kept() == []


@pytest.mark.parametrize("failing, shown", [(404, 412), (403, 412), (507, 503), (503, 503), (499, 503)])
def test_without_a_copy_nothing_is_overwritten_or_deleted(world, failing, shown, mode):
    world.call("POST", "/c", **{mode: "old"})
    world.call("PUT", "/c/o", b"1")
    world.store.fail = lambda environ: (
        failing if environ["REQUEST_METHOD"] == "PUT" and "/old/" in environ["PATH_INFO"] else None
    )
    assert world.call("PUT", "/c/o", b"2").status_int == shown
    assert world.body("/c/o") == b"1"
    if mode == "X_History_Location":
        assert world.call("DELETE", "/c/o").status_int == shown
        assert world.body("/c/o") == b"1"


def test_a_source_that_breaks_off_is_no_copy(world):
    world.call("PUT", "/c/o", b"123456")

    class Broken(list):
        def __iter__(self):
            yield b"123"
            raise OSError("gone")

    real = world.app.archive.app

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith("/c/o"):
            real(environ, start_response)
            return Broken()
        return real(environ, start_response)

    world.app.archive.app = app
    # The stand-in lets through what the proxy answers with 499.
    with pytest.raises(SourceBroken):
        world.call("PUT", "/c/o", b"2")
    world.app.archive.app = real
    assert world.body("/c/o") == b"123456"
    assert world.kept() == []


# -- DELETE ------------------------------------------------------------------------------------------------------------------


def test_stack_brings_back_what_was_before(world):
    for turn in range(3):
        world.call("PUT", "/c/o", b"%d" % turn, Content_Type=f"text/{turn}", X_Object_Meta_A=f"{turn}")
    for turn in (1, 0):
        assert world.call("DELETE", "/c/o?x=y").status_int == 204
        answer = world.get("/c/o")
        assert (answer.body, answer.headers["Content-Type"]) == (b"%d" % turn, f"text/{turn}")
        assert answer.headers["X-Object-Meta-A"] == f"{turn}"
        assert len(world.kept()) == turn
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.call("DELETE", "/c/o").status_int == 404


def test_history_keeps_and_marks(world):
    world.call("POST", "/c", X_History_Location="old")
    world.call("PUT", "/c/h", b"1")
    world.call("PUT", "/c/h", b"2")
    assert world.call("DELETE", "/c/h").status_int == 204
    assert world.call("DELETE", "/c/h").status_int == 404
    assert world.kept() == [
        ("001h", b"1", False),
        ("001h", b"2", False),
        ("001h", b"", True),
        ("001h", b"", True),
    ]
    # as recorded: back in stack mode a marker on a marker goes alone, one on a copy brings that back
    world.call("POST", "/c", X_Versions_Location="old")
    assert world.call("DELETE", "/c/h").status_int == 204
    assert world.body("/c/h") == 404
    assert world.call("DELETE", "/c/h").status_int == 204
    assert world.body("/c/h") == b"2"
    assert world.kept() == [("001h", b"1", False)]


def test_a_marker_below_an_object_lets_it_go(world):
    world.call("POST", "/c", X_History_Location="old")
    world.call("PUT", "/c/h", b"1")
    world.call("DELETE", "/c/h")
    world.call("PUT", "/c/h", b"2")
    world.call("POST", "/c", X_Versions_Location="old")
    assert world.call("DELETE", "/c/h").status_int == 204
    assert world.body("/c/h") == 404
    assert world.kept() == [("001h", b"1", False), ("001h", b"", True)]


def test_a_listed_copy_that_is_gone_is_passed_over(world):
    for turn in range(3):
        world.call("PUT", "/c/o", b"%d" % turn)
    newest = f"{A}/old/{max(world.archived())}"
    world.store.fail = lambda environ: 404 if environ["PATH_INFO"] == newest else None
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.body("/c/o") == b"0"


def test_many_copies_page_by_page(world):
    for turn in range(5):
        world.call("PUT", "/c/o", b"%d" % turn)
    gone = sorted(world.archived())[1:]
    real = world.store.container_get

    def two_at_a_time(environ, key, obj):
        environ["QUERY_STRING"] += "&limit=2"
        return real(environ, key, obj)

    world.store.container_get = two_at_a_time
    world.store.fail = lambda environ: (
        404 if any(environ["PATH_INFO"].endswith(name) for name in gone) else None
    )
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.body("/c/o") == b"0"


def test_of_many_copies_few_are_listed(world):
    for turn in range(12):
        world.call("PUT", "/c/o", b"%d" % turn)
    real, listed = world.store.container_get, []

    def noted(environ, key, obj):
        status, headers, data = real(environ, key, obj)
        listed.append(len(json.loads(data)))
        return status, headers, data

    world.store.container_get = noted
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.body("/c/o") == b"10" and listed == [8]
    real_copies = sorted(world.archived())
    for name in real_copies[1:]:
        del world.archived()[name]
    real_rows = world.store._page
    world.store._page = lambda environ, rows: real_rows(
        environ, {**{name: {**next(iter(rows.values())), "name": name} for name in real_copies}, **rows}
    )
    listed.clear()
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.body("/c/o") == b"0" and listed == [8, 2]


def test_a_copy_goes_only_once_it_is_the_object(world):
    world.call("PUT", "/c/o", b"1")
    world.call("PUT", "/c/o", b"2")
    for failing, shown in ((503, 503), (202, 503), (413, 412)):
        world.store.fail = lambda environ, failing=failing: (
            failing if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"] == f"{A}/c/o" else None
        )
        assert world.call("DELETE", "/c/o").status_int == shown
        assert world.body("/c/o") == b"2"
        assert world.kept() == [("001o", b"1", False)]


@pytest.mark.parametrize("failing, shown", [(503, 503), (403, 412)])
def test_an_archive_that_cannot_be_listed(world, failing, shown):
    world.call("PUT", "/c/o", b"1")
    world.store.fail = lambda environ: (
        failing if environ["PATH_INFO"] == f"{A}/old" and environ["REQUEST_METHOD"] == "GET" else None
    )
    assert world.call("DELETE", "/c/o").status_int == shown
    assert world.body("/c/o") == b"1"


# -- who may -----------------------------------------------------------------------------------------------------------------


def test_nothing_is_moved_for_those_who_may_not(world, mode):
    world.call("POST", "/c", X_Container_Write="writers", **{mode: "old"})
    world.call("PUT", "/c/o", b"1")
    world.store.seen.clear()
    world.authorize = lambda request: HTTPForbidden(request=request)
    for method in ("PUT", "DELETE"):
        assert world.call(method, "/c/o", b"2").status_int == 403
    assert {method for method, _, _ in world.store.seen} <= {"HEAD"}
    world.authorize = lambda request: None if request.acl == "writers" else HTTPForbidden(request=request)
    assert world.call("PUT", "/c/o", b"2").status_int == 201
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.call("POST", "/c", **{mode: "other"}).status_int == 403


# -- options -----------------------------------------------------------------------------------------------------------------


def test_what_old_container_servers_kept_counts_unless_forbidden():
    for allowed, copies in ((None, 1), (True, 1), (False, 0)):
        world = World(allowed)
        world.call("PUT", "/c")
        world.call("PUT", "/old")
        world.store.containers["AUTH_test", "c"]["X-Versions-Location"] = "old"
        world.call("PUT", "/c/o", b"1")
        world.call("PUT", "/c/o", b"2")
        assert len(world.archived()) == copies


def test_a_location_counts_only_where_the_feature_is_on():
    for allowed, copies in ((None, 0), (True, 1), (False, 0)):
        world = World(allowed)
        world.call("PUT", "/c", X_Container_Sysmeta_Versions_Location="old")
        world.call("PUT", "/old")
        world.call("PUT", "/c/o", b"1")
        world.call("PUT", "/c/o", b"2")
        assert len(world.archived()) == copies


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_without_object_versioning_no_version_is_taken_for_the_object(method):
    world = World()
    world.call("PUT", "/c")
    world.call("PUT", "/c/o", b"1")
    for query in ("version-id=1", "version-id=null", "a=b&version-id=", "%76ersion-id=1"):
        assert world.call(method, f"/c/o?{query}").status_int == 400
    assert world.call("PUT", "/d", X_Versions_Enabled="true").status_int == 400
    assert world.call("PUT", "/d", X_Versions_Enabled="false").status_int == 201
    assert world.body("/c/o") == b"1"


def test_factory_options():
    capabilities.forget_all()
    plain = filter_factory({})(object())
    assert (plain.allowed, plain.versioning) == (None, False)
    assert capabilities.disclosed() == {}
    assert filter_factory({}, allow_versioned_writes="false")(object()).allowed is False
    with pytest.raises(ConfigError, match="symlink"):
        filter_factory({}, allow_object_versioning="true")(object())
    capabilities.forget_all()
    capabilities.register("symlink")
    both = filter_factory({}, allow_versioned_writes="true", allow_object_versioning="true")(object())
    assert (both.allowed, both.versioning) == (True, True)
    info = capabilities.disclosed()
    assert info["versioned_writes"] == {"allowed_flags": ["x-versions-location", "x-history-location"]}
    assert info["object_versioning"] == {}
    capabilities.forget_all()


def test_without_it_one_request_is_one_and_the_body_the_very_same():
    body = [b"the very body"]

    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    for allowed in (None, True, False):
        assert call(VersionedWrites(app, allowed), A + "/c/o", read=False).raw_body is body
    world = World()
    world.call("PUT", "/plain")
    for method in ("PUT", "DELETE", "GET", "POST", "HEAD"):
        world.store.seen.clear()
        world.call(method, "/plain/o", b"1")
        assert [entry[0] for entry in world.store.seen if not (entry[2] or "").startswith("GET_")] == [method]


def test_rows_of_the_archive_are_not_believed(world):
    world.call("PUT", "/c/o", b"1")
    world.store.container_get = lambda environ, key, obj: (
        200,
        {"Content-Type": "application/json"},
        json.dumps([]).encode(),
    )
    assert world.call("DELETE", "/c/o").status_int == 204
