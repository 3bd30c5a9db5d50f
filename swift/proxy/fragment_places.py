"""Which fragment of an object goes to which node (spec proxy 14.4). Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence

from swift.proxy.routing import Node, is_handoff


def fragments_for(nodes: Sequence[Node], total: int, copies: int) -> list[int | None]:
    """The index of the fragment for each of the nodes; None for one that would bring nothing that is missing.

    `total`: how many different fragments there are, each wanted `copies` times. A primary has a fragment of its own; handoffs get
    those that are missing, the ones of which most copies are missing first.
    """
    missing = dict.fromkeys(range(total), copies)
    found: list[int | None] = [None] * len(nodes)
    for at, node in enumerate(nodes):
        if not is_handoff(node):
            index = found[at] = node["index"] % total
            missing[index] -= 1
    holes = [index for tier in range(copies, 0, -1) for index in range(total) if missing[index] >= tier]
    for at, node in enumerate(nodes):
        if is_handoff(node) and holes:
            found[at] = holes.pop(0)
    return found
