"""Clients of S3 for tests: boto3's, which is told everything that it would otherwise look for elsewhere; and what they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from test.users import USERS

DENIED = ("AccessDenied", 403)


def s3_client(
    address: tuple[str, int] | str,
    user: str = "test:tester",
    key: str | None = None,
    *,
    attempts: int = 0,
    session_token: str | None = None,
    **config: Any,
) -> Any:
    """One that names buckets in paths and tries again `attempts` times. address: (host, port) or `host:port`; key: None for that which
    the user has in clusters of tests; config: of botocore's Config."""
    host = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}",
        aws_access_key_id=user,
        aws_secret_access_key=USERS[user] if key is None else key,
        aws_session_token=session_token,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": attempts}, s3={"addressing_style": "path"}, **config),
    )


def refusal(call: Callable[..., object], *arguments: Any, **named: Any) -> dict[str, Any]:
    """The answer to what must be refused."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        found: dict[str, Any] = error.response
        return found
    raise AssertionError(f"done, and not refused: {arguments} {named}")


def refused(call: Callable[..., object], *arguments: Any, **named: Any) -> tuple[str, int]:
    """(code, status) of what must be refused."""
    answer = refusal(call, *arguments, **named)
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
