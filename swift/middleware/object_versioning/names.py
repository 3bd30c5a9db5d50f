"""The names of versions: where they are kept, and how a client calls them (spec middleware 4.24).

All names are WSGI strings unless said otherwise. Never here: requests.
"""

from __future__ import annotations

from typing import NamedTuple

from swift.core.names import RESERVED, reserved_name, split_reserved_name, wsgi_quote, wsgi_unquote
from swift.core.timestamp import Timestamp

NULL = "null"
"""The id of what is at an object's name and was not written as a version."""
MARKER_TYPE = "application/x-deleted;swift_versions_deleted=1"
PREFIX = reserved_name("versions", "")


class Version(NamedTuple):
    account: str
    container: str
    obj: str
    id: str

    @property
    def target(self) -> str:
        """`container/object?version-id=…`, quoted."""
        return f"{wsgi_quote(self.container)}/{wsgi_quote(self.obj)}?version-id={self.id}"


def hidden_container(container: str) -> str:
    """Where the versions of a container's objects are kept."""
    return PREFIX + container


def version_name(obj: str, timestamp: Timestamp) -> str:
    """The name of a version in the hidden container; the newest sorts first."""
    return reserved_name(obj, (~timestamp).internal)


def parse_version_name(name: str) -> tuple[str, str]:
    """(object, version id) of a name in the hidden container (WSGI or native). Raises ValueError."""
    obj, inverse = split_reserved_name(name)
    return obj, (~Timestamp(inverse)).internal


def parse_id(text: str) -> Timestamp | None:
    """What a client's `version-id` names; None for `null`. Raises ValueError."""
    return None if text == NULL else Timestamp(text)


def parse_path(path: str) -> Version | None:
    """The version that a quoted path `/v1/account/\\0versions\\0…/\\0…` leads to; None for any other path."""
    parts = path.split("/", 4)
    if len(parts) != 5 or not parts[3].startswith("%00"):
        return None
    return _version(wsgi_unquote(parts[2]), wsgi_unquote(parts[3]), wsgi_unquote(parts[4]))


def parse_target(account: str, target: str) -> Version | None:
    """As parse_path, of a quoted `container/object` in an account (unquoted)."""
    container, _, obj = target.partition("/")
    return _version(account, wsgi_unquote(container), wsgi_unquote(obj))


def _version(account: str, container: str, obj: str) -> Version | None:
    if not container.startswith(PREFIX) or RESERVED in container[len(PREFIX) :]:
        return None
    try:
        return Version(account, container[len(PREFIX) :], *parse_version_name(obj))
    except ValueError:
        return None
