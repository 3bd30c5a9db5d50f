"""./saio: starts, stops, shows and empties an all-in-one cluster that needs nothing but this folder.

What lives here: the commands behind ./saio. What never does: the files of the cluster (saio_layout.py), serving requests.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

from swift.cli import saio_layout
from swift.cli.saio_layout import NODES, USERS, Layout
from swift.core import clock

START_LIMIT = 60.0  # seconds to wait for the first answer
STOP_LIMIT = 20.0


class SaioError(Exception):
    """Ends the command with this one line."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="saio", description="A whole object store on this machine, in one folder, as this user."
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="up | down | status | logs | reset | test"
    )
    up = commands.add_parser("up", help="start the cluster (set it up first, if it is not there)")
    up.add_argument("--ip", help="address of the proxy (127.0.0.1)")
    up.add_argument("--port", type=int, help="port of the proxy (8080)")
    up.add_argument("--base-port", type=int, help="the storage servers listen from here on (6200)")
    up.add_argument("--memcache", metavar="HOST:PORT", help="use this memcached as well (not needed)")
    up.add_argument("--no-memcache", action="store_true", help="no longer use a memcached")
    commands.add_parser("down", help="stop the cluster; the data stays")
    commands.add_parser(
        "status", help="what runs, since when, how much data (exit status 1 if anything is down)"
    )
    logs = commands.add_parser("logs", help="show the logs")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing new lines")
    logs.add_argument("-n", "--lines", type=int, default=50)
    logs.add_argument("name", nargs="?", help="proxy, daemons, node1 .. node4 (all)")
    reset = commands.add_parser("reset", help="stop the cluster and delete all of its data")
    reset.add_argument("-y", "--yes", action="store_true", help="do not ask")
    commands.add_parser("test", help="run the test suite (arguments go to pytest)")
    args = parser.parse_args(argv)
    home = pathlib.Path(os.environ.get("SAIO_DIR", ".saio")).absolute()
    try:
        return int(globals()["_" + args.command](home, args) or 0)
    except SaioError as err:
        print(f"saio: {err}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
        return 0
    except OSError as err:
        print(f"saio: {err.filename or ''}: {err.strerror or err}".replace(": :", ":"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


# -- commands --------------------------------------------------------------------------------------------------------------


def _up(home: pathlib.Path, args: argparse.Namespace) -> None:
    layout = _load(home)
    if running := _running(layout):
        _start_what_is_missing(layout, running)
        _print_first_steps(layout)
        return
    _signal_leftovers(layout, signal.SIGKILL)
    layout = Layout(
        home,
        args.ip or layout.ip,
        args.port or layout.port,
        args.base_port or layout.base_port,
        "" if args.no_memcache else args.memcache or layout.memcache,
    )
    home.mkdir(parents=True, exist_ok=True)
    _check_file_system(home)
    _check_ports(layout)
    _check_memcache(layout)
    saio_layout.write(layout)
    (home / "saio.json").write_text(
        json.dumps(
            {"ip": layout.ip, "port": layout.port, "base_port": layout.base_port, "memcache": layout.memcache}
        )
    )
    started = clock.monotonic()
    _start(layout)
    try:
        _wait_until_it_answers(layout)
    except SaioError:
        _down(home, args)
        raise
    print(f"up after {clock.monotonic() - started:.1f} s")
    _print_first_steps(layout)


def _start_what_is_missing(layout: Layout, running: dict[str, int]) -> None:
    """Brings back nodes that were killed while others ran."""
    missing = [name for name in _names() if name not in running]
    if not missing:
        print(f"already running at {layout.endpoint}")
        return
    _signal_leftovers(layout, signal.SIGKILL)
    for name in missing:
        _spawn_by_name(layout, name)
    _wait_until_it_answers(layout)
    print(f"started {', '.join(missing)}; the rest is running already")


def _down(home: pathlib.Path, args: argparse.Namespace) -> None:
    layout = _load(home)
    pids = _running(layout)
    _signal_leftovers(layout, signal.SIGTERM)
    for pid in pids.values():
        _signal(pid, signal.SIGTERM)
    end = clock.monotonic() + STOP_LIMIT
    while _running(layout):
        if clock.monotonic() > end:
            for pid in _running(layout).values():
                _signal(pid, signal.SIGKILL)
            end = float("inf")
        clock.sleep(0.05)
    _signal_leftovers(layout, signal.SIGKILL)
    for path in layout.run.glob("*.pid"):
        path.unlink()
    print(f"stopped {len(pids)} processes" if pids else "nothing was running")


def _status(home: pathlib.Path, args: argparse.Namespace) -> int:
    layout = _load(home)
    running = _running(layout)
    names = _names()
    started = _started(layout)
    for name in names:
        state = f"running, pid {running[name]}" if name in running else "down"
        if name in started and name not in running and _members({started[name][0]}):
            state = "killed, but its workers still serve"
        print(f"{name:8} {state}")
    print(f"endpoint {layout.endpoint} {'answers' if _answers(layout) else 'does not answer'}")
    for node in NODES:
        usage = shutil.disk_usage(layout.disks / str(node)) if layout.disks.exists() else None
        if usage:
            print(
                f"disk{node}    {layout.disks / str(node)}: {usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB"
            )
    return 0 if len(running) == len(names) and _answers(layout) else 1


def _logs(home: pathlib.Path, args: argparse.Namespace) -> int:
    layout = _load(home)
    files = sorted(layout.log.glob(f"{args.name or '*'}.log"))
    if not files:
        raise SaioError(f"no log named {args.name}" if args.name else "no logs yet")
    words = ["tail", "-n", str(args.lines), *(["-f"] if args.follow else []), *map(str, files)]
    return subprocess.call(words)


def _reset(home: pathlib.Path, args: argparse.Namespace) -> None:
    if not args.yes:
        if not sys.stdin.isatty():
            raise SaioError("reset deletes all data: say --yes")
        if input(f"Delete all data in {home}? [y/N] ").strip().lower() not in ("y", "yes"):
            raise SaioError("nothing was deleted")
    _down(home, args)
    for name in ("disks", "etc", "run", "log", "cache"):
        shutil.rmtree(home / name, ignore_errors=True)
    (home / "saio.json").unlink(missing_ok=True)
    print("all data and configuration deleted; ./saio up begins anew")


def _test(home: pathlib.Path, args: argparse.Namespace) -> None:
    raise SaioError("run it as ./saio test, which installs what the tests need")


# -- before the start ------------------------------------------------------------------------------------------------------


def _load(home: pathlib.Path) -> Layout:
    try:
        return Layout(home, **json.loads((home / "saio.json").read_text()))
    except FileNotFoundError:
        return Layout(home)
    except (ValueError, TypeError):
        raise SaioError(f"{home / 'saio.json'} is damaged: delete it and say the ports again") from None


def _check_file_system(home: pathlib.Path) -> None:
    probe = home / f".probe-{os.getpid()}"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift.probe", b"x" * 1024)
    except OSError as err:
        raise SaioError(
            f"{home}: the file system must hold extended user attributes (xattrs): {err.strerror}; set SAIO_DIR to a folder on one that does"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _check_ports(layout: Layout) -> None:
    for ip, port in layout.addresses():
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((ip, port))
                sock.listen(1)
            except OSError as err:
                option = "--port" if (ip, port) == (layout.ip, layout.port) else "--base-port"
                if err.errno == errno.EADDRNOTAVAIL:
                    option = "--ip"
                raise SaioError(
                    f"cannot listen on {ip}:{port}: {err.strerror}; choose another one with {option}"
                ) from None
            except OverflowError:
                raise SaioError(f"{port} is not a port") from None


def _check_memcache(layout: Layout) -> None:
    """Else it would be kept, and no later start without the option would come to an end."""
    from swift.cache.memcache_server import parse_server

    for server in filter(None, layout.memcache.split(",")):
        try:
            parse_server(server.strip())
        except ValueError as err:
            raise SaioError(str(err)) from None


# -- processes -------------------------------------------------------------------------------------------------------------


def _start(layout: Layout) -> None:
    for name in reversed(_names()):
        _spawn_by_name(layout, name)


def _names() -> list[str]:
    return ["proxy", "daemons", *(f"node{node}" for node in NODES)]


def _spawn_by_name(layout: Layout, name: str) -> None:
    if name == "proxy":
        _spawn(layout, name, [layout.proxy_conf])
    elif name == "daemons":
        _spawn(layout, name, layout.daemon_confs(), "swift.cli.daemons")
    else:
        _spawn(layout, name, layout.storage_confs(int(name[4:])))


def _spawn(layout: Layout, name: str, confs: list[pathlib.Path], module: str = "swift.cli.node") -> None:
    """One process (tree) that runs the servers, or the daemons, of all the given files."""
    with open(layout.log / f"{name}.out", "w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, confs)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    (layout.run / f"{name}.pid").write_text(f"{process.pid} {_start_time(process.pid)}\n")


def _start_time(pid: int) -> str:
    """Tells a process from a later one with the same pid. '' once it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _running(layout: Layout) -> dict[str, int]:
    """name -> pid of what runs."""
    return {name: pid for name, (pid, start) in _started(layout).items() if _start_time(pid) == start}


def _started(layout: Layout) -> dict[str, tuple[int, str]]:
    """name -> (pid, start time) of what was started last."""
    found = {}
    for path in sorted(layout.run.glob("*.pid")):
        with contextlib.suppress(OSError, ValueError):
            pid, start = path.read_text().split()
            found[path.stem] = int(pid), start
    return found


def _signal_leftovers(layout: Layout, number: int) -> None:
    """Signals workers whose parent was killed: they are still in its process group. Waits until killed ones are gone."""
    running = _running(layout)
    groups = {pid for name, (pid, _start) in _started(layout).items() if name not in running}
    while groups:
        left = [pid for pid in _members(groups) if _is_ours(layout, pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if not left or number != signal.SIGKILL:
            return
        clock.sleep(0.01)


def _members(groups: set[int]) -> list[int]:
    """The pids of living processes in these process groups."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) in groups and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _is_ours(layout: Layout, pid: int) -> bool:
    try:
        return str(layout.etc).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _wait_until_it_answers(layout: Layout) -> None:
    end = clock.monotonic() + START_LIMIT
    while clock.monotonic() < end:
        running = _running(layout)
        for name in _names():
            if name not in running:
                out = (layout.log / f"{name}.out").read_text(errors="replace").strip().splitlines()
                raise SaioError(f"{name} did not start: {out[-1] if out else 'it said nothing'}")
        # The proxy would take the failures of nodes that are still starting for a reason to avoid them for a minute.
        if _all_listen(layout) and _answers(layout):
            return
        clock.sleep(0.05)
    raise SaioError(f"no answer from {layout.endpoint} after {START_LIMIT:.0f} s; see ./saio logs")


def _all_listen(layout: Layout) -> bool:
    """Every server of the cluster accepts connections."""
    for address in layout.addresses():
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            return False
    return True


def _answers(layout: Layout) -> bool:
    """A user can get a token and see the account: proxy, auth and a quorum of account servers work."""
    account, user, secret, _groups = USERS[1]
    try:
        connection = http.client.HTTPConnection(layout.ip, layout.port, timeout=5)
        connection.request(
            "GET", "/auth/v1.0", headers={"X-Auth-User": f"{account}:{user}", "X-Auth-Key": secret}
        )
        answer = connection.getresponse()
        answer.read()
        token = answer.headers.get("X-Auth-Token")
        if answer.status != 200 or not token:
            return False
        connection.request("HEAD", f"/v1/AUTH_{account}", headers={"X-Auth-Token": token})
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False


def _print_first_steps(layout: Layout) -> None:
    names = ", ".join(f"{account}:{user}/{secret}" for account, user, secret, _groups in USERS)
    usual = pathlib.Path(__file__).resolve().parents[2] / ".saio"
    where = "" if layout.home.resolve() == usual else f"SAIO_DIR={layout.home} "
    swift = f"{pathlib.Path(sys.executable).parent}/swift -A {layout.endpoint}/auth/v1.0 -U test:tester -K testing"
    print(f"""
endpoint  {layout.endpoint}   (auth: {layout.endpoint}/auth/v1.0)
users     {names}

first things to try:
  alias sw='{swift}'
  sw upload photos README.md
  sw list photos
  sw download photos README.md -o -
  curl -i -H 'X-Auth-User: test:tester' -H 'X-Auth-Key: testing' {layout.endpoint}/auth/v1.0
  TOKEN=...    # the X-Auth-Token of that answer
  curl -i -H "X-Auth-Token: $TOKEN" {layout.endpoint}/v1/AUTH_test

{where}./saio status | logs | down | reset""")


if __name__ == "__main__":
    sys.exit(main())
