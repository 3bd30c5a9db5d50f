"""./saio: starts, stops, shows and empties an all-in-one cluster that needs nothing but this folder.

What lives here: the commands behind ./saio. What never does: the files of the cluster (saio_layout.py), serving requests.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
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
from typing import NoReturn

from swift.cache import changes
from swift.cli import saio_layout
from swift.cli import trace as tracing
from swift.cli.saio_layout import NODES, USERS, Layout
from swift.core import clock
from swift.core.config import read_ini
from swift.core.hashing import HashConfig
from swift.obj import in_hand, reservations
from swift.obj.ssync import turnstile

START_LIMIT = 60.0  # seconds to wait for the first answer
STOP_LIMIT = 20.0


class SaioError(Exception):
    """Ends the command with this one line."""


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="saio", description="A whole object store on this machine, in one folder, as this user."
    )
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="up | down | status | logs | trace | user | reload | reset | test",
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
    logs.add_argument("name", nargs="?", help="proxy, node1 .. node4, where daemons log too (all)")
    trace = commands.add_parser("trace", help="what became of a request: its timeline, from all logs")
    trace.add_argument("id", metavar="ID", help="the X-Trans-Id of its answer")
    trace.add_argument("--json", action="store_true", help="all there is, for programs")
    user = commands.add_parser("user", help="add a user, remove one that was added, or list them")
    user.add_argument("what", choices=("add", "remove", "list"))
    user.add_argument("name", nargs="?", metavar="ACCOUNT:USER")
    user.add_argument("key", nargs="?", metavar="KEY")
    user.add_argument("groups", nargs="*", metavar="GROUP", help="such as .admin")
    commands.add_parser("reload", help="have all servers read their configuration again, without a pause")
    reset = commands.add_parser("reset", help="stop the cluster and delete all of its data; its ports stay")
    reset.add_argument("-y", "--yes", action="store_true", help="do not ask")
    commands.add_parser("test", help="run the test suite (arguments go to pytest)")
    return parser


# -- commands --------------------------------------------------------------------------------------------------------------


def _up(home: pathlib.Path, args: argparse.Namespace) -> None:
    layout = _load(home)
    for port in (args.port, args.base_port):
        if port is not None and not 0 < port < 65536:
            raise SaioError(f"{port} is not a port (1 to 65535)")
    wanted = dataclasses.replace(
        layout,
        ip=args.ip or layout.ip,
        port=args.port or layout.port,
        base_port=args.base_port or layout.base_port,
        memcache="" if args.no_memcache else args.memcache or layout.memcache,
    )
    if running := _running(layout):
        if wanted != layout:
            raise SaioError(
                f"it runs at {layout.endpoint} already: ./saio down first, then up with other options"
            )
        _start_what_is_missing(layout, running)
        _print_first_steps(layout)
        return
    layout = wanted
    _signal_leftovers(layout, signal.SIGKILL)
    home.mkdir(parents=True, exist_ok=True)
    _check_file_system(home)
    _check_ports(layout)
    _check_memcache(layout)
    _write(layout)
    started = clock.monotonic()
    _start(layout)
    try:
        _wait_until_it_answers(layout)
    except SaioError:
        _down(home, args)
        raise
    print(f"up after {clock.monotonic() - started:.1f} s")
    _print_first_steps(layout)


def _write(layout: Layout) -> None:
    for path in saio_layout.write(layout):
        print(
            f"kept {path}, which you have changed; what it would be by now is in {path.name}.new",
            file=sys.stderr,
        )
    _remember(layout)


def _remember(layout: Layout) -> None:
    kept = dataclasses.asdict(layout)
    del kept["home"]
    (layout.home / "saio.json").write_text(json.dumps(kept) + "\n")
    (layout.home / "saio.json").chmod(0o600)


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
    _take_away_tables(layout)
    print(f"stopped {len(pids)} processes" if pids else f"nothing was running in {home}")


def _take_away_tables(layout: Layout, unreported: bool = False) -> None:
    """What the ended servers of this cluster shared in memory. `unreported`: also writes whose listings may not know of them."""
    for node in NODES:
        with contextlib.suppress(OSError):
            in_hand.take_away(str(layout.disks / str(node)), unreported)
        with contextlib.suppress(OSError):
            turnstile.take_away(str(layout.disks / str(node)))
        with contextlib.suppress(OSError):
            reservations.take_away(str(layout.disks / str(node)))
    with contextlib.suppress(OSError, ValueError, KeyError):
        settings = read_ini(str(layout.etc / "swift.conf"))["swift-hash"]
        config = HashConfig(
            settings.get("swift_hash_path_prefix", "").encode(),
            settings.get("swift_hash_path_suffix", "").encode(),
        )
        table = pathlib.Path(changes.DIRECTORY, changes.table_name(os.geteuid(), config))
        if not _is_mapped(table):
            table.unlink(missing_ok=True)


def _is_mapped(path: pathlib.Path) -> bool:
    """True if a process of this user uses it: another cluster that has the same hash settings."""
    for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if str(path) in maps.read_text():
                return True
    return False


def _status(home: pathlib.Path, args: argparse.Namespace) -> int:
    layout = _load(home)
    running = _running(layout)
    started = _started(layout)
    for name in _names():
        state = f"running, pid {running[name]}" if name in running else "down"
        if name in started and name not in running and _members({started[name][0]}):
            state = "killed, but its workers still serve"
        print(f"{name:8} {state}")
    print(f"endpoint {layout.endpoint} {'answers' if _answers(layout) else 'does not answer'}")
    for line in _space(layout):
        print(line)
    ip, port = layout.storage_address("object", NODES[0])
    print(
        f"metrics  {layout.endpoint}/metrics, http://{ip}:{port}/metrics and so on each storage server's port"
    )
    print("requests ./saio trace X-TRANS-ID, ./saio logs -f proxy")
    status = pathlib.Path(sys.executable).parent / "swift-status"
    print(f"cluster  {status} -d {layout.etc}: what is out of order, and what to do next")
    return 0 if len(running) == len(_names()) and _answers(layout) else 1


def _space(layout: Layout) -> list[str]:
    """A line for each file system that holds disks."""
    nodes: dict[int, list[str]] = {}
    for node in NODES:
        with contextlib.suppress(OSError):
            nodes.setdefault(os.stat(layout.disks / str(node)).st_dev, []).append(str(node))
    lines = []
    for names in nodes.values():
        usage = shutil.disk_usage(layout.disks / names[0])
        free = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB"
        lines.append(f"disk{'s' if len(names) > 1 else ''} {', '.join(names)} in {layout.disks}: {free}")
    return lines


def _user(home: pathlib.Path, args: argparse.Namespace) -> None:
    layout = _load(home)
    if args.what == "list":
        for account, user, _key, groups in layout.all_users:
            print(f"{account}:{user} {groups}".rstrip())
        return
    account, _, user = (args.name or "").partition(":")
    words = [account, user, *([args.key or "", *args.groups] if args.what == "add" else [])]
    if not all(words) or any(set(word) & set(" \t\r\n%") or not word.isprintable() for word in words):
        raise SaioError("usage: ./saio user add ACCOUNT:USER KEY [.admin ...] | remove ACCOUNT:USER | list")
    others = tuple(known for known in layout.users if known[:2] != (account, user))
    if args.what == "add":
        layout = dataclasses.replace(
            layout, users=(*others, (account, user, args.key, " ".join(args.groups)))
        )
    elif others == layout.users:
        raise SaioError(f"{args.name} was not added here")
    else:
        layout = dataclasses.replace(layout, users=others)
    if not layout.proxy_conf.exists():
        _remember(layout)
        return
    _write(layout)
    if "proxy" in (running := _running(layout)):
        _reload_now(layout, {"proxy": running["proxy"]})


def _reload(home: pathlib.Path, args: argparse.Namespace) -> None:
    layout = _load(home)
    running = _running(layout)
    if not running:
        raise SaioError(f"nothing is running in {home}")
    if "daemons" in running:
        test = [sys.executable, "-m", "swift.cli.daemons", "--test-config", *map(str, layout.daemon_confs())]
        if (tested := subprocess.run(test, capture_output=True, text=True, cwd="/")).returncode:
            raise SaioError(f"nothing was reloaded: {tested.stderr.strip().rpartition(chr(10))[2]}")
    _reload_now(layout, {name: pid for name, pid in running.items() if name != "daemons"})
    if "daemons" in running:
        _signal(running["daemons"], signal.SIGTERM)
        end = clock.monotonic() + STOP_LIMIT
        while "daemons" in _running(layout) and clock.monotonic() < end:
            clock.sleep(0.05)
        _spawn_by_name(layout, "daemons")
    print(f"reloaded {', '.join(sorted(running))}")


def _reload_now(layout: Layout, pids: dict[str, int]) -> None:
    """Each parent starts anew in its place; returns once only new workers serve, or old ones but finish what is long.

    Raises SaioError if one refuses.
    """
    for name, pid in pids.items():
        old = set(_members({pid}))
        os.kill(pid, signal.SIGUSR1)
        started = clock.monotonic()
        while True:
            now = set(_members({pid})) - {pid}
            waited = clock.monotonic() - started
            if now - old and (not now & old or waited > STOP_LIMIT):
                break
            if waited > START_LIMIT:
                raise SaioError(f"{name} did not reload; see ./saio logs")
            clock.sleep(0.05)


def _logs(home: pathlib.Path, args: argparse.Namespace) -> NoReturn:
    layout = _load(home)
    files = sorted(layout.log.glob(f"{args.name or '*'}.log"))
    if not files:
        known = ", ".join(path.stem for path in sorted(layout.log.glob("*.log")))
        raise SaioError(f"no log named {args.name}; there are {known}" if known else f"no logs yet in {home}")
    words = ["tail", "-n", str(args.lines), *(["-F"] if args.follow else []), *map(str, files)]
    sys.stdout.flush()
    os.execvp("tail", words)  # in our place: who ends us ends it


def _trace(home: pathlib.Path, args: argparse.Namespace) -> int:
    layout = _load(home)
    if not layout.log.is_dir():
        raise SaioError(f"no logs yet in {home}")
    return tracing.main([args.id, str(layout.log), *(["--json"] if args.json else [])])


def _reset(home: pathlib.Path, args: argparse.Namespace) -> None:
    if not args.yes:
        if not sys.stdin.isatty():
            raise SaioError("reset deletes all data: say --yes")
        if input(f"Delete all data in {home}? [y/N] ").strip().lower() not in ("y", "yes"):
            raise SaioError("nothing was deleted")
    _down(home, args)
    _take_away_tables(_load(home), unreported=True)
    for name in ("disks", "etc", "run", "log", "cache"):
        shutil.rmtree(home / name, ignore_errors=True)
    print(f"all data and configuration deleted; ./saio up begins anew at {_load(home).endpoint}")


def _test(home: pathlib.Path, args: argparse.Namespace) -> None:
    raise SaioError("run it as ./saio test, which installs what the tests need")


# -- before the start ------------------------------------------------------------------------------------------------------


def _load(home: pathlib.Path) -> Layout:
    try:
        kept = json.loads((home / "saio.json").read_text())
        users = tuple(
            (str(account), str(user), str(key), str(groups))
            for account, user, key, groups in kept.pop("users", ())
        )
        return Layout(home, users=users, **kept)
    except FileNotFoundError:
        return Layout(home)
    except (ValueError, TypeError, AttributeError):
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
    for address in layout.addresses()[1:]:
        if address[1] == layout.port and layout.ip in (address[0], "0.0.0.0", "::"):
            raise SaioError(
                f"--port {layout.port} is among the storage servers' ports: choose another --port or --base-port"
            )
        if address[1] > 65535:
            raise SaioError(
                f"--base-port {layout.base_port} is too high: its servers need ports up to {address[1]}"
            )
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


def _check_memcache(layout: Layout) -> None:
    """Else it would be kept, and no later start without the option would come to an end."""
    from swift.cache.memcache_server import parse_server

    for server in filter(None, layout.memcache.split(",")):
        try:
            host, port = parse_server(server.strip())[:2]
            socket.create_connection((host, int(port)), 5).close()
        except ValueError as err:
            raise SaioError(str(err)) from None
        except OSError as err:
            raise SaioError(f"no memcached answers at {server}: {err.strerror or err}") from None


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
    return fields[19] if _lives(fields) else ""


def _lives(fields: list[str]) -> bool:
    """By /proc/PID/stat, behind the name. Who was killed lives until the last thread is gone: until then its sockets listen on."""
    return fields[0] != "Z" or int(fields[17]) > 1


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
            if int(fields[2]) in groups and _lives(fields):
                found.append(int(entry.name))
    return found


def _is_ours(layout: Layout, pid: int) -> bool:
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/cmdline"):  # its first thread may have ended
        with contextlib.suppress(OSError):
            if str(layout.etc).encode() in task.read_bytes():
                return True
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
    names = ", ".join(f"{account}:{user}/{secret}" for account, user, secret, _groups in layout.all_users)
    usual = pathlib.Path(__file__).resolve().parents[2] / ".saio"
    where = "" if layout.home.resolve() == usual else f"SAIO_DIR={layout.home} "
    swift = f"{pathlib.Path(sys.executable).parent}/swift -A {layout.endpoint}/auth/v1.0 -U test:tester -K testing"
    address = layout.endpoint.removeprefix("http://")
    s3cmd = f"s3cmd --no-ssl --host={address} --host-bucket={address} --access_key=test:tester --secret_key=testing"
    rclone = f"rclone --s3-provider Other --s3-env-auth --s3-endpoint {layout.endpoint}"
    print(f"""
endpoint  {layout.endpoint}   (auth: {layout.endpoint}/auth/v1.0)
console   {layout.endpoint}/console/   (in a browser, with any of these users; admin:admin sees the whole cluster)
users     {names}

first things to try:
  alias sw='{swift}'
  sw upload photos README.md
  sw list photos
  sw download photos README.md -o -
  curl -i -H 'X-Auth-User: test:tester' -H 'X-Auth-Key: testing' {layout.endpoint}/auth/v1.0
  TOKEN=...    # the X-Auth-Token of that answer
  curl -i -H "X-Auth-Token: $TOKEN" {layout.endpoint}/v1/AUTH_test

the same by S3 (more clients: doc/s3.md):
  export AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL={layout.endpoint}
  aws s3 mb s3://pictures && aws s3 cp README.md s3://pictures/ && aws s3 ls s3://pictures
  {s3cmd} put README.md s3://pictures
  {rclone} ls :s3:pictures

{where}./saio status | logs | trace X-TRANS-ID | user add | reload | down | reset""")


if __name__ == "__main__":
    sys.exit(main())
