"""The replicated kind: whole copies of objects. Which road a read or a write takes; the roads are modules of their own.

Reads: `replicated_get`. Bodies that are in hand: `put_small`; those that still come: `put_streamed`.
"""

from __future__ import annotations

from swift.core.policy import REPLICATION
from swift.proxy import kinds
from swift.proxy.kinds import Upload
from swift.proxy.put_small import SMALL_BODY, SmallPut
from swift.proxy.put_streamed import StreamedPut
from swift.proxy.quorum import Answer, is_success
from swift.proxy.replicated_get import ReplicatedReads
from swift.proxy.reserved_uplinks import is_conditional
from swift.wire.message import HTTPServerError


@kinds.register(REPLICATION)
class Replicated(ReplicatedReads):
    """Objects of one replicated policy."""

    def put(self, upload: Upload) -> tuple[list[Answer], str | None]:
        length = upload.length
        if length is not None and length <= SMALL_BODY and not is_conditional(upload.exchange.environ):
            answers = SmallPut(self.services, upload, length).run()
        else:
            answers = StreamedPut(self.services, upload).run()
        return answers, self._etag(upload, answers)

    def _etag(self, upload: Upload, answers: list[Answer]) -> str | None:
        """What the servers that have stored the body say of it. Raises HTTPServerError if they contradict each other."""
        etags = {
            (answer.get("etag") or "").replace('"', "") for answer in answers if is_success(answer.status)
        }
        if len(etags) > 1:
            request = upload.exchange.request
            self.services.logger.error(
                "Object servers returned %d mismatched etags for %s", len(etags), request.path
            )
            raise HTTPServerError(request=request)
        return etags.pop() if etags else None
