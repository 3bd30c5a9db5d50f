"""The command line of ./saio, as far as it needs no cluster."""

import contextlib
import socket
import threading

from swift.cli import saio
from swift.cli.saio_layout import Layout
from test.cluster import free_ports


def test_the_proxy_is_asked_only_when_all_nodes_listen(tmp_path, monkeypatch):
    """Else it counts errors of nodes that are just starting, and avoids them for a minute: the start would fail."""
    port, base_port = free_ports()
    layout = Layout(tmp_path, port=port, base_port=base_port)
    listening = []
    asked = []

    def answers(_layout):
        asked.append(len(listening))
        return True

    monkeypatch.setattr(saio, "_running", lambda _layout: dict.fromkeys(saio._names(), 1))
    monkeypatch.setattr(saio, "_answers", answers)
    with contextlib.ExitStack() as stack:
        waiter = threading.Thread(target=saio._wait_until_it_answers, args=(layout,))
        waiter.start()
        for ip, port in layout.addresses():
            assert not asked
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((ip, port))
            sock.listen(5)
            listening.append(sock)
        waiter.join(10)
        assert asked == [len(layout.addresses())]
