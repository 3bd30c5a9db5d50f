"""Names that an operator does not want."""

from test.side_by_side.names import LONGEST, ODD, quoted
from test.side_by_side.table import Step

FILTERS = {"name_check": ""}
NAMES = (*ODD, "a/./b", "a/../b", "a/.", "a/..", "a.b", "a/...", "..a", "it's", "a`b", "a%27b", LONGEST)

STEPS = [
    Step("PUT", "/c"),
    *(Step(method, f"/c/{quoted(name)}", body=b"x" if method == "PUT" else b"") for name in NAMES for method in ("PUT", "GET")),
    *(Step("PUT", f"/{quoted(name.replace('/', '_'))}") for name in NAMES),
    *(Step("GET", f"/c/{'n' * length}") for length in (230, 232, 233, 234, 235, 236, 237, 238, 239, 240, 300)),
    Step("GET", "/c/" + "%C3%A9" * 116),
    Step("GET", "/c/" + "%C3%A9" * 120),
    Step("GET", "/info/<", whole=True, user=""),
    Step("GET", "/auth/v1.0/'", whole=True, user=""),
    Step("GET", "/c?prefix=<"),
    Step("GET", "/c/<", user=""),
    Step("HEAD", "/c/<"),
    Step("GET", "/..", whole=True),
    Step("GET", "/c?format=json"),
]  # fmt: skip
