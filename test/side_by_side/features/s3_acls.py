"""S3's own ACLs (`s3_acl`): canned ones, grants, documents, who may then do what, and documents that are none."""

from test.side_by_side.s3 import OWN_KNOWN, OWN_WORDS, s3
from test.side_by_side.table import Known, Step

FILTERS = {"s3api": "s3_acl = true\n"}
WORDS = OWN_WORDS
KNOWN = (
    *OWN_KNOWN,
    Known("status", "^404$", "^403$", "who may not list is not told what is absent"),
    Known("body", "NotImplemented|InvalidRequest|ot recognized", "e-mail|ot recognized", "what is wrong is said"),
    Known("status", "^400$", "^501$", "what is wrong is said"),
    Known("body", "ResourceType>S3_ACL", "ResourceType>ACL", "one name for it"),
)  # fmt: skip
B = "/acl-bucket"
CANNED = (
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
    "junk",
    "",
)
ALL, SIGNED, LOG = (
    f"http://acs.amazonaws.com/groups/{name}"
    for name in ("global/AllUsers", "global/AuthenticatedUsers", "s3/LogDelivery")
)
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def user_grant(permission: str, who: str = "{name}:member") -> str:
    return f'<Grant><Grantee {XSI} xsi:type="CanonicalUser"><ID>{who}</ID></Grantee><Permission>{permission}</Permission></Grant>'


def group_grant(permission: str, uri: str = ALL) -> str:
    return f'<Grant><Grantee {XSI} xsi:type="Group"><URI>{uri}</URI></Grantee><Permission>{permission}</Permission></Grant>'


def policy(*grants: str, owner: str = "{name}:owner") -> str:
    return f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{''.join(grants)}</AccessControlList></AccessControlPolicy>"


def tried(users: tuple[str, ...] = ("owner", "member", "other")) -> list[Step]:
    """What each of them may do now."""
    return [
        s3(method, path, body=body, user=user)
        for user in users
        for method, path, body in (
            ("GET", B, ""), ("HEAD", B, ""), ("GET", f"{B}/o", ""), ("HEAD", f"{B}/o", ""), ("PUT", f"{B}/by-{user}", "x"), ("GET", f"{B}?acl", ""), ("GET", f"{B}/o?acl", ""), ("GET", f"{B}/none", ""),
            ("PUT", f"{B}/o?acl", "junk"), ("GET", f"{B}?location", ""), ("GET", f"{B}?versioning", ""), ("GET", f"{B}?uploads", ""),
        )
    ]  # fmt: skip


GRANTS = (
    'id="{name}:member"',
    "id={name}:member",
    f'uri="{ALL}"',
    f'uri="{SIGNED}"',
    f'uri="{LOG}"',
    'uri="http://junk"',
    'emailAddress="a@b"',
    "junk",
    'junk="x"',
    "",
    'id="{name}:member",id="{name}:friend"',
)

STEPS = [
    s3("PUT", B), s3("PUT", f"{B}/o", body="object"), s3("GET", f"{B}?acl"), s3("GET", f"{B}/o?acl"), *tried(), s3("PUT", "/members-own", user="member"), s3("GET", "/"), s3("GET", "/", user="member"), s3("GET", "/", user="other"),
    # -- canned
    *(step for acl in CANNED for step in (s3("PUT", f"{B}?acl", {"x-amz-acl": acl}), s3("GET", f"{B}?acl"), s3("GET", B, user="member"), s3("GET", B, user="other"), s3("PUT", f"{B}/x", body="x", user="member"))), s3("PUT", f"{B}?acl", {"x-amz-acl": "private"}),
    *(step for acl in CANNED for step in (s3("PUT", f"{B}/c", {"x-amz-acl": acl}, "canned"), s3("GET", f"{B}/c?acl"), s3("GET", f"{B}/c", user="member"), s3("GET", f"{B}/c", user="other"))),
    *(step for acl in CANNED for step in (s3("PUT", f"{B}/o?acl", {"x-amz-acl": acl}), s3("GET", f"{B}/o?acl"), s3("GET", f"{B}/o", user="member"))), s3("PUT", f"{B}/o?acl", {"x-amz-acl": "private"}),
    # -- grants in headers
    *(step for grant in GRANTS for step in (s3("PUT", f"{B}/o?acl", {"x-amz-grant-read": grant}), s3("GET", f"{B}/o?acl"))), *(step for name in ("read", "write", "read-acp", "write-acp", "full-control") for step in (
        s3("PUT", f"{B}?acl", {f"x-amz-grant-{name}": 'id="{name}:member"'}), s3("GET", f"{B}?acl"), *tried(("member",)))), s3("PUT", f"{B}?acl", {"x-amz-acl": "private", "x-amz-grant-read": f'uri="{ALL}"'}), s3("PUT", f"{B}?acl"),
    # -- documents
    *(step for body in (policy(), policy(user_grant("READ")), policy(group_grant("READ"), user_grant("WRITE")), policy(user_grant("JUNK")), policy(group_grant("READ", "http://junk")), policy(owner="{name}:member"), policy(user_grant("FULL_CONTROL", "nobody:none")),
                        "<a/>", "junk", "<AccessControlPolicy/>", policy(*(user_grant("READ") for _ in range(20))), policy(user_grant("READ")).replace("CanonicalUser", "AmazonCustomerByEmail"), policy(user_grant("READ")).replace("CanonicalUser", "Junk"))
      for step in (s3("PUT", f"{B}?acl", body=body), s3("GET", f"{B}?acl"), s3("PUT", f"{B}/o?acl", body=body), s3("GET", f"{B}/o?acl"))), s3("PUT", f"{B}?acl", {"x-amz-acl": "private"}, policy(user_grant("READ"))), s3("PUT", "/none-such?acl", {"x-amz-acl": "private"}),
    s3("PUT", f"{B}/none?acl", {"x-amz-acl": "private"}), s3("GET", f"{B}/none?acl"), s3("GET", "/none-such?acl"), s3("DELETE", f"{B}?acl"), s3("POST", f"{B}?acl"), s3("PUT", f"{B}?acl", body=policy(user_grant("FULL_CONTROL"), user_grant("FULL_CONTROL", "{name}:owner"))), *tried(),
    # -- copies, many at once, and the native side
    s3("PUT", f"{B}/copy", {"x-amz-copy-source": f"{B}/o"}, user="member"), s3("PUT", f"{B}/copy", {"x-amz-copy-source": f"{B}/o"}), s3("GET", f"{B}/copy?acl"), s3("DELETE", f"{B}/copy", user="other"), s3("DELETE", f"{B}/copy", user="member"),
    Step("PUT", f"{B}/native", body="n"), s3("GET", f"{B}/native"), s3("GET", f"{B}/native?acl"), Step("PUT", "/native-acl"), s3("GET", "/native-acl"), s3("PUT", "/native-acl/o", body="x"), s3("GET", "/native-acl?acl"), s3("DELETE", B, user="member"), s3("DELETE", "/native-acl"),
]  # fmt: skip
