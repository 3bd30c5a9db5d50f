"""What every command of bin/ says to --help and to an option that there is not; and the files for shells made of that.

`python -m test.commands` prints it as JSON; `python -m test.commands write` makes etc/completions and etc/man anew; `python -m test.commands run`
reads a JSON list of command lines and prints what came of each: [status, stdout, stderr]. Each command runs in a fork of one process, which has
imported what they have in common.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import re
import runpy
import sys
import tempfile
from typing import Any

from test.man_pages import pages

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMPLETIONS = ROOT / "etc/completions"
MAN = ROOT / "etc/man"
BAD = "--frobnicate"
# What stands first on a command line beside files: each a list, or what the help says.
WORDS = {
    "swift-recon": ["account", "container", "object"],
    "swift-object-relinker": ["relink", "cleanup"],
    "swift-init": [
        *(f"{kind}-server" for kind in ("proxy", "account", "container", "object")),
        *(f"{kind}-{daemon}" for kind in ("account", "container", "object") for daemon in ("auditor", "replicator")),
        "account-reaper", "container-reconciler", "container-sharder", "container-sync", "container-updater", "object-expirer",
        "object-reconstructor", "object-updater", "all", "main", "rest",
        "start", "stop", "restart", "reload", "reload-seamless", "shutdown", "status", "once", "no-daemon", "no-wait", "kill", "force-reload",
    ],
    "swift-config": ["proxy", "account", "container", "object"],
    "swift-ring-builder": [
        "add", "create", "list_parts", "pretend_min_part_hours_passed", "rebalance", "remove", "search", "set_info", "set_min_part_hours",
        "set_overload", "set_region", "set_replicas", "set_weight", "set_zone", "validate", "write_builder", "write_ring", "dispersion",
        "increase_partition_power", "cancel_increase_partition_power", "finish_increase_partition_power", "prepare_increase_partition_power",
    ],
    "swift-manage-shard-ranges": ["find", "find_and_replace", "replace", "enable", "show", "info", "delete", "merge", "compact", "repair", "analyze"],
    "swift-ring-composer": ["compose", "show"],
    **{f"swift-{name}": ["once", "verbose"] for name in (
        "account-auditor", "account-reaper", "account-replicator", "container-auditor", "container-reconciler", "container-replicator",
        "container-sharder", "container-sync", "container-updater", "object-auditor", "object-expirer", "object-reconstructor",
        "object-replicator", "object-updater")},
}  # fmt: skip


def said() -> dict[str, dict[str, list[Any]]]:
    """{command: {help, bad: [status, stdout, stderr]}}."""
    _import_what_is_common()
    found: dict[str, dict[str, list[Any]]] = {}
    for name in sorted(os.listdir(ROOT / "bin")):
        found[name] = {"help": _run(name, "--help"), "bad": _run(name, BAD)}
    return found


def _import_what_is_common() -> None:
    for name in ("swift.wire.direct", "swift.cli.cluster", "swift.run.process", "swift.run.daemon"):
        importlib.import_module(name)


def said_to(lines: list[list[str]]) -> list[list[Any]]:
    """[status, stdout, stderr] of each command line."""
    _import_what_is_common()
    return [_run(*line) for line in lines]


def _run(name: str, *words: str) -> list[Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _be(name, words, out.fileno(), err.fileno())
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return [os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode()]


def _be(name: str, words: tuple[str, ...], out: int, err: int) -> None:
    status: Any = 1
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    path = str(ROOT / "bin" / name)
    sys.argv = [path, *words]
    try:
        runpy.run_path(path, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def options_of(text: str) -> list[str]:
    """The options that a help text explains, or names in its usage."""
    found = set(re.findall(r"(?m)^ {1,8}(-\w)\b", text))
    for line in text.splitlines():
        if re.match(r" {1,8}-", line):
            found |= set(re.findall(r"(?<![\w-])(--[a-z][\w-]+|-\w)(?![\w-])", line.strip().split("   ")[0]))
    found |= set(re.findall(r"\[(--?[a-z][\w-]*)", text))
    return sorted(found)


def files(told: dict[str, dict[str, list[Any]]]) -> dict[str, str]:
    """name → text of the files in etc/completions."""
    table = "".join(
        f"        {name}) options='{' '.join(options_of(one['help'][1]))}' words='{' '.join(WORDS.get(name, []))}' ;;\n"
        for name, one in told.items()
    )
    head = "# Made by `python -m test.commands write` of what the commands' --help says; a test holds that both are the same.\n"
    names = " ".join(told)
    bash = f"""# Completion for bash: to be sourced, or put into /usr/share/bash-completion/completions under the name of each command.
{head}
_swift_commands() {{
    local options='' words=''
    case "${{1##*/}}" in
{table}    esac
    local word="${{COMP_WORDS[COMP_CWORD]}}"
    if [[ "$word" == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    fi
}}
complete -o default -o bashdefault -F _swift_commands {names}
"""
    zsh = f"""#compdef {names}
# Completion for zsh: to be installed as _swift in a folder of $fpath.
{head}
_swift_commands() {{
    local options='' words=''
    case "${{service:t}}" in
{table}    esac
    if [[ "$PREFIX" == -* ]]; then
        compadd -- ${{=options}}
    else
        compadd -- ${{=words}}
        _files
    fi
}}
_swift_commands "$@"
"""
    return {"swift.bash": bash, "_swift": zsh}


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        told = said()
        for folder, made in ((COMPLETIONS, files(told)), (MAN, pages(told))):
            folder.mkdir(exist_ok=True)
            for old in set(os.listdir(folder)) - set(made):
                (folder / old).unlink()
            for name, text in made.items():
                (folder / name).write_text(text)
    elif sys.argv[1:] == ["run"]:
        print(json.dumps(said_to(json.load(sys.stdin))))
    else:
        print(json.dumps(said()))
