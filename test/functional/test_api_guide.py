"""Every command of doc/api.md and of the README's curl part, pasted: each ends with the status that its comment names, or any good one."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
CURL = """curl() { command curl -sS -w '%{stderr}STATUS %{http_code}\\n' "$@" >/dev/null; }"""


def commands(page: str, start: str) -> list[str]:
    """The lines of its shell blocks from the heading `start` on; rclone has a test of its own."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text[text.index(start) :], re.DOTALL)
    return [line for block in blocks if "rclone" not in block for line in block.strip().splitlines()]


def wanted(line: str) -> str:
    found = re.search(r"#.*?\b([1-5][0-9][0-9])\b(?! if)", line)
    return found[1] if found else "2.."


@pytest.mark.parametrize(
    ("page", "start"), [("doc/api.md", "# API guide"), ("README.md", "With curl alone:")]
)
def test_commands_do_what_they_say(page, start, cluster, tmp_path):
    lines = [
        line.replace("http://127.0.0.1:8080", cluster.layout.endpoint)
        .replace("test:tester'", "test2:tester2'").replace("Key: testing'", "Key: testing2'")
        .replace("AUTH_test", "AUTH_test2").replace("/tmp/", f"{tmp_path}/")
        for line in commands(page, start)
    ]  # fmt: skip
    setting = re.compile(r"\w+=|sw\(\)|tar ")
    script = []
    for number, line in enumerate(lines):
        if setting.match(line):
            script.append(line)
            if line.startswith("TOKEN="):
                script.append(CURL)
        else:
            script.append(f"echo LINE {number} >&2\n{line}")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    answers = dict(re.findall(r"^LINE (\d+)\nSTATUS (\d+)$", done.stderr, re.MULTILINE))
    asked = {str(number): line for number, line in enumerate(lines) if not setting.match(line)}
    assert answers.keys() == asked.keys(), done.stderr
    wrong = {line: answers[at] for at, line in asked.items() if not re.fullmatch(wanted(line), answers[at])}
    assert wrong == {}
