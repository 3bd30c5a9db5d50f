"""swift-ring-builder: which command is meant, on which files, under which lock, and with which exit code.

What lives here: the table of commands, start-up and its refusals (spec ring 10.1, 10.2). What a command does lives in
the ``ring_builder_*`` modules beside this one; what a builder is, in ``swift.ring``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from swift.cli import ring_builder_settings as settings
from swift.cli.output import complain
from swift.cli.ring_builder_args import (
    CommandError,
    CommandParser,
    UsageError,
    parse_device_arguments,
    searches_of,
)
from swift.cli.ring_builder_devices import REGION, WEIGHT, ZONE, Setting, add, remove, set_info, set_value
from swift.cli.ring_builder_help import command_help, overview
from swift.cli.ring_builder_show import (
    NOT_REBALANCED,
    devices_json,
    dispersion_json,
    dispersion_of,
    print_dispersion,
    print_json,
    print_parts,
    print_search_table,
    ring_version,
    show,
    show_json,
)
from swift.cli.ring_builder_write import create, rebalance, write_builder, write_ring
from swift.ring.builder import RingBuilder, builder_lock, ring_file_names
from swift.ring.composite import CompositeRingBuilder
from swift.ring.errors import BuilderFileError, BuilderLockedError, RingBuilderError

EXIT_SUCCESS, EXIT_WARNING, EXIT_ERROR = 0, 1, 2
LOCK_SECONDS = 15.0


@dataclass
class Invocation:
    """One run of the command. args: what follows the command's name; builder: loaded when the command needs it."""

    prog: str
    builder_file: str
    ring_file: str
    args: list[str]
    loaded: RingBuilder | None = None

    @property
    def builder(self) -> RingBuilder:
        assert self.loaded is not None
        return self.loaded

    def save(self) -> None:
        self.builder.save(self.builder_file)


@dataclass(frozen=True)
class Command:
    """run returns the exit status, None for 0. loads: needs a builder; writes: runs under the directory's lock."""

    run: Callable[[Invocation], int | None]
    loads: bool = True
    writes: bool = True


# ---- commands: from the invocation to the module that does the work


def _show(run: Invocation) -> None:
    parser = CommandParser(prog=run.prog, usage=command_help("show"))
    parser.add_option("--json", action="store_true", default=False, help="print it all as JSON")
    options, _ = parser.parse_args(run.args)
    (show_json if options.json else show)(run.builder, run.builder_file, run.ring_file)


def _search(run: Invocation) -> None:
    arguments = parse_device_arguments(run.prog, run.args, with_json=True)
    if len(arguments.values) > 1:
        raise UsageError(with_search_help=True)
    devs = run.builder.search_devs(searches_of(arguments, len(run.args)))
    if arguments.json:
        print_json({"devices": devices_json(run.builder, devs)})
    if not devs:
        raise CommandError("" if arguments.json else "No matching devices found")
    if not arguments.json:
        print_search_table(run.builder, devs)


def _list_parts(run: Invocation) -> None:
    arguments = parse_device_arguments(run.prog, run.args, with_json=True)
    searches = searches_of(arguments, len(run.args))
    if run.builder.rows is None:
        raise CommandError(NOT_REBALANCED.format(run.builder_file))
    devs = run.builder.search_devs(searches)
    parts = run.builder.list_parts(devs) if devs else []
    if arguments.json:
        print_json({"partitions": [{"partition": part, "matches": matches} for part, matches in parts]})
    if not parts:
        raise CommandError("" if arguments.json else "No matching devices found")
    if not arguments.json:
        print_parts(parts)


def _dispersion(run: Invocation) -> int:
    parser = CommandParser(prog=run.prog, usage=command_help("dispersion"))
    parser.add_option(
        "--recalculate", action="store_true", default=False, help="count again and save the builder"
    )
    parser.add_option("-v", "--verbose", action="store_true", default=False, help="show the table of tiers")
    parser.add_option("--json", action="store_true", default=False, help="print the report as JSON")
    options, values = parser.parse_args(run.args)
    report = dispersion_of(run.builder, run.builder_file, values[0] if values else None, options.recalculate)
    if report.rebuilt:
        run.save()
    if options.json:
        print_json(dispersion_json(run.builder, report))
    else:
        print_dispersion(run.builder, report, options.verbose)
    return EXIT_WARNING if report.worst is not None else EXIT_SUCCESS


def _saving(change: Callable[[Invocation], int | None]) -> Callable[[Invocation], int | None]:
    def run_and_save(run: Invocation) -> int | None:
        code = change(run)
        run.save()
        return code

    return run_and_save


def _setter(setting: Setting) -> Command:
    return Command(_saving(lambda run: set_value(run.builder, run.prog, run.args, setting)))


COMMANDS: dict[str, Command] = {
    "add": Command(_saving(lambda run: add(run.builder, run.prog, run.args))),
    "cancel_increase_partition_power": Command(
        _saving(lambda run: settings.cancel_increase_partition_power(run.builder))
    ),
    "create": Command(lambda run: create(run.builder_file, run.args), loads=False),
    "dispersion": Command(_dispersion),
    "finish_increase_partition_power": Command(
        _saving(lambda run: settings.finish_increase_partition_power(run.builder))
    ),
    "increase_partition_power": Command(_saving(lambda run: settings.increase_partition_power(run.builder))),
    "list_parts": Command(_list_parts, writes=False),
    "prepare_increase_partition_power": Command(
        _saving(lambda run: settings.prepare_increase_partition_power(run.builder, run.builder_file))
    ),
    "pretend_min_part_hours_passed": Command(
        _saving(lambda run: run.builder.pretend_min_part_hours_passed())
    ),
    "rebalance": Command(
        lambda run: rebalance(run.builder, run.builder_file, run.ring_file, run.prog, run.args)
    ),
    "remove": Command(_saving(lambda run: remove(run.builder, run.prog, run.args))),
    "search": Command(_search, writes=False),
    "set_info": Command(_saving(lambda run: set_info(run.builder, run.prog, run.args))),
    "set_min_part_hours": Command(_saving(lambda run: settings.set_min_part_hours(run.builder, run.args))),
    "set_overload": Command(_saving(lambda run: settings.set_overload(run.builder, run.args))),
    "set_region": _setter(REGION),
    "set_replicas": Command(_saving(lambda run: settings.set_replicas(run.builder, run.args))),
    "set_weight": _setter(WEIGHT),
    "set_zone": _setter(ZONE),
    "show": Command(_show, writes=False),
    "validate": Command(lambda run: run.builder.validate(), writes=False),
    "version": Command(lambda run: print(ring_version(run.ring_file)), loads=False, writes=False),
    "write_builder": Command(
        lambda run: write_builder(run.builder_file, run.ring_file, run.args), loads=False
    ),
    "write_ring": Command(lambda run: write_ring(run.builder, run.ring_file, run.prog, run.args)),
}
_WITHOUT_NOTE = ("write_builder", "version")


# ---- start-up


def load_builder(path: str) -> RingBuilder:
    """The builder in the file; CommandError with the texts of spec ring 10.2."""
    try:
        return RingBuilder.load(path)
    except FileNotFoundError:
        raise CommandError(f"Ring Builder file does not exist: {path}")
    except PermissionError:
        raise CommandError(f"Ring Builder file cannot be accessed: {path}")
    except BuilderFileError:
        hint = " (it appears to be a composite ring builder file?)" if _is_composite(path) else ""
        raise CommandError(f"Ring Builder file is invalid: {path}{hint}")
    except (OSError, RingBuilderError, ValueError) as error:
        raise CommandError(f"Problem occurred while reading builder file: {path}. {error}")


def _is_composite(path: str) -> bool:
    try:
        CompositeRingBuilder.load(path)
    except (OSError, RingBuilderError, ValueError):
        return False
    return True


def _run(prog: str, file: str, args: list[str]) -> int:
    # an option where the command should be belongs to "show": `x.builder --json`
    name = args[0] if args and not args[0].startswith("-") else "show"
    run = Invocation(
        prog, *ring_file_names(file), args if name == "show" and args[:1] != ["show"] else args[1:]
    )
    if run.builder_file != file and name not in _WITHOUT_NOTE:
        note = f"Note: using {run.builder_file} instead of {file} as builder file"
        # what reads JSON reads stdout: people's notes go beside it
        print(note, file=sys.stderr if "--json" in run.args else sys.stdout)
    command = COMMANDS.get(name)
    writes = command is not None and command.writes
    with builder_lock(run.builder_file, LOCK_SECONDS) if writes or prog.endswith("-safe") else nullcontext():
        if command is None or command.loads:
            run.loaded = load_builder(run.builder_file)
        if command is None:
            raise CommandError(f"Unknown command: {name}")
        try:
            return command.run(run) or EXIT_SUCCESS
        except UsageError as error:
            print(command_help(name, error.with_search_help))
            if error.message:
                print(error.message)
            return EXIT_ERROR


def main(argv: list[str] | None = None) -> int:
    """The command line of swift-ring-builder; returns the exit status (10.2)."""
    argv = sys.argv if argv is None else argv
    prog = os.path.basename(argv[0])
    for stream in (sys.stdout, sys.stderr):
        # names of devices may hold anything; a report must not die of a terminal that can't show it
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _dispatch(prog, argv[1:])
        sys.stdout.flush()
        return code
    except CommandError as error:
        if error.message:
            complain(error.message)
        return error.code
    except BuilderLockedError:
        complain("Ring/builder dir currently locked.")
    except BrokenPipeError:
        # whoever read the output has seen enough; nothing must be flushed into the pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RingBuilderError, OSError, ValueError) as error:
        complain(error)
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
    return EXIT_ERROR


def _dispatch(prog: str, args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(overview())
        return EXIT_SUCCESS
    if args[1:2] == ["diff"]:
        return _diff(prog, [args[0], *args[2:]])
    if args[0] == "diff" and not os.path.exists("diff"):
        return _diff(prog, args[1:])
    return _run(prog, args[0], args[1:])


def _diff(prog: str, args: list[str]) -> int:
    # imported here: numpy takes longer than most of the other commands
    from swift.cli.ring_builder_diff import diff

    try:
        return diff(prog, args)
    except UsageError:
        print(command_help("diff"))
        return EXIT_ERROR
