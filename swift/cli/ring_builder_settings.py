"""swift-ring-builder's commands on the builder as a whole: replicas, overload, min_part_hours, partition power."""

from __future__ import annotations

import math
import os
import sys

from swift.cli.ring_builder_args import CommandError, UsageError
from swift.ring.builder import RingBuilder

AGE_LIMIT = 255  # hours: ages of partitions are bytes (spec ring 6.6)
_NEXT_WRITE_RING = "The change will take effect after the next write_ring."
_NEXT_REBALANCE = "The change will take effect after the next rebalance."


def _number(text: str, shown: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{shown} is not a valid number.")
    return number


def set_min_part_hours(builder: RingBuilder, args: list[str]) -> None:
    if not args:
        raise UsageError
    hours = int(args[0])
    if hours < 0:
        raise CommandError(f"min_part_hours must be non-negative (was {hours})")
    builder.change_min_part_hours(hours)
    print(f"The minimum number of hours before a partition can be reassigned is now set to {args[0]}")
    if hours > AGE_LIMIT:
        print(
            f"WARNING: ages are counted up to {AGE_LIMIT} hours, so that no partition can be reassigned now.",
            file=sys.stderr,
        )


def set_replicas(builder: RingBuilder, args: list[str]) -> None:
    if not args:
        raise UsageError
    replicas = _number(args[0], f'"{args[0]}"')
    if replicas < 1:
        raise CommandError("Replica count must be at least 1.")
    builder.set_replicas(replicas)
    print(f"The replica count is now {replicas:.6f}.\n{_NEXT_REBALANCE}")


def set_overload(builder: RingBuilder, args: list[str]) -> int:
    if not args:
        raise UsageError
    text = args[0].strip()
    percent = text.endswith("%")
    if percent:
        text = text[:-1].strip()
    overload = _number(text, repr(text))
    if percent:
        overload *= 0.01
    if overload < 0:
        raise CommandError("Overload must be non-negative.")
    above = overload > 1 and not percent
    if above:
        print("!?! Warning overload is greater than 100% !?!")
    builder.set_overload(overload)
    print(f"The overload factor is now {overload * 100:.2f}% ({overload:.6f})\n{_NEXT_REBALANCE}")
    return 1 if above else 0


# ---- partition power (spec ring 9)


def prepare_increase_partition_power(builder: RingBuilder, builder_file: str) -> None:
    if "object" not in os.path.basename(builder_file):
        raise CommandError("Partition power increase is only supported for object rings.")
    if not builder.prepare_increase_partition_power():
        raise CommandError("Ring is already prepared for partition power increase.")
    print(
        f"The next partition power is now {builder.next_part_power}.\n{_NEXT_WRITE_RING}\n"
        "Ensure your proxy-servers, object-replicators and \n"
        "reconstructors are using the changed rings and relink \n"
        "(using swift-object-relinker) your existing data\n"
        "before the partition power increase"
    )


def increase_partition_power(builder: RingBuilder) -> None:
    if not builder.increase_partition_power():
        raise CommandError(
            "Ring partition power cannot be increased. Either the ring\n"
            "was not prepared yet, or this operation has already run."
        )
    print(f"The partition power is now {builder.part_power}.\n{_NEXT_WRITE_RING}")


def cancel_increase_partition_power(builder: RingBuilder) -> None:
    if not builder.cancel_increase_partition_power():
        raise CommandError("Ring partition power increase cannot be canceled.")
    print(
        f"The next partition power is now {builder.next_part_power}.\n{_NEXT_WRITE_RING}\n"
        "Ensure your object-servers are using the changed rings and\n"
        "cleanup (using swift-object-relinker) the hard links"
    )


def finish_increase_partition_power(builder: RingBuilder) -> None:
    if not builder.finish_increase_partition_power():
        raise CommandError("Ring partition power increase cannot be finished.")
    print(_NEXT_WRITE_RING)
