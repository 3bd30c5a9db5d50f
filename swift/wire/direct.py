"""The direct client: one request to one storage server, for daemons, tools and tests. No quorums, no other nodes.

A node is a mapping with `ip`, `port`, `device` and, for the replication network, `replication_ip` and `replication_port`. Names are native
text; header names and values are WSGI strings. Every function takes `headers`, `conn_timeout` and `response_timeout` (seconds) and raises
DirectError: for a status other than 2xx, and for a node that cannot be reached or breaks off. Spec: proxy-and-backend.md 26.2, 1.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from swift.core.concurrency import sleep
from swift.core.config import truthy
from swift.core.timestamp import Timestamp
from swift.core.unpickle import UnpickleError, loads
from swift.telemetry.units import transaction_headers
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse, header_block
from swift.wire.headers import HeaderKeyDict

CONN_TIMEOUT = 5.0
RESPONSE_TIMEOUT = 15.0
CHUNK_SIZE = 65535
# Listings, hashes and recon documents; objects have their own limit.
MAX_DOCUMENT = 64 * 1024 * 1024
MAX_OBJECT = 5 * 1024 * 1024 * 1024 + 2
MAX_ERROR_BODY = 65536

Node = Mapping[str, Any]
Headers = Mapping[str, Any]


class DirectError(Exception):
    """A storage server answered with anything but 2xx, or not at all (http_status is None then)."""

    def __init__(
        self,
        what: str,
        node: Node,
        path: str,
        host: str = "",
        port: int = 0,
        status: int | None = None,
        reason: str = "",
        headers: HeaderKeyDict | None = None,
    ) -> None:
        shown = f"{status} {reason}" if status is not None else reason
        super().__init__(f"{what} http://{host}:{port}{path} gave: {shown}")
        self.http_scheme = "http"
        self.http_host = host
        self.http_port = port
        self.http_device = node.get("device")
        self.http_path = path
        self.http_status = status
        self.http_reason = reason
        self.http_headers = headers if headers is not None else HeaderKeyDict()


def _address(node: Node, headers: Headers) -> tuple[str, int]:
    if truthy(headers.get("X-Backend-Use-Replication-Network")):
        return node["replication_ip"], int(node["replication_port"])
    return node["ip"], int(node["port"])


def request_headers(headers: Headers | None, add_timestamp: bool = True) -> HeaderKeyDict:
    """What every direct request carries, under what the caller gives."""
    made = HeaderKeyDict(headers or {})
    made["X-Backend-Allow-Reserved-Names"] = "true"
    if add_timestamp and "X-Timestamp" not in made:
        made["X-Timestamp"] = Timestamp.now().internal
    if "User-Agent" not in made:
        made["User-Agent"] = f"direct-client {os.getpid()}"
    for name, value in transaction_headers():
        made.setdefault(name, value)
    return made


def _path(node: Node, part: int | str, *names: str | None) -> str:
    parts = [str(node["device"]), str(part), *[name for name in names if name is not None]]
    return "/" + "/".join(quote(name, "/", errors="surrogateescape") for name in parts)


def _send(
    node: Node,
    method: str,
    path: str,
    headers: HeaderKeyDict,
    body: bytes | Iterator[bytes] | None,
    conn_timeout: float,
    response_timeout: float,
) -> BackendResponse:
    ip, port = _address(node, headers)
    if body is not None:
        length = len(body) if isinstance(body, bytes) else headers["Content-Length"]
        headers["Content-Length"] = length
        if length is None:
            headers["Transfer-Encoding"] = "chunked"
    block = header_block((name, str(value)) for name, value in headers.items())
    whole = body if isinstance(body, bytes) else b""
    call = BackendCall(
        ip, port, method, path, block, whole, conn_timeout=conn_timeout, timeout=response_timeout
    )
    try:
        if body is None or isinstance(body, bytes):
            return call.answer()
        # A body that can be given only once goes over a connection that is known to be alive.
        call.send_fresh()
        conn = call.conn
        assert conn is not None
        try:
            for data in body:
                if length is not None:
                    conn.send_bytes(data)
                elif data:
                    conn.send_bytes([b"%x\r\n" % len(data), data, b"\r\n"])
            if length is None:
                conn.send_bytes(b"0\r\n\r\n")
            return call.response(response_timeout)
        except BaseException:
            call.close()
            raise
    except BackendError as error:
        raise DirectError(method, node, path, ip, port, reason=str(error)) from error


def call(
    node: Node,
    method: str,
    path: str,
    headers: Headers | None = None,
    body: bytes | Iterator[bytes] | None = None,
    conn_timeout: float = CONN_TIMEOUT,
    response_timeout: float = RESPONSE_TIMEOUT,
    add_timestamp: bool = True,
) -> BackendResponse:
    """Send one request (path quoted, with query); a response with status 2xx, of which nothing is read yet. Raises DirectError."""
    given = request_headers(headers, add_timestamp)
    response = _send(node, method, path, given, body, conn_timeout, response_timeout)
    if 200 <= response.status < 300:
        return response
    response.drain(MAX_ERROR_BODY)
    ip, port = _address(node, given)
    raise DirectError(
        method, node, path, ip, port, response.status, response.reason, HeaderKeyDict(response.headers)
    )


def _read(node: Node, path: str, response: BackendResponse, limit: int) -> bytes:
    try:
        return response.read_all(limit)
    except BackendError as error:
        response.close()
        raise DirectError("reading", node, path, reason=str(error)) from error


def _simple(node: Node, method: str, path: str, headers: Headers | None, **options: Any) -> HeaderKeyDict:
    """A request of whose answer only the headers matter."""
    response = call(node, method, path, headers, **options)
    response.drain(MAX_ERROR_BODY)
    return HeaderKeyDict(response.headers)


def _listing(
    node: Node, path: str, headers: Headers | None, query: Mapping[str, Any], **options: Any
) -> tuple[HeaderKeyDict, list[Any]]:
    parameters = {"format": "json"}
    for name, value in query.items():
        if value is True:
            parameters[name] = "true"
        elif value:
            parameters[name] = str(value)
    path += "?" + urlencode(parameters, errors="surrogateescape")
    response = call(node, "GET", path, headers, **options)
    found = HeaderKeyDict(response.headers)
    if response.status == 204:
        response.drain()
        return found, []
    data = _read(node, path, response, MAX_DOCUMENT)
    try:
        return found, json.loads(data)
    except ValueError as error:
        raise DirectError("GET", node, path, reason=f"not JSON: {error}") from error


# --- calls of which only the verb differs; they return the headers of the answer


class _OnAccount:
    """A call for an account."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(
        self, node: Node, part: int | str, account: str, headers: Headers | None = None, **options: Any
    ) -> HeaderKeyDict:
        return _simple(node, self.method, _path(node, part, account), headers, **options)


class _OnContainer:
    """A call for a container."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(
        self,
        node: Node,
        part: int | str,
        account: str,
        container: str,
        headers: Headers | None = None,
        **options: Any,
    ) -> HeaderKeyDict:
        return _simple(node, self.method, _path(node, part, account, container), headers, **options)


class _OnObject:
    """A call for an object, or for its record in its container's database."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(
        self,
        node: Node,
        part: int | str,
        account: str,
        container: str,
        obj: str,
        headers: Headers | None = None,
        **options: Any,
    ) -> HeaderKeyDict:
        return _simple(node, self.method, _path(node, part, account, container, obj), headers, **options)


head_account, put_account = _OnAccount("HEAD"), _OnAccount("PUT")
post_account, delete_account = _OnAccount("POST"), _OnAccount("DELETE")
head_container, post_container = _OnContainer("HEAD"), _OnContainer("POST")
delete_container = _OnContainer("DELETE")
head_object, post_object, delete_object = _OnObject("HEAD"), _OnObject("POST"), _OnObject("DELETE")
put_container_object, delete_container_object = _OnObject("PUT"), _OnObject("DELETE")


# --- accounts


def get_account(
    node: Node,
    part: int | str,
    account: str,
    marker: str | None = None,
    limit: int | None = None,
    prefix: str | None = None,
    delimiter: str | None = None,
    end_marker: str | None = None,
    reverse: bool | None = None,
    headers: Headers | None = None,
    **options: Any,
) -> tuple[HeaderKeyDict, list[Any]]:
    """(headers, containers as in a JSON listing)."""
    query = {
        "marker": marker,
        "limit": limit,
        "prefix": prefix,
        "delimiter": delimiter,
        "end_marker": end_marker,
        "reverse": reverse,
    }
    return _listing(node, _path(node, part, account), headers, query, **options)


# --- containers


def get_container(
    node: Node,
    part: int | str,
    account: str,
    container: str,
    marker: str | None = None,
    limit: int | None = None,
    prefix: str | None = None,
    delimiter: str | None = None,
    end_marker: str | None = None,
    reverse: bool | None = None,
    headers: Headers | None = None,
    extra_params: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[HeaderKeyDict, list[Any]]:
    """(headers, objects or shard ranges as in a JSON listing)."""
    query = {
        "marker": marker,
        "limit": limit,
        "prefix": prefix,
        "delimiter": delimiter,
        "end_marker": end_marker,
        "reverse": reverse,
        **(extra_params or {}),
    }
    return _listing(node, _path(node, part, account, container), headers, query, **options)


def put_container(
    node: Node,
    part: int | str,
    account: str,
    container: str,
    headers: Headers | None = None,
    contents: bytes | None = None,
    **options: Any,
) -> HeaderKeyDict:
    """contents: shard ranges as JSON, with the headers that say so."""
    return _simple(node, "PUT", _path(node, part, account, container), headers, body=contents, **options)


def update_container(
    node: Node,
    part: int | str,
    account: str,
    container: str,
    headers: Headers | None = None,
    contents: bytes | None = None,
    **options: Any,
) -> HeaderKeyDict:
    """The private verb UPDATE: object rows as JSON."""
    return _simple(
        node, "UPDATE", _path(node, part, account, container), headers, body=contents or b"", **options
    )


# --- objects


def get_object(
    node: Node,
    part: int | str,
    account: str,
    container: str,
    obj: str,
    resp_chunk_size: int | None = None,
    headers: Headers | None = None,
    **options: Any,
) -> tuple[HeaderKeyDict, Any]:
    """(headers, bytes), or (headers, iterator of bytes) with resp_chunk_size; the iterator raises DirectError too."""
    path = _path(node, part, account, container, obj)
    response = call(node, "GET", path, headers, **options)
    found = HeaderKeyDict(response.headers)
    if resp_chunk_size:
        return found, _chunks(node, path, response, resp_chunk_size)
    return found, _read(node, path, response, MAX_OBJECT)


def _chunks(node: Node, path: str, response: BackendResponse, size: int) -> Iterator[bytes]:
    done = False
    try:
        yield from response.chunks(size)
        done = True
    except BackendError as error:
        raise DirectError("reading", node, path, reason=str(error)) from error
    finally:
        if done:
            response.release()
        else:
            response.close()


def put_object(
    node: Node,
    part: int | str,
    account: str,
    container: str,
    obj: str,
    contents: bytes | str | Iterable[bytes] | Any = b"",
    content_length: int | None = None,
    etag: str | None = None,
    content_type: str | None = None,
    headers: Headers | None = None,
    chunk_size: int = CHUNK_SIZE,
    **options: Any,
) -> str:
    """The ETag the node answers with. contents: bytes, text, an iterable of bytes or something to read() from.

    Without a content_length only bytes and text have one; all else goes chunked.
    """
    given = HeaderKeyDict(headers or {})
    if etag is not None:
        given["ETag"] = etag.strip('"')
    if content_type is not None:
        given["Content-Type"] = content_type
    elif "Content-Type" not in given:
        given["Content-Type"] = "application/octet-stream"
    body: bytes | Iterator[bytes]
    if isinstance(contents, str):
        body = contents.encode("utf-8")
    elif isinstance(contents, bytes):
        body = contents
    else:
        body = _pieces(contents, chunk_size)
        given["Content-Length"] = content_length
    path = _path(node, part, account, container, obj)
    found = _simple(node, "PUT", path, given, body=body, **options)
    return (found["Etag"] or "").strip('"')


def _pieces(contents: Any, size: int) -> Iterator[bytes]:
    if hasattr(contents, "read"):
        return iter(lambda: contents.read(size), b"")
    return iter(contents)


# --- a node's own affairs


def get_suffix_hashes(
    node: Node, part: int | str, suffixes: Iterable[str], headers: Headers | None = None, **options: Any
) -> dict[Any, Any]:
    """{suffix: hash} of a partition after rehashing the suffixes given, asked over the replication network."""
    given = HeaderKeyDict(headers or {})
    given.setdefault("X-Backend-Use-Replication-Network", "true")
    path = f"/{quote(str(node['device']), '')}/{part}"
    wanted = "-".join(suffixes)
    if wanted:
        path += "/" + quote(wanted, "")
    response = call(node, "REPLICATE", path, given, **options)
    data = _read(node, path, response, MAX_DOCUMENT)
    try:
        hashes = loads(data)
    except UnpickleError as error:
        raise DirectError("REPLICATE", node, path, reason=f"not a pickled mapping: {error}") from error
    if not isinstance(hashes, dict):
        raise DirectError("REPLICATE", node, path, reason="not a pickled mapping")
    return hashes


def get_recon(node: Node, what: str, headers: Headers | None = None, **options: Any) -> Any:
    """A document of the recon middleware."""
    path = f"/recon/{quote(what)}"
    response = call(node, "GET", path, headers, **options)
    data = _read(node, path, response, MAX_DOCUMENT)
    try:
        return json.loads(data)
    except ValueError as error:
        raise DirectError("GET", node, path, reason=f"not JSON: {error}") from error


def retry(
    function: Callable[..., Any], *args: Any, retries: int = 5, first_pause: float = 1.0, **kwargs: Any
) -> tuple[int, Any]:
    """(attempts, result); tried again after 1, 2, 4 … s when the node cannot be reached or answers 5xx other than 507."""
    pause = first_pause
    attempts = 0
    while True:
        attempts += 1
        try:
            return attempts, function(*args, **kwargs)
        except DirectError as error:
            status = error.http_status
            if attempts > retries or (status is not None and (status < 500 or status == 507)):
                raise
        sleep(pause)
        pause *= 2
