"""Filter `cname_lookup`: hosts of others whose DNS says that they stand for one of ours (spec middleware 4.31).

`filter` decides what a host stands for, `dns` asks the name servers.
"""

from swift.middleware.cname_lookup.filter import CnameLookup, filter_factory

__all__ = ["CnameLookup", "filter_factory"]
