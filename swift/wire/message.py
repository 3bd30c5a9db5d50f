"""The one door to requests and responses: everything that handlers and filters need, from where it lives.

Only names are gathered here. Outside of this package each of them comes through here and no other way; inside, from where it lives.
Spec: proxy-and-backend.md 22.
"""

import functools
from collections.abc import Callable
from typing import Any

from swift.core.errors import RequestError
from swift.core.names import (
    bytes_to_wsgi,
    str_to_wsgi,
    wsgi_quote,
    wsgi_to_bytes,
    wsgi_to_str,
    wsgi_unquote,
)
from swift.wire.accept import Accept
from swift.wire.body import BodyFilter, close_if_possible
from swift.wire.conditional import Match, normalize_etag
from swift.wire.exceptions import (
    HTTPAccepted,
    HTTPBadGateway,
    HTTPBadRequest,
    HTTPClientDisconnect,
    HTTPConflict,
    HTTPCreated,
    HTTPExpectationFailed,
    HTTPForbidden,
    HTTPFound,
    HTTPGatewayTimeout,
    HTTPGone,
    HTTPInsufficientStorage,
    HTTPInternalServerError,
    HTTPLengthRequired,
    HTTPMethodNotAllowed,
    HTTPMovedPermanently,
    HTTPNoContent,
    HTTPNotAcceptable,
    HTTPNotFound,
    HTTPNotImplemented,
    HTTPNotModified,
    HTTPOk,
    HTTPPartialContent,
    HTTPPaymentRequired,
    HTTPPreconditionFailed,
    HTTPRangeNotSatisfiable,
    HTTPRequestedRangeNotSatisfiable,
    HTTPRequestEntityTooLarge,
    HTTPRequestTimeout,
    HTTPRequestURITooLong,
    HTTPSeeOther,
    HTTPServerError,
    HTTPServiceUnavailable,
    HTTPTemporaryRedirect,
    HTTPTooManyBackendRequests,
    HTTPUnauthorized,
    HTTPUnprocessableEntity,
    HTTPUnsupportedMediaType,
    status_map,
)
from swift.wire.headers import (
    HeaderKeyDict,
    RequestHeaders,
    environ_key,
    head_headers,
    header_name,
    title_case,
)
from swift.wire.input import InputFilter
from swift.wire.paths import host_url, parsed_path
from swift.wire.ranges import Range
from swift.wire.request import Request
from swift.wire.response import HTTPException, Response
from swift.wire.status import HTML_TYPE, REASONS, default_body, status_line

__all__ = [
    "Accept",
    "BodyFilter",
    "HTML_TYPE",
    "HTTPException",
    "HeaderKeyDict",
    "InputFilter",
    "Match",
    "REASONS",
    "Range",
    "Request",
    "RequestHeaders",
    "Response",
    "bytes_to_wsgi",
    "close_if_possible",
    "default_body",
    "environ_key",
    "head_headers",
    "header_name",
    "host_url",
    "normalize_etag",
    "parsed_path",
    "status_line",
    "str_to_wsgi",
    "title_case",
    "wsgi_quote",
    "wsgi_to_bytes",
    "wsgi_to_str",
    "wsgi_unquote",
    "wsgify",
    "HTTPAccepted",
    "HTTPBadGateway",
    "HTTPBadRequest",
    "HTTPClientDisconnect",
    "HTTPConflict",
    "HTTPCreated",
    "HTTPExpectationFailed",
    "HTTPForbidden",
    "HTTPFound",
    "HTTPGatewayTimeout",
    "HTTPGone",
    "HTTPInsufficientStorage",
    "HTTPInternalServerError",
    "HTTPLengthRequired",
    "HTTPMethodNotAllowed",
    "HTTPMovedPermanently",
    "HTTPNoContent",
    "HTTPNotAcceptable",
    "HTTPNotFound",
    "HTTPNotImplemented",
    "HTTPNotModified",
    "HTTPOk",
    "HTTPPartialContent",
    "HTTPPaymentRequired",
    "HTTPPreconditionFailed",
    "HTTPRangeNotSatisfiable",
    "HTTPRequestEntityTooLarge",
    "HTTPRequestTimeout",
    "HTTPRequestURITooLong",
    "HTTPRequestedRangeNotSatisfiable",
    "HTTPSeeOther",
    "HTTPServerError",
    "HTTPServiceUnavailable",
    "HTTPTemporaryRedirect",
    "HTTPTooManyBackendRequests",
    "HTTPUnauthorized",
    "HTTPUnprocessableEntity",
    "HTTPUnsupportedMediaType",
    "status_map",
]


def wsgify(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Make `handler(request) -> Response` (or a method of that form) a WSGI application; a raised HTTPException or RequestError answers."""

    @functools.wraps(handler)
    def application(*args: Any) -> Any:
        *owner, environ, start_response = args
        request = Request(environ)
        try:
            answer = handler(*owner, request)
        except HTTPException as error:
            answer = error
        except RequestError as error:
            answer = status_map[error.status](
                body=error.body, request=request, content_type="text/plain" if error.body else HTML_TYPE
            )
        return answer(environ, start_response)

    return application
