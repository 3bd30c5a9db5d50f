"""Questions to Keystone: whose signature is this, what is the secret of a key; and the token of our own that this takes (spec s3.md 3.8).

Never here: what is made of the answers. Each question ends in `http_timeout`, and nothing waits but who asks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.concurrency import Semaphore, Timeout
from swift.s3.token.identities import BadReply
from swift.s3.token.options import Options, Service
from swift.wire.client import BackendError
from swift.wire.remote import Remote

_TOKEN_LIFE = 300.0  # seconds; Keystone's are good for longer
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Refused(Exception):
    """Keystone says no, with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Keystone answers {status}")
        self.status = status


class Away(Exception):
    """Keystone does not answer, or not as it should."""


class Keystone:
    def __init__(self, options: Options, logger: Any) -> None:
        self.url = options.url
        self.service = options.service
        self.timeout = options.http_timeout
        self.logger = logger
        self._remote = Remote(self.timeout, self.timeout, context=options.context)
        self._token: str | None = None
        self._token_ends = 0.0
        self._asking = Semaphore(1)

    def whose(self, access_key: str, string_to_sign: bytes, signature: str) -> Any:
        """What Keystone tells of who made a signature. Raises Refused, Away."""
        credentials = {
            "access": access_key,
            "token": base64.urlsafe_b64encode(string_to_sign).decode(),
            "signature": signature,
        }
        return self._asked("POST", f"{self.url}/s3tokens", {"credentials": credentials})

    def secret(self, user_id: str, access_key: str) -> str:
        """The secret of a user's key. Raises Refused, Away."""
        user, access = quote(user_id, safe=""), quote(access_key, safe="")
        reply = self._asked("GET", f"{self.url}/users/{user}/credentials/OS-EC2/{access}", None)
        try:
            secret = reply["credential"]["secret"]
        except (KeyError, TypeError):
            secret = None
        if not isinstance(secret, str) or not secret:
            raise Away("no secret in Keystone's answer")
        return secret

    def _asked(self, method: str, url: str, body: Any) -> Any:
        """With our own token where there is one, and once more with a new one if it counts no more."""
        if self.service is None:
            return self._answered(method, url, _JSON, body)[1]
        token, is_new = self._own_token(self.service)
        try:
            return self._answered(method, url, {**_JSON, "X-Auth-Token": token}, body)[1]
        except Refused as error:
            if error.status != 401 or is_new:
                raise
            if self._token == token:
                self._token = None
        token, _ = self._own_token(self.service)
        return self._answered(method, url, {**_JSON, "X-Auth-Token": token}, body)[1]

    def _own_token(self, service: Service) -> tuple[str, bool]:
        """(token, is it new). Raises Away."""
        if self._token is not None and clock.monotonic() < self._token_ends:
            return self._token, False
        with self._asking:
            if self._token is not None and clock.monotonic() < self._token_ends:
                return self._token, False
            asked_at = clock.monotonic()
            try:
                headers, _ = self._answered(
                    "POST", f"{service.auth_url}/auth/tokens", _JSON, service.identity
                )
            except Refused as error:
                raise Away(f"no token for the service user: {error}") from None
            token = headers.get("x-subject-token")
            if not token:
                raise Away("no token for the service user")
            self._token, self._token_ends = token, asked_at + _TOKEN_LIFE
            return token, True

    def _answered(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[Mapping[str, str], Any]:
        """(headers, JSON). Raises Refused, Away."""
        data = b"" if body is None else json.dumps(body).encode()
        limit = Timeout(self.timeout)
        try:
            answer, reply = self._remote.whole(method, url, headers, data)
        except (BackendError, ValueError) as error:
            raise Away(str(error)) from None
        except Timeout as reached:
            if reached is not limit:
                raise
            raise Away(f"no answer in {self.timeout} s") from None
        finally:
            limit.cancel()
        if answer.status >= 500:
            raise Away(f"Keystone answers {answer.status}")
        if not 200 <= answer.status < 300:
            raise Refused(answer.status)
        try:
            return answer.headers, json.loads(reply)
        except (ValueError, RecursionError):
            raise Away("Keystone's answer is no JSON") from None


__all__ = ["Away", "BadReply", "Keystone", "Refused"]
