"""swift-config: prints configuration as daemons, or with -w as pipelines, see it; with --check, what is wrong with it.

What lives here: printing. What never does: reading and evaluating it (core/config.py, core/pipeline.py).
Spec: operations.md section 7.
"""

from __future__ import annotations

import os
import sys
from optparse import OptionParser

from swift.cli.managed import DEFAULT_SWIFT_DIR, Service
from swift.core.config import read_conf_sections
from swift.core.errors import ConfigError
from swift.core.outside_values import left_as_written


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = OptionParser("%prog [options] SERVER", prog="swift-config")
    parser.add_option(
        "-c", "--config-num", metavar="N", type="int", dest="number", default=0,
        help="parse config for the Nth server only",
    )  # fmt: skip
    parser.add_option("-s", "--section", help="only display matching sections")
    parser.add_option(
        "-w", "--wsgi", action="store_true", default=False, help="use wsgi/paste parser instead of readconf"
    )
    parser.add_option(
        "--check",
        action="store_true",
        default=False,
        help="say what is wrong and what it would do: pipeline, options that differ from their defaults; exit status 1 if anything is wrong",
    )
    parser.add_option("--swift-dir", default=DEFAULT_SWIFT_DIR, help="default: %default")
    options, words = parser.parse_args(argv)
    if not words:
        print("ERROR: specify type of server or conf_path", file=sys.stderr)
        return 1
    paths: list[str] = []
    for word in words:
        if os.path.exists(word):
            paths.append(word)
        else:
            paths += Service(word, swift_dir=options.swift_dir).conf_files(options.number)
    status = 0
    for path in paths:
        try:
            if options.check:
                status |= _check(path)
            else:
                _show(path, options.section, options.wsgi)
        except ConfigError as err:
            print(err, file=sys.stderr)
            status = 1
    return status


def _show(path: str, section: str | None, wsgi: bool) -> None:
    print(f"# {path}")
    with left_as_written():  # secrets that lie elsewhere stay there
        if wsgi:
            from swift.run.pipeline import evaluated_sections

            sections = evaluated_sections(path)
        else:
            sections = read_conf_sections(path)
    for name, conf in sections.items():
        if section and name != section:
            continue
        print(f"[{name}]")
        for option, value in conf.items():
            print(f"{option} = {value}")
        print()
    if not section and not wsgi:
        print("# log_name = None")
        print(f"# __file__ = {path}")
    print()


def _check(path: str) -> int:
    from swift.cli.config_check import check, lines

    checked = check(path)
    for line in lines(path, checked):
        print(line)
    return 1 if checked.findings else 0


if __name__ == "__main__":
    sys.exit(main())
