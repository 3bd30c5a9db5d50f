"""The auditors: damage is found and set aside, contradictions are told, figures are left for recon."""

import json
import os
import sqlite3

import pytest

from swift.account.auditor import AccountAuditor
from swift.account.broker import AccountBroker
from swift.container.auditor import ContainerAuditor
from swift.container.broker import ContainerBroker
from swift.core.hashing import hash_path
from swift.engine.threads import DeviceStuck
from test.databases import Logger, make_conf


@pytest.fixture
def conf(tmp_path):
    return {**make_conf(tmp_path), "recon_cache_path": str(tmp_path)}


def account(conf, name="AUTH_a"):
    digest = hash_path(name)
    path = f"{conf['devices']}/sda1/accounts/1/{digest[-3:]}/{digest}/{digest}.db"
    broker = AccountBroker(path, account=name)
    broker.create("1700000000.00000")
    broker.put_container("c", "1700000001.00000", "0", 3, 30, 1)
    return broker


def container(conf, name="c"):
    digest = hash_path("AUTH_a", name)
    path = f"{conf['devices']}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"
    broker = ContainerBroker(path, account="AUTH_a", container=name)
    broker.create("1700000000.00000", 0)
    return broker


def run(auditor_class, conf):
    logger = Logger()
    from swift.core.swift_dir import use

    use(conf["swift_dir"])
    auditor_class(conf, logger).run_once()
    return logger.lines


@pytest.fixture(autouse=True)
def hashes(conf):
    from swift.core.swift_dir import use

    use(conf["swift_dir"])


def test_sound_databases(conf, tmp_path):
    account(conf)
    container(conf)
    lines = run(AccountAuditor, conf)
    assert lines[0] == 'Begin account audit "once" mode'
    assert any("account audits: 1 passed audit, 0 failed audit" in line for line in lines)
    assert lines[-1].startswith('Account audit "once" mode completed: ')
    assert any(
        "container audits: 1 passed audit, 0 failed audit" in line for line in run(ContainerAuditor, conf)
    )
    figures = json.loads((tmp_path / "account.recon").read_text())
    assert figures["account_audits_passed"] == 1
    assert figures["account_auditor_pass_completed"] >= 0
    assert json.loads((tmp_path / "container.recon").read_text())["container_audits_failed"] == 0


def test_damage(conf):
    container(conf, "sound")
    broken = container(conf, "broken")
    with open(broken.path, "r+b") as file:
        file.write(b"\0" * 4096)
    lines = run(ContainerAuditor, conf)
    assert any("container audits: 1 passed audit, 1 failed audit" in line for line in lines)
    assert os.listdir(f"{conf['devices']}/sda1/quarantined/containers") == [
        os.path.basename(broken.directory)
    ]


def test_totals_that_contradict_the_policies(conf):
    broker = account(conf)
    broker.commit_pending()
    conn = sqlite3.connect(broker.path)
    conn.execute("UPDATE policy_stat SET object_count = 4")
    conn.commit()
    conn.close()
    lines = run(AccountAuditor, conf)
    assert any("object_count is 3, but 4 when summed over the policies" in line for line in lines)


def test_deleted_databases_pass(conf):
    container(conf).delete_db("1700000009.00000")
    assert any("1 passed audit, 0 failed audit" in line for line in run(ContainerAuditor, conf))


@pytest.mark.parametrize("error", [DeviceStuck("sda1"), OSError(5, "I/O error")])
def test_a_disk_that_cannot_be_tidied_up_ends_no_auditor(conf, monkeypatch, error):
    account(conf)

    def broken(device_path):
        raise error

    monkeypatch.setattr("swift.db.auditor.sweep_leftovers", broken)
    lines = run(AccountAuditor, conf)
    assert any("tidying up" in line for line in lines)
    assert any("account audits: 1 passed audit, 0 failed audit" in line for line in lines)
