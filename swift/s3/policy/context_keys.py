"""The condition keys that policies may name (spec s3.md 16.2). Those of which no request here ever says anything are among them: a policy that
comes from elsewhere means the same."""

from __future__ import annotations

HEADERS = frozenset((
    "s3:x-amz-acl", "s3:x-amz-grant-read", "s3:x-amz-grant-write", "s3:x-amz-grant-read-acp", "s3:x-amz-grant-write-acp",
    "s3:x-amz-grant-full-control", "s3:x-amz-copy-source", "s3:x-amz-metadata-directive", "s3:x-amz-storage-class",
    "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-content-sha256", "s3:x-amz-website-redirect-location",
    "s3:x-amz-object-ownership",
))  # fmt: skip
COPY_SOURCE = "s3:x-amz-copy-source"
LOCKS = {
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
}
REMAINING_DAYS = "s3:object-lock-remaining-retention-days"
LISTING = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
REQUEST_TAG, EXISTING_TAG, TAG_KEYS = (
    "s3:requestobjecttag/",
    "s3:existingobjecttag/",
    "s3:requestobjecttagkeys",
)
_SAID = frozenset((
    "aws:sourceip", "aws:securetransport", "aws:currenttime", "aws:epochtime", "aws:useragent", "aws:referer", "aws:username", "aws:userid",
    "aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:requestedregion", "aws:resourceaccount", "s3:resourceaccount",
    "s3:versionid", "s3:locationconstraint", "s3:signatureversion", "s3:signatureage", "s3:authtype", "s3:tlsversion", "s3:if-match",
    "s3:if-none-match", TAG_KEYS, REMAINING_DAYS,
))  # fmt: skip
_NEVER_SAID = frozenset((
    "aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:federatedprovider", "aws:multifactorauthage",
    "aws:multifactorauthpresent", "aws:principalisawsservice", "aws:principalorgid", "aws:principalorgpaths", "aws:principalservicename",
    "aws:principalservicenameslist", "aws:resourceorgid", "aws:resourceorgpaths", "aws:rolesessionname", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceidentity", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpcarn", "aws:sourcevpce",
    "aws:tokenissuetime", "aws:viaawsservice", "aws:vpcsourceip", "aws:ec2instancesourcevpc", "aws:ec2instancesourceprivateipv4",
    "s3:accessgrantsinstancearn", "s3:accesspointnetworkorigin", "s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:inventoryaccessibleoptionalfields",
    "s3:objectcreationoperation",
))  # fmt: skip
_WITH_NAMES = (REQUEST_TAG, EXISTING_TAG, "aws:principaltag/", "aws:requesttag/", "aws:resourcetag/")


def is_known(key: str) -> bool:
    lower = key.lower()
    return (
        lower in _SAID
        or lower in HEADERS
        or lower in LOCKS
        or lower in LISTING
        or lower in _NEVER_SAID
        or any(lower.startswith(prefix) and len(lower) > len(prefix) for prefix in _WITH_NAMES)
    )
