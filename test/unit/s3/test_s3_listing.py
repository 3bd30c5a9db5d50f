"""Listings of the S3 API: what is asked of the container, and what is told of its rows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from swift.s3 import times
from swift.s3.errors import S3Error
from swift.s3.listing import list_objects, list_versions
from swift.s3.listing_etag import answer as native_answer
from swift.s3.listing_etag import concerns, etag_of
from swift.s3.multipart.layout import new_upload_id, split_name
from swift.s3.options import Options
from swift.s3.request import S3Request
from swift.wire.message import parsed_path

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class App:
    """A container with these rows, sorted; knows limit, marker, prefix and delimiter, as far as these tests do."""

    def __init__(self, names):
        self.rows = [
            {"name": name, "hash": "0" * 32, "bytes": 1, "last_modified": "2026-01-02T03:04:05.000000"}
            for name in names
        ]
        self.queries = []

    def __call__(self, environ, start_response):
        params = dict(part.partition("=")[::2] for part in environ["QUERY_STRING"].split("&"))
        self.queries.append(params)
        rows = [row for row in self.rows if row["name"] > params.get("marker", "")]
        body = json.dumps(rows[: int(params["limit"])]).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


def listed(app, query="", handler=list_objects):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/bucket", "QUERY_STRING": query}
    made = S3Request(environ, app, Options(max_bucket_listing=3), None, None)
    return etree.fromstring(handler(made).body[0])


def texts(root, name):
    return [found.text for found in root.iter(NS + name)]


def test_a_page_and_the_next():
    app = App("abcd")
    page = listed(app, "list-type=2")
    assert (texts(page, "Key"), texts(page, "IsTruncated"), texts(page, "KeyCount")) == (
        ["a", "b", "c"],
        ["true"],
        ["3"],
    )
    token = texts(page, "NextContinuationToken")[0].replace("=", "%3D")
    page = listed(app, f"list-type=2&continuation-token={token}")
    assert (texts(page, "Key"), texts(page, "IsTruncated")) == (["d"], ["false"])
    assert [query["limit"] for query in app.queries] == ["4", "4"]


def test_a_page_is_never_larger_than_it_may_be():
    page = listed(App("abcdef"), "max-keys=2000")
    assert (len(texts(page, "Key")), texts(page, "MaxKeys")) == (3, ["3"])
    page = listed(App("abc"), "max-keys=0")
    assert (texts(page, "Key"), texts(page, "IsTruncated")) == ([], ["false"])


def test_keys_in_urls():
    page = listed(App(["a b/ü&"]), "encoding-type=url")
    assert texts(page, "Key") == ["a%20b/%C3%BC%26"]


@pytest.mark.parametrize(
    "query",
    ["max-keys=-1", "max-keys=x", "max-keys=99999999999", "max-keys=2147483648", "encoding-type=xml", "list-type=x", "list-type=2&continuation-token=%FF"],
)  # fmt: skip
def test_bad_parameters(query):
    with pytest.raises(S3Error) as raised:
        listed(App("a"), query)
    assert raised.value.code == "InvalidArgument"


@pytest.mark.parametrize("query", ["version-id-marker=1.1", "key-marker=a&version-id-marker=x"])
def test_bad_markers_of_versions(query):
    with pytest.raises(S3Error) as raised:
        listed(App("a"), query, list_versions)
    assert raised.value.code == "InvalidArgument"


def test_versions_and_delete_markers(monkeypatch):
    monkeypatch.setattr("swift.s3.objects.is_suspended", lambda request: False)
    app = App("ab")
    app.rows[0].update(version_id="1.1", is_latest=False)
    app.rows[1].update(
        version_id="2.1", is_latest=True, content_type="application/x-deleted;swift_versions_deleted=1"
    )
    page = listed(app, "versions", list_versions)
    assert [child.tag for child in page][-2:] == [NS + "Version", NS + "DeleteMarker"]
    assert (texts(page, "VersionId"), texts(page, "IsLatest")) == (["1.1", "2.1"], ["false", "true"])


@given(
    st.lists(
        st.text(
            st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"), min_size=1
        ),
        max_size=3,
    )
)
def test_any_name_comes_through(names):
    assert texts(listed(App(names)), "Key") == names


# -- ETags -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row, etag",
    [
        ({"hash": "abc"}, '"abc"'),
        ({"hash": '"abc"'}, '"abc"'),
        ({"hash": "abc; s3_etag=def-2"}, '"def-2"'),
        ({"hash": "abc; s3_etag=def-2", "slo_etag": '"x"'}, '"def-2"'),
        ({"hash": "abc", "slo_etag": '"x"'}, '"x-N"'),
        ({"hash": "abc; other=1"}, '"abc"'),
        ({"hash": None}, '""'),
    ],
)
def test_etags_of_rows(row, etag):
    assert etag_of(row) == etag


def test_native_listings_show_s3_etags_apart():
    body = json.dumps(
        [{"name": "a", "hash": "abc; s3_etag=def-2; x=y"}, {"name": "b", "hash": "abc"}]
    ).encode()
    told = []

    def app(environ, start_response):
        start_response(
            "200 OK",
            [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))],
        )
        return [body]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/a/c"}
    assert parsed_path(environ)[2] == "c" and concerns(environ)
    data = b"".join(native_answer(app, environ, lambda *answer: told.append(answer)))
    assert json.loads(data) == [
        {"name": "a", "hash": "abc; x=y", "s3_etag": '"def-2"'},
        {"name": "b", "hash": "abc"},
    ]
    assert dict(told[0][1])["Content-Length"] == str(len(data))


# -- times and names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "native, shown",
    [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.000000", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.000010", "2026-01-02T03:04:06.000Z"),
        ("2026-12-31T23:59:59.500000", "2027-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_rounded_up(native, shown):
    assert times.of_iso(native) == shown


@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1), st.integers(1, 10_000))
def test_names_of_uploads_and_parts(key, number):
    upload = new_upload_id()
    assert len(upload) == 48
    assert split_name(f"{key}/{upload}") == (key, upload, None)
    assert split_name(f"{key}/{upload}/{number}") == (key, upload, number)
