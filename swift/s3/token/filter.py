"""The filter itself: which requests it concerns, the cache of secrets, and what is answered when Keystone says no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core.names import split_path, str_to_wsgi
from swift.s3.token import identities
from swift.s3.token.identities import BadReply, Identity
from swift.s3.token.keystone import Away, Keystone, Refused
from swift.s3.token.options import Options, parse_options
from swift.telemetry.log import get_logger
from swift.wire.call import Application, StartResponse
from swift.wire.message import status_line

_CACHE_KEY = "s3secret/{}"
_KNOWN = "s3token.known"  # in swift.infocache: what this request's signature has already been found to be
_MESSAGES = {"AccessDenied": "Access denied", "ServiceUnavailable": "Keystone does not answer just now"}


class _Denied(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class S3Token:
    def __init__(self, app: Application, options: Options, logger: Any, keystone: Any = None) -> None:
        self.app = app
        self.options = options
        self.logger = logger
        self.keystone = keystone or Keystone(options, logger)
        self.seconds = options.secret_cache_duration if options.service is not None else 0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        details = environ.get("s3api.auth_details")
        if details:
            # Who signs is who asks; a token that came along says nothing of a signature.
            environ.pop("keystone.token_info", None)
        if "keystone.token_info" not in environ:
            identities.forget(environ)
        if not details:
            return self.app(environ, start_response)
        try:
            split_path(environ["PATH_INFO"], 1, 4, True)
        except ValueError:
            return self.app(environ, start_response)
        try:
            self._identify(environ, details)
        except _Denied as error:
            if not self.options.delay_auth_decision:
                return _refusal(error, start_response)
        return self.app(environ, start_response)

    def _identify(self, environ: dict[str, Any], details: Any) -> None:
        """Raises _Denied."""
        whole: str = details["access_key"]
        access_key, colon, tenant = whole.partition(":")
        if ":" in tenant or not access_key or (colon and not tenant):
            raise _Denied(401, "AccessDenied")
        known = environ.setdefault("swift.infocache", {})
        signed = (access_key, details["signature"], details["string_to_sign"])
        remembered = known.get(_KNOWN)
        if remembered is not None and remembered[0] == signed:
            identity = remembered[1]
        else:
            identity = self._identity(environ.get("swift.cache"), access_key, details)
            known[_KNOWN] = (signed, identity)
        identities.say(environ, identity)
        environ["s3api.user_id"] = identity.user_id(self.options.default_domain_id)
        environ["s3api.user_names"] = identity.names if identity.is_of_projects_domain else ""
        account = self.options.reseller_prefix + (tenant or str(identity.project["id"]))
        parts = environ["PATH_INFO"].split("/", 3)
        if len(parts) > 2 and parts[2] == str_to_wsgi(whole):
            parts[2] = str_to_wsgi(account)
            environ["PATH_INFO"] = "/".join(parts)

    def _identity(self, cache: Any, access_key: str, details: Any) -> Identity:
        """Raises _Denied."""
        is_kept = cache is not None and self.seconds > 0
        if is_kept:
            found = identities.from_cache(cache.get(_CACHE_KEY.format(access_key)))
            if found is not None and details["check_signature"](found[1]):
                return found[0]
        try:
            reply = self.keystone.whose(access_key, details["string_to_sign"], details["signature"])
            identity = identities.from_reply(reply)
        except Refused:
            raise _Denied(401, "AccessDenied") from None
        except (Away, BadReply) as error:
            self.logger.error("s3token: %s", error)
            raise _Denied(503, "ServiceUnavailable") from None
        if is_kept:
            self._keep(cache, access_key, identity, details)
        return identity

    def _keep(self, cache: Any, access_key: str, identity: Identity, details: Any) -> None:
        """The secret, so that Keystone is not asked for each request, and so that chunks that are signed each can be checked."""
        try:
            secret = self.keystone.secret(identity.keystone_user, access_key)
        except (Refused, Away) as error:
            self.logger.warning("s3token: the secret of a key is not known: %s", error)
            return
        if details["check_signature"](secret):
            cache.set(_CACHE_KEY.format(access_key), identities.to_cache(identity, secret), time=self.seconds)


def _refusal(error: _Denied, start_response: StartResponse) -> Iterable[bytes]:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n<Error>\r\n'
        f"  <Code>{error.code}</Code>\r\n  <Message>{_MESSAGES[error.code]}</Message>\r\n</Error>\r\n"
    ).encode()
    start_response(
        status_line(error.status), [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
    )
    return [body]


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], S3Token]:
    """Raises ConfigError."""
    conf = {**global_conf, **local_conf}
    options = parse_options(conf)
    logger = get_logger(conf, "proxy-server", log_route="s3token")
    if options.service is None:
        logger.warning(
            "s3token: no auth_url, so Keystone is asked by nobody in particular, and no secrets are kept"
        )

    def factory(app: Any) -> S3Token:
        return S3Token(app, options, logger)

    return factory
