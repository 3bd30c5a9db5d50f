"""The builder: the state from which rings are made, its file, and the operations that people perform on it.

Spec ring 6, 8.1, 9. Arithmetic of the plan lives in ``balance``, choosing devices for partitions in ``placement``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from swift.ring.devices import Device
from swift.ring.format import RingData

MAX_BALANCE = 999.99
Progress = Callable[
    [str, float], None
]  # (what is being done, fraction done 0..1); called at most ~10 times a second


class RebalanceResult(NamedTuple):
    """moved: part-replicas (7.10); balance: percent (7.8); removed: number of devices dropped."""

    moved: int
    balance: float
    removed: int


@dataclass(frozen=True)
class DeviceFlow:
    """Part-replicas that one device gains and loses, and what it holds before and after."""

    dev: Device
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True)
class RebalancePreview:
    """A rebalance that was not made. ``flows``: only devices that change, by id; ``tier_flows``: (from, to) names of
    zones (``r1z2``) → part-replicas; ``result`` as of rebalance; dispersion after it."""

    result: RebalanceResult
    dispersion: float
    flows: list[DeviceFlow]
    tier_flows: dict[tuple[str, str], int]


@dataclass(frozen=True)
class TierDispersion:
    """One line of the dispersion table (7.9). ``counts[i]``: parts with exactly i replicas in the tier."""

    tier: tuple
    name: str
    placed: int
    percent: float
    max_replicas: int
    counts: list[int]


@dataclass(frozen=True)
class DispersionReport:
    """``worst`` is None when no tier is over its maximum; ``rebuilt``: the cache was computed anew, version + 1."""

    dispersion: float
    tiers: list[TierDispersion]
    worst: TierDispersion | None
    rebuilt: bool


class RingBuilder:
    """See the module. ``devs`` holds dicts and None, index = id, each dict with ``parts`` (held) and, after a
    rebalance, ``parts_wanted``."""

    part_power: int
    parts: int
    replicas: float
    min_part_hours: int
    next_part_power: int | None
    overload: float
    devs: list[Device | None]
    devs_changed: bool
    version: int
    id: str | None  # given at the first save
    dispersion: float | None  # None: not computed since the last change of the tables
    rows: list[array] | None  # None: never rebalanced

    def __init__(self, part_power: int, replicas: float, min_part_hours: int) -> None:
        """RingBuilderError with the texts of 6.5 (``part_power must be at most 32 (was N)`` ...)."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: str) -> RingBuilder:
        """Raises OSError, BuilderFileError (not a pickle of plain data), BuilderStateError (keys missing)."""
        raise NotImplementedError

    @classmethod
    def from_ring(cls, ring: RingData, min_part_hours: int) -> RingBuilder:
        """10.10 (``write_builder``)."""
        raise NotImplementedError

    def save(self, path: str) -> None:
        """Atomic and durable, under the directory's lock; gives the builder its id if it has none."""
        raise NotImplementedError

    def copy(self) -> RingBuilder:
        raise NotImplementedError

    # ---- devices
    @property
    def dev_id_bytes(self) -> int:
        raise NotImplementedError

    @property
    def removed_devs(self) -> list[Device]:
        """Devices marked for removal at the next rebalance."""
        raise NotImplementedError

    def iter_devs(self) -> Iterator[Device]:
        """Devices that are not holes."""
        raise NotImplementedError

    def add_dev(self, dev: Mapping[str, Any]) -> int:
        """Returns the id. ValueError for missing keys or a bad weight, DuplicateDeviceError."""
        raise NotImplementedError

    def remove_dev(self, dev_id: int) -> None:
        raise NotImplementedError

    def set_dev_weight(self, dev_id: int, weight: float) -> None:
        """ValueError if marked for removal, negative, nan or infinite."""
        raise NotImplementedError

    def set_dev_region(self, dev_id: int, region: int) -> None:
        raise NotImplementedError

    def set_dev_zone(self, dev_id: int, zone: int) -> None:
        raise NotImplementedError

    def set_dev_info(self, dev_id: int, changes: Mapping[str, Any]) -> None:
        """ip, port, replication_ip, replication_port, device, meta. DuplicateDeviceError with the text of 10.4."""
        raise NotImplementedError

    def search_devs(self, searches: Iterable[Mapping[str, Any]]) -> list[Device]:
        """Devices matching at least one of the searches (``devices.parse_search_value``), in id order."""
        raise NotImplementedError

    # ---- settings
    def change_min_part_hours(self, hours: int) -> None:
        raise NotImplementedError

    def set_replicas(self, replicas: float) -> None:
        raise NotImplementedError

    def set_overload(self, overload: float) -> None:
        raise NotImplementedError

    @property
    def min_part_seconds_left(self) -> int:
        raise NotImplementedError

    def pretend_min_part_hours_passed(self) -> None:
        raise NotImplementedError

    # ---- figures (7)
    def weight_of_one_part(self) -> float:
        """EmptyRingError without any weight."""
        raise NotImplementedError

    def get_balance(self) -> float:
        """Greatest |balance| of a device; EmptyRingError. A device: ``dev_balance``."""
        raise NotImplementedError

    def dev_balance(self, dev: Device) -> float:
        """Percent above or below what its weight asks; never raises (0 or 999.99 when no device has weight)."""
        raise NotImplementedError

    def get_required_overload(self) -> float:
        raise NotImplementedError

    def dispersion_report(self, pattern: str | None = None, recalculate: bool = False) -> DispersionReport:
        """Tiers in sorted order whose names match the regular expression from their start; RingBuilderError when never
        rebalanced. When ``report.rebuilt`` the caller should save."""
        raise NotImplementedError

    # ---- tables
    def rebalance(
        self, seed: str | None = None, progress: Progress | None = None, max_moves: int | None = None
    ) -> RebalanceResult:
        """One rebalance (8). RingBuilderError family; then the builder is unchanged."""
        raise NotImplementedError

    def preview_rebalance(
        self, seed: str | None = None, progress: Progress | None = None, max_moves: int | None = None
    ) -> RebalancePreview:
        """What ``rebalance`` with the same arguments would do; the builder stays as it is."""
        raise NotImplementedError

    def validate(self) -> None:
        """RingValidationError (7.11)."""
        raise NotImplementedError

    def get_part_devices(self, part: int) -> list[Device]:
        raise NotImplementedError

    def list_parts(self, devs: Iterable[Device]) -> list[tuple[int, int]]:
        """(part, replicas on these devices), in the order of 10.7."""
        raise NotImplementedError

    def get_ring(self, dev_id_bytes: int | None = None) -> RingData:
        raise NotImplementedError

    def same_as_ring(self, ring: RingData) -> bool:
        """10.5 "up-to-date": devs, rows, part_shift, next_part_power, version."""
        raise NotImplementedError

    # ---- partition power (9); each returns False when it does not apply now
    def prepare_increase_partition_power(self) -> bool:
        raise NotImplementedError

    def increase_partition_power(self) -> bool:
        """RingBuilderError when never rebalanced."""
        raise NotImplementedError

    def cancel_increase_partition_power(self) -> bool:
        raise NotImplementedError

    def finish_increase_partition_power(self) -> bool:
        raise NotImplementedError


def ring_file_names(argument: str) -> tuple[str, str]:
    """(builder file, ring file) for the first argument of the commands (10.1)."""
    raise NotImplementedError


@contextmanager
def builder_lock(builder_file: str, timeout: float = 15) -> Iterator[None]:
    """Hold ``.lock`` in the builder's directory; BuilderLockedError after ``timeout`` seconds. Take it before loading;
    ``save`` within it does not lock again."""
    raise NotImplementedError
    yield
