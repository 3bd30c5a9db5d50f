"""Answers to what does not reach the application: heads that are refused, and requests for which there is no place.

Spec: proxy-and-backend.md 21.1.
"""

import html

from swift.core.transaction import new_transaction_id
from swift.wire.parser import BadHead


def refusal(error: BadHead, date_line: str, trans_id_suffix: str = "") -> bytes:
    """A whole response; date_line is the Date header with its CRLF."""
    if error.bare:
        return f"HTTP/1.0 {error.status} {error.reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
    if error.plain:
        content_type, body = "text/plain", error.explanation
    else:
        content_type, body = "text/html;charset=utf-8", _page(error)
    transaction = new_transaction_id(trans_id_suffix)
    head = (
        f"HTTP/1.1 {error.status} {error.reason}\r\n{date_line}Connection: close\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"X-Trans-Id: {transaction}\r\nX-Openstack-Request-Id: {transaction}\r\n\r\n"
    )
    return (head + body).encode("latin-1", "replace")


BUSY_STATUS = "503 Service Unavailable"
BUSY_BODY = b"The server is busy. Please try again later.\n"


def busy_headers(retry_after: int, trans_id_suffix: str = "") -> list[tuple[str, str]]:
    """Headers of the 503 that goes with BUSY_BODY; retry_after: seconds."""
    transaction = new_transaction_id(trans_id_suffix)
    return [
        ("Retry-After", str(retry_after)),
        ("Content-Type", "text/plain"),
        ("Content-Length", str(len(BUSY_BODY))),
        ("X-Trans-Id", transaction),
        ("X-Openstack-Request-Id", transaction),
    ]


def _page(error: BadHead) -> str:
    return (
        "<html><head><title>Error response</title></head><body><h1>Error response</h1>"
        f"<p>Error code: {error.status}</p><p>Message: {html.escape(error.reason)}.</p>"
        f"<p>{html.escape(error.explanation)}</p></body></html>\n"
    )
