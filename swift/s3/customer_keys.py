"""SSE-C: the keys that customers send along, checked, and what they are told of them (spec s3.md 20).

A key is in the request's headers, in the environ of native requests as long as they last, and nowhere else: neither kept nor logged. What is
done with it is the filter `customer_keys`'.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from swift.middleware import customer_keys as native
from swift.middleware.encryption.ciphers import CryptoError
from swift.s3 import metadata
from swift.s3.answers import Headers
from swift.s3.errors import S3Error
from swift.s3.policy.context import is_secure
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

PREFIX, SOURCE_PREFIX = (
    "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_",
    "HTTP_X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_",
)
_SENT = {
    prefix: (prefix + "ALGORITHM", prefix + "KEY", prefix + "KEY_MD5") for prefix in (PREFIX, SOURCE_PREFIX)
}
ALGORITHM_KEY = PREFIX + "ALGORITHM"
SECRETS = tuple(
    (prefix + name)[5:].replace("_", "-").lower()
    for prefix in (PREFIX, SOURCE_PREFIX)
    for name in ("KEY", "KEY_MD5")
)
_ALGORITHM, _MD5 = (
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key-MD5",
)
SEAL_KEY = native.STORED_KEY
_LENGTH = 32
_OPENED, SEAL = native.OPENED.lower(), native.STORED.lower()
_NEEDS = "Requests specifying Server Side Encryption with Customer provided keys must provide "


class CustomerKey:
    """A key of 32 bytes. `md5`: base64, as the customer has said it."""

    __slots__ = ("md5", "secret")

    def __init__(self, secret: bytes, md5: str) -> None:
        self.secret = secret
        self.md5 = md5

    def headers(self) -> Headers:
        """What an answer tells of it."""
        return [(_ALGORITHM, "AES256"), (_MD5, self.md5)]


def sent(request: S3Request) -> CustomerKey | None:
    """The key of what the request writes or reads, None for none. Raises S3Error."""
    return _sent(request, PREFIX)


def with_told(shown: Headers, key: CustomerKey | None) -> Headers:
    """An answer's headers with that: what is encrypted with a key is so to its customer, whatever else the store does."""
    if key is None:
        return shown
    return [*(pair for pair in shown if pair[0] != metadata.ENCRYPTION), *key.headers()]


def sent_for_source(request: S3Request) -> CustomerKey | None:
    """The key of what the request copies. Raises S3Error."""
    return _sent(request, SOURCE_PREFIX)


def _sent(request: S3Request, prefix: str) -> CustomerKey | None:
    algorithm, key, md5 = map(request.environ.get, _SENT[prefix])
    if algorithm is None and key is None and md5 is None:
        return None
    if not request.options.allow_insecure_ssec and not is_secure(request):
        raise S3Error(
            "InvalidRequest",
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
        )
    if algorithm is None:
        raise _invalid(prefix, "ALGORITHM", _NEEDS + "a valid encryption algorithm.")
    if algorithm != "AES256":
        raise S3Error(
            "InvalidEncryptionAlgorithmError",
            "The encryption request you specified is not valid. The valid value is AES256.",
        )
    if key is None:
        raise _invalid(prefix, "KEY", _NEEDS + "an appropriate secret key.")
    if md5 is None:
        raise _invalid(prefix, "KEY_MD5", _NEEDS + "the client calculated MD5 of the secret key.")
    try:
        secret = base64.b64decode(key, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != _LENGTH:
        raise _invalid(prefix, "KEY", "The secret key was invalid for the specified algorithm.")
    right = base64.b64encode(hashlib.md5(secret, usedforsecurity=False).digest())
    if not hmac.compare_digest(right, md5.strip().encode("latin-1")):
        raise _invalid(
            prefix,
            "KEY_MD5",
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        )
    return CustomerKey(secret, right.decode())


def _invalid(prefix: str, name: str, message: str) -> S3Error:
    """Which header it is, never what it says."""
    return S3Error("InvalidArgument", message, ArgumentName=(prefix + name)[5:].replace("_", "-").lower())


# -- native requests -------------------------------------------------------------------------------------------------------


def written(key: CustomerKey | None) -> dict[str, Any]:
    """For the environ of a native PUT whose body is encrypted with a key."""
    return {} if key is None else {native.KEY: key.secret}


def read(key: CustomerKey | None) -> dict[str, Any]:
    """For the environ of a native GET or HEAD whose answer `check` looks at before anybody gets its body."""
    return {**written(key), native.UNCHECKED: True}


def check(answer: Subanswer, key: CustomerKey | None) -> None:
    """Raises S3Error for an answer about an object that is encrypted with another key, or with none although there is one."""
    if answer.get(SEAL):
        answer.close()
        if key is not None:
            raise S3Error("AccessDenied", reason="wrong_customer_key")
        raise S3Error(
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        )
    if key is not None and answer.is_success and not answer.get(_OPENED):
        answer.close()
        raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")


# -- uploads in parts ------------------------------------------------------------------------------------------------------


def seal_headers(key: CustomerKey | None) -> dict[str, str]:
    """The headers (environ keys) by which an upload, and the manifest that it ends in, know their key."""
    return {} if key is None else {SEAL_KEY: native.sealed(key.secret).text()}


def check_part(seal: str, key: CustomerKey | None) -> None:
    """Raises S3Error if a part does not bring the key that its upload was begun with."""
    if not seal and key is None:
        return
    if not seal:
        raise S3Error(
            "InvalidRequest", "The multipart upload initiate did not request encryption with this key."
        )
    if key is None:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.",
        )
    try:
        is_the_one = native.parse(seal).fits(key.secret)
    except CryptoError as error:
        raise S3Error("InternalError", reason=str(error)) from None
    if not is_the_one:
        raise S3Error(
            "InvalidRequest", "The provided encryption parameters did not match the ones used originally."
        )
