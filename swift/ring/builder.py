"""The builder: the state from which rings are made, and the operations that people perform on it.

Spec ring 6, 8.1, 9. Its file lives in ``builder_file``, the arithmetic of the plan in ``balance``, choosing devices for
partitions in ``placement`` and ``movement``, reports in ``report``.
"""

from __future__ import annotations

import copy
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from swift.core import clock
from swift.ring import balance, memory
from swift.ring.builder_file import BuilderState, builder_lock, load_state, save_state
from swift.ring.devices import REQUIRED_KEYS, Device, fill_defaults, search, without_builder_keys
from swift.ring.errors import DuplicateDeviceError, EmptyRingError, RingBuilderError, RingValidationError
from swift.ring.format import TYPECODE, UNASSIGNED, RingData, id_width
from swift.ring.rebalance import DeviceFlow, Progress, RebalancePreview, RebalanceResult, preview, rebalance
from swift.ring.report import DispersionReport, TierDispersion, check_tables, dispersion_report, part_counts

__all__ = [
    "MAX_BALANCE", "DeviceFlow", "DispersionReport", "Progress", "RebalancePreview", "RebalanceResult", "RingBuilder",
    "TierDispersion", "builder_lock", "ring_file_names",
]  # fmt: skip

MAX_BALANCE = balance.MAX_BALANCE
MAX_AGE = 255
_SHRINK_BELOW = UNASSIGNED[2] // 2  # ids go back to two bytes when fewer devices than this are left
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-9, 1e15  # beyond these, sums of weights lose what they are made of
_CHANGEABLE = ("ip", "port", "replication_ip", "replication_port", "device", "meta")


class RingBuilder:
    """See the module. ``devs`` holds dicts and None, index = id; each dict has ``parts`` (held) and, after a rebalance,
    ``parts_wanted``."""

    def __init__(self, part_power: int, replicas: float, min_part_hours: int) -> None:
        """RingBuilderError with the texts of 6.5."""
        if part_power > 32:
            raise RingBuilderError(f"part_power must be at most 32 (was {part_power})")
        if part_power < 0:
            raise RingBuilderError(f"part_power must be at least 0 (was {part_power})")
        if not replicas >= 1:
            raise RingBuilderError(f"replicas must be at least 1 (was {replicas:.6f})")
        if not replicas < 1 << 16:
            raise RingBuilderError(f"replicas must be less than 65536 (was {replicas:.6f})")
        if min_part_hours < 0:
            raise RingBuilderError(f"min_part_hours must be non-negative (was {min_part_hours})")
        self.state = BuilderState(part_power, replicas, min_part_hours)
        self.state.dispersion = 0.0  # of nothing placed yet; None is for old files
        self._dev_id_bytes = 2

    @classmethod
    def _of_state(cls, state: BuilderState) -> RingBuilder:
        builder = cls.__new__(cls)
        builder.state = state
        builder._dev_id_bytes = state.rows[0].itemsize if state.rows else builder._needed_width()
        return builder

    @classmethod
    def load(cls, path: str) -> RingBuilder:
        """Raises OSError, BuilderFileError (not a pickle of plain data), BuilderStateError (keys missing)."""
        return cls._of_state(load_state(path))

    @classmethod
    def from_ring(cls, ring: RingData, min_part_hours: int) -> RingBuilder:
        """A builder for a ring whose own was lost (10.10)."""
        builder = cls(32 - ring.part_shift, float(ring.replica_count or 1), min_part_hours)
        state = builder.state
        state.dispersion = None
        state.devs = [dev and dict(dev) for dev in ring.devs]
        for dev in state.devs:
            if dev is not None:
                fill_defaults(dev)
                dev["parts"] = 0
        state.rows = [row[:] for row in ring.rows] or None
        state.version = ring.version or 0
        state.ages = array("B", bytes(state.parts))
        state.id = clock.uuid4().hex
        builder._dev_id_bytes = ring.dev_id_bytes
        builder._count_parts()
        return builder

    def save(self, path: str) -> None:
        """Atomic and durable, under the directory's lock; gives the builder its id if it has none."""
        given = self.state.id
        if given is None:
            self.state.id = clock.uuid4().hex
        if not self.state.ages:
            memory.require(self.parts, 0)
            self.state.ages = array("B", bytes(self.parts))
        try:
            save_state(path, self.state, self.dev_id_bytes)
        except BaseException:
            self.state.id = given
            raise

    def copy(self) -> RingBuilder:
        """An independent builder of the same state."""
        return self._of_state(copy.deepcopy(self.state))

    # ---- state

    @property
    def part_power(self) -> int:
        return self.state.part_power

    @property
    def parts(self) -> int:
        return self.state.parts

    @property
    def replicas(self) -> float:
        return self.state.replicas

    @property
    def min_part_hours(self) -> int:
        return self.state.min_part_hours

    @property
    def next_part_power(self) -> int | None:
        return self.state.next_part_power

    @property
    def overload(self) -> float:
        return self.state.overload

    @property
    def devs(self) -> list[Device | None]:
        return self.state.devs

    @property
    def devs_changed(self) -> bool:
        return self.state.devs_changed

    @property
    def version(self) -> int:
        return self.state.version

    @property
    def id(self) -> str | None:
        """Given at the first save."""
        return self.state.id

    @property
    def dispersion(self) -> float | None:
        """Of the last rebalance or report; None when not known."""
        return self.state.dispersion

    @property
    def rows(self) -> list[array] | None:
        """None before the first rebalance."""
        return self.state.rows

    @property
    def dev_id_bytes(self) -> int:
        return self._dev_id_bytes

    def _needed_width(self) -> int:
        try:
            return id_width(max(0, len(self.devs) - 1))
        except ValueError as error:
            raise RingBuilderError(str(error)) from None

    def _widen(self) -> None:
        """Let the tables hold the highest id."""
        width = self._needed_width()
        if width <= self._dev_id_bytes:
            return
        old, new = UNASSIGNED[self._dev_id_bytes], UNASSIGNED[width]
        self.state.rows = self.rows and [
            array(TYPECODE[width], [new if dev_id == old else dev_id for dev_id in row]) for row in self.rows
        ]
        self._dev_id_bytes = width

    def _count_parts(self) -> None:
        from collections import Counter

        counts: Counter[int] = Counter()
        for row in self.rows or ():
            counts.update(row)
        for dev in self.iter_devs():
            dev["parts"] = counts[dev["id"]]

    # ---- devices

    @property
    def removed_devs(self) -> list[Device]:
        """Devices marked for removal at the next rebalance."""
        return self.state.removed

    def iter_devs(self) -> Iterator[Device]:
        """Devices that are not holes."""
        return (dev for dev in self.devs if dev is not None)

    def add_dev(self, dev: Mapping[str, Any]) -> int:
        """Returns the id. ValueError for missing keys or a senseless weight, DuplicateDeviceError."""
        missing = [key for key in REQUIRED_KEYS if key not in dev]
        if missing:
            raise ValueError(f"{dev.get('ip', 'device')} is missing required key(s): {', '.join(missing)}")
        devs = self.devs
        dev_id = dev.get("id")
        if dev_id is None:
            dev_id = devs.index(None) if None in devs else len(devs)
        elif dev_id < len(devs) and devs[dev_id] is not None:
            raise DuplicateDeviceError(f"Duplicate device id: {dev_id}")
        own = fill_defaults({**dev, "id": dev_id, "weight": _weight(dev["weight"]), "parts": 0})
        for prefix in ("replication_ip", "replication_port"):
            if own[prefix] is None:
                own[prefix] = own[prefix.removeprefix("replication_")]
        if own["meta"] is None:
            own["meta"] = ""
        id_width(dev_id)
        devs.extend([None] * (dev_id + 1 - len(devs)))
        devs[dev_id] = own
        self._widen()
        self._changed()
        return dev_id

    def _changed(self) -> None:
        self.state.devs_changed = True
        self.state.version += 1

    def _device(self, dev_id: int) -> Device:
        dev = self.devs[dev_id] if 0 <= dev_id < len(self.devs) else None
        if dev is None:
            raise RingBuilderError(f"No device has the id {dev_id}")
        return dev

    def is_removed(self, dev: Device) -> bool:
        """Returns True if the device is marked for removal."""
        return any(marked is dev for marked in self.state.removed)

    def remove_dev(self, dev_id: int) -> None:
        """Mark for removal at the next rebalance; marking twice is marking once."""
        dev = self._device(dev_id)
        if not self.is_removed(dev):
            dev["weight"] = 0
            self.state.removed.append(dev)
        self._changed()

    def _set(self, dev_id: int, key: str, value: Any) -> None:
        dev = self._device(dev_id)
        if self.is_removed(dev):
            raise ValueError(f"Can not set {key} of dev_id {dev_id} because it is marked for removal")
        dev[key] = value
        self._changed()

    def set_dev_weight(self, dev_id: int, weight: float) -> None:
        """ValueError if marked for removal, negative, nan or infinite."""
        self._set(dev_id, "weight", _weight(weight))

    def set_dev_region(self, dev_id: int, region: int) -> None:
        """ValueError if marked for removal or negative."""
        self._set(dev_id, "region", _tier_number("region", region))

    def set_dev_zone(self, dev_id: int, zone: int) -> None:
        """ValueError if marked for removal or negative."""
        self._set(dev_id, "zone", _tier_number("zone", zone))

    def set_dev_info(self, dev_id: int, changes: Mapping[str, Any]) -> None:
        """ip, port, replication_ip, replication_port, device, meta. Nothing moves, the version stays.

        DuplicateDeviceError with the text of 10.4 when another device has that ip, port and name.
        """
        dev = self._device(dev_id)
        unknown = sorted(set(changes) - set(_CHANGEABLE))
        if unknown:
            raise ValueError(f"Cannot change {', '.join(unknown)}")
        after = {**dev, **changes}
        self.check_unused(after["ip"], after["port"], after["device"], but=dev_id)
        dev.update(changes)

    def check_unused(self, ip: str, port: int, device: str, but: int | None = None) -> None:
        """DuplicateDeviceError when a device other than ``but`` has this address and name."""
        for dev in self.iter_devs():
            if (dev["ip"], dev["port"], dev["device"]) == (ip, port, device) and dev["id"] != but:
                raise DuplicateDeviceError(f"Device {dev['id']} already uses {ip}:{port}/{device}.")

    def search_devs(self, searches: Iterable[Mapping[str, Any]]) -> list[Device]:
        """Devices matching at least one of the searches (``devices.parse_search_value``), in id order."""
        return search(self.devs, searches)

    # ---- settings

    def change_min_part_hours(self, hours: int) -> None:
        """ValueError for a negative number."""
        if hours < 0:
            raise ValueError(f"min_part_hours must be non-negative (was {hours})")
        self.state.min_part_hours = hours

    def set_replicas(self, replicas: float) -> None:
        """Takes effect at the next rebalance. ValueError below 1."""
        if not 1 <= replicas < 1 << 16:
            raise ValueError("Replica count must be at least 1.")
        if int(self.parts * self.replicas) != int(self.parts * replicas):
            self.state.devs_changed = True
        self.state.replicas = float(replicas)

    def set_overload(self, overload: float) -> None:
        """As a fraction. ValueError when negative or not a number."""
        if not 0 <= overload < math.inf:
            raise ValueError("Overload must be non-negative.")
        self.state.overload = float(overload)

    @property
    def min_part_seconds_left(self) -> int:
        """Seconds until every part may move, as far as the last update of the ages tells."""
        elapsed = int(clock.time()) - self.state.ages_epoch
        return max(0, self.min_part_hours * 3600 - elapsed)

    def pretend_min_part_hours_passed(self) -> None:
        """Let every part move at the next rebalance."""
        self.state.ages_epoch = 0
        self.state.ages = array("B", [MAX_AGE]) * self.parts

    def update_ages(self) -> None:
        """Bring the ages of parts up to date (6.6)."""
        state = self.state
        if not state.ages:
            state.ages = array("B", bytes(self.parts))
        now = int(clock.time())
        hours = (now - state.ages_epoch) // 3600
        if hours <= 0:
            return
        table = bytes(min(MAX_AGE, age + hours) for age in range(256))
        state.ages = array("B", state.ages.tobytes().translate(table))
        state.ages_epoch = now

    # ---- figures (7)

    def weight_of_one_part(self) -> float:
        """EmptyRingError without any weight."""
        return balance.weight_of_one_part(self.devs, self.parts, self.replicas)

    def get_balance(self) -> float:
        """Greatest |balance| of a device; EmptyRingError."""
        part_weight = self.weight_of_one_part()
        return max(abs(balance.device_balance(dev, part_weight)) for dev in self.iter_devs())

    def dev_balances(self) -> dict[int, float]:
        """Device id → percent above or below what its weight asks; 0 or 999.99 when no device has weight."""
        try:
            part_weight = self.weight_of_one_part()
        except EmptyRingError:
            part_weight = 0.0  # never looked at: no device has weight
        return {dev["id"]: balance.device_balance(dev, part_weight) for dev in self.iter_devs()}

    def get_required_overload(self) -> float:
        """The overload that makes the ring as dispersed as it can be. RingBuilderError with too few devices."""
        self.weight_of_one_part()
        return balance.replica_targets(balance.TierTree.of(self.devs), self.replicas, 0.0)[0]

    def dispersion_report(self, pattern: str | None = None, recalculate: bool = False) -> DispersionReport:
        """Tiers in sorted order whose names match the regular expression from their start; RingBuilderError when never
        rebalanced. When ``report.rebuilt`` the caller should save."""
        return dispersion_report(self.state, pattern, recalculate)

    # ---- tables

    def rebalance(
        self, seed: str | None = None, progress: Progress | None = None, max_moves: int | None = None
    ) -> RebalanceResult:
        """One rebalance (8). RingBuilderError family; then the builder is unchanged.

        max_moves: at most so many part-replicas move by choice; replicas of removed devices are not counted.
        """
        memory.require(self.parts, self.replicas)
        draft = copy.copy(self.state)
        # the draft's devices are its own; tables are replaced, never changed in place
        draft.devs = [dev and dict(dev) for dev in self.devs]
        draft.removed = [
            own for own in map(draft.devs.__getitem__, (d["id"] for d in self.removed_devs)) if own
        ]
        builder = self._of_state(draft)
        builder.update_ages()
        result = rebalance(draft, seed, progress, max_moves)
        builder._trim()
        self.state = draft
        self._dev_id_bytes = builder._dev_id_bytes
        return result

    def _trim(self) -> None:
        """Drop what a rebalance made superfluous: removed devices, trailing holes, wide ids."""
        state = self.state
        for dev in state.removed:
            state.devs[dev["id"]] = None
        state.removed = []
        while state.devs and state.devs[-1] is None:
            state.devs.pop()
        wanted = 2 if len(state.devs) < _SHRINK_BELOW else max(self._dev_id_bytes, self._needed_width())
        state.rows = state.rows and [
            row if row.itemsize == wanted else array(TYPECODE[wanted], row) for row in state.rows
        ]
        self._dev_id_bytes = wanted

    def preview_rebalance(
        self, seed: str | None = None, progress: Progress | None = None, max_moves: int | None = None
    ) -> RebalancePreview:
        """What ``rebalance`` with the same arguments would do now; the builder stays as it is."""
        after = self.copy()
        result = after.rebalance(seed, progress, max_moves)
        return preview(self.state, after.state, result)

    def validate(self) -> None:
        """RingValidationError (7.11)."""
        rows = self.rows
        if not rows:
            raise RingValidationError("_replica2part2dev empty; did you forget to rebalance?")
        told, found = sum(dev["parts"] for dev in self.iter_devs()), sum(map(len, rows))
        if told != found:
            raise RingValidationError(f"All partitions are not double accounted for: {told} != {found}")
        for dev in self.iter_devs():
            if type(dev["port"]) is not int:
                raise RingValidationError(
                    f"Device {dev['id']} has port {dev['port']!r}, which is not an integer."
                )
        check_tables(self.state)

    def get_part_devices(self, part: int) -> list[Device]:
        """Devices that hold the part, in the order of rows, each once."""
        ids = dict.fromkeys(row[part] for row in self.rows or () if part < len(row))
        return [self._device(dev_id) for dev_id in ids]

    def list_parts(self, devs: Iterable[Device]) -> list[tuple[int, int]]:
        """(part, replicas on these devices), most first, equals as the tables name them (10.7)."""
        return part_counts(self.state, {dev["id"] for dev in devs})

    def get_ring(self, dev_id_bytes: int | None = None) -> RingData:
        """The ring to be written; ValueError when ``dev_id_bytes`` is too narrow."""
        width = dev_id_bytes or self._dev_id_bytes
        if width not in TYPECODE or width < self._needed_width():
            raise ValueError(f"Device ids do not fit in {width} bytes")
        rows = [row[:] if row.itemsize == width else array(TYPECODE[width], row) for row in self.rows or ()]
        return RingData(
            [without_builder_keys(dev) for dev in self.devs],
            rows,
            32 - self.part_power,
            version=self.version,
            next_part_power=self.next_part_power if rows else None,
            dev_id_bytes=width,
        )

    def same_as_ring(self, ring: RingData) -> bool:
        """10.5 "up-to-date": devices, rows, powers and version are equal."""
        own = self.get_ring()
        return (
            own.devs == ring.devs
            and own.rows == ring.rows
            and own.part_shift == ring.part_shift
            and own.next_part_power == ring.next_part_power
            and own.version == ring.version
        )

    # ---- partition power (9); each returns False when it does not apply now

    def prepare_increase_partition_power(self) -> bool:
        """Announce the next power: new objects get a link at their future place."""
        if self.next_part_power is not None:
            return False
        if self.part_power >= 32:
            raise RingBuilderError("part_power must be at most 32 (was 33)")
        self._set_next_part_power(self.part_power + 1)
        return True

    def _set_next_part_power(self, power: int | None) -> None:
        self.state.next_part_power = power
        self.state.version += 1

    def increase_partition_power(self) -> bool:
        """Cut every part in two, on the same devices. RingBuilderError when never rebalanced."""
        state = self.state
        if self.next_part_power != self.part_power + 1:
            return False
        if not state.rows:
            raise RingBuilderError("There are no partitions yet. Please rebalance first.")
        state.rows = [_doubled(row) for row in state.rows]
        state.ages = _doubled(state.ages or array("B", bytes(self.parts)))
        for dev in self.iter_devs():
            dev["parts"] *= 2
            if "parts_wanted" in dev:
                dev["parts_wanted"] *= 2
        state.dispersion_graph = {
            tier: [2 * n for n in line] for tier, line in state.dispersion_graph.items()
        }
        state.part_power += 1
        state.version += 1
        self.update_ages()
        return True

    def cancel_increase_partition_power(self) -> bool:
        """Take the announcement back; servers clean up what they linked."""
        if self.next_part_power != self.part_power + 1:
            return False
        self._set_next_part_power(self.part_power)
        return True

    def finish_increase_partition_power(self) -> bool:
        """All servers have cleaned up."""
        if self.next_part_power is None or self.next_part_power != self.part_power:
            return False
        self._set_next_part_power(None)
        return True


def _doubled(row: array) -> array:
    result = array(row.typecode, bytes(2 * len(row) * row.itemsize))
    result[::2] = row
    result[1::2] = row
    return result


def _weight(weight: Any) -> float:
    number = float(weight)
    if number and not _LEAST_WEIGHT <= number <= _MOST_WEIGHT:
        raise ValueError(f"Invalid weight value: {weight}")
    return number


def _tier_number(key: str, number: int) -> int:
    if number < 0:
        raise ValueError(f"Invalid {key}: {number}")
    return number


def ring_file_names(argument: str) -> tuple[str, str]:
    """(builder file, ring file) for the first argument of the commands (10.1)."""
    if argument.endswith(".builder"):
        return argument, argument.removesuffix(".builder") + ".ring.gz"
    if argument.endswith(".ring.gz"):
        return argument.removesuffix(".ring.gz") + ".builder", argument
    return argument, argument + ".ring.gz"
