"""The options of [filter:s3token] (spec s3.md 1.3), read once at the start. Never here: what they do."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from swift.core.config import bounded_float, non_negative_float, truthy
from swift.core.errors import ConfigError

_PASSWORD = ("password", "v3password")
_APPLICATION = ("v3applicationcredential",)


@dataclass(frozen=True)
class Service:
    """The account with which Keystone is asked. `identity`: the body of the request for its token."""

    auth_url: str
    identity: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Times in seconds. `url`: Keystone's, with the version, without a slash at its end; `service`: None if none is set."""

    url: str
    reseller_prefix: str
    default_domain_id: str
    delay_auth_decision: bool
    http_timeout: float
    secret_cache_duration: float
    service: Service | None
    context: ssl.SSLContext | None


def parse_options(conf: Mapping[str, Any]) -> Options:
    """Raises ConfigError."""
    prefix = str(conf.get("reseller_prefix", "AUTH")).strip().rstrip("_")
    try:
        return Options(
            url=_url(str(conf.get("auth_uri", ""))),
            reseller_prefix=f"{prefix}_" if prefix else "",
            default_domain_id=str(conf.get("default_domain_id", "default")),
            delay_auth_decision=truthy(conf.get("delay_auth_decision", "false")),
            http_timeout=_timeout(conf.get("http_timeout", "10.0")),
            secret_cache_duration=non_negative_float(conf.get("secret_cache_duration", "60")),
            service=_service(conf),
            context=_context(conf),
        )
    except ValueError as error:
        raise ConfigError(f"[filter:s3token]: {error}") from None


def _timeout(text: Any) -> float:
    seconds = bounded_float(text, 0, 60)
    if not seconds:
        raise ValueError("http_timeout must be more than 0 and at most 60")
    return seconds


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("auth_uri must be a URL of http or https, with a host")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("auth_uri must have no user, no query and no fragment")
    return text.rstrip("/")


def _context(conf: Mapping[str, Any]) -> ssl.SSLContext | None:
    certfile, keyfile = conf.get("certfile", ""), conf.get("keyfile", "")
    insecure = truthy(conf.get("insecure", "false"))
    if not insecure and not certfile:
        return None
    try:
        context = ssl.create_default_context(cafile=certfile if certfile and not keyfile else None)
        if certfile and keyfile:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        raise ValueError(f"certfile, keyfile: {error}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _service(conf: Mapping[str, Any]) -> Service | None:
    auth_url = str(conf.get("auth_url", ""))
    if not auth_url:
        return None
    kind = conf.get("auth_type", "password")
    if kind in _PASSWORD:
        user = _named(conf.get("user_id", ""), conf.get("username", ""))
        if "id" not in user:
            user["domain"] = _domain(conf.get("user_domain_id", ""), conf.get("user_domain_name", ""))
        user["password"] = conf.get("password", "")
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        project = _named(conf.get("project_id", ""), conf.get("project_name", ""))
        if "id" not in project:
            project["domain"] = _domain(
                conf.get("project_domain_id", ""), conf.get("project_domain_name", "")
            )
        if project.get("id") or project.get("name"):
            auth["scope"] = {"project": project}
    elif kind in _APPLICATION:
        application = {
            "id": conf.get("application_credential_id", ""),
            "secret": conf.get("application_credential_secret", ""),
        }
        auth = {"identity": {"methods": ["application_credential"], "application_credential": application}}
    else:
        raise ValueError(f"auth_type must be one of {', '.join(_PASSWORD + _APPLICATION)}")
    base = auth_url.rstrip("/")
    return Service(base if base.endswith("/v3") else f"{base}/v3", {"auth": auth})


def _named(identifier: str, name: str) -> dict[str, Any]:
    return {"id": identifier} if identifier else {"name": name}


def _domain(identifier: str, name: str) -> dict[str, Any]:
    return {"name": name} if name and not identifier else {"id": identifier or "default"}
