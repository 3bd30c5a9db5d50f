"""What a process is allowed and how important it is: user, session, open files, scheduling priorities, time zone.

Spec: operations.md 2.1 (user, nice_priority, ionice_class), 4.1; proxy-and-backend 25.2.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import platform
import pwd
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swift.core import clock
from swift.core.errors import ConfigError

DEFAULT_USER = "swift"
MAX_DESCRIPTORS = 32768
BACKGROUND = 10  # the priority of what goes on for ever beside clients

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "armv7l": 314, "ppc64le": 273, "s390x": 282, "riscv64": 30}
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_PR_SET_PDEATHSIG = 1
_OF_SESSION = "/proc/self/autogroup"
_WARNING = "WARNING: Unable to modify %s priority of process. Keeping unchanged! Check logs for more info. "


@dataclass(frozen=True)
class Account:
    """A system user to become."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def wanted_user(conf: Mapping[str, Any], logger: Any) -> Account | None:
    """The user that `conf` (`user`) asks to become, or None to stay who we are.

    Only root can become somebody else: anybody else stays, and the log says so. Raises ConfigError for a user that is
    asked for by name and doesn't exist.
    """
    name = conf.get("user") or DEFAULT_USER
    if os.geteuid() != 0:
        current = os.geteuid()
        if conf.get("user") and _uid(name) != current:
            logger.info("Running as user id %d, not as %r: only root can change that", current, name)
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        if conf.get("user"):
            raise ConfigError(f"Error: there is no user {name!r} (option user)") from None
        logger.warning("There is no user %r to run as: staying root", name)
        return None
    if entry.pw_uid == 0:
        return None
    groups = {group.gr_gid for group in grp.getgrall() if name in group.gr_mem} | {entry.pw_gid}
    return Account(name, entry.pw_uid, entry.pw_gid, tuple(sorted(groups)), entry.pw_dir)


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def become(account: Account | None) -> None:
    """Drops root's privileges for those of `account`."""
    if account is None:
        return
    os.setgroups(account.groups)
    os.setgid(account.gid)
    os.setuid(account.uid)
    os.environ["HOME"] = account.home


def end_with_parent(number: int, parent: int) -> None:
    """Has the kernel send this process a signal when its parent ends, however that comes; a `parent` that is gone counts too.

    To be said after `become`, which takes it back.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def raise_descriptors() -> None:
    """As many file descriptors as the system lets us have, within reason: each client and each storage server takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MAX_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def detach() -> None:
    """Own session (if we don't lead one already), with our priority; root directory, umask 022, UTC."""
    try:
        os.setsid()
    except OSError:  # leads a process group already
        pass
    _set_priority_of_session()
    os.chdir("/")
    os.umask(0o022)
    use_utc()


def _set_priority_of_session() -> None:
    """Where Linux shares processors among sessions first (autogroups), a process's priority counts inside its own session only."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice == 0 or os.getsid(0) != os.getpid():
        return
    with contextlib.suppress(OSError), open(_OF_SESSION, "w") as file:
        file.write(str(nice))


def use_utc() -> None:
    """Local time is UTC from now on."""
    os.environ["TZ"] = "UTC+0"
    clock.tzset()


def set_priorities(conf: Mapping[str, Any], logger: Any, in_background: bool = False) -> None:
    """Applies nice_priority, ionice_class and ionice_priority; what can't be applied is only warned of.

    `in_background`: who says nothing of the priority wants others to go first.
    """
    nice = conf.get("nice_priority")
    if nice is None and in_background:
        nice = max(BACKGROUND, os.getpriority(os.PRIO_PROCESS, 0))
    if nice is not None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, int(nice))
            logger.debug("set scheduling priority to %s", nice)
        except (OSError, ValueError, OverflowError) as err:
            print(_WARNING % "scheduling")
            logger.warning("Unable to modify scheduling priority: %s", err)
    io_class = conf.get("ionice_class")
    if io_class is not None:
        try:
            _set_io_priority(_IO_CLASSES[io_class], int(conf.get("ionice_priority") or 0))
            logger.debug("set I/O scheduling class to %s", io_class)
        except (OSError, ValueError, KeyError) as err:
            print(_WARNING % "I/O scheduling class and")
            logger.warning("Unable to modify I/O scheduling class and priority: %r", err)


def _set_io_priority(io_class: int, priority: int) -> None:
    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        raise OSError(f"not known how on {platform.machine()}")
    if not 0 <= priority <= 7:
        raise ValueError(f"ionice_priority must be 0..7, not {priority}")
    who_process = 1
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, who_process, 0, io_class << 13 | priority) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
