"""swift-recon: what it prints is what the reference was recorded to print, for nodes that are well, silent, broken or of other releases."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from test.recon_cases import ALL, CASES, COMMANDS, RECORDED, comparable, sorted_lines
from test.sources import ROOT


@pytest.fixture(scope="module")
def ours():
    done = subprocess.run(
        [sys.executable, "-m", "test.recon_cases", "replay"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reference():
    return json.loads(RECORDED.read_text())


def meant(case: str, words: str) -> bool:
    """Returns True where ours differs on purpose (doc/compatibility.md)."""
    away = case in ("dead", "all dead", "no recon", "refused", "hangs", "closes")
    return (
        (
            away and ("--validate-servers" in words or "--all" in words)
        )  # those that are away count as checked there
        or "-t 0.5" in words  # whole seconds only there
    )


@pytest.mark.parametrize("case", CASES)
def test_it_says_what_the_reference_says(case, ours, reference):
    different = {}
    compared = 0
    for words in COMMANDS[case] + ALL.get(case, []):
        own = ours[case][words]
        assert own["rc"] in (0, 1, 2) and "Traceback" not in own.get("err", ""), (words, own)
        theirs = reference.get(case, {}).get(words)  # without those with which it dies of a traceback
        if theirs is None or meant(case, words) or own["rc"] == theirs["rc"] == 2:
            continue
        compared += 1
        if (sorted_lines(own["out"].partition("Usage:")[0]), own["rc"]) != (
            sorted_lines(comparable(theirs["out"])),
            theirs["rc"],
        ):
            different[words] = (own, theirs)
    assert different == {}
    assert compared or case == "closes"


def test_those_that_are_away_are_no_servers_that_were_found_right(ours):
    assert (
        "1/2 hosts ok, 1 error[s] while checking hosts." in ours["dead"]["object --validate-servers"]["out"]
    )


def test_one_line_for_bad_use(ours):
    told = ours["well"]["object --nonsense"]
    assert (told["rc"], told["err"]) == (2, "swift-recon: error: no such option: --nonsense")


def test_all_hosts_are_asked_for_everything_at_once_and_silent_ones_only_twice(ours):
    assert "-> http://127.0.0.2:<object2>/recon/load: timed out" in ours["hangs"]["-l -t 3"]["out"]


MANY = """
import json, sys, time
from swift.core import concurrency
concurrency.patch()
from swift.cli.recon_hosts import ask
from swift.survey.answers import Host
from swift.engine import resolver

def getaddrinfo(host, port, **options):
    if options.get("flags"):
        return resolve(host, port, **options)
    concurrency._sleep_natively(0.2)  # a resolver that is slow must not stop the others
    if host == "nowhere.example":
        raise resolver.raw_socket.gaierror(-2, "Name or service not known")
    return resolve("127.0.0.1", port, **options)

resolve, resolver.raw_socket.getaddrinfo = resolver.raw_socket.getaddrinfo, getaddrinfo
port = int(sys.argv[1])
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        concurrency.sleep(0.01)
concurrency.spawn(tick)
named = [Host("node%d.example" % number, port) for number in range(5)]
hosts = [Host("127.1.%d.%d" % divmod(number, 250), port) for number in range(1000)]
answers = ask([(host, ["load", "time"]) for host in [*named, Host("nowhere.example", port), Host("::1", port), *hosts]], 20.0)
print(json.dumps({
    "longest": max(after - before for before, after in zip(ticks, ticks[1:])),
    "came": sorted({answer.host.ip for answer in answers if answer.came}),
    "errors": sorted({answer.error for answer in answers if not answer.came}),
    "count": len(answers),
    "urls": sorted({answer.url for answer in answers if answer.host.ip == "::1"}),
}))
"""


def test_a_thousand_hosts_and_names_that_must_be_looked_up(tmp_path):
    from test.recon_nodes import Node

    node = Node(tmp_path, "127.0.0.1", {"load": {"1m": 1.0}, "time": 5.5}, "object-server/1")
    try:
        done = subprocess.run(
            [sys.executable, "-c", MANY, str(node.port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert not done.returncode, done.stderr
        found = json.loads(done.stdout)
    finally:
        node.close()
    assert found["came"] == [f"node{number}.example" for number in range(5)]
    assert found["count"] == 2 * 1007
    assert found["errors"] == [
        "<urlopen error [Errno 111] ECONNREFUSED>",
        "<urlopen error nowhere.example: [Errno -2] Name or service not known>",
    ]
    assert found["urls"] == [f"http://[::1]:{node.port}/recon/load", f"http://[::1]:{node.port}/recon/time"]


STRANGE = """
import json, sys
from swift.core import concurrency
concurrency.patch()
import socket
from swift.cli.recon_hosts import ask
from swift.survey.answers import Host

def serve(listener):
    while True:
        concurrency.spawn(answer, listener.accept()[0])

def answer(connection):
    deep = b"GET /recon/load " in connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1000000\\r\\n\\r\\n")
    if deep:
        return connection.sendall(b"[" * 1000000)
    try:
        while True:
            connection.sendall(b" ")
            concurrency.sleep(0.05)
    except OSError:
        pass

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
concurrency.spawn(serve, listener)
host = Host("127.0.0.1", listener.getsockname()[1])
print(json.dumps([answer.error[:7] for answer in ask([(host, ["load", "time", "version", "async"])], 0.5)]))
"""


def test_an_answer_without_end_and_one_without_bottom_are_errors():
    done = subprocess.run(
        [sys.executable, "-c", STRANGE], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout) == ["no JSON", "timed o", "timed o", "timed o"]
