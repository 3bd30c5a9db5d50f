"""Databases in every state that swift-manage-shard-ranges knows, and what it is asked to do with them.

What lives here: making the databases, the cases, and running a command on a copy. What never does: assertions.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from swift.container import shard_ranges
from swift.container.broker import ContainerBroker
from swift.core import clock
from swift.core.hashing import hash_path
from swift.core.timestamp import normalize_timestamp

OLD = "1700000000.00000"
NAMES = [f"o-{n:03d}" for n in range(40)]

Range = dict[str, Any]
Builder = Callable[[pathlib.Path], str]


def item(name: str, lower: str, upper: str, state: int, timestamp: str = OLD, **changes: Any) -> Range:
    """A shard range with what is seldom different filled in."""
    made: Range = {
        "name": name,
        "timestamp": timestamp,
        "lower": lower,
        "upper": upper,
        "object_count": 10,
        "bytes_used": 100,
        "meta_timestamp": timestamp,
        "deleted": 0,
        "state": state,
        "state_timestamp": timestamp,
        "epoch": None,
        "reported": 0,
        "tombstones": 2,
    }
    return {**made, **changes}


def shard(index: int, lower: str, upper: str, state: int = shard_ranges.ACTIVE, **changes: Any) -> Range:
    """One of the root's shards."""
    name = f".shards_AUTH_t/c-4a8a08f09d37b73795649038408b5f33-{OLD}-{index}"
    return item(name, lower, upper, state, **changes)


def database(folder: pathlib.Path, account: str = "AUTH_t", container: str = "c") -> ContainerBroker:
    """One with rows."""
    digest = hash_path(account, container)
    (folder / "sda1").mkdir(exist_ok=True)
    broker = ContainerBroker(
        str(folder / f"sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"),
        account=account,
        container=container,
    )
    broker.create(OLD, 0)
    for at, name in enumerate(NAMES):
        broker.put_object(name, f"17000001{at:02d}.00000", at, "text/plain", "e" * 32)
    broker.commit_pending()
    broker.update_metadata({"X-Container-Meta-Color": ("blue", OLD)})
    return broker


def plain(folder: pathlib.Path) -> str:
    """Not sharded."""
    return database(folder).path


def _sharded(folder: pathlib.Path, ranges: list[Range], state: int = shard_ranges.SHARDED) -> str:
    broker = database(folder)
    epoch = "1700000700.00000"
    own = item("AUTH_t/c", "", "", state, epoch=epoch, object_count=0, bytes_used=0, tombstones=-1)
    broker.merge_shard_ranges([own, *ranges])
    fresh = f"{broker.path[:-3]}_{epoch}.db"
    os.rename(broker.path, fresh)
    return fresh


def whole(folder: pathlib.Path) -> str:
    """Sharded, without a fault."""
    return _sharded(folder, [shard(0, "", "o-009"), shard(1, "o-009", "o-019"), shard(2, "o-019", "")])


def large(folder: pathlib.Path) -> str:
    """Sharded; one is too large to be merged."""
    return _sharded(
        folder,
        [
            shard(0, "", "o-009"),
            shard(1, "o-009", "o-019", object_count=2000000),
            shard(2, "o-019", "o-029"),
            shard(3, "o-029", "o-034"),
            shard(4, "o-034", ""),
        ],
    )


def overlapping(folder: pathlib.Path) -> str:
    """Sharded, and one range too many."""
    return _sharded(
        folder,
        [
            shard(0, "", "o-009"),
            shard(1, "o-009", "o-019"),
            shard(2, "o-019", ""),
            item(".shards_AUTH_t/more", "", "o-015", shard_ranges.ACTIVE, "1600000000.00000"),
        ],
    )


def twice(folder: pathlib.Path) -> str:
    """Sharded two times over; the second one is larger."""
    return _sharded(
        folder,
        [
            shard(0, "", "o-009"),
            shard(1, "o-009", ""),
            item(".shards_AUTH_t/x-0", "", "o-004", shard_ranges.ACTIVE, "1700000001.00000", object_count=30),
            item(
                ".shards_AUTH_t/x-1", "o-004", "", shard_ranges.CLEAVED, "1700000001.00000", object_count=30
            ),
        ],
    )


def young(folder: pathlib.Path) -> str:
    """As twice, made just now."""
    now = normalize_timestamp(clock.time())
    return _sharded(
        folder,
        [
            shard(0, "", "o-009"),
            shard(1, "o-009", ""),
            item(".shards_AUTH_t/x-0", "", "o-004", shard_ranges.CREATED, now),
            item(".shards_AUTH_t/x-1", "o-004", "", shard_ranges.CREATED, now),
        ],
    )


def gap(folder: pathlib.Path) -> str:
    """Sharded, with a part missing in the middle."""
    return _sharded(folder, [shard(0, "", "o-009"), shard(2, "o-019", "")])


def gaps(folder: pathlib.Path) -> str:
    """Parts missing at both ends and in the middle."""
    return _sharded(
        folder, [shard(0, "o-002", "o-009"), shard(2, "o-019", "o-025"), shard(3, "o-027", "o-030")]
    )


def unusable(folder: pathlib.Path) -> str:
    """A gap between ranges that are no longer active."""
    return _sharded(
        folder,
        [shard(0, "", "o-009", shard_ranges.SHRINKING), shard(2, "o-019", "", shard_ranges.CLEAVED)],
    )


def shrinking(folder: pathlib.Path) -> str:
    """One is being merged into its neighbour."""
    return _sharded(
        folder,
        [
            shard(0, "", "o-009", shard_ranges.SHRINKING, epoch=OLD),
            shard(1, "", "o-019"),
            shard(2, "o-019", ""),
        ],
    )


def splitting(folder: pathlib.Path) -> str:
    """One is being split."""
    return _sharded(
        folder,
        [
            shard(0, "", "o-009", shard_ranges.SHARDING, epoch=OLD),
            shard(1, "", "o-005"),
            shard(2, "o-009", ""),
        ],
    )


def empty_of_ranges(folder: pathlib.Path) -> str:
    """Said to be sharded, but has no ranges."""
    return _sharded(folder, [])


def shard_of(folder: pathlib.Path) -> str:
    """A shard."""
    broker = database(folder, ".shards_AUTH_t", f"c-4a8a08f09d37b73795649038408b5f33-{OLD}-0")
    broker.update_metadata({"X-Container-Sysmeta-Shard-Quoted-Root": ("AUTH_t/c", OLD)})
    broker.merge_shard_ranges([shard(0, "", "o-030")])
    return broker.path


def orphan(folder: pathlib.Path) -> str:
    """A shard that has no range of its own."""
    broker = database(folder, ".shards_AUTH_t", f"c-4a8a08f09d37b73795649038408b5f33-{OLD}-0")
    broker.update_metadata({"X-Container-Sysmeta-Shard-Quoted-Root": ("AUTH_t/c", OLD)})
    return broker.path


def shrunk(folder: pathlib.Path) -> str:
    """A shard in a state in which it can't be sharded."""
    broker = database(folder, ".shards_AUTH_t", f"c-4a8a08f09d37b73795649038408b5f33-{OLD}-0")
    broker.update_metadata({"X-Container-Sysmeta-Shard-Quoted-Root": ("AUTH_t/c", OLD)})
    broker.merge_shard_ranges([shard(0, "", "o-030", shard_ranges.SHRINKING, epoch=OLD)])
    return broker.path


def without_epoch(folder: pathlib.Path) -> str:
    """To be sharded, since nobody knows when."""
    broker = database(folder)
    broker.merge_shard_ranges([item("AUTH_t/c", "", "", shard_ranges.SHARDING)])
    return broker.path


def cleaving(folder: pathlib.Path) -> str:
    """In the middle of it: two files, and a record of how far it is."""
    broker = database(folder)
    retiring = broker.info()["id"]
    epoch = "1700000700.00000"
    fresh = f"{broker.path[:-3]}_{epoch}.db"
    shutil.copy(broker.path, fresh)
    newest = ContainerBroker(broker.path, account="AUTH_t", container="c")
    newest.reload_files()
    newest.merge_shard_ranges(
        [
            item("AUTH_t/c", "", "", shard_ranges.SHARDING, epoch=epoch),
            shard(0, "", "o-009", shard_ranges.CLEAVED),
            shard(1, "o-009", "", shard_ranges.CREATED),
        ]
    )
    record = {
        "ref": retiring, "cursor": "o-009", "max_row": 40, "cleave_to_row": 40, "last_cleave_to_row": None,
        "cleaving_done": False, "misplaced_done": True, "ranges_done": 1, "ranges_todo": 1, "replication_time": 0.5,
    }  # fmt: skip
    key = f"X-Container-Sysmeta-Shard-Context-{retiring}"
    newest.update_metadata({key: (json.dumps(record), OLD), "X-Container-Sysmeta-Sharding": ("True", OLD)})
    return fresh


FOUND = [
    {"index": 0, "lower": "", "upper": "o-009", "object_count": 10},
    {"index": 1, "lower": "o-009", "upper": "", "object_count": 30},
]
FILES: dict[str, Any] = {
    "found.json": FOUND,
    "gap.json": [FOUND[0], {**FOUND[1], "lower": "o-010"}],
    "overlap.json": [FOUND[0], {**FOUND[1], "lower": "o-005"}],
    "short.json": FOUND[:1],
    "late.json": FOUND[1:],
    "bad.json": [{"index": 0, "lower": ""}],
    "nothing.json": [],
    "object.json": {"a": 1},
    "merge.json": [item(".shards_AUTH_t/new", "o-019", "o-029", shard_ranges.ACTIVE)],
    "same.json": [shard(0, "", "o-009")],
    "badmerge.json": [{"name": "x"}],
    "ranges.json": [
        {**found, "state": shard_ranges.STATES[found["state"]]}
        for found in (
            shard(0, "", "o-009"), shard(1, "o-009", "o-019"), shard(2, "o-019", ""),
            item(".shards_AUTH_t/more", "", "o-015", shard_ranges.ACTIVE, "1600000000.00000"),
        )
    ],
    "gapped.json": [shard(0, "", "o-009"), shard(2, "o-019", "")],
}  # fmt: skip

CONFS = {
    "good.conf": "[container-sharder]\nshard_container_threshold = 30\nrows_per_shard = 12\nminimum_shard_size = 5\n"
    "shrink_threshold = 3\nexpansion_limit = 20\nmax_shrinking = 2\nmax_expanding = 1\n",
    "bad.conf": "[container-sharder]\nshard_container_threshold = 30\nrows_per_shard = 40\n",
    "word.conf": "[container-sharder]\nrows_per_shard = many\n",
    "other.conf": "[container-server]\nx = 1\n",
    "old.conf": "[container-sharder]\nshard_container_threshold = 100\nshard_shrink_point = 20\nshard_shrink_merge_point = 50\n",
}

Step = tuple[str, str]
"""(arguments behind the file; `{dir}` is the folder, a leading `^` puts an option before the file, input)."""

CASES: list[tuple[Builder, list[Step]]] = [
    (plain, [("find", ""), ("find 10", ""), ("find 12 --minimum-shard-size 8", ""), ("find 0", ""), ("find x", "")]),
    (plain, [("find 10 --minimum-shard-size 11", ""), ("find 40", ""), ("find 10 --minimum-shard-size 10", "")]),
    (plain, [("^--config={dir}/good.conf find", ""), ("^--config={dir}/bad.conf find", ""), ("^--config={dir}/word.conf find", ""),
             ("^--config={dir}/other.conf find", ""), ("^--config={dir}/none.conf find", ""), ("^--config={dir}/old.conf compact -n", "")]),
    (plain, [("show", ""), ("info", ""), ("delete", ""), ("delete -f", ""), ("compact", ""), ("repair", ""), ("repair --gaps", "")]),
    (plain, [("replace {dir}/found.json", ""), ("show -b", ""), ("info", ""), ("delete", "q\n"), ("delete", "s\nq\n"), ("delete", ""),
             ("delete", "YES\nyes\n"), ("show", ""), ("show -d -b", ""), ("delete", "")]),
    (plain, [(f"replace {{dir}}/{name}", "") for name in ("gap.json", "overlap.json", "short.json", "late.json", "bad.json", "nothing.json", "object.json", "none.json")]),
    (plain, [("replace {dir}/found.json --shards_account_prefix .pieces_", ""), ("show", "")]),
    (plain, [("find_and_replace 10", ""), ("show", ""), ("find_and_replace 10", "q\n"), ("find_and_replace 20 -f --enable", ""), ("show -b", ""), ("info", "")]),
    (plain, [("find_and_replace", ""), ("find_and_replace 39", "")]),
    (plain, [("enable", ""), ("enable", ""), ("info", "")]),
    (without_epoch, [("enable", ""), ("info", ""), ("enable", "")]),
    (shrunk, [("enable", ""), ("info", "")]),
    (orphan, [("info", ""), ("find 10", ""), ("find_and_replace 10", ""), ("replace {dir}/found.json", ""), ("enable", ""), ("compact", ""), ("repair", "")]),
    (shard_of, [("info", ""), ("find 10", ""), ("replace {dir}/found.json", ""), ("find_and_replace 10 -f", ""), ("show", ""), ("compact", ""), ("repair", ""), ("repair --gaps", "")]),
    (whole, [("info", ""), ("show", ""), ("show --includes o-009", ""), ("show --includes o%2D010 -Q", ""), ("show --includes o%2D010", ""), ("show -b --includes zzz", "")]),
    (whole, [("repair", ""), ("repair --gaps", ""), ("repair -y", ""), ("^-v repair -n", "")]),
    (whole, [("compact -n", ""), ("compact", "no\n"), ("compact", ""), ("^-v compact -n", ""), ("compact", "yes\n"), ("show", ""), ("compact", "yes\n")]),
    (whole, [("compact -y --max-shrinking -1", ""), ("show", "")]),
    (whole, [("compact --shrink-threshold 12 -n", ""), ("compact --shrink-threshold 13 --expansion-limit 23 -n", ""), ("compact --max-expanding 0 -n", ""),
             ("compact --shrink-threshold -1", ""), ("compact -y -n", ""), ("compact --max-shrinking 0 -n", "")]),
    (large, [("compact -n", ""), ("compact -n --max-shrinking 5", ""), ("compact -n --max-expanding 1", ""), ("compact -n --expansion-limit 20", ""), ("compact -y", ""), ("show -b", ""), ("compact -n", "")]),
    (shrinking, [("compact -n", ""), ("repair -n", ""), ("repair --gaps -n", ""), ("show", "")]),
    (splitting, [("compact -n", ""), ("repair -n", ""), ("repair --gaps -n", "")]),
    (overlapping, [("compact -n", ""), ("repair -n", ""), ("repair", "no\n"), ("repair", ""), ("^-v repair -n", ""), ("^-v repair -n --min-shard-age 0", ""),
                   ("repair --gaps -n", ""), ("repair --min-shard-age 0", "yes\n"), ("show", ""), ("repair", "")]),
    (overlapping, [("repair -y --min-shard-age 1000000000", ""), ("repair --min-shard-age -1", ""), ("repair -y -n", "")]),
    (twice, [("repair -n", ""), ("^-v repair -n", ""), ("repair -y", ""), ("show", "")]),
    (young, [("repair -n", ""), ("^-v repair -n --min-shard-age 0", "")]),
    (gap, [("repair -n", ""), ("repair --gaps -n", ""), ("^-v repair --gaps -n", ""), ("repair --gaps", "no\n"), ("repair --gaps", "yes\n"), ("show", ""), ("compact -n", "")]),
    (gaps, [("repair -n", ""), ("repair --gaps -n --max-expanding 1", ""), ("repair --gaps -y", ""), ("show", ""), ("repair --gaps -y", ""), ("show -b", "")]),
    (unusable, [("repair -n", ""), ("repair --gaps -n", ""), ("repair --gaps -y", "")]),
    (empty_of_ranges, [("repair -n", ""), ("repair --gaps -n", ""), ("compact -n", ""), ("info", "")]),
    (whole, [("merge {dir}/merge.json -n", ""), ("merge {dir}/merge.json", "no\n"), ("merge {dir}/merge.json", ""), ("merge {dir}/merge.json", "yes\n"),
             ("show -b", ""), ("merge {dir}/same.json -y", ""), ("merge {dir}/badmerge.json -y", ""), ("merge {dir}/nothing.json -y", ""), ("merge {dir}/none.json -y", "")]),
    (gap, [("merge {dir}/merge.json -n", ""), ("merge {dir}/same.json -n", "")]),
    (cleaving, [("info", ""), ("show -b", ""), ("find 10", ""), ("compact -n", ""), ("repair -n", ""), ("enable", ""), ("delete", "q\n")]),
    (whole, [("nonsense", ""), ("^--skip-commits info", ""), ("^--force-commits info", ""), ("info extra", "")]),
]  # fmt: skip
ANALYSES = [
    "ranges.json",
    "gapped.json",
    "bad.json",
    "nothing.json",
    "object.json",
    "none.json",
]


def write_files(folder: pathlib.Path) -> None:
    """The files that the cases name."""
    for name, value in FILES.items():
        (folder / name).write_text(json.dumps(value))
    for name, text in CONFS.items():
        (folder / name).write_text(text)


def run(
    command: str, folder: pathlib.Path, path: str, step: Step, environment: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """(exit code, stdout, stderr), with what differs from run to run replaced."""
    text, given = step
    before, after = [], []
    for word in text.format(dir=folder).split():
        (before if word.startswith("^") else after).append(word.removeprefix("^"))
    done = subprocess.run(
        [command, *before, path, *after],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd="/",
    )
    return done.returncode, same(done.stdout, folder), same(done.stderr, folder)


def same(text: str, folder: pathlib.Path) -> str:
    """Without times and places of a single run."""
    text = text.replace(str(folder), "<dir>")
    text = re.sub(
        r"\b1[6-9]\d{8}\.\d{5}\b", lambda found: found[0] if found[0] < "1700001000" else "<now>", text
    )
    text = re.sub(r"[\d.]+(e-\d+)?s\b", "<seconds>", text)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+", "<id>", text)
