"""Pushing suffixes of a partition with rsync, to a peer that runs its daemon (object-disk 18.4, operations 19).

The program and what it says; what is proven by it is the caller's matter.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import non_negative_float, non_negative_int, positive_float, truthy
from swift.core.errors import ConfigError
from swift.engine.stream import Stream
from swift.obj.replication.peers import Node

MAX_LINES = 1000  # of what one run says
MAX_TEXT = 65536
DEFAULT_MODULE = "{replication_ip}::object"
_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = ("ip", "port", "replication_ip", "replication_port", "region", "zone", "device", "meta")


class RsyncOptions:
    """What the configuration says of rsync. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self.timeout = positive_float(conf.get("rsync_timeout", 900))
        self.io_timeout = conf.get("rsync_io_timeout", "30")
        non_negative_float(self.io_timeout)
        self.bwlimit = conf.get("rsync_bwlimit", "0")
        self.compress = truthy(conf.get("rsync_compress", "no"))
        self.line_length = non_negative_int(conf.get("rsync_error_log_line_length", 0))
        self.log_transfers = truthy(conf.get("log_rsync_transfers", "true"))
        self.module = conf.get("rsync_module", "").rstrip("/") or DEFAULT_MODULE
        module_of(self.module, dict.fromkeys(_FIELDS, ""))


def module_of(template: str, node: Mapping[str, Any]) -> str:
    """The module of a device. Raises ConfigError for a template that names something else than a device has."""
    values = {key: str(node.get(key) or "") for key in _FIELDS}
    for key in ("ip", "replication_ip"):
        if ":" in values[key]:
            values[key] = f"[{values[key]}]"

    def value(match: re.Match[str]) -> str:
        try:
            return values[match[1]]
        except KeyError:
            raise ConfigError(f"Cannot interpolate rsync_module, invalid variable: {match[1]!r}") from None

    if set("{}").intersection(_FIELD.sub("", template)):
        raise ConfigError(f"Cannot interpolate rsync_module: a brace too many in {template!r}")
    return _FIELD.sub(value, template)


def command(
    options: RsyncOptions, partition_dir: str, suffixes: list[str], node: Node, compress: bool
) -> list[str]:
    """The command line that pushes these suffixes of a partition to a device."""
    datadir, partition = partition_dir.split("/")[-2:]
    args = [
        "rsync",
        "--recursive",
        "--whole-file",
        "--human-readable",
        "--xattrs",
        "--itemize-changes",
        "--ignore-existing",
        f"--timeout={options.io_timeout}",
        f"--contimeout={options.io_timeout}",
        f"--bwlimit={options.bwlimit}",
        "--exclude=.*." + "[0-9a-zA-Z]" * 6,
    ]
    if compress:
        args.append("--compress")
    args += [f"{partition_dir}/{suffix}" for suffix in suffixes]
    args.append(f"{module_of(options.module, node)}/{node['device']}/{datadir}/{partition}")
    return args


def run(options: RsyncOptions, args: list[str], logger: Any) -> bool:
    """Run rsync to its end; True if it succeeded. Other green threads go on meanwhile."""
    started = clock.time()
    ours, its = socket.socketpair()
    stream = None
    try:
        try:
            process = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=its.fileno(), stderr=subprocess.STDOUT
            )
        except OSError as error:
            logger.error("Cannot run rsync: %s", error)
            return False
        finally:
            its.close()
        stream = Stream(ours)
        text, in_time = _output(stream, options.timeout)
        if not in_time:
            logger.error("Killing long-running rsync after %ss: %s", options.timeout, args)
            process.kill()
        code = _wait(process)
    finally:
        if stream is not None:
            stream.close()
        else:
            ours.close()
    return _told(options, args, text, code if in_time else 1, clock.time() - started, logger)


def _output(stream: Stream, seconds: float) -> tuple[str, bool]:
    """(what it says, as much of it as is of use; True if it came to its end in time)."""
    stream.set_deadline(seconds)
    kept = b""
    try:
        while data := stream.recv(65536):
            if len(kept) < MAX_TEXT:
                kept += data
    except TimeoutError:
        return kept.decode("utf-8", "replace"), False
    except OSError:
        pass
    return kept.decode("utf-8", "replace"), True


def _wait(process: subprocess.Popen[bytes]) -> int:
    pause = 0.001
    while (code := process.poll()) is None:
        sleep(pause)
        pause = min(pause * 2, 0.1)
    return code


def _told(options: RsyncOptions, args: list[str], text: str, code: int, seconds: float, logger: Any) -> bool:
    lines = 0
    for line in text.splitlines()[:MAX_LINES]:
        if not line or line.startswith("cd+") or (line.startswith("<") and not options.log_transfers):
            continue
        lines += 1
        if code:
            logger.error("%s", line[: options.line_length or None])
        else:
            logger.debug("%s", line)
    if code:
        shown = f"Bad rsync return code: {code} <- {args}"
        logger.error("%s", shown[: options.line_length or None])
        return False
    log = logger.info if lines else logger.debug
    source = args[-2] if len(args) < 40 else args[-2].rpartition("/")[0] + "/..."
    log("Successful rsync of %s to %s (%.03f)", source, args[-1], seconds)
    return True


def is_installed() -> bool:
    """Returns True if there is an rsync to run."""
    with contextlib.suppress(OSError):
        return any(
            os.access(os.path.join(directory, "rsync"), os.X_OK)
            for directory in os.environ.get("PATH", os.defpath).split(os.pathsep)
        )
    return False
