"""swift-container-deleter: queues the objects of a container for deletion, which the object-expirer does later (operations.md 15)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from swift.core import concurrency

if TYPE_CHECKING:
    from swift.core.timestamp import Timestamp

ROWS = 10_000  # of one request
REPORT_SECONDS = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.core.errors import SwiftError
    from swift.core.timestamp import Timestamp
    from swift.wire.internal import InternalClient, UnexpectedResponse

    args = _parser().parse_args(argv)
    timestamp = args.timestamp or Timestamp.now()
    try:
        client = InternalClient(
            args.config,
            "Swift Container Deleter",
            args.request_tries,
            use_replication_network=True,
            global_conf={"log_name": "container-deleter-ic"},
        )
        listed = client.iter_objects(
            args.account,
            args.container,
            marker=args.marker,
            end_marker=args.end_marker,
            prefix=args.prefix,
            acceptable_statuses=(2,),
        )
        for text in mark(client, listed, args.account, args.container, timestamp):
            print(text, flush=True)
    except (SwiftError, UnexpectedResponse, ValueError, OSError) as err:
        print(f"{_parser().prog}: {err}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    from swift.core.timestamp import Timestamp
    from swift.wire.internal import DEFAULT_CONF

    parser = argparse.ArgumentParser(
        prog="swift-container-deleter",
        description="Queue all objects of a container for deletion. They are deleted by object-expirers, which must run; "
        "the container itself stays.",
    )
    parser.add_argument(
        "--config", default=DEFAULT_CONF, help="internal client's configuration (%(default)s)"
    )
    parser.add_argument(
        "--request-tries", type=int, default=3, metavar="N", help="tries of each request (%(default)s)"
    )
    parser.add_argument("--prefix", default="", help="only objects whose names begin so")
    parser.add_argument(
        "--marker", default="", help="only objects behind this name: to go on where a run ended"
    )
    parser.add_argument("--end-marker", default="", help="only objects in front of this name")
    parser.add_argument(
        "--timestamp",
        type=Timestamp,
        metavar="TIME",
        help="delete what is not newer than this, in seconds since the epoch (now)",
    )
    parser.add_argument("account")
    parser.add_argument("container")
    return parser


def mark(
    client: Any, listed: Iterable[dict[str, Any]], account: str, container: str, timestamp: Timestamp
) -> Iterator[str]:
    """Queue objects as a listing shows them; lines about how far it is. Raises what the client raises."""
    from swift.core import clock
    from swift.obj.expirer.tasks import async_container, async_rows

    path = client.make_path(".expiring_objects", async_container(timestamp))
    headers = {
        "X-Backend-Allow-Private-Methods": "True",
        "X-Backend-Storage-Policy-Index": "0",
        "X-Timestamp": timestamp.internal,
    }
    count, last, report_at = 0, "", clock.monotonic() + REPORT_SECONDS
    names = (item["name"] for item in listed)
    try:
        while batch := list(islice(names, ROWS)):
            body = async_rows(timestamp, account, container, batch)
            response = client.make_request("UPDATE", path, headers, (2,), body)
            for _ in response.app_iter:
                pass
            count, last = count + len(batch), batch[-1]
            if clock.monotonic() >= report_at:
                report_at = clock.monotonic() + REPORT_SECONDS
                yield f"Marked {count} objects for deletion, through {last!r}"
    except Exception:
        if count:  # the next run may go on behind it
            yield f"Marked {count} objects for deletion, through {last!r}"
        raise
    yield f"Finished. Marked {count} objects for deletion."
