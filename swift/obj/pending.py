"""Container updates that were not delivered yet: files below async_pending (object-disk 14.2).

The format and its place. Who makes them is `updates`, who delivers them later is `updater`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from typing import Any

from swift.core.fs import fault_point, mkdirs_durable, write_durable
from swift.core.unpickle import UnpickleError, loads
from swift.obj.damage import read_or_judge
from swift.obj.directories import ASYNCDIR, TMPDIR, policy_dir
from swift.obj.errors import Corrupt

MAX_SIZE = 1 << 20
WRITE_TRIES = 5

_TEXTS = ("op", "account", "container", "obj")


class BadPending(ValueError):
    """A pending file that can't be read; to be quarantined."""


def pending_path(device_path: str, policy_index: int, name_hash: str, timestamp: str) -> str:
    """Path of the pending update of an object. `timestamp` in internal form."""
    return f"{device_path}/{policy_dir(ASYNCDIR, policy_index)}/{name_hash[-3:]}/{name_hash}-{timestamp}"


def write_pending(
    device_path: str, policy_index: int, name_hash: str, timestamp: str, update: dict[str, Any]
) -> str:
    """Store an update durably; one of the same name is replaced. Returns its path. Raises OSError.

    `update`: op (PUT or DELETE), account, container, obj (native text), headers (dict of text), db_state; optionally
    container_path, and the updater's successes and redirect_history.
    """
    path = pending_path(device_path, policy_index, name_hash, timestamp)
    data = pickle.dumps(update, protocol=0)
    for attempt in range(WRITE_TRIES):
        # not remembered: the updater removes directories that it has emptied
        mkdirs_durable(os.path.dirname(path), device_path, remember=False)
        try:
            write_durable(path, data, _tmp_dir(device_path, policy_index))
            break
        except FileNotFoundError:  # it did so just now
            if attempt == WRITE_TRIES - 1:
                raise
    fault_point("pending:written")
    return path


def _tmp_dir(device_path: str, policy_index: int) -> str:
    """The policy's directory for temporary files, made if missing; never the device's own."""
    path = f"{device_path}/{policy_dir(TMPDIR, policy_index)}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    return path


def rewrite_pending(device_path: str, policy_index: int, path: str, update: dict[str, Any]) -> None:
    """Replace the pending file at `path`. Raises OSError."""
    write_durable(path, pickle.dumps(update, protocol=0), _tmp_dir(device_path, policy_index))


def read_pending(path: str) -> dict[str, Any]:
    """Load an update, ours or the reference's, and check its shape.

    Raises BadPending when it is proven bad; an OSError proves nothing, the next sweep will tell.
    """
    try:
        data = read_or_judge(_read, path)
    except Corrupt as err:
        raise BadPending(str(err)) from None
    try:
        update = loads(data, max_size=MAX_SIZE)
    except UnpickleError as err:
        raise BadPending(str(err)) from None
    if not isinstance(update, dict):
        raise BadPending("no dict")
    for key in _TEXTS:
        if not isinstance(update.get(key), str):
            raise BadPending(f"no {key}")
    if update["op"] not in ("PUT", "DELETE"):
        raise BadPending(f"op {update['op']!r}")
    headers = update.get("headers")
    if not isinstance(headers, dict) or not all(isinstance(k, str) for k in headers):
        raise BadPending("no headers")
    return update


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_SIZE + 1)
