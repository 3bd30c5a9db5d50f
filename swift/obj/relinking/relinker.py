"""The relinker at work: the devices of one process, policy by policy, partition by partition (object-disk 22.4).

It blocks; a device that hangs holds up its own process only. What is done with one partition is in `swift.obj.files.relink`, how processes share the
devices in `processes`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from typing import Any

from swift.core import clock
from swift.core.policy import ErasurePolicy, StoragePolicy
from swift.engine.fault_points import fault_point
from swift.engine.mounts import is_mount
from swift.obj.directories import DATADIR, policy_dir
from swift.obj.files import walker
from swift.obj.files.relink import Counts, PartitionRelink, Step
from swift.obj.files.relink_state import RelinkState, lock_path
from swift.obj.relinking.options import CLEANUP, RelinkerOptions
from swift.obj.relinking.progress import Progress
from swift.run.rate import RateLimiter

STATE_SECONDS = 1.0  # between two writes of the state: what was done since is gone over once more after a crash, which does no harm
LATE = 1.0  # seconds by which times of files and of rings may be off


class Growing:
    """A policy whose ring is in the state that the step is for. `written`: when its ring was, seconds."""

    def __init__(self, policy: StoragePolicy, part_power: int, next_part_power: int, written: float) -> None:
        self.policy = policy
        self.part_power = part_power
        self.next_part_power = next_part_power
        self.written = written


class Relinker:
    """`step`: RELINK or CLEANUP. `run` may be called in a process of its own."""

    def __init__(
        self, step: str, options: RelinkerOptions, growing: Sequence[Growing], logger: Any, progress: Progress
    ) -> None:
        self.step = step
        self._options = options
        self._growing = growing
        self._logger = logger
        self._progress = progress
        self._counts = Counts()
        self._pace = RateLimiter(options.files_per_second, pause=clock.sleep)

    def run(self, devices: Sequence[str]) -> int:
        """Go over these devices; returns the exit status, 0 or 1."""
        is_whole = True
        away = 0
        for device in devices:
            path = f"{self._options.devices_dir}/{device}"
            if self._options.mount_check and not is_mount(path):
                self._logger.warning("Skipping %s as it is not mounted", device)
                away += 1
                continue
            for growing in self._growing:
                self._logger.info("Processing files for policy %s under %s", growing.policy.name, path)
                is_whole = self._go_over(device, path, growing) and is_whole
        if away:
            self._logger.warning("%d disks were unmounted", away)
        self._tell_counts()
        return 0 if is_whole and not away else 1

    def _tell_counts(self) -> None:
        counts = self._counts
        self._logger.info(
            "%d hash dirs processed (%d files, %d linked, %d removed, %d errors)",
            counts.hash_dirs,
            counts.files,
            counts.linked,
            counts.removed,
            counts.errors,
        )

    # ------------------------------------------------------------ one policy on one device

    def _go_over(self, device: str, path: str, growing: Growing) -> bool:
        """True if all of it is done."""
        datadir = policy_dir(DATADIR, growing.policy.idx)
        try:
            lock = os.open(lock_path(path, datadir), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as err:
            self._logger.error("Error locking %s: %s", path, err)
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of whoever is at work here, we go on where that one ends
            return self._go_over_locked(device, path, growing)
        except OSError as err:
            self._logger.error("Error going over %s/%s: %s", path, datadir, err)
            return False
        finally:
            os.close(lock)

    def _go_over_locked(self, device: str, path: str, growing: Growing) -> bool:
        policy = growing.policy
        datadir = policy_dir(DATADIR, policy.idx)
        state = RelinkState(
            path, datadir, growing.part_power, growing.next_part_power, growing.written - LATE
        )
        todo = self._todo(state, walker.list_partitions(f"{path}/{datadir}"), growing)
        # before anything is looked at: who writes from now on knows
        state.write()
        fault_point("relink:begun")
        counts = Counts()
        figures = self._progress.begin(
            device, policy.idx, self.step, growing.part_power, growing.next_part_power, len(state.done)
        )
        step = self._step_for(path, growing)
        written = clock.monotonic()
        for partition in todo:
            if PartitionRelink(step, partition, counts).run():
                state.done[partition] = True
                if clock.monotonic() - written >= STATE_SECONDS:
                    state.write()
                    written = clock.monotonic()
                    fault_point("relink:state kept")
            if self._progress.is_due():
                self._tell_progress(device, growing, figures, state, counts)
        state.write()
        self._tell_progress(device, growing, figures, state, counts)
        self._add(counts)
        return counts.errors == 0

    def _tell_progress(
        self, device: str, growing: Growing, figures: dict[str, Any], state: RelinkState, counts: Counts
    ) -> None:
        done = sum(state.done.values())
        self._progress.update(device, figures, done, counts)
        self._logger.info(
            "Device: %s Policy: %s Partitions: %d/%d", device, growing.policy.name, done, len(state.done)
        )

    def _todo(self, state: RelinkState, there: list[str], growing: Growing) -> list[str]:
        """Descending, so that what is linked into a partition is linked after it was gone over."""
        if self.step == CLEANUP:
            # what lies beyond the ring's partitions can only be of another power
            bound = None if state.prev_part_power is None else 1 << state.prev_part_power
            beyond = 1 << growing.part_power
            there = [name for name in there if bound is None or int(name) < bound or int(name) >= beyond]
        else:
            there = [name for name in there if int(name) < 1 << growing.part_power]
        there.reverse()
        for name in there:
            state.done.setdefault(name, False)
        only = self._options.partitions
        return [name for name in there if not state.done[name] and (not only or int(name) in only)]

    def _step_for(self, path: str, growing: Growing) -> Step:
        policy = growing.policy
        is_ec = isinstance(policy, ErasurePolicy)
        return Step(
            device_path=path,
            policy_index=policy.idx,
            ec=is_ec,
            fragments=policy.codec.total if isinstance(policy, ErasurePolicy) else None,
            to_power=growing.next_part_power,
            is_cleanup=self.step == CLEANUP,
            clobber=self._options.clobber,
            pace=self._pace.wait,
            warn=self._logger.warning,
            error=self._logger.error,
        )

    def _add(self, counts: Counts) -> None:
        for name, value in counts.as_dict().items():
            setattr(self._counts, name, getattr(self._counts, name) + value)
