"""Which servers and daemons a node runs, and which files they read.

What lives here: tables over roles. What never does: starting anything (receiver.py).
"""

from __future__ import annotations

from swift.deploy.described import Description, Node

SERVERS = ("proxy-server", "account-server", "container-server", "object-server")
_OF_ROLE = {
    "proxy": ("proxy-server",),
    "account": ("account-server", "account-auditor", "account-replicator", "account-reaper"),
    "container": (
        "container-server",
        "container-auditor",
        "container-replicator",
        "container-updater",
        "container-sharder",
        "container-sync",
        "container-reconciler",
        "s3-lifecycle",
    ),
    "object": ("object-server", "object-auditor", "object-replicator", "object-updater", "object-expirer"),
}
_OWN_FILES = ("container-reconciler", "s3-lifecycle", "s3-notifier")
_INTERNAL_CLIENT = ("container-sharder", "container-sync", "object-expirer")


def services(description: Description, node: Node) -> list[str]:
    """Names without `swift-`, as swift-init takes them and units are called; the order is that of a start."""
    return [service for service in possible(description, node) if service not in description.without]


def possible(description: Description, node: Node) -> list[str]:
    """Also those that are not to run by themselves: their sections are there, so that a pass can be made by hand."""
    found = [service for role in node.roles for service in _OF_ROLE[role]]
    if "object" in node.roles and any(
        policy.options["policy_type"] == "erasure_coding" for policy in description.policies
    ):
        found.append("object-reconstructor")
    if "container" in node.roles and ("s3-notifier" in description.options or "s3-notifier" in node.options):
        found.append("s3-notifier")
    return sorted(found, key=lambda service: (service == "proxy-server", service not in SERVERS, service))


def files_of(service: str) -> list[str]:
    """What a service must read again when it changes. Rings are looked at all the time."""
    if service in _OWN_FILES or service in SERVERS:
        own = f"{service}.conf"
    else:
        own = f"{service.partition('-')[0]}-server.conf"
    return ["swift.conf", own, *(["internal-client.conf"] if service in _INTERNAL_CLIENT else [])]
