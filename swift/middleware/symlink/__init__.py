"""Filter `symlink`: objects that stand for other objects (spec middleware 4.25).

A link is an empty object with system metadata that says where it leads: `links` knows its headers, `walk` goes where it leads, `filter`
decides which requests are about links and makes them. Whoever follows a link needs the right to read it and the right to read its
target: each step is a request of its own, with the client's rights. Links that other filters make for themselves (object versioning)
may say that their targets are in the reserved namespace, and then that one step is the filter's own.
"""

from swift.middleware.symlink.filter import SymlinkFilter, filter_factory

__all__ = ["SymlinkFilter", "filter_factory"]
