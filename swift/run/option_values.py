"""Values of options that can't be meant: numbers that are none, switches that are neither on nor off; and whose value an error is about.

What lives here: which options are numbers or switches (the samples in `etc/` show it, and a test holds that), and the look for what is
neither. What never does: ranges, which those who read an option know.
"""

from __future__ import annotations

import configparser
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from swift.core.config import TRUE_VALUES, RelaxedInterpolation, fill_parser, without_values
from swift.core.errors import ConfigError
from swift.core.outside_values import has_outside

_NUMBERS = """
    access_log_interval account_existence_skip_cache_pct account_listing_limit account_ratelimit
    account_suppression_time accounts_per_second allowable_clock_skew async_tracker_dump_count
    async_tracker_max_entries backlog batch bind_timeout broker_timeout bytes_per_second
    cleave_batch_size cleave_row_batch_size client_chunk_size client_timeout clock_accuracy commit_window
    concurrency concurrency_timeout concurrent_ec_extra_requests config_reload_interval conn_timeout connect_timeout
    container_existence_skip_cache_pct container_listing_limit container_listing_shard_ranges_skip_cache_pct
    container_sharding_timeout container_time container_update_timeout
    container_updating_shard_ranges_skip_cache_pct containers_per_second databases_per_second delay_reaping
    delete_concurrency delete_container_retry_count delete_requests_per_device_per_second disk_chunk_size
    disk_stall_timeout dispersion_coverage ec_duplication_factor ec_num_data_fragments ec_num_parity_fragments
    ec_object_segment_size error_limit error_suppression_interval error_suppression_limit etag_validate_pct
    expiring_objects_container_divisor extra_header_count files_per_second get_requests_per_device_per_second
    grace_age head_requests_per_device_per_second http_timeout interval io_timeout item_size_warning_threshold
    keep_cache_size keep_idle keepalive_timeout lifecycle_day_seconds listing_cache_size lockup_timeout
    log_file_max_bytes log_max_line_length log_sleep_time_seconds log_statsd_default_sample_rate log_statsd_port
    log_statsd_sample_rate_factor log_time log_udp_port longest_pause lookup_depth max_account_name_length max_age
    max_bucket_listing max_clients max_container_name_length max_containers_per_account
    max_containers_per_extraction max_deferred_updates max_deletes_per_request max_diffs max_expanding
    max_failed_deletes max_failed_extractions max_file_size max_get_time max_header_size max_manifest_segments
    max_manifest_size max_meta_count max_meta_name_length max_meta_overall_size max_meta_value_length
    max_multi_delete_objects max_object_name_length max_objects_per_container_per_second max_objects_per_revert
    max_parts_listing max_request_line max_requests max_shrinking max_sleep_time_seconds max_upload_part_num
    max_upload_time maximum_length mb_per_sync memcache_max_connections min_segment_size minutes
    missing_container_retry most_queued mtime_check_interval multi_delete_concurrency
    namespace_avg_backend_fetch_time namespace_cache_tokens_per_session node_timeout object_chunk_size
    objects_per_second orphan_parts_days per_container_ratelimit_buckets per_diff periodic_warnings_interval
    pool_timeout port post_quorum_timeout post_requests_per_device_per_second process processes
    put_requests_per_device_per_second quarantine_age quarantine_threshold queue_timeout rate rate_buffer_seconds
    rate_limit_after_segment rate_limit_segments_per_sec rate_limit_under_size reap_warn_after
    rebalance_missing_suppression_count rebuild_handoff_node_count recheck_account_existence
    recheck_container_existence recheck_listing_shard_ranges recheck_updating_shard_ranges reclaim_age
    recon_candidates_limit recon_sharded_timeout reconstructor_workers recoverable_node_timeout
    replicate_requests_per_device_per_second replication_concurrency replication_concurrency_per_device
    replication_failure_ratio replication_failure_threshold replication_lock_timeout replicator_workers
    report_again_seconds report_interval request_tries requests_per_device_per_second
    requests_per_device_rate_buffer resend_interval rest_share retries reveal_sensitive_prefix ring_check_interval
    round_robin_task_cache_size rsync_error_log_line_length rsync_io_timeout rsync_timeout run_pause
    secret_cache_duration segment_size servers_per_port shard_container_threshold shard_scanner_batch_size
    shard_shrink_merge_point shard_shrink_point signing_window slow slow_delete_log_threshold_seconds ssync_bwlimit
    stale_worker_timeout stats_interval statsd_emit_buffer_xfer_bytes_seconds symloop_max sync_row_concurrency
    takeover tasks_per_second timeout timing_expiry token_life trace_sample_rate tries
    update_requests_per_device_per_second updater_workers warm_objects_mb yield_frequency zero_byte_files_per_second
    """
NUMBERS = frozenset(_NUMBERS.split())  # bind_port has a line of its own

_NUMBERS_OR_AUTO = """
    eventlet_tpool_num_threads existing_shard_replication_quorum handoff_delete rsync_tempfile_timeout
    shard_replication_quorum workers write_affinity_handoff_delete_count
    """
NUMBERS_OR_AUTO = frozenset(_NUMBERS_OR_AUTO.split())

_SWITCHES = """
    access_log_headers account_autocreate allow_account_management allow_anonymous allow_async_delete allow_deletes
    allow_full_urls allow_insecure_ssec allow_multipart_uploads allow_names_in_acls allow_no_owner
    allow_object_versioning allow_open_expired allow_overrides allow_reserved_names_header allow_versions
    auth_pipeline_check auto_shard auto_shard_all check_bucket_owner clobber_hardlink_collisions compare_listings
    concurrent_gets container_populate container_report daemonize default delay_auth_decision deprecated
    dequeue_from_legacy disable_encryption disable_fallocate dns_compliant_bucket_names dump_json enable_by_default
    expose_info force_swift_request_proxy_log handoffs_first handoffs_only include_service_catalog insecure is_admin
    keep_cache_private keep_cache_slo_manifest keystone_api_insecure log_handoffs log_headers log_json log_requests
    log_rsync_transfers log_statsd_batch log_to_console mandatory mangle_client_paths metadata_overflow mount_check
    object_populate object_report operators_view partitions ratelimit_as_client_error read_only reauthenticate
    replication_server require_proxy_protocol rsync_compress s3_acl service_token_roles_required share_address
    shunt_inbound_x_timestamp signature_v2 signing statsd_emit_legacy sync_pending_updates tls tls_check_address
    tls_enabled unmount_failed_device verify_segments writer_process
    """
SWITCHES = frozenset(_SWITCHES.split())

FALSE_VALUES = frozenset(("false", "0", "no", "off", "f", "n", "none", ""))


class Impossible(NamedTuple):
    """A value with which nothing starts."""

    section: str
    option: str
    why: str

    def __str__(self) -> str:
        return f"[{self.section}] {self.option}: {self.why}"


class Read(NamedTuple):
    """What stands in a configuration for one process. `sections`: options of those that count for it, evaluated; `outside`: (section,
    option) of those whose value comes from outside, and is shown to nobody."""

    sections: Mapping[str, Mapping[str, str]]
    errors: list[Impossible]
    outside: frozenset[tuple[str, str]]


def is_ours(section: str, options: Mapping[str, str], daemon: str = "") -> bool:
    """Returns True for sections whose options we know all of: [DEFAULT], our own filters and apps, targets of notifications, [<daemon>]."""
    return (
        section in ("DEFAULT", daemon)
        or section.startswith("s3-target:")
        or options.get("use", "").startswith("egg:swift#")
    )


def read(path: str, daemon: str = "") -> Read:
    """`path`: a file or a directory of `*.conf`. Raises ConfigError if it can't be read."""
    parser = configparser.ConfigParser(
        default_section="",
        interpolation=None,
        strict=False,
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=None,
        allow_no_value=True,
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    fill_parser(parser, path)
    relaxed = RelaxedInterpolation()
    found: dict[str, dict[str, str]] = {}
    errors = []
    raw = {
        section: {name: value or "" for name, value in parser.items(section)} for section in parser.sections()
    }
    for section, options in raw.items():
        if not is_ours(section, options, daemon):
            continue
        found[section] = {}
        scope = {**raw.get("DEFAULT", {}), **options}
        for option, value in options.items():
            try:
                found[section][option] = str(relaxed.before_get(parser, section, option, value, scope))
            except configparser.Error as error:
                errors.append(Impossible(section, option, without_values(error)))
    outside = frozenset(
        (section, option)
        for section, options in found.items()
        for option in options
        if has_outside(raw[section][option])
    )
    return Read(found, errors, outside)


def impossible_values(path: str, daemon: str = "") -> list[Impossible]:
    """Those in the sections that count. Raises ConfigError if the configuration can't be read."""
    sections, errors, outside = read(path, daemon)
    found = list(errors)
    for section, options in sections.items():
        for option, value in options.items():
            is_shown = (section, option) not in outside
            why = _why_not(option.removeprefix("set ").strip(), value.strip(), is_shown)
            if why:
                found.append(Impossible(section, option, why))
    return found


def odd_switches(path: str, daemon: str = "") -> list[str]:
    """A line for each switch whose value is no word for on or off, and so means off."""
    return [
        f"{option} in [{section}] is neither on nor off, and is taken for off"
        for section, options in read(path, daemon).sections.items()
        for option, value in options.items()
        if option.removeprefix("set ").strip() in SWITCHES
        and value.strip().lower() not in TRUE_VALUES | FALSE_VALUES
    ]


def _why_not(name: str, value: str, is_shown: bool) -> str:
    if not value or name not in NUMBERS | NUMBERS_OR_AUTO:
        return ""
    if name in NUMBERS_OR_AUTO and value.lower() == "auto":
        return ""
    shown = f': "{value[:80]}"' if is_shown else ""
    try:
        number = float(value)
    except ValueError:
        return f"not a number{' nor auto' if name in NUMBERS_OR_AUTO else ''}{shown}"
    return f"not a number{shown}" if math.isnan(number) else ""


def refuse_impossible(path: str, daemon: str = "") -> None:
    """Raises ConfigError with one line for the first impossible value, and how many more there are."""
    found = impossible_values(path, daemon)
    if found:
        more = f" (and {len(found) - 1} more: swift-config --check {path})" if len(found) > 1 else ""
        raise ConfigError(f"Error trying to load config from {path}: {found[0]}{more}")


def blamed(path: str, error: Exception, daemon: str = "") -> str:
    """Where the value stands that an error's text quotes, as ` ([section] option)`; '' if that isn't sure."""
    text = str(error)
    try:
        sections = read(path, daemon).sections
    except ConfigError:
        return ""
    places = {
        f"[{section}] {option}"
        for section, value, option in _values(sections)
        if option not in text and any(quoted in text for quoted in (f'"{value}"', f"'{value}'"))
    }
    return f" ({', '.join(sorted(places)[:4])})" if places else ""


def _values(sections: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    for section, options in sections.items():
        for option, value in options.items():
            if value:
                yield section, value, option
