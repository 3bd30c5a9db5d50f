"""The background daemons of several configuration files in one process, for all-in-one clusters.

What lives here: which daemons there are and starting them as green threads. What never does: what a daemon does, and running
one as a process of its own (core/daemon.py).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any, NoReturn

from swift.core import concurrency

# section of a configuration file -> module and class of the daemon
DAEMONS = {
    "object-updater": ("swift.obj.updater", "ObjectUpdater"),
    "object-replicator": ("swift.obj.replication.replicator", "ObjectReplicator"),
    "object-auditor": ("swift.obj.auditing.auditor", "ObjectAuditor"),
    "object-expirer": ("swift.obj.expirer.expirer", "ObjectExpirer"),
    "object-reconstructor": ("swift.obj.reconstruction.reconstructor", "ObjectReconstructor"),
    "container-updater": ("swift.container.updater", "ContainerUpdater"),
    "container-auditor": ("swift.container.auditor", "ContainerAuditor"),
    "container-replicator": ("swift.container.replicator", "ContainerReplicator"),
    "container-sharder": ("swift.container.sharding.sharder", "ContainerSharder"),
    "container-sync": ("swift.container.sync", "ContainerSync"),
    "container-reconciler": ("swift.container.reconciler", "ContainerReconciler"),
    "account-auditor": ("swift.account.auditor", "AccountAuditor"),
    "account-replicator": ("swift.account.replicator", "AccountReplicator"),
    "account-reaper": ("swift.account.reaper", "AccountReaper"),
    "s3-lifecycle": ("swift.s3.lifecycle.daemon", "Lifecycle"),
    "s3-notifier": ("swift.s3.notifications.daemon", "Notifier"),
}


def main(argv: list[str] | None = None) -> int:
    """usage: python -m swift.cli.daemons [--test-config] CONF [CONF ...]"""
    concurrency.patch()
    paths = sys.argv[1:] if argv is None else argv
    is_test = paths[:1] == ["--test-config"]
    paths = paths[is_test:]
    if not paths or paths[0].startswith("-"):
        print(main.__doc__, file=sys.stderr)
        return 2
    from swift.core import swift_dir
    from swift.core.errors import SwiftError
    from swift.engine.arenas import share_arenas
    from swift.telemetry import line_writer, self_watch
    from swift.telemetry.log import capture_stdio, get_logger
    from swift.telemetry.metric_table import TABLE

    share_arenas()
    try:
        running = [daemon for path in paths for daemon in _daemons_of(path, swift_dir, get_logger)]
    except (SwiftError, ValueError, OSError) as err:
        print(err, file=sys.stderr)
        return 1
    if not running:
        print("none of the files has the section of a daemon", file=sys.stderr)
        return 1
    if is_test:
        return 0
    capture_stdio(running[0][1])
    line_writer.write_beside_the_loop()
    self_watch.watch(TABLE.process)
    signal.signal(signal.SIGTERM, _end)
    threads = [concurrency.spawn(_run, daemon, logger) for daemon, logger in running]
    for thread in threads:
        thread.wait()
    return 1


def _end(number: int, frame: Any) -> NoReturn:
    from swift.telemetry import line_writer
    from swift.telemetry.shared_tables import NODE_TABLES

    NODE_TABLES.write()
    line_writer.flush_all()
    os._exit(0)


def _daemons_of(path: str, swift_dir: Any, get_logger: Any) -> list[tuple[Any, Any]]:
    from swift.core.config import read_conf, read_conf_sections
    from swift.core.errors import ConfigError, SwiftError
    from swift.run.option_values import refuse_impossible
    from swift.telemetry.shared_tables import COMPONENT, NODE_TABLES

    found = []
    sections = read_conf_sections(path)
    for section, (module, name) in DAEMONS.items():
        if section not in sections:
            continue
        refuse_impossible(path, section)
        conf = {**read_conf(path, section), COMPONENT: section}
        NODE_TABLES.leave(conf, "daemons")
        swift_dir.use(conf.get("swift_dir"))
        logger = get_logger(conf, section, log_route=section)
        kind = getattr(importlib.import_module(module), name)
        try:
            found.append((kind(conf, logger), logger))
        except (SwiftError, ValueError) as err:
            text = str(err)
            raise ConfigError(text if path in text else f"{path}: [{section}]: {text}") from None
    return found


def _run(daemon: Any, logger: Any) -> None:
    try:
        daemon.run_forever()
    except Exception:
        logger.exception("UNCAUGHT EXCEPTION")


if __name__ == "__main__":
    sys.exit(main())
