"""Which bucket's site a host is, and where its document sends a visitor. Pure: nothing is asked for here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.s3.options import Options

Website = Mapping[str, Any]
_IN_URLS = "!#$%&'()*+,;=:@/?[]-._~"
_PORT = re.compile(r":\d*$")


class Site(NamedTuple):
    """`account`: the storage account of the bucket, None where the domain does not say it."""

    bucket: str
    account: str | None


class Visited(NamedTuple):
    """The address that a visitor came by: `scheme`, `host` with its port; `key`: text; `query`: as it came."""

    scheme: str
    host: str
    key: str
    query: str = ""


class Redirect(NamedTuple):
    """`location`: ASCII."""

    status: int
    location: str


def site_of(environ: Mapping[str, Any], options: Options) -> Site | None:
    """The site that a request's host is, None for hosts that are none."""
    host = (environ.get("HTTP_HOST") or "").lower()
    host = _PORT.sub("", host)
    for domain in options.website_domains:
        if host == domain.name:
            return Site(host, domain.account)
        if host.endswith("." + domain.name):
            return Site(host[: -len(domain.name) - 1], domain.account)
    return None


def of_all(website: Website, visited: Visited) -> Redirect | None:
    """Where a site sends all its visitors, None for one that has pages of its own."""
    target = website.get("RedirectAllRequestsTo")
    if target is None:
        return None
    scheme = target.get("Protocol") or visited.scheme
    query = f"?{as_location(visited.query)}" if visited.query else ""
    return Redirect(301, f"{scheme}://{target['HostName']}/{quote(visited.key)}{query}")


def by_rules(website: Website, visited: Visited, status: int | None = None) -> Redirect | None:
    """Where the first fitting rule sends a visitor: before anything is looked for, or behind an error of this status."""
    for rule in website.get("RoutingRules", {}).get("RoutingRule", []):
        condition = rule.get("Condition", {})
        code = condition.get("HttpErrorCodeReturnedEquals")
        prefix = condition.get("KeyPrefixEquals", "")
        if code == (None if status is None else str(status)) and visited.key.startswith(prefix):
            return _redirect(rule["Redirect"], prefix, visited)
    return None


def _redirect(redirect: Mapping[str, str], prefix: str, visited: Visited) -> Redirect:
    key = visited.key
    if "ReplaceKeyWith" in redirect:
        key = redirect["ReplaceKeyWith"]
    elif "ReplaceKeyPrefixWith" in redirect:
        key = redirect["ReplaceKeyPrefixWith"] + key[len(prefix) :]
    scheme = redirect.get("Protocol") or visited.scheme
    host = redirect.get("HostName") or visited.host
    return Redirect(
        int(redirect.get("HttpRedirectCode") or 301), f"{scheme}://{host}/{quote(key.removeprefix('/'))}"
    )


def suffix_of(website: Website) -> str:
    return str(website["IndexDocument"]["Suffix"])


def error_key_of(website: Website) -> str | None:
    found = website.get("ErrorDocument")
    return None if found is None else str(found["Key"])


def own_path(key: str) -> str:
    """The path of a key on the site's own host; never one that begins with two slashes, which would be another host."""
    return "/%2F" + quote(key[1:]) if key.startswith("/") else "/" + quote(key)


def as_location(value: str) -> str:
    """An address that came in a header (WSGI string), as it may stand in one of ours."""
    return quote(value.encode("latin-1", "replace"), safe=_IN_URLS)
