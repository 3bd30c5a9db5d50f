"""The two ways to push what a peer lacks, with one face: over HTTP (SSYNC), or with rsync (object-disk 17, 18.4).

`push` brings suffixes to a primary; `in_sync` pushes objects and says which of them are surely there, so that one's own may go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from swift.core.concurrency import Semaphore, sleep
from swift.obj.files.store import FileStore
from swift.obj.replication import rsync_sync
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, PeerError, Peers, name_of
from swift.obj.ssync.sender import Busy, Options, Result, Session, SyncError, in_portions
from swift.obj.store import ObjectStore, Times

TRIES = 4
PAUSE = 1.0  # seconds, before a peer that has other sessions is asked again; then twice as long

Offer = tuple[str, Times]


class PushFailed(Exception):
    """A peer did not get what it was to get. The text is for the log."""


class Sessions:
    """SSYNC sessions with other devices: with one device `most` at a time, however many partitions are to go there."""

    def __init__(self, options: Options, most: int = 1) -> None:
        self.options = options
        self._most = most
        self._slots: dict[str, Semaphore] = {}

    def run(
        self,
        store: ObjectStore,
        node: Node,
        partition: str,
        offers: Iterable[Offer],
        check_only: bool = False,
        **more: Any,
    ) -> Result:
        """One session, begun again a few times where the peer is busy. `more`: as `Session` takes it. Raises SyncError, DeviceUnavailable."""
        pause = PAUSE
        slots = self._slots.get(name_of(node))
        if slots is None:
            slots = self._slots[name_of(node)] = Semaphore(self._most)
        for attempt in range(TRIES):
            try:
                with slots:
                    return Session(store, node, partition, self.options, **more).run(offers, check_only)
            except Busy:
                if attempt == TRIES - 1:
                    raise
            sleep(pause)
            pause *= 2
        raise AssertionError("not reached")


class Ssync:
    """Over HTTP."""

    name = "ssync"

    def __init__(self, options: Options) -> None:
        self.options = options
        self._sessions = Sessions(options)

    def push(self, holding: Holding, node: Node, partition: str, suffixes: list[str]) -> None:
        """Bring what is in these suffixes to a device. Raises PushFailed, DeviceUnavailable."""
        for portion in in_portions(holding.store.hashes(partition, suffixes)):
            self._session(holding.store, node, partition, portion, False)

    def in_sync(
        self, holding: Holding, node: Node, partition: str, offers: list[Offer], check_only: bool
    ) -> Mapping[str, Times]:
        """Bring these objects there, or only look; those that are there by now. Raises PushFailed, DeviceUnavailable."""
        return self._session(holding.store, node, partition, offers, check_only)

    def _session(
        self, store: ObjectStore, node: Node, partition: str, offers: Iterable[Offer], check_only: bool
    ) -> Mapping[str, Times]:
        try:
            return self._sessions.run(store, node, partition, offers, check_only).in_sync
        except SyncError as error:
            raise PushFailed(str(error)) from None


class Rsync:
    """With rsync, of stores that keep objects as the reference does; all others over HTTP."""

    name = "rsync"

    def __init__(self, options: rsync_sync.RsyncOptions, peers: Peers, ssync: Ssync, logger: Any) -> None:
        self.options = options
        self.peers = peers
        self.ssync = ssync
        self.logger = logger

    def push(self, holding: Holding, node: Node, partition: str, suffixes: list[str]) -> None:
        """As `Ssync.push`."""
        store = holding.store
        if not isinstance(store, FileStore):
            self.ssync.push(holding, node, partition, suffixes)
            return
        compress = self.options.compress and node["region"] != holding.device["region"]
        args = rsync_sync.command(self.options, f"{store.datadir}/{partition}", suffixes, node, compress)
        done = rsync_sync.run(self.options, args, self.logger)
        try:
            # after a failure, too: some of it may have arrived
            self.peers.announce(node, holding.policy.idx, partition, suffixes)
        except PeerError as error:
            raise PushFailed(str(error)) from None
        if not done:
            raise PushFailed(f"rsync to {name_of(node)} failed")

    def in_sync(
        self, holding: Holding, node: Node, partition: str, offers: list[Offer], check_only: bool
    ) -> Mapping[str, Times]:
        """As `Ssync.in_sync`: rsync succeeds also where a broken file of that name is in the way, so the peer is asked what it can open."""
        if not check_only:
            self.push(holding, node, partition, sorted({name_hash[-3:] for name_hash, _ in offers}))
        return self.ssync.in_sync(holding, node, partition, offers, True)
