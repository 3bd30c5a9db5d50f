"""What nodes answer to swift-recon, and with what options it is asked: cases that the reference's answers were recorded for.

`python -m test.recon_cases record` with REFERENCE_BIN records them anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

from test.recon_nodes import CLOSE, HANG, Node, Nodes, running

RECORDED = pathlib.Path(__file__).parent / "unit/cli/data/recon_reference.json"
LONG_AGO = 1700000000.25


def rings(etc: pathlib.Path) -> dict[str, str]:
    """What a node answers that has the same rings."""
    return {
        f"/etc/swift/{path.name}": hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(etc.glob("*.ring.gz"))
    }


def conf(etc: pathlib.Path) -> dict[str, str]:
    return {"/etc/swift/swift.conf": hashlib.md5((etc / "swift.conf").read_bytes()).hexdigest()}


def _common(number: int) -> dict[str, Any]:
    return {
        "version": {"version": "2.38.3"},
        "load": {"1m": 0.5 + number, "5m": 1.25, "15m": 2.0, "tasks": "1/2", "processes": 3},
        "mem": {"MemTotal": "1 kB"},
        "unmounted": [],
        "diskusage": [
            {
                "device": "sdb1",
                "mounted": True,
                "size": 1000000000 * number,
                "used": 123456789 * number + 1,
                "avail": 800000000,
            },
            {"device": "sdb2", "mounted": True, "size": 4000, "used": 1000 + number, "avail": 3000 - number},
        ],
        "ringmd5": rings,
        "swiftconfmd5": conf,
        "quarantined": {
            "objects": 3 + number,
            "containers": number,
            "accounts": 0,
            "policies": {"0": {"objects": 3}, "1": {"objects": number}},
        },
        "sockstat": {
            "tcp_in_use": 10,
            "orphan": 0,
            "time_wait": 2 * number,
            "tcp_mem_allocated_bytes": 4096,
            "tcp6_in_use": 1,
        },
        "driveaudit": {"drive_audit_errors": number},
        "time": 1700000000.5,
    }


def _replication(number: int, minutes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "replication_time": 1.5 * number,
        "replication_last": LONG_AGO + number,
        "replication_stats": {"attempted": 10 * number, "success": 9 * number, "failure": number},
    }
    if minutes:
        found["object_replication_time"] = 0.7 * number
        found["object_replication_last"] = LONG_AGO + number
    return found


def _pass(number: int) -> dict[str, Any]:
    return {
        "passes": number,
        "errors": 1,
        "quarantined": 2,
        "bytes_processed": 1000 * number,
        "start_time": LONG_AGO,
        "audit_time": 10.75,
    }


def _object(number: int) -> dict[str, Any]:
    return {
        **_common(number),
        "async": {"async_pending": 7 * number, "async_pending_last": LONG_AGO},
        "replication/object": _replication(number, True),
        "reconstruction/object": {
            "object_reconstruction_last": LONG_AGO + number,
            "object_reconstruction_time": 0.25 * number,
        },
        "updater/object": {
            "object_updater_sweep": 3.5 * number,
            "object_updater_last": LONG_AGO,
            "object_updater_stats": {},
        },
        "auditor/object": {
            "object_auditor_stats_ALL": _pass(number),
            "object_auditor_stats_ZBF": _pass(number + 1),
        },
        "expirer/object": {"object_expiration_pass": 0.5, "expired_last_pass": 20 * number},
    }


def _database(kind: str, number: int) -> dict[str, Any]:
    return {
        **_common(number),
        f"replication/{kind}": _replication(number, False),
        f"auditor/{kind}": {
            f"{kind}_audits_passed": 100 * number,
            f"{kind}_auditor_pass_completed": 0.0625 * number,
            f"{kind}_audits_since": LONG_AGO + number,
            f"{kind}_audits_failed": number,
        },
        f"updater/{kind}": {f"{kind}_updater_sweep": 0.5 * number},
        "sharding": {
            "sharding_stats": {"attempted": number, "failure": 0, "success": number},
            "sharding_time": 600 * number,
            "sharding_last": LONG_AGO - number,
        },
    }


def _nulls(kind: str) -> dict[str, Any]:
    """What a node answers whose daemons have never run."""
    answers = _object(1) if kind == "object" else _database(kind, 1)
    for name in answers:
        if isinstance(answers[name], dict) and "/" in name or name in ("sharding", "async", "driveaudit"):
            answers[name] = dict.fromkeys(answers[name])
    answers["swiftconfmd5"] = {"/etc/swift/swift.conf": None}
    answers["diskusage"] = [{"device": "sdb1", "mounted": False, "size": "", "used": "", "avail": ""}]
    answers["unmounted"] = [
        {"device": "sdb1", "mounted": False},
        {"device": "sdb3", "mounted": "[Errno 5] Input/output error"},
    ]
    answers["quarantined"] = {"objects": 0, "containers": 0, "accounts": 0, "policies": {}}
    answers["sockstat"] = {}
    answers["version"] = {"version": "1.2.3"}
    answers["ringmd5"] = {
        "/etc/swift/object.ring.gz": "0" * 32,
        "/etc/swift/account.ring.gz": "0" * 32,
        "/etc/swift/container.ring.gz": "0" * 32,
    }
    return answers


def _host(name: str, ip: str, answers: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "ip": ip, "answers": answers, **more}


def _three(second: Any) -> dict[str, Any]:
    """A cluster whose second nodes answer as `second` says."""
    case: dict[str, Any] = {}
    for kind in ("account", "container", "object"):
        good = (lambda number: _object(number)) if kind == "object" else (lambda n, k=kind: _database(k, n))
        case[kind] = [
            _host(f"{kind}1", "127.0.0.1", good(1), policies=(0, 1) if kind == "object" else (0,)),
            _host(f"{kind}2", "127.0.0.2", second(kind), zone=2),
        ]
    return case


def _per_device(kind: str) -> dict[str, Any]:
    """Daemons with several workers keep their figures by device."""
    answers = _object(2) if kind == "object" else _database(kind, 2)
    if kind == "object":
        answers["auditor/object"] = {
            "object_auditor_stats_ALL": {"sdb1": _pass(1), "sdb2sdb3": _pass(2)},
            "object_auditor_stats_ZBF": {"sdb1sdb2": _pass(3)},
        }
    return answers


CASES = {
    "well": _three(lambda kind: _object(2) if kind == "object" else _database(kind, 2)),
    "nulls": _three(_nulls),
    "only nulls": {
        kind: [_host(f"{kind}1", "127.0.0.1", _nulls(kind), policies=(0, 1) if kind == "object" else (0,))]
        for kind in ("account", "container", "object")
    },
    "dead": _three(lambda kind: None),
    "all dead": {
        kind: [_host(f"{kind}1", "127.0.0.1", None, policies=(0, 1) if kind == "object" else (0,))]
        for kind in ("account", "container", "object")
    },
    "no recon": _three(lambda kind: {}),
    "refused": _three(lambda kind: dict.fromkeys(_object(1) | _database("account", 1) | _database("container", 1), 500)),
    "per device": _three(_per_device),
    "one ip": {
        "object": [
            _host("object1", "127.0.0.1", _object(1), policies=(0, 1)),
            _host("object2", "127.0.0.1", {**_object(2), "diskusage": _object(1)["diskusage"]}, zone=2),
            _host("object3", "127.0.0.3", _object(3), region=2, server="proxy-server/1"),
        ]
    },
    "hangs": _three(lambda kind: dict.fromkeys(_object(1) | _database("account", 1) | _database("container", 1), HANG)),
    "closes": _three(lambda kind: dict.fromkeys(_object(1) | _database("account", 1) | _database("container", 1), CLOSE)),
}  # fmt: skip

CHECKS = [
    "--async", "--replication", "--reconstruction", "--auditor", "--updater", "--expirer", "--sharding", "--unmounted", "--diskusage",
    "--loadstats", "--quarantined", "--validate-servers", "--md5", "--sockstat", "--driveaudit", "--time", "--swift-versions",
]  # fmt: skip
KINDS = ("account", "container", "object")
COMMANDS: dict[str, list[str]] = {
    case: [f"{kind} {check}{verbose}" for kind in KINDS for check in CHECKS for verbose in ("", " -v")]
    for case in ("well", "nulls")
}
for _case in ("only nulls", "dead", "all dead", "no recon", "refused", "per device", "closes"):
    COMMANDS[_case] = [f"{kind} {check}" for kind in KINDS for check in CHECKS]
COMMANDS["dead"] += ["--async --suppress", "object --md5 -v --suppress", "--validate-servers -v --suppress"]
COMMANDS["well"] += [
    "object -d --human-readable", "object -d --top 3", "object -d --lowest=1 -v", "object -d --top 1 --lowest 1 --human-readable",
    "-l", "--async -p silver", "--async -p 1", "--async --policy yellow", "--async -p 7", "--async -p none", "account -l -p silver",
    "object -l -z 2", "object -l --zone 9", "object -l --region 1", "object -l --region 7", "account container -l", "container account object -q",
    "object object -l", "wrong -l", "account wrong -l", "object", "account container", "-v", "object -arR", "object -u -d -l", "object -T --jitter 1e12",
    "object -T --jitter=x", "object --nonsense", "object --top x -d", "object -t 0.5 -l", "object -lqua", "ACCOUNT -l",
]  # fmt: skip
COMMANDS["one ip"] = [
    "-d", "-l --region 1", "-l --region 2 -z 1", "--validate-servers", "--validate-servers -v", "--md5",
    "--async -p silver",
]  # fmt: skip
COMMANDS["hangs"] = ["-l -t 3", "--md5 -t 3 -v"]
ALL = {case: [f"{kind} --all" for kind in KINDS] for case in ("well", "nulls", "dead")}


def comparable(text: str) -> str:
    """Without what is different each time."""
    text = re.sub(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", "[now]", text)
    text = re.sub(r"\(\d+ (second|minute|hour|day)s? ago\)", "(… ago)", text)
    text = re.sub(r"(?!0{32})[0-9a-f]{32}", "<md5>", text)
    text = re.sub(r"current time is \S+ \S+, but", "current time is …, but", text)
    return re.sub(r"differs by [\d.]+ sec", "differs by … sec", text)


def sorted_lines(text: str) -> list[str]:
    """Blocks in their order, the lines of each sorted: hosts come in any order, and so do kinds of servers."""
    found: list[str] = []
    for kind in sorted(re.split(r"(?m)^(?=--> Starting)", text)):
        for block in re.split(r"(?m)^(?==+$|\[now\])", kind):
            found += sorted(block.splitlines())
    return found


def one(command: list[str], nodes: Any, words: str) -> dict[str, Any]:
    """{out, err, rc} of one command."""
    done = subprocess.run(
        [*command, *words.split(), f"--swiftdir={nodes.etc}"], capture_output=True, text=True, timeout=120
    )
    return _found(nodes, done.returncode, done.stdout, done.stderr)


def _found(nodes: Any, status: int, out: str, err: str) -> dict[str, Any]:
    found = {"out": comparable(nodes.masked(out)), "rc": status}
    if err:
        found["err"] = comparable(nodes.masked(err)).strip().splitlines()[-1]
    return found


def _record() -> None:
    # to be run in a mount namespace of its own: the reference compares with /etc/swift/swift.conf, whatever --swiftdir says
    command = [os.path.join(os.environ["REFERENCE_BIN"], "swift-recon")]
    found: dict[str, Any] = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder, running(pathlib.Path(folder), CASES[case]) as nodes:
            shutil.copy(nodes.etc / "swift.conf", "/etc/swift/swift.conf")
            for words in COMMANDS[case] + ALL.get(case, []):
                found.setdefault(case, {})[words] = one(command, nodes, words)
    for told in found.values():  # without help, and without what ended in a traceback
        for words, one_told in [*told.items()]:
            one_told["out"] = one_told["out"].partition("Usage:")[0]
            if one_told["rc"] == 1 and "err" in one_told:
                del told[words]
    RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


# -- our command, many times in one process ------------------------------------------------------------------------------


class Names(NamedTuple):
    """The nodes of a case, in another process."""

    etc: pathlib.Path
    named: dict[str, Any]
    masked = Nodes.masked


def _serve(folder: str) -> None:
    """All cases' nodes, until standard input ends; says where they are."""
    with contextlib.ExitStack() as stack:
        found = {}
        for number, (case, hosts) in enumerate(CASES.items()):
            nodes = stack.enter_context(running(pathlib.Path(folder, str(number)), hosts))
            found[case] = (str(nodes.etc), {name: (node.ip, node.port) for name, node in nodes.named.items()})
        print(json.dumps(found), flush=True)
        sys.stdin.read()


def _replay() -> None:
    """Prints what our command says in all cases, as JSON."""
    from swift.cli import recon
    from swift.core import concurrency, swift_dir

    with tempfile.TemporaryDirectory() as folder:
        here = [sys.executable, "-m", "test.recon_cases"]
        served = subprocess.Popen(
            [*here, "serve", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert served.stdin and served.stdout
        where = json.loads(served.stdout.readline())
        concurrency.patch()
        concurrency.patch = lambda: None
        found: dict[str, Any] = {}
        for case, (etc, named) in where.items():
            swift_dir._current = None  # as in a process of its own
            nodes = Names(pathlib.Path(etc), {name: Node.Place(*place) for name, place in named.items()})
            for words in COMMANDS[case] + ALL.get(case, []):
                out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    try:
                        status = recon.main([*words.split(), f"--swiftdir={etc}"])
                    except SystemExit as end:
                        status = end.code
                texts = []
                for stream in (out, err):
                    stream.flush()
                    texts.append(stream.buffer.getvalue().decode())
                found.setdefault(case, {})[words] = _found(nodes, status, *texts)
        served.stdin.close()
        served.wait()
    print(json.dumps(found))


if __name__ == "__main__":
    {"record": _record, "replay": _replay, "serve": lambda: _serve(sys.argv[2])}[sys.argv[1]]()
