"""swift-recon --check: limits as they are written, and what is made of answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli.recon_checks import CHECKS, Seen
from swift.cli.recon_thresholds import CRITICAL, MEASURES, OK, UNKNOWN, WARNING, judge, parse
from swift.survey.answers import Answer, Host

NOW = 1700000000.0
A, B = Host("10.0.0.1", 6200), Host("fd00::2", 6200)


def told(name, kind, *documents):
    """What the checks of one name saw; an exception's text stands for a host that is away."""
    hosts = [A, B, Host("10.0.0.3", 6200)][: len(documents)]
    found = []
    for check in CHECKS[name]:
        if kind not in check.kinds:
            continue
        answers = [
            Answer(host, check.question(kind), error=document)
            if isinstance(document, str)
            else Answer(host, check.question(kind), document, status=200, began=NOW, ended=NOW)
            for host, document in zip(hosts, documents, strict=True)
        ]
        found.append((check, Seen(kind, hosts, answers, "/nonesuch", NOW)))
    return kind, hosts, found


def replication(*ages):
    return [
        {"object_replication_last": NOW - age} if age is not None else {"object_replication_last": None}
        for age in ages
    ]


@pytest.mark.parametrize(
    ("limits", "documents", "status", "first"),
    [
        ("replication=2h", replication(60, 7100), OK, "SWIFT OK - 2 object servers, object replication 2h; 2 servers"),
        ("replication=2h", replication(60, 7300), CRITICAL, "SWIFT CRITICAL - object replication 2h (above 2h); 2 servers"),
        ("replication=1h:2h", replication(60, 3700), WARNING, "SWIFT WARNING - object replication 1h (above 1h); 2 servers"),
        ("replication=2h", replication(60, None), WARNING, "SWIFT WARNING - object replication 1m, 1 host without; 2 servers"),
        ("replication=2h", replication(None, None), WARNING, "SWIFT WARNING - object replication: no figures yet; 2 servers"),
        ("replication=2h", [*replication(60), "timed out"], WARNING, "SWIFT WARNING - 1 of 2 object servers away; 2 servers"),
        ("replication=2h,hosts=0", [*replication(60), "timed out"], CRITICAL, "SWIFT CRITICAL - 1 of 2 object servers away;"),
        ("replication=2h,hosts=1", [*replication(60), "timed out"], OK, "SWIFT OK - 1 of 2 object servers away, object"),
        ("replication=2h", ["timed out", "refused"], UNKNOWN, "SWIFT UNKNOWN - no object server answers, object replication: no"),
        ("replication=-:1d", replication(60, 86000), OK, "SWIFT OK"),
    ],
)  # fmt: skip
def test_ages(limits, documents, status, first):
    found, lines = judge(parse(limits), [told("replication", "object", *documents)])
    assert (found, lines[0][: len(first)]) == (status, first)


@pytest.mark.parametrize(
    ("limits", "name", "documents", "status", "more"),
    [
        ("async=10:20", "async", [{"async_pending": 8}, {"async_pending": 3}], WARNING, ["10.0.0.1:6200: 8", "[fd00::2]:6200: 3"]),
        ("async=10:20", "async", [{"async_pending": 19}, {"async_pending": 3}], CRITICAL, ["10.0.0.1:6200: 19", "[fd00::2]:6200: 3"]),
        ("async=10:20", "async", [{"async_pending": "many"}, ["x"]], WARNING, ["10.0.0.1:6200: none", "[fd00::2]:6200: none"]),
        ("quarantined", "quarantined", [{"objects": 0, "containers": 0}, {"accounts": 1}], WARNING, ["[fd00::2]:6200: 1"]),
        ("unmounted", "unmounted", [[], [{"device": "sdb1", "mounted": False}]], CRITICAL, ["[fd00::2]:6200 sdb1"]),
        ("unmounted=1", "unmounted", [[], [{"device": "sdb1", "mounted": "EIO"}]], OK, []),
        (
            "diskusage=80:90%", "diskusage",
            [[{"device": "a", "size": 100, "used": 85, "avail": 15}], [{"device": "b", "size": "", "used": "", "avail": ""}, 7]],
            WARNING, ["10.0.0.1:6200 a: 85.0%"],
        ),
        ("versions", "swift_versions", [{"version": "1"}, {"version": "2"}], WARNING, ["1: 1 hosts", "2: 1 hosts"]),
        ("time=2", "time", [NOW - 1, NOW + 3], CRITICAL, ["[fd00::2]:6200: 3.000s"]),
        ("time=2", "time", [NOW - 1, "x", {"a": 1}], WARNING, ["[fd00::2]:6200: x"]),
        ("driveaudit", "driveaudit", [{"drive_audit_errors": None}, {"drive_audit_errors": 0}], OK, []),
        ("servers", "validate_servers", ["", "proxy-server/1"], CRITICAL, None),
        ("load=4", "loadstats", [{"5m": 3.9}, {"5m": 4.1}], CRITICAL, ["[fd00::2]:6200: 4.1"]),
        ("auditor=30d", "auditor", [{"object_auditor_stats_ALL": {"a": {"start_time": NOW}, "b": {"start_time": NOW - 31 * 86400}}}], CRITICAL, ["10.0.0.1:6200: 31d ago"]),
        ("updater=60", "updater", [{"object_updater_sweep": 61.5}], CRITICAL, ["10.0.0.1:6200: 61.5"]),
        ("reconstruction", "reconstruction", [{"object_reconstruction_last": NOW - 2 * 86400}], WARNING, ["10.0.0.1:6200: 2d ago"]),
    ],
)  # fmt: skip
def test_counts_and_culprits(limits, name, documents, status, more):
    if name == "validate_servers":
        kind, hosts, seen = told(name, "object", {}, {})
        seen[0][1].came[:] = [answer._replace(document=text) for answer, text in zip(seen[0][1].came, ["object-server", "proxy-server/1"], strict=True)]  # fmt: skip
        found, lines = judge(parse(limits), [(kind, hosts, seen)])
        assert found == status and "  [fd00::2]:6200 is proxy-server/1" in lines
        return
    found, lines = judge(parse(limits), [told(name, "object", *documents)])
    assert found == status
    assert [line.strip() for line in lines if line.startswith("  ")] == more


def test_figures_for_plotting_stand_behind_the_bar():
    _, lines = judge(parse("async=10:20,replication=1h:2h"), [told("async", "object", {"async_pending": 3})])
    assert lines == [
        "SWIFT OK - 1 object servers, object async 3; 1 servers asked | object_hosts=0;0; object_async=3;10;20"
    ]


def test_the_first_line_stays_short_and_the_worst_comes_first():
    every = [told("async", "object", {"async_pending": 11}) for _ in range(9)]
    every.append(told("async", "object", {"async_pending": 21}))
    found, lines = judge(parse("async=10:20"), every)
    assert found == CRITICAL
    assert lines[0].startswith("SWIFT CRITICAL - object async 21 (above 20), object async 11 (above 10),")
    assert " and 5 more; 10 servers asked | " in lines[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "which limits?"), (" , ", "which limits?"), ("nonesuch", "there is no 'nonesuch', but async, auditor"), ("async=2h", "'2h' is no number"),
        ("replication=soon", "'soon' is no duration"), ("replication=", "'' is no duration"), ("diskusage=90x", "'90x' is no number"),
        ("async=5:3", "a warning above what is critical"), ("async=1:2:3", "'2:3' is no number"), ("async=-1", "'-1' is no number"),
        ("replication=90%", "'90%' is no duration"), ("async=90%", "'90%' is no number"), ("all=3", "there is no 'all'"),
    ],
)  # fmt: skip
def test_what_is_no_limit(text, why):
    with pytest.raises(ValueError, match="^--check") as error:
        parse(text)
    assert why in str(error.value) and "\n" not in str(error.value)


def test_all_and_what_is_set_beside():
    found = {limit.name: limit for limit in parse("all,async=5,diskusage=80:90")}
    assert set(found) == set(MEASURES)
    assert found["async"][1:] == (float("inf"), 5.0) and found["diskusage"][1:] == (80.0, 90.0)
    assert found["replication"][1:] == (6 * 3600.0, 86400.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["device", "mounted", "size", "used", "avail", "policies", "objects", "0", "version", "async_pending", "replication_stats", "failure",
         "object_auditor_stats_ALL", "start_time", "replication_last", "/etc/swift/object.ring.gz", "5m", "sharding_stats"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(documents=st.lists(JSON, min_size=1, max_size=3), name=st.sampled_from(sorted(set(CHECKS) - {"md5"})))
def test_whatever_hosts_answer_there_is_a_verdict(documents, name):
    documents = [[document] if isinstance(document, str) else document for document in documents]
    for kind in ("account", "container", "object"):
        found = told(name, kind, *documents)
        for check, seen in found[2]:
            assert all(isinstance(line, str) for line in [*check.lines(seen), *check.appendix(seen)])
            assert all(isinstance(one.document(), dict) for one in check.figures(seen))
        status, lines = judge(parse("all"), [found])
        assert status in (OK, WARNING, CRITICAL, UNKNOWN) and lines[0].startswith("SWIFT ")


def test_no_server_of_a_kind_is_critical_where_others_answer():
    away = told("replication", "object", "refused", "refused")
    well = told("replication", "account", {"replication_last": NOW})
    assert judge(parse("replication"), [away])[0] == UNKNOWN
    status, lines = judge(parse("replication"), [well, away])
    assert status == CRITICAL and lines[0].startswith("SWIFT CRITICAL - no object server answers")
    assert judge(parse("replication,hosts=-"), [well, away])[0] == UNKNOWN


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    "document",
    [
        [{"device": "d", "mounted": True, "size": 5, "used": 0, "avail": 0}],
        dict.fromkeys(("async_pending", "1m", "5m", "15m", "replication_time", "objects", "orphan"), 1.7e308),
        dict.fromkeys(("async_pending", "1m", "5m", "15m", "replication_time", "objects", "orphan"), 10**400),
    ],
)
def test_nonsense_has_lines_too(name, document, tmp_path):
    for file in ("object.ring.gz", "swift.conf"):
        (tmp_path / file).write_bytes(b"")
    for check, seen in told(name, "object", document, document)[2]:
        seen.swift_dir = str(tmp_path)
        assert all(isinstance(line, str) for line in (*check.lines(seen), *check.appendix(seen)))
        json.dumps([one.document() for one in check.figures(seen)], allow_nan=False)
