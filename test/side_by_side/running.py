"""A feature's list from its beginning to its end, against both sides. Never here: starting them, and printing."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from test.side_by_side.comparing import Difference, differences, found_in
from test.side_by_side.sending import Answer, send
from test.side_by_side.sides import USERS, login
from test.side_by_side.table import Feature, Step, Values

# A listing or a count may come a moment after what it tells of: a read that differs is asked again after so many seconds …
PAUSES = (0.2, 1.0)
IN_VAIN = 3  # … until that many have differed nevertheless


class Verdict(NamedTuple):
    """number: of the step, from 1 on. unexpected: a fault, on whichever side. expected: with their reasons.

    stale: what was said to differ and does not."""

    number: int
    step: Step
    path: str
    unexpected: list[Difference]
    expected: list[tuple[Difference, str]]
    stale: list[str]


class Side:
    """One of the two, with what was kept of its answers."""

    def __init__(self, port: int, feature: Feature) -> None:
        self.port = port
        self.values = first_values(port, feature)
        self.kept: Values = {}
        self.tokens: Values = {}
        self._account = feature.account

    def token(self, user: str) -> str:
        """Raises RuntimeError when it is not to be had."""
        if user not in self.tokens:
            name, key = login(self._account, user)
            answer = send(self.port, "GET", "/auth/v1.0", {"X-Auth-User": name, "X-Auth-Key": key}, b"")
            if answer.status != 200:
                raise RuntimeError(f"no token for {name} on port {self.port}: {answer}")
            self.tokens[user] = answer.header("x-auth-token")
            self.values[f"token_{user}"] = self.kept[f"token_{user}"] = self.tokens[user]
        return self.tokens[user]

    def do(self, step: Step) -> Answer:
        """Sends it and keeps what is to be kept."""
        headers: dict[str, str | None] = {}
        if step.user:
            headers["X-Auth-Token"] = self.token(step.user)
        if step.make:
            self.values.update(step.make(self.values))
        fill = self._filled
        headers.update({fill(name): None if value is None else fill(value) for name, value in step.headers.items()})  # fmt: skip
        target = fill(step.path if step.whole else f"/v1/{{account}}{step.path}")
        body: bytes | list[bytes]
        if isinstance(step.body, (str, bytes)):
            body = self._bytes(step.body)
        else:
            body = [self._bytes(piece) for piece in step.body]
        answer = send(self.port, step.method, target, headers, body)
        for name, where in step.keep.items():
            self.values[name] = self.kept[name] = found_in(answer, where)
        return answer

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: self.values.get(match[1], match[0]), text)

    def _bytes(self, data: str | bytes) -> bytes:
        if isinstance(data, bytes):
            return data
        return self._filled(data).encode("utf-8", "surrogateescape")


def first_values(port: int, feature: Feature) -> Values:
    """What a table may name without having kept it; `{token_<user>}` is there once that user has sent something."""
    return {
        "account": f"AUTH_{feature.account}",
        "other": f"AUTH_{feature.account}-other",
        "name": feature.account,
        "host": f"127.0.0.1:{port}",
        "port": str(port),
    }


def run(feature: Feature, ports: tuple[int, int]) -> list[Verdict]:
    """One for each step, in their order."""
    sides = Side(ports[0], feature), Side(ports[1], feature)
    for side in sides:
        for user in USERS:
            side.token(user)
    verdicts: list[Verdict] = []
    in_vain = 0
    for number, step in enumerate(feature.steps, 1):
        patient = step.method in ("GET", "HEAD") and in_vain < IN_VAIN
        verdicts.append(_verdict(number, step, feature, sides, PAUSES if patient else ()))
        in_vain += patient and is_fault(verdicts[-1])
    return verdicts


def is_fault(verdict: Verdict) -> bool:
    """True if a table does not account for what was seen."""
    return bool(verdict.unexpected or verdict.stale)


def _verdict(
    number: int, step: Step, feature: Feature, sides: tuple[Side, Side], pauses: Sequence[float]
) -> Verdict:
    if step.wait:
        time.sleep(step.wait)
    found = _compared(step, sides, feature)
    unexpected, expected, stale = _sorted(found, step.differs, feature)
    for pause in pauses:
        if not unexpected and not stale:
            break
        time.sleep(pause)
        unexpected, expected, stale = _sorted(_compared(step, sides, feature), step.differs, feature)
    return Verdict(number, step, sides[1]._filled(step.path), unexpected, expected, stale)


def _compared(step: Step, sides: tuple[Side, Side], feature: Feature) -> list[Difference]:
    reference, ours = (side.do(step) for side in sides)
    return differences(reference, ours, (sides[0].kept, sides[1].kept), feature.words)


def _sorted(
    found: list[Difference], differs: Mapping[str, str], feature: Feature
) -> tuple[list[Difference], list[tuple[Difference, str]], list[str]]:
    unexpected = []
    expected = []
    why = {difference: _why(difference, feature) for difference in found}
    of_all = next((why[item] for item in found if item.what in ("status", "body") and why[item]), "")
    for difference in found:
        reason = ""
        for known in (differs, feature.ignored):
            reason = reason or known.get(difference.what) or known.get("*") or ""
        reason = reason or why[difference] or of_all
        if reason:
            expected.append((difference, reason))
        else:
            unexpected.append(difference)
    seen = {difference.what for difference in found}
    stale = [what for what in differs if what not in seen and not (what == "*" and seen)]
    return unexpected, expected, stale


def _why(difference: Difference, feature: Feature) -> str:
    """The reason that a feature's `known` differences give, or ""."""
    for known in feature.known:
        if (
            (
                difference.what == known.what
                or (known.what.endswith("-") and difference.what.startswith(known.what))
            )
            and re.search(known.reference, difference.reference)
            and re.search(known.ours, difference.ours)
        ):
            return known.why
    return ""
