"""Objects of replicated policies: their verbs (spec proxy 10-13).

What is checked, and what the storage servers are told, is here; sending a body to them is `swift.proxy.replicated`, reading
from them `swift.proxy.reader` and `swift.proxy.relay`.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from swift.core import constraints
from swift.core.config import truthy
from swift.core.timestamp import Timestamp, http_date, parse
from swift.middleware.info import Info, is_success
from swift.proxy.backend import copied_block
from swift.proxy.controller import Controller, ring_name
from swift.proxy.exchange import Body, Exchange, StartResponse, respond, split_headers
from swift.proxy.quorum import Answer, best_answer, quorum_size
from swift.proxy.reader import Reader, Source
from swift.proxy.relay import (
    MultirangeBody,
    RangeBody,
    Resume,
    UnsizedBody,
    multipart_boundary,
    parse_content_range,
    small_body,
)
from swift.proxy.replicated import Store
from swift.proxy.routing import Node, NodeSelector
from swift.proxy.rows import LostRows, row_headers
from swift.proxy.updates import update_lines
from swift.wire import conditional
from swift.wire.client import BackendResponse
from swift.wire.message import (
    HTTPAccepted,
    HTTPBadRequest,
    HTTPNotFound,
    HTTPPreconditionFailed,
    HTTPServerError,
    HTTPServiceUnavailable,
    Match,
    status_line,
    wsgi_quote,
    wsgi_to_str,
)

_DELETE_OVERRIDES = {404: 204}
_DEFAULT_TYPE = "application/octet-stream"


class ObjectController(Controller):
    kind = "object"
    PUBLIC = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"))
    DELAYED = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE"))

    def _place(self, exchange: Exchange) -> tuple[NodeSelector, int, Sequence[Any], str]:
        """(node selector, partition, primaries, quoted path) of the object."""
        account, container, obj = exchange.account, exchange.container, exchange.obj
        selector = self.app.object_nodes[int(exchange.policy)]  # type: ignore[arg-type]
        path = f"/{account}/{container}/{obj}"
        if path.isascii():
            part, primaries = selector.ring.get_nodes(account, container, obj)
        else:
            part, primaries = selector.ring.get_nodes(*map(ring_name, (account, container, obj)))  # type: ignore[arg-type]
        return selector, part, primaries, wsgi_quote(path)

    def _set_policy(self, exchange: Exchange) -> None:
        """For the object servers, and for the log and metrics of requests that never get there."""
        exchange.environ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"] = str(int(exchange.policy))  # type: ignore[arg-type]

    # -- reads -------------------------------------------------------------------------------------------------------------

    def GET(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """The object, or what is known of it (HEAD)."""
        environ = exchange.environ
        options = self.options
        self._set_policy(exchange)
        denied = exchange.denied(self.container_info(exchange)["read_acl"])
        if denied is not None:
            return denied(environ, start_response)
        self._allow_expired(exchange)
        conditional.drop_overruled(environ)
        selector, part, primaries, tail = self._place(exchange)
        newest = "HTTP_X_NEWEST" in environ and truthy(environ["HTTP_X_NEWEST"])
        reader = Reader(
            self.app.accounts,
            exchange.method,
            part,
            tail,
            self.read_block(exchange, tail),
            selector.iterate(part, primaries),
            len(primaries),
            node_options=selector.options,
            conn_timeout=options.conn_timeout,
            node_timeout=options.node_timeout if newest else options.recoverable_node_timeout,
            is_object=True,
            newest=newest,
            use_replication=truthy(environ.get("HTTP_X_BACKEND_USE_REPLICATION_NETWORK")),
            timings=selector.timings,
        )
        source = reader.find()
        if (
            source is not None
            and "HTTP_IF_RANGE" in environ
            and not _may_be_partial(environ, source.response)
        ):
            source = self._whole_instead(exchange, reader, source)
        if source is None:
            return self.respond_best(exchange, start_response, reader.answers)
        response = source.response
        headers, content_type, content_length = split_headers(response.headers)
        headers.append(("Accept-Ranges", "bytes"))
        headers.append(("Content-Type", without_swift_bytes(content_type or _DEFAULT_TYPE)))
        if content_length is not None:
            headers.append(("Content-Length", content_length))
        environ["swift_x_timestamp"] = response.get("x-timestamp")
        body: Body
        if exchange.method == "HEAD" or response.buffered:
            body = small_body(response)
            if exchange.method == "HEAD":
                body = []
        else:
            body = self.gathered(exchange, self._long_body(exchange, reader, source), response.remaining)
        start_response(status_line(response.status), headers)
        return body

    HEAD = GET

    def _allow_expired(self, exchange: Exchange) -> None:
        environ = exchange.environ
        wanted = "HTTP_X_OPEN_EXPIRED" in environ and truthy(environ["HTTP_X_OPEN_EXPIRED"])
        if wanted and self.options.allow_open_expired:
            environ["HTTP_X_BACKEND_OPEN_EXPIRED"] = "true"

    def _whole_instead(self, exchange: Exchange, reader: Reader, source: Source) -> Source | None:
        """Another answer, without the Range: the node took no notice of If-Range, which names another entity."""
        source.response.close()
        environ = dict(exchange.environ)
        environ.pop("HTTP_RANGE", None)
        reader.block = copied_block(environ, self.app.agent, "/v1" + reader.tail)
        reader.ask_again(source.node)
        return reader.find()

    def _long_body(self, exchange: Exchange, reader: Reader, source: Source) -> Body:
        """A body that has not arrived yet; continued from another node if it breaks off, except with X-Newest."""
        response = source.response
        options = self.options
        length = response.remaining
        self.watch_client(exchange)
        if length < 0:
            return UnsizedBody(source, reader.node_timeout, self.broke_off)
        resume = None if reader.newest else self._resumer(exchange, reader, source)
        timeout, chunk_size = reader.node_timeout, options.object_chunk_size
        if response.status == 206:
            if multipart_boundary(response.get("content-type") or ""):
                header = exchange.environ.get("HTTP_RANGE", "")
                return MultirangeBody(source, header, timeout, chunk_size, resume, self.broke_off)
            content_range = parse_content_range(response.get("content-range"))
            if content_range is None or content_range[1] - content_range[0] + 1 != length:
                return RangeBody(source, 0, length - 1, timeout, chunk_size, None, self.broke_off)
            return RangeBody(
                source, content_range[0], content_range[1], timeout, chunk_size, resume, self.broke_off
            )
        if response.status != 200:
            resume = None
        return RangeBody(source, 0, length - 1, timeout, chunk_size, resume, self.broke_off)

    def _resumer(self, exchange: Exchange, reader: Reader, source: Source) -> Resume:
        etag = (source.response.get("etag") or "").replace('"', "")

        def resume(first: int, last: int, node: Node | None) -> Source | None:
            environ = dict(exchange.environ)
            environ["HTTP_RANGE"] = f"bytes={first}-{last}"
            for key in ("HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT", *conditional.KEYS):
                environ.pop(key, None)
            reader.block = copied_block(environ, self.app.agent, "/v1" + reader.tail)
            reader.etag = etag
            reader.ask_again(node)
            found = reader.find() if etag else None
            if found is None:
                return None
            content_range = parse_content_range(found.response.get("content-range"))
            if content_range is not None and content_range[:2] == (first, last):
                return found
            if found.response.status == 200 and first == 0 and found.response.content_length == last + 1:
                return found
            found.response.close()
            return None

        return resume

    # -- PUT ---------------------------------------------------------------------------------------------------------------

    def PUT(self, exchange: Exchange, start_response: StartResponse) -> Body:
        environ = exchange.environ
        if "HTTP_IF_NONE_MATCH" in environ and "*" not in Match(environ["HTTP_IF_NONE_MATCH"]).tags:
            text = "If-None-Match only supports *"
            raise HTTPBadRequest(request=exchange.request, body=text, content_type="text/plain")
        if "HTTP_X_COPY_FROM" in environ:
            # A copy filter would have taken it; who moves things by copy and delete would lose them to an empty object.
            text = "X-Copy-From is not supported here"
            raise HTTPBadRequest(request=exchange.request, body=text, content_type="text/plain")
        info = self.container_info(exchange)
        denied = self._denied_write(exchange, info)
        if denied is not None:
            return denied(environ, start_response)
        if not is_success(info["status"]):
            raise HTTPNotFound(request=exchange.request)
        self._choose_content_type(exchange)
        timestamp = parse(environ["HTTP_X_TIMESTAMP"])
        length = exchange.checked(constraints.check_object_creation, environ, exchange.obj, timestamp)
        self._check_content_type_parameters(exchange)
        selector, part, primaries, tail = self._place(exchange)
        self._set_next_part_power(exchange, selector)
        store = Store(
            self.app,
            exchange,
            part,
            tail,
            self.read_block(exchange, tail),
            self._update_lines(exchange, info, len(primaries)),
            selector.iterate_for_put(part, primaries),
            length,
        )
        return self._conclude_put(exchange, start_response, store.run(), timestamp)

    def _denied_write(self, exchange: Exchange, info: Info) -> Any:
        self._set_policy(exchange)
        exchange.environ["swift_sync_key"] = info["sync_key"]
        return exchange.denied(info["write_acl"])

    def _choose_content_type(self, exchange: Exchange) -> None:
        """Guess the type from the name where the client asks for that or says nothing."""
        environ = exchange.environ
        detect = environ.pop("HTTP_X_DETECT_CONTENT_TYPE", None)
        if not environ.get("CONTENT_TYPE") or truthy(detect):
            name = unquote(wsgi_to_str(exchange.obj or ""))
            guessed, _encoding = mimetypes.guess_type(f"/{name}")
            environ["CONTENT_TYPE"] = guessed or _DEFAULT_TYPE

    def _check_content_type_parameters(self, exchange: Exchange) -> None:
        environ = exchange.environ
        content_type = environ["CONTENT_TYPE"]
        if ";" not in content_type or environ.get("swift.content_type_overridden"):
            return
        for parameter in content_type.split(";")[1:]:
            if parameter.lstrip().startswith("swift_"):
                text = "Invalid Content-Type, swift_* is not a valid parameter name."
                raise HTTPBadRequest(request=exchange.request, body=text)

    def _set_next_part_power(self, exchange: Exchange, selector: NodeSelector) -> None:
        power = selector.ring.next_part_power
        if power:
            exchange.environ["HTTP_X_BACKEND_NEXT_PART_POWER"] = str(power)

    def _update_lines(self, exchange: Exchange, info: Info, requests: int) -> list[bytes]:
        delete_at = exchange.environ.get("HTTP_X_DELETE_AT")
        if delete_at:
            exchange.environ.setdefault("swift.log_info", []).append(f"x-delete-at:{delete_at}")
        quorum = exchange.policy.quorum(requests)  # type: ignore[union-attr]
        return update_lines(self.app, exchange, info, requests, quorum, delete_at)

    def _conclude_put(
        self, exchange: Exchange, start_response: StartResponse, answers: list[Answer], timestamp: Timestamp
    ) -> Body:
        environ = exchange.environ
        statuses = [answer.status for answer in answers]
        if 412 in statuses and "HTTP_IF_NONE_MATCH" in environ:
            raise HTTPPreconditionFailed(request=exchange.request)
        if 409 in statuses:
            # Something newer is there already: as good as stored, and then overwritten.
            raise HTTPAccepted(request=exchange.request)
        etags = {
            (answer.get("etag") or "").replace('"', "") for answer in answers if is_success(answer.status)
        }
        if len(etags) > 1:
            self.app.logger.error(
                "Object servers returned %d mismatched etags for %s", len(etags), exchange.request.path
            )
            raise HTTPServerError(request=exchange.request)
        extra = [("Last-Modified", http_date(timestamp))]
        if etags:
            extra.append(("Etag", etags.pop()))
        return self.respond_best(exchange, start_response, answers, extra=extra)

    # -- POST --------------------------------------------------------------------------------------------------------------

    def POST(self, exchange: Exchange, start_response: StartResponse) -> Body:
        environ = exchange.environ
        info = self.container_info(exchange)
        self._set_policy(exchange)
        self._allow_expired(exchange)
        denied = exchange.denied(info["write_acl"])
        if denied is not None:
            return denied(environ, start_response)
        if not is_success(info["status"]):
            raise HTTPNotFound(request=exchange.request)
        exchange.checked(constraints.check_metadata, environ, "object")
        exchange.checked(constraints.check_delete_headers, environ, parse(environ["HTTP_X_TIMESTAMP"]))
        selector, part, primaries, tail = self._place(exchange)
        self._set_next_part_power(exchange, selector)
        common = self.read_block(exchange, tail)
        blocks = [common + lines for lines in self._update_lines(exchange, info, len(primaries))]
        return self._post(exchange, start_response, selector, part, primaries, tail, blocks)

    def _post(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        selector: NodeSelector,
        part: int,
        primaries: Sequence[Any],
        tail: str,
        blocks: list[bytes],
    ) -> Body:
        nodes = selector.iterate(part, primaries)
        fan_out = self.write(exchange, part, tail, blocks, nodes)
        answers = fan_out.run()
        quorum = None
        taken = sum(answer.status == 202 for answer in answers)
        if 0 < taken < quorum_size(len(answers)):
            # The copies disagree: those that primaries lack may be on handoffs.
            lacking = sum(answer.status == 404 for answer in answers)
            others = [leg.headers for leg in fan_out.legs if leg.answer is None or leg.answer.status != 202]
            if lacking and others:
                answers += self.write(exchange, part, tail, others[:lacking], nodes).run()
            quorum = quorum_size(len(primaries))
        best = best_answer(answers, quorum)
        if best is not None and best.status == 404 and taken:
            raise HTTPServiceUnavailable(request=exchange.request)
        if best is None:
            self.app.log_unavailable(self.kind, "POST", [answer.status for answer in answers])
        return respond(exchange, start_response, best)

    # -- DELETE ------------------------------------------------------------------------------------------------------------

    def DELETE(self, exchange: Exchange, start_response: StartResponse) -> Body:
        environ = exchange.environ
        info = self.container_info(exchange)
        denied = self._denied_write(exchange, info)
        if denied is not None:
            return denied(environ, start_response)
        if not is_success(info["status"]):
            raise HTTPNotFound(request=exchange.request)
        selector, part, primaries, tail = self._place(exchange)
        self._set_next_part_power(exchange, selector)
        nodes, count = selector.iterate_for_delete(part, primaries)
        common = self.read_block(exchange, tail)
        quorum = exchange.policy.quorum(len(primaries))  # type: ignore[union-attr]
        blocks = [common + lines for lines in update_lines(self.app, exchange, info, count, quorum, None)]
        rows = LostRows(self.app, environ, tail, "Container", "DELETE", lambda: row_headers(environ))
        answers = self.write(exchange, part, tail, blocks, nodes, lost_rows=rows).run()
        return self.respond_best(exchange, start_response, answers, overrides=_DELETE_OVERRIDES)


def _may_be_partial(environ: dict[str, Any], response: BackendResponse) -> bool:
    """Returns True unless a node answered with a part although If-Range names another entity: older servers ignore that header."""
    if response.status not in (206, 416):
        return True
    etag = response.get("etag")
    for name in environ.get("HTTP_X_BACKEND_ETAG_IS_AT", "").split(","):
        other = response.get(name.strip().lower())
        if other:
            etag = other
            break
    modified = conditional.parse_http_date(response.get("last-modified") or "")
    return conditional.range_applies(environ, conditional.normalize_etag(etag), modified)


def without_swift_bytes(content_type: str) -> str:
    """The Content-Type without a `swift_bytes` parameter at its end."""
    if "swift_bytes" not in content_type:
        return content_type
    kept, _, last = content_type.rpartition(";")
    return kept if last.lstrip().startswith("swift_bytes=") else content_type
