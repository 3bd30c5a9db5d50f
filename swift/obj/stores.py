"""Which kind of store a policy has, and the stores of a process: one for each device and policy that was asked for."""

from __future__ import annotations

from swift.core.errors import ConfigError
from swift.core.policy import StoragePolicy
from swift.obj.device import Device
from swift.obj.files.store import FileStore
from swift.obj.store import ObjectStore, StoreOptions

MAX_STORES = 65536

# by the last word of a policy's `diskfile_module`, as the reference names its own (`egg:swift#replication.fs`)
KINDS: dict[str, type[ObjectStore]] = {"fs": FileStore}


def kind_of(policy: StoragePolicy) -> type[ObjectStore]:
    """The class of a policy's stores. Raises ConfigError for a kind that is not here."""
    try:
        return KINDS[policy.diskfile_module.rpartition(".")[2]]
    except KeyError:
        raise ConfigError(
            f"Policy {policy.name!r}: no object store of the kind {policy.diskfile_module!r}"
        ) from None


class Stores:
    """The stores of one process. `options`: for all of them."""

    def __init__(self, options: StoreOptions) -> None:
        self.options = options
        self._stores: dict[tuple[str, int], ObjectStore] = {}

    def get(self, device: Device, policy: StoragePolicy) -> ObjectStore:
        """The store of a policy on a device; the same at each call."""
        key = (device.name, policy.idx)
        store = self._stores.get(key)
        if store is None or store.device is not device:
            store = kind_of(policy)(device, policy, self.options)
            if len(self._stores) < MAX_STORES:
                self._stores[key] = store
        return store
