import pathlib

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


CHECKED = """[DEFAULT]
log_level = INFO
client_timeout = 61
[pipeline:main]
pipeline = catch_errors healthcheck app
[filter:healthcheck]
use = egg:swift#healthcheck
log_level = DEBUG
[filter:catch_errors]
use = egg:swift#catch_errors
[app:app]
use = egg:swift#proxy
nod_timeout = 3
{more}
[object-auditer]
"""


def checked(tmp_path, capsys, more):
    path = tmp_path / "checked.conf"
    path.write_text(CHECKED.format(more=more))
    status = config.main(["--check", str(path)])
    return status, capsys.readouterr().out.replace(f"{path}: ", "").splitlines()


def test_check_tells_what_is_wrong_and_what_it_would_do(tmp_path, capsys):
    status, lines = checked(
        tmp_path, capsys, "account_autocreate = ture\nset admin_key = hush\nconn_timeout = 0.5"
    )
    assert (status, lines) == (
        1,
        [
            "WARNING unknown option nod_timeout in [app:app] has no effect (did you mean node_timeout?)",
            "WARNING account_autocreate in [app:app] is neither on nor off, and is taken for off",
            "WARNING nothing reads the section [object-auditer] (did you mean [object-auditor]?)",
            'WARNING log_level = DEBUG in [filter:healthcheck] is hidden by [DEFAULT]; write "set log_level = DEBUG" there',
            "pipeline: catch_errors gatekeeper (added) listing_formats (added) copy (added) dlo (added) versioned_writes (added)"
            " healthcheck proxy",
            "[DEFAULT] client_timeout = 61 (default 60)",
            "[filter:healthcheck] log_level = DEBUG (default INFO)",
            "[app:app] nod_timeout = 3",
            "[app:app] account_autocreate = ture (default false)",
            "[app:app] set admin_key = …",
            "it starts, with 4 warnings",
        ],
    )


def test_check_shows_no_secret_that_is_written_beside_a_reference(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HERE", "x")
    _, lines = checked(
        tmp_path,
        capsys,
        "set admin_key = hush%(env:HERE)s\nset sentry = https://me:hush@host/1\nset auth_key = %(env:HERE)s",
    )
    assert "[app:app] set admin_key = …" in lines and "[app:app] set auth_key = %(env:HERE)s" in lines
    assert "[app:app] set sentry = https://…@host/1" in lines and not any("hush" in line for line in lines)


def test_check_of_what_does_not_start(tmp_path, capsys):
    status, lines = checked(tmp_path, capsys, "node_timeout = soon\nadmin_key = %(file:/nonesuch)s")
    assert status == 1
    assert lines[:2] == [
        "ERROR [app:app] admin_key: the value of admin_key in [app:app] is to come from file:/nonesuch: No such file or directory",
        'ERROR [app:app] node_timeout: not a number: "soon"',
    ]
    assert "[app:app] admin_key = %(file:/nonesuch)s" in lines
    assert lines[-1] == "it does not start: 2 errors, 3 warnings"


def test_check_of_the_samples(tmp_path, capsys):
    for sample in sorted((pathlib.Path(__file__).parents[3] / "etc").glob("*-server.conf-sample")):
        path = tmp_path / sample.name.removesuffix("-sample")
        path.write_text(sample.read_text())
        assert config.main(["--check", str(path)]) == 0, sample
        assert capsys.readouterr().out.endswith(": all is well\n")
