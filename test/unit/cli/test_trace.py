"""swift-trace: one transaction's timeline out of logs of all forms."""

import bz2
import gzip
import io
import json
import os
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli import trace, trace_lines
from swift.cli.trace_events import parse
from swift.cli.trace_lines import Found
from swift.cli.trace_timeline import Timeline

TXN = "tx69d0201a2933ca709240c-006b0d6dd0"
OTHER = "tx79d0201a2933ca709240c-006b0d6dd1"
PROXY = (
    "proxy-server: 127.0.0.1 127.0.0.1 30/Nov/2026/12/36/32 PUT /v1/AUTH_test/c/sp%2520ce HTTP/1.1 201 - curl/8 "
    f"AUTH_tk04b5... 100 - - {TXN} - 0.0200 - - 1796042192.680000000 1796042192.700000000 0 test:tester"
)


def storage(who, device, seconds, status=201, txn=TXN, agent="proxy-server 7", second=32):
    return (
        f'{who}: 127.0.0.1 - - [30/Nov/2026:12:36:{second} +0000] "PUT /{device}/176/AUTH_test/c/o" {status} - '
        f'"PUT http://h/v1/AUTH_test/c/o" "{txn}" "{agent}" {seconds:.4f} "-" 26025 0'
    )


PLAIN = [
    f"2026-11-30T12:36:32.700Z INFO {PROXY}",
    f"2026-11-30T12:36:32.698Z INFO {storage('object-server', 'sdb1', 0.016)}",
    f"2026-11-30T12:36:32.686Z INFO {storage('object-server', 'sdb2', 0.004)}",
    f"2026-11-30T12:36:32.690Z ERROR object-server: ERROR PUT /sdb1/176/AUTH_test/c/o: disk (txn: {TXN})",
    f"2026-11-30T12:36:33.690Z INFO {storage('object-server', 'sdb2', 0.004, txn=OTHER)}",
]


@pytest.fixture
def logs(tmp_path):
    (tmp_path / "proxy.log").write_text(PLAIN[0] + "\n")
    (tmp_path / "node1.log").write_text("noise\n" * 1000 + "\n".join(PLAIN[1:]) + "\n" + "noise\n" * 1000)
    return tmp_path


def run(*words):
    return trace.main([*map(str, words)])


def test_a_timeline_says_who_when_how_long_and_what_was_slow(logs, capsys):
    assert run(TXN, logs) == 0
    out = capsys.readouterr().out
    assert f"transaction {TXN}" in out and "PUT /v1/AUTH_test/c/sp ce: 201 in 20.0 ms" in out
    assert "client 127.0.0.1  user test:tester  agent curl/8  received 100" in out
    steps = [line for line in out.splitlines() if " ms " in line and "server" in line]
    assert [line.split()[0] for line in steps[:4]] == ["0.0", "2.0", "2.0", "10.0"]
    assert "- slow: object-server sdb1 took 16.0 ms for PUT, 80 % of the whole" in out
    assert "ERROR: ERROR PUT /sdb1/176/AUTH_test/c/o: disk" in out
    assert OTHER not in out


def test_json_has_all_of_it(logs, capsys):
    assert run(TXN, "--json", logs) == 0
    (told,) = json.loads(capsys.readouterr().out)["transactions"]
    assert told["transaction"] == TXN and told["status"] == 201 and told["seconds"] == 0.02
    assert [event["who"] for event in told["events"]] == ["proxy-server"] + ["object-server"] * 3
    assert [event["slow"] for event in told["events"]] == [False, True, False, False]
    assert round(told["events"][1]["offset"], 4) == 0.002
    assert told["events"][1]["device"] == "sdb1" and told["events"][3]["level"] == "ERROR"


@pytest.mark.parametrize(
    ("line", "host", "exact"),
    [
        (f"2026-11-30T12:36:32.698Z INFO {storage('object-server', 'sdb1', 0.016)}", "where", True),
        (f"2026-11-30T13:36:32.698123+01:00 stor1 {storage('object-server', 'sdb1', 0.016)}", "stor1", True),
        (f"2026-11-30T12:36:32.698123+0000 stor1 {storage('object-server', 'sdb1', 0.016)}", "stor1", True),
        (f"Nov 30 12:36:32 stor1 {storage('object-server', 'sdb1', 0.016)}", "stor1", False),
        (f"<158>{storage('object-server', 'sdb1', 0.016)}", "where", False),
        (
            json.dumps(
                {
                    "time": "2026-11-30T12:36:32.698Z",
                    "level": "INFO",
                    "name": "object-server",
                    "pid": 1,
                    "message": storage("object-server", "sdb1", 0.016)[15:],
                }
            ),
            "where",
            True,
        ),
    ],
)
def test_forms_of_lines(line, host, exact):
    event = parse(line.encode(), "where")
    assert (event.where, event.exact) == (host, exact)
    assert event.what == "PUT /sdb1/176/AUTH_test/c/o" and event.status == 201 and event.txn == TXN
    assert event.seconds == 0.016 and event.details["device"] == "sdb1"
    assert event.at == pytest.approx(1796042192.698 if exact else 1796042192.0, abs=0.001)


def test_packed_and_rotated_logs_standard_input_and_what_can_not_be_read(tmp_path, capsys, monkeypatch):
    (tmp_path / "node.log").write_text(PLAIN[1] + "\n")
    with gzip.open(tmp_path / "node.log.2.gz", "wt") as file:
        file.write(PLAIN[2] + "\n")
    with bz2.open(tmp_path / "node.log-20261130.bz2", "wt") as file:
        file.write(PLAIN[3] + "\n")
    (tmp_path / "node.log.3.gz").write_bytes(b"no gzip")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PLAIN[0].encode())))
    monkeypatch.setattr(trace, "_spooled", None)
    assert run(TXN, "--json", tmp_path / "node.log", "-") == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)["transactions"][0]["events"]) == 4
    assert "node.log.3.gz" in told.err and len(told.err.splitlines()) == 1


def test_a_log_that_was_over_before_is_not_read(tmp_path):
    (tmp_path / "old.log").write_text(PLAIN[1] + "\n")
    os.utime(tmp_path / "old.log", (1796040000, 1796040000))
    found = Found([])
    trace_lines.search([str(tmp_path / "old.log")], [TXN.encode()], found, since=1796041900)
    assert found.files == 0 and not found.lines


def test_traces_are_found_through_the_transactions_that_are_of_them(tmp_path, capsys):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    front = {"time": "2026-11-30T12:36:32.700Z", "level": "INFO", "name": "proxy-server", "pid": 1}
    front |= {"message": PROXY.partition(": ")[2], "trace": trace_id}
    (tmp_path / "proxy.log").write_text(json.dumps(front) + "\n")
    (tmp_path / "node.log").write_text("\n".join(PLAIN[1:]) + "\n")
    for word in (trace_id, f"00-{trace_id}-00f067aa0ba902b7-01", trace_id.upper()):
        assert run(word, "--json", tmp_path) == 0
        (told,) = json.loads(capsys.readouterr().out)["transactions"]
        assert told["transaction"] == TXN and len(told["events"]) == 4
        assert told["events"][0]["trace"] == trace_id


def test_nothing_found_and_wrong_use(tmp_path, capsys):
    (tmp_path / "a.log").write_text("noise\n")
    assert run(TXN, tmp_path) == 1
    assert capsys.readouterr().out == f"Nothing about {TXN} in 1 logs (0.0 MB)\n"
    assert run("tx1", tmp_path) == 2
    assert run(TXN, tmp_path / "nonesuch") == 2
    assert [line[:12] for line in capsys.readouterr().err.splitlines()] == ["swift-trace:"] * 2
    with pytest.raises(SystemExit) as ended:
        run("--nonesuch")
    assert ended.value.code == 2
    capsys.readouterr()


def test_hosts_are_asked_by_ssh_and_no_word_reaches_their_shell(tmp_path, monkeypatch, capsys):
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(
        '#!/bin/sh\nshift 4\nhost=$1\nshift\ntest $host = down && { echo "no route" >&2; exit 255; }\n'
        'shift 0\neval set -- "$@"\nshift\nexec "$PYTHON" -m swift.cli.trace "$@"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", sys.executable)
    (tmp_path / "it's a log").write_text("\n".join(PLAIN) + "\n")
    code = run(
        TXN,
        "--no-journal",
        "--json",
        tmp_path / "it's a log",
        "--host",
        "stor1",
        "--host",
        "down",
        "--host=-oX=y",
    )
    told = capsys.readouterr()
    assert code == 0
    events = json.loads(told.out)["transactions"][0]["events"]
    assert {event["where"] for event in events} == {"it's a log", "stor1:it's a log"}
    assert "down: no route" in told.err and "is no name of a host" in told.err


def test_gaps_and_clocks_are_told_of():
    lines = [
        PLAIN[0].replace("0.0200", "2.0000"),
        PLAIN[2],
        f"2026-11-30T12:30:32.698Z INFO {storage('object-server', 'sdb3', 0.016).replace('12:36', '12:30')}",
    ]
    timeline = Timeline(TXN, [parse(line.encode(), f"host{at}") for at, line in enumerate(lines)])
    notes = "\n".join(timeline.notes())
    assert "gap: 1982.0 ms from 0.0 ms on" in notes and "clock: that of host2" in notes


def test_long_logs_are_read_in_pieces_and_lines_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_lines, "PIECE", 1000)
    monkeypatch.setattr(trace_lines, "LONGEST_LINE", 5000)
    monkeypatch.setattr(trace_lines, "MOST_LINES", 50)
    path = tmp_path / "big.log"
    path.write_text(
        "".join(f"{TXN} {n}\n" if n % 7 == 0 else f"noise {n}\n" for n in range(1000)) + "x" * 20_000
    )
    found = Found([])
    trace_lines.search([str(path)], [TXN.encode()], found)
    assert [line for _, line in found.lines] == [f"{TXN} {n}".encode() for n in range(0, 350, 7)]
    assert found.left_out == 143 - 50 and found.bytes_read == path.stat().st_size


def test_long_lines_are_kept_in_part(monkeypatch):
    monkeypatch.setattr(trace_lines, "LONGEST_LINE", 100)
    monkeypatch.setattr(trace_lines, "MOST_BYTES", 1000)
    found = Found([])
    text = "".join(f"{TXN} {'x' * 500}\n" for _ in range(20))
    trace_lines.search_stream(io.BytesIO(text.encode()), "x", [TXN.encode()], found)
    assert {len(line) for _, line in found.lines} == {100} and (len(found.lines), found.left_out) == (10, 10)


def test_json_that_nests_without_end_is_a_message():
    line = ('{"a":' * 100_000 + TXN).encode()
    assert parse(line, "x").seconds is None


@given(
    st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=30), max_size=30),
    st.integers(20, 200),
)
def test_pieces_lose_and_double_no_line(lines, size):
    lines = [f"{line} {TXN}" if number % 2 else line for number, line in enumerate(lines)]
    found = Found([])
    piece, trace_lines.PIECE = trace_lines.PIECE, size
    try:
        trace_lines.search_stream(io.BytesIO("\n".join(lines).encode()), "x", [TXN.encode()], found)
    finally:
        trace_lines.PIECE = piece
    assert [line.decode() for _, line in found.lines] == [line.rstrip("\r\0") for line in lines[1::2]]


@given(st.binary(max_size=300))
def test_any_line_is_an_event(line):
    Timeline(TXN, [parse(line, "x")]).as_text(100)


@pytest.mark.parametrize(
    "line",
    [
        f"2026-13-01 00:00:00 object-server: no such month (txn: {TXN})",
        storage("object-server", "sdb1", 0.016).replace("Nov/2026", "Nov/0000"),
        PROXY.rpartition(" 17960")[0] + " 1e300 0 -",
        PROXY.replace("0.0200", "nan"),
    ],
)
def test_times_that_are_none(line):
    timeline = Timeline(TXN, [parse(line.encode(), "x")])
    assert "began" in timeline.as_text(100) and "NaN" not in json.dumps(timeline.as_json())


def test_a_long_line_takes_no_time():
    started = time.monotonic()
    parse(f"{'x' * 200_000} {TXN}".encode(), "x")
    parse(f"{' (txn: ' * 30_000} {TXN}".encode(), "x")
    assert time.monotonic() - started < 60  # it took minutes


def test_what_clients_have_written_gives_a_terminal_no_orders(tmp_path, capsys):
    line = PROXY.replace("/c/", "/c%1B%5D0%3Bevil%07/").replace("PUT", "P\x9bUT", 1)
    (tmp_path / "proxy.log").write_text(line + "\n")
    for options in ([], ["--lines"]):
        assert run(TXN, *options, tmp_path) == 0
        assert all(shown.isprintable() for shown in capsys.readouterr().out.splitlines())


@given(st.integers(0, 20), st.text(max_size=12))
def test_access_lines_with_odd_fields_are_events(at, text):
    fields = PROXY.split(" ")
    fields[min(at, len(fields) - 1)] = text.replace(" ", "")
    line = " ".join(fields).encode("utf-8", "surrogatepass")
    timeline = Timeline(TXN, [parse(line, "x"), parse(storage("s", "sdb1", 1.0).encode(), "y")])
    json.dumps(timeline.as_json())
    timeline.as_text(80)


def test_a_clients_request_that_a_filter_took_over_is_the_one_that_took_longest():
    copy = PROXY.replace(" - 0.0200 - -", " - 0.0200 SSC -").replace("PUT", "COPY")
    read = copy.replace("0.0200", "0.0050").replace("COPY", "GET")
    info = read.replace("127.0.0.1 127.0.0.1", "- -").replace("0.0050 SSC", "0.9000 GET_ACCOUNT_INFO")
    timeline = Timeline(TXN, [parse(line.encode(), "proxy") for line in (info, read, copy)])
    assert timeline.as_json()["request"].startswith("COPY ")
