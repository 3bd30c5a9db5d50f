"""A cluster that takes no writes."""

from test.side_by_side.table import Step

FILTERS = {"read_only": "read_only = yes\n"}

STEPS = [
    *(Step(method, path, body=b"x" if method == "PUT" else b"", user=user)
      for user in ("owner", "member", "")
      for path in ("", "/", "/c", "/c/o")
      for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "BREW")),
    Step("COPY", "/c/o", {"Destination": "c/p"}),
    Step("COPY", "/c/o", {"Destination": "c/p", "Destination-Account": "AUTH_read-only-other"}),
    Step("COPY", "/c/o", {"Destination": "c/p", "Destination-Account": "%41UTH_x%2F"}),
    Step("PUT", "/c/o", {"X-Copy-From": "c/p"}),
    Step("PUT", "/v2/{account}/c", whole=True, differs={"body": "a line says which versions there are"}),
    Step("PUT", "/v1", whole=True),
    Step("PUT", "/v1.0/{account}/c", whole=True),
    Step("PUT", "/info", whole=True),
    Step("PUT", "/healthcheck", whole=True),
    Step("PUT", "?extract-archive=tar", {"Accept": "application/json"}, b"x"),
    Step("POST", "?bulk-delete", {"Content-Type": "text/plain"}, b"c/x"),
    Step("GET", "/auth/v1.0", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "owner-key"}, whole=True, user=""),
]  # fmt: skip
