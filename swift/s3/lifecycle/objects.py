"""What is done to objects, versions and uploads of a bucket without a client: through an internal client (spec s3.md 17.3).

Whatever goes is looked at immediately before, and goes by a time at which it was seen: what is written later stays. Never here: what is due.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from swift.core.object_lock import WORD, Word
from swift.core.timestamp import Timestamp
from swift.s3 import metadata, object_changes, tagging
from swift.s3.multipart import layout, marker
from swift.wire.internal import InternalClient
from swift.wire.message import HeaderKeyDict, close_if_possible

PAGE = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_LEGAL_HOLD = object_changes.TRANSIENT + "legal-hold"
_RETENTION = object_changes.TRANSIENT + "retention"
HIDDEN = "X-Container-Sysmeta-Versions-Container"
_ARCHIVED = ("X-Container-Sysmeta-Versions-Location", "X-Versions-Location", "X-History-Location")
_EXACT = 0.00002  # seconds; listings tell microseconds
_UPLOAD_IDS = (marker.UPLOAD_ID, marker.OLD_UPLOAD_ID)


class Unsure(Exception):
    """The servers do not say what has to be known; another time they may."""


class Found(NamedTuple):
    """What a HEAD says."""

    status: int
    headers: HeaderKeyDict

    @property
    def written(self) -> Timestamp | None:
        text = self.headers.get("X-Backend-Data-Timestamp") or self.headers.get("X-Timestamp")
        return Timestamp(text) if text else None

    def is_of(self, listed: float) -> bool:
        """Returns True if it is what a listing has with this time, that of its content or of the last POST."""
        times = (self.written, self.headers.get("X-Backend-Timestamp"), self.headers.get("X-Timestamp"))
        return any(abs(float(Timestamp(time)) - listed) < _EXACT for time in times if time)

    @property
    def is_marker(self) -> bool:
        """Returns True if it is a delete marker: they are told of with a 404."""
        kinds = (self.headers.get("X-Backend-Content-Type"), self.headers.get("Content-Type"))
        return metadata.DELETE_MARKER_TYPE in kinds

    @property
    def version(self) -> str:
        return str(self.headers.get("X-Object-Version-Id") or "null")

    @property
    def is_large(self) -> bool:
        """Returns True if it is made of other objects."""
        return (self.headers.get("X-Static-Large-Object") or "").lower() == "true"

    @property
    def upload(self) -> str:
        """The upload that it was completed from, "" for none: a copy, which has the sysmeta too, is made of nothing."""
        if not self.is_large:
            return ""
        return str(next((self.headers[key] for key in _UPLOAD_IDS if self.headers.get(key)), ""))

    @property
    def tags(self) -> dict[str, str]:
        return tagging.of_stored(self.headers.get(tagging.STORED))

    def is_locked(self, now: float) -> bool:
        if (self.headers.get(_LEGAL_HOLD) or "").upper() == "ON":
            return True
        retention = self.headers.get(_RETENTION)
        if not retention:
            return False
        until = retention.rpartition(";")[2]
        return not until.replace(".", "", 1).isdigit() or float(until) > now


def names_in(manifest: bytes) -> Iterator[str]:
    """What a manifest names, /container/object. Raises Unsure if it is unreadable."""
    try:
        items = json.loads(manifest)
    except ValueError:
        raise Unsure("a manifest is unreadable") from None
    for item in items if isinstance(items, list) else ():
        name = (item.get("name") or item.get("path")) if isinstance(item, dict) else None
        if isinstance(name, str):
            yield "/" + name.lstrip("/")


class Bucket:
    """A bucket, native names as text. All methods raise Unsure, and what the client raises."""

    def __init__(self, client: InternalClient, account: str, name: str) -> None:
        self.client = client
        self.account = account
        self.name = name
        self.segments = layout.segments(name)

    def call(
        self,
        method: str,
        container: str | None,
        obj: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, HeaderKeyDict, bytes]:
        path = self.client.make_path(self.account, container, obj)
        response = self.client.make_request(method, path, headers or {}, (2, 4), body, params)
        parts, size = [], 0
        try:
            for data in response.app_iter:
                parts.append(data)
                size += len(data)
                if size > _MOST_BYTES:
                    raise Unsure(f"{path}: too long an answer")
        finally:
            close_if_possible(response.app_iter)
        return response.status_int, response.headers, b"".join(parts)

    # -- looking

    def head(self, key: str, version: str | None = None, container: str | None = None) -> Found:
        """status 404 for what is not there, or a delete marker; anything else than that and 200 is Unsure."""
        params = {"version-id": version} if version is not None else None
        status, headers, _ = self.call("HEAD", container or self.name, key, {"X-Newest": "true"}, params)
        if status not in (200, 204, 404):
            raise Unsure(f"HEAD {self.name}/{key}: {status}")
        return Found(status, headers)

    def is_there(self) -> Found:
        """What a HEAD of the container says."""
        status, headers, _ = self.call("HEAD", self.name, None, {"X-Newest": "true"})
        if status not in (200, 204, 404):
            raise Unsure(f"HEAD {self.name}: {status}")
        return Found(status, headers)

    def rows(self, container: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """The rows of a container; none if it is not there."""
        return (row for row in self._pages(container, {"prefix": prefix}) if "name" in row)

    def lists(self, key: str) -> bool:
        """Returns True if there is a row for a key."""
        query = {"prefix": key, "format": "json", "limit": "1"}
        status, _, data = self.call("GET", self.name, None, {"X-Newest": "true"}, query)
        if status not in (200, 204):
            raise Unsure(f"GET {self.name}: {status}")
        return any(row.get("name") == key for row in (json.loads(data) if data else []))

    def versions(self, prefix: str = "") -> Iterator[list[dict[str, Any]]]:
        """All versions of each key, newest first."""
        together: list[dict[str, Any]] = []
        for row in self._pages(self.name, {"prefix": prefix, "versions": ""}):
            if "name" not in row:
                continue
            if together and together[0]["name"] != row["name"]:
                yield together
                together = []
            together.append(row)
        if together:
            yield together

    def _pages(self, container: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        params = {**query, "format": "json", "limit": str(PAGE)}
        while True:
            status, _, data = self.call("GET", container, None, {"X-Newest": "true"}, params)
            if status == 404:
                return
            if status not in (200, 204):
                raise Unsure(f"GET {container}: {status}")
            rows = json.loads(data) if data else []
            yield from rows
            if not rows:
                return
            last = rows[-1]
            name, version = last.get("name", last.get("subdir", "")), last.get("version_id")
            if (name, version) == (params.get("marker"), params.get("version_marker")):
                raise Unsure(f"the listing of {container} does not advance")
            params["marker"] = name
            if "versions" in params and version is not None:
                params["version_marker"] = version

    def uploads_of(self, key: str, is_versioned: bool) -> set[str]:
        """The uploads that the object at a key, or any version of it, was completed from."""
        if not is_versioned:
            there = self.is_there().headers
            if any(there.get(name) for name in _ARCHIVED):
                raise Unsure(
                    f"{self.name}/{key}: old objects in another container may be made of the same parts"
                )
            is_versioned = bool(there.get(HIDDEN))  # it may be since a moment ago
        if not is_versioned:
            return self._made_of(key, None)
        uploads = self._made_of(key, None)
        for versions in self.versions(key):
            if versions[0]["name"] == key:
                for row in versions:
                    version = row.get("version_id")
                    uploads |= self._made_of(key, None if version in (None, "null") else version)
            break
        return uploads

    def _made_of(self, key: str, version: str | None) -> set[str]:
        """The uploads whose parts an object is made of."""
        found = self.head(key, version)
        if not found.is_large:
            return set()
        if found.upload:
            return {found.upload}
        # Completed by a server that did not note it yet.
        query = {"multipart-manifest": "get", "format": "raw"}
        if version is not None:
            query["version-id"] = version
        status, _, data = self.call("GET", self.name, key, {"X-Newest": "true"}, query)
        if status != 200:
            raise Unsure(f"GET {self.name}/{key}: {status}")
        start = f"/{self.segments}/"
        names = (name.removeprefix(start) for name in names_in(data) if name.startswith(start))
        return {split[1] for name in names if (split := layout.split_name(name)) is not None}

    def read(self, container: str, obj: str, most: int) -> bytes | None:
        """A small object, None if it is not there."""
        status, _, data = self.call("GET", container, obj)
        if status == 404:
            return None
        if status != 200 or len(data) > most:
            raise Unsure(f"GET {container}: {status}")
        return data

    # -- removing

    def remove_seen(self, key: str, found: Found, container: str | None = None) -> bool:
        """Remove an object if it is still the one that was found. Returns True if it went."""
        if found.written is None:
            return False
        seen = found.headers.get("X-Backend-Timestamp") or found.written.internal
        headers = {
            "X-Timestamp": Timestamp(found.written, offset=1).internal,
            WORD: Word(seen).text(),  # a lock that comes at this moment counts
        }
        status, _, _ = self.call("DELETE", container or self.name, key, headers)
        if status not in (204, 404, 409):
            raise Unsure(f"DELETE {self.name}/{key}: {status}")
        return status == 204

    def remove_version(self, key: str, version: str) -> bool:
        status, _, _ = self.call("DELETE", self.name, key, params={"version-id": version})
        if status not in (204, 404):
            raise Unsure(f"DELETE {self.name}/{key} {version}: {status}")
        return status == 204

    def mark_deleted(self, key: str, moment: float) -> bool:
        """Put a delete marker in front of the versions of a key, as of a moment: what was written after it stays in front."""
        status, _, _ = self.call("DELETE", self.name, key, {"X-Timestamp": Timestamp(moment).internal})
        if status not in (204, 404, 409):
            raise Unsure(f"DELETE {self.name}/{key}: {status}")
        return status == 204

    def remove_parts(self, key: str, upload: str) -> int:
        """The parts of an upload that nothing is made of. Returns how many went."""
        count = 0
        for row in self.rows(self.segments, f"{key}/{upload}/"):
            split = layout.split_name(row["name"])
            if split is None or split[:2] != (key, upload) or split[2] is None:
                continue
            status, _, _ = self.call("DELETE", self.segments, row["name"])
            if status not in (204, 404):
                raise Unsure(f"DELETE {self.segments}/{row['name']}: {status}")
            count += status == 204
        return count

    def decide_abort(self, key: str, upload: str) -> bool:
        """As `marker.decide`. Returns False if there is no such upload, or somebody completes it."""
        name = f"{key}/{upload}"
        found = self.head(name, container=self.segments)
        if found.status == 404 or marker.is_completing(found.headers):
            return False
        if marker.is_aborting(found.headers):
            return True
        said = marker.rewritten(found.headers, list(found.headers.items()), marker.ABORTING_KEY)
        headers = {key.removeprefix("HTTP_").replace("_", "-"): value for key, value in said.items()}
        headers["Content-Length"] = "0"
        status, _, _ = self.call("PUT", self.segments, name, headers, body=b"")
        if status not in (201, 202, 409, 412):
            raise Unsure(f"PUT {self.segments}/{name}: {status}")
        return status == 201

    def set_sysmeta(self, name: str, value: str) -> None:
        status, _, _ = self.call("POST", self.name, None, {"X-Container-Sysmeta-S3api-" + name: value})
        if status not in (204, 404):
            raise Unsure(f"POST {self.name}: {status}")
