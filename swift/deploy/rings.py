"""What a description changes in a ring's builder: devices that come, change and go, settings, and what then moves.

What lives here: the comparison, the refusals that protect data, a rebalance on a copy. What never does: files.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from swift.deploy.described import Description, DescriptionError, Disk, Node
from swift.deploy.state import State
from swift.ring.builder import RingBuilder
from swift.ring.devices import Device, address_text
from swift.ring.errors import EmptyRingError, RingBuilderError

SETTLED = 5.0  # percent: what is less unbalanced than this is not spoken of


@dataclass
class RingChange:
    """What is to become of one ring. `builder`: as it will be; `lines`: what happens, `hints`: what is to be done later, for people."""

    ring: str
    builder: RingBuilder
    lines: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    write_builder: bool = False


def changes(description: Description, state: State, remove: Collection[str], again: bool) -> list[RingChange]:
    """For each ring. `remove`: disks, as NODE/DISK or IP/DISK, that may go; `again`: rebalance where nothing else changes.

    Raises DescriptionError.
    """
    wrong: list[str] = []
    found = []
    _check_policies(description, state, wrong)
    used: set[str] = set()
    for ring, role, content, replicas, spare in description.rings():
        try:
            found.append(
                _Change(description, ring, role, content, replicas, spare, remove, used).of(
                    state.builder(ring), again
                )
            )
        except DescriptionError as err:
            wrong += err.lines
    wrong += [
        f"--remove {name}: no ring has a disk of that name that the description lacks"
        for name in sorted(set(remove) - used)
    ]
    if wrong:
        raise DescriptionError(wrong)
    return found


def _check_policies(description: Description, state: State, wrong: list[str]) -> None:
    """What is decided once: which policies there are, and how their fragments are made."""
    wanted = {policy.ring: policy for policy in description.policies}
    for ring in state.ring_names():
        if ring.startswith("object") and ring not in wanted:
            index = ring.removeprefix("object").removeprefix("-") or "0"
            wrong.append(
                f"policy {index} is missing, but there is {ring}.builder: a policy is never removed; deprecated = true keeps new containers out"
            )
    for policy in description.policies:
        before = state.policies.get(f"storage-policy:{policy.index}")
        if before is None or state.builder(policy.ring) is None:
            continue
        for option in (
            "policy_type", "ec_type", "ec_num_data_fragments", "ec_num_parity_fragments", "ec_duplication_factor",
            "ec_object_segment_size",
        ):  # fmt: skip
            default = {
                "policy_type": "replication",
                "ec_duplication_factor": "1",
                "ec_object_segment_size": "1048576",
            }.get(option, "")
            was, is_now = before.get(option, default), policy.options.get(option, default)
            if was != is_now:
                wrong.append(
                    f"policy {policy.name}: {option} was {was} and can't become {is_now or 'nothing'}: what is stored could not be read"
                )


class _Change:
    """One ring's builder brought to what the description says."""

    def __init__(
        self, description: Description, ring: str, role: str, content: str, replicas: float, spare: int,
        remove: Collection[str], used: set[str],
    ) -> None:  # fmt: skip
        self.ring, self.replicas, self.spare = ring, replicas, spare
        self.settings = description.settings[ring]
        self.role = role
        self.disks = description.disks_of(role, content)
        self.remove, self.used = remove, used
        self.names = {node.address: node.name for node in description.nodes}
        self.lines: list[str] = []
        self.wrong: list[str] = []

    def of(self, builder: RingBuilder | None, again: bool) -> RingChange:
        settings = self.settings
        is_new = builder is None
        if builder is None:
            builder = RingBuilder(settings.part_power, self.replicas, settings.min_part_hours)
            self.lines.append(f"is made: 2^{settings.part_power} partitions, {self.replicas:g} replicas")
        else:
            builder = builder.copy()
        try:
            self._set(builder)
            self._match(builder)
            self._check_removed(builder)
        except (RingBuilderError, ValueError) as err:
            self.wrong.append(str(err))
        if self.wrong:
            raise DescriptionError(f"ring {self.ring}: {line}" for line in self.wrong)
        changed = bool(self.lines)
        change = RingChange(self.ring, builder, self.lines, write_builder=changed)
        if is_new or builder.devs_changed or builder.rows is None or again:
            if builder.next_part_power is not None:
                raise DescriptionError(
                    [
                        f"ring {self.ring}: its partition power is being raised: nothing may move until finish_increase_partition_power"
                    ]
                )
            self._rebalance(change)
        self._tell_state(change)
        return change

    def _set(self, builder: RingBuilder) -> None:
        settings = self.settings
        if builder.part_power != settings.part_power:
            self.wrong.append(
                f"its partition power is {builder.part_power}, not {settings.part_power}: it is raised by swift-ring-builder and the relinker, "
                "step by step (doc/operators-guide.md)"
            )
        if builder.replicas != self.replicas:
            self.lines.append(f"{builder.replicas:g} replicas become {self.replicas:g}")
            builder.set_replicas(self.replicas)
        if builder.min_part_hours != settings.min_part_hours:
            self.lines.append(f"min_part_hours {builder.min_part_hours} becomes {settings.min_part_hours}")
            builder.change_min_part_hours(settings.min_part_hours)
        if not math.isclose(builder.overload, settings.overload, abs_tol=1e-9):
            self.lines.append(f"overload {builder.overload:g} becomes {settings.overload:g}")
            builder.set_overload(settings.overload)
            builder.state.devs_changed = True

    # -- devices

    def _match(self, builder: RingBuilder) -> None:
        left = {dev["id"]: dev for dev in builder.iter_devs() if not builder.is_removed(dev)}
        pairs: list[tuple[Node, Disk, Device | None]] = []
        for node, disk in self.disks:
            pairs.append((node, disk, _take(left, node.address, node.ports[self.role], disk.name)))
        for at, (node, disk, dev) in enumerate(pairs):
            if dev is None:  # the same disk at another address: its node was named when it was added
                pairs[at] = node, disk, _take_named(left, node.name, disk.name)
        for node, disk, dev in pairs:
            if dev is None:
                self._add(builder, node, disk)
            else:
                self._change(builder, node, disk, dev)
        for dev in left.values():
            self._remove(builder, dev)

    def _wanted(self, node: Node) -> dict[str, Any]:
        port = node.ports[self.role]
        return {
            "ip": node.address,
            "port": port,
            "replication_ip": node.replication_address,
            "replication_port": port,
        }

    def _add(self, builder: RingBuilder, node: Node, disk: Disk) -> None:
        builder.add_dev(
            {
                **self._wanted(node),
                "region": node.region,
                "zone": node.zone,
                "device": disk.name,
                "weight": disk.weight,
                "meta": node.name,
            }
        )
        self.lines.append(
            f"+ {node.name}/{disk.name} (region {node.region}, zone {node.zone}), weight {disk.weight:g}"
        )

    def _change(self, builder: RingBuilder, node: Node, disk: Disk, dev: Device) -> None:
        dev_id, name = dev["id"], f"{node.name}/{disk.name}"
        wanted = self._wanted(node)
        moved = {key: value for key, value in wanted.items() if dev[key] != value}
        if moved:
            builder.set_dev_info(dev_id, moved)
            self.lines.append(f"~ {name}: " + ", ".join(f"{key} {value}" for key, value in moved.items()))
        if not dev["meta"]:
            builder.set_dev_info(dev_id, {"meta": node.name})
            self.lines.append(f"~ {name}: is noted as a disk of {node.name}")
        if dev["weight"] != disk.weight:
            self.lines.append(f"~ {name}: weight {dev['weight']:g} becomes {disk.weight:g}")
            builder.set_dev_weight(dev_id, disk.weight)
        if dev["region"] != node.region:
            self.lines.append(f"~ {name}: region {dev['region']} becomes {node.region}")
            builder.set_dev_region(dev_id, node.region)
        if dev["zone"] != node.zone:
            self.lines.append(f"~ {name}: zone {dev['zone']} becomes {node.zone}")
            builder.set_dev_zone(dev_id, node.zone)

    def _remove(self, builder: RingBuilder, dev: Device) -> None:
        node = self.names.get(dev["ip"], dev["meta"] or dev["ip"])
        names = {
            f"{node}/{dev['device']}",
            f"{dev['meta']}/{dev['device']}",
            f"{address_text(dev['ip'])}/{dev['device']}",
        }
        said = names & set(self.remove)
        if not said:
            held = f"and holds {dev['parts']} replicas of partitions" if dev["parts"] else "and is empty"
            self.wrong.append(
                f"{node}/{dev['device']} is in it {held}, but not in the description: "
                f"--remove {node}/{dev['device']} takes it out (weight 0 drains it before)"
            )
            return
        self.used.update(said)
        self.lines.append(f"- {node}/{dev['device']}, which holds {dev['parts']} replicas of partitions")
        builder.remove_dev(dev["id"])

    def _check_removed(self, builder: RingBuilder) -> None:
        """No partition may lose more copies at once than can be spared: the others are what it is filled from."""
        held = builder.list_parts(builder.removed_devs)
        spare = max(self.spare, 1 if self.replicas > 1 else 0)
        if held and held[0][1] > spare:
            self.wrong.append(
                f"the disks to be removed hold {held[0][1]} of {self.replicas:g} copies of partition {held[0][0]}: "
                "remove fewer at once, or drain them first (weight 0)"
            )
            return
        builder.update_ages()
        ages, hours = builder.state.ages, builder.min_part_hours
        moving = [part for part, count in held if ages[part] < hours and count + 1 > spare]
        if moving:
            left = timedelta(seconds=builder.min_part_seconds_left)
            self.wrong.append(
                f"a copy of partition {moving[0]} has moved within min_part_hours and may not be where it belongs yet, and the disks to be removed "
                f"hold another one: remove them in {left}, or drain them first (weight 0); for a disk that is lost anyway, lower min_part_hours before"
            )

    # -- what moves

    def _rebalance(self, change: RingChange) -> None:
        draft = change.builder.copy()
        try:
            result = draft.rebalance()
            draft.validate()
        except RingBuilderError as err:
            raise DescriptionError([f"ring {self.ring}: {err}"]) from None
        moved, total = result.moved, draft.parts * draft.replicas
        change.figures["moved"] = moved
        if not moved and not result.removed and change.builder.rows is not None:
            return
        change.builder = draft
        change.write_builder = True
        change.lines.append(
            f"{moved} of {total:.0f} replicas of partitions are assigned anew ({100 * moved / total:.1f} %)"
        )

    def _tell_state(self, change: RingChange) -> None:
        builder = change.builder
        try:
            balance = builder.get_balance()
        except EmptyRingError:
            balance = 0.0
        dispersion = builder.dispersion or 0.0
        left = builder.min_part_seconds_left
        change.figures |= {"balance": balance, "dispersion": dispersion, "min_part_seconds_left": left}
        if change.lines:
            change.lines.append(f"balance {balance:.2f}, dispersion {dispersion:.2f}")
        draining = sum(dev["parts"] for dev in builder.iter_devs() if not dev["weight"])
        if draining:
            change.hints.append(f"{draining} replicas of partitions are still on disks with weight 0")
        if balance > SETTLED or builder.devs_changed or draining:
            self._look_ahead(change, left)

    def _look_ahead(self, change: RingChange, left: int) -> None:
        later = change.builder.copy()
        later.pretend_min_part_hours_passed()
        try:
            moved = later.rebalance().moved
        except RingBuilderError:
            return
        if moved:
            when = f"in {timedelta(seconds=left)} (min_part_hours)" if left else "now"
            change.hints.append(
                f"{moved} replicas more are to move: apply --rebalance, {when}, when replication has brought what moves before"
            )


def _take(left: dict[int, Device], ip: str, port: int, name: str) -> Device | None:
    """The device at an address; one with another port if it is the only one of that name there."""
    there = [dev for dev in left.values() if dev["ip"] == ip and dev["device"] == name]
    exact = [dev for dev in there if dev["port"] == port]
    found = exact[0] if exact else there[0] if len(there) == 1 else None
    return left.pop(found["id"]) if found else None


def _take_named(left: dict[int, Device], node: str, name: str) -> Device | None:
    there = [dev for dev in left.values() if dev["meta"] == node and dev["device"] == name]
    return left.pop(there[0]["id"]) if len(there) == 1 else None
