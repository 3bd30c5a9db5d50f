"""Words of object requests that the proxy and the object server must agree on: what is kept, what a listing is told.

Names and values only; where they come from and go to is decided by the callers. Spec: proxy-and-backend 13.3, 15.1, 15.5.
"""

from __future__ import annotations

from collections.abc import Iterable

from swift.core.hashing import hash_path
from swift.core.timestamp import normalize_delete_at

# Headers kept with an object besides its metadata, unless `allowed_headers` says otherwise.
DEFAULT_ALLOWED_HEADERS = (
    "Content-Disposition, Content-Encoding, X-Delete-At, X-Object-Manifest, X-Static-Large-Object, "
    "Cache-Control, Content-Language, Expires, X-Robots-Tag"
)
META, SYSMETA, TRANSIENT_SYSMETA = "X-Object-Meta-", "X-Object-Sysmeta-", "X-Object-Transient-Sysmeta-"
# The later ones win.
OVERRIDES = ("X-Backend-Container-Update-Override-", "X-Object-Sysmeta-Container-Update-Override-")

# What is kept with a fragment archive: of the object whose fragments they are, and which of them they are (object-disk 8).
EC_PREFIX = "X-Object-Sysmeta-Ec-"
EC_ETAG, EC_LENGTH, EC_INDEX = f"{EC_PREFIX}Etag", f"{EC_PREFIX}Content-Length", f"{EC_PREFIX}Frag-Index"
EC_SCHEME, EC_SEGMENT_SIZE = f"{EC_PREFIX}Scheme", f"{EC_PREFIX}Segment-Size"
# What ends the second phase of a write of fragments (proxy 14.3).
COMMIT_CONFIRMATION = b"put_commit_confirmation"

# In the answer to a PUT or DELETE that replaced a static large object: `<its time>;<the upload that made it, quoted, or nothing>`, several of
# them with `,` between where servers have replaced different ones. And what a DELETE says that must leave such an object alone (412).
REPLACED_LARGE, UNLESS_LARGE = "X-Backend-Replaced-Large-Object", "X-Backend-Unless-Large-Object"
UPLOAD_IDS = (f"{SYSMETA}S3Api-Upload-Id", f"{SYSMETA}Swift3-Upload-Id")  # as stored

# On a PUT or DELETE: 412 if there is something newer than that time. It says what was seen, and takes the place of If-None-Match.
IF_CURRENT = "X-Backend-If-Current-Timestamp"

# In the environ of a PUT: called with a mapping of footers once its body was read, to add what is kept with the object.
UPDATE_FOOTERS = "swift.callback.update_footers"
# And there: If-None-Match is only to tell early of what is there, each server for itself; who races with others does not mind.
UNRESERVED = "swift.unreserved"
# And there: it replaces an object by one that is no larger, and no quota is in its way.
UNMETERED = "swift.unmetered"


def update_overrides(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """X-<field> values that replace those of a container update; of headers (title case) first, then footers."""
    found: dict[str, str] = {}
    for prefix in OVERRIDES:
        for source in sources:
            for name, value in source:
                if name.startswith(prefix) and len(name) > len(prefix):
                    found["X-" + name[len(prefix) :]] = value
    return found


def queue_container(
    divisor: int, delete_at: int, account: str | bytes, container: str | bytes, obj: str | bytes
) -> str:
    """The name of the container in which the expiry of an object is queued. `divisor`, `delete_at`: seconds."""
    spread = int(hash_path(account, container, obj), 16) % 100
    return normalize_delete_at(delete_at // divisor * divisor - spread)
