"""Who may do what below an account: read and write ACLs, referrers, listings, other accounts' users, tokens, the auth endpoint, /info."""

from test.side_by_side.table import Step

VERBS = (
    ("GET", "/c/o"),
    ("HEAD", "/c/o"),
    ("PUT", "/c/new"),
    ("POST", "/c/o"),
    ("DELETE", "/c/new"),
    ("GET", "/c"),
    ("HEAD", "/c"),
    ("POST", "/c"),
    ("PUT", "/c"),
)
ACLS = (
    {"X-Container-Read": "{name}:member"},
    {"X-Container-Write": "{name}:member"},
    {"X-Container-Read": "{name}:member", "X-Container-Write": "{name}:member"},
    {"X-Container-Read": "{name}-other"},
    {"X-Container-Read": "{name}-other:other", "X-Container-Write": "{name}-other:*"},
    {"X-Container-Read": "*:other"},
    {"X-Container-Read": ".r:*"},
    {"X-Container-Read": ".r:*,.rlistings"},
    {"X-Container-Read": ".rlistings"},
    {"X-Container-Read": ".r:good.example.com,.rlistings"},
    {"X-Container-Read": ".r:*,.r:-evil.example.com"},
    {"X-Container-Read": ".r:.example.com,{name}:friend"},
)  # fmt: skip
REFERERS = (
    "http://good.example.com/x",
    "http://evil.example.com/",
    "http://evil.example.com.good.example.com/",
    "https://a.example.com",
    "good.example.com",
    "http://user@good.example.com/",
    "",
    "☃",
)


def with_acl(acl: dict[str, str]) -> list[Step]:
    """Each kind of user tries every verb."""
    cleared = {"X-Container-Read": "", "X-Container-Write": "", **acl}
    steps = [Step("POST", "/c", cleared), Step("HEAD", "/c"), Step("PUT", "/c/o", body=b"x")]
    for user in ("member", "other", ""):
        for method, path in VERBS:
            steps.append(
                Step(method, path, body=b"x" if method == "PUT" and path == "/c/new" else b"", user=user)
            )
    if ".r:" in str(acl):
        steps += [
            Step("GET", path, {"Referer": text}, user="") for text in REFERERS for path in ("/c/o", "/c")
        ]
    return steps


STEPS = [
    Step("PUT", "/c"),
    *(step for acl in ACLS for step in with_acl(acl)),
    *(Step("POST", "/c", {"X-Container-Read": text}) for text in (".r:", ".r:-", ".r:*,,", ".ref:*", ".referer:*", ".referrer:a.b", ".rlistings,.r:*", ".bogus", "a b", "☃", "%41", ".r:a,.r:-a", "x" * 300)),
    Step("HEAD", "/c"),
    # -- the auth endpoint
    Step("GET", "/auth/v1.0", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "owner-key"}, user="", whole=True),
    Step("GET", "/auth/v1.0", {"X-Storage-User": "{name}:owner", "X-Storage-Pass": "owner-key"}, user="", whole=True),
    Step("GET", "/auth/v1/{name}/auth", {"X-Storage-User": "owner", "X-Storage-Pass": "owner-key"}, user="", whole=True),
    Step("GET", "/auth/v1/{name}/auth", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "owner-key"}, user="", whole=True),
    Step("GET", "/auth/v1/other/auth", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "owner-key"}, user="", whole=True),
    Step("GET", "/auth/v1.0", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "wrong"}, user="", whole=True),
    Step("GET", "/auth/v1.0", {"X-Auth-User": "{name}:owner"}, user="", whole=True),
    Step("GET", "/auth/v1.0", {"X-Auth-User": "no colon", "X-Auth-Key": "k"}, user="", whole=True),
    Step("GET", "/auth/v1.0", user="", whole=True),
    Step("GET", "/auth/v1.0/more", user="", whole=True),
    Step("GET", "/auth", user="", whole=True),
    Step("GET", "/auth/", user="", whole=True),
    Step("GET", "/auth/v2", user="", whole=True),
    Step("POST", "/auth/v1.0", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "owner-key"}, user="", whole=True),
    Step("PUT", "/auth/v1.0", user="", whole=True),
    Step("HEAD", "/auth/v1.0", {"X-Auth-User": "{name}:owner", "X-Auth-Key": "owner-key"}, user="", whole=True),
    Step("GET", "/auth/v1.0", {"X-Auth-User": "{name}:member", "X-Auth-Key": "member-key", "X-Auth-New-Token": "true"}, user="", whole=True),
    # -- what is everybody's
    Step("GET", "/healthcheck", user="", whole=True),
    Step("HEAD", "/healthcheck", user="", whole=True),
    Step("PUT", "/healthcheck", user="", whole=True),
    Step("GET", "/healthcheck/more", user="", whole=True, differs={"body": "a line says which versions there are"}),
    Step("HEAD", "/info", user="", whole=True, differs={"header content-length": "more is told"}),
    Step("OPTIONS", "/info", user="", whole=True),
    Step("PUT", "/info", user="", whole=True),
    Step("GET", "/info/more", user="", whole=True, differs={"body": "a line says which versions there are"}),
    Step("GET", "/info?swiftinfo_sig=x&swiftinfo_expires=1", user="", whole=True),
    # -- internal names and headers
    Step("GET", "/%00reserved", {"X-Backend-Allow-Reserved-Names": "true"}),
    Step("PUT", "/%00reserved", {"X-Backend-Allow-Reserved-Names": "true"}),
    Step("PUT", "/c/%00reserved", {"X-Backend-Allow-Reserved-Names": "true"}, b"x"),
    Step("GET", "/v1/.misplaced_objects", whole=True, user="admin"),
    Step("GET", "/v1/.shards_AUTH_x", whole=True, user="admin"),
    Step("GET", "/c/o", {"X-Backend-Replication": "true", "X-Backend-Ignore-Range-If-Metadata-Present": "x", "Range": "bytes=0-0"}),
    Step("GET", "/c/o", {"X-Service-Token": "bogus"}),
    Step("GET", "/c/o", {"X-Service-Token": "{token_member}"}, user="other"),
]  # fmt: skip
