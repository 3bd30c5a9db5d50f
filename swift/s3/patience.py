"""Answers to requests that take long: blanks while they do, so that nobody in between gives up (spec s3.md 7.5, 26).

What goes wrong after the first blank is told in a document of status 200. Never here: what takes so long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from swift.middleware.parallel import Meanwhile
from swift.s3.answers import Answer, Headers, xml_answer
from swift.s3.errors import S3Error
from swift.s3.notifications import telling
from swift.s3.request import S3Request
from swift.s3.xml import DECLARATION

PATIENCE = 10.0  # seconds, after which blanks are sent
Told = tuple[bytes, Headers]


def answer_of(request: S3Request, work: Callable[[], Told]) -> Answer:
    """The answer of `work`, a document and headers; these are lost if it takes long. Raises S3Error."""

    def told() -> Told:
        try:
            return work()
        finally:
            # Here, as the client may have had the beginning of its answer already; also of what was done before something failed.
            telling.send(request)

    doing = Meanwhile(told)
    if doing.is_done_within(PATIENCE):
        return xml_answer(*doing.wait())
    return Answer(200, [("Content-Type", "application/xml")], _told_at_length(request, doing))


def _told_at_length(request: S3Request, doing: Meanwhile) -> Iterator[bytes]:
    yield DECLARATION.replace("'", '"').encode()
    while not doing.is_done_within(PATIENCE):
        yield b" "
    request_id = request.environ.get("swift.trans_id", "")
    try:
        found, _ = doing.wait()
    except S3Error as error:
        found = error.document(request_id, request.resource)
    except Exception:
        request.logger.exception("answering %s", request.resource)
        found = S3Error("InternalError").document(request_id, request.resource)
    yield found.partition(b"\n")[2]
