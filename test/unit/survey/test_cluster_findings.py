"""swift-status: from what servers answer to what is to be done, and to the screen."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.cli.cluster_screen import lines
from swift.survey.answers import Answer, Host
from swift.survey.findings import DANGER, NOTE, WRONG, findings
from swift.survey.state import QUESTIONS, state

NOW = 1700000000.0
HERE = {"account.ring.gz": "a", "container.ring.gz": "c", "object.ring.gz": "o", "swift.conf": "s"}
PORTS = {"account": 6202, "container": 6201, "object": 6200}
IPS = ("10.0.0.1", "10.0.0.2", "fd00::3")
WELL = {
    "version": {"version": "1.0"},
    "time": NOW,
    "ringmd5": {f"/etc/swift/{name}": md5 for name, md5 in HERE.items() if name != "swift.conf"},
    "swiftconfmd5": {"/etc/swift/swift.conf": "s"},
    "unmounted": [],
    "diskusage": [{"device": "sdb1", "mounted": True, "size": 100, "used": 40, "avail": 60}],
    "quarantined": {"objects": 0, "containers": 0, "accounts": 0, "policies": {}},
    **{
        f"replication/{kind}": {"replication_last": NOW - 60, "replication_stats": {"failure": 0}}
        for kind in PORTS
    },
    **{f"auditor/{kind}": {f"{kind}_audits_since": NOW - 600} for kind in ("account", "container")},
    "auditor/object": {"object_auditor_stats_ALL": {"start_time": NOW - 600}},
    "reconstruction/object": {"object_reconstruction_last": NOW - 60},
    "standing/object": {"object_replication_standing": {"sdb1": {"0": {"behind": 0, "handoffs": 0}}}},
    "updater/container": {},
    "sharding": {"sharding_last": NOW - 60, "sharding_stats": {"sharding": {}}},
    "async": {"async_pending": 0},
    "expirer/object": {"object_expirer_queue": {"queued": 5, "waiting": 0, "oldest_left": None}},
    "driveaudit": {"drive_audit_errors": 0},
    "relinker": {"devices": None, "workers": None},
}


def told(changes=(), away=()):
    """What three nodes answer. `changes`: {(kind, ip, question): document}; `away`: (kind, ip) that are."""
    changes = dict(changes)
    found = {}
    for kind, questions in QUESTIONS.items():
        found[kind] = []
        for ip in IPS:
            host = Host(ip, PORTS[kind])
            for question in questions:
                if (kind, ip) in away:
                    found[kind].append(
                        Answer(host, question, error="<urlopen error [Errno 111] ECONNREFUSED>")
                    )
                    continue
                document = changes.get((kind, ip, question), WELL.get(question, {}))
                found[kind].append(
                    Answer(host, question, document, status=200, began=NOW - 0.1, ended=NOW + 0.1)
                )
    return found


def rings(**changes):
    """As `ClusterRings.told` says them."""
    devices = [{"ip": ip, "device": "sdb1", "weight": 1.0} for ip in IPS]
    plain = {"type": "replication", "balance": 0.0, "devices": devices}
    return [{"name": name, **plain, **changes.get(name, {})} for name in ("account", "container", "object")]


def seen(changes=(), away=(), here=None, erasure_coded=False, of_rings=(), waits=None):
    told_by_rings = rings(object={"type": "erasure_coding"} if erasure_coded else {}, **dict(of_rings))
    made = state(told(changes, away), HERE if here is None else here, NOW, told_by_rings, waits)
    json.dumps(made)
    return made


def found(*args, **options):
    made = seen(*args, **options)
    listed = findings(made)
    assert all(isinstance(line, str) for line in lines(made, listed, "/etc/swift"))
    return listed


def everywhere(question, document):
    return {(kind, ip, question): document for kind in PORTS for ip in IPS}


def test_all_is_well():
    assert found() == []
    text = "\n".join(lines(seen(), [], "/etc/swift"))
    assert "all is well" in text and "What to do" not in text
    assert "account 3 of 3, container 3 of 3, object 3 of 3" in text
    assert "agree (account, container, object); swift.conf agrees" in text
    assert "3, 40 % of 300 B used; fullest: 10.0.0.1 sdb1 40 %" in text
    assert "5 objects are to expire" in text and "0 partitions behind, 0 on handoffs" in text


OBJECT = ("object", "10.0.0.2")
CASES = {
    "a server away": (
        {"away": [OBJECT]}, WRONG, "1 object server of 3 away: 10.0.0.2:6200 (connection refused).", "ssh 10.0.0.2 systemctl start swift-object-server",
    ),
    "a node away": (
        {"away": [(kind, "fd00::3") for kind in PORTS]}, WRONG, "1 node away with all its servers: fd00::3 (connection refused).",
        "ssh fd00::3 systemctl status 'swift-*'",
    ),
    "two nodes away": (
        {"away": [(kind, ip) for kind in PORTS for ip in IPS[1:]]}, DANGER, "2 nodes away with all their servers: 10.0.0.2, fd00::3 (connection refused).", None,
    ),
    "nobody": ({"away": [(kind, ip) for kind in PORTS for ip in IPS]}, DANGER, "No server answers.", "curl -g http://10.0.0.1:6202/healthcheck"),
    "another ring": (
        {"changes": {(*OBJECT, "ringmd5"): {"/x/object.ring.gz": "old"}}}, DANGER,
        "1 server of 9 with other rings than this machine: 10.0.0.2:6200 (object.ring.gz).", "swift-ring-builder /etc/swift/object.ring.gz version; ssh 10.0.0.2 swift-ring-builder /etc/swift/object.ring.gz version",
    ),
    "our ring is the odd one": (
        {"here": {**HERE, "object.ring.gz": "new"}}, WRONG, "This machine has another object.ring.gz than all servers: it is the odd one.",
        "swift-ring-builder /etc/swift/object.ring.gz version; ssh 10.0.0.1 swift-ring-builder /etc/swift/object.ring.gz version",
    ),
    "another swift.conf": (
        {"changes": {(*OBJECT, "swiftconfmd5"): {"/x/swift.conf": "t"}}}, DANGER, "1 server of 9 with another swift.conf than this machine: 10.0.0.2:6200.",
        "ssh 10.0.0.2 cat /etc/swift/swift.conf | diff /etc/swift/swift.conf -",
    ),
    "versions": ({"changes": {(*OBJECT, "version"): {"version": "2.38.3"}}}, NOTE, "Servers have different versions: 1.0 on 8, 2.38.3 on 1.", ""),
    "a clock": (
        {"changes": {(*OBJECT, "time"): NOW - 7.5}}, DANGER, "The clocks of 1 server differ from this machine's, by up to 7.6 s: 10.0.0.2:6200.",
        "ssh 10.0.0.2 chronyc tracking",
    ),
    "a disk that is not mounted": (
        {"changes": {(*OBJECT, "unmounted"): [{"device": "sdc", "mounted": False}]}}, WRONG, "1 disk not mounted: 10.0.0.2 sdc.",
        "ssh 10.0.0.2 mount /srv/node/sdc",
    ),
    "a broken disk": (
        {"changes": {(*OBJECT, "unmounted"): [{"device": "sdc", "mounted": "EIO"}]}}, WRONG, "1 disk not mounted: 10.0.0.2 sdc (EIO).", None,
    ),
    "a full disk": (
        {"changes": {(*OBJECT, "diskusage"): [{"device": "sdc", "size": 100, "used": 95, "avail": 5}]}}, DANGER, "1 disk above 92 %: 10.0.0.2 sdc 95 %.", None,
    ),
    "a disk that is getting full": (
        {"changes": {(*OBJECT, "diskusage"): [{"device": "sdc", "size": 100, "used": 86, "avail": 14}]}}, WRONG,
        "The fullest disk, 10.0.0.2 sdc, is 86 % full.", "swift-recon -d --top 20 --human-readable",
    ),
    "an old pass": (
        {"changes": {(*OBJECT, "replication/object"): {"object_replication_last": NOW - 3 * 86400}}}, WRONG,
        "The last replication pass of 10.0.0.2:6200 (object) ended 3d ago.", "ssh 10.0.0.2 systemctl status swift-object-replicator",
    ),
    "no pass": (
        {"changes": {(*OBJECT, "replication/object"): {"replication_last": None}}}, WRONG,
        "No pass of the object-replicator has ended yet on 1 server: 10.0.0.2:6200.", None,
    ),
    "failures": (
        {"changes": {(*OBJECT, "replication/object"): {"replication_last": NOW, "replication_stats": {"failure": 3}}}}, WRONG,
        "The last object replication pass had failures on 1 server: 10.0.0.2:6200 3.", "curl -gs http://10.0.0.2:6200/recon/replication/object",
    ),
    "no reconstructor": (
        {"changes": {(*OBJECT, "reconstruction/object"): {}}, "erasure_coded": True}, WRONG,
        "No pass of the object-reconstructor has ended yet on 1 server: 10.0.0.2:6200.", None,
    ),
    "updates": (
        {"changes": {(*OBJECT, "async"): {"async_pending": 20000}}}, WRONG, "20000 updates of containers wait: listings lack that many changes.", "swift-recon --async -v",
    ),
    "late expiry": (
        {"changes": {(*OBJECT, "expirer/object"): {"object_expirer_queue": {"queued": 9, "oldest_left": NOW - 2 * 86400}}}}, WRONG,
        "Objects that should have gone 2d ago are still there.", None,
    ),
    "quarantine": (
        {"changes": everywhere("quarantined", {"objects": 2, "containers": 0, "accounts": 1})}, WRONG, "9 items in quarantine: 10.0.0.1 3, 10.0.0.2 3, fd00::3 3.", None,
    ),
    "errors of disks": (
        {"changes": {(*OBJECT, "driveaudit"): {"drive_audit_errors": 1}}}, WRONG, "The kernels have seen 1 error of disks: 10.0.0.2:6200.", "swift-recon --driveaudit -v",
    ),
    "a container that can't be split": (
        {"changes": {("container", "10.0.0.1", "sharding"): {"sharding_last": NOW, "sharding_stats": {"sharding": {"sharding_in_progress": {
            "all": [{"account": "a", "container": "c", "db_state": "sharding", "error": "no"}]}}}}}}, WRONG,
        "1 container can't be split: /a/c.", "swift-sharding-status",
    ),
    "a large container": (
        {"changes": {("container", "10.0.0.1", "sharding"): {"sharding_last": NOW, "sharding_stats": {"sharding": {"sharding_candidates": {"found": 1}}}}}},
        NOTE, "1 container large enough to be split, and none is being split.", None,
    ),
    "a disk of a ring that no server names": (
        {"of_rings": {"container": {"devices": [{"ip": "10.0.0.2", "device": name, "weight": weight} for name, weight in (("sdb1", 1.0), ("sdz", 1.0), ("out", 0.0))]}}},
        WRONG, "1 disk of rings not there: 10.0.0.2 sdz.", "ssh 10.0.0.2 ls /srv/node",
    ),
    "a ring out of balance": (
        {"of_rings": {"account": {"balance": 7.5}}}, NOTE, "The ring account is out of balance: a disk holds 7.5 % more or less than its weight says.",
        "swift-ring-builder /etc/swift/account.builder",
    ),
    "a ring that is away": (
        {"of_rings": {"account": {"missing": True}}}, DANGER, "The ring account is not there, or can't be read.", "ls -l /etc/swift/account.ring.gz",
    ),
    "a node that a proxy waits for": (
        {"waits": {"10.0.0.1": {"milliseconds": 5.0, "errors": 0}, "10.0.0.2": {"milliseconds": 900.0, "errors": 0}, "fd00::3": {"milliseconds": None, "errors": 0}}},
        NOTE, "10.0.0.2 is slow: this proxy waits 900 ms for an answer to a request, while 5 ms are usual.", "ssh 10.0.0.2 uptime",
    ),
    "a node that fails a proxy": (
        {"waits": {"10.0.0.2": {"milliseconds": 5.0, "errors": 3}}}, NOTE, "10.0.0.2 failed 3 requests of this proxy since the last look.", "",
    ),
    "relinking": (
        {"changes": {(*OBJECT, "relinker"): {"devices": {"sdb1": {"parts_done": 3, "total_parts": 8}}}}}, NOTE,
        "A partition power is being raised: 3 of 8 partitions are relinked.", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_and_what_to_do(case):
    options, level, text, command = CASES[case]
    listed = found(**options)
    matching = [one for one in listed if one.text == text]
    assert matching, listed
    assert matching[0].level == level
    assert command is None or matching[0].command == command
    assert len(listed) == 1 or case in (
        "a full disk",
        "a disk that is getting full",
        "a disk that is not mounted",
    ), listed


def test_the_worst_comes_first():
    listed = found(
        {
            (*OBJECT, "version"): {"version": "2"},
            (*OBJECT, "time"): NOW - 9,
            (*OBJECT, "driveaudit"): {"drive_audit_errors": 1},
        }
    )
    assert [one.level for one in listed] == [DANGER, WRONG, NOTE]


def test_a_filter_that_is_missing_is_no_server_away():
    answers = told()
    answers["object"] = [
        answer._replace(document=None, error="HTTP Error 404: Not Found", status=404)
        if answer.host.ip == "10.0.0.1"
        else answer
        for answer in answers["object"]
    ]
    listed = findings(state(answers, HERE, NOW, rings()))
    assert [one.text for one in listed if "recon" in one.do] == [
        "1 object server can't tell of themselves: 10.0.0.1:6200."
    ]
    assert not any("away" in one.text for one in listed)


def test_a_server_that_is_slow_to_say_what_it_is():
    answers = told()
    slow = [
        one._replace(ended=one.began + 9.0) if one.host.ip == IPS[1] else one for one in answers["object"]
    ]
    listed = findings(state({**answers, "object": slow}, HERE, NOW, rings()))
    assert [(one.level, one.text) for one in listed] == [
        (NOTE, "1 server slow to answer: 10.0.0.2:6200 9000 ms; 200 ms are usual.")
    ]


def test_folders_that_stand_for_disks_are_not_missing_disks():
    usage = everywhere(
        "diskusage", [{"device": "sdb1", "mounted": False, "size": 100, "used": 40, "avail": 60}]
    )
    usage |= everywhere("unmounted", [{"device": "sdb1", "mounted": False}])
    assert found(usage) == []


def test_a_name_that_a_server_tells_is_nothing_to_paste():
    listed = found({(*OBJECT, "unmounted"): [{"device": "x;reboot", "mounted": False}]})
    assert [one.command for one in listed] == [""] and "x;reboot" in listed[0].text


def test_sums_that_are_none_are_other_rings():
    other = {"/etc/swift/object.ring.gz": ["x"]}
    listed = found(everywhere("ringmd5", other))
    assert [one.level for one in listed] == [WRONG]


def test_rings_without_devices_are_not_well():
    made = state({kind: [] for kind in PORTS}, HERE, NOW, [])
    assert [one.level for one in findings(made)] == [WRONG]
    assert not any("all is well" in line for line in lines(made, findings(made), "/etc/swift"))


def test_servers_of_one_machine_look_at_the_same_quarantine():
    assert seen(everywhere("quarantined", {"objects": 2}))["quarantined"]["total"] == 6


def test_a_command_names_the_folder_that_is_not_the_usual_one():
    listed = findings(seen({(*OBJECT, "driveaudit"): {"drive_audit_errors": 1}}), "/home/saio/etc")
    assert listed[0].command == "swift-recon --driveaudit -v --swiftdir /home/saio/etc"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(sorted({key for one in WELL.values() if isinstance(one, dict) for key in one} | {
        "device", "mounted", "size", "used", "avail", "sharding", "sharding_in_progress", "all", "object_expirer_queue", "oldest_left", "failure"})), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(documents=st.dictionaries(st.sampled_from(sorted(WELL)), JSON, min_size=1, max_size=4))
def test_whatever_servers_answer_there_is_a_screen(documents):
    found(
        {(kind, "10.0.0.1", question): document for kind in PORTS for question, document in documents.items()}
    )
