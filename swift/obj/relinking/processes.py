"""One run of the relinker: which rings are in the state for it, and the devices dealt out to processes (operations 17)."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from swift.core import clock
from swift.core.policy import StoragePolicy
from swift.obj.relinking.options import RELINK, RelinkerOptions
from swift.obj.relinking.progress import Progress
from swift.obj.relinking.relinker import Growing, Relinker
from swift.ring.errors import RingError
from swift.ring.format import RingData
from swift.run.daemon import distribute
from swift.run.privileges import end_with_parent

DONE, FAILED, NOTHING_TO_DO = 0, 1, 2


class Prefixed:
    """A logger whose lines say which process of which step they are of."""

    def __init__(self, logger: Any, prefix: str) -> None:
        self._logger = logger
        self._prefix = prefix

    def info(self, message: str, *args: Any) -> None:
        self._logger.info(self._prefix + message, *args)

    def warning(self, message: str, *args: Any) -> None:
        self._logger.warning(self._prefix + message, *args)

    def error(self, message: str, *args: Any) -> None:
        self._logger.error(self._prefix + message, *args)

    def exception(self, message: str, *args: Any) -> None:
        self._logger.exception(self._prefix + message, *args)


def growing_policies(
    step: str, swift_dir: str, policies: Sequence[StoragePolicy], logger: Any
) -> list[Growing]:
    """Those whose rings are in the state for the step. A ring that can't be read is told of and left out."""
    found = []
    for policy in policies:
        path = os.path.join(swift_dir, f"{policy.ring_name}.ring.gz")
        try:
            ring = RingData.load_metadata(path, with_devices=False)
            written = os.stat(path).st_mtime
        except (OSError, RingError) as err:
            logger.warning("Error opening the ring of policy %s: %s", policy.name, err)
            continue
        power, following = 32 - ring.part_shift, ring.next_part_power
        if following == (power + 1 if step == RELINK else power):
            found.append(Growing(policy, power, following, written))
    return found


def run(step: str, options: RelinkerOptions, logger: Any) -> int:
    """All of it; returns the exit status."""
    plain = Prefixed(logger, f"[step={step}] ")
    growing = growing_policies(step, options.swift_dir, options.policies, plain)
    if not growing:
        plain.warning("No policy found to increase the partition power.")
        return NOTHING_TO_DO
    progress = Progress(options.recon_cache_path, options.stats_interval, plain)
    progress.reset()
    devices = _devices(options, plain)
    if devices is None:
        return FAILED
    count = len(devices) if options.workers is None else options.workers
    started = clock.time()
    hands = distribute(devices, count) if count else []
    plain.info("Starting relinker using %d workers: %s", len(hands), _told_time(started))
    if len(hands) > 1:
        status = _run_workers(step, options, growing, logger, progress, hands)
    else:
        progress.tell_worker(os.getpid(), devices, None)
        status = Relinker(step, options, growing, plain, progress).run(devices)
        progress.tell_worker(os.getpid(), devices, status)
    ended = clock.time()
    plain.info(
        "Finished relinker: %s (%s elapsed)",
        _told_time(ended),
        timedelta(seconds=max(ended - started, 0)),
    )
    return status


def _told_time(seconds: float) -> str:
    return clock.strftime("%X %x GMT", clock.gmtime(seconds))


def _devices(options: RelinkerOptions, logger: Any) -> list[str] | None:
    """Whatever has a directory; None if that can't be told."""
    try:
        with os.scandir(options.devices_dir) as entries:
            there = sorted(entry.name for entry in entries if entry.is_symlink() or entry.is_dir())
    except OSError as err:
        logger.error("Error listing %s: %s", options.devices_dir, err)
        return None
    missing = [name for name in options.devices if name not in there]
    if missing:
        logger.error("There is no device %s in %s", ", ".join(missing), options.devices_dir)
        return None
    return [name for name in there if not options.devices or name in options.devices]


# ---------------------------------------------------------------- workers


def _run_workers(
    step: str,
    options: RelinkerOptions,
    growing: Sequence[Growing],
    logger: Any,
    progress: Progress,
    hands: Sequence[Sequence[str]],
) -> int:
    plain = Prefixed(logger, f"[step={step}] ")
    workers: dict[int, Sequence[str]] = {}
    started = clock.monotonic()
    status = DONE
    try:
        for devices in hands:
            pid = _start(step, options, growing, logger, devices)
            workers[pid] = devices
            progress.tell_worker(pid, devices, None)
        while workers:
            pid, ended = os.wait()
            done = workers.pop(pid, None)
            if done is None:
                continue
            code = os.waitstatus_to_exitcode(ended)
            progress.tell_worker(pid, done, code)
            status = status or (DONE if code == DONE else FAILED)
            _tell_end(plain, pid, done, clock.monotonic() - started, code)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
    return status


def _start(
    step: str,
    options: RelinkerOptions,
    growing: Sequence[Growing],
    logger: Any,
    devices: Sequence[str],
) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    try:
        end_with_parent(signal.SIGTERM, parent)
        own = Prefixed(logger, f"[step={step}, pid={os.getpid()}, devs={','.join(devices)}] ")
        progress = Progress(options.recon_cache_path, options.stats_interval, own)
        try:
            code = Relinker(step, options, growing, own, progress).run(devices)
        except Exception:
            own.exception("Unhandled error")
    finally:
        os._exit(code)


def _tell_end(logger: Any, pid: int, devices: Sequence[str], seconds: float, code: int) -> None:
    who = f"Worker (pid={pid}, devs={','.join(devices)})"
    if code < 0:
        logger.error("%s exited in %.1fs after receiving signal: %d", who, seconds, -code)
    elif code:
        logger.warning("%s completed in %.1fs with errors", who, seconds)
    else:
        logger.info("%s completed in %.1fs successfully", who, seconds)
