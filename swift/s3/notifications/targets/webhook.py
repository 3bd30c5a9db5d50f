"""Targets that take messages as HTTP POSTs: to the operator's address and no other, redirections are not followed."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from swift.core.concurrency import Timeout
from swift.core.config import positive_float
from swift.core.errors import ConfigError
from swift.s3.notifications.targets.target import Message, Refused, Target, Unreachable
from swift.wire.client import BackendError
from swift.wire.remote import Remote

SIGNATURE = "X-Hub-Signature-256"
# Refusals that are no word on the message: credentials, address and load may be put right.
_OF_THE_TARGET = (401, 403, 404, 405, 407, 408, 410, 421, 425, 429)
_TOKEN = str.maketrans("", "", "".join(map(chr, range(32))) + "\x7f")


class Webhook(Target):
    kind = "webhook"
    secrets = ("secret", "auth_token")

    def __init__(self, name: str, conf: Mapping[str, str]) -> None:
        super().__init__(name, conf)
        self.url = conf.get("url", "")
        parts = urlsplit(self.url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or "@" in parts.netloc
            or parts.fragment
        ):
            raise ConfigError(f"[s3-target:{name}] url: not an address of HTTP")
        self._secret = conf.get("secret", "").encode()
        self._headers = {"Content-Type": "application/json", "User-Agent": "swift-s3-notifier"}
        token = conf.get("auth_token", "")
        if token != token.translate(_TOKEN) or not token.isascii():
            raise ConfigError(f"[s3-target:{name}] auth_token: no control characters")
        if token:
            self._headers["Authorization"] = token if " " in token else f"Bearer {token}"
        self._remote = Remote(
            positive_float(conf.get("conn_timeout", 3)),
            self.timeout,
            [conf["proxy"]] if conf.get("proxy") else (),
            _context(name, conf) if parts.scheme == "https" else None,
        )
        self._remote.check(self.url)

    def deliver(self, messages: Sequence[Message]) -> None:
        body = json.dumps(_together(messages), separators=(",", ":")).encode()
        headers = dict(self._headers)
        if self._secret:
            headers[SIGNATURE] = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        limit = Timeout(self.timeout * 2)
        try:
            answer, _ = self._remote.whole("POST", self.url, headers, body)
        except (BackendError, OSError, ValueError) as error:
            raise Unreachable(str(error)) from None
        except Timeout as reached:
            if reached is not limit:
                raise
            raise Unreachable(f"no answer within {self.timeout * 2:g} s") from None
        finally:
            limit.cancel()
        if 200 <= answer.status < 300:
            return
        if 400 <= answer.status < 500 and answer.status not in _OF_THE_TARGET:
            raise Refused(f"status {answer.status}")
        raise Unreachable(f"status {answer.status}")

    def close(self) -> None:
        self._remote.close()


def _together(messages: Sequence[Message]) -> Message:
    if len(messages) == 1:
        return messages[0]
    return {"Records": [record for message in messages for record in message["Records"]]}


def _context(name: str, conf: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=conf.get("ca_file") or None)
        if conf.get("cert_file"):
            context.load_cert_chain(conf["cert_file"], conf.get("key_file") or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"[s3-target:{name}]: {error}") from None
    return context
