"""swift-reload: has a running server replaced by a new image of itself, and waits until that serves.

What lives here: the one who asks. What never does: how a server does it (core/seamless.py).
Spec: operations.md section 7; proxy-and-backend 25.3.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys

from swift.cli.processes import SERVER_COMMANDS, Process, look, send_signal

EXIT_BAD_PID = 2
EXIT_TIMEOUT = 128 + errno.ETIMEDOUT

DESCRIPTION = """
Safely reload WSGI servers while minimizing client downtime and errors by

   * validating that the process is a Swift WSGI server manager,
   * checking that the configuration file used is valid,
   * sending the "seamless reload" signal, and
   * waiting for the reload to complete.
"""


class BadPid(Exception):
    """The text says why the process can't be reloaded."""


def find_server(pid: int) -> tuple[Process, str]:
    """The main process of a server and the path of its command. Raises BadPid."""
    process = look(pid)
    if process is None:
        raise BadPid(f"Failed to get process information for {pid}")
    scripts = [word for word in process.argv if "/bin/" in word and "/bin/python" not in word]
    if len(scripts) != 1 or not os.path.basename(scripts[0]).startswith("swift-"):
        raise BadPid(f"Non-swift process: {process.command!r}")
    command = os.path.basename(scripts[0])
    if command not in SERVER_COMMANDS:
        raise BadPid(f"Process does not support config checks: {command}")
    if process.session != process.pid:
        raise BadPid(
            f"Process appears to be a {command} worker, not a manager. Did you mean {process.session}?"
        )
    return process, scripts[0]


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="swift-reload", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pid", type=int, help="server PID which should be reloaded")
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "-t", "--timeout", type=float, default=300, help="max time to wait for reload to complete"
    )
    waiting.add_argument("-w", "--no-wait", action="store_true", help="skip waiting for reload to complete")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="display more information as the process reloads"
    )
    args = parser.parse_args(argv)
    try:
        process, script = find_server(args.pid)
    except BadPid as err:
        print(err, file=sys.stderr)
        return EXIT_BAD_PID
    command = os.path.basename(script)

    def tell(text: str) -> None:
        if args.verbose:
            print(text, flush=True)

    tell(f"Checking config for {command}")
    check = [*process.argv, "--test-config"]
    if subprocess.run(check, cwd=f"/proc/{process.pid}/cwd", stdin=subprocess.DEVNULL).returncode:
        print("Failed to validate config", file=sys.stderr)
        return 1
    if args.no_wait:
        return 0 if _signal(process, tell) else 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
        try:
            news.bind(f"\0swift-notifications\0{process.pid}")
        except OSError as err:
            print(f"Could not bind notification socket: {err}", file=sys.stderr)
            return 1
        news.settimeout(args.timeout)
        if not _signal(process, tell):
            return 1
        return _wait_until_ready(news, command, tell)


def _signal(process: Process, tell) -> bool:  # type: ignore[no-untyped-def]
    tell("Sending USR1 signal")
    try:
        if send_signal(process, signal.SIGUSR1):
            return True
        print(f"Failed to get process information for {process.pid}", file=sys.stderr)
    except PermissionError:
        print(f"No permission to signal PID {process.pid}", file=sys.stderr)
    return False


def _wait_until_ready(news: socket.socket, command: str, tell) -> int:  # type: ignore[no-untyped-def]
    reloading = False
    while True:
        try:
            message = news.recv(1024)
        except TimeoutError:
            print(f"Timed out reloading {command}", file=sys.stderr)
            return EXIT_TIMEOUT
        lines = message.split(b"\n")
        if b"READY=1" in lines:
            tell("Process is READY")
            print(f"Reloaded {command}")
            return 0
        if b"RELOADING=1" in lines:
            reloading = True
            tell("Process is RELOADING")
        elif b"STOPPING=1" in lines and not reloading:
            print(f"{command} is stopping", file=sys.stderr)
            return 1
        else:
            tell(f"Received notification {message!r}")


if __name__ == "__main__":
    sys.exit(main())
