"""In which order a proxy's filters may stand: the table of spec middleware 1.3, checked at the start.

Names are those of entry points. Rows whose breach gives away data, or trusts what a client made up, end the start; of the others
the operator is told. Never here: loading a pipeline, and filters that are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

AUTH = ("tempauth", "keystoneauth")
_WRITERS = (
    "bulk", "formpost", "s3api", "copy", "slo", "dlo", "versioned_writes", "symlink", "container_quotas", "account_quotas", "etag_quoter",
)  # fmt: skip
# What makes requests of its own that change objects.
_MAKERS = (*_WRITERS, "tempurl", "container_sync", "dlo")
# What believes system metadata and backend headers, or acts on what a request says with rights of its own.
_BELIEVERS = (
    "listing_formats", "container_sync", "tempurl", "ratelimit", "read_only", "s3token", "staticweb", "keymaster", "kms_keymaster",
    "kmip_keymaster", "encryption", "customer_keys", "object_lock", *_WRITERS, *AUTH,
)  # fmt: skip
_KEYMASTERS = ("keymaster", "kms_keymaster", "kmip_keymaster")
# None of ours recognises tokens of Keystone: that is left to others.
_OURS = frozenset((
    "catch_errors", "gatekeeper", "healthcheck", "proxy_logging", "memcache", "name_check", "cname_lookup", "domain_remap", "crossdomain",
    "list_endpoints", "recon", "xprofile", "backend_ratelimit", "console", *_BELIEVERS,
))  # fmt: skip


class Rule(NamedTuple):
    """Each of `left` stands before each of `right`, as far as they are there."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    reason: str


REFUSED = (
    Rule(
        ("gatekeeper",), _BELIEVERS, "it would see system metadata and backend headers that clients made up"
    ),
    Rule(_WRITERS, ("encryption",), "what it writes would be stored without encryption"),
    Rule(
        _WRITERS, ("customer_keys",), "what customers encrypt would be assembled and copied as it is stored"
    ),
    Rule(("customer_keys",), ("encryption",), "it would see what is encrypted for all"),
    Rule(_MAKERS, ("object_lock",), "what it removes would be removed although it is locked"),
    Rule(_KEYMASTERS, ("encryption",), "there would be no keys"),
)
WARNED = (
    Rule(("catch_errors",), ("gatekeeper", "healthcheck", "proxy_logging", "memcache", *_BELIEVERS), "what fails to its left is caught by nobody"),
    Rule(("proxy_logging",), ("memcache", "ratelimit", *AUTH), "what they answer themselves is not logged"),
    Rule(("memcache",), ("container_sync", "ratelimit", *AUTH, *_WRITERS), "they would go without the cache"),
    Rule(("cname_lookup",), ("domain_remap",), "names are looked up before they are taken apart"),
    Rule(("cname_lookup", "domain_remap"), ("listing_formats",), "listings would always be JSON"),
    Rule(("listing_formats",), ("versioned_writes", "symlink", "slo", "encryption", "staticweb"), "they work on JSON listings"),
    Rule(("bulk",), ("ratelimit", *AUTH), "each of its operations is to be limited and authorized"),
    Rule(("tempurl", "formpost", "container_sync"), AUTH, "what they allow would be refused before"),
    Rule(("s3api",), AUTH, "S3 requests would be nobody's"),
    Rule(("s3api",), ("s3token",), "it would see no signature"),
    Rule(("s3token",), ("keystoneauth",), "S3 requests would be nobody's"),
    Rule(AUTH, ("console",), "nobody would see the operator's view"),
    Rule(AUTH, ("staticweb", "copy", "container_quotas", "account_quotas"), "they need to know who asks"),
    Rule(("staticweb",), ("slo", "dlo"), "it would serve manifests"),
    Rule(("copy",), ("container_quotas", "account_quotas"), "copies would not count"),
    Rule(("copy",), ("slo", "dlo"), "copies would read manifests"),
    Rule(("slo", "dlo"), ("versioned_writes",), "versions would keep segments for manifests"),
    Rule(("slo", "dlo", "versioned_writes"), ("symlink",), "links are resolved below them"),
)  # fmt: skip


def check(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what must not be, what had better not be) of a pipeline's entry point names, the application not among them."""
    refused = [text for rule in REFUSED for text in _breaches(rule, names)]
    if "encryption" in names and not any(name in names for name in _KEYMASTERS):
        refused.append("encryption needs a keymaster to its left")
    if "keystoneauth" in names and _OURS.issuperset(names[: names.index("keystoneauth")]):
        refused.append(
            "keystoneauth needs a filter that recognises tokens, such as keystonemiddleware's auth_token, to its left: "
            "without one whatever a client says of itself would be believed"
        )
    return refused, [text for rule in WARNED for text in _breaches(rule, names)]


def _breaches(rule: Rule, names: Sequence[str]) -> list[str]:
    found = []
    for left in rule.left:
        if left not in names:
            continue
        # Of two of a name the first is meant: proxy_logging stands at both ends.
        at = names.index(left) if left == "proxy_logging" else _last(names, left)
        for right in rule.right:
            if right in names and names.index(right) < at:
                found.append(f"{left} must stand before {right}: {rule.reason}")
    return found


def _last(names: Sequence[str], name: str) -> int:
    return len(names) - 1 - list(reversed(names)).index(name)


_SIGNED = ("staticweb", "tempauth", "keystoneauth")
_FRONT = ("catch_errors", "gatekeeper", "proxy_logging")

# filters a proxy can't do without, and what each must come after; handled from the last to the first
REQUIRED_FILTERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("catch_errors", ()),
    ("gatekeeper", ("catch_errors",)),
    ("listing_formats", ("catch_errors", "gatekeeper", "proxy_logging", "memcache")),
    ("copy", (*_SIGNED, *_FRONT)),
    ("dlo", ("copy", *_SIGNED, *_FRONT)),
    ("versioned_writes", ("slo", "dlo", "copy", *_SIGNED, *_FRONT)),
)


def place_of(name: str, predecessors: Sequence[str], present: Sequence[str | None]) -> int:
    """Where a filter that is missing belongs among those that are there (spec operations 1.4)."""
    if name == "gatekeeper" and list(present[:1]) != ["catch_errors"]:
        predecessors = ()
    return max((present.index(before) + 1 for before in predecessors if before in present), default=0)


def required_filters(names: Sequence[str]) -> tuple[list[str], set[str]]:
    """A proxy's pipeline with what it can't do without, and what of it was added."""
    found, added = list(names), set()
    for name, predecessors in reversed(REQUIRED_FILTERS):
        if name not in found:
            found.insert(place_of(name, predecessors, found), name)
            added.add(name)
    return found, added
