"""Servers, daemons and clients start with etc/*.conf-sample, as they are and with each default spelled out."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

from swift.cli.saio_layout import Layout, write

ROOT = pathlib.Path(__file__).parents[2]
SAMPLES = {path.name.removesuffix(".conf-sample"): path for path in (ROOT / "etc").glob("*.conf-sample")}
SERVERS = ("account-server", "container-server", "object-server", "proxy-server")
DAEMONS = {
    section: server
    for server in SERVERS
    for section in re.findall(r"^\[(\S+)\]$", SAMPLES[server].read_text(), re.MULTILINE)
    if (ROOT / f"bin/swift-{section}").exists() and section != "object-relinker"
}


@pytest.fixture(scope="module")
def swift_dir(tmp_path_factory):
    """A directory with rings and the sample of swift.conf."""
    layout = Layout(tmp_path_factory.mktemp("samples"))
    write(layout)
    text = SAMPLES["swift"].read_text().replace("changeme", "a secret")
    (layout.etc / "swift.conf").write_text(text)
    for policy in layout.etc.glob("object-1*"):
        policy.unlink()
    return layout.etc


def prepared(sample: str, swift_dir: pathlib.Path, tmp_path: pathlib.Path, uncomment: bool) -> pathlib.Path:
    """The sample as an operator would have it here; with `uncomment`, each default spelled out."""
    (tmp_path / "srv").mkdir()
    (tmp_path / "cache").mkdir()
    text = SAMPLES[sample].read_text()
    if uncomment:
        text = re.sub(r"^# ([a-z0-9_]+ = .+)$", r"\1", text, flags=re.MULTILINE)
        text = re.sub(r"^(user|fernet_key|log_to|memcache_servers) = .*$", "", text, flags=re.MULTILINE)
        text = text.replace("= /etc/swift", f"= {swift_dir}")
        text = text.replace("= /srv/node", f"= {tmp_path}/srv").replace(
            "= /var/cache/swift", f"= {tmp_path}/cache"
        )
    else:
        places = f"swift_dir = {swift_dir}\ndevices = {tmp_path}/srv\nrecon_cache_path = {tmp_path}/cache"
        text = text.replace("\n[DEFAULT]\n", f"\n[DEFAULT]\n{places}\n")
    path = tmp_path / f"{sample}.conf"
    path.write_text(text)
    return path


def test_there_are_daemons():
    assert {"object-updater", "container-updater", "account-auditor", "container-auditor"} <= set(DAEMONS)


def command(name: str, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bin" / name), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("uncomment", [False, True], ids=["as it is", "defaults spelled out"])
@pytest.mark.parametrize("server", SERVERS)
def test_servers_take_their_samples(server, uncomment, swift_dir, tmp_path):
    path = prepared(server, swift_dir, tmp_path, uncomment)
    assert command(f"swift-{server}", str(path), "--test-config") == (0, "")


@pytest.mark.parametrize("uncomment", [False, True], ids=["as it is", "defaults spelled out"])
@pytest.mark.parametrize("daemon", DAEMONS)
def test_daemons_take_their_samples(daemon, uncomment, swift_dir, tmp_path):
    path = prepared(DAEMONS[daemon], swift_dir, tmp_path, uncomment)
    assert command(f"swift-{daemon}", str(path), "once") == (0, "")


@pytest.mark.parametrize("uncomment", [False, True], ids=["as it is", "defaults spelled out"])
def test_the_relinker_takes_its_sample(uncomment, swift_dir, tmp_path):
    """No ring grows: it has nothing to do."""
    path = prepared("object-server", swift_dir, tmp_path, uncomment)
    assert command("swift-object-relinker", "relink", str(path)) == (2, "")


@pytest.mark.parametrize("uncomment", [False, True], ids=["as it is", "defaults spelled out"])
def test_the_expirer_takes_a_file_of_its_own(uncomment, swift_dir, tmp_path):
    """Nobody answers: it says so, and ends well."""
    path = prepared("object-expirer", swift_dir, tmp_path, uncomment)
    path.write_text(path.read_text().replace("[DEFAULT]", f"[DEFAULT]\nlog_file = {tmp_path}/log"))
    assert command("swift-object-expirer", str(path), "once") == (0, "")


def test_the_internal_client_takes_its_sample(swift_dir, tmp_path):
    path = prepared("internal-client", swift_dir, tmp_path, uncomment=False)
    code = f"from swift.wire.internal import InternalClient; InternalClient({str(path)!r}, 'test', 1)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_option_stands_where_default_hides_it(swift_dir, tmp_path):
    """[DEFAULT] wins over the sections of pipelines: one file must not set the same option in both."""
    for server in SERVERS:
        (tmp_path / server).mkdir()
        path = prepared(server, swift_dir, tmp_path / server, uncomment=False)
        status, told = command("swift-config", "--check", str(path))
        assert (status, told.splitlines()[-1]) == (0, f"{path}: all is well")
