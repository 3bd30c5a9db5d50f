"""swift-init: starts and stops servers and daemons, and says what runs.

What lives here: options, commands, exit codes. What never does: how one service is found, started and signalled
(managed.py).
Spec: operations.md section 6.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from optparse import OptionParser, Values

from swift.cli.managed import DEFAULT_RUN_DIR, DEFAULT_SWIFT_DIR, Service, expand, wait_for_end

KILL_WAIT = 15
MAX_DESCRIPTORS = 32768
MAX_PROCESSES = 8192

USAGE = """%prog <server>[.<config>] [<server>[.<config>] ...] <command> [options]

where:
    <server>  is the name of a swift service e.g. proxy-server.
              The '-server' part of the name may be omitted.
              'all', 'main' and 'rest' are reserved words that represent a
              group of services.
              all: Expands to all swift daemons.
              main: Expands to main swift daemons.
                    (proxy, container, account, object)
              rest: Expands to all remaining background daemons (beyond
                    "main").
                    (updater, replicator, auditor, etc)
    <config>  is an explicit configuration filename without the
              .conf extension. If <config> is specified then <server> should
              refer to a directory containing the configuration file, e.g.:

                  swift-init object.1 start

              will start an object-server using the configuration file
              /etc/swift/object-server/1.conf
    <command> is a command from the list below.

Commands:
"""


class Manager:
    """The services that one run of the command is about. The commands return exit statuses."""

    def __init__(self, names: list[str], options: Values) -> None:
        self.options = options
        services = [Service(name, options.run_dir, options.swift_dir) for name in expand(names)]
        self.services = [service for service in services if shutil.which(service.command)]
        known = {Service(name).command for name in expand(["all"])}
        self.not_found = [service.command for service in services if service.command in known]
        explicit = not any("*" in name or name.lower() in ("all", "main", "rest") for name in names)
        self.strict = explicit if options.strict is None else options.strict

    # -- commands; their first lines are the help texts

    def start(self) -> int:
        """starts a server"""
        _prepare_process()
        options = self.options
        status = 0
        for service in self.services:
            launched = service.launch(
                options.once, options.wait, options.daemon, options.number, options.verbose
            )
            if not launched and self.strict:
                status = 1
        if not options.daemon:
            return self._interact() or status
        if options.wait:
            for service in self.services:
                status |= service.wait()
        return status

    def _interact(self) -> int:
        status = 0
        for service in self.services:
            try:
                status |= service.interact()
            except KeyboardInterrupt:
                print("\nuser quit")
                self.stop()
                break
        return status

    def no_wait(self) -> int:
        """spawn server and return immediately"""
        self.options.wait = False
        return self.start()

    def no_daemon(self) -> int:
        """start a server interactively"""
        self.options.daemon = False
        return self.start()

    def once(self) -> int:
        """start server and run one pass on supporting daemons"""
        self.options.once = True
        return self.start()

    def stop(self) -> int:
        """stops a server"""
        options = self.options
        waiting = {}
        nothing = False
        for service in self.services:
            reached = service.stop(options.graceful, False, options.number, options.verbose)
            if reached:
                waiting[service] = reached
            else:
                print(f"No {service.server} running")
                nothing = True
        status = 1 if nothing and not waiting else 0
        if wait_for_end(self.services, options.kill_wait, waiting):
            return status
        for service, left in waiting.items():
            if not left:
                continue
            if not options.kill_after_timeout:
                print(f"Waited {options.kill_wait} seconds for {service.server} to die; giving up")
                continue
            print(f"Waited {options.kill_wait} seconds for {service.server} to die; killing")
            for pid, path in left.items():
                service.kill_group(pid, path)
        return 1

    def kill(self) -> int:
        """stop a server (no error if not running)"""
        status = self.stop()
        if status and self.status():
            return 0
        return status

    def shutdown(self) -> int:
        """allow current requests to finish on supporting servers"""
        self.options.graceful = True
        return self.stop()

    def restart(self) -> int:
        """stops then restarts server"""
        status = self.stop()
        return self.start() | status

    def reload(self) -> int:
        """graceful shutdown then restart on supporting servers"""
        self.options.graceful = True
        status = 0
        every = self.services
        for service in every:
            self.services = [service]
            service.children.clear()
            status |= self.stop()
            status |= self.start()
        self.services = every
        return status

    def force_reload(self) -> int:
        """alias for reload"""
        return self.reload()

    def reload_seamless(self) -> int:
        """seamlessly re-exec, then shutdown of old listen sockets on supporting servers"""
        nothing = False
        for service in self.services:
            if not service.stop(False, True, self.options.number, self.options.verbose):
                print(f"No {service.server} running")
                nothing = True
        return 1 if nothing else 0

    def status(self) -> int:
        """display status of tracked pids for server"""
        status = 0
        for service in self.services:
            status |= service.status(self.options.number, self.options.verbose)
        return status


COMMANDS: dict[str, Callable[[Manager], int]] = {
    name.replace("_", "-"): getattr(Manager, name)
    for name in (
        "force_reload",
        "kill",
        "no_daemon",
        "no_wait",
        "once",
        "reload",
        "reload_seamless",
        "restart",
        "shutdown",
        "start",
        "status",
        "stop",
    )
}


SEE_HELP = f"swift-init --help lists the servers; the commands are {', '.join(COMMANDS)}"


def _usage() -> str:
    import textwrap

    width = max(map(len, COMMANDS))
    lines = []
    for name, command in COMMANDS.items():
        text = f"{name.rjust(width)}: {command.__doc__}"
        lines += textwrap.wrap(text, 79, initial_indent=" ", subsequent_indent=" " * 11)
    return USAGE + "\n".join(lines)


def _prepare_process() -> None:
    """What started processes inherit: room for descriptors and processes, a place for unpacked eggs."""
    for kind, wanted, name in (
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS, "file descriptor"),
        (resource.RLIMIT_NPROC, MAX_PROCESSES, "max process"),
    ):
        soft, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            wanted_hard = max(wanted, hard)
        else:
            wanted_hard = hard
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            continue
        try:
            resource.setrlimit(kind, (wanted, wanted_hard))
        except (ValueError, OSError):
            if hard < wanted:
                print(f"WARNING: Unable to modify {name} limit.  Running as non-root?")
            resource.setrlimit(kind, (hard, hard))
    os.environ.setdefault("PYTHON_EGG_CACHE", tempfile.gettempdir())


def make_parser() -> OptionParser:
    parser = OptionParser(_usage(), prog="swift-init")
    add = parser.add_option
    add("-v", "--verbose", action="store_true", default=False, help="display verbose output")
    add(
        "-w", "--no-wait", action="store_false", dest="wait", default=True,
        help="won't wait for server to start before returning",
    )  # fmt: skip
    add("-o", "--once", action="store_true", default=False, help="only run one pass of daemon")
    add(
        "-n",
        "--no-daemon",
        action="store_false",
        dest="daemon",
        default=True,
        help="start server interactively",
    )
    add("-g", "--graceful", action="store_true", default=False, help="send SIGHUP to supporting servers")
    add(
        "-c", "--config-num", metavar="N", type="int", dest="number", default=0,
        help="send command to the Nth server only",
    )  # fmt: skip
    add(
        "-k", "--kill-wait", metavar="N", type="int", dest="kill_wait", default=KILL_WAIT,
        help="wait N seconds for processes to die (default 15)",
    )  # fmt: skip
    add(
        "-r", "--run-dir", type="str", dest="run_dir", default=DEFAULT_RUN_DIR,
        help=f"alternative directory to store running pid files default: {DEFAULT_RUN_DIR}",
    )  # fmt: skip
    add(
        "--swift-dir", type="str", dest="swift_dir", default=DEFAULT_SWIFT_DIR,
        help=f"alternative directory of the configuration default: {DEFAULT_SWIFT_DIR}",
    )  # fmt: skip
    # None: depends on how the servers were named
    add(
        "--strict", dest="strict", action="store_true", default=None,
        help="Return non-zero status code if some config is missing. Default mode if all servers are explicitly named.",
    )  # fmt: skip
    add(
        "--non-strict", dest="strict", action="store_false",
        help="Return zero status code even if some config is missing. Default mode if any server is a glob or one of "
        "aliases `all`, `main` or `rest`.",
    )  # fmt: skip
    add(
        "--kill-after-timeout", dest="kill_after_timeout", action="store_true", default=False,
        help="Kill daemon and all children after kill-wait period.",
    )  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = make_parser()
    options, words = parser.parse_args(argv)
    if not words:
        parser.print_help()
        print("ERROR: specify server(s) and command")
        return 1
    if len(words) < 2:
        print(SEE_HELP)
        print("ERROR: specify server(s) and command")
        return 1
    *names, command = words
    if command not in COMMANDS and words[0] in COMMANDS:
        command, *names = words
    if command not in COMMANDS:
        print(SEE_HELP)
        print(f"ERROR: unknown command, {command}")
        return 1
    manager = Manager(names, options)
    if not manager.services:
        if manager.not_found:
            print(f"ERROR: not found on the PATH: {', '.join(manager.not_found)}")
        else:
            print(f"ERROR: there is no server named {' or '.join(names)}")
        return 1
    try:
        return COMMANDS[command](manager)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has seen enough; what was begun is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
