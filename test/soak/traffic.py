"""Who asks while a cluster soaks: native clients, listings, large objects and S3, each of names of its own and sure of what must come back.

What lives here: clients and what they count. What never does: reloads, rings, and the judgement of processes.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from test import load
from test.s3_clients import s3_client

MEBI = 1024 * 1024


class Worker(threading.Thread, ABC):
    """Steps without a pause, until `stopping`. `requests`: how many were asked; `failures`: what was not as it must be."""

    def __init__(self, kind: str) -> None:
        super().__init__(daemon=True)
        self.kind = kind
        self.requests = 0
        self.failures: list[str] = []
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            try:
                self.step()
            except Exception as err:
                self.fail(repr(err)[:300])
                time.sleep(0.5)

    @abstractmethod
    def step(self) -> None:
        """A few requests that belong together."""

    def fail(self, text: str) -> None:
        self.failures.append(f"{time.strftime('%H:%M:%S')} {self.kind}: {text}")


class Session:
    """One keep-alive connection. A server that is reloaded closes idle ones: then the request, of which nothing was answered, goes again."""

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self.address, self.token = address, token
        self.connection = http.client.HTTPConnection(*address, timeout=120)
        self.is_used = False

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        """(status, headers, body). path is below the account. Raises OSError, HTTPException."""
        for _ in range(2):
            was_used, self.is_used = self.is_used, True
            try:
                self.connection.request(
                    method, f"/v1/AUTH_test{path}", body, {"X-Auth-Token": self.token, **(headers or {})}
                )
                answer = self.connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.connection.close()
                self.is_used = False
                if not was_used:
                    raise
        raise AssertionError("a new connection is none that was idle")


class _Native(load.Client):
    """`test.load`'s, over sessions."""

    def __init__(self, session: Session, container: str, number: int) -> None:
        super().__init__([session.address], session.token, container, number)
        self.session = session
        self.requests = 0

    def ask(
        self, method: str, name: str, body: bytes | None, headers: dict[str, str], wanted: tuple[int, ...]
    ) -> tuple[Any, bytes] | None:
        self.requests += 1
        status, answered, content = self.session.ask(method, f"{self.container}/{name}", body, headers)
        if status in wanted:
            return answered, content
        self.failures.append(
            f"{method} {self.container}/{name}: {status} for {wanted}, {answered.get('X-Trans-Id')}"
        )
        return None


class Native(Worker):
    """PUT, POST, DELETE and GET of small and middling objects in a container of some policy."""

    def __init__(self, session: Session, container: str, number: int) -> None:
        super().__init__(f"objects of {container}")
        self.client = _Native(session, container, number)

    def step(self) -> None:
        self.client.step()
        self.requests = self.client.requests
        while self.client.failures:
            self.fail(self.client.failures.pop())


class Listings(Worker):
    """Pages of containers and accounts in all forms; names come in their order, each once."""

    def __init__(self, session: Session, containers: Sequence[str], seed: int) -> None:
        super().__init__("listings")
        self.session = session
        self.containers = containers
        self.chance = random.Random(seed)

    def step(self) -> None:
        path = self.chance.choice(("", *self.containers))
        query = f"format=json&limit={self.chance.choice((1, 7, 1000))}" + self.chance.choice(
            ("", "&prefix=1", "&marker=1-3", "&delimiter=-", "&end_marker=2")
        )
        status, _, body = self.session.ask("GET", f"{path}?{query}")
        self.requests += 1
        if status not in (200, 204):
            self.fail(f"GET {path}?{query}: {status}")
            return
        names = [row.get("name") or row["subdir"] for row in json.loads(body)]
        if names != sorted(set(names)):
            self.fail(f"GET {path}?{query}: out of order or twice: {names[:50]}")
        status, _, _ = self.session.ask("HEAD", path)
        self.requests += 1
        if status != 204:
            self.fail(f"HEAD {path}: {status}")


class Large(Worker):
    """Large objects of four segments: uploaded, read whole and in part, and removed with all their segments."""

    def __init__(self, session: Session, container: str, seed: int) -> None:
        super().__init__("large objects")
        self.session = session
        self.container = container
        self.chance = random.Random(seed)

    def _asked(
        self, wanted: int, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> bytes | None:
        self.requests += 1
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, content = self.session.ask(method, f"{self.container}/{path}", body, named)
        if status == wanted:
            return content
        self.fail(f"{method} {self.container}/{path}: {status} for {wanted}: {content[:200]!r}")
        return None

    def step(self) -> None:
        name = f"large-{self.requests}"
        parts = [self.chance.randbytes(self.chance.choice((1, 70_000, MEBI))) for _ in range(4)]
        for number, part in enumerate(parts):
            self._asked(201, "PUT", f"{name}/{number}", part)
        manifest = [{"path": f"{self.container}/{name}/{number}"} for number in range(len(parts))]
        if (
            self._asked(201, "PUT", f"{name}?multipart-manifest=put", json.dumps(manifest).encode())
            is not None
        ):
            whole = b"".join(parts)
            if self._asked(200, "GET", name) not in (None, whole):
                self.fail(f"GET {name}: other content")
            if self._asked(206, "GET", name, Range="bytes=1-2000") not in (None, whole[1:2001]):
                self.fail(f"GET {name}: another range")
            self._asked(200, "DELETE", f"{name}?multipart-manifest=delete")


class Buckets(Worker):
    """S3: objects, copies, listings, and now and then an upload in parts."""

    def __init__(self, address: tuple[str, int], bucket: str, seed: int) -> None:
        super().__init__("S3")
        # Two tries more, for connections that a reload has closed while they were idle.
        self.client = s3_client(address, attempts=2, connect_timeout=60, read_timeout=120)
        self.bucket = bucket
        self.chance = random.Random(seed)
        self.client.create_bucket(Bucket=bucket)

    def step(self) -> None:
        s3, place = self.client, {"Bucket": self.bucket}
        key = f"key-{self.chance.randrange(20)}"
        body = self.chance.randbytes(self.chance.choice((0, 4096, 300_000)))
        s3.put_object(**place, Key=key, Body=body, Metadata={"a": "b"})
        if s3.get_object(**place, Key=key)["Body"].read() != body:
            self.fail(f"{key}: other content")
        s3.copy_object(**place, Key=f"{key}-copy", CopySource=f"{self.bucket}/{key}")
        listed = [one["Key"] for one in s3.list_objects_v2(**place, Prefix=key).get("Contents", ())]
        if key not in listed or f"{key}-copy" not in listed:
            self.fail(f"{key} is not listed: {listed}")
        s3.delete_objects(**place, Delete={"Objects": [{"Key": f"{key}-copy"}], "Quiet": True})
        self.requests += 5
        if self.chance.random() < 0.05:
            self._in_parts(f"{key}-parts")

    def _in_parts(self, key: str) -> None:
        s3, place = self.client, {"Bucket": self.bucket, "Key": key}
        pieces = [self.chance.randbytes(5 * MEBI), b"the end"]
        upload = s3.create_multipart_upload(**place)["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=piece)["ETag"],
            }
            for number, piece in enumerate(pieces, 1)
        ]
        s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
        if s3.get_object(**place)["Body"].read() != b"".join(pieces):
            self.fail(f"{key}: other content")
        s3.delete_object(**place)
        self.requests += 6
