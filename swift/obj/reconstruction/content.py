"""What a session sends for an object of which its peer lacks the fragment: one that is made of others, or a copy of ours where that is the same.

How it is made is `rebuild`'s business, what becomes of an object of which too little is left, `lonely`'s.
"""

from __future__ import annotations

from swift.core.errors import LockTimeout
from swift.core.hashing import md5
from swift.core.object_headers import EC_ETAG, EC_INDEX, EC_LENGTH, EC_SCHEME, EC_SEGMENT_SIZE
from swift.core.segment_sums import SEGMENT_SUMS, SegmentSums
from swift.core.segments import Whole
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.errors import ObjectError, Quarantined
from swift.obj.reconstruction.gathering import Gathering, Wanted
from swift.obj.reconstruction.lonely import is_lonely
from swift.obj.reconstruction.rebuild import Own, Rebuilding
from swift.obj.reconstruction.work import RebuildWork, policy_of
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, name_of
from swift.obj.ssync.sender import Content, NothingToSend, own_content
from swift.obj.store import ObjectStore, OpenObject, Place

AT_ONCE = 256 * 1024  # bytes of an object whose fragment is made before its turn has come, and held in memory
_OF_ONE_ARCHIVE = frozenset(("name", "Content-Length", "ETag", BLOCK_CRC32))


class Reader:
    """`Session`'s `read` for one peer, which is to have the fragments with the index `target`."""

    def __init__(
        self, work: RebuildWork, holding: Holding, partition: str, lacking: Node, target: int
    ) -> None:
        self.work = work
        self.holding = holding
        self.partition = partition
        self.lacking = lacking
        self.target = target
        self.codec = policy_of(holding).codec

    def __call__(self, store: ObjectStore, place: Place, found: OpenObject) -> Content:
        """Raises NothingToSend, ObjectError, OSError."""
        metadata = found.data_metadata
        name = metadata["name"]
        index = self._index(store, place, found)
        if index == self.target:
            return own_content(store, place, found)
        whole = self._described(name, metadata)
        kept = {key: value for key, value in metadata.items() if key not in _OF_ONE_ARCHIVE}
        kept[EC_INDEX] = str(self.target)
        if not whole.length:
            return Content(kept, 0, ())
        wanted = Wanted(self.partition, name, found.data_timestamp, whole.etag, whole.length, found.size)
        gathering = Gathering(self.work, self.holding, wanted, self.target, index, self.lacking)
        rebuilding = Rebuilding(whole, gathering, Own(store, place, found, index))
        try:
            rebuilding.open()
            if whole.length > AT_ONCE:
                return Content(kept, found.size, rebuilding.pieces())
            archive = b"".join(rebuilding.pieces())
        except Quarantined:
            self._log(place)
            raise
        except NothingToSend as error:
            self.work.logger.error(
                "%s: unable to make fragment #%d for %s: %s", name, self.target, name_of(self.lacking), error
            )
            if is_lonely(gathering):
                self._quarantine(store, place, found, f"Solitary fragment #{index}")
            raise
        kept["ETag"] = md5(archive).hexdigest()
        return Content(kept, len(archive), (archive,))

    def _index(self, store: ObjectStore, place: Place, found: OpenObject) -> int:
        """Of our fragments. Raises NothingToSend; what can't be a fragment archive is set aside."""
        metadata = found.data_metadata
        index = _number(metadata, EC_INDEX)
        if index is not None and index < self.codec.total and metadata.get(EC_ETAG):
            return index
        index = next(iter((found.fragments or {}).get(found.data_timestamp, ())), None)
        self._quarantine(store, place, found, f"Invalid fragment #{index}")
        raise NothingToSend(f"{metadata['name']}: no fragment archive")

    def _described(self, name: str, metadata: dict[str, str]) -> Whole:
        """What is known of the object. Raises NothingToSend where that is not enough."""
        codec = self.codec
        length, segment_size = _number(metadata, EC_LENGTH), _number(metadata, EC_SEGMENT_SIZE)
        problem = ""
        if metadata.get(EC_SCHEME, codec.scheme) != codec.scheme:
            problem = f"fragments of {metadata[EC_SCHEME]} in a policy of {codec.scheme}"
        elif length is None or not segment_size:
            problem = "neither length nor segments are known"
        elif _number(metadata, "Content-Length") != codec.archive_size(length, segment_size):
            problem = f"an archive of {metadata['Content-Length']} bytes of an object of {length}"
        if problem or length is None or not segment_size:
            self.work.logger.error("%s: %s", name, problem)
            raise NothingToSend(f"{name}: {problem}")
        etag = metadata[EC_ETAG]
        sums = SegmentSums.parse(metadata.get(SEGMENT_SUMS), etag, -(-length // segment_size))
        return Whole(codec, segment_size, length, etag, sums)

    def _quarantine(self, store: ObjectStore, place: Place, found: OpenObject, reason: str) -> None:
        try:
            store.quarantine(place, reason, found)
        except (ObjectError, LockTimeout, OSError) as error:
            self.work.logger.error("%s: can't be quarantined: %s", place.name_hash, error)
            return
        self._log(place)

    def _log(self, place: Place) -> None:
        """What was set aside."""
        for note in place.notes or ():
            self.work.report.add("quarantined")
            self.work.logger.warning("%s", note)
        place.notes = None


def _number(metadata: dict[str, str], key: str) -> int | None:
    text = metadata.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
