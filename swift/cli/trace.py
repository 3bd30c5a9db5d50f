"""swift-trace: the timeline of one transaction, from the logs of all nodes.

What lives here: the command line, and other hosts' logs. What never does: reading logs (`trace_lines.py`), what lines mean
(`trace_events.py`), and how a timeline looks (`trace_timeline.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from swift.cli import trace_lines
from swift.cli.output import complain
from swift.cli.trace_events import TRACE, TRANSACTION, Event, parse
from swift.cli.trace_lines import Found
from swift.cli.trace_timeline import Timeline, plain
from swift.core.transaction import transaction_time

HOST_SECONDS = 120
MOST_HOSTS_AT_A_TIME = 16
MOST_TRANSACTIONS = 20  # of one trace
SLACK = 300  # seconds that clocks of hosts may differ by
_ENDS = re.compile(r"(?:\.log)?(?:[.-]\d+)?(?:\.(?:gz|bz2|xz))?$")
_HOST = re.compile(r"[A-Za-z0-9_.:@%\[\]-]+")

EPILOG = """\
where it looks, if no LOG is named: the log_file of each configuration in --swift-dir, /var/log/swift, /var/log/syslog and
/var/log/messages, what was rotated from them (.1, .gz, .bz2, .xz), and the journal. "-" is standard input. A folder stands for all files in it.

The id of a transaction is in the header X-Trans-Id of each answer; that of a trace (32 hex digits, or a whole traceparent) is the client's.

exit status: 0 found, 1 nothing about it, 2 wrong use.

examples:
  swift-trace tx69d0201a2933ca709240c-006b0d6dd0
  swift-trace tx69d0201a2933ca709240c-006b0d6dd0 --host stor1 --host stor2 --host proxy1
  swift-trace 4bf92f3577b34da6a3ce929d0e0e4736 /var/log/swift/ --json
  zcat old.log.gz | swift-trace tx69d0201a2933ca709240c-006b0d6dd0 -
  ./saio trace tx69d0201a2933ca709240c-006b0d6dd0"""


class TraceError(Exception):
    """One line for who typed the command."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swift-trace",
        description="Shows what became of one request: who worked on it, when, for how long, and what was slow.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "id", metavar="ID", help="of the transaction (X-Trans-Id) or of a trace (traceparent)"
    )
    parser.add_argument(
        "logs", metavar="LOG", nargs="*", help="files or folders of logs, or - for standard input"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        help="another host whose logs are looked at, by ssh; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="all there is, for programs")
    parser.add_argument("--lines", action="store_true", help="the lines themselves, in their order")
    parser.add_argument("--swift-dir", default="/etc/swift", help="where configurations are (/etc/swift)")
    parser.add_argument("--no-journal", action="store_true", help="leave the journal out")
    parser.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    args = make_parser().parse_intermixed_args(argv)
    try:
        return _run(args)
    except TraceError as error:
        print(f"swift-trace: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace) -> int:
    word = wanted(args.id)
    found = _collect(args, [word])
    if args.collect:
        for source, line in found.lines:
            print(json.dumps([source, line.decode("latin-1")]))
        return 0
    if not TRANSACTION.match(word):
        ids = _transactions_of(found)
        if ids:
            found = _collect(args, ids, keep=found)
    for problem in found.problems[:10]:
        print(f"swift-trace: {plain(problem)}", file=sys.stderr)
    if args.lines:
        for source, line in found.lines:
            print(plain(f"{source}: {line.decode('utf-8', 'replace')}"))
    timelines = timelines_of(found, word)
    if not timelines:
        if args.json:
            print(json.dumps({"transactions": []}))
            return 1
        complain(f"Nothing about {word} in {found.files} logs ({found.bytes_read / 1e6:.1f} MB)")
        return 1
    if args.json:
        print(
            json.dumps(
                {
                    "transactions": [timeline.as_json() for timeline in timelines],
                    "lines_left_out": found.left_out,
                },
                indent=1,
            )
        )
    elif not args.lines:
        width = shutil.get_terminal_size((132, 40)).columns if sys.stdout.isatty() else 180
        print("\n\n".join(timeline.as_text(width) for timeline in timelines))
        if found.left_out:
            print(f"- {found.left_out} more lines about it were left out")
    return 0


def wanted(text: str) -> str:
    """The id to look for: of a transaction, or the one of a trace in a traceparent. Raises TraceError."""
    text = text.strip()
    if TRANSACTION.fullmatch(text):
        return text
    match = TRACE.search(text.lower())
    if match and len(text) <= 128:
        return match[0]
    raise TraceError(
        f"{text[:80]!r} is neither the id of a transaction (tx...) nor of a trace (32 hex digits)"
    )


def timelines_of(found: Found, word: str) -> list[Timeline]:
    """One for each transaction that the lines are about, the earliest first."""
    by_id: dict[str, list[Event]] = {}
    for source, line in found.lines:
        event = parse(line, short(source))
        txn = event.txn or (word if TRANSACTION.match(word) else "")
        if not txn:
            continue
        by_id.setdefault(txn, []).append(event)
    if TRANSACTION.match(word):
        # an id with something appended (X-Trans-Id-Extra) is still that one; a line may name others, too
        by_id = {word: [event for txn, events in by_id.items() for event in events]} if by_id else {}
    timelines = [Timeline(txn, events) for txn, events in list(by_id.items())[:MOST_TRANSACTIONS]]
    return sorted(timelines, key=lambda timeline: timeline.begin)


def short(source: str) -> str:
    """A log's name on a screen: `host:node1` of host:/var/log/swift/node1.log.2.gz."""
    host, separator, path = source.partition(":") if not source.startswith("/") else ("", "", source)
    if not separator:
        path = source
    name = _ENDS.sub("", os.path.basename(path)) or path
    return f"{host}:{name}" if separator else name


def _transactions_of(found: Found) -> list[str]:
    ids: dict[str, None] = {}
    for source, line in found.lines:
        txn = parse(line, source).txn
        if TRANSACTION.fullmatch(txn):
            ids[txn] = None
    return list(ids)[:MOST_TRANSACTIONS]


def _collect(args: argparse.Namespace, words: list[str], keep: Found | None = None) -> Found:
    found = Found([])
    since = min((moment for word in words if (moment := transaction_time(word))), default=0) - SLACK
    _collect_here(args, words, max(since, 0), found)
    if args.host:
        with ThreadPoolExecutor(MOST_HOSTS_AT_A_TIME) as pool:
            for lines, problem in pool.map(lambda host: _collect_there(args, host, words), args.host):
                found.files += not problem
                for source, line in lines:
                    found.add(source, line)
                if problem:
                    found.problems += (problem,)
    if keep is not None:
        known = set(found.lines)
        for entry in keep.lines:
            if entry not in known:
                found.add(*entry)
    return found


_spooled = None


def _collect_here(args: argparse.Namespace, words: list[str], since: float, found: Found) -> None:
    global _spooled
    sought = [word.encode() for word in words]
    if args.logs:
        paths = [path for log in args.logs if log != "-" for path in trace_lines.with_rotated(log)]
        missing = [log for log in args.logs if log != "-" and not os.path.exists(log)]
        if missing:
            raise TraceError(f"{missing[0]}: no such log")
        trace_lines.search(paths, sought, found, since)
        if "-" in args.logs:
            if _spooled is None:
                _spooled = trace_lines.spooled(sys.stdin.buffer)
            _spooled.seek(0)
            found.files += 1
            trace_lines.search_stream(_spooled, "stdin", sought, found)
        return
    trace_lines.search(trace_lines.log_files(args.swift_dir), sought, found, since)
    if not args.no_journal:
        trace_lines.journal(words, since, found)


def _collect_there(
    args: argparse.Namespace, host: str, words: list[str]
) -> tuple[list[tuple[str, bytes]], str]:
    """(lines, what went wrong) of one host; its name stands before each source."""
    if not _HOST.fullmatch(host) or host.startswith("-"):
        return [], f"{host[:80]!r} is no name of a host"
    lines: list[tuple[str, bytes]] = []
    for word in words:
        command = ["swift-trace", "--collect", "--swift-dir", args.swift_dir]
        command += ["--no-journal"] if args.no_journal else []
        command += [word, *(log for log in args.logs if log != "-")]
        try:
            done = subprocess.run(
                ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, shlex.join(command)],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=HOST_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return lines, f"{host}: {error}"
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            return lines, f"{host}: {said[-1] if said else f'exit status {done.returncode}'}"
        for text in done.stdout.splitlines():
            try:
                source, line = json.loads(text)
                lines.append((f"{host}:{source}", line.encode("latin-1")))
            except (ValueError, AttributeError, TypeError):
                continue
    return lines, ""


if __name__ == "__main__":
    sys.exit(main())
