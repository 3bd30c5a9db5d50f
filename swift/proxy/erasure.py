"""The erasure-coded kind: objects in fragments, each on a node of its own (spec proxy 14). Which road a write takes.

Reads: `erasure_get`. Bodies that are in hand: `erasure_small`; those that still come: `erasure_put`.
"""

from __future__ import annotations

from swift.core.policy import ERASURE_CODING, ErasurePolicy
from swift.proxy import kinds
from swift.proxy.erasure_get import ErasureReads
from swift.proxy.erasure_put import StreamedFragments
from swift.proxy.erasure_small import SMALL_BODY, Peers, SmallFragments
from swift.proxy.kinds import Upload
from swift.proxy.put_body import ClientBody
from swift.proxy.quorum import Answer
from swift.proxy.reserved_uplinks import is_conditional
from swift.proxy.services import Services


@kinds.register(ERASURE_CODING)
class ErasureCoded(ErasureReads):
    """Objects of one erasure-coded policy."""

    def __init__(self, services: Services, policy: ErasurePolicy) -> None:
        super().__init__(services, policy)
        self.peers = Peers()
        policy.codec.prepare()  # here, where nobody waits

    def put(self, upload: Upload) -> tuple[list[Answer], str | None]:
        length, body = upload.length, None
        if length is not None and length <= SMALL_BODY and not is_conditional(upload.exchange.environ):
            body = ClientBody(self.services, upload.exchange).whole(length)
            done = SmallFragments(self.services, self.policy, upload, body, self.peers).run()
            if done is not None:
                return done
        return StreamedFragments(self.services, self.policy, upload, body).run()
