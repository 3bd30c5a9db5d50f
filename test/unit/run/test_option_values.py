"""Values that can't be meant are found, named with their place."""

from __future__ import annotations

import pytest

from swift.core.errors import ConfigError
from swift.run.known_options import unknown_options, unknown_sections
from swift.run.option_values import blamed, impossible_values, odd_switches, refuse_impossible

CONF = """[DEFAULT]
client_timeout = {default}
[pipeline:main]
pipeline = healthcheck foreign app
[filter:foreign]
use = egg:other#thing
node_timeout = whenever
[filter:healthcheck]
use = egg:swift#healthcheck
set workers = {filter}
[app:app]
use = egg:swift#object
mount_check = {switch}
[object-auditor]
interval = {daemon}
"""


def conf(tmp_path, default="60", filter="auto", switch="true", daemon="30"):
    path = tmp_path / "x.conf"
    path.write_text(CONF.format(default=default, filter=filter, switch=switch, daemon=daemon))
    return str(path)


@pytest.mark.parametrize("good", ["60", " 60", "1_000", "-1", "1e3", "inf", ""])
def test_numbers(tmp_path, good):
    assert impossible_values(conf(tmp_path, default=good)) == []


@pytest.mark.parametrize(
    ("place", "value", "daemon", "line"),
    [
        ("default", "soon", "", '[DEFAULT] client_timeout: not a number: "soon"'),
        ("default", "60s", "object-auditor", '[DEFAULT] client_timeout: not a number: "60s"'),
        ("default", "nan", "", '[DEFAULT] client_timeout: not a number: "nan"'),
        ("default", "5 ; a comment", "", '[DEFAULT] client_timeout: not a number: "5 ; a comment"'),
        ("filter", "many", "", '[filter:healthcheck] set workers: not a number nor auto: "many"'),
        ("daemon", "often", "object-auditor", '[object-auditor] interval: not a number: "often"'),
        ("default", "%(nothing)s", "", "[DEFAULT] client_timeout: the value of client_timeout in [DEFAULT] refers to nothing, which there is not"),
        ("default", "%(env:NOT_THERE)s", "", "[DEFAULT] client_timeout: the value of client_timeout in [DEFAULT] is to come from env:NOT_THERE: there is no such variable"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(tmp_path, place, value, daemon, line):
    path = conf(tmp_path, **{place: value})
    assert [str(one) for one in impossible_values(path, daemon)] == [line]
    with pytest.raises(ConfigError) as error:
        refuse_impossible(path, daemon)
    assert str(error.value) == f"Error trying to load config from {path}: {line}"


def test_what_stands_outside_is_not_shown(tmp_path):
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "secret").chmod(0o600)
    path = conf(tmp_path, default=f"%(file:{tmp_path}/secret)s")
    assert [str(one) for one in impossible_values(path)] == ["[DEFAULT] client_timeout: not a number"]


def test_what_is_handed_on_need_be_no_number(tmp_path):
    path = tmp_path / "x.conf"
    path.write_text("[object-replicator]\nrsync_bwlimit = 10m\n")
    assert impossible_values(str(path), "object-replicator") == []


def test_sections_of_others_are_theirs(tmp_path):
    path = conf(tmp_path, daemon="often")
    assert impossible_values(path) == []  # a server does not read its daemons' sections


@pytest.mark.parametrize(
    "value", ["true", "Yes", "ON", "t", "y", "1", "false", "no", "off", "0", "f", "n", "None", ""]
)
def test_switches(tmp_path, value):
    assert odd_switches(conf(tmp_path, switch=value)) == []


def test_a_switch_that_is_neither_on_nor_off_is_named(tmp_path):
    assert odd_switches(conf(tmp_path, switch="ture")) == [
        "mount_check in [app:app] is neither on nor off, and is taken for off"
    ]


def test_errors_of_others_are_given_a_place(tmp_path):
    path = conf(tmp_path, default="5x")
    assert (
        blamed(path, ValueError("could not convert string to float: '5x'")) == " ([DEFAULT] client_timeout)"
    )
    assert (
        blamed(path, ValueError('Config option must be a number, not "5x".')) == " ([DEFAULT] client_timeout)"
    )
    assert blamed(path, ValueError("client_timeout must be a number, not '5x'")) == ""
    assert blamed(path, ValueError("something else")) == ""


def test_slips_in_names_of_the_log_and_of_sections(tmp_path):
    path = tmp_path / "y.conf"
    path.write_text("[DEFAULT]\nlog_levle = DEBUG\nlog_sentry_dsn = x\nsplice = no\n")
    assert unknown_options(str(path)) == [
        "unknown option log_levle in [DEFAULT] has no effect (did you mean log_level?)",
        "option splice in [DEFAULT] has no effect here: bodies of objects always go by sendfile",
    ]
    assert unknown_sections(["object-replicater", "app:x", "object-auditor", "mine"]) == [
        "nothing reads the section [object-replicater] (did you mean [object-replicator]?)",
        "nothing reads the section [mine]",
    ]
