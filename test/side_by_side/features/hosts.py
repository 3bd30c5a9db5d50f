"""Hosts that name accounts and containers (domain_remap), and the policy file (crossdomain)."""

from test.side_by_side.table import Step

FILTERS = {"domain_remap": "storage_domain = example.com\n"}
HOSTS = (
    "c.AUTH-hosts.example.com", "c.AUTH_hosts.example.com", "c.auth-hosts.example.com:8080", "c.hosts.example.com", "c.FOO-hosts.example.com", "x.c.AUTH-hosts.example.com",
    ".example.com", "example.com", "notexample.com", "c..example.com", ".c.AUTH-hosts.example.com", "c.AUTH-.example.com", "c.AUTH.example.com", "c.-hosts.example.com",
    "c.AUTH-a-b.example.com", "AUTH-hosts.example.com", "c.AUTH%5fhosts.example.com", "[::1]", "[::1]:8080", "1.2.3.4", "localhost", "c.AUTH-hosts.example.com:x", "c.AUTH-hosts.example.com:",
)  # fmt: skip
PATHS = (
    "/", "/o", "//o", "/v1/o", "/v1", "/v1/", "/v1/AUTH_hosts/c/o", "/sub/x", "/nothing", "/?format=json", "/o?x=y", "/%2e%2e/x", "/o%20x", "/a//b", "/info", "/auth/v1.0", "/healthcheck",
)  # fmt: skip
ANY_CASE = {"*": "hosts are compared in any case, with or without the dot at their end"}


def ask(
    host: str,
    path: str = "/",
    method: str = "GET",
    user: str = "",
    headers=None,
    body: bytes = b"",
    differs=None,
) -> Step:
    return Step(
        method, path, {"Host": host, **(headers or {})}, body, user, whole=True, differs=differs or {}
    )


STEPS = [
    Step("PUT", "/c", {"X-Container-Read": ".r:*,.rlistings"}),
    *(Step("PUT", f"/c/{name}", {"Content-Type": "text/plain"}, b"x") for name in ("o", "v1/o", "sub/x")),
    Step("PUT", "/web", {"X-Container-Read": ".r:*,.rlistings", "X-Container-Meta-Web-Listings": "true"}), Step("PUT", "/web/sub/x", {"Content-Type": "text/plain"}, b"x"),
    *(ask(host, path) for host in HOSTS for path in ("/", "/o")),
    ask("c.AUTH-HOSTS.Example.COM", "/o", differs=ANY_CASE), ask("c.AUTH-hosts.example.com.", "/o", differs=ANY_CASE),
    *(ask("c.AUTH-hosts.example.com", path) for path in PATHS),
    *(ask("AUTH-hosts.example.com", path, user="owner") for path in ("/", "/c", "/c/", "/c/o", "/v1/c/o", "/?format=json")),
    *(ask("web.AUTH-hosts.example.com", path, method) for path in ("/", "/sub", "/sub/", "/nothing") for method in ("GET", "HEAD")),
    ask("c.AUTH-hosts.example.com", "/new", "PUT", "owner", body=b"x"), ask("c.AUTH-hosts.example.com", "/new", "DELETE", "owner"), ask("c.AUTH-hosts.example.com", "/new", "PUT", body=b"x"),
    ask("n.AUTH-hosts.example.com", "/", "PUT", "owner"), ask("n.AUTH-hosts.example.com", "/", "DELETE", "owner"), ask("c.AUTH-hosts.example.com", "/", "HEAD"),
    ask("c.AUTH-hosts.example.com", "/o", "OPTIONS", headers={"Origin": "http://x", "Access-Control-Request-Method": "GET"}),
    *(Step(method, path, user="", whole=True) for method, path in (("GET", "/crossdomain.xml"), ("GET", "/crossdomain.xml?x"), ("HEAD", "/crossdomain.xml"), ("POST", "/crossdomain.xml"),
      ("PUT", "/crossdomain.xml"), ("OPTIONS", "/crossdomain.xml"), ("GET", "/crossdomain.xml/"), ("GET", "/v1/crossdomain.xml"), ("GET", "/crossdomain"))),
]  # fmt: skip
