"""What the controllers of accounts, containers and objects have in common: their verbs, reads, writes to all replicas.

Verbs are methods in capitals, `(exchange, start_response) -> body`; which of them clients may use is said once per class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from swift.core.config import truthy
from swift.core.timestamp import now_internal
from swift.middleware.info import Info, forget_account, get_account_info, get_container_info, is_success
from swift.proxy.backend import FanOut, block_of, closing_lines, copied_block
from swift.proxy.cors import Headers, preflight
from swift.proxy.exchange import Body, Exchange, StartResponse, respond
from swift.proxy.quorum import Answer, best_answer
from swift.proxy.reader import Reader, Source
from swift.proxy.relay import BodyBroken, RangeBody, UnsizedBody, gathered, small_body
from swift.proxy.routing import Node, NodeSelector
from swift.wire.message import (
    HTML_TYPE,
    HTTPBadRequest,
    HTTPOk,
    HTTPServiceUnavailable,
    default_body,
    status_line,
    wsgi_quote,
    wsgi_to_str,
)

if TYPE_CHECKING:
    from swift.proxy.app import Application
    from swift.proxy.rows import LostRows

Handler = Callable[[Exchange, StartResponse], Body]


def ring_name(name: str) -> str | bytes:
    """A WSGI string as the rings hash it."""
    return name if name.isascii() else name.encode("latin-1")


class Controller:
    """One kind of thing. `PUBLIC`: verbs for clients; `PRIVATE`: for those who may; `DELAYED`: verbs that ask for authorisation
    again once they know the ACL, so that a first refusal is not final (spec 18.1)."""

    kind = ""
    PUBLIC: frozenset[str] = frozenset()
    PRIVATE: frozenset[str] = frozenset()
    DELAYED: frozenset[str] = frozenset()

    def __init__(self, app: Application) -> None:
        self.app = app
        self.options = app.options
        self.public = self.allowed_methods()
        self.handlers: dict[str, Handler] = {verb: getattr(self, verb) for verb in self.public}
        self.private_handlers: dict[str, Handler] = {verb: getattr(self, verb) for verb in self.PRIVATE}
        self.allow = ", ".join(sorted(self.public))
        self._count_client_timeout = app.count_client_timeout(self.kind)

    def allowed_methods(self) -> frozenset[str]:
        """The public verbs under the options in force."""
        return self.PUBLIC

    # -- reads -------------------------------------------------------------------------------------------------------------

    def read(
        self,
        exchange: Exchange,
        selector: NodeSelector,
        part: int,
        primaries: Sequence[Node],
        tail: str,
        block: bytes,
    ) -> tuple[Source | None, list[Answer]]:
        """(the source of an account or container GET or HEAD, else None and the answers that count)."""
        environ = exchange.environ
        reader = Reader(
            self.app.accounts,
            exchange.method,
            part,
            tail,
            block,
            selector.iterate(part, primaries),
            len(primaries),
            node_options=selector.options,
            conn_timeout=self.options.conn_timeout,
            node_timeout=self.options.node_timeout,
            newest=truthy(environ.get("HTTP_X_NEWEST")),
            use_replication=truthy(environ.get("HTTP_X_BACKEND_USE_REPLICATION_NETWORK")),
            timings=selector.timings,
        )
        return reader.find(), reader.answers

    def body_of(self, exchange: Exchange, source: Source) -> Body:
        """The body of an account's or container's answer on its way to the client; never continued elsewhere."""
        response = source.response
        if exchange.method == "HEAD" or response.buffered:
            arrived = small_body(response)
            return [] if exchange.method == "HEAD" else arrived
        length = response.remaining
        self.watch_client(exchange)
        if length < 0:
            return UnsizedBody(source, self.options.node_timeout, self.broke_off)
        timeout, chunk_size = self.options.node_timeout, self.options.object_chunk_size
        body = RangeBody(source, 0, length - 1, timeout, chunk_size, None, self.broke_off)
        return self.gathered(exchange, body, length)

    def gathered(self, exchange: Exchange, body: Body, length: int) -> Body:
        """The body, read here if it is short. To be called before the response is started."""
        try:
            return gathered(body, length)
        except BodyBroken as error:
            self.app.logger.error("%s %s: %s", exchange.method, exchange.request.path, error)
            raise HTTPServiceUnavailable(request=exchange.request) from None

    def watch_client(self, exchange: Exchange) -> None:
        """Count it if the client does not take its answer in time."""
        callbacks = exchange.environ.get("swift.on_response_done")
        if callbacks is not None:
            callbacks.append(self._count_client_timeout)

    def broke_off(self, source: Source, error: BaseException) -> None:
        """A body ended too early: that counts against its node."""
        self.app.accounts.failed(source.node, error, f"read from a {self.kind} server")

    def read_block(self, exchange: Exchange, tail: str, extra: dict[str, str] | None = None) -> bytes:
        """The header block of an object request, or an account or container read; `extra`: environ keys to add."""
        environ = {**exchange.environ, **extra} if extra else exchange.environ
        try:
            return copied_block(environ, self.app.agent, "/v1" + tail)
        except ValueError as error:
            raise HTTPBadRequest(
                request=exchange.request, body=str(error), content_type="text/plain"
            ) from None

    # -- writes ------------------------------------------------------------------------------------------------------------

    def write(
        self,
        exchange: Exchange,
        part: int,
        tail: str,
        blocks: Iterable[bytes],
        nodes: Iterator[Node],
        method: str | None = None,
        body: bytes = b"",
        lost_rows: LostRows | None = None,
    ) -> FanOut:
        """One request for each block, to the nodes; its `answers` are there when it returns (padded ones from `run`)."""
        options = self.options
        return FanOut(
            self.app.accounts,
            method or exchange.method,
            part,
            tail,
            blocks,
            nodes,
            body=body,
            conn_timeout=options.conn_timeout,
            node_timeout=options.node_timeout,
            post_quorum_timeout=options.post_quorum_timeout,
            use_replication=truthy(exchange.environ.get("HTTP_X_BACKEND_USE_REPLICATION_NETWORK")),
            lost_rows=lost_rows,
        )

    def write_block(self, exchange: Exchange, headers: dict[str, str], tail: str) -> bytes:
        """The header block of an account or container write."""
        try:
            return block_of(headers, closing_lines(exchange.environ, self.app.agent, "/v1" + tail))
        except ValueError as error:
            raise HTTPBadRequest(
                request=exchange.request, body=str(error), content_type="text/plain"
            ) from None

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
            self.app.log_unavailable(self.kind, exchange.method, [answer.status for answer in answers])
        return respond(exchange, start_response, best, extra)

    # -- accounts and containers -------------------------------------------------------------------------------------------

    def account_info(self, exchange: Exchange) -> Info | None:
        """What is known of the request's account; None if it does not really exist. Raises 503 if that cannot be found out."""
        info = get_account_info(exchange.environ, self.app, exchange.account)
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
            info = get_container_info(exchange.environ, self.app, exchange.account, exchange.container)
            exchange.container_info = info
        return info

    def autocreate_account(self, exchange: Exchange) -> bool:
        """Make the account on its servers (spec 8.4); whether it is there now."""
        environ = exchange.environ
        part, primaries = self.app.account_ring.get_nodes(ring_name(exchange.account))
        trans_id = environ.get("swift.trans_id") or "-"
        headers = {"X-Timestamp": now_internal(), "X-Trans-Id": trans_id, "X-Openstack-Request-Id": trans_id}
        for name, value in exchange.request.headers.items():
            if name.lower().startswith("x-account-sysmeta-"):
                headers[name] = value
        block = block_of(headers, ())
        tail = wsgi_quote(f"/{exchange.account}")
        nodes = self.app.account_nodes.iterate(part, primaries)
        answers = self.write(exchange, part, tail, [block] * len(primaries), nodes, "PUT").run()
        best = best_answer(answers)
        made = best is not None and is_success(best.status)
        if made:
            self.app.logger.info("autocreate account %r", f"/{wsgi_to_str(exchange.account)}")
            forget_account(environ, wsgi_to_str(exchange.account))
        else:
            self.app.logger.warning("Could not autocreate account %r", f"/{wsgi_to_str(exchange.account)}")
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
