import pytest

from swift.cli import config

CONF = """[DEFAULT]
log_level = INFO
[pipeline:main]
pipeline = healthcheck app
[filter:healthcheck]
use = egg:swift#healthcheck
log_level = DEBUG
[app:app]
use = egg:swift#proxy
[daemon]
log_level = DEBUG
set x = 1
"""


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "proxy-server.conf"
    path.write_text(CONF)
    return str(path)


def test_sections_as_daemons_see_them(conf, capsys):
    assert config.main([conf]) == 0
    assert capsys.readouterr().out == (
        f"# {conf}\n[pipeline:main]\nlog_level = INFO\npipeline = healthcheck app\n\n"
        "[filter:healthcheck]\nlog_level = DEBUG\nuse = egg:swift#healthcheck\n\n"
        "[app:app]\nlog_level = INFO\nuse = egg:swift#proxy\n\n"
        f"[daemon]\nlog_level = DEBUG\nset x = 1\n\n# log_name = None\n# __file__ = {conf}\n\n"
    )
    assert config.main(["-s", "daemon", conf]) == 0
    assert capsys.readouterr().out == f"# {conf}\n[daemon]\nlog_level = DEBUG\nset x = 1\n\n\n"


def test_servers_are_found_by_name(conf, tmp_path, capsys):
    assert config.main(["proxy", "nonesuch", "-s", "daemon", "--swift-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert (
        out.startswith("# ")
        and "[daemon]" in out
        or out.startswith("Unable to locate config for nonesuch-server")
    )
    assert "Unable to locate config for nonesuch-server\n" in out and f"# {conf}\n" in out


def test_errors(tmp_path, capsys):
    assert config.main([]) == 1
    assert capsys.readouterr().err == "ERROR: specify type of server or conf_path\n"
    (tmp_path / "x.conf").write_text("rubbish\n")
    assert config.main([str(tmp_path / "x.conf")]) == 1
    assert capsys.readouterr().err.startswith("Unable to read config from ")
    assert config.main(["-w", str(tmp_path / "x.conf")]) == 1
