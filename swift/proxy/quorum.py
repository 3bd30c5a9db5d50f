"""How many answers suffice and which one speaks for all (spec proxy 7).

Pure functions over answers: nothing here talks to a node or builds a client response.
"""

from collections.abc import Iterable, Mapping, Sequence

from swift.core.policy import quorum_size


class Answer:
    """What one node answered to one backend request, read whole.

    `headers`: [(name, value)] as received; `node`: the ring's node, None for an answer that was made up.
    """

    __slots__ = ("body", "headers", "node", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: str = "",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        node: Mapping | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.node = node

    def get(self, lower_name: str, default: str | None = None) -> str | None:
        """Value of the first header called `lower_name` (given in lower case)."""
        for name, value in self.headers:
            if name.lower() == lower_name:
                return value
        return default

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.reason}>"


UNAVAILABLE = Answer(503, "Service Unavailable")


def is_success(status: int) -> bool:
    return 200 <= status < 300


def have_quorum(statuses: Iterable[int], needed: int) -> bool:
    """Return True if some class below 500 has `needed` answers."""
    classes = [0, 0, 0, 0, 0]
    for status in statuses:
        hundred = status // 100
        if hundred < 5:
            classes[hundred] += 1
            if classes[hundred] >= needed:
                return True
    return False


def pad(answers: list[Answer], count: int) -> list[Answer]:
    """Return `answers` filled up with 503 to `count`."""
    return answers + [UNAVAILABLE] * (count - len(answers))


def best_answer(
    answers: Sequence[Answer], quorum: int | None = None, overrides: Mapping[int, int] | None = None
) -> Answer | None:
    """The answer that speaks for all: the highest status of the best class that has a quorum; None without one.

    `quorum`: None means that of the number of answers. `overrides` maps statuses to those that they count as when no
    class has a quorum; an answer that was counted as something else never speaks for the others.
    """
    if not answers:
        return None
    needed = quorum_size(len(answers)) if quorum is None else quorum
    statuses = [answer.status for answer in answers]
    best = _best(answers, statuses, needed, frozenset())
    if best is None and overrides:
        replaced = frozenset(i for i, status in enumerate(statuses) if status in overrides)
        statuses = [overrides.get(status, status) for status in statuses]
        best = _best(answers, statuses, needed, replaced)
    return best


def _best(
    answers: Sequence[Answer], statuses: Sequence[int], needed: int, avoid: frozenset[int]
) -> Answer | None:
    for hundred in (2, 3, 4):
        members = [i for i, status in enumerate(statuses) if status // 100 == hundred]
        if len(members) < needed:
            continue
        eligible = [i for i in members if i not in avoid]
        if eligible:
            return answers[max(eligible, key=statuses.__getitem__)]
    return None
