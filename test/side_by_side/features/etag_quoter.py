"""ETags in quotes, by container, account and default."""

import hashlib

from test.side_by_side.table import Step

FILTERS = {"etag_quoter": "enable_by_default = no\n"}
MD5 = hashlib.md5(b"x").hexdigest()


def seen(path: str = "/c/o") -> list[Step]:
    """Everything that an ETag comes with."""
    return [
        Step("PUT", path, body=b"x"),
        Step("GET", path),
        Step("HEAD", path),
        Step("GET", path, {"Range": "bytes=0-0"}),
        Step("GET", path, {"Range": "bytes=5-"}),
        Step("GET", path, {"If-None-Match": MD5}),
        Step("GET", path, {"If-None-Match": f'"{MD5}"'}),
        Step("GET", path, {"If-Match": f'"{MD5}"'}),
        Step("GET", path, {"If-Match": "x"}),
        Step("PUT", path, {"Etag": f'"{MD5}"'}, b"x"),
        Step("PUT", path, {"Etag": "0" * 32}, b"x"),
        Step("POST", path, {"X-Object-Meta-A": "b"}),
        Step("GET", f"{path}-none"),
        Step("GET", path, user=""),
        Step("GET", "/c?format=json"),
    ]


STEPS = [
    *seen("/none/o"),
    Step("PUT", "/c"),
    *seen(),
    *(step for value in ("true", "no", "", "bogus", "1") for step in (
        Step("POST", "/c", {"X-Container-Rfc-Compliant-Etags": value}),
        Step("HEAD", "/c"),
        Step("GET", "/c"),
        *seen(),
    )),
    Step("POST", "/c", {"X-Remove-Container-Rfc-Compliant-Etags": ""}),
    Step("HEAD", "/c"),
    Step("POST", "/c", {"X-Remove-Container-Rfc-Compliant-Etags": "x"}),
    Step("HEAD", "/c"),
    Step("POST", "/c", {"X-Remove-Container-Rfc-Compliant-Etags": "x", "X-Container-Rfc-Compliant-Etags": "yes"}),
    Step("HEAD", "/c"),
    Step("POST", "/c", {"X-Container-Rfc-Compliant-Etags": ""}),
    Step("POST", "", {"X-Account-Rfc-Compliant-Etags": "yes"}),
    Step("HEAD", ""),
    Step("GET", ""),
    *seen(),
    Step("POST", "/c", {"X-Container-Rfc-Compliant-Etags": "no"}),
    *seen(),
    Step("POST", "", {"X-Remove-Account-Rfc-Compliant-Etags": "yes"}),
    Step("HEAD", ""),
    Step("PUT", "/d", {"X-Container-Rfc-Compliant-Etags": "t"}),
    Step("HEAD", "/d"),
    *seen("/d/o"),
    Step("POST", "/d", {"X-Container-Sysmeta-Rfc-Compliant-Etags": "False"}),
    Step("HEAD", "/d"),
    Step("POST", "/d", {"X-Container-Rfc-Compliant-Etags": "no"}, user="other"),
    Step("GET", "/v1", whole=True),
    Step("GET", "/v2/{account}/d/o", whole=True, differs={"body": "a line says which versions there are"}),
]  # fmt: skip
