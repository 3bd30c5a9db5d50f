"""swift-recon-cron: counts the updates of containers that wait on this node's disks, for `/recon/async`. Spec: operations.md 11.

Our object-updater keeps that count itself after each pass; this is the forced recount, as the reference's cron job. Never two at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from swift.core import clock
from swift.core.config import read_conf
from swift.core.errors import ConfigError, LockTimeout
from swift.engine.locks import locked
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger

LOCK_SECONDS = 1.0
_QUEUE = re.compile(r"async_pending(?:-(\d+))?")
_USAGE = """Usage: swift-recon-cron CONF_FILE
ex: swift-recon-cron /etc/swift/object-server.conf"""
_HELP = """
Counts the updates of containers that wait on the disks of this node and leaves
the number in object.recon, where /recon/async and swift-recon --async find it.
Of [filter:recon] in CONF_FILE: devices (/srv/node), recon_cache_path
(/var/cache/swift), recon_lock_path (/var/lock). To be run by cron every five
minutes or so, as the user of the servers; a second one at the same time ends
at once. Exit status: 0 counted, 1 not."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        print(_USAGE + _HELP)
        return 0
    if not words:
        print(_USAGE)
        return 1
    if len(words) > 1 or words[0].startswith("-"):
        print(f"swift-recon-cron: error: what is {words[-1]}? See --help.", file=sys.stderr)
        return 1
    try:
        conf = read_conf(words[0], "filter:recon")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    logger = get_logger(conf, "recon-cron", log_route="recon-cron")
    cache = os.path.join(conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH, recon_cache.OBJECT)
    try:
        with locked(
            os.path.join(conf.get("recon_lock_path") or "/var/lock", "swift-recon-object-cron"), LOCK_SECONDS
        ):
            count = waiting(conf.get("devices") or "/srv/node")
            before = recon_cache.read(cache).get("async_pending_last")
            recon_cache.dump({"async_pending": count, "async_pending_last": clock.time()}, cache, logger)
            if recon_cache.read(cache).get("async_pending_last") == before:
                raise OSError(f"{cache} can't be written")
    except (OSError, LockTimeout) as error:
        text = f"Exception during recon-cron while accessing devices: {error}"
        logger.error("%s", text)
        print(text)
        return 1
    return 0


def waiting(root: str) -> int:
    """How many updates wait on all devices below a folder. Raises OSError."""
    from swift.obj.async_pending import count_updates

    found = 0
    for device in os.scandir(root):
        if device.is_dir():
            for name in os.listdir(device.path):
                if match := _QUEUE.fullmatch(name):
                    found += count_updates(device.path, int(match[1] or 0), sys.maxsize)
    return found


if __name__ == "__main__":
    sys.exit(main())
