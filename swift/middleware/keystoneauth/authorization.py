"""Who may do what: the decision that the proxy asks for through `swift.authorize` (spec middleware 4.15).

Never here: who asks (`identity`). Accounts and paths are WSGI strings; ACLs, as the proxy hands them over, and names are native.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core.config import csv_list, reseller_options, truthy
from swift.middleware.acl import has_sync_key, parse_acl, parse_pairs, referrer_allowed
from swift.middleware.keystoneauth.domains import Domains
from swift.middleware.keystoneauth.identity import Identity
from swift.wire.message import (
    HTTPForbidden,
    HTTPNotFound,
    HTTPUnauthorized,
    Request,
    Response,
    parsed_path,
    str_to_wsgi,
)

_READS = frozenset(("GET", "HEAD"))
_ROLES: dict[str, list[str]] = {
    "operator_roles": ["admin", "swiftoperator"],
    "service_roles": [],
    "project_reader_roles": [],
}
_ANYBODY = "*"


class Rules:
    """Which roles may do what below which reseller prefix, by the configuration."""

    def __init__(self, conf: Mapping[str, str]) -> None:
        prefixes, self._roles = reseller_options(conf, _ROLES)
        # The longest first: with AUTH and AUTH_X, an account AUTH_X_a is under the rules of AUTH_X.
        self._prefixes = sorted(prefixes, key=len, reverse=True)
        self.reseller_admin_role = conf.get("reseller_admin_role", "ResellerAdmin").lower()
        self.system_reader_roles = frozenset(
            role.lower() for role in csv_list(conf.get("system_reader_roles", ""))
        )
        self.allow_names_in_acls = truthy(conf.get("allow_names_in_acls", "true"))

    def prefix_of(self, account: str) -> str | None:
        """The reseller prefix that an account is under, None if it is none of ours."""
        for prefix in self._prefixes:
            if account.startswith(prefix):
                return prefix
        return None

    def is_of(self, account: str, project: str | None) -> bool:
        """Returns True if the account is one of the project's: one under each prefix."""
        prefix = self.prefix_of(account)
        return bool(project) and prefix is not None and account == prefix + str_to_wsgi(project or "")

    def owns(self, account: str, roles: frozenset[str], identity: Identity) -> bool:
        """Returns True if the roles make an operator of that account of the identity's project."""
        rules = self._roles[self.prefix_of(account) or ""]
        if roles.isdisjoint(rules["operator_roles"]):
            return False
        needed = rules["service_roles"]
        return not needed or any(role.lower() in needed for role in identity.service_roles)

    def reads(self, account: str, roles: frozenset[str]) -> bool:
        """Returns True if the roles let read all of that account of the identity's project."""
        return not roles.isdisjoint(self._roles[self.prefix_of(account) or ""]["project_reader_roles"])


class Authorizer:
    """The hook for nobody in particular; `for_identity` makes that of somebody."""

    def __init__(self, rules: Rules, domains: Domains) -> None:
        self.rules = rules
        self.domains = domains

    def for_identity(self, identity: Identity) -> IdentityAuthorizer:
        return IdentityAuthorizer(self.rules, self.domains, identity)

    def __call__(self, request: Any) -> Response | None:
        """None if the request (anything with an `environ`) may pass, else the response for it."""
        environ = request.environ
        _version, account, _container, obj = parsed_path(environ)
        if account is None:
            return HTTPNotFound(request=Request(environ))
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return None
        if self.rules.prefix_of(account) is not None:
            referrers, groups = parse_acl(environ.get("swob.ACL"))
            if has_sync_key(environ) or _referrer_says(environ, referrers, groups, obj):
                return None
        return denied(environ)


class IdentityAuthorizer:
    """The hook of one identity. It goes along with the requests that filters make on behalf of the client's."""

    __slots__ = ("_domains", "_identity", "_roles", "_rules")

    def __init__(self, rules: Rules, domains: Domains, identity: Identity) -> None:
        self._rules = rules
        self._domains = domains
        self._identity = identity
        self._roles = frozenset(role.lower() for role in identity.roles)

    @property
    def is_reseller(self) -> bool:
        return self._rules.reseller_admin_role in self._roles

    def __call__(self, request: Any) -> Response | None:
        """None if the request (anything with an `environ`) may pass, else the response for it. Sets `swift_owner`."""
        environ = request.environ
        environ["swift_owner"] = False
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            return None
        _version, account, container, obj = parsed_path(environ)
        if account is None:
            return HTTPNotFound(request=Request(environ))
        own = self._rules.is_of(account, self._identity.project.id)
        self._domains.note(environ, self._identity, account, container, obj, own)
        if self.is_reseller:
            environ["swift_owner"] = True
            return None
        if method in _READS and not self._roles.isdisjoint(self._rules.system_reader_roles):
            return None
        if method == "DELETE" and container is None:
            return denied(environ)
        if self._passes_acl_or_owns(environ, method, account, obj, own):
            return None
        return denied(environ)

    def _passes_acl_or_owns(
        self, environ: dict[str, Any], method: str, account: str, obj: str | None, own: bool
    ) -> bool:
        acl = environ.get("swob.ACL")
        groups: list[str] = []
        referrer: bool | None = None
        if acl:
            if self._is_named(environ, acl, account, own):
                return True
            referrers, groups = parse_acl(acl)
            referrer = _referrer_says(environ, referrers, groups, obj)
        if referrer or has_sync_key(environ):
            return True
        if not own:
            return False
        if self._rules.owns(account, self._roles, self._identity):
            environ["swift_owner"] = True
            return True
        if method in _READS and self._rules.reads(account, self._roles):
            return True
        # The container is open to that referrer but its listing: no role in the same ACL opens that.
        return referrer is None and any(group.lower() in self._roles for group in groups)

    def _is_named(self, environ: dict[str, Any], acl: str, account: str, own: bool) -> bool:
        """Returns True if an item `project:user` of the ACL means the identity."""
        pairs = parse_pairs(acl)
        if not pairs:
            return False
        user, project = self._identity.user, self._identity.project
        projects = {_ANYBODY, project.id}
        users = {_ANYBODY, user.id}
        if any(first in projects and second in users for first, second in pairs):
            return True
        projects.add(project.name or None)
        users.add(user.name or None)
        if not any(first in projects and second in users for first, second in pairs):
            return False
        return self._may_be_named(environ, account, own)

    def _may_be_named(self, environ: dict[str, Any], account: str, own: bool) -> bool:
        """Names are those of the default domain, and count on accounts of its projects only."""
        domains, identity = self._domains, self._identity
        if not self._rules.allow_names_in_acls:
            return False
        if not domains.is_default_or_unknown(identity.user_domain.id):
            return False
        if not domains.is_default_or_unknown(identity.project_domain.id):
            return False
        return own or domains.of_account_is_default(environ, account)


def _referrer_says(
    environ: dict[str, Any], referrers: list[str], groups: list[str], obj: str | None
) -> bool | None:
    """True: may pass; False: might, if this weren't a listing; None: the ACL doesn't mean the referrer."""
    if not referrers or not referrer_allowed(environ.get("HTTP_REFERER"), referrers):
        return None
    return obj is not None or ".rlistings" in groups


def denied(environ: dict[str, Any]) -> Response:
    """403 for somebody known, 401 for everybody else."""
    if environ.get("REMOTE_USER"):
        return HTTPForbidden(request=Request(environ))
    return HTTPUnauthorized(request=Request(environ))
