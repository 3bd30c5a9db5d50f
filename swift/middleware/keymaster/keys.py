"""Keys of containers and objects: HMACs of their paths under a root secret, and the key ids that say which (spec middleware 4.26).

Which root secrets there are comes from the keymaster filters' settings. Never here: anything that is encrypted, and HTTP.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import posixpath
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from swift.core.config import multi_key_options
from swift.core.errors import ConfigError, SwiftError
from swift.core.names import bytes_to_wsgi, split_path, wsgi_to_bytes, wsgi_to_str

CALLBACK = "swift.callback.fetch_crypto_keys"
MIN_SECRET = 32  # bytes
VERSIONS = ("1", "2", "3")
DEFAULT_VERSION = "2"
# Characters that a path outside of ASCII may take in a key id of version 2. Longer ones are written as version 3, which is a third
# to a half of that: three key ids have to fit beside an object, and one into a header of a container update.
_LONGEST_V2 = 512

Fetch = Callable[..., dict[str, Any]]


class NoKeys(SwiftError):
    """Keys can't be had. The text tells no secret."""


class UnknownSecret(NoKeys):
    """No root secret has this id."""


class RootSecrets:
    """The root secrets by id (None: the one without), and which of them new things are encrypted with.

    `version`: of the key ids that are written; None: 2, or 3 where that is much shorter. Raises ConfigError.
    """

    def __init__(
        self, secrets: Mapping[str | None, bytes], active: str | None = None, version: str | None = None
    ) -> None:
        if not secrets:
            raise ConfigError("no encryption_root_secret is set")
        if active not in secrets:
            raise ConfigError(
                f"active_root_secret_id {active or '(none)'}: there is no root secret of that id"
            )
        if version is not None and version not in VERSIONS:
            raise ConfigError(
                f"meta_version_to_write must be one of {', '.join(VERSIONS)}, not {version[:20]}"
            )
        for name, secret in secrets.items():
            if len(secret) < MIN_SECRET:
                raise ConfigError(
                    f"the root secret {name or '(without an id)'} has less than {MIN_SECRET} bytes"
                )
        self._secrets = dict(secrets)
        self.active = active
        self.version = version

    def __repr__(self) -> str:
        return f"<RootSecrets {sorted(map(str, self._secrets))}>"

    @property
    def ids(self) -> tuple[str | None, ...]:
        return tuple(self._secrets)

    def key(self, secret_id: str | None, path: bytes) -> bytes:
        """The key of a path, such as `/a/c/o`. Raises UnknownSecret."""
        secret = self._secrets.get(secret_id)
        if secret is None:
            raise UnknownSecret(f"no root secret has the id {str(secret_id)[:100]!r}")
        return hmac.digest(secret, path, hashlib.sha256)


def secrets_of(conf: Mapping[str, str]) -> RootSecrets:
    """The root secrets that a section's `encryption_root_secret[_<id>]` hold in base64. Raises ConfigError."""
    secrets: dict[str | None, bytes] = {}
    for option, secret_id, value in multi_key_options(conf, "encryption_root_secret"):
        try:
            # Line breaks are allowed, anything else that is not base64 is a secret that was cut or mistyped.
            secrets[secret_id] = base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            secrets[secret_id] = b""
        if len(secrets[secret_id]) < MIN_SECRET:
            raise ConfigError(f"{option} must be base64 of at least {MIN_SECRET} bytes")
    active = conf.get("active_root_secret_id") or None
    return RootSecrets(secrets, active, conf.get("meta_version_to_write") or None)


class RequestKeys:
    """Fetches the keys of one request's container and object; an instance is the callback. Names are WSGI strings.

    `before`: the callback of a keymaster further to the left, asked for secrets that are not known here.
    """

    __slots__ = ("_before", "_container_keys", "_has_told", "_logger", "_parts", "_secrets")

    def __init__(
        self,
        secrets: RootSecrets,
        account: str,
        container: str,
        obj: str | None,
        logger: Any,
        before: Fetch | None = None,
    ) -> None:
        self._secrets = secrets
        self._parts = (account, container, obj)
        self._logger = logger
        self._before = before
        self._container_keys: dict[tuple[str | None, bytes], bytes] = {}
        self._has_told = False

    def __call__(self, key_id: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """`container` and, for objects, `object`: the keys; `id`: their key id; `all_ids`: a key id for each root secret.

        Without a key id those to encrypt with. Raises UnknownSecret, NoKeys.
        """
        secrets = self._secrets
        if key_id is None:
            key_id = self._new_id(secrets.active)
        secret_id = key_id.get("secret_id")
        if secret_id not in secrets.ids:
            if self._before is not None:
                return self._before(key_id=key_id)
            raise UnknownSecret(f"no root secret has the id {str(secret_id)[:100]!r}")
        container_path, object_path = self._paths(key_id)
        container_key = self._container_keys.get((secret_id, container_path))
        if container_key is None:
            container_key = secrets.key(secret_id, container_path)
            self._container_keys[secret_id, container_path] = container_key
        keys: dict[str, Any] = {"container": container_key, "id": dict(key_id), "all_ids": self._all_ids()}
        if object_path is not None:
            keys["object"] = secrets.key(secret_id, object_path)
        return keys

    def _all_ids(self) -> list[dict[str, str]]:
        ids = [self._new_id(secret_id) for secret_id in self._secrets.ids]
        if self._before is not None:
            ids += self._before()["all_ids"]
        return ids

    def _new_id(self, secret_id: str | None) -> dict[str, str]:
        account, container, obj = self._parts
        path = f"/{account}/{container}" if obj is None else f"/{account}/{container}/{obj}"
        version = self._secrets.version
        if version is None:
            version = DEFAULT_VERSION
            if not path.isascii() and _quoted_length(path) > _LONGEST_V2:
                version = "3"
        if version == "1" and obj is not None:
            path = posixpath.join(f"/{account}", container, obj)
        elif version == "3":
            path = wsgi_to_str(path)
        made = {"v": version, "path": path}
        if secret_id is not None:
            made["secret_id"] = secret_id
        return made

    def _paths(self, key_id: Mapping[str, Any]) -> tuple[bytes, bytes | None]:
        """What the keys of a container and an object are made of. Raises NoKeys."""
        version, path = key_id.get("v"), key_id.get("path")
        if version not in VERSIONS:
            raise NoKeys(f"a key id of the unknown version {str(version)[:20]!r}")
        if not isinstance(path, str):
            raise NoKeys("a key id without a path")
        account, container, obj = (None if part is None else wsgi_to_bytes(part) for part in self._parts)
        assert account is not None and container is not None
        own = b"/%s/%s" % (account, container)
        if version == "1" and not path.startswith(f"/{self._parts[0]}/") and not _same(path, account):
            recorded = _as_wsgi_bytes(path)
            # Names with a slash before them lost what stood before that.
            return own, recorded if path.startswith("/") else b"%s/%s" % (own, recorded)
        whole = self._whole(version, path, own, None if obj is None else b"%s/%s" % (own, obj))
        try:
            parts = split_path(bytes_to_wsgi(whole), 2 if obj is None else 3, 3, True)
        except ValueError:
            raise NoKeys("a key id with a path that makes no sense") from None
        return wsgi_to_bytes(f"/{parts[0]}/{parts[1]}"), None if obj is None else whole

    def _whole(self, version: str, path: str, container: bytes, wanted: bytes | None) -> bytes:
        """The path of a key id as bytes. Some releases wrote WSGI strings, some native ones: what fits the request is meant."""
        native = path.encode("utf-8", "surrogateescape")
        forms = [native] if version == "3" else [native, _as_wsgi_bytes(path)]
        for form in forms:
            if form == wanted or wanted is None and (form == container or form.startswith(container + b"/")):
                return form
        if not self._has_told:
            self._has_told = True
            self._logger.info("the path %r of a key id is not that of the request", path[:1100])
        return forms[-1]


def _quoted_length(path: str) -> int:
    """Of a WSGI string in JSON, quoted."""
    outside = sum(letter > "\x7f" for letter in path)
    return len(quote_plus("".join(letter for letter in path if letter <= "\x7f"))) + 8 * outside


def _as_wsgi_bytes(path: str) -> bytes:
    try:
        return path.encode("latin-1")
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape")


def _same(path: str, account: bytes) -> bool:
    return path.encode("utf-8", "surrogateescape").startswith(b"/" + account + b"/")
