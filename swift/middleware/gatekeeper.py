"""Filter `gatekeeper`: no header that belongs to the cluster's inside passes the front door, in either direction.

Which names are internal is the table below (spec middleware 4.2). As the one filter that all requests of clients pass, it also
turns away what nobody behind it would understand (`absent_features`). Never here: what any of it means.
"""

import re
from collections.abc import Callable, Container, Iterable
from typing import Any
from urllib.parse import urlsplit

from swift.core.config import truthy
from swift.middleware.absent_features import AbsentFeatures
from swift.telemetry.log import DEBUG, get_logger
from swift.wire.message import HTTPException

_INTERNAL_NAME = re.compile(
    r"x-(?:(?:account|container|object)-sysmeta-.*"
    r"|object-transient-sysmeta-.*"
    r"|backend.*"
    r"|account-(?:host|device|partition)"
    r"|container-(?:host|device|partition|root-db-state)"
    r"|delete-at-(?:host|device|partition|container))",
    re.IGNORECASE | re.DOTALL,
)
# Searched in all environ keys at once; what it finds is looked at again name by name.
_SUSPICIOUS_KEYS = re.compile(
    r"HTTP_X_(?:BACKEND|(?:ACCOUNT|CONTAINER|OBJECT|OBJECT_TRANSIENT)_SYSMETA_|(?:ACCOUNT|CONTAINER|DELETE_AT)_(?:HOST|DEVICE|PARTITION|CONTAINER|ROOT_DB_STATE))"
)
_KNOWN_NAMES = 4096


def is_internal(name: str) -> bool:
    """Returns True if a header (in any case) is the cluster's own."""
    return _INTERNAL_NAME.fullmatch(name) is not None


class _Verdicts(dict[str, bool]):
    """`is_internal` remembered for the names that come by; bounded, for names come from outside too.

    Those in `marks` are not remembered, so that each of them is noticed when it comes by, at no cost to the others.
    """

    def __init__(self, marks: Container[str] = ()) -> None:
        self._marks = marks
        self._noticed = False

    def __missing__(self, name: str) -> bool:
        verdict = is_internal(name)
        if name in self._marks:
            self._noticed = True
        elif len(self) < _KNOWN_NAMES and len(name) < 128:
            self[name] = verdict
        return verdict

    def noticed(self) -> bool:
        """Returns True if a mark came by since this was last asked."""
        noticed, self._noticed = self._noticed, False
        return noticed


class GatekeeperMiddleware:
    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="gatekeeper")
        self.shunt_x_timestamp = truthy(conf.get("shunt_inbound_x_timestamp", "true"))
        self._absent: AbsentFeatures | None = None
        self._harmless: set[str] = set()  # keys of environs
        self._verdicts = _Verdicts()
        self.allow_reserved_names = truthy(conf.get("allow_reserved_names_header", "false"))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_harmless = self._harmless.issuperset(environ)
        if not is_harmless or environ.get("QUERY_STRING"):
            refusal = self._looked_at(environ) if not is_harmless else self._refusal_of_query(environ)
            if refusal is not None:
                return refusal(environ, start_response)
        if self.shunt_x_timestamp and "HTTP_X_TIMESTAMP" in environ:
            timestamp = environ.pop("HTTP_X_TIMESTAMP")
            environ["HTTP_X_BACKEND_INBOUND_X_TIMESTAMP"] = timestamp
            self.logger.debug("shunted request headers: %s", [("X-Timestamp", timestamp)])
        if self.allow_reserved_names and "HTTP_X_ALLOW_RESERVED_NAMES" in environ:
            environ["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = environ.pop("HTTP_X_ALLOW_RESERVED_NAMES")

        absent, verdicts = self._absent, self._verdicts
        instead: list[Iterable[bytes]] = []

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            public = [header for header in headers if not verdicts[header[0]]]
            if verdicts.noticed() and absent is not None:
                unreadable = absent.unreadable(environ, status, headers)
                if unreadable is not None:
                    instead.append(unreadable(environ, start_response))
                    return _no_write
            if len(public) != len(headers) and self.logger.isEnabledFor(DEBUG):
                removed = [header for header in headers if verdicts[header[0]]]
                self.logger.debug("removed response headers: %s", removed)
            if "swift.leave_relative_location" in environ:
                public = _with_relative_location(public)
            if exc_info is None:
                return start_response(status, public)
            return start_response(status, public, exc_info)

        body = self.app(environ, respond)
        if instead:
            close = getattr(body, "close", None)
            if close is not None:
                close()
            return instead[0]
        return body

    def _looked_at(self, environ: dict[str, Any]) -> HTTPException | None:
        """Take out what is internal; the answer to a request that nobody behind would understand, else None."""
        keys = "\n".join(environ)
        if _SUSPICIOUS_KEYS.search(keys):
            self._clean_request(environ)
        absent = self._absent
        if absent is None:
            absent = self._absent = self._absent_features()
            self._verdicts = _Verdicts(absent.stored if absent is not None else ())
        refusal = None if absent is None else absent.refusal(environ, keys)
        if refusal is None:
            self._note_harmless(environ, absent)
        return refusal

    def _refusal_of_query(self, environ: dict[str, Any]) -> HTTPException | None:
        """The same where nothing has to be known of the environ's keys."""
        return None if self._absent is None else self._absent.refusal(environ, "")

    def _note_harmless(self, environ: dict[str, Any], absent: AbsentFeatures | None) -> None:
        """Keys of which nothing has to be known but that they are there."""
        for key in environ:
            if (
                len(self._harmless) < _KNOWN_NAMES
                and len(key) < 128
                and not is_internal(key.removeprefix("HTTP_").replace("_", "-"))
                and not _SUSPICIOUS_KEYS.search(key)
                and (absent is None or absent.is_harmless(key))
            ):
                self._harmless.add(key)

    def _absent_features(self) -> AbsentFeatures | None:
        """None where the pipeline is unknown: a filter on its own."""
        names = getattr(self, "_pipeline_names", None)
        return AbsentFeatures(names) if names else None

    def _clean_request(self, environ: dict[str, Any]) -> None:
        removed = []
        for key in [key for key in environ if key.startswith("HTTP_X_")]:
            name = key[5:].replace("_", "-")
            if is_internal(name):
                removed.append(name.title())
                del environ[key]
        if removed:
            self.logger.debug("removed request headers: %s", removed)


def _no_write(_data: bytes) -> None:
    """For what an application would write beside its body."""


def _with_relative_location(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Reduce an absolute Location to path?query#fragment."""
    return [
        (name, _relative(value)) if name.lower() == "location" else (name, value) for name, value in headers
    ]


def _relative(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return location
    # A path that begins with two slashes would be taken for another host's name.
    if not parts.scheme and not parts.netloc or parts.path.startswith("//"):
        return location
    return parts._replace(scheme="", netloc="").geturl()


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], GatekeeperMiddleware]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> GatekeeperMiddleware:
        return GatekeeperMiddleware(app, conf)

    return factory
