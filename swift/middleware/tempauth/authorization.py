"""Who may do what: the decision that the proxy asks for through `swift.authorize` (spec middleware 4.14, proxy 18).

Never here: who the requester is; that stands in REMOTE_USER, as a comma list of groups. Groups, accounts and ACLs are compared
as WSGI strings.

Groups, users and storage accounts share one list and may share names (under an empty reseller prefix an account's name is its
storage account's name, and a group may be called like somebody's account). So the list says who somebody is, and what a user
owns is known from the configuration alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swift.core.config import reseller_options
from swift.middleware.acl import (
    acls_from_account_info,
    format_acl_v2,
    has_sync_key,
    parse_account_acl,
    parse_acl,
    referrer_allowed,
)
from swift.middleware.info import get_account_info
from swift.middleware.tempauth.users import User
from swift.wire.message import (
    HTTPBadRequest,
    HTTPForbidden,
    HTTPNotFound,
    HTTPUnauthorized,
    Request,
    Response,
    parsed_path,
    str_to_wsgi,
    wsgi_to_str,
)

ACCOUNT_ACL_HEADER = "HTTP_X_ACCOUNT_ACCESS_CONTROL"
ACCOUNT_ACL_SYSMETA_HEADER = "HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL"
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 1024  # characters
ACCOUNT_ACL_KEYS = ("admin", "read-write", "read-only")


class Authorizer:
    """The rules of the reseller prefixes in ``conf``; ``count(name)`` is told of each refusal."""

    def __init__(self, app: Any, conf: dict[str, Any], count: Callable[[str], None]) -> None:
        self.app = app
        self.count = count
        prefixes, rules = reseller_options(conf, {"require_group": ""})
        self.prefixes = prefixes
        # The longest first: with AUTH and AUTH_X, an account AUTH_X_a is under the rules of AUTH_X.
        self._named_prefixes = sorted(filter(None, prefixes), key=len, reverse=True)
        self._any_account = "" in prefixes
        self._required_group = {prefix: rules[prefix]["require_group"] for prefix in prefixes}
        self._owned: dict[str, frozenset[str]] = {}
        # (REMOTE_USER, account) → its groups, and whether they own it: that hangs on the configuration alone.
        self._ownership: dict[tuple[str, str], tuple[list[str], bool]] = {}

    def know_users(self, users: Mapping[str, User]) -> None:
        """Whose storage accounts are whose."""
        self._owned = {
            str_to_wsgi(user.id): frozenset(map(str_to_wsgi, user.owned_accounts(self.prefixes)))
            for user in users.values()
        }
        self._ownership.clear()

    def prefix_of(self, account: str | None) -> str | None:
        """The reseller prefix that an account is under, None if it is none of ours."""
        if not account:
            return None
        for prefix in self._named_prefixes:
            if account.startswith(prefix):
                return prefix
        return "" if self._any_account else None

    def _groups_and_ownership(self, user: str, account: str) -> tuple[list[str], bool]:
        """The groups of a REMOTE_USER, and what _owns says of them."""
        key = (user, account)
        known = self._ownership.get(key)
        if known is None:
            groups = user.split(",")
            known = groups, self._owns(groups, account)
            if len(self._ownership) >= _MOST_REMEMBERED:
                self._ownership.clear()
            if len(user) + len(account) <= _LONGEST_REMEMBERED:
                self._ownership[key] = known
        return known

    def _owns(self, groups: list[str], account: str) -> bool:
        """Returns True if the account is a storage account of one of the users that the groups name.

        A user stands there as the account's name followed by the user's id; that of a service token comes later in the list.
        """
        if account not in groups:
            return False  # the token is from a time when it was not
        for at in range(1, len(groups)):
            owned = self._owned.get(groups[at])
            if owned is not None and account in owned and groups[at].startswith(f"{groups[at - 1]}:"):
                return True
        return False

    def authorize(self, request: Any) -> Response | None:
        """None if the request (anything with an `environ`) may pass, else the response for it. May set `swift_owner`."""
        environ = request.environ
        _version, account, container, obj = parsed_path(environ)
        if account is None:
            return HTTPNotFound(request=Request(environ))
        prefix = self.prefix_of(account)
        if prefix is None:
            return self.deny(request)
        if ACCOUNT_ACL_HEADER in environ:
            problem = _take_account_acl(environ)
            if problem is not None:
                return problem
        user = environ.get("REMOTE_USER", "")
        if not isinstance(user, str):
            user = ""  # another auth filter's user is none of ours
        groups, owns = self._groups_and_ownership(user, account)
        method = environ["REQUEST_METHOD"]
        if (".reseller_admin" in groups or ".reseller_reader" in groups) and self._passes_as_reseller(
            environ, groups, account, prefix, method
        ):
            return None
        required = self._required_group[prefix]
        if (
            owns
            and (container is not None or method not in ("PUT", "DELETE"))
            and (not required or required in groups)
        ):
            environ["swift_owner"] = True
            return None
        if has_sync_key(environ) or method == "OPTIONS":
            return None
        if _passes_container_acl(environ, groups, obj):
            return None
        if self._passes_account_acl(environ, groups, account, container, method):
            return None
        return self.deny(request)

    def deny(self, request: Any) -> Response:
        """403 for somebody known, 401 for everybody else."""
        environ = request.environ
        if environ.get("REMOTE_USER"):
            self.count("forbidden")
            return HTTPForbidden(request=Request(environ))
        self.count("unauthorized")
        return HTTPUnauthorized(request=Request(environ))

    def _passes_as_reseller(
        self, environ: dict[str, Any], groups: list[str], account: str, prefix: str, method: str
    ) -> bool:
        if account in self.prefixes or account[len(prefix) : len(prefix) + 1] == ".":
            return False
        if ".reseller_admin" in groups:
            environ["swift_owner"] = True
            return True
        return ".reseller_reader" in groups and method in ("GET", "HEAD")

    def _passes_account_acl(
        self, environ: dict[str, Any], groups: list[str], account: str, container: str | None, method: str
    ) -> bool:
        if not groups[0]:
            return False  # account ACLs name users; an anonymous request can't match
        acls = acls_from_account_info(get_account_info(environ, self.app, account))
        if acls is None:
            return False
        mine = {wsgi_to_str(group) for group in groups}

        def listed(level: str) -> bool:
            return not mine.isdisjoint(group for group in _list(acls[level]) if isinstance(group, str))

        if container is None and method in ("PUT", "DELETE"):
            return False  # not even an owner makes or deletes an account
        if listed("admin"):
            environ["swift_owner"] = True
            return True
        reading = method in ("GET", "HEAD")
        if listed("read-write") and (container is not None or reading):
            return True
        return reading and listed("read-only")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _passes_container_acl(environ: dict[str, Any], groups: list[str], obj: str | None) -> bool:
    acl = environ.get("swob.ACL")
    if not acl:
        return False
    referrers, allowed = parse_acl(acl)
    if (obj is not None or ".rlistings" in allowed) and referrer_allowed(
        environ.get("HTTP_REFERER"), referrers
    ):
        return True
    return any(group and str_to_wsgi(group) in groups for group in allowed)


def _take_account_acl(environ: dict[str, Any]) -> Response | None:
    """Check X-Account-Access-Control and turn it into what is stored; a response if it can't be."""
    text = wsgi_to_str(environ[ACCOUNT_ACL_HEADER])
    acl = parse_account_acl(text)
    reason = _account_acl_problem(text, acl)
    if reason is not None:
        body = f"X-Account-Access-Control invalid: {reason}\n\nInput: {text}\n"
        return HTTPBadRequest(
            request=Request(environ),
            body=body.encode("utf-8", "surrogateescape"),
            content_type="text/plain; charset=UTF-8",
        )
    environ[ACCOUNT_ACL_SYSMETA_HEADER] = format_acl_v2(acl) if text and acl is not None else ""
    return None


def _is_no_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _account_acl_problem(text: str, acl: dict[str, Any] | None) -> str | None:
    if acl is None or _is_no_utf8(text):
        return f"Syntax error in input ({text!r})"
    for key, value in acl.items():
        if key not in ACCOUNT_ACL_KEYS:
            return f'Key "{key}" not recognized'
        if not isinstance(value, list):
            return f'Value for key "{key}" must be a list'
        if not all(isinstance(group, str) for group in value):
            return f'Elements of "{key}" list must be strings'
    return None
