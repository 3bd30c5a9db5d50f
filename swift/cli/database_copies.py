"""The copies of one account or container: what their servers tell, who lacks something, and bringing those up to date.

Our servers tell all of a replica and can bring it to others at once. A reference server is told of one of ours, as a replicator would,
and so says what it has; its own replicator must bring what only it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from swift.cli import copy_states as states
from swift.cli.cluster import Cluster
from swift.cli.copy_states import Aside, Copy, Place
from swift.cli.object_copies import Timeouts
from swift.core.concurrency import GreenPile
from swift.core.hashing import hash_path
from swift.db.replication import inventory
from swift.db.replication.inventory import Told
from swift.db.replication.peer import Answer, Peer
from swift.db.replication.peer import Timeouts as PeerTimeouts
from swift.db.replication.peer_state import PeerState, from_answer
from swift.wire.direct import DirectError, head_account, head_container
from swift.wire.message import HeaderKeyDict

AT_ONCE = 16
AGENT = f"swift-copies {os.getpid()}"
BRING_SECONDS = 600.0
_UNKNOWN_TO_IT = (400, 404, 405, 500)


class _Seen(NamedTuple):
    """What a server said of its replica. `told`: ours; `state`: what any replica says to a peer, None where there is none."""

    copy: Copy
    told: Told | None = None
    state: PeerState | None = None
    ours: bool = False


class DatabaseCopies:
    """`names`: account, or account and container, native text. `handoffs`: as for objects."""

    def __init__(
        self, cluster: Cluster, names: tuple[str, ...], timeouts: Timeouts, handoffs: int | None
    ) -> None:
        self.names = names
        self.kind = "account" if len(names) == 1 else "container"
        self.timeouts = timeouts
        self.name_hash: str = hash_path(names[0], names[1] if len(names) > 1 else None)
        ring = cluster.rings[self.kind]
        self.partition, primaries = ring.get_nodes(*names)
        more = islice(ring.get_more_nodes(self.partition), handoffs)
        self.places = [
            *(Place(node, "primary", number) for number, node in enumerate(primaries)),
            *(Place(node, "handoff", number) for number, node in enumerate(more)),
        ]
        self._seen: list[_Seen] = []
        self._aside: list[Aside] = []
        self._silent: list[Place] = []

    @property
    def copies(self) -> list[Copy]:
        """In the order of the places."""
        return [seen.copy for seen in self._seen]

    def peer(self, place: Place, seconds: float | None = None) -> Peer:
        """Whom to call there."""
        timeouts = PeerTimeouts(self.timeouts.connect, seconds or self.timeouts.answer)
        return Peer(place.node, self.partition, self.name_hash, timeouts, AGENT)

    # ------------------------------------------------------------ asking

    def look(self) -> None:
        """Ask all devices."""
        self._aside, self._silent = [], []
        pile = GreenPile(AT_ONCE)
        for place in self.places:
            pile.spawn(self._ask, place)
        seen: list[_Seen | Place] = list(pile)
        known = next((one.told for one in seen if isinstance(one, _Seen) and one.told is not None), None)
        self._seen = [one if isinstance(one, _Seen) else self._ask_another(one, known) for one in seen]

    def _ask(self, place: Place) -> _Seen | Place:
        """What our server tells; the place again where another one answers."""
        peer = self.peer(place)
        answer = peer.call("tell")
        if answer.status in _UNKNOWN_TO_IT and not peer.takes_files:
            self._silent.append(place)
            return place
        if not answer.is_good:
            self._silent.append(place)
            return _Seen(_failed(place, answer))
        try:
            document = answer.document()
            for entry, fault in document["set_aside"]:
                self._aside.append(Aside(place, str(document["path"]), str(entry), "", str(fault)))
            if document["told"] is None:
                return _Seen(Copy(place, states.MISSING), ours=True)
            page = [{"partition": self.partition, "hash": self.name_hash, **document["told"]}]
            ((told,), _, _) = inventory.told_of({"databases": page, "next": None, "set_aside": []})
        except (LookupError, TypeError, ValueError) as error:
            return _Seen(Copy(place, states.ERROR, note=f"nonsense: {error}"))
        if told.state is None:
            return _Seen(Copy(place, states.ERROR, note=told.fault), ours=True)
        return _Seen(_copy(place, told.state, told.live), told, told.state, True)

    def _ask_another(self, place: Place, known: Told | None) -> _Seen:
        if known is None:
            return self._head(place)
        answer = self.peer(place).call("sync", *known.arguments)
        if answer.status == 404:
            return _Seen(Copy(place, states.MISSING))
        if not answer.is_good:
            return _Seen(_failed(place, answer))
        try:
            document = answer.document()
            state = from_answer(document)
            count = document.get("count")
            return _Seen(_copy(place, state, count if type(count) is int else 0), None, state)
        except ValueError as error:
            return _Seen(Copy(place, states.ERROR, note=f"nonsense: {error}"))

    def _head(self, place: Place) -> _Seen:
        """What any server tells clients' proxies: no checksum."""
        call: Any = head_account if self.kind == "account" else head_container
        try:
            found: HeaderKeyDict = call(place.node, self.partition, *self.names, **self.timeouts.options())
        except DirectError as error:
            if error.http_status is None:
                return _Seen(Copy(place, states.UNREACHABLE, note=error.http_reason))
            if error.http_status != 404:
                return _Seen(Copy(place, states.ERROR, note=f"status {error.http_status}"))
            deleted = error.http_headers.get("X-Backend-Delete-Timestamp") or ""
            if deleted.strip("0.") == "":
                return _Seen(Copy(place, states.MISSING))
            return _Seen(Copy(place, states.DELETED, deleted))
        count = found.get(
            "X-Account-Container-Count" if self.kind == "account" else "X-Container-Object-Count"
        )
        time = found.get("X-Backend-Put-Timestamp") or found.get("X-Put-Timestamp") or ""
        return _Seen(Copy(place, states.DATA, time, size=int(count) if count and count.isdecimal() else None))

    # ------------------------------------------------------------ judging

    @property
    def lacking(self) -> list[Place]:
        """The primaries that have not all that any replica has, as far as that can be told."""
        primaries = [seen for seen in self._seen if seen.copy.place.is_primary]
        known = [seen.state for seen in self._seen if seen.state is not None]
        if not known:
            return [seen.copy.place for seen in primaries if seen.copy.state != states.DATA]
        return [
            seen.copy.place
            for seen in primaries
            if seen.state is None or any(_lacks(seen.state, other) for other in known)
        ]

    @property
    def is_anywhere(self) -> bool:
        """Returns True if there is a replica."""
        return any(copy.state in (states.DATA, states.DELETED) for copy in self.copies)

    # ------------------------------------------------------------ quarantine and repair

    def aside(self) -> tuple[list[Aside], list[Place]]:
        """(what is in quarantine of it, devices that could not tell)."""
        return list(self._aside), list(self._silent)

    def take_back(self, found: Aside) -> str:
        """'' if it is back, or why not."""
        answer = self.peer(found.place).call("take_back", found.entry)
        if not answer.is_good:
            return _why(answer)
        try:
            return str(answer.document()["refused"])
        except (LookupError, TypeError, ValueError) as error:
            return f"nonsense: {error}"

    def repair(self, tell: Callable[[str], None]) -> None:
        """Have each of our servers that has a replica bring it to all primaries."""
        targets = [place for place in self.places if place.is_primary]
        sources = [seen for seen in self._seen if seen.ours and seen.state is not None]
        if not sources:
            if self.is_anywhere:
                tell(
                    f"only servers of the reference have a copy: run swift-{self.kind}-replicator there "
                    f"(once, with --partitions {self.partition})"
                )
            else:
                tell("there is no copy to repair from")
            return
        for seen in sources:
            place = seen.copy.place
            ids = [target.node["id"] for target in targets if target.node["id"] != place.node["id"]]
            answer = self.peer(place, BRING_SECONDS).call("bring", ids)
            done: dict[str, Any] = {}
            why = _why(answer)
            if answer.is_good:
                try:
                    document = answer.document()
                    done, why = dict(document["done"]), str(document.get("error") or "")
                except (LookupError, TypeError, ValueError) as error:
                    why = f"nonsense: {error}"
            if not done:
                tell(f"{place}: could not bring it to the others: {why}")
            for target in targets:
                success = done.get(str(target.node["id"]))
                if success is not None:
                    tell(f"{target}: {'has' if success else 'could not be brought'} all of {place}")


def _copy(place: Place, state: PeerState, live: int) -> Copy:
    deleted = state.delete_timestamp > state.put_timestamp and not live
    time = state.delete_timestamp if deleted else state.put_timestamp
    return Copy(
        place,
        states.DELETED if deleted else states.DATA,
        time,
        checksum=state.hash,
        size=live,
        note=f"{max(state.max_row, 0)} rows written",
    )


def _lacks(mine: PeerState, other: PeerState) -> bool:
    return (
        mine.hash != other.hash
        or mine.put_timestamp < other.put_timestamp
        or mine.delete_timestamp < other.delete_timestamp
        or any(
            key not in mine.metadata or mine.metadata[key][1] < time
            for key, (_, time) in other.metadata.items()
        )
    )


def _failed(place: Place, answer: Answer) -> Copy:
    if not answer.status:
        return Copy(place, states.UNREACHABLE, note=_why(answer))
    if answer.status == 507:
        return Copy(place, states.UNMOUNTED)
    return Copy(place, states.ERROR, note=_why(answer))


def _why(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")[:200] if not answer.status else f"status {answer.status}"
