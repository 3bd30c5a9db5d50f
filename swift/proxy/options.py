"""The proxy's options: their names, defaults and checks, read once at the start (spec proxy 27.1).

Values only: what an option does is said where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from swift.core.config import (
    bounded_float,
    csv_list,
    non_negative_float,
    non_negative_int,
    percent,
    positive_float,
    positive_int,
    prefixed_sections,
    read_affinity,
    request_node_count,
    truthy,
    write_affinity,
)
from swift.core.errors import ConfigError
from swift.core.object_headers import DEFAULT_ALLOWED_HEADERS
from swift.core.policy import PolicyCollection
from swift.proxy.cors import CorsOptions

SORTING_METHODS = ("shuffle", "timing", "affinity")
SWIFT_OWNER_HEADERS = (
    "x-container-read, x-container-write, x-container-sync-key, x-container-sync-to, "
    "x-account-meta-temp-url-key, x-account-meta-temp-url-key-2, "
    "x-container-meta-temp-url-key, x-container-meta-temp-url-key-2, x-account-access-control"
)
DISALLOWED_SECTIONS = "swift.valid_api_versions, swift.auto_create_account_prefix"

Node = Mapping[str, Any]


@dataclass(frozen=True)
class NodeOptions:
    """How nodes are chosen for one policy, or for accounts and containers. Times are seconds."""

    sorting_method: str
    read_affinity: Callable[[Node], float]
    write_affinity: Callable[[Node], bool] | None
    write_affinity_node_count: Callable[[int], int]
    write_affinity_handoff_delete_count: int | None  # None: as many as there are remote primaries
    rebalance_missing_suppression_count: int
    concurrent_gets: bool
    concurrency_timeout: float
    concurrent_ec_extra_requests: int


@dataclass(frozen=True)
class Options:
    """All other options. Times are seconds, shares are fractions of 1."""

    nodes: NodeOptions
    policy_nodes: Mapping[int, NodeOptions]
    swift_dir: str
    node_timeout: float
    recoverable_node_timeout: float
    conn_timeout: float
    post_quorum_timeout: float
    object_chunk_size: int
    client_chunk_size: int
    trans_id_suffix: str
    log_handoffs: bool
    recheck_account_existence: int
    recheck_container_existence: int
    recheck_listing_shard_ranges: int
    recheck_updating_shard_ranges: int
    listing_ranges_skip_pct: float  # percent
    updating_ranges_skip_pct: float
    namespace_cache_tokens_per_session: int
    namespace_avg_backend_fetch_time: float
    error_suppression_interval: float
    error_suppression_limit: int
    allow_account_management: bool
    account_autocreate: bool
    allow_open_expired: bool
    max_containers_per_account: int
    max_containers_whitelist: frozenset[str]
    deny_host_headers: frozenset[str]
    timing_expiry: float
    request_node_count: Callable[[int], int]
    swift_owner_headers: frozenset[str]  # lower case
    cors: CorsOptions
    expose_info: bool
    admin_key: str | None
    disallowed_sections: tuple[str, ...]
    expirer_divisor: int
    expirer_account: str
    allowed_headers: tuple[str, ...]


def _node_options(conf: Mapping[str, str], label: str, warn: Callable[[str], None]) -> NodeOptions:
    sorting_method = conf.get("sorting_method", "shuffle").lower()
    if sorting_method not in SORTING_METHODS:
        raise ValueError(
            f"Invalid sorting_method value; must be one of {', '.join(SORTING_METHODS)}, not {sorting_method!r}"
        )
    affinity_text = conf.get("read_affinity", "")
    try:
        rank = read_affinity(affinity_text)
    except ValueError:
        raise ValueError(f"Invalid read_affinity value: {affinity_text!r}") from None
    if affinity_text and sorting_method != "affinity":
        warn(
            f"{label} sorting_method is set to '{sorting_method}', not 'affinity'; read_affinity setting will have no effect."
        )
    local_text = conf.get("write_affinity", "")
    try:
        is_local = write_affinity(local_text)
    except ValueError:
        raise ValueError(f"Invalid write_affinity value: {local_text!r}") from None
    count_text = conf.get("write_affinity_node_count", "2 * replicas")
    try:
        local_count = request_node_count(count_text)
    except ValueError:
        raise ValueError(f"Invalid write_affinity_node_count value: {count_text!r}") from None
    delete_count = conf.get("write_affinity_handoff_delete_count", "auto")
    conn_timeout = conf.get("conn_timeout", "0.5")
    return NodeOptions(
        sorting_method=sorting_method,
        read_affinity=rank,
        write_affinity=is_local,
        write_affinity_node_count=local_count,
        write_affinity_handoff_delete_count=None
        if delete_count.lower() == "auto"
        else non_negative_int(delete_count),
        rebalance_missing_suppression_count=non_negative_int(
            conf.get("rebalance_missing_suppression_count", "1")
        ),
        concurrent_gets=truthy(conf.get("concurrent_gets")),
        concurrency_timeout=non_negative_float(conf.get("concurrency_timeout", conn_timeout)),
        concurrent_ec_extra_requests=non_negative_int(conf.get("concurrent_ec_extra_requests", "0")),
    )


def _policy_overrides(conf: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Per-policy sections of the config file, without what they only have from [DEFAULT]."""
    path = conf.get("__file__")
    if not path or path == "string":  # what PasteDeploy calls a text that is no file
        return {}
    section = conf.get("__name__", "proxy-server")
    return {
        index: {name: value for name, value in options.items() if inherited.get(name) != value}
        for index, options in prefixed_sections(path, f"{section}:policy:").items()
    }


def _all_policy_options(
    conf: Mapping[str, str],
    inherited: Mapping[str, str],
    policies: PolicyCollection,
    warn: Callable[[str], None],
) -> dict[int, NodeOptions]:
    chosen = {int(policy): dict(conf) for policy in policies}
    for index, overrides in _policy_overrides(conf, inherited).items():
        if not (index.isascii() and index.isdigit()):
            raise ValueError(f"Override config must refer to policy index: {index!r}")
        if int(index) not in chosen:
            raise ValueError(f"No policy found for override config, index: {int(index)}")
        chosen[int(index)].update(overrides)
    return {index: _node_options(merged, f"policy {index}:", warn) for index, merged in chosen.items()}


def parse_options(
    conf: Mapping[str, str],
    policies: PolicyCollection,
    inherited: Mapping[str, str] | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Options:
    """The options of the proxy app's section; `inherited` are those of [DEFAULT]. Raises ConfigError with one line."""
    try:
        return _parse(conf, policies, inherited or {}, warn)
    except ValueError as err:
        raise ConfigError(f"proxy-server: {err}") from None


def _parse(
    conf: Mapping[str, str],
    policies: PolicyCollection,
    inherited: Mapping[str, str],
    warn: Callable[[str], None],
) -> Options:
    get = conf.get
    node_timeout = positive_float(get("node_timeout", "10"))
    divisor = int(get("expiring_objects_container_divisor", "86400"))
    if divisor <= 100:
        raise ValueError(f"expiring_objects_container_divisor must be above 100, not {divisor}")
    for option in ("expiring_objects_container_divisor", "expiring_objects_account_name"):
        if option in conf:
            warn(f"{option} is deprecated")
    trans_id_suffix = get("trans_id_suffix", "")
    return Options(
        nodes=_node_options(conf, "proxy-server", warn),
        policy_nodes=_all_policy_options(conf, inherited, policies, warn),
        swift_dir=get("swift_dir", "/etc/swift"),
        node_timeout=node_timeout,
        recoverable_node_timeout=positive_float(get("recoverable_node_timeout", node_timeout)),
        conn_timeout=positive_float(get("conn_timeout", "0.5")),
        post_quorum_timeout=non_negative_float(get("post_quorum_timeout", "0.5")),
        object_chunk_size=positive_int(get("object_chunk_size", "65536")),
        client_chunk_size=positive_int(get("client_chunk_size", "65536")),
        trans_id_suffix=trans_id_suffix,
        log_handoffs=truthy(get("log_handoffs", "true")),
        recheck_account_existence=non_negative_int(get("recheck_account_existence", "60")),
        recheck_container_existence=non_negative_int(get("recheck_container_existence", "60")),
        recheck_listing_shard_ranges=non_negative_int(get("recheck_listing_shard_ranges", "600")),
        recheck_updating_shard_ranges=non_negative_int(get("recheck_updating_shard_ranges", "3600")),
        listing_ranges_skip_pct=skip_share(conf, "container_listing_shard_ranges_skip_cache_pct"),
        updating_ranges_skip_pct=skip_share(conf, "container_updating_shard_ranges_skip_cache_pct"),
        namespace_cache_tokens_per_session=non_negative_int(get("namespace_cache_tokens_per_session", "3")),
        namespace_avg_backend_fetch_time=positive_float(get("namespace_avg_backend_fetch_time", "0.3")),
        error_suppression_interval=bounded_float(get("error_suppression_interval", "60.0"), 0),
        error_suppression_limit=non_negative_int(get("error_suppression_limit", "10")),
        allow_account_management=truthy(get("allow_account_management")),
        account_autocreate=truthy(get("account_autocreate")),
        allow_open_expired=truthy(get("allow_open_expired")),
        max_containers_per_account=non_negative_int(get("max_containers_per_account", "0") or "0"),
        max_containers_whitelist=frozenset(csv_list(get("max_containers_whitelist"))),
        deny_host_headers=frozenset(csv_list(get("deny_host_headers"))),
        timing_expiry=positive_float(get("timing_expiry", "300")),
        request_node_count=request_node_count(get("request_node_count", "2 * replicas")),
        swift_owner_headers=frozenset(
            name.lower() for name in csv_list(get("swift_owner_headers", SWIFT_OWNER_HEADERS))
        ),
        cors=CorsOptions(
            csv_list(get("cors_allow_origin")),
            csv_list(get("cors_expose_headers")),
            truthy(get("strict_cors_mode", "t")),
        ),
        expose_info=truthy(get("expose_info", "yes")),
        admin_key=get("admin_key") or None,
        disallowed_sections=tuple(csv_list(get("disallowed_sections", DISALLOWED_SECTIONS))),
        expirer_divisor=divisor,
        expirer_account="." + get("expiring_objects_account_name", "expiring_objects").lstrip("."),
        allowed_headers=tuple(csv_list(get("allowed_headers", DEFAULT_ALLOWED_HEADERS))),
    )


def skip_share(conf: Mapping[str, str], name: str) -> float:
    """One of the `*_skip_cache_pct` options, in percent. Raises ConfigError."""
    try:
        return percent(conf.get(name, "0")) * 100
    except ValueError as err:
        raise ConfigError(f"proxy-server: {name}: {err}") from None
