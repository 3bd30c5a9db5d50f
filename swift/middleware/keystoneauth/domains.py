"""In which domain an account's project is: kept with the account, for names in ACLs mean those of the default domain only.

The account's system metadata `Project-Domain-Id` holds the id, `_unknown` where somebody else's token made the account, or
nothing. Never here: which names an ACL holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swift.middleware.info import get_account_info, is_success
from swift.middleware.keystoneauth.identity import Identity

SYSMETA_HEADER = "X-Account-Sysmeta-Project-Domain-Id"
SHOWN_HEADER = "X-Account-Project-Domain-Id"  # to clients
_SYSMETA_KEY = "HTTP_X_ACCOUNT_SYSMETA_PROJECT_DOMAIN_ID"
_SYSMETA = "project-domain-id"
_UNKNOWN = "_unknown"


class Domains:
    """``warn(text, *arguments)`` is told of an account whose project moved to another domain."""

    def __init__(self, app: Any, default: str, warn: Callable[..., None]) -> None:
        self.app = app
        self.default = default
        self._warn = warn

    def is_default_or_unknown(self, domain: str | None) -> bool:
        return not domain or domain == self.default

    def of_account_is_default(self, environ: dict[str, Any], account: str) -> bool:
        """Returns True if the account is there and nothing says that its project is in another domain than the default one."""
        is_there, domain = self._kept(environ, account)
        return is_there and self.is_default_or_unknown(domain)

    def note(
        self,
        environ: dict[str, Any],
        identity: Identity,
        account: str,
        container: str | None,
        obj: str | None,
        own: bool,
    ) -> None:
        """Let a request that makes or changes the account keep the domain; `own`: it is of the identity's project."""
        if obj is not None or _SYSMETA_KEY in environ:
            return
        method = environ["REQUEST_METHOD"]
        if method != "PUT" and (method != "POST" or container is not None):
            return
        told = identity.project_domain.id
        is_there, kept = self._kept(environ, account)
        keep: str | None = None
        if not is_there:
            keep = told if own else _UNKNOWN
        elif not own:
            return
        elif kept is None:
            keep = told if told == self.default else None
        elif kept == _UNKNOWN:
            keep = told or ""
        elif kept != told:
            self._warn("%s: its project is in the domain %r, and was in %r", account, told, kept)
        if keep is not None:
            environ[_SYSMETA_KEY] = keep

    def _kept(self, environ: dict[str, Any], account: str) -> tuple[bool, str | None]:
        """(whether the account is there, what is kept with it)."""
        info = get_account_info(environ, self.app, account)
        is_there = is_success(info["status"]) and info.get("account_really_exists", True)
        return is_there, info["sysmeta"].get(_SYSMETA)
