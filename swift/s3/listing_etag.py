"""The S3 ETag in the rows of listings: what multipart uploads leave there is shown apart, also to native clients (spec s3.md 6.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.middleware.listing_hash import LARGEST, changed_listing, parse_hash, shown_apart
from swift.wire.call import Application, StartResponse, call_app
from swift.wire.message import close_if_possible, parsed_path

_PARAMETER = "s3_etag"
_MARK = b"; s3_etag="


def etag_of(row: dict[str, Any]) -> str:
    """The ETag, in quotes, that S3 shows of a row of a native listing."""
    hashed: str = row["hash"] or ""
    if ";" in hashed:
        hashed, parameters = parse_hash(hashed)
        own = dict(parameters).get(_PARAMETER)
        if own:
            return '"' + own.strip('"') + '"'
    if row.get("s3_etag"):
        return str(row["s3_etag"])
    large = row.get("slo_etag")
    if large:
        return '"' + large.strip('"') + '-N"'
    return hashed if hashed[:1] == '"' else f'"{hashed}"'


def concerns(environ: dict[str, Any]) -> bool:
    """Returns True for a native listing of a container, in which there may be something to show."""
    if environ["REQUEST_METHOD"] != "GET":
        return False
    _, _, container, obj = parsed_path(environ)
    return container is not None and obj is None


def answer(app: Application, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """A native listing, `s3_etag` of its rows shown apart; anything else as it is."""
    status, headers, body = call_app(app, environ)
    is_json, length = False, None
    for name, value in headers:
        lower = name.lower()
        if lower == "content-type":
            is_json = value.split(";", 1)[0].strip().lower() == "application/json"
        elif lower == "content-length" and value.isdigit():
            length = int(value)
    if status[:3] != "200" or not is_json or length is None or length > LARGEST:
        start_response(status, headers)
        return body
    try:
        before = b"".join(body)
    finally:
        close_if_possible(body)
    data = changed_listing(before, _MARK, _show)
    if data is not before:
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        headers.append(("Content-Length", str(len(data))))
    start_response(status, headers)
    return [data]


def _show(row: dict[str, Any]) -> bool:
    return shown_apart(row, _PARAMETER)
