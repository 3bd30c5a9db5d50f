"""The options of [filter:s3api] (spec s3.md 1.2, and those of part 2), read once at the start. Never here: what they do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from swift.core.config import csv_list, positive_float, positive_int, reseller_options, truthy
from swift.core.constraints import limits
from swift.core.errors import ConfigError
from swift.s3.notifications.names import TARGET
from swift.s3.sts import web_identity
from swift.s3.sts.keys import Key, parse_keys
from swift.s3.sts.web_identity import WebIdentities

_CLASS = "storage_class_"
_CHECKSUMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")


class SiteDomain(NamedTuple):
    """A host below which buckets are web sites; `account`: the storage account that they are in, None if the domain does not say it."""

    name: str
    account: str | None


# What restricts what a native client may do just as well is off unless it is asked for (spec s3.md 13.1.2).
RESTRICTING = ("policy", "public-access-block", "ownership")
EXTENSIONS = frozenset(RESTRICTING)
DEFAULT_EXTENSIONS: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Options:
    """Sizes in bytes, times in seconds."""

    location: str = "us-east-1"
    storage_domains: tuple[str, ...] = ()  # each with its leading dot
    dns_compliant_bucket_names: bool = True
    signature_v2: bool = True
    allowable_clock_skew: int = 900
    allow_no_owner: bool = False
    s3_acl: bool = False
    check_bucket_owner: bool = False
    max_bucket_listing: int = 1000
    max_parts_listing: int = 1000
    max_multi_delete_objects: int = 1000
    multi_delete_concurrency: int = 2
    allow_multipart_uploads: bool = True
    max_upload_part_num: int = 10_000
    min_segment_size: int = 5 * 1024 * 1024
    cors_preflight_allow_origin: tuple[str, ...] = ()
    ratelimit_as_client_error: bool = False
    force_swift_request_proxy_log: bool = False
    auth_pipeline_check: bool = True
    lifecycle_day_seconds: float = 86400.0
    object_lock: bool = False  # no option: true where the filter that holds locks is in the pipeline
    customer_keys: bool = False  # nor this: the filter that encrypts with them
    allow_insecure_ssec: bool = False
    expirer_account: str = ".expiring_objects"
    storage_classes: frozenset[str] = frozenset(("STANDARD",))
    class_policies: tuple[tuple[str, str], ...] = ()  # storage classes that stand for storage policies
    website_domains: tuple[SiteDomain, ...] = ()
    sts_keys: tuple[Key, ...] = ()  # of temporary credentials; the first one seals
    web_identities: WebIdentities | None = None
    default_checksum: str = ""  # an algorithm's name, "" for none
    allow_anonymous: bool = False
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    extensions: frozenset[str] = DEFAULT_EXTENSIONS
    notification_targets: tuple[str, ...] = ()
    access_log_interval: float = 300.0
    reseller_prefixes: tuple[str, ...] = ("AUTH_",)
    has_global_buckets: bool = False  # a bucket's name is one account's in the whole cluster


def parse_options(conf: Mapping[str, Any]) -> Options:
    """Raises ConfigError."""

    origins = tuple(csv_list(conf.get("cors_preflight_allow_origin", "")))
    if "*" in origins and len(origins) > 1:
        raise ConfigError("[filter:s3api] cors_preflight_allow_origin: * must stand alone")
    domains = csv_list(conf.get("storage_domain", ""))
    targets = tuple(csv_list(conf.get("notification_targets", "")))
    for name in targets:
        if not TARGET.fullmatch(name):
            raise ConfigError(f"[filter:s3api] notification_targets: {name!r} is no name of a target")
    class_policies = _class_policies(conf)
    try:
        return Options(
            location=str(conf.get("location", "us-east-1")).strip() or "us-east-1",
            storage_domains=tuple(name if name.startswith(".") else f".{name}" for name in domains),
            dns_compliant_bucket_names=truthy(conf.get("dns_compliant_bucket_names", "true")),
            signature_v2=truthy(conf.get("signature_v2", "true")),
            allowable_clock_skew=positive_int(conf.get("allowable_clock_skew", "900")),
            allow_no_owner=truthy(conf.get("allow_no_owner", "false")),
            s3_acl=truthy(conf.get("s3_acl", "false")),
            check_bucket_owner=truthy(conf.get("check_bucket_owner", "false")),
            max_bucket_listing=positive_int(conf.get("max_bucket_listing", "1000")),
            max_parts_listing=positive_int(conf.get("max_parts_listing", "1000")),
            max_multi_delete_objects=positive_int(conf.get("max_multi_delete_objects", "1000")),
            multi_delete_concurrency=positive_int(conf.get("multi_delete_concurrency", "2")),
            allow_multipart_uploads=truthy(conf.get("allow_multipart_uploads", "true")),
            max_upload_part_num=positive_int(conf.get("max_upload_part_num", "10000")),
            min_segment_size=positive_int(conf.get("min_segment_size", "5242880")),
            cors_preflight_allow_origin=origins,
            ratelimit_as_client_error=truthy(conf.get("ratelimit_as_client_error", "false")),
            force_swift_request_proxy_log=truthy(conf.get("force_swift_request_proxy_log", "false")),
            auth_pipeline_check=truthy(conf.get("auth_pipeline_check", "true")),
            lifecycle_day_seconds=positive_float(conf.get("lifecycle_day_seconds", "86400")),
            expirer_account=limits().auto_create_account_prefix
            + conf.get("expiring_objects_account_name", "expiring_objects"),
            storage_classes=_storage_classes(conf.get("storage_classes", "STANDARD"))
            | {name for name, _ in class_policies},
            class_policies=class_policies,
            website_domains=_site_domains(csv_list(conf.get("website_domains", ""))),
            sts_keys=parse_keys(csv_list(conf.get("sts_key", ""))),
            web_identities=_web_identities(conf),
            allow_insecure_ssec=truthy(conf.get("allow_insecure_ssec", "false")),
            allow_anonymous=truthy(conf.get("allow_anonymous", "false")),
            trusted_proxies=_networks(conf.get("trusted_proxies", "")),
            extensions=_extensions(conf.get("extensions", "")),
            default_checksum=_checksum(conf.get("default_checksum", "none")),
            notification_targets=targets,
            access_log_interval=positive_float(conf.get("access_log_interval", "300")),
            reseller_prefixes=tuple(reseller_options(conf, {})[0]),
            has_global_buckets=_is_global(conf.get("bucket_namespace", "account")),
        )
    except ValueError as error:
        raise ConfigError(f"[filter:s3api]: {error}") from None


def _storage_classes(text: str) -> frozenset[str]:
    """Raises ValueError."""
    names = frozenset(csv_list(text)) | {"STANDARD"}
    wrong = sorted(name for name in names if not re.fullmatch("[A-Z][A-Z_]{0,63}", name))
    if wrong:
        raise ValueError(f"storage_classes: {wrong[0]!r} is no name of one")
    return names


def _class_policies(conf: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(class, name of its policy). Raises ConfigError."""
    found = {}
    for option, value in conf.items():
        if not option.startswith(_CLASS):
            continue
        name, policy = option[len(_CLASS) :].upper(), str(value).strip()
        if not re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name) or name == "STANDARD" or not policy:
            raise ConfigError(
                f"[filter:s3api] {option}: a name other than STANDARD, and that of its storage policy"
            )
        found[name] = policy
    return tuple(sorted(found.items()))


def _web_identities(conf: Mapping[str, Any]) -> WebIdentities | None:
    """Raises ConfigError, ValueError."""
    found = web_identity.load(str(conf.get("web_identity_providers", "")).strip())
    if found is not None and not csv_list(conf.get("sts_key", "")):
        raise ValueError("web_identity_providers needs sts_key")
    return found


def _is_global(text: str) -> bool:
    """Raises ValueError."""
    name = text.strip().lower()
    if name not in ("account", "global"):
        raise ValueError(f"bucket_namespace must be account or global, not {text!r}")
    return name == "global"


def _site_domains(values: list[str]) -> tuple[SiteDomain, ...]:
    """Names of hosts, each with `=account` behind it or not. Raises ValueError."""
    found = []
    for value in values:
        name, _, account = value.partition("=")
        name = name.strip().strip(".").lower()
        if not re.fullmatch(r"[a-z0-9.-]+", name):
            raise ValueError(f"website_domains: {value!r} is no name of a host")
        found.append(SiteDomain(name, account.strip() or None))
    return tuple(found)


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part, strict=False) for part in csv_list(text))


def _extensions(text: str) -> frozenset[str]:
    names = frozenset(csv_list(text))
    if "all" in names:
        return EXTENSIONS
    unknown = sorted(names - EXTENSIONS)
    if unknown:
        raise ValueError(
            f"extensions: nothing is called {unknown[0]}; there are {', '.join(RESTRICTING)}, all"
        )
    return names


def _checksum(text: Any) -> str:
    """Raises ValueError."""
    name = str(text).strip().lower()
    if name in ("", "none"):
        return ""
    if name not in _CHECKSUMS:
        raise ValueError(f"default_checksum must be none or one of {', '.join(_CHECKSUMS)}, not {text!r}")
    return name
