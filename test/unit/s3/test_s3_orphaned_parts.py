"""Parts that nothing is made of: what must not be taken for such, whoever has made something of it and whoever is away."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from swift.core import clock
from swift.s3.lifecycle import daemon, references, uploads
from swift.s3.lifecycle.objects import Bucket, Unsure
from swift.s3.multipart import layout
from swift.wire.headers import HeaderKeyDict

UPLOAD = layout.new_upload_id()
PART = f"k/{UPLOAD}/1"
LARGE = {"X-Static-Large-Object": "True", "X-Timestamp": "0000000001.00000"}
MANIFEST = json.dumps([{"name": f"/b+segments/{PART}", "bytes": 1, "hash": "e"}]).encode()


def row(name: str, text: str = "e") -> dict[str, Any]:
    made = "2020-01-01T00:00:00.000000"
    return {"name": name, "bytes": 1, "hash": text, "last_modified": made, "content_type": "a/b"}


class Account:
    """An internal client to what it is made with. `listed`: rows by container, "" for those of the account; `objects`: (headers, body) by
    /container/name. What is in `away` answers 404."""

    def __init__(
        self, listed: dict[str, list[Any]], objects: dict[str, Any], away: str | None = None
    ) -> None:
        self.listed, self.objects, self.away = listed, objects, away

    def make_path(self, account: str, container: str | None = None, obj: str | None = None) -> str:
        return "/".join(("", container or "") if obj is None else ("", container or "", obj))

    def make_request(
        self, method: str, path: str, headers: Any, statuses: Any, body: Any, params: Any
    ) -> SimpleNamespace:
        _, container, *rest = path.split("/", 2)
        found: Any = None
        if path == self.away:
            pass
        elif rest:
            found = self.objects.get(path)
        elif container in self.listed:
            start, after = (params or {}).get("prefix", ""), (params or {}).get("marker", "")
            rows = [
                row for row in self.listed[container] if row["name"].startswith(start) and row["name"] > after
            ]
            found = {}, json.dumps(rows[: int((params or {}).get("limit", 10_000))]).encode()
        told, data = found or ({}, b"")
        data = b"" if method == "HEAD" else data
        return SimpleNamespace(
            status_int=200 if found else 404, headers=HeaderKeyDict(told), app_iter=iter([data])
        )


def bucket(listed: dict[str, list[Any]], objects: dict[str, Any], away: str | None = None) -> Bucket:
    found = {
        "": [{"name": name} for name in ("b", "b+segments", *listed)],
        "b": [],
        "b+segments": [row(PART)],
    }
    client: Any = Account({**found, **listed}, objects, away)
    return Bucket(client, "AUTH_a", "b")


def orphans(of: Bucket) -> list[str]:
    return [found.upload for found in uploads.orphans(of, clock.time(), False)]


def test_parts_without_anything_are_found() -> None:
    assert orphans(bucket({}, {})) == [UPLOAD]


def test_an_object_that_does_not_say_its_upload_is_asked_for_its_parts() -> None:
    """Servers of the reference note an object's upload since some version only."""
    kept = bucket({"b": [row("k")]}, {"/b/k": (LARGE, MANIFEST)})
    assert orphans(kept) == []
    other = MANIFEST.replace(UPLOAD.encode(), layout.new_upload_id().encode())
    assert orphans(bucket({"b": [row("k")]}, {"/b/k": (LARGE, other)})) == [UPLOAD]
    with pytest.raises(Unsure):
        orphans(bucket({"b": [row("k")]}, {"/b/k": (LARGE, b"encrypted")}))


@pytest.mark.parametrize("name", [f"k/{'f' * 48}/1", f"k/{'0' * 48}/1", f"k/{UPLOAD[:-1]}_/1"])
def test_containers_that_are_only_called_so_are_left_alone(name: str) -> None:
    assert orphans(bucket({"b+segments": [row(name)]}, {})) == []


@pytest.mark.parametrize("spelt", [b'"name": "/', b'"name": "', b'"path": "//'])
def test_manifests_name_parts_in_many_ways(spelt: bytes) -> None:
    objects = {"/c/copy": (LARGE, MANIFEST.replace(b'"name": "/', spelt))}
    wanted = {("k", UPLOAD)}
    assert references.named(bucket({"c": [row("copy", "e; slo_etag=f")]}, objects), wanted) == wanted


@pytest.mark.parametrize("away", ["/", "/c", "/c/copy"])
def test_who_is_listed_and_away_may_be_made_of_them(away: str) -> None:
    listed = {"c": [row("copy", "e; slo_etag=f")]}
    objects = {"/c/copy": (LARGE, MANIFEST)}
    wanted = {("k", UPLOAD)}
    assert references.named(bucket(listed, objects), wanted) == wanted
    with pytest.raises(Unsure):
        references.named(bucket(listed, objects, away), wanted)


def test_what_was_deleted_meanwhile_is_made_of_nothing() -> None:
    of = bucket({"c": [row("copy", "e; slo_etag=f")]}, {})
    client: Any = of.client
    make_request = client.make_request

    def deleted(method: str, path: str, *more: Any) -> Any:
        if path == "/c/copy":
            client.listed["c"] = []
        return make_request(method, path, *more)

    client.make_request = deleted
    assert references.named(of, {("k", UPLOAD)}) == set()


def test_nobody_who_has_not_asked_for_it_loses_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "use_swift_dir", lambda _: "/etc/swift")
    ring: Any = object()
    assert daemon.Lifecycle({}, ring=ring).orphan_days == 0
