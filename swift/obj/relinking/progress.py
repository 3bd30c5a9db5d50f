"""What a run of the relinker tells of itself in relinker.recon (object-disk 24)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swift.core import clock
from swift.obj.files.relink import Counts
from swift.telemetry import recon_cache

_SUMMED = ("parts_done", "total_parts")


class Progress:
    """The devices of one process: {device: {policy index: figures}}."""

    def __init__(self, recon_cache_path: str, stats_interval: float, logger: Any) -> None:
        self._path = f"{recon_cache_path}/{recon_cache.RELINKER}"
        self._interval = stats_interval
        self._logger = logger
        self._devices: dict[str, dict[str, dict[str, Any]]] = {}
        self._write_at = 0.0

    def begin(
        self, device: str, policy_index: int, step: str, part_power: int, next_part_power: int, total: int
    ) -> dict[str, Any]:
        """The figures of one policy on one device, to be kept up to date by `update`."""
        now = clock.time()
        figures = self._devices.setdefault(device, {})[str(policy_index)] = {
            "step": step,
            "part_power": part_power,
            "next_part_power": next_part_power,
            "parts_done": 0,
            "total_parts": total,
            "start_time": now,
            "timestamp": now,
            "total_time": 0.0,
            "stats": Counts().as_dict(),
        }
        return figures

    def is_due(self) -> bool:
        """True once in an interval."""
        return clock.monotonic() >= self._write_at

    def update(self, device: str, figures: dict[str, Any], parts_done: int, counts: Counts) -> None:
        """Write how far one policy on one device is."""
        now = clock.time()
        self._write_at = clock.monotonic() + self._interval
        figures["timestamp"] = now
        figures["total_time"] = now - figures["start_time"]
        figures["parts_done"] = parts_done
        figures["stats"] = counts.as_dict()
        recon_cache.dump({"devices": {device: _summed(self._devices[device])}}, self._path, self._logger)

    def reset(self) -> None:
        """Forget what an earlier run left."""
        recon_cache.dump({"devices": {}, "workers": {}}, self._path, self._logger)

    def tell_worker(self, pid: int, devices: Sequence[str], return_code: int | None) -> None:
        """`return_code`: None while it runs."""
        figures = {"devices": sorted(devices), "return_code": return_code, "timestamp": clock.time()}
        recon_cache.dump({"workers": {str(pid): figures}}, self._path, self._logger)


def _summed(of_policies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A device as the sum of its policies."""
    each = list(of_policies.values())
    whole: dict[str, Any] = {key: sum(figures[key] for figures in each) for key in _SUMMED}
    whole["start_time"] = min(figures["start_time"] for figures in each)
    whole["timestamp"] = max(figures["timestamp"] for figures in each)
    whole["total_time"] = max(figures["total_time"] for figures in each)
    whole["stats"] = {
        name: sum(figures["stats"][name] for figures in each) for name in Counts.__dataclass_fields__
    }
    whole["policies"] = of_policies
    return whole
