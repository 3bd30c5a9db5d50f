"""swift-drive-audit: counts what the kernel's log says of failing disks, and unmounts those with too many errors (operations 14).

For cron, as root. Nothing is believed of a log beyond its first lines' length, and no more of it is read than MAX_READ.
"""

from __future__ import annotations

import contextlib
import glob
import locale
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.config import positive_int, read_ini, truthy
from swift.core.errors import ConfigError
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger

USAGE = "Usage: swift-drive-audit CONF_FILE"
HELP = f"""{USAGE}

Looks for errors of disks in the kernel's log of the last minutes. A device
below device_dir that has error_limit of them is unmounted and its line in
/etc/fstab commented out, unless unmount_failed_device = false. The numbers
go to recon (drive_audit_errors). The options are explained in
drive-audit.conf-sample. Run it hourly, as root.
"""
PATTERNS = (r"\berror\b.*\b(sd[a-z]{1,2}\d?)\b", r"\b(sd[a-z]{1,2}\d?)\b.*\berror\b")
LOGS = "/var/log/kern.*[!.][!g][!z]"
BOOTS = ("[    0.000000]", "KERNEL supported cpus:", "BIOS-provided physical RAM map:")
MAX_READ = 256 << 20  # bytes of all logs
MAX_LINE = 65536
BLOCK = 1 << 16
UMOUNT_SECONDS = 60.0
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """`device`: the kernel's name of what is mounted, or None where it can't be told."""

    mount_point: str
    device: str | None


class System(NamedTuple):
    """Where the machine's files are, and how its commands are run."""

    proc: str = "/proc"
    block_links: str = "/dev/block"
    fstab: str = "/etc/fstab"
    systemd: str = "/run/systemd/system"
    run: Callable[[Sequence[str]], int] = lambda words: (
        subprocess.run(words, timeout=UMOUNT_SECONDS).returncode
    )


class DriveAudit:
    """`conf`: the section drive-audit. Raises ValueError (its text is to be shown), ConfigError."""

    def __init__(self, conf: Mapping[str, str], logger: Any = None, system: System | None = None) -> None:
        self.system = system or System()
        self.device_dir = conf.get("device_dir", "/srv/node").rstrip("/") or "/"
        self.minutes = positive_int(conf.get("minutes", 60))
        self.error_limit = positive_int(conf.get("error_limit", 1))
        self.unmounts = truthy(conf.get("unmount_failed_device", "true"))
        self.user = conf.get("user", "swift")
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.DRIVE
        )
        self.logs = conf.get("log_file_pattern", LOGS)
        encoding = conf.get("log_file_encoding", "auto")
        self.encoding = locale.getpreferredencoding(False) if encoding == "auto" else encoding
        "".encode(self.encoding)  # raises LookupError
        given = [value for key, value in conf.items() if key.startswith("regex_pattern_")]
        self.patterns = [_compiled(pattern) for pattern in given or PATTERNS]
        console = truthy(conf.get("log_to_console", "false"))
        self.logger = logger or get_logger(conf, "drive-audit", log_to_console=console)

    def run(self) -> None:
        """Look, unmount, tell. Raises OSError."""
        mounts = self.mounts()
        self.logger.debug("Devices found: %s", mounts)
        if not mounts:
            self.logger.error("Error: No devices found!")
        errors = self.count_errors()
        self.logger.debug("Errors found: %s", dict(errors))
        found = {mount.mount_point: errors[mount.device] if mount.device else 0 for mount in mounts}
        unmounted = [
            mount_point
            for mount_point, count in found.items()
            if count >= self.error_limit and self._failed(mount_point, count)
        ]
        recon_cache.dump({**found, "drive_audit_errors": sum(found.values())}, self.recon_file, self.logger)
        with contextlib.suppress(OSError, LookupError):
            shutil.chown(self.recon_file, self.user)
        if not unmounted:
            self.logger.info("No drives were unmounted")
        elif os.path.isdir(self.system.systemd):
            self.logger.debug("fstab updated, calling systemctl daemon-reload")
            self._run("/usr/bin/systemctl", "daemon-reload")

    # ------------------------------------------------------------ what is mounted

    def mounts(self) -> list[Mount]:
        """Below device_dir. Raises OSError."""
        names = self._kernel_names()
        found = {}
        with open(f"{self.system.proc}/mounts", errors="surrogateescape") as file:
            for line in file:
                words = line.split()
                if len(words) < 2:
                    continue
                source, mount_point = (_ESCAPED.sub(_unescaped, word) for word in words[:2])
                if mount_point.startswith(f"{self.device_dir.rstrip('/')}/"):
                    found[mount_point] = Mount(mount_point, names.get(self._numbers(source) or ""))
        return list(found.values())

    def _numbers(self, source: str) -> str | None:
        """`major:minor` of a block device."""
        target = os.path.realpath(source)
        with contextlib.suppress(OSError):
            for name in os.listdir(self.system.block_links):
                if os.path.realpath(f"{self.system.block_links}/{name}") == target:
                    return name
        with contextlib.suppress(OSError):
            number = os.stat(target).st_rdev
            return f"{os.major(number)}:{os.minor(number)}" if number else None
        return None

    def _kernel_names(self) -> dict[str, str]:
        found = {}
        with open(f"{self.system.proc}/partitions") as file:
            for line in file:
                words = line.split()
                if len(words) == 4 and words[0].isdecimal():
                    found[f"{words[0]}:{words[1]}"] = words[3]
        return found

    # ------------------------------------------------------------ what the log says

    def count_errors(self) -> Counter[str]:
        """Lines about each kernel device, of the last minutes and since the last boot."""
        now = datetime.fromtimestamp(clock.time())
        oldest = now - timedelta(minutes=self.minutes)
        found: Counter[str] = Counter()
        for line in self._lines_backwards():
            if any(mark in line for mark in BOOTS):
                break
            time = time_of(line, now)
            if time is None:
                continue
            if time < oldest:
                break
            found.update({match[1] for match in (p.search(line) for p in self.patterns) if match})
        return found

    def _lines_backwards(self) -> Iterator[str]:
        """Of all logs, the newest first."""
        left = MAX_READ
        for path in sorted(glob.glob(self.logs), key=_modified, reverse=True):
            try:
                with open(path, "rb") as file:
                    for line in lines_backwards(file):
                        left -= len(line) + 1
                        if left < 0:
                            return
                        yield line.decode(self.encoding, "replace")
            except OSError as error:
                self.logger.error("Unable to open %s: %s", path, error)

    # ------------------------------------------------------------ what is done

    def _failed(self, mount_point: str, count: int) -> bool:
        """A device has too many errors; returns True if it was unmounted."""
        if not self.unmounts:
            self.logger.info("Detected %s with %d errors (Device not unmounted)", mount_point, count)
            return False
        self.logger.info("Unmounting %s with %d errors", mount_point, count)
        if not self._run("umount", "-fl", mount_point):
            self.logger.error("%s could not be unmounted", mount_point)
        self.logger.info("Commenting out %s from %s", mount_point, self.system.fstab)
        try:
            self._comment_out(mount_point)
        except OSError as error:
            self.logger.error("%s stays in %s: %s", mount_point, self.system.fstab, error)
        return True

    def _run(self, *words: str) -> bool:
        try:
            return self.system.run(words) == 0
        except (OSError, subprocess.SubprocessError) as error:
            self.logger.error("%s: %s", " ".join(words), error)
            return False

    def _comment_out(self, mount_point: str) -> None:
        """In fstab, replaced as a whole. Raises OSError."""
        path = self.system.fstab
        with open(path, errors="surrogateescape") as file:
            lines = file.readlines()
        changed = [f"#{line}" if _mounted_by(line) == mount_point else line for line in lines]
        if changed == lines:
            return
        new = f"{path}.new"
        with open(new, "w", errors="surrogateescape") as file:
            file.writelines(changed)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(path, new)
        os.rename(new, path)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error:
        compiled = None
    if compiled is None or not compiled.groups:
        raise ValueError(f'Error: unable to compile regex pattern "{pattern}"')
    return compiled


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


def _mounted_by(line: str) -> str | None:
    """The mount point of a line of fstab that counts."""
    words = line.split()
    if len(words) < 2 or words[0].startswith("#"):
        return None
    return _ESCAPED.sub(_unescaped, words[1]).rstrip("/") or "/"


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def time_of(line: str, now: datetime) -> datetime | None:
    """When a line was written: `Mon DD HH:MM:SS`, of the last twelve months, or ISO; None for neither."""
    try:
        return datetime.fromisoformat(line[:19].replace(" ", "T"))
    except ValueError:
        pass
    try:
        time = datetime.strptime(f"{now.year} {line[:15]}", "%Y %b %d %H:%M:%S")
        return time if time <= now + timedelta(days=1) else time.replace(year=now.year - 1)
    except ValueError:
        return None


def lines_backwards(file: Any) -> Iterator[bytes]:
    """The lines of a binary file, the last one first. Of one that is too long, its end is left out."""
    at = file.seek(0, os.SEEK_END)
    rest = b""
    is_last = True
    while at > 0:
        size = min(BLOCK, at)
        at -= size
        file.seek(at)
        first, *lines = (file.read(size) + rest).split(b"\n")
        for line in reversed(lines):
            if not (is_last and not line):
                yield line[:MAX_LINE]
            is_last = False
        rest = first[: 2 * MAX_LINE]
    if rest or not is_last:
        yield rest[:MAX_LINE]


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    words = sys.argv[1:]
    if words[:1] in (["-h"], ["--help"]):
        print(HELP, end="")
        return 0
    if len(words) != 1:
        print(USAGE)
        return 1
    try:
        conf = read_ini(words[0])["drive-audit"]
    except KeyError:
        print(f"Unable to find drive-audit config section in {words[0]}")
        return 1
    except (OSError, ConfigError, ValueError):
        print(f"Unable to read config file {words[0]}")
        return 1
    try:
        DriveAudit(conf).run()
    except (ValueError, LookupError, ConfigError, OSError) as error:
        print(error)
        return 1
    return 0
