"""Steps that are S3 requests, signed at the moment they are sent (values of the side are in them). Never here: lists of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from test.side_by_side.sides import login
from test.side_by_side.table import Known, Step, Values

REGION = "us-east-1"
# What every error document of ours has besides, and what is each request's own.
OWN_WORDS = (
    (r"<Resource>[^<]*</Resource>|<HostId>[^<]*</HostId>", ""),
    (r"\n[0-9a-f]{64}</StringToSign>", "\n<hash></StringToSign>"),
    (r"<SignatureProvided>[0-9a-f]{64}<", "<SignatureProvided><signature><"),
    (r"<(StringToSignBytes|CanonicalRequestBytes)>[^<]*<", r"<\1><bytes><"),
    (r"^text/html; charset=UTF-8$", ""),  # of answers without a body, in the reference
    (r"\b20\d{6}T\d{6}Z\b", "<when>"),
)
_TYPE = "header content-type"
# What differs in every list, and why.
OWN_KNOWN = (
    Known("header x-amz-bucket-region", "^-$", "us-east-1", "AWS tells it, and SDKs look for it"),
    Known("header x-amz-checksum-", "^-$", ".", "checksums are kept and told"),
    Known(_TYPE, "^(-|text/plain)", "^application/xml$", "documents, and answers about buckets, are of that type"),
    Known("header accept-ranges", "^bytes$", "^-$", "a bucket has no ranges"),
    Known("header last-modified", ".", "^-$", "S3 tells it of objects that are read only"),
    Known("header content-length", r"^\d+$", r"^\d+$", "empty elements are written in the other form"),
    Known("header x-amz-version-id", "^-$", ".", "deletions say which version they made or removed"),
    Known("header x-amz-delete-marker", "^-$", "true", "it is said of delete markers"),
    Known("body", "ï¿½|Ã¼|%FF", "ü|Uri|not UTF-8|Copy Source", "names are told as they are"),
    Known("body", "InvalidArgument|SignatureDoesNotMatch", "The query is not UTF-8", "said before anything else"),
    Known("status", "^50[03]$", "^(200|40[0-9])$", "the reference breaks off"),
    Known("body", "InternalError", "MalformedXML|MissingRequestBody", "the reference breaks off"),
    Known("body", "InvalidRequest|NoSuchVersion|NoSuchKey", "InvalidArgument.*versionId", "what can't be a version's id is said to be none"),
    Known("body", "NoSuchKey", "NoSuchVersion", "a version that is not there is said to be that"),
    Known("body", "<StorageClass>|MaxKeys|KeyMarker|Delimiter|StartAfter", "<Contents>|<Version>|MaxKeys|KeyMarker", "keys before prefixes; pages as they are; empty parameters are none"),
    Known("body", "</Error>", "<StorageClassRequested>|<Condition>If-", "what was wrong is named"),
    Known("body", "BucketName>a:bc", "BucketName>bc", "what stands before a colon names an account"),
    Known("body", "between 1 and 1000,", "between 1 and 10000,", "there may be as many parts as in AWS"),
    Known("body", "not an integer or within integer range", "must be an integer between", "one text for numbers"),
    Known("body", "(is not empty|must delete all versions)", "is not empty.*<BucketName>", "the bucket is named"),
)  # fmt: skip
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def fill(text: str, values: Values) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def encoded(text: str, safe: str = "") -> str:
    return urllib.parse.quote(text, safe=safe + "-_.~")


def canonical_query(query: str) -> str:
    pairs = [
        (encoded(urllib.parse.unquote_plus(name)), encoded(urllib.parse.unquote_plus(value)))
        for name, _, value in (part.partition("=") for part in query.split("&") if part)
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def signing_key(secret: str, day: str, region: str = REGION, service: str = "s3") -> bytes:
    key = f"AWS4{secret}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def credentials(values: Values, user: str) -> tuple[str, str]:
    """(access key, secret) of one of `sides.USERS`."""
    return login(values["name"], user)


def v4(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload: str,
    *,
    user: str,
    region: str = REGION,
    service: str = "s3",
    age: float = 0,
    change: Callable[[dict[str, str]], None] | None = None,
) -> Callable[[Values], Values]:
    """What makes `authorization` and `amz_date` for a request whose Host and `headers` are signed.

    age: seconds ago that it was signed. change: of the parts of the header (`Credential`, `SignedHeaders`, `Signature`)."""

    def make(values: Values) -> Values:
        access, secret = credentials(values, user)
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - age))
        named = {"host": values["host"], "x-amz-date": when, "x-amz-content-sha256": payload}
        named |= {name.lower(): fill(value, values) for name, value in headers.items()}
        signed = ";".join(sorted(named))
        lines = "".join(f"{name}:{' '.join(named[name].split())}\n" for name in sorted(named))
        text = f"{method}\n{fill(path, values)}\n{canonical_query(fill(query, values))}\n{lines}\n{signed}\n{payload}"
        scope = f"{when[:8]}/{region}/{service}/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{when}\n{scope}\n{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"
        signature = hmac.new(
            signing_key(secret, when[:8], region, service), to_sign.encode(), "sha256"
        ).hexdigest()
        parts = {"Credential": f"{access}/{scope}", "SignedHeaders": signed, "Signature": signature}
        if change:
            change(parts)
        return {
            "amz_date": when,
            "authorization": "AWS4-HMAC-SHA256 "
            + ",".join(f"{name}={value}" for name, value in parts.items()),
        }

    return make


def s3(
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | str = b"",
    user: str = "owner",
    *,
    payload: str | None = None,
    signing: Mapping[str, Any] | None = None,
    unsigned: Mapping[str, str | None] | None = None,
    **more: Any,
) -> Step:
    """One signed request. path: as in the request line. payload: `x-amz-content-sha256` (default: the body's, unsigned where the body
    has values in it). unsigned: headers that are not signed. signing: arguments of `v4`; user "": not signed at all."""
    headers = dict(headers or {})
    if payload is None:
        if isinstance(body, str) and "{" in body:
            payload = UNSIGNED
        else:
            data = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
            payload = hashlib.sha256(data).hexdigest()
    if not user:
        return Step(method, path, {**headers, **(unsigned or {})}, body, "", whole=True, **more)
    bare, _, query = path.partition("?")
    make = v4(method, bare, query, headers, payload, user=user, **(signing or {}))
    sent = {
        **headers,
        "x-amz-date": "{amz_date}",
        "x-amz-content-sha256": payload,
        "Authorization": "{authorization}",
        **(unsigned or {}),
    }
    return Step(method, path, sent, body, "", make=make, whole=True, **more)


def presigned(
    method: str,
    path: str,
    *,
    user: str = "owner",
    expires: str = "900",
    age: float = 0,
    extra: str = "",
    tail: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes | str = b"",
    region: str = REGION,
    **more: Any,
) -> Step:
    """Signed in its query (version 4). extra: signed parameters; tail: what is added to the query after signing."""

    def make(values: Values) -> Values:
        access, secret = credentials(values, user)
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - age))
        scope = f"{when[:8]}/{region}/s3/aws4_request"
        named = {"host": values["host"], **{name.lower(): value for name, value in (headers or {}).items()}}
        signed = ";".join(sorted(named))
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={encoded(f'{access}/{scope}')}&X-Amz-Date={when}"
            f"&X-Amz-Expires={expires}&X-Amz-SignedHeaders={encoded(signed)}{extra}"
        )
        lines = "".join(f"{name}:{named[name]}\n" for name in sorted(named))
        text = (
            f"{method}\n{fill(path, values)}\n{canonical_query(query)}\n{lines}\n{signed}\nUNSIGNED-PAYLOAD"
        )
        to_sign = f"AWS4-HMAC-SHA256\n{when}\n{scope}\n{hashlib.sha256(text.encode()).hexdigest()}"
        signature = hmac.new(signing_key(secret, when[:8], region), to_sign.encode(), "sha256").hexdigest()
        return {"presigned": f"{query}&X-Amz-Signature={signature}{tail}"}

    return Step(method, f"{path}?{{presigned}}", headers or {}, body, "", make=make, whole=True, **more)


def v2(
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | str = b"",
    user: str = "owner",
    *,
    resource: str | None = None,
    **more: Any,
) -> Step:
    """Signed in its header (version 2). resource: what is signed (default: the path)."""
    given = dict(headers or {})

    def make(values: Values) -> Values:
        access, secret = credentials(values, user)
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        amz = "".join(
            f"{name.lower()}:{value}\n"
            for name, value in sorted(given.items())
            if name.lower().startswith("x-amz-")
        )
        text = (
            f"{method}\n{given.get('Content-MD5', '')}\n{given.get('Content-Type', '')}\n{date}\n{amz}"
            f"{fill(path if resource is None else resource, values)}"
        )
        signature = base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()
        return {"date": date, "authorization": f"AWS {access}:{signature}"}

    sent = {**given, "Date": "{date}", "Authorization": "{authorization}"}
    return Step(method, path, sent, body, "", make=make, whole=True, **more)


def md5(body: bytes | str) -> str:
    """Content-MD5 of a body."""
    data = body.encode() if isinstance(body, str) else body
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
