"""Requests that nobody signs, which are S3's all the same: by their host, or by how they name a bucket (spec s3.md 13.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from swift.s3 import names
from swift.s3.options import Options

# What says that somebody else's filter is meant.
_TOKENS = (
    "HTTP_X_AUTH_TOKEN",
    "HTTP_X_STORAGE_TOKEN",
    "swift.authorize_override",
    "HTTP_X_AUTH_USER",
    "HTTP_X_STORAGE_USER",
)
# Paths that other filters or the proxy itself answer.
_OF_OTHERS = frozenset((
    "auth", "console", "crossdomain.xml", "endpoints", "favicon.ico", "healthcheck", "info", "metrics", "recon", "robots.txt", "v1", "v1.0",
))  # fmt: skip
_SIGNED_OTHERWISE = ("temp_url_sig=", "signature=")


def is_s3(environ: Mapping[str, Any], options: Options) -> bool:
    """Returns True if an unsigned request is one for S3; always False where `allow_anonymous` is off."""
    if not options.allow_anonymous or any(key in environ for key in _TOKENS):
        return False
    query = environ.get("QUERY_STRING") or ""
    if any(part.startswith(_SIGNED_OTHERWISE) for part in query.split("&")):
        return False
    first = environ["PATH_INFO"].split("/", 2)[1] if environ["PATH_INFO"].startswith("/") else ""
    if names.host_bucket(environ, options) is not None:
        return first not in ("v1", "v1.0", "auth")
    if ":" in first or ":" in unquote(first):
        return True
    if not options.has_global_buckets or first in _OF_OTHERS:
        return False
    return names.is_bucket_name(first, options.dns_compliant_bucket_names)
