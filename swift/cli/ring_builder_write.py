"""swift-ring-builder's commands that write rings: rebalance (with its dry run), write_ring, write_builder, create.

What lives here: the decisions whether a rebalance is worth saving, its words and exit codes (spec ring 10.8), backups.
How partitions are placed is ``swift.ring``'s business.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import Any

from swift.cli.ring_builder_args import CommandError, CommandParser, UsageError
from swift.cli.ring_builder_help import command_help
from swift.cli.ring_builder_progress import ProgressLine
from swift.cli.ring_builder_show import print_json, ring_balance, time_left
from swift.core import clock
from swift.engine.durable import mkdirs_durable
from swift.ring.builder import MAX_BALANCE, RebalancePreview, RebalanceResult, RingBuilder
from swift.ring.devices import device_text
from swift.ring.errors import RingBuilderError
from swift.ring.format import RingData

RULE = "-" * 79
FORMAT_NOTICE = """\
Defaulting to --format-version=1. This ensures the ring
written will be readable by older versions of Swift.
In a future release, the default will change to
--format-version=2
"""
_MISPLACED_ADVICE = """\
      optimally dispersed.

      You may want to adjust some device weights, increase
      the overload or review the dispersion report."""
_INVALID = """\
An error has occurred during ring validation. Common
causes of failure are rings that are empty or do not
have enough devices to accommodate the replica count.
Original exception message:"""
DEFAULT_MIN_PART_HOURS = 24


def backup_path(path: str, now: int) -> str:
    """``backups/<time>.<name>`` beside the file; makes the directory."""
    beside = os.path.abspath(os.path.dirname(path))
    directory = os.path.join(beside, "backups")
    mkdirs_durable(directory, beside)
    return os.path.join(directory, f"{now}.{os.path.basename(path)}")


# ---- create, write_ring, write_builder


def create(builder_file: str, args: list[str]) -> None:
    if len(args) < 3:
        raise UsageError
    part_power, replicas, min_part_hours = int(args[0]), float(args[1]), int(args[2])
    if not math.isfinite(replicas):
        raise CommandError(f"replicas must be at least 1 (was {replicas})")
    builder = RingBuilder(part_power, replicas, min_part_hours)
    builder.save(builder_file)
    builder.save(backup_path(builder_file, int(clock.time())))


def _ring_parser(prog: str, command: str) -> CommandParser:
    parser = CommandParser(prog=prog, usage=command_help(command))
    parser.add_option(
        "--format-version", type="choice", choices=["1", "2"], help="format of the ring file (1)"
    )
    return parser


def write_ring(builder: RingBuilder, ring_file: str, prog: str, args: list[str]) -> None:
    parser = _ring_parser(prog, "write_ring")
    parser.add_option(
        "--dev-id-bytes", type="choice", choices=["2", "4"], help="width of device ids in the table"
    )
    options, _ = parser.parse_args(args)
    if options.format_version is None:
        print(FORMAT_NOTICE)
    if not any(True for _ in builder.iter_devs()):
        raise CommandError("Unable to write empty ring.")
    if builder.rows is None:
        print(
            "WARNING: Writing a ring with no partition assignments but with devices; did you forget to run "
            '"rebalance"?',
            file=sys.stderr,
        )
    ring = builder.get_ring(int(options.dev_id_bytes) if options.dev_id_bytes else None)
    version = int(options.format_version or 1)
    ring.save(backup_path(ring_file, int(clock.time())), version)
    ring.save(ring_file, version)


def write_builder(builder_file: str, ring_file: str, args: list[str]) -> None:
    if os.path.exists(builder_file):
        raise CommandError(f"Cowardly refusing to overwrite existing Ring Builder file: {builder_file}")
    ring = RingData.load(ring_file)
    if args:
        min_part_hours = int(args[0])
    else:
        min_part_hours = DEFAULT_MIN_PART_HOURS
        print(
            "WARNING: default min_part_hours may not match the value in the lost builder.\n",
            file=sys.stderr,
        )
    RingBuilder.from_ring(ring, min_part_hours).save(builder_file)


# ---- rebalance


class _Outcome:
    """What a rebalance came to. status: one word for machines; code: exit status; lines: text for people."""

    def __init__(self, status: str, code: int, lines: Sequence[str], **figures: Any) -> None:
        self.status = status
        self.code = code
        self.lines = lines
        self.figures = figures

    def report(self, as_json: bool) -> int:
        if as_json:
            print_json({"status": self.status, "exit_code": self.code, **self.figures})
        else:
            for line in self.lines:
                print(line)
        return self.code


def rebalance(builder: RingBuilder, builder_file: str, ring_file: str, prog: str, args: list[str]) -> int:
    """The exit status: 0 saved, 1 saved with a warning or nothing worth saving; CommandError (2) on failure."""
    parser = _ring_parser(prog, "rebalance")
    parser.add_option("-f", "--force", action="store_true", help="save even if less than 1% changes")
    parser.add_option("-s", "--seed", help="any text: the same seed gives the same placement")
    parser.add_option("-d", "--debug", action="store_true", help="print what is being done")
    parser.add_option("--dry-run", action="store_true", help="only show what would move; save nothing")
    parser.add_option("--max-moves", type="int", help="move at most so many replicas for the sake of balance")
    parser.add_option("--json", action="store_true", help="print the outcome as JSON")
    options, values = parser.parse_args(args)
    if options.format_version is None and not options.json and not options.dry_run:
        print(FORMAT_NOTICE)
    if builder.next_part_power is not None:
        raise CommandError(
            "Partition power increase in progress.\nYou need to finish the increase first before rebalancing."
        )
    if options.max_moves is not None and options.max_moves < 0:
        raise CommandError(f"--max-moves must not be negative (was {options.max_moves})")
    seed = options.seed if options.seed is not None else (values[0] if values else None)
    if options.dry_run:
        outcome = _dry_run(builder, seed, options)
    else:
        outcome = _rebalance_and_save(builder, builder_file, ring_file, seed, options)
    return outcome.report(options.json)


def _frame(error: Exception) -> CommandError:
    return CommandError(f"{RULE}\n{_INVALID}\n {error}\n{RULE}")


def _rebalance_and_save(
    builder: RingBuilder, builder_file: str, ring_file: str, seed: str | None, options: Any
) -> _Outcome:
    devs_changed = builder.devs_changed
    old_dispersion, old_balance = builder.dispersion, ring_balance(builder)
    seconds_left, left = builder.min_part_seconds_left, time_left(builder)
    try:
        with ProgressLine(options.debug) as progress:
            result = builder.rebalance(seed=seed, progress=progress, max_moves=options.max_moves)
        builder.validate()
    except RingBuilderError as error:
        raise _frame(error)
    if not options.force:
        if not result.moved and not result.removed:
            return _nothing_moved(builder, seconds_left, left)
        if not devs_changed and _hardly_changed(
            old_balance, result.balance, old_dispersion, builder.dispersion
        ):
            line = "Cowardly refusing to save rebalance as it did not change at least 1%."
            return _Outcome("not-enough-change", 1, [line], **_figures(builder, result))
    _save(builder, builder_file, ring_file, int(options.format_version or 1))
    return _saved(builder, result)


def _figures(builder: RingBuilder, result: RebalanceResult) -> dict[str, Any]:
    return {
        "reassigned": result.moved,
        "reassigned_percent": 100.0 * result.moved / builder.parts,
        "balance": result.balance,
        "dispersion": builder.dispersion,
        "removed_devices": result.removed,
    }


def _nothing_moved(builder: RingBuilder, seconds_left: int, left: str) -> _Outcome:
    lines = ["No partitions could be reassigned."]
    if seconds_left > 0:
        lines.append(
            "The time between rebalances must be at least min_part_hours: "
            f"{builder.min_part_hours} hours ({left} remaining)"
        )
        status = "too-soon"
    else:
        lines.append("There is no need to do so at this time")
        status = "nothing-to-do"
    return _Outcome(status, 1, lines, min_part_seconds_left=seconds_left, reassigned=0)


def _hardly_changed(
    old_balance: float, balance: float, old_dispersion: float | None, dispersion: float | None
) -> bool:
    if old_dispersion is None or dispersion is None:
        return False
    both_hopeless = old_balance == MAX_BALANCE and balance == MAX_BALANCE
    return abs(old_balance - balance) < 1 and not both_hopeless and abs(old_dispersion - dispersion) < 1


def _save(builder: RingBuilder, builder_file: str, ring_file: str, format_version: int) -> None:
    """Builder before ring: after a crash in between ``show`` calls the ring obsolete and write_ring mends it."""
    ring, now = builder.get_ring(), int(clock.time())
    ring.save(backup_path(ring_file, now), format_version)
    builder.save(backup_path(builder_file, now))
    builder.save(builder_file)
    ring.save(ring_file, format_version)


def _saved(builder: RingBuilder, result: RebalanceResult) -> _Outcome:
    dispersion = builder.dispersion or 0.0
    lines = [
        f"Reassigned {result.moved} ({100.0 * result.moved / builder.parts:.2f}%) partitions. "
        f"Balance is now {result.balance:.2f}.  Dispersion is now {dispersion:.2f}"
    ]
    warning = None
    if dispersion > 0:
        warning = "dispersion"
        lines += [RULE, f"NOTE: Dispersion of {dispersion:.6f} indicates some parts are not"]
        lines += [_MISPLACED_ADVICE, RULE]
    elif result.balance > 5 and result.balance / 100.0 > builder.overload:
        warning = "balance"
        lines += [RULE, f"NOTE: Balance of {result.balance:.2f} indicates you should push this "]
        lines += [f"      ring, wait at least {builder.min_part_hours} hours, and rebalance/repush.", RULE]
    return _Outcome("saved", 1 if warning else 0, lines, warning=warning, **_figures(builder, result))


def _dry_run(builder: RingBuilder, seed: str | None, options: Any) -> _Outcome:
    seconds_left, left = builder.min_part_seconds_left, time_left(builder)
    try:
        with ProgressLine(options.debug) as progress:
            preview = builder.preview_rebalance(seed=seed, progress=progress, max_moves=options.max_moves)
    except RingBuilderError as error:
        raise _frame(error)
    result = preview.result
    if not result.moved and not result.removed:
        outcome = _nothing_moved(builder, seconds_left, left)
        outcome.figures["dry_run"] = True
        return outcome
    figures = _figures(builder, result)
    figures["dispersion"] = preview.dispersion
    return _Outcome(
        "would-change", 0, _preview_lines(builder, preview), dry_run=True, **figures, **_flows_json(preview)
    )


def _preview_lines(builder: RingBuilder, preview: RebalancePreview) -> list[str]:
    result = preview.result
    lines = [
        "Dry run: nothing is saved.",
        f"Would reassign {result.moved} ({100.0 * result.moved / builder.parts:.2f}%) partitions. "
        f"Balance would be {result.balance:.2f}.  Dispersion would be {preview.dispersion:.2f}",
        "",
        f"{'Before':>8} {'In':>8} {'Out':>8} {'After':>8}  Device",
    ]
    lines += [
        f"{flow.before:>8} {flow.gained:>8} {flow.lost:>8} {flow.after:>8}  {device_text(flow.dev)}"
        for flow in preview.flows
    ]
    lines += ["", f"{'Replicas':>8}  Between zones"]
    lines += [
        f"{moved:>8}  {source or 'new'} -> {target}"
        for (source, target), moved in sorted(preview.tier_flows.items())
    ]
    return lines


def _flows_json(preview: RebalancePreview) -> dict[str, Any]:
    return {
        "devices": [
            {
                "id": flow.dev["id"],
                "device": device_text(flow.dev),
                "before": flow.before,
                "in": flow.gained,
                "out": flow.lost,
                "after": flow.after,
            }
            for flow in preview.flows
        ],
        "between_zones": [
            {"from": source, "to": target, "replicas": moved}
            for (source, target), moved in sorted(preview.tier_flows.items())
        ],
    }
