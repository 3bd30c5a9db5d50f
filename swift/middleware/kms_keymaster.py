"""Filter `kms_keymaster`: root secrets from Barbican, or another key store that Castellan knows (spec middleware 4.26).

They are fetched once, at the start. Never here: what keys are made of (`swift.middleware.keymaster`). Needs the extra `kms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swift.core.config import multi_key_options, truthy
from swift.core.errors import ConfigError
from swift.middleware.keymaster import KeyMaster, section_of
from swift.middleware.keymaster.keys import RootSecrets
from swift.telemetry.log import get_logger

_MIN_BITS = 256
# What Castellan takes to log in to Keystone.
_CREDENTIALS = (
    "password", "username", "user_id", "user_domain_id", "user_domain_name", "trust_id", "domain_id", "domain_name",
    "project_id", "project_name", "project_domain_id", "project_domain_name",
)  # fmt: skip
# May not stand in the filter section beside keymaster_config_path.
_OPTIONS = (
    *_CREDENTIALS, "api_class", "reauthenticate", "auth_endpoint", "barbican_endpoint", "barbican_region_name", "key_id",
    "active_root_secret_id", "meta_version_to_write",
)  # fmt: skip


def secrets_of(conf: Mapping[str, Any]) -> RootSecrets:
    """The root secrets that `key_id[_<id>]` name. Raises ConfigError."""
    names = {secret_id: value for _, secret_id, value in multi_key_options(conf, "key_id")}
    if not names:
        raise ConfigError("no key_id is set")
    fetch = _store_of(conf)
    fetched = {name: fetch(name) for name in dict.fromkeys(names.values())}
    secrets: dict[str | None, bytes] = {secret_id: fetched[name] for secret_id, name in names.items()}
    active = conf.get("active_root_secret_id") or None
    return RootSecrets(secrets, active, conf.get("meta_version_to_write") or None)


def _store_of(conf: Mapping[str, Any]) -> Callable[[str], bytes]:
    """What fetches a key by its name. Raises ConfigError."""
    try:
        from castellan import key_manager, options
        from castellan.common.credentials import keystone_password
        from oslo_config import cfg
    except ImportError as error:
        raise ConfigError(f"kms_keymaster needs castellan: pip install 'swift[kms]' ({error})") from None
    settings = cfg.ConfigOpts()
    endpoint = conf.get("auth_endpoint") or None
    options.set_defaults(
        settings,
        auth_endpoint=endpoint,
        barbican_endpoint=conf.get("barbican_endpoint") or None,
        api_class=conf.get("api_class") or None,
    )
    region = conf.get("barbican_region_name")
    if region:
        settings.set_default("barbican_region_name", region, group="barbican")
    given = {name: conf[name] for name in _CREDENTIALS if conf.get(name)}
    context = keystone_password.KeystonePassword(
        auth_url=endpoint,
        reauthenticate=truthy(conf.get("reauthenticate", "true")),
        **{"password": None, **given},
    )
    try:
        store = key_manager.API(settings)
    except Exception as error:
        raise ConfigError(f"no key store: {_told(error)}") from None

    def fetch(name: str) -> bytes:
        try:
            key = store.get(context, name)
        except Exception as error:
            raise ConfigError(f"key {name} could not be fetched: {_told(error)}") from None
        return _checked(key, name)

    return fetch


def _told(error: Exception) -> str:
    """One short line. Libraries' errors may hold whole answers."""
    return f"{type(error).__name__} {' '.join(str(error).split())[:300]}"


def _checked(key: Any, name: str) -> bytes:
    """The key's bytes. Raises ConfigError for one that is no AES key of 256 bits or more."""
    algorithm, bits, form = (getattr(key, what, None) for what in ("algorithm", "bit_length", "format"))
    if (
        str(algorithm).lower() != "aes"
        or not isinstance(bits, int)
        or bits < _MIN_BITS
        or str(form).upper() != "RAW"
    ):
        raise ConfigError(
            f"key {name} must be an AES key of at least {_MIN_BITS} bits in the format RAW, not {algorithm}, {bits}, {form}"
        )
    secret = key.get_encoded()
    if not isinstance(secret, bytes) or len(secret) * 8 < _MIN_BITS:
        raise ConfigError(f"key {name} has less than {_MIN_BITS} bits")
    return secret


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], KeyMaster]:
    conf = {**global_conf, **local_conf}
    logger = get_logger(conf, "proxy-server", log_route="kms_keymaster")
    secrets = secrets_of(section_of(conf, "kms_keymaster", _OPTIONS))

    def factory(app: Any) -> KeyMaster:
        return KeyMaster(app, secrets, logger)

    return factory
