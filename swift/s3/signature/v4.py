"""Signatures of version 4, in a header or in the query of a presigned URL (spec s3.md 3.1 to 3.3)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import partial
from typing import Any

from swift.core import clock
from swift.core.remembered import Remembered
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.signature import canonical
from swift.s3.signature.credential import Credential, as_text
from swift.wire.message import environ_key

_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))  # RFC 2104


class SigningKey:
    """A secret's key of one day, region and service, `key`, with what HMAC-SHA256 makes of it before it sees any data."""

    __slots__ = ("_inner", "_outer", "key")

    def __init__(self, key: bytes) -> None:
        """`key`: 32 bytes."""
        self.key = key
        block = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def sign(self, data: bytes) -> str:
        """The signature, in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.hexdigest()


_MOST_KEYS = 1024
_keys: Remembered[tuple[str, str, str, str], SigningKey] = Remembered(_MOST_KEYS, 512)
_starts: Remembered[str, tuple[str, str]] = Remembered(1024, 1024)  # of Authorization headers
SignedNames = tuple[str, list[tuple[str, str]], frozenset[str], frozenset[str]]
_names_of: Remembered[str, SignedNames] = Remembered(1024, 1024)
_WEEK = 604800
# Said by the string to sign in any case, or of no consequence.
_COVERED = frozenset(("x-amz-content-sha256", "x-amz-date", "x-amz-user-agent"))
_COVERED_KEYS = frozenset(map(environ_key, _COVERED))
UNSIGNED = "UNSIGNED-PAYLOAD"


def signing_key(secret: str, date: str, region: str, service: str) -> SigningKey:
    """The key of a secret for one day and region; the latest ones are remembered."""
    wanted = (secret, date, region, service)
    found = _keys.get(wanted)
    if found is None:
        key = ("AWS4" + secret).encode("utf-8", "surrogatepass")
        for part in (date, region, service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        found = _keys.keep(wanted, SigningKey(key))
    return found


def _sign(date: str, region: str, service: str, secret: str, string_to_sign: bytes) -> tuple[str, bytes]:
    found = signing_key(secret, date, region, service)
    return found.sign(string_to_sign), found.key


def of_header(
    environ: dict[str, Any],
    params: Mapping[str, str],
    authorization: str,
    options: Options,
    service: str = "s3",
    payload: str | None = None,
) -> Credential:
    """Of `Authorization: AWS4-HMAC-SHA256 …`, for `service`; `payload`: the digest of the body, None if a header says it. Raises S3Error."""
    moment = canonical.signed_at(environ)
    canonical.check_skew(moment.seconds, options.allowable_clock_skew)
    scope, names, signature = _parts(authorization)
    if not signature:
        raise S3Error("AccessDenied", reason="invalid_header_auth")
    if not names:
        raise S3Error("AuthorizationHeaderMalformed")
    access_key, date, region, service = _scope(
        scope,
        moment.day,
        options,
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed; ",
        service,
    )
    payload = payload or environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if payload is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return _credential(
        environ, params, access_key, signature, names, moment, (date, region, service), payload, False,
        environ.get("HTTP_X_AMZ_SECURITY_TOKEN"),
    )  # fmt: skip


def of_query(environ: dict[str, Any], params: Mapping[str, str], options: Options) -> Credential:
    """Of a presigned URL. Raises S3Error."""
    text = params.get("X-Amz-Date", "")
    seconds = canonical.time_of(text)
    if seconds is None or seconds < 0:
        raise S3Error(
            "AccessDenied",
            "AWS authentication requires a valid Date or x-amz-date header",
            reason="invalid_date",
        )
    _check_expiry(params, seconds, options)
    if params.get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256":
        raise S3Error(
            "InvalidArgument",
            'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"',
            ArgumentName="X-Amz-Algorithm",
            ArgumentValue=params.get("X-Amz-Algorithm", ""),
        )
    signature = params.get("X-Amz-Signature", "")
    if not signature or not params.get("X-Amz-Credential"):
        raise S3Error("AccessDenied", reason="invalid_query_auth")
    names = params.get("X-Amz-SignedHeaders")
    if not names:
        raise S3Error("AuthorizationHeaderMalformed")
    moment = canonical.moment_of(seconds)
    access_key, date, region, service = _scope(
        params["X-Amz-Credential"], moment.day, options, "AuthorizationQueryParametersError",
        "Error parsing the X-Amz-Credential parameter; ",
    )  # fmt: skip
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256", UNSIGNED)
    token = params.get("X-Amz-Security-Token") or environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
    return _credential(
        environ, params, access_key, signature, names, moment, (date, region, service), payload, True, token
    )


def of_form(values: Mapping[str, str], options: Options) -> Credential:
    """Of a form, which signs its policy as it stands; `values`: its fields by lower-case name. Raises S3Error."""
    seconds = canonical.time_of(values.get("x-amz-date", ""))
    if seconds is None or seconds < 0:
        raise S3Error(
            "AccessDenied",
            "AWS authentication requires a valid Date or x-amz-date header",
            reason="invalid_date",
        )
    now = clock.time()
    if seconds + _WEEK < now:
        raise S3Error("AccessDenied", "Request has expired", reason="expired")
    if seconds > now + options.allowable_clock_skew:
        raise S3Error("AccessDenied", "Request is not valid yet", reason="invalid_date")
    if values.get("x-amz-algorithm") != "AWS4-HMAC-SHA256":
        raise S3Error(
            "InvalidArgument",
            'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"',
            ArgumentName="x-amz-algorithm",
            ArgumentValue=values.get("x-amz-algorithm", ""),
        )
    access_key, date, region, service = _scope(
        values.get("x-amz-credential", ""), canonical.moment_of(seconds).day, options, "AuthorizationQueryParametersError",
        "Error parsing the X-Amz-Credential parameter; ",
    )  # fmt: skip
    return Credential(
        access_key=access_key,
        signature=values["x-amz-signature"],
        string_to_sign=values["policy"].encode(),
        sign=partial(_sign, date, region, service),
        is_query=True,
        is_form=True,
        is_v4=True,
        signed_at=seconds,
        scope=f"{date}/{region}/{service}/aws4_request",
        token=values.get("x-amz-security-token"),
    )


def restored(access_key: str, scope: str, string_to_sign: bytes, signature: str) -> Credential:
    """Of a request that was signed earlier, and was looked at then: its secret is asked about again."""
    date, region, service, _ = scope.split("/")
    return Credential(
        access_key=access_key,
        signature=signature,
        string_to_sign=string_to_sign,
        sign=partial(_sign, date, region, service),
        is_query=False,
        is_v4=True,
        scope=scope,
    )


def _check_expiry(params: Mapping[str, str], seconds: float, options: Options) -> None:
    text = params.get("X-Amz-Expires")
    code = "AuthorizationQueryParametersError"
    if text is None:
        raise S3Error("AccessDenied", reason="invalid_expires")
    try:
        expires = int(text) if len(text) < 32 else 2**63
    except ValueError:
        expires = 2**63
    if expires >= 2**63:
        raise S3Error(code, "X-Amz-Expires should be a number", reason="invalid_expires")
    if expires < 0:
        raise S3Error(code, "X-Amz-Expires must be non-negative", reason="invalid_expires")
    if expires > _WEEK:
        raise S3Error(
            code,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{_WEEK} seconds",
            reason="invalid_expires",
        )
    now = clock.time()
    if seconds + expires < now:
        raise S3Error("AccessDenied", "Request has expired", reason="expired")
    if seconds > now + options.allowable_clock_skew:
        raise S3Error("AccessDenied", "Request is not valid yet", reason="invalid_date")


def _part(authorization: str, name: str) -> str:
    """What follows name in the header, up to a comma; "" if it is not there."""
    return authorization.partition(name)[2].partition(",")[0].strip()


def _parts(authorization: str) -> tuple[str, str, str]:
    """(credential, names of the signed headers, signature) of a header, "" for what is not there. Raises S3Error.

    All but the signature is the same in many requests: what stands before it is remembered, as far as it ends with a comma.
    """
    start, _, rest = authorization.partition("Signature=")
    known = _starts.get(start)
    if known is None:
        known = as_text(_part(authorization, "Credential=")), _part(authorization, "SignedHeaders=")
        is_whole = start.rstrip().endswith(",") and "Credential=" in start and "SignedHeaders=" in start
        if is_whole:
            _starts.keep(start, known)
    return *known, as_text(rest.partition(",")[0].strip())


def _scope(
    text: str, day: str, options: Options, code: str, start: str, wanted: str = "s3"
) -> tuple[str, str, str, str]:
    """(access key, date, region, service) of a credential that was signed on a day. Raises S3Error."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:
        raise S3Error("AccessDenied", reason="invalid_credential")
    access_key, date, region, service, terminal = parts
    if date != day:
        raise S3Error(
            code,
            f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: "{day}".',
            reason="invalid_credential",
        )
    location = options.location
    if region not in (location, location.lower()):
        raise S3Error(
            code,
            f"{start}the region '{region}' is wrong; expecting '{location}'",
            reason="invalid_credential",
            Region=location,
        )
    if service != wanted:
        raise S3Error(
            code,
            f'{start}incorrect service "{service}". This endpoint belongs to "{wanted}".',
            reason="invalid_credential",
        )
    if terminal != "aws4_request":
        raise S3Error(
            code,
            f'{start}incorrect terminal "{terminal}". This endpoint uses "aws4_request".',
            reason="invalid_credential",
        )
    return access_key, date, region, service


def _signed_names(names: str) -> SignedNames:
    """Of what a request says that it has signed: as it is signed; names and environ keys, sorted, "" for a key that may be another header's,
    too; to look them up; keys that need not be looked at. Raises S3Error."""
    known = _names_of.get(names)
    if known is None:
        if not names.isascii():
            raise S3Error("SignatureDoesNotMatch")  # nobody signs such a header
        signed = sorted({name.strip().lower() for name in names.split(";")})
        pairs = [(name, "" if "_" in name else environ_key(name)) for name in signed]
        covered = frozenset(key for _, key in pairs) | _COVERED_KEYS
        known = _names_of.keep(names, (";".join(signed), pairs, frozenset(signed), covered))
    return known


def _credential(
    environ: dict[str, Any],
    params: Mapping[str, str],
    access_key: str,
    signature: str,
    names: str,
    moment: canonical.Moment,
    where: tuple[str, str, str],
    payload: str,
    is_query: bool,
    token: str | None,
) -> Credential:
    shown_names, signed, signed_headers, covered = _signed_names(names)
    unsigned = [
        name
        for name in canonical.amz_names(environ, covered)
        if name not in signed_headers and name not in _COVERED
    ]
    if "host" not in signed_headers and "HTTP_HOST" in environ:
        unsigned.append("host")  # it may name the bucket, which nothing else that is signed does
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(sorted(unsigned)),
        )
    lines = []
    for name, key in signed:
        value = environ.get(key)
        if type(value) is str and value.isprintable() and "  " not in value:
            value = value.strip(" ")
        else:
            value = canonical.header(environ, name)
        if value is None:
            raise S3Error("SignatureDoesNotMatch")
        lines.append(f"{name}:{value}\n")
    request = (
        f"{environ['REQUEST_METHOD']}\n{canonical.path(environ)}\n{canonical.query(params)}\n{''.join(lines)}\n"
        f"{shown_names}\n{payload}"
    ).encode("latin-1")
    date, region, service = where
    scope = f"{date}/{region}/{service}/aws4_request"
    string_to_sign = (
        f"AWS4-HMAC-SHA256\n{moment.text}\n{scope}\n{hashlib.sha256(request).hexdigest()}".encode()
    )
    return Credential(
        access_key=access_key,
        signature=signature,
        string_to_sign=string_to_sign,
        sign=partial(_sign, date, region, service),
        is_query=is_query,
        is_v4=True,
        signed_at=moment.seconds,
        scope=scope,
        signed_headers=signed_headers,
        canonical_request=request,
        token=token,
    )
