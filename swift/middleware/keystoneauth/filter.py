"""The filter itself: installs the authorization for whoever the token filter found, and shows the domain of an account's project.

Never here: the decision about a request (`authorization`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core.config import truthy
from swift.middleware.acl import clean_acl
from swift.middleware.keystoneauth.authorization import Authorizer, Rules
from swift.middleware.keystoneauth.domains import SHOWN_HEADER, SYSMETA_HEADER, Domains
from swift.middleware.keystoneauth.identity import identity_of
from swift.telemetry.log import get_logger
from swift.wire.message import parsed_path


class KeystoneAuth:
    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="keystoneauth")
        self.allow_overrides = truthy(conf.get("allow_overrides", "true"))
        if truthy(conf.get("is_admin", "")):
            self.logger.warning(
                "keystoneauth: is_admin has no effect any more; give the user an operator role or the reseller admin's"
            )
        domains = Domains(app, conf.get("default_domain_id", "default"), self.logger.warning)
        self.authorizer = Authorizer(Rules(conf), domains)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.allow_overrides and environ.get("swift.authorize_override"):
            return self.app(environ, start_response)
        identity = identity_of(environ)
        environ["swift.clean_acl"] = clean_acl
        if identity is None:
            environ["swift.authorize"] = self.authorizer
        else:
            hook = environ["swift.authorize"] = self.authorizer.for_identity(identity)
            environ["keystone.identity"] = identity.as_environ()
            environ["REMOTE_USER"] = tuple(identity.project)
            environ["swift.access_logging"] = {"user_id": identity.user.id or identity.user.name}
            if hook.is_reseller:
                environ["reseller_request"] = True
        if parsed_path(environ)[2] is None:  # an account's answer
            start_response = _showing_the_domain(start_response)
        return self.app(environ, start_response)


def _showing_the_domain(start_response: Callable[..., Any]) -> Callable[..., Any]:
    def respond(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        for name, value in headers:
            if name.title() == SYSMETA_HEADER:
                return start_response(status, [*headers, (SHOWN_HEADER, value)], *exc_info)
        return start_response(status, headers, *exc_info)

    return respond


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], KeystoneAuth]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> KeystoneAuth:
        return KeystoneAuth(app, conf)

    return factory
