"""Filter `encryption`: bodies, ETags and user metadata of objects are encrypted on disk, and nobody to its left notices (spec middleware 4.27).

`encrypter` works on requests, `decrypter` around it on answers, `listing` on those of containers; `bodies` has the bodies of both, `ciphers`
the arithmetic and the stored forms. Keys come from the keymaster to the left (`swift.middleware.keymaster`). Never here: root secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swift.core import capabilities
from swift.core.config import truthy
from swift.middleware.encryption.decrypter import Decrypter
from swift.middleware.encryption.encrypter import Encrypter
from swift.telemetry.log import get_logger


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], Decrypter]:
    conf = {**global_conf, **local_conf}
    logger = get_logger(conf, "proxy-server", log_route="encryption")
    enabled = not truthy(conf.get("disable_encryption", "false"))
    capabilities.register("encryption", admin=True, enabled=enabled)

    def factory(app: Any) -> Decrypter:
        return Decrypter(Encrypter(app, enabled, logger), logger)

    return factory
