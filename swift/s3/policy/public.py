"""Whether a policy lets everybody in (spec s3.md 16.4)."""

from __future__ import annotations

from swift.s3.policy.conditions import Condition
from swift.s3.policy.document import Policy, Statement

_PINS = ("aws:principalarn", "aws:principalaccount", "aws:userid")
_KINDS = ("StringEquals", "StringLike", "StringEqualsIgnoreCase", "ArnEquals", "ArnLike")


def is_public(policy: Policy) -> bool:
    """Returns True if a statement allows something to everybody, and no condition of it names who that is or where from."""
    return any(map(_is_public, policy.statements))


def _is_public(statement: Statement) -> bool:
    if not statement.is_allow or statement.principals is None:
        return False
    if not statement.principals.everybody and not statement.is_not_principal:
        return False
    return not any(map(_pins, statement.conditions))


def _pins(condition: Condition) -> bool:
    if not condition.is_positive:
        return False
    if condition.key == "aws:sourceip":
        # two halves of all addresses are all of them
        return condition.operator.endswith("IpAddress") and all(
            network.prefixlen >= (8 if network.version == 4 else 32) for network in condition.wanted
        )
    kind = condition.operator.rpartition(":")[2]
    return condition.key in _PINS and kind in _KINDS and not any(
        mark in text for text in condition.texts for mark in ("*", "?", "${")
    )  # fmt: skip
