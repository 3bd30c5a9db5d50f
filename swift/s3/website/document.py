"""The `WebsiteConfiguration` of a bucket: read strictly, written again, and kept as a bucket document. Never here: what is done by it."""

from __future__ import annotations

import re
from typing import Any

from swift.s3.errors import S3Error
from swift.s3.xml import Child, Node, Text, document, element, maybe, node, one, read

NAME = "Website"
_HOST = Text(r"[A-Za-z0-9_.:\[\]-]{1,255}")
_PROTOCOL = maybe(Text("https?"))
_KEY = Text(most=1024)
_REDIRECT = Node(
    {
        "Protocol": _PROTOCOL,
        "HostName": maybe(_HOST),
        "ReplaceKeyPrefixWith": maybe(_KEY),
        "ReplaceKeyWith": maybe(_KEY),
        "HttpRedirectCode": maybe(Text(most=16)),
    }
)
_CONDITION = Node({"KeyPrefixEquals": maybe(_KEY), "HttpErrorCodeReturnedEquals": maybe(Text(most=16))})
_RULE = Node({"Condition": maybe(_CONDITION), "Redirect": one(_REDIRECT)})
_SCHEMA = Node(
    {
        "RedirectAllRequestsTo": maybe(Node({"HostName": one(_HOST), "Protocol": _PROTOCOL})),
        "IndexDocument": maybe(Node({"Suffix": one(_KEY)})),
        "ErrorDocument": maybe(Node({"Key": one(_KEY)})),
        "RoutingRules": maybe(Node({"RoutingRule": Child(_RULE, 0, 1000)})),
    }
)
_MOST_RULES = 50
_BAD_SUFFIX = "The IndexDocument Suffix is not well formed"
_NO_SUFFIX = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
_CODE = re.compile("30[1-9]|3[1-9][0-9]", re.ASCII)
_ERROR_CODE = re.compile("[45][0-9][0-9]", re.ASCII)


def parse(data: bytes) -> dict[str, Any]:
    """What is kept of a document that a client sends. Raises S3Error."""
    found = read(data, "WebsiteConfiguration", _SCHEMA)
    if "RedirectAllRequestsTo" in found:
        if len(found) > 1:
            raise S3Error(
                "InvalidArgument",
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            )
        return found
    if "IndexDocument" not in found:
        raise S3Error("InvalidArgument", _NO_SUFFIX)
    suffix = found["IndexDocument"]["Suffix"]
    if not suffix or "/" in suffix:
        raise S3Error("InvalidArgument", _BAD_SUFFIX, ArgumentName="IndexDocument", ArgumentValue=suffix)
    if "ErrorDocument" in found and not found["ErrorDocument"]["Key"]:
        raise S3Error("InvalidArgument", "The ErrorDocument Key is not well formed")
    rules = found.get("RoutingRules", {}).get("RoutingRule", [])
    if len(rules) > _MOST_RULES:
        raise S3Error(
            "InvalidRequest",
            f"{len(rules)} routing rules provided, the number of routing rules in a website configuration is limited to {_MOST_RULES}.",
        )
    for rule in rules:
        _check(rule)
    return found


def _check(rule: dict[str, Any]) -> None:
    """Raises S3Error."""
    condition, redirect = rule.get("Condition"), rule["Redirect"]
    if not redirect or condition == {}:
        raise S3Error("MalformedXML")
    code = (condition or {}).get("HttpErrorCodeReturnedEquals")
    if code is not None and not _ERROR_CODE.fullmatch(code):
        raise S3Error(
            "InvalidRequest",
            f"The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX.",
        )
    code = redirect.get("HttpRedirectCode")
    if code is not None and not _CODE.fullmatch(code):
        raise S3Error(
            "InvalidRequest",
            f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.",
        )
    if "ReplaceKeyWith" in redirect and "ReplaceKeyPrefixWith" in redirect:
        raise S3Error("InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")


def shown(found: dict[str, Any]) -> bytes:
    """The document as a client is told it."""
    inner = []
    for name in ("RedirectAllRequestsTo", "IndexDocument", "ErrorDocument"):
        if name in found:
            inner.append(node(name, *_elements(found[name])))
    rules = found.get("RoutingRules", {}).get("RoutingRule", [])
    if rules:
        inner.append(node("RoutingRules", *map(_shown_rule, rules)))
    return document("WebsiteConfiguration", *inner)


def _shown_rule(rule: dict[str, Any]) -> str:
    parts = [node(name, *_elements(rule[name])) for name in ("Condition", "Redirect") if name in rule]
    return node("RoutingRule", *parts)


def _elements(found: dict[str, str]) -> list[str]:
    return [element(name, value) for name, value in found.items()]
