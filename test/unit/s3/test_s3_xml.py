"""Documents of the S3 API: what is written can be read, what is wrong is refused, nothing is resolved or fetched."""

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from swift.s3.errors import CODES, S3Error
from swift.s3.xml import Node, Text, document, element, many, maybe, node, one, read, text_of

DELETE = Node(
    {
        "Quiet": maybe(Text("true|false")),
        "Object": many(Node({"Key": one(Text()), "VersionId": maybe(Text())}), 1, 3),
    }
)
LEGAL = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"))


@given(LEGAL, LEGAL)
def test_what_is_written_is_read(key, version):
    data = document("Delete", node("Object", element("Key", key), element("VersionId", version)))
    assert read(data, "Delete", DELETE) == {"Object": [{"Key": key, "VersionId": version}]}


@given(st.text())
def test_any_text_can_be_written(text):
    assert document("A", element("B", text))


def test_elements_without_text_are_empty():
    assert document("A", element("B"), node("C"), element("D", 0), namespace="") == (
        b"<?xml version='1.0' encoding='UTF-8'?>\n<A><B/><C/><D>0</D></A>"
    )


@pytest.mark.parametrize("namespace", ["", "http://s3.amazonaws.com/doc/2006-03-01/", "urn:other"])
def test_namespaces_do_not_matter(namespace):
    data = document("Delete", node("Object", element("Key", "k")), namespace=namespace)
    assert read(data, "Delete", DELETE)["Object"] == [{"Key": "k"}]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "<Delete>",
        "<Other><Object><Key>k</Key></Object></Other>",
        "<Delete/>",
        "<Delete><Object/></Delete>",
        "<Delete><Object><Key>k</Key><Key>l</Key></Object></Delete>",
        "<Delete><Object><Key>k</Key><Size>1</Size></Object></Delete>",
        "<Delete><Object><Key><b/></Key></Object></Delete>",
        "<Delete><Quiet>perhaps</Quiet><Object><Key>k</Key></Object></Delete>",
        "<Delete>" + "<Object><Key>k</Key></Object>" * 4 + "</Delete>",
        "<!DOCTYPE Delete><Delete><Object><Key>k</Key></Object></Delete>",
        '<!DOCTYPE d [<!ENTITY k "v">]><Delete><Object><Key>&k;</Key></Object></Delete>',
        '<!DOCTYPE d [<!ENTITY k SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&k;</Key></Object></Delete>',
        "<Delete>" + "<a>" * 100_000,
    ],
)
def test_what_is_wrong_is_malformed(body):
    with pytest.raises(S3Error) as raised:
        read(body.encode(), "Delete", DELETE)
    assert raised.value.code == "MalformedXML"


def test_a_bomb_of_entities_is_refused():
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    body = f'<!DOCTYPE d [<!ENTITY e0 "x">{levels}]><Delete><Object><Key>&e9;</Key></Object></Delete>'
    with pytest.raises(S3Error):
        read(body.encode(), "Delete", DELETE)


def test_an_attribute_is_read_when_asked_for():
    schema = Node({"ID": one(Text())}, attribute="type")
    body = '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>u</ID></Grantee>'
    assert read(body.encode(), "Grantee", schema) == {"@type": "CanonicalUser", "ID": "u"}


@given(st.text())
def test_error_documents_can_always_be_read(text):
    root = etree.fromstring(S3Error("NoSuchKey", Key=text).document("tx1", "/b/k"))
    assert [child.tag for child in root] == ["Code", "Message", "RequestId", "HostId", "Resource", "Key"]
    assert root.findtext("Message") == "The specified key does not exist."


def test_the_codes_have_statuses_that_clients_know():
    assert {status for status, _ in CODES.values()} <= {
        304,
        400,
        403,
        404,
        405,
        409,
        411,
        412,
        416,
        500,
        501,
        503,
    }


@given(st.text(st.sampled_from("ab/é&<>\"'\x00\t\n\r\x1f\x7f\ufffe"), max_size=12))
def test_what_needs_it_is_escaped_and_nothing_else(text):
    wanted = "".join(
        f"&#x{ord(letter):x};"
        if ord(letter) < 32 and letter not in "\t\n" or letter == "\ufffe"
        else escape(letter)
        for letter in text
    )
    assert text_of(text) == wanted
