"""Who asks, as the token filter says: it stands to our left and takes away what a client says of that itself.

Values are native text, as that filter puts them there. Never here: what anybody may do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.core.config import csv_list

_CONFIRMED = "Confirmed"


class Named(NamedTuple):
    """A user, project or domain; either may be unknown."""

    id: str | None
    name: str | None


_UNKNOWN = Named(None, None)


class Identity(NamedTuple):
    """Of a confirmed token. Domains are told by tokens of version 3 alone; without a project it is for none."""

    user: Named
    project: Named
    roles: tuple[str, ...]
    service_roles: tuple[str, ...]
    user_domain: Named
    project_domain: Named
    version: int

    def as_environ(self) -> dict[str, Any]:
        """In the form that other filters know under `keystone.identity`."""
        return {
            "user": tuple(self.user),
            "tenant": tuple(self.project),
            "roles": list(self.roles),
            "service_roles": list(self.service_roles),
            "user_domain": tuple(self.user_domain),
            "project_domain": tuple(self.project_domain),
            "auth_version": self.version,
        }


def identity_of(environ: dict[str, Any]) -> Identity | None:
    """None unless the user's token, and a service's token that came with it, are confirmed."""
    get = environ.get
    if get("HTTP_X_IDENTITY_STATUS") != _CONFIRMED:
        return None
    if get("HTTP_X_SERVICE_IDENTITY_STATUS") not in (None, _CONFIRMED):
        return None
    version = _version(get("keystone.token_info"))
    user_domain = project_domain = _UNKNOWN
    if version == 3:
        user_domain = Named(get("HTTP_X_USER_DOMAIN_ID"), get("HTTP_X_USER_DOMAIN_NAME"))
        project_domain = Named(get("HTTP_X_PROJECT_DOMAIN_ID"), get("HTTP_X_PROJECT_DOMAIN_NAME"))
    return Identity(
        Named(get("HTTP_X_USER_ID"), get("HTTP_X_USER_NAME")),
        Named(
            get("HTTP_X_PROJECT_ID", get("HTTP_X_TENANT_ID")),
            get("HTTP_X_PROJECT_NAME", get("HTTP_X_TENANT_NAME")),
        ),
        tuple(csv_list(get("HTTP_X_ROLES", ""))),
        tuple(csv_list(get("HTTP_X_SERVICE_ROLES", ""))),
        user_domain,
        project_domain,
        version,
    )


def _version(token_info: Any) -> int:
    """Of Keystone's API, by the form of what it told of the token; 0 if nothing is known of that."""
    if isinstance(token_info, dict):
        if "token" in token_info:
            return 3
        if "access" in token_info:
            return 2
    return 0
