"""Rows of containers in shards: their servers name the shard that takes a row, if the sender says that it follows (spec database 13.7).

Reading such an answer, and following one for rows that are sent to all servers of a container. Never here: keeping what could not be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from swift.core.config import truthy
from swift.core.names import split_path, wsgi_to_str
from swift.wire.direct import DirectError

FOLLOWED = {"X-Backend-Accept-Redirect": "true", "X-Backend-Accept-Quoted-Location": "true"}
MOST = 3  # shards of shards of …, for one row


def redirect_of(headers: Any) -> str:
    """The `account/container`, native text, that the Location of a 301 names; `headers` have a `get`. Raises ValueError."""
    location = headers.get("location") or ""
    if truthy(headers.get("x-backend-location-is-quoted")):
        location = unquote(location, errors="surrogateescape")
    else:
        location = wsgi_to_str(location)
    account, container, _ = split_path(location, 2, 3, True)
    f"{account}{container}".encode()  # no server has names that aren't UTF-8
    return f"{account}/{container}"


def to_all_that_list(
    send: Callable[[str, str], Sequence[Any]], account: str, container: str
) -> Sequence[Any]:
    """`send(account, container)`, again for the shard that one of its results, a DirectError, names; the last results.

    Native names. A shard that was asked already is not asked again.
    """
    asked = [f"{account}/{container}"]
    while True:
        results = send(*asked[-1].split("/", 1))
        shard = next(filter(None, map(_shard_in, results)), None)
        if shard is None or shard in asked or len(asked) > MOST:
            return results
        asked.append(shard)


def _shard_in(result: Any) -> str | None:
    if not isinstance(result, DirectError) or result.http_status != 301:
        return None
    try:
        return redirect_of(result.http_headers)
    except ValueError:
        return None
