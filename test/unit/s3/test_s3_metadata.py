"""Headers of the S3 API on their way to native servers and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3.errors import S3Error
from swift.s3.metadata import amz_keys, carried_environ, check_headers, shown_headers, user_metadata


def test_nothing_that_means_something_to_native_servers_is_carried():
    environ = {
        "REQUEST_METHOD": "PUT",
        "HTTP_HOST": "h",
        "HTTP_USER_AGENT": "a",
        "swift.trans_id": "tx",
        "HTTP_X_PROJECT_ID": "p",
        "HTTP_AUTHORIZATION": "AWS a:b",
        "HTTP_X_AUTH_TOKEN": "t",
        "HTTP_X_COPY_FROM": "/c/o",
        "HTTP_X_OBJECT_MANIFEST": "c/o",
        "HTTP_X_SYMLINK_TARGET": "c/o",
        "HTTP_X_STATIC_LARGE_OBJECT": "true",
        "HTTP_X_OBJECT_META_A": "b",
        "HTTP_X_CONTAINER_READ": ".r:*",
        "HTTP_X_AMZ_META_A": "b",
        "HTTP_IF_NONE_MATCH": "*",
        "CONTENT_LENGTH": "5",
    }
    assert carried_environ(environ) == {
        "REQUEST_METHOD": "PUT",
        "HTTP_HOST": "h",
        "HTTP_USER_AGENT": "a",
        "swift.trans_id": "tx",
        "HTTP_X_PROJECT_ID": "p",
    }


@pytest.mark.parametrize(
    "name, value, stored",
    [
        ("HTTP_X_AMZ_META_FOO_BAR", "v", {"HTTP_X_OBJECT_META_FOO_BAR": "v"}),
        ("HTTP_X_AMZ_META_EMPTY", "", {"HTTP_X_OBJECT_META_EMPTY": ""}),
        ("HTTP_X_AMZ_META_A(B", "v", {"HTTP_X_OBJECT_META_A(B": "v"}),
        ("HTTP_X_AMZ_META_A)B", "v", {}),
        ("HTTP_X_AMZ_META_", "v", {}),
        # as the reference stores it
        ("HTTP_X_AMZ_META_A", "\xc3\xa9", {"HTTP_X_OBJECT_META_A": "=?UTF-8?B?w4PCqQ==?="}),
    ],
)
def test_user_metadata(name, value, stored):
    assert user_metadata({name: value}) == stored


def test_underscores_are_kept():
    environ = {
        "swift.underscored_headers": [("x-amz-meta-foo_bar-baz", "v"), ("x-amz-meta-foo_bar-baz", "w")]
    }
    stored = user_metadata(environ)
    assert stored == {"HTTP_X_OBJECT_META_FOO=5FBAR_BAZ": "v,w"}
    assert shown_headers([("X-Object-Meta-Foo=5Fbar-Baz", "v,w")]) == [("x-amz-meta-foo_bar-baz", "v,w")]


def test_user_metadata_are_two_kilobytes():
    user_metadata({"HTTP_X_AMZ_META_A": "v" * 2047})
    with pytest.raises(S3Error) as raised:
        user_metadata({"HTTP_X_AMZ_META_A": "v" * 2048})
    assert raised.value.code == "MetadataTooLarge"


@pytest.mark.parametrize(
    "native, shown",
    [
        ([("Etag", "abc")], [("ETag", '"abc"')]),
        ([("Etag", '"abc"'), ("X-Static-Large-Object", "True")], [("ETag", '"abc-N"')]),
        ([("Etag", "abc"), ("X-Object-Sysmeta-S3api-Etag", "def-3")], [("ETag", '"def-3"')]),
        ([("Etag", "abc"), ("X-Object-Sysmeta-Swift3-Etag", "def-3")], [("ETag", '"def-3"')]),
        ([("Etag", "abc"), ("X-Object-Sysmeta-S3api-Etag", "")], [("ETag", '"abc"')]),
        ([("X-Timestamp", "1"), ("X-Trans-Id", "tx"), ("Server", "s")], []),
        (
            [("Content-Type", "a/b"), ("Content-Range", "r")],
            [("Content-Type", "a/b"), ("Content-Range", "r")],
        ),
        ([("X-Object-Version-Id", "1.0")], [("x-amz-version-id", "1.0")]),
        ([("X-Backend-Crypto-Cipher", "AES_CTR_256")], [("x-amz-server-side-encryption", "AES256")]),
        ([("X-Object-Sysmeta-Secret", "s"), ("X-Backend-Timestamp", "1")], []),
        (
            [("X-Delete-At", "1767323645")],
            [
                (
                    "x-amz-expiration",
                    'expiry-date="Fri, 02 Jan 2026 03:14:05 GMT", rule-id="swift-object-expiration"',
                )
            ],
        ),
        (
            [("Access-Control-Expose-Headers", "etag, x-object-meta-a")],
            [("Access-Control-Expose-Headers", "etag, x-amz-meta-a, x-amz-request-id, x-amz-id-2")],
        ),
    ],
)
def test_answers(native, shown):
    assert shown_headers(native) == shown


@pytest.mark.parametrize(
    "name, value, code",
    [
        ("HTTP_X_AMZ_STORAGE_CLASS", "GLACIER", "InvalidStorageClass"),
        ("HTTP_X_AMZ_METADATA_DIRECTIVE", "MOVE", "InvalidArgument"),
        ("HTTP_X_AMZ_MFA", "1 2", "NotImplemented"),
        ("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY", "k", "NotImplemented"),
        ("HTTP_X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY", "k", "NotImplemented"),
    ],
)
def test_what_no_operation_takes(name, value, code):
    check_headers({"HTTP_X_AMZ_STORAGE_CLASS": "STANDARD", "HTTP_X_AMZ_METADATA_DIRECTIVE": "COPY"})
    with pytest.raises(S3Error) as raised:
        check_headers({name: value})
    assert raised.value.code == code


@given(st.dictionaries(st.text(), st.text(st.characters(max_codepoint=255))))
def test_any_metadata_can_be_carried(found):
    environ = {f"HTTP_X_AMZ_META_{name.upper()}": value for name, value in found.items()}
    try:
        stored = user_metadata(environ)
    except S3Error:
        return
    assert all(value.isascii() and "\n" not in value for value in stored.values() if value)


_KEYS = st.sampled_from(
    [
        "HTTP_HOST", "HTTP_X_AMZ_DATE", "HTTP_X_AMZ_META_A", "HTTP_X_AMZ_STORAGE_CLASS", "HTTP_X_AMZ_MFA", "HTTP_X_AUTH_TOKEN",
        "HTTP_X_OBJECT_SYSMETA_A", "HTTP_RANGE", "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY", "swift.trans_id", "HTTP_X_COPY_FROM",
    ]
)  # fmt: skip
_MEANS_SOMETHING = ("HTTP_X_AMZ_", "HTTP_X_OBJECT_", "HTTP_X_COPY_", "HTTP_X_AUTH_TOKEN", "HTTP_RANGE")


@given(st.lists(st.dictionaries(_KEYS, st.sampled_from(["", "STANDARD", "x"]), max_size=8), max_size=6))
def test_what_one_request_has_says_nothing_of_the_next(environs):
    """Those of the same form are dealt with alike; their values, and what others have, are their own."""
    for environ in environs:
        assert list(carried_environ(environ).items()) == [
            pair for pair in environ.items() if not pair[0].startswith(_MEANS_SOMETHING)
        ]
        assert list(amz_keys(environ)) == [key for key in environ if key.startswith("HTTP_X_AMZ_")]
        refused = (
            "HTTP_X_AMZ_MFA" in environ
            or "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY" in environ
            or environ.get("HTTP_X_AMZ_STORAGE_CLASS", "STANDARD") != "STANDARD"
        )
        if refused:
            with pytest.raises(S3Error):
                check_headers(environ)
        else:
            check_headers(environ)
