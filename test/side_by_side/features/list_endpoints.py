"""Where things are kept."""

from test.side_by_side.names import ODD, quoted
from test.side_by_side.table import Step

FILTERS = {"list_endpoints": ""}
UNICODE = {"*": "the reference fails where the container's name is not ASCII"}


def ask(path: str, method: str = "GET", **more) -> Step:
    return Step(method, f"/endpoints/{path}", whole=True, user="", **more)


STEPS = [
    Step("PUT", "/c"),
    Step("PUT", "/silver", {"X-Storage-Policy": "silver"}),
    Step("PUT", "/ec", {"X-Storage-Policy": "ec21"}),
    *(ask(f"{version}{{account}}{path}")
      for version in ("", "v1/", "v1.0/", "v2/", "v2.0/", "1/", "2/", "vv1/", "v1.00/", "v3/", "v0/", "vx/", "1e0/", "inf/", "nan/")
      for path in ("", "/", "/c", "/c/", "/c/o", "/silver/o", "/ec/o", "/none/o")),
    *(ask(f"v2/{{account}}/c/{quoted(name)}") for name in ODD),
    *(ask(f"{{account}}/{quoted(name)}", differs=UNICODE if name == "日本語/漢字" else {}) for name in ODD),
    *(ask(path) for path in ("", "v1", "v1/", "v2", "v2/", "/", "//c", "v_x", "v1_x", "_", "v1//c", "v", "a%00b", "v1/a%00b/c")),
    *(ask(path, differs={"*": "names are UTF-8"}) for path in ("%ff", "%ff/c/o")),
    *(ask("v1/{account}", method) for method in ("HEAD", "PUT", "POST", "DELETE", "OPTIONS")),
    Step("GET", "/endpoints", whole=True, user=""),
    Step("GET", "/endpoint/v1/a", whole=True, user="", differs={"*": "other unknown versions are 400"}),
    ask("v1/none"),
    ask("v1/{account}/c/o?x=y"),
]  # fmt: skip
