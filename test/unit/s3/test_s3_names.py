"""Which bucket and key a request names, and what may be called a bucket."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3.errors import S3Error
from swift.s3.names import host_bucket, is_bucket_name, of_path, parameters
from swift.s3.options import parse_options

OPTIONS = parse_options({"storage_domain": "s3.example.com, .other.org"})
LOOSE = parse_options({"dns_compliant_bucket_names": "no"})


def allowed(name):
    """The rules of the table, one by one."""
    letters = string.ascii_lowercase + string.digits
    return (
        3 <= len(name) <= 63
        and name[0] in letters
        and name[-1] in letters
        and all(letter in letters + "-." for letter in name)
        and not any(pair in name for pair in ("..", ".-", "-."))
        and not (name.count(".") == 3 and all(part.isdigit() and len(part) <= 3 for part in name.split(".")))
    )


@given(st.text(st.sampled_from("ab1.-_A+"), max_size=12))
def test_the_rules_are_those_of_the_table(name):
    assert is_bucket_name(name) == allowed(name)


@pytest.mark.parametrize(
    "name, strict, loose",
    [
        ("ab", False, False),
        ("abc", True, True),
        ("a" * 63, True, True),
        ("a" * 64, False, True),
        ("a" * 255, False, True),
        ("a" * 256, False, False),
        ("Abc_d", False, True),
        ("abc.", False, False),
        ("abc-", False, True),
        ("a..b", False, True),
        ("1.2.3.4", False, False),
        ("1.2.3.4444", True, True),
        ("b+segments", False, False),
        ("\0versions\0b", False, False),
        ("äbc", False, False),
    ],
)
def test_names(name, strict, loose):
    assert (is_bucket_name(name), is_bucket_name(name, False)) == (strict, loose)


@pytest.mark.parametrize(
    "host, bucket",
    [
        ("bucket.s3.example.com", "bucket"),
        ("bucket.s3.example.com:8080", "bucket"),
        ("a.b.other.org", "a.b"),
        ("s3.example.com", None),
        (".s3.example.com", None),
        ("bucket.s3.example.org", None),
        ("127.0.0.1:8080", None),
        ("", None),
    ],
)
def test_the_bucket_of_a_host(host, bucket):
    assert host_bucket({"HTTP_HOST": host}, OPTIONS) == bucket


@pytest.mark.parametrize(
    "path, of_host, found",
    [
        ("/", None, (None, None)),
        ("/bucket", None, ("bucket", None)),
        ("/bucket/", None, ("bucket", None)),
        ("/bucket/key", None, ("bucket", "key")),
        ("/bucket//a//b/", None, ("bucket", "/a//b/")),
        ("/", "bucket", ("bucket", None)),
        ("/a/b", "bucket", ("bucket", "a/b")),
        ("/bucket/\xc3\xa4", None, ("bucket", "ä")),
    ],
)
def test_paths(path, of_host, found):
    assert of_path({"PATH_INFO": path}, OPTIONS, of_host)[1:] == found


@pytest.mark.parametrize(
    "path, code",
    [
        ("/b", "InvalidBucketName"),
        ("/bucket/\xff", "InvalidURI"),
        ("*", "InvalidURI"),
        ("bucket/key", "InvalidURI"),
    ],
)
def test_paths_that_name_nothing(path, code):
    with pytest.raises(S3Error) as raised:
        of_path({"PATH_INFO": path}, OPTIONS, None)
    assert raised.value.code == code


@pytest.mark.parametrize("bucket", ["a/b", "\0versions\0b"])
def test_a_host_names_one_bucket(bucket):
    with pytest.raises(S3Error):
        of_path({"PATH_INFO": "/k"}, OPTIONS, bucket)


def test_the_query_is_text():
    assert parameters({}) == {}
    assert parameters({"QUERY_STRING": "a=1&a=2&b&c=%C3%A4+%2B"}) == {"a": "2", "b": "", "c": "ä +"}


@pytest.mark.parametrize("query", ["a=%FF", "a=\xff", "&".join(f"k{n}=" for n in range(500))])
def test_bad_queries_are_refused(query):
    with pytest.raises(S3Error) as raised:
        parameters({"QUERY_STRING": query})
    assert raised.value.status == 400


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_path_or_query_ends_in_anything_but_an_error(path, query):
    environ = {
        "PATH_INFO": "/" + path.encode().decode("latin-1"),
        "QUERY_STRING": query.encode().decode("latin-1"),
    }
    for read in (lambda: of_path(environ, OPTIONS, None), lambda: parameters(environ)):
        try:
            read()
        except S3Error as error:
            assert error.status == 400


@pytest.mark.parametrize("path", ["/b\0cket/key", "/bucket/a\0b", "/bucket/\xff"])
def test_a_path_that_no_name_is_made_of(path):
    with pytest.raises(S3Error) as raised:
        of_path({"PATH_INFO": path}, OPTIONS, None)
    assert raised.value.code == "InvalidURI"
    assert "%" in raised.value.elements["Uri"]
