"""Which of two replicas of a container has the storage policy that counts (database.md 10.3). Pure; times compare as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def compare(local: Mapping[str, Any], remote: Mapping[str, Any]) -> int:
    """-1 if the local replica's policy counts, 1 if the remote's, 0 if nothing tells them apart.

    Of each: put_timestamp, delete_timestamp, status_changed_at, and count or object_count.
    """
    local_deleted, remote_deleted = _is_deleted(local), _is_deleted(remote)
    if local_deleted or remote_deleted:
        if not local_deleted:
            return -1
        if not remote_deleted:
            return 1
        return _order(remote["status_changed_at"], local["status_changed_at"])
    local_again, remote_again = _is_recreated(local), _is_recreated(remote)
    if local_again or remote_again:
        if not local_again:
            return 1
        if not remote_again:
            return -1
        last_delete = max(local["delete_timestamp"], remote["delete_timestamp"])
        if local["put_timestamp"] < last_delete:
            return 1
        if remote["put_timestamp"] < last_delete:
            return -1
    return _order(local["status_changed_at"], remote["status_changed_at"])


def _order(first: str, second: str) -> int:
    """-1 if `first` is the earlier one, 1 if it is the later one."""
    return (first > second) - (first < second)


def _is_deleted(info: Mapping[str, Any]) -> bool:
    count = info["count"] if "count" in info else info.get("object_count", 0)
    return bool(info["delete_timestamp"] > info["put_timestamp"]) and int(count or 0) == 0


def _is_recreated(info: Mapping[str, Any]) -> bool:
    ever_deleted = info["delete_timestamp"].strip("0.") != ""
    return bool(info["put_timestamp"] > info["delete_timestamp"]) and ever_deleted


def newest_choice(infos: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The one of several replicas whose policy counts; None of none."""
    best: dict[str, Any] | None = None
    for info in infos:
        if best is None or compare(best, info) > 0:
            best = info
    return best
