"""Which containers of a device are synchronised with others: a link to each of their databases (database.md 19.1).

Lives here: making and removing the links. They are no more than a list for container-sync, and nothing is lost with one: the replicator
makes it again. Everything blocks.
"""

from __future__ import annotations

import contextlib
import os

from swift.core import clock
from swift.db.metadata import Metadata

from .broker import ContainerBroker

FOLDER = "sync_containers"
MARK = "X-Container-Sync-"
"""What is in the metadata of every container that ever was to be synchronised."""
SYNC_TO, _KEY = "X-Container-Sync-To", "X-Container-Sync-Key"


def link_path(broker: ContainerBroker) -> str:
    """Where the link to a container's database belongs."""
    root = broker.device_path
    inside = os.path.relpath(broker.file, os.path.join(root, broker.data_directory))
    return os.path.join(root, FOLDER, inside)


def refresh(broker: ContainerBroker) -> None:
    """Make the link of a container that is to be synchronised, or remove that of one that is no longer. Raises OSError."""
    metadata = broker.metadata()
    if SYNC_TO not in metadata and _KEY not in metadata:
        return
    if _is_wanted(metadata) and not broker.is_deleted():
        _make(link_path(broker), broker.file)
    else:
        forget(broker)


def forget(broker: ContainerBroker) -> None:
    """Remove the link of a container, and the directories that are empty then. Raises OSError."""
    path = link_path(broker)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    for _ in range(3):
        path = os.path.dirname(path)
        try:
            os.rmdir(path)
        except OSError:
            return


def _is_wanted(metadata: Metadata) -> bool:
    return all(metadata.get(key, ("", ""))[0] for key in (SYNC_TO, _KEY))


def _make(link: str, target: str) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) == target:
            return
    os.makedirs(os.path.dirname(link), exist_ok=True)
    new = f"{link}.{clock.uuid4().hex}"
    os.symlink(target, new)
    os.rename(new, link)
