"""A copy on the server's side whose bytes pass by here, so that a checksum is taken of them (spec s3.md 14, 26).

Each piece is written as it comes. Never here: what may be copied, and what else the copy keeps (`copying`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from swift.s3 import checksums
from swift.s3.checksums import Algorithm
from swift.s3.digests import Check
from swift.s3.errors import S3Error
from swift.s3.payload import FOOTERS, BadBody
from swift.s3.request import S3Request
from swift.wire.body_input import BodyInput, SourceBroken
from swift.wire.message import InputFilter
from swift.wire.subanswer import Subanswer


class Place(NamedTuple):
    """An object: text. `query`: of the requests for it; `account`: None for that of the request."""

    container: str
    name: str
    query: Mapping[str, str]
    account: str | None = None


def copy(
    request: S3Request,
    source: Place,
    target: Place,
    headers: Mapping[str, Any],
    algorithm: Algorithm,
    extent: str | None = None,
    row_type: str | None = None,
    found: Subanswer | None = None,
    check: Callable[[], None] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> tuple[Subanswer, str]:
    """(what the PUT answered, the checksum that is kept with the copy). Raises S3Error.

    `headers`: environ keys of the PUT; `extent`: the value of a Range; `row_type`: of a part's row, which tells the checksum too; `found`: what the
    source must still be; `check`: called before the last byte is written, raises S3Error; `reading`: environ keys of the GET.
    """
    asked: dict[str, Any] = {"HTTP_X_NEWEST": "true", **(reading or {})}
    if found is not None:
        asked["HTTP_IF_MATCH"] = f'"{found.etag or ""}"'
    if extent is not None:
        asked["HTTP_RANGE"] = extent
    read = request.ask("GET", source.container, source.name, source.query, asked, account=source.account)
    if read.status == 412:
        read.close()
        raise S3Error("ServiceUnavailable", reason="changed_meanwhile")
    if read.status != (200 if extent is None else 206):
        raise request.error_of(read, source.container, source.name)
    below = BodyInput(read.body, read.content_length)
    try:
        taken = _Taken(below, Check(None, algorithm, None), read.content_length, check)
        footers = _footers(taken.check, row_type)
        made = {**headers, FOOTERS: footers}
        answer = request.given(
            "PUT", target.container, target.name, target.query, made, taken, read.content_length
        )
        if below.broken is not None:
            answer.close()
            raise S3Error("ServiceUnavailable", reason="copy_source_broken")
        if taken.error is not None:
            answer.close()
            raise taken.error
    except BadBody:
        assert taken.error is not None
        raise taken.error from None
    except SourceBroken:
        raise S3Error("ServiceUnavailable", reason="copy_source_broken") from None
    finally:
        read.sent = below.received
        read.close(below.broken)
    if answer.status not in (201, 202):
        raise request.error_of(answer, request.bucket, request.key)
    answer.drain()
    return answer, checksums.stored(algorithm, taken.check.value or b"")


def _footers(check: Check, row_type: str | None) -> Any:
    def update(footers: MutableMapping[str, Any]) -> None:
        if check.algorithm is None or check.value is None:
            return
        footers[checksums.SYSMETA.title()] = checksums.stored(check.algorithm, check.value)
        if row_type is not None:
            footers[checksums.ROW_TYPE] = checksums.in_row(row_type, check.algorithm.name, check.value.hex())

    return update


class _Taken(InputFilter):
    """A body with its checksum taken. `length`: None for one that ends where it ends; `last`: called before its end, raises S3Error.

    Of an empty one nothing is read: that is now.
    """

    def __init__(
        self, below: BodyInput, check: Check, length: int | None, last: Callable[[], None] | None = None
    ) -> None:
        super().__init__(below)
        self.check = check
        self._left = length
        self._last = last
        self.error: S3Error | None = None
        self._is_ended = length == 0
        if self._is_ended:
            self._end()

    def _end(self) -> None:
        self.check.end()
        if self._last is not None:
            self._last()

    def pull(self, size: int) -> bytes:
        data: bytes = super().pull(size)
        if data:
            self.check.update(data)
            if self._left is not None:
                self._left -= len(data)
        if not self._is_ended and (not data if self._left is None else self._left <= 0):
            self._is_ended = True
            try:
                self._end()
            except S3Error as error:
                self.error = error
                raise BadBody(str(error)) from None
        return data
