"""The filter: which requests are lists or archives, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.middleware.bulk.archive import PACKINGS
from swift.middleware.bulk.deletion import Deletion
from swift.middleware.bulk.extraction import Extraction
from swift.middleware.bulk.options import Options
from swift.middleware.bulk.summaries import Summary, told_at_the_end
from swift.middleware.summary import JSON, TEXT, TEXT_XML, XML
from swift.telemetry.log import get_logger
from swift.wire.call import Application, StartResponse
from swift.wire.errors import ClientError
from swift.wire.message import Accept, HTTPBadRequest, Request, status_line

_OFFERED = (TEXT, JSON, XML, TEXT_XML)
_EXTRACT, _DELETE = "extract-archive", "bulk-delete"


class Bulk:
    """Raises ValueError at once for a configuration that can't be meant."""

    def __init__(self, app: Application, conf: dict[str, Any], logger: Any = None) -> None:
        self.app = app
        self.logger = logger or get_logger(conf, "proxy-server", log_route="bulk")
        self.options = Options.from_conf(conf)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        if not query:
            return self.app(environ, start_response)
        method = environ["REQUEST_METHOD"]
        name = _EXTRACT if method == "PUT" else _DELETE if method in ("POST", "DELETE") else ""
        if not name or (name not in query and "%" not in query):
            return self.app(environ, start_response)
        request = Request(environ)
        value = request.params.get(name)
        if value is None:
            return self.app(environ, start_response)
        if name == _DELETE:
            deletion = Deletion(self.app, self.options, environ)
            return self._answer(environ, start_response, deletion.summary, deletion.run)
        packing = value.lower().strip(".")
        if packing not in PACKINGS:
            refusal = HTTPBadRequest(request=request, body="Unsupported archive format")
            return refusal(environ, start_response)
        extraction = Extraction(self.app, self.options, environ, packing)
        return self._answer(environ, start_response, extraction.summary, extraction.run)

    def _answer(
        self,
        environ: dict[str, Any],
        start_response: StartResponse,
        summary: Summary,
        run: Callable[[], Summary],
    ) -> Iterable[bytes]:
        media_type = None
        try:
            media_type = Accept(environ.get("HTTP_ACCEPT")).best_match(_OFFERED)
        except ValueError:
            pass
        if media_type is None:
            summary.status = status_line(406)
            start_response("200 OK", [("Content-Type", "text/html; charset=UTF-8")])
            return iter([summary.written(TEXT)])
        kind = media_type

        def work() -> bytes:
            try:
                run()
            except ClientError:
                raise
            except Exception:
                self.logger.exception("Error in a bulk request")
                summary.status = "500 Internal Error"
            return summary.written(kind)

        environ["eventlet.minimum_write_chunk_size"] = 0
        start_response("200 OK", [("Content-Type", media_type)])
        return told_at_the_end(work, self.options.yield_frequency, media_type.endswith("/xml"))


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], Bulk]:
    conf = {**global_conf, **local_conf}
    options = Options.from_conf(conf)
    capabilities.register(
        "bulk_upload",
        max_containers_per_extraction=options.max_containers,
        max_failed_extractions=options.max_failed_extractions,
    )
    capabilities.register(
        "bulk_delete",
        max_deletes_per_request=options.max_deletes,
        max_failed_deletes=options.max_failed_deletes,
    )

    def factory(app: Any) -> Bulk:
        return Bulk(app, conf)

    return factory
