"""What a process has loaded, put into large pages.

A server's code is Python objects all over its heap, and a node has a dozen such processes that take turns on each processor: a good part of
their time goes into finding out, page by page, where in memory things are, twice over on a virtual machine. One large page stands for 512.
What lives here: asking the kernel for that (MADV_COLLAPSE, Linux 6.1). What never does: when. Where the kernel can't, or the machine's
administrator has switched large pages off, nothing happens, and nothing is slower than before.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Iterator
from typing import Any

LARGE = 2 << 20  # bytes; on machines with other sizes the kernel refuses, or takes what fits
SWITCH = "/sys/kernel/mm/transparent_hugepage/enabled"

ENOUGH = 0.75  # of a large page

_MADV_COLLAPSE = 25
_ENTRY = 8  # bytes of pagemap for each page
_HEAP = "[heap]"

_libc = ctypes.CDLL(None, use_errno=True)


def gather() -> int:
    """Put this process's own memory, as it is now, into large pages; how many bytes the kernel has been asked for and took.

    Only where most of a large page is in use already, so that the process does not grow by more than it rounds up (threads' stacks are
    nearly empty, and large). What is allocated later lies in small pages, as ever. Blocks for some milliseconds. Raises nothing.
    """
    gathered = 0
    try:
        with open(SWITCH) as file:
            if "[never]" in file.read():
                return 0
        with open("/proc/self/maps") as file:
            spans = list(_spans(file))
        with open("/proc/self/pagemap", "rb", buffering=0) as pages:
            for first, last in spans:
                # One at a time: what is refused says nothing of the next.
                for start in range(first, last, LARGE):
                    if _is_in_use(pages, start) and not _libc.madvise(
                        ctypes.c_void_p(start), ctypes.c_size_t(LARGE), _MADV_COLLAPSE
                    ):
                        gathered += LARGE
    except (OSError, ValueError):
        pass  # no /proc, or none that shows this: a container's, perhaps
    return gathered


def _is_in_use(pages: Any, start: int) -> bool:
    """Returns True if enough of the large page that would begin at `start` is in memory. `pages`: /proc/self/pagemap."""
    small = mmap.PAGESIZE
    pages.seek(start // small * _ENTRY)
    entries = pages.read(LARGE // small * _ENTRY)
    # the highest bit of an entry (little-endian) says that the page is there
    return sum(byte >> 7 for byte in entries[_ENTRY - 1 :: _ENTRY]) >= LARGE // small * ENOUGH


def _spans(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """(first, behind the last) address of what can be whole large pages: private memory that is written to and no file's, no stack's."""
    for line in maps:
        fields = line.split()
        addresses, permissions = fields[:2]
        name = fields[5] if len(fields) > 5 else ""
        if permissions != "rw-p" or name not in ("", _HEAP):
            continue
        start, end = (int(word, 16) for word in addresses.split("-"))
        first, last = -(-start // LARGE) * LARGE, end // LARGE * LARGE
        if first < last:
            yield first, last
