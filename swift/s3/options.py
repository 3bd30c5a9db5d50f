"""The options of [filter:s3api] (spec s3.md 1.2, and those of part 2), read once at the start. Never here: what they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swift.core.config import csv_list, positive_int, truthy
from swift.core.errors import ConfigError


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
    max_upload_part_num: int = 1000
    min_segment_size: int = 5 * 1024 * 1024
    cors_preflight_allow_origin: tuple[str, ...] = ()
    ratelimit_as_client_error: bool = False
    force_swift_request_proxy_log: bool = False
    auth_pipeline_check: bool = True


def parse_options(conf: Mapping[str, Any]) -> Options:
    """Raises ConfigError."""

    def number(name: str, default: int) -> int:
        try:
            return positive_int(conf.get(name, default))
        except ValueError as error:
            raise ConfigError(f"[filter:s3api] {name}: {error}") from None

    def switch(name: str, default: bool) -> bool:
        return truthy(conf.get(name, default))

    origins = tuple(csv_list(conf.get("cors_preflight_allow_origin", "")))
    if "*" in origins and len(origins) > 1:
        raise ConfigError("[filter:s3api] cors_preflight_allow_origin: * must stand alone")
    domains = csv_list(conf.get("storage_domain", ""))
    return Options(
        location=str(conf.get("location", "us-east-1")).strip() or "us-east-1",
        storage_domains=tuple(name if name.startswith(".") else f".{name}" for name in domains),
        dns_compliant_bucket_names=switch("dns_compliant_bucket_names", True),
        signature_v2=switch("signature_v2", True),
        allowable_clock_skew=number("allowable_clock_skew", 900),
        allow_no_owner=switch("allow_no_owner", False),
        s3_acl=switch("s3_acl", False),
        check_bucket_owner=switch("check_bucket_owner", False),
        max_bucket_listing=number("max_bucket_listing", 1000),
        max_parts_listing=number("max_parts_listing", 1000),
        max_multi_delete_objects=number("max_multi_delete_objects", 1000),
        multi_delete_concurrency=number("multi_delete_concurrency", 2),
        allow_multipart_uploads=switch("allow_multipart_uploads", True),
        max_upload_part_num=number("max_upload_part_num", 1000),
        min_segment_size=number("min_segment_size", 5 * 1024 * 1024),
        cors_preflight_allow_origin=origins,
        ratelimit_as_client_error=switch("ratelimit_as_client_error", False),
        force_swift_request_proxy_log=switch("force_swift_request_proxy_log", False),
        auth_pipeline_check=switch("auth_pipeline_check", True),
    )
