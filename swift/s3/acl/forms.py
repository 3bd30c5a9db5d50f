"""S3's own ACLs: as they are stored, sent and shown, and whom they let (spec s3.md 6.3, 8.2).

Users are their ids (text). Never here: where an ACL is kept, and what an operation needs.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import orjson

from swift.core.remembered import remembered
from swift.s3.errors import S3Error
from swift.s3.xml import XSI, Node, Text, document, element, many, maybe, node, one, read

PERMISSIONS = ("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")
ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY = "AllUsers", "AuthenticatedUsers", "LogDelivery"
_URIS = {
    ALL_USERS: "http://acs.amazonaws.com/groups/global/AllUsers",
    AUTHENTICATED_USERS: "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    LOG_DELIVERY: "http://acs.amazonaws.com/groups/s3/LogDelivery",
}
_GROUPS = {uri: name for name, uri in _URIS.items()}
_MOST_GRANTS = 100
_LONGEST_STORED = 7000  # bytes of a header's value
_LONGEST_GRANTS = 8192  # characters of one header with grants
_GRANT_HEADERS = {
    "x-amz-grant-full-control": "FULL_CONTROL",
    "x-amz-grant-read": "READ",
    "x-amz-grant-write": "WRITE",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write-acp": "WRITE_ACP",
}
HEADERS = ("x-amz-acl", *_GRANT_HEADERS)
_QUOTED = re.compile(r'"([^"]*)"|([^",\s]+)')
_USER = Node({"ID": one(Text()), "DisplayName": maybe(Text())})
_GRANTEE = Node(
    {name: maybe(Text()) for name in ("ID", "DisplayName", "URI", "EmailAddress")}, attribute="type"
)
_GRANT = Node({"Grantee": one(_GRANTEE), "Permission": one(Text("|".join(PERMISSIONS)))})
GRANTS = Node({"Grant": many(_GRANT, 0, _MOST_GRANTS)})  # an element of a document, for `granted_by`
_POLICY = Node({"Owner": one(_USER), "AccessControlList": one(GRANTS)})


class Grant(NamedTuple):
    """`grantee`: one of the three groups, or a user's id."""

    grantee: str
    permission: str


class Acl(NamedTuple):
    """`owner`: None where none is stored."""

    owner: str | None
    grants: tuple[Grant, ...]

    def lets(
        self, user: str | None, permission: str, allow_no_owner: bool = False, also: str | None = None
    ) -> bool:
        """Returns True if a user may do what needs a permission; `OWNER` is one that nobody can be granted. None is who did not sign;
        `also`: how the same user may be called in this ACL, too."""
        if self.owner is None:
            if allow_no_owner:
                return True
        elif user is not None and self.owner in (user, also):
            return True
        if permission not in PERMISSIONS:
            return False
        return any(
            grant.permission in (permission, "FULL_CONTROL")
            and (_is_of(user, grant.grantee) or (also is not None and also == grant.grantee))
            for grant in self.grants
        )

    @property
    def is_public(self) -> bool:
        return any(grant.grantee in (ALL_USERS, AUTHENTICATED_USERS) for grant in self.grants)

    def without_public(self) -> Acl:
        """Without what it lets everybody."""
        grants = tuple(
            grant for grant in self.grants if grant.grantee not in (ALL_USERS, AUTHENTICATED_USERS)
        )
        return Acl(self.owner, grants)

    def stored(self) -> str:
        """As the value of a sysmeta header. Raises S3Error if it is too long for one."""
        value = {
            "Owner": self.owner,
            "Grant": [{"Permission": grant.permission, "Grantee": grant.grantee} for grant in self.grants],
        }
        text = json.dumps(value, separators=(",", ":"))
        if len(text) > _LONGEST_STORED:
            raise S3Error("InvalidRequest", "The access control list is too long.")
        return text

    def document(self) -> bytes:
        """As a client is shown it."""
        owner = self.owner or ""
        shown = node("Owner", element("ID", owner), element("DisplayName", owner))
        return document(
            "AccessControlPolicy",
            shown,
            node("AccessControlList", *(shown_grant(grant) for grant in self.grants)),
        )


NOBODYS = Acl(None, ())


def _is_of(user: str | None, grantee: str) -> bool:
    if grantee == ALL_USERS:
        return True
    if user is None:
        return False
    if grantee == AUTHENTICATED_USERS:
        return True
    if grantee == LOG_DELIVERY:
        return user.partition(":")[2] == ".log_delivery"
    return user == grantee


def shown_grant(grant: Grant) -> str:
    """The element."""
    uri = _URIS.get(grant.grantee)
    if uri is not None:
        kind, inner = "Group", element("URI", uri)
    else:
        kind, inner = "CanonicalUser", element("ID", grant.grantee) + element("DisplayName", grant.grantee)
    grantee = f'<Grantee xmlns:xsi="{XSI}" xsi:type="{kind}">{inner}</Grantee>'
    return node("Grant", grantee, element("Permission", grant.permission))


@remembered(1024, longest=1024)
def of_stored(value: str | None) -> Acl | None:
    """The ACL of a stored value, one without owner and grants where there is none; None for what is none: it lets nobody."""
    if not value:
        return NOBODYS
    try:
        found = orjson.loads(value)
    except ValueError:
        return None
    if not isinstance(found, dict) or not found:
        return NOBODYS
    owner, grants = found.get("Owner"), found.get("Grant", [])
    if not isinstance(grants, list) or not (owner is None or isinstance(owner, str)):
        return None
    made = []
    for item in grants:
        if not isinstance(item, dict):
            return None
        grantee, permission = item.get("Grantee"), item.get("Permission")
        if not isinstance(grantee, str) or permission not in PERMISSIONS:
            return None
        made.append(Grant(grantee, permission))
    return Acl(owner or None, tuple(made))


def of_canned(canned: str, owner: str, bucket_owner: str) -> Acl:
    """Raises S3Error for what no ACL is called."""
    full = Grant(owner, "FULL_CONTROL")
    first: tuple[Grant, ...]
    if canned == "private":
        first = ()
    elif canned == "public-read":
        first = (Grant(ALL_USERS, "READ"),)
    elif canned == "public-read-write":
        first = (Grant(ALL_USERS, "READ"), Grant(ALL_USERS, "WRITE"))
    elif canned == "authenticated-read":
        first = (Grant(AUTHENTICATED_USERS, "READ"),)
    elif canned == "bucket-owner-read":
        first = (Grant(bucket_owner, "READ"),)
    elif canned == "bucket-owner-full-control":
        return Acl(owner, (full, Grant(bucket_owner, "FULL_CONTROL")))
    elif canned == "log-delivery-write":
        first = (Grant(LOG_DELIVERY, "WRITE"), Grant(LOG_DELIVERY, "READ_ACP"))
    else:
        raise S3Error("InvalidArgument", ArgumentName="x-amz-acl", ArgumentValue=canned)
    return Acl(owner, (*first, full))


def of_headers(headers: dict[str, str], owner: str, bucket_owner: str) -> Acl | None:
    """The ACL of a request's `HEADERS` (those that it has), None if it has none of them. Raises S3Error."""
    canned = headers.get("x-amz-acl")
    given = [name for name in _GRANT_HEADERS if name in headers]
    if canned is not None and given:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if canned is not None:
        return of_canned(canned, owner, bucket_owner)
    if not given:
        return None
    grants: list[Grant] = []
    for name in given:
        grants.extend(_grants_of(headers[name], _GRANT_HEADERS[name]))
    if len(grants) > _MOST_GRANTS:
        raise S3Error("InvalidRequest", "The access control list is too long.")
    return Acl(owner, tuple(grants))


def _grants_of(text: str, permission: str) -> list[Grant]:
    if len(text) > _LONGEST_GRANTS:
        raise S3Error("InvalidRequest", "The access control list is too long.")
    grants = []
    at = 0
    while True:
        name, equals, _ = text[at:].partition("=")
        if not equals:
            raise S3Error("InvalidRequest", "Argument format not recognized")
        at += len(name) + 1
        while at < len(text) and text[at].isspace():
            at += 1
        found = _QUOTED.match(text, at)
        if found is None:
            raise S3Error("InvalidArgument", "Argument format not recognized")
        value = found.group(1) if found.group(1) is not None else found.group(2)
        grants.append(Grant(_named(name.strip(), value), permission))
        rest = text[found.end() :].lstrip()
        if not rest:
            return grants
        if rest[0] != ",":
            raise S3Error("InvalidArgument", "Argument format not recognized")
        at = len(text) - len(rest) + 1


def _named(kind: str, value: str) -> str:
    """The grantee of a pair in a header. Raises S3Error."""
    if kind == "id":
        return _user(value)
    if kind == "uri":
        return _group(value)
    if kind == "emailAddress":
        raise S3Error("NotImplemented", "Grantees by their e-mail addresses are not supported.")
    raise S3Error("InvalidArgument", "Argument format not recognized")


def _user(value: str) -> str:
    # A user who is called like a group would be all of its users once it is stored.
    if not value or value in _URIS:
        raise S3Error("InvalidArgument", "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=value)
    return value


def _group(value: str) -> str:
    if value not in _GROUPS:
        raise S3Error("InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=value)
    return _GROUPS[value]


def of_document(data: bytes) -> Acl:
    """Raises S3Error."""
    found = read(data, "AccessControlPolicy", _POLICY, "MalformedACLError")
    return Acl(found["Owner"]["ID"], tuple(granted_by(found["AccessControlList"])))


def granted_by(found: dict[str, Any], code: str = "MalformedACLError") -> list[Grant]:
    """What an element of the form GRANTS says. Raises S3Error(code)."""
    grants = []
    for item in found["Grant"]:
        grantee = item["Grantee"]
        kind = grantee["@type"]
        if kind == "CanonicalUser" and "ID" in grantee:
            name = _user(grantee["ID"])
        elif kind == "Group" and "URI" in grantee:
            name = _group(grantee["URI"])
        elif kind == "AmazonCustomerByEmail":
            raise S3Error("NotImplemented", "Grantees by their e-mail addresses are not supported.")
        else:
            raise S3Error(code)
        grants.append(Grant(name, item["Permission"]))
    return grants
