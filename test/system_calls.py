"""The system calls of a real process, written down by strace and read back.

What lives here: starting something under the tracer, and reading what it wrote into calls with their order. What never does: what
the calls mean for files (`crash_states`) or for answers.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable

CALLS = (
    "openat,open,openat2,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,link,linkat,rename,renameat,renameat2,symlink,symlinkat,"
    "fsync,fdatasync,syncfs,sync,sync_file_range,msync,write,pwrite64,writev,pwritev,pwritev2,lseek,"
    "setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,recvfrom,recvmsg,sendto,sendmsg,"
    "truncate,ftruncate,fallocate,copy_file_range,sendfile,splice"
)


class Call:
    """One system call. `began`, `ended`: numbers that grow with time."""

    def __init__(self, pid: str, text: str, began: int) -> None:
        self.pid, self.text, self.began = pid, text, began
        self.ended: int | None = None

    @property
    def name(self) -> str:
        return self.text.partition("(")[0]

    @property
    def arguments(self) -> str:
        return self.text.partition("(")[2]

    @property
    def succeeded(self) -> bool:
        return self.ended is not None and not re.search(r"= -1 E[A-Z]+ \([^()]*\)\s*$", self.text)

    @property
    def result(self) -> int:
        """What it returned; -1 for what was not a number."""
        found = re.search(r"\)\s+= (-?\d+)(?:<.*>)?(?:\(deleted\))?\s*$", self.text)
        return int(found[1]) if found else -1


def parse(lines: Iterable[str]) -> list[Call]:
    """The calls in the order in which they began, whole ones only."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(lines):
        pid, _, text = line.strip().partition(" ")
        text = text.strip()
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
        if resumed:
            call = open_calls.pop(pid, None)
            if call is not None:
                call.text += resumed[1]
                call.ended = number
        elif text.endswith("<unfinished ...>"):
            call = Call(pid, text.removesuffix("<unfinished ...>").rstrip(), number)
            open_calls[pid] = call
            calls.append(call)
        elif re.match(r"\w+\(", text):
            call = Call(pid, text, number)
            call.ended = number
            calls.append(call)
    return calls


def quoted(text: str) -> list[str]:
    """The strings among the arguments of a call; a character for each byte."""
    return [bytes(s, "latin-1").decode("unicode_escape") for s in re.findall(r'"((?:[^"\\]|\\.)*)"', text)]


def why_not() -> str:
    """What is missing for tracing here; '' for nothing."""
    if not shutil.which("strace"):
        return "strace is missing"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


class Traced:
    """A process, with all that it starts, under strace. `strings`: so many bytes of each string are written down."""

    def __init__(
        self, words: list[str], trace: pathlib.Path, env: dict[str, str] | None = None, strings: int = 300
    ) -> None:
        self.trace = trace
        self.process = subprocess.Popen(
            ["strace", "-f", "-y", "-s", str(strings), "-e", f"trace={CALLS}", "-e", "signal=none"]
            + ["-o", str(trace), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )

    def text(self) -> str:
        """What was written down by now."""
        return self.trace.read_text(errors="replace") if self.trace.exists() else ""

    def stop(self) -> None:
        """The tracer ends with what it traces, which is in a session of its own."""
        if self.process.poll() is None:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                for pid in map(int, file.read().split()):
                    os.kill(pid, signal.SIGKILL)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def calls(self) -> list[Call]:
        self.stop()
        return parse(self.text().splitlines())
