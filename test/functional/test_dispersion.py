"""swift-dispersion-populate and swift-dispersion-report on a running cluster, and the reference's on the same one."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import swiftclient

from swift.core import hashing
from swift.ring.lookup import Ring
from test.cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = os.environ.get("REFERENCE_BIN", "")
PARTS = 1024


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("dispersion") / "saio") as running:
        running.kill("daemons")
        hashing.load_hash_config(str(running.layout.etc))
        yield running


@pytest.fixture
def conf(cluster, tmp_path):
    """Writes a configuration file; its path."""

    def write(**options):
        options = {
            "auth_url": f"{cluster.layout.endpoint}/auth/v1.0",
            "auth_user": "test:tester",
            "auth_key": "testing",
            "swift_dir": str(cluster.layout.etc),
            **options,
        }
        path = tmp_path / "dispersion.conf"
        path.write_text("[dispersion]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
        return path

    return write


def run(name, *words, folder=ROOT / "bin"):
    """(exit status, stdout, stderr). `folder`: of the commands; ours are started with this very Python."""
    ours = folder == ROOT / "bin"
    beside = ROOT if ours else folder / "beside"
    done = subprocess.run(
        [sys.executable, folder / name, *words] if ours else [folder / name, *words],
        env={**os.environ, "PYTHONPATH": str(beside)},
        capture_output=True,
        timeout=120,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in out + err, err
    return done.returncode, out, err


def plain(text):
    """Without what moves and how long it took."""
    text = re.sub(r"\r\x1b\[K[A-Z]\w+ing [^\r\n]*", "", text)
    return re.sub(r", \d+[smhd], \d+ retries", ", 0s, 0 retries", text)


def wait_for_all_copies(path, policy="gold"):
    """A PUT is answered by a quorum; the other servers go on with it, but there are no others in their place. What is reported at last."""
    end = time.monotonic() + 120
    while True:
        found = json.loads(run("swift-dispersion-report", "-P", policy, "-j", path)[1])
        if all(found[kind]["copies_found"] == found[kind]["copies_expected"] for kind in found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.2)


def test_populate_then_report(cluster, conf):
    path = conf()
    status, out, err = run("swift-dispersion-report", path)
    assert status == 0
    assert err.splitlines() == [
        f"No {kind}s to query. Has swift-dispersion-populate been run?" for kind in ("container", "object")
    ]
    assert json.loads(run("swift-dispersion-report", "-j", path)[1]) == {"container": None, "object": None}
    status, out, err = run("swift-dispersion-populate", path)
    assert (status, err) == (0, "")
    assert plain(out) == (
        "Using storage policy: gold \n"
        "\r\x1b[KCreated 10 containers for dispersion reporting, 0s, 0 retries\n"
        "\r\x1b[KCreated 10 objects for dispersion reporting, 0s, 0 retries\n"
    )
    body = cluster.request("GET", "/dispersion_objects_0/dispersion_0")
    assert body.body == b"dispersion_0" and body.headers["x-object-meta-dispersion"] == "dispersion_0"
    wait_for_all_copies(path)
    status, out, err = run("swift-dispersion-report", path)
    assert (status, err) == (0, "")
    assert plain(out) == (
        "Using storage policy: gold \n"
        "\r\x1b[KQueried 10 containers for dispersion reporting, 0s, 0 retries\n"
        "100.00% of container copies found (30 of 30)\n"
        "Sample represents 0.98% of the container partition space\n"
        "\r\x1b[KQueried 10 objects for dispersion reporting, 0s, 0 retries\n"
        "100.00% of object copies found (30 of 30)\n"
        "Sample represents 0.98% of the object partition space\n"
    )


def test_no_overlap_adds_only_what_is_new(cluster, conf):
    run("swift-dispersion-populate", conf())
    status, out, _ = run("swift-dispersion-populate", "--no-overlap", conf(dispersion_coverage=2))
    assert status == 0
    assert "Created 10 containers" in out and "Total container coverage is now 1.95%." in out
    assert "Created 10 objects" in out and "Total object coverage is now 1.95%." in out
    found = wait_for_all_copies(conf())
    for kind in ("container", "object"):
        assert (found[kind]["copies_found"], found[kind]["copies_expected"]) == (60, 60)
        assert (found[kind]["overlapping"], found[kind]["pct_found"]) == (0, 100.0)


def test_another_policy_and_a_disk_that_is_away(cluster, conf):
    path = conf(container_populate="no", container_report="no")
    assert run("swift-dispersion-populate", "-P", "ec42", path)[0] == 0
    assert wait_for_all_copies(path, "ec42")["object"]["copies_expected"] == 60
    disk = cluster.device(1)
    kept = disk.with_name("kept")
    disk.rename(kept)
    try:
        status, out, err = run("swift-dispersion-report", "-P", "ec42", "-p", path)
    finally:
        kept.rename(disk)
    ip, port = cluster.layout.storage_address("object", 1)
    assert status == 0
    unmounted = [line for line in err.splitlines() if "is unmounted" in line]
    assert len(unmounted) == 1 and unmounted[0].startswith(f"ERROR: {ip}:{port}/sdb1 is unmounted -- ")
    ring = Ring(str(cluster.layout.etc), "object-2")
    names = [f"dispersion_{number}" for number in range(10)]
    parts = {ring.get_part("AUTH_test", "dispersion_objects_2", name) for name in names}
    missing = [p for p in parts if "sdb1" in [node["device"] for node in ring.get_part_nodes(p)]]
    were = "was 1 partition" if len(missing) == 1 else f"were {len(missing)} partitions"
    assert not missing or f"There {were} missing 1 copy." in out
    assert sorted(line for line in err.splitlines() if line.startswith("#")) == sorted(
        f"# Object partition {part} missing 1 copy" for part in missing
    )
    assert f"% of object copies found ({60 - len(missing)} of 60)" in out


def test_copies_that_are_gone_are_named(cluster, conf):
    path = conf(object_report="no")
    assert run("swift-dispersion-populate", "--container-only", path)[0] == 0
    ring = Ring(str(cluster.layout.etc), "container")
    name_hash = hashing.hash_path("AUTH_test", "dispersion_0_0")
    part, nodes = ring.get_nodes("AUTH_test", "dispersion_0_0")
    places = [
        cluster.device(node["zone"]) / "containers" / str(part) / name_hash[-3:] / name_hash for node in nodes
    ]
    for count, mark, what in ((1, "", "1 copy"), (2, "! ", "2 copies"), (3, "!!! ", "all copies")):
        places[count - 1].rename(places[count - 1].with_name("away"))
        status, out, err = run("swift-dispersion-report", "-d", path)
        assert status == 0
        assert err.count("returned a 404") == count, err
        assert f"\n{mark}There was 1 partition missing {what}.\n" in out
        assert err.count("returned a 404") == count
        found = json.loads(run("swift-dispersion-report", "-j", path)[1])
        assert found["container"][f"missing_{count}"] == 1
    for place in places:
        place.with_name("away").rename(place)


def test_bad_use(conf, tmp_path):
    status, out, err = run("swift-dispersion-report", "/nonexistent")
    assert (status, err) == (1, "Unable to read config file: /nonexistent\n")
    for name in ("populate", "report"):
        command = f"swift-dispersion-{name}"
        assert run(command, "-P", "tin", conf())[::2] == (1, "Unable to find policy: tin\n")
        status, _, err = run(command, "--container-only", "--object-only", conf())
        assert (status, err) == (1, f"Neither container or object {name} is set to run\n")
        for options in (
            {"retries": "x"},
            {"concurrency": "0"},
            {"dispersion_coverage": "-1"},
            {"auth_key": "wrong"},
            {"auth_url": "http://127.0.0.1:1/"},
            {"swift_dir": str(tmp_path)},
        ):
            status, _, err = run(command, conf(retries="0") if not options else conf(**options))
            assert status == 1 and len(err.splitlines()) == 1, (options, err)


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE, reason="REFERENCE_BIN names no installation of the reference")
@pytest.mark.skipif(os.geteuid() != 0, reason="the reference needs an /etc/swift of its own: root only")
def test_each_reports_what_the_other_populated(cluster, conf, tmp_path_factory):
    sys.path.insert(0, str(ROOT / "bench"))
    from reference_etc import write_starters

    commands = ["swift-dispersion-populate", "swift-dispersion-report"]
    theirs = write_starters(
        tmp_path_factory.mktemp("theirs"), cluster.layout.etc, pathlib.Path(REFERENCE), commands
    )
    # without python-swiftclient theirs can't authenticate: it gets ours to see, and nothing else of it
    (theirs / "beside").mkdir()
    package = pathlib.Path(swiftclient.__file__).parent
    for path in (package, *package.parent.glob("python_swiftclient-*")):
        (theirs / "beside" / path.name).symlink_to(path)
    path = conf(dispersion_coverage=1)
    for policy, container in (("silver", "dispersion_objects_1"), ("ec42", "dispersion_objects_2")):
        first, second = (theirs, ROOT / "bin") if policy == "silver" else (ROOT / "bin", theirs)
        status, out, err = run("swift-dispersion-populate", "-P", policy, path, folder=first)
        assert status == 0, err
        assert cluster.request("HEAD", f"/{container}").status == 204
        status, other, err = run("swift-dispersion-populate", "-P", policy, path, folder=second)
        assert status == 0 and plain(other) == plain(out)
        texts = []
        for folder in (theirs, ROOT / "bin"):
            status, out, err = run("swift-dispersion-report", "-P", policy, path, folder=folder)
            assert (status, err) == (0, "")
            # theirs tells how many partitions miss no copy, too
            texts.append(re.sub(r"There (was|were) \d+ partitions? missing 0 copies\.\n", "", plain(out)))
        assert texts[0] == texts[1]
        documents = [
            json.loads(run("swift-dispersion-report", "-P", policy, "-j", path, folder=folder)[1])
            for folder in (theirs, ROOT / "bin")
        ]
        documents[0]["object"].pop("missing_0", None)
        assert documents[0] == documents[1]
