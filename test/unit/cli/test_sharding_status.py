"""swift-sharding-status: what is made of what container servers say."""

import io
import json
import sys

import pytest

from swift.cli import sharding_status
from swift.cli.sharding_status import Told, lines, made_of
from swift.wire import direct
from swift.wire.direct import DirectError

NOW = 1700001000.0


def entry(**changes):
    made = {
        "account": "AUTH_test", "container": "c", "root": "AUTH_test/c", "path": "/srv/x.db", "node_index": 0, "object_count": 1000,
        "state": "sharding", "db_state": "sharding", "found": 2, "created": 1, "cleaved": 3, "active": 0, "error": None,
        "epoch": "1700000000.00000", "meta_timestamp": "1700000000.00000",
    }  # fmt: skip
    return {**made, **changes}


def document(*entries, last=NOW - 10, waiting=(), shrinking=(), **counts):
    return {
        "sharding_last": last,
        "sharding_time": 1.0,
        "sharding_stats": {
            "sharding": {
                "sharding_in_progress": {"all": list(entries)},
                "sharding_candidates": {"found": len(waiting), "top": list(waiting)},
                "shrinking_candidates": {"found": len(shrinking), "top": list(shrinking)},
                **counts,
            }
        },
    }


def said(*told, with_over=False):
    report = made_of(told, NOW)
    return report, "\n".join(lines(report, with_over))


def test_progress_of_all_replicas_and_how_long_it_takes():
    report, text = said(
        Told("1:6201", document(entry(ranges_done=3, ranges_todo=1))),
        Told("2:6201", document(entry(ranges_done=1, ranges_todo=3))),
        Told("3:6201", document(entry(db_state="sharded", found=0, created=0, cleaved=0, active=4))),
    )
    assert report["problems"] == []
    assert report["containers"]["/AUTH_test/c"]["eta_seconds"] == 3000.0
    assert (
        "/AUTH_test/c: 1 of 3 replicas done; 2 found, 1 created, 3 cleaved, 4 active; about 50m left" in text
    )
    assert "2:6201: sharding, database sharding, 1000 rows, 1 of 4 shards filled" in text


def shard_entry(name, **changes):
    return entry(
        **{
            "account": ".shards_AUTH_test",
            "container": name,
            "found": 0,
            "created": 0,
            "cleaved": 0,
            "active": 1,
            **changes,
        }
    )


def test_shards_that_are_over_are_only_counted():
    answers = Told(
        "1:6201",
        document(
            entry(db_state="sharded", state="sharded", active=4),
            shard_entry("c-merged", db_state="sharded", state="shrunk", object_count=0),
            shard_entry("c-empty", db_state="collapsed", state="sharded", object_count=0),
            shard_entry("c-stuck", db_state="collapsed", state="sharded", object_count=7),
            shard_entry("c-wrong", db_state="sharded", state="shrunk", error="what is wrong"),
        ),
    )
    report, text = said(answers)
    assert "c-merged" not in text and "c-empty" not in text
    assert "/AUTH_test/c: 1 of 1 replicas done" in text
    assert "/.shards_AUTH_test/c-stuck (a shard of /AUTH_test/c): 0 of 1 replicas done" in text
    assert "/.shards_AUTH_test/c-wrong (a shard of /AUTH_test/c)" in text
    assert "2 shards were split or merged lately and are over" in text
    assert report["containers"]["/.shards_AUTH_test/c-merged"]["is_over"]
    _, text = said(answers, with_over=True)
    assert "c-merged" in text and "c-empty" in text


def test_nothing_is_under_way_when_all_is_over():
    _, text = said(Told("1:6201", document(shard_entry("c-0", db_state="sharded", state="shrunk"))))
    assert "No container is being split or merged." in text


def test_the_references_figures_do_as_well():
    report, text = said(Told("1:6201", document(entry())))
    assert report["containers"]["/AUTH_test/c"]["eta_seconds"] == 1000.0
    report, text = said(Told("1:6201", document(entry(cleaved=0))))
    assert "nobody can say" in text


def test_what_is_wrong_is_told():
    report, text = said(
        Told(
            "1:6201", document(entry(error="too few replicas"), audit_root={"failure": 1, "has_overlap": 1})
        ),
        Told("2:6201", None, "GET http://2:6201/recon/sharding gave: refused"),
        Told("3:6201", document(last=None)),
        Told("4:6201", document(last=NOW - 7200, misplaced={"unplaced": 5}, audit_shard={"failure": 2})),
    )
    assert text.count("PROBLEM ") == len(report["problems"]) == 8
    for part in (
        "/AUTH_test/c: too few replicas",
        "1 containers with overlapping shards",
        "1 containers whose shards don't fit together",
        "no answer: GET http://2:6201",
        "3:6201: no sharder has run here",
        "4:6201: the last sharder's cycle ended 2h ago",
        "5 rows that no shard takes",
        "2 shards that failed their audit",
    ):
        assert part in text


def test_shards_without_a_root_are_told():
    lost = {"path": ".shards_AUTH_test/c-0", "root": "AUTH_test/c", "object_count": 7}
    _, text = said(Told("1:6201", document(orphaned_shards={"found": 1, "all": [lost]})))
    assert (
        "PROBLEM 1:6201: .shards_AUTH_test/c-0 has 7 objects that nobody lists: its root AUTH_test/c is gone"
        in text
    )


def test_candidates():
    big = entry(container="big", object_count=5000000)
    report, text = said(
        Told(
            "1:6201",
            document(waiting=[big, entry()], shrinking=[entry(container="small", compactible_ranges=4)]),
        ),
        Told("2:6201", document(entry(), waiting=[{**big, "object_count": 4}])),
    )
    assert list(report["waiting"]) == ["/AUTH_test/big"]
    assert "/AUTH_test/big: large enough to be split: 5000000 objects" in text
    assert "/AUTH_test/small: 4 shards can be merged" in text
    _, text = said(Told("1:6201", document(waiting=[{**big, "enabled": False}])))
    assert "5000000 objects, but sharding is not enabled for it" in text


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"sharding_stats": 5},
        {"sharding_stats": {"sharding": []}, "sharding_last": "x"},
        document(5, "x", {}),
        {"sharding_stats": {"sharding": {"misplaced": {"unplaced": float("nan")}}}},
        {"sharding_stats": {"sharding": {"audit_root": {"has_overlap": 10**400, "failure": "inf"}}}},
    ],
)
def test_nonsense_from_a_server_is_no_traceback(nonsense):
    said(Told("1:6201", nonsense))


def test_the_command(monkeypatch, capsys):
    servers = [{"ip": f"10.0.0.{n}", "port": 6201} for n in (1, 2)]

    def recon(node, what, **options):
        assert what == "sharding"
        if node["ip"] == "10.0.0.2":
            raise DirectError("GET", node, "/recon/sharding", reason="refused")
        return document(entry())

    monkeypatch.setattr(
        sharding_status.concurrency, "patch", lambda: None
    )  # that is for a process of its own
    monkeypatch.setattr(sharding_status, "_servers", lambda directory: servers)
    monkeypatch.setattr(sharding_status.clock, "time", lambda: NOW)
    monkeypatch.setattr(direct, "get_recon", recon)
    assert sharding_status.main(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report["containers"]) == ["/AUTH_test/c"] and len(report["problems"]) == 1
    monkeypatch.setattr(sharding_status, "_servers", lambda directory: servers[:1])
    assert sharding_status.main([]) == 0
    assert "0 problems" in capsys.readouterr().out
    assert sharding_status.main(["x"]) == 2
    name = "é\x1b[2J\nPROBLEM \udc80"
    nasty = document(entry(container=name, root=f"AUTH_test/{name}"))
    monkeypatch.setattr(direct, "get_recon", lambda *args, **options: nasty)
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert sharding_status.main([]) == 0
    narrow.seek(0)
    said = narrow.read()
    assert said.startswith("/AUTH_test/\\xe9\\x1b[2J\\nPROBLEM \\udc80: ") and "\nPROBLEM" not in said
