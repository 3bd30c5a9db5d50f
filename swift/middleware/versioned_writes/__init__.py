"""Filter `versioned_writes`: objects that are overwritten or deleted are kept.

`filter` holds the options and the choice, `locations` and `archive` the two legacy modes (spec middleware 4.23); object versioning (4.24)
is a room of its own, `swift.middleware.object_versioning`.
"""

from swift.middleware.versioned_writes.filter import filter_factory

__all__ = ["filter_factory"]
