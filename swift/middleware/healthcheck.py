"""Filter `healthcheck`: tells a load balancer whether to send requests here (spec middleware 4.3).

`/healthcheck` says that a process answers; `/healthcheck?ready` that it can do what it is for: what keeps it from that, the server at the end of
the pipeline knows (`not_ready`).
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from swift.wire.serving import is_stopping

PATH = "/healthcheck"
READY = "ready"


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
            if environ.get("QUERY_STRING") == READY:
                reasons = self._not_ready()
                body = b"READY"
                if reasons:
                    status, body = (
                        "503 Service Unavailable",
                        "".join(f"{reason}\n" for reason in reasons).encode(),
                    )
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _not_ready(self) -> list[str]:
        if is_stopping():
            return ["stopping: what is begun is finished"]
        final = getattr(self, "_pipeline_final_app", self.app)
        not_ready = getattr(final, "not_ready", None)
        return not_ready() if not_ready is not None else []


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], HealthCheckMiddleware]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> HealthCheckMiddleware:
        return HealthCheckMiddleware(app, conf)

    return factory
