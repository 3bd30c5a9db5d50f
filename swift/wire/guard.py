"""Before a storage server's application: what is not signed as it must be is refused before anybody looks at it.

What lives here: the refusal, figures and log lines of it, and what may be read without a signature. Never here: how requests are signed
(wire.signing).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from swift.core import backend_security, clock
from swift.core.backend_security import OFF, REQUIRE
from swift.telemetry.metrics import get_metrics
from swift.telemetry.shared_tables import COMPONENT
from swift.wire.call import Application
from swift.wire.input import RequestBody
from swift.wire.serving import HEAD
from swift.wire.signing import Covered, Fault, Keyring, check_head, keyring
from swift.wire.status import status_line

LOG_SECONDS = 10.0  # between two lines about refusals
REFUSED = b"The request is not signed as it must be.\n"


def check_body(body: RequestBody, covered: Covered) -> None:
    """Raises Fault, and ClientError for a body that does not come."""
    if body.done or sha256(body.ahead(covered.size)).hexdigest().encode() != covered.digest:
        raise Fault("body", "its body is not the one that was signed")


class Guard:
    """In front of a storage server's application: hands on what is signed, and what may be asked for without a signature.

    The connection gives it the head of each request (`needs_head`).
    """

    needs_head = True

    def __init__(self, app: Application, conf: Mapping[str, Any], logger: Any) -> None:
        self._app = app
        self._logger = logger
        self._metrics = get_metrics(conf, str(conf.get(COMPONENT) or "backend"), logger)
        self._next_line = 0.0
        self._untold = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        ring = keyring()
        if ring is None:
            return self._app(environ, start_response)
        try:
            covered = check_head(environ.pop(HEAD), ring, clock.time())
            if covered is not None:
                check_body(environ["wsgi.input"], covered)
        except Fault as fault:
            if fault.kind != "unsigned" or not _is_open(environ, ring.settings.open_paths):
                must_refuse = ring.settings.signing == REQUIRE
                self._note(environ, fault, ring, must_refuse)
                if must_refuse:
                    return _refuse(environ, start_response)
        return self._app(environ, start_response)

    def _note(self, environ: Mapping[str, Any], fault: Fault, ring: Keyring, is_refused: bool) -> None:
        """Counted each time, told now and then."""
        self._metrics.increment(f"signature.{fault.kind}")
        self._untold += 1
        now = clock.monotonic()
        if now < self._next_line:
            return
        self._next_line = now + LOG_SECONDS
        self._logger.warning(
            "%s %d requests since the last such line, the last one %s %s from %s: %s%s",
            "refused" if is_refused else "served in spite of their signatures", self._untold,
            ascii(environ["REQUEST_METHOD"][:32])[1:-1], ascii(environ["RAW_PATH_INFO"][:256])[1:-1], environ.get("REMOTE_ADDR"), fault,
            f" ({ring.trouble})" if ring.trouble else "",
        )  # fmt: skip
        self._untold = 0


def guarded(app: Application, conf: Mapping[str, Any], logger: Any) -> Application:
    """The application of a storage server as it is to be served: behind a Guard where requests are signed."""
    return app if backend_security.current().signing == OFF else Guard(app, conf, logger)


def _is_open(environ: Mapping[str, Any], paths: Iterable[str]) -> bool:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return False
    asked = environ["PATH_INFO"]
    return any(asked == path or asked.startswith(path + "/") for path in paths)


def _refuse(environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(REFUSED))), ("Connection", "close")]
    start_response(status_line(401), headers)
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [REFUSED]
