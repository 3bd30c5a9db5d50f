"""Where something should be: the lines that swift-get-nodes and the swift-*-info commands print about a ring.

Spec ring 13, operations 12.1. The form is read by scripts and by people who paste the curl and ssh lines: it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.core.hashing import hash_path, storage_directory
from swift.ring.lookup import Ring

_HEAD_OF_SSH_LINES = 'Use your own device location of servers:\nsuch as "export DEVICE=/srv/node"'
_NOTE = (
    "\nnote: `/srv/node*` is used as default value of `devices`, the real value is set in the config file on each "
    "storage node."
)


class Target(NamedTuple):
    """What is looked for: names (native text, not quoted), outer ones first; all None for a bare partition."""

    account: str | None = None
    container: str | None = None
    obj: str | None = None

    @property
    def path(self) -> str | None:
        names = [name for name in self if name]
        return "/".join(quote(name) for name in names) if names else None


def datadir_of(target: Target, ring_name: str) -> str:
    """The directory under a device where it lies: by the kind of the path, by the ring's name for a bare partition."""
    policy = object_ring_policy(ring_name)
    if target.account and not target.obj:
        return "containers" if target.container else "accounts"
    if target.obj or policy is not None:
        return f"objects-{policy}" if policy else "objects"
    return f"{ring_name}s"


def object_ring_policy(ring_name: str) -> int | None:
    """0 for ``object``, N for ``object-N``, None for other names (spec ring 14.1)."""
    if ring_name == "object":
        return 0
    prefix, _, index = ring_name.partition("-")
    return int(index) if prefix == "object" and index.isascii() and index.isdigit() else None


def print_locations(
    ring: Ring,
    target: Target,
    datadir: str,
    *,
    part: int | None = None,
    all_handoffs: bool = False,
    policy_index: int | None = None,
) -> None:
    """part: look there instead of where the name hashes to. policy_index: adds the backend header to the curl lines.

    Without all_handoffs as many handoffs as primaries are shown.
    """
    name_hash = None
    if part is None:
        assert target.account
        part = ring.get_part(target.account, target.container, target.obj)
        name_hash = hash_path(target.account, target.container, target.obj)
    primaries = ring.get_part_nodes(part)
    handoffs = ring.get_more_nodes(part)
    nodes: list[tuple[Mapping[str, Any], str]] = [(node, "") for node in primaries]
    nodes += [(node, " [Handoff]") for node in islice(handoffs, None if all_handoffs else len(primaries))]

    print(f"Partition\t{part}\nHash     \t{name_hash}\n")
    for node, handoff in nodes:
        print(
            f"Server:Port Device\t{node['ip']}:{node['port']} {node['device']}{handoff and chr(9) + handoff}"
        )
    print("\n")
    header = "" if policy_index is None else f' -H "X-Backend-Storage-Policy-Index: {policy_index}"'
    for node, handoff in nodes:
        ip = f"[{node['ip']}]" if ":" in node["ip"] else node["ip"]
        url = f"http://{ip}:{node['port']}/{node['device']}/{part}/{target.path}"
        print(f'curl -g -I -XHEAD "{url}"{header} --path-as-is{handoff and " #" + handoff}')
    print(f"\n\n{_HEAD_OF_SSH_LINES}")
    directory = storage_directory(datadir, part, name_hash) if name_hash else f"{datadir}/{part}"
    for node, handoff in nodes:
        place = f"${{DEVICE:-/srv/node*}}/{node['device']}/{directory}"
        print(f'ssh {node["ip"]} "ls -lah {place}"{handoff and " #" + handoff}')
    print(_NOTE)


def print_target(target: Target) -> None:
    """The names, percent-quoted, as swift-get-nodes begins."""
    if target.account:
        print(f"\nAccount  \t{quote(target.account)}")
    if target.container:
        print(f"Container\t{quote(target.container)}")
    if target.obj:
        print(f"Object   \t{quote(target.obj)}\n\n")
