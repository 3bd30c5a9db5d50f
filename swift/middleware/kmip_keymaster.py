"""Filter `kmip_keymaster`: root secrets from a server that speaks KMIP (spec middleware 4.26).

They are fetched once, at the start. PyKMIP reads where that server is, and how to be let in, from the same section of the same file. Never
here: what keys are made of (`swift.middleware.keymaster`). Needs the extra `kmip`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.config import multi_key_options
from swift.core.errors import ConfigError
from swift.middleware.keymaster import KeyMaster, section_of
from swift.middleware.keymaster.keys import RootSecrets
from swift.telemetry.log import get_logger

_BITS = 256
# May not stand in the filter section beside keymaster_config_path.
_OPTIONS = (
    "host", "port", "certfile", "keyfile", "ca_certs", "username", "password", "key_id", "active_root_secret_id",
    "meta_version_to_write",
)  # fmt: skip


def secrets_of(conf: Mapping[str, Any], path: str, section: str) -> RootSecrets:
    """The root secrets that `key_id[_<id>]` name; `path`, `section`: where PyKMIP finds its own options. Raises ConfigError."""
    names = {secret_id: value for _, secret_id, value in multi_key_options(conf, "key_id")}
    if not names:
        raise ConfigError("no key_id is set")
    if os.path.isdir(path):
        raise ConfigError(
            f"kmip_keymaster cannot be set up by a directory ({path}): use keymaster_config_path"
        )
    fetched = _fetched(dict.fromkeys(names.values()), path, section)
    secrets: dict[str | None, bytes] = {secret_id: fetched[name] for secret_id, name in names.items()}
    active = conf.get("active_root_secret_id") or None
    return RootSecrets(secrets, active, conf.get("meta_version_to_write") or None)


def _fetched(names: Iterable[str], path: str, section: str) -> dict[str, bytes]:
    """The keys by their names. Raises ConfigError."""
    try:
        from kmip.pie.client import ProxyKmipClient
    except ImportError as error:
        raise ConfigError(f"kmip_keymaster needs PyKMIP: pip install 'swift[kmip]' ({error})") from None
    # At DEBUG the library logs all that it sends and receives: passwords, and the keys.
    logging.getLogger("kmip").setLevel(logging.WARNING)
    found = {}
    try:
        with ProxyKmipClient(config=section, config_file=path) as client:
            for name in names:
                found[name] = _checked(client.get(name), name)
    except ConfigError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        raise ConfigError(f"keys could not be fetched by KMIP: {type(error).__name__} {told}") from None
    return found


def _checked(key: Any, name: str) -> bytes:
    """The key's bytes. Raises ConfigError for one that is no AES key of 256 bits."""
    algorithm, bits = (
        getattr(key, "cryptographic_algorithm", None),
        getattr(key, "cryptographic_length", None),
    )
    if getattr(algorithm, "name", None) != "AES" or bits != _BITS or len(key.value) * 8 != _BITS:
        raise ConfigError(f"key {name} must be an AES key of {_BITS} bits, not {algorithm}, {bits}")
    return bytes(key.value)


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], KeyMaster]:
    conf = {**global_conf, **local_conf}
    logger = get_logger(conf, "proxy-server", log_route="kmip_keymaster")
    settings = section_of(conf, "kmip_keymaster", _OPTIONS)
    if conf.get("keymaster_config_path"):
        path, section = conf["keymaster_config_path"], "kmip_keymaster"
    else:
        path, section = conf.get("__file__", ""), f"filter:{conf.get('__name__', 'kmip_keymaster')}"
    secrets = secrets_of(settings, path, section)

    def factory(app: Any) -> KeyMaster:
        return KeyMaster(app, secrets, logger)

    return factory
