"""How the objects of one type of policy are read and written: what such a kind gives, and which kinds there are.

A kind registers itself for its `policy_type`; verbs know kinds only through the classes here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from swift.core.policy import StoragePolicy
from swift.proxy.exchange import Body, Exchange
from swift.proxy.quorum import Answer
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.proxy.updates import Share


class Found(ABC):
    """An object that was found, whose body is still to come.

    `status`, `headers`: of the answer, as a storage server gives them; `timestamp`: when the object or its metadata was written.
    """

    __slots__ = ()
    status: int
    headers: Sequence[tuple[str, str]]
    timestamp: str | None

    @abstractmethod
    def arrived(self) -> list[bytes] | None:
        """The whole body if it is here already, then nothing is left to close; else None."""

    @abstractmethod
    def body(self) -> tuple[Body, int]:
        """The body on its way to the client, and its length in bytes, -1 if nobody knows it."""

    @abstractmethod
    def close(self) -> None:
        """No body is wanted: let go of what would bring it."""


class Upload:
    """One PUT. `common`: what its header blocks have in common; `shares`: what each has besides; `length`: bytes, None if chunked."""

    __slots__ = ("common", "exchange", "length", "place", "shares")

    def __init__(
        self, exchange: Exchange, place: Place, common: bytes, shares: Sequence[Share], length: int | None
    ) -> None:
        self.exchange = exchange
        self.place = place
        self.common = common
        self.shares = shares
        self.length = length


class Kind(ABC):
    """Objects of one policy."""

    def __init__(self, services: Services, policy: StoragePolicy) -> None:
        self.services = services
        self.policy = policy

    @abstractmethod
    def get(self, exchange: Exchange, place: Place, extra: Mapping[str, str | None]) -> Found | list[Answer]:
        """Answer a GET or HEAD: the object, else the answers that count. `extra`: headers for the object servers."""

    @abstractmethod
    def put(self, upload: Upload) -> tuple[list[Answer], str | None]:
        """Store a body: (the servers' answers, padded with 503; the object's ETag if they agree on one). Raises HTTPException."""


_kinds: dict[str, Callable[[Services, StoragePolicy], Kind]] = {}


def register(policy_type: str) -> Callable[[Any], Any]:
    """Class decorator: objects of policies of that type are kept so."""

    def add(cls: Any) -> Any:
        _kinds[policy_type] = cls
        return cls

    return add


def kind_of(services: Services, policy: StoragePolicy) -> Kind | None:
    """How objects of the policy are kept; None for a type that this proxy does not serve."""
    make = _kinds.get(policy.policy_type)
    return make(services, policy) if make is not None and policy.is_served else None


def is_served(policy: StoragePolicy) -> bool:
    """Return True if this proxy reads and writes objects of the policy."""
    return policy.is_served and policy.policy_type in _kinds
