"""From a description to what is kept beside it: what would change (`Plan`), and doing it.

What lives here: the order in which things are looked at and written. What never does: the command line, nodes.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from swift.core.config import read_ini
from swift.core.errors import ConfigError
from swift.deploy import configs, rings, tree
from swift.deploy.described import Description, DescriptionError, Node, policy_sections
from swift.deploy.rings import RingChange
from swift.deploy.state import State
from swift.deploy.tree import NodeTree
from swift.engine.durable import mkdirs_durable
from swift.ring.builder import RingBuilder
from swift.ring.format import RingData
from swift.run.known_options import unknown_options


@dataclass
class NodePlan:
    """What one node is to have. `lines`: what is new in it."""

    node: Node
    texts: dict[str, str]
    lines: list[str]


@dataclass
class Plan:
    """What the description says that is not yet so."""

    description: Description
    state: State
    out: str
    made: list[str]
    rings: list[RingChange]
    nodes: list[NodePlan]
    changed_rings: list[str]

    @property
    def is_empty(self) -> bool:
        return not (
            self.made or any(ring.lines for ring in self.rings) or any(node.lines for node in self.nodes)
        )


def plan(
    description: Description, state: State, out: str, remove: Collection[str] = (), again: bool = False
) -> Plan:
    """Changes nothing that is kept. Raises DescriptionError."""
    _check_signing(description, out)
    made = state.make_secrets(description)
    changed = rings.changes(description, state, remove, again)
    new = [f"{change.ring}.ring.gz" for change in changed if not _is_written(state, change)]
    digests = tree.ring_digests(state, [change.ring for change in changed])
    nodes = []
    for node in description.nodes:
        texts = configs.files(description, node, state)
        manifest = tree.make_manifest(description, node, texts, digests, {})
        nodes.append(NodePlan(node, texts, tree.differences(NodeTree.of(out, node), manifest, texts, new)))
    return Plan(description, state, out, made, changed, nodes, new)


def _check_signing(description: Description, out: str) -> None:
    """Nodes that require signatures refuse those that don't sign yet, or no longer: between the two all of them do both."""
    for node in description.nodes:
        try:
            sections = read_ini(os.path.join(NodeTree.of(out, node).folder, "swift.conf"))
        except ConfigError:
            continue
        before = sections.get("backend-security", {}).get("signing", "off")
        if {before, description.signing} == {"off", "require"}:
            raise DescriptionError(
                [
                    f'[cluster] signing was {before} for {node.name}: "sign" first, apply and push --activate, and only then '
                    f'"{description.signing}"; nodes would refuse one another otherwise'
                ]
            )


def _is_written(state: State, change: RingChange) -> bool:
    """Returns True if the ring file is what the builder says."""
    try:
        there = RingData.load(state.ring_file(change.ring))
    except (OSError, ValueError):
        return False
    ring = change.builder.get_ring()
    return (there.devs, there.rows, there.version, there.next_part_power) == (
        ring.devs,
        ring.rows,
        ring.version,
        ring.next_part_power,
    )


def apply(found: Plan) -> list[str]:
    """Keeps secrets, then builders and rings, then what each node has; what a kill leaves undone the next run does.

    Returns warnings. Raises DescriptionError, OSError.
    """
    state, description = found.state, found.description
    state.policies = policy_sections(description.policies)
    state.save()
    for change in found.rings:
        if change.write_builder:
            _keep_before(state, change)
            change.builder.save(state.builder_file(change.ring))
        if f"{change.ring}.ring.gz" in found.changed_rings:
            change.builder.get_ring().save(state.ring_file(change.ring))
    names = [change.ring for change in found.rings]
    digests, versions = tree.ring_digests(state, names), tree.ring_versions(state, names)
    links = {name: os.path.join(state.folder, name) for name in digests}
    warnings: dict[str, None] = {}
    for one in found.nodes:
        node_tree = NodeTree.of(found.out, one.node)
        manifest = tree.make_manifest(description, one.node, one.texts, digests, versions)
        if one.lines or not _is_intact(node_tree, manifest):
            node_tree.write(manifest, one.texts, links)
        for name in filter(lambda name: name.endswith(".conf"), one.texts):
            for line in unknown_options(os.path.join(node_tree.folder, name), name.removesuffix(".conf")):
                warnings[f"{name}: {line}"] = None
    return list(warnings)


def _is_intact(node_tree: NodeTree, manifest: dict) -> bool:
    try:
        node_tree.check()
        return node_tree.manifest() == manifest
    except DescriptionError:
        return False


def _keep_before(state: State, change: RingChange) -> None:
    """The builder as it was goes to `backups`, as swift-ring-builder has it."""
    before = state.builder(change.ring)
    if before is not None:
        folder = os.path.join(state.folder, "backups")
        mkdirs_durable(folder, state.folder)
        RingBuilder.save(before, os.path.join(folder, f"{before.version}.{change.ring}.builder"))
