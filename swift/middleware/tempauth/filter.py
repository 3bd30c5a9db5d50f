"""The filter itself: finds out who asks, hands out tokens under the auth prefix, and installs the authorization.

Never here: the decision about a request (`authorization`) and the forms of tokens (`tokens`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheConnectionError
from swift.core import capabilities
from swift.core.config import non_negative_int, truthy
from swift.middleware.acl import clean_acl
from swift.middleware.tempauth.authorization import Authorizer
from swift.middleware.tempauth.s3_keys import KeysFile
from swift.middleware.tempauth.tokens import NoTokenCache, Tokens, TokensAway
from swift.middleware.tempauth.users import NOBODY, User, parse_users
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.wire.message import (
    HTTPBadRequest,
    HTTPMethodNotAllowed,
    HTTPNotFound,
    HTTPServerError,
    HTTPServiceUnavailable,
    HTTPUnauthorized,
    Request,
    Response,
    host_url,
    parsed_path,
    str_to_wsgi,
    wsgi_quote,
    wsgi_to_str,
)

RETRY_SECONDS = "2"
# Left in the environ for the S3 layer: that nobody has the access key; else whose it is (text, `account:user`).
UNKNOWN_ACCESS_KEY = "s3api.unknown_access_key"
S3_USER = "s3api.user_id"
_MOST_IDENTITIES = 1024
_LONGEST_IDENTITY = 1024  # characters


class TempAuth:
    """Raises ValueError at once for a configuration that can't be meant."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None, metrics: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="tempauth")
        self.allow_overrides = truthy(conf.get("allow_overrides", "true"))
        self.storage_url_scheme = conf.get("storage_url_scheme", "default")
        self.auth_prefix = self._normal_auth_prefix(conf.get("auth_prefix", "/auth/"))
        self.authorizer = Authorizer(app, conf, self._count)
        self.prefixes = self.authorizer.prefixes
        self.prefix = self.prefixes[0]
        self.tokens = Tokens(conf, self.prefix, non_negative_int(conf.get("token_life", 86400)))
        self.users = parse_users(conf, self.prefix)
        self.authorizer.know_users(self.users)
        keys_file = conf.get("s3_keys_file", "")
        self.s3_keys = KeysFile(keys_file, self.logger) if keys_file else None
        self.metrics = metrics or get_metrics(conf, f"tempauth.{self.prefix or 'NONE'}")
        self._workers = str(conf.get("workers", "auto"))
        self._warned = False
        self._identities: dict[str, tuple[str, str, bool]] = {}  # by groups
        self._s3_users: dict[str, tuple[User, str, str]] = {}
        # Bound once: a bound method made anew for each request is garbage on the hot path.
        self.authorize = self.authorizer.authorize
        self.deny = self.authorizer.deny

    def _normal_auth_prefix(self, prefix: str) -> str:
        stripped = prefix.strip("/")
        if not stripped:
            self.logger.warning(
                "Rewriting invalid auth prefix %r to '/auth/' (Non-empty auth prefix path is required)",
                prefix,
            )
            return "/auth/"
        return f"/{stripped}/"

    def _count(self, name: str) -> None:
        self.metrics.increment(name)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.allow_overrides and environ.get("swift.authorize_override"):
            return self.app(environ, start_response)
        if environ["PATH_INFO"].startswith(self.auth_prefix):
            return self._auth_response(environ)(environ, start_response)
        token = environ.get("HTTP_X_AUTH_TOKEN") or environ.get("HTTP_X_STORAGE_TOKEN")
        s3 = environ.get("s3api.auth_details") or environ.get("swift3.auth_details")
        if s3 or (token and token.startswith(self.prefix)):
            try:
                groups = self._s3_groups(environ, s3) if s3 else self._token_groups(environ, token)
            except TokensAway:
                self._count("unavailable")
                return _unavailable(Request(environ))(environ, start_response)
            if groups:
                self._identify(environ, groups)
            elif self.prefix and not s3:
                self._count("unauthorized")
                return HTTPUnauthorized(request=Request(environ))(environ, start_response)
            else:
                # Another auth system may know this one.
                environ.setdefault("swift.authorize", self.deny)
        else:
            self._install_anonymous(environ)
        return self.app(environ, start_response)

    # -- who asks ------------------------------------------------------------------------------------------------------
    def _token_groups(self, environ: dict[str, Any], token: Any) -> str | None:
        cache = environ.get("swift.cache")
        groups = self.tokens.groups(cache, token)
        service_token = environ.get("HTTP_X_SERVICE_TOKEN")
        if service_token and groups:
            service_groups = self.tokens.groups(cache, service_token)
            if service_groups:
                groups = f"{groups},{service_groups}"
        return groups

    def _s3_groups(self, environ: dict[str, Any], details: Any) -> str | None:
        access_key: str = details["access_key"]  # text
        user = self.users.get(access_key)
        secrets: tuple[str, ...] = (user.key,) if user is not None else ()
        if self.s3_keys is not None and (own := self.s3_keys.key(access_key)) is not None:
            user, secrets = self.users.get(own.user), own.secrets
        if user is None or not secrets:
            environ[UNKNOWN_ACCESS_KEY] = True
            return None
        is_right = details["check_signature"]
        for secret in secrets:
            if is_right(secret):
                break
        else:
            return None
        environ[S3_USER], account, groups = self._s3_user(user)
        environ["PATH_INFO"] = _in_account(environ["PATH_INFO"], access_key, account)
        return groups

    def _s3_user(self, user: User) -> tuple[str, str, str]:
        """(user as S3 knows it, its storage account, its groups) of a user of the configuration: made once."""
        name = user.id
        known = self._s3_users.get(name)
        if known is None or known[0] is not user:
            known = user, user.account_id, ",".join(user.group_list(self.prefixes))
            self._s3_users[name] = known
        return name, known[1], known[2]

    def _identify(self, environ: dict[str, Any], groups: str) -> None:
        known = self._identities.get(groups)
        if known is None:
            known = self._identity(groups)
        environ["REMOTE_USER"], user_id, is_reseller = known
        environ["swift.authorize"] = self.authorize
        environ["swift.clean_acl"] = clean_acl
        environ["swift.access_logging"] = {"user_id": user_id}
        if is_reseller:
            environ["reseller_request"] = True

    def _identity(self, groups: str) -> tuple[str, str, bool]:
        """(REMOTE_USER, the user's name, whether a reseller's administrator) of a token's groups."""
        user = str_to_wsgi(groups)
        names = user.split(",")
        known = user, names[1] if len(names) > 1 else user, ".reseller_admin" in names
        if len(self._identities) >= _MOST_IDENTITIES:
            self._identities.clear()
        if len(groups) <= _LONGEST_IDENTITY:
            self._identities[groups] = known
        return known

    def _install_anonymous(self, environ: dict[str, Any]) -> None:
        prefix = self.authorizer.prefix_of(parsed_path(environ)[1])
        if prefix:
            environ["swift.authorize"] = self.authorize
            environ["swift.clean_acl"] = clean_acl
        elif "swift.authorize" not in environ:
            # The empty prefix takes what nobody else does; without it the account is not ours.
            environ["swift.authorize"] = self.authorize if self.prefix == "" else self.deny
            if self.prefix == "":
                environ["swift.clean_acl"] = clean_acl

    # -- handing out tokens --------------------------------------------------------------------------------------------
    def _auth_response(self, environ: dict[str, Any]) -> Response:
        request = Request(environ)
        if environ["REQUEST_METHOD"] != "GET":
            return HTTPMethodNotAllowed(request=request)
        parts = environ["PATH_INFO"][len(self.auth_prefix) :].split("/", 3)
        if not parts[0] or not all(parts[:-1]):
            self._count("errors")
            return HTTPNotFound(request=request)
        get = environ.get
        if parts[0] in ("v1.0", "auth"):
            user_id = get("HTTP_X_AUTH_USER") or get("HTTP_X_STORAGE_USER") or ""
            account = user_id.split(":", 1)[0] if ":" in user_id else ""
            key = get("HTTP_X_AUTH_KEY") or get("HTTP_X_STORAGE_PASS")
        elif parts[0] == "v1" and len(parts) == 3 and parts[2] == "auth":
            account = parts[1]
            name = get("HTTP_X_STORAGE_USER")
            user_id = f"{account}:{name}" if name else get("HTTP_X_AUTH_USER") or ""
            key = get("HTTP_X_STORAGE_PASS") or get("HTTP_X_AUTH_KEY")
        else:
            if parts[0] != "v1":
                self._count("errors")
            return HTTPBadRequest(request=request)
        if account:
            environ["swift.access_logging"] = {
                "user_id": user_id
            }  # whose password was tried is worth knowing
        user = self._user_with_key(account, user_id, key)
        if user is None:
            self._count("token_denied")
            realm = wsgi_quote(account) if account else "unknown"
            return HTTPUnauthorized(request=request, headers={"Www-Authenticate": f'Swift realm="{realm}"'})
        return self._token_response(environ, request, user)

    def _user_with_key(self, account: str, user_id: str, key: str | None) -> User | None:
        user = self.users.get(wsgi_to_str(user_id)) if user_id.startswith(f"{account}:") else None
        # Nobody's key is compared too, so that the time taken does not tell which users exist.
        right = (user or NOBODY).has_key(wsgi_to_str(key or ""))
        return user if right and key and account else None

    def _token_response(self, environ: dict[str, Any], request: Request, user: User) -> Response:
        groups = ",".join(user.group_list(self.prefixes))
        try:
            token, seconds = self.tokens.issue(environ.get("swift.cache"), user.id, groups)
        except MemcacheConnectionError:
            self.logger.error("tempauth: no token issued, the cache does not answer")
            return _unavailable(request)
        except NoTokenCache as error:
            self._count("errors")
            self.logger.error("%s", error)
            return HTTPServerError(
                request=request, body=b"Internal server error.\n", content_type="text/plain"
            )
        self._warn_of_private_tokens(environ.get("swift.cache"))
        host = host_url(environ)
        if self.storage_url_scheme != "default":
            host = f"{self.storage_url_scheme}:{host.split(':', 1)[1]}"
        headers = {
            "X-Auth-Token": token,
            "X-Storage-Token": token,
            "X-Auth-Token-Expires": str(int(seconds)),
            "X-Storage-Url": str_to_wsgi(user.storage_url).replace("$HOST", host),
        }
        return Response(request=request, headers=headers)

    def _warn_of_private_tokens(self, cache: Any) -> None:
        """Tokens in a worker's own cache mean nothing to its siblings, and users would see every second request fail."""
        if (
            self._warned
            or self.tokens.sealed
            or self._workers in ("0", "1")
            or not isinstance(cache, LocalCache)
        ):
            return
        self._warned = True
        self.logger.warning(
            "tempauth: without memcached and without active_fernet_key_id a token holds in one of the %s workers only",
            self._workers,
        )


def _in_account(path: str, access_key: str, account: str) -> str:
    """A path (WSGI string) with the account where the access key stands for it; who knows the account names it, and it stays."""
    parts = path.split("/", 3)
    if len(parts) > 2 and parts[2] == str_to_wsgi(access_key):
        parts[2] = str_to_wsgi(account)
    return "/".join(parts)


def _unavailable(request: Request) -> Response:
    """Whoever knows the tokens doesn't answer: that is no reason to send anybody to the log-in."""
    body = b"The tokens cannot be looked up just now.\n"
    return HTTPServiceUnavailable(
        request=request, body=body, content_type="text/plain", headers={"Retry-After": RETRY_SECONDS}
    )


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], TempAuth]:
    conf = {**global_conf, **local_conf}
    capabilities.register("tempauth", account_acls=True)

    def factory(app: Any) -> TempAuth:
        return TempAuth(app, conf)

    return factory
