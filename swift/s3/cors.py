"""Requests of pages of other origins: a bucket's CORS document, preflights, headers of answers (spec s3.md 9, 19).

Without a document a bucket's native CORS metadata counts as before. Never here: whose bucket a preflight, which nobody signs, is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from swift.s3 import bucket_documents
from swift.s3.answers import Answer, Headers, empty, xml_answer
from swift.s3.bucket_names import resolving
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.request import S3Request
from swift.s3.signature import unsigned
from swift.s3.xml import Node, Text, document, element, many, maybe, node, read
from swift.wire.call import Application
from swift.wire.message import str_to_wsgi, wsgi_to_str

MOST_BYTES = 65_536
MOST_RULES = 100
METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
_ALLOWED = "GET, HEAD, PUT, POST, DELETE, OPTIONS"
_RULE = Node(
    {
        "ID": maybe(Text(most=255)),
        "AllowedOrigin": many(Text(), 1),
        "AllowedMethod": many(Text(), 1),
        "AllowedHeader": many(Text()),
        "ExposeHeader": many(Text()),
        "MaxAgeSeconds": maybe(Text("[0-9]{1,9}")),
    }
)
_SCHEMA = Node({"CORSRule": many(_RULE, 1, MOST_RULES)})
_INSUFFICIENT = "Insufficient information. Origin request header needed."
_REFUSED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)
_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_MOST_ASKED = 100  # headers that a preflight asks for

Rule = Mapping[str, Any]


# -- the document ---------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> dict[str, Any]:
    """The document as it is kept. Raises S3Error."""
    found = read(data, "CORSConfiguration", _SCHEMA)
    for rule in found["CORSRule"]:
        for method in rule["AllowedMethod"]:
            if method not in METHODS:
                raise S3Error(
                    "InvalidRequest",
                    f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
                )
        for name in ("AllowedOrigin", "AllowedHeader"):
            for pattern in rule[name]:
                if pattern.count("*") > 1:
                    raise S3Error(
                        "InvalidRequest", f'{name} "{pattern}" can not have more than one wildcard.'
                    )
        for header in rule["ExposeHeader"]:
            if "*" in header:
                raise S3Error(
                    "InvalidRequest",
                    f'ExposeHeader "{header}" contains wildcard. We currently do not support wildcard for ExposeHeader.',
                )
        for header in (*rule["AllowedHeader"], *rule["ExposeHeader"], *rule["AllowedOrigin"]):
            if any(ord(letter) < 33 or ord(letter) > 126 for letter in header):
                raise S3Error("InvalidRequest", "Names of origins and headers are printable ASCII.")
    return found


def shown(found: Mapping[str, Any]) -> bytes:
    """The document as a client gets it."""
    rules = []
    for rule in found["CORSRule"]:
        inner = [element("ID", rule["ID"])] if "ID" in rule else []
        for name in ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader"):
            inner.extend(element(name, value) for value in rule[name])
        if "MaxAgeSeconds" in rule:
            inner.append(element("MaxAgeSeconds", rule["MaxAgeSeconds"]))
        rules.append(node("CORSRule", *inner))
    return document("CORSConfiguration", *rules)


def get(request: S3Request) -> Answer:
    """GetBucketCors."""
    found = bucket_documents.current(request, "Cors")
    if found is None:
        raise S3Error("NoSuchCORSConfiguration", BucketName=request.bucket)
    return xml_answer(shown(found))


def put(request: S3Request) -> Answer:
    """PutBucketCors."""
    bucket_documents.store(request, "Cors", parse(request.document_body(MOST_BYTES)))
    return empty(200)


def delete(request: S3Request) -> Answer:
    """DeleteBucketCors."""
    bucket_documents.remove(request, "Cors")
    return empty(204)


# -- rules ----------------------------------------------------------------------------------------------------------------


def matches(pattern: str, text: str) -> bool:
    """Returns True if a text is what a pattern with at most one `*` in it stands for."""
    start, star, end = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(start) + len(end) and text.startswith(start) and text.endswith(end)


def rule_for(
    found: Mapping[str, Any], origin: str, method: str, asked: Sequence[str] = ()
) -> tuple[Rule, str] | None:
    """(the first rule that lets a request be, the origin pattern of it that fits). `asked`: lower-case names of headers."""
    for rule in found["CORSRule"]:
        if method not in rule["AllowedMethod"]:
            continue
        pattern = next((pattern for pattern in rule["AllowedOrigin"] if matches(pattern, origin)), None)
        if pattern is None:
            continue
        allowed = [header.lower() for header in rule["AllowedHeader"]]
        if all(any(matches(header, name) for header in allowed) for name in asked):
            return rule, pattern
    return None


def headers_of(rule: Rule, pattern: str, origin: str, asked: Sequence[str] = ()) -> Headers:
    """What an answer says of the rule that let its request be; WSGI strings."""
    headers: Headers = []
    if pattern == "*":
        headers.append(("Access-Control-Allow-Origin", "*"))
    else:
        headers.append(("Access-Control-Allow-Origin", str_to_wsgi(origin)))
        headers.append(("Access-Control-Allow-Credentials", "true"))
    headers.append(("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethod"])))
    if asked:
        headers.append(("Access-Control-Allow-Headers", str_to_wsgi(", ".join(asked))))
    if rule["ExposeHeader"]:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule["ExposeHeader"])))
    if "MaxAgeSeconds" in rule:
        headers.append(("Access-Control-Max-Age", rule["MaxAgeSeconds"]))
    return [*headers, _VARY]


def with_headers(request: S3Request, headers: Headers) -> Headers:
    """An answer's headers with what the bucket's document says of the request's origin, if there is one."""
    origin = request.header("origin")
    if not origin or request.bucket is None or request.account is None or not request.is_known:
        return headers
    try:
        found = bucket_documents.load(request, "Cors")
    except S3Error:
        return headers  # what it is an answer to has been done
    if found is None:
        return headers
    kept = [pair for pair in headers if not pair[0].lower().startswith("access-control-")]
    fitting = rule_for(found, origin, request.method)
    if fitting is not None:
        kept.extend(headers_of(*fitting, origin))
    return kept


# -- preflights -----------------------------------------------------------------------------------------------------------


def is_preflight(environ: Mapping[str, Any]) -> bool:
    """Returns True for an OPTIONS request that asks about one for S3."""
    if environ["REQUEST_METHOD"] != "OPTIONS" or "HTTP_ORIGIN" not in environ:
        return False
    if _is_query_signed(environ):
        return True
    path = environ["PATH_INFO"]
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").lower()
    return "authorization" in asked and not path.startswith(("/v1/", "/v1.0/"))


def _is_query_signed(environ: Mapping[str, Any]) -> bool:
    query = environ.get("QUERY_STRING") or ""
    return "X-Amz-Credential" in query or "AWSAccessKeyId" in query


def query_access_key(environ: Mapping[str, Any]) -> str | None:
    """The access key that a signed URL names, whose signature is another method's; None if there is none."""
    try:
        params = parse_qs(wsgi_to_str(environ.get("QUERY_STRING") or ""), max_num_fields=100)
    except (ValueError, UnicodeError):
        return None
    for name in ("X-Amz-Credential", "AWSAccessKeyId"):
        if params.get(name):
            return params[name][0].rsplit("/", 4)[0] if name == "X-Amz-Credential" else params[name][0]
    return None


def asked_headers(environ: Mapping[str, Any]) -> list[str]:
    """The lower-case names that a preflight asks for, as text; each once. Raises S3Error."""
    try:
        text = wsgi_to_str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""))
    except UnicodeError:
        raise S3Error("BadRequest", _INSUFFICIENT) from None
    names = dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip())
    if len(names) > _MOST_ASKED:
        raise S3Error("BadRequest", _INSUFFICIENT)
    return list(names)


def preflight(request: S3Request) -> Answer:
    """The answer to a preflight about a bucket whose account is known. Raises S3Error."""
    origin, method = request.header("origin"), request.header("access-control-request-method")
    if not origin or not method:
        raise S3Error("BadRequest", _INSUFFICIENT)
    asked = asked_headers(request.environ)
    kind = "OBJECT" if request.key is not None else "BUCKET"
    found = bucket_documents.load(request, "Cors") if request.bucket is not None else None
    if found is None:
        raise S3Error("AccessForbidden", Method=method, ResourceType=kind)
    fitting = rule_for(found, origin, method, asked)
    if fitting is None:
        raise S3Error("AccessForbidden", _REFUSED, Method=method, ResourceType=kind)
    return empty(200, headers_of(*fitting, origin, asked))


def answer_preflight(
    environ: dict[str, Any], app: Application, options: Options, logger: Any, host_bucket: str | None
) -> Answer | None:
    """The answer to a preflight (`is_preflight`), None if it is none for S3 here. Raises S3Error."""
    by_cluster = cluster_preflight(environ, options)
    access_key = query_access_key(environ)
    if access_key is None and not options.has_global_buckets:
        return by_cluster
    try:
        # A preflight of a signed URL has no signature: it only finds out whose account the key is of, and asks for what everybody may know.
        credential = None if access_key is None else unsigned(access_key, "AccessForbidden")
        request = S3Request(environ, app, options, logger, credential, host_bucket)
        if options.has_global_buckets:
            resolving.resolve(request)
        request.authenticate()
        found = bucket_documents.load(request, "Cors") if request.bucket is not None else None
    except S3Error:
        return by_cluster
    if found is None and (access_key is None or by_cluster is not None):
        return by_cluster
    return preflight(request)


def cluster_preflight(environ: Mapping[str, Any], options: Options) -> Answer | None:
    """The answer by the option of the whole cluster, None where that is not set (spec 9)."""
    allowed = options.cors_preflight_allow_origin
    if not allowed:
        return None
    origin = environ["HTTP_ORIGIN"]
    if "*" not in allowed and origin not in allowed:
        return Answer(401, [("Allow", _ALLOWED), ("Content-Length", "0")], [b""])
    headers = [
        ("Allow", _ALLOWED),
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", _ALLOWED),
        ("Vary", "Origin, Access-Control-Request-Headers"),
    ]
    asked = asked_headers(environ)
    if asked:
        headers.append(("Access-Control-Allow-Headers", str_to_wsgi(", ".join(asked))))
    return empty(200, headers)
