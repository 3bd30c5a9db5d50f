"""/metrics of a running cluster: every server and daemon tells of itself, and nothing of who its users are."""

import http.client
import re
import time

import pytest

from swift.cli.saio_layout import NODES, SERVERS
from test.cluster import Answer

SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{((?:[a-z0-9_]+="[^"\\]*",?)*)\})? [-+0-9.eEINnaf]+')


def scraped(address):
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", "/metrics")
        answer = Answer(connection.getresponse())
    finally:
        connection.close()
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.body.decode()


def samples(text):
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def eventually(look, wanted):
    give_up = time.monotonic() + 60
    while True:
        found = look()
        if wanted(found):
            return found
        assert time.monotonic() < give_up, found
        time.sleep(0.2)


@pytest.fixture
def used(user, obj):
    """Something of everything has been asked."""
    assert user("GET", obj).status == 200
    assert user("GET", obj + "-missing").status == 404
    return obj


def test_the_proxy_tells_of_requests_backends_and_itself(cluster, used):
    found = samples(scraped(cluster.address))
    for name in (
        'swift_request_duration_seconds_count{method="GET",policy="0",server="proxy-server",status="200"}',
        'swift_backend_wait_seconds_count{method="PUT",process="proxy-server",status="201",type="object"}',
        'swift_request_body_bytes_total{method="PUT",server="proxy-server"}',
        'swift_cache_lookups_total{cache="infocache",kind="container",result="hit",what="info"}',
        'swift_connections{server="proxy-server",state="open"}',
        'swift_request_places{server="proxy-server"}',
        'swift_process_resident_bytes{process="proxy-server"}',
        'swift_process_open_fds{process="proxy-server"}',
        'swift_ring_version{ring="object-2"}',
        "swift_error_limited_nodes{process=" + '"proxy-server"}',
    ):
        assert name in found, name
    assert any(name.startswith("swift_conf_info{") for name in found)
    nodes = {name for name in found if name.startswith("swift_backend_node_waits_total{")}
    assert len(nodes) >= 6


@pytest.mark.parametrize("server", SERVERS)
def test_storage_servers_tell_of_disks_rings_and_themselves(cluster, used, server):
    address = cluster.layout.storage_address(server, 1)
    found = samples(scraped(address))
    assert found[f'swift_build_info{{server="{server}-server",version="0.1.0"}}'] == 1
    for device in cluster.layout.devices_of(1):
        assert found[f'swift_disk_answers{{device="{device}"}}'] == 1
        assert found[f'swift_disk_read_only{{device="{device}"}}'] == 0
        assert found[f'swift_disk_available_bytes{{device="{device}"}}'] > 0
    assert f'swift_quarantined{{kind="{server}s",policy="{"0" if server == "object" else ""}"}}' in found
    assert not any(
        f'server="{other}-server"' in name for name in found for other in SERVERS if other != server
    )


@pytest.mark.parametrize(
    ("server", "daemons"),
    [
        ("object", ["object-replicator", "object-updater", "object-auditor", "object-expirer"]),
        ("container", ["container-replicator", "container-updater", "container-sharder", "s3-lifecycle"]),
        ("account", ["account-replicator", "account-reaper"]),
    ],
)
def test_daemons_are_told_of_by_their_node(cluster, server, daemons):
    address = cluster.layout.storage_address(server, 2)

    def look():
        found = samples(scraped(address))
        return {
            daemon: found.get(f'swift_daemon_last_pass_timestamp_seconds{{daemon="{daemon}"}}')
            for daemon in daemons
        }

    found = eventually(look, lambda found: None not in found.values())
    assert all(time.time() - last < 24 * 3600 for last in found.values())


def test_counts_of_daemons_come_from_their_own_process(cluster, used):
    def look():
        return [
            name
            for node in NODES
            for name in samples(scraped(cluster.layout.storage_address("object", node)))
            if name.startswith('swift_timing_seconds_count{component="object-auditor"')
        ]

    assert eventually(look, bool)
    found = samples(scraped(cluster.layout.storage_address("object", 1)))
    assert found['swift_processes{process="daemons"}'] == 1


def test_no_label_is_what_a_client_has_chosen(cluster, user, used, name):
    user("GET", used, headers={"X-Trans-Id-Extra": "extra-of-a-client", "User-Agent": "agent-of-a-client"})
    text = "".join(scraped(address) for address in cluster.layout.addresses())
    for chosen in ("AUTH_test", name, "agent-of-a-client", "extra-of-a-client", "tester"):
        assert chosen not in text, chosen


def test_all_servers_are_healthy_and_ready(cluster):
    for address in cluster.layout.addresses():
        connection = http.client.HTTPConnection(*address, timeout=60)
        try:
            for query, said in (("", b"OK"), ("?ready", b"READY")):
                connection.request("GET", "/healthcheck" + query)
                answer = Answer(connection.getresponse())
                assert (answer.status, answer.body) == (200, said), address
        finally:
            connection.close()
