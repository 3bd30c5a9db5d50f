import os
import pwd

import pytest

from swift.core.errors import ConfigError
from swift.run import privileges


class Log:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda message, *args: self.lines.append(message % args)


def test_somebody_who_is_not_root_stays_who_he_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    for user in ("root", "no-such-user"):
        log = Log()
        assert privileges.wanted_user({"user": user}, log) is None
        assert log.lines == [f"Running as user id 4711, not as {user!r}: only root can change that"]
    log = Log()
    assert privileges.wanted_user({}, log) is None and not log.lines


def test_root_becomes_the_user_asked_for(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    somebody = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    account = privileges.wanted_user({"user": somebody.pw_name}, Log())
    assert (account.uid, account.gid) == (somebody.pw_uid, somebody.pw_gid)
    assert somebody.pw_gid in account.groups
    assert privileges.wanted_user({"user": "root"}, Log()) is None
    with pytest.raises(ConfigError, match="no-such-user"):
        privileges.wanted_user({"user": "no-such-user"}, Log())


def test_without_the_default_user_root_stays(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "DEFAULT_USER", "no-such-user")
    log = Log()
    assert privileges.wanted_user({}, log) is None
    assert log.lines == ["There is no user 'no-such-user' to run as: staying root"]


@pytest.mark.parametrize(
    "conf",
    [
        {"nice_priority": "x"},
        {"ionice_class": "IOPRIO_CLASS_NONE"},
        {"ionice_class": "IOPRIO_CLASS_BE", "ionice_priority": "9"},
    ],
)
def test_priorities_that_cannot_be_set_are_warned_of(conf, capsys):
    log = Log()
    privileges.set_priorities(conf, log)
    assert "Keeping unchanged! Check logs for more info." in capsys.readouterr().out
    assert log.lines and log.lines[0].startswith("Unable to modify ")


def test_priorities():
    if os.fork() == 0:
        log = Log()
        privileges.set_priorities({"nice_priority": "19", "ionice_class": "IOPRIO_CLASS_IDLE"}, log)
        good = os.getpriority(os.PRIO_PROCESS, 0) == 19 and log.lines == [
            "set scheduling priority to 19", "set I/O scheduling class to IOPRIO_CLASS_IDLE",
        ]  # fmt: skip
        os._exit(0 if good else 1)
    assert os.wait()[1] == 0


@pytest.mark.parametrize(
    ("conf", "before", "expected"), [({}, 0, 10), ({}, 15, 15), ({"nice_priority": "12"}, 0, 12)]
)
def test_what_goes_on_in_the_background_lets_others_go_first(conf, before, expected):
    if os.fork() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, before)
        privileges.set_priorities(conf, Log(), in_background=True)
        os._exit(0 if os.getpriority(os.PRIO_PROCESS, 0) == expected else 1)
    assert os.wait()[1] == 0


def test_a_session_of_its_own_gets_the_priority_too(tmp_path, monkeypatch):
    """Else the priority of a daemon that is detached would count among its own threads only."""
    seen = tmp_path / "autogroup"
    monkeypatch.setattr(privileges, "_OF_SESSION", str(seen))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for conf, expected in (({"nice_priority": "7"}, "7"), ({}, str(own) if own else "")):
        seen.write_text("")
        if os.fork() == 0:
            privileges.set_priorities(conf, Log())
            privileges.detach()
            os._exit(0)
        assert os.wait()[1] == 0
        assert seen.read_text() == expected
