"""What a request says of who sends it, and the one question to it: does this secret make this signature? (spec s3.md 3.5)"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, cast

from swift.core.names import wsgi_to_str
from swift.s3.errors import S3Error

# (secret, string to sign) → (signature, key of the chunks that follow)
Signer = Callable[[str, bytes], tuple[str, bytes | None]]


class Credential:
    """Made by `v2` and `v4`. Text, but for bytes.

    `scope`: `date/region/s3/aws4_request` of version 4; `signed_at`: seconds since the epoch, None where it is not told; `token`: of
    temporary credentials; `parent`: who has asked for those, once the token was looked at; `is_form`: it has signed a form's policy; `signing_key`: of version 4, once the right secret was seen. `other`: another string that means the same and may have been signed.
    """

    __slots__ = (
        "_other",
        "_right_for",
        "_sign",
        "_wrong_for",
        "access_key",
        "canonical_request",
        "is_form",
        "is_query",
        "is_v4",
        "parent",
        "scope",
        "signature",
        "signed_at",
        "signed_headers",
        "signing_key",
        "string_to_sign",
        "token",
    )

    def __init__(
        self,
        *,
        access_key: str,
        signature: str,
        string_to_sign: bytes,
        sign: Signer,
        is_query: bool,
        is_form: bool = False,
        is_v4: bool = False,
        signed_at: float | None = None,
        scope: str = "",
        signed_headers: frozenset[str] = frozenset(),
        canonical_request: bytes | None = None,
        token: str | None = None,
        other: bytes | None = None,
    ) -> None:
        """Raises S3Error for an access key that is no text: nobody can have it, and no account can be asked for by it."""
        if not access_key.isprintable():
            shown = access_key.encode("ascii", "backslashreplace").decode()
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=shown)
        self.access_key = access_key
        self.signature = signature
        self.string_to_sign = string_to_sign
        self.is_query = is_query
        self.is_form = is_form
        self.is_v4 = is_v4
        self.signed_at = signed_at
        self.scope = scope
        self.signed_headers = signed_headers
        self.canonical_request = canonical_request
        self.token = token
        self.signing_key: bytes | None = None
        self.parent: Credential | None = None
        self._sign = sign
        self._other = other
        self._right_for: str | None = None
        self._wrong_for: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.access_key!r})"

    def check_signature(self, secret: str) -> bool:
        """Returns True if this secret makes the signature; asked again for the same one, it remembers."""
        if secret == self._right_for:
            return True
        if secret == self._wrong_for:
            return False
        given = self.signature.encode("utf-8", "surrogatepass")
        for string_to_sign in (self.string_to_sign, self._other):
            if string_to_sign is None:
                continue
            right, key = self._sign(secret, string_to_sign)
            if hmac.compare_digest(right.encode(), given):
                self.string_to_sign = string_to_sign
                self._right_for = secret
                self.signing_key = key
                return True
        self._wrong_for = secret
        return False

    def of_session(self, parent: Credential) -> None:
        """They are temporary, and right: filters are asked about who has asked for them from now on."""
        self.parent = parent
        self.access_key = parent.access_key

    def details(self) -> dict[str, Any]:
        """`s3api.auth_details`: what filters that know users go by."""
        if self.parent is not None:
            return self.parent.details()
        return {
            "access_key": self.access_key,
            "signature": self.signature,
            "string_to_sign": self.string_to_sign,
            "check_signature": self.check_signature,
        }

    def mismatch(self) -> S3Error:
        """The error of a signature that nobody's secret makes, with all that the sender needs to find out why."""
        if self.parent is not None:
            return S3Error(
                "InvalidToken", reason="parent"
            )  # its own signature was right; the key behind it counts no more
        shown = self.string_to_sign
        elements: dict[str, Any] = {
            "AWSAccessKeyId": self.access_key,
            "StringToSign": shown.decode("utf-8", "replace"),
            "SignatureProvided": self.signature,
            "StringToSignBytes": shown.hex(" "),
        }
        if self.canonical_request is not None:
            elements["CanonicalRequest"] = self.canonical_request.decode("utf-8", "replace")
            elements["CanonicalRequestBytes"] = self.canonical_request.hex(" ")
        return S3Error("SignatureDoesNotMatch", **elements)


def as_text(value: str) -> str:
    """A header's WSGI string as text. Raises S3Error for bytes that are none."""
    if value.isascii():
        return value
    try:
        return wsgi_to_str(value)
    except UnicodeError:
        raise S3Error("AccessDenied", reason="invalid_header_auth") from None


class _Unsigned:
    """What is asked of a Credential before it counts, where there is no signature to be looked at."""

    token = None
    scope = ""

    def __init__(self, access_key: str, code: str) -> None:
        self.access_key = access_key
        self._code = code

    def details(self) -> dict[str, Any]:
        return {
            "access_key": self.access_key,
            "signature": "",
            "string_to_sign": b"",
            "check_signature": lambda _secret: True,
        }

    def mismatch(self) -> S3Error:
        return S3Error(self._code, reason="no_such_user")


def unsigned(access_key: str, code: str = "AccessDenied") -> Credential:
    """Stands for the signature of a user (`account:name`), so that the auth filter tells whether there is one and what he may do. For who is
    proven otherwise, or asks for what everybody may know. `code`: of the error if there is no such user."""
    return cast(Credential, _Unsigned(access_key, code))
