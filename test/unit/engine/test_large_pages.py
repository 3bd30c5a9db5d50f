"""What is promised of swift.engine.large_pages: memory keeps its content and does not grow, and what the machine can't do is no error."""

import mmap
import os
import subprocess
import sys

import pytest

from swift.engine import large_pages

SIZE = 16 << 20

MAPS = """\
5571ad57e000-5571ade1c000 rw-p 00000000 00:00 0                          [heap]
7fc600000000-7fc600400000 r-xp 00000000 fe:00 26933                      /usr/lib/libpython3.11.so.1.0
7fc600400000-7fc600600000 rw-p 00400000 fe:00 26933                      /usr/lib/libpython3.11.so.1.0
7fc604100000-7fc604600000 rw-p 00000000 00:00 0
7fc605000000-7fc605400000 rw-s 00000000 00:01 7                          /dev/zero (deleted)
7fc6055ef000-7fc6055f3000 rw-p 00000000 00:00 0
7fc606000000-7fc606200000 r--p 00000000 00:00 0
7ffca8600000-7ffca8a00000 rw-p 00000000 00:00 0                          [stack]
"""  # fmt: skip


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE


def test_private_memory_that_is_written_to_is_what_counts():
    assert list(large_pages._spans(MAPS.splitlines())) == [
        (0x5571AD600000, 0x5571ADE00000),
        (0x7FC604200000, 0x7FC604600000),
    ]


def test_content_stays_and_what_is_empty_stays_empty():
    full = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    empty = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pattern = os.urandom(1 << 20) * (SIZE >> 20)
    full[:] = pattern
    before = rss()
    gathered = large_pages.gather()
    assert gathered % large_pages.LARGE == 0
    assert rss() - before <= gathered * (1 - large_pages.ENOUGH) + (1 << 20)
    assert full[:] == pattern
    assert not any(empty[:4096])


SHOW = """
import mmap, re
from swift.engine import large_pages
memory = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = bytes(16 << 20)
print(large_pages.gather(), re.search(r"AnonHugePages:\\s+(\\d+)", open("/proc/self/smaps_rollup").read())[1])
"""


def test_the_kernel_has_what_is_said_to_be_gathered():
    out = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    gathered, there = map(int, out.split())
    assert there << 10 >= gathered


@pytest.mark.parametrize("said", ["always madvise [never]\n", None])
def test_where_it_is_switched_off_nothing_is_asked_for(tmp_path, monkeypatch, said):
    switch = tmp_path / "enabled"
    if said is not None:
        switch.write_text(said)
    monkeypatch.setattr(large_pages, "SWITCH", str(switch))
    monkeypatch.setattr(large_pages, "_libc", None)
    assert large_pages.gather() == 0


def test_what_the_kernel_refuses_is_passed_over(monkeypatch):
    class Refuses:
        @staticmethod
        def madvise(*args):
            return -1

    monkeypatch.setattr(large_pages, "_libc", Refuses)
    assert large_pages.gather() == 0
