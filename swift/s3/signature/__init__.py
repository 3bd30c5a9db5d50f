"""Signatures of S3 requests, versions 2 and 4, in headers and in presigned URLs (spec s3.md 2.1, 3).

What is found in a request is a `Credential`; whether it is right, somebody who knows the secret asks it. Never here: who users are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.s3.errors import S3Error
from swift.s3.names import parameters
from swift.s3.options import Options
from swift.s3.signature import canonical, v2, v4
from swift.s3.signature.credential import Credential, unsigned

__all__ = ["Credential", "canonical", "is_signed", "of_form", "of_service", "read", "unsigned"]

_ONE_WAY = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
    "Authorization header should be specified"
)


def is_signed(environ: dict[str, Any]) -> bool:
    """Returns True if a request says that it is S3's: it has an Authorization, or a query of a presigned URL."""
    if "HTTP_AUTHORIZATION" in environ:
        return True
    query = environ.get("QUERY_STRING")
    if not query or ("X-Amz-Credential" not in query and "AWSAccessKeyId" not in query):
        return False
    return any(part.startswith(("X-Amz-Credential=", "AWSAccessKeyId=")) for part in query.split("&"))


def read(environ: dict[str, Any], options: Options, host_bucket: str | None) -> Credential:
    """What a request says of who sends it. `host_bucket`: the bucket that its host names. Raises S3Error."""
    params = parameters(environ)
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization and (
        "X-Amz-Credential" in params or "X-Amz-Signature" in params or "AWSAccessKeyId" in params
    ):
        raise S3Error("InvalidArgument", _ONE_WAY, ArgumentName="Authorization")
    if "X-Amz-Credential" in params:
        return v4.of_query(environ, params, options)
    if authorization.startswith("AWS4-HMAC-SHA256 "):
        return v4.of_header(environ, params, authorization, options)
    if "AWSAccessKeyId" in params:
        return v2.of_query(environ, params, options, host_bucket)
    return v2.of_header(environ, params, authorization, options, host_bucket)


def of_form(values: Mapping[str, str], options: Options) -> Credential:
    """Who signed the policy of a form; `values`: its fields by lower-case name (spec 24). Raises S3Error."""
    if "x-amz-signature" in values:
        return v4.of_form(values, options)
    return v2.of_form(values, options)


def of_service(environ: dict[str, Any], options: Options, service: str, payload: str) -> Credential:
    """Who signed a request to another service than S3, in its Authorization header; `payload`: the digest of its body. Raises S3Error."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    return v4.of_header(environ, parameters(environ), authorization, options, service, payload)
