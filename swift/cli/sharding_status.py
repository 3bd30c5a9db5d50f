"""swift-sharding-status: which containers of the whole cluster are being split or merged, how far that is, and what is wrong.

What lives here: asking all container servers for what their sharders last noted, and what is made of it. What never does: changing anything.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from optparse import OptionParser
from typing import TYPE_CHECKING, Any, NamedTuple

from swift.core import clock, concurrency

if TYPE_CHECKING:
    from swift.cli.cluster import Node

EXIT_WELL, EXIT_NOT_WELL, EXIT_USAGE = 0, 1, 2
AT_ONCE = 30
LATE_SECONDS = 3600.0  # since a sharder's last cycle ended
_STATES = ("found", "created", "cleaved", "active")
_ONE_FILE = ("unsharded", "collapsed")  # of databases whose rows are all their own


class Told(NamedTuple):
    """What one container server says. `document`: None if it does not answer, then `why`."""

    where: str
    document: dict[str, Any] | None
    why: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    concurrency.patch()
    from swift.core.errors import SwiftError

    options, words = _parser().parse_args(None if argv is None else list(argv))
    if words:
        _parser().print_usage(sys.stderr)
        return EXIT_USAGE
    try:
        told = ask(_servers(options.swift_dir), options.timeout)
    except (SwiftError, OSError) as error:
        print(f"swift-sharding-status: {error}", file=sys.stderr)
        return EXIT_USAGE
    report = made_of(told, clock.time())
    # Names may hold anything: no terminal shall die of one, or show a line that somebody else has written.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if options.json:
        print(json.dumps(report, indent=2, sort_keys=True))
    else:
        for line in lines(report, options.all):
            print(_printable(line))
    return EXIT_NOT_WELL if report["problems"] else EXIT_WELL


def _parser() -> OptionParser:
    parser = OptionParser(
        usage="%prog [options]\n\nShows the containers that sharders are splitting or merging, on all nodes, how long it may still take, and what is"
        "\nwrong. Exit status: 0 nothing is wrong, 1 something is, 2 bad use.",
        prog="swift-sharding-status",
    )
    parser.add_option(
        "-d", "--swift-dir", default=None, help="where swift.conf and the rings are (/etc/swift)"
    )
    parser.add_option(
        "-t", "--timeout", type="float", default=5.0, help="seconds to wait for a server (%default)"
    )
    parser.add_option(
        "-a", "--all", action="store_true", default=False, help="shards that are over already, too"
    )
    parser.add_option(
        "--json", action="store_true", default=False, help="the answer as JSON, with all of them"
    )
    return parser


# -- asking ----------------------------------------------------------------------------------------------------------------


def _servers(directory: str | None) -> list[Node]:
    """One node of each container server."""
    from swift.cli.cluster import CONTAINER, Cluster

    found: dict[tuple[str, int], Node] = {}
    for node in Cluster(directory).rings[CONTAINER].devs:
        if node is not None:
            found.setdefault((node["ip"], node["port"]), node)
    return list(found.values())


def ask(servers: Iterable[Node], seconds: float) -> list[Told]:
    """What all of them say, in the order of their addresses."""
    from swift.core.concurrency import GreenPool
    from swift.ring.devices import address_text
    from swift.wire import direct

    def one(node: Node) -> Told:
        where = f"{address_text(node['ip'])}:{node['port']}"
        try:
            document = direct.get_recon(node, "sharding", conn_timeout=seconds, response_timeout=seconds)
        except direct.DirectError as error:
            return Told(where, None, str(error))
        except ValueError as error:
            return Told(where, None, f"{where}: {error}")
        return Told(where, document if isinstance(document, dict) else {})

    return sorted(GreenPool(AT_ONCE).imap(one, servers))


# -- what is made of it ----------------------------------------------------------------------------------------------------


def made_of(told: Sequence[Told], now: float) -> dict[str, Any]:
    """The report: `containers` on their way by path, `waiting` and `shrinking` candidates, `problems` as lines."""
    from swift.survey.figures import span

    containers: dict[str, dict[str, Any]] = {}
    waiting: dict[str, dict[str, Any]] = {}
    shrinking: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for where, document, why in told:
        if document is None:
            problems.append(f"no answer: {why}")
            continue
        stats = _mapping(document.get("sharding_stats"))
        sharding = _mapping(stats.get("sharding"))
        last = document.get("sharding_last")
        if not isinstance(last, int | float):
            problems.append(f"{where}: no sharder has run here")
        elif now - last > LATE_SECONDS:
            problems.append(f"{where}: the last sharder's cycle ended {span(now - last)} ago")
        problems += [f"{where}: {text}" for text in _faults(sharding)]
        for entry in _entries(sharding, "sharding_in_progress", "all"):
            _note_progress(containers, entry, where, now, problems)
        for entry in _entries(sharding, "orphaned_shards", "all"):
            text = f"{entry.get('path')} has {entry.get('object_count')} objects that nobody lists: its root {entry.get('root')} is gone"
            problems.append(f"{where}: {text}")
        for key, found in (("sharding_candidates", waiting), ("shrinking_candidates", shrinking)):
            for entry in _entries(sharding, key, "top"):
                _note_candidate(found, entry)
    for path, entry in containers.items():
        entry["is_over"] = all(map(_is_over, entry["replicas"]))
        waiting.pop(path, None)
    return {
        "containers": containers,
        "waiting": waiting,
        "shrinking": shrinking,
        "problems": problems,
        "servers": len(told),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _entries(sharding: Mapping[str, Any], key: str, list_key: str) -> Iterable[Mapping[str, Any]]:
    found = _mapping(sharding.get(key)).get(list_key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _faults(sharding: Mapping[str, Any]) -> Iterable[str]:
    """What the counters of the last cycle say."""
    roots = _mapping(sharding.get("audit_root"))
    if _number(roots.get("has_overlap")):
        yield f"{int(_number(roots['has_overlap']))} containers with overlapping shards"
    for category, text in (
        ("audit_root", "containers whose shards don't fit together"),
        ("audit_shard", "shards that failed their audit"),
    ):
        failures = int(_number(_mapping(sharding.get(category)).get("failure")))
        if failures:
            yield f"{failures} {text}"
    unplaced = int(_number(_mapping(sharding.get("misplaced")).get("unplaced")))
    if unplaced:
        yield f"{unplaced} rows that no shard takes"


def _path_of(entry: Mapping[str, Any]) -> str:
    return f"/{entry.get('account')}/{entry.get('container')}"


def _note_progress(
    containers: dict[str, dict[str, Any]],
    entry: Mapping[str, Any],
    where: str,
    now: float,
    problems: list[str],
) -> None:
    path = _path_of(entry)
    found = containers.setdefault(
        path, {"root": entry.get("root"), "replicas": [], "eta_seconds": None, **dict.fromkeys(_STATES, 0)}
    )
    replica = {
        "server": where,
        "index": entry.get("node_index"),
        "state": entry.get("state"),
        "db_state": entry.get("db_state"),
        "rows": entry.get("object_count"),
        "error": entry.get("error"),
        "ranges_done": entry.get("ranges_done"),
        "ranges_todo": entry.get("ranges_todo"),
    }
    known = next((one for one in found["replicas"] if one == replica), None)
    if known is None:
        found["replicas"].append(replica)
    for state in _STATES:
        found[state] = max(found[state], int(_number(entry.get(state))))
    eta = _eta(entry, now)
    if eta is not None:
        found["eta_seconds"] = max(found["eta_seconds"] or 0.0, eta)
    if entry.get("error"):
        problems.append(f"{where}: {path}: {entry['error']}")


def _is_over(replica: Mapping[str, Any]) -> bool:
    """Returns True if a replica has no rows left that are to be moved, and nothing is wrong with it."""
    if replica["error"]:
        return False
    is_empty = (
        replica["state"] in ("sharded", "shrunk")
        and replica["db_state"] in _ONE_FILE
        and replica["rows"] == 0
    )
    return is_empty or replica["db_state"] == "sharded"


def _eta(entry: Mapping[str, Any], now: float) -> float | None:
    """Seconds that a replica may still need at the pace that it had; None if nobody can say."""
    if entry.get("db_state") == "sharded":
        return None
    done, todo = _number(entry.get("ranges_done")), _number(entry.get("ranges_todo"))
    if "ranges_done" not in entry:
        done = _number(entry.get("cleaved")) + _number(entry.get("active"))
        todo = _number(entry.get("found")) + _number(entry.get("created"))
    began = _number(entry.get("epoch") or entry.get("meta_timestamp"))
    if not done or not began or now <= began:
        return None
    return (now - began) * todo / done


def _note_candidate(found: dict[str, dict[str, Any]], entry: Mapping[str, Any]) -> None:
    path = _path_of(entry)
    known = found.get(path)
    if known is None or _number(entry.get("object_count")) > _number(known.get("object_count")):
        found[path] = {
            "object_count": entry.get("object_count"),
            "compactible_ranges": entry.get("compactible_ranges"),
            "enabled": entry.get("enabled"),
        }


# -- telling ---------------------------------------------------------------------------------------------------------------


def lines(report: Mapping[str, Any], with_over: bool = False) -> Iterable[str]:
    """The report for people. `with_over`: shards that are over are shown, too, not only counted."""
    hidden = 0
    for path, found in sorted(report["containers"].items()):
        if found["is_over"] and not with_over and not _is_root(path, found):
            hidden += 1
            continue
        yield _container_line(path, found)
        for replica in found["replicas"]:
            yield _replica_line(replica)
    if all(found["is_over"] for found in report["containers"].values()):
        yield "No container is being split or merged."
    if hidden:
        yield f"{hidden} shards were split or merged lately and are over (--all shows them)."
    for path, found in sorted(report["waiting"].items()):
        off = ", but sharding is not enabled for it" if found["enabled"] is False else ""
        yield f"{path}: large enough to be split: {found['object_count']} objects{off}"
    for path, found in sorted(report["shrinking"].items()):
        yield f"{path}: {found['compactible_ranges']} shards can be merged"
    for problem in report["problems"]:
        yield f"PROBLEM {problem}"
    yield f"{report['servers']} container servers asked, {len(report['problems'])} problems."


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join([letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line])


def _is_root(path: str, found: Mapping[str, Any]) -> bool:
    return found["root"] is None or path == f"/{found['root']}"


def _container_line(path: str, found: Mapping[str, Any]) -> str:
    from swift.survey.figures import span

    done = sum(map(_is_over, found["replicas"]))
    states = ", ".join(f"{found[state]} {state}" for state in _STATES if found[state]) or "no shards yet"
    whose = "" if _is_root(path, found) else f" (a shard of /{found['root']})"
    text = f"{path}{whose}: {done} of {len(found['replicas'])} replicas done; {states}"
    if done < len(found["replicas"]):
        eta = found["eta_seconds"]
        text += f"; about {span(eta)} left" if eta is not None else "; nobody can say how long it takes"
    return text


def _replica_line(replica: Mapping[str, Any]) -> str:
    text = (
        f"    {replica['server']}: {replica['state']}, database {replica['db_state']}, {replica['rows']} rows"
    )
    if replica["ranges_done"] is not None:
        total = int(_number(replica["ranges_done"]) + _number(replica["ranges_todo"]))
        text += f", {replica['ranges_done']} of {total} shards filled"
    return text
