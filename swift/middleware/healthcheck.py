"""Filter `healthcheck`: tells a load balancer whether to send requests here (spec middleware 4.3)."""

import os
from collections.abc import Callable, Iterable
from typing import Any

PATH = "/healthcheck"


class HealthCheckMiddleware:
    """``disable_path``: a file whose presence takes the server out of service; empty for none."""

    def __init__(self, app: Any, conf: dict[str, Any]) -> None:
        self.app = app
        self.disable_path = conf.get("disable_path", "")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return self.app(environ, start_response)
        if self.disable_path and os.path.exists(self.disable_path):
            status, body = "503 Service Unavailable", b"DISABLED BY FILE"
        else:
            status, body = "200 OK", b"OK"
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], HealthCheckMiddleware]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> HealthCheckMiddleware:
        return HealthCheckMiddleware(app, conf)

    return factory
