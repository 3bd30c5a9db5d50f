"""What can go wrong with an account or container database; no HTTP, no SQL here."""

from swift.core.errors import SwiftError


class DatabaseError(SwiftError):
    """Base of this room's errors."""


class DatabaseMissing(DatabaseError):
    """There is no database at the path."""


class DatabaseExists(DatabaseError):
    """Somebody else has created the database meanwhile."""


class DatabaseQuarantined(DatabaseError):
    """The file was damaged and its directory has been moved aside."""


class DatabaseBusy(DatabaseError):
    """A lock (of SQLite or of the directory) was not to be had in time."""


class DatabaseReplaced(DatabaseBusy):
    """Somebody put another file in the place of the one that was being written to, or took it away."""
