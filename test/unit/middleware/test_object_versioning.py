"""Object versioning in front of a store in memory. Documents marked `recorded` are the reference's own."""

import hashlib
import io
import itertools
import json
from urllib.parse import quote

import memory_store
import pytest
from filter_stand_ins import call
from hypothesis import given
from hypothesis import strategies as st
from memory_store import OVERRIDE, MemoryStore

from swift.core import clock
from swift.core.object_lock import Word, word_of
from swift.core.timestamp import Timestamp
from swift.middleware.info import PROCESS_CACHE
from swift.middleware.info.forms import usable_container_info
from swift.middleware.object_copies import Opened
from swift.middleware.object_versioning import names
from swift.middleware.object_versioning.context import denied
from swift.middleware.object_versioning.filter import ObjectVersioning
from swift.middleware.object_versioning.objects import Objects
from swift.middleware.symlink import SymlinkFilter
from swift.wire.message import HTTPForbidden, Request, str_to_wsgi

A = "/v1/AUTH_test"
MARKER = "application/x-deleted;swift_versions_deleted=1"


class World:
    """A store with versions in front of it, and a client whose rights are `authorize`."""

    def __init__(self):
        self.store = MemoryStore()
        self.app = ObjectVersioning(SymlinkFilter(self.store, 2))
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

    def put(self, path, body=b"", **headers):
        answer = self.call("PUT", path, body, **headers)
        assert answer.status_int == 201, answer.status
        return answer.headers.get("X-Object-Version-Id")

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def versions(self, query="", container="/c"):
        answer = self.get(f"{container}?versions&format=json{query}")
        assert answer.status_int == 200, answer.status
        assert answer.headers["Content-Length"] == str(len(answer.body))
        return json.loads(answer.body)

    def brief(self, query=""):
        return [
            row["subdir"] if "subdir" in row else (row["name"], row["version_id"], row["is_latest"])
            for row in self.versions(query)
        ]

    def objects(self, container):
        return self.store.containers["AUTH_test", container]["objects"]

    @property
    def hidden(self):
        return self.objects("\0versions\0c")


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    PROCESS_CACHE.clear()
    monkeypatch.setattr(PROCESS_CACHE, "max_age", 0.0)
    yield
    PROCESS_CACHE.clear()


@pytest.fixture
def world():
    made = World()
    assert made.call("PUT", "/c", X_Versions_Enabled="true").status_int == 201
    return made


# -- names -------------------------------------------------------------------------------------------------------------------


def test_names_of_versions():
    assert names.version_name("o", Timestamp("1795237309.17416")) == "\0o\0008204762690.82583"
    assert names.parse_version_name("\0o\0008204762690.82583") == ("o", "1795237309.17416")
    assert names.hidden_container("c") == "\0versions\0c"
    for wrong in ("o", "\0o", "\0o\0x", "\0o\0\0", "\0a\0b\0008204762690.82583"):
        with pytest.raises(ValueError):
            names.parse_version_name(wrong)
    for path in (
        "/v1/a/c/o",
        "/v1/a/%00versions%00c",
        "/v1/a/%00other%00c/%00o%008204762690.82583",
        "x",
        "",
        "/v1/a/%00versions%00c/o",
    ):
        assert names.parse_path(path) is None


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    st.integers(0, 10**15 - 1),
)
def test_any_name_and_time_come_back(name, raw):
    stamp = Timestamp.from_raw(raw)
    wsgi = str_to_wsgi(name)
    assert names.parse_version_name(names.version_name(wsgi, stamp)) == (wsgi, stamp.internal)


# -- containers --------------------------------------------------------------------------------------------------------------


def test_enabling_makes_the_hidden_container_and_says_so(world):
    stored = world.store.containers["AUTH_test", "c"]
    assert stored["X-Container-Sysmeta-Versions-Enabled"] == "True"
    assert stored["X-Container-Sysmeta-Versions-Container"] == "%00versions%00c"
    assert ("AUTH_test", "\0versions\0c") in world.store.containers
    assert world.call("HEAD", "/c").headers["X-Versions-Enabled"] == "True"
    assert world.call("POST", "/c", X_Versions_Enabled="no").status_int == 204
    assert world.call("HEAD", "/c").headers["X-Versions-Enabled"] == "False"


@pytest.mark.parametrize(
    "value, shown", [("maybe", "False"), ("", "False"), ("T", "True"), ("1", "True"), ("off", "False")]
)
def test_values_of_the_switch(value, shown):
    world = World()
    world.call("PUT", "/x", X_Versions_Enabled=value)
    assert world.call("HEAD", "/x").headers["X-Versions-Enabled"] == shown
    assert (("AUTH_test", "\0versions\0x") in world.store.containers) == (shown == "True")


def test_a_failed_request_takes_the_new_hidden_container_away_but_never_an_old_one(world):
    world.store.fail = lambda environ: (
        503
        if environ["PATH_INFO"].endswith(("/new", "/c"))
        and environ["REQUEST_METHOD"] in ("PUT", "POST")
        and "\0" not in environ["PATH_INFO"]
        else None
    )
    assert world.call("PUT", "/new", X_Versions_Enabled="true").status_int == 503
    assert ("AUTH_test", "\0versions\0new") not in world.store.containers
    assert world.call("POST", "/c", X_Versions_Enabled="true").status_int == 503
    assert ("AUTH_test", "\0versions\0c") in world.store.containers


def test_the_hidden_container_refused(world):
    def fail(environ):
        return status if "\0" in environ["PATH_INFO"] and environ["REQUEST_METHOD"] == "PUT" else None

    world.store.fail = fail
    for status, shown in [(400, 400), (503, 500), (500, 500), (409, 201)]:
        answer = world.call("PUT", f"/new{status}", X_Versions_Enabled="true")
        assert answer.status_int == shown
        assert shown == 201 or ("AUTH_test", f"new{status}") not in world.store.containers
        assert shown != 500 or answer.body == b"Error enabling object versioning"


def test_enabling_what_is_not_there(world):
    assert world.call("POST", "/nothing", X_Versions_Enabled="true").status_int == 404
    assert ("AUTH_test", "\0versions\0nothing") not in world.store.containers


@pytest.mark.parametrize("known", [404, 503])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_nobody_believes_in_versions_that_are_not_kept(world, known, method):
    """The container is there, and what is asked about it says otherwise, or nothing."""
    world.call("PUT", "/there")
    world.store.fail = lambda environ: known if environ["REQUEST_METHOD"] == "HEAD" else None
    answer = world.call(method, "/there", X_Versions_Enabled="true")
    world.store.fail = lambda environ: None
    sysmeta = world.store.containers["AUTH_test", "there"]
    if answer.status_int >= 500:
        assert "X-Container-Sysmeta-Versions-Enabled" not in sysmeta
    else:
        assert ("AUTH_test", "\0versions\0there") in world.store.containers
        assert sysmeta["X-Container-Sysmeta-Versions-Container"] == "%00versions%00there"


@pytest.mark.parametrize(
    "before, now, text",
    [
        ({"X_Container_Sysmeta_Versions_Location": "a"}, {}, "already using the legacy"),
        ({}, {"X_Versions_Location": "a"}, "already using the legacy"),
        ({}, {"X_History_Location": "a"}, "already using the legacy"),
        ({"X_Container_Sync_To": "//r/c/a/c"}, {}, "source of container syncing"),
        ({}, {"X_Container_Sync_To": "//r/c/a/c"}, "source of container syncing"),
    ],
)
def test_what_does_not_go_together(before, now, text):
    world = World()
    world.call("PUT", "/x", **before)
    answer = world.call("POST", "/x", X_Versions_Enabled="true", **now)
    assert answer.status_int == 400 and text in answer.body.decode()
    assert ("AUTH_test", "\0versions\0x") not in world.store.containers


def test_sync_cannot_be_set_on_a_container_with_versions(world):
    answer = world.call("POST", "/c", X_Container_Sync_To="//r/c/a/c")
    assert answer.status_int == 400
    assert answer.body == b"Cannot configure container sync on a container with object versioning configured."


def test_bytes_of_versions_count(world):
    world.put("/c/o", b"12345")
    world.put("/c/o", b"123")
    assert world.call("HEAD", "/c").headers["X-Container-Bytes-Used"] == "8"
    assert world.get("/c?format=json").headers["X-Container-Bytes-Used"] == "8"
    rows = json.loads(world.get("?format=json").body)
    assert [(row["name"], row["bytes"]) for row in rows] == [("c", 8)]


def test_account_listing_counts_and_shows_orphans(world):
    world.put("/c/o", b"12345")
    for name in ("b", "d"):
        world.store.containers["AUTH_test", f"\0versions\0{name}"] = {"objects": {}}
    assert [row["name"] for row in json.loads(world.get("?format=json").body)] == ["b", "c", "d"]
    assert [row["name"] for row in json.loads(world.get("?format=json&limit=2").body)] == ["b", "c"]
    assert [row["name"] for row in json.loads(world.get("?format=json&reverse=1&limit=2").body)] == ["d", "c"]
    assert [row["name"] for row in json.loads(world.get("?format=json&marker=b").body)] == ["c", "d"]
    assert [row["name"] for row in json.loads(world.get("?format=json&prefix=c").body)] == ["c"]
    assert json.loads(world.get("?format=json&prefix=%00").body) == []


def test_a_container_goes_only_without_versions(world):
    world.put("/c/o", b"1")
    answer = world.call("DELETE", "/c")
    assert (answer.status_int, answer.body) == (409, b"Delete all versions before deleting container.")
    version = world.get("/c/o").headers["X-Object-Version-Id"]
    assert world.call("DELETE", f"/c/o?version-id={version}").status_int == 204
    assert world.call("DELETE", "/c").status_int == 204
    assert world.store.containers == {}


def test_a_container_that_is_not_deleted_keeps_its_place_for_versions(world):
    world.call("POST", "/c", X_Versions_Enabled="false")
    world.put("/c/plain", b"1")
    assert world.call("DELETE", "/c").status_int == 409
    assert ("AUTH_test", "\0versions\0c") in world.store.containers


# -- objects -----------------------------------------------------------------------------------------------------------------


def test_put_stores_a_version_and_a_link(world):
    version = world.put("/c/o", b"one", Content_Type="text/a", X_Object_Meta_A="1", X_Delete_At="9999999999")
    name = names.version_name("o", Timestamp(version))
    data, link = world.hidden[name], world.objects("c")["o"]
    assert (data.data, data.content_type, data.timestamp) == (b"one", "text/a", version)
    assert data.headers == {"X-Object-Meta-A": "1"}
    target = "%00versions%00c/" + name.replace("\0", "%00")
    etag = data.etag
    assert (link.data, link.content_type, link.timestamp) == (b"", "text/a", f"{version}_0000000000000001")
    assert link.headers == {  # recorded
        "X-Object-Meta-A": "1",
        "X-Delete-At": "9999999999",
        "X-Object-Sysmeta-Symlink-Target-Etag": etag,
        "X-Object-Sysmeta-Symlink-Target-Bytes": "3",
        "X-Object-Sysmeta-Versions-Symlink": "true",
        "X-Object-Sysmeta-Symloop-Extend": "true",
        "X-Object-Sysmeta-Allow-Reserved-Names": "true",
        "X-Object-Sysmeta-Symlink-Target": target,
        OVERRIDE: f"d41d8cd98f00b204e9800998ecf8427e; symlink_target={target}; symlink_target_etag={etag}; symlink_target_bytes=3",
    }
    answer = world.get("/c/o")
    assert answer.body == b"one"
    assert answer.headers["Content-Location"] == f"{A}/c/o?version-id={version}"
    assert answer.headers["X-Object-Version-Id"] == version
    shown = world.get("/c/o?symlink=get").headers
    assert shown["X-Symlink-Target"] == f"c/o?version-id={version}"
    assert shown["X-Object-Version-Id"] == version


def test_headers_of_a_manifest_are_the_versions_alone(world):
    environ = {
        "CONTENT_TYPE": "x/y;swift_bytes=700", "HTTP_X_STATIC_LARGE_OBJECT": "True", "HTTP_X_OBJECT_SYSMETA_SLO_ETAG": "ab",
        "HTTP_X_OBJECT_SYSMETA_SLO_SIZE": "700", "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_ETAG": "cd; slo_etag=ab",
        "CONTENT_LENGTH": "4", "swift.content_type_overridden": True, "HTTP_X_OBJECT_SYSMETA_S3API_SSEC": "seal",
        "wsgi.input": io.BytesIO(b"[..]"),
    }  # fmt: skip
    environ["HTTP_ETAG"] = hashlib.md5(b"[..]").hexdigest()
    answer = call(world.app, A + "/c/m", "PUT", environ=environ)
    assert answer.status_int == 201
    version = answer.headers["X-Object-Version-Id"]
    data, link = world.hidden[names.version_name("m", Timestamp(version))], world.objects("c")["m"]
    assert data.headers["X-Static-Large-Object"] == "True" and data.content_type == "x/y;swift_bytes=700"
    assert "X-Static-Large-Object" not in link.headers and link.content_type == "x/y"
    assert data.headers["X-Object-Sysmeta-S3Api-Ssec"] == "seal"
    assert "X-Object-Sysmeta-S3Api-Ssec" not in link.headers
    assert link.headers["X-Object-Sysmeta-Symlink-Target-Bytes"] == "700"
    assert link.headers[OVERRIDE].startswith("cd; slo_etag=ab; symlink_target=%00versions")
    [row] = json.loads(world.get("/c?format=json").body)
    assert (row["bytes"], row["hash"]) == (700, f"{data.etag}; slo_etag=ab")


def test_type_is_guessed_from_the_objects_name(world):
    world.put("/c/page.html", b"1")
    assert world.get("/c/page.html").headers["Content-Type"] == "text/html"
    assert {stored.content_type for stored in world.hidden.values()} == {"text/html"}


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"X_Delete_At": "1"}, 400),
        ({"X_Delete_At": "soon"}, 400),
        ({"X_Delete_After": "-1"}, 400),
        ({"If_None_Match": "*"}, 412),
        ({"Etag": "abc"}, 422),
        ({"Content_Type": "x/y; swift_bytes=3"}, 400),
        ({"X_Timestamp": "yesterday"}, 412),
    ],
)
def test_what_is_refused_leaves_no_version(world, headers, status):
    first = world.put("/c/o", b"one")
    assert world.call("PUT", "/c/o", b"two", **headers).status_int == status
    assert world.brief() == [("o", first, True)]
    assert world.get("/c/o").body == b"one"


def test_delete_leaves_a_marker(world):
    first = world.put("/c/o", b"one")
    answer = world.call("DELETE", "/c/o")
    assert answer.status_int == 204
    marker = answer.headers["X-Object-Version-Id"]
    gone = world.get("/c/o")
    assert (gone.status_int, gone.headers["X-Object-Version-Id"]) == (404, "null")
    assert world.brief() == [("o", marker, True), ("o", first, False)]
    stored = world.hidden[names.version_name("o", Timestamp(marker))]
    assert (stored.data, stored.content_type) == (b"", MARKER)
    answer = world.call("DELETE", "/c/nothing")  # the reference writes a marker for this too
    assert answer.status_int == 404 and answer.headers["X-Object-Version-Id"] != "null"


def test_what_was_there_before_versions_becomes_one(world):
    plain = World()
    plain.call("PUT", "/c")
    plain.put("/c/o", b"before", Content_Type="text/b", X_Object_Meta_B="2")
    assert plain.get("/c/o?version-id=null").body == b"before"
    plain.call("POST", "/c", X_Versions_Enabled="on")
    stamp = plain.objects("c")["o"].timestamp
    assert plain.brief() == [("o", "null", True)]
    version = plain.put("/c/o", b"after")
    assert plain.brief() == [("o", version, True), ("o", stamp, False)]
    answer = plain.get(f"/c/o?version-id={stamp}")
    assert (answer.body, answer.headers["X-Object-Meta-B"], answer.headers["Content-Type"]) == (
        b"before",
        "2",
        "text/b",
    )
    plain.call("POST", "/c", X_Versions_Enabled="off")
    assert plain.put("/c/o", b"plain") is None
    plain.call("POST", "/c", X_Versions_Enabled="on")
    stamp = plain.objects("c")["o"].timestamp
    plain.call("DELETE", "/c/o")
    assert plain.get(f"/c/o?version-id={stamp}").body == b"plain"


def test_a_name_that_is_too_long_for_versions(world):
    name = "n" * 1010
    world.call("POST", "/c", X_Versions_Enabled="false")
    world.put(f"/c/{name}", b"plain")
    world.call("POST", "/c", X_Versions_Enabled="true")
    for method in ("PUT", "DELETE"):
        answer = world.call(method, f"/c/{name}", b"")
        assert (answer.status_int, answer.body) == (400, b"Object name length of 1028 longer than 1024")
    assert world.get(f"/c/{name}").body == b"plain"
    assert world.brief() == [(name, "null", True)]


def test_switched_off_requests_are_plain(world):
    first = world.put("/c/o", b"one")
    world.call("POST", "/c", X_Versions_Enabled="false")
    answer = world.call("PUT", "/c/o", b"two")
    assert "X-Object-Version-Id" not in answer.headers
    assert world.get("/c/o").headers["X-Object-Version-Id"] == "null"
    assert world.brief() == [("o", "null", True), ("o", first, False)]
    assert world.call("DELETE", "/c/o").status_int == 204
    assert world.brief() == [("o", first, False)]


def test_post_changes_the_link_and_the_version(world):
    version = world.put("/c/o", b"one", X_Object_Meta_A="1")
    answer = world.call("POST", "/c/o", X_Object_Meta_B="2", X_Delete_At="9999999999")
    assert answer.status_int == 202
    data = world.hidden[names.version_name("o", Timestamp(version))]
    assert data.headers == {"X-Object-Meta-B": "2"}
    link = world.objects("c")["o"].headers
    assert link["X-Object-Meta-B"] == "2" and link["X-Delete-At"] == "9999999999"
    assert "X-Object-Sysmeta-Symlink-Target" in link


def test_a_link_of_the_client_is_kept_as_one(world):
    world.put("/c/target", b"there")
    version = world.put("/c/link", X_Symlink_Target="c/target")
    data = world.hidden[names.version_name("link", Timestamp(version))]
    assert data.headers["X-Object-Sysmeta-Symlink-Target"] == "c/target"
    answer = world.get("/c/link")
    assert answer.body == b"there"
    assert "%00" not in str(answer.header_list)


# -- by id -------------------------------------------------------------------------------------------------------------------


def test_reading_by_id(world):
    first, second = world.put("/c/o", b"one"), world.put("/c/o", b"two")
    for version, body in (
        (first, b"one"),
        (second, b"two"),
        (f"%20{first}", b"one"),
        (f"{second}0&version-id={first}", b"one"),
    ):
        answer = world.get(f"/c/o?version-id={version}")
        assert (answer.status_int, answer.body) == (200, body)
        assert answer.headers["X-Object-Version-Id"] in (first, second)
    assert world.get("/c/o?version-id=").body == b"two"
    assert world.get("/c/o?version-id=null").status_int == 404
    assert world.get("/c/o?%76ersion-id=null").status_int == 404
    marker = world.call("DELETE", "/c/o").headers["X-Object-Version-Id"]
    answer = world.get(f"/c/o?version-id={marker}")
    assert (answer.status_int, answer.headers["Content-Type"]) == (404, MARKER)
    assert answer.headers["X-Object-Version-Id"] == marker


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "version", ["abc", "-1", "99999999999", "1_2_3", "%00", "1%00", "inf", "nan", "1e400", "Null", "\xe9"]
)
def test_ids_that_are_none(world, method, version):
    first = world.put("/c/o", b"one")
    assert world.call(method, f"/c/o?version-id={version}").status_int == 400
    assert world.brief() == [("o", first, True)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "POST"])
def test_ids_where_there_are_no_versions(method):
    world = World()
    world.call("PUT", "/c")
    world.put("/c/o", b"one")
    answer = world.call(method, "/c/o?version-id=12.0")
    assert answer.status_int == 400
    text = b"version-aware operations require that the container is versioned"
    assert method in ("HEAD", "POST") or answer.body == text
    assert world.get("/c/o").body == b"one"


def test_deleting_by_id(world):
    first, second = world.put("/c/o", b"one"), world.put("/c/o", b"two")
    answer = world.call("DELETE", f"/c/o?version-id={first}")
    assert answer.status_int == 204
    assert answer.headers["X-Object-Version-Id"] == first
    assert answer.headers["X-Object-Current-Version-Id"] == second
    assert world.call("DELETE", f"/c/o?version-id={first}").status_int == 404
    third = world.put("/c/o", b"three")
    answer = world.call("DELETE", f"/c/o?version-id={third}")
    assert answer.headers["X-Object-Current-Version-Id"] == "null"
    assert world.get("/c/o").status_int == 404
    assert world.brief() == [("o", second, False)]  # no older one comes back by itself
    answer = world.call("PUT", f"/c/o?version-id={second}")
    assert (answer.status_int, answer.headers["X-Object-Version-Id"]) == (201, second)
    assert world.get("/c/o").body == b"two"


def test_a_link_that_came_meanwhile_survives_the_deletion_of_the_one_before(world):
    first = world.put("/c/o", b"one")
    later = []

    def before(environ):
        if environ["REQUEST_METHOD"] == "DELETE" and environ["PATH_INFO"].endswith("/c/o") and not later:
            later.append("")
            later.append(world.put("/c/o", b"two"))

    world.store.before = before
    answer = world.call("DELETE", f"/c/o?version-id={first}")
    assert answer.status_int == 204
    assert answer.headers["X-Object-Current-Version-Id"] == later[1]
    assert world.get("/c/o").body == b"two"


def test_making_a_version_current(world):
    first, second = world.put("/c/o", b"one", Content_Type="text/1"), world.put("/c/o", b"two")
    answer = world.call("PUT", f"/c/o?version-id={first}", X_Object_Meta_New="x")
    assert answer.status_int == 201
    assert world.brief() == [("o", second, False), ("o", first, True)]
    assert (world.get("/c/o").body, world.get("/c/o").headers["Content-Type"]) == (b"one", "text/1")
    assert world.call("PUT", f"/c/o?version-id={first}", b"x").status_int == 400
    assert world.call("PUT", "/c/o?version-id=null").status_int == 400
    answer = world.call("PUT", "/c/o?version-id=1234567890.00000")
    assert (answer.status_int, answer.body) == (404, b"The specified version does not exist")
    marker = world.call("DELETE", "/c/o").headers["X-Object-Version-Id"]
    assert world.call("PUT", f"/c/o?version-id={marker}").status_int == 404
    assert world.call("POST", f"/c/o?version-id={first}").status_int == 400


def test_what_is_no_version_survives_that_another_is_made_current(world):
    first = world.put("/c/o", b"one")
    world.call("POST", "/c", X_Versions_Enabled="false")
    world.put("/c/o", b"plain")
    stamp = world.objects("c")["o"].timestamp
    assert world.call("PUT", f"/c/o?version-id={first}").status_int == 201
    assert world.get(f"/c/o?version-id={stamp}").body == b"plain"


# -- races and crashes -------------------------------------------------------------------------------------------------------


def test_two_puts_at_once_lose_no_version(world):
    first = world.put("/c/o", b"one")
    inner = []

    def before(environ):
        if environ["REQUEST_METHOD"] == "PUT" and "\0" in environ["PATH_INFO"] and not inner:
            inner.append("")
            inner.append(world.put("/c/o", b"inner"))

    world.store.before = before
    outer = world.call("PUT", "/c/o", b"outer").headers["X-Object-Version-Id"]
    assert [row[:2] for row in world.brief()] == [("o", inner[1]), ("o", outer), ("o", first)]
    assert world.get("/c/o").body == b"inner"  # it came later
    for version, body in ((first, b"one"), (outer, b"outer"), (inner[1], b"inner")):
        assert world.get(f"/c/o?version-id={version}").body == body


def test_versions_of_the_very_same_moment_are_not_both_acknowledged(world, monkeypatch):
    stuck = itertools.repeat(clock.time())
    monkeypatch.setattr("swift.core.timestamp._time", lambda: next(stuck))
    assert world.call("PUT", "/c/o", b"one").status_int == 201
    assert world.call("PUT", "/c/o", b"two").status_int == 503
    assert world.get("/c/o").body == b"one"
    assert world.call("DELETE", "/c/o").status_int == 503
    assert world.get("/c/o").body == b"one"


def test_who_brings_times_along_may_bring_the_same_twice(world):
    """As container sync does; the stand-in answers 202 to the second, as the proxy does where metadata is newer."""
    times = {"X_Timestamp": "1234567890.12345", "Etag": hashlib.md5(b"one").hexdigest()}
    for _ in range(2):
        answer = world.call("PUT", "/c/o", b"one", **times)
        assert answer.status_int in (201, 202)
        assert answer.headers["X-Object-Version-Id"] == "1234567890.12345"
    other = {**times, "Etag": hashlib.md5(b"two").hexdigest()}
    assert world.call("PUT", "/c/o", b"two", **other).status_int == 503
    assert world.get("/c/o").body == b"one"
    assert world.brief() == [("o", "1234567890.12345", True)]


def test_who_brings_times_along_may_delete_twice(world):
    """As container sync does for each deletion: by one node's share, and when all make sure."""
    first = world.put("/c/o", b"one")
    time = Timestamp(first, delta=1).normal
    answers = [world.call("DELETE", "/c/o", X_Timestamp=time) for _ in range(2)]
    assert answers[0].status_int == 204 and answers[1].status_int in (404, 409)
    assert world.brief() == [("o", time, True), ("o", first, False)]


def test_a_crash_before_the_link_leaves_the_old_version_current(world):
    first = world.put("/c/o", b"one")

    class Crash(BaseException):
        pass

    def before(environ):
        if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"] == f"{A}/c/o":
            raise Crash

    world.store.before = before
    with pytest.raises(Crash):
        world.call("PUT", "/c/o", b"two")
    world.store.before = lambda environ: None
    assert world.get("/c/o").body == b"one"
    (_, second, latest), old = world.brief()
    assert latest is False and old == ("o", first, True)
    assert world.get(f"/c/o?version-id={second}").body == b"two"


def test_the_first_version_waits_for_the_copy_of_what_was_there(world):
    world.call("POST", "/c", X_Versions_Enabled="off")
    world.put("/c/o", b"plain")
    world.call("POST", "/c", X_Versions_Enabled="on")
    for status, shown in ((503, 503), (507, 503), (404, 500)):

        def fail(environ, status=status):
            if (
                environ["REQUEST_METHOD"] == "PUT"
                and "\0" in environ["PATH_INFO"]
                and environ.get("swift.source")
            ):
                return status
            return None

        world.store.fail = fail
        assert world.call("PUT", "/c/o", b"new").status_int == shown
        assert world.call("DELETE", "/c/o").status_int == shown
        world.store.fail = lambda environ: None
        assert world.get("/c/o").body == b"plain"
        assert world.brief() == [("o", "null", True)]


@pytest.mark.parametrize("failing, shown", [(500, 503), (503, 503), (404, 500), (413, 413), (499, 499)])
def test_a_version_that_is_not_stored(world, failing, shown):
    first = world.put("/c/o", b"one")
    world.store.fail = lambda environ: (
        failing if environ["REQUEST_METHOD"] == "PUT" and "\0" in environ["PATH_INFO"] else None
    )
    answer = world.call("PUT", "/c/o", b"two")
    assert answer.status_int == shown
    if failing == 404:
        assert (
            answer.body
            == b"The versions container does not exist. You may want to re-enable object versioning."
        )
    world.store.fail = lambda environ: None
    assert world.brief() == [("o", first, True)]


def test_nobody_knows_what_is_current(world):
    first = world.put("/c/o", b"one")
    world.store.fail = lambda environ: (
        503 if environ["REQUEST_METHOD"] == "HEAD" and environ["PATH_INFO"].endswith("/c/o") else None
    )
    for method, path in (
        ("PUT", "/c/o"),
        ("DELETE", "/c/o"),
        ("DELETE", f"/c/o?version-id={first}"),
        ("PUT", f"/c/o?version-id={first}"),
    ):
        assert world.call(method, path, b"").status_int == 503
    world.store.fail = lambda environ: None
    assert world.brief() == [("o", first, True)]
    assert world.get("/c/o").body == b"one"


# -- listings of versions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(world):
    """(world, version ids by name, oldest first); b1 ends in a deletion."""
    ids = {}
    for name in ("a", "b", "b1", "f/x", "f/y", "z"):
        ids[name] = [world.put(f"/c/{name}", b"%d" % turn) for turn in range(3)]
    ids["b1"].append(world.call("DELETE", "/c/b1").headers["X-Object-Version-Id"])
    return world, ids


def expected(ids, *wanted):
    rows = []
    for name, turns in wanted:
        rows += [(name, ids[name][turn], turn == len(ids[name]) - 1) for turn in turns]
    return rows


DOWN, DOWN4, UP, UP4 = (2, 1, 0), (3, 2, 1, 0), (0, 1, 2), (0, 1, 2, 3)


@pytest.mark.parametrize(
    "query, wanted",
    [
        ("", [("a", DOWN), ("b", DOWN), ("b1", DOWN4), ("f/x", DOWN), ("f/y", DOWN), ("z", DOWN)]),
        ("&limit=4", [("a", DOWN), ("b", (2,))]),
        ("&limit=0", []),
        ("&reverse=true&limit=5", [("z", UP), ("f/y", (0, 1))]),
        ("&marker=b", [("b1", DOWN4), ("f/x", DOWN), ("f/y", DOWN), ("z", DOWN)]),
        ("&marker=b&version_marker={b[2]}&limit=3", [("b", (1, 0)), ("b1", (3,))]),
        ("&marker=b&version_marker={b[1]}&limit=2", [("b", (0,)), ("b1", (3,))]),
        ("&marker=b&version_marker=null&limit=3", [("b", DOWN)]),
        ("&marker=b1&version_marker=null&limit=3", [("b1", (3, 2, 1))]),
        ("&marker=b1&version_marker={b1[3]}&limit=3", [("b1", DOWN)]),
        ("&marker=b&version_marker={b[1]}&reverse=1", [("b", (2,)), ("a", UP)]),
        ("&marker=b&reverse=on", [("b", UP), ("a", UP)]),
        ("&marker=b&version_marker=null&reverse=on", [("a", UP)]),
        ("&marker=c&reverse=on&limit=3", [("b1", (0, 1, 2))]),
        ("&marker=c&reverse=on&limit=4", [("b1", UP4)]),
        ("&prefix=b", [("b", DOWN), ("b1", DOWN4)]),
        ("&prefix=f/", [("f/x", DOWN), ("f/y", DOWN)]),
        ("&delimiter=/&prefix=f/", [("f/x", DOWN), ("f/y", DOWN)]),
        ("&marker=zz", []),
        ("&prefix=nope", []),
    ],
)  # fmt: skip
def test_pages_of_versions(listed, query, wanted):
    """As recorded, but that is_latest is right on every page."""
    world, ids = listed
    assert world.brief(query.format(**ids)) == expected(ids, *wanted)


@pytest.mark.parametrize("reverse", ["", "&reverse=on"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
def test_page_by_page_is_the_whole(listed, reverse, limit):
    world, _ids = listed
    whole = world.brief(reverse)
    paged, place = [], ""
    while True:
        page = world.brief(f"{reverse}&limit={limit}{place}")
        if not page:
            break
        paged += page
        place = f"&marker={page[-1][0]}&version_marker={page[-1][1]}"
    assert paged == whole


def test_directories(listed):
    world, ids = listed
    assert world.brief("&delimiter=/&marker=b1") == ["f/", *expected(ids, ("z", DOWN))]
    for version in ("", "&version_marker=null"):
        assert world.brief(f"&delimiter=/&marker=f/{version}&limit=2") == expected(ids, ("z", (2, 1)))
    assert world.brief("&delimiter=x&prefix=f") == ["f/x", *expected(ids, ("f/y", DOWN))]


def test_a_container_that_never_had_versions_is_listed_as_ever():
    world = World()
    world.call("PUT", "/c")
    for name in ("a", "b/1", "b/2", "c", "d/1"):
        world.put(f"/c/{name}", b"1")
    for query, wanted in (
        ("", ["a", "b/1", "b/2", "c", "d/1"]), ("&delimiter=/", ["a", "b/", "c", "d/"]), ("&end_marker=c", ["a", "b/1", "b/2"]), ("&limit=2", ["a", "b/1"]),
        ("&end_marker=d/&delimiter=/", ["a", "b/", "c"]), ("&reverse=1&end_marker=b/1", ["d/1", "c", "b/2"]), ("&marker=b/1&version_marker=null", ["b/2", "c", "d/1"]),
    ):  # fmt: skip
        rows = world.versions(query)
        assert [row.get("subdir") or row["name"] for row in rows] == wanted
        assert all(row["version_id"] == "null" and row["is_latest"] for row in rows if "name" in row)


@pytest.mark.parametrize(
    "query, status, body",
    [
        ("delimiter=1", 400, b"invalid delimiter param"),
        ("delimiter=.", 400, b"invalid delimiter param"),
        ("delimiter=%00", 400, b"invalid delimiter param"),
        ("delimiter=a7", 400, b"invalid delimiter param"),
        ("version_marker=123", 400, b"version_marker param requires marker"),
        ("marker=a&version_marker=xyz", 400, b"invalid version_marker param"),
        ("marker=a&version_marker=-1", 400, b"invalid version_marker param"),
        ("format=xml", 406, None),
        ("format=plain", 406, None),
    ],
)
def test_questions_that_are_refused(world, query, status, body):
    answer = world.get(f"/c?versions&{query}")
    assert answer.status_int == status
    assert body is None or answer.body == body


def test_an_accept_without_json(world):
    assert world.get("/c?versions", Accept="text/plain").status_int == 406
    assert world.get("/c?versions", Accept="application/xml, application/json;q=0.1").status_int == 200
    assert world.get("/c?versions", Accept="*/*").status_int == 200


def test_rows_are_as_recorded(world):
    version = world.put("/c/o", b"two2", Content_Type="text/a")
    rows = world.get("/c?versions").body.decode()
    modified = Timestamp(version).isoformat
    assert rows == (
        f'[{{"bytes": 4, "hash": "54d7c9069d63f1fa5525dd789ab6ba98", "name": "o", "content_type": "text/a", '
        f'"last_modified": "{modified}", "is_latest": true, "version_id": "{version}"}}]'
    )
    modified = Timestamp(version).isoformat
    assert world.get("/c?format=json").body.decode() == (
        f'[{{"bytes": 4, "hash": "54d7c9069d63f1fa5525dd789ab6ba98", "name": "o", "content_type": "text/a", '
        f'"last_modified": "{modified}", "symlink_path": "{A}/c/o?version-id={version}", "version_symlink": true}}]'
    )


def test_names_of_any_script(world):
    name = "b\xe4r \u2603%?&+#"
    quoted = quote(name)
    version = world.put(f"/c/{quoted}", b"1")
    assert world.get(f"/c/{quoted}?version-id={version}").body == b"1"
    assert world.get(f"/c/{quoted}").headers["Content-Location"] == f"{A}/c/{quoted}?version-id={version}"
    assert world.brief() == [(name, version, True)]
    assert world.brief(f"&marker={quoted}&version_marker=null") == [(name, version, True)]


# -- who may -----------------------------------------------------------------------------------------------------------------


def only(*allowed):
    """Rights: for these ACLs."""

    def authorize(request):
        return None if request.acl in allowed else HTTPForbidden(request=request)

    return authorize


def test_who_may_do_what(world):
    first, second = world.put("/c/o", b"one"), world.put("/c/o", b"two")
    world.call("POST", "/c", X_Container_Read="readers", X_Container_Write="writers")
    before = world.brief()
    world.authorize = only()
    for method, path in [
        ("GET", "/c/o"), ("GET", f"/c/o?version-id={first}"), ("HEAD", f"/c/o?version-id={first}"), ("GET", "/c/o?version-id=null"),
        ("PUT", "/c/o"), ("PUT", f"/c/o?version-id={first}"), ("DELETE", "/c/o"), ("DELETE", f"/c/o?version-id={first}"),
        ("DELETE", f"/c/o?version-id={second}"), ("DELETE", "/c/o?version-id=null"), ("POST", "/c/o"), ("DELETE", "/c"), ("GET", "/c?versions"), ("GET", "/c"),
    ]:  # fmt: skip
        answer = world.call(method, path)
        assert answer.status_int == 403, (method, path)
    assert world.call("POST", "/c", X_Versions_Enabled="true").status_int == 403
    assert world.call("PUT", "/new", X_Versions_Enabled="true").status_int == 403
    assert world.call("POST", "/c", X_Container_Sync_To="//a/b/c/d").status_int == 403
    assert ("AUTH_test", "\0versions\0new") not in world.store.containers
    world.authorize = only("readers")
    assert world.get("/c/o").body == b"two"
    assert world.get(f"/c/o?version-id={first}").status_int == 403  # by ids versions are the owners' alone
    for method, path in (
        ("PUT", "/c/o"),
        ("DELETE", "/c/o"),
        ("DELETE", f"/c/o?version-id={first}"),
        ("PUT", f"/c/o?version-id={first}"),
        ("POST", "/c/o"),
    ):
        assert world.call(method, path).status_int == 403
    world.authorize = None
    assert world.brief() == before
    world.authorize = only("writers")
    assert world.get(f"/c/o?version-id={first}").status_int == 403
    assert world.call("PUT", "/c/o", b"three").status_int == 201
    assert world.call("DELETE", f"/c/o?version-id={first}").status_int == 403
    assert world.call("PUT", f"/c/o?version-id={first}").status_int == 201
    world.authorize = only(None)
    assert world.get(f"/c/o?version-id={first}").body == b"one"
    assert world.call("DELETE", f"/c/o?version-id={second}").status_int == 204


def test_a_link_kept_as_a_version_opens_no_other_container(world):
    world.call("PUT", "/private")
    world.put("/private/secret", b"secret")
    version = world.put("/c/link", X_Symlink_Target="private/secret")
    world.put("/c/link", b"plain")
    world.call("POST", "/c", X_Container_Read="readers")
    assert world.get(f"/c/link?version-id={version}").body == b"secret"
    paths = [f"{A}/c/link", f"{A}/c"]
    world.authorize = lambda request: None if request.path_info in paths else HTTPForbidden(request=request)
    assert world.get(f"/c/link?version-id={version}").status_int == 403
    world.authorize = None
    world.call("PUT", f"/c/link?version-id={version}")
    world.authorize = only("readers")
    assert world.get("/c/link").status_int == 403


@pytest.mark.parametrize("account", [None, "AUTH_other"])
def test_a_static_link_is_checked_with_the_clients_rights(world, account):
    """Else its refusal would tell the hash, and its making the size, of what the client may not read."""
    world.call("PUT", "/private")
    world.put("/private/secret", b"secret")
    world.store.containers["AUTH_other", "private"] = world.store.containers["AUTH_test", "private"]
    owner = account or "AUTH_test"
    more = {"X_Symlink_Target_Account": account} if account else {}
    asked = []

    def authorize(request):
        if request.path_info.startswith(f"/v1/{owner}/private/"):
            asked.append((request.remote_user, request.environ.get("swift_owner")))
            return HTTPForbidden(request=request)
        request.environ["swift_owner"] = True
        return None

    world.authorize = authorize
    etag = hashlib.md5(b"secret").hexdigest()
    for guess in ("0" * 32, etag):
        answer = world.call(
            "PUT", "/c/link", X_Symlink_Target="private/secret", X_Symlink_Target_Etag=guess, **more
        )
        assert answer.status_int == 403
        assert etag.encode() not in answer.body
    assert asked == [(None, None)] * 2
    assert world.get("/c/link").status_int == 404
    world.authorize = lambda request: None
    answer = world.call(
        "PUT", "/c/link", X_Symlink_Target="private/secret", X_Symlink_Target_Etag=etag, **more
    )
    assert answer.status_int == 201
    version = answer.headers["X-Object-Version-Id"]
    assert world.get("/c/link").body == world.get(f"/c/link?version-id={version}").body == b"secret"
    world.put("/c/link", b"other")
    assert world.call("PUT", f"/c/link?version-id={version}").status_int == 201
    assert world.get("/c/link").body == b"secret"


def test_who_may_write_here_has_no_right_to_what_a_static_link_leads_to(world):
    """The proxy asks once before it knows an ACL, and that of the link's container is none of the target's."""
    world.call("PUT", "/private")
    world.put("/private/secret", b"secret")
    world.call("POST", "/c", X_Container_Write="writers")
    first = []

    def before(environ):
        if environ["PATH_INFO"] == f"{A}/private/secret":
            first.append(environ["swift.authorize"](Request(dict(environ))))

    world.store.before = before
    world.authorize = only("writers")
    for guess in ("0" * 32, hashlib.md5(b"secret").hexdigest()):
        answer = world.call("PUT", "/c/link", X_Symlink_Target="private/secret", X_Symlink_Target_Etag=guess)
        assert answer.status_int == 403
    assert len(first) == 2 and None not in first
    assert world.put("/c/o", b"mine")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_strangers_do_not_hear_which_containers_have_versions(world, method):
    world.call("PUT", "/plain")
    paths = [
        f"/{container}/o?version-id={one}" for container in ("c", "plain", "none") for one in ("1.0", "x")
    ]
    world.authorize = only("nobody")
    assert {world.call(method, path).status_int for path in paths} == {403}
    world.authorize = only(None)
    assert world.call(method, paths[1]).status_int == world.call(method, paths[2]).status_int == 400


def test_an_acl_that_was_asked_about_does_not_stay():
    environ = {"swift.authorize": only("writers"), "PATH_INFO": f"{A}/c/o", "REQUEST_METHOD": "PUT"}
    assert denied(environ, "writers") is None
    assert only("writers")(Request(environ)) is not None


@pytest.mark.parametrize(
    "target, status",
    [
        ("%00versions%00c/%00o%008204762690.82583", 412),
        ("c/link", 400),
        ("/c/o", 412),
    ],
)
def test_links_that_no_client_may_make(world, target, status):
    assert world.call("PUT", "/c/link", X_Symlink_Target=target).status_int == status
    assert world.brief() == []


def test_hidden_names_stay_hidden(world):
    version = world.put("/c/o", b"one")
    hidden = names.version_name("o", Timestamp(version)).replace("\0", "%00")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        assert world.call(method, f"/%00versions%00c/{hidden}").status_int == 412
        assert world.call(method, "/%00versions%00c").status_int == 412
        assert world.call(method, "/%00versions%00c?versions").status_int == 412
    for answer in (
        world.get("/c?format=json&prefix=%00"), world.get("/c?versions&prefix=%00"), world.get("?format=json"),
        world.get("/c?format=json"), world.get("/c?versions"), world.get("/c/o"), world.get("/c/o?symlink=get"),
        world.call("HEAD", "/c/o"), world.call("POST", "/c/o"), world.call("OPTIONS", "/c/o"),
    ):  # fmt: skip
        assert b"%00" not in answer.body and b"\\u0000" not in answer.body
        shown = [
            pair
            for pair in answer.header_list
            if not pair[0].lower().startswith(("x-container-sysmeta-", "x-object-sysmeta-", "x-backend-"))
        ]
        assert "%00" not in str(shown) and "\\x00" not in str(shown)


def test_where_it_is_not_known_whether_there_are_versions(world):
    first = world.put("/c/o", b"one")
    world.call("DELETE", "/c/o")
    before = world.brief()
    world.store.fail = lambda environ: (
        503 if environ["REQUEST_METHOD"] == "HEAD" and environ["PATH_INFO"] == f"{A}/c" else None
    )
    assert world.call("DELETE", "/c").status_int == 503
    assert world.get("/c?versions").status_int == 503
    for method in ("GET", "PUT", "DELETE"):
        assert world.call(method, f"/c/o?version-id={first}").status_int == 503
    world.store.fail = lambda environ: None
    assert world.brief() == before and world.get(f"/c/o?version-id={first}").body == b"one"


def test_limits_of_any_length(world):
    assert world.get(f"/c?versions&limit={'9' * 5000}").status_int in (200, 412)


# -- what it costs those that have no versions ------------------------------------------------------------------------------


def test_without_versions_one_request_is_one(world):
    world.call("PUT", "/plain")
    world.put("/plain/o", b"1")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        world.store.seen.clear()
        world.call(method, "/plain/o", b"")
        mine = [entry for entry in world.store.seen if not (entry[2] or "").startswith("GET_")]
        assert mine == [(method, f"{A}/plain/o", None)]
    body = [b"the very body"]

    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    world.app.app = app
    info = usable_container_info({"status": 200})
    environ = {"swift.infocache": {"container/AUTH_test/plain": info}}
    assert call(world.app, A + "/plain/o", environ=environ, read=False).raw_body is body


def test_a_deletion_under_a_condition_has_the_time_of_what_was_seen(world):
    """A server that has missed a newer link would keep a tombstone of now, and remove that link everywhere one day."""
    first = world.put("/c/o", b"one")
    seen = world.objects("c")["o"].timestamp
    sent = []

    def before(environ):
        if environ["REQUEST_METHOD"] == "DELETE":
            sent.append(environ["HTTP_X_TIMESTAMP"])

    world.store.before = before
    answer = world.call("DELETE", "/c/o", X_Backend_If_Current_Timestamp=seen)
    assert answer.status_int == 204
    assert sent == [Timestamp(seen, offset=1).internal]
    marker = answer.headers["X-Object-Version-Id"]
    assert world.brief() == [("o", marker, True), ("o", first, False)]


def test_a_deletion_under_a_condition_is_newer_than_what_came_to_nothing(world):
    first = world.put("/c/o", b"one")
    seen, later = world.objects("c")["o"].timestamp, Timestamp.now().internal
    real = world.store.object_delete
    sent = []

    def delete(environ, key, name):
        if "\0" in name:
            return real(environ, key, name)
        sent.append(environ["HTTP_X_TIMESTAMP"])
        if len(sent) == 1:
            return 409, {"X-Backend-Timestamp": later}, b""
        return real(environ, key, name)

    world.store.object_delete = delete
    assert world.call("DELETE", "/c/o", X_Backend_If_Current_Timestamp=seen).status_int == 204
    assert sent == [Timestamp(seen, offset=1).internal, Timestamp(later, offset=1).internal]
    sent.clear()
    world.put("/c/o", b"two")
    world.store.object_delete = lambda environ, key, name: (
        real(environ, key, name) if "\0" in name else (409, {}, b"")
    )
    answer = world.call("DELETE", "/c/o", X_Backend_If_Current_Timestamp=world.objects("c")["o"].timestamp)
    assert answer.status_int == 409 and world.get("/c/o").body == b"two"
    assert len(world.hidden) == 3 and world.get(f"/c/o?version-id={first}").body == b"one"


# -- locks -------------------------------------------------------------------------------------------------------------------


def test_who_was_slower_leaves_no_version_that_is_locked(world):
    """The retention that the bucket gave it is for what there is: its removal says that it was seen, and may go."""
    world.put("/c/o", b"one")
    removed = []

    def fail(environ):
        if environ["REQUEST_METHOD"] == "DELETE" and "\0" in environ["PATH_INFO"]:
            removed.append((environ.get("HTTP_X_BACKEND_OBJECT_LOCK"), environ["HTTP_X_TIMESTAMP"]))
        return 412 if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"] == f"{A}/c/o" else None

    world.store.fail = fail
    stamp = Timestamp(clock.time() + 5)  # of a proxy whose clock is ahead
    answer = world.call("PUT", "/c/o", b"two", X_Timestamp=stamp.internal)
    assert answer.status_int == 412 and len(world.hidden) == 1
    assert removed == [(Word(stamp.internal, is_kept=True).text(), Timestamp(stamp, offset=1).internal)]


def test_a_locked_object_that_was_kept_before_can_be_kept_again(monkeypatch):
    """A first try has left a copy, which is locked as well, and no link."""
    monkeypatch.setattr(memory_store, "_KEPT", (*memory_store._KEPT, "x-object-transient-sysmeta-"))
    world = World()
    world.call("PUT", "/c")
    world.put("/c/o", b"kept", X_Object_Transient_Sysmeta_S3Api_Retention="COMPLIANCE;4000000000")
    world.call("POST", "/c", X_Versions_Enabled="on")
    broken = True

    def fail(environ):
        if environ["REQUEST_METHOD"] != "PUT":
            return None
        name = environ["PATH_INFO"].rpartition("c/")[2]
        if name == "o":
            return 503 if broken else None
        there = world.hidden.get(environ["PATH_INFO"].partition("\0versions\0c/")[2])
        word = word_of(environ.get("HTTP_X_BACKEND_OBJECT_LOCK"))
        if there is None or (word is not None and word.is_kept and word.seen >= there.timestamp):
            return None
        return 403

    world.store.fail = fail
    assert world.call("PUT", "/c/o", b"new").status_int == 503
    broken = False
    version = world.put("/c/o", b"newer")
    assert world.get("/c/o").body == b"newer"
    old = next(row["version_id"] for row in world.versions() if row["bytes"] == 4)
    assert world.get(f"/c/o?version-id={old}").body == b"kept" and version != old


def test_a_lock_that_is_weaker_takes_no_copys_place(world):
    def word(old, new):
        answer = Opened(200, {"etag": "e", "x-object-transient-sysmeta-s3api-retention": new}, ())
        monkey = Objects(lambda environ, start: _answer(start, old))
        return monkey._kept_before(_Place, f"{A}/x/y", answer)

    assert word("COMPLIANCE;4000000001", "COMPLIANCE;4000000000") is None
    assert word("GOVERNANCE;4000000000", "COMPLIANCE;4000000001") == "1700000000.00000;kept"


class _Place:
    environ = Request.blank(f"{A}/c/o").environ


def _answer(start_response, retention):
    headers = [("Etag", "e"), ("X-Backend-Timestamp", "1700000000.00000")]
    start_response("200 OK", [*headers, ("X-Object-Transient-Sysmeta-S3Api-Retention", retention)])
    return []
