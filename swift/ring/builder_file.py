"""Builder files: a pickle of plain data on one side, a checked state on the other (spec ring 6.1, 6.2), and the lock.

What an operation does to the state is not known here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from swift.core.errors import LockTimeout
from swift.core.unpickle import UnpickleError, loads
from swift.engine.durable import write_durable
from swift.engine.locks import acquire_lock
from swift.ring.devices import Device, fill_defaults
from swift.ring.errors import BuilderFileError, BuilderLockedError, BuilderStateError
from swift.ring.format import TYPECODE
from swift.ring.integer_arrays import IntegerArrays

LOCK_TIMEOUT = 15
_REQUIRED = (
    "part_power", "parts", "replicas", "min_part_hours", "devs", "devs_changed", "version", "_replica2part2dev",
    "_last_part_moves", "_last_part_moves_epoch", "_last_part_gather_start", "_remove_devs",
)  # fmt: skip


@dataclass
class BuilderState:
    """The content of a builder file. ``ages``: hours since a part moved, at most 255, as of ``ages_epoch`` (Unix time);
    ``removed``: the dicts in ``devs`` that are marked for removal; ``rows`` is None before the first rebalance."""

    part_power: int
    replicas: float
    min_part_hours: int
    devs: list[Device | None] = field(default_factory=list)
    devs_changed: bool = False
    version: int = 0
    overload: float = 0.0
    next_part_power: int | None = None
    rows: list[array] | None = None
    ages: array = field(default_factory=lambda: array("B"))
    ages_epoch: int = 0
    gather_start: int = 0
    removed: list[Device] = field(default_factory=list)
    dispersion_graph: dict[tuple, list[int]] = field(default_factory=dict)
    dispersion: float | None = None
    id: str | None = None

    @property
    def parts(self) -> int:
        return 1 << self.part_power

    def to_dict(self, dev_id_bytes: int) -> dict[str, Any]:
        """Exactly the keys that the reference writes."""
        return {
            "part_power": self.part_power,
            "next_part_power": self.next_part_power,
            "replicas": self.replicas,
            "min_part_hours": self.min_part_hours,
            "parts": self.parts,
            "devs": self.devs,
            "devs_changed": self.devs_changed,
            "dev_id_bytes": dev_id_bytes,
            "version": self.version,
            "overload": self.overload,
            "_replica2part2dev": self.rows,
            "_last_part_moves_epoch": self.ages_epoch,
            "_last_part_moves": self.ages,
            "_last_part_gather_start": self.gather_start,
            "_dispersion_graph": self.dispersion_graph,
            "dispersion": self.dispersion,
            "_remove_devs": self.removed,
            "id": self.id,
        }


def load_state(path: str) -> BuilderState:
    """Raises OSError, BuilderFileError (no pickle of plain data) or BuilderStateError (keys missing or senseless)."""
    with open(path, "rb") as f:
        data = f.read()
    try:
        content = loads(data, arrays=IntegerArrays())
    except UnpickleError as error:
        raise BuilderFileError(f"Ring Builder file is invalid: {path} ({error})") from None
    if not isinstance(content, dict):
        raise BuilderFileError(f"Ring Builder file is invalid: {path}")
    try:
        return _state_of(content)
    except BuilderStateError:
        raise
    except (LookupError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise BuilderStateError(f"{type(error).__name__}: {error}") from None


def _state_of(content: dict[str, Any]) -> BuilderState:
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise BuilderStateError(f"missing keys: {', '.join(missing)}")
    part_power = _check("part_power", content["part_power"], type(content["part_power"]) is int)
    _check("part_power", part_power, 0 <= part_power <= 32 and content["parts"] == 1 << part_power)
    replicas = float(content["replicas"])
    _check("replicas", replicas, 1 <= replicas < 1 << 16)
    state = BuilderState(
        part_power=part_power,
        replicas=replicas,
        min_part_hours=_check(
            "min_part_hours", content["min_part_hours"], type(content["min_part_hours"]) is int
        ),
        devs=_devices(content["devs"]),
        devs_changed=bool(content["devs_changed"]),
        version=_check("version", content["version"], type(content["version"]) is int),
        overload=float(content.get("overload") or 0.0),
        next_part_power=content.get("next_part_power"),
        rows=_rows(content["_replica2part2dev"], 1 << part_power),
        ages_epoch=int(content["_last_part_moves_epoch"] or 0),
        gather_start=int(content["_last_part_gather_start"] or 0),
        dispersion_graph=content.get("_dispersion_graph") or {},
        dispersion=content.get("dispersion"),
        id=content.get("id"),
    )
    ages = content["_last_part_moves"]
    state.ages = array("B", bytes(state.parts) if ages is None else ages)
    _check("_last_part_moves", len(state.ages), len(state.ages) == state.parts)
    for dev in content["_remove_devs"]:
        own = state.devs[dev["id"]]
        if own is not None and own not in state.removed:
            state.removed.append(own)
    return state


def _check(key: str, value: Any, fine: bool) -> Any:
    if not fine:
        raise BuilderStateError(f"senseless {key}: {value!r}")
    return value


def _devices(devs: Any) -> list[Device | None]:
    _check("devs", type(devs), type(devs) is list)
    for dev_id, dev in enumerate(devs):
        if dev is None:
            continue
        _check(
            "devs", dev, type(dev) is dict and dev["id"] == dev_id and isinstance(dev["weight"], (int, float))
        )
        for key in ("zone", "ip", "port", "device"):
            dev[key]
        fill_defaults(dev)
        dev.setdefault("parts", 0)
    return devs


def _rows(rows: Any, parts: int) -> list[array] | None:
    if not rows:
        return None
    result = []
    for index, row in enumerate(rows):
        if not isinstance(row, array):
            row = array("H", row)
        if row.typecode not in TYPECODE.values():
            row = array("I", row)
        full = index < len(rows) - 1
        _check(f"row {index}", len(row), len(row) == parts if full else len(row) <= parts)
        result.append(row)
    return result


# ---- writing

_held = threading.local()


@contextlib.contextmanager
def builder_lock(builder_file: str, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold ``.lock`` in the builder's directory; BuilderLockedError after ``timeout`` seconds.

    Take it before loading; ``save`` within it does not lock again.
    """
    directory = os.path.dirname(os.path.abspath(builder_file))
    mine: set[str] = _held.__dict__.setdefault("directories", set())
    if directory in mine:
        yield
        return
    try:
        descriptor = acquire_lock(directory, timeout)
    except LockTimeout:
        raise BuilderLockedError("Ring/builder dir currently locked.") from None
    mine.add(directory)
    try:
        yield
    finally:
        mine.discard(directory)
        os.close(descriptor)


def save_state(path: str, state: BuilderState, dev_id_bytes: int) -> None:
    """Replace the file atomically and durably, under the directory's lock. Raises OSError, BuilderLockedError."""
    # the reference writes through a symbolic link, so does this
    path = os.path.realpath(path)
    data = pickle.dumps(state.to_dict(dev_id_bytes), protocol=2)
    try:
        mode = os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        mode = 0o644
    with builder_lock(path):
        write_durable(path, data, mode=mode)
