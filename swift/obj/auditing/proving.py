"""Reading large objects to their end, a step at a time, and quarantining those that are not what was stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swift.coding.fragments import Codec
from swift.engine.threads import run_in_thread
from swift.obj.checks import PIECE
from swift.obj.device import Device
from swift.obj.proof import Proof
from swift.obj.store import Examined, ObjectStore


def prove(
    store: ObjectStore,
    examined: Examined,
    codec: Codec | None,
    by_checksums: bool,
    chunk: int,
    pace: Callable[[int], None],
) -> bool:
    """True if all bytes of what `examine` left open are good; else it is quarantined by now, unless it was replaced meanwhile.

    `chunk`: bytes of one read. `pace`: called with the bytes of each step, to slow it down. Raises DeviceUnavailable, DeviceOverloaded, OSError.
    """
    found = examined.found
    assert found is not None
    proof = Proof(found, by_checksums, codec, examined.fragment, chunk)
    buffer = memoryview(bytearray(min(PIECE, found.size)))
    try:
        while count := _run(store.device, found, proof.step, buffer):
            pace(count)
        if proof.damage is not None:
            store.quarantine(examined.place, proof.damage, found)
            return False
        if proof.once is not None:
            examined.place.note(proof.doubt(examined.path))
        return True
    finally:
        store.device.leave(found.close)


def _run(device: Device, owner: Any, function: Callable[..., Any], *args: Any) -> Any:
    if device.inline:
        return run_in_thread(function, *args)  # nothing blocks there, but hashing takes time
    return device.run_on(owner, function, *args)
