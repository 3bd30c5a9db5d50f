"""Container updates that were not delivered yet: files below async_pending (object-disk 14.2).

The format and its place. Who makes them is `updates`, who delivers them later is `updater`.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

from swift.core.fs import fault_point, fsync_dir, mkdirs_durable, write_durable
from swift.core.unpickle import UnpickleError, loads
from swift.obj.layout import ASYNCDIR, TMPDIR, policy_dir

MAX_SIZE = 1 << 20

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
    tmp_dir = f"{device_path}/{policy_dir(TMPDIR, policy_index)}"
    os.makedirs(tmp_dir, exist_ok=True)
    # not remembered: the updater removes directories that it has emptied
    mkdirs_durable(os.path.dirname(path), device_path, remember=False)
    data = pickle.dumps(update, protocol=0)
    try:
        write_durable(path, data, tmp_dir)
    except FileNotFoundError:
        # it did so just now
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fsync_dir(os.path.dirname(os.path.dirname(path)))
        write_durable(path, data, tmp_dir)
    fault_point("pending:written")
    return path


def rewrite_pending(device_path: str, policy_index: int, path: str, update: dict[str, Any]) -> None:
    """Replace the pending file at `path`. Raises OSError."""
    tmp_dir = f"{device_path}/{policy_dir(TMPDIR, policy_index)}"
    os.makedirs(tmp_dir, exist_ok=True)
    write_durable(path, pickle.dumps(update, protocol=0), tmp_dir)


def read_pending(path: str) -> dict[str, Any]:
    """Load an update, ours or the reference's, and check its shape. Raises BadPending, OSError."""
    with open(path, "rb") as file:
        data = file.read(MAX_SIZE + 1)
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
