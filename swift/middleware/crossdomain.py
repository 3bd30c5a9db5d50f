"""Filter `crossdomain`: the policy file that Flash and PDF readers ask for (spec middleware 4.32).

Never here: what browsers ask before they let a page's scripts in (CORS); that is the proxy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.wire.call import StartResponse

_BEGINNING = """<?xml version="1.0"?>
<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >
<cross-domain-policy>
"""


class CrossDomain:
    def __init__(self, app: Any, conf: dict[str, Any]) -> None:
        self.app = app
        policy = conf.get("cross_domain_policy", '<allow-access-from domain="*" secure="false" />')
        self.page = f"{_BEGINNING}{policy}\n</cross-domain-policy>".encode()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/crossdomain.xml" or environ["REQUEST_METHOD"] != "GET":
            return self.app(environ, start_response)
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(self.page)))]
        start_response("200 OK", headers)
        return [self.page]


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], CrossDomain]:
    conf = {**global_conf, **local_conf}
    capabilities.register("crossdomain")

    def factory(app: Any) -> CrossDomain:
        return CrossDomain(app, conf)

    return factory
