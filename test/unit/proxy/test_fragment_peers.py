"""Which servers are asked in the short form of a two-phase write."""

from swift.core import clock
from swift.proxy.erasure_small import Peers

NODE, OTHER = {"ip": "127.0.0.1", "port": 6200}, {"ip": "127.0.0.1", "port": 6201}


def test_who_has_refused_it_is_not_asked_again_for_a_while(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    peers = Peers()
    assert peers.takes(NODE)
    peers.refused(NODE)
    assert not peers.takes(NODE) and peers.takes(OTHER)
    now[0] += Peers.SECONDS + 1  # another server may have come in its place
    assert peers.takes(NODE)
