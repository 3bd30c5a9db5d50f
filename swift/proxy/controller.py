"""What the controllers of accounts, containers and objects have in common: their verbs, reads, writes to all replicas.

Verbs are methods in capitals, `(exchange, start_response) -> body`; which of them clients may use is said once per class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from swift.core.timestamp import now_internal
from swift.middleware.info import Info, forget_account, get_account_info, get_container_info, is_success
from swift.proxy.backend import Asking
from swift.proxy.backend_headers import block_of, closing_lines
from swift.proxy.cors import Headers, preflight
from swift.proxy.exchange import Body, Exchange, StartResponse, respond
from swift.proxy.fan_out import FanOut
from swift.proxy.kinds import Found
from swift.proxy.listings import Listing
from swift.proxy.quorum import Answer, best_answer
from swift.proxy.relay import BodyBroken, gathered
from swift.proxy.routing import NodeIterator, Place
from swift.proxy.rows import LostRows
from swift.proxy.services import Services
from swift.proxy.updates import NOTHING, Share
from swift.wire.message import (
    HTML_TYPE,
    HTTPOk,
    HTTPServiceUnavailable,
    default_body,
    status_line,
    wsgi_to_str,
)

Handler = Callable[[Exchange, StartResponse], Body]


class Controller:
    """One kind of thing. `PUBLIC`: verbs for clients; `PRIVATE`: for those who may; `DELAYED`: verbs that ask for authorisation
    again once they know the ACL, so that a first refusal is not final (spec 18.1)."""

    kind = ""
    PUBLIC: frozenset[str] = frozenset()
    PRIVATE: frozenset[str] = frozenset()
    DELAYED: frozenset[str] = frozenset()

    def __init__(self, services: Services) -> None:
        self.services = services
        self.options = services.options
        self.public = self.allowed_methods()
        self.handlers: dict[str, Handler] = {verb: getattr(self, verb) for verb in self.public}
        self.private_handlers: dict[str, Handler] = {verb: getattr(self, verb) for verb in self.PRIVATE}
        self.allow = ", ".join(sorted(self.public))
        self._count_client_timeout = services.client_timeout_counter(self.kind)

    def allowed_methods(self) -> frozenset[str]:
        """The public verbs under the options in force."""
        return self.PUBLIC

    # -- reads -------------------------------------------------------------------------------------------------------------

    def body_of(self, exchange: Exchange, found: Found | Listing) -> Body:
        """The body for the client; a short one is waited for. To be called before the response is started."""
        arrived = found.arrived()
        if exchange.method == "HEAD":
            return []
        if arrived is not None:
            return arrived
        self.watch_client(exchange)
        try:
            return gathered(*found.body())
        except BodyBroken as error:
            self.services.logger.error("%s %s: %s", exchange.method, exchange.request.path, error)
            raise HTTPServiceUnavailable(request=exchange.request) from None

    def watch_client(self, exchange: Exchange) -> None:
        """Count it if the client does not take its answer in time."""
        callbacks = exchange.environ.get("swift.on_response_done")
        if callbacks is not None:
            callbacks.append(self._count_client_timeout)

    # -- writes ------------------------------------------------------------------------------------------------------------

    def write(
        self,
        exchange: Exchange,
        place: Place,
        common: bytes,
        shares: Sequence[Share],
        nodes: NodeIterator,
        quorum: int,
        method: str | None = None,
        body: bytes = b"",
        lost_rows: LostRows | None = None,
    ) -> list[Answer]:
        """The answers to one request for each share, `common` headers and body the same, padded with 503."""
        options = self.options
        asking = Asking(
            method or exchange.method,
            place.part,
            place.tail,
            options.conn_timeout,
            options.node_timeout,
            exchange.use_replication,
            body,
        )
        return FanOut(self.services, asking, common, shares, nodes, quorum, lost_rows).run()

    def write_block(self, exchange: Exchange, headers: dict[str, str], tail: str) -> bytes:
        """The header block of an account or container write. Raises BadHeader."""
        return block_of(headers, closing_lines(exchange.environ, self.services.agent, "/v1" + tail))

    def respond_best(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        answers: Sequence[Answer],
        quorum: int | None = None,
        overrides: dict[int, int] | None = None,
        extra: Sequence[tuple[str, str]] = (),
    ) -> Body:
        """Answer with what speaks for all (spec 7.2), 503 where nothing does."""
        best = best_answer(answers, quorum, overrides)
        if best is None:
            self.services.log_unavailable(self.kind, exchange.method, [answer.status for answer in answers])
        return respond(exchange, start_response, best, extra)

    # -- accounts and containers -------------------------------------------------------------------------------------------

    def account_info(self, exchange: Exchange) -> Info | None:
        """What is known of the request's account; None if it does not really exist. Raises 503 if that cannot be found out."""
        info = get_account_info(exchange.environ, self.services.application, exchange.account)
        if info["status"] >= 500:
            raise HTTPServiceUnavailable(request=exchange.request)
        if not is_success(info["status"]) or not info.get("account_really_exists", True):
            return None
        return info

    def container_info(self, exchange: Exchange) -> Info:
        """What is known of the request's container."""
        assert exchange.container is not None
        info = exchange.container_info
        if info is None:
            info = get_container_info(
                exchange.environ, self.services.application, exchange.account, exchange.container
            )
            exchange.container_info = info
        return info

    def autocreate_account(self, exchange: Exchange) -> bool:
        """Make the account on its servers (spec 8.4); returns True if it is there now."""
        environ = exchange.environ
        place = self.services.accounts.place(exchange.account)
        trans_id = environ.get("swift.trans_id") or "-"
        headers = {"X-Timestamp": now_internal(), "X-Trans-Id": trans_id, "X-Openstack-Request-Id": trans_id}
        for name, value in exchange.request.headers.items():
            if name.lower().startswith("x-account-sysmeta-"):
                headers[name] = value
        shares = [NOTHING] * len(place.primaries)
        answers = self.write(
            exchange, place, block_of(headers, ()), shares, place.nodes(), place.quorum, "PUT"
        )
        best = best_answer(answers)
        made = best is not None and is_success(best.status)
        logger, name = self.services.logger, f"/{wsgi_to_str(exchange.account)}"
        if made:
            logger.info("autocreate account %r", name)
            forget_account(environ, wsgi_to_str(exchange.account))
        else:
            logger.warning("Could not autocreate account %r", name)
        return made

    # -- OPTIONS -----------------------------------------------------------------------------------------------------------

    def OPTIONS(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Allowed verbs; with an Origin, whether a page of it may use them (spec 19)."""
        environ = exchange.environ
        allow = {"Allow": self.allow}
        if not environ.get("HTTP_ORIGIN") or exchange.container is None:
            response = HTTPOk(request=exchange.request, headers=allow)
            return response(environ, start_response)
        cors = self.container_info(exchange)["cors"]
        headers: Headers | None = preflight(environ, cors, self.options.cors, self.public)
        if headers is None:
            # Nobody is asked to log in here, so no realm is named.
            page = default_body(401)
            headers = [("Content-Type", HTML_TYPE), ("Content-Length", str(len(page))), *allow.items()]
            start_response(status_line(401), headers)
            return [page]
        start_response("200 OK", [("Allow", self.allow), *headers, ("Content-Length", "0")])
        return []


def owner_headers_removed(headers: Headers, names: frozenset[str]) -> Headers:
    """Without what only the owner of an account may see."""
    return [pair for pair in headers if pair[0].lower() not in names]


def first_header(headers: Iterable[tuple[str, str]], lower_name: str) -> str | None:
    """The value of the first header of that name."""
    for name, value in headers:
        if name.lower() == lower_name:
            return value
    return None
