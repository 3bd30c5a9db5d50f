"""Which paths an operator lets through."""

import pytest
from filter_stand_ins import App, call

from swift.core import capabilities
from swift.middleware.name_check import NameCheck, filter_factory


def refused(path, conf=None):
    """The text, None if it is let through."""
    app = App()
    answer = call(NameCheck(app, conf or {}), "/", environ={"PATH_INFO": path})
    assert (answer.status_int == 400) == (app.calls == 0)
    return answer.body.decode() if answer.status_int == 400 else None


WHAT = "Object/Container/Account name"


def test_defaults():
    for char in "'\"`<>":
        assert refused(f"/v1/a/c/x{char}y") == f"{WHAT} contains forbidden chars from '\"`<>"
    assert refused("/" + "x" * 254) is None
    assert refused("/" + "x" * 255) == f"{WHAT} longer than the allowed maximum 255"
    for path in ("/v1/a/./b", "/v1/a/../b", "/v1/a/.", "/v1/a/.."):
        assert refused(path).startswith(f"{WHAT} contains a forbidden substring from regular expression ")
    for path in ("/v1/a/.b", "/v1/a/b.", "/v1/a/...", "/v1/a/b/..c"):
        assert refused(path) is None


def test_options():
    umlaut = "ä".encode().decode("latin-1")
    assert refused(f"/v1/a/{umlaut}", {"forbidden_chars": "ä"}) == f"{WHAT} contains forbidden chars from ä"
    assert refused("/v1/a/<", {"forbidden_chars": "ä"}) is None
    assert refused("/v1/a/<..", {"forbidden_chars": "", "forbidden_regexp": ""}) is None
    assert "maximum 5" in refused("/v1/a/", {"maximum_length": "5"})
    for conf in ({"maximum_length": "x"}, {"forbidden_regexp": "("}):
        with pytest.raises(ValueError):
            NameCheck(None, conf)


def test_what_it_tells_of_itself():
    capabilities.forget_all()
    filter_factory({}, forbidden_chars="#")
    told = capabilities.disclosed()["name_check"]
    assert told == {
        "forbidden_chars": "#",
        "maximum_length": 255,
        "forbidden_regexp": r"/\./|/\.\./|/\.$|/\.\.$",
    }
