"""The exceptions that are responses, one class per status, and the map from a status to its class.

Each takes the arguments of Response: `raise HTTPNotFound(request=req, body="…", content_type="text/plain")`.
Spec: proxy-and-backend.md 22, 29.
"""

from typing import Any

from swift.wire.response import HTTPException


class HTTPOk(HTTPException):
    code = 200


class HTTPCreated(HTTPException):
    code = 201


class HTTPAccepted(HTTPException):
    code = 202


class HTTPNoContent(HTTPException):
    code = 204


class HTTPPartialContent(HTTPException):
    code = 206


class HTTPMovedPermanently(HTTPException):
    code = 301


class HTTPFound(HTTPException):
    code = 302


class HTTPSeeOther(HTTPException):
    code = 303


class HTTPNotModified(HTTPException):
    code = 304


class HTTPTemporaryRedirect(HTTPException):
    code = 307


class HTTPBadRequest(HTTPException):
    code = 400


class HTTPUnauthorized(HTTPException):
    code = 401


class HTTPPaymentRequired(HTTPException):
    code = 402


class HTTPForbidden(HTTPException):
    code = 403


class HTTPNotFound(HTTPException):
    code = 404


class HTTPMethodNotAllowed(HTTPException):
    code = 405


class HTTPNotAcceptable(HTTPException):
    code = 406


class HTTPRequestTimeout(HTTPException):
    code = 408


class HTTPConflict(HTTPException):
    code = 409


class HTTPGone(HTTPException):
    code = 410


class HTTPLengthRequired(HTTPException):
    code = 411


class HTTPPreconditionFailed(HTTPException):
    code = 412


class HTTPRequestEntityTooLarge(HTTPException):
    code = 413


class HTTPRequestURITooLong(HTTPException):
    code = 414


class HTTPUnsupportedMediaType(HTTPException):
    code = 415


class HTTPRequestedRangeNotSatisfiable(HTTPException):
    code = 416


class HTTPExpectationFailed(HTTPException):
    code = 417


class HTTPUnprocessableEntity(HTTPException):
    code = 422


class HTTPClientDisconnect(HTTPException):
    code = 499


class HTTPServerError(HTTPException):
    code = 500


class HTTPNotImplemented(HTTPException):
    code = 501


class HTTPBadGateway(HTTPException):
    code = 502


class HTTPServiceUnavailable(HTTPException):
    code = 503


class HTTPGatewayTimeout(HTTPException):
    code = 504


class HTTPInsufficientStorage(HTTPException):
    code = 507


class HTTPTooManyBackendRequests(HTTPException):
    code = 529


HTTPInternalServerError = HTTPServerError
HTTPRangeNotSatisfiable = HTTPRequestedRangeNotSatisfiable


class _StatusMap(dict[int, type[HTTPException]]):
    """status_map[404](request=req); a status without a class of its own gets one."""

    def __missing__(self, code: int) -> Any:
        if not 100 <= code <= 999:
            raise KeyError(code)
        made = self[code] = type(f"HTTP{code}", (HTTPException,), {"code": code})
        return made


status_map = _StatusMap({cls.code: cls for cls in HTTPException.__subclasses__()})
