"""The words of SSYNC: lines as the reference writes and reads them, and anything else refused without harm."""

import obj_golden
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.timestamp import Timestamp, internal_timestamp
from swift.obj.ssync import protocol
from swift.obj.store import Times

LINES = obj_golden.load("ssync_lines.json")
HASH = "4d3f950d42b5a4cf099a404509f7dfff"
TIMES = st.builds(
    lambda raw, offset: Timestamp.from_raw(raw, offset).internal,
    st.integers(0, 10**15 - 1),
    st.sampled_from([0, 1, 2**64 - 1]) | st.integers(0, 2**64 - 1),
)


def times_of(args):
    given = {key: value if key == "durable" else internal_timestamp(value) for key, value in args.items()}
    return Times(given["ts_data"], given.get("ts_meta"), given.get("ts_ctype"), given.get("durable", True))


@pytest.mark.parametrize("case", LINES["missing"], ids=lambda case: case["line"][33:])
def test_offers_as_the_reference_writes_them(case):
    assert protocol.encode_offer(HASH, times_of(case["args"])) == case["line"]
    name_hash, times = protocol.decode_offer(case["line"])
    decoded = case["decoded"]
    assert name_hash == decoded["object_hash"]
    assert times.data == internal_timestamp(decoded["ts_data"])
    assert times.meta == internal_timestamp(decoded["ts_meta"])
    assert times.ctype == internal_timestamp(decoded["ts_ctype"])
    assert times.durable == decoded["durable"]


@pytest.mark.parametrize("case", LINES["wanted"], ids=str)
def test_what_is_wanted(case):
    local = None
    if case["local"]:
        local = times_of(case["local"])._replace(deleted="ts_meta" not in case["local"])
    parts = protocol.wanted_parts(times_of(case["remote"]), local)
    assert (f"{HASH} {parts}" if parts else None) == case["wanted"]


@given(TIMES, TIMES | st.none(), TIMES | st.none(), st.booleans())
def test_an_offer_comes_back_as_it_was(data, meta, ctype, durable):
    times = Times(data, meta, ctype if meta not in (None, data) else None, durable)
    back = protocol.decode_offer(protocol.encode_offer(HASH, times))[1]
    assert back == Times(data, times.meta or data, times.ctype or data, durable)


@given(st.text(max_size=200) | st.from_regex(r"[0-9a-f]{32} [0-9._]{1,20}( [mt]:[0-9a-f_-]{0,30},?)*"))
def test_any_line_is_read_or_refused(line):
    try:
        name_hash, times = protocol.decode_offer(line)
    except protocol.ProtocolError as error:
        assert len(str(error)) < 1000
    else:
        assert len(name_hash) == 32
        assert times.data == internal_timestamp(times.data)


HEADERS = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-ü", min_size=1, max_size=20).filter(lambda n: n != "content-length"),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30).map(
        lambda value: value.strip(" \t\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0")
    ),
    max_size=6,
)


@given(st.text(min_size=1, max_size=20).filter(lambda n: n.isprintable()), HEADERS)
def test_a_request_comes_back_as_it_was(name, headers):
    head = protocol.encode_subrequest("PUT", f"/a/c/{name}", {**headers, "content-length": "3"})
    lines = iter(head.split(b"\r\n"))
    request = protocol.read_subrequest(next(lines), lambda: next(lines))
    assert request.method == "PUT"
    assert request.path.encode("latin-1").decode() == f"/a/c/{name}"
    assert request.length == 3
    assert request.headers == {**headers, "content-length": "3"}


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a/c/o",
        b"PUT /a/c/o",
        b"PUT a",
        b"PUT /a/c\r\ncontent-length: 1",
        b"PUT /a/c/o\r\ncontent-length: -1",
        b"PUT /a/c/o\r\ncontent-length: " + b"9" * 30,
        b"POST /a/c/o\r\ncontent-length: 1",
        b"DELETE /a/c/o\r\nno colon",
        b"DELETE /a/c/o\r\nx: \0",
        b"DELETE /a/c/o\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(1000)),
    ],
)
def test_bad_requests(head):
    lines = iter([*head.split(b"\r\n"), b""])
    with pytest.raises(protocol.ProtocolError):
        protocol.read_subrequest(next(lines), lambda: next(lines))


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-B: 2"}, {"X-A\r\n": "1"}, {"X A": "1"}, {"X-A": "\0"}])
def test_nothing_that_would_break_the_framing_is_sent(headers):
    with pytest.raises(ValueError):
        protocol.encode_subrequest("PUT", "/a/c/o", headers)
