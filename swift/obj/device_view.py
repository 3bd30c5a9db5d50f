"""One device as commands of operators see it: through its object server, or, on its own machine, through its directory.

Both have the same face. A reference server cannot tell what lies on a device; then only its directory can. What is looked at by way of
the directory is hashed as a server would, but nothing is reclaimed: how long that waits is the server's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from swift.core.errors import LockTimeout, SwiftError
from swift.core.policy import StoragePolicy
from swift.obj import inventory
from swift.obj.device import Device, Devices
from swift.obj.errors import ObjectError, Refused
from swift.obj.inventory import BadDocument, Contents
from swift.obj.replication.peers import PeerError, Peers, name_of
from swift.obj.server_inventory import DEVICE, HASHES, OBJECTS, SET_ASIDE, SUFFIXES, TAKE_BACK
from swift.obj.store import Item, ObjectStore, SetAside, StoreOptions
from swift.obj.stores import Stores

NEVER = 1e12  # seconds


class Unanswered(SwiftError):
    """The device could not be asked. `missing`: its server answers that it has no such device."""

    def __init__(self, text: str, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


class DeviceView(Protocol):
    """What can be asked of a device. All raise Unanswered."""

    def contents(self, policy: StoragePolicy) -> Contents:
        """Its partitions and what waits or was set aside."""

    def suffixes(self, policy: StoragePolicy, partition: int) -> list[str]:
        """The suffixes that are in a partition."""

    def hashes(self, policy: StoragePolicy, partition: int) -> dict[str, Any]:
        """The suffix hashes of a partition, of suffixes that nobody told of too."""

    def items(self, policy: StoragePolicy, partition: int, suffixes: list[str]) -> tuple[list[Item], bool]:
        """The objects in these suffixes; True if there are more."""

    def set_aside(self, policy: StoragePolicy, partition: int, name_hash: str) -> tuple[str, list[SetAside]]:
        """(directory, entries) of an object in quarantine."""

    def take_back(
        self, policy: StoragePolicy, partition: int, name_hash: str, entry: str
    ) -> tuple[list[str], str]:
        """(names that came back, or none and why)."""


class RemoteDevice:
    """Through its server. `node`: of a ring of the policy that is asked about."""

    def __init__(self, node: Mapping[str, Any], peers: Peers) -> None:
        self.node = node
        self.peers = peers

    def contents(self, policy: StoragePolicy) -> Contents:
        return self._checked(Contents, self._ask(policy, "0", DEVICE))

    def suffixes(self, policy: StoragePolicy, partition: int) -> list[str]:
        return self._checked(inventory.suffixes_of, self._ask(policy, str(partition), SUFFIXES))

    def hashes(self, policy: StoragePolicy, partition: int) -> dict[str, Any]:
        return self._checked(inventory.hashes_of, self._ask(policy, str(partition), HASHES))

    def items(self, policy: StoragePolicy, partition: int, suffixes: list[str]) -> tuple[list[Item], bool]:
        document = self._ask(policy, f"{partition}/{'-'.join(suffixes)}", OBJECTS)
        return self._checked(inventory.items_of, document)

    def set_aside(self, policy: StoragePolicy, partition: int, name_hash: str) -> tuple[str, list[SetAside]]:
        return self._checked(inventory.set_aside_of, self._ask(policy, f"{partition}/{name_hash}", SET_ASIDE))

    def take_back(
        self, policy: StoragePolicy, partition: int, name_hash: str, entry: str
    ) -> tuple[list[str], str]:
        document = self._ask(policy, f"{partition}/{name_hash}", TAKE_BACK, entry)
        return self._checked(_back, document)

    def _ask(self, policy: StoragePolicy, what: str, word: str, entry: str = "") -> Any:
        try:
            document = self.peers.inventory(self.node, policy.idx, what, word, entry)
        except PeerError as error:
            raise Unanswered(str(error), error.status == 507) from None
        if document is None:
            raise Unanswered(f"{name_of(self.node)} is served by the reference, which can't tell")
        return document

    def _checked(self, read: Any, document: Any) -> Any:
        try:
            return read(document)
        except BadDocument as error:
            raise Unanswered(f"{name_of(self.node)} answered nonsense: {error}") from None


def _back(document: Any) -> tuple[list[str], str]:
    try:
        return [str(name) for name in document["back"]], str(document["refused"] or "")
    except (LookupError, TypeError) as error:
        raise BadDocument(str(error)) from None


class LocalDevice:
    """Through its directory `root`/`name`. Raises Unanswered unless it is there, and mounted if that is checked."""

    def __init__(self, root: str, name: str, mount_check: bool) -> None:
        try:
            self.device: Device = Devices(root, mount_check, threads_per_device=2).get(name)
            self.device.run(self.device.check)
        except ObjectError:
            raise Unanswered(f"{root}/{name} is not {'mounted' if mount_check else 'there'}") from None
        self._stores = Stores(StoreOptions(reclaim_age=NEVER))

    def contents(self, policy: StoragePolicy) -> Contents:
        return Contents(self._run(inventory.device_document, self._store(policy)))

    def suffixes(self, policy: StoragePolicy, partition: int) -> list[str]:
        found: list[str] = self._run(self._store(policy).suffixes, str(partition))
        return found

    def hashes(self, policy: StoragePolicy, partition: int) -> dict[str, Any]:
        found = self._run(self._store(policy).suffix_hashes, str(partition), (), True)
        hashes: dict[str, Any] = found.hashes
        return hashes

    def items(self, policy: StoragePolicy, partition: int, suffixes: list[str]) -> tuple[list[Item], bool]:
        document = self._run(inventory.objects_document, self._store(policy), str(partition), suffixes)
        return inventory.items_of(document)

    def set_aside(self, policy: StoragePolicy, partition: int, name_hash: str) -> tuple[str, list[SetAside]]:
        document = self._run(inventory.set_aside_document, self._store(policy), name_hash)
        return inventory.set_aside_of(document)

    def take_back(
        self, policy: StoragePolicy, partition: int, name_hash: str, entry: str
    ) -> tuple[list[str], str]:
        store = self._store(policy)
        try:
            return self._run(store.take_back, store.locate(str(partition), name_hash, None), entry), ""
        except Refused as refused:
            return [], refused.text or str(refused)

    def _store(self, policy: StoragePolicy) -> ObjectStore:
        return self._stores.get(self.device, policy)

    def _run(self, function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except Refused:
            raise
        except (ObjectError, LockTimeout, OSError) as error:
            raise Unanswered(f"{self.device.path}: {str(error) or type(error).__name__}") from None
