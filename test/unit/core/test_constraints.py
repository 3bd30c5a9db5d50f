import pytest

from swift.core import constraints
from swift.core.constraints import Limits
from swift.core.errors import ConfigError, RequestError
from swift.core.timestamp import Timestamp


@pytest.fixture(autouse=True)
def default_limits():
    constraints.set_limits(Limits())


def refused(check, *args, **kwargs):
    try:
        check(*args, **kwargs)
    except RequestError as err:
        return err.status, err.body
    return None


def put(**changes):
    environ = {"CONTENT_LENGTH": "3", "CONTENT_TYPE": "text/plain"}
    for key, value in changes.items():
        if value is None:
            environ.pop(key, None)
        else:
            environ[key] = value
    return environ


NOW = Timestamp("1700000000.5")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "Chunked"}, None),
        ({"HTTP_TRANSFER_ENCODING": "gzip"}, (400, "Invalid Transfer-Encoding header value")),
        ({"HTTP_TRANSFER_ENCODING": "gzip, chunked"},
         (501, "Unsupported Transfer-Coding header value specified in Transfer-Encoding header")),
        ({"CONTENT_LENGTH": "x"}, (400, "Invalid Content-Length header value")),
        ({"CONTENT_LENGTH": "-1"}, (400, "Invalid Content-Length header value")),
        ({"CONTENT_LENGTH": "5368709123"}, (413, "Your request is too large. An object may have at most 5368709122 bytes.")),
        ({"CONTENT_LENGTH": "9" * 5000}, (413, "Your request is too large. An object may have at most 5368709122 bytes.")),
        ({"CONTENT_LENGTH": None}, (411, "Missing Content-Length header.")),
        ({"CONTENT_TYPE": None}, (400, "No content type")),
        ({"CONTENT_TYPE": "\xff"}, (400, "Invalid Content-Type")),
        ({"HTTP_X_DELETE_AFTER": "x"}, (400, "Non-integer X-Delete-After")),
        ({"HTTP_X_DELETE_AFTER": "9" * 5000}, (400, "Non-integer X-Delete-After")),
        ({"HTTP_X_DELETE_AFTER": "-" + "9" * 400}, (400, "X-Delete-After in past")),
        ({"HTTP_X_DELETE_AFTER": "9" * 400}, None),
        ({"HTTP_X_DELETE_AT": "-" + "9" * 400}, (400, "Non-integer X-Delete-At")),
        ({"HTTP_X_DELETE_AFTER": "0"}, (400, "X-Delete-After in past")),
        ({"HTTP_X_DELETE_AT": "1.5"}, (400, "Non-integer X-Delete-At")),
        ({"HTTP_X_DELETE_AT": "1700000000"}, (400, "X-Delete-At in past")),
        ({"HTTP_X_DELETE_AT": "1700000000", "HTTP_X_BACKEND_REPLICATION": "True"}, None),
        ({"HTTP_X_OBJECT_META_": "x"}, (400, "Metadata name cannot be empty")),
    ],
)  # fmt: skip
def test_object_creation(changes, expected):
    assert refused(constraints.check_object_creation, put(**changes), "o", NOW) == expected


def test_object_names_are_measured_in_code_points():
    def wsgi(text):
        return text.encode().decode("latin-1")

    assert refused(constraints.check_object_creation, put(), wsgi("é" * 1024), NOW) is None
    assert refused(constraints.check_object_creation, put(), wsgi("é" * 1025), NOW) == (
        400, "Object name length of 1025 longer than 1024")  # fmt: skip


def test_delete_after_becomes_delete_at():
    environ = put(HTTP_X_DELETE_AFTER="10", HTTP_X_DELETE_AT="1")
    assert constraints.check_object_creation(environ, "o", NOW) == 3
    assert environ["HTTP_X_DELETE_AT"] == "1700000010"
    assert "HTTP_X_DELETE_AFTER" not in environ
    environ = put(HTTP_X_DELETE_AT="99999999999")
    constraints.check_object_creation(environ, "o", NOW)
    assert environ["HTTP_X_DELETE_AT"] == "9999999999"


@pytest.mark.parametrize(
    ("target", "headers", "body"),
    [
        ("object", {"A" * 128: "b" * 256}, None),
        ("object", {"A_B" + "C" * 128: "x"}, "Metadata name too long: x-object-meta-A-B" + "c" * 128),
        ("object", {"FOO_BAR": "b" * 257}, "Metadata value longer than 256: x-object-meta-Foo-Bar"),
        ("object", {str(n): "x" for n in range(91)}, "Too many metadata items; max 90"),
        ("object", {f"{n:032d}": "b" * 100 for n in range(32)}, "Total metadata too large; max 4096"),
        ("object", {"A": "\xff"}, None),
        ("container", {"A": "\xff"}, "Metadata must be valid UTF-8"),
        ("account", {"A": "b\0"}, "Metadata must be valid UTF-8"),
        ("account", {"A": ""}, None),
        ("container", {"A": "x" * 8193}, "Header value too long: X-Container-Meta-A"),
    ],
)
def test_metadata(target, headers, body):
    environ = {f"HTTP_X_{target.upper()}_META_{name}": value for name, value in headers.items()}
    environ["wsgi.input"] = object()
    expected = body and (400, body)
    assert refused(constraints.check_metadata, environ, target) == expected


def test_any_header_may_be_too_long():
    environ = {"HTTP_X_" + "Y" * 200: "x" * 8193}
    assert refused(constraints.check_metadata, environ, "object") == (
        400,
        "Header value too long: X-Y" + "y" * 125,
    )


def test_account_and_container_names():
    assert refused(constraints.check_account_length, "a" * 256) is None
    assert refused(constraints.check_account_length, "a" * 257) == (
        400,
        "Account name length of 257 longer than 256",
    )
    assert refused(constraints.check_account_length, "." + "a" * 511) is None
    assert refused(constraints.check_container_length, "a", "c" * 257)[1].startswith(
        "Container name length of 257"
    )
    assert refused(constraints.check_container_length, ".a", "c" * 512) is None


def test_listing_limit():
    assert constraints.listing_limit(None, 10) == 10
    assert constraints.listing_limit("0", 10) == 0
    assert constraints.listing_limit("-1", 10) == constraints.listing_limit("x", 10) == 10
    assert refused(constraints.listing_limit, "11", 10) == (412, "Maximum limit is 10")
    assert refused(constraints.listing_limit, "9" * 9999, 10) == (412, "Maximum limit is 10")


def test_query_parameters():
    names = constraints.ACCOUNT_LISTING_PARAMS
    assert refused(constraints.check_query_utf8, {"marker": "\xff"}, names) == (
        400, '"marker" parameter not valid UTF-8')  # fmt: skip
    assert refused(constraints.check_query_utf8, {"marker": "\xc3\xb6", "x": "\xff"}, names) is None


def test_limits_from_swift_conf(tmp_path):
    conf = tmp_path / "swift.conf"
    conf.write_text(
        "[swift-constraints]\nmax_meta_count = 3\nvalid_api_versions = v1, v2\nunknown = 1\nextra_header_count=-1\n"
    )
    loaded = constraints.load_limits(str(tmp_path))
    assert (loaded.max_meta_count, loaded.valid_api_versions, loaded.max_header_count) == (
        3,
        ["v1", "v2"],
        39,
    )
    assert constraints.limits() is loaded
    assert loaded.info()["max_file_size"] == 5368709122
    conf.write_text("[swift-constraints]\nmax_meta_count = three\n")
    with pytest.raises(ConfigError, match="max_meta_count must be an integer, not 'three'"):
        constraints.load_limits(str(tmp_path))
