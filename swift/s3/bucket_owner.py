"""Whose bucket a client takes it for: `x-amz-expected-bucket-owner` and its like for sources of copies (spec s3.md 13.3).

An answer other than 403 would let somebody write into, or read from, a bucket that is no longer the one he means. Never here: who may.
"""

from __future__ import annotations

from swift.s3.errors import S3Error
from swift.s3.identity import account_id_of
from swift.s3.request import S3Request

EXPECTED, EXPECTED_OF_SOURCE = "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"


def check(request: S3Request, header: str = EXPECTED, of: str | None = None) -> None:
    """Raises S3Error unless the account that a bucket is in is the one that the header names, if it is there; `of`: if it is another
    one than the request's."""
    expected = request.header(header)
    if expected is None:
        return
    request.authenticate()
    account = of or request.account or ""
    if not expected or expected not in (account, account_id_of(account, request.options)):
        raise S3Error("AccessDenied", reason="expected_bucket_owner")
