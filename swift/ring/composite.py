"""Composite rings: the rows of several builders, one after the other, so that each keeps its own replicas (spec ring 11).

Composing never rebalances; the result is an ordinary ring. The metadata file remembers what it was made of.
"""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Sequence
from typing import Any

from swift.engine.durable import write_durable
from swift.ring.builder import RingBuilder
from swift.ring.errors import RingBuilderError
from swift.ring.format import TYPECODE, RingData, id_width

_MAX_METADATA = 1 << 24
_NOT_VALID = "File does not contain valid composite ring data"


def compose_rings(builders: Sequence[RingBuilder]) -> RingData:
    """Check the rules of 11.1 and compose. RingBuilderError with their texts."""
    check_ids(builders)
    _check_compatible(builders)
    width = id_width(max(0, sum(len(builder.devs) for builder in builders) - 1))
    devs: list[dict[str, Any] | None] = []
    rows: list[array] = []
    for builder in builders:
        offset = len(devs)
        for row in builder.rows or ():
            rows.append(array(TYPECODE[width], [dev_id + offset for dev_id in row]))
        devs.extend(dev and {**dev, "id": dev["id"] + offset} for dev in builder.devs)
    return RingData(devs, rows, 32 - builders[0].part_power, dev_id_bytes=width)


def check_ids(builders: Sequence[RingBuilder]) -> None:
    """At least two builders, each saved once and given once."""
    if len(builders) < 2:
        raise RingBuilderError("Two or more component builders are required.")
    problems = [
        f"Problem with builder at index {index}: id attribute has not been initialised by calling save()"
        for index, builder in enumerate(builders)
        if builder.id is None
    ]
    used: dict[str, list[int]] = {}
    for index, builder in enumerate(builders):
        if builder.id is not None:
            used.setdefault(builder.id, []).append(index)
    problems += [
        f"Builder id {builder_id!r} used at indexes {', '.join(map(str, indexes))}"
        for builder_id, indexes in used.items()
        if len(indexes) > 1
    ]
    if problems:
        raise RingBuilderError("\n".join(problems))


def _check_compatible(builders: Sequence[RingBuilder]) -> None:
    powers: dict[int, list[int]] = {}
    for index, builder in enumerate(builders):
        powers.setdefault(builder.part_power, []).append(index)
    if len(powers) > 1:
        lines = [f"part_power={power} found at indexes {indexes}" for power, indexes in powers.items()]
        raise RingBuilderError("All builders must have same value for 'part_power'.\n" + "\n  ".join(lines))
    problems = []
    for index, builder in enumerate(builders):
        if builder.replicas != int(builder.replicas):
            problems.append(f"Non integer replica count {builder.replicas} found at index {index}")
        elif builder.devs_changed or not builder.rows or len(builder.rows) != math.ceil(builder.replicas):
            problems.append(f"Builder needs rebalance to apply changes at index {index}")
    if problems:
        raise RingBuilderError("\n".join(["Problem with builders.", *problems]))
    _check_devices_apart(builders)


def _check_devices_apart(builders: Sequence[RingBuilder]) -> None:
    regions: dict[int, int] = {}
    for index, builder in enumerate(builders):
        for dev in builder.iter_devs():
            if regions.setdefault(dev["region"], index) != index:
                raise RingBuilderError("Same region found in different rings")
    places: dict[tuple, int] = {}
    for index, builder in enumerate(builders):
        for dev in builder.iter_devs():
            place = dev["ip"], dev["port"], dev["device"]
            other = places.setdefault(place, index)
            if other != index:
                raise RingBuilderError(
                    f"Duplicate ip/port/device combination {place[0]}/{place[1]}/{place[2]} "
                    f"found in builders at indexes {other} and {index}"
                )


class CompositeRingBuilder:
    """The metadata file of a composite ring (11.3).

    version: number of compositions; components: in order, ``version``, ``replicas`` and ``id`` of each builder;
    builder_files: builder id → absolute path.
    """

    def __init__(self, builder_files: Sequence[str] = ()) -> None:
        self.version = 0
        self.components: list[dict[str, Any]] = []
        self.builder_files: dict[str, str] = {}
        self._given = list(builder_files)

    @classmethod
    def load(cls, path: str) -> CompositeRingBuilder:
        """OSError, or RingBuilderError ``File does not contain valid composite ring data``."""
        with open(path, "rb") as f:
            data = f.read(_MAX_METADATA + 1)
        try:
            if len(data) > _MAX_METADATA:
                raise ValueError
            content = json.loads(data)
            composite = cls()
            composite.version = int(content["version"])
            composite.components = [
                {"version": entry["version"], "replicas": entry["replicas"], "id": entry["id"]}
                for entry in content["components"]
            ]
            composite.builder_files = {
                str(key): str(name) for key, name in content["component_builder_files"].items()
            }
            composite._given = [composite.builder_files[entry["id"]] for entry in composite.components]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise RingBuilderError(_NOT_VALID) from None
        return composite

    def save(self, path: str) -> None:
        """Atomic and durable. ValueError when nothing was composed yet."""
        if not self.components:
            raise ValueError("No composed ring to save.")
        path = os.path.abspath(path)
        content = {**self.to_dict(), "serialization_version": 1, "saved_path": path}
        write_durable(path, json.dumps(content).encode(), mode=0o644)

    def to_dict(self) -> dict[str, Any]:
        """version, components, component_builder_files: what ``show`` prints."""
        return {
            "version": self.version,
            "components": self.components,
            "component_builder_files": self.builder_files,
        }

    def compose(self, builder_files: Sequence[str] | None = None, force: bool = False) -> RingData:
        """Load the builders (default: those of the last time), check them against the existing composite unless
        ``force``, and compose. RingBuilderError, OSError; then nothing changed."""
        files = list(builder_files or self._given)
        builders = []
        for name in files:
            try:
                builders.append(RingBuilder.load(name))
            except FileNotFoundError:
                raise RingBuilderError(f"Ring Builder file does not exist: {name}") from None
        check_ids(builders)
        components = [
            {"version": builder.version, "replicas": builder.replicas, "id": builder.id}
            for builder in builders
        ]
        if self.components and not force:
            _check_successors(self.components, components)
        ring = compose_rings(builders)
        self.version += 1
        self.components = components
        self.builder_files = {
            str(builder.id): os.path.abspath(name) for builder, name in zip(builders, files, strict=True)
        }
        self._given = list(self.builder_files.values())
        return ring


def _check_successors(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> None:
    """The new components continue the old ones, and at least one of them changed (11.3)."""
    problems = []
    modified = False
    for index in range(max(len(old), len(new))):
        if index >= len(new):
            problems.append(f"Missing builder at index {index}")
        elif index >= len(old):
            problems.append(f"Unexpected extra builder at index {index}: {new[index]!r}")
        else:
            problem = _succession_problem(old[index], new[index])
            if problem:
                problems.append(f"Invalid builder change at index {index}: {problem}")
            modified |= new[index]["version"] != old[index]["version"]
    if not problems and not modified:
        problems.append(
            "None of the component builders has been modified since the existing composite ring was built."
        )
    if problems:
        raise RingBuilderError("\n".join(problems))


def _succession_problem(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    for key in ("replicas", "id"):
        if old[key] != new[key]:
            return f"Attribute mismatch for {key}: {old[key]} != {new[key]}"
    if new["version"] < old["version"]:
        return f"Older builder version: {new['version']} < {old['version']}"
    return None
