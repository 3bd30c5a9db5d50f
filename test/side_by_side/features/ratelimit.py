"""Limits of requests: what is let through, what is refused, what /info says. Waiting itself is not compared."""

from test.side_by_side.table import Step

FILTERS = {
    "ratelimit": "account_ratelimit = 100\nmax_sleep_time_seconds = 5\ncontainer_ratelimit_0 = 100\ncontainer_ratelimit_10 = 50\n"
    "container_listing_ratelimit_0 = 200\naccount_blacklist = AUTH_blocked\naccount_whitelist = AUTH_free\n"
}

STEPS = [
    Step("GET", "/info", whole=True, user="", differs={"body": "what else is in it"}),
    *(Step("PUT", f"/c{at}") for at in range(5)),
    *(Step("PUT", f"/c0/o{at}", {"Content-Type": "a/b"}, body="x") for at in range(10)),
    *(Step(method, path) for path in ("", "/c0", "/c0/o0", "/nothing", "/nothing/o") for method in ("GET", "HEAD", "POST", "OPTIONS")),
    *(Step(method, f"/v1/AUTH_blocked{path}", whole=True, user="") for path in ("", "/c", "/c/o") for method in ("GET", "PUT", "HEAD")),
    *(Step(method, f"/v1/AUTH_free{path}", whole=True, user="") for path in ("", "/c", "/c/o") for method in ("GET", "PUT")),
    *(Step("COPY", "/c0/o0", {"Destination": f"c1/o{at}"}) for at in range(3)),
    *(Step("DELETE", f"/c0/o{at}") for at in range(10)),
    *(Step("DELETE", f"/c{at}", differs={"body": "says why here"} if at == 1 else {}) for at in range(5)),
]  # fmt: skip
