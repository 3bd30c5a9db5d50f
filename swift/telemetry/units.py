"""Units of work of daemons: each is a transaction of its own, so that what a daemon asks servers for is found in their logs by its id.

What lives here: giving a unit its id, handing it on, telling servers of it. What never does: requests of clients, which have theirs from
the proxy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from swift.core.transaction import new_transaction_id
from swift.telemetry.log import set_transaction, transaction

GIVEN = "swift.given_trans_id"  # environ key: the id of the unit that an internal client's request belongs to

F = TypeVar("F", bound=Callable[..., Any])


def unit_of_work(function: F) -> F:
    """Each call is a transaction: what it logs and sends has one new id."""

    @functools.wraps(function)
    def work(*args: Any, **kwargs: Any) -> Any:
        before = transaction()
        set_transaction(new_transaction_id())
        try:
            return function(*args, **kwargs)
        finally:
            set_transaction(*before)

    return work  # type: ignore[return-value]


def handed_on(function: F) -> F:
    """For another green thread, which works on what this one does."""
    mine = transaction()

    def work(*args: Any, **kwargs: Any) -> Any:
        set_transaction(*mine)
        return function(*args, **kwargs)

    return work  # type: ignore[return-value]


def transaction_headers() -> list[tuple[str, str]]:
    """What a request to a storage server says of the unit that it belongs to; nothing where there is none."""
    txn = transaction()[0]
    return [("X-Trans-Id", txn)] if txn else []
