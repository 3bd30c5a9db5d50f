"""Starting servers: from configuration files to processes that serve.

One call may bring up several servers under one parent. The HTTP server itself lies above this floor and is handed in;
keeping workers alive is `swift.run.supervisor`'s business, daemons without HTTP are `swift.run.daemon`'s.

Spec: operations.md 3, 4; proxy-and-backend 25.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from swift.core import clock, swift_dir
from swift.core.concurrency import raw_socket, sleep, spawn, spawn_after
from swift.core.config import auto_int, non_negative_int, one_line, read_conf_sections, truthy
from swift.core.errors import ConfigError, SwiftError
from swift.engine import large_pages
from swift.engine.arenas import share_arenas
from swift.engine.sockets import listen
from swift.run import addresses_in_use, command_line, notify, seamless
from swift.run.addresses import own_addresses
from swift.run.known_options import unknown_options
from swift.run.option_values import blamed, odd_switches, refuse_impossible
from swift.run.pipeline import app_conf, load_app
from swift.run.privileges import (
    Account,
    become,
    detach,
    end_with_parent,
    raise_descriptors,
    set_priorities,
    use_utc,
    wanted_user,
)
from swift.run.supervisor import SIGNALS, Endpoint, ProcessPlan, SlotKey, StartError, Supervisor
from swift.telemetry import prometheus, self_watch, shared_tables
from swift.telemetry.access_line import StorageAccessLog, quiet_object_request
from swift.telemetry.line_writer import write_beside_the_loop
from swift.telemetry.log import INFO, capture_stdio, get_logger
from swift.telemetry.node_metrics import state_families
from swift.telemetry.served import DoneCallback, Served

SECTIONS = ("proxy-server", "account-server", "container-server", "object-server")
DEFAULT_BIND_TIMEOUT = 30
BIND_RETRY_SECONDS = 0.1
NO_PORT = (
    "bind_port wasn't properly set in the config file. It must be explicitly set to a valid port number."
)


# A proxy stands before people, who wait for a while rather than try again, and before storage servers, which must not get more of it
# than they can take. These stand before proxies, which take them for broken when they keep them waiting.
_SERVER_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "proxy-server": {"max_requests": "256", "queue_timeout": "10"}
}


class HTTPServer(Protocol):
    """What serves one listening socket: `run` returns once it has stopped and drained, `stop` asks for that."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


# make_server(listening socket, app, conf, logger, completion callback)
MakeServer = Callable[[Any, Any, Mapping[str, Any], Any, Callable[..., None]], HTTPServer]
# ports(swift_dir, own addresses) -> ports of the object rings' devices at those addresses
RingPorts = Callable[[str, frozenset[str]], set[int]]
# families(swift_dir): what floors above know of a node and metrics tell, such as its rings
NodeFamilies = Callable[[str], Iterable[Any]]


class Service:
    """One server of one configuration file. Raises ConfigError."""

    def __init__(
        self, path: str, section: str, verbose: bool = False, global_conf: Mapping[str, str] | None = None
    ):
        self.path = path
        self.section = section
        self._global_conf = dict(global_conf or {})
        self.conf = {
            "metrics_path": "" if section == "proxy-server" else "/metrics",
            **_SERVER_DEFAULTS.get(section, {}),
            **app_conf(path, section, self._global_conf),
            shared_tables.COMPONENT: section,
        }
        self.swift_dir = swift_dir.use(self.conf.get("swift_dir"))
        self.logger = get_logger(self.conf, section, log_to_console=verbose, log_route="wsgi")
        self.servers_per_port = (
            non_negative_int(self.conf.get("servers_per_port") or 0) if section == "object-server" else 0
        )
        self.workers = auto_int(self.conf.get("workers"), os.cpu_count() or 1)
        self.ip = self.conf.get("bind_ip") or "0.0.0.0"
        self.port = 0 if self.servers_per_port else _port(self.conf)
        self.app: Any = None
        self.node_families: NodeFamilies | None = None
        self.is_exclusive = not truthy(self.conf.get("share_address"))
        self._bound: set[tuple[str, int]] = set()

    def load(self) -> None:
        """Builds the pipeline. Raises ConfigError; what a factory raises for a bad value is turned into one too."""
        try:
            self.app = load_app(self.path, global_conf=self._global_conf, logger=self.logger)
            for entry in (*unknown_options(self.path), *odd_switches(self.path)):
                self.logger.warning("%s: %s", self.path, entry)
        except SwiftError as err:
            raise ConfigError(str(err)) from err
        except (ValueError, LookupError, OSError) as err:
            raise _refusal(self.path, err) from err

    @property
    def is_shareable(self) -> bool:
        """Returns True if workers may go on with the app that the parent loaded: only our own elements are known to allow it."""
        return all(
            type(element).__module__.startswith("swift.") for element in getattr(self.app, "_pipeline", ())
        )

    def served_app(self) -> Any:
        """The app, with the metrics endpoint in front of it where that is wanted."""
        path = self.conf["metrics_path"]
        if not path:
            return self.app
        # where the pipeline looks for what daemons leave, metrics look, too
        recon = [
            element.cache_path
            for element in getattr(self.app, "_pipeline", ())
            if hasattr(element, "cache_path")
        ]
        conf = {**self.conf, "recon_cache_path": recon[0]} if recon else self.conf
        also = None if self.node_families is None else partial(self.node_families, self.swift_dir)
        state = state_families(self.section, conf, also)
        return prometheus.with_endpoint(
            self.app, path, state, str(self.conf.get("metrics_allow") or ""), self.section, state.daemons_at
        )

    def on_done(self) -> DoneCallback:
        """What is to be done with each finished request: counting, and the access line of storage servers."""
        meter = prometheus.RequestMeter(self.section).on_done
        if self.section == "proxy-server":
            return meter
        quiet = quiet_object_request if self.section == "object-server" else None
        access = StorageAccessLog(self.conf, self.logger, quiet)
        if not access.enabled:
            return meter
        log = access.on_done

        def done(served: Served) -> None:
            meter(served)
            if access.logger.level <= INFO and not served.environ["PATH_INFO"].startswith(
                ("/recon/", "/healthcheck", "/metrics")
            ):
                log(served)

        return done

    def bind(self, ip: str, port: int) -> Any:
        """A listening socket. Raises OSError once the address has been in use for bind_timeout.

        In use is what anybody listens at, those who would share it included: only our own workers may, or whoever
        `share_address` lets in.
        """
        conf = self.conf
        seconds = float(conf.get("bind_timeout") or DEFAULT_BIND_TIMEOUT)
        keep_idle = int(conf.get("keep_idle") or 600)
        give_up = clock.monotonic() + seconds
        told = False
        while True:
            try:
                sock = self._listen(ip, port)
                break
            except OSError as err:
                if err.errno != errno.EADDRINUSE:
                    raise OSError(err.errno, f"Could not bind to {ip}:{port}: {err.strerror}") from None
                if clock.monotonic() >= give_up:
                    text = f"Could not bind to {ip}:{port} after trying for {seconds:g} seconds"
                    raise OSError(err.errno, text) from None
            if not told:
                told = True
                self.logger.warning("%s:%d is in use; trying for %g seconds", ip, port, seconds)
            received = signal.sigtimedwait({signal.SIGTERM, signal.SIGINT, signal.SIGHUP}, BIND_RETRY_SECONDS)
            if received:
                raise StartError(f"stopped by signal {received.si_signo} while waiting for {ip}:{port}")
        sock.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_KEEPALIVE, 1)
        sock.setsockopt(raw_socket.IPPROTO_TCP, raw_socket.TCP_NODELAY, 1)
        sock.setsockopt(raw_socket.IPPROTO_TCP, raw_socket.TCP_KEEPIDLE, keep_idle)
        return sock

    def _listen(self, ip: str, port: int) -> Any:
        with addresses_in_use.turn():
            if self.is_exclusive and (ip, port) not in self._bound and addresses_in_use.is_in_use(ip, port):
                raise OSError(errno.EADDRINUSE, "somebody listens there already")
            sock = listen(ip, port, int(self.conf.get("backlog") or 4096), reuse_port=True)
        self._bound.add((ip, port))
        return sock


def _port(conf: Mapping[str, Any]) -> int:
    try:
        port = int(conf["bind_port"])
        if 0 < port <= 65535:
            return port
    except (KeyError, ValueError):
        pass
    raise ConfigError(NO_PORT)


def _check(service: Service) -> None:
    """Values that would only be looked at in a worker. Raises ConfigError."""
    conf = service.conf
    try:
        for option in ("bind_timeout", "stale_worker_timeout", "ring_check_interval"):
            if conf.get(option):
                float(conf[option])
        for option in ("backlog", "max_clients", "max_requests"):
            if conf.get(option):
                int(conf[option])
        if not 0 < int(conf.get("keep_idle") or 600) < 32767:
            raise ValueError("keep_idle must be above 0 and below 32767")
        service.on_done()
        service.served_app()
    except ValueError as err:
        raise _refusal(service.path, err) from err
    if service.workers < 0:
        raise ConfigError(f"Error trying to load config from {service.path}: workers must not be negative")
    if conf.get("cert_file"):
        service.logger.warning(
            "SSL should only be enabled for testing purposes. Use external SSL termination for a production deployment."
        )


# -- several services under one parent


class _Group:
    """The services of one parent process and how their workers are laid out."""

    def __init__(
        self, services: Sequence[Service], make_server: MakeServer, ring_ports: RingPorts | None
    ) -> None:
        self.services = services
        self.make_server = make_server
        self.ring_ports = ring_ports
        self.account: Account | None = None
        self.parent = os.getpid()
        self.logger = services[0].logger
        self.per_port = services[0].servers_per_port > 0
        if self.per_port and (len(services) > 1 or ring_ports is None):
            raise ConfigError("servers_per_port can't be combined with other servers in one process")

    def wanted(self) -> list[SlotKey]:
        """Workers by number; each serves every service that has so many."""
        if self.per_port:
            return self._wanted_per_port()
        keys = []
        for number in range(max(service.workers for service in self.services)):
            endpoints = tuple(
                Endpoint(index, service.ip, service.port)
                for index, service in enumerate(self.services)
                if number < service.workers
            )
            keys.append(SlotKey(endpoints, number))
        return keys

    def _wanted_per_port(self) -> list[SlotKey]:
        assert self.ring_ports is not None
        service = self.services[0]
        ports = self.ring_ports(service.swift_dir, own_addresses(service.conf.get("ring_ip") or service.ip))
        return [
            SlotKey((Endpoint(0, service.ip, port),), number)
            for port in sorted(ports)
            for number in range(service.servers_per_port)
        ]

    def bind(self, endpoint: Endpoint) -> Any:
        return self.services[endpoint.service].bind(endpoint.ip, endpoint.port)

    def serve(self, sockets: list[tuple[Endpoint, Any]], ready: Callable[[], None]) -> None:
        """A worker's life."""
        become(self.account)
        end_with_parent(signal.SIGHUP, self.parent)
        capture_stdio(self.logger)
        write_beside_the_loop()
        used = {endpoint.service for endpoint, _ in sockets}
        for index in used:
            if not self.services[index].is_shareable:
                self.services[index].load()
        servers = self._make_servers(sockets)
        # Each for itself: what workers share, they share until they first write to it, and they write to what they use often.
        large_pages.gather()

        def stop(number: int, frame: Any) -> None:
            # from the hub, not from amid whatever the signal has interrupted
            spawn_after(0, _stop_all, servers)

        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threads = [spawn(server.run) for server in servers]
        self_watch.watch(self.services[min(used)].section)
        sleep(0)
        ready()
        for thread in threads:
            thread.wait()

    def _make_servers(self, sockets: Sequence[tuple[Endpoint, Any]]) -> list[HTTPServer]:
        """Raises StartError for options that the server refuses, files of TLS included."""
        servers = []
        for endpoint, sock in sockets:
            service = self.services[endpoint.service]
            app, conf, logger = service.served_app(), service.conf, service.logger
            try:
                servers.append(self.make_server(sock, app, conf, logger, service.on_done()))
            except (ValueError, OSError) as err:
                text = f"Error trying to load config from {service.path}: {one_line(err)}"
                raise StartError(text) from None
        return servers

    def try_servers(self) -> None:
        """Makes the servers as a worker would, as the user who it will be, and lets them go. Raises SwiftError.

        Before a reload: what only a worker notices would end the service that is being reloaded.
        """
        become(wanted_user(self.services[0].conf, self.logger))
        for index, service in enumerate(self.services):
            with raw_socket.socket() as sock:
                for server in self._make_servers([(Endpoint(index, service.ip, service.port), sock)]):
                    server.stop()

    def run(self, inherited: seamless.Inherited, command: seamless.Command) -> int:
        """Serves until told to stop; returns the exit status. Raises SwiftError."""
        detach()
        raise_descriptors()
        _look_less_for_garbage()
        self.account = wanted_user(self.services[0].conf, self.logger)
        uid, gid = (self.account.uid, self.account.gid) if self.account else (-1, -1)
        if inherited.reloading:  # what we share with is ourselves
            for service in self.services:
                service.is_exclusive = False
        if not self.per_port and not any(service.workers for service in self.services):
            return self._serve_here(inherited)
        shared_tables.share_between_workers(uid, gid)
        first = self.services[0].conf
        plan = ProcessPlan(
            wanted=self.wanted,
            bind=self.bind,
            serve=self.serve,
            on_ready=lambda: capture_stdio(self.logger),
            logger=self.logger,
            per_port=self.per_port,
            check_interval=float(first.get("ring_check_interval") or 15) if self.per_port else 0.5,
            stale_worker_timeout=float(first.get("stale_worker_timeout") or 86400),
            command=command,
        )
        try:
            return Supervisor(plan, inherited).run()
        finally:
            shared_tables.stop_sharing()

    def _serve_here(self, inherited: seamless.Inherited) -> int:
        """`workers = 0`: no children, and signals do what they do to any process."""
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        sockets = []
        for index, service in enumerate(self.services):
            endpoint = Endpoint(index, service.ip, service.port)
            try:
                sock = inherited.take((endpoint.ip, endpoint.port)) or service.bind(
                    endpoint.ip, endpoint.port
                )
            except OSError as err:
                raise StartError(err.strerror or str(err)) from None
            sockets.append((endpoint, sock))
        become(self.account)
        servers = self._make_servers(sockets)
        large_pages.gather()
        capture_stdio(self.logger)
        write_beside_the_loop()
        threads = [spawn(server.run) for server in servers]
        self_watch.watch(self.services[0].section)
        sleep(0)
        inherited.finish(self.logger)
        notify.notify(notify.READY, self.logger)
        try:
            for thread in threads:
                thread.wait()
        except KeyboardInterrupt:
            self.logger.notice("User quit")
        notify.notify(notify.STOPPING, self.logger)
        return 0


def _look_less_for_garbage() -> None:
    """What has been loaded is here to stay, in pages that workers share as long as nobody writes to them.

    And with a thousand requests in hand nearly all that is new is in use: looking for garbage after every 700 objects, as Python does,
    takes a sixth of a busy proxy's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _stop_all(servers: Sequence[HTTPServer]) -> None:
    for server in servers:
        server.stop()


def find_section(path: str) -> str:
    """Which server a configuration file is for. Raises ConfigError."""
    sections = read_conf_sections(path)
    found = [section for section in SECTIONS if f"app:{section}" in sections]
    if len(found) != 1:
        names = ", ".join(f"[app:{section}]" for section in SECTIONS)
        raise ConfigError(f"Error trying to load config from {path}: it must have exactly one of {names}")
    return found[0]


def _service(path: str, section: str | None, verbose: bool) -> Service:
    try:
        refuse_impossible(path)
        return Service(path, section or find_section(path), verbose)
    except ValueError as err:
        raise _refusal(path, err) from err


def _refusal(path: str, error: Exception) -> ConfigError:
    return ConfigError(f"Error trying to load config from {path}: {one_line(error)}{blamed(path, error)}")


def run_servers(
    paths: Sequence[str],
    make_server: MakeServer,
    section: str | None = None,
    ring_ports: RingPorts | None = None,
    verbose: bool = False,
    test_config: bool = False,
    families: NodeFamilies | None = None,
) -> int:
    """Runs the servers of all the given configuration files under one parent process; returns the exit status.

    `section`: the app section (found by itself if there is just one). Settings of the process itself (user, priorities,
    log of the parent) are the first file's. To be called after `swift.core.concurrency.patch`.
    """
    share_arenas()
    command = seamless.Command()
    inherited = seamless.Inherited()
    try:
        services = [_service(os.path.abspath(path), section, verbose) for path in paths]
        set_priorities(services[0].conf, services[0].logger)
        use_utc()
        for service in services:
            service.node_families = families
            swift_dir.use(service.conf.get("swift_dir"))
            service.load()
            _check(service)
        group = _Group(services, make_server, ring_ports)
        if test_config:
            group.try_servers()
            return 0
        return group.run(inherited, command)
    except SwiftError as err:
        print(err)
        sys.stdout.flush()
        return 1


def run_server(
    argv: Sequence[str],
    section: str,
    make_server: MakeServer,
    ring_ports: RingPorts | None = None,
    families: NodeFamilies | None = None,
) -> int:
    """A server command: `swift-<section> CONFIG [-v] [-t]`."""
    parser = command_line.make_parser(f"swift-{section}")
    path, options = command_line.parse(parser, list(argv), test_config=True)
    return run_servers(
        [path],
        make_server,
        section,
        ring_ports,
        truthy(options["verbose"]),
        options["test_config"],
        families,
    )
