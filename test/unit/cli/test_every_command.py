"""Every command explains itself, refuses what it does not know, and is known to shells with all its options."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from test.commands import BAD, COMPLETIONS, MAN, ROOT, files, options_of
from test.man_pages import PAGES, pages

COMMANDS = sorted(os.listdir(ROOT / "bin"))


@pytest.fixture(scope="module")
def told():
    done = subprocess.run(
        [sys.executable, "-m", "test.commands"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_it_explains_itself(told, name):
    status, out, err = told[name]["help"]
    assert status == 0 and name in out and "Traceback" not in err


@pytest.mark.parametrize("name", COMMANDS)
def test_it_refuses_an_option_that_there_is_not(told, name):
    status, out, err = told[name]["bad"]
    assert status and "Traceback" not in out + err
    last = (err or out).strip().splitlines()[-1]
    assert "error: " in last or BAD in last or "usage" in (out + err).lower() or "Syntax" in out


def test_shells_know_all_commands_and_options(told):
    for name, text in files(told).items():
        assert (COMPLETIONS / name).read_text() == text, f"{name}: python -m test.commands write"


def test_each_command_has_a_manual_page(told):
    made = pages(told)
    assert sorted(os.listdir(MAN)) == sorted(made)
    for name, text in made.items():
        assert (MAN / name).read_text() == text, f"{name}: python -m test.commands write"


def test_a_manual_page_tells_the_status_of_exit_somewhere(told):
    for name, page in PAGES.items():
        assert page.example.startswith(name), name
        text = told[name]["help"][1].lower()
        assert page.status or "exit status" in text or "exit code" in text or "exits" in text, name
        if page.status and told[name]["bad"][0] not in (0, 3):
            assert f"{told[name]['bad'][0]}: " in page.status, name


def test_options_are_found_in_any_help():
    text = "usage: x [-h] [--deep]\n\n  -a, --all   everything, -z not\n  -t SECONDS, --timeout=SECONDS\n      --only-long  see --all\n"
    assert options_of(text) == ["--all", "--deep", "--only-long", "--timeout", "-a", "-h", "-t"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("swift-recon --valid", ["--validate-servers"]),
        ("swift-recon cont", ["container"]),
        ("/usr/bin/swift-status --js", ["--json"]),
        ("swift-init object-rep", ["object-replicator"]),
    ],
)
def test_bash_completes(line, found):
    script = (
        f"source {COMPLETIONS / 'swift.bash'}; COMP_WORDS=({line}); COMP_CWORD=1; _swift_commands {line.split()[0]};"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (found, "")
