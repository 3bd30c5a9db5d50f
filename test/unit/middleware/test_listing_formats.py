"""Listings in the client's format. Documents marked `recorded` are the reference's own."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.listing_formats import (
    LARGEST_LISTING,
    ListingFilter,
    account_xml,
    container_xml,
    filter_factory,
    text_listing,
)

OBJECT = {
    "bytes": 5,
    "hash": "5d41402abc4b2a76b9719d911017c592",
    "name": "o 1<x",
    "content_type": "application/x-www-form-urlencoded",
    "last_modified": "2026-11-21T11:13:24.946820",
}
CONTAINER = {
    "name": "c",
    "count": 0,
    "bytes": 0,
    "last_modified": "2026-11-21T11:13:24.899980",
    "storage_policy": "Policy-0",
}


def listing_app(rows, status="200 OK", headers=(), **change):
    body = json.dumps(rows).encode()
    base = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body)), **change}
    return App(status, [*((k, v) for k, v in base.items() if v is not None), *headers], [body])


def build(app):
    logger, lines = memory_logger()
    return ListingFilter(app, {}, logger), lines


def query_of(app):
    return app.arrived["QUERY_STRING"]


# -- choosing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, accept, media_type",
    [
        ("", None, "text/plain"),
        ("", "", "text/plain"),
        ("", "*/*", "text/plain"),
        ("", "application/json", "application/json"),
        ("", "text/xml", "text/xml"),
        ("", "application/xml;charset=utf-8", "application/xml"),
        ("", "application/json;q=0.5, application/xml;q=0.4", "application/json"),
        ("format=", "application/json", "application/json"),
        ("format=json", "text/xml", "application/json"),
        ("format=XML", None, "application/xml"),
        ("format=plain", "text/xml", "text/plain"),
        ("format=FOO", "text/xml", "text/plain"),
        ("format=xml&format=json", None, "application/json"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/AUTH_test/c", "/v1/AUTH_test/c/", "/v1.0/AUTH_test", "/v1/AUTH_test/"])
def test_format_by_query_and_accept(query, accept, media_type, path):
    app = listing_app([])
    answer = call(
        build(app)[0], f"{path}?{query}", headers={"Accept": accept} if accept is not None else None
    )
    assert answer.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert "format=json" in query_of(app)
    assert app.arrived["swift.format_listing"] is True
    assert answer.headers.get("Vary") == (None if "format" in query else "Accept")


def test_other_parameters_stay():
    app = listing_app([])
    call(build(app)[0], "/v1/a/c?prefix=%C3%A9/x&format=xml&limit=")
    assert query_of(app) == "prefix=%C3%A9%2Fx&format=json&limit="


@pytest.mark.parametrize(
    "query, accept, status, content_type, body",
    [
        ("", "image/png", 406, "text/html; charset=UTF-8", b"<html><h1>Not Acceptable</h1>"),
        ("", ";;;", 400, "text/html; charset=UTF-8", b"Invalid Accept header"),
        ("format=%ff", None, 400, "text/plain", b'"format" parameter not valid UTF-8'),
    ],
)
def test_what_cannot_be_chosen_is_refused(query, accept, status, content_type, body):
    app = listing_app([])
    answer = call(build(app)[0], f"/v1/a/c?{query}", headers={"Accept": accept} if accept else None)
    assert answer.status_int == status
    assert answer.headers["Content-Type"] == content_type
    assert answer.body.startswith(body)
    assert not app.calls


@pytest.mark.parametrize(
    "path, method",
    [
        ("/v1/a/c/o", "GET"),
        ("/v1/a/c", "PUT"),
        ("/v1/a/c", "POST"),
        ("/v2/a/c", "GET"),
        ("/v1", "GET"),
        ("/", "GET"),
        ("/info", "GET"),
        ("/v1//c", "GET"),
    ],
)
def test_other_requests_pass_untouched(path, method):
    body = iter([b"[]"])
    app = App(headers=[("Content-Type", "application/json")], body=body)
    answer = call(build(app)[0], path, method, {"Accept": "image/png"}, read=False)
    assert answer.raw_body is body
    assert query_of(app) == ""
    assert answer.header_list == [("Content-Type", "application/json")]


# -- passing on ------------------------------------------------------------------------------------------------------------


def test_json_goes_out_as_the_server_made_it():
    app = listing_app([OBJECT])
    answer = call(build(app)[0], "/v1/a/c?format=json", read=False)
    assert answer.raw_body is app.body
    assert answer.header_list == app.headers


@pytest.mark.parametrize("status", ["404 Not Found", "503 Service Unavailable", "401 Unauthorized"])
def test_errors_pass_untouched(status):
    app = listing_app([OBJECT], status)
    answer = call(build(app)[0], "/v1/a/c", read=False)
    assert answer.status == status
    assert answer.raw_body is app.body
    assert answer.header_list == app.headers


def test_others_can_keep_the_json():
    def app(environ, start_response):
        environ["swift.format_listing"] = False
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"[]"]

    answer = call(build(app)[0], "/v1/a/c")
    assert answer.body == b"[]"
    assert "Vary" not in answer.headers
    kept = listing_app([OBJECT])
    assert call(build(kept)[0], "/v1/a/c", environ={"swift.format_listing": False}).body == kept.body[0]


@pytest.mark.parametrize(
    "change",
    [
        {"Content-Type": "text/html"},
        {"Content-Length": None},
        {"Content-Length": str(LARGEST_LISTING + 1)},
        {"Content-Type": "application/jsonx"},
    ],
)
def test_what_is_no_bounded_json_passes_with_vary(change):
    app = listing_app([OBJECT], **change)
    answer = call(build(app)[0], "/v1/a/c", read=False)
    assert answer.raw_body is app.body
    assert answer.header_list == [*app.headers, ("Vary", "Accept")]


@pytest.mark.parametrize(
    "body", [b"not json", b"{}", b"[1]", b'[{"foo": 1}]', b"[" * 200_000, b'[{"name": 1}, 2]']
)
@pytest.mark.parametrize("query", ["", "format=xml"])
def test_what_is_no_listing_goes_out_as_it_came(body, query):
    app = App(headers=[("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body=[body])
    answer = call(build(app)[0], f"/v1/a/c?{query}")
    assert answer.status_int == 200
    assert answer.body == body
    assert answer.headers["Content-Type"] == "application/json"


def test_vary_is_merged():
    for before, after in (
        ("Origin", "Origin, Accept"),
        ("accept", "accept"),
        ("Origin, Accept", "Origin, Accept"),
    ):
        answer = call(build(listing_app([OBJECT], headers=[("Vary", before)]))[0], "/v1/a/c")
        assert [value for name, value in answer.header_list if name == "Vary"] == [after]


@pytest.mark.parametrize(
    "query, media_type",
    [("", "text/plain"), ("format=xml", "application/xml"), ("format=json", "application/json")],
)
def test_head_tells_the_type_and_no_length(query, media_type):
    headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", "123"), ("Etag", "x")]
    answer = call(build(App("204 No Content", headers))[0], f"/v1/a/c?{query}", "HEAD")
    assert answer.status == "204 No Content"
    assert answer.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Etag"] == "x"


def test_an_application_that_starts_late():
    def app(environ, start_response):
        body = json.dumps([OBJECT]).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        yield body[:10]
        yield body[10:]

    answer = call(build(app)[0], "/v1/a/c")
    assert answer.body == b"o 1<x\n"
    assert answer.headers["Content-Length"] == "6"


def test_the_servers_body_is_closed():
    class Body(list):
        closed = False

        def close(self):
            self.closed = True

    app = listing_app([OBJECT])
    app.body = Body(app.body)
    call(build(app)[0], "/v1/a/c")
    assert app.body.closed


# -- rendering -------------------------------------------------------------------------------------------------------------


def test_recorded_documents():
    def rendered(rows, path):
        answer = call(build(listing_app(rows))[0], path)
        assert answer.headers["Content-Length"] == str(len(answer.body))
        return answer.body

    rows = [OBJECT, {"subdir": "sub/"}]
    assert rendered(rows, "/v1/AUTH_test/c?format=xml") == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<container name="c"><object><name>o 1&lt;x</name>'
        b"<hash>5d41402abc4b2a76b9719d911017c592</hash><bytes>5</bytes>"
        b"<content_type>application/x-www-form-urlencoded</content_type>"
        b"<last_modified>2026-11-21T11:13:24.946820</last_modified></object>"
        b'<subdir name="sub/"><name>sub/</name></subdir></container>'
    )
    assert rendered([CONTAINER, {"subdir": "d"}], "/v1/AUTH_test?format=xml") == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<account name="AUTH_test">\n<container><name>c</name><count>0</count>'
        b"<bytes>0</bytes><last_modified>2026-11-21T11:13:24.899980</last_modified>"
        b'<storage_policy>Policy-0</storage_policy></container>\n<subdir name="d" />\n</account>'
    )
    assert rendered(rows, "/v1/AUTH_test/c") == b"o 1<x\nsub/\n"
    assert rendered([], "/v1/AUTH_test/tab%09?format=xml") == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<container name="tab&#09;" />'
    )
    assert rendered([], "/v1/AUTH_q%22y%3C%09%0A?format=xml") == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<account name="AUTH_q&quot;y&lt;&#09;&#10;">\n</account>'
    )
    assert rendered([{"subdir": 'a"b'}, {"subdir": "a'b"}, {"subdir": "l\n"}], "/v1/AUTH_x?format=xml") == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<account name="AUTH_x">\n<subdir name="a&quot;b" />\n'
        b'<subdir name="a\'b" />\n<subdir name="l&#10;" />\n</account>'
    )


def test_nothing_is_204():
    answer = call(build(listing_app([]))[0], "/v1/a/c")
    assert answer.status == "204 No Content"
    assert answer.body == b""
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_rows_of_old_servers_have_no_policy():
    old = {key: value for key, value in CONTAINER.items() if key != "storage_policy"}
    assert b"storage_policy" not in account_xml([old], "a")


def test_unknown_keys_are_left_out_of_xml():
    assert container_xml([{**OBJECT, "slo_etag": "x", "symlink_path": "y"}], "c") == container_xml(
        [OBJECT], "c"
    )


def test_empty_values_are_empty_elements():
    assert b"<hash /><bytes>0</bytes><content_type />" in container_xml(
        [{**OBJECT, "hash": "", "content_type": "", "bytes": 0}], "c"
    )


def test_reserved_names_are_left_out():
    rows = [{**OBJECT, "name": "\0hidden"}, OBJECT, {"subdir": "\0dir"}, {**OBJECT, "name": "a\0b"}]
    filter_, lines = build(listing_app(rows))
    assert call(filter_, "/v1/a/c").body == b"o 1<x\n"
    assert len(lines) == 3
    assert "a/c" in lines[0]
    filter_, lines = build(listing_app(rows))
    allowed = {"X-Backend-Allow-Reserved-Names": "true"}
    assert call(filter_, "/v1/a/c", headers=allowed).body == b"\0hidden\no 1<x\n\0dir\na\0b\n"
    assert not lines


_NAMES = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\r").filter(
        lambda c: c in "\t\n" or ord(c) >= 32
    ),
    min_size=1,
).filter(lambda name: all(ord(c) not in (0xFFFE, 0xFFFF) for c in name))
_OBJECTS = st.builds(
    lambda name, size, kind: {**OBJECT, "name": name, "bytes": size, "content_type": kind},
    _NAMES,
    st.integers(0, 2**63),
    _NAMES,
)
_SUBDIRS = st.builds(lambda name: {"subdir": name}, _NAMES)
_CONTAINERS = st.builds(
    lambda name, count: {**CONTAINER, "name": name, "count": count}, _NAMES, st.integers(0, 2**63)
)


@given(st.lists(_OBJECTS | _SUBDIRS, max_size=5), _NAMES)
def test_container_xml_says_what_the_rows_say(rows, container):
    root = ElementTree.fromstring(container_xml(rows, container))
    assert root.attrib == {"name": container}
    assert len(root) == len(rows)
    for element, row in zip(root, rows, strict=True):
        if "subdir" in row:
            assert element.attrib == {"name": row["subdir"]}
            assert element.find("name").text == row["subdir"]
        else:
            assert {child.tag: child.text for child in element} == {
                key: str(value) for key, value in row.items()
            }
            assert [child.tag for child in element] == [
                "name",
                "hash",
                "bytes",
                "content_type",
                "last_modified",
            ]


@given(st.lists(_CONTAINERS | _SUBDIRS, max_size=5), _NAMES)
def test_account_xml_says_what_the_rows_say(rows, account):
    root = ElementTree.fromstring(account_xml(rows, account))
    assert root.attrib == {"name": account}
    for element, row in zip(root, rows, strict=True):
        if "subdir" in row:
            assert element.attrib == {"name": row["subdir"]}
        else:
            assert {child.tag: child.text for child in element} == {
                key: str(value) for key, value in row.items()
            }


@given(st.lists(_OBJECTS | _SUBDIRS, max_size=5))
def test_text_is_one_name_a_line(rows):
    assert text_listing(rows).decode() == "".join(row.get("subdir", row.get("name")) + "\n" for row in rows)


def test_factory():
    assert call(filter_factory({"log_to": "stderr"})(listing_app([OBJECT])), "/v1/a/c").body == b"o 1<x\n"
