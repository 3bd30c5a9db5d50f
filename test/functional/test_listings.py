"""Listings of containers over HTTP: each parameter, each format, names of all kinds, and ten thousand of them."""

import json
import random
import urllib.parse
import xml.etree.ElementTree

import pytest

from test.listed_names import list_names

NAMES = [
    "a",
    "a/1",
    "a/2/x",
    "a/2/y",
    "a0",
    "b",
    "b/",
    "c%41",
    "c d",
    "d&e=f",
    "é",
    "☃/snow",
    "\U0001f600",
    "z",
]


def quoted(name):
    return urllib.parse.quote(name, safe="/")


def in_order(names):
    return sorted(names, key=lambda name: name.encode())


@pytest.fixture(scope="module")
def listed(clients):
    """A container with NAMES; its path."""
    user = clients["test:tester"]
    path = "/listed"
    user("PUT", path)
    for name in NAMES:
        headers = {"Content-Type": f"text/x-{len(name)}"}
        assert user("PUT", f"{path}/{quoted(name)}", name.encode() * 3, headers=headers).status == 201
    return path


def names_of(answer):
    assert answer.status in (200, 204), answer
    assert (answer.status == 204) == (answer.body == b"")
    return answer.body.decode().split("\n")[:-1] if answer.body else []


def test_plain_text(user, listed):
    answer = user("GET", listed)
    assert names_of(answer) == in_order(NAMES)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-container-object-count"] == str(len(NAMES))
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=3", in_order(NAMES)[:3]),
        ("limit=0", []),
        ("marker=b", [n for n in in_order(NAMES) if n.encode() > b"b"]),
        ("marker=b&limit=1", ["b/"]),
        ("marker=%E2%98%83/snow", ["\U0001f600"]),
        ("end_marker=b", [n for n in in_order(NAMES) if n.encode() < b"b"]),
        ("marker=a&end_marker=b", ["a/1", "a/2/x", "a/2/y", "a0"]),
        ("marker=zzz&end_marker=a", []),
        ("prefix=a/", ["a/1", "a/2/x", "a/2/y"]),
        ("prefix=%C3%A9", ["é"]),
        ("prefix=a&marker=a/2", ["a/2/x", "a/2/y", "a0"]),
        ("delimiter=/", ["a", "a/", "a0", "b", "b/", "c d", "c%41", "d&e=f", "z", "é", "☃/", "\U0001f600"]),
        ("delimiter=/&prefix=a/", ["a/1", "a/2/"]),
        ("delimiter=/&prefix=a", ["a", "a/", "a0"]),
        ("delimiter=/&prefix=a/2/", ["a/2/x", "a/2/y"]),
        ("delimiter=/&marker=a/", ["a0", "b", "b/", "c d", "c%41", "d&e=f", "z", "é", "☃/", "\U0001f600"]),
        ("delimiter=%C3%A9", ["a", "a/1", "a/2/x", "a/2/y", "a0", "b", "b/", "c d", "c%41", "d&e=f", "z", "é", "☃/snow", "\U0001f600"]),
        ("delimiter=2/", ["a", "a/1", "a/2/", "a0", "b", "b/", "c d", "c%41", "d&e=f", "z", "é", "☃/snow", "\U0001f600"]),
        ("path=a", ["a/1"]),
        ("path=a/2", ["a/2/x", "a/2/y"]),
        ("path=", ["a", "a0", "b", "b/", "c d", "c%41", "d&e=f", "z", "é", "\U0001f600"]),
        ("reverse=true", in_order(NAMES)[::-1]),
        ("reverse=yes&limit=2", in_order(NAMES)[::-1][:2]),
        ("reverse=true&marker=b", ["a0", "a/2/y", "a/2/x", "a/1", "a"]),
        ("reverse=true&marker=b&end_marker=a/1", ["a0", "a/2/y", "a/2/x"]),
        ("reverse=true&delimiter=/&limit=3", ["\U0001f600", "☃/", "é"]),
        ("reverse=nonsense&limit=1", ["a"]),
        ("unknown=x&limit=1", ["a"]),
        ("limit=2&limit=3", in_order(NAMES)[:3]),
        ("limit=", in_order(NAMES)),
        ("limit=x", in_order(NAMES)),
        ("limit=-1", in_order(NAMES)),
    ],
)  # fmt: skip
def test_parameters(user, listed, query, expected):
    found = names_of(user("GET", f"{listed}?{query}"))
    rows = json.loads(user("GET", f"{listed}?{query}&format=json").body)
    assert [row.get("name", row.get("subdir")) for row in rows] == found
    assert found == expected


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=10001", 412),
        ("limit=99999999999999999999", 412),
        ("prefix=%ff", 400),
        ("marker=%ff", 400),
        ("marker=a%00b", 200),
        ("prefix=%00", 200),
        ("delimiter=%ff", 400),
        ("end_marker=%fe", 400),
        ("path=%ff", 400),
        ("format=%ff", 400),
        ("marker=" + "x" * 5000, 200),
        ("delimiter=" + "%C3%A9" * 600, 200),
        ("format=bogus", 200),
        ("&&&=&==", 200),
        ("%", 200),
        ("marker=%zz", 200),
    ],
)
def test_odd_parameters(user, listed, query, status):
    answer = user("GET", f"{listed}?{query}")
    assert answer.status < 500
    assert answer.status in ((200, 204) if status == 200 else (status,)), answer
    if answer.status >= 400:
        assert len(answer.body) < 300


def test_json(user, listed):
    answer = user("GET", f"{listed}?format=json")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    rows = json.loads(answer.body)
    assert [row["name"] for row in rows] == in_order(NAMES)
    for row in rows:
        assert set(row) == {"name", "bytes", "hash", "content_type", "last_modified"}
        assert row["bytes"] == len(row["name"].encode()) * 3
        assert row["content_type"] == f"text/x-{len(row['name'])}"
        head = user("HEAD", f"{listed}/{quoted(row['name'])}").headers
        assert (head["etag"], head["content-type"]) == (row["hash"], row["content_type"])
        assert len(row["last_modified"]) == 26
    rows = json.loads(user("GET", f"{listed}?format=json&delimiter=/").body)
    assert [row["subdir"] for row in rows if "subdir" in row] == ["a/", "b/", "☃/"]


def test_xml(user, listed):
    answer = user("GET", f"{listed}?format=xml&delimiter=/")
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    tree = xml.etree.ElementTree.fromstring(answer.body)
    assert (tree.tag, tree.attrib["name"]) == ("container", listed[1:])
    names = [child.find("name").text for child in tree]
    assert names == names_of(user("GET", f"{listed}?delimiter=/"))
    assert [child.attrib["name"] for child in tree.findall("subdir")] == ["a/", "b/", "☃/"]
    rows = {child.find("name").text: child for child in tree.findall("object")}
    assert rows["d&e=f"].find("bytes").text == "15"
    assert {child.tag for child in rows["z"]} == {"name", "hash", "bytes", "content_type", "last_modified"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json; charset=utf-8"),
        ("application/xml", "application/xml; charset=utf-8"),
        ("text/xml", "text/xml; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/plain;q=0.5, application/json", "application/json; charset=utf-8"),
        ("image/png", 406),
        (";;", 400),
    ],
)
def test_accept(user, listed, accept, expected):
    answer = user("GET", listed, Accept=accept)
    if isinstance(expected, int):
        assert answer.status == expected
    else:
        assert (answer.status, answer.headers["content-type"]) == (200, expected)


def test_a_head_has_the_type_of_the_listing(user, listed):
    answer = user("HEAD", f"{listed}?format=json")
    assert (answer.status, answer.headers["content-type"]) == (204, "application/json; charset=utf-8")
    assert answer.body == b""


def test_ten_thousand_names_in_pages(cluster, user, container):
    """More than one page at the largest size; every page size gives every name once, in both directions."""
    count = 10_050
    names = [f"{i // 100:03d}/{i:05d}" for i in range(count)]
    shuffled = names[:]
    random.Random(1).shuffle(shuffled)
    list_names(cluster, container[1:], shuffled)
    for limit in (10_000, 3_333):
        found, marker = [], ""
        while True:
            page = names_of(user("GET", f"{container}?limit={limit}&marker={quoted(marker)}"))
            if not page:
                break
            assert len(page) <= limit
            found += page
            marker = page[-1]
        assert found == names
    assert names_of(user("GET", container)) == names[:10_000]
    assert names_of(user("GET", f"{container}?reverse=true")) == names[::-1][:10_000]
    assert names_of(user("GET", f"{container}?delimiter=/")) == [f"{i:03d}/" for i in range(101)]
    assert names_of(user("GET", f"{container}?prefix=050/")) == names[5000:5100]
    assert user("HEAD", container).headers["x-container-object-count"] == str(count)
    rows = json.loads(user("GET", f"{container}?format=json&limit=10000").body)
    assert [row["name"] for row in rows] == names[:10_000]
    tree = xml.etree.ElementTree.fromstring(user("GET", f"{container}?format=xml&limit=10000").body)
    assert [child.find("name").text for child in tree] == names[:10_000]
