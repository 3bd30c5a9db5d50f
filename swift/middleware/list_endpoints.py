"""Filter `list_endpoints`: on which storage servers something is kept, told to whoever asks (spec middleware 4.33).

For programs that go to where the data is. There is no authorization: whoever may reach it learns addresses, and whether a container is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.policy import policies
from swift.middleware.info import get_container_info
from swift.ring.lookup import Ring
from swift.wire.call import Application, StartResponse
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPMethodNotAllowed,
    HTTPNotFound,
    Request,
    Response,
    wsgi_quote,
    wsgi_to_str,
)

_VERSIONS = (1.0, 2.0)


class ListEndpoints:
    """`rings`: in the place of those of the configuration's swift_dir, by name (`account`, `container`, `object`, `object-1` …)."""

    def __init__(
        self, app: Application, conf: dict[str, Any], rings: Mapping[str, Ring] | None = None
    ) -> None:
        self.app = app
        self.directory = conf.get("swift_dir", "/etc/swift")
        self.prefix = conf.get("list_endpoints_path", "/endpoints/")
        if not self.prefix.endswith("/"):
            self.prefix += "/"
        self._rings: dict[str, Ring] = dict(rings or {})

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(self.prefix):
            return self.app(environ, start_response)
        request = Request(environ)
        if environ["REQUEST_METHOD"] != "GET":
            return HTTPMethodNotAllowed(request=request, headers={"Allow": "GET"})(environ, start_response)
        try:
            answer = self._found(request)
        except HTTPException as refusal:
            answer = refusal
        return answer(environ, start_response)

    def _found(self, request: Request) -> Response:
        version, account, container, obj = self._parsed(request)
        name, index = self._ring_name(request, account, container, obj)
        if name is None:
            return HTTPNotFound(request=request)
        names = [wsgi_to_str(part) for part in (account, container, obj) if part]
        partition, nodes = self._ring(name).get_nodes(*names)
        path = wsgi_quote("/".join(part for part in (account, container, obj) if part is not None))
        endpoints = [_address(node, partition, path) for node in nodes]
        told: Any = endpoints
        if version == 2.0:
            headers = {} if index is None else {"X-Backend-Storage-Policy-Index": str(index)}
            told = {"endpoints": endpoints, "headers": headers}
        return Response(body=json.dumps(told), content_type="application/json", request=request)

    def _parsed(self, request: Request) -> tuple[float, str, str | None, str | None]:
        """(version, account, container, object), names as WSGI strings. Raises HTTPException."""
        rest = request.environ["PATH_INFO"][len(self.prefix) :]
        first, _, after = rest.partition("/")
        version = 1.0
        try:
            given = float(first.lstrip("v"))
        except ValueError:
            given = 0.0
        if given in _VERSIONS:
            version, rest = given, after
        elif first.startswith("v") and "_" not in first:
            text = f"Unsupported version '{wsgi_to_str(first)}'"
            raise HTTPBadRequest(request=request, body=text)
        parts = rest.split("/", 2) if rest else []
        if not parts or not all(parts[:-1]) or not parts[0]:
            raise HTTPBadRequest(request=request, body="No account specified")
        try:
            wsgi_to_str(rest).encode("utf-8")
        except UnicodeEncodeError:
            raise HTTPBadRequest(request=request, body="Invalid UTF8") from None
        account, container, obj = (*parts, None, None)[:3]
        assert account is not None
        return version, account, container, obj

    def _ring_name(
        self, request: Request, account: str, container: str | None, obj: str | None
    ) -> tuple[str | None, int | None]:
        """(ring, policy of an object); no ring where the policy is none of ours."""
        if not container:
            return "account", None
        if obj is None:
            return "container", None
        index = get_container_info(request.environ, self.app, account, container)["storage_policy"]
        policy = policies().get_by_index(index)
        if policy is None:
            return None, None
        return policy.ring_name if obj else "container", int(policy)

    def _ring(self, name: str) -> Ring:
        ring = self._rings.get(name)
        if ring is None:
            ring = self._rings[name] = Ring(self.directory, name)
        return ring


def _address(node: Mapping[str, Any], partition: int, path: str) -> str:
    ip = node["ip"]
    host = f"[{ip}]" if ":" in ip else ip
    return f"http://{host}:{node['port']}/{node['device']}/{partition}/{path}"


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ListEndpoints]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> ListEndpoints:
        return ListEndpoints(app, conf)

    return factory
