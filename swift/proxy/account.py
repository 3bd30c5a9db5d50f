"""Accounts: their verbs (spec proxy 8)."""

from __future__ import annotations

from urllib.parse import urlencode

from swift.core import clock, constraints
from swift.middleware.acl import format_acl_v2, parse_account_acl
from swift.middleware.info import Asked, asked_account, forget_account, remember_account
from swift.proxy.backend_headers import transferred_headers
from swift.proxy.controller import Controller, first_header, owner_headers_removed
from swift.proxy.exchange import Body, Exchange, Headers, StartResponse, respond
from swift.proxy.listings import Listing, fetch
from swift.proxy.quorum import Answer, best_answer
from swift.proxy.updates import NOTHING
from swift.wire.message import HTTPBadRequest, status_line, wsgi_to_str

_ACL_SYSMETA = "x-account-sysmeta-core-access-control"


class AccountController(Controller):
    kind = "account"
    PUBLIC = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"))

    def allowed_methods(self) -> frozenset[str]:
        if self.options.allow_account_management:
            return self.PUBLIC
        return self.PUBLIC - {"PUT", "DELETE"}

    # -- reads -------------------------------------------------------------------------------------------------------------

    def GET(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Listing or figures; also of an account that is not there yet, if it would be made at need."""
        account = exchange.account
        exchange.checked(constraints.check_account_length, account, html=True)
        query = self._backend_query(exchange)
        asked = asked_account(wsgi_to_str(account))
        # Also what logs show, here and (as Referer) at the account servers.
        exchange.environ["QUERY_STRING"] = query
        place = self.services.accounts.place(account)
        found = fetch(self.services, exchange.environ, place, query)
        if isinstance(found, list):
            return self._missing(exchange, start_response, found, asked)
        try:
            return self._answer(exchange, start_response, found, asked)
        except BaseException:
            found.close()
            raise

    HEAD = GET

    def _answer(
        self, exchange: Exchange, start_response: StartResponse, found: Listing, asked: Asked
    ) -> Body:
        headers, metadata = self._finish(exchange, found.headers, found.metadata, found.status, asked)
        headers.append(("Content-Type", found.content_type))
        if found.content_length is not None:
            headers.append(("Content-Length", found.content_length))
        body = self.body_of(exchange, found)
        start_response(status_line(found.status), headers + metadata)
        return body

    def _backend_query(self, exchange: Exchange) -> str:
        params = dict(exchange.request.params)
        if exchange.method == "GET":
            names = constraints.ACCOUNT_LISTING_PARAMS
            exchange.checked(constraints.check_query_utf8, params, names, html=True)
            limit = constraints.limits().account_listing_limit
            exchange.checked(constraints.listing_limit, params.get("limit"), limit, html=True)
        params["format"] = "json"
        return urlencode(params, encoding="latin-1")

    def _missing(
        self, exchange: Exchange, start_response: StartResponse, answers: list[Answer], asked: Asked
    ) -> Body:
        best = best_answer(answers)
        if best is None:
            self.services.log_unavailable(self.kind, exchange.method, [answer.status for answer in answers])
            return respond(exchange, start_response, None)
        if best.status == 404:
            if (best.get("x-account-status") or "").lower() == "deleted":
                best = Answer(410, "Gone", best.headers, b"", best.node)
            elif self.options.account_autocreate:
                return self._empty_listing(exchange, start_response, asked)
        recheck = ("X-Backend-Recheck-Account-Existence", str(self.options.recheck_account_existence))
        headers = [*best.headers, recheck]
        remember_account(exchange.environ, wsgi_to_str(exchange.account), best.status, headers, asked)
        extra = [recheck]
        return respond(exchange, start_response, best, extra)

    def _empty_listing(self, exchange: Exchange, start_response: StartResponse, asked: Asked) -> Body:
        """What an account without containers would answer."""
        now = f"{clock.time():016.05f}"
        headers: Headers = [
            ("X-Account-Container-Count", "0"),
            ("X-Account-Object-Count", "0"),
            ("X-Account-Bytes-Used", "0"),
            ("X-Timestamp", now),
            ("X-Put-Timestamp", now),
            ("X-Backend-Fake-Account-Listing", "yes"),
        ]
        headers, _ = self._finish(exchange, headers, [], 200, asked)
        headers += [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", "2")]
        start_response("200 OK", headers)
        return [] if exchange.method == "HEAD" else [b"[]"]

    def _finish(
        self, exchange: Exchange, headers: Headers, metadata: Headers, status: int, asked: Asked
    ) -> tuple[Headers, Headers]:
        """Remember what was learnt, and leave what this client may see."""
        environ = exchange.environ
        headers.append(("X-Backend-Recheck-Account-Existence", str(self.options.recheck_account_existence)))
        remember_account(environ, wsgi_to_str(exchange.account), status, headers + metadata, asked)
        if not environ.get("swift_owner"):
            names = self.options.swift_owner_headers
            return owner_headers_removed(headers, names), owner_headers_removed(metadata, names)
        stored = first_header(headers, _ACL_SYSMETA)
        acl = parse_account_acl(None if stored is None else wsgi_to_str(stored))
        headers = [pair for pair in headers if pair[0].lower() != _ACL_SYSMETA]
        if acl:
            headers.append(("X-Account-Access-Control", format_acl_v2(acl)))
        return headers, metadata

    # -- writes ------------------------------------------------------------------------------------------------------------

    def PUT(self, exchange: Exchange, start_response: StartResponse) -> Body:
        exchange.checked(constraints.check_metadata, exchange.environ, "account")
        exchange.checked(constraints.check_account_length, exchange.account, html=True)
        return self.respond_best(exchange, start_response, self._write(exchange))

    def POST(self, exchange: Exchange, start_response: StartResponse) -> Body:
        exchange.checked(constraints.check_account_length, exchange.account, html=True)
        exchange.checked(constraints.check_metadata, exchange.environ, "account")
        answers = self._write(exchange)
        best = best_answer(answers)
        missing = best is not None and best.status == 404
        if missing and self.options.account_autocreate and self.autocreate_account(exchange):
            answers = self._write(exchange)
        return self.respond_best(exchange, start_response, answers)

    def DELETE(self, exchange: Exchange, start_response: StartResponse) -> Body:
        # Some client once meant a container or object and lost the rest of the URL.
        if exchange.environ.get("QUERY_STRING"):
            raise HTTPBadRequest(request=exchange.request)
        return self.respond_best(exchange, start_response, self._write(exchange))

    def _write(self, exchange: Exchange) -> list[Answer]:
        """Send the request to all replicas; what was known of the account before is forgotten."""
        environ = exchange.environ
        native = wsgi_to_str(exchange.account)
        place = self.services.accounts.place(exchange.account)
        block = self.write_block(exchange, transferred_headers(environ, "account"), place.tail)
        shares = [NOTHING] * len(place.primaries)
        forget_account(environ, native)
        answers = self.write(exchange, place, block, shares, place.nodes(), place.quorum)
        forget_account(environ, native)
        return answers
