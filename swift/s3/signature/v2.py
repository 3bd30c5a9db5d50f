"""Signatures of version 2, in a header or in the query of a presigned URL (spec s3.md 3.4). Old clients only."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.names import str_to_wsgi
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.signature import canonical
from swift.s3.signature.credential import Credential, as_text

_SUBRESOURCES = frozenset((
    "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "object-lock", "partNumber", "policy", "publicAccessBlock",
    "requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
    "response-content-type", "response-expires", "restore", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning",
    "versions", "website",
))  # fmt: skip
# What that string never had in it: whoever has an address could turn it into another operation.
_NEVER_SIGNED = frozenset((
    "abac", "accelerate", "analytics", "attributes", "encryption", "intelligent-tiering", "inventory", "legal-hold", "metadataConfiguration",
    "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "ownershipControls", "policyStatus", "renameObject",
    "replication", "retention", "select", "session",
))  # fmt: skip
_TOKEN = "x-amz-security-token"  # in URLs it is signed as the header that it stands for
_SWITCHED_OFF = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."


def of_header(
    environ: dict[str, Any],
    params: Mapping[str, str],
    authorization: str,
    options: Options,
    host_bucket: str | None,
) -> Credential:
    """Of `Authorization: AWS …`. Raises S3Error, also for any other scheme."""
    seconds = canonical.signed_at(environ).seconds
    canonical.check_skew(seconds, options.allowable_clock_skew)
    access_key, colon, signature = authorization[4:].rpartition(":")
    if not authorization.startswith("AWS ") or not colon or not access_key.strip():
        raise S3Error("AccessDenied", reason="invalid_header_auth")
    date = "" if "HTTP_X_AMZ_DATE" in environ else environ.get("HTTP_DATE", "")
    return _credential(
        environ, params, as_text(access_key.strip()), as_text(signature.strip()), date, seconds, options, host_bucket,
        False,
    )  # fmt: skip


def of_query(
    environ: dict[str, Any], params: Mapping[str, str], options: Options, host_bucket: str | None
) -> Credential:
    """Of a presigned URL. Raises S3Error."""
    access_key, signature, expires = (params.get(name) for name in ("AWSAccessKeyId", "Signature", "Expires"))
    if not access_key or not signature or not expires:
        raise S3Error("AccessDenied", reason="invalid_query_auth")
    try:
        if not expires.isascii():
            raise ValueError(expires)  # digits of other scripts are numbers too, but none that is signed
        seconds = int(expires) if len(expires) < 20 else 2**31
    except ValueError:
        raise S3Error("AccessDenied", reason="invalid_expires") from None
    if seconds < clock.time():
        raise S3Error("AccessDenied", "Request has expired", reason="expired")
    if seconds >= 2**31:
        raise S3Error(
            "AccessDenied",
            f"Invalid date (should be seconds since epoch): {expires}",
            reason="invalid_expires",
        )
    if not _NEVER_SIGNED.isdisjoint(params):
        raise S3Error("AccessDenied", reason="unsigned_subresource")
    return _credential(environ, params, access_key, signature, expires, None, options, host_bucket, True)


def of_form(values: Mapping[str, str], options: Options) -> Credential:
    """Of a form, which signs its policy as it stands; `values`: its fields by lower-case name. Raises S3Error."""
    if not options.signature_v2:
        raise S3Error("InvalidRequest", _SWITCHED_OFF)
    access_key = values.get("awsaccesskeyid", "")
    if not access_key:
        raise S3Error("AccessDenied", reason="invalid_form_auth")
    return Credential(
        access_key=access_key,
        signature=values["signature"],
        string_to_sign=values["policy"].encode(),
        sign=_sign,
        is_query=True,
        is_form=True,
        token=values.get("x-amz-security-token"),
    )


def _credential(
    environ: dict[str, Any],
    params: Mapping[str, str],
    access_key: str,
    signature: str,
    date: str,
    seconds: float | None,
    options: Options,
    host_bucket: str | None,
    is_query: bool,
) -> Credential:
    if not options.signature_v2:
        raise S3Error("InvalidRequest", _SWITCHED_OFF)
    lines = [
        environ["REQUEST_METHOD"],
        environ.get("HTTP_CONTENT_MD5", "").strip(),
        environ.get("CONTENT_TYPE", "").strip(),
        date,
    ]
    amz = {name: canonical.header(environ, name) for name in canonical.amz_names(environ)}
    if is_query and _TOKEN in params:
        amz[_TOKEN] = str_to_wsgi(params[_TOKEN])
    lines.extend(f"{name}:{amz[name]}" for name in sorted(amz))
    resource = environ.get("RAW_PATH_INFO") or canonical.path(environ)
    if host_bucket is not None:
        resource = f"/{str_to_wsgi(host_bucket)}{resource}"
    asked = [
        name if not params[name] else f"{name}={params[name]}"
        for name in sorted(_SUBRESOURCES & params.keys())
    ]
    query = "?" + str_to_wsgi("&".join(asked)) if asked else ""
    start = "".join(f"{line}\n" for line in lines)
    string_to_sign = f"{start}{resource}{query}".encode("latin-1")
    other = None
    if resource.count("/") == 1 and len(resource) > 1:
        # Some sign a bucket with a slash at its end, and ask for it without.
        other = f"{start}{resource}/{query}".encode("latin-1")
    return Credential(
        access_key=access_key,
        signature=signature,
        string_to_sign=string_to_sign,
        other=other,
        sign=_sign,
        is_query=is_query,
        signed_at=seconds,
        token=params.get("X-Amz-Security-Token")
        or params.get(_TOKEN)
        or environ.get("HTTP_X_AMZ_SECURITY_TOKEN"),
    )


def _sign(secret: str, string_to_sign: bytes) -> tuple[str, None]:
    digest = hmac.digest(secret.encode("utf-8", "surrogatepass"), string_to_sign, "sha1")
    return base64.b64encode(digest).decode(), None
