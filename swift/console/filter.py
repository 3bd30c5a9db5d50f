"""Filter `console`: serves the console's pages below one path, and the operator's view to those who run the cluster.

It stands to the right of the filter that knows who asks. Pages are everybody's, for they hold nothing; what recon tells is for
reseller's administrators alone, and is asked by this proxy of nodes that its rings name: no part of a request decides whom it asks.
Never here: what the nodes are asked (`nodes`), what rings say and what is wrong (`survey`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from swift.console import pages
from swift.console.nodes import Nodes
from swift.core.config import DEFAULT_SWIFT_DIR, positive_int, truthy
from swift.survey.rings import ClusterRings
from swift.telemetry.log import get_logger
from swift.wire.call import Application, StartResponse

Answer = tuple[str, pages.Headers, bytes]

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_NEVER_KEPT = ("Cache-Control", "no-store")
_CHECKED_EACH_TIME = ("Cache-Control", "no-cache")


class Console:
    """`rings`, `nodes`: in the place of those of the configuration. Raises ValueError for a configuration that can't be meant."""

    def __init__(
        self,
        app: Application,
        conf: dict[str, Any],
        rings: ClusterRings | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        self.app = app
        self.logger = get_logger(conf, "proxy-server", log_route="console")
        self.prefix = _prefix(conf.get("console_path", "/console/"))
        self._bare = self.prefix[:-1]
        keystone = conf.get("keystone_url", "").rstrip("/")
        self._security = pages.security_headers(pages.origin_of(keystone))
        self._files = pages.load()
        self._files[""] = self._files[pages.INDEX]
        told = {
            "tempauth": conf.get("tempauth_path", "/auth/v1.0"),
            "keystone": keystone,
            "segment_size": positive_int(conf.get("segment_size", 67108864)),
            "metrics": conf.get("metrics_path") or "",
        }
        self._files["settings.json"] = pages.page(json.dumps(told).encode("ascii"), _JSON)
        self._has_operators = truthy(conf.get("operators_view", "true"))
        swift_dir = conf.get("swift_dir") or DEFAULT_SWIFT_DIR
        self._rings = rings or ClusterRings(swift_dir, self.logger)
        self._nodes = nodes or Nodes(self._rings, swift_dir, self.logger)
        self._views: dict[str, Callable[[], Any]] = {
            "operator/rings": self._rings.told,
            "operator/nodes": self._nodes.told,
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if not path.startswith(self._bare):
            return self.app(environ, start_response)
        if path == self._bare:
            status, headers, body = self._moved()
        elif path.startswith(self.prefix):
            status, headers, body = self._answer(environ, path[len(self.prefix) :])
        else:
            return self.app(environ, start_response)
        headers += [*self._security]
        if not status.startswith("304"):
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _moved(self) -> Answer:
        location = ("Location", self.prefix)
        return "301 Moved Permanently", [location, ("Content-Type", _TEXT), _CHECKED_EACH_TIME], b""

    def _answer(self, environ: dict[str, Any], name: str) -> Answer:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, headers, body = _plain(
                "405 Method Not Allowed", "The console is read with GET and HEAD only."
            )
            return status, [*headers, ("Allow", "GET, HEAD")], body
        found = self._files.get(name)
        if found is not None:
            return _file(found, environ.get("HTTP_IF_NONE_MATCH", ""))
        if name == "operator":
            return _json({"operator": self._has_operators and _is_operator(environ)})
        view = self._views.get(name) if self._has_operators else None
        if view is None:
            return _plain("404 Not Found", "The console has nothing of that name.")
        if not _is_operator(environ):
            if environ.get("REMOTE_USER"):
                return _plain("403 Forbidden", "This is shown to administrators of the whole cluster only.")
            status, headers, body = _plain("401 Unauthorized", "Sign in first.")
            return status, [*headers, ("Www-Authenticate", 'Swift realm="console"')], body
        return _json(view())


def _prefix(path: str) -> str:
    """With a slash at both ends. Raises ValueError for a path that would hide the API, or none at all."""
    stripped = path.strip("/")
    if not stripped or "/" in stripped or not stripped.isascii() or not stripped.isprintable():
        raise ValueError(f"console_path must be one plain name, such as /console/, not {path!r}")
    if stripped in ("v1", "v1.0", "auth", "info", "healthcheck", "endpoints"):
        raise ValueError(f"console_path {path!r} is taken")
    return f"/{stripped}/"


def _is_operator(environ: dict[str, Any]) -> bool:
    """Set by the auth filters alone (`reseller_request`): no header of a client ends up under this name."""
    return bool(environ.get("reseller_request"))


def _file(found: pages.Page, if_none_match: str) -> Answer:
    headers = [("Etag", found.etag), _CHECKED_EACH_TIME]
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",", 32)]
    if found.etag in known or known == ["*"]:
        return "304 Not Modified", headers, b""
    return "200 OK", [("Content-Type", found.media_type), *headers], found.body


def _plain(status: str, text: str) -> Answer:
    return status, [("Content-Type", _TEXT), _NEVER_KEPT], f"{text}\n".encode()


def _json(value: Any) -> Answer:
    return "200 OK", [("Content-Type", _JSON), _NEVER_KEPT], json.dumps(value).encode("ascii")


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Application], Console]:
    conf = {**global_conf, **local_conf}

    def factory(app: Application) -> Console:
        return Console(app, conf)

    return factory
