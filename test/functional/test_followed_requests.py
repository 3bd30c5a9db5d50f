"""One request followed through proxy, storage nodes and daemons by its id, with the command as installed."""

import json
import pathlib
import re
import subprocess
import sys
import time

from swift.cli.saio_layout import NODES
from test.passes import run_passes

BIN = pathlib.Path(__file__).parents[2] / "bin"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def traced(cluster, word, wanted):
    """The transactions that the command tells of, once they are as `wanted`: lines are written beside the answer."""
    give_up = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [sys.executable, BIN / "swift-trace", word, cluster.layout.log, "--json"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        found = json.loads(done.stdout)["transactions"] if done.returncode < 2 else []
        if wanted(found):
            return found
        assert time.monotonic() < give_up, (done.stdout, done.stderr)
        time.sleep(0.2)


def served_by(transaction, who, verb):
    return [
        event
        for event in transaction["events"]
        if event["who"] == who and event["what"].startswith(verb + " ") and event["seconds"] is not None
    ]


def test_a_put_is_followed_to_each_copy_and_row(cluster, user, container):
    answer = user("PUT", f"{container}/followed", b"x" * 1000)
    assert answer.status == 201
    (found,) = traced(
        cluster,
        answer.headers["x-trans-id"],
        lambda found: (
            found
            and found[0]["status"] == 201
            and len(served_by(found[0], "object-server", "PUT")) == 3
            and len(served_by(found[0], "container-server", "PUT")) == 3
        ),
    )
    assert found["request"] == f"PUT /v1/AUTH_test{container}/followed"
    devices = {event["device"] for event in served_by(found, "object-server", "PUT")}
    assert len(devices) == 3 and devices <= {f"sdb{node}" for node in NODES}
    text = subprocess.run(
        [sys.executable, BIN / "swift-trace", answer.headers["x-trans-id"], cluster.layout.log],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert len(text.splitlines()) < 40 and "201 in " in text


def test_a_copy_has_all_its_parts_under_one_id(cluster, user, obj):
    answer = user("COPY", obj, Destination=obj[1:] + "-copy")
    assert answer.status == 201
    (found,) = traced(
        cluster,
        answer.headers["x-trans-id"],
        lambda found: (
            found
            and found[0]["request"]
            and served_by(found[0], "object-server", "GET")
            and len(served_by(found[0], "object-server", "PUT")) == 3
        ),
    )
    assert found["request"].startswith("COPY ")


def test_a_request_is_found_by_the_trace_of_its_client(cluster, user, obj):
    trace = f"{time.time_ns():032x}"
    answer = user("GET", obj, Traceparent=f"00-{trace}-00f067aa0ba902b7-01", Tracestate="vendor=1")
    assert answer.status == 200 and answer.body == b"0123456789"
    (found,) = traced(
        cluster,
        trace,
        lambda found: found and found[0]["status"] and served_by(found[0], "object-server", "GET"),
    )
    assert found["transaction"] == answer.headers["x-trans-id"]
    assert trace in [event.get("trace") for event in found["events"]]


def test_a_traceparent_that_is_none_changes_nothing(user, obj):
    for bad in (
        "x",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "y" * 4000,
    ):
        assert user("GET", obj, Traceparent=bad, Tracestate="=,=" * 100).status == 200


def test_what_a_daemon_does_about_one_object_is_one_transaction(cluster, user, container):
    path = f"{container}/soon-gone"
    due = int(time.time()) + 2
    assert user("PUT", path, b"x", X_Delete_At=str(due)).status == 201
    pattern = re.compile(rf'"DELETE [^" ]*{re.escape(path)}" .*?"(tx[0-9a-f]{{21}}-[0-9a-f]{{10}})"')
    confs = [cluster.layout.etc / "object-server" / f"{node}.conf" for node in NODES]
    end = time.monotonic() + 60
    found: set[str] = set()
    while not found and time.monotonic() < end:
        time.sleep(max(0.5, due + 1 - time.time()))
        run_passes("object-expirer", confs)
        for log in cluster.layout.log.iterdir():
            found.update(pattern.findall(log.read_text(errors="replace")))
    (transaction,) = found
    (told,) = traced(
        cluster, transaction, lambda found: found and len(served_by(found[0], "object-server", "DELETE")) == 3
    )
    rows = served_by(told, "container-server", "DELETE")
    assert {"soon-gone" in row["what"] for row in rows} == {True}
    assert any(".expiring_objects" in row["what"] for row in rows)
    assert any(path in row["what"] and ".expiring_objects" not in row["what"] for row in rows)
