"""Segments that the expirer is to remove as soon as it comes by (spec middleware 4.21.3). Never here: which ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.core.names import str_to_wsgi
from swift.core.timestamp import Timestamp
from swift.obj.expirer.tasks import async_container, async_rows
from swift.wire.call import Application
from swift.wire.message import wsgi_quote
from swift.wire.subanswer import ask
from swift.wire.subrequest import make_request


def send(
    app: Application,
    environ: dict[str, Any],
    expirer_account: str,
    timestamp: Timestamp,
    account: str,
    container: str,
    names: Iterable[str],
    source: str,
) -> bool:
    """Queue objects by their names (text), as far as they are not written after `timestamp`. Returns False if that failed."""
    path = f"/v1/{expirer_account}/{async_container(timestamp)}"
    headers = {
        "X-Timestamp": timestamp.internal,
        "X-Backend-Allow-Private-Methods": "True",
        "X-Backend-Storage-Policy-Index": "0",
    }
    rows = async_rows(timestamp, account, container, names)
    queued = make_request(
        environ,
        "UPDATE",
        wsgi_quote(str_to_wsgi(path)),
        headers,
        rows,
        pre_authed=True,
        source=source,
        query="",
    )
    got = ask(app, queued.environ)
    got.drain()
    return got.is_success
