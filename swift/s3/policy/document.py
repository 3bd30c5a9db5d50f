"""What a policy is: read strictly, within bounds, once (spec s3.md 16.1, 16.2).

A policy that is kept was read when it came; it is read again where it counts, and what can't be read then allows nothing. Never here: what
it says of a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from swift.s3.errors import S3Error
from swift.s3.identity import Identity
from swift.s3.policy import actions, context_keys
from swift.s3.policy.conditions import BadCondition, Condition, conditions_of
from swift.s3.policy.patterns import BadPattern, Glob, Pattern, plain_glob

MOST_BYTES = 20_480
MOST_BYTES_OF_SESSION = 2048
ARN = "arn:aws:s3:::"
_MOST_KEPT = 128
_VERSIONS = ("2012-10-17", "2008-10-17")
_JSON = "Policies must be valid JSON and the first byte must be '{'"
_PRINCIPAL = "Invalid principal in policy"
_ACCOUNT = r"[\w.@=+-]{1,256}"
_ROOT = re.compile(rf"arn:aws:iam::({_ACCOUNT}):root")
_USER = re.compile(rf"arn:aws:iam::{_ACCOUNT}:user/[^*?\s]{{1,256}}")
_ACCOUNT_ID = re.compile(_ACCOUNT)
_FIELDS = frozenset((
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
))  # fmt: skip


class Principals(NamedTuple):
    """Whom a statement is about. `accounts`: with or without their reseller prefix."""

    everybody: bool = False
    users: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    canonical: frozenset[str] = frozenset()

    def has(self, who: Identity) -> bool:
        if self.everybody:
            return True
        if who.is_anonymous:
            return False
        return (
            who.user_id in self.canonical
            or who.account_id in self.accounts
            or who.account in self.accounts
            or not self.users.isdisjoint(who.arns)
        )


class Statement(NamedTuple):
    """`principals`: None in the policy of a session, which is about whoever has it. Each `is_not_…`: what is named is what it is not about."""

    is_allow: bool
    principals: Principals | None
    is_not_principal: bool
    actions: tuple[Glob, ...]
    is_not_action: bool
    resources: tuple[Pattern, ...]
    is_not_resource: bool
    conditions: tuple[Condition, ...]


class Policy(NamedTuple):
    statements: tuple[Statement, ...]


def malformed(message: str, detail: str | None = None) -> S3Error:
    return S3Error("MalformedPolicy", message, Detail=detail)


@lru_cache(maxsize=_MOST_KEPT)
def parse(text: str, is_session: bool = False) -> Policy:
    """The policy of a text. Raises S3Error (MalformedPolicy)."""
    found = _members(text, MOST_BYTES_OF_SESSION if is_session else MOST_BYTES)
    for name in found:
        if name not in ("Version", "Id", "Statement"):
            raise malformed(f"Unknown field {name[:64]}")
    version = found.get("Version", _VERSIONS[1])
    if version not in _VERSIONS:
        raise malformed("The policy must contain a valid version string")
    if not isinstance(found.get("Id", ""), str):
        raise malformed("Invalid policy syntax.")
    statements = found.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise malformed("Missing required field Statement" if statements is None else "Could not parse the policy: Statement is empty!")  # fmt: skip
    made, names = [], set()
    for statement in statements:
        if not isinstance(statement, dict):
            raise malformed("Invalid policy syntax.")
        sid = statement.get("Sid")
        if sid is not None:
            if not isinstance(sid, str):
                raise malformed("Invalid policy syntax.")
            if sid in names:
                raise malformed("Statement IDs (SID) in a single policy must be unique.")
            names.add(sid)
        made.append(_statement(statement, version == _VERSIONS[0], is_session))
    return Policy(tuple(made))


def check_bucket(policy: Policy, bucket: str) -> None:
    """Raises S3Error for a policy that is about anything but a bucket, or has actions that are about nothing of it."""
    for statement in policy.statements:
        for pattern in statement.resources:
            rest = pattern.text[len(ARN) :]
            if not rest.startswith(bucket) or rest[len(bucket) : len(bucket) + 1] not in ("", "/", "*"):
                raise malformed("Policy has invalid resource")
        if not statement.is_not_action and not statement.is_not_resource:
            _check_actions(statement, bucket)


def _check_actions(statement: Statement, bucket: str) -> None:
    about_bucket = any(
        pattern.text[len(ARN) + len(bucket) :][:1] in ("", "*") for pattern in statement.resources
    )
    about_objects = any(pattern.text[len(ARN) + len(bucket) :] for pattern in statement.resources)
    for glob in statement.actions:
        applies = (about_objects and any(map(glob.matches, actions.LOWER_OF_OBJECTS))) or (
            about_bucket and any(map(glob.matches, actions.LOWER_OF_BUCKETS))
        )
        if not applies:
            raise malformed("Action does not apply to any resource(s) in statement")


# -- members --------------------------------------------------------------------------------------------------------------


def _members(text: str, most: int) -> dict[str, Any]:
    if len(text.encode("utf-8", "surrogatepass")) > most:
        raise malformed("Policy exceeds the maximum allowed document size.")
    if not text.startswith("{"):
        raise malformed(_JSON)
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise malformed(_JSON) from None
    if not isinstance(found, dict):
        raise malformed(_JSON)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same name twice")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _texts(value: Any, message: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(text, str) and text for text in values):
        raise malformed(message)
    return values


def _one_of(found: Mapping[str, Any], name: str) -> tuple[Any, bool]:
    """(the value of a field or of its contrary, True for that)."""
    contrary = f"Not{name}"
    if name in found and contrary in found:
        raise malformed("Invalid policy syntax.")
    if name in found:
        return found[name], False
    if contrary in found:
        return found[contrary], True
    raise malformed(f"Missing required field {name}")


def _statement(found: Mapping[str, Any], has_variables: bool, is_session: bool) -> Statement:
    for name in found:
        if name not in _FIELDS or (is_session and name.endswith("Principal")):
            raise malformed(f"Unknown field {name[:64]}")
    if "Effect" not in found:
        raise malformed("Missing required field Effect")
    effect = found["Effect"]
    if effect not in ("Allow", "Deny"):
        raise malformed(f"Invalid effect: {str(effect)[:64]}")
    principals, is_not_principal = None, False
    if not is_session:
        value, is_not_principal = _one_of(found, "Principal")
        principals = _principals(value)
    value, is_not_action = _one_of(found, "Action")
    globs = tuple(_action(text) for text in _texts(value, "Policy has invalid action"))
    value, is_not_resource = _one_of(found, "Resource")
    texts = _texts(value, "Policy has invalid resource")
    resources = tuple(_resource(text, has_variables, is_session) for text in texts)
    conditions = _conditions(found.get("Condition", {}), has_variables)
    return Statement(
        effect == "Allow", principals, is_not_principal, globs, is_not_action, resources, is_not_resource, conditions
    )  # fmt: skip


def _action(text: str) -> Glob:
    lower = text.lower()
    glob = plain_glob(lower)
    if lower != "*" and (not lower.startswith("s3:") or not any(map(glob.matches, actions.LOWER))):
        raise malformed("Policy has invalid action")
    return glob


def _resource(text: str, has_variables: bool, is_session: bool) -> Pattern:
    if not text.startswith(ARN) and not (is_session and text == "*"):
        raise malformed("Policy has invalid resource")
    try:
        return Pattern(text, has_variables)
    except BadPattern:
        raise malformed("Policy has invalid resource") from None


def _principals(value: Any) -> Principals:
    if value == "*":
        return Principals(everybody=True)
    if not isinstance(value, dict) or not value:
        raise malformed(_PRINCIPAL)
    everybody = False
    users, accounts, canonical = set(), set(), set()
    for kind, named in value.items():
        if kind not in ("AWS", "CanonicalUser", "Federated", "Service"):
            raise malformed(_PRINCIPAL, f'"{kind[:64]}"')
        for text in _texts(named, _PRINCIPAL):
            if kind == "CanonicalUser":
                canonical.add(text)
            if kind != "AWS":
                continue
            root = _ROOT.fullmatch(text)
            if text == "*":
                everybody = True
            elif root is not None:
                accounts.add(root.group(1))
            elif _USER.fullmatch(text):
                users.add(text)
            elif _ACCOUNT_ID.fullmatch(text):
                accounts.add(text)
            else:
                raise malformed(_PRINCIPAL, f'"AWS" : "{text[:256]}"')
    return Principals(everybody, frozenset(users), frozenset(accounts), frozenset(canonical))


def _conditions(value: Any, has_variables: bool) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        raise malformed("Invalid policy syntax.")
    found: dict[str, dict[str, list[str]]] = {}
    for operator, keys in value.items():
        if not isinstance(keys, dict) or not keys:
            raise malformed("Invalid policy syntax.")
        found[operator] = {}
        for key, values in keys.items():
            if not context_keys.is_known(key):
                raise malformed("Policy has an invalid condition key")
            found[operator][key] = _values(values)
    try:
        return conditions_of(found, has_variables)
    except BadCondition as error:
        raise malformed(str(error)) from None


def _values(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    made = []
    for item in values:
        if isinstance(item, bool):
            made.append("true" if item else "false")
        elif isinstance(item, (int, float)):
            made.append(str(item))
        elif isinstance(item, str):
            made.append(item)
        else:
            raise malformed("Invalid policy syntax.")
    if not made:
        raise malformed("Invalid policy syntax.")
    return made
