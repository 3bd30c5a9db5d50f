"""The process that carries batches to the disks: it shares no interpreter lock with the server that it works for.

Started by `carriers`, with a socket as descriptor 3. For each device it is sent another socket, and serves that in a thread of its own, so
that a disk that hangs stalls no other. The end of the socket ends it.
What never lives here: what a write does (`batch`), and what becomes of writes when this process dies (`carriers`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import Any

from swift.engine import large_pages
from swift.engine.fault_points import fault_point
from swift.engine.mounts import is_mount
from swift.obj.errors import DeviceUnavailable
from swift.obj.files.batch import MAX_BYTES, MAX_ITEMS, SmallWrite, write_batch
from swift.obj.files.messages import Terms, decode_item, encode_result, join_results

CONTROL = 3
MAX_MESSAGE = 1 << 19  # bytes; a body, its metadata, and what was there before
REPLY_BYTES = 32768  # of results sent at once, about
END_SECONDS = 5.0
READY = b"ready "  # and the number of the thread


def _packed(number: int, item: SmallWrite, value: Any) -> bytes:
    try:
        packed = encode_result(number, item, value)
        if len(packed) <= MAX_MESSAGE // 2:
            return packed
        told = f"{len(packed)} bytes of result"
    except Exception as err:
        told = f"{value!r}: {err}"
    # it is done, but nobody can be told how it went
    return encode_result(number, item, RuntimeError(f"a result that can't be sent: {told}"))


def _write(terms: Terms, items: list[SmallWrite]) -> list[Any]:
    if terms.mount_check and not is_mount(terms.path):
        return [DeviceUnavailable(terms.path) for _ in items]
    return write_batch(items, terms.options)


def serve(sock: socket.socket) -> None:
    """One device: all that waits is a batch. Returns when the other end is closed. Raises OSError."""
    buffer = memoryview(bytearray(MAX_MESSAGE))
    terms = Terms.decode(sock.recv(MAX_MESSAGE))
    sock.send(READY + b"%d" % threading.get_native_id())
    while True:
        numbers: list[int] = []
        items: list[SmallWrite] = []
        size = 0
        try:
            while len(items) < MAX_ITEMS and size < MAX_BYTES:
                count = sock.recv_into(buffer, 0, socket.MSG_DONTWAIT if items else 0)
                if not count:
                    return
                number, item = decode_item(bytes(buffer[:count]))
                numbers.append(number)
                items.append(item)
                size += item.bytes
        except BlockingIOError:
            pass
        values = _write(terms, items)
        fault_point("writer:written")
        _reply(sock, [_packed(*what) for what in zip(numbers, items, values, strict=True)])


def _reply(sock: socket.socket, results: list[bytes]) -> None:
    group: list[bytes] = []
    size = 0
    for result in results:
        if group and size + len(result) > REPLY_BYTES:
            sock.send(join_results(group))
            group, size = [], 0
        group.append(result)
        size += len(result)
    sock.send(join_results(group))


def _serve_until_it_ends(sock: socket.socket) -> None:
    try:
        serve(sock)
    except OSError:
        pass  # the server is gone
    except BaseException as err:
        # the server must hear that its writes are in doubt, and it hears of nothing but our end
        sys.stderr.write(f"writer process: {err!r}\n")
        os._exit(1)
    finally:
        sock.close()


def main() -> None:
    """The life of the process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # meant for the server; with its end comes ours
    os.closerange(CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
    large_pages.gather()
    control = socket.socket(fileno=CONTROL)
    threads: list[threading.Thread] = []
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        for fd in descriptors:
            sock = socket.socket(fileno=fd)
            thread = threading.Thread(target=_serve_until_it_ends, args=(sock,), daemon=True)
            thread.start()
            threads.append(thread)
        if not data:
            break
    for thread in threads:
        thread.join(END_SECONDS / len(threads))
    os._exit(0)  # a thread that hangs in a disk can't be waited for
