"""The proxy application: from a client's request to the verb that answers it (spec proxy 4).

Steps that every request takes are here; what a verb does is in the controllers. Everything that can be known at the start is
looked up then: rings, policies, options, the verbs of each controller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import swift
from swift.core import capabilities, constraints, swift_dir
from swift.core.concurrency import Timeout
from swift.core.config import truthy
from swift.core.errors import ConfigError, RequestError
from swift.core.names import check_container_name, check_object_name, check_proxy_path
from swift.core.policy import StoragePolicy, policies, quorum_size
from swift.core.timestamp import internal_timestamp, now_internal
from swift.core.transaction import new_transaction_id
from swift.middleware.access_fields import client_address
from swift.middleware.info import get_container_info
from swift.proxy import cors, disclosure, erasure, replicated
from swift.proxy.account import AccountController
from swift.proxy.container import ContainerController
from swift.proxy.controller import Controller
from swift.proxy.error_limit import ErrorLimiter
from swift.proxy.exchange import Body, Exchange, as_response
from swift.proxy.kinds import is_served, kind_of
from swift.proxy.node_health import NodeHealth
from swift.proxy.object import ObjectController
from swift.proxy.options import Options, parse_options, skip_share
from swift.proxy.routing import NodeSelector, Timings
from swift.proxy.services import Services
from swift.ring.errors import RingLoadError
from swift.ring.format import RingData
from swift.ring.lookup import Ring
from swift.telemetry import families
from swift.telemetry.log import get_logger, set_transaction
from swift.telemetry.metric_table import TABLE, Key, watch_weakly
from swift.telemetry.metrics import get_metrics
from swift.wire.message import (
    HTTPBadRequest,
    HTTPException,
    HTTPForbidden,
    HTTPMethodNotAllowed,
    HTTPNotFound,
    HTTPPreconditionFailed,
    HTTPServerError,
    HTTPServiceUnavailable,
    Request,
    parsed_path,
    wsgi_to_str,
)

_FAILED = b"Internal server error.\n"
_KEYSTONE_VERSIONS = ("v3", "v2.0")

KINDS = (replicated, erasure)
"""Modules that register how the objects of a type of policy are kept."""


class Application:
    """The last element of a proxy's pipeline. Raises ConfigError, OSError or RingError when it cannot start.

    `conf`: the options of its section, [DEFAULT] included; `inherited`: those of [DEFAULT]. Rings are opened from
    `swift_dir` unless given.
    """

    def __init__(
        self,
        conf: Mapping[str, str],
        logger: Any = None,
        account_ring: Any = None,
        container_ring: Any = None,
        object_rings: Mapping[int, Any] | None = None,
        inherited: Mapping[str, str] | None = None,
    ) -> None:
        self.logger = logger or get_logger(
            conf, "proxy-server", log_route=conf.get("log_name", "proxy-server")
        )
        self.metrics = get_metrics(conf, "proxy-server")
        self.options: Options = parse_options(conf, policies(), inherited, self.logger.warning)
        self.account_existence_skip_cache_pct = skip_share(conf, "account_existence_skip_cache_pct")
        self.container_existence_skip_cache_pct = skip_share(conf, "container_existence_skip_cache_pct")
        options = self.options
        self.limiter = ErrorLimiter(
            options.error_suppression_interval, options.error_suppression_limit, count=self.metrics.increment
        )
        self._timings = Timings(options.timing_expiry)
        self.services = self._services(account_ring, container_ring, object_rings or {})
        self.account = AccountController(self.services)
        self.container = ContainerController(self.services)
        self.objects: dict[int, Controller] = {}
        for policy in policies():
            kept = kind_of(self.services, policy)
            if kept is None:
                self.logger.warning("%s", policy.unserved)
            else:
                self.objects[int(policy)] = ObjectController(self.services, kept)
        self._versions = frozenset(constraints.limits().valid_api_versions)
        self._register()
        watch_weakly(self, _limited_nodes)

    # -- start -------------------------------------------------------------------------------------------------------------

    def _services(self, account_ring: Any, container_ring: Any, object_rings: Mapping[int, Any]) -> Services:
        directory = self.options.swift_dir
        objects = {}
        for policy in filter(is_served, policies()):
            ring = object_rings.get(int(policy)) or Ring(
                directory, policy.ring_name, validation_hook=_replicas_check(policy), logger=self.logger
            )
            objects[int(policy)] = self._selector("object", ring, int(policy))
        return Services(
            self,
            self.options,
            self.logger,
            self.metrics,
            NodeHealth(self.limiter, self.logger),
            self._selector("account", account_ring or Ring(directory, "account", logger=self.logger)),
            self._selector("container", container_ring or Ring(directory, "container", logger=self.logger)),
            objects,
        )

    def _selector(self, kind: str, ring: Any, policy: int | None = None) -> NodeSelector:
        options = self.options
        chosen = options.nodes if policy is None else options.policy_nodes[policy]
        tell = self._excess_handoffs if options.log_handoffs else None
        return NodeSelector(kind, ring, chosen, options.request_node_count, self.limiter, self._timings, tell)

    def _register(self) -> None:
        options = self.options
        capabilities.register(
            "swift",
            version=swift.__version__,
            strict_cors_mode=options.cors.strict,
            policies=[
                policy.info() for policy in policies() if is_served(policy) and not policy.is_deprecated
            ],
            allow_account_management=options.allow_account_management,
            account_autocreate=options.account_autocreate,
            allow_open_expired=options.allow_open_expired,
            **constraints.limits().info(),
        )

    @property
    def backend_user_agent(self) -> str | None:
        """The User-Agent for storage servers; None until the first request names this process."""
        return self.services.agent_name

    @backend_user_agent.setter
    def backend_user_agent(self, agent: str | None) -> None:
        self.services.agent_name = agent

    def not_ready(self) -> list[str]:
        """What keeps this proxy from doing what it is for, a line each: of accounts, of containers and of the objects of one policy at least, there
        must be as many devices that have not failed lately as a write needs. That one of several policies lacks them is no reason to send all
        clients away.
        """
        limited = self.limiter.limited_keys()
        if not limited:
            return []
        services = self.services
        lacks = [self._lack(selector, None, limited) for selector in (services.accounts, services.containers)]
        of_objects = [
            self._lack(selector, policies().get_by_index(index), limited)
            for index, selector in services.objects.items()
        ]
        return [text for text in (*lacks, *(of_objects if all(of_objects) else ())) if text]

    def _lack(self, selector: NodeSelector, policy: StoragePolicy | None, limited: set[tuple]) -> str:
        """What is missing, or nothing."""
        ring = selector.ring
        replicas = math.ceil(ring.replica_count)
        needed = quorum_size(replicas) if policy is None else policy.quorum(replicas)
        devices = [device for device in ring.devs if device and device["weight"] > 0]
        left = sum(self.limiter.key(device) not in limited for device in devices)
        if left >= min(needed, len(devices)):
            return ""
        name = selector.kind if policy is None else f"{selector.kind} ({policy.name})"
        return f"{name} nodes: {left} of {len(devices)} devices answer, {needed} are needed"

    def _excess_handoffs(self, kind: str, excess: int, primaries: int) -> None:
        self.metrics.increment(f"{kind}.handoff_count")
        self.logger.warning("Handoff requested (%d)", excess)
        if excess == primaries:
            self.metrics.increment(f"{kind}.handoff_all_count")

    # -- requests ----------------------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return self._handle(environ, start_response)
        except (Exception, Timeout) as error:
            return self._failed(error, environ, None, start_response)

    def _failed(
        self,
        error: BaseException,
        environ: dict[str, Any],
        exchange: Exchange | None,
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """The answer to a request that ended in an exception; `exchange` None: before a verb took it."""
        if isinstance(error, HTTPException):
            if error.status_int == 503:
                self._say_when(error)
            return error(environ, start_response)
        if isinstance(error, UnicodeError):
            self.metrics.increment("errors")
            body = "Invalid UTF8 or contains NULL"
            return HTTPPreconditionFailed(request=Request(environ), body=body)(environ, start_response)
        if exchange is not None:
            if isinstance(error, RequestError):
                return as_response(error, exchange.request)(environ, start_response)
            self.logger.exception("ERROR Unhandled exception in request")
            return HTTPServerError(request=exchange.request)(environ, start_response)
        self.metrics.increment("errors")
        if isinstance(error, RequestError):
            return as_response(error, Request(environ), html=True)(environ, start_response)
        self.logger.exception("ERROR Unhandled exception in request")
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(_FAILED)))]
        start_response("500 Server Error", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [_FAILED]

    def _say_when(self, error: HTTPException) -> None:
        """Tell whoever gets this 503 when to come again, if nodes have said so of themselves."""
        seconds = self.services.health.retry_after()
        if seconds is not None:
            error.headers.setdefault("Retry-After", str(seconds))

    def _handle(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
        get = environ.get
        self._ensure_timestamp(environ)
        if "HTTP_X_STORAGE_TOKEN" in environ and "HTTP_X_AUTH_TOKEN" not in environ:
            environ["HTTP_X_AUTH_TOKEN"] = environ["HTTP_X_STORAGE_TOKEN"]
        length = get("CONTENT_LENGTH")
        if length and (length[0] == "-" or "HTTP_TRANSFER_ENCODING" in environ):
            self._check_length(environ)
        path = environ["PATH_INFO"]
        if "\0" in path or not path.isascii() or not path:
            check_proxy_path(path, truthy(get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")))
        version, account, container, obj = parsed_path(environ)
        if account is None:
            return self._handle_without_account(environ, start_response, version)
        if version not in self._versions:
            raise self._counted(self._unknown_version(environ, version))
        if "\0" in path:
            _check_reserved_names(account, container, obj)
        exchange = Exchange(environ, environ["REQUEST_METHOD"], account, container, obj)
        controller: Controller
        if obj is not None:
            controller = self._object_controller(exchange)
        elif container is not None:
            controller = self.container
        else:
            controller = self.account
        if self.options.deny_host_headers:
            self._check_host(environ)
        trans_id = get("swift.trans_id")
        if trans_id is None:
            trans_id = environ["swift.trans_id"] = new_transaction_id(self.options.trans_id_suffix)
            set_transaction(trans_id)
        environ["HTTP_X_TRANS_ID"] = trans_id
        client = client_address(environ)
        if client:
            trace = get("swift.trace")
            set_transaction(trans_id, client, trace.trace_id if trace is not None else "")
        return self._dispatch(controller, exchange, start_response)

    def _unknown_version(self, environ: dict[str, Any], version: str | None) -> HTTPException:
        """Says what is there. Clients with Keystone's settings ask for /v3 and /v2.0, where that would be."""
        there = ", ".join(sorted(f"/{name}" for name in self._versions))
        if version in _KEYSTONE_VERSIONS:
            text = f"No identity service (Keystone) is here; this is an object store, with its API under {there}."
            return HTTPNotFound(request=Request(environ), body=text)
        return HTTPBadRequest(request=Request(environ), body=f"Unknown API version; here are {there}.")

    def _counted(self, refusal: HTTPException) -> HTTPException:
        """The answer to what never became a request for an account, container or object."""
        self.metrics.increment("errors")
        return refusal

    def _ensure_timestamp(self, environ: dict[str, Any]) -> None:
        given = environ.get("HTTP_X_TIMESTAMP")
        if given is None:
            environ["HTTP_X_TIMESTAMP"] = now_internal()
            return
        try:
            environ["HTTP_X_TIMESTAMP"] = internal_timestamp(given)
        except (ValueError, OverflowError):
            text = f"X-Timestamp should be a UNIX timestamp float value; was {given!r}"
            refusal = HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")
            raise self._counted(refusal) from None

    def _check_length(self, environ: dict[str, Any]) -> None:
        coding = environ.get("HTTP_TRANSFER_ENCODING", "")
        if coding.rsplit(",", 1)[-1].strip().lower() == "chunked":
            del environ["CONTENT_LENGTH"]
        elif environ["CONTENT_LENGTH"].startswith("-"):
            raise self._counted(HTTPBadRequest(request=Request(environ), body="Invalid Content-Length"))

    def _check_host(self, environ: dict[str, Any]) -> None:
        if environ.get("HTTP_HOST", "").split(":")[0] in self.options.deny_host_headers:
            raise self._counted(HTTPForbidden(request=Request(environ), body="Invalid host header"))

    def _handle_without_account(
        self, environ: dict[str, Any], start_response: Callable[..., Any], version: str | None
    ) -> Body:
        path = environ["PATH_INFO"]
        if path == "/info":
            return disclosure.answer(self.options, environ, start_response)
        if version in _KEYSTONE_VERSIONS:
            raise self._counted(self._unknown_version(environ, version))
        if version is not None:
            raise self._counted(HTTPPreconditionFailed(request=Request(environ), body="Bad URL"))
        raise self._counted(HTTPNotFound(request=Request(environ)))

    def _object_controller(self, exchange: Exchange) -> Controller:
        """The controller for the policy that the request, or else the container, names."""
        environ = exchange.environ
        info = get_container_info(environ, self, exchange.account, exchange.container)  # type: ignore[arg-type]
        if info["status"] >= 500:
            raise HTTPServiceUnavailable(request=exchange.request)
        exchange.container_info = info
        index = environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX") or info["storage_policy"]
        policy = exchange.policy = policies().get_by_index(index)
        if policy is None:
            raise HTTPServiceUnavailable(request=exchange.request, body=f"Unknown policy index: {index}")
        controller = self.objects.get(policy.idx)
        if controller is None:
            body = f"{policy.unserved}\n"
            raise HTTPServiceUnavailable(request=exchange.request, body=body, content_type="text/plain")
        return controller

    def _dispatch(
        self, controller: Controller, exchange: Exchange, start_response: Callable[..., Any]
    ) -> Body:
        environ, method = exchange.environ, exchange.method
        handler = controller.handlers.get(method)
        if handler is None:
            if truthy(environ.get("HTTP_X_BACKEND_ALLOW_PRIVATE_METHODS")):
                handler = controller.private_handlers.get(method)
            if handler is None:
                raise HTTPMethodNotAllowed(request=exchange.request, headers={"Allow": controller.allow})
        authorize = environ.get("swift.authorize")
        allowed = False
        if authorize is not None:
            denied = authorize(exchange.request)
            if denied is None:
                # Asked and answered: the handler need not ask again.
                allowed = True
                del environ["swift.authorize"]
            elif method not in controller.DELAYED:
                return denied(environ, start_response)
        environ.setdefault("swift.orig_req_method", method)
        try:
            if "HTTP_ORIGIN" in environ and exchange.container is not None and method != "OPTIONS":
                container_cors = controller.container_info(exchange)["cors"]
                origin = environ["HTTP_ORIGIN"]
                start_response = cors.decorating(start_response, container_cors, self.options.cors, origin)
            return handler(exchange, start_response)
        except (Exception, Timeout) as error:
            return self._failed(error, environ, exchange, start_response)
        finally:
            if allowed:
                environ["swift.authorize"] = authorize


def _limited_nodes(application: Application) -> Iterable[tuple[Key, float]]:
    yield (families.LIMITED_NODES, TABLE.process), application.limiter.limited()


def _replicas_check(policy: StoragePolicy) -> Callable[[RingData], None]:
    def check(data: RingData) -> None:
        try:
            policy.check_replicas(data.replica_count)
        except ConfigError as error:
            raise RingLoadError(str(error)) from None

    return check


def _check_reserved_names(account: str, container: str | None, obj: str | None) -> None:
    names = [wsgi_to_str(name) for name in (account, container or "", obj or "")]
    if obj is not None:
        check_object_name(*names)
    else:
        check_container_name(names[0], names[1] or None)


def app_factory(global_conf: Mapping[str, str], **local_conf: str) -> Application:
    """The paste entry point `egg:swift#proxy`."""
    conf = {**global_conf, **local_conf}
    swift_dir.use(conf.get("swift_dir"))
    return Application(conf, inherited=global_conf)
