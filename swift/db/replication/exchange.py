"""One replica of ours brings one peer up to date (database.md 14.3 to 14.5).

Lives here: what is said in which order, and when rows, and when the whole file. What containers do beside that is in
swift.container.replicator. Never here: which peers there are, and what becomes of our replica afterwards.

What a peer has of us is what it says itself: a point that we remember may be one that it has lost.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from swift.engine.fault_points import fault_point
from swift.engine.threads import DeviceBusy
from swift.run.rests import NO_RESTS, Rests

from ..errors import DatabaseError
from . import rsync
from .figures import Figures
from .peer import Answer, Peer, Timeouts
from .peer_state import PeerState, from_answer, sync_arguments
from .replica import Replica
from .rpc import COMPLETE, JOIN

ROWS_A_SECOND = 2000  # at which a peer may merge a file's rows, when it is asked how long that may take


@dataclass(frozen=True)
class Terms:
    """Options of the replicators that concern an exchange (database.md 23.2)."""

    per_diff: int
    max_diffs: int
    timeouts: Timeouts
    rsync_module: str
    rsync_compress: bool
    region: int | None
    agent: str
    with_policy: bool
    rests: Rests = NO_RESTS


class Exchange:
    """With one peer, once. `done`: it has all that we had; `is_unmounted`: its device is not there."""

    def __init__(
        self,
        replica: Replica,
        node: Mapping[str, Any],
        partition: int,
        terms: Terms,
        figures: Figures,
        logger: Any,
    ) -> None:
        self.replica = replica
        self.broker = replica.broker
        self.terms = terms
        self.figures = figures
        self.logger = logger
        self.peer = Peer(node, partition, replica.name_hash, terms.timeouts, terms.agent)
        self.is_unmounted = False

    def run(self, answer: Answer | None = None) -> bool:
        """Returns True if the peer has all now. `answer`: to `sync`, if that was asked already. Never raises for what peers or disks do."""
        try:
            done = self._run(self.sync() if answer is None else answer)
            fault_point("db:exchange:done")
            return done
        except (ValueError, DatabaseError, sqlite3.Error, OSError, DeviceBusy) as err:
            self.logger.error("ERROR syncing %s with %s: %s", self.broker.path, self.peer, err)
            return False

    def sync(self) -> Answer:
        """What the peer says of its replica."""
        return self.peer.call("sync", *sync_arguments(self.replica.info, self.terms.with_policy))

    def _run(self, answer: Answer) -> bool:
        if answer.status == 404:
            sent = self._send_all()
            if sent is not None:
                return sent
            answer = self.sync()  # by now it has one from somebody else, which may lack what we have
        if answer.status == 507:
            self.is_unmounted = True
            return self._unreachable("is not mounted")
        if not answer.status:
            return self._unreachable(answer.body.decode("utf-8", "replace")[:200])
        if not answer.is_good:
            return self._refused("sync", answer)
        document = answer.document()
        state = from_answer(document, self.logger.error)
        point = document.get("point", -1)
        if type(point) is not int:
            raise ValueError(f"no sync point: {point!r:.100}")
        if self.replica.learn(state):
            self.figures.count("ts_repl")
        met, only_that = self.meet(document)
        if only_that:
            return met
        return self._bring_rows(state, point) and met

    def _unreachable(self, why: str) -> bool:
        """What is so for all replicas there is told once a pass."""
        level = self.logger.error if self.figures.is_first_time(self.peer.node) else self.logger.debug
        level("ERROR %s can't be brought up to date: %s", self.peer, why)
        return False

    def meet(self, document: Mapping[str, Any]) -> tuple[bool, bool]:
        """What containers exchange beside rows: (success, True if rows are not to be brought). `document`: the peer's."""
        return True, False

    def may_send_whole(self, state: PeerState) -> bool:
        """Returns True if the peer may be sent the whole file to merge its own rows into."""
        return True

    def _bring_rows(self, state: PeerState, point: int) -> bool:
        info = self.replica.info
        missing = info["max_row"] - point
        if missing <= 0:
            self.figures.count("no_change")
            return True
        if state.hash == info["hash"]:
            self.figures.count("hashmatch")
            return True
        is_far_behind = (
            state.max_row < info["max_row"] * 0.5
            and min(missing, info["max_row"] - state.max_row) > self.terms.per_diff
            and self.may_send_whole(state)
        )
        if is_far_behind and self._send_whole(JOIN):
            self.figures.count("remote_merge")
            return True
        self.figures.count("diff")
        return self._send_rows(state.id, point)

    # -- rows

    def _send_rows(self, remote_id: str, point: int) -> bool:
        """usync (14.3): False if there were more rows than one pass sends, or the peer did not take them."""
        info, terms = self.replica.info, self.terms
        points = [
            {"remote_id": row["remote_id"], "sync_point": row["sync_point"]}
            for row in self.replica.run(self.broker.sync_table, True)
        ]
        for sent, (rows, last) in enumerate(self._batches(point)):
            if sent == terms.max_diffs:
                self.figures.count("diff_capped")
                self.logger.debug(
                    "Sync of %s with %s has more rows than max_diffs", self.broker.path, self.peer
                )
                return False
            body = b'["merge_items",%b,%b]' % (rows, orjson.dumps(info["id"]))
            answer = terms.rests.call(self.peer.send, body)
            if not answer.is_good:
                return self._refused("merge_items", answer)
            point = last
            fault_point("db:exchange:rows_sent")
        answer = self.peer.call("merge_syncs", points)
        if not answer.is_good:
            return self._refused("merge_syncs", answer)
        fault_point("db:exchange:points_sent")
        reached = [{"remote_id": remote_id, "sync_point": point}]
        self.replica.run(self.broker.merge_syncs, reached, False)
        return True

    def _batches(self, start: int) -> Iterator[tuple[bytes, int]]:
        """(rows as JSON, the last one's row id), the next ones being read while the peer merges."""
        replica, count = self.replica, self.terms.per_diff
        rows, number, last = replica.run(replica.rows_after, start, count)
        while number:
            call = None
            if number == count and not replica.pool.inline:
                call = replica.pool.submit(replica.rows_after, last, count)
            yield rows, last
            if call is not None:
                rows, number, last = call.wait()
            elif number == count:
                rows, number, last = replica.rows_after(last, count)
            else:
                return

    # -- whole files

    def _send_all(self) -> bool | None:
        """To a peer that has none: the file, or else an empty database and its rows. None if it has one by now."""
        sent = self._send_whole(COMPLETE)
        if sent is None:
            return self._create_there()
        if sent:
            self.figures.count("rsync")
            return True
        return None

    def _send_whole(self, use: str) -> bool | None:
        """True if the peer has taken our file, False if it has refused it, None if there is no way to send it."""
        replica, info = self.replica, self.replica.info
        try:
            with replica.snapshot() as (path, size, checksum):
                fault_point("db:exchange:copied")
                if self.peer.takes_files:
                    arguments = path, replica.pool, use, replica.file, info["id"], size, checksum
                    answer = self.terms.rests.call(self.peer.send_file, *arguments)
                    if not answer.is_good and answer.status != 404:
                        self._refused("file", answer)
                    return answer.is_good
                return self._push(use, path)
        except (OSError, sqlite3.OperationalError) as err:
            self.logger.error("ERROR copying %s: %s", self.broker.path, err)
            return None

    def _push(self, use: str, path: str) -> bool | None:
        replica, info, terms = self.replica, self.replica.info, self.terms
        node = self.peer.node
        module = rsync.rsync_module(terms.rsync_module, node)
        target = f"{module}/{os.path.join(node['device'], 'tmp', info['id'])}"
        compress = terms.rsync_compress and node["region"] != terms.region
        error = rsync.push(
            replica.pool, path, target, terms.timeouts.answer, terms.timeouts.connect, compress
        )
        if error:
            self.logger.error("ERROR rsync failed for %s: %s", self.broker.path, error)
            return None
        operation = "complete_rsync" if use == COMPLETE else "rsync_then_merge"
        timeout = max(terms.timeouts.answer, info["count"] / ROWS_A_SECOND)
        answer = self.peer.call(operation, info["id"], replica.file, timeout=timeout)
        return True if answer.is_good else self._refused(operation, answer)

    def _create_there(self) -> bool:
        """A peer that takes no files gets an empty database by the road of clients, then the rows."""
        names, headers = self.creation()
        answer = self.peer.put(names, headers)
        if not answer.is_good:
            return self._refused("PUT", answer)
        answer = self.sync()
        if not answer.is_good:
            return self._refused("sync", answer)
        document = answer.document()
        state = from_answer(document, self.logger.error)
        met, only_that = self.meet(document)
        if only_that:
            return met
        self.figures.count("diff")
        return self._send_rows(state.id, -1) and met

    def creation(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """(names, headers) of the PUT that makes an empty replica on the peer."""
        info = self.replica.info
        names = (info["account"], info["container"]) if "container" in info else (info["account"],)
        put = info["put_timestamp"] if info["put_timestamp"] != "0" else info["created_at"]
        headers = {"X-Timestamp": put}
        if "storage_policy_index" in info:
            headers["X-Backend-Storage-Policy-Index"] = str(info["storage_policy_index"])
        return names, headers

    def _refused(self, what: str, answer: Answer) -> bool:
        why = answer.body.decode("utf-8", "replace") if not answer.status else f"status {answer.status}"
        self.logger.error("ERROR %s of %s with %s: %s", what, self.broker.path, self.peer, why[:200])
        return False
