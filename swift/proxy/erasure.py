"""The erasure-coded kind: objects in fragments, each on a node of its own (spec proxy 14). Which road a write takes.

Reads: `erasure_get`. Bodies that are in hand: `erasure_small`; those that still come: `erasure_put`.
"""

from __future__ import annotations

from swift.core.policy import ERASURE_CODING
from swift.proxy import kinds
from swift.proxy.erasure_get import ErasureReads
from swift.proxy.erasure_put import StreamedFragments
from swift.proxy.kinds import Upload
from swift.proxy.quorum import Answer


@kinds.register(ERASURE_CODING)
class ErasureCoded(ErasureReads):
    """Objects of one erasure-coded policy."""

    def put(self, upload: Upload) -> tuple[list[Answer], str | None]:
        return StreamedFragments(self.services, self.policy, upload).run()
