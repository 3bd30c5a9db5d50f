"""What proves that something stored is damaged: the one place that says so. Nothing is quarantined on less.

An error of the machine (no memory, no descriptors left, no permission, a server that is away, an interrupted call) says nothing about
what is on the disk. EIO may be a bad sector or a cable: it is a proof when it comes back at a second look.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from swift.obj.errors import Corrupt

# The file system says that what it keeps is broken, or that what must be there is not. EUCLEAN and EBADMSG are EFSCORRUPTED and
# EFSBADCRC by their other names.
PROOF = frozenset((errno.ENODATA, errno.EUCLEAN, errno.EBADMSG))
DOUBT = errno.EIO


def is_proof(err: OSError, looks: int = 1) -> bool:
    """True if the error, met at the `looks`-th look, proves that what was read is damaged."""
    return err.errno in PROOF or (err.errno == DOUBT and looks > 1)


def read_or_judge(function: Callable[..., Any], *args: Any) -> Any:
    """The result of function(*args), which reads what is stored; looks again where one look proves nothing.

    Raises Corrupt when the error is a proof, all other OSErrors as they are.
    """
    try:
        return function(*args)
    except OSError as err:
        return judge(err, function, *args)


def judge(err: OSError, function: Callable[..., Any], *args: Any) -> Any:
    """What comes of the error `err` of function(*args), which reads what is stored: its result at a second look, if that is good.

    Raises Corrupt when it is a proof, other OSErrors as they are.
    """
    if err.errno == DOUBT:
        try:
            return function(*args)
        except OSError as again:
            err = again
            if is_proof(err, 2):
                raise Corrupt(str(err)) from None
    if is_proof(err):
        raise Corrupt(str(err)) from None
    raise err
