"""Transaction ids: the name a client request has in every log of the cluster (spec proxy 4.3).

Lives here: making them and reading the time out of them. Never here: where they are kept or sent.
"""

import os
from collections.abc import Iterator
from urllib.parse import quote

from swift.core import clock

_RANDOM_DIGITS = 21
_BATCH = 256

_randoms: Iterator[str] = iter(())


def new_transaction_id(suffix: str = "") -> str:
    """``tx`` + 21 random hex digits + ``-`` + the time in seconds as 10 hex digits + ``suffix``, percent-quoted."""
    digits = next(_randoms, None)
    if digits is None:
        digits = _refill()
    if suffix:
        suffix = quote(suffix)
    return f"tx{digits}-{int(clock.time()):010x}{suffix}"


def transaction_time(transaction_id: str) -> int | None:
    """Seconds since the epoch when the id was made, or None if the text is no transaction id."""
    if len(transaction_id) < 34 or transaction_id[:2] != "tx" or transaction_id[23] != "-":
        return None
    try:
        return int(transaction_id[24:34], 16)
    except ValueError:
        return None


def _refill() -> str:
    # One system call for many ids; a list iterator hands each out once even when threads race.
    global _randoms
    digits = clock.random_bytes(_BATCH * 11).hex()
    randoms = iter([digits[start : start + _RANDOM_DIGITS] for start in range(0, len(digits), 22)])
    first = next(randoms)
    _randoms = randoms
    return first


def _forget_parents_randoms() -> None:
    global _randoms
    _randoms = iter(())


# Two workers forked from one parent must not hand out the same ids.
os.register_at_fork(after_in_child=_forget_parents_randoms)
