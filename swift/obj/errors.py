"""What can go wrong with an object on disk. HTTP statuses for these are chosen in `swift.obj.server`, nowhere else."""

from __future__ import annotations

from swift.core.errors import SwiftError


class ObjectError(SwiftError):
    """Base of the errors of this room."""


class Refused(ObjectError):
    """The change must not be made. `status`: 400, 403, 404, 408, 409, 412, 413, 422 or 499; `timestamp`: what is known, internal form or
    ''; `kept`: metadata that the change would have lost."""

    def __init__(
        self, status: int, timestamp: str = "", text: str | None = None, kept: dict[str, str] | None = None
    ) -> None:
        super().__init__(text or str(status))
        self.status = status
        self.timestamp = timestamp
        self.text = text
        self.kept = kept or {}


class Unreservable(ObjectError):
    """Nothing can be reserved on this machine now. It says nothing of the disks."""


class Overtaken(ObjectError):
    """What was looked at has changed before the change could be made under the lock: look again. Nothing was done."""


class NotExist(ObjectError):
    """There is no such object here."""


class Deleted(NotExist):
    """There is a tombstone. `timestamp`: its time, internal form; `name`: of the object, `/account/container/object`, where it says so;
    `word`: what was known of the object's lock (`core.object_lock`), "" if nothing."""

    def __init__(self, timestamp: str, name: str | None = None, word: str = "") -> None:
        super().__init__(f"deleted at {timestamp}")
        self.timestamp = timestamp
        self.name = name
        self.word = word


class Expired(NotExist):
    """The object's X-Delete-At has passed. `metadata`: its merged metadata; `timestamp`: its time, internal form."""

    def __init__(self, metadata: dict[str, str]) -> None:
        super().__init__("expired")
        self.metadata = metadata
        self.timestamp = metadata["X-Timestamp"]


class Quarantined(NotExist):
    """What was found was damaged and has been moved away."""


class Corrupt(ObjectError):
    """Stored metadata or data that can't be right; whoever catches it quarantines."""


class Collision(ObjectError):
    """The hash directory belongs to another name."""


class StateChanged(ObjectError):
    """Files vanished between listing and opening: ask again."""


class Elsewhere(ObjectError):
    """Not to be done in haste, together with others: the write takes a trip of its own from the start. Nothing of it was done."""


class WriterLost(ObjectError):
    """What carried a write to the disk died under it: it may be done, whole, or not at all."""


class NoSpace(ObjectError):
    """The device is full, or as full as `fallocate_reserve` allows."""


class XattrUnsupported(ObjectError):
    """The file system of the device has no user xattrs."""


class MetadataTooLarge(ObjectError):
    """This file system can't hold that much metadata with one file (ext4: about 4 KiB)."""


class SameTimeConflict(ObjectError):
    """Another file with the same timestamp and other content is already there."""


class DeviceUnavailable(ObjectError):
    """The device is missing, not mounted or hangs, or its name is impossible."""


class DeviceOverloaded(ObjectError):
    """More requests wait for the device than may; it is at work."""
