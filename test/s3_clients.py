"""Clients of S3 for tests: boto3's, which is told everything that it would otherwise look for elsewhere."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def s3_client(
    address: tuple[str, int] | str,
    user: str = "test:tester",
    key: str = "testing",
    *,
    attempts: int = 0,
    session_token: str | None = None,
    **config: Any,
) -> Any:
    """One that names buckets in paths and tries again `attempts` times. address: (host, port) or `host:port`; config: of botocore's Config."""
    host = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}",
        aws_access_key_id=user,
        aws_secret_access_key=key,
        aws_session_token=session_token,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": attempts}, s3={"addressing_style": "path"}, **config),
    )
