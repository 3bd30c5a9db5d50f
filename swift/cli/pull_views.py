"""By which way a device can be looked at: through its server, through another server of its machine, or through its directory here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from swift.account.broker import AccountBroker
from swift.cli.cluster import ACCOUNT, Cluster, Node, Target, is_here
from swift.cli.pull_databases import DatabaseView, LocalDatabases, RemoteDatabases
from swift.container.broker import ContainerBroker
from swift.core.policy import StoragePolicy
from swift.db.replication.peer import Timeouts
from swift.obj.device_view import DeviceView, LocalDevice, RemoteDevice, Unanswered
from swift.obj.replication.peers import Peers

View = TypeVar("View")


class Here(NamedTuple):
    """Where this machine's disks are. `mount_check`: a directory that nothing is mounted on is none."""

    root: str
    mount_check: bool


def object_view(
    cluster: Cluster, target: Target, policy: StoragePolicy, peers: Peers, here: Here
) -> DeviceView | None:
    """None if no server of objects and nobody here has such a device. Raises Unanswered."""

    def remote(node: Node) -> DeviceView:
        view = RemoteDevice(node, peers)
        view.contents(policy)
        return view

    own = target.nodes.get(policy.ring_name)
    rings = [policy.ring_name, *(other.ring_name for other in cluster.policies if other is not policy)]
    nodes = [own] if own is not None else cluster.beside(target, rings)
    return _view(
        target,
        nodes,
        own is not None,
        remote,
        lambda: LocalDevice(here.root, target.device, here.mount_check),
    )


def database_view(
    cluster: Cluster, target: Target, kind: str, timeouts: Timeouts, here: Here
) -> DatabaseView | None:
    """As object_view. `kind`: account or container."""

    def remote(node: Node) -> DatabaseView:
        view = RemoteDatabases(node, timeouts)
        view.page((-1, ""))
        return view

    own = target.nodes.get(kind)
    broker = AccountBroker if kind == ACCOUNT else ContainerBroker
    return _view(
        target,
        [own] if own is not None else cluster.beside(target, [kind]),
        own is not None,
        remote,
        lambda: LocalDatabases(here.root, target.device, here.mount_check, kind, broker),
    )


def _view(
    target: Target,
    nodes: Sequence[Node],
    is_in_ring: bool,
    remote: Callable[[Node], View],
    local: Callable[[], View],
) -> View | None:
    why: Unanswered | None = None
    for node in nodes:
        try:
            return remote(node)
        except Unanswered as error:
            if is_in_ring or not error.missing:
                why = error
    if not is_here(target.nodes.values()):
        if why is None and not is_in_ring:
            return None  # all servers of that machine say that they have no such device
        raise Unanswered(f"{why}; it is a disk of another machine, where this command can look at it")
    try:
        return local()
    except Unanswered as error:
        if why is None and not is_in_ring:
            return None
        raise Unanswered(f"{why}; {error}" if why else str(error)) from None
