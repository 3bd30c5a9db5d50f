"""Listings of containers: the ETags in them are decrypted, in the JSON as the servers made it (spec middleware 2.8, 4.27).

Only rows with an encrypted hash are touched. Never here: what else a hash carries (that is for the filters to the left).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from swift.core.concurrency import sleep
from swift.middleware.encryption import ciphers
from swift.middleware.encryption.ciphers import CryptoError, ValueCipher, value_cipher
from swift.middleware.encryption.keyring import Keyring
from swift.middleware.keymaster.keys import NoKeys, UnknownSecret
from swift.wire.call import call_application
from swift.wire.message import HTTPException, close_if_possible, parsed_path

_UNKNOWN = b'"<unknown>"'
_MARK = b"swift_meta="
# Quotes that belong to a text are escaped, so that nothing but a row's hash looks like this.
_HASH = re.compile(rb'("hash":\s*)"([^"\\]*swift_meta=[^"\\]*)"')
_TURN = 500  # rows after which other requests get a turn


def opened_listing(
    app: Any, environ: dict[str, Any], start_response: Callable[..., Any], logger: Any
) -> Iterable[bytes]:
    """Answers a GET of a container."""
    status, headers, body, exc_info = call_application(app, environ)
    if status[0] == "2" and _is_json(headers):
        data = _whole(body)
        body = [data]
        if _MARK in data:
            try:
                data = _Rows(environ, logger).opened(data)
            except HTTPException as error:
                return error(environ, start_response)
            body = [data]
            length = str(len(data))
            headers = [
                (name, length if name.lower() == "content-length" else value) for name, value in headers
            ]
    start_response(*((status, headers) if exc_info is None else (status, headers, exc_info)))
    return body


def _is_json(headers: list[tuple[str, str]]) -> bool:
    return any(n.lower() == "content-type" and value.startswith("application/json") for n, value in headers)


def _whole(body: Iterable[bytes]) -> bytes:
    try:
        return b"".join(body)
    finally:
        close_if_possible(body)


class _Rows:
    """The rows of one listing. Their keys are all that of one container, unless objects came here in other ways."""

    def __init__(self, environ: dict[str, Any], logger: Any) -> None:
        self._path = environ["PATH_INFO"][:600]
        self._logger = logger
        self._keyring = Keyring(environ, logger)
        self._has_told = False
        _, account, container, _ = parsed_path(environ)
        # What nearly all rows have between their IV and their name, and by what follows that name whose key is meant.
        self._head = ciphers.key_id_head(f"/{account}/{container}/")
        self._by_tail: dict[str, ValueCipher] = {}

    def opened(self, data: bytes) -> bytes:
        """The JSON with all hashes decrypted, or `<unknown>`. Raises HTTPException where there is no keymaster."""
        parts: list[bytes] = []
        at = 0
        for count, match in enumerate(_HASH.finditer(data), 1):
            parts += (data[at : match.start()], match[1], self._hash(match[2]))
            at = match.end()
            if count % _TURN == 0:
                sleep(0)
        parts.append(data[at:])
        return b"".join(parts)

    def _hash(self, raw: bytes) -> bytes:
        """One hash as JSON."""
        try:
            text = raw.decode("ascii")
            plain = self._of_this_container(text)
            if plain is None:
                sealed = ciphers.parse_sealed(text)
                plain = self._cipher(sealed).apply(sealed.meta.get("iv", b""), sealed.data)
            return json.dumps(plain.decode("utf-8")).encode("ascii")
        except UnknownSecret as error:
            if not self._has_told:
                self._has_told = True
                self._logger.error("Error decrypting listing of %r: %s", self._path, error)
        except (CryptoError, NoKeys, UnicodeError) as error:
            self._logger.error("Error decrypting listing of %r: %s", self._path, str(error)[:200])
        return _UNKNOWN

    def _cipher(self, sealed: ciphers.Sealed) -> ValueCipher:
        return value_cipher(self._keyring.of(sealed.meta.get("key_id"), "container")["container"])

    def _of_this_container(self, text: str) -> bytes | None:
        """A hash whose key id looks as that of most rows does, without taking it apart; None for any other. Raises as `_hash` expects."""
        value, _, rest = text.partition(ciphers.VALUE_HEAD)
        iv, _, rest = rest.partition(self._head) if self._head else ("", "", "")
        # The first quote ends the name, unless there is a backslash somewhere.
        end = rest.find("%22")
        if end < 0 or "%5C" in rest:
            return None
        tail = rest[end:]
        cipher = self._by_tail.get(tail)
        if cipher is None:
            cipher = self._by_tail[tail] = self._cipher(ciphers.parse_sealed(text))
        return cipher.apply(ciphers.iv_of(iv), ciphers.unb64(value))
