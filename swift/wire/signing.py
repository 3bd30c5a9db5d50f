"""Signatures of requests between nodes: made for all that is sent to storage servers, looked at before anything is done with a request.

Signed is the head, byte for byte as it goes over the wire: method, path, query, Host, every header, so how the body is framed, and the
time. The signature is its last line:

    X-Backend-Signature: 1 KEY-ID SECONDS BYTES:SHA256 HMAC-SHA256

so that nothing has to be brought into a canonical form, and nothing is read in two ways. What is sent at once behind the head (small
objects, rows, questions of replicators) is covered by its hash, so many bytes of the body as they go over the wire; what is made while it
is sent is not (0:-).
What lives here: making signatures and checking them. Never here: refusing (wire.guard), where keys come from (core.backend_security), TLS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from swift.core import backend_security, clock
from swift.core.backend_security import OFF, Settings, WatchedFiles, read_keys
from swift.core.errors import ConfigError
from swift.engine.threads import DeviceBusy, run_in_thread

HEADER = "X-Backend-Signature"
_NOTHING = b"0:-"
MAX_COVERED = 1024 * 1024  # bytes of a body that is covered, which its receiver holds in memory anyway

_MARK = b"\r\nX-Backend-Signature: 1 "
_LINE = re.compile(
    rb"([A-Za-z0-9._-]{1,32}) ([0-9]{1,11}\.[0-9]{3}) ([0-9]{1,8}):(-|[0-9a-f]{64}) ([0-9a-f]{64})\Z"
)
_MAC_END = 64 + len("\r\n\r\n")


class _Key:
    """HMAC-SHA256 with one secret, prepared: a signature costs two copies of a hash."""

    __slots__ = ("_inner", "_outer", "mark")

    def __init__(self, key_id: str, secret: bytes) -> None:
        self.mark = b"X-Backend-Signature: 1 %s " % key_id.encode()
        block = sha256(b"swift backend request 1\0" + secret).digest().ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def mac(self, data: bytes) -> bytes:
        """64 hexadecimal digits."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        digits: str = outer.hexdigest()
        return digits.encode()


class Keyring:
    """The keys of some settings, as the file has them now."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._files = WatchedFiles(settings.keys_file)
        self._take(settings.keys)
        self.trouble = ""
        if settings.keys_file:
            # The settings may be old: a worker has those that its parent has read when it was started.
            self._reread(read_keys)

    def _take(self, keys: Mapping[str, bytes]) -> None:
        self.keys = {key_id.encode(): _Key(key_id, secret) for key_id, secret in keys.items()}
        self.first = next(iter(self.keys.values()))

    def refresh(self) -> None:
        """Takes what the file says if it is another one, while others go on with the old keys.

        What can't be read changes nothing, and is in `trouble`.
        """
        if self._files.changed():
            self._reread(partial(run_in_thread, read_keys))

    def _reread(self, read: Callable[[str], Mapping[str, bytes]]) -> None:
        try:
            self._take(read(self.settings.keys_file))
            self.trouble = ""
        except (ConfigError, DeviceBusy) as err:
            self.trouble = str(err)
            self._files.doubt()


_keyring: Keyring | None = None


def keyring() -> Keyring | None:
    """The process's keys, looked at again if they may have changed; None where nothing is signed."""
    global _keyring
    settings = backend_security.current()
    if settings.signing == OFF:
        return None
    ring = _keyring
    if ring is None or ring.settings is not settings:
        ring = _keyring = Keyring(settings)
    else:
        ring.refresh()
    return ring


_hashed: tuple[bytes, bytes] = (b"", _NOTHING)


def _covered(body: bytes) -> bytes:
    """What the signature says of a body. All copies of an object are the same bytes: they are hashed once."""
    global _hashed
    last, said = _hashed
    if body is last:
        return said
    if len(body) > MAX_COVERED:
        return _NOTHING
    said = f"{len(body)}:{sha256(body).hexdigest()}".encode()
    _hashed = body, said
    return said


def finished(head: bytes, body: bytes = b"") -> bytes:
    """The whole head, signed where that is wanted, of one that lacks only its empty line."""
    ring = keyring()
    if ring is None:
        return head + b"\r\n"
    key = ring.first
    text = b"%b%b%.3f %b " % (head, key.mark, clock.time(), _covered(body) if body else _NOTHING)
    return b"%b%b\r\n\r\n" % (text, key.mac(text))


class Fault(Exception):
    """Why a signature does not hold. `kind`: a word for figures; the text is for our log alone."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Covered(NamedTuple):
    """How many bytes behind the head are covered, and their hash (hexadecimal digits)."""

    size: int
    digest: bytes


def check_head(head: bytes, ring: Keyring, now: float) -> Covered | None:
    """What of the body is covered, if anything is. Raises Fault."""
    at = head.rfind(_MARK)
    if at < 0:
        raise Fault("unsigned", "it is not signed")
    match = _LINE.match(head, at + len(_MARK), len(head) - 4)
    if match is None or int(match[3]) > MAX_COVERED:
        raise Fault("malformed", "its signature is none")
    key_id, seconds, size, digest, mac = match.groups()
    key = ring.keys.get(key_id)
    if key is None:
        raise Fault("unknown_key", f"there is no key {key_id.decode()} here")
    if not compare_digest(key.mac(head[:-_MAC_END]), mac):
        raise Fault("wrong", f"it is not what was signed, or another secret is key {key_id.decode()}")
    ahead = float(seconds) - now
    if ahead > ring.settings.window:
        raise Fault("early", f"it was signed {ahead:.1f} s ahead of this node's clock")
    if ahead < -ring.settings.window:
        raise Fault("late", f"it was signed {-ahead:.1f} s ago by this node's clock")
    return None if digest == b"-" else Covered(int(size), digest)
