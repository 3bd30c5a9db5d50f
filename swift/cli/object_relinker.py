"""swift-object-relinker {relink|cleanup}: brings objects to where a changed partition power has them. The work is in swift.obj.relinking.

Spec: operations.md 17.
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from swift.core import swift_dir
from swift.core.config import (
    DEFAULT_SWIFT_DIR,
    auto_int,
    non_negative_float,
    non_negative_int,
    positive_float,
    read_conf,
)
from swift.core.errors import SwiftError
from swift.core.policy import policies
from swift.obj.relinking import processes
from swift.obj.relinking.options import CLEANUP, RELINK, read_options
from swift.run.known_options import unknown_options
from swift.run.privileges import become, wanted_user
from swift.telemetry.log import get_logger

SECTION = "object-relinker"


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        conf = read_conf(arguments.conf_file, SECTION) if arguments.conf_file else {}
        conf.update(_overrides(arguments))
        directory = swift_dir.use(conf.get("swift_dir") or DEFAULT_SWIFT_DIR)
        for name in arguments.policies:
            if policies().get_by_name_or_index(name) is None:
                parser.error(f"argument --policy: invalid policy value: {name!r}")
        options = read_options(conf, directory, arguments.devices, arguments.partitions, arguments.policies)
        logger = _logger(arguments, conf)
        for entry in unknown_options(arguments.conf_file, SECTION) if arguments.conf_file else ():
            logger.warning("%s: %s", arguments.conf_file, entry)
        if conf.get("user"):
            become(wanted_user(conf, logger))
    except (SwiftError, ValueError, OSError) as err:
        print(err, file=sys.stderr)
        return 1
    return processes.run(arguments.action, options, logger)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Relink and cleanup objects to increase partition power",
    )
    parser.add_argument("action", choices=[RELINK, CLEANUP])
    parser.add_argument(
        "conf_file", nargs="?", help="path to a configuration with a section [object-relinker]"
    )
    parser.add_argument("--swift-dir", default=None, dest="swift_dir", help="path to swift directory")
    parser.add_argument(
        "--policy",
        default=[],
        dest="policies",
        action="append",
        help="policy to relink, by name or index; may be given several times (default: all)",
    )
    parser.add_argument("--devices", default=None, dest="devices_dir", help="path to swift device directory")
    parser.add_argument(
        "--user", default=None, dest="user", help="drop privileges to this user before relinking"
    )
    parser.add_argument(
        "--device",
        default=[],
        dest="devices",
        action="append",
        help="device to relink; may be given several times (default: all)",
    )
    parser.add_argument(
        "--partition",
        "-p",
        default=[],
        dest="partitions",
        type=non_negative_int,
        action="append",
        help="partition to relink; may be given several times (default: all)",
    )
    parser.add_argument(
        "--skip-mount-check",
        action="store_true",
        help="don't test if a device is mounted",
    )
    parser.add_argument(
        "--files-per-second",
        default=None,
        type=non_negative_float,
        help="go over at most so many hash directories a second in each worker; 0: no limit",
    )
    parser.add_argument(
        "--stats-interval",
        default=None,
        type=positive_float,
        help="write recon and tell of progress every so many seconds (default: 300)",
    )
    parser.add_argument(
        "--workers",
        default=None,
        type=_workers,
        help="process devices in so many processes; 0: in this one, auto: one for each device (default: auto)",
    )
    parser.add_argument(
        "--logfile", default=None, help="write log lines to this file; not with a configuration"
    )
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.add_argument(
        "--clobber-hardlink-collisions",
        action="store_true",
        help="where two different files have the same name, quarantine the one that is not served (default: an error)",
    )
    return parser


def _workers(text: str) -> str:
    if auto_int(text, 0) < 0:
        raise ValueError(text)
    return text


def _logger(arguments: argparse.Namespace, conf: dict[str, Any]) -> Any:
    """With a configuration a daemon's, without one plain lines."""
    if arguments.conf_file:
        if arguments.debug:
            conf["log_level"] = "DEBUG"
        return get_logger(conf, SECTION, log_route=SECTION)
    logging.basicConfig(
        format="%(message)s",
        level=logging.DEBUG if arguments.debug else logging.INFO,
        filename=arguments.logfile,
    )
    return logging.getLogger()


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of options of the section."""
    given = {
        "swift_dir": arguments.swift_dir,
        "devices": arguments.devices_dir,
        "user": arguments.user,
        "files_per_second": arguments.files_per_second,
        "stats_interval": arguments.stats_interval,
        "workers": arguments.workers,
        "mount_check": "false" if arguments.skip_mount_check else None,
        "clobber_hardlink_collisions": "true" if arguments.clobber_hardlink_collisions else None,
    }
    return {name: str(value) for name, value in given.items() if value is not None}
