"""How much memory work on a builder takes, asked for before it is taken; what the machine has is read here and nowhere else."""

from __future__ import annotations

from .errors import RingBuilderError

_MEMINFO = "/proc/meminfo"
BYTES_A_PART = 16  # ages, and what pickling them takes
BYTES_A_REPLICA = 16  # the old row, the new one, the plan and what pickling takes


def available() -> int | None:
    """Bytes that may be taken without anything else being pushed out; None where the system doesn't tell."""
    try:
        with open(_MEMINFO) as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def require(parts: int, replicas: float) -> None:
    """Raises RingBuilderError if a table of so many partitions and replicas can't be held. `replicas` 0: none is made yet."""
    needed = int(parts * (BYTES_A_PART + replicas * BYTES_A_REPLICA))
    there = available()
    if there is not None and needed > there:
        raise RingBuilderError(
            f"a ring of {parts} partitions takes about {needed / 1e9:.1f} GB of memory, {there / 1e9:.1f} GB are free: "
            "choose a smaller part_power"
        )
