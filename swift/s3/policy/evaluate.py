"""What policies say of a request (spec s3.md 16.2): a denial wins over everything, and who is not mentioned is not allowed.

Pure. Never here: what else may allow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from swift.s3.identity import Identity
from swift.s3.policy.conditions import TooLong, Undecided, Values
from swift.s3.policy.document import Policy, Statement


class Verdict(Enum):
    NOTHING = "nothing"
    ALLOWED = "allowed"
    DENIED = "denied"


def verdict(policy: Policy, who: Identity, action: str, resource: str, values: Values) -> Verdict:
    """`action`: as it is written; `resource`: an ARN; `values(key)`: what the request says of a condition key."""
    return _told(policy.statements, who, action.lower(), resource, values)


def _told(
    statements: Iterable[Statement], who: Identity, action: str, resource: str, values: Values
) -> Verdict:
    found = Verdict.NOTHING
    try:
        for statement in statements:
            if found is Verdict.ALLOWED and statement.is_allow:
                continue
            if is_about(statement, who, action, resource, values):
                if not statement.is_allow:
                    return Verdict.DENIED
                found = Verdict.ALLOWED
    except TooLong:
        return Verdict.DENIED
    return found


def is_about(statement: Statement, who: Identity, action: str, resource: str, values: Values) -> bool:
    """Returns True if a statement is about this; `action` in lower case. Raises TooLong."""
    principals = statement.principals
    if principals is not None and principals.has(who) is statement.is_not_principal:
        return False
    if any(glob.matches(action) for glob in statement.actions) is statement.is_not_action:
        return False

    def lookup(key: str) -> str | None:
        found = values(key)
        return found[0] if found is not None and len(found) == 1 else None

    globs = [pattern.glob(lookup) for pattern in statement.resources]
    is_named = any(glob is not None and glob.matches(resource) for glob in globs)
    if is_named is statement.is_not_resource:
        return False
    if not is_named and None in globs:
        return False  # nobody can say that it is none of these
    try:
        return all(condition.holds(values) for condition in statement.conditions)
    except Undecided:
        return False
