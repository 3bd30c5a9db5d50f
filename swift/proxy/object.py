"""Objects: their verbs (spec proxy 10-13), whatever the kind of their policy.

What is checked, and what the storage servers are told, is here. How a body is stored and found is a matter of the policy's kind
(`swift.proxy.kinds`); that of whole copies is `swift.proxy.replicated`.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from swift.core import constraints
from swift.core.config import truthy
from swift.core.object_headers import REPLACED_LARGE
from swift.core.timestamp import Timestamp, http_date, parse
from swift.middleware.info import Info, is_success
from swift.proxy.backend import Asking
from swift.proxy.controller import Controller
from swift.proxy.exchange import Body, Exchange, StartResponse, respond, split_headers
from swift.proxy.fan_out import FanOut
from swift.proxy.kinds import Kind, Upload
from swift.proxy.quorum import Answer, best_answer, quorum_size
from swift.proxy.reserved_uplinks import (
    PrimariesFirst,
    done_by,
    is_conditional,
    is_conditional_removal,
    majority,
)
from swift.proxy.routing import NodeSelector, Place, is_handoff
from swift.proxy.rows import LostRows, row_headers
from swift.proxy.services import Services
from swift.proxy.shard_directory import ShardDirectory, is_in_shards
from swift.proxy.updates import NOTHING, Share, container_shares
from swift.wire.message import (
    HTTPAccepted,
    HTTPBadRequest,
    HTTPConflict,
    HTTPNotFound,
    HTTPPreconditionFailed,
    HTTPServiceUnavailable,
    Match,
    status_line,
    wsgi_to_str,
)

_DELETE_OVERRIDES = {404: 204}
_NOTHING_HERE = frozenset((404,))  # with X-If-Delete-At, a server that has nothing leaves no tombstone either
_DEFAULT_TYPE = "application/octet-stream"


class ObjectController(Controller):
    """The objects of one policy."""

    kind = "object"
    PUBLIC = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"))
    DELAYED = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE"))

    def __init__(self, services: Services, kept: Kind) -> None:
        super().__init__(services)
        self.kept = kept
        self.policy = kept.policy
        self.selector: NodeSelector = services.objects[int(kept.policy)]
        self._policy_index = str(int(kept.policy))
        self.shards = ShardDirectory(services)

    def _place(self, exchange: Exchange) -> Place:
        return self.selector.place(exchange.account, exchange.container, exchange.obj, self.policy)

    def _set_policy(self, exchange: Exchange) -> None:
        """For the object servers, and for the log and metrics of requests that never get there."""
        exchange.environ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"] = self._policy_index

    # -- reads -------------------------------------------------------------------------------------------------------------

    def GET(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """The object, or what is known of it (HEAD)."""
        environ = exchange.environ
        self._set_policy(exchange)
        denied = exchange.denied(self.container_info(exchange)["read_acl"])
        if denied is not None:
            return denied(environ, start_response)
        found = self.kept.get(exchange, self._place(exchange), self._expired_too(exchange))
        if isinstance(found, list):
            return self.respond_best(exchange, start_response, found, extra=last_deletion(found))
        try:
            headers, metadata, content_type, content_length = split_headers(found.headers)
            headers.append(("Accept-Ranges", "bytes"))
            headers.append(("Content-Type", without_swift_bytes(content_type or _DEFAULT_TYPE)))
            if content_length is not None:
                headers.append(("Content-Length", content_length))
            headers += metadata
            environ["swift_x_timestamp"] = found.timestamp
            body = self.body_of(exchange, found)
            start_response(status_line(found.status), headers)
            return body
        except BaseException:
            found.close()
            raise

    HEAD = GET

    def _expired_too(self, exchange: Exchange) -> dict[str, str | None]:
        """The header for object servers with which those may open expired objects who may, and ask to."""
        environ = exchange.environ
        wanted = "HTTP_X_OPEN_EXPIRED" in environ and truthy(environ["HTTP_X_OPEN_EXPIRED"])
        return {"X-Backend-Open-Expired": "true"} if wanted and self.options.allow_open_expired else {}

    # -- PUT ---------------------------------------------------------------------------------------------------------------

    def PUT(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Store the request's body."""
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
        place = self._place(exchange)
        common = self.services.headers.put.block(
            environ, self.services.agent, "/v1" + place.tail, self._next_part_power()
        )
        shares = self._shares(exchange, info, len(place.primaries), place.quorum)
        answers, etag = self.kept.put(Upload(exchange, place, common, shares, length))
        return self._conclude_put(exchange, start_response, place, answers, etag, timestamp)

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

    def _next_part_power(self) -> dict[str, str | None] | None:
        """The header for object servers while a ring is about to have more partitions."""
        power = self.selector.ring.next_part_power
        return {"X-Backend-Next-Part-Power": str(power)} if power else None

    def _shares(self, exchange: Exchange, info: Info, requests: int, quorum: int) -> Sequence[Share]:
        """What each of the requests of a PUT or POST tells about servers to inform."""
        delete_at = exchange.environ.get("HTTP_X_DELETE_AT")
        if delete_at:
            exchange.environ.setdefault("swift.log_info", []).append(f"x-delete-at:{delete_at}")
        return container_shares(
            self.services, exchange, info, requests, quorum, delete_at, self._shard(exchange, info)
        )

    def _shard(self, exchange: Exchange, info: Info) -> str | None:
        """The `account/container`, native text, that lists the object, if it is not its own container."""
        if not is_in_shards(info["sharding_state"]):
            return None
        assert exchange.container is not None and exchange.obj is not None
        return self.shards.updating(
            exchange.environ, exchange.account, exchange.container, exchange.obj, exchange.use_replication
        )

    def _conclude_put(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        place: Place,
        answers: list[Answer],
        etag: str | None,
        timestamp: Timestamp,
    ) -> Body:
        statuses = [answer.status for answer in answers]
        if is_conditional(exchange.environ):
            self._check_condition(exchange, place, answers)
        elif 412 in statuses and "HTTP_IF_NONE_MATCH" in exchange.environ:
            raise HTTPPreconditionFailed(request=exchange.request)
        elif 409 in statuses:
            # Something newer is there already: as good as stored, and then overwritten.
            raise HTTPAccepted(request=exchange.request)
        extra = [("Last-Modified", http_date(timestamp)), *replaced_large(answers)]
        if etag is not None:
            extra.append(("Etag", etag))
        return self.respond_best(exchange, start_response, answers, place.quorum, extra=extra)

    def _check_condition(self, exchange: Exchange, place: Place, answers: list[Answer]) -> None:
        """Raises HTTPException unless most primaries have stored a PUT under a condition."""
        statuses = [answer.status for answer in answers]
        if done_by(answers) >= majority(place):
            return
        if any(map(is_success, statuses)):
            # Nobody knows what will be found in the end, and so nobody is told that it was refused.
            self.services.log_unavailable(self.kind, "PUT", statuses)
            raise HTTPServiceUnavailable(request=exchange.request)
        if 412 in statuses:
            raise HTTPPreconditionFailed(request=exchange.request)
        if 409 in statuses:
            raise HTTPConflict(request=exchange.request)

    # -- POST --------------------------------------------------------------------------------------------------------------

    def POST(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Replace the object's metadata."""
        environ = exchange.environ
        info = self.container_info(exchange)
        self._set_policy(exchange)
        denied = exchange.denied(info["write_acl"])
        if denied is not None:
            return denied(environ, start_response)
        if not is_success(info["status"]):
            raise HTTPNotFound(request=exchange.request)
        exchange.checked(constraints.check_metadata, environ, "object")
        exchange.checked(constraints.check_delete_headers, environ, parse(environ["HTTP_X_TIMESTAMP"]))
        place = self._place(exchange)
        extra = {**self._expired_too(exchange), **(self._next_part_power() or {})}
        common = self.services.headers.post.block(environ, self.services.agent, "/v1" + place.tail, extra)
        shares = self._shares(exchange, info, len(place.primaries), place.quorum)
        return self._post(exchange, start_response, place, common, shares)

    def _post(
        self,
        exchange: Exchange,
        start_response: StartResponse,
        place: Place,
        common: bytes,
        shares: Sequence[Share],
    ) -> Body:
        options = self.options
        nodes = place.nodes()
        requests = len(place.primaries)
        needed = self.policy.delete_quorum(requests)
        asking = Asking(
            "POST",
            place.part,
            place.tail,
            options.conn_timeout,
            options.node_timeout,
            exchange.use_replication,
        )
        fan_out = FanOut(self.services, asking, common, shares, nodes, needed)
        answers = fan_out.run()
        quorum = needed
        taken = sum(answer.status == 202 for answer in answers)
        if 0 < taken < needed:
            # The copies disagree: those that primaries lack may be on handoffs.
            lacking = sum(answer.status == 404 for answer in answers)
            others = [leg.share for leg in fan_out.legs if leg.answer is None or leg.answer.status != 202]
            if lacking and others:
                more = others[:lacking]
                answers += FanOut(self.services, asking, common, more, nodes, quorum_size(len(more))).run()
        best = best_answer(answers, quorum)
        if best is not None and best.status == 404 and taken:
            raise HTTPServiceUnavailable(request=exchange.request)
        if best is None:
            self.services.log_unavailable(self.kind, "POST", [answer.status for answer in answers])
        return respond(exchange, start_response, best)

    # -- DELETE ------------------------------------------------------------------------------------------------------------

    def DELETE(self, exchange: Exchange, start_response: StartResponse) -> Body:
        """Leave a tombstone in the object's place."""
        environ = exchange.environ
        info = self.container_info(exchange)
        denied = self._denied_write(exchange, info)
        if denied is not None:
            return denied(environ, start_response)
        if not is_success(info["status"]):
            raise HTTPNotFound(request=exchange.request)
        place = self._place(exchange)
        nodes, count = self.selector.iterate_for_delete(place.part, place.primaries)
        if is_conditional_removal(environ):
            nodes, count = PrimariesFirst(place), len(place.primaries)
        common = self.services.headers.delete.block(
            environ, self.services.agent, "/v1" + place.tail, self._next_part_power()
        )
        shard = self._shard(exchange, info)
        shares = container_shares(self.services, exchange, info, count, place.quorum, None, shard)
        silent = _NOTHING_HERE if "HTTP_X_IF_DELETE_AT" in environ else frozenset()
        rows = LostRows(self.services, environ, place.tail, "DELETE", lambda: row_headers(environ), silent)
        quorum = self.policy.delete_quorum(count)
        answers = self.write(exchange, place, common, shares, nodes, quorum, lost_rows=rows)
        if is_conditional_removal(environ):
            self._check_deleted(exchange, place, answers)
        best = best_answer(answers, quorum, _DELETE_OVERRIDES)
        if best is not None and best.status == 404 and not silent:
            there = next((answer for answer in answers if is_success(answer.status)), None)
            if there is not None:
                # Most had nothing, but it was there: what they lack may be on handoffs, and 404 would be a lie.
                lacking = [NOTHING] * sum(answer.status == 404 for answer in answers)
                self.write(exchange, place, common, lacking, nodes, quorum_size(len(lacking)))
                return respond(exchange, start_response, there)
        extra = replaced_large(answers)
        return self.respond_best(exchange, start_response, answers, quorum, _DELETE_OVERRIDES, extra)

    def _check_deleted(self, exchange: Exchange, place: Place, answers: list[Answer]) -> None:
        """Raises HTTPException unless most primaries have deleted what was seen, and none has something newer."""
        statuses = [answer.status for answer in answers]
        if 412 in statuses:
            raise HTTPPreconditionFailed(request=exchange.request)
        if 409 in statuses:
            # Whoever then makes his deletion newer than what came to nothing must know that it did: else, where most primaries can't be
            # asked, he would hit a write that they have stored.
            told = [
                answer for answer in answers if answer.status == 409 and answer.get("x-backend-timestamp")
            ]
            known = done_by(answers, 404) + sum(not is_handoff(answer.node or {}) for answer in told)
            latest = max((answer.get("x-backend-timestamp") or "" for answer in told), default="")
            headers = {"X-Backend-Timestamp": latest} if latest and known >= majority(place) else {}
            raise HTTPConflict(request=exchange.request, headers=headers)
        if done_by(answers, 404) < majority(place):
            self.services.log_unavailable(self.kind, "DELETE", statuses)
            raise HTTPServiceUnavailable(request=exchange.request)


def last_deletion(answers: Sequence[Answer]) -> list[tuple[str, str]]:
    """When an object was deleted last, by what any of the servers that don't have it knows."""
    times = [answer.get("x-backend-timestamp") or "" for answer in answers if answer.status == 404]
    newest = max(times, default="")
    return [("X-Backend-Timestamp", newest)] if newest else []


def replaced_large(answers: Sequence[Answer]) -> list[tuple[str, str]]:
    """The header that tells of large objects that a write has replaced on any of its servers; they need not all have had the same."""
    lower = REPLACED_LARGE.lower()
    found = dict.fromkeys(
        filter(None, (answer.get(lower) for answer in answers if is_success(answer.status)))
    )
    return [(REPLACED_LARGE, ",".join(found))] if found else []


def without_swift_bytes(content_type: str) -> str:
    """The Content-Type without a `swift_bytes` parameter at its end."""
    if "swift_bytes" not in content_type:
        return content_type
    kept, _, last = content_type.rpartition(";")
    return kept if last.lstrip().startswith("swift_bytes=") else content_type
