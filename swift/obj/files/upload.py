"""A body on its way into a file without a name: each step is a trip to the device's pool, the last gives it its name.

Never here: what is decided before it begins (`store`), and the file itself (`writer`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from swift.obj.device import Device
from swift.obj.errors import DeviceOverloaded, DeviceUnavailable, Overtaken, StateChanged
from swift.obj.files.commit import commit
from swift.obj.files.state import FileState, read_state
from swift.obj.files.writer import NewObjectFile
from swift.obj.store import NewObject, Place, State, StoreOptions, Write

TRIES = 8  # of a write that must see all that is there, and of one whose object goes


class _Store(Protocol):
    device: Device
    options: StoreOptions

    def index_of(self, metadata: Mapping[str, str], write: Write) -> int | None: ...

    def commit(
        self, place: Place, timestamp: str, fragment: int, next_part_power: int | None = None
    ) -> None: ...


class FileUpload(NewObject):
    """A body that is written to a file without a name; each method is one trip."""

    __slots__ = ("_check", "_finished", "_index", "_new", "_store", "_taking", "_write")

    def __init__(
        self,
        store: _Store,
        new: NewObjectFile,
        write: Write,
        taking: Callable[[memoryview], None],
        check: Callable[[State], None],
    ) -> None:
        self._store = store
        self._new = new
        self._write = write
        self._taking = taking
        self._check = check
        self._finished = ""
        self._index: int | None = None

    def write(self, data: bytes | memoryview) -> None:
        self._store.device.run_on(self._new, self._take, data)

    def _take(self, data: bytes | memoryview) -> None:
        self._taking(memoryview(data))
        self._new.write(data)

    def look(self, check: Callable[[State], None]) -> State:
        return self._store.device.run_on(self._new, self._look_trip, check)

    def _look_trip(self, check: Callable[[State], None]) -> FileState:
        state = read_state(self._new.where, self._write.now, self._write.fragment)
        check(state)
        self._new.seen = state.names
        return state

    def finish(self, metadata: dict[str, str]) -> None:
        store, write = self._store, self._write
        self._index = store.index_of(metadata, write)
        store.device.run_on(self._new, self._finish_trip, metadata, self._index, write.next_part_power)
        self._finished = metadata["X-Timestamp"]

    def _finish_trip(self, metadata: dict[str, str], fragment: int | None, power: int | None) -> None:
        for _ in range(TRIES):
            try:
                self._new.finish(metadata, ".data", fragment, power, not self._store.device.inline)
            except Overtaken:
                self._new.only_with = self._decide_again().names
            else:
                self._new.close()
                return
        raise StateChanged(self._new.where.hash_dir)

    def _decide_again(self) -> FileState:
        state = read_state(self._new.where, self._write.now, self._write.fragment)
        self._check(state)
        return state

    def commit(self) -> None:
        if self._index is not None:
            if self._write.is_exact:
                self._store.device.run_on(self._new, self._decide_again)
            where, seen, power = self._new.where, self._new.seen, self._write.next_part_power
            if seen is None:
                self._store.commit(where, self._finished, self._index, power)
            else:
                run, fields = self._store.device.run_mounted, (self._finished, self._index, power, seen)
                run(True, commit, where, self._store.options, *fields)

    def close(self) -> None:
        if self._finished or self._new.lent:
            return
        try:
            self._store.device.run(self._new.close)
        except (DeviceUnavailable, DeviceOverloaded):
            self._store.device.leave(self._new.close)
