"""Filter `catch_errors`: names each request, answers for whatever fell through, and holds bodies to their length.

Never here: what an error means to a client; that is decided where it is known (spec middleware 4.1).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from swift.core import clock, trace_context
from swift.core.concurrency import Timeout
from swift.core.transaction import new_transaction_id
from swift.telemetry.log import get_logger, set_transaction
from swift.telemetry.units import GIVEN
from swift.wire.call import first_chunk_taken
from swift.wire.errors import ClientError
from swift.wire.message import BodyFilter

ERROR_BODY = b"An error occurred"
_LONGEST_EXTRA = 32


class BadResponseLength(Exception):
    """A body that is not as long as its headers say; the connection can't be used any further."""


class CatchErrorsMiddleware:
    """``trace_sample_rate``: of requests without a traceparent, the share that a trace is begun for. Raises ValueError."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.trans_id_suffix = conf.get("trans_id_suffix", "")
        self.trace_sample_rate = float(conf.get("trace_sample_rate", 0))
        if not 0 <= self.trace_sample_rate <= 1:
            raise ValueError(f"trace_sample_rate must be from 0 to 1, not {self.trace_sample_rate}")
        self.logger = logger or get_logger(conf, "proxy-server", log_route="catch-errors")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        transaction_id = environ["swift.trans_id"] = environ.get(GIVEN) or self._new_id(environ)
        set_transaction(transaction_id)
        if "HTTP_TRACEPARENT" in environ or self.trace_sample_rate:
            self._trace(environ, transaction_id)
        started: Any = None

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal started
            started = headers
            # In front of what there is: user metadata goes out last (see swift.proxy.exchange.split_headers).
            named = [("X-Trans-Id", transaction_id), ("X-Openstack-Request-Id", transaction_id), *headers]
            if exc_info is None:
                return start_response(status, named)
            return start_response(status, named, exc_info)

        try:
            body = self.app(environ, respond)
            if started is None:
                body = first_chunk_taken(body)
        except ClientError:
            raise  # the server loop knows what to say to a client that left or talks nonsense
        except (Exception, Timeout):
            self.logger.exception("Error: An error occurred")
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(ERROR_BODY)))]
            respond("500 Internal Error", headers, sys.exc_info())
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else ERROR_BODY]
        if "swift.on_response_done" in environ:
            return body  # the server loop holds bodies to their length
        return _of_announced_length(environ, started, body)

    def _new_id(self, environ: dict[str, Any]) -> str:
        suffix = self.trans_id_suffix
        extra = environ.get("HTTP_X_TRANS_ID_EXTRA")
        if extra:
            suffix = f"{suffix}-{extra[:_LONGEST_EXTRA]}"
        return new_transaction_id(suffix)

    def _trace(self, environ: dict[str, Any], transaction_id: str) -> None:
        """The request is part of a trace, if its client says so or by chance: storage servers and logs are told."""
        given = environ.get("HTTP_TRACEPARENT")
        if given is not None:
            trace = trace_context.taken(given, environ.get("HTTP_TRACESTATE", ""))
        else:
            trace = trace_context.begun() if clock.random() < self.trace_sample_rate else None
        if trace is not None:
            environ["swift.trace"] = trace
            environ.setdefault("swift.log_info", []).append(f"trace:{trace.trace_id}")
            set_transaction(transaction_id, None, trace.trace_id)


def _of_announced_length(
    environ: dict[str, Any], headers: list[tuple[str, str]] | None, body: Iterable[bytes]
) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] == "HEAD":
        return ExactLength(body, 0)
    lengths = [value for name, value in headers or () if name.lower() == "content-length"]
    if len(lengths) == 1 and lengths[0].isdigit():
        return ExactLength(body, int(lengths[0]))
    return body


class ExactLength(BodyFilter):
    """A body that yields exactly `length` bytes, or raises BadResponseLength when there are more or fewer."""

    def __init__(self, body: Iterable[bytes], length: int) -> None:
        super().__init__(body)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return True

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        left = self._length
        for chunk in below:
            if len(chunk) > left:
                yield chunk[:left]
                raise BadResponseLength(
                    f"Too many bytes; truncating after {self._length} with at least {len(chunk) - left} surplus bytes remaining"
                )
            left -= len(chunk)
            yield chunk
        if left:
            raise BadResponseLength(f"Expected another {left} bytes")


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], CatchErrorsMiddleware]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> CatchErrorsMiddleware:
        return CatchErrorsMiddleware(app, conf)

    return factory
