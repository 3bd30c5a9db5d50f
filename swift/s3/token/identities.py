"""What Keystone tells of who signed: read with care from its answers, and kept in the cache in the reference's form (spec s3.md 3.8)."""

from __future__ import annotations

from typing import Any, NamedTuple

_PREFIXES = ("HTTP_X_", "HTTP_X_SERVICE_")
_CLIENTS = (
    "IDENTITY_STATUS", "DOMAIN_ID", "DOMAIN_NAME", "PROJECT_ID", "PROJECT_NAME", "PROJECT_DOMAIN_ID", "PROJECT_DOMAIN_NAME", "USER_ID",
    "USER_NAME", "USER_DOMAIN_ID", "USER_DOMAIN_NAME", "ROLES",
)  # fmt: skip
# What only Keystone may say of somebody: environ keys.
SAID_BY_KEYSTONE = frozenset(
    [prefix + name for prefix in _PREFIXES for name in _CLIENTS]
    + [
        "HTTP_X_IS_ADMIN_PROJECT", "HTTP_X_SERVICE_CATALOG", "HTTP_X_TENANT_ID", "HTTP_X_TENANT_NAME", "HTTP_X_TENANT", "HTTP_X_USER",
        "HTTP_X_ROLE",
    ]
)  # fmt: skip


class BadReply(Exception):
    """Keystone's answer is not what it should be."""


class Identity(NamedTuple):
    """`headers`: by name, text; `project`: {"id": …, "name": …}; `info`: as keystoneauth wants to see it."""

    headers: dict[str, str]
    project: dict[str, Any]
    info: dict[str, Any]

    def user_id(self, default_domain: str) -> str:
        """As S3 knows the user: by names, as the reference does, where those are nobody else's; that is so in one domain only. Else by ids."""
        if {self._domain("User"), self._domain("Project")} <= {default_domain, None}:
            return self.names
        return f"{self.headers['X-Project-Id']}:{self.headers['X-User-Id']}"

    @property
    def names(self) -> str:
        return f"{self.headers['X-Project-Name']}:{self.headers['X-User-Name']}"

    @property
    def is_of_projects_domain(self) -> bool:
        """Returns False for a user of another domain than the project's: there may be another one of the name in the project."""
        return self._domain("User") == self._domain("Project")

    def _domain(self, of: str) -> str | None:
        return self.headers.get(f"X-{of}-Domain-Id")

    @property
    def keystone_user(self) -> str:
        return self.headers["X-User-Id"]


def from_reply(reply: Any) -> Identity:
    """Of the answer to `POST /s3tokens`, in the form of version 3 or 2. Raises BadReply."""
    try:
        if "token" in reply:
            return _of_version_3(reply)
        return _of_version_2(reply)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadReply(f"{type(error).__name__}: {error}") from None


def _of_version_3(reply: Any) -> Identity:
    token = reply["token"]
    user, project = token["user"], token["project"]
    headers = _headers(user, project, token["roles"])
    for name, domain in (("User", user.get("domain")), ("Project", project.get("domain"))):
        if domain is not None:
            headers[f"X-{name}-Domain-Id"] = _text(domain["id"])
            headers[f"X-{name}-Domain-Name"] = _text(domain["name"])
    return Identity(headers, project, reply)


def _of_version_2(reply: Any) -> Identity:
    access = reply["access"]
    user, project = access["user"], access["token"]["tenant"]
    return Identity(_headers(user, project, user["roles"]), project, reply)


def _headers(user: Any, project: Any, roles: Any) -> dict[str, str]:
    project_id, project_name = _text(project["id"]), _text(project["name"])
    return {
        "X-Identity-Status": "Confirmed",
        "X-Roles": ",".join(_text(role["name"]) for role in roles),
        "X-User-Id": _text(user["id"]),
        "X-User-Name": _text(user["name"]),
        "X-Tenant-Id": project_id,
        "X-Tenant-Name": project_name,
        "X-Project-Id": project_id,
        "X-Project-Name": project_name,
    }


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\n" in value or "\r" in value:
        raise ValueError("a name or id that is none")
    return value


def to_cache(identity: Identity, secret: str) -> list[Any]:
    return [identity.headers, identity.project, secret]


def from_cache(value: Any) -> tuple[Identity, str] | None:
    """(identity, secret) of what is in the cache, also in the form of old; None for anything else."""
    if not isinstance(value, list | tuple) or len(value) not in (3, 4):
        return None
    headers, project, secret = value[0], value[-2], value[-1]
    if not isinstance(headers, dict) or not isinstance(project, dict) or not isinstance(secret, str):
        return None
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in headers.items()):
        return None
    if "HTTP_" + "X_IDENTITY_STATUS" not in {_key(name) for name in headers}:
        return None
    if not SAID_BY_KEYSTONE.issuperset(map(_key, headers)) or not isinstance(project.get("id"), str):
        return None
    known = {
        "X-Project-Name": headers.get("X-Tenant-Name", ""),
        "X-User-Name": "",
        "X-User-Id": "",
        **headers,
    }
    info: dict[str, Any] = {"token": {}} if "X-User-Domain-Id" in headers else {"access": {}}
    return Identity(known, project, info), secret


def _key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def say(environ: dict[str, Any], identity: Identity) -> None:
    """Let the environ tell who asks, as a token filter does."""
    for name, value in identity.headers.items():
        environ[_key(name)] = value
    environ["keystone.token_info"] = identity.info


def forget(environ: dict[str, Any]) -> None:
    """Take away what a client says of itself."""
    for key in SAID_BY_KEYSTONE & environ.keys():
        del environ[key]
