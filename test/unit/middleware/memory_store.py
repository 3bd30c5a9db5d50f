"""A stand-in for the proxy: containers and objects in memory, with timestamps, listings and rights as storage servers have them."""

import hashlib
import json
from urllib.parse import parse_qsl

from swift.core.config import truthy
from swift.core.timestamp import Timestamp, now_internal
from swift.middleware.info import forget_container, get_container_info
from swift.wire.message import Request, Response, parsed_path, title_case, wsgi_to_str

_KEPT = ("x-object-meta-", "x-object-sysmeta-")
_KEPT_NAMES = (
    "x-object-manifest",
    "x-static-large-object",
    "x-delete-at",
    "content-disposition",
    "content-encoding",
)
OVERRIDE = "X-Object-Sysmeta-Container-Update-Override-Etag"


class Stored:
    def __init__(self, data, headers, content_type, timestamp):
        self.data = data
        self.headers = headers
        self.content_type = content_type
        self.timestamp = timestamp
        self.etag = hashlib.md5(data).hexdigest()


class MemoryStore:
    """`fail(environ)`: a status to answer with instead, or None. `seen`: (method, path, source) of all that came."""

    def __init__(self):
        self.containers = {}
        self.tombstones = {}
        self.seen = []
        self.fail = lambda environ: None
        self.before = lambda environ: None

    def __call__(self, environ, start_response):
        self.before(environ)
        method = environ["REQUEST_METHOD"]
        version, account, container, obj = parsed_path(environ)
        self.seen.append((method, environ["PATH_INFO"], environ.get("swift.source")))
        environ.setdefault("HTTP_X_TIMESTAMP", now_internal())
        status = self.fail(environ)
        if status is not None:
            return self._answer(environ, start_response, status)
        if "\0" in environ["PATH_INFO"] and not truthy(environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")):
            return self._answer(environ, start_response, 412)
        if container is None:
            return self._account(environ, start_response, account)
        if obj is not None:
            get_container_info(environ, self, account, container)  # as the proxy does
        found = self.containers.get((account, container))
        read = method in ("GET", "HEAD")
        acl = (found or {}).get("X-Container-Read" if read else "X-Container-Write") if obj else None
        authorize = environ.get("swift.authorize")
        if authorize is not None and method != "OPTIONS":
            environ["swob.ACL"] = acl
            denied = authorize(Request(environ))
            if denied is not None:
                return denied(environ, start_response)
        if obj is None:
            handle = getattr(self, f"container_{method.lower()}", None)
        else:
            handle = getattr(self, f"object_{method.lower()}", None)
        if handle is None:
            return self._answer(environ, start_response, 200 if method == "OPTIONS" else 405)
        status, headers, data = handle(environ, (account, container), obj)
        return self._answer(environ, start_response, status, headers, data)

    def _answer(self, environ, start_response, status, headers=(), data=b""):
        headers = dict(headers)
        headers.setdefault("Content-Type", "text/html; charset=UTF-8")
        response = Response(status=status, headers=headers, body=data, request=Request(environ))
        if environ["REQUEST_METHOD"] == "HEAD":
            response.headers["Content-Length"] = headers.get("Content-Length", str(len(data)))
        return response(environ, start_response)

    # -- accounts and containers

    def _account(self, environ, start_response, account):
        if environ["REQUEST_METHOD"] == "HEAD":
            return self._answer(environ, start_response, 204, {"X-Account-Container-Count": "1"})
        rows = {}
        for (owner, name), _found in self.containers.items():
            if owner == account:
                row = {"name": wsgi_to_str(name), "count": 1, "bytes": self._bytes((owner, name))}
                rows[wsgi_to_str(name)] = {**row, "last_modified": "2026-11-21T11:13:24.899980"}
        return self._answer(environ, start_response, 200, _JSON, self._page(environ, rows))

    def _bytes(self, key):
        return sum(self._row("", stored)["bytes"] for stored in self.containers[key]["objects"].values())

    def container_put(self, environ, key, _obj):
        status = 202 if key in self.containers else 201
        found = self.containers.setdefault(
            key, {"objects": {}, "policy": environ.get("HTTP_X_STORAGE_POLICY")}
        )
        self._merge(environ, found)
        forget_container(environ, *map(wsgi_to_str, key))
        return status, {}, b""

    def container_post(self, environ, key, _obj):
        if key not in self.containers:
            return 404, {}, b""
        self._merge(environ, self.containers[key])
        forget_container(environ, *map(wsgi_to_str, key))
        return 204, {}, b""

    def _merge(self, environ, found):
        for name, value in Request(environ).headers.items():
            if name.startswith(("X-Container-Sysmeta-", "X-Container-Meta-")) or name in _CONTAINER_HEADERS:
                if value:
                    found[name] = value
                else:
                    found.pop(name, None)

    def container_delete(self, environ, key, _obj):
        if key not in self.containers:
            return 404, {}, b""
        if self.containers[key]["objects"]:
            return 409, {}, b""
        del self.containers[key]
        forget_container(environ, *map(wsgi_to_str, key))
        return 204, {}, b""

    def container_head(self, environ, key, _obj):
        if key not in self.containers:
            return 404, {}, b""
        return 204, self._container_headers(key), b""

    def _container_headers(self, key):
        found = self.containers[key]
        headers = {name: value for name, value in found.items() if name.startswith("X-")}
        headers["X-Container-Object-Count"] = str(len(found["objects"]))
        headers["X-Container-Bytes-Used"] = str(self._bytes(key))
        return headers

    def container_get(self, environ, key, _obj):
        if key not in self.containers:
            return 404, {}, b""
        rows = {
            wsgi_to_str(name): self._row(name, one) for name, one in self.containers[key]["objects"].items()
        }
        return 200, {**self._container_headers(key), **_JSON}, self._page(environ, rows)

    def _row(self, name, stored):
        size, content_type = len(stored.data), stored.content_type
        kept, _, parameter = content_type.rpartition(";")
        if parameter.strip().startswith("swift_bytes="):
            size, content_type = int(parameter.partition("=")[2]), kept
        etag = stored.headers.get(OVERRIDE, stored.etag)
        modified = Timestamp(stored.timestamp).isoformat
        return {
            "bytes": size, "hash": etag, "name": wsgi_to_str(name), "content_type": content_type, "last_modified": modified,
        }  # fmt: skip

    def _page(self, environ, rows):
        params = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, encoding="utf-8"))
        reverse = truthy(params.get("reverse"))
        names = sorted(rows, reverse=reverse)
        prefix, marker, end = (params.get(name, "") for name in ("prefix", "marker", "end_marker"))
        delimiter = params.get("delimiter", "")
        limit = int(params["limit"][:20]) if params.get("limit", "").isdigit() else 10000
        allowed = truthy(environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"))
        page = []
        for name in names:
            if name.startswith("\0") and not allowed or not name.startswith(prefix):
                continue
            if marker and (name >= marker if reverse else name <= marker):
                continue
            if end and (name <= end if reverse else name >= end):
                continue
            at = name.find(delimiter, len(prefix)) if delimiter else -1
            row = {"subdir": name[: at + len(delimiter)]} if at >= 0 else rows[name]
            if row not in page and not (marker and row.get("subdir") == marker):
                page.append(row)
        return json.dumps(page[:limit]).encode()

    # -- objects

    def object_put(self, environ, key, name):
        data = environ["wsgi.input"].read()
        if key not in self.containers:
            return 404, {}, b""
        if "swift_" in environ.get("CONTENT_TYPE", "") and not environ.get("swift.content_type_overridden"):
            return 400, {}, b"Invalid Content-Type, swift_* is not a valid parameter name."
        length = environ.get("CONTENT_LENGTH")
        if length and int(length) != len(data):
            return 499, {}, b""
        stored = Stored(
            data,
            self._object_headers(environ),
            environ.get("CONTENT_TYPE") or "a/b",
            environ["HTTP_X_TIMESTAMP"],
        )
        objects = self.containers[key]["objects"]
        if environ.get("HTTP_IF_NONE_MATCH") == "*" and name in objects:
            return 412, {}, b""
        if environ.get("HTTP_ETAG", stored.etag) != stored.etag:
            return 422, {}, b""
        if stored.timestamp <= self._newest(key, name):
            return 202, {}, b""
        objects[name] = stored
        return 201, {"Etag": stored.etag}, b""

    def _newest(self, key, name):
        there = self.containers[key]["objects"].get(name)
        return max(there.timestamp if there else "", self.tombstones.get((key, name), ""))

    def _object_headers(self, environ):
        return {
            title_case(name): value
            for name, value in Request(environ).headers.items()
            if name.lower().startswith(_KEPT) or name.lower() in _KEPT_NAMES
        }

    def object_get(self, environ, key, name):
        stored = self.containers.get(key, {"objects": {}})["objects"].get(name)
        if stored is None:
            return 404, {}, b""
        content_type, _, parameter = stored.content_type.rpartition(";")
        if not parameter.strip().startswith("swift_bytes="):
            content_type = stored.content_type
        headers = {**stored.headers, "Content-Type": content_type, "Etag": stored.etag}
        headers["X-Timestamp"] = Timestamp(stored.timestamp).normal
        headers["X-Backend-Timestamp"] = stored.timestamp
        if environ["REQUEST_METHOD"] == "HEAD":
            headers["Content-Length"] = str(len(stored.data))
        return 200, headers, stored.data

    object_head = object_get

    def object_post(self, environ, key, name):
        stored = self.containers.get(key, {"objects": {}})["objects"].get(name)
        if stored is None:
            return 404, {}, b""
        kept = {n: v for n, v in stored.headers.items() if n.startswith("X-Object-Sysmeta-")}
        stored.headers = {**kept, **self._object_headers(environ)}
        if "X-Object-Sysmeta-Symlink-Target" in kept:
            return 202, kept, b""
        return 202, {}, b""

    def object_delete(self, environ, key, name):
        if key not in self.containers:
            return 404, {}, b""
        objects, stamp = self.containers[key]["objects"], environ["HTTP_X_TIMESTAMP"]
        if stamp < self._newest(key, name):
            return 409, {}, b""
        self.tombstones[key, name] = stamp
        return (204 if objects.pop(name, None) else 404), {}, b""


_JSON = {"Content-Type": "application/json; charset=utf-8"}
_CONTAINER_HEADERS = ("X-Container-Read", "X-Container-Write", "X-Container-Sync-To")
