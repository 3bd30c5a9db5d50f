"""Containers: their verbs (spec proxy 9).

Listings are the backend's JSON, passed on as it comes, or put together of those of shards (`sharded_container`); other formats are
made by the listing_formats filter.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson

from swift.core import constraints
from swift.core.config import truthy
from swift.core.policy import StoragePolicy, policies
from swift.middleware.info import (
    Asked,
    asked_container,
    forget_container,
    get_container_info,
    is_success,
    remember_container,
)
from swift.proxy.backend_headers import transferred_headers
from swift.proxy.controller import Controller, first_header, owner_headers_removed
from swift.proxy.exchange import Body, Exchange, Headers, StartResponse, respond
from swift.proxy.kinds import is_served
from swift.proxy.listings import Listing, fetch
from swift.proxy.quorum import Answer, best_answer
from swift.proxy.routing import Place
from swift.proxy.rows import LostRows
from swift.proxy.services import Services
from swift.proxy.shard_directory import is_in_shards
from swift.proxy.shard_listing import Unavailable
from swift.proxy.sharded_container import Known, ShardedContainers, needed
from swift.proxy.updates import NOTHING, account_shares
from swift.wire.message import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPForbidden,
    HTTPNotFound,
    HTTPRequestEntityTooLarge,
    HTTPServiceUnavailable,
    Response,
    status_line,
    str_to_wsgi,
    wsgi_to_str,
)

_ACL_KEYS = (("X-Container-Read", "HTTP_X_CONTAINER_READ"), ("X-Container-Write", "HTTP_X_CONTAINER_WRITE"))
_RECORD_HEADERS = frozenset(("x-backend-record-type", "x-backend-record-shard-format"))
_MAX_ROWS = 64 * 1024 * 1024  # bytes of one UPDATE
_SHARDING_SYSMETA = "x-container-sysmeta-sharding"
_JSON = "application/json; charset=utf-8"


class ContainerController(Controller):
    kind = "container"
    PUBLIC = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"))
    PRIVATE = frozenset(("UPDATE",))
    DELAYED = frozenset(("GET", "HEAD"))

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.sharded = ShardedContainers(services)

    def _names(self, exchange: Exchange) -> tuple[str, str]:
        assert exchange.container is not None
        return exchange.account, exchange.container

    def _place(self, exchange: Exchange) -> Place:
        return self.services.containers.place(*self._names(exchange))

    # -- reads -------------------------------------------------------------------------------------------------------------

    def GET(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Listing (GET) or figures (HEAD)."""
        params = dict(exchange.request.params)
        limit = constraints.limits().container_listing_limit
        if exchange.method == "GET":
            exchange.checked(constraints.check_query_utf8, params, constraints.CONTAINER_LISTING_PARAMS)
            limit = exchange.checked(constraints.listing_limit, params.get("limit"), limit, html=True)
        account, container = self._names(exchange)
        if not account.startswith(".") and self.account_info(exchange) is None:
            denied = exchange.denied(None)
            if denied is not None:
                return denied(exchange.environ, start_response)
            raise HTTPNotFound(request=exchange.request)
        why = ""
        if _is_auto(exchange):
            known, why = self.sharded.known(exchange)
            if known is not None:
                body = self._answer_known(exchange, start_response, known, params, limit)
                if body is not None:
                    return body
                why = "error"
        return self._ask(exchange, start_response, params, limit, why)

    def _ask(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        params: dict[str, str],
        limit: int,
        why: str,
    ) -> Body:
        """The answer of the container's own servers. `why`: caches were of no use."""
        asked = asked_container(*self._native(exchange))
        place = self._place(exchange)
        found = self._fetch(exchange, place, params)
        if isinstance(found, list):
            return self._missing(exchange, start_response, found, asked)
        if why:
            self.sharded.directory.count_listing(why, found.status)
        if _is_auto(exchange) and found.get("x-backend-record-type", "object") == "shard":
            return self._answer_sharded(exchange, start_response, place, found, asked, params, limit)
        try:
            return self._answer(exchange, start_response, found, asked)
        except BaseException:
            found.close()
            raise

    HEAD = GET

    def _fetch(self, exchange: Exchange, place: Place, params: dict[str, str]) -> Listing | list[Answer]:
        """What the container's own servers list: objects, or the shards that do."""
        environ = exchange.environ
        if exchange.method != "GET":
            return fetch(self.services, environ, place, "format=json")
        extra = None
        params["format"] = "json"
        if _is_auto(exchange):
            extra = self.sharded.wanted(exchange)
            params["states"] = "listing"
            params.pop("includes", None)  # of a list of shards; a listing knows no such thing
        # Also what logs show, here and (as Referer) at the container servers.
        query = environ["QUERY_STRING"] = urlencode(params, encoding="latin-1")
        return fetch(self.services, environ, place, query, extra)

    def _missing(
        self, exchange: Exchange, start_response: StartResponse, answers: list[Answer], asked: Asked
    ) -> Body:
        best = best_answer(answers)
        if best is None:
            self.services.log_unavailable(self.kind, exchange.method, [answer.status for answer in answers])
            return respond(exchange, start_response, None)
        recheck = ("X-Backend-Recheck-Container-Existence", str(self.options.recheck_container_existence))
        remember_container(
            exchange.environ, *self._native(exchange), best.status, [*best.headers, recheck], asked
        )
        denied = self._denied_read(exchange, best.get("x-container-read"))
        if denied is not None:
            return denied(exchange.environ, start_response)
        extra = [recheck]
        if exchange.environ.get("reseller_request"):
            extra.append(("X-Container-Sharding", "False"))
        return respond(exchange, start_response, best, extra)

    def _denied_read(self, exchange: Exchange, acl: str | None) -> Response | None:
        """ACLs are asked about in native text, as the infos have them; `acl`: of a header."""
        return exchange.denied(None if acl is None else wsgi_to_str(acl))

    def _native(self, exchange: Exchange) -> tuple[str, str]:
        account, container = self._names(exchange)
        return wsgi_to_str(account), wsgi_to_str(container)

    def _learnt(self, exchange: Exchange, found: Listing, asked: Asked) -> Headers:
        """The headers of an answer about the container, which is remembered."""
        environ = exchange.environ
        headers = [pair for pair in found.headers if pair[0].lower() not in _RECORD_HEADERS]
        headers.append(
            ("X-Backend-Recheck-Container-Existence", str(self.options.recheck_container_existence))
        )
        if environ.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower() != "shard":
            known = headers + found.metadata
            remember_container(environ, *self._native(exchange), found.status, known, asked)
        return headers

    def _answer(
        self, exchange: Exchange, start_response: StartResponse, found: Listing, asked: Asked
    ) -> Body:
        headers = self._learnt(exchange, found, asked)
        denied = self._denied_read(exchange, found.get("x-container-read"))
        if denied is not None:
            found.close()
            return denied(exchange.environ, start_response)
        headers, metadata = self._for_client(exchange, headers, found.metadata)
        headers.append(("Content-Type", found.content_type))
        if found.content_length is not None:
            headers.append(("Content-Length", found.content_length))
        body = self.body_of(exchange, found)
        start_response(status_line(found.status), headers + metadata)
        return body

    def _answer_sharded(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        place: Place,
        found: Listing,
        asked: Asked,
        params: dict[str, str],
        limit: int,
    ) -> Body:
        """The listing of the shards that the container's servers name."""
        items, shards = self.sharded.listed_by(exchange, place, found, asked, params)
        headers = self._learnt(exchange, found, asked)
        denied = self._denied_read(exchange, found.get("x-container-read"))
        if denied is not None:
            return denied(exchange.environ, start_response)
        policy = found.get("x-backend-storage-policy-index") or "0"
        try:
            body, headers = self.sharded.assemble(exchange, items, policy, params, limit, headers, shards)
        except Unavailable as why:
            raise self.sharded.unavailable(exchange, why) from None
        return self._listed(exchange, start_response, body, headers, found.metadata)

    def _answer_known(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        known: Known,
        params: dict[str, str],
        limit: int,
    ) -> Body | None:
        """The listing of the shards that the caches name; None if they can't be listed, then they were others."""
        acl = known.read_acl
        denied = exchange.denied(acl)
        if denied is not None:
            return denied(exchange.environ, start_response)
        items = needed(known.bounds, params)
        try:
            body, headers = self.sharded.assemble(
                exchange, items, known.policy, params, limit, known.headers, len(known.bounds)
            )
        except Unavailable as why:
            self.services.logger.warning(
                "Listing of %s, asking for its shards again: %s", exchange.request.path, why
            )
            self.sharded.directory.forget_listing(exchange.environ, *self._native(exchange))
            return None
        return self._listed(exchange, start_response, body, headers, known.metadata)

    def _listed(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        body: bytes,
        headers: Headers,
        metadata: Headers,
    ) -> Body:
        headers, metadata = self._for_client(exchange, headers, metadata)
        headers.append(("Content-Type", _JSON))
        headers.append(("Content-Length", str(len(body))))
        self.watch_client(exchange)
        start_response(status_line(200), headers + metadata)
        return [body]

    def _for_client(self, exchange: Exchange, headers: Headers, metadata: Headers) -> tuple[Headers, Headers]:
        """What this client may see, and the policy's name."""
        environ = exchange.environ
        if not environ.get("swift_owner"):
            names = self.options.swift_owner_headers
            headers = owner_headers_removed(headers, names)
            metadata = owner_headers_removed(metadata, names)
        if environ.get("reseller_request"):
            sharding = truthy(first_header(headers, _SHARDING_SYSMETA))
            headers.append(("X-Container-Sharding", str(sharding)))
        index = first_header(headers, "x-backend-storage-policy-index")
        policy = policies().get_by_index(index) if index is not None else None
        if policy is not None:
            headers.append(("X-Storage-Policy", policy.name))
        return headers, metadata

    # -- writes ------------------------------------------------------------------------------------------------------------

    def PUT(self, exchange: Exchange, start_response: StartResponse) -> Body:
        self._clean_acls(exchange)
        exchange.checked(constraints.check_metadata, exchange.environ, "container")
        headers = self._policy_headers(exchange)
        self._drop_owner_headers(exchange)
        account, container = self._names(exchange)
        exchange.checked(constraints.check_container_length, account, container, html=True)
        containers = self._account_for_write(exchange)
        self._check_container_count(exchange, containers)
        answers = self._write(exchange, headers, with_account=True)
        forget_container(exchange.environ, *self._native(exchange))
        best = best_answer(answers)
        if best is not None and best.status == 409 and "HTTP_X_STORAGE_POLICY" in exchange.environ:
            raise HTTPConflict(request=exchange.request, body="The container has another storage policy.")
        return self.respond_best(exchange, start_response, answers)

    def POST(self, exchange: Exchange, start_response: StartResponse) -> Body:
        self._clean_acls(exchange)
        exchange.checked(constraints.check_metadata, exchange.environ, "container")
        self._drop_owner_headers(exchange)
        if self.account_info(exchange) is None:
            raise HTTPNotFound(request=exchange.request)
        forget_container(exchange.environ, *self._native(exchange))
        answers = self._write(exchange, {}, with_account=False)
        forget_container(exchange.environ, *self._native(exchange))
        return self.respond_best(exchange, start_response, answers)

    def DELETE(self, exchange: Exchange, start_response: StartResponse) -> Body:
        if self.account_info(exchange) is None:
            raise HTTPNotFound(request=exchange.request)
        headers = {"X-Backend-Storage-Policy-Default": str(int(policies().default))}
        forget_container(exchange.environ, *self._native(exchange))
        answers = self._write(exchange, headers, with_account=True, lost_rows=self._lost_rows(exchange))
        forget_container(exchange.environ, *self._native(exchange))
        best = best_answer(answers)
        if best is not None and best.status == 202:
            # Accepted is how a server says that there was nothing to delete.
            raise HTTPNotFound(request=exchange.request)
        if best is not None and best.status == 409:
            body = "The container is not empty, or newer than this request."
            raise HTTPConflict(request=exchange.request, body=body)
        return self.respond_best(exchange, start_response, answers)

    def UPDATE(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Rows for the container's database, from internal callers: a JSON list as body (spec 9.4)."""
        # Accounts of the system come into being by what is written below them.
        if not exchange.account.startswith(".") and self.account_info(exchange) is None:
            raise HTTPNotFound(request=exchange.request)
        body = self._rows(exchange)
        answers: list[Answer] = []
        for shard, part in self._by_shard(exchange, body).items():
            place = self._place(exchange) if shard is None else self.services.containers.place(*shard)
            answers = self._write(exchange, {"Content-Length": str(len(part))}, False, part, place=place)
            best = best_answer(answers)
            if shard is not None and (best is None or not is_success(best.status)):
                # Its own container takes what it has not, and its servers move it on later.
                answers = self._write(exchange, {"Content-Length": str(len(part))}, False, part)
                best = best_answer(answers)
            if best is None or not is_success(best.status):
                break
        return self.respond_best(exchange, start_response, answers)

    def _by_shard(self, exchange: Exchange, body: bytes) -> dict[tuple[str, str] | None, bytes]:
        """Which rows go to whom: (account, container) of a shard, WSGI strings, or None for the container itself."""
        account, container = self._names(exchange)
        if not is_in_shards(self.container_info(exchange)["sharding_state"]):
            return {None: body}
        found = self.sharded.directory.updating_all(
            exchange.environ, account, container, exchange.use_replication
        )
        if found is None:
            return {None: body}
        own = "/".join(self._native(exchange))
        rows: dict[str, list[Any]] = {}
        try:
            for row in orjson.loads(body):
                rows.setdefault(found.path_of(row["name"]) or own, []).append(row)
        except (ValueError, TypeError, KeyError):
            return {None: body}  # its servers say what is wrong with it
        parts: dict[tuple[str, str] | None, bytes] = {}
        for path, some in rows.items():
            of_shard, _, shard = str_to_wsgi(path).partition("/")
            parts[None if path == own else (of_shard, shard)] = orjson.dumps(some)
        return parts or {None: body}

    def _lost_rows(self, exchange: Exchange) -> LostRows:
        """Tells account servers of a deletion; a handoff that never had the container has nothing to tell."""
        environ = exchange.environ

        def fields() -> dict[str, str]:
            return {
                "X-Put-Timestamp": "0000000000.00000",
                "X-Delete-Timestamp": environ["HTTP_X_TIMESTAMP"],
                "X-Object-Count": "0",
                "X-Bytes-Used": "0",
                "X-Backend-Storage-Policy-Index": "0",  # a deleted row counts for none
            }

        return LostRows(self.services, environ, self._place(exchange).tail, "PUT", fields)

    def _rows(self, exchange: Exchange) -> bytes:
        source = exchange.environ["wsgi.input"]
        body = source.read(min(exchange.request.content_length or _MAX_ROWS + 1, _MAX_ROWS + 1))
        if len(body) > _MAX_ROWS:
            raise HTTPRequestEntityTooLarge(request=exchange.request)
        return body

    # -- parts of writes ---------------------------------------------------------------------------------------------------

    def _clean_acls(self, exchange: Exchange) -> None:
        environ = exchange.environ
        clean = environ.get("swift.clean_acl")
        if clean is None:
            return
        for name, key in _ACL_KEYS:
            if key in environ:
                try:
                    environ[key] = clean(name.lower(), environ[key])
                except ValueError as error:
                    raise HTTPBadRequest(request=exchange.request, body=str(error)) from None

    def _policy_headers(self, exchange: Exchange) -> dict[str, str]:
        """The policy that the client names, or the default for a new container."""
        name = exchange.environ.get("HTTP_X_STORAGE_POLICY")
        if not name:
            default = policies().default
            if not is_served(default):
                self._refuse_new(exchange, default)
            return {"X-Backend-Storage-Policy-Default": str(int(default))}
        policy = policies().get_by_name(name)
        if policy is None:
            text = f"Invalid X-Storage-Policy '{name}'"
            raise HTTPBadRequest(request=exchange.request, body=text, content_type="text/plain")
        if policy.is_deprecated:
            raise HTTPBadRequest(
                request=exchange.request, body=f"Storage Policy '{policy.name}' is deprecated"
            )
        if not is_served(policy):
            self._refuse_new(exchange, policy)
        return {"X-Backend-Storage-Policy-Index": str(int(policy))}

    def _refuse_new(self, exchange: Exchange, policy: StoragePolicy) -> None:
        """Raises HTTPServiceUnavailable, unless the container is there already: a new one would take objects from nobody."""
        if not is_success(self.container_info(exchange)["status"]):
            raise HTTPServiceUnavailable(
                request=exchange.request, body=f"{policy.unserved}\n", content_type="text/plain"
            )

    def _drop_owner_headers(self, exchange: Exchange) -> None:
        environ = exchange.environ
        if not environ.get("swift_owner"):
            for name in self.options.swift_owner_headers:
                key = name.upper().replace("-", "_")
                environ.pop("HTTP_" + key, None)
                environ.pop("HTTP_X_REMOVE_" + key.removeprefix("X_"), None)
        if environ.get("reseller_request") and "HTTP_X_CONTAINER_SHARDING" in environ:
            wanted = truthy(environ["HTTP_X_CONTAINER_SHARDING"])
            environ["HTTP_X_CONTAINER_SYSMETA_SHARDING"] = str(wanted)

    def _account_for_write(self, exchange: Exchange) -> int:
        """The account's number of containers; the account is made if it is missing and may be made."""
        info = self.account_info(exchange)
        if info is not None:
            return info["container_count"]
        if not self.options.account_autocreate:
            raise HTTPNotFound(request=exchange.request)
        if not self.autocreate_account(exchange):
            raise HTTPServiceUnavailable(request=exchange.request)
        return 0

    def _check_container_count(self, exchange: Exchange, count: int) -> None:
        options = self.options
        account, container = self._names(exchange)
        limit = options.max_containers_per_account
        if not 0 < limit <= count or wsgi_to_str(account) in options.max_containers_whitelist:
            return
        info = get_container_info(exchange.environ, self.services.application, account, container)
        if not is_success(info["status"]):
            raise HTTPForbidden(request=exchange.request, body=f"Reached container limit of {limit}")

    def _write(
        self,
        exchange: Exchange,
        headers: dict[str, str],
        with_account: bool,
        body: bytes = b"",
        lost_rows: LostRows | None = None,
        place: Place | None = None,
    ) -> list[Answer]:
        """`place`: None for the request's own container."""
        place = place or self._place(exchange)
        sent = transferred_headers(exchange.environ, "container")
        sent.update(headers)
        common = self.write_block(exchange, sent, place.tail)
        shares = [NOTHING] * len(place.primaries)
        if with_account:
            account = self.services.accounts.place(exchange.account)
            shares = account_shares(account, len(place.primaries), exchange.use_replication)
        return self.write(
            exchange, place, common, shares, place.nodes(), place.quorum, body=body, lost_rows=lost_rows
        )


def _is_auto(exchange: Exchange) -> bool:
    """Returns True if a listing is wanted, whoever has it."""
    asked_for = exchange.environ.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower()
    return exchange.method == "GET" and asked_for not in ("object", "shard")
