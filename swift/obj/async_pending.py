"""Container updates: what one says, and those that were not delivered yet, files below async_pending (object-disk 14.2).

The format and its place. Who makes them is `updates`, who delivers them later is `updater`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from typing import Any, NamedTuple

from swift.core.unpickle import UnpickleError, loads
from swift.engine.durable import mkdirs_durable, write_durable
from swift.engine.fault_points import fault_point
from swift.obj.damage import read_or_judge
from swift.obj.directories import ASYNCDIR, TMPDIR, policy_dir
from swift.obj.errors import Corrupt

MAX_SIZE = 1 << 20
WRITE_TRIES = 5

_TEXTS = ("op", "account", "container", "obj")


class ContainerUpdate(NamedTuple):
    """What a container is to be told of an object. Names are native text; `container_path`: of the shard to tell, if it isn't the root.

    `op`: PUT or DELETE; `headers`: of the request, X-Timestamp at least; `db_state`: of the root, as the proxy said.
    """

    op: str
    account: str
    container: str
    obj: str
    headers: dict[str, str]
    db_state: str | None = None
    container_path: str | None = None

    @property
    def timestamp(self) -> str:
        """By which its file is named: of the object's last change, internal form."""
        return self.headers.get("X-Meta-Timestamp") or self.headers["X-Timestamp"]

    def stored(self, container_path: str | None = None) -> dict[str, Any]:
        """What `write_update` takes. `container_path`: where a server pointed to."""
        update: dict[str, Any] = {**self._asdict(), "container_path": container_path or self.container_path}
        if not update["container_path"]:
            del update["container_path"]
        return update


class BadUpdate(ValueError):
    """An async pending file that can't be read; to be quarantined."""


def update_path(device_path: str, policy_index: int, name_hash: str, timestamp: str) -> str:
    """Path of the undelivered update of an object. `timestamp` in internal form."""
    return f"{device_path}/{policy_dir(ASYNCDIR, policy_index)}/{name_hash[-3:]}/{name_hash}-{timestamp}"


def write_update(
    device_path: str, policy_index: int, name_hash: str, timestamp: str, update: dict[str, Any]
) -> str:
    """Store an update durably; one of the same name is replaced. Returns its path. Raises OSError.

    `update`: op (PUT or DELETE), account, container, obj (native text), headers (dict of text), db_state; optionally
    container_path, and the updater's successes and redirect_history.
    """
    path = update_path(device_path, policy_index, name_hash, timestamp)
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


def count_updates(device_path: str, policy_index: int, most: int) -> int:
    """How many undelivered updates a device has; counting ends at `most`. Raises OSError."""
    directory = f"{device_path}/{policy_dir(ASYNCDIR, policy_index)}"
    found = 0
    try:
        suffixes = os.listdir(directory)
    except FileNotFoundError:
        return 0
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += len(os.listdir(f"{directory}/{suffix}"))
        if found >= most:
            return most
    return found


def _tmp_dir(device_path: str, policy_index: int) -> str:
    """The policy's directory for temporary files, made if missing; never the device's own."""
    path = f"{device_path}/{policy_dir(TMPDIR, policy_index)}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    return path


def rewrite_update(device_path: str, policy_index: int, path: str, update: dict[str, Any]) -> None:
    """Replace the file at `path`, which is there. Raises OSError (ENOENT: it is not)."""
    os.stat(path)
    write_durable(path, pickle.dumps(update, protocol=0), _tmp_dir(device_path, policy_index))


def read_update(path: str) -> dict[str, Any]:
    """Load an update, ours or the reference's, and check its shape.

    Raises BadUpdate when it is proven bad; an OSError proves nothing, the next sweep will tell.
    """
    try:
        data = read_or_judge(_read, path)
    except Corrupt as err:
        raise BadUpdate(str(err)) from None
    try:
        update = loads(data, max_size=MAX_SIZE)
    except UnpickleError as err:
        raise BadUpdate(str(err)) from None
    if not isinstance(update, dict):
        raise BadUpdate("no dict")
    for key in _TEXTS:
        if not isinstance(update.get(key), str):
            raise BadUpdate(f"no {key}")
    if update["op"] not in ("PUT", "DELETE"):
        raise BadUpdate(f"op {update['op']!r}")
    headers = update.get("headers")
    if not isinstance(headers, dict) or not all(isinstance(k, str) for k in headers):
        raise BadUpdate("no headers")
    return update


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_SIZE + 1)
