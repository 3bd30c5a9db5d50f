"""Which bucket and key a request names, by its host or its path, and what may be called a bucket (spec s3.md 2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from swift.core.names import wsgi_quote
from swift.s3.errors import S3Error
from swift.s3.identity import account_named
from swift.s3.options import Options
from swift.wire.message import wsgi_to_str

_STRICT = re.compile(r"[a-z0-9](?:[a-z0-9]|\.(?![.-])|-(?!\.)){1,61}[a-z0-9]", re.ASCII)
_LOOSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9_-]", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}", re.ASCII)
_ACCOUNT = re.compile(r"[\w.@=+-]{1,256}")
_MOST_PARAMETERS = 100
_PARAMETERS = "s3api.parameters"  # in the environ: a query, and what it says


def is_bucket_name(name: str, dns_compliant: bool = True) -> bool:
    """Returns True if a bucket may be called so; containers with other names are no buckets."""
    return len(name) < 256 and _fits(name, dns_compliant)


@lru_cache(maxsize=4096)
def _fits(name: str, dns_compliant: bool) -> bool:
    pattern = _STRICT if dns_compliant else _LOOSE
    return pattern.fullmatch(name) is not None and _ADDRESS.fullmatch(name) is None


def host_bucket(environ: Mapping[str, Any], options: Options) -> str | None:
    """The bucket that the host names, None if requests of that host name theirs in the path."""
    domains = options.storage_domains
    if not domains:
        return None
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME") or ""
    host = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    for domain in domains:
        if host.endswith(domain) and len(host) > len(domain):
            return str(host[: -len(domain)])
    return None


def qualified(name: str, options: Options) -> tuple[str | None, str]:
    """(storage account, bucket) of a name that may say whose bucket it means: `account:bucket`; None where it does not say it."""
    account, colon, bucket = name.rpartition(":")
    if not colon or not _ACCOUNT.fullmatch(account):
        return None, name
    return account_named(account, options), bucket


def of_path(
    environ: Mapping[str, Any], options: Options, bucket: str | None
) -> tuple[str | None, str | None, str | None]:
    """(storage account, bucket, key) as text, None for what is not named. `bucket`: the one that the host names. Raises S3Error."""
    path = environ["PATH_INFO"]
    try:
        text = path if path.isascii() else wsgi_to_str(path)
        text.encode()
    except UnicodeError:
        raise S3Error("InvalidURI", Uri=wsgi_quote(path)) from None
    if "\0" in text or text[:1] not in ("/", ""):  # a target may begin otherwise: `*`
        raise S3Error("InvalidURI", Uri=wsgi_quote(path))
    text = text[1:]
    if bucket is not None:
        if "/" in bucket or not bucket.isprintable():
            raise S3Error("InvalidBucketName", BucketName=bucket)
        return None, bucket, text or None
    if not text:
        return None, None, None
    name, _, key = text.partition("/")
    account, name = qualified(name, options)
    if not is_bucket_name(name, options.dns_compliant_bucket_names):
        raise S3Error("InvalidBucketName", BucketName=name)
    return account, name, key or None


def parameters(environ: dict[str, Any]) -> dict[str, str]:
    """The query as text; the last value of a name counts. Raises S3Error."""
    query = environ.get("QUERY_STRING")
    if not query:
        return {}
    known = environ.get(_PARAMETERS)
    if known is not None and known[0] is query:
        return dict(known[1])
    try:
        query.encode("latin-1").decode("utf-8")
        pairs = parse_qsl(
            wsgi_to_str(query), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except UnicodeError:
        raise S3Error("InvalidArgument", "The query is not UTF-8.") from None
    except ValueError:
        raise S3Error("InvalidArgument", "Too many query parameters.") from None
    environ[_PARAMETERS] = query, dict(pairs)
    return dict(pairs)
