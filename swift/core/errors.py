"""Exceptions that more than one room raises or catches.

No HTTP lives here beyond a status hint: `RequestError` and its family say which status and body fit, and
swift.wire turns them into responses. Errors of one room alone live in that room.
"""


class SwiftError(Exception):
    """Base of every error this code base raises on purpose."""


class ConfigError(SwiftError):
    """A configuration that can't be used. Its text is the one line that a command prints before exiting with 1."""


class LockTimeout(SwiftError):
    """A lock wasn't free within the time given."""


class RequestError(SwiftError):
    """Bad input of a request. `status`: HTTP status hint; `body`: short text for the client ('' = default text)."""

    status = 400

    def __init__(self, body: str = "") -> None:
        super().__init__(body)
        self.body = body


class BadRequest(RequestError):
    status = 400


class LengthRequired(RequestError):
    status = 411


class PreconditionFailed(RequestError):
    status = 412


class EntityTooLarge(RequestError):
    status = 413


class NotImplementedCoding(RequestError):
    """A transfer coding that this server doesn't know."""

    status = 501


class InsufficientStorage(RequestError):
    """The device is missing, unmounted or has an impossible name."""

    status = 507
