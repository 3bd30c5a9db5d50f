"""The state of a whole cluster as one document, made of what its servers answered.

What lives here: the questions, and a pure function from answers, which may hold anything, to the document. What never does: asking,
judging (`findings`), showing it. The document is what `swift-status --json` prints; keys are only ever added.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from swift.survey.answers import Answer, Host
from swift.survey.figures import (
    auditor_passes,
    clock_off,
    completions,
    disks,
    mapping,
    number,
    unmounted,
    versions,
)

MOST_DISKS = 10
_OF_ALL = ("version", "time", "ringmd5", "swiftconfmd5", "unmounted", "diskusage", "quarantined")
QUESTIONS: dict[str, Sequence[str]] = {
    "account": (*_OF_ALL, "replication/account", "auditor/account", "standing/account"),
    "container": (
        *_OF_ALL, "replication/container", "auditor/container", "standing/container", "updater/container", "sharding",
    ),
    "object": (
        *_OF_ALL, "replication/object", "reconstruction/object", "auditor/object", "standing/object", "async", "expirer/object",
        "driveaudit", "relinker",
    ),
}  # fmt: skip
_PASSES = (
    ("account", "replication", "replication/account", ("replication_last",)),
    ("container", "replication", "replication/container", ("replication_last",)),
    ("container", "sharding", "sharding", ("sharding_last",)),
    ("object", "replication", "replication/object", ("object_replication_last", "replication_last")),
    ("object", "reconstruction", "reconstruction/object", ("object_reconstruction_last",)),
)

Told = Mapping[str, Sequence[Answer]]  # the answers by kind of server


def state(
    told: Told,
    here: Mapping[str, str],
    now: float,
    rings: Iterable[Mapping[str, Any]],
    waits: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The document. `here`: MD5s of this machine's rings and swift.conf by file name; `rings`: what `ClusterRings.told` says of each;
    `waits`: of a proxy, by the addresses of nodes: {"milliseconds": mean wait for an answer or None, "errors": since it was looked at last}.
    """
    rings = list(rings)
    erasure_coded = any(ring.get("type") == "erasure_coding" for ring in rings)
    every = [answer for answers in told.values() for answer in answers]
    return {
        "asked_at": now,
        "servers": {kind: _servers(answers) for kind, answers in told.items()},
        "versions": versions(_to(every, "version")),
        "rings": _compared(_to(every, "ringmd5"), {name: md5 for name, md5 in here.items() if name != "swift.conf"}),
        "swift_conf": _compared(_to(every, "swiftconfmd5"), {name: md5 for name, md5 in here.items() if name == "swift.conf"}),
        "clocks": _clocks(every),
        "balances": {ring["name"]: None if ring.get("missing") else ring["balance"] for ring in rings},
        "answering": _answering(every),
        "waits": dict(waits or {}),
        "disks": _disks(told, rings),
        "drive_errors": _counted(_to(told.get("object", ()), "driveaudit"), "drive_audit_errors"),
        "passes": _passes(told, erasure_coded),
        "standing": {kind: _standing(_to(answers, f"standing/{kind}")) for kind, answers in told.items()},
        "async": _counted(_to(told.get("object", ()), "async"), "async_pending"),
        "expirer": _expirer(_to(told.get("object", ()), "expirer/object")),
        "sharding": _sharding(_to(told.get("container", ()), "sharding")),
        "relinking": _relinking(_to(told.get("object", ()), "relinker")),
        "quarantined": _quarantined(told),
    }  # fmt: skip


def _to(answers: Iterable[Answer], question: str) -> list[Answer]:
    return [answer for answer in answers if answer.question == question and answer.came]


def _servers(answers: Sequence[Answer]) -> dict[str, Any]:
    hosts = list(dict.fromkeys(answer.host for answer in answers))
    there = {answer.host for answer in answers if answer.came or answer.status is not None}
    errors = {answer.host: answer.error for answer in reversed(answers)}
    return {
        "hosts": len(hosts),
        "there": [str(host) for host in hosts if host in there],
        "away": {str(host): errors[host] for host in hosts if host not in there},
        "without_recon": [
            str(host)
            for host in hosts
            if host in there and not any(answer.came for answer in answers if answer.host == host)
        ],
    }


def _compared(answers: Iterable[Answer], here: Mapping[str, str]) -> dict[str, Any]:
    """`other`: for each server that has other files, which, and what MD5s; `asked`: how many could be compared."""
    other: dict[str, dict[str, Any]] = {}
    asked = 0
    for answer in answers:
        there = {os.path.basename(str(path)): str(md5) for path, md5 in mapping(answer.document).items()}
        asked += 1
        different = {name: there[name] for name in here if name in there and there[name] != here[name]}
        if different:
            other[str(answer.host)] = different
    return {"here": dict(here), "asked": asked, "other": other}


def _clocks(answers: Iterable[Answer]) -> dict[str, Any]:
    off = {
        str(answer.host): value for answer in _to(answers, "time") if (value := clock_off(answer)) is not None
    }
    return {
        "most_off": max(off.values(), default=None),
        "off": {host: value for host, value in off.items() if value},
    }


def _disks(told: Told, rings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Each disk once, though servers of several kinds tell of it."""
    found = {}
    missing: dict[tuple[str, str], str] = {}
    folders = set()
    for answers in told.values():
        for disk in disks(_to(answers, "diskusage")):
            found[(disk.host.ip, disk.device)] = disk
        for host, device, error in unmounted(_to(answers, "unmounted")):
            missing[(host.ip, device)] = error or "not mounted"
    for place in found.keys() & missing.keys():
        folders.add(place)  # with mount_check = false a folder stands for a disk, and tells how full it is
    every = sorted(found.values(), key=lambda disk: (-disk.percent, disk.host, disk.device))
    # folders on one file system would be counted again and again
    sizes = (
        {(disk.host.ip, disk.size, disk.used): disk for disk in every}
        if folders
        else {id(d): d for d in every}
    )
    return {
        "counted": len(every),
        "used": sum(disk.used for disk in sizes.values()),
        "available": sum(disk.available for disk in sizes.values()),
        "fullest": [
            {
                "host": disk.host.ip,
                "device": disk.device,
                "percent": round(disk.percent, 2),
                "available": disk.available,
            }
            for disk in every[:MOST_DISKS]
        ],
        "emptiest_percent": round(every[-1].percent, 2) if every else None,
        "not_mounted": [
            {"host": ip, "device": device, "error": error}
            for (ip, device), error in sorted(missing.items())
            if (ip, device) not in folders
        ],
        "absent": _absent(told, rings, {(host.ip, device) for host, device in _listed(told)}),
    }


def _listed(told: Told) -> Iterable[tuple[Host, str]]:
    """All disks that servers name, with what is known of them or without."""
    for answers in told.values():
        for question in ("diskusage", "unmounted"):
            for answer in _to(answers, question):
                for entry in answer.document if isinstance(answer.document, list) else ():
                    yield answer.host, str(mapping(entry).get("device"))


def _absent(
    told: Told, rings: Iterable[Mapping[str, Any]], there: Container[tuple[str, str]]
) -> list[dict[str, str]]:
    """The disks of rings that no server of their node names, though some server there names disks."""
    heard = {host.ip for answers in told.values() for host in _hosts_that_list(answers)}
    wanted = {
        (device["ip"], device["device"])
        for ring in rings
        for device in ring.get("devices", ())
        if device["weight"]
    }
    return [
        {"host": ip, "device": device}
        for ip, device in sorted(wanted)
        if ip in heard and (ip, device) not in there
    ]


def _hosts_that_list(answers: Iterable[Answer]) -> set[Host]:
    return {answer.host for answer in _to(answers, "diskusage") if isinstance(answer.document, list)}


def _answering(answers: Iterable[Answer]) -> dict[str, float]:
    """Milliseconds in which each server said what it is."""
    return {
        str(answer.host): round(1000 * max(answer.ended - answer.began, 0.0), 1)
        for answer in _to(answers, "version")
    }


def _counted(answers: Iterable[Answer], key: str) -> dict[str, Any]:
    counts = {str(answer.host): number(mapping(answer.document).get(key)) for answer in answers}
    known = {host: count for host, count in counts.items() if count is not None}
    return {
        "total": sum(known.values()) if known else None,
        "hosts": {host: count for host, count in sorted(known.items()) if count},
        "unknown": [host for host, count in counts.items() if count is None],
    }


def _passes(told: Told, erasure_coded: bool) -> dict[str, Any]:
    found = {}
    for kind, name, question, keys in _PASSES:
        if name == "reconstruction" and not erasure_coded:
            continue
        answers = _to(told.get(kind, ()), question)
        found[f"{kind} {name}"] = _pass(
            answers, [(one.last, str(one.host)) for one in completions(answers, *keys) if one.last]
        )
        if name == "replication":
            stats = [(mapping(mapping(a.document).get("replication_stats")), a.host) for a in answers]
            failures = {str(host): number(one.get("failure")) for one, host in stats}
            found[f"{kind} {name}"]["failures"] = {host: count for host, count in failures.items() if count}
    for kind in told:
        answers = _to(told[kind], f"auditor/{kind}")
        lasts = []
        for answer in answers:
            if kind == "object":
                starts = [number(one.get("start_time")) for one in auditor_passes(answer.document, "ALL")]
            else:
                starts = [number(mapping(answer.document).get(f"{kind}_audits_since"))]
            known = [start for start in starts if start]
            if known:
                lasts.append((min(known), str(answer.host)))
        found[f"{kind} audit"] = _pass(answers, sorted(lasts))
    return found


def _pass(answers: Sequence[Answer], lasts: Sequence[tuple[float, str]]) -> dict[str, Any]:
    known = {host for _, host in lasts}
    return {
        "oldest": lasts[0][0] if lasts else None,
        "oldest_host": lasts[0][1] if lasts else None,
        "newest": lasts[-1][0] if lasts else None,
        "never": [str(answer.host) for answer in answers if str(answer.host) not in known],
    }


def _standing(answers: Iterable[Answer]) -> dict[str, Any]:
    """What is behind, where servers can tell (`behind`: None if none can)."""
    found: Counter[str] = Counter()
    since: list[float] = []
    told = False
    for answer in answers:
        for figures in mapping(answer.document).values():
            for device in mapping(figures).values():
                places: list[Mapping[str, Any]] = [
                    one for one in mapping(device).values() if isinstance(one, dict)
                ]
                for place in places or [mapping(device)]:
                    told = True
                    for key in ("behind", "handoffs", "failures"):
                        found[key] += int(number(place.get(key)) or 0)
                    began = number(place.get("behind_since"))
                    if began and place.get("behind"):
                        since.append(began)
    return {
        "behind": found["behind"] if told else None,
        "handoffs": found["handoffs"] if told else None,
        "behind_since": min(since, default=None),
    }


def _expirer(answers: Iterable[Answer]) -> dict[str, Any]:
    """Each process tells of the whole queue, and of what itself could not do."""
    queued: list[float] = []
    waiting = 0.0
    oldest: list[float] = []
    for answer in answers:
        queue = mapping(mapping(answer.document).get("object_expirer_queue"))
        count, left = number(queue.get("queued")), number(queue.get("oldest_left"))
        if count is not None:
            queued.append(count)
        waiting += number(queue.get("waiting")) or 0.0
        if left:
            oldest.append(left)
    return {"queued": max(queued, default=None), "waiting": waiting, "oldest_due": min(oldest, default=None)}


def _sharding(answers: Iterable[Answer]) -> dict[str, Any]:
    on_their_way: dict[str, set[str]] = {}
    errors: dict[str, str] = {}
    candidates = 0
    for answer in answers:
        sharding = mapping(mapping(mapping(answer.document).get("sharding_stats")).get("sharding"))
        entries = mapping(sharding.get("sharding_in_progress")).get("all")
        for entry in entries if isinstance(entries, list) else ():
            entry = mapping(entry)
            path = f"/{entry.get('account')}/{entry.get('container')}"
            on_their_way.setdefault(path, set()).add(str(entry.get("db_state")))
            if entry.get("error"):
                errors[path] = str(entry["error"])
        candidates = max(
            candidates, int(number(mapping(sharding.get("sharding_candidates")).get("found")) or 0)
        )
    unfinished = sorted(path for path, states in on_their_way.items() if states != {"sharded"})
    return {"containers": unfinished, "candidates": candidates, "errors": errors}


def _relinking(answers: Iterable[Answer]) -> dict[str, Any]:
    done = total = 0
    for answer in answers:
        for device in mapping(mapping(answer.document).get("devices")).values():
            done += int(number(mapping(device).get("parts_done")) or 0)
            total += int(number(mapping(device).get("total_parts")) or 0)
    return {"parts_done": done, "total_parts": total}


def _quarantined(told: Told) -> dict[str, Any]:
    """Servers that look at the same disks count once, by the one that has seen most."""
    roots: dict[Any, dict[str, float]] = {}
    for answers in told.values():
        devices = {
            answer.host: tuple(sorted(str(mapping(one).get("device")) for one in answer.document))
            for answer in _to(answers, "diskusage")
            if isinstance(answer.document, list)
        }
        for answer in _to(answers, "quarantined"):
            counts = {
                kind: number(mapping(answer.document).get(kind)) or 0
                for kind in ("objects", "containers", "accounts")
            }
            known = roots.setdefault((answer.host.ip, devices.get(answer.host)), counts)
            for kind, count in counts.items():
                known[kind] = max(known[kind], count)
    hosts: dict[str, Counter[str]] = {}
    for (ip, _), counts in roots.items():
        hosts.setdefault(ip, Counter()).update({kind: int(count) for kind, count in counts.items()})
    return {
        "total": sum(sum(counts.values()) for counts in hosts.values()),
        "hosts": {ip: dict(counts) for ip, counts in sorted(hosts.items()) if any(counts.values())},
    }
