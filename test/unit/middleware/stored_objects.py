"""A stand-in for all that is right of a filter: objects in memory, with conditions, ranges, listings and a record of requests."""

from __future__ import annotations

import json

from swift.core.hashing import md5
from swift.wire.message import HeaderKeyDict, Request, Response, parsed_path

_KEPT = ("Content-Type", "X-Object-Manifest", "X-Static-Large-Object", "X-Delete-At")
_PREFIXES = ("X-Object-Meta-", "X-Object-Sysmeta-")
WHEN = "Mon, 30 Nov 2026 01:00:00 GMT"


class Body:
    """A body that remembers whether it was closed, and that can send itself."""

    def __init__(self, store, data, piece=4):
        self.store, self.data, self.piece = store, data, piece
        self.store.open.add(self)

    def __iter__(self):
        for at in range(0, len(self.data), self.piece):
            yield self.data[at : at + self.piece]
        self.close()

    def send_to(self, stream):
        self.store.sent_by_themselves += 1
        stream.sendall(self.data)
        self.close()
        return len(self.data)

    def close(self):
        self.store.open.discard(self)


class Store:
    """`objects`: path → (headers, body). `answers`: (method, path) → response in place of what is there. `denied`: paths that are 403."""

    def __init__(self, page=10000):
        self.objects = {}
        self.requests = []
        self.environs = []
        self.answers = {}
        self.page = page
        self.open = set()
        self.sent_by_themselves = 0
        self.done = []

    def put(self, path, data, **headers):
        named = HeaderKeyDict({name.replace("_", "-"): value for name, value in headers.items()})
        named.setdefault("Content-Type", "text/plain")
        named["Etag"] = md5(data).hexdigest()
        named["Last-Modified"] = WHEN
        named["X-Timestamp"] = "1796000000.00000"
        self.objects[f"/v1/a{path}"] = (named, data)

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        self.requests.append((method, path, environ.get("QUERY_STRING", ""), environ.get("HTTP_RANGE")))
        self.environs.append(dict(environ))
        if "swift.on_response_done" in environ:
            environ["swift.on_response_done"].append(self.done.append)
        made = self.answers.get((method, path))
        if made is not None:
            response = made(environ) if callable(made) else made
            return response(environ, start_response)
        environ = dict(environ)
        return self._handle(environ, method, path)(environ, start_response)

    def _handle(self, environ, method, path):
        request = Request(environ)
        if method == "UPDATE":
            self.rows = json.loads(request.body)
            return Response(status=202, request=request)
        if parsed_path(environ)[3] is None:
            return self._listing(request, path)
        if method == "PUT":
            data = request.body
            headers = {
                name: value
                for name, value in request.headers.items()
                if name in _KEPT or name.startswith(_PREFIXES)
            }
            self.put(path.removeprefix("/v1/a"), data, **headers)
            etag = self.objects[path][0]["Etag"]
            given = environ.get("HTTP_ETAG")
            assert given is None or given == etag
            return Response(status=201, request=request, headers={"Etag": etag, "Last-Modified": WHEN})
        found = self.objects.get(path)
        if found is None:
            return Response(status=404, request=request)
        headers, data = found
        if method == "DELETE":
            del self.objects[path]
            return Response(status=204, request=request)
        if method == "POST":
            return Response(status=202, request=request)
        for name in environ.get("HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT", "").split(","):
            if name and name in headers:
                environ.pop("HTTP_RANGE", None)
        etag = headers["Etag"]
        for name in environ.get("HTTP_X_BACKEND_ETAG_IS_AT", "").split(","):
            if name and name in headers:
                etag = headers[name]
                break
        response = Response(
            body=data, request=request, headers=headers, conditional_response=True, conditional_etag=etag
        )
        response.headers["Content-Type"] = headers["Content-Type"].partition(";swift_bytes")[0]
        return self._with_body(response, environ)

    def _with_body(self, response, environ):
        """The same answer with a body that sends itself, where it has one."""

        def application(environ, start_response):
            pieces = response(environ, start_response)
            if environ["REQUEST_METHOD"] == "HEAD":
                return []
            return Body(self, b"".join(pieces))

        return application

    def _listing(self, request, path):
        if request.method != "GET":
            return Response(status=404, request=request)
        marker, prefix = request.params.get("marker", ""), request.params.get("prefix", "")
        rows = []
        for name, (headers, data) in sorted(self.objects.items()):
            name = name.removeprefix(path + "/")
            if name.startswith("/v1") or not name.startswith(prefix) or name <= marker:
                continue
            size = headers["Content-Type"].partition("swift_bytes=")[2] or len(data)
            hashed = headers.get("X-Object-Sysmeta-Container-Update-Override-Etag") or headers["Etag"]
            rows.append({"name": name, "hash": hashed, "bytes": int(size), "content_type": "text/plain"})
        body = json.dumps(rows[: self.page]).encode()
        return Response(body=body, request=request, content_type="application/json; charset=utf-8")
