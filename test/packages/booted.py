"""Debian machines that systemd has booted, each in namespaces of its own, over one tree that all of them have in common.

What lives here: their file systems (an overlay over the tree of BOOTED_TREE, which test/packages/run makes), their start, commands in
them, their end. What never does: what is installed on them, and what must be true then.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

IMAGE = 320 << 20  # bytes of a disk, sparse; XFS takes no less than 300 MB

# Runs as the first process of new namespaces, $1: the machine's folder, $2: the tree, $3: its name. Devices are those of any container.
_START = r"""
set -e
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
hostname "$3"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p .old
pivot_root . .old
umount -l .old
mount --make-rshared / # as systemd has it where it is not in a container
exec env -i container=swift-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal --show-status=no
"""


def why_not() -> str:
    """What is missing for such machines here; '' for nothing."""
    if os.geteuid():
        return "machines of their own need root"
    if not _cgroups():
        return "machines of their own need cgroup2"
    if not os.environ.get("BOOTED_TREE"):
        return "BOOTED_TREE names no Debian tree: test/packages/run makes one"
    return ""


def _cgroups() -> str:
    """Where cgroup2 is mounted; '': nowhere."""
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, place, kind = line.split()[:3]
            if kind == "cgroup2":
                return place
    return ""


class Machine:
    """Use as a context manager. `home`: an empty folder on a disk; `network`: the namespace that it is in, a path ('': a new one)."""

    def __init__(self, home: pathlib.Path, name: str = "s1", network: str = "") -> None:
        self.home, self.name, self.network = home, name, network
        self.root = home / "root"
        self.pid = 0
        self._loops: dict[str, str] = {}
        self._outer: subprocess.Popen[bytes] | None = None
        self._cgroup = pathlib.Path(_cgroups(), f"swift-test-{os.getpid()}-{name}")

    def __enter__(self) -> Machine:
        for folder in ("upper", "work", "root"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.power_off()
        for loop in self._loops.values():
            subprocess.run(["losetup", "--detach", loop], capture_output=True)
        for folder in ("upper", "work", "root"):
            shutil.rmtree(self.home / folder, ignore_errors=True)

    def boot(self) -> None:
        """Returns when systemd has reached its default target."""
        self._cgroup.mkdir(exist_ok=True)
        words = [
            "unshare",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--cgroup",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ]
        if not self.network:
            words.append("--net")
        tree = os.environ["BOOTED_TREE"]
        words += ["sh", "-c", _START, "machine", str(self.home), tree, self.name]
        if self.network:
            words = ["nsenter", f"--net={self.network}", *words]
        join = f'echo $$ > "{self._cgroup}/cgroup.procs"; exec "$@"'
        with open(self.home / "console", "ab") as console:
            self._outer = subprocess.Popen(
                ["sh", "-c", join, "sh", *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while not (children := _children(self._outer.pid)):
            assert self._outer.poll() is None and time.monotonic() < end, self.console()
            time.sleep(0.05)
        self.pid = children[0]
        while self.status("systemctl", "is-active", "multi-user.target"):
            assert self._outer.poll() is None and time.monotonic() < end, self.console()
            time.sleep(0.2)

    def power_off(self) -> None:
        """As if somebody had pulled the plug: all processes end at once, and files are as they are."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self._outer is not None:
            if not self.pid:
                self._outer.kill()
            self._outer.wait(60)
        self.pid, self._outer = 0, None
        end = time.monotonic() + 60
        while self._cgroup.exists():
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            if time.monotonic() > end:
                break
            time.sleep(0.05)

    def add_disk(self, name: str, devices: str) -> None:
        """A disk of its own with XFS, mounted as /etc/fstab says, which it is written to."""
        image = self.home / f"{name}.img"
        with open(image, "wb") as file:
            file.truncate(IMAGE)
        subprocess.run(
            ["mkfs.xfs", "-q", "-i", "size=1024", "-L", name, str(image)], check=True, capture_output=True
        )
        loop = subprocess.run(
            ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
        )
        self._loops[name] = loop.stdout.strip()
        self._make_node(self._loops[name])
        place = f"{devices}/{name}"
        entry = f"{self._loops[name]} {place} xfs noatime,nodiratime,logbufs=8,nofail 0 0"
        self.run(f"mkdir -p {place} && echo '{entry}' >> /etc/fstab && mount {place} && chown swift: {place}")

    def _make_node(self, loop: str) -> None:
        number = os.minor(os.stat(loop).st_rdev)
        self.run(f"mknod -m 660 {loop} b 7 {number}")

    def mount_again(self) -> None:
        """After a start: no udev says here which disks there are."""
        for loop in self._loops.values():
            self._make_node(loop)
        self.run("mount -a")

    def console(self) -> str:
        return (self.home / "console").read_text(errors="replace")[-3000:]

    def command(self, *words: str) -> list[str]:
        """A command line that runs `words` there, as root."""
        enter = [
            "nsenter",
            "--target",
            str(self.pid),
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--ipc",
            "--cgroup",
            "--wd=/",
        ]
        return [
            *enter,
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LANG=C.UTF-8",
            *words,
        ]

    def call(self, *words: str, feed: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            input=feed if feed is not None else "",
            capture_output=True,
            text=True,
            timeout=300,
        )

    def status(self, *words: str) -> int:
        return self.call(*words).returncode

    def run(self, script: str) -> str:
        """A script of a shell there; what it said. AssertionError if any command of it fails."""
        done = self.call("bash", "-e", "-o", "pipefail", "-c", script)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self, *words: str) -> str:
        return self.call("journalctl", "--no-pager", "-n", "60", *words).stdout

    def shows(self, unit: str, *properties: str) -> list[str]:
        """What systemd says of a unit, in the order of `properties`."""
        told = self.call("systemctl", "show", unit, *(f"--property={name}" for name in properties)).stdout
        found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        return [found.get(name, "") for name in properties]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
