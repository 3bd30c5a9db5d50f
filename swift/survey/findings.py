"""What is wrong with a cluster, and what to do next, in plain sentences with the command to paste.

What lives here: a pure function from the document of `state` to findings, worst first. What never does: asking, showing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from swift.core.config import DEFAULT_SWIFT_DIR
from swift.survey.figures import span

DANGER, WRONG, NOTE = "danger", "wrong", "note"  # data may be lost or hidden; to be mended; good to know
_ORDER = (DANGER, WRONG, NOTE)

HOUR, DAY = 3600.0, 86400.0
FULL, NEARLY_FULL = 92.0, 85.0  # percent
UNEVEN = 20.0  # points between the fullest and the emptiest disk
OFF_BALANCE = 5.0  # percent
SLOW, TIMES = (
    100.0,
    10.0,
)  # milliseconds of an answer, and how many times those of the others, when a server is slow
SLOW_REQUEST, TIMES_OF_REQUESTS = 50.0, 4.0  # the same of all that a proxy asks a node
MANY_UPDATES = 10000
CLOCK_SECONDS = 1.0
OLD = {"replication": DAY, "reconstruction": 3 * DAY, "sharding": 6 * HOUR, "audit": 60 * DAY}
LATE_EXPIRY = DAY
MOST_NAMED = 4
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Finding(NamedTuple):
    """`text`: what is; `do`: what to do about it; `command`: what to paste, '' if there is none."""

    level: str
    text: str
    do: str = ""
    command: str = ""


def findings(state: Mapping[str, Any], swift_dir: str = DEFAULT_SWIFT_DIR) -> list[Finding]:
    """Worst first; none if all is well."""
    where = "" if swift_dir == DEFAULT_SWIFT_DIR else f" --swiftdir {swift_dir}"
    found = [
        *_servers(state["servers"]),
        *_files(state, swift_dir),
        *_rings(state["balances"], swift_dir),
        *_slow(state["answering"], state["waits"]),
        *_disks(state["disks"], swift_dir, where),
        *_drive_errors(state["drive_errors"], where),
        *_quarantine(state["quarantined"], where),
        *_clocks(state["clocks"]),
        *_passes(state, where),
        *_updates(state["async"], where),
        *_expirer(state),
        *_sharding(state["sharding"], swift_dir),
        *_under_way(state),
    ]
    return sorted(found, key=lambda finding: _ORDER.index(finding.level))


def _few(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(every[:MOST_NAMED])
    return shown if len(every) <= MOST_NAMED else f"{shown} and {len(every) - MOST_NAMED} more"


def _s(count: float, noun: str) -> str:
    """`1 server`, `2 servers`."""
    return f"{count:g} {noun}" if count == 1 else f"{count:g} {noun}s"


def ip_of(host: str) -> str:
    """The address of `IP:PORT`, without brackets, as ssh takes it."""
    return host.rpartition(":")[0].strip("[]")


# -- one after the other ----------------------------------------------------------------------------------------------------


def _servers(servers: Mapping[str, Any]) -> Iterator[Finding]:
    away = {kind: one["away"] for kind, one in servers.items()}
    total = sum(one["hosts"] for one in servers.values())
    if not total:
        yield Finding(
            WRONG, "The rings have no devices: nobody could be asked.", "Are these the rings of the cluster?"
        )
        return
    if sum(len(hosts) for hosts in away.values()) == total:
        yield Finding(
            DANGER,
            "No server answers.",
            "Can this machine reach them? If it can, no server runs there.",
            f"curl -g http://{next(iter(next(hosts for hosts in away.values() if hosts)))}/healthcheck",
        )
        return
    nodes = _nodes_away(servers)
    many = len({ip_of(host) for hosts in away.values() for host in hosts}) > 1
    level = DANGER if many else WRONG  # copies are on other nodes: with two away, all of some may be
    if nodes:
        yield Finding(
            level,
            f"{_s(len(nodes), 'node')} away with all {'its' if len(nodes) == 1 else 'their'} servers: {_few(nodes)} ({why(nodes.values())}).",
            "Other nodes stand in. If it does not come back within a day or so, take it out of the rings, so that its copies are made anew:"
            " chapter `Failed disks and nodes` of the operator's guide. If it is there: systemd as below, or `swift-init main start`.",
            _try(*next(iter(nodes.items()))),
        )
    for kind, hosts in away.items():
        alone = {host: why for host, why in hosts.items() if ip_of(host) not in nodes}
        if alone:
            yield Finding(
                level,
                f"{_s(len(alone), f'{kind} server')} of {servers[kind]['hosts']} away: {_few(alone)} ({why(alone.values())}).",
                f"Start them there, by what starts them there otherwise: {_by_hand(f'{kind}-server', 'start')} Why one has ended is in its log.",
                _service(next(iter(alone)), f"{kind}-server", "start"),
            )
    for kind, one in servers.items():
        if one["without_recon"]:
            yield Finding(
                NOTE,
                f"{_s(len(one['without_recon']), f'{kind} server')} can't tell of themselves: {_few(one['without_recon'])}.",
                "Their pipelines have no recon: add it before the app, with [filter:recon] use = egg:swift#recon.",
                f"ssh {ip_of(one['without_recon'][0])} grep -A1 pipeline:main /etc/swift/{kind}-server.conf",
            )


def _nodes_away(servers: Mapping[str, Any]) -> dict[str, str]:
    """The addresses at which no server answers, with a reason, where there is more than one server."""
    away: dict[str, list[str]] = {}
    for one in servers.values():
        for host, why in one["away"].items():
            away.setdefault(ip_of(host), []).append(why)
    there = {ip_of(host) for one in servers.values() for host in one["there"]}
    return {ip: whys[0] for ip, whys in sorted(away.items()) if ip not in there and len(whys) > 1}


def _try(ip: str, why: str) -> str:
    """What shows whether a node is there, or brings its servers up if it is."""
    return f"ssh {ip} systemctl status 'swift-*'" if "ECONNREFUSED" in why else f"ping -c3 {ip}"


def _service(host: str, name: str, verb: str) -> str:
    """By systemd: what swift-init starts or sees beside it is not the same process."""
    return f"ssh {ip_of(host)} systemctl {verb} swift-{name}"


def _by_hand(name: str, verb: str) -> str:
    return f"systemd as below, or `swift-init {name} {verb}`."


def why(reasons: Iterable[str]) -> str:
    """Without the form that programs read."""
    plain = {
        reason.removeprefix("<urlopen error ").removesuffix(">").partition("] ")[2] or reason
        for reason in reasons
    }
    words = {
        "ECONNREFUSED": "connection refused",
        "EHOSTUNREACH": "no route",
        "<urlopen error timed out>": "no connection in time",
    }
    return ", ".join(sorted({words.get(one, one) for one in plain})[:3])


def _files(state: Mapping[str, Any], swift_dir: str) -> Iterator[Finding]:
    other = state["swift_conf"]["other"]
    if other:
        first = next(iter(other))
        yield Finding(
            DANGER,
            f"{_s(len(other), 'server')} of {state['swift_conf']['asked']} with another swift.conf than this machine: {_few(other)}.",
            "With another hash prefix or suffix names are looked for in other places, with other policies in other rings: make them the same.",
            f"ssh {ip_of(first)} cat /etc/swift/swift.conf | diff {swift_dir}/swift.conf -",
        )
    rings = state["rings"]
    other = rings["other"]
    if not other:
        return
    first, different = next(iter(other.items()))
    name = next(iter(different))
    here_alone = len(other) == rings["asked"] and len({md5s.get(name) for md5s in other.values()}) == 1
    if here_alone:
        yield Finding(
            WRONG,
            f"This machine has another {name} than all servers: it is the odd one.",
            "If its build version is below theirs, take theirs; if it is above, it waits to be brought to them.",
            _both_versions(first, name, swift_dir),
        )
        return
    which = _few(f"{host} ({', '.join(sorted(names))})" for host, names in other.items())
    yield Finding(
        DANGER,
        f"{_s(len(other), 'server')} of {rings['asked']} with other rings than this machine: {which}.",
        "Until all have the newest, objects go to, and are looked for in, different places. The higher build version is the newer one:"
        " bring that to the others, never the other way round.",
        _both_versions(first, name, swift_dir),
    )


def _both_versions(host: str, name: str, swift_dir: str) -> str:
    return f"swift-ring-builder {swift_dir}/{name} version; ssh {ip_of(host)} swift-ring-builder /etc/swift/{name} version"


def _rings(balances: Mapping[str, float | None], swift_dir: str) -> Iterator[Finding]:
    for name, balance in balances.items():
        if balance is None:
            yield Finding(
                DANGER,
                f"The ring {name} is not there, or can't be read.",
                "What it places can't be found from this machine: bring it the file that the others have.",
                f"ls -l {swift_dir}/{name}.ring.gz",
            )
        elif balance > OFF_BALANCE:
            yield Finding(
                NOTE,
                f"The ring {name} is out of balance: a disk holds {balance:g} % more or less than its weight says.",
                "Rebalance it, if that is not on its way; zones of unequal size do it, too.",
                f"swift-ring-builder {swift_dir}/{name}.builder",
            )


def _usual(values: Iterable[float]) -> float:
    """The one in the middle, or the lower one of two."""
    every = sorted(values)
    return every[(len(every) - 1) // 2] if every else 0.0


def _slow(answering: Mapping[str, float], waits: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    usual = _usual(answering.values())
    slow = {host: told for host, told in answering.items() if told > max(SLOW, TIMES * usual)}
    if slow:
        worst = max(slow, key=slow.__getitem__)
        yield Finding(
            NOTE,
            f"{_s(len(slow), 'server')} slow to answer: {_few(f'{host} {told:.0f} ms' for host, told in slow.items())}; {usual:.0f} ms are usual.",
            "A failing disk does that, or a busy machine.",
            f"ssh {ip_of(worst)} uptime",
        )
    means = [told["milliseconds"] for told in waits.values() if told["milliseconds"] is not None]
    usual = _usual(means)
    for ip, told in waits.items():
        mean = told["milliseconds"]
        if mean is not None and mean > max(SLOW_REQUEST, TIMES_OF_REQUESTS * usual):
            yield Finding(
                NOTE,
                f"{ip} is slow: this proxy waits {mean:.0f} ms for an answer to a request, while {usual:.0f} ms are usual.",
                "A failing disk does that, or a busy machine.",
                f"ssh {ip} uptime",
            )
        if told["errors"]:
            yield Finding(
                NOTE,
                f"{ip} failed {_s(told['errors'], 'request')} of this proxy since the last look.",
                "Others have stood in. What failed is in this proxy's log.",
            )


def _disks(disks: Mapping[str, Any], swift_dir: str, where: str) -> Iterator[Finding]:
    gone = disks["not_mounted"]
    if gone:
        names = _few(
            f"{one['host']} {one['device']}" + (f" ({one['error']})" if one["error"] != "not mounted" else "")
            for one in gone
        )
        mountable = gone[0]
        yield Finding(
            DANGER if len({one["host"] for one in gone}) > 1 else WRONG,
            f"{_s(len(gone), 'disk')} not mounted: {names}.",
            "Mount it; if it is broken, take it out of the rings, so that its partitions are made anew elsewhere.",
            # names come from servers, and what is pasted is run
            f"ssh {mountable['host']} mount /srv/node/{mountable['device']}"
            if _PLAIN.fullmatch(mountable["device"])
            else "",
        )
    absent = disks["absent"]
    if absent:
        names = _few(f"{one['host']} {one['device']}" for one in absent)
        yield Finding(
            WRONG,
            f"{_s(len(absent), 'disk')} of rings not there: {names}.",
            "No folder of that name is below `devices` there: create and mount it, or take it out of the rings.",
            f"ssh {absent[0]['host']} ls /srv/node",
        )
    fullest = disks["fullest"]
    if not fullest:
        return
    worst = fullest[0]
    full = [one for one in fullest if one["percent"] >= FULL]
    if full:
        which = _few(f"{one['host']} {one['device']} {one['percent']:g} %" for one in full)
        yield Finding(
            DANGER,
            f"{_s(len(full), 'disk')} above {FULL:g} %: {which}.",
            "A full disk takes no writes, and handoffs fill the next ones: add disks, or give this one less weight, and rebalance.",
            f"swift-recon -d --top 20 --human-readable{where}",
        )
    elif worst["percent"] >= NEARLY_FULL:
        yield Finding(
            WRONG,
            f"The fullest disk, {worst['host']} {worst['device']}, is {worst['percent']:g} % full.",
            "Order disks now: adding them takes days of replication.",
            f"swift-recon -d --top 20 --human-readable{where}",
        )
    lowest = disks["emptiest_percent"]
    if lowest is not None and worst["percent"] - lowest >= UNEVEN and worst["percent"] > 50:
        yield Finding(
            NOTE,
            f"Disks are unevenly full: from {lowest:g} % to {worst['percent']:g} %.",
            "After a rebalance replicators need time; if none is under way, look at the balance.",
            f"swift-ring-builder {swift_dir}/object.builder",
        )


def _drive_errors(errors: Mapping[str, Any], where: str) -> Iterator[Finding]:
    if errors["total"]:
        yield Finding(
            WRONG,
            f"The kernels have seen {_s(errors['total'], 'error')} of disks: {_few(errors['hosts'])}.",
            "Which disks, says the log of swift-drive-audit there; a disk that begins to fail is best replaced now.",
            f"swift-recon --driveaudit -v{where}",
        )


def _quarantine(quarantined: Mapping[str, Any], where: str) -> Iterator[Finding]:
    if quarantined["total"]:
        hosts = quarantined["hosts"]
        worst = max(hosts, key=lambda ip: sum(hosts[ip].values()))
        yield Finding(
            WRONG,
            f"{_s(quarantined['total'], 'item')} in quarantine: {_few(f'{ip} {sum(counts.values()):g}' for ip, counts in hosts.items())}.",
            "Damaged copies were set aside and made anew from others. Many on one disk: it fails. What one is: swift-object-info on its file;"
            " are the other copies whole: swift-copies. Then they may be removed.",
            f"ssh {worst} 'ls -d /srv/node/*/quarantined/*/*'",
        )


def _clocks(clocks: Mapping[str, Any]) -> Iterator[Finding]:
    off = {host: value for host, value in clocks["off"].items() if value > CLOCK_SECONDS}
    if off:
        worst = max(off, key=off.__getitem__)
        yield Finding(
            DANGER,
            f"The clocks of {_s(len(off), 'server')} differ from this machine's, by up to {off[worst]:.1f} s: {_few(off)}.",
            "Timestamps decide which write wins: all nodes need NTP.",
            f"ssh {ip_of(worst)} chronyc tracking",
        )


def _passes(state: Mapping[str, Any], where: str) -> Iterator[Finding]:
    now = state["asked_at"]
    for name, one in state["passes"].items():
        kind, _, what = name.partition(" ")
        daemon = {
            "replication": "replicator",
            "reconstruction": "reconstructor",
            "sharding": "sharder",
            "audit": "auditor",
        }[what]
        service = f"{kind}-{daemon}"
        if one["never"]:
            level = NOTE if one["oldest"] is None or what in ("audit", "sharding") else WRONG
            yield Finding(
                level,
                f"No pass of the {service} has ended yet on {_s(len(one['never']), 'server')}: {_few(one['never'])}.",
                f"A first pass takes its time. Does the daemon run there? {_by_hand(service, 'status').capitalize()}",
                _service(one["never"][0], service, "status"),
            )
        if one["oldest"] is not None and now - one["oldest"] > OLD[what]:
            yield Finding(
                WRONG,
                f"The last {what} pass of {one['oldest_host']} ({kind}) ended {span(now - one['oldest'])} ago."
                if what != "audit"
                else f"The audit of {kind}s on {one['oldest_host']} goes on for {span(now - one['oldest'])}.",
                f"Does the daemon run, and does its log name failures? {_by_hand(service, 'status').capitalize()}",
                _service(one["oldest_host"], service, "status"),
            )
        failures = one.get("failures") or {}
        if failures:
            worst = max(failures, key=failures.__getitem__)
            yield Finding(
                WRONG,
                f"The last {kind} replication pass had failures on {_s(len(failures), 'server')}: "
                f"{_few(f'{host} {count:g}' for host, count in failures.items())}.",
                "A node or disk that is away counts there; which one, is in its answer.",
                f"curl -gs http://{worst}/recon/replication/{kind}",
            )


def _updates(waiting: Mapping[str, Any], where: str) -> Iterator[Finding]:
    if waiting["total"] and waiting["total"] > MANY_UPDATES:
        yield Finding(
            WRONG,
            f"{waiting['total']:g} updates of containers wait: listings lack that many changes.",
            "Container servers are away or too slow, or one container is too large: see which hosts wait, and whether containers want sharding.",
            f"swift-recon --async -v{where}",
        )


def _expirer(state: Mapping[str, Any]) -> Iterator[Finding]:
    oldest = state["expirer"]["oldest_due"]
    if oldest is not None and state["asked_at"] - oldest > LATE_EXPIRY:
        yield Finding(
            WRONG,
            f"Objects that should have gone {span(state['asked_at'] - oldest)} ago are still there.",
            "More expirer processes, or a higher tasks_per_second; what can't be deleted is named in the expirer's log.",
            "systemctl status swift-object-expirer",
        )


def _sharding(sharding: Mapping[str, Any], swift_dir: str) -> Iterator[Finding]:
    where = "" if swift_dir == DEFAULT_SWIFT_DIR else f" -d {swift_dir}"
    if sharding["errors"]:
        yield Finding(
            WRONG,
            f"{_s(len(sharding['errors']), 'container')} can't be split: {_few(sharding['errors'])}.",
            "The reason is told by the command; overlaps and gaps are mended with swift-manage-shard-ranges repair.",
            f"swift-sharding-status{where}",
        )
    elif sharding["candidates"] and not sharding["containers"]:
        yield Finding(
            NOTE,
            f"{_s(sharding['candidates'], 'container')} large enough to be split, and none is being split.",
            "With auto_shard = true sharders do it themselves; else each is enabled by hand.",
            f"swift-sharding-status{where}",
        )


def _under_way(state: Mapping[str, Any]) -> Iterator[Finding]:
    if len(state["versions"]) > 1:
        told = ", ".join(f"{version} on {count}" for version, count in sorted(state["versions"].items()))
        yield Finding(
            NOTE, f"Servers have different versions: {told}.", "An upgrade is under way, or was not ended."
        )
    relinking = state["relinking"]
    if relinking["total_parts"] and relinking["parts_done"] < relinking["total_parts"]:
        yield Finding(
            NOTE,
            f"A partition power is being raised: {relinking['parts_done']} of {relinking['total_parts']} partitions are relinked.",
            "Rings must not be rebalanced until it is over.",
        )
