"""Filter `keymaster`: root secrets from the configuration, and the keys that the filter `encryption` asks for (spec middleware 4.26).

`KeyMaster` is what all keymasters are; `kms_keymaster` and `kmip_keymaster` have their root secrets from elsewhere. What keys are made
of is in `keys`. Never here: what is encrypted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.config import read_conf
from swift.core.errors import ConfigError
from swift.middleware.keymaster.keys import CALLBACK, RequestKeys, RootSecrets, secrets_of
from swift.telemetry.log import get_logger
from swift.wire.message import parsed_path

_METHODS = frozenset(("GET", "HEAD", "PUT", "POST"))


class KeyMaster:
    """Gives each request for a container or an object the means to fetch its keys."""

    def __init__(self, app: Any, secrets: RootSecrets, logger: Any) -> None:
        self.app = app
        self.secrets = secrets
        self.logger = logger

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _METHODS:
            _, account, container, obj = parsed_path(environ)
            if account is not None and container is not None:
                before = environ.get(CALLBACK)
                environ[CALLBACK] = RequestKeys(self.secrets, account, container, obj, self.logger, before)
        return self.app(environ, start_response)


def section_of(conf: Mapping[str, Any], section: str, options: Iterable[str]) -> dict[str, Any]:
    """A keymaster's settings: its filter section, or the section of that name in the file that it names.

    `options`: beginnings of the names of those that may not stand in the filter section then. Raises ConfigError.
    """
    path = conf.get("keymaster_config_path")
    if not path:
        return dict(conf)
    beginnings = tuple(options)
    both = sorted(option for option in conf if option.startswith(beginnings))
    if both:
        raise ConfigError(
            f"keymaster_config_path is set, so {', '.join(both)} must stand in {path}, not here"
        )
    return read_conf(path, section)


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], KeyMaster]:
    conf = {**global_conf, **local_conf}
    logger = get_logger(conf, "proxy-server", log_route="keymaster")
    names = ("encryption_root_secret", "active_root_secret_id", "meta_version_to_write")
    secrets = secrets_of(section_of(conf, "keymaster", names))

    def factory(app: Any) -> KeyMaster:
        return KeyMaster(app, secrets, logger)

    return factory
