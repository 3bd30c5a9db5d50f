"""An application of two dictionaries in the place of the proxy: objects, listings, and what was asked of it."""

import hashlib

from swift.wire.message import HTTPException, Request, Response, head_headers, status_map

TEXT = b"0123456789"
MD5 = hashlib.md5(TEXT).hexdigest()


class Store:
    """Objects as (headers, body). Whatever is asked is kept in `asked`; `allow(method, path)` is its swift.authorize."""

    def __init__(self):
        self.objects = {}
        self.rows = b"[]"
        self.asked = []
        self.closed = 0
        self.pieces = None
        self.allow = lambda method, path: True

    def put(self, path, body=TEXT, **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {"Content-Type": "text/plain", "Last-Modified": "Mon, 30 Nov 2026 01:00:00 GMT"}
        self.objects[path] = ({**own, "Etag": hashlib.md5(body).hexdigest(), **given}, body)

    def __call__(self, environ, start_response):
        request = Request(environ)
        method, path = request.method, environ["PATH_INFO"]
        self.asked.append((method, path, dict(head_headers(environ)), dict(environ)))
        try:
            if not self.allow(method, path):
                raise status_map[403](request=request)
            answer = getattr(self, method)(request, path)
        except HTTPException as error:
            answer = error
        return answer(environ, start_response)

    def GET(self, request, path):
        if path.count("/") == 3:
            return Response(
                body=self.rows, headers={"Content-Type": "application/json; charset=utf-8"}, request=request
            )
        if path not in self.objects:
            raise status_map[404](request=request)
        headers, body = self.objects[path]
        answer = Response(body=body, headers=headers, request=request, conditional_response=True)
        if self.pieces is not None:
            answer.app_iter = Pieces(self, self.pieces)
            answer.headers["Content-Length"] = str(len(body))
        return answer

    HEAD = GET

    def PUT(self, request, path):
        body = b""
        while len(body) < request.content_length:
            try:
                data = request.environ["wsgi.input"].read(3)
            except Exception:
                raise status_map[499](request=request) from None
            assert data
            body += data
        kept = {
            name: value
            for name, value in head_headers(request.environ)
            if name.startswith(("X-Object-", "X-Delete-At", "Content-Type", "Content-Encoding", "X-Symlink"))
        }
        self.put(path, body, **kept)
        etag = hashlib.md5(body).hexdigest()
        if request.headers.get("Etag", etag) != etag:
            raise status_map[422](request=request)
        return Response(status=201, request=request, headers={"Etag": etag})

    def POST(self, request, path):
        if path not in self.objects:
            raise status_map[404](request=request)
        kept = {
            name: value
            for name, value in self.objects[path][0].items()
            if name.startswith("X-Object-Sysmeta-")
        }
        return Response(status=202, request=request, headers=kept)

    def DELETE(self, request, path):
        if self.objects.pop(path, None) is None:
            raise status_map[404](request=request)
        return Response(status=204, request=request)

    def OPTIONS(self, request, path):
        return Response(request=request, headers={"Allow": "GET, PUT", "Access-Control-Allow-Methods": "PUT"})

    def COPY(self, request, path):
        raise status_map[405](request=request)


class Pieces:
    """A body in pieces; an exception among them is raised."""

    def __init__(self, store, pieces):
        self.store, self.pieces = store, pieces

    def __iter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self):
        self.store.closed += 1


def ask(app, method, path, headers=None, body=b"", **environ):
    """(status, headers in lower case, body) of a request to a filter."""
    request = Request.blank(path, environ={"REQUEST_METHOD": method, **environ}, headers=headers or {})
    request.body = body
    if "CONTENT_LENGTH" in environ:
        request.environ["CONTENT_LENGTH"] = environ["CONTENT_LENGTH"]
    status, found, chunks = request.call_application(app)
    data = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return int(status[:3]), {name.lower(): value for name, value in found}, data
