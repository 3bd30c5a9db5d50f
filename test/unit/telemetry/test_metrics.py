import json
import os
import socket
import subprocess
import sys

import pytest

from swift.core.concurrency import sleep
from swift.telemetry import metric_table, metrics, prometheus, shared_tables
from swift.telemetry.metrics import get_labeled_metrics, get_metrics
from swift.telemetry.served import Served


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setattr(metrics, "_clients", {})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(60)
        yield sock


@pytest.fixture(autouse=True)
def fresh_table(monkeypatch):
    table = metric_table.Table()
    for module in (metric_table, prometheus, shared_tables):
        monkeypatch.setattr(module, "TABLE", table)
    monkeypatch.setattr(metric_table, "looks", [])
    return table


def conf_for(receiver, **more):
    return {"log_statsd_host": "127.0.0.1", "log_statsd_port": str(receiver.getsockname()[1]), **more}


def test_the_vectors_of_the_specification(receiver, monkeypatch):
    monkeypatch.setattr(metrics, "_random", lambda: 0.0)
    conf = conf_for(receiver, log_statsd_metric_prefix="pre", log_statsd_sample_rate_factor="0.5")
    sender = get_metrics(conf, "object-server")
    sender.increment("a")
    sender.timing("b", 1.23456)
    sender.update_stats("c", 7, sample_rate=0.1)
    sender.transfer_rate("PUT.sdb1.timing", 0.5, 2048)
    sender.transfer_rate("PUT.sdb1.timing", 0.5, 0)
    sender.increment("last")
    assert [receiver.recv(100) for _ in range(5)] == [
        b"pre.object-server.a:1|c|@0.5", b"pre.object-server.b:1.2346|ms|@0.5", b"pre.object-server.c:7|c|@0.05",
        b"pre.object-server.PUT.sdb1.timing:244.1406|ms|@0.5", b"pre.object-server.last:1|c|@0.5",
    ]  # fmt: skip


def test_sampled_out_events_are_not_sent(receiver, monkeypatch):
    monkeypatch.setattr(metrics, "_random", lambda: 0.3)
    sender = get_metrics(conf_for(receiver), "t")
    sender.increment("no", sample_rate=0.3)
    sender.increment("yes", sample_rate=0.31)
    sender.decrement("all")
    assert receiver.recv(100) == b"t.yes:1|c|@0.31"
    assert receiver.recv(100) == b"t.all:-1|c"


def test_prefixes(receiver):
    get_metrics(conf_for(receiver, log_name="swift")).increment("x")
    get_metrics(conf_for(receiver, log_name="swift", statsd_tail_prefix="object-server")).increment("x")
    get_metrics(conf_for(receiver, log_name="swift"), "proxy-server").gauge("x", 2)
    assert [receiver.recv(100) for _ in range(3)] == [
        b"swift.x:1|c",
        b"object-server.x:1|c",
        b"proxy-server.x:2|g",
    ]


def test_names_cannot_forge_events(receiver):
    get_metrics(conf_for(receiver), "t").increment("a:1|c\nevil b")
    assert receiver.recv(100) == b"t.a_1_c_evil_b:1|c"


def test_batches(receiver):
    sender = get_metrics(conf_for(receiver, log_statsd_batch="yes"), "t")
    for _ in range(3):
        sender.increment("a")
    sleep(metrics.BATCH_SECONDS * 2)
    assert receiver.recv(2000) == b"t.a:1|c\nt.a:1|c\nt.a:1|c"
    for n in range(300):
        sender.increment(f"name{n}")
    sleep(metrics.BATCH_SECONDS * 2)
    got = b""
    while got.count(b"\n") < 300:
        packet = receiver.recv(2000)
        assert len(packet) <= metrics.BATCH_BYTES
        got += packet + b"\n"
    assert got.split(b"\n")[299] == b"t.name299:1|c"


def test_an_unresolvable_host_is_no_error(monkeypatch):
    monkeypatch.setattr(metrics, "_clients", {})
    get_metrics({"log_statsd_host": "nonesuch.invalid"}, "t").increment("a")
    get_metrics({"log_statsd_host": "127.0.0.1", "log_statsd_port": "1"}, "t").increment("a")


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("librato", b"M#account=AUTH_a,container=,method=GET,status=200,user_reqctx=sub.1:12.3457|ms"),
        ("influxdb", b"M,account=AUTH_a,container=,method=GET,status=200,user_reqctx=sub.1:12.3457|ms"),
        ("graphite", b"M;account=AUTH_a;container=;method=GET;status=200;user_reqctx=sub.1:12.3457|ms"),
        ("dogstatsd", b"M:12.3457|ms|#account:AUTH_a,container:,method:GET,status:200,user_reqctx:sub.1"),
    ],
)
def test_labelled_metrics(receiver, mode, text):
    sender = get_labeled_metrics(conf_for(receiver, statsd_label_mode=mode, statsd_user_label_reqctx="sub.1"))
    sender.timing("M", 12.34567, {"method": "GET", "status": 200, "account": "AUTH_a", "container": None})
    assert receiver.recv(1000) == text


def test_labels_off_and_wrong(receiver):
    sender = get_labeled_metrics(conf_for(receiver))
    sender.increment("M", {})
    get_metrics(conf_for(receiver, statsd_emit_legacy="no"), "t").increment("x")
    get_metrics(conf_for(receiver), "t").increment("only")
    assert receiver.recv(100) == b"t.only:1|c"
    for bad in ({"statsd_label_mode": "x"}, {"statsd_user_label_a-b": "x"}, {"statsd_user_label_a": "x y"}):
        with pytest.raises(ValueError):
            get_labeled_metrics(bad)


# -- Prometheus


def samples(text):
    return dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))


def test_counts_of_all_workers_are_added_up(fresh_table, monkeypatch):
    directory = shared_tables.share_between_workers()
    try:
        get_metrics({}, "t").increment("a")
        get_metrics({}, "t").timing("b", 500)
        meter = prometheus.RequestMeter("object-server")
        environ = {"REQUEST_METHOD": "GET", "HTTP_X_BACKEND_STORAGE_POLICY_INDEX": "1"}
        meter.on_done(Served(environ, 200, [], 5, 0, None, 1.0, 1.004))
        fresh_table.write()
        sibling = json.loads((open(os.path.join(directory, str(os.getpid())))).read())
        for pid in ("1", "2"):
            with open(os.path.join(directory, pid), "w") as file:
                json.dump(sibling, file)
        shared_tables.retire(1)
        assert sorted(os.listdir(directory)) == sorted(["dead", "2", str(os.getpid())])
        shared_tables.retire(2)
        shared_tables.retire(3)
        found = samples(prometheus.exposition())
        assert found['swift_events_total{component="t",event="a"}'] == "3.0"
        assert found['swift_timing_seconds_sum{component="t",event="b"}'] == "1.5"
        labels = 'method="GET",policy="1",server="object-server",status="200"'
        count = {
            key: value
            for key, value in found.items()
            if key.startswith("swift_request_duration_seconds_count")
        }
        assert list(count.values()) == ["3.0"], labels
        buckets = [value for key, value in found.items() if "_bucket" in key]
        assert buckets[0] == "0.0" and buckets[-1] == "3.0" and buckets.count("3.0") == 14
    finally:
        shared_tables.stop_sharing()
    assert not os.path.exists(directory)


def test_distinct_names_are_bounded(fresh_table, monkeypatch):
    monkeypatch.setattr(metric_table, "MAX_SERIES", 3)
    sender = get_metrics({}, "t")
    for n in range(10):
        sender.increment(f"a{n}")
        sender.timing(f"a{n}", 1)
    assert fresh_table.counts[("other", "other")] == 7 and len(fresh_table.counts) == 4
    assert fresh_table.times[("other", "other")][0] == 7


def call(app, path, method="GET"):
    started = []
    body = app({"PATH_INFO": path, "REQUEST_METHOD": method}, lambda *args: started.append(args))
    return started[0][0], b"".join(body)


def test_endpoint(fresh_table):
    def app(environ, start_response):
        start_response("204 No Content", [])
        return [b""]

    wrapped = prometheus.with_endpoint(app)
    fresh_table.count("t", "a", 1)
    assert call(wrapped, "/v1/a")[0] == "204 No Content"
    status, body = call(wrapped, "/metrics")
    assert status == "200 OK" and b'swift_events_total{component="t",event="a"} 1.0' in body
    assert call(wrapped, "/metrics", "HEAD") == ("200 OK", b"")
    assert call(wrapped, "/metrics", "PUT")[0] == "405 Method Not Allowed"
    with pytest.raises(ValueError):
        prometheus.with_endpoint(app, "metrics")


def test_what_a_killed_server_left_behind_goes_when_the_next_one_starts(fresh_table):
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from swift.telemetry import shared_tables; print(shared_tables.share_between_workers(), flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    left = child.stdout.readline().strip()
    assert os.path.isdir(left)
    shared_tables.share_between_workers()
    shared_tables.stop_sharing()
    assert os.path.isdir(left)
    child.kill()
    child.communicate()
    shared_tables.share_between_workers()
    shared_tables.stop_sharing()
    assert not os.path.exists(left)


def test_a_new_image_removes_what_the_old_one_shared(fresh_table):
    old = shared_tables.share_between_workers()
    try:
        assert shared_tables.share_between_workers() != old and not os.path.exists(old)
    finally:
        shared_tables.stop_sharing()


def test_a_worker_that_outlives_a_reload_still_answers(fresh_table):
    shared_tables.share_between_workers()
    fresh_table.count("object-server", "errors", 2)
    os.rmdir(fresh_table.directory)  # as the new parent does while the old workers drain
    found = samples(prometheus.exposition())
    assert found['swift_events_total{component="object-server",event="errors"}'] == "2.0"
