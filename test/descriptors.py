"""What a stretch of code leaves open. Only its own descriptors count: never what other tests have left for the
garbage collector, a thread or a peer to close. Counting all descriptors of a process never belongs into a test."""

import contextlib
import gc
import os


def open_files() -> dict[tuple[int, int, int], str]:
    """{(descriptor, device, inode): what it leads to} of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
            found[int(name), status.st_dev, status.st_ino] = (
                f"{name} -> {os.readlink('/proc/self/fd/' + name)}"
            )
        except OSError:  # closed meanwhile, as the one of this listing is
            pass
    return found


class Opened:
    """The descriptors that are open now and were not when this was made."""

    def __init__(self):
        gc.collect()
        self._before = open_files()

    def still(self) -> list[str]:
        return [text for key, text in open_files().items() if key not in self._before]


@contextlib.contextmanager
def none_left_open(turn=None, turns: int = 100):
    """Fails if the code inside leaves open what was not open before it.

    `turn()`, where given, is called up to `turns` times as long as something is: what ends in the background ends
    in it (late answers, threads, peers that see a connection close), and at last the garbage collector is asked.
    """
    opened = Opened()
    yield
    if turn is not None:
        for _ in range(turns):
            turn()
            if not opened.still():
                return
        gc.collect()
    left = opened.still()
    assert not left, f"left open: {left}"
